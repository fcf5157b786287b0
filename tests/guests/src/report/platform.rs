// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the firmware did to the processor and the board: memory types, interrupt controllers, and
//! the BIOS's own memory below 0x500.
//!
//! Spec: Intel SDM volume 3, chapters "Memory cache control" and "APIC"; Intel 8259A.

use crate::handed::{bytes, number};
use crate::ports;
use crate::serial::line;
use abi::layout::{BDA_BASE_MEMORY_KIB, BDA_EBDA_SEGMENT, LOCAL_APIC_ADDR};

/// IA32_MTRR_PHYSBASE0, IA32_MTRR_PHYSMASK0 and IA32_MTRR_DEF_TYPE: the ones firmware writes.
const MTRRS: [u32; 3] = [0x200, 0x201, 0x2ff];
/// IA32_APIC_BASE.
const APIC_BASE: u32 = 0x1b;
/// Spurious vector, LVT LINT0 and LINT1.
const APIC_REGISTERS: [u64; 3] = [0xf0, 0x350, 0x360];
/// Mask registers of both interrupt controllers, and their edge/level registers.
const PIC: [u16; 4] = [0x21, 0xa1, 0x4d0, 0x4d1];
/// COM1's port and the number of hard disks, as the BIOS data area has them.
const BDA_COM1: u64 = 0x400;
const BDA_DISKS: u64 = 0x475;
/// Vectors of the interrupts that programs call.
const VECTORS: [u8; 8] = [0x10, 0x11, 0x12, 0x13, 0x15, 0x16, 0x19, 0x1a];

/// Reports all of it.
pub fn report() {
    for number in MTRRS {
        line!("mtrr={number:#x} {:#x}", ports::register(number));
    }
    line!("apic.base={:#x}", ports::register(APIC_BASE));
    for register in APIC_REGISTERS {
        // As the device has it: a whole doubleword at once.
        let value = volatile(LOCAL_APIC_ADDR + register);
        line!("apic={register:#x} {value:#x}");
    }
    for port in PIC {
        line!("pic={port:#x} {:#x}", ports::byte(port));
    }
    let word = |address| number(bytes(address, 2), 0, 2);
    line!("bda.com1={:#x}", word(BDA_COM1));
    line!("bda.ebda={:#x}", word(BDA_EBDA_SEGMENT));
    line!("bda.base={:#x}", word(BDA_BASE_MEMORY_KIB));
    line!("bda.disks={:#x}", word(BDA_DISKS) & 0xff);
    for vector in VECTORS {
        let at = u64::from(vector) * 4;
        line!("ivt={vector:#x} {:#x} {:#x}", word(at + 2), word(at));
    }
}

fn volatile(address: u64) -> u32 {
    let register = core::ptr::with_exposed_provenance::<u32>(usize::try_from(address).unwrap_or(0));
    // SAFETY: the local APIC is mapped to itself, and reading these registers changes nothing.
    unsafe { register.read_volatile() }
}
