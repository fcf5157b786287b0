// SPDX-License-Identifier: MIT OR Apache-2.0
//! What does not fit.

use crate::acpi::LoaderError;
use crate::memory::{MapFull, Range};
use crate::words::{Speaker, Words, display, say};
use abi::debug::FailureCode;
use abi::layout::{HANDOFF_FLOOR, LOW_RAM_END};

/// What does not fit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PlanError {
    /// A table of the ACPI loader fits nowhere.
    Acpi(LoaderError),
    /// The map has too many separate ranges.
    MapFull(MapFull),
    /// A record of the VMM's map passes the end of the address space.
    RecordWraps {
        /// First guest-physical address.
        addr: u64,
        /// Size in bytes.
        size: u64,
    },
    /// The first 640 KiB are not all RAM.
    NoConventionalMemory {
        /// Bytes of RAM in the map.
        ram: u64,
    },
    /// The block for the kernel's parameters is full.
    HandoffFull,
    /// The command line is longer than the kernel takes.
    CommandLine {
        /// Its size in bytes with its NUL.
        found: u32,
        /// The most the kernel takes, with the NUL.
        limit: u32,
    },
    /// A PVH or multiboot kernel that the VMM has placed where there is no RAM, or no free one.
    ImageOutsideRam {
        /// Where it is.
        image: Range,
        /// The lowest guest-physical address it may have.
        floor: u64,
    },
    /// A kernel that is not loaded high, and too large for that.
    LowKernel {
        /// Size in bytes of its protected-mode part.
        size: u64,
    },
    /// No place for the kernel.
    KernelPlacement {
        /// Bytes it needs.
        needed: u64,
        /// Lowest guest-physical address it accepts.
        preferred: u64,
        /// Bytes of RAM in the map.
        ram: u64,
    },
    /// No place for the initial RAM disk and the other modules.
    Initrd {
        /// Their size in bytes.
        size: u64,
        /// First guest-physical address the kernel does not accept.
        ceiling: u64,
        /// Bytes of RAM in the map.
        ram: u64,
    },
}

impl PlanError {
    /// The code for [`abi::debug::FAILURE_PORT`].
    #[must_use]
    pub const fn code(&self) -> FailureCode {
        match self {
            Self::Acpi(_) => FailureCode::Acpi,
            Self::MapFull(_) | Self::RecordWraps { .. } => FailureCode::MemoryMap,
            Self::NoConventionalMemory { .. } | Self::HandoffFull => FailureCode::Memory,
            Self::CommandLine { .. } => FailureCode::CommandLine,
            Self::ImageOutsideRam { .. }
            | Self::KernelPlacement { .. }
            | Self::LowKernel { .. } => FailureCode::KernelPlacement,
            Self::Initrd { .. } => FailureCode::Initrd,
        }
    }
}

impl From<LoaderError> for PlanError {
    fn from(error: LoaderError) -> Self {
        Self::Acpi(error)
    }
}

impl From<MapFull> for PlanError {
    fn from(error: MapFull) -> Self {
        Self::MapFull(error)
    }
}

impl Words for PlanError {
    fn say(&self, to: &mut Speaker<'_>) {
        match self {
            Self::Acpi(error) => error.say(to),
            Self::MapFull(error) => error.say(to),
            Self::RecordWraps { addr, size } => say!(
                to,
                "memory map: expected ranges inside the address space, found # bytes at #",
                size,
                addr
            ),
            Self::NoConventionalMemory { ram } => say!(
                to,
                "memory: expected RAM in all of the first 640 KiB, found # bytes in all",
                ram
            ),
            Self::HandoffFull => say!(
                to,
                "hand-off block: expected all to fit between # and #, found more",
                HANDOFF_FLOOR,
                LOW_RAM_END
            ),
            Self::CommandLine { found, limit } => say!(
                to,
                "kernel command line: expected at most % bytes with its NUL, found %",
                limit,
                found
            ),
            Self::ImageOutsideRam { image, floor } => {
                say!(
                    to,
                    "kernel: expected its image in free RAM between # and 4 GiB, found it at ",
                    floor
                );
                image.say(to);
            }
            Self::LowKernel { size } => say!(
                to,
                "kernel: expected at most 0x80000 bytes of one that is not loaded \
                 high, found #",
                size
            ),
            Self::KernelPlacement {
                needed,
                preferred,
                ram,
            } => say!(
                to,
                "kernel: expected # bytes of RAM at or above #, found # bytes in all",
                needed,
                preferred,
                ram
            ),
            Self::Initrd { size, ceiling, ram } => say!(
                to,
                "initrd and modules: expected # free bytes of RAM between 1 MiB and #, found # \
                 bytes in all",
                size,
                ceiling,
                ram
            ),
        }
    }
}

display!(PlanError);
