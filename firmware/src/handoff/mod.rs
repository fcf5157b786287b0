// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way out: from Rust to the kernel's first instruction.
//!
//! Spec: Linux `Documentation/arch/x86/boot.rst`, "32-bit Boot Protocol" and "64-bit Boot
//! Protocol"; Xen `docs/misc/pvh.pandoc`, "Entry point". After [`enter`] begins: no allocation, no logging.

use crate::boot::{CODE32, CODE64, DATA};
use core::arch::global_asm;
use firmware_core::plan::Entry;

global_asm!(
    include_str!("linux64.s"),
    include_str!("linux32.s"),
    include_str!("pvh32.s"),
    code32 = const CODE32,
    boot_cs = const CODE64, // `__BOOT_CS` has one number in both modes
    boot_ds = const DATA,
    options(att_syntax),
);

unsafe extern "C" {
    fn enter_linux64(entry: u64, boot_params: u64) -> !;
    fn enter_linux32(entry: u32, boot_params: u32) -> !;
    fn enter_pvh32(entry: u32, start_info: u32) -> !;
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
        Entry::Linux32 { entry, boot_params } => unsafe { enter_linux32(entry, boot_params) },
        // SAFETY: the caller's promise.
        Entry::Pvh { entry, start_info } => unsafe { enter_pvh32(entry, start_info) },
    }
}
