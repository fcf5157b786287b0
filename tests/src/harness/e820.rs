// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory map: what is published says of every address what the records say of it.

use abi::e820::{E820Entry, TYPE_RAM};
use abi::fw_cfg::file;
use abi::layout::{
    HIGH_RAM_START, LOW_RAM_END, MMCONFIG_SIZE, MMCONFIG_START, RAM_ABOVE_4G_START, ROM_SIZE,
    ROM_TOP, ROOT_COMPLEX_SIZE, ROOT_COMPLEX_START,
};
use firmware_core::board::Board;
use firmware_core::memory::Range;
use zerocopy::IntoBytes;

use super::input::Input;
use super::machine::Machine;
use super::sentence::assert_sentence;

/// The kernel that has to find its place.
const KERNEL: Range = Range::between(HIGH_RAM_START, HIGH_RAM_START + 0x1_0000);
const ADDRESSES: [u64; 12] = [
    0,
    LOW_RAM_END,
    0xc_0000,
    0xf_0000,
    HIGH_RAM_START,
    KERNEL.end(),
    0x1000_0000,
    0xc000_0000,
    ROM_TOP - ROM_SIZE,
    RAM_ABOVE_4G_START,
    1 << 40,
    u64::MAX,
];

/// A board, then records.
pub fn e820(data: &[u8]) {
    let mut input = Input(data);
    let mut machine = Machine::new(0);
    machine.board = input.pick(&[Board::Microvm, Board::I440fx, Board::Q35]);
    machine.set_pvh(0x10_0000, 0x1_0000);
    let mut records = Vec::new();
    if input.u8() % 4 != 0 {
        records.push((0, LOW_RAM_END, TYPE_RAM));
        records.push((HIGH_RAM_START, 0x1000_0000, TYPE_RAM));
    }
    while !input.is_empty() && records.len() < 600 {
        let start = input.near(&ADDRESSES);
        let end = input.near(&ADDRESSES);
        let size = if input.u8() == 0 {
            end
        } else {
            end.wrapping_sub(start)
        };
        let kind = match input.u8() % 8 {
            0..=3 => TYPE_RAM,
            4 => input.u32(),
            kind => u32::from(kind) - 3,
        };
        records.push((start, size, kind));
    }
    let entries: Vec<_> = records
        .iter()
        .map(|&(addr, size, kind)| E820Entry {
            addr: addr.into(),
            size: size.into(),
            kind: kind.into(),
        })
        .collect();
    let bytes = entries.as_slice().as_bytes().to_vec();
    let size = u32::try_from(bytes.len()).expect("few");
    machine.add_file(file::E820.as_bytes(), size, bytes);

    let outcome = match machine.boot() {
        Ok(outcome) => outcome,
        Err(error) => return assert_sentence(&error),
    };
    let wraps = |&(addr, size, _): &(u64, u64, u32)| addr.checked_add(size).is_none();
    assert!(!records.iter().any(wraps), "a record wraps");

    // What the firmware itself says, stronger than any record.
    let mut special = vec![
        Range::between(outcome.handoff.block.start(), HIGH_RAM_START),
        Range::between(ROM_TOP - ROM_SIZE, ROM_TOP),
    ];
    if machine.board == Board::Q35 {
        special.push(Range::new(MMCONFIG_START, MMCONFIG_SIZE).expect("in range"));
        special.push(Range::new(ROOT_COMPLEX_START, ROOT_COMPLEX_SIZE).expect("in range"));
    }
    let mut points: Vec<u64> = records
        .iter()
        .flat_map(|&(addr, size, _)| [addr, addr + size])
        .chain(
            special
                .iter()
                .flat_map(|range| [range.start(), range.end()]),
        )
        .chain(
            outcome
                .regions
                .iter()
                .flat_map(|region| [region.start, region.end]),
        )
        .collect();
    points.sort_unstable();
    points.dedup();
    // Between two neighbouring points nothing changes, so one address of each stretch is enough.
    for point in points {
        let published = outcome
            .regions
            .iter()
            .find(|region| (region.start..region.end).contains(&point))
            .map(|region| u32::try_from(region.kind).expect("32 bits"));
        if special.iter().any(|range| range.contains(at(point))) {
            assert_ne!(published, Some(TYPE_RAM), "{point:#x} is not the kernel's");
            continue;
        }
        let said: Vec<_> = records
            .iter()
            .filter(|&&(addr, size, _)| (addr..addr + size).contains(&point))
            .map(|&(_, _, kind)| kind)
            .collect();
        let reserved: Vec<_> = said.iter().filter(|&&kind| kind != TYPE_RAM).collect();
        match published {
            None => assert!(said.is_empty(), "{point:#x} is missing"),
            Some(TYPE_RAM) => {
                assert!(
                    reserved.is_empty() && !said.is_empty(),
                    "{point:#x} is no RAM"
                );
            }
            Some(kind) => assert!(reserved.contains(&&kind), "{point:#x} is no {kind}"),
        }
    }
    let ram: Vec<_> = records
        .iter()
        .filter(|record| record.2 == TYPE_RAM)
        .filter_map(|&(addr, size, _)| Range::new(addr, size))
        .collect();
    outcome.assert_consistent(&joined(ram), KERNEL);
}

/// One address, as a range.
fn at(address: u64) -> Range {
    Range::between(address, address.saturating_add(1))
}

/// Ranges that touch, as one.
fn joined(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_by_key(|range| range.start());
    let mut joined: Vec<Range> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start() <= last.end() => {
                *last = Range::between(last.start(), last.end().max(range.end()));
            }
            _ => joined.push(range),
        }
    }
    joined
}
