// SPDX-License-Identifier: MIT OR Apache-2.0
//! What of ACPI this firmware writes itself: the way to a table, and the boot performance table.
//!
//! Spec: ACPI 6.5; sections are cited. Little-endian. All other tables come from the VMM.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Root System Description Pointer (section 5.2.5.3). Of revision 0, its first 20 bytes.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Rsdp {
    /// `RSD PTR `.
    pub signature: [u8; 8],
    /// Brings the sum of the first 20 bytes to zero.
    pub checksum: u8,
    /// Who made it.
    pub oem_id: [u8; 6],
    /// 0 or, where what follows [`Self::rsdt_address`] exists, 2.
    pub revision: u8,
    /// Guest-physical address of the RSDT.
    pub rsdt_address: U32,
    /// Size in bytes of this structure.
    pub length: U32,
    /// Guest-physical address of the XSDT.
    pub xsdt_address: U64,
    /// Brings the sum of all bytes to zero.
    pub extended_checksum: u8,
    /// 0.
    pub reserved: [u8; 3],
}

/// Size in bytes of an [`Rsdp`] of revision 0.
pub const RSDP_SIZE_0: usize = 20;

const _: () = assert!(size_of::<Rsdp>() == 36);

/// What every table begins with (section 5.2.6).
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Which table it is.
    pub signature: [u8; 4],
    /// Size in bytes of the table.
    pub length: U32,
    /// Revision of the table's structure.
    pub revision: u8,
    /// Brings the sum of the table's bytes to zero.
    pub checksum: u8,
    /// Who made it.
    pub oem_id: [u8; 6],
    /// Who made it.
    pub oem_table_id: [u8; 8],
    /// Its maker's revision.
    pub oem_revision: U32,
    /// What made it.
    pub creator_id: [u8; 4],
    /// Revision of that.
    pub creator_revision: U32,
}

const _: () = assert!(size_of::<Header>() == 36);

/// Firmware Performance Data Table with its one record, the Firmware Basic Boot Performance Table
/// Pointer Record (sections 5.2.24 and 5.2.24.5).
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Fpdt {
    /// Signature `FPDT`.
    pub header: Header,
    /// 0.
    pub record_type: U16,
    /// Size in bytes of the record: 16.
    pub record_length: u8,
    /// 1.
    pub revision: u8,
    /// 0.
    pub reserved: U32,
    /// Guest-physical address of the [`Fbpt`].
    pub fbpt_address: U64,
}

const _: () = assert!(size_of::<Fpdt>() == 52);

/// Firmware Basic Boot Performance Table with its one record (section 5.2.24.7). Times are in
/// nanoseconds on one clock.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Fbpt {
    /// `FBPT`.
    pub signature: [u8; 4],
    /// Size in bytes of the table.
    pub length: U32,
    /// 2.
    pub record_type: U16,
    /// Size in bytes of the record: 48.
    pub record_length: u8,
    /// 2.
    pub revision: u8,
    /// 0.
    pub reserved: U32,
    /// The firmware image began to run.
    pub reset_end: U64,
    /// The kernel began to be loaded.
    pub load_image_start: U64,
    /// The kernel was entered.
    pub start_image_start: U64,
    /// On UEFI: the firmware began to end.
    pub exit_boot_services_entry: U64,
    /// On UEFI: it had ended.
    pub exit_boot_services_exit: U64,
}

const _: () = assert!(size_of::<Fbpt>() == 56);
