// SPDX-License-Identifier: MIT OR Apache-2.0
//! The MP tables, found the way a kernel finds them.
//!
//! Spec: Intel MultiProcessor Specification 1.4, section 4.

use crate::handed::bytes;
use crate::serial::line;
use abi::checksum;
use abi::mp::{ConfigHeader, FLOATING_POINTER_SIGNATURE, FloatingPointer};
use zerocopy::FromBytes;

/// Where the floating pointer may be: the last KiB of 640 KiB, and the BIOS ROM area.
const PLACES: [(u64, u64); 2] = [(0x9_fc00, 0xa_0000), (0xf_0000, 0x10_0000)];

fn verdict(bytes: &[u8]) -> &'static str {
    if checksum::sum(bytes) == 0 {
        "ok"
    } else {
        "BAD"
    }
}

/// Reports pointer, header and entries.
pub fn tables() {
    let pointer = PLACES
        .iter()
        .flat_map(|(start, end)| (*start..*end).step_by(16))
        .find(|at| {
            let candidate = bytes(*at, size_of::<FloatingPointer>() as u64);
            candidate.starts_with(&FLOATING_POINTER_SIGNATURE) && checksum::sum(candidate) == 0
        });
    let Some(at) = pointer else {
        line!("mp.pointer=none");
        return;
    };
    line!("mp.pointer={at:#x}");
    let Ok((pointer, _)) = FloatingPointer::ref_from_prefix(bytes(at, 16)) else {
        return;
    };
    let table: u64 = pointer.physical_address.get().into();
    line!("mp.table={table:#x}");
    let Ok((header, _)) = ConfigHeader::ref_from_prefix(bytes(table, 44)) else {
        return;
    };
    let length = u64::from(header.base_table_length.get());
    let whole = bytes(table, length);
    line!("mp.length={length:#x}");
    line!("mp.checksum={}", verdict(whole));
    line!("mp.entries={:#x}", header.entry_count);
    line!("mp.lapic={:#x}", header.local_apic_address);
    let mut rest = whole.get(44..).unwrap_or_default();
    while let Some(kind) = rest.first() {
        let size = if *kind == 0 { 20 } else { 8 };
        let Some((entry, behind)) = rest.split_at_checked(size) else {
            line!("mp.entry=truncated");
            return;
        };
        rest = behind;
        match entry {
            [0, id, version, flags, ..] => line!("mp.cpu={id:#x} {version:#x} {flags:#x}"),
            [1, id, name @ ..] => {
                line!(
                    "mp.bus={id:#x} {}",
                    core::str::from_utf8(name).unwrap_or("?")
                );
            }
            [2, id, version, flags, a, b, c, d] => line!(
                "mp.ioapic={id:#x} {version:#x} {flags:#x} {:#x}",
                u32::from_le_bytes([*a, *b, *c, *d])
            ),
            [kind, interrupt, a, b, bus, irq, apic, pin] => line!(
                "mp.interrupt={kind:#x} {interrupt:#x} {bus:#x} {irq:#x} {apic:#x} {pin:#x} {:#x}",
                u16::from_le_bytes([*a, *b])
            ),
            _ => line!("mp.entry=unknown"),
        }
    }
}
