// SPDX-License-Identifier: MIT OR Apache-2.0
//! What firmware tells a VMM besides the boot itself: failure codes and trace points.
//!
//! Both are port writes that a machine without a listener ignores.

/// Port (32-bit write) on which firmware reports that it has given up.
///
/// It directly follows the `fw_cfg` DMA register (0x514–0x51b). QEMU's `microvm`, `pc` and `q35`
/// decode nothing there, and it lies outside 0xf4–0xf7, where people put `isa-debug-exit`, so the
/// report is harmless on QEMU.
pub const FAILURE_PORT: u16 = 0x51c;

/// Upper 24 bits of the value written to [`FAILURE_PORT`]: the letters `QBR`.
pub const FAILURE_MAGIC: u32 = 0x5142_5200;

/// One list of codes for the type, for [`FailureCode::ALL`] and for the meanings.
macro_rules! failure_codes {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal, $meaning:literal;)*) => {
        /// Why firmware gave up: the lower 8 bits of the value written to [`FAILURE_PORT`].
        ///
        /// The same moment a full sentence goes to COM1; the code is for programs.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[repr(u8)]
        pub enum FailureCode {
            $($(#[doc = $doc])* $name = $number,)*
        }

        impl FailureCode {
            /// Every code, for listings and for decoding.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What the code means, in a few words.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)*
                }
            }
        }
    };
}

failure_codes! {
    /// The processor lacks what the firmware needs (long mode).
    Processor = 1, "processor not supported";
    /// No `fw_cfg` device answered.
    FwCfgAbsent = 3, "no fw_cfg device";
    /// A `fw_cfg` transfer ended in an error.
    FwCfgTransfer = 4, "fw_cfg transfer failed";
    /// The `fw_cfg` file directory makes no sense.
    FileDirectory = 5, "bad fw_cfg file directory";
    /// `etc/e820` is missing or makes no sense.
    MemoryMap = 6, "bad memory map";
    /// There is not enough memory, or not in the right place.
    Memory = 7, "not enough memory";
    /// The number of processors makes no sense.
    ProcessorCount = 8, "bad processor count";
    /// The VMM gave no kernel.
    KernelAbsent = 9, "no kernel";
    /// The kernel's format is not supported or its header is broken.
    KernelFormat = 10, "kernel format not supported";
    /// The kernel fits nowhere.
    KernelPlacement = 11, "kernel does not fit";
    /// The command line is too long.
    CommandLine = 12, "command line too long";
    /// The initial RAM disk, with the other modules, fits nowhere.
    Initrd = 13, "initrd and modules do not fit";
    /// The ACPI linker-loader script makes no sense, or its tables fit nowhere.
    Acpi = 14, "bad ACPI loader script";
    /// The kernel was entered and failed before it took over the processor.
    KernelEntry = 15, "kernel failed at its entry";
    /// The SMBIOS files make no sense.
    Smbios = 16, "bad SMBIOS files";
    /// More modules than the kernel takes.
    Modules = 17, "too many modules";
    /// A program in real mode has given up, or has met an exception.
    RealMode = 20, "real-mode program failed";
    /// The firmware has a bug.
    Panic = 255, "firmware bug";
}

impl FailureCode {
    /// The 32-bit value firmware writes to [`FAILURE_PORT`].
    #[must_use]
    pub const fn to_port_value(self) -> u32 {
        FAILURE_MAGIC | self as u32
    }

    /// Decodes a write to [`FAILURE_PORT`]; `None` if it is not a failure report.
    #[must_use]
    pub fn from_port_value(value: u32) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.to_port_value() == value)
    }
}

/// Port (8-bit write) of the firmware trace point, as in qboot and qemu-boot-time.
pub const TRACE_FIRMWARE_PORT: u16 = 0xf5;

/// Value on [`TRACE_FIRMWARE_PORT`]: the firmware has started.
///
/// Trace points are switched on through `fw_cfg`, so this one appears once the file directory has
/// been read: a fixed number of accesses after the reset vector.
pub const TRACE_FIRMWARE_START: u8 = 1;

/// Port (8-bit write) of the kernel trace points, written just before the jump into the kernel.
pub const TRACE_KERNEL_PORT: u16 = 0xf4;

/// Value on [`TRACE_KERNEL_PORT`]: about to enter a multiboot kernel.
pub const TRACE_KERNEL_MULTIBOOT: u8 = 2;

/// Value on [`TRACE_KERNEL_PORT`]: about to enter a bzImage.
pub const TRACE_KERNEL_LINUX: u8 = 3;

/// Value on [`TRACE_KERNEL_PORT`]: about to enter a PVH kernel.
pub const TRACE_KERNEL_PVH: u8 = 4;

/// Value on [`TRACE_FIRMWARE_PORT`], of qemu-boot-time: the firmware has initialised the machine and
/// is about to look for something to boot. Ours has no such moment.
pub const TRACE_FIRMWARE_BOOT: u8 = 5;

/// Value on [`TRACE_KERNEL_PORT`], of qemu-boot-time: the kernel's `start_kernel`.
pub const TRACE_KERNEL_START: u8 = 6;

/// Value on [`TRACE_KERNEL_PORT`], of qemu-boot-time: the kernel is about to start the first process.
/// An init program may write it, too.
pub const TRACE_USER_START: u8 = 7;

/// Port of the Bochs/QEMU debug console (`isa-debugcon,iobase=0x402`).
pub const DEBUG_CONSOLE_PORT: u16 = 0x402;

/// What [`DEBUG_CONSOLE_PORT`] reads as when the device is present.
pub const DEBUG_CONSOLE_PRESENT: u8 = 0xe9;

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_failure_code_survives_the_port() {
        for code in FailureCode::ALL {
            assert_eq!(
                FailureCode::from_port_value(code.to_port_value()),
                Some(*code)
            );
        }
    }

    #[test]
    fn a_foreign_value_is_no_failure_report() {
        for value in [0, 9, 0xffff_ffff, FAILURE_MAGIC, 0x5142_5363] {
            assert_eq!(FailureCode::from_port_value(value), None);
        }
    }
}
