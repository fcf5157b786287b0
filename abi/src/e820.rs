// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory map record that VMM, firmware and kernel share.
//!
//! Spec: ACPI 6.5, section 15.1 and table 15.4; packed 20-byte form as in QEMU's `etc/e820` file
//! and in Linux `boot_params`.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Usable RAM (ACPI `AddressRangeMemory`).
pub const TYPE_RAM: u32 = 1;

/// Not usable by the operating system (ACPI `AddressRangeReserved`).
pub const TYPE_RESERVED: u32 = 2;

/// Most entries a kernel takes without looking for a second list (Linux
/// `E820_MAX_ENTRIES_ZEROPAGE`, which also bounds its PVH path).
pub const MAX_ENTRIES: usize = 128;

/// One range of guest-physical memory.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct E820Entry {
    /// First guest-physical address.
    pub addr: U64,
    /// Length in bytes.
    pub size: U64,
    /// [`TYPE_RAM`], [`TYPE_RESERVED`] or another ACPI address range type.
    pub kind: U32,
}

const _: () = assert!(size_of::<E820Entry>() == 20);
