// SPDX-License-Identifier: MIT OR Apache-2.0
//! DSDT: the devices that nothing else announces.
//!
//! Spec: ACPI 6.5, sections 5.2.11.1 (the table), 6.1 and 6.4 (names and resources), 5.6.9 (generic
//! event device). SeaBIOS reads it without an interpreter: what it looks for must be a plain
//! `_HID` and a `_CRS` that is a buffer.

use super::{bytes, table as with_header};
use crate::config::Machine;
use crate::devices::cmos;
use crate::devices::ged::{GED_IRQ, POWER_BUTTON, SLEEP_TYPE_OFF};
use crate::devices::pvpanic::PVPANIC_PORT;
use crate::devices::serial::{COM1_IRQ, COM1_PORT, COM1_PORTS};
use crate::devices::virtio::Slot;
use abi::fw_cfg::{PORT_BASE, PORT_COUNT};
use abi::layout::{GED_EVENTS_ADDR, VIRTIO_MMIO_SIZE};
use acpi_tables::aml::{
    And, Device, EISAName, Equal, Field, FieldAccessType, FieldEntry, FieldLockRule,
    FieldUpdateRule, IO, If, Interrupt, Local, Memory32Fixed, Method, Name, Notify, ONE, OpRegion,
    OpRegionSpace, Package, Path, ResourceTemplate, Scope, Store, ZERO,
};

/// Revision: the one whose integers have 64 bits.
const REVISION: u8 = 2;
/// Device status: present, enabled and functioning, but nothing to show to the user.
const PRESENT_HIDDEN: u8 = 0x0b;
/// What [`Notify`] says of a power button: pressed.
const BUTTON_PRESSED: u8 = 0x80;

/// The table.
pub(super) fn table(machine: &Machine, slots: &[Slot]) -> Vec<u8> {
    let mut devices = fw_cfg();
    if machine.isa_serial {
        devices.extend(com1());
    }
    if machine.rtc {
        devices.extend(rtc());
    }
    if machine.pvpanic {
        devices.extend(pvpanic());
    }
    devices.extend(events());
    devices.extend(power_button());
    for slot in slots {
        devices.extend(virtio(*slot));
    }
    let mut body = Scope::raw(Path::new("_SB_"), devices);
    body.extend(power_off());
    with_header(*b"DSDT", REVISION, &body)
}

fn fw_cfg() -> Vec<u8> {
    bytes(&Device::new(
        Path::new("FWCF"),
        vec![
            &Name::new(Path::new("_HID"), &"QEMU0002"),
            &Name::new(Path::new("_STA"), &PRESENT_HIDDEN),
            &Name::new(
                Path::new("_CRS"),
                &ResourceTemplate::new(vec![&ports(PORT_BASE, PORT_COUNT)]),
            ),
        ],
    ))
}

fn com1() -> Vec<u8> {
    bytes(&Device::new(
        Path::new("COM1"),
        vec![
            &Name::new(Path::new("_HID"), &EISAName::new("PNP0501")),
            &Name::new(Path::new("_UID"), &ONE),
            &Name::new(
                Path::new("_CRS"),
                &ResourceTemplate::new(vec![&ports(COM1_PORT, COM1_PORTS), &edge(COM1_IRQ)]),
            ),
        ],
    ))
}

fn rtc() -> Vec<u8> {
    bytes(&Device::new(
        Path::new("RTC_"),
        vec![
            &Name::new(Path::new("_HID"), &EISAName::new("PNP0B00")),
            &Name::new(
                Path::new("_CRS"),
                &ResourceTemplate::new(vec![&ports(cmos::INDEX_PORT, 2), &edge(cmos::RTC_IRQ)]),
            ),
        ],
    ))
}

/// Where a kernel tells that it has panicked. Its drivers need nothing but the port.
fn pvpanic() -> Vec<u8> {
    bytes(&Device::new(
        Path::new("PEVT"),
        vec![
            &Name::new(Path::new("_HID"), &"QEMU0001"),
            &Name::new(Path::new("_STA"), &PRESENT_HIDDEN),
            &Name::new(
                Path::new("_CRS"),
                &ResourceTemplate::new(vec![&ports(PVPANIC_PORT, 1)]),
            ),
        ],
    ))
}

/// The generic event device: at its interrupt the event selector says what has happened.
fn events() -> Vec<u8> {
    let selector = Path::new("ESEL");
    let pressed = And::new(&ZERO, &Local(0), &POWER_BUTTON);
    bytes(&Device::new(
        Path::new("GED_"),
        vec![
            &Name::new(Path::new("_HID"), &"ACPI0013"),
            &Name::new(Path::new("_UID"), &ZERO),
            &Name::new(
                Path::new("_CRS"),
                &ResourceTemplate::new(vec![&edge(GED_IRQ)]),
            ),
            &OpRegion::new(
                Path::new("EREG"),
                OpRegionSpace::SystemMemory,
                &GED_EVENTS_ADDR,
                &4u8,
            ),
            &Field::new(
                Path::new("EREG"),
                FieldAccessType::DWord,
                FieldLockRule::NoLock,
                FieldUpdateRule::WriteAsZeroes,
                vec![FieldEntry::Named(*b"ESEL", 32)],
            ),
            &Method::new(
                Path::new("_EVT"),
                1,
                true,
                vec![
                    &Store::new(&Local(0), &selector),
                    &If::new(
                        &Equal::new(&pressed, &POWER_BUTTON),
                        vec![&Notify::new(&Path::new("PWRB"), &BUTTON_PRESSED)],
                    ),
                ],
            ),
        ],
    ))
}

fn power_button() -> Vec<u8> {
    bytes(&Device::new(
        Path::new("PWRB"),
        vec![
            &Name::new(Path::new("_HID"), &EISAName::new("PNP0C0C")),
            &Name::new(Path::new("_UID"), &ZERO),
        ],
    ))
}

/// A virtio device in its slot. Unlike QEMU's, its interrupt is an edge: that is what an event
/// counter of KVM's raises, and the device raises another for each event.
fn virtio(slot: Slot) -> Vec<u8> {
    let first = u32::try_from(slot.address()).unwrap_or(u32::MAX);
    let size = u32::try_from(VIRTIO_MMIO_SIZE).unwrap_or(u32::MAX);
    bytes(&Device::new(
        Path::new(&format!("VR{:02}", slot.number())),
        vec![
            &Name::new(Path::new("_HID"), &"LNRO0005"),
            &Name::new(Path::new("_UID"), &slot.number()),
            &Name::new(Path::new("_CCA"), &ONE),
            &Name::new(
                Path::new("_CRS"),
                &ResourceTemplate::new(vec![
                    &Memory32Fixed::new(true, first, size),
                    &edge(slot.interrupt()),
                ]),
            ),
        ],
    ))
}

/// What to write to the sleep control register for S5.
fn power_off() -> Vec<u8> {
    let values = Package::new(vec![&SLEEP_TYPE_OFF, &ZERO, &ZERO, &ZERO]);
    bytes(&Name::new(Path::new("_S5_"), &values))
}

fn ports(first: u16, count: u16) -> IO {
    IO::new(first, first, 1, count.to_le_bytes()[0])
}

/// An interrupt of one's own: edge-triggered, active high.
fn edge(number: u32) -> Interrupt {
    Interrupt::new(true, true, false, false, number)
}
