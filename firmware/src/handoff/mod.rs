// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way out: from Rust to the kernel's first instruction.
//!
//! Spec: Linux `Documentation/arch/x86/boot.rst`, "Running the Kernel", "32-bit Boot Protocol" and
//! "64-bit Boot Protocol"; Xen `docs/misc/pvh.pandoc`, "Entry point"; Multiboot Specification
//! 0.6.96, section 3.2. After [`enter`] begins: no allocation, no logging.

use crate::boot::{CODE16, CODE32, CODE64, DATA, DATA16, TSS};
use abi::debug::FailureCode;
use abi::fw_cfg::{DmaControl, PORT_DATA, PORT_DMA_LOW, PORT_SELECTOR};
use core::arch::global_asm;
use core::mem::offset_of;
use firmware_core::plan::Entry;
use firmware_core::tables::multiboot::LoadOrder;

const _: () =
    assert!(offset_of!(LoadOrder, transfer.control) == 0 && PORT_DATA == PORT_SELECTOR + 1);

global_asm!(
    include_str!("leave.s"),
    include_str!("linux64.s"),
    include_str!("linux32.s"),
    include_str!("linux16.s"),
    include_str!("pvh32.s"),
    include_str!("multiboot32.s"),
    code16 = const CODE16,
    data16 = const DATA16,
    image = const abi::layout::ROM_ALIAS_START,
    code32 = const CODE32,
    tss = const TSS,
    boot_cs = const CODE64, // `__BOOT_CS` has one number in both modes
    boot_ds = const DATA,
    // multiboot32.s: fields of the order, registers of the device.
    magic = const abi::multiboot::BOOTLOADER_MAGIC,
    length = const offset_of!(LoadOrder, transfer.length),
    // The low half; all of it lies below 4 GiB.
    address = const offset_of!(LoadOrder, transfer.address) + 4,
    entry = const offset_of!(LoadOrder, entry),
    terminator = const offset_of!(LoadOrder, terminator),
    dma = const offset_of!(LoadOrder, dma),
    dma_low = const PORT_DMA_LOW,
    selector = const PORT_SELECTOR,
    dma_error = const DmaControl::ERROR.bits().to_be(),
    patience = const crate::machine::PATIENCE,
    transfer_failed = const FailureCode::FwCfgTransfer.to_port_value(),
    options(att_syntax),
);

unsafe extern "C" {
    fn enter_linux64(entry: u64, boot_params: u64) -> !;
    fn enter_linux32(entry: u32, boot_params: u32) -> !;
    fn enter_linux16(segment: u16, stack: u16) -> !;
    fn enter_pvh32(entry: u32, start_info: u32) -> !;
    fn enter_multiboot32(info: u32, order: u32) -> !;
}

/// Leaves the firmware for good.
///
/// # Safety
/// `entry` must come from a plan that has been carried out: there is a kernel with that entry
/// point, and the parameters it asks for are where the entry says.
pub unsafe fn enter(entry: Entry) -> ! {
    match entry {
        // SAFETY: the caller's promise.
        Entry::Linux64 { entry, boot_params } => unsafe { enter_linux64(entry, boot_params) },
        // SAFETY: the caller's promise.
        Entry::Linux16 { segment, stack } => unsafe { enter_linux16(segment, stack) },
        // SAFETY: the caller's promise.
        Entry::Linux32 { entry, boot_params } => unsafe { enter_linux32(entry, boot_params) },
        // SAFETY: the caller's promise.
        Entry::Pvh { entry, start_info } => unsafe { enter_pvh32(entry, start_info) },
        // SAFETY: the caller's promise, and nothing of our memory is used any more: the order lies
        // in reserved memory, which the plan has kept free of the kernel it names.
        Entry::Multiboot { info, order, .. } => unsafe { enter_multiboot32(info, order) },
    }
}
