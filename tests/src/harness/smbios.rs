// SPDX-License-Identifier: MIT OR Apache-2.0
//! SMBIOS: an anchor is either refused, or points to the VMM's structures, whole and in their
//! order, among which there is BIOS information, and behind which there is an end.

use abi::checksum;
use abi::fw_cfg::file;
use abi::layout::HIGH_RAM_START;
use abi::smbios::{
    ANCHOR_21, ANCHOR_30, EntryPoint21, EntryPoint30, Header, INTERMEDIATE_ANCHOR,
    INTERMEDIATE_OFFSET, TYPE_BIOS_INFORMATION, TYPE_END_OF_TABLE,
};
use firmware_core::memory::Range;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::input::Input;
use super::machine::Machine;
use super::sentence::assert_sentence;

const RAM: u64 = 0x40_0000;
const KERNEL: Range = Range::between(HIGH_RAM_START, HIGH_RAM_START + 0x1_0000);

/// Which anchor, changes to it, then structures.
pub fn smbios(data: &[u8]) {
    let mut input = Input(data);
    let version_3 = input.u8() % 2 == 1;
    let untouched = input.u8() % 2 == 0;
    let lie = input.pick(&[0i16, 0, 0, 1, -1, i16::MAX]);
    let changes: [u8; 4] = input.array();
    let table = structures(&mut input);
    let length = u32::try_from(table.len()).expect("small");
    let declared = length.saturating_add_signed(lie.into());
    let mut anchor = if version_3 {
        let mut entry = EntryPoint30::new_zeroed();
        entry.anchor = ANCHOR_30;
        entry.length = 24;
        entry.table_max_size = declared.into();
        entry.as_bytes().to_vec()
    } else {
        let mut entry = EntryPoint21::new_zeroed();
        entry.anchor = ANCHOR_21;
        entry.length = 31;
        entry.intermediate_anchor = INTERMEDIATE_ANCHOR;
        entry.table_length = u16::try_from(declared).unwrap_or(u16::MAX).into();
        entry.as_bytes().to_vec()
    };
    if !untouched {
        let at = usize::from(changes[0]) % anchor.len();
        anchor[at] ^= changes[1];
        match changes[2] {
            0 => anchor.truncate(changes[3].into()),
            1 => anchor.resize(anchor.len() + usize::from(changes[3]), 0),
            _ => {}
        }
    }

    let mut machine = Machine::new(usize::try_from(RAM).expect("64 bits"));
    machine.set_pvh(0x10_0000, 0x1_0000);
    let declared = match EntryPoint21::read_from_bytes(&anchor) {
        Ok(entry) => usize::from(entry.table_length.get()),
        Err(_) => EntryPoint30::read_from_bytes(&anchor)
            .map_or(0, |entry| entry.table_max_size.get() as usize),
    };
    let ram = [Range::between(0, RAM)];
    machine.set_ram(&ram);
    machine.add_whole_file(file::SMBIOS_ANCHOR, anchor);
    machine.add_whole_file(file::SMBIOS_TABLES, table.clone());
    let outcome = match machine.boot() {
        Ok(outcome) => outcome,
        Err(error) => return assert_sentence(&error),
    };
    outcome.assert_consistent(&ram, KERNEL);

    let place = outcome.smbios.expect("there is an anchor");
    assert_eq!(place.start() % 16, 0);
    let anchor = machine.bytes(place);
    let (address, length, told) = told(&anchor);
    let lies_in = |blob: &&super::machine::Place| blob.range.start() == address;
    let blob = outcome
        .blobs
        .iter()
        .find(lies_in)
        .expect("the table is a file");
    assert!(
        u64::from(length) <= blob.range.size(),
        "{length} bytes in {}",
        blob.range
    );
    let all = machine.bytes(Range::new(address, length.into()).expect("in range"));

    let before = split(&table[..declared]);
    let before: Vec<_> = before
        .into_iter()
        .take_while(|structure| structure[0] != TYPE_END_OF_TABLE)
        .collect();
    let after = split(&all);
    assert_eq!(after.iter().map(Vec::len).sum::<usize>(), all.len());
    assert_eq!(after[..before.len()], before);
    assert_eq!(after.last().expect("an end")[0], TYPE_END_OF_TABLE);
    let information = |structure: &&Vec<u8>| structure[0] == TYPE_BIOS_INFORMATION;
    let given = before.iter().filter(information).count();
    assert_eq!(after.iter().filter(information).count(), given.max(1));
    assert_eq!(after.len(), before.len() + 1 + usize::from(given == 0));
    let handle = |structure: &Vec<u8>| u16::from_le_bytes([structure[2], structure[3]]);
    for added in &after[before.len()..] {
        let same = after
            .iter()
            .filter(|other| handle(other) == handle(added))
            .count();
        // All of 65,536 handles would have to be in use, or one of the last ones.
        let crowded = before.iter().any(|other| handle(other) >= 0xff00);
        assert!(same == 1 || crowded, "handle {:#x} twice", handle(added));
    }
    if let Some((count, largest)) = told {
        assert_eq!(usize::from(count), after.len());
        // The VMM may have claimed a larger one.
        let found = after.iter().map(Vec::len).max().expect("an end");
        let largest = usize::from(largest);
        assert!(found == largest || (found < largest && !untouched));
    }
}

/// Address and length of the table, and in a 2.1 anchor the number of structures and the size of
/// the largest.
fn told(anchor: &[u8]) -> (u64, u32, Option<(u16, u16)>) {
    assert_eq!(checksum::sum(anchor), 0);
    if let Ok(entry) = EntryPoint21::read_from_bytes(anchor) {
        assert_eq!(checksum::sum(&anchor[INTERMEDIATE_OFFSET..]), 0);
        let sizes = (entry.structure_count.get(), entry.max_structure_size.get());
        return (
            entry.table_address.get().into(),
            entry.table_length.get().into(),
            Some(sizes),
        );
    }
    let entry = EntryPoint30::read_from_bytes(anchor).expect("an anchor of either length");
    (entry.table_address.get(), entry.table_max_size.get(), None)
}

/// Structures: mostly ones that make some sense.
fn structures(input: &mut Input<'_>) -> Vec<u8> {
    let mut table = Vec::new();
    while !input.is_empty() && table.len() < 0x1_2000 {
        let choice = input.u8();
        if choice == 0 {
            let length = input.u8();
            table.extend_from_slice(input.bytes(length.into()));
            continue;
        }
        let mut header = Header::new_zeroed();
        header.kind = match choice % 8 {
            0 => TYPE_END_OF_TABLE,
            1 => TYPE_BIOS_INFORMATION,
            kind => kind,
        };
        header.length = if choice == 0xff {
            input.u8()
        } else {
            4 + choice % 32
        };
        header.handle = input.u16().into();
        table.extend_from_slice(header.as_bytes());
        table.resize(
            table.len() + usize::from(header.length.saturating_sub(4)),
            choice,
        );
        let string = usize::from(input.u8()) * if choice == 0xfe { 64 } else { 1 };
        if string == 0 {
            table.push(0);
        } else {
            table.resize(table.len() + string, b's');
            table.push(0);
        }
        table.push(0);
    }
    table
}

/// The structures of a table, up to its end.
fn split(table: &[u8]) -> Vec<Vec<u8>> {
    let mut structures = Vec::new();
    let mut rest = table;
    while rest.len() >= 4 {
        let formatted = usize::from(rest[1]);
        let mut end = formatted;
        while rest.get(end..end + 2).is_some_and(|pair| pair != [0, 0]) {
            end += 1;
        }
        let (structure, behind) = rest.split_at((end + 2).min(rest.len()));
        structures.push(structure.to_vec());
        if structure[0] == TYPE_END_OF_TABLE {
            break;
        }
        rest = behind;
    }
    structures
}
