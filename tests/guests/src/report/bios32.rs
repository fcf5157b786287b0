// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `bios32.s` has been answered: the BIOS's PCI services in protected mode.

use crate::serial::line;

/// Written by `bios32.s`.
#[derive(Debug)]
#[repr(C)]
pub struct Bios32 {
    directories: u32,
    /// Status of the directory: 0, there is such a service.
    service: u32,
    /// The installation check: EAX, EBX, ECX, EDX.
    check: [u32; 4],
    /// The first double word of 00:00.0: EAX, ECX.
    first: [u32; 2],
    /// A function that nobody knows: EAX.
    unknown: u32,
}

/// Status in AH.
const fn status(eax: u32) -> u32 {
    eax >> 8 & 0xff
}

/// The answers, without what is undefined after them.
pub fn answers(bios32: &Bios32) {
    line!("bios32.directories={}", bios32.directories);
    if bios32.directories == 0 {
        return;
    }
    line!("bios32.service={:#x}", bios32.service);
    if bios32.service != 0 {
        return;
    }
    let [eax, ebx, ecx, edx] = bios32.check;
    line!(
        "bios32.check={:#x} {:#x} {:#x} {edx:#x}",
        eax & 0xffff,
        ebx & 0xffff,
        ecx & 0xff
    );
    let [eax, value] = bios32.first;
    line!("bios32.first={:#x} {value:#x}", status(eax));
    line!("bios32.unknown={:#x}", status(bios32.unknown));
}
