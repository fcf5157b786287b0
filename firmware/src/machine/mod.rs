// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine: unsafe to obtain, safe to use.
//!
//! [`take`] is called once and hands out everything the firmware may touch, as values that keep
//! each other's promises: memory windows are disjoint, ports belong to one owner.

// Addresses are u64, lengths of slices usize: the same width here, which the assertion holds.
#![allow(clippy::cast_possible_truncation)]

mod board;
mod clock;
mod cpu;
mod exception;
mod fw_cfg;
mod memory;
mod mtrr;
mod paging;
mod pci;
mod pic;
mod ports;
mod shadow;

use board::Chipset;
pub use clock::{reset, wait};
pub use cpu::{Processor, halt, timestamp};
pub use exception::ExceptionFrame;
pub use fw_cfg::{FwCfg, PATIENCE};
pub use mtrr::set_memory_types;
pub use ports::{ReportPort, UartPorts, has_debug_console, report, report_failure, uart};
pub use shadow::show;

use abi::bios::Bda;
use firmware_core::error::BootError;
pub use memory::HandoffMemory;
use memory::{Scratch, TableMemory};
use paging::Paging;

const _: () = assert!(usize::BITS == u64::BITS);

/// Everything the firmware owns.
pub struct Machine {
    /// Buffers for the time until the kernel starts.
    pub scratch: &'static mut Scratch,
    /// Where the kernel's parameters go.
    pub handoff: HandoffMemory,
    /// Where ACPI tables go.
    pub tables: TableMemory,
    /// The identity map.
    pub paging: Paging,
    /// The bootstrap processor.
    pub processor: Processor,
}

impl Machine {
    /// Finds the `fw_cfg` device.
    ///
    /// # Errors
    /// Nothing answers at its ports.
    pub fn open_fw_cfg(&self) -> Result<FwCfg, BootError> {
        FwCfg::open()
    }

    /// Finds out which board this is, and makes its memory, its ports and its interrupts what the
    /// ACPI tables will say.
    pub fn initialise_chipset(&self) -> Chipset {
        Chipset::initialise()
    }
}

impl Machine {
    /// The BIOS data area, and conventional memory from `SCRATCH_START` on with all that the
    /// firmware has lent out of it: nobody holds any of it any longer.
    pub fn conventional_memory(&mut self) -> (&mut Bda, &mut [u8]) {
        // SAFETY: the windows that `take` has handed out are behind `self`, which is borrowed for
        // as long as this one, and their types are valid for any bytes that are left there.
        unsafe { memory::conventional() }
    }
}

/// Takes possession of the machine.
///
/// # Safety
/// Call it once, from `firmware_main`. The processor is in the state that [`crate::boot`]
/// promises, no other processor runs, and nothing but this firmware uses RAM below 1 MiB.
pub unsafe fn take(extended_features: u32, reset: u64) -> Machine {
    Machine {
        // SAFETY: the caller calls once, and nobody else uses this memory.
        scratch: unsafe { Scratch::take() },
        // SAFETY: as above.
        handoff: unsafe { HandoffMemory::take() },
        // SAFETY: as above.
        tables: unsafe { TableMemory::take() },
        paging: Paging::take(),
        processor: Processor::new(extended_features, reset),
    }
}
