// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a kernel cannot be started.

use super::MultibootError;
use crate::fw_cfg::TransferError;
use crate::memory::Range;
use crate::words::{Speaker, Words, display, say};
use abi::linux::{ENTRY_64_OFFSET, MAX_SETUP_SECTORS};

/// Why the kernel cannot be started.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KernelError {
    /// A transfer failed.
    Transfer(TransferError),
    /// The VMM offers none.
    Absent,
    /// What comes with a multiboot kernel.
    Multiboot(MultibootError),
    /// An entry point that is not in the image.
    EntryOutside {
        /// The entry point.
        entry: u32,
        /// The image.
        image: Range,
    },
    /// No setup header.
    NotLinux {
        /// What stands where [`abi::linux::BOOT_FLAG`] should.
        boot_flag: u16,
        /// What stands where [`abi::linux::HEADER_MAGIC`] should, little-endian.
        magic: u32,
    },
    /// A boot protocol from before the setup header.
    ProtocolTooOld {
        /// The protocol version.
        found: u16,
    },
    /// No jump over the setup header, or one that leads elsewhere.
    Jump {
        /// What stands there.
        found: [u8; 2],
    },
    /// A real-mode part that is longer than its segment allows.
    SetupTooLong {
        /// Its size in sectors by the header, the boot sector included.
        sectors: u32,
    },
    /// A real-mode part that is shorter than its header says.
    SetupTruncated {
        /// Its size in bytes by the header.
        declared: u32,
        /// Its size in bytes.
        size: u32,
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

impl Words for KernelError {
    fn say(&self, to: &mut Speaker<'_>) {
        match self {
            Self::Transfer(error) => error.say(to),
            Self::Absent => say!(to, "kernel: expected one in fw_cfg, found none"),
            Self::Multiboot(error) => error.say(to),
            Self::EntryOutside { entry, image } => {
                say!(to, "kernel: expected its entry point inside the image at ");
                image.say(to);
                say!(to, ", found #", entry);
            }
            Self::NotLinux { boot_flag, magic } => say!(
                to,
                "kernel: expected a Linux setup header (0xaa55, HdrS), found #, #",
                boot_flag,
                magic
            ),
            Self::ProtocolTooOld { found } => say!(
                to,
                "kernel: expected boot protocol 2.00 or later, found version #",
                found
            ),
            Self::Jump { found } => say!(
                to,
                "kernel: expected a jump over its setup header (0xeb, 0 to 0x7f), found #, #",
                found[0],
                found[1]
            ),
            Self::SetupTooLong { sectors } => say!(
                to,
                "kernel: expected a setup part of at most % sectors, found %",
                MAX_SETUP_SECTORS,
                sectors
            ),
            Self::SetupTruncated { declared, size } => say!(
                to,
                "kernel: expected a setup part of # bytes by its header, found #",
                declared,
                size
            ),
            Self::TooShort { size } => say!(
                to,
                "kernel: expected more than # bytes behind the setup part, found #",
                ENTRY_64_OFFSET,
                size
            ),
            Self::Truncated { declared, size } => say!(
                to,
                "kernel: expected # bytes behind the setup part by its header, found #",
                declared,
                size
            ),
            Self::Alignment { found } => say!(
                to,
                "kernel: expected kernel_alignment to be a power of two, found #",
                found
            ),
        }
    }
}

display!(KernelError);
