// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the kernel goes, or where the VMM has put it.

use super::PlanError;
use super::real_mode::is_high;
use crate::kernel::Kernel;
use crate::memory::{MemoryMap, Range};
use abi::layout::{HIGH_RAM_START, LOW_KERNEL_START, OLD_REAL_MODE_START, RAM_ABOVE_4G_START};
use abi::linux::SetupHeader;

/// Where the kernel lies.
pub struct PlacedKernel {
    /// What is to be loaded.
    pub load: Option<Range>,
    /// What nothing else may touch: the memory it occupies before it looks at the memory map.
    pub footprint: Range,
}

/// Finds a place, or checks the one it has.
pub fn place(kernel: &Kernel<'_>, memory: &MemoryMap<'_>) -> Result<PlacedKernel, PlanError> {
    let (image, floor) = match kernel {
        Kernel::Pvh { image, .. } => (*image, HIGH_RAM_START),
        Kernel::Multiboot(kernel) => (kernel.image(), 0),
        Kernel::Linux64 { header, size } | Kernel::Linux32 { header, size } => {
            return place_bzimage(header, *size, memory, header.relocatable_kernel == 0);
        }
        Kernel::Linux16 { header, size, .. } => {
            return if is_high(header) {
                place_bzimage(header, *size, memory, true)
            } else {
                place_low(*size)
            };
        }
    };
    if !Range::between(floor, RAM_ABOVE_4G_START).contains(image) || !memory.is_ram(image) {
        return Err(PlanError::ImageOutsideRam { image, floor });
    }
    Ok(PlacedKernel {
        load: None,
        footprint: image,
    })
}

/// boot.rst, `pref_address`: a relocatable kernel that lies elsewhere moves itself there if its
/// own address is lower; so it goes exactly there, or else higher. One that is not relocatable
/// (`fixed`) is loaded where bzImages always were, and moves itself there unconditionally. So is one
/// that is entered in real mode, whose setup part expects it there.
fn place_bzimage(
    header: &SetupHeader,
    size: u32,
    memory: &MemoryMap<'_>,
    fixed: bool,
) -> Result<PlacedKernel, PlanError> {
    let needed = u64::from(header.init_size.get().max(size));
    let preferred = header.pref_address.get().max(HIGH_RAM_START);
    let does_not_fit = PlanError::KernelPlacement {
        needed,
        preferred,
        ram: memory.ram_size(),
    };
    let reachable = Range::between(HIGH_RAM_START, RAM_ABOVE_4G_START);
    let runs = Range::new(preferred, needed).ok_or(does_not_fit)?;
    let footprint = if fixed {
        let from_load = Range::between(HIGH_RAM_START, runs.end());
        Some(from_load).filter(|range| reachable.contains(*range) && memory.is_ram(*range))
    } else {
        let align = u64::from(header.kernel_alignment.get());
        let higher = Range::between(preferred, RAM_ABOVE_4G_START);
        Some(runs)
            .filter(|range| reachable.contains(*range) && memory.is_ram(*range))
            .or_else(|| memory.lowest_fit(needed, align, higher))
    }
    .ok_or(does_not_fit)?;
    let load = Range::new(footprint.start(), size.into()).ok_or(does_not_fit)?;
    Ok(PlacedKernel {
        load: Some(load),
        footprint,
    })
}

/// boot.rst, "Loading The Rest of The Kernel": a kernel that is not loaded high goes to 64 KiB.
#[cold] // in favour of size: few kernels come here
fn place_low(size: u32) -> Result<PlacedKernel, PlanError> {
    let size = u64::from(size);
    if size > OLD_REAL_MODE_START - LOW_KERNEL_START {
        return Err(PlanError::LowKernel { size });
    }
    Ok(PlacedKernel {
        load: None, // it goes where our own buffers are, last of all: `RealMode`
        footprint: Range::between(0, 0), // of memory that anybody else is given
    })
}
