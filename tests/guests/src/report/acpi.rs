// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ACPI tables: where the RSDP is said to be, what a scan finds, and every table's sum.
//!
//! Spec: ACPI 6.5, sections 5.2.5 (RSDP, and finding it) and 5.2.6 (table header).

use crate::handed::bytes;
use crate::serial::line;
use abi::checksum;
use core::str;

/// Length of the RSDP, and of the part of it that revision 0 knows.
const RSDP_LENGTH: u64 = 36;
const RSDP_SHORT_LENGTH: u64 = 20;
/// Length of the header that all other tables start with.
const HEADER_LENGTH: usize = 36;

/// Reports the tables behind the RSDP at `handed`, which is 0 when none was handed over.
pub fn tables(handed: u64) {
    let scanned = (0xe_0000..0x10_0000).step_by(16).find(|at| {
        let candidate = bytes(*at, RSDP_SHORT_LENGTH);
        candidate.starts_with(b"RSD PTR ") && checksum::sum(candidate) == 0
    });
    line!("acpi.scanned={:#x}", scanned.unwrap_or(0));
    if handed == 0 {
        return;
    }
    let rsdp = bytes(handed, RSDP_LENGTH);
    line!("acpi.rsdp={handed:#x} {:#x}", checksum::sum(rsdp));
    let root = number(rsdp, 24, 8);
    let root_bytes = table(root);
    for at in (HEADER_LENGTH..root_bytes.len()).step_by(8) {
        let address = number(root_bytes, at, 8);
        let body = table(address);
        if body.starts_with(b"FACP") {
            table(number(body, 140, 8)); // X_DSDT
        }
    }
}

/// Reports one table and returns its bytes.
fn table(address: u64) -> &'static [u8] {
    let length = number(bytes(address, HEADER_LENGTH as u64), 4, 4);
    let table = bytes(address, length);
    let name = str::from_utf8(table.get(..4).unwrap_or_default()).unwrap_or("?");
    line!(
        "acpi.table={name} {address:#x} {length:#x} {:#x}",
        checksum::sum(table)
    );
    table
}

/// A little-endian number inside a table.
fn number(bytes: &[u8], offset: usize, size: usize) -> u64 {
    let field = bytes.get(offset..offset + size).unwrap_or_default();
    field
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
