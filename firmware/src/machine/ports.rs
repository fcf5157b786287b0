// SPDX-License-Identifier: MIT OR Apache-2.0
//! Port accesses.
//!
//! None of these says `nomem`: a port write can make the host read and write memory, and a
//! `fw_cfg` DMA doorbell exists for nothing else. The compiler must therefore finish its stores
//! before, and assume any memory changed after.

use abi::debug::{
    DEBUG_CONSOLE_PORT, DEBUG_CONSOLE_PRESENT, FAILURE_PORT, FailureCode, TRACE_FIRMWARE_PORT,
    TRACE_KERNEL_PORT,
};
use core::arch::asm;
use uart_16550::Uart16550;
use uart_16550::backend::Backend;

/// A port whose only effect is on the outside: nobody behind it reads or writes our memory.
#[derive(Clone, Copy)]
#[repr(u16)]
pub enum ReportPort {
    /// Firmware trace points.
    TraceFirmware = TRACE_FIRMWARE_PORT,
    /// Kernel trace points.
    TraceKernel = TRACE_KERNEL_PORT,
    /// The debug console.
    DebugConsole = DEBUG_CONSOLE_PORT,
}

/// Writes a byte to such a port.
pub fn report(port: ReportPort, value: u8) {
    // SAFETY: `ReportPort` names no port whose device reaches our memory.
    unsafe { out_u8(port as u16, value) };
}

/// Tells the VMM that the firmware has given up.
pub fn report_failure(code: FailureCode) {
    // SAFETY: the port reports to the host; where nobody decodes it, nothing happens.
    unsafe { out_u32(FAILURE_PORT, code.to_port_value()) };
}

/// Whether the debug console answers.
pub fn has_debug_console() -> bool {
    // SAFETY: reading the port has no effect.
    unsafe { in_u8(DEBUG_CONSOLE_PORT) == DEBUG_CONSOLE_PRESENT }
}

/// The ports of a UART. The library's own backend can panic, which costs the image 2 KiB.
pub struct UartPorts {
    first: u16,
}

impl Backend for UartPorts {
    unsafe fn read(&mut self, register: u8) -> u8 {
        // SAFETY: one of the eight ports of a UART; the caller knows what reading the register does.
        unsafe { in_u8(self.first | u16::from(register & 7)) }
    }

    unsafe fn write(&mut self, register: u8, value: u8) {
        // SAFETY: as above; the caller knows what writing the register does.
        unsafe { out_u8(self.first | u16::from(register & 7), value) }
    }
}

/// The UART whose ports begin at `first`, a multiple of 8.
pub fn uart(first: u16) -> Uart16550<UartPorts> {
    // SAFETY: the ports of COM1 are a 16550 or nothing; whoever asks again, after an error in the
    // middle of a line, only continues it.
    unsafe { Uart16550::new_with_backend(UartPorts { first }) }
}

/// Reads a byte.
///
/// # Safety
/// What reading makes the device do must be sound.
pub unsafe fn in_u8(port: u16) -> u8 {
    let value;
    // SAFETY: the caller's promise.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nostack, preserves_flags)) };
    value
}

/// Reads four bytes.
///
/// # Safety
/// As [`in_u8`].
pub unsafe fn in_u32(port: u16) -> u32 {
    let value;
    // SAFETY: the caller's promise.
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
