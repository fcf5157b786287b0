// SPDX-License-Identifier: MIT OR Apache-2.0
//! SMBIOS: how an operating system finds what the machine says it is.
//!
//! Spec: DMTF DSP0134, System Management BIOS 3.6; sections are cited. Little-endian. On QEMU the
//! VMM writes the structures; firmware says where they lie and adds what it is itself.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// [`EntryPoint21::anchor`].
pub const ANCHOR_21: [u8; 4] = *b"_SM_";
/// [`EntryPoint21::intermediate_anchor`].
pub const INTERMEDIATE_ANCHOR: [u8; 5] = *b"_DMI_";
/// [`EntryPoint30::anchor`].
pub const ANCHOR_30: [u8; 5] = *b"_SM3_";

/// SMBIOS 2.1 (32-bit) entry point (section 5.2.1).
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct EntryPoint21 {
    /// [`ANCHOR_21`].
    pub anchor: [u8; 4],
    /// Brings the sum of all bytes to zero.
    pub checksum: u8,
    /// Size in bytes of this structure: 0x1f.
    pub length: u8,
    /// Version of the specification.
    pub major_version: u8,
    /// Version of the specification.
    pub minor_version: u8,
    /// Size in bytes of the largest structure, its strings included.
    pub max_structure_size: U16,
    /// 0.
    pub revision: u8,
    /// 0.
    pub formatted_area: [u8; 5],
    /// [`INTERMEDIATE_ANCHOR`].
    pub intermediate_anchor: [u8; 5],
    /// Brings the sum of the bytes from [`Self::intermediate_anchor`] on to zero.
    pub intermediate_checksum: u8,
    /// Size in bytes of all structures.
    pub table_length: U16,
    /// Guest-physical address of the first structure.
    pub table_address: U32,
    /// Number of structures.
    pub structure_count: U16,
    /// Version of the specification in packed decimal.
    pub bcd_revision: u8,
}

const _: () = assert!(size_of::<EntryPoint21>() == 31);

/// Offset of [`EntryPoint21::intermediate_anchor`].
pub const INTERMEDIATE_OFFSET: usize = core::mem::offset_of!(EntryPoint21, intermediate_anchor);

const _: () = assert!(INTERMEDIATE_OFFSET == 0x10);

/// SMBIOS 3.0 (64-bit) entry point (section 5.2.2).
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct EntryPoint30 {
    /// [`ANCHOR_30`].
    pub anchor: [u8; 5],
    /// Brings the sum of all bytes to zero.
    pub checksum: u8,
    /// Size in bytes of this structure: 0x18.
    pub length: u8,
    /// Version of the specification.
    pub major_version: u8,
    /// Version of the specification.
    pub minor_version: u8,
    /// Revision of the specification.
    pub docrev: u8,
    /// 1.
    pub revision: u8,
    /// 0.
    pub reserved: u8,
    /// Most bytes that all structures can take.
    pub table_max_size: U32,
    /// Guest-physical address of the first structure.
    pub table_address: U64,
}

const _: () = assert!(size_of::<EntryPoint30>() == 24);

/// What every structure begins with (section 6.1.2). Its formatted area has `length` bytes, this
/// header included; strings follow, each with its NUL, and one more NUL ends the structure.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// What it describes.
    pub kind: u8,
    /// Size in bytes of the formatted area.
    pub length: u8,
    /// Its number, unlike all others.
    pub handle: U16,
}

const _: () = assert!(size_of::<Header>() == 4);

/// [`Header::kind`] of [`BiosInformation`].
pub const TYPE_BIOS_INFORMATION: u8 = 0;
/// [`Header::kind`] of the last structure (section 7.45).
pub const TYPE_END_OF_TABLE: u8 = 127;

/// BIOS Information, type 0, as of version 2.4 (section 7.1).
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct BiosInformation {
    /// [`TYPE_BIOS_INFORMATION`].
    pub header: Header,
    /// Number of a string.
    pub vendor: u8,
    /// Number of a string.
    pub version: u8,
    /// Segment where the firmware's run-time part begins.
    pub starting_segment: U16,
    /// Number of a string: `mm/dd/yyyy`.
    pub release_date: u8,
    /// Size of the ROM: 64 KiB times one more than this.
    pub rom_size: u8,
    /// What it supports (section 7.1.1).
    pub characteristics: U64,
    /// More of it (section 7.1.2).
    pub extension: [u8; 2],
    /// Version of the firmware.
    pub major_release: u8,
    /// Version of the firmware.
    pub minor_release: u8,
    /// 0xff: no embedded controller.
    pub controller_major_release: u8,
    /// 0xff: no embedded controller.
    pub controller_minor_release: u8,
}

const _: () = assert!(size_of::<BiosInformation>() == 0x18);

/// [`BiosInformation::characteristics`]: nothing is said about them.
pub const CHARACTERISTICS_NOT_SUPPORTED: u64 = 1 << 3;
/// Second byte of [`BiosInformation::extension`]: the table describes a virtual machine.
pub const EXTENSION_VIRTUAL_MACHINE: u8 = 1 << 4;

/// [`Header::kind`] of [`SystemInformation`].
pub const TYPE_SYSTEM_INFORMATION: u8 = 1;

/// System Information, type 1, as of version 2.4 (section 7.2), behind its header.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct SystemInformation {
    /// Number of a string.
    pub manufacturer: u8,
    /// Number of a string.
    pub product: u8,
    /// Number of a string.
    pub version: u8,
    /// Number of a string.
    pub serial: u8,
    /// Its first three numbers are little-endian; all zeros if there is none.
    pub uuid: [u8; 16],
    /// Why it was switched on (section 7.2.2).
    pub wake_up: u8,
    /// Number of a string.
    pub sku: u8,
    /// Number of a string.
    pub family: u8,
}

const _: () = assert!(size_of::<Header>() + size_of::<SystemInformation>() == 0x1b);

impl SystemInformation {
    /// [`Self::wake_up`]: by its switch.
    pub const WAKE_UP_POWER_SWITCH: u8 = 6;
}

/// [`Header::kind`] of [`Chassis`].
pub const TYPE_CHASSIS: u8 = 3;

/// System Enclosure or Chassis, type 3, as of version 2.7 (section 7.4), behind its header.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Chassis {
    /// Number of a string.
    pub manufacturer: u8,
    /// What it is (section 7.4.1).
    pub kind: u8,
    /// Number of a string.
    pub version: u8,
    /// Number of a string.
    pub serial: u8,
    /// Number of a string.
    pub asset_tag: u8,
    /// How it was when it was switched on (section 7.4.2).
    pub boot_up_state: u8,
    /// How its power supply was.
    pub power_supply_state: u8,
    /// How warm it was.
    pub thermal_state: u8,
    /// How it is locked (section 7.4.3).
    pub security_status: u8,
    /// Anything.
    pub oem: U32,
    /// In units of 1.75 inches; 0 if unknown.
    pub height: u8,
    /// Power cords; 0 if unknown.
    pub power_cords: u8,
    /// Contained elements: none follow.
    pub element_count: u8,
    /// Size of each.
    pub element_length: u8,
    /// Number of a string.
    pub sku: u8,
}

const _: () = assert!(size_of::<Header>() + size_of::<Chassis>() == 0x16);

/// [`Header::kind`] of [`Processor`].
pub const TYPE_PROCESSOR: u8 = 4;

/// Processor Information, type 4, as of version 3.0 (section 7.5), behind its header.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Processor {
    /// Number of a string.
    pub socket: u8,
    /// What it is for (section 7.5.1).
    pub kind: u8,
    /// What it belongs to (section 7.5.2).
    pub family: u8,
    /// Number of a string.
    pub manufacturer: u8,
    /// EAX and EDX of CPUID leaf 1; 0 if not told.
    pub id: U64,
    /// Number of a string.
    pub version: u8,
    /// 0 if unknown.
    pub voltage: u8,
    /// MHz; 0 if unknown.
    pub external_clock: U16,
    /// MHz; 0 if unknown.
    pub max_speed: U16,
    /// MHz; 0 if unknown.
    pub current_speed: U16,
    /// Whether it is there and works (table 21).
    pub status: u8,
    /// How it could be replaced (section 7.5.5).
    pub upgrade: u8,
    /// Handle of a cache.
    pub l1_cache: U16,
    /// Handle of a cache.
    pub l2_cache: U16,
    /// Handle of a cache.
    pub l3_cache: U16,
    /// Number of a string.
    pub serial: u8,
    /// Number of a string.
    pub asset_tag: u8,
    /// Number of a string.
    pub part: u8,
    /// Cores; 255 says that [`Self::core_count_2`] counts.
    pub core_count: u8,
    /// Cores that are enabled, likewise.
    pub core_enabled: u8,
    /// Threads, likewise.
    pub thread_count: u8,
    /// What it can (section 7.5.9).
    pub characteristics: U16,
    /// What it belongs to, where 8 bits are too few.
    pub family_2: U16,
    /// Cores.
    pub core_count_2: U16,
    /// Cores that are enabled.
    pub core_enabled_2: U16,
    /// Threads.
    pub thread_count_2: U16,
}

const _: () = assert!(size_of::<Header>() + size_of::<Processor>() == 0x30);

impl Processor {
    /// [`Self::kind`]: a central processor.
    pub const CENTRAL: u8 = 3;
    /// [`Self::status`]: there is one in the socket, and it is enabled.
    pub const POPULATED_AND_ENABLED: u8 = 0x41;
    /// [`Self::characteristics`]: nothing is said of them.
    pub const CHARACTERISTICS_UNKNOWN: u16 = 1 << 1;
}

/// [`Header::kind`] of [`OemStrings`].
pub const TYPE_OEM_STRINGS: u8 = 11;

/// OEM Strings, type 11 (section 7.12), behind its header.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct OemStrings {
    /// Number of strings.
    pub count: u8,
}

const _: () = assert!(size_of::<Header>() + size_of::<OemStrings>() == 5);

/// [`Header::kind`] of [`MemoryArray`].
pub const TYPE_MEMORY_ARRAY: u8 = 16;

/// Physical Memory Array, type 16, as of version 2.7 (section 7.17), behind its header.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct MemoryArray {
    /// Where it is (section 7.17.1).
    pub location: u8,
    /// What it is for (section 7.17.2).
    pub purpose: u8,
    /// How errors are corrected (section 7.17.3).
    pub error_correction: u8,
    /// Most KiB, or 0x8000_0000 if [`Self::extended_capacity`] counts.
    pub capacity_kib: U32,
    /// Handle of a description of an error.
    pub error_handle: U16,
    /// Slots for devices.
    pub devices: U16,
    /// Most bytes, if they are more than the other field can tell.
    pub extended_capacity: U64,
}

const _: () = assert!(size_of::<Header>() + size_of::<MemoryArray>() == 0x17);

impl MemoryArray {
    /// [`Self::purpose`]: system memory.
    pub const SYSTEM_MEMORY: u8 = 3;
    /// [`Self::error_correction`]: none.
    pub const NO_CORRECTION: u8 = 3;

    /// [`Self::capacity_kib`] and [`Self::extended_capacity`] for so many KiB.
    #[must_use]
    pub fn capacity(kib: u64) -> (u32, u64) {
        const EXTENDED: u32 = 0x8000_0000;
        match u32::try_from(kib) {
            Ok(kib) if kib < EXTENDED => (kib, 0),
            _ => (EXTENDED, kib.saturating_mul(1024)),
        }
    }
}

/// [`Header::kind`] of [`MemoryDevice`].
pub const TYPE_MEMORY_DEVICE: u8 = 17;

/// Memory Device, type 17, as of version 2.8 (section 7.18), behind its header.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct MemoryDevice {
    /// Handle of its [`MemoryArray`].
    pub array: U16,
    /// Handle of a description of an error.
    pub error_handle: U16,
    /// Bits with those for errors; 0xffff if unknown.
    pub total_width: U16,
    /// Bits of data; 0xffff if unknown.
    pub data_width: U16,
    /// MiB, or KiB with bit 15; 0x7fff if [`Self::extended_size_mib`] counts.
    pub size: U16,
    /// What it looks like (section 7.18.1).
    pub form_factor: u8,
    /// 0: belongs to no set.
    pub set: u8,
    /// Number of a string.
    pub locator: u8,
    /// Number of a string.
    pub bank: u8,
    /// What it is (section 7.18.2).
    pub kind: u8,
    /// More of that (section 7.18.3).
    pub detail: U16,
    /// 0 if unknown.
    pub speed: U16,
    /// Number of a string.
    pub manufacturer: u8,
    /// Number of a string.
    pub serial: u8,
    /// Number of a string.
    pub asset_tag: u8,
    /// Number of a string.
    pub part: u8,
    /// Rank; 0 if unknown.
    pub attributes: u8,
    /// MiB, if they are more than the other field can tell.
    pub extended_size_mib: U32,
    /// 0 if unknown.
    pub configured_speed: U16,
    /// Millivolts; 0 if unknown.
    pub min_voltage: U16,
    /// Millivolts; 0 if unknown.
    pub max_voltage: U16,
    /// Millivolts; 0 if unknown.
    pub configured_voltage: U16,
}

const _: () = assert!(size_of::<Header>() + size_of::<MemoryDevice>() == 0x28);

impl MemoryDevice {
    /// [`Self::form_factor`].
    pub const DIMM: u8 = 9;
    /// [`Self::kind`]: RAM of no special kind.
    pub const RAM: u8 = 7;
    /// [`Self::detail`]: another one.
    pub const DETAIL_OTHER: u16 = 1 << 1;

    /// [`Self::size`] and [`Self::extended_size_mib`] for so many KiB. What is below the unit is left
    /// out.
    #[must_use]
    pub fn size_fields(kib: u64) -> (u16, u32) {
        const IN_KIB: u16 = 0x8000;
        const EXTENDED: u16 = 0x7fff;
        let mib = kib >> 10;
        match (u16::try_from(kib), u16::try_from(mib)) {
            (Ok(kib), _) if kib < EXTENDED && !kib.is_multiple_of(1024) => (IN_KIB | kib, 0),
            (_, Ok(mib)) if mib < EXTENDED => (mib, 0),
            _ => (EXTENDED, u32::try_from(mib).unwrap_or(u32::MAX)),
        }
    }
}

/// [`Header::kind`] of [`MemoryRange`].
pub const TYPE_MEMORY_RANGE: u8 = 19;

/// Memory Array Mapped Address, type 19, as of version 2.7 (section 7.20), behind its header.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct MemoryRange {
    /// First KiB, or 0xffff_ffff if the extended fields count.
    pub start_kib: U32,
    /// Last KiB, likewise.
    pub end_kib: U32,
    /// Handle of its [`MemoryArray`].
    pub array: U16,
    /// Devices that make up a row.
    pub partition_width: u8,
    /// First guest-physical address, if the other fields cannot tell.
    pub extended_start: U64,
    /// Last guest-physical address, likewise.
    pub extended_end: U64,
}

const _: () = assert!(size_of::<Header>() + size_of::<MemoryRange>() == 0x1f);

impl MemoryRange {
    /// The range from `start` to `last`, of the array with that handle and its only device.
    #[must_use]
    pub fn new(start: u64, last: u64, array: u16) -> Self {
        let short = |address: u64| u32::try_from(address >> 10).ok();
        let fits = short(start).zip(short(last));
        let fits = fits.filter(|(_, last)| *last != u32::MAX);
        let (start_kib, end_kib) = fits.unwrap_or((u32::MAX, u32::MAX));
        let (extended_start, extended_end) = if fits.is_some() {
            (0, 0)
        } else {
            (start, last)
        };
        Self {
            start_kib: start_kib.into(),
            end_kib: end_kib.into(),
            array: array.into(),
            partition_width: 1,
            extended_start: extended_start.into(),
            extended_end: extended_end.into(),
        }
    }
}

/// [`Header::kind`] of [`SystemBoot`].
pub const TYPE_SYSTEM_BOOT: u8 = 32;

/// System Boot Information, type 32 (section 7.33), behind its header.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct SystemBoot {
    /// 0.
    pub reserved: [u8; 6],
    /// 0: no errors.
    pub status: u8,
}

const _: () = assert!(size_of::<Header>() + size_of::<SystemBoot>() == 0x0b);
