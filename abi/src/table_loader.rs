// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ACPI linker-loader script: how a VMM has firmware place and connect tables.
//!
//! Spec: QEMU `hw/acpi/bios-linker-loader.c` (no prose specification exists). A script is a
//! sequence of commands of 128 bytes, executed in order; little-endian.

use crate::fw_cfg::FILE_NAME_SIZE;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A file name in a command, ended by a NUL.
pub type FileName = [u8; FILE_NAME_SIZE];

/// Size in bytes of every command.
pub const COMMAND_SIZE: usize = 128;

/// Size in bytes of what follows the command word.
pub const BODY_SIZE: usize = COMMAND_SIZE - size_of::<U32>();

/// One command: what to do, and its operands, of which each kind has its own structure.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Command {
    /// [`COMMAND_ALLOCATE`] and others; an unknown one is to be skipped.
    pub command: U32,
    /// The operands.
    pub body: [u8; BODY_SIZE],
}

const _: () = assert!(size_of::<Command>() == COMMAND_SIZE);

/// [`Command::command`] of padding.
pub const COMMAND_NONE: u32 = 0;
/// [`Command::command`] with [`Allocate`].
pub const COMMAND_ALLOCATE: u32 = 1;
/// [`Command::command`] with [`AddPointer`].
pub const COMMAND_ADD_POINTER: u32 = 2;
/// [`Command::command`] with [`AddChecksum`].
pub const COMMAND_ADD_CHECKSUM: u32 = 3;
/// [`Command::command`] with [`WritePointer`].
pub const COMMAND_WRITE_POINTER: u32 = 4;

/// Load a file into memory of its own.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Allocate {
    /// The file.
    pub file: FileName,
    /// Alignment in bytes of its address: a power of two.
    pub align: U32,
    /// [`ZONE_HIGH`] or [`ZONE_FSEG`].
    pub zone: u8,
    /// Zero.
    pub padding: [u8; BODY_SIZE - 61],
}

const _: () = assert!(size_of::<Allocate>() == BODY_SIZE);

/// [`Allocate::zone`]: anywhere a 32-bit pointer reaches.
pub const ZONE_HIGH: u8 = 1;
/// [`Allocate::zone`]: where kernels scan for the RSDP.
pub const ZONE_FSEG: u8 = 2;

/// Add the address of one file to a number inside another.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct AddPointer {
    /// The file that holds the number.
    pub dest: FileName,
    /// The file whose address is added.
    pub src: FileName,
    /// Offset of the number in `dest`.
    pub offset: U32,
    /// Size in bytes of the number: 1, 2, 4 or 8.
    pub size: u8,
    /// Zero.
    pub padding: [u8; BODY_SIZE - 117],
}

const _: () = assert!(size_of::<AddPointer>() == BODY_SIZE);

/// Subtract the sum of a range of bytes from one byte.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct AddChecksum {
    /// The file.
    pub file: FileName,
    /// Offset of the checksum byte.
    pub offset: U32,
    /// Offset of the range.
    pub start: U32,
    /// Length in bytes of the range.
    pub length: U32,
    /// Zero.
    pub padding: [u8; BODY_SIZE - 68],
}

const _: () = assert!(size_of::<AddChecksum>() == BODY_SIZE);

/// Write an address inside one file into a writable `fw_cfg` file.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct WritePointer {
    /// The `fw_cfg` file that receives the number.
    pub dest: FileName,
    /// The file whose address is meant.
    pub src: FileName,
    /// Offset of the number in `dest`.
    pub dest_offset: U32,
    /// Offset in `src` that is added to its address.
    pub src_offset: U32,
    /// Size in bytes of the number: 1, 2, 4 or 8.
    pub size: u8,
    /// Zero.
    pub padding: [u8; BODY_SIZE - 121],
}

const _: () = assert!(size_of::<WritePointer>() == BODY_SIZE);
