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
