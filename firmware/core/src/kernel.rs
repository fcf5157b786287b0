// SPDX-License-Identifier: MIT OR Apache-2.0
//! What kernel the VMM gave us, and whether this firmware can start it.
//!
//! Spec: QEMU `hw/i386/x86.c` (which items a kernel format comes with); Linux
//! `Documentation/arch/x86/boot.rst`.
//! In: `fw_cfg` items. Out: a [`Kernel`]. The VMM has told the formats apart; we need only see
//! which items it filled.

use crate::fw_cfg::{TransferError, Transport};
use crate::memory::Range;
use abi::fw_cfg::Key;
use abi::linux::{
    BOOT_FLAG, ENTRY_64_OFFSET, HEADER_MAGIC, PARAGRAPH_SIZE, SETUP_HEADER_OFFSET, SetupHeader,
    VERSION_2_12, XLoadFlags,
};
use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Room for the start of a bzImage's real-mode part, through the setup header.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SetupBuffer {
    before: [u8; SETUP_HEADER_OFFSET],
    header: SetupHeader,
}

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
            return Self::gather_elf(fw_cfg, entry);
        }
        fw_cfg.read(Key::SETUP_DATA, setup.as_mut_bytes())?;
        let size = fw_cfg.read_u32(Key::KERNEL_SIZE)?;
        if size == 0 {
            return Err(KernelError::Absent);
        }
        let header = &setup.header;
        check_header(header)?;
        if u64::from(size) <= ENTRY_64_OFFSET {
            return Err(KernelError::TooShort { size });
        }
        let paragraphs = u64::from(header.syssize.get());
        if u64::from(size).div_ceil(PARAGRAPH_SIZE as u64) < paragraphs {
            let declared = paragraphs.saturating_mul(PARAGRAPH_SIZE as u64);
            return Err(KernelError::Truncated { declared, size });
        }
        Ok(Self::Linux64 { header, size })
    }

    fn gather_elf(fw_cfg: &mut impl Transport, entry: u32) -> Result<Self, KernelError> {
        // A multiboot kernel also has an entry point, but no setup part.
        if fw_cfg.read_u32(Key::SETUP_SIZE)? == 0 {
            return Err(KernelError::Multiboot);
        }
        let addr = fw_cfg.read_u32(Key::KERNEL_ADDR)?;
        let size = fw_cfg.read_u32(Key::KERNEL_SIZE)?;
        let image = Range::new(addr.into(), size.into()).unwrap_or(Range::between(0, 0));
        if entry < addr || u64::from(entry) >= image.end() {
            return Err(KernelError::EntryOutside { entry, image });
        }
        Ok(Self::Pvh { image, entry })
    }
}

/// Accepts a header whose kernel has a 64-bit entry point.
fn check_header(header: &SetupHeader) -> Result<(), KernelError> {
    if header.boot_flag.get() != BOOT_FLAG || header.header != HEADER_MAGIC {
        return Err(KernelError::NotLinux {
            boot_flag: header.boot_flag.get(),
            magic: u32::from_le_bytes(header.header),
        });
    }
    let version = header.version.get();
    if version < VERSION_2_12 {
        return Err(KernelError::ProtocolTooOld { found: version });
    }
    let flags = XLoadFlags::from_bits_retain(header.xloadflags.get());
    if !flags.contains(XLoadFlags::KERNEL_64) {
        return Err(KernelError::No64BitEntry {
            xloadflags: flags.bits(),
        });
    }
    let alignment = header.kernel_alignment.get();
    if header.relocatable_kernel != 0 && !alignment.is_power_of_two() {
        return Err(KernelError::Alignment { found: alignment });
    }
    Ok(())
}

/// Why the kernel cannot be started.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KernelError {
    /// A transfer failed.
    Transfer(TransferError),
    /// The VMM offers none.
    Absent,
    /// A multiboot kernel.
    Multiboot,
    /// A PVH entry point that is not in the image.
    EntryOutside {
        /// The entry point.
        entry: u32,
        /// The image.
        image: Range,
    },
    /// No setup header.
    NotLinux {
        /// What stands where [`BOOT_FLAG`] should.
        boot_flag: u16,
        /// What stands where [`HEADER_MAGIC`] should, little-endian.
        magic: u32,
    },
    /// A boot protocol that predates the 64-bit entry point.
    ProtocolTooOld {
        /// The protocol version.
        found: u16,
    },
    /// A kernel without a 64-bit entry point.
    No64BitEntry {
        /// The header's flags.
        xloadflags: u16,
    },
    /// A protected-mode part that ends before the 64-bit entry point.
    TooShort {
        /// Its size in bytes.
        size: u32,
    },
    /// A protected-mode part that is shorter than its header says.
    Truncated {
        /// Its size in bytes by the header.
        declared: u64,
        /// Its size in bytes.
        size: u32,
    },
    /// An alignment that is none.
    Alignment {
        /// The header's `kernel_alignment`.
        found: u32,
    },
}

impl From<TransferError> for KernelError {
    fn from(error: TransferError) -> Self {
        Self::Transfer(error)
    }
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transfer(error) => error.fmt(f),
            Self::Absent => f.write_str("kernel: expected one in fw_cfg, found none"),
            Self::Multiboot => {
                f.write_str("kernel: expected a PVH ELF or a bzImage, found a multiboot image")
            }
            Self::EntryOutside { entry, image } => write!(
                f,
                "kernel: expected a PVH entry point inside the image at {image}, found {entry:#x}"
            ),
            Self::NotLinux { boot_flag, magic } => write!(
                f,
                "kernel: expected a Linux setup header (0xaa55, HdrS), \
                 found {boot_flag:#x}, {magic:#x}"
            ),
            Self::ProtocolTooOld { found } => write!(
                f,
                "kernel: expected boot protocol 2.12 or later for its 64-bit entry, \
                 found version {found:#x}"
            ),
            Self::No64BitEntry { xloadflags } => write!(
                f,
                "kernel: expected a 64-bit entry point (xloadflags bit 0), \
                 found xloadflags {xloadflags:#x}"
            ),
            Self::TooShort { size } => write!(
                f,
                "kernel: expected more than {ENTRY_64_OFFSET:#x} bytes behind the setup part, \
                 found {size:#x}"
            ),
            Self::Truncated { declared, size } => write!(
                f,
                "kernel: expected {declared:#x} bytes behind the setup part by its header, \
                 found {size:#x}"
            ),
            Self::Alignment { found } => write!(
                f,
                "kernel: expected kernel_alignment to be a power of two, found {found:#x}"
            ),
        }
    }
}
