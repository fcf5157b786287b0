// SPDX-License-Identifier: MIT OR Apache-2.0
//! Facts and plans in words, for the log.

use crate::facts::Facts;
use crate::kernel::Kernel;
use crate::plan::{Entry, Plan};
use core::fmt;

impl fmt::Display for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} memory records, {} processors, {}, command line {} bytes, initrd {} bytes",
            self.memory.len(),
            self.processors.count(),
            self.kernel,
            self.cmdline_size,
            self.initrd_size
        )
    }
}

impl fmt::Display for Kernel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pvh { image, entry } => write!(f, "PVH kernel at {image}, entry {entry:#x}"),
            Self::Multiboot(kernel) => write!(
                f,
                "multiboot kernel for {}, entry {:#x}, {} modules",
                kernel.image(),
                kernel.entry,
                kernel.info.mods_count
            ),
            Self::Linux64 { header, size }
            | Self::Linux32 { header, size }
            | Self::Linux16 { header, size, .. } => {
                write!(
                    f,
                    "bzImage of {size} bytes, boot protocol {:#x}",
                    header.version
                )
            }
        }
    }
}

impl fmt::Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hand-off block {}", self.handoff.block)?;
        if let Some(kernel) = self.kernel {
            write!(f, ", kernel {kernel}")?;
        }
        if let Some(initrd) = self.initrd {
            write!(f, ", initrd {initrd}")?;
        }
        write!(f, ", {} map entries", self.memory.regions().len())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pvh { entry, start_info } => {
                write!(f, "PVH entry {entry:#x}, start_info {start_info:#x}")
            }
            Self::Multiboot { info, .. } => write!(f, "multiboot, information {info:#x}"),
            Self::Linux64 { entry, boot_params } => {
                write!(f, "64-bit entry {entry:#x}, boot_params {boot_params:#x}")
            }
            Self::Linux16(real_mode) => write!(f, "16-bit entry in {}", real_mode.setup),
            Self::Linux32 { entry, boot_params } => {
                write!(f, "32-bit entry {entry:#x}, boot_params {boot_params:#x}")
            }
        }
    }
}
