// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Linux/x86 boot protocol: a bzImage's header and the page of parameters it is given.
//!
//! Spec: Linux `Documentation/arch/x86/boot.rst` (protocol 2.15) and `zero-page.rst`.

use crate::e820::{E820Entry, MAX_ENTRIES};
use bitflags::bitflags;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Offset of the setup header in the kernel file and in [`BootParams`].
pub const SETUP_HEADER_OFFSET: usize = 0x1f1;

/// Value of [`SetupHeader::header`].
pub const HEADER_MAGIC: [u8; 4] = *b"HdrS";

/// Value of [`SetupHeader::boot_flag`].
pub const BOOT_FLAG: u16 = 0xaa55;

/// Size of a sector, the unit of [`SetupHeader::setup_sects`].
pub const SECTOR_SIZE: usize = 512;

/// Meaning of `setup_sects == 0`, for compatibility with very old kernels.
pub const DEFAULT_SETUP_SECTS: u8 = 4;

/// Unit of [`SetupHeader::syssize`]: 16-byte paragraphs.
pub const PARAGRAPH_SIZE: usize = 16;

/// Protocol 2.00: the first with a setup header.
pub const VERSION_2_00: u16 = 0x0200;
/// Protocol 2.01: `heap_end_ptr`.
pub const VERSION_2_01: u16 = 0x0201;
/// Protocol 2.02: `cmd_line_ptr`, and a real-mode part that stays where it is loaded.
pub const VERSION_2_02: u16 = 0x0202;
/// Protocol 2.03: `initrd_addr_max`.
pub const VERSION_2_03: u16 = 0x0203;
/// Protocol 2.04: all 32 bits of `syssize`.
pub const VERSION_2_04: u16 = 0x0204;
/// Protocol 2.05: `kernel_alignment` and `relocatable_kernel`.
pub const VERSION_2_05: u16 = 0x0205;
/// Protocol 2.06: `cmdline_size`.
pub const VERSION_2_06: u16 = 0x0206;
/// Protocol 2.10: `pref_address` and `init_size`, without which nobody can tell what memory a
/// kernel needs that is entered behind its setup part.
pub const VERSION_2_10: u16 = 0x020a;
/// Protocol 2.12: `xloadflags` and with it the 64-bit entry point.
pub const VERSION_2_12: u16 = 0x020c;

/// Highest address of an initrd's last byte before protocol 2.03.
pub const DEFAULT_INITRD_ADDR_MAX: u32 = 0x37ff_ffff;
/// Longest command line in bytes, without the NUL, before protocol 2.06.
pub const DEFAULT_CMDLINE_SIZE: u32 = 255;

/// Longest setup part in sectors, its boot sector included: 32 KiB.
pub const MAX_SETUP_SECTORS: u32 = 64;
/// Distance of the 16-bit entry point from the start of the real-mode part, in paragraphs.
pub const ENTRY_16_PARAGRAPHS: u16 = 0x20;
/// What [`SetupHeader::heap_end_ptr`] counts from, as an offset in the real-mode part.
pub const HEAP_BASE: u16 = 0x200;
/// Before protocol 2.02: the magic number before the command line's offset.
pub const OLD_CMDLINE_MAGIC: u16 = 0xa33f;
/// Before protocol 2.02: offset in the real-mode part of the magic number and of the command
/// line's offset.
pub const OLD_CMDLINE_OFFSET: usize = 0x20;

/// First byte of [`SetupHeader::jump`].
pub const JUMP_SHORT: u8 = 0xeb;
/// What the second byte of [`SetupHeader::jump`] counts from; the header ends where it leads.
pub const JUMP_BASE: usize = 0x202;

/// Distance of the 64-bit entry point from the load address of the protected-mode kernel.
pub const ENTRY_64_OFFSET: u64 = 0x200;

/// [`SetupHeader::type_of_loader`] of a boot loader without an assigned number.
pub const LOADER_TYPE_UNDEFINED: u8 = 0xff;

/// [`SetupHeader::type_of_loader`] that QEMU writes into the setup data.
pub const LOADER_TYPE_QEMU: u8 = 0xb0;

/// [`SetupHeader::vid_mode`]: leave the video mode alone ("normal").
pub const VIDEO_MODE_NORMAL: u16 = 0xffff;

bitflags! {
    /// [`SetupHeader::loadflags`].
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct LoadFlags: u8 {
        /// The protected-mode kernel is loaded at 1 MiB, not at 64 KiB.
        const LOADED_HIGH = 1 << 0;
        /// Do not print early messages.
        const QUIET = 1 << 5;
        /// Keep the segment registers of the 32-bit entry point.
        const KEEP_SEGMENTS = 1 << 6;
        /// `heap_end_ptr` is valid.
        const CAN_USE_HEAP = 1 << 7;
    }

    /// [`SetupHeader::xloadflags`].
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct XLoadFlags: u16 {
        /// The kernel has the 64-bit entry point at [`ENTRY_64_OFFSET`].
        const KERNEL_64 = 1 << 0;
        /// Kernel, boot parameters, command line and initrd may lie above 4 GiB.
        const CAN_BE_LOADED_ABOVE_4G = 1 << 1;
    }
}

/// The setup header (`struct setup_header`), at [`SETUP_HEADER_OFFSET`].
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct SetupHeader {
    /// Number of setup sectors after the boot sector; 0 means [`DEFAULT_SETUP_SECTS`].
    pub setup_sects: u8,
    /// Nonzero: mount the root file system read-only (obsolete).
    pub root_flags: U16,
    /// Size of the protected-mode kernel in [`PARAGRAPH_SIZE`] units.
    pub syssize: U32,
    /// Obsolete.
    pub ram_size: U16,
    /// Video mode.
    pub vid_mode: U16,
    /// Default root device number (obsolete).
    pub root_dev: U16,
    /// [`BOOT_FLAG`].
    pub boot_flag: U16,
    /// A jump over the header; its second byte tells where the header ends.
    pub jump: [u8; 2],
    /// [`HEADER_MAGIC`].
    pub header: [u8; 4],
    /// Protocol version, `0x0200 + minor`.
    pub version: U16,
    /// Boot loader hook (obsolete).
    pub realmode_swtch: U32,
    /// Obsolete.
    pub start_sys_seg: U16,
    /// File offset less 0x200 of a version string, or 0.
    pub kernel_version: U16,
    /// Written by the boot loader: its assigned number.
    pub type_of_loader: u8,
    /// [`LoadFlags`].
    pub loadflags: u8,
    /// Real-mode hook.
    pub setup_move_size: U16,
    /// Address of the 32-bit entry point.
    pub code32_start: U32,
    /// Written by the boot loader: guest-physical address of the initrd, low 32 bits.
    pub ramdisk_image: U32,
    /// Written by the boot loader: size of the initrd in bytes, low 32 bits.
    pub ramdisk_size: U32,
    /// Obsolete.
    pub bootsect_kludge: U32,
    /// Written by the boot loader: end of the real-mode heap.
    pub heap_end_ptr: U16,
    /// Written by the boot loader: extended version.
    pub ext_loader_ver: u8,
    /// Written by the boot loader: extended number.
    pub ext_loader_type: u8,
    /// Written by the boot loader: guest-physical address of the command line, low 32 bits.
    pub cmd_line_ptr: U32,
    /// Highest address any byte of the initrd may have.
    pub initrd_addr_max: U32,
    /// Alignment in bytes that a relocatable kernel wants.
    pub kernel_alignment: U32,
    /// Nonzero: the kernel runs at any address of that alignment.
    pub relocatable_kernel: u8,
    /// Least alignment as a power of two.
    pub min_alignment: u8,
    /// [`XLoadFlags`].
    pub xloadflags: U16,
    /// Longest command line in bytes, without the NUL.
    pub cmdline_size: U32,
    /// Subarchitecture.
    pub hardware_subarch: U32,
    /// Subarchitecture data.
    pub hardware_subarch_data: U64,
    /// Offset of the compressed payload in the protected-mode kernel.
    pub payload_offset: U32,
    /// Its length in bytes.
    pub payload_length: U32,
    /// Written by the boot loader: list of `setup_data`.
    pub setup_data: U64,
    /// Address the kernel prefers; it moves itself there otherwise.
    pub pref_address: U64,
    /// Memory in bytes the kernel needs from its run address before it looks at the memory map.
    pub init_size: U32,
    /// EFI handover protocol.
    pub handover_offset: U32,
    /// Offset of `kernel_info`.
    pub kernel_info_offset: U32,
}

const _: () = assert!(size_of::<SetupHeader>() == 0x26c - SETUP_HEADER_OFFSET);

/// The parameter page (`struct boot_params`, the "zero page"): the fields a boot loader of this
/// kind fills, at their offsets, and zeros between them.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BootParams {
    /// 0x000: screen information and others, unused here.
    pub unused_000: [u8; 0x070],
    /// 0x070: guest-physical address of the ACPI RSDP, or 0.
    pub acpi_rsdp_addr: U64,
    /// 0x078: unused here.
    pub unused_078: [u8; 0x0c0 - 0x078],
    /// 0x0c0: upper 32 bits of [`SetupHeader::ramdisk_image`].
    pub ext_ramdisk_image: U32,
    /// 0x0c4: upper 32 bits of [`SetupHeader::ramdisk_size`].
    pub ext_ramdisk_size: U32,
    /// 0x0c8: upper 32 bits of [`SetupHeader::cmd_line_ptr`].
    pub ext_cmd_line_ptr: U32,
    /// 0x0cc: unused here.
    pub unused_0cc: [u8; 0x1e8 - 0x0cc],
    /// 0x1e8: number of entries in `e820_table`.
    pub e820_entries: u8,
    /// 0x1e9: unused here.
    pub unused_1e9: [u8; 0x1ef - 0x1e9],
    /// 0x1ef: must be 0; a kernel that finds 0xff here distrusts the whole page.
    pub sentinel: u8,
    /// 0x1f0: unused.
    pub unused_1f0: u8,
    /// 0x1f1: the kernel's setup header, completed by the boot loader.
    pub hdr: SetupHeader,
    /// 0x26c: unused here.
    pub unused_26c: [u8; 0x2d0 - 0x26c],
    /// 0x2d0: the memory map.
    pub e820_table: [E820Entry; MAX_ENTRIES],
    /// 0xcd0: unused here.
    pub unused_cd0: [u8; 0x1000 - 0xcd0],
}

const _: () = assert!(size_of::<BootParams>() == 4096);
const _: () = assert!(core::mem::offset_of!(BootParams, acpi_rsdp_addr) == 0x070);
const _: () = assert!(core::mem::offset_of!(BootParams, ext_ramdisk_image) == 0x0c0);
const _: () = assert!(core::mem::offset_of!(BootParams, e820_entries) == 0x1e8);
const _: () = assert!(core::mem::offset_of!(BootParams, sentinel) == 0x1ef);
const _: () = assert!(core::mem::offset_of!(BootParams, hdr) == SETUP_HEADER_OFFSET);
const _: () = assert!(core::mem::offset_of!(BootParams, e820_table) == 0x2d0);
const _: () = assert!(SETUP_HEADER_OFFSET + core::mem::offset_of!(SetupHeader, jump) == 0x200);
const _: () = assert!(SETUP_HEADER_OFFSET + core::mem::offset_of!(SetupHeader, init_size) == 0x260);
