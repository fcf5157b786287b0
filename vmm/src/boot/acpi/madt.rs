// SPDX-License-Identifier: MIT OR Apache-2.0
//! MADT: processors and interrupt controllers.
//!
//! Spec: ACPI 6.5, section 5.2.12. Unlike QEMU's it says that the timer is at pin 2 of the I/O
//! APIC, as the MP tables say that firmware writes.

use super::table as with_header;
use crate::config::Machine;
use crate::devices::ioapic::PINS;
use crate::devices::virtio::Wiring;
use abi::layout::{IO_APIC_ADDR, IO_APIC2_ADDR, LOCAL_APIC_ADDR};
use acpi_tables::Aml;
use acpi_tables::madt::{EnabledStatus, IoApic, ProcessorLocalApic};

/// Revision: the one whose processors have 8-bit APIC IDs.
const REVISION: u8 = 1;
/// Flags: there are 8259 interrupt controllers, too, which must be masked.
const PCAT_COMPAT: u32 = 1 << 0;
/// Structure: an ISA interrupt that arrives elsewhere.
const SOURCE_OVERRIDE: u8 = 2;
/// Structure: where non-maskable interrupts arrive.
const LOCAL_APIC_NMI: u8 = 4;
/// All processors.
const EVERYBODY: u8 = 0xff;
/// Where the timer arrives at the I/O APIC.
const TIMER_PIN: u8 = 2;

/// The table of a machine with `cpus` processors, whose APIC IDs count from 0.
pub(super) fn table(machine: &Machine, wiring: Wiring, cpus: u32) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&address(LOCAL_APIC_ADDR).to_le_bytes());
    let flags = if machine.pic { PCAT_COMPAT } else { 0 };
    body.extend_from_slice(&flags.to_le_bytes());
    // Validated to at most 255.
    for id in (0..=u8::MAX).zip(0..cpus).map(|(id, _)| id) {
        ProcessorLocalApic::new(id, id, EnabledStatus::Enabled).to_aml_bytes(&mut body);
    }
    IoApic::new(0, address(IO_APIC_ADDR), 0).to_aml_bytes(&mut body);
    if wiring == Wiring::Two {
        IoApic::new(1, address(IO_APIC2_ADDR), PINS).to_aml_bytes(&mut body);
    }
    if machine.pit {
        // Bus 0 (ISA), interrupt 0, its number at the I/O APIC, trigger and polarity as ISA has.
        body.extend([SOURCE_OVERRIDE, 10, 0, 0, TIMER_PIN, 0, 0, 0, 0, 0]);
    }
    // Trigger and polarity as the bus has, input 1.
    body.extend([LOCAL_APIC_NMI, 6, EVERYBODY, 0, 0, 1]);
    with_header(*b"APIC", REVISION, &body)
}

/// Both kinds of APIC lie below 4 GiB.
fn address(address: u64) -> u32 {
    u32::try_from(address).unwrap_or(u32::MAX)
}
