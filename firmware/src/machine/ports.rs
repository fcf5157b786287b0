// SPDX-License-Identifier: MIT OR Apache-2.0
//! Port accesses.
//!
//! None of these says `nomem`: a port write can make the host read and write memory, and a
//! `fw_cfg` DMA doorbell exists for nothing else. The compiler must therefore finish its stores
//! before, and assume any memory changed after.

use core::arch::asm;

/// Writes a byte to a port whose only effect is on the outside: trace, log, failure.
pub fn report_u8(port: u16, value: u8) {
    // SAFETY: the callers' ports (abi::debug, COM1) report to the host; no device there reads or
    // writes our memory.
    unsafe { out_u8(port, value) };
}

/// Writes four bytes to such a port.
pub fn report_u32(port: u16, value: u32) {
    // SAFETY: as in `report_u8`.
    unsafe { out_u32(port, value) };
}

/// Reads a byte from a port where reading has no effect.
pub fn probe_u8(port: u16) -> u8 {
    let value;
    // SAFETY: an input from a device register without side effects changes no memory.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nostack, preserves_flags)) };
    value
}

/// Reads four bytes from a port where reading has no effect.
pub fn probe_u32(port: u16) -> u32 {
    let value;
    // SAFETY: as in `probe_u8`.
    unsafe {
        asm!("in eax, dx", in("dx") port, out("eax") value, options(nostack, preserves_flags));
    }
    value
}

/// Writes a byte.
///
/// # Safety
/// What the device does with it must be sound for every part of memory it reaches.
pub unsafe fn out_u8(port: u16, value: u8) {
    // SAFETY: the caller's promise.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags)) };
}

/// Writes two bytes.
///
/// # Safety
/// As [`out_u8`].
pub unsafe fn out_u16(port: u16, value: u16) {
    // SAFETY: the caller's promise.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nostack, preserves_flags)) };
}

/// Writes four bytes.
///
/// # Safety
/// As [`out_u8`].
pub unsafe fn out_u32(port: u16, value: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags));
    }
}

/// Reads `length` bytes from one port into memory, in one instruction.
///
/// # Safety
/// `to` must be valid for writing `length` bytes that nothing else refers to.
pub unsafe fn in_bytes(port: u16, to: *mut u8, length: usize) {
    // SAFETY: the caller's promise; the direction flag is clear as the ABI requires.
    unsafe {
        asm!(
            "rep insb",
            in("dx") port,
            inout("rdi") to => _,
            inout("rcx") length => _,
            options(nostack, preserves_flags)
        );
    }
}
