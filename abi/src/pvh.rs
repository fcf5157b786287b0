// SPDX-License-Identifier: MIT OR Apache-2.0
//! PVH boot: what firmware hands a kernel that has a PVH entry point.
//!
//! Spec: Xen `include/public/arch-x86/hvm/start_info.h` (version 1 of the structure) and
//! `docs/misc/pvh.pandoc`. The kernel is entered in 32-bit protected mode without paging, EBX
//! holding the guest-physical address of [`StartInfo`].

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Type of the ELF note that carries the 32-bit entry point (`XEN_ELFNOTE_PHYS32_ENTRY`).
pub const ELF_NOTE_PHYS32_ENTRY: u32 = 18;

/// Name of that note, without its NUL.
pub const ELF_NOTE_NAME: &str = "Xen";

/// Value of [`StartInfo::magic`]: "xEn3" with the high bit of the E set.
pub const START_INFO_MAGIC: u32 = 0x336e_c578;

/// The structure EBX points to (`struct hvm_start_info`).
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct StartInfo {
    /// [`START_INFO_MAGIC`].
    pub magic: U32,
    /// 1: the memory map fields are present.
    pub version: U32,
    /// `SIF_xxx` flags; 0 outside Xen.
    pub flags: U32,
    /// Number of [`ModlistEntry`] records.
    pub nr_modules: U32,
    /// Guest-physical address of the module list, or 0.
    pub modlist_paddr: U64,
    /// Guest-physical address of the NUL-terminated command line, or 0.
    pub cmdline_paddr: U64,
    /// Guest-physical address of the ACPI RSDP, or 0.
    pub rsdp_paddr: U64,
    /// Guest-physical address of the memory map.
    pub memmap_paddr: U64,
    /// Number of [`MemmapEntry`] records.
    pub memmap_entries: U32,
    /// Zero.
    pub reserved: U32,
}

const _: () = assert!(size_of::<StartInfo>() == 56);

/// One boot module; the first is the initial RAM disk (`struct hvm_modlist_entry`).
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ModlistEntry {
    /// Guest-physical address of the module.
    pub paddr: U64,
    /// Size in bytes.
    pub size: U64,
    /// Guest-physical address of the module's own command line, or 0.
    pub cmdline_paddr: U64,
    /// Zero.
    pub reserved: U64,
}

const _: () = assert!(size_of::<ModlistEntry>() == 32);

/// One memory range, with E820 types (`struct hvm_memmap_table_entry`).
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct MemmapEntry {
    /// First guest-physical address.
    pub addr: U64,
    /// Length in bytes.
    pub size: U64,
    /// One of the types in [`crate::e820`].
    pub kind: U32,
    /// Zero.
    pub reserved: U32,
}

const _: () = assert!(size_of::<MemmapEntry>() == 24);
