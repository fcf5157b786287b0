// SPDX-License-Identifier: MIT OR Apache-2.0
//! Multiboot 1: what a boot loader hands a kernel.
//!
//! Spec: Multiboot Specification 0.6.96, sections 3.1 (OS image format), 3.2 (machine state) and 3.3
//! (boot information format). The kernel is entered in 32-bit protected mode without paging, EAX holding
//! [`BOOTLOADER_MAGIC`] and EBX the guest-physical address of [`Info`].
//!
//! A VMM passes such a kernel in `fw_cfg` as QEMU does (`hw/i386/multiboot.c`): `KERNEL_DATA` is
//! one blob for `KERNEL_ADDR` that holds the kernel, the list of [`Module`]s, the strings and the
//! modules, in this order and with their final addresses; `INITRD_DATA` is the [`Info`], of which
//! memory sizes and memory map are left to the firmware.

use bitflags::bitflags;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What EAX holds when the kernel is entered.
pub const BOOTLOADER_MAGIC: u32 = 0x2bad_b002;

/// What [`Header::magic`] is.
pub const HEADER_MAGIC: u32 = 0x1bad_b002;
/// Bytes at the start of an image that the header has to be in, all of it.
pub const HEADER_REACH: usize = 8192;
/// What the header's position is a multiple of.
pub const HEADER_ALIGN: usize = 4;
/// [`Info::boot_device`] of a kernel from the first hard disk, from no partition of it.
pub const BOOT_DEVICE_DISK: u32 = 0x8000_ffff;

bitflags! {
    /// Content of [`Header::flags`]: in bits 0 to 15 what the boot loader has to understand, in the
    /// others what it may.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct HeaderFlags: u32 {
        /// Modules begin on page boundaries.
        const PAGE_ALIGN = 1 << 0;
        /// The memory fields of [`Info`] are there.
        const MEMORY_INFO = 1 << 1;
        /// A video mode is wished for.
        const VIDEO_MODE = 1 << 2;
        /// The address fields of the header are there.
        const ADDRESSES = 1 << 16;
    }
}

/// What an image has in its first 8 KiB (`multiboot_header`), up to the wish for a video mode.
/// Addresses are guest-physical; they are there if the flags say so.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// [`HEADER_MAGIC`].
    pub magic: U32,
    /// [`HeaderFlags`].
    pub flags: U32,
    /// Makes the sum of itself, magic and flags zero.
    pub checksum: U32,
    /// Where this header goes.
    pub header_addr: U32,
    /// Where the first byte to load goes.
    pub load_addr: U32,
    /// First address behind what is loaded; 0 for all of the file.
    pub load_end_addr: U32,
    /// First address behind what is zero after it; 0 for none.
    pub bss_end_addr: U32,
    /// Entry point.
    pub entry_addr: U32,
}

const _: () = assert!(size_of::<Header>() == 32);
const _: () = assert!(core::mem::offset_of!(Header, header_addr) == 12);

bitflags! {
    /// Content of [`Info::flags`]: which fields are valid.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct InfoFlags: u32 {
        /// [`Info::mem_lower`] and [`Info::mem_upper`].
        const MEMORY = 1 << 0;
        /// [`Info::boot_device`]: the kernel comes from a BIOS disk.
        const BOOT_DEVICE = 1 << 1;
        /// [`Info::cmdline`].
        const CMDLINE = 1 << 2;
        /// [`Info::mods_count`] and [`Info::mods_addr`].
        const MODULES = 1 << 3;
        /// [`Info::mmap_length`] and [`Info::mmap_addr`].
        const MEMORY_MAP = 1 << 6;
        /// [`Info::boot_loader_name`].
        const LOADER_NAME = 1 << 9;
    }
}

/// The structure EBX points to (`multiboot_info`). Addresses are guest-physical.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Info {
    /// [`InfoFlags`].
    pub flags: U32,
    /// KiB of RAM from 0 on, at most 640.
    pub mem_lower: U32,
    /// KiB of RAM from 1 MiB to the first hole above it.
    pub mem_upper: U32,
    /// The BIOS disk, and the partitions on it.
    pub boot_device: U32,
    /// Address of the NUL-terminated command line.
    pub cmdline: U32,
    /// Number of [`Module`] records.
    pub mods_count: U32,
    /// Address of the first of them.
    pub mods_addr: U32,
    /// Symbols of the kernel.
    pub syms: [U32; 4],
    /// Size in bytes of the memory map.
    pub mmap_length: U32,
    /// Address of its first [`MmapEntry`].
    pub mmap_addr: U32,
    /// Size in bytes of the list of drives.
    pub drives_length: U32,
    /// Address of that list.
    pub drives_addr: U32,
    /// Address of the BIOS's ROM configuration table.
    pub config_table: U32,
    /// Address of the boot loader's NUL-terminated name.
    pub boot_loader_name: U32,
    /// Address of the APM table.
    pub apm_table: U32,
    /// Address of the VBE control information.
    pub vbe_control_info: U32,
    /// Address of the VBE mode information.
    pub vbe_mode_info: U32,
    /// VBE mode.
    pub vbe_mode: U16,
    /// VBE protected-mode interface: segment.
    pub vbe_interface_seg: U16,
    /// VBE protected-mode interface: offset.
    pub vbe_interface_off: U16,
    /// VBE protected-mode interface: length.
    pub vbe_interface_len: U16,
}

const _: () = assert!(size_of::<Info>() == 88);

/// One boot module.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Module {
    /// Address of its first byte.
    pub mod_start: U32,
    /// Address of the first byte behind it.
    pub mod_end: U32,
    /// Address of its NUL-terminated string.
    pub string: U32,
    /// Zero.
    pub reserved: U32,
}

const _: () = assert!(size_of::<Module>() == 16);

/// One range of the memory map, with E820 types.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct MmapEntry {
    /// Size in bytes of what follows: 20.
    pub size: U32,
    /// First address.
    pub addr: U64,
    /// Length in bytes.
    pub length: U64,
    /// One of the types in [`crate::e820`]; 1 is available RAM.
    pub kind: U32,
}

const _: () = assert!(size_of::<MmapEntry>() == 24);
