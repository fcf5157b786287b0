// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ports and model-specific registers. The guest owns the machine: none of them is memory of ours.

use core::arch::asm;

/// Reads a byte.
pub fn byte(port: u16) -> u8 {
    let value;
    // SAFETY: reading a port changes no memory.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value) };
    value
}

/// Reads a doubleword.
pub fn doubleword(port: u16) -> u32 {
    let value;
    // SAFETY: reading a port changes no memory.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value) };
    value
}

/// Writes a doubleword to a port that only selects what another one shows.
pub fn select(port: u16, value: u32) {
    // SAFETY: selecting changes no memory.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value) }
}

/// Reads a model-specific register that every processor has which this guest meets.
pub fn register(number: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading it changes nothing.
    unsafe { asm!("rdmsr", in("ecx") number, out("eax") low, out("edx") high) };
    u64::from(high) << 32 | u64::from(low)
}
