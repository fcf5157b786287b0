// SPDX-License-Identifier: MIT OR Apache-2.0
//! Intel MP configuration tables: processors and interrupt wiring for kernels without ACPI.
//!
//! Spec: Intel MultiProcessor Specification, version 1.4 (May 1997), chapter 4.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Revision byte of both structures: version 1.4.
pub const SPEC_REVISION_1_4: u8 = 4;

/// MP floating pointer structure (section 4.1): found by its signature on a 16-byte boundary in
/// the first KiB of the EBDA, the last KiB of base memory, or 0xF0000–0xFFFFF.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct FloatingPointer {
    /// `_MP_`.
    pub signature: [u8; 4],
    /// Guest-physical address of the [`ConfigHeader`].
    pub physical_address: U32,
    /// Length of this structure in units of 16 bytes: 1.
    pub length: u8,
    /// [`SPEC_REVISION_1_4`].
    pub spec_rev: u8,
    /// Makes the structure's bytes add up to zero.
    pub checksum: u8,
    /// Feature byte 1: zero when a configuration table is present, else a default configuration.
    pub feature1: u8,
    /// Feature byte 2: bit 7 set means PIC mode (IMCR present), clear means virtual wire mode.
    pub feature2: u8,
    /// Feature bytes 3 to 5: zero.
    pub feature3_5: [u8; 3],
}

const _: () = assert!(size_of::<FloatingPointer>() == 16);

/// Value of [`FloatingPointer::signature`].
pub const FLOATING_POINTER_SIGNATURE: [u8; 4] = *b"_MP_";

/// MP configuration table header (section 4.2), followed by its entries.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ConfigHeader {
    /// `PCMP`.
    pub signature: [u8; 4],
    /// Length in bytes of header and entries.
    pub base_table_length: U16,
    /// [`SPEC_REVISION_1_4`].
    pub spec_rev: u8,
    /// Makes the base table's bytes add up to zero.
    pub checksum: u8,
    /// Manufacturer, padded with spaces.
    pub oem_id: [u8; 8],
    /// Product, padded with spaces.
    pub product_id: [u8; 12],
    /// Guest-physical address of an OEM table, or 0.
    pub oem_table_pointer: U32,
    /// Size in bytes of that table.
    pub oem_table_size: U16,
    /// Number of entries in the base table.
    pub entry_count: U16,
    /// Guest-physical address of the local APICs.
    pub local_apic_address: U32,
    /// Length in bytes of the extended entries.
    pub extended_table_length: U16,
    /// Checksum of the extended entries.
    pub extended_table_checksum: u8,
    /// Zero.
    pub reserved: u8,
}

const _: () = assert!(size_of::<ConfigHeader>() == 44);

/// Value of [`ConfigHeader::signature`].
pub const CONFIG_SIGNATURE: [u8; 4] = *b"PCMP";

/// `entry_type` of a [`ProcessorEntry`].
pub const ENTRY_PROCESSOR: u8 = 0;
/// `entry_type` of a [`BusEntry`].
pub const ENTRY_BUS: u8 = 1;
/// `entry_type` of an [`IoApicEntry`].
pub const ENTRY_IO_APIC: u8 = 2;
/// `entry_type` of an [`InterruptEntry`] that wires an I/O APIC input.
pub const ENTRY_IO_INTERRUPT: u8 = 3;
/// `entry_type` of an [`InterruptEntry`] that wires a local APIC input.
pub const ENTRY_LOCAL_INTERRUPT: u8 = 4;

/// Processor entry (section 4.3.1).
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ProcessorEntry {
    /// [`ENTRY_PROCESSOR`].
    pub entry_type: u8,
    /// Local APIC ID.
    pub local_apic_id: u8,
    /// Local APIC version.
    pub local_apic_version: u8,
    /// [`PROCESSOR_ENABLED`] and [`PROCESSOR_BOOTSTRAP`].
    pub flags: u8,
    /// CPUID leaf 1, EAX: stepping, model, family.
    pub signature: U32,
    /// CPUID leaf 1, EDX.
    pub feature_flags: U32,
    /// Zero.
    pub reserved: [U32; 2],
}

const _: () = assert!(size_of::<ProcessorEntry>() == 20);

/// Bit of [`ProcessorEntry::flags`]: the processor is usable.
pub const PROCESSOR_ENABLED: u8 = 1 << 0;
/// Bit of [`ProcessorEntry::flags`]: this is the bootstrap processor.
pub const PROCESSOR_BOOTSTRAP: u8 = 1 << 1;

/// Bus entry (section 4.3.2).
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct BusEntry {
    /// [`ENTRY_BUS`].
    pub entry_type: u8,
    /// Number by which interrupt entries name this bus.
    pub bus_id: u8,
    /// Bus type, padded with spaces, such as [`BUS_TYPE_ISA`].
    pub bus_type: [u8; 6],
}

const _: () = assert!(size_of::<BusEntry>() == 8);

/// [`BusEntry::bus_type`] of the ISA bus.
pub const BUS_TYPE_ISA: [u8; 6] = *b"ISA   ";

/// [`BusEntry::bus_type`] of a PCI bus, whose [`BusEntry::bus_id`] is its number.
pub const BUS_TYPE_PCI: [u8; 6] = *b"PCI   ";

/// I/O APIC entry (section 4.3.3).
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct IoApicEntry {
    /// [`ENTRY_IO_APIC`].
    pub entry_type: u8,
    /// I/O APIC ID.
    pub io_apic_id: u8,
    /// I/O APIC version.
    pub io_apic_version: u8,
    /// Bit 0: usable.
    pub flags: u8,
    /// Guest-physical base address.
    pub address: U32,
}

const _: () = assert!(size_of::<IoApicEntry>() == 8);

/// Bit of [`IoApicEntry::flags`]: the I/O APIC is usable.
pub const IO_APIC_ENABLED: u8 = 1 << 0;

/// I/O interrupt entry (section 4.3.4) and local interrupt entry (section 4.3.5): same shape.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct InterruptEntry {
    /// [`ENTRY_IO_INTERRUPT`] or [`ENTRY_LOCAL_INTERRUPT`].
    pub entry_type: u8,
    /// [`INTERRUPT_INT`], [`INTERRUPT_NMI`] or [`INTERRUPT_EXTINT`].
    pub interrupt_type: u8,
    /// Bits 0–1 polarity, bits 2–3 trigger mode; zero: as the bus specifies.
    pub flags: U16,
    /// Source bus.
    pub source_bus_id: u8,
    /// Interrupt line on the source bus.
    pub source_bus_irq: u8,
    /// Destination I/O APIC or local APIC.
    pub destination_apic_id: u8,
    /// Input pin (INTIN or LINTIN) at the destination.
    pub destination_apic_input: u8,
}

const _: () = assert!(size_of::<InterruptEntry>() == 8);

/// [`InterruptEntry::flags`]: active low.
pub const ACTIVE_LOW: u16 = 3;
/// [`InterruptEntry::flags`]: level-triggered.
pub const LEVEL_TRIGGERED: u16 = 3 << 2;

/// Vectored interrupt; the vector comes from the APIC redirection table.
pub const INTERRUPT_INT: u8 = 0;
/// Non-maskable interrupt.
pub const INTERRUPT_NMI: u8 = 1;
/// Vectored interrupt whose vector comes from an 8259.
pub const INTERRUPT_EXTINT: u8 = 3;

/// [`InterruptEntry::destination_apic_id`] that means every local APIC.
pub const ALL_LOCAL_APICS: u8 = 0xff;
