// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes the memory type range registers.
//!
//! Spec: Intel SDM volume 3, section 12.11; CPUID leaf 0x8000_0008, EAX (address widths).

use core::arch::asm;
use core::arch::x86_64::__cpuid;
use firmware_core::memory::MemoryMap;
use firmware_core::mtrr::{self, FEATURE_MTRR};
use firmware_core::processors::Identity;

/// Gives memory its types, where the processor has MTRRs.
pub fn set_memory_types(identity: &Identity, memory: &MemoryMap<'_>) {
    if identity.features & FEATURE_MTRR == 0 {
        return;
    }
    for (register, value) in mtrr::settings(memory, address_bits()) {
        // SAFETY: the processor has these registers; the values keep reserved bits clear, and
        // give every range the type it has on a PC. Since reset all memory has been uncacheable,
        // so no line is cached under another type.
        unsafe { write_msr(register, value) };
    }
}

/// The width of a guest-physical address.
pub fn address_bits() -> u8 {
    let [bits, ..] = __cpuid(0x8000_0008).eax.to_le_bytes();
    bits
}

/// # Safety
/// The register must exist, take the value, and leave memory as Rust knows it.
unsafe fn write_msr(register: u32, value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "wrmsr",
            in("ecx") register,
            in("eax") low,
            in("edx") high,
            options(nostack, preserves_flags)
        );
    }
}
