// SPDX-License-Identifier: MIT OR Apache-2.0
//! SMBIOS: say what this firmware is, and where the VMM's structures lie.
//!
//! Spec: DMTF DSP0134, System Management BIOS 3.6.
//! In: an anchor and a table, as files that the plan places and [`Loader`] loads. Out: both, made
//! whole. Never: picks an address.

mod error;

pub use error::SmbiosError;

use crate::acpi::{Blob, BlobMemory, Blobs, Loader};
use crate::fw_cfg::{File, KnownFiles};
use crate::memory::Range;
use abi::checksum;
use abi::fw_cfg::file;
use abi::layout::{ROM_ALIAS_START, ROM_GRANULE, ROM_SIZE};
use abi::smbios::{
    ANCHOR_21, ANCHOR_30, BiosInformation, CHARACTERISTICS_NOT_SUPPORTED,
    EXTENSION_VIRTUAL_MACHINE, EntryPoint21, EntryPoint30, Header, INTERMEDIATE_ANCHOR,
    INTERMEDIATE_OFFSET, TYPE_BIOS_INFORMATION, TYPE_END_OF_TABLE,
};
use abi::table_loader::{FileName, ZONE_FSEG, ZONE_HIGH};
use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, Unaligned};

/// The day of this version, `mm/dd/yyyy`: a constant, so that the same source is the same image.
const RELEASE_DATE: &str = "11/21/2026";
const VENDOR: &str = "qboot-rs";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Tables up to this size go where the anchor goes; larger ones leave that room to others.
const SMALL: u32 = 0x8000;

/// The last structure's size: a header and no strings.
const END_SIZE: usize = size_of::<Header>() + 2;

/// Bytes behind the VMM's structures for our own, and for a last one behind it.
#[allow(clippy::cast_possible_truncation)] // far below 64 KiB
const ROOM: u32 = (size_of::<OwnInformation>() + END_SIZE) as u32;

/// BIOS Information with its strings.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct OwnInformation {
    formatted: BiosInformation,
    vendor: [u8; VENDOR.len() + 1],
    version: [u8; VERSION.len() + 1],
    release_date: [u8; RELEASE_DATE.len() + 1],
    end: u8,
}

/// Has both files placed and loaded with those of the ACPI loader, where the VMM offers them.
///
/// # Errors
/// The anchor is neither of the two there are, or there are too many files.
pub fn gather(known: &KnownFiles, loader: &mut Loader<'_>) -> Result<(), SmbiosError> {
    let (Some(anchor), Some(tables)) = (known.smbios_anchor, known.smbios_tables) else {
        return Ok(());
    };
    add(anchor, tables, &mut loader.blobs)
}

#[cold]
#[inline(never)]
fn add(anchor: File, tables: File, blobs: &mut Blobs<'_>) -> Result<(), SmbiosError> {
    let mut whole = tables;
    whole.size = whole.size.saturating_add(ROOM);
    let zone = if whole.size <= SMALL {
        ZONE_FSEG
    } else {
        ZONE_HIGH
    };
    // Section 5.2.1: the entry point starts on a 16-byte boundary.
    let files = [
        (&ANCHOR_NAME, anchor, ZONE_FSEG),
        (&TABLES_NAME, whole, zone),
    ];
    for (name, file, zone) in files {
        blobs.add(name, file, 16, zone).map_err(SmbiosError::File)?;
    }
    Ok(())
}

const ANCHOR_NAME: FileName = text(file::SMBIOS_ANCHOR);
const TABLES_NAME: FileName = text(file::SMBIOS_TABLES);

/// A name or a string in its field, zeros behind it.
const fn text<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [0; N];
    let (mut to, mut from): (&mut [u8], &[u8]) = (&mut field, text.as_bytes());
    while let ([slot, slots @ ..], [byte, bytes @ ..]) = (to, from) {
        *slot = *byte;
        (to, from) = (slots, bytes);
    }
    field
}

/// Once both files are loaded: adds what is missing, and makes the anchor point to it. Returns
/// where the anchor lies.
///
/// # Errors
/// The anchor or a structure makes no sense.
pub fn link(
    known: &KnownFiles,
    loader: &Loader<'_>,
    memory: &mut impl BlobMemory,
) -> Result<Option<Range>, SmbiosError> {
    match (known.smbios_anchor, known.smbios_tables) {
        (Some(_), Some(tables)) => connect(tables.size, &loader.blobs, memory).map(Some),
        _ => Ok(None),
    }
}

#[cold]
#[inline(never)]
fn connect(
    size: u32,
    blobs: &Blobs<'_>,
    memory: &mut impl BlobMemory,
) -> Result<Range, SmbiosError> {
    let place = |name| blobs.find(name).map(Blob::place).map_err(SmbiosError::File);
    let (anchor, table) = (place(&ANCHOR_NAME)?, place(&TABLES_NAME)?);
    let declared = memory.edit(anchor, |bytes| declared_length(bytes))?;
    check_length(declared, size)?;
    let table = memory.edit(table, |bytes| complete(bytes, declared, table.start()))?;
    memory.edit(anchor, |bytes| point(bytes, &table))?;
    Ok(anchor)
}

fn check_length(found: u32, limit: u32) -> Result<(), SmbiosError> {
    if found > limit {
        return Err(SmbiosError::TableLength { found, limit });
    }
    Ok(())
}

/// A table that is complete.
#[derive(Debug)]
struct Table {
    address: u64,
    length: u32,
    /// Structures.
    count: u16,
    /// Size in bytes of the largest structure.
    largest: u16,
}

/// What the anchor says of the table's length, once the anchor itself is accepted.
fn declared_length(bytes: &[u8]) -> Result<u32, SmbiosError> {
    if let Ok(entry) = EntryPoint21::ref_from_bytes(bytes)
        && entry.anchor == ANCHOR_21
        && usize::from(entry.length) == size_of::<EntryPoint21>()
        && entry.intermediate_anchor == INTERMEDIATE_ANCHOR
    {
        return Ok(entry.table_length.get().into());
    }
    if let Ok(entry) = EntryPoint30::ref_from_bytes(bytes)
        // Not as one number in the code, which may lie where kernels look for an anchor.
        && entry.anchor.first_chunk() == ANCHOR_30.first_chunk::<4>()
        && entry.anchor.last() == ANCHOR_30.last()
        && usize::from(entry.length) == size_of::<EntryPoint30>()
    {
        return Ok(entry.table_max_size.get());
    }
    Err(SmbiosError::Anchor {
        found: u32::from_le_bytes(*bytes.first_chunk().unwrap_or(&[0; 4])),
        size: bytes.len(),
    })
}

/// What a walk over the structures finds.
#[derive(Debug, Default)]
struct Found {
    count: u16,
    largest: usize,
    bios_information: bool,
    highest_handle: u16,
    has_handle_0: bool,
    /// Where the structures end, the last one of its type not counted.
    end: usize,
}

/// Walks the structures of a table (section 6.1.2).
fn walk(table: &[u8]) -> Result<Found, SmbiosError> {
    let mut found = Found::default();
    loop {
        let rest = table.get(found.end..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(found);
        }
        let broken = SmbiosError::Structure { offset: found.end };
        let (header, _) = Header::ref_from_prefix(rest).map_err(|_| broken)?;
        let formatted = usize::from(header.length);
        if formatted < size_of::<Header>() {
            return Err(broken);
        }
        let strings = rest.get(formatted..).ok_or(broken)?;
        let ends = |pair: &[u8]| pair == [0, 0];
        let size = strings.windows(2).position(ends).ok_or(broken)?;
        let size = size.saturating_add(formatted).saturating_add(2);
        if header.kind == TYPE_END_OF_TABLE {
            return Ok(found);
        }
        found.count = found.count.saturating_add(1);
        found.largest = found.largest.max(size);
        found.bios_information |= header.kind == TYPE_BIOS_INFORMATION;
        found.has_handle_0 |= header.handle.get() == 0;
        found.highest_handle = found.highest_handle.max(header.handle.get());
        found.end = found.end.saturating_add(size);
    }
}

/// Adds BIOS Information where there is none, and an end where there is none. `bytes` has [`ROOM`]
/// behind the first `declared` bytes, and stands for guest-physical memory from `address` on.
fn complete(bytes: &mut [u8], declared: u32, address: u64) -> Result<Table, SmbiosError> {
    let mut found = walk(bytes.get(..declared as usize).unwrap_or_default())?;
    if !found.bios_information {
        // Section 6.1.2: handles are unique; those from 0xff00 on are not for firmware.
        let handle = if found.has_handle_0 {
            found.highest_handle = found.highest_handle.wrapping_add(1);
            found.highest_handle
        } else {
            0
        };
        let mut own = OWN;
        own.formatted.header.handle = handle.into();
        write(bytes, found.end, own.as_bytes());
        found.end = found.end.saturating_add(size_of::<OwnInformation>());
        found.largest = found.largest.max(size_of::<OwnInformation>());
        found.count = found.count.saturating_add(1);
    }
    let end = Header {
        kind: TYPE_END_OF_TABLE,
        length: 4,
        handle: found.highest_handle.max(END_HANDLE).wrapping_add(1).into(),
    };
    write(bytes, found.end, end.as_bytes());
    write(
        bytes,
        found.end.saturating_add(size_of::<Header>()),
        &[0; 2],
    );
    let length = found.end.saturating_add(END_SIZE);
    Ok(Table {
        address,
        length: u32::try_from(length).unwrap_or(u32::MAX),
        count: found.count.saturating_add(1),
        largest: u16::try_from(found.largest).unwrap_or(u16::MAX),
    })
}

/// The last structure's handle is higher than this.
const END_HANDLE: u16 = 0x7eff;

fn write(bytes: &mut [u8], at: usize, what: &[u8]) {
    let slots = bytes.get_mut(at..).unwrap_or_default();
    for (slot, byte) in slots.iter_mut().zip(what) {
        *slot = *byte;
    }
}

/// What this firmware says of itself; its handle is to be chosen.
#[allow(clippy::cast_possible_truncation)] // constants that fit
const OWN: OwnInformation = OwnInformation {
    formatted: BiosInformation {
        header: Header {
            kind: TYPE_BIOS_INFORMATION,
            length: size_of::<BiosInformation>() as u8,
            handle: U16::ZERO,
        },
        vendor: 1,
        version: 2,
        starting_segment: U16::new((ROM_ALIAS_START >> 4) as u16),
        release_date: 3,
        rom_size: (ROM_SIZE / ROM_GRANULE - 1) as u8,
        characteristics: U64::new(CHARACTERISTICS_NOT_SUPPORTED),
        extension: [0, EXTENSION_VIRTUAL_MACHINE],
        major_release: release(env!("CARGO_PKG_VERSION_MAJOR")),
        minor_release: release(env!("CARGO_PKG_VERSION_MINOR")),
        controller_major_release: 0xff,
        controller_minor_release: 0xff,
    },
    vendor: text(VENDOR),
    version: text(VERSION),
    release_date: text(RELEASE_DATE),
    end: 0,
};

/// A number of the version, which has one digit or two.
const fn release(digits: &str) -> u8 {
    match digits.as_bytes() {
        [one] => one.wrapping_sub(b'0'),
        [ten, one] => ten
            .wrapping_sub(b'0')
            .wrapping_mul(10)
            .wrapping_add(one.wrapping_sub(b'0')),
        _ => 0,
    }
}

/// Makes the anchor say where the table lies and how long it is.
fn point(bytes: &mut [u8], table: &Table) -> Result<(), SmbiosError> {
    if let Ok(entry) = EntryPoint30::mut_from_bytes(bytes) {
        entry.table_max_size = table.length.into();
        entry.table_address = table.address.into();
        entry.checksum = 0;
        entry.checksum = checksum::complement(entry.as_bytes());
        return Ok(());
    }
    check_length(table.length, u16::MAX.into())?;
    let Ok(entry) = EntryPoint21::mut_from_bytes(bytes) else {
        return Ok(()); // it has been accepted
    };
    let [low, high, ..] = table.length.to_le_bytes();
    let address = u32::try_from(table.address).unwrap_or_default(); // as every table's
    entry.max_structure_size = table.largest.max(entry.max_structure_size.get()).into();
    entry.table_length = U16::from_bytes([low, high]);
    entry.table_address = address.into();
    entry.structure_count = table.count.into();
    entry.intermediate_checksum = 0;
    entry.checksum = 0;
    let intermediate = entry.as_bytes().get(INTERMEDIATE_OFFSET..);
    entry.intermediate_checksum = checksum::complement(intermediate.unwrap_or_default());
    entry.checksum = checksum::complement(entry.as_bytes());
    Ok(())
}

#[cfg(test)]
mod test;
