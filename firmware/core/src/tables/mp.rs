// SPDX-License-Identifier: MIT OR Apache-2.0
//! Intel MP tables: how a kernel without ACPI finds processors and interrupt wiring.
//!
//! Spec: Intel MultiProcessor Specification 1.4, chapter 4.
//! In: the processors. Out: floating pointer and configuration table.

use crate::memory::Range;
use crate::processors::Processors;
use abi::checksum;
use abi::layout::{IO_APIC_ADDR, LOCAL_APIC_ADDR};
use abi::mp::{
    ALL_LOCAL_APICS, BUS_TYPE_ISA, BusEntry, CONFIG_SIGNATURE, ConfigHeader, ENTRY_BUS,
    ENTRY_IO_APIC, ENTRY_IO_INTERRUPT, ENTRY_LOCAL_INTERRUPT, ENTRY_PROCESSOR,
    FLOATING_POINTER_SIGNATURE, FloatingPointer, INTERRUPT_EXTINT, INTERRUPT_INT, INTERRUPT_NMI,
    IO_APIC_ENABLED, InterruptEntry, IoApicEntry, PROCESSOR_BOOTSTRAP, PROCESSOR_ENABLED,
    ProcessorEntry, SPEC_REVISION_1_4,
};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Size in bytes of the floating pointer.
pub const POINTER_SIZE: u64 = size_of::<FloatingPointer>() as u64;

/// ISA interrupts with an entry of their own: 0 to 15 without 2, the cascade of the two 8259s.
const ISA_INTERRUPTS: u8 = 15;

/// Version of the local APICs: integrated (not an 82489DX), as KVM and QEMU model them.
const LOCAL_APIC_VERSION: u8 = 0x14;

/// Version of the I/O APIC, as KVM models it (82093AA). QEMU's own reads 0x20; what a kernel needs
/// of it, it reads from the register.
const IO_APIC_VERSION: u8 = 0x11;

const ISA_BUS: u8 = 0;

/// A wire of the ISA bus to the I/O APIC pin of the same number; the table names the I/O APIC.
const fn isa_wire(irq: u8) -> InterruptEntry {
    InterruptEntry {
        entry_type: ENTRY_IO_INTERRUPT,
        interrupt_type: INTERRUPT_INT,
        flags: U16::new(0), // as the bus specifies: edge-triggered, active high
        source_bus_id: ISA_BUS,
        source_bus_irq: irq,
        destination_apic_id: 0,
        destination_apic_input: irq,
    }
}

/// The ISA interrupts' wires, ready to be copied.
const ISA_WIRES: [InterruptEntry; ISA_INTERRUPTS as usize] = [
    isa_wire(0),
    isa_wire(1),
    isa_wire(3),
    isa_wire(4),
    isa_wire(5),
    isa_wire(6),
    isa_wire(7),
    isa_wire(8),
    isa_wire(9),
    isa_wire(10),
    isa_wire(11),
    isa_wire(12),
    isa_wire(13),
    isa_wire(14),
    isa_wire(15),
];

/// Section 3.6.2.2 (virtual wire mode): the 8259 pair reaches the bootstrap processor, whose ID is
/// 0 on every machine we know, at LINT0; NMI reaches every processor at LINT1.
const LOCAL_WIRES: [InterruptEntry; 2] = [
    InterruptEntry {
        entry_type: ENTRY_LOCAL_INTERRUPT,
        interrupt_type: INTERRUPT_EXTINT,
        destination_apic_id: 0,
        destination_apic_input: 0,
        ..isa_wire(0)
    },
    InterruptEntry {
        entry_type: ENTRY_LOCAL_INTERRUPT,
        interrupt_type: INTERRUPT_NMI,
        destination_apic_id: ALL_LOCAL_APICS,
        destination_apic_input: 1,
        ..isa_wire(0)
    },
];

/// A guest-physical address below 4 GiB.
const fn low_address(address: u64) -> U32 {
    let [a, b, c, d, ..] = address.to_le_bytes();
    U32::from_bytes([a, b, c, d])
}

/// The header but for what the number of processors decides.
const HEADER: ConfigHeader = ConfigHeader {
    signature: CONFIG_SIGNATURE,
    base_table_length: U16::ZERO,
    spec_rev: SPEC_REVISION_1_4,
    checksum: 0,
    oem_id: *b"QBOOT-RS",
    product_id: *b"MICROVM     ",
    oem_table_pointer: U32::ZERO,
    oem_table_size: U16::ZERO,
    entry_count: U16::ZERO,
    local_apic_address: low_address(LOCAL_APIC_ADDR),
    extended_table_length: U16::ZERO,
    extended_table_checksum: 0,
    reserved: 0,
};

/// Sum of its bytes.
const HEADER_SUM: u8 = {
    let bytes: [u8; size_of::<ConfigHeader>()] = zerocopy::transmute!(HEADER);
    checksum::sum_const(&bytes)
};

/// What follows the processor entries; its size does not depend on the machine.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Wiring {
    bus: BusEntry,
    io_apic: IoApicEntry,
    isa: [InterruptEntry; ISA_INTERRUPTS as usize],
    local: [InterruptEntry; 2],
}

/// The wiring but for the I/O APIC's ID, ready to be copied.
const WIRING: Wiring = Wiring {
    bus: BusEntry {
        entry_type: ENTRY_BUS,
        bus_id: ISA_BUS,
        bus_type: BUS_TYPE_ISA,
    },
    io_apic: IoApicEntry {
        entry_type: ENTRY_IO_APIC,
        io_apic_id: 0,
        io_apic_version: IO_APIC_VERSION,
        flags: IO_APIC_ENABLED,
        address: low_address(IO_APIC_ADDR),
    },
    isa: ISA_WIRES,
    local: LOCAL_WIRES,
};

/// Sum of its bytes, so that nobody adds them up on every boot.
const WIRING_SUM: u8 = {
    let bytes: [u8; size_of::<Wiring>()] = zerocopy::transmute!(WIRING);
    checksum::sum_const(&bytes)
};

/// Entries in [`Wiring`].
const WIRING_ENTRIES: u16 = 1 + 1 + ISA_INTERRUPTS as u16 + 2;

/// Size in bytes of a table without processors.
const FIXED_SIZE: u64 = (size_of::<ConfigHeader>() + size_of::<Wiring>()) as u64;

/// Size in bytes of the configuration table.
#[must_use]
pub fn table_size(processors: &Processors) -> u64 {
    processors
        .named()
        .saturating_mul(size_of::<ProcessorEntry>() as u64)
        .saturating_add(FIXED_SIZE)
}

/// The floating pointer before it points anywhere.
const POINTER: FloatingPointer = FloatingPointer {
    signature: FLOATING_POINTER_SIGNATURE,
    physical_address: U32::ZERO,
    length: 1,
    spec_rev: SPEC_REVISION_1_4,
    checksum: 0,
    feature1: 0,
    feature2: 0,
    feature3_5: [0; 3],
};

/// Sum of its bytes.
const POINTER_SUM: u8 = {
    let bytes: [u8; size_of::<FloatingPointer>()] = zerocopy::transmute!(POINTER);
    checksum::sum_const(&bytes)
};

/// Writes the floating pointer to a table at `table`.
pub fn write_pointer(bytes: &mut [u8], table: Range) {
    let Ok(pointer) = FloatingPointer::mut_from_bytes(bytes) else {
        return;
    };
    *pointer = FloatingPointer {
        physical_address: u32::try_from(table.start()).unwrap_or_default().into(),
        ..POINTER
    };
    let sum = POINTER_SUM.wrapping_add(checksum::sum_word(pointer.physical_address.into()));
    pointer.checksum = sum.wrapping_neg();
}

/// Writes the configuration table into `bytes`, which has [`table_size`] bytes.
pub fn write_table(bytes: &mut [u8], processors: &Processors, irq0_override: bool) {
    let Ok(length) = u16::try_from(bytes.len()) else {
        return;
    };
    let Ok((header, entries)) = ConfigHeader::mut_from_prefix(bytes) else {
        return;
    };
    let Ok((cpus, wiring)) = Wiring::mut_from_suffix(entries) else {
        return;
    };
    let Ok(cpus) = <[ProcessorEntry]>::mut_from_bytes(cpus) else {
        return;
    };

    let entry_count = u16::try_from(cpus.len())
        .unwrap_or(0)
        .saturating_add(WIRING_ENTRIES);
    let (highest, mut sum) = write_processors(cpus, processors);
    sum = sum.wrapping_add(write_wiring(wiring, highest, irq0_override));
    *header = HEADER;
    header.base_table_length = length.into();
    header.entry_count = entry_count.into();
    sum = sum.wrapping_add(checksum::sum_word(
        u64::from(length) | u64::from(entry_count) << 16,
    ));
    header.checksum = sum.wrapping_add(HEADER_SUM).wrapping_neg();
}

/// Returns the highest APIC ID, and the sum of the entries' bytes.
fn write_processors(entries: &mut [ProcessorEntry], processors: &Processors) -> (u8, u8) {
    let identity = processors.identity();
    let (signature, features) = (identity.signature, identity.features);
    let each = checksum::sum_word(u64::from(signature) | u64::from(features) << 32)
        .wrapping_add(ENTRY_PROCESSOR)
        .wrapping_add(LOCAL_APIC_VERSION)
        .wrapping_add(PROCESSOR_ENABLED);
    let (mut highest, mut sum) = (0, PROCESSOR_BOOTSTRAP);
    let mut flags = PROCESSOR_ENABLED | PROCESSOR_BOOTSTRAP;
    for (entry, id) in entries.iter_mut().zip(processors.apic_ids().flatten()) {
        *entry = ProcessorEntry {
            entry_type: ENTRY_PROCESSOR,
            local_apic_id: id,
            local_apic_version: LOCAL_APIC_VERSION,
            flags,
            signature: signature.into(),
            feature_flags: features.into(),
            reserved: [0.into(); 2],
        };
        sum = sum.wrapping_add(each).wrapping_add(id);
        flags = PROCESSOR_ENABLED;
        highest = id; // IDs only grow
    }
    (highest, sum)
}

/// Returns the sum of its bytes.
fn write_wiring(wiring: &mut Wiring, highest_cpu: u8, irq0_override: bool) -> u8 {
    // Section 4.3.3: unique among all APICs. With 255 processors no 8-bit ID is left; xAPIC
    // systems do not use this one, so it may then be 0.
    let io_apic_id = match highest_cpu.checked_add(1) {
        Some(id) if id != ALL_LOCAL_APICS => id,
        _ => 0,
    };
    *wiring = WIRING;
    wiring.io_apic.io_apic_id = io_apic_id;
    for [a, b, c] in wiring.isa.as_chunks_mut().0 {
        a.destination_apic_id = io_apic_id;
        b.destination_apic_id = io_apic_id;
        c.destination_apic_id = io_apic_id;
    }
    // The ID stands in the entry of the I/O APIC and in each of the ISA interrupts'.
    const NAMED: u8 = 1 + ISA_INTERRUPTS;
    let mut sum = WIRING_SUM.wrapping_add(io_apic_id.wrapping_mul(NAMED));
    if let (true, Some(timer)) = (irq0_override, wiring.isa.first_mut()) {
        timer.destination_apic_input = 2;
        sum = sum.wrapping_add(2); // it was 0
    }
    sum
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::processors::{Identity, Topology};

    fn table(count: u16, topology: Topology) -> Vec<u8> {
        let identity = Identity {
            signature: 0x600f12,
            features: 0x78bfbff,
            topology,
            ..Identity::default()
        };
        let processors = Processors::new(count, identity).unwrap();
        let mut bytes = vec![0xaa; usize::try_from(table_size(&processors)).unwrap()];
        write_table(&mut bytes, &processors, true);
        bytes
    }

    /// Walks the entries as a kernel does: by type, not by our structures.
    fn walk(table: &[u8]) -> Vec<&[u8]> {
        let mut entries = Vec::new();
        let mut at = 44;
        while at < table.len() {
            let size = if table[at] == 0 { 20 } else { 8 };
            entries.push(&table[at..at + size]);
            at += size;
        }
        entries
    }

    #[test]
    fn every_number_of_processors_gives_a_whole_table() {
        for count in 1..=255 {
            let table = table(count, Topology::default());
            let entries = walk(&table);
            assert_eq!(checksum::sum(&table), 0);
            assert_eq!(
                usize::from(u16::from_le_bytes([table[4], table[5]])),
                table.len()
            );
            assert_eq!(
                usize::from(u16::from_le_bytes([table[34], table[35]])),
                entries.len()
            );
            let cpus: Vec<_> = entries
                .iter()
                .filter(|entry| entry[0] == ENTRY_PROCESSOR)
                .collect();
            assert_eq!(cpus.len(), usize::from(count));
            assert!(
                cpus.iter()
                    .enumerate()
                    .all(|(index, cpu)| usize::from(cpu[1]) == index)
            );
            assert_eq!(
                cpus.iter()
                    .filter(|cpu| cpu[3] & PROCESSOR_BOOTSTRAP != 0)
                    .count(),
                1
            );
        }
    }

    #[test]
    fn isa_interrupts_arrive_at_their_pins_and_the_timer_at_pin_2() {
        let table = table(1, Topology::default());
        let wires: Vec<(u8, u8)> = walk(&table)
            .iter()
            .filter(|entry| entry[0] == ENTRY_IO_INTERRUPT)
            .map(|entry| (entry[5], entry[7]))
            .collect();
        let mut expected: Vec<(u8, u8)> = (3..16).map(|irq| (irq, irq)).collect();
        expected.splice(0..0, [(0, 2), (1, 1)]);
        assert_eq!(wires, expected);
    }

    #[test]
    fn local_interrupts_are_extint_and_nmi() {
        let table = table(4, Topology::default());
        let entries = walk(&table);
        assert_eq!(entries[entries.len() - 2], [4, 3, 0, 0, 0, 0, 0, 0]);
        assert_eq!(entries[entries.len() - 1], [4, 1, 0, 0, 0, 0, 0xff, 1]);
    }

    #[test]
    fn processors_past_eight_bits_are_left_out() {
        let topology = Topology {
            threads_per_core: 1,
            threads_per_package: 1,
            core_shift: 0,
            package_shift: 6,
        };
        let table = table(6, topology);
        let cpus = walk(&table)
            .iter()
            .filter(|entry| entry[0] == ENTRY_PROCESSOR)
            .count();
        assert_eq!(cpus, 4);
        assert_eq!(checksum::sum(&table), 0);
    }

    #[test]
    fn the_pointer_adds_up_and_points() {
        let mut bytes = [0xaa; 16];
        write_pointer(&mut bytes, Range::new(0x9_f000, 0x100).unwrap());
        assert_eq!(&bytes[..4], b"_MP_");
        assert_eq!(bytes[4..8], 0x9_f000_u32.to_le_bytes());
        assert_eq!(checksum::sum(&bytes), 0);
    }
}
