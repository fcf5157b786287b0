// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one decision: where everything goes and how the kernel is entered.
//!
//! Spec: Linux `Documentation/arch/x86/boot.rst`; Xen `docs/misc/pvh.pandoc`.
//! In: [`Facts`]. Out: a [`Plan`], pure data. Never: touches the machine. What the VMM suggests as
//! addresses is not even read: QEMU's suggestions overlap in known cases.

mod error;
mod handoff;
mod initrd;
mod kernel;
mod memory;
mod real_mode;
mod tables;

pub use error::PlanError;
pub use handoff::{Handoff, MAX_CMDLINE_SIZE, Map};
pub use real_mode::RealMode;

use crate::acpi::Blobs;
use crate::facts::Facts;
use crate::fw_cfg::{TransferError, Transport};
use crate::kernel::Kernel;
use crate::memory::{MemoryMap, Range, Region};
use crate::tables::{multiboot, piece};
use abi::e820::MAX_ENTRIES;
use abi::fw_cfg::Key;
use abi::linux::ENTRY_64_OFFSET;

/// What the machine lets the firmware do, as far as the plan depends on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Means {
    /// `fw_cfg` writes to any guest-physical address by DMA; otherwise the firmware copies, and
    /// reaches only what it has mapped: the first 4 GiB.
    pub dma: bool,
}

/// How the kernel is entered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entry {
    /// 32-bit protected mode, no paging, EBX = `start_info`.
    Pvh {
        /// Guest-physical entry point.
        entry: u32,
        /// Guest-physical address of the `hvm_start_info`.
        start_info: u32,
    },
    /// 64-bit mode, identity map, RSI = `boot_params`.
    Linux64 {
        /// Guest-physical entry point.
        entry: u64,
        /// Guest-physical address of the zero page.
        boot_params: u64,
    },
    /// Real mode, with the services of a BIOS; there is a [`RealMode`] to be loaded first.
    Linux16 {
        /// Segment of the real-mode part; it is entered in the one 32 paragraphs above.
        segment: u16,
        /// The initial SP: end of its stack and heap.
        stack: u16,
    },
    /// 32-bit protected mode, no paging, ESI = `boot_params`.
    Linux32 {
        /// Guest-physical entry point.
        entry: u32,
        /// Guest-physical address of the zero page.
        boot_params: u32,
    },
    /// 32-bit protected mode, no paging, EBX = `multiboot_info`.
    Multiboot {
        /// Guest-physical address of the `multiboot_info`.
        info: u32,
        /// Guest-physical address of the [`LoadOrder`](crate::tables::multiboot::LoadOrder).
        order: u32,
        /// [`Means::dma`].
        dma: bool,
    },
}

/// Everything that is to be done, as data.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The map the kernel is given.
    pub memory: MemoryMap<'a>,
    /// Where what the kernel is given goes.
    pub handoff: Handoff,
    /// Where [`Plan::load`] puts the kernel; `None` when the VMM has placed it or, multiboot, it is
    /// loaded last of all.
    pub kernel: Option<Range>,
    /// Where the initial RAM disk is loaded.
    pub initrd: Option<Range>,
    /// Guest-physical address where the other modules are loaded, if there are any: one after the
    /// other in [whole pages](crate::fw_cfg::whole_pages).
    pub modules: u64,
    /// How the kernel is entered.
    pub entry: Entry,
}

impl<'a> Plan<'a> {
    /// Decides, and tells every file of the ACPI loader its place.
    ///
    /// # Errors
    /// Something does not fit.
    pub fn new(
        facts: &Facts<'_>,
        means: Means,
        blobs: &mut Blobs<'_>,
        storage: &'a mut [Region; MAX_ENTRIES],
    ) -> Result<Self, PlanError> {
        let mut memory = memory::join(facts, storage)?;
        let tables = tables::place(blobs, &memory)?;
        let placed = kernel::place(&facts.kernel, &memory)?;
        let handoff = handoff::place(facts, means, &tables, placed.footprint, &memory)?;
        memory::reserve_low(&mut memory, &handoff, &tables)?;
        let image = placed.footprint;
        if matches!(facts.kernel, Kernel::Multiboot(_)) && !memory.is_ram(image) {
            // It alone may lie below 1 MiB, but not in what has been given away there since.
            return Err(PlanError::ImageOutsideRam { image, floor: 0 });
        }
        tables::place_large(blobs, &mut memory, placed.footprint)?;
        let modules = initrd::place(facts, means, &memory, placed.footprint)?;
        let entry = match facts.kernel {
            Kernel::Pvh { entry, .. } => Entry::Pvh {
                entry,
                start_info: low_address(handoff.parameters),
            },
            Kernel::Linux64 { .. } => Entry::Linux64 {
                entry: placed.footprint.start().saturating_add(ENTRY_64_OFFSET),
                boot_params: handoff.parameters.start(),
            },
            Kernel::Linux16 { header, .. } => real_mode::entry(header),
            Kernel::Linux32 { .. } => Entry::Linux32 {
                entry: low_address(placed.footprint),
                boot_params: low_address(handoff.parameters),
            },
            Kernel::Multiboot(_) => {
                let info = low_address(handoff.parameters);
                Entry::Multiboot {
                    info,
                    order: info.saturating_add(multiboot::ORDER_OFFSET),
                    dma: means.dma,
                }
            }
        };
        Ok(Self {
            memory,
            handoff,
            kernel: placed.load,
            initrd: modules.initrd,
            modules: modules.others,
            entry,
        })
    }

    /// Loads what is still in `fw_cfg`: kernel, initial RAM disk and command line.
    ///
    /// `block` stands for `self.handoff.block`.
    ///
    /// # Errors
    /// A transfer failed.
    pub fn load(&self, fw_cfg: &mut impl Transport, block: &mut [u8]) -> Result<(), TransferError> {
        if let Some(kernel) = self.kernel {
            fw_cfg.load(Key::KERNEL_DATA, kernel)?;
        }
        if let Some(initrd) = self.initrd {
            fw_cfg.load(Key::INITRD_DATA, initrd)?;
        }
        let cmdline = piece(block, self.handoff.block, self.handoff.cmdline);
        if cmdline.len() > 1 {
            fw_cfg.read(Key::CMDLINE_DATA, cmdline)?;
        }
        if let Some(end) = cmdline.last_mut() {
            *end = 0; // the VMM's word alone is not enough
        }
        Ok(())
    }
}

/// The start of a range below 4 GiB: of the kernel, or in the hand-off block.
fn low_address(range: Range) -> u32 {
    u32::try_from(range.start()).unwrap_or_default()
}

#[cfg(test)]
mod test;
