// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ACPI tables: where the RSDP is said to be, what a scan finds, and every table's sum, its
//! digest without what depends on where tables are, and its bytes.
//!
//! Spec: ACPI 6.5, sections 5.2.5 (RSDP, and finding it), 5.2.6 (table header), 5.2.9 (FADT).

use crate::handed::{bytes, hexadecimal, number};
use crate::serial::line;
use abi::checksum;
use core::ops::RangeInclusive;
use core::str;
use guests::digest;

/// Length of the RSDP, and of the part of it that revision 0 knows.
const RSDP_LENGTH: u64 = 36;
const RSDP_SHORT_LENGTH: u64 = 20;
/// Length of the header that all other tables start with.
const HEADER_LENGTH: usize = 36;
/// The checksum in that header.
const CHECKSUM: (usize, usize) = (9, 1);
/// Pointers in the FADT: FIRMWARE_CTRL, DSDT, X_FIRMWARE_CTRL, X_DSDT.
const FADT_POINTERS: [(usize, usize); 4] = [(36, 4), (40, 4), (132, 8), (140, 8)];
/// Length of a table that is one.
const PLAUSIBLE: RangeInclusive<u64> = HEADER_LENGTH as u64..=1 << 20;
/// Offset of the generation identifier behind VGIA; QEMU `include/hw/acpi/vmgenid.h`.
const GENERATION_OFFSET: u64 = 40;
/// Tables up to this length are copied before they are digested; none with a pointer is longer,
/// but for the root tables, whose pointers are all that they have.
const COPY: usize = 4096;

/// Reports the tables behind the RSDP at `handed`, or behind the one that a scan finds when it
/// is 0.
pub fn tables(handed: u64, all_bytes: bool) {
    let scanned = (0xe_0000..0x10_0000).step_by(16).find(|at| {
        let candidate = bytes(*at, RSDP_SHORT_LENGTH);
        candidate.starts_with(b"RSD PTR ") && checksum::sum(candidate) == 0
    });
    line!("acpi.scanned={:#x}", scanned.unwrap_or(0));
    let place = if handed == 0 {
        scanned.unwrap_or(0)
    } else {
        handed
    };
    if place == 0 {
        return;
    }
    let revision = number(bytes(place, RSDP_SHORT_LENGTH), 15, 1);
    let (length, root, pointer_size) = if revision == 0 {
        (RSDP_SHORT_LENGTH, (16, 4), 4)
    } else {
        (RSDP_LENGTH, (24, 8), 8)
    };
    let rsdp = bytes(place, length);
    line!("acpi.rsdp={place:#x} {:#x}", checksum::sum(rsdp));
    line!(
        "acpi.revision={revision:#x} {}",
        text(rsdp.get(9..15).unwrap_or_default())
    );
    let root = table(number(rsdp, root.0, root.1), all_bytes);
    for at in (HEADER_LENGTH..root.len()).step_by(pointer_size) {
        let body = table(number(root, at, pointer_size), all_bytes);
        if body.starts_with(b"FACP") {
            for (extended, short) in [((140, 8), (40, 4)), ((132, 8), (36, 4))] {
                let address = match number(body, extended.0, extended.1) {
                    0 => number(body, short.0, short.1),
                    address => address,
                };
                if address != 0 {
                    table(address, all_bytes);
                }
            }
        }
    }
}

/// Reports one table and returns its bytes: none where something else has taken its place.
fn table(address: u64, all_bytes: bool) -> &'static [u8] {
    let header = bytes(address, HEADER_LENGTH as u64);
    let length = number(header, 4, 4);
    let named = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let signature = header.get(..4).unwrap_or_default();
    if !signature.iter().all(named) || !PLAUSIBLE.contains(&length) {
        line!("acpi.broken={address:#x}");
        return &[];
    }
    let table = bytes(address, length);
    let name = text(table.get(..4).unwrap_or_default());
    line!(
        "acpi.table={name} {address:#x} {length:#x} {:#x}",
        checksum::sum(table)
    );
    // FACS has no header beyond signature and length.
    let id = if name == "FACS" {
        "-"
    } else {
        text(table.get(16..24).unwrap_or_default()).trim_end_matches(['\0', ' '])
    };
    line!(
        "acpi.digest={name} {id} {:#x}",
        relocatable(name, id, table)
    );
    if all_bytes {
        line!("acpi.bytes={name} {id} {}", hexadecimal(table));
    }
    if id == "VMGENID" {
        let page = constant(table, b"VGIA\x0c").map_or(0, |at| number(table, at, 4));
        line!(
            "acpi.generation={}",
            hexadecimal(bytes(page + GENERATION_OFFSET, 16))
        );
    }
    table
}

/// A digest that does not depend on where tables are.
fn relocatable(name: &str, id: &str, table: &[u8]) -> u64 {
    if name == "RSDT" || name == "XSDT" {
        let mut header = [0; HEADER_LENGTH];
        header.copy_from_slice(table.get(..HEADER_LENGTH).unwrap_or(&[0; HEADER_LENGTH]));
        clear(&mut header, &[CHECKSUM]);
        return digest(&header);
    }
    let mut copy = [0; COPY];
    let Some(copy) = copy.get_mut(..table.len()) else {
        return digest(table);
    };
    copy.copy_from_slice(table);
    if name == "FACP" {
        clear(copy, &FADT_POINTERS);
        clear(copy, &[CHECKSUM]);
    }
    // What the loader fills in: where the generation identifier and the NVDIMM's mailbox are.
    let name = match id {
        "VMGENID" => b"VGIA\x0c",
        "NVDIMM" => b"MEMA\x0c",
        _ => return digest(copy),
    };
    if let Some(at) = constant(table, name) {
        clear(copy, &[(at, 4), CHECKSUM]);
    }
    digest(copy)
}

/// Where the value of `Name (…, DWord)` is, whose AML begins with `name`.
fn constant(table: &[u8], name: &[u8; 5]) -> Option<usize> {
    let at = table.windows(5).position(|window| window == name)?;
    Some(at + name.len())
}

fn clear(table: &mut [u8], fields: &[(usize, usize)]) {
    for (offset, size) in fields {
        if let Some(field) = table.get_mut(*offset..offset + size) {
            field.fill(0);
        }
    }
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap_or("?")
}
