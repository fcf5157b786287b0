// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the initial RAM disk goes, and below it other modules: as high as the kernel permits.

use super::{Means, PlanError};
use crate::facts::Facts;
use crate::kernel::Kernel;
use crate::memory::{MemoryMap, Range};
use abi::layout::{HIGH_RAM_START, PAGE_SIZE, RAM_ABOVE_4G_START};
use abi::linux::{SetupHeader, XLoadFlags};

/// Where both go.
pub struct PlacedModules {
    pub initrd: Option<Range>,
    /// Guest-physical address of the others, one after the other in [whole pages](crate::fw_cfg::whole_pages).
    pub others: u64,
}

/// Finds one place for all that neither the kernel nor anything reserved occupies. In the map it
/// is RAM: the kernel keeps of it what it needs.
pub fn place(
    facts: &Facts<'_>,
    means: Means,
    memory: &MemoryMap<'_>,
    kernel: Range,
) -> Result<PlacedModules, PlanError> {
    let others = facts.modules.size();
    let size = others.saturating_add(facts.initrd_size.into());
    if size == 0 {
        return Ok(PlacedModules {
            initrd: None,
            others: 0,
        });
    }
    let ceiling = initrd_ceiling(&facts.kernel, means);
    let within = Range::between(HIGH_RAM_START, ceiling);
    let all = memory
        .highest_fit(size, PAGE_SIZE, within, &[kernel])
        .ok_or(PlanError::Initrd {
            size,
            ceiling,
            ram: memory.ram_size(),
        })?;
    let initrd = Range::between(all.start().wrapping_add(others), all.end());
    Ok(PlacedModules {
        initrd: Some(initrd).filter(|initrd| !initrd.is_empty()),
        others: all.start(),
    })
}

/// First address the kernel does not accept for any byte of its initial RAM disk.
fn initrd_ceiling(kernel: &Kernel<'_>, means: Means) -> u64 {
    match kernel {
        // Linux keeps the module's address in 32 bits on its PVH path.
        Kernel::Pvh { .. } | Kernel::Multiboot(_) => RAM_ABOVE_4G_START,
        // An initrd above 4 GiB is a matter of the 64-bit entry.
        Kernel::Linux32 { header, .. } | Kernel::Linux16 { header, .. } => addr_max(header),
        Kernel::Linux64 { header, .. } => {
            let flags = XLoadFlags::from_bits_retain(header.xloadflags.get());
            if flags.contains(XLoadFlags::CAN_BE_LOADED_ABOVE_4G) {
                if means.dma {
                    u64::MAX
                } else {
                    RAM_ABOVE_4G_START
                }
            } else {
                addr_max(header)
            }
        }
    }
}

/// First address behind `initrd_addr_max`.
fn addr_max(header: &SetupHeader) -> u64 {
    u64::from(header.initrd_addr_max.get()).saturating_add(1)
}
