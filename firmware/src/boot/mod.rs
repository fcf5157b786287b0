// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way in: from the processor's first instruction to Rust.
//!
//! Spec: Intel SDM volume 3, section 10.1.4 (first instruction), 10.9.1 (switching to protected
//! mode), 10.8.5 (initialising IA-32e mode).
//!
//! One file a mode, in order: `reset.s` → `real16.s` → `prot32.s` → `long64.s`. Contract at the
//! end of it: 64-bit mode, interrupts off, the first 4 GiB (1 GiB pages) or the first 2 MiB
//! mapped to themselves, flat segments, an empty stack that ends at `STACK_TOP`. Nothing in RAM has
//! been written, but the page tables of a processor without 1 GiB pages.

use crate::machine::{self, ExceptionFrame};
use crate::{handoff, report};
use core::arch::global_asm;

global_asm!(
    include_str!("reset.s"),
    include_str!("real16.s"),
    include_str!("prot32.s"),
    include_str!("long64.s"),
    include_str!("descriptors.s"),
    include_str!("page_tables.s"),
    include_str!("exceptions.s"),
    no_long_mode = const abi::debug::FailureCode::Processor.to_port_value(),
    failure_port = const abi::debug::FAILURE_PORT,
    image = const abi::layout::ROM_ALIAS_START,
    local_apic = const abi::layout::LOCAL_APIC_ADDR,
    page_tables = const abi::layout::PAGE_TABLES_START,
    page_tables_size = const abi::layout::PAGE_TABLES_END - abi::layout::PAGE_TABLES_START,
    code32 = const CODE32,
    code64 = const CODE64,
    data = const DATA,
    firmware_main = sym firmware_main,
    exception = sym exception,
    options(att_syntax),
);

/// GDT selector: 16-bit code in the image, for the way to real mode.
pub const CODE16: u16 = 0x08;
/// GDT selector: data with the limits of real mode, for the same.
pub const DATA16: u16 = 0x38;
/// GDT selector: flat 32-bit code, for the way in and for PVH.
pub const CODE32: u16 = 0x20;
/// GDT selector: 64-bit code; the number Linux's 64-bit boot protocol asks for (`__BOOT_CS`).
pub const CODE64: u16 = 0x10;
/// GDT selector: 32-bit TSS, for PVH.
pub const TSS: u16 = 0x30;
/// GDT selector: flat data; the number Linux's boot protocols ask for (`__BOOT_DS`), in the
/// table for its 32-bit entry, too.
pub const DATA: u16 = 0x18;

/// Where `long64.s` ends; `extended_features` is CPUID leaf 0x8000_0001, EDX, `reset` the time stamp
/// counter at the first instruction.
extern "C" fn firmware_main(extended_features: u32, reset: u64) -> ! {
    // SAFETY: called once, before anything else.
    let mut machine = unsafe { machine::take(extended_features, reset) };
    match crate::find_kernel(&mut machine) {
        // SAFETY: the entry comes from the plan, which has been carried out.
        Ok(entry) => unsafe { handoff::enter(entry) },
        Err(error) => crate::give_up(&mut machine, &error),
    }
}

/// Where `exceptions.s` ends: the processor met something this firmware never does on purpose.
extern "C" fn exception(vector: u64, stack: *const u64) -> ! {
    // SAFETY: `exceptions.s` passes what the processor pushed.
    let frame = unsafe { ExceptionFrame::read(vector, stack) };
    report::fail(&frame, frame.code())
}
