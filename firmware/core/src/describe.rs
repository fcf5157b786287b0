// SPDX-License-Identifier: MIT OR Apache-2.0
//! Facts and plans in words, for the log.

use crate::facts::Facts;
use crate::kernel::Kernel;
use crate::plan::{Entry, Plan};
use crate::words::{Speaker, Words, display, say};

impl Words for Facts<'_> {
    fn say(&self, to: &mut Speaker<'_>) {
        let (records, processors) = (self.memory.len(), self.processors.count());
        say!(to, "% memory records, % processors, ", records, processors);
        self.kernel.say(to);
        let (cmdline, initrd) = (self.cmdline_size, self.initrd_size);
        say!(
            to,
            ", command line % bytes, initrd % bytes",
            cmdline,
            initrd
        );
    }
}

display!(Facts<'_>);

impl Words for Kernel<'_> {
    fn say(&self, to: &mut Speaker<'_>) {
        match self {
            Self::Pvh { image, entry } => {
                say!(to, "PVH kernel at ");
                image.say(to);
                say!(to, ", entry #", entry);
            }
            Self::Multiboot(kernel) => {
                say!(to, "multiboot kernel for ");
                kernel.image().say(to);
                say!(
                    to,
                    ", entry #, % modules",
                    kernel.entry,
                    kernel.info.mods_count
                );
            }
            Self::Linux64 { header, size }
            | Self::Linux32 { header, size }
            | Self::Linux16 { header, size, .. } => {
                say!(
                    to,
                    "bzImage of % bytes, boot protocol #",
                    size,
                    header.version
                );
            }
        }
    }
}

display!(Kernel<'_>);

impl Words for Plan<'_> {
    fn say(&self, to: &mut Speaker<'_>) {
        say!(to, "hand-off block ");
        self.handoff.block.say(to);
        if let Some(kernel) = self.kernel {
            say!(to, ", kernel ");
            kernel.say(to);
        }
        if let Some(initrd) = self.initrd {
            say!(to, ", initrd ");
            initrd.say(to);
        }
        say!(to, ", % map entries", self.memory.regions().len());
    }
}

display!(Plan<'_>);

impl Words for Entry {
    fn say(&self, to: &mut Speaker<'_>) {
        match self {
            Self::Pvh { entry, start_info } => {
                say!(to, "PVH entry #, start_info #", entry, start_info);
            }
            Self::Multiboot { info, .. } => say!(to, "multiboot, information #", info),
            Self::Linux64 { entry, boot_params } => {
                say!(to, "64-bit entry #, boot_params #", entry, boot_params);
            }
            Self::Linux16 { segment, stack } => {
                say!(to, "16-bit entry in segment #, stack #", segment, stack);
            }
            Self::Linux32 { entry, boot_params } => {
                say!(to, "32-bit entry #, boot_params #", entry, boot_params);
            }
        }
    }
}

display!(Entry);
