// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interrupt controllers of a PC: a pair of 8259A, everything masked but the cascade.
//!
//! Spec: Intel 8259A datasheet, "Initialization command words"; Intel 82371AB (PIIX4) datasheet,
//! section 4.2.10 (ELCR); Intel MultiProcessor Specification 1.4, section 3.6.2.2 (virtual wire).

use super::ports;
use abi::layout::LOCAL_APIC_ADDR;
use core::ptr;
use firmware_core::board::LEVEL_LINES;

/// First port of each controller; the second is behind it.
const FIRST: u16 = 0x20;
const SECOND: u16 = 0xa0;
/// Edge/level control of interrupts 8 to 15.
const ELCR2: u16 = 0x4d1;
/// Initialisation command word 1: in cascade, word 4 follows.
const ICW1: u8 = 0x11;
/// Word 4: 8086 mode.
const ICW4: u8 = 0x01;
/// The input of the first controller that the second one is at.
const CASCADE: u8 = 2;

/// What is written where. Words 2 are the first vectors, those of a BIOS; last come the masks.
const STEPS: [(u16, u8); 11] = [
    (FIRST, ICW1),
    (FIRST + 1, 0x08),
    (FIRST + 1, 1 << CASCADE),
    (FIRST + 1, ICW4),
    (FIRST + 1, !(1 << CASCADE)),
    (SECOND, ICW1),
    (SECOND + 1, 0x70),
    (SECOND + 1, CASCADE),
    (SECOND + 1, ICW4),
    (SECOND + 1, 0xff),
    (ELCR2, LEVEL_LINES.to_le_bytes()[1]),
];

/// Local vector table, LINT0: where the first controller's output arrives.
const LVT_LINT0: u64 = LOCAL_APIC_ADDR + 0x350;
/// Delivery mode: the controller names the vector.
const EXT_INT: u32 = 0x700;

/// Initialises both, and lets their interrupts through to the processor. Since reset all interrupts
/// have been edge-triggered; those of PCI are not.
pub fn initialise() {
    for (port, value) in STEPS {
        // SAFETY: interrupt controllers reach no memory, and the processor takes no interrupts.
        unsafe { ports::out_u8(port, value) }
    }
    let lint0 = ptr::with_exposed_provenance_mut::<u32>(LVT_LINT0 as usize);
    // SAFETY: a register of the local APIC, aligned and mapped by `boot` on every processor; it
    // reaches no memory, and where there is no APIC the write goes nowhere.
    unsafe { lint0.write_volatile(EXT_INT) }
}
