// SPDX-License-Identifier: MIT OR Apache-2.0
//! SMBIOS: both entry points, as a scan finds them, and every structure.
//!
//! Spec: DMTF DSP0134 3.6, sections 5.2.1 and 5.2.2 (entry points) and 6.1 (structures).

use crate::handed::{bytes, hexadecimal, number};
use crate::serial::line;
use abi::checksum;
use guests::digest;

const TYPE_END: u64 = 127;
const HEADER_LENGTH: u64 = 4;

/// Reports what is there of the 2.1 and of the 3.0 entry point, and the structures behind the
/// better one.
pub fn tables(all_bytes: bool) {
    let mut places: Option<(u64, u64)> = None;
    if let Some(at) = scan(b"_SM_", 5) {
        let anchor = bytes(at, 31);
        line!(
            "smbios.2={at:#x} {:#x} {:#x} {:#x}.{:#x} {:#x} {:#x} {:#x}",
            number(anchor, 5, 1),
            checksum::sum(anchor.get(16..31).unwrap_or_default()),
            number(anchor, 6, 1),
            number(anchor, 7, 1),
            number(anchor, 8, 2),
            number(anchor, 22, 2),
            number(anchor, 28, 2)
        );
        places = Some((number(anchor, 24, 4), number(anchor, 22, 2)));
    }
    if let Some(at) = scan(b"_SM3_", 6) {
        let anchor = bytes(at, 24);
        line!(
            "smbios.3={at:#x} {:#x} {:#x}.{:#x} {:#x}",
            number(anchor, 6, 1),
            number(anchor, 7, 1),
            number(anchor, 8, 1),
            number(anchor, 12, 4)
        );
        places = places.or(Some((number(anchor, 16, 8), number(anchor, 12, 4))));
    }
    if let Some((address, length)) = places {
        line!("smbios.table={address:#x} {length:#x}");
        structures(address, length, all_bytes);
    }
}

/// An entry point on a 16-byte boundary whose bytes, as many as its byte at `length` says, add up.
/// As the BIOS of an old board may have one below the ROM, the search starts where tables may be.
fn scan(signature: &[u8], length: usize) -> Option<u64> {
    (0xf_0000..0x10_0000)
        .chain(0xe_0000..0xf_0000)
        .step_by(16)
        .find(|at| {
            bytes(*at, 16).starts_with(signature)
                && checksum::sum(bytes(*at, number(bytes(*at, 16), length, 1))) == 0
        })
}

fn structures(address: u64, length: u64, all_bytes: bool) {
    let (mut at, end) = (address, address + length);
    while at + HEADER_LENGTH <= end {
        let header = bytes(at, HEADER_LENGTH);
        let (kind, formatted) = (number(header, 0, 1), number(header, 1, 1));
        let mut next = at + formatted;
        while next + 2 <= end && bytes(next, 2) != [0, 0] {
            next += 1;
        }
        next += 2;
        let whole = bytes(at, next - at);
        line!(
            "smbios.structure={kind:#x} {:#x} {formatted:#x} {:#x} {:#x}",
            number(header, 2, 2),
            whole.len(),
            digest(whole)
        );
        if all_bytes {
            line!("smbios.bytes={kind:#x} {}", hexadecimal(whole));
        }
        if kind == TYPE_END {
            return;
        }
        at = next;
    }
}
