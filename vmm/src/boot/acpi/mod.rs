// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine's ACPI tables, and the script by which firmware connects them.
//!
//! Spec: ACPI 6.5, chapter 5; contents and their order as on QEMU `microvm`, except where a
//! table's own introduction says otherwise. In: what the machine consists of. Out: three `fw_cfg`
//! files. Pure.
//!
//! | table | says |
//! |-------|------|
//! | [`dsdt`] | the devices |
//! | [`fadt`] | that there is no fixed hardware, and how to sleep and reset without |
//! | [`madt`] | processors and interrupt controllers |
//! | XSDT, RSDP | where these are |

mod dsdt;
mod fadt;
mod madt;

use super::table_loader::Script;
use crate::config::Machine;
use crate::devices::virtio::{Slot, Wiring};
use abi::fw_cfg::file::{ACPI_RSDP, ACPI_TABLES};
use abi::table_loader::{ZONE_FSEG, ZONE_HIGH};
use acpi_tables::Aml;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use std::ops::Range;

const OEM_ID: [u8; 6] = *b"QBOOT ";
const OEM_TABLE_ID: [u8; 8] = *b"MICROVM ";
const OEM_REVISION: u32 = 1;

/// Size in bytes of the header that every table but the RSDP begins with.
const HEADER_SIZE: u32 = 36;
/// Offset of the checksum in that header.
const CHECKSUM: u32 = 9;
/// Offset of the RSDP's pointer to the XSDT.
const RSDP_XSDT: u32 = 24;
/// Offset of the checksum over the whole RSDP.
const RSDP_CHECKSUM: u32 = 32;
/// Alignment that a scan for the RSDP needs.
const RSDP_ALIGN: u32 = 16;
/// Alignment of the tables: a cache line.
const TABLES_ALIGN: u32 = 64;

/// The three files.
#[derive(Debug)]
pub(super) struct Files {
    /// [`ACPI_RSDP`].
    pub rsdp: Vec<u8>,
    /// [`ACPI_TABLES`].
    pub tables: Vec<u8>,
    /// [`TABLE_LOADER`](abi::fw_cfg::file::TABLE_LOADER).
    pub script: Vec<u8>,
}

/// The tables of a machine with `cpus` processors and virtio devices in these slots.
///
/// Each table's checksum is right as it stands, with offsets in place of addresses. So only what
/// receives an address is summed up again by firmware.
pub(super) fn files(machine: &Machine, wiring: Wiring, cpus: u32, slots: &[Slot]) -> Files {
    let mut tables = Vec::new();
    let dsdt = append(&mut tables, &dsdt::table(machine, slots));
    let fadt = append(&mut tables, &fadt::table(machine, dsdt.start));
    let madt = append(&mut tables, &madt::table(machine, wiring, cpus));
    let mut root = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    for table in [&fadt, &madt] {
        root.add_entry(table.start.into());
    }
    let xsdt = append(&mut tables, &bytes(&root));
    let rsdp = bytes(&Rsdp::new(OEM_ID, xsdt.start.into()));

    let mut script = Script::default();
    script.allocate(ACPI_RSDP, RSDP_ALIGN, ZONE_FSEG);
    script.allocate(ACPI_TABLES, TABLES_ALIGN, ZONE_HIGH);
    for (offset, size) in fadt::POINTERS {
        script.add_pointer(ACPI_TABLES, fadt.start + offset, size, ACPI_TABLES);
    }
    script.add_checksum(ACPI_TABLES, fadt.start + CHECKSUM, fadt);
    for entry in (xsdt.start + HEADER_SIZE..xsdt.end).step_by(8) {
        script.add_pointer(ACPI_TABLES, entry, 8, ACPI_TABLES);
    }
    script.add_checksum(ACPI_TABLES, xsdt.start + CHECKSUM, xsdt);
    script.add_pointer(ACPI_RSDP, RSDP_XSDT, 8, ACPI_TABLES);
    script.add_checksum(ACPI_RSDP, RSDP_CHECKSUM, 0..length(&rsdp));
    Files {
        rsdp,
        tables,
        script: script.into_bytes(),
    }
}

/// Puts `table` behind the others. Gives where it is.
fn append(tables: &mut Vec<u8>, table: &[u8]) -> Range<u32> {
    let start = length(tables);
    tables.extend_from_slice(table);
    start..length(tables)
}

/// All tables together have a few KiB.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// A table: its header, and `body` behind it.
fn table(signature: [u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let mut table = Sdt::new(
        signature,
        HEADER_SIZE,
        revision,
        OEM_ID,
        OEM_TABLE_ID,
        OEM_REVISION,
    );
    table.append_slice(body);
    table.as_slice().to_vec()
}

fn bytes(object: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    object.to_aml_bytes(&mut bytes);
    bytes
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::config::IrqChip;
    use abi::checksum;

    const NOTHING: Machine = Machine {
        acpi: true,
        auto_kernel_cmdline: true,
        force_legacy: false,
        ioapic2: None,
        irqchip: IrqChip::Split,
        pic: false,
        pit: false,
        rtc: false,
        isa_serial: false,
        pvpanic: false,
        x_option_roms: true,
    };

    const EVERYTHING: Machine = Machine {
        pic: true,
        pit: true,
        rtc: true,
        isa_serial: true,
        pvpanic: true,
        ..NOTHING
    };

    /// The tables in their order, by what their headers say.
    fn split(mut tables: &[u8]) -> Vec<&[u8]> {
        let mut found = Vec::new();
        while !tables.is_empty() {
            let length = u32::from_le_bytes(tables[4..8].try_into().unwrap());
            let (table, rest) = tables.split_at(length as usize);
            found.push(table);
            tables = rest;
        }
        found
    }

    fn contains(table: &[u8], part: &[u8]) -> bool {
        table.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn every_table_adds_up_before_anything_is_connected() {
        for machine in [EVERYTHING, NOTHING] {
            for cpus in [1, 2, 255] {
                let files = files(&machine, Wiring::One, cpus, &[]);
                let tables = split(&files.tables);
                let names: Vec<_> = tables.iter().map(|table| &table[..4]).collect();
                assert_eq!(names, [b"DSDT", b"FACP", b"APIC", b"XSDT"]);
                assert!(tables.iter().all(|table| checksum::sum(table) == 0));
                assert_eq!(files.rsdp.len(), 36);
                assert_eq!(checksum::sum(&files.rsdp), 0);
                assert_eq!(checksum::sum(&files.rsdp[..20]), 0);
            }
        }
    }

    #[test]
    fn every_pointer_is_an_offset_of_what_it_points_to() {
        let files = files(&EVERYTHING, Wiring::One, 3, &[]);
        let at = |offset: u64| &files.tables[usize::try_from(offset).unwrap()..][..4];
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes[..8].try_into().unwrap());
        let xsdt = number(&files.rsdp[24..]);
        assert_eq!(at(xsdt), b"XSDT");
        let tables = split(&files.tables);
        assert_eq!(at(number(&tables[3][36..])), b"FACP");
        assert_eq!(at(number(&tables[3][44..])), b"APIC");
        assert_eq!(at(number(&tables[1][140..])), b"DSDT");
        assert_eq!(tables[1][40..44], tables[1][140..144]);
    }

    #[test]
    fn the_script_has_only_commands_that_every_firmware_knows() {
        let files = files(&EVERYTHING, Wiring::One, 1, &[]);
        let commands: Vec<_> = files.script.chunks(128).map(|record| record[0]).collect();
        assert_eq!(commands, [1, 1, 2, 2, 3, 2, 2, 3, 2, 3]);
    }

    #[test]
    fn the_fadt_says_what_is_not_there() {
        let fadt = |machine: &Machine| fadt::table(machine, 0);
        let all = fadt(&EVERYTHING);
        assert_eq!(all.len(), 268);
        assert_eq!((all[8], all[131]), (5, 1));
        // Hardware-reduced, with a reset register.
        assert_eq!(all[112..116], 0x0010_0400u32.to_le_bytes());
        assert_eq!(all[109..111], [0b101, 0]);
        assert_eq!(fadt(&NOTHING)[109..111], [0b10_0100, 0]);
        // Reset, sleep control and sleep status: memory, 8 bits, the address.
        assert_eq!(all[116..129], *b"\0\x08\0\x01\x02\x02\xa0\xfe\0\0\0\0\x42");
        assert_eq!(all[244..256], *b"\0\x08\0\x01\0\x02\xa0\xfe\0\0\0\0");
        assert_eq!(all[256..268], *b"\0\x08\0\x01\x01\x02\xa0\xfe\0\0\0\0");
    }

    #[test]
    fn the_madt_names_every_processor_and_where_the_timer_is() {
        for cpus in [1u8, 2, 255] {
            let madt = madt::table(&EVERYTHING, Wiring::One, cpus.into());
            let (processors, rest) = madt[44..].split_at(8 * usize::from(cpus));
            for (id, entry) in (0..cpus).zip(processors.chunks(8)) {
                assert_eq!(entry, [0, 8, id, id, 1, 0, 0, 0]);
            }
            assert_eq!(rest[..12], *b"\x01\x0c\0\0\0\0\xc0\xfe\0\0\0\0");
            assert_eq!(rest[12..22], [2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
            assert_eq!(rest[22..], [4, 6, 255, 0, 0, 1]);
        }
        assert_eq!(
            madt::table(&EVERYTHING, Wiring::One, 1)[40..44],
            [1, 0, 0, 0]
        );
        let madt = madt::table(&NOTHING, Wiring::One, 1);
        assert_eq!(madt[40..44], [0; 4], "there is no 8259 pair");
        assert_eq!(madt[64..], [4, 6, 255, 0, 0, 1]);
    }

    #[test]
    fn a_second_io_apic_is_in_the_madt_and_its_pins_in_the_dsdt() {
        let madt = madt::table(&NOTHING, Wiring::Two, 1);
        assert_eq!(madt[52..64], *b"\x01\x0c\0\0\0\0\xc0\xfe\0\0\0\0");
        assert_eq!(madt[64..76], *b"\x01\x0c\x01\0\0\0\xc1\xfe\x18\0\0\0");
        let slots: Vec<_> = Slot::all(Wiring::Two).collect();
        let dsdt = dsdt::table(&EVERYTHING, &slots);
        for (name, interrupt) in [(b"VR00", 24), (b"VR23", 47)] {
            assert!(contains(&dsdt, name));
            assert!(contains(&dsdt, &[0x89, 6, 0, 0b11, 1, interrupt, 0, 0, 0]));
        }
    }

    #[test]
    fn the_dsdt_names_the_devices_that_are_there() {
        let (com1, rtc) = ([0x41, 0xd0, 0x05, 0x01], [0x41, 0xd0, 0x0b, 0x00]);
        let all = dsdt::table(&EVERYTHING, &[]);
        assert!(contains(&all, &com1) && contains(&all, &rtc));
        let least = dsdt::table(&NOTHING, &[]);
        assert!(!contains(&least, &com1) && !contains(&least, &rtc));
        for name in [&b"QEMU0002"[..], b"ACPI0013", b"_EVT", b"_S5_"] {
            assert!(contains(&least, name));
        }
    }

    #[test]
    fn the_dsdt_names_every_virtio_device() {
        let slots: Vec<_> = Slot::all(Wiring::One).take(2).collect();
        let dsdt = dsdt::table(&EVERYTHING, &slots);
        for (name, address, interrupt) in [(b"VR07", 0xe00u16, 23), (b"VR06", 0xc00, 22)] {
            assert!(contains(&dsdt, name));
            let [low, high] = address.to_le_bytes();
            assert!(contains(
                &dsdt,
                &[0x86, 9, 0, 1, low, high, 0xb0, 0xfe, 0, 2, 0, 0]
            ));
            // An edge, as the interrupts of KVM's event counters are.
            assert!(contains(&dsdt, &[0x89, 6, 0, 0b11, 1, interrupt, 0, 0, 0]));
        }
        assert!(!contains(&dsdt, b"VR05"));
    }
}
