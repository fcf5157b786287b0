// SPDX-License-Identifier: MIT OR Apache-2.0
//! What kernel the VMM gave us, and whether this firmware can start it.
//!
//! Spec: QEMU `hw/i386/x86.c` (which items a kernel format comes with); Linux
//! `Documentation/arch/x86/boot.rst`.
//! In: `fw_cfg` items. Out: a [`Kernel`]. The VMM has told the formats apart; we need only see
//! which items it filled.

mod error;
mod linux;
mod multiboot;

pub use error::KernelError;
pub use linux::SetupBuffer;
pub use multiboot::{Multiboot, MultibootError, Part, Span};

use crate::fw_cfg::Transport;
use crate::memory::Range;
use abi::fw_cfg::Key;
use abi::linux::{ENTRY_64_OFFSET, PARAGRAPH_SIZE, SetupHeader};
use linux::{Width, check_header, setup_size};
use zerocopy::IntoBytes;

/// A kernel this firmware can start.
#[derive(Clone, Copy, Debug)]
pub enum Kernel<'a> {
    /// An ELF image that the VMM has already placed.
    Pvh {
        /// Guest-physical memory it occupies, its zeroed part included.
        image: Range,
        /// Guest-physical address of the 32-bit entry point.
        entry: u32,
    },
    /// A bzImage with a 64-bit entry point, still in `fw_cfg`.
    Linux64 {
        /// Its setup header.
        header: &'a SetupHeader,
        /// Size in bytes of its protected-mode part.
        size: u32,
    },
    /// A bzImage or zImage with nothing but the 16-bit entry point, still in `fw_cfg`.
    Linux16 {
        /// Its setup header.
        header: &'a SetupHeader,
        /// Size in bytes of its real-mode part.
        setup_size: u32,
        /// Size in bytes of its protected-mode part.
        size: u32,
    },
    /// A bzImage with a 32-bit entry point, still in `fw_cfg`.
    Linux32 {
        /// Its setup header.
        header: &'a SetupHeader,
        /// Size in bytes of its protected-mode part.
        size: u32,
    },
    /// A multiboot kernel, still in `fw_cfg`.
    Multiboot(&'a Multiboot),
}

impl<'a> Kernel<'a> {
    /// Asks the device what it offers.
    ///
    /// # Errors
    /// There is no kernel, or none that this firmware can start.
    pub fn gather(
        fw_cfg: &mut impl Transport,
        setup: &'a mut SetupBuffer,
    ) -> Result<Self, KernelError> {
        let entry = fw_cfg.read_u32(Key::KERNEL_ENTRY)?;
        if entry != 0 {
            return Self::gather_elf(fw_cfg, entry, setup);
        }
        fw_cfg.read(Key::SETUP_DATA, setup.as_mut_bytes())?;
        let size = fw_cfg.read_u32(Key::KERNEL_SIZE)?;
        if size == 0 {
            return Err(KernelError::Absent);
        }
        let width = check_header(&mut setup.header)?;
        let header = &setup.header;
        if width == Width::Bits64 && u64::from(size) <= ENTRY_64_OFFSET {
            return Err(KernelError::TooShort { size });
        }
        let paragraphs = u64::from(header.syssize.get());
        if u64::from(size).div_ceil(PARAGRAPH_SIZE as u64) < paragraphs {
            let declared = paragraphs.saturating_mul(PARAGRAPH_SIZE as u64);
            return Err(KernelError::Truncated { declared, size });
        }
        match width {
            Width::Bits64 => Ok(Self::Linux64 { header, size }),
            Width::Bits32 => Ok(Self::Linux32 { header, size }),
            Width::Bits16 => Ok(Self::Linux16 {
                header,
                setup_size: setup_size(header, fw_cfg.read_u32(Key::SETUP_SIZE)?)?,
                size,
            }),
        }
    }

    fn gather_elf(
        fw_cfg: &mut impl Transport,
        entry: u32,
        setup: &'a mut SetupBuffer,
    ) -> Result<Self, KernelError> {
        // A multiboot kernel also has an entry point, but no setup part.
        let is_multiboot = fw_cfg.read_u32(Key::SETUP_SIZE)? == 0;
        let addr = fw_cfg.read_u32(Key::KERNEL_ADDR)?;
        let size = fw_cfg.read_u32(Key::KERNEL_SIZE)?;
        let image = Range::new(addr.into(), size.into()).unwrap_or(Range::between(0, 0));
        if entry < addr || u64::from(entry) >= image.end() {
            return Err(KernelError::EntryOutside { entry, image });
        }
        if is_multiboot {
            let kernel = &mut setup.multiboot;
            kernel.addr = addr.into();
            kernel.size = size.into();
            kernel.entry = entry.into();
            kernel.gather(fw_cfg)?;
            return Ok(Self::Multiboot(kernel));
        }
        Ok(Self::Pvh { image, entry })
    }
}
