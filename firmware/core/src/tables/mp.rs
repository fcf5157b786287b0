// SPDX-License-Identifier: MIT OR Apache-2.0
//! Intel MP tables: how a kernel without ACPI finds processors and interrupt wiring.
//!
//! Spec: Intel MultiProcessor Specification 1.4, chapter 4.
//! In: the processors. Out: floating pointer and configuration table.

use crate::board::{Board, PCI_LINES, SCI_LINE};
use crate::memory::Range;
use crate::pci::Rules;
use crate::processors::Processors;
use abi::checksum;
use abi::layout::{IO_APIC_ADDR, LOCAL_APIC_ADDR};
use abi::mp::{
    ACTIVE_LOW, ALL_LOCAL_APICS, BUS_TYPE_ISA, BUS_TYPE_PCI, BusEntry, CONFIG_SIGNATURE,
    ConfigHeader, ENTRY_BUS, ENTRY_IO_APIC, ENTRY_IO_INTERRUPT, ENTRY_LOCAL_INTERRUPT,
    ENTRY_PROCESSOR, FLOATING_POINTER_SIGNATURE, FloatingPointer, INTERRUPT_EXTINT, INTERRUPT_INT,
    INTERRUPT_NMI, IO_APIC_ENABLED, InterruptEntry, IoApicEntry, LEVEL_TRIGGERED,
    PROCESSOR_BOOTSTRAP, PROCESSOR_ENABLED, ProcessorEntry, SPEC_REVISION_1_4,
};
use core::mem::offset_of;
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
pub fn table_size(processors: &Processors, board: Board) -> u64 {
    let pci = match board {
        Board::Microvm => 0,
        Board::I440fx | Board::Q35 => PCI_SIZE as u64,
    };
    processors
        .named()
        .saturating_mul(size_of::<ProcessorEntry>() as u64)
        .saturating_add(FIXED_SIZE)
        .saturating_add(pci)
}

/// Pins of the devices on a PCI bus. Their number is also what an entry calls them: the device's in
/// bits 2 to 6, the pin, from 0, in bits 0 and 1 (section D.3).
const PCI_PINS: u8 = 32 * 4;

/// The ID of the ISA bus where there is PCI bus 0.
const ISA_BEHIND_PCI: u8 = 1;

/// Size in bytes of an entry.
const WIRE_SIZE: usize = size_of::<InterruptEntry>();

/// A PCI pin's entry as a number, but for what differs from one to the next.
const PCI_WIRE: u64 = u64::from_le_bytes(zerocopy::transmute!(InterruptEntry {
    flags: U16::new(ACTIVE_LOW | LEVEL_TRIGGERED),
    source_bus_id: 0,
    destination_apic_input: 0,
    ..isa_wire(0)
}));
/// Where in this number the fields that differ begin.
const IRQ_BITS: usize = offset_of!(InterruptEntry, source_bus_irq) * 8;
const APIC_BITS: usize = offset_of!(InterruptEntry, destination_apic_id) * 8;
const LINE_BITS: usize = offset_of!(InterruptEntry, destination_apic_input) * 8;

const PCI_BUS: BusEntry = BusEntry {
    bus_type: BUS_TYPE_PCI,
    ..WIRING.bus
};

/// What [`add_pci`] adds to the sum of a table's bytes, whatever the board: every device has each of
/// the lines once.
const CHANGED: u8 = {
    let bus: [u8; size_of::<BusEntry>()] = zerocopy::transmute!(PCI_BUS);
    let wires = checksum::sum_const(&PCI_WIRE.to_le_bytes()).wrapping_mul(PCI_PINS);
    let lines = checksum::sum_const(&PCI_LINES).wrapping_mul(PCI_PINS >> 2);
    let mut sum = checksum::sum_const(&bus)
        .wrapping_add(wires)
        .wrapping_add(lines);
    let mut pin: u8 = 0;
    while pin < PCI_PINS {
        sum = sum.wrapping_add(pin);
        pin = pin.wrapping_add(1);
    }
    // The ISA bus has another number, in its own entry and in each that names it; the lines of PCI
    // have flags.
    let renamed = ISA_BEHIND_PCI.wrapping_mul(1 + ISA_INTERRUPTS + 2);
    sum.wrapping_add(renamed)
        .wrapping_add(checksum::sum_word((ACTIVE_LOW | LEVEL_TRIGGERED) as u64).wrapping_mul(2))
};

/// Pin A of device 1, the power management of the `pc`, which has a line of its own.
const PIIX_POWER: usize = 1 << 2;

/// What follows the processor entries where there is PCI: in the order of the entries' types.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct PciWiring {
    pci_bus: BusEntry,
    isa_bus: BusEntry,
    io_apic: IoApicEntry,
    isa: [InterruptEntry; ISA_INTERRUPTS as usize],
    pci: [InterruptEntry; PCI_PINS as usize],
    local: [InterruptEntry; 2],
}

/// Size in bytes of the pins' entries.
const PINS_SIZE: usize = PCI_PINS as usize * WIRE_SIZE;

/// Size in bytes of what a table has more where there is PCI: the bus and its pins.
const PCI_SIZE: usize = size_of::<PciWiring>() - size_of::<Wiring>();

/// [`LOCAL_WIRES`], whose source is the ISA bus.
const LOCAL_WIRES_BEHIND_PCI: [InterruptEntry; 2] = {
    let [mut extint, mut nmi] = LOCAL_WIRES;
    extint.source_bus_id = ISA_BEHIND_PCI;
    nmi.source_bus_id = ISA_BEHIND_PCI;
    [extint, nmi]
};

/// Adds PCI bus 0 to a table that [`write_table`] has written with room for it.
///
/// Every device that can be has its pins, one that is plugged in later, too. What is behind a bridge
/// comes out at the bridge's pins (PCI-to-PCI bridge, 9.1), as kernels know.
#[cold]
#[inline(never)]
fn add_pci(bytes: &mut [u8], board: Board) {
    let Ok((header, rest)) = ConfigHeader::mut_from_prefix(bytes) else {
        return;
    };
    let Some(wiring) = rest.last_chunk_mut::<{ size_of::<PciWiring>() }>() else {
        return;
    };
    let all: &mut PciWiring = zerocopy::transmute_mut!(wiring);
    all.pci_bus = PCI_BUS;
    all.isa_bus.bus_id = ISA_BEHIND_PCI;
    all.local = LOCAL_WIRES_BEHIND_PCI;
    for wire in &mut all.isa {
        wire.source_bus_id = ISA_BEHIND_PCI;
    }
    let as_pci: U16 = (ACTIVE_LOW | LEVEL_TRIGGERED).into();
    // The same pins of the I/O APIC: a kernel may read either entry.
    let [.., line_10, line_11, _, _, _, _] = &mut all.isa;
    line_10.flags = as_pci;
    line_11.flags = as_pci;
    let io_apic_id = all.io_apic.io_apic_id;
    let apic = u64::from(io_apic_id) << APIC_BITS;
    let lines = u32::from_le_bytes(PCI_LINES);
    let (devices, _) = all.pci.as_mut_bytes().as_chunks_mut::<{ 4 * WIRE_SIZE }>();
    for (device, wires) in (0u8..).zip(devices) {
        let mut turned = u64::from(lines.rotate_right(u32::from(board.turn(device) & 3) * 8));
        let mut wire = PCI_WIRE | apic | u64::from(device << 2) << IRQ_BITS;
        for bytes in wires.as_chunks_mut::<WIRE_SIZE>().0 {
            *bytes = (wire | turned << LINE_BITS).to_le_bytes(); // the other lines fall off
            turned >>= 8;
            wire = wire.wrapping_add(1 << IRQ_BITS);
        }
    }
    let mut changed = CHANGED.wrapping_add(io_apic_id.wrapping_mul(PCI_PINS));
    if board == Board::I440fx
        && let Some(power) = all.pci.get_mut(PIIX_POWER)
    {
        changed = changed.wrapping_add(SCI_LINE.wrapping_sub(power.destination_apic_input));
        power.destination_apic_input = SCI_LINE;
    }
    header.checksum = header.checksum.wrapping_sub(changed);
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
///
/// Where there is PCI, its bus follows the processors, and its pins all but the local interrupts.
pub fn write_table(bytes: &mut [u8], processors: &Processors, irq0_override: bool, board: Board) {
    let (room, pins) = match board {
        Board::Microvm => (0, 0),
        Board::I440fx | Board::Q35 => (WIRE_SIZE, PINS_SIZE),
    };
    let Ok(length) = u16::try_from(bytes.len()) else {
        return;
    };
    let Ok((header, entries)) = ConfigHeader::mut_from_prefix(bytes) else {
        return;
    };
    let end = entries.len().wrapping_sub(pins);
    let entries = entries.get_mut(..end).unwrap_or_default();
    let Ok((cpus, wiring)) = Wiring::mut_from_suffix(entries) else {
        return;
    };
    let count = cpus.len().wrapping_sub(room);
    let cpus = cpus.get_mut(..count).unwrap_or_default();
    let Ok(cpus) = <[ProcessorEntry]>::mut_from_bytes(cpus) else {
        return;
    };

    let added = room.wrapping_add(pins).wrapping_div(WIRE_SIZE);
    let entry_count = u16::try_from(cpus.len().saturating_add(added))
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
    if pins != 0 {
        add_pci(bytes, board);
    }
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

    fn table(count: u16, topology: Topology, board: Board) -> Vec<u8> {
        let identity = Identity {
            signature: 0x600f12,
            features: 0x78bfbff,
            topology,
            ..Identity::default()
        };
        let processors = Processors::new(count, identity).unwrap();
        let mut bytes = vec![0xaa; usize::try_from(table_size(&processors, board)).unwrap()];
        write_table(&mut bytes, &processors, true, board);
        bytes
    }

    #[test]
    fn every_pin_of_pci_bus_0_has_its_line() {
        for (board, device_1) in [
            (Board::I440fx, [9, 10, 11, 11]),
            (Board::Q35, [10, 11, 11, 10]),
        ] {
            let bytes = table(3, Topology::default(), board);
            let plain = table(3, Topology::default(), Board::Microvm);
            assert_eq!(bytes.len(), plain.len() + PCI_SIZE);
            assert_eq!(checksum::sum(&bytes), 0);
            assert_eq!(
                usize::from(u16::from_le_bytes([bytes[4], bytes[5]])),
                bytes.len()
            );
            let entries = walk(&bytes);
            assert_eq!(
                usize::from(u16::from_le_bytes([bytes[34], bytes[35]])),
                entries.len()
            );
            assert!(entries.is_sorted_by_key(|entry| entry[0]));
            assert_eq!(entries[3], b"\x01\x00PCI   ");
            assert_eq!(entries[4], b"\x01\x01ISA   ");
            let of_bus = |bus: u8| entries.iter().filter(move |e| e[0] == 3 && e[4] == bus);
            let pins: Vec<_> = of_bus(0).map(|e| (e[5], e[2], e[6], e[7])).collect();
            assert_eq!(pins.len(), 128);
            for (index, (irq, flags, apic, line)) in (0u8..).zip(pins) {
                let turned = board.turn(index / 4).wrapping_add(index) % 4;
                let power = board == Board::I440fx && index == 4;
                let expected = if power {
                    9
                } else {
                    board.lines()[usize::from(turned)]
                };
                assert_eq!((irq, flags, apic, line), (index, 0xf, 3, expected));
                if index / 4 == 1 {
                    assert_eq!(line, device_1[usize::from(index % 4)]);
                }
            }
            let level: Vec<_> = of_bus(1).filter(|e| e[2] == 0xf).map(|e| e[5]).collect();
            assert_eq!((of_bus(1).count(), level), (15, vec![10, 11]));
            assert_eq!(entries.iter().filter(|e| e[0] == 4).count(), 2);
        }
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
            let table = table(count, Topology::default(), Board::Microvm);
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
        let table = table(1, Topology::default(), Board::Microvm);
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
        let table = table(4, Topology::default(), Board::Microvm);
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
        let table = table(6, topology, Board::Microvm);
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
