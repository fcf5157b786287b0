// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ACPI loader script: what it makes of its files is what a plain reading of it says, in memory
//! of their own.

use std::collections::BTreeMap;

use abi::checksum;
use abi::fw_cfg::{FILE_NAME_SIZE, Key, file};
use abi::layout::{HIGH_RAM_START, LOW_RAM_END, RSDP_SCAN_START};
use abi::table_loader::{
    AddChecksum, AddPointer, Allocate, COMMAND_ADD_CHECKSUM, COMMAND_ADD_POINTER, COMMAND_ALLOCATE,
    COMMAND_SIZE, COMMAND_WRITE_POINTER, FileName, WritePointer, ZONE_FSEG,
};
use firmware_core::memory::Range;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::input::Input;
use super::machine::{Machine, Outcome};
use super::sentence::assert_sentence;
use crate::kernels;

const RAM: u64 = 0x40_0000;
const KERNEL: Range = Range::between(HIGH_RAM_START, HIGH_RAM_START + 0x1_0000);
const RSDP: &[u8; 8] = b"RSD PTR ";

/// Files of the machine: name, and whether the guest may write it.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "absent"];

/// Sizes of the files, then commands.
pub fn loader(data: &[u8]) {
    let mut input = Input(data);
    let mut machine = Machine::new(usize::try_from(RAM).expect("64 bits"));
    machine.set_pvh(0x10_0000, 0x1_0000);
    let ram = if input.u8() % 4 == 0 {
        vec![
            Range::between(0, LOW_RAM_END),
            Range::between(HIGH_RAM_START, RAM),
        ]
    } else {
        vec![Range::between(0, RAM)]
    };
    machine.set_ram(&ram);

    let mut files = BTreeMap::new();
    for (index, name) in NAMES[..4].iter().enumerate() {
        let size = usize::from(input.u8()) << (input.u8() % 10);
        let mut bytes = kernels::pattern(size);
        if index == 0 && bytes.len() >= RSDP.len() {
            bytes[..RSDP.len()].copy_from_slice(RSDP);
        }
        files.insert(machine.add_whole_file(name, bytes.clone()).0, bytes);
    }
    let script = script(&mut input);
    machine.add_whole_file(file::TABLE_LOADER, script.clone());

    let outcome = match machine.boot() {
        Ok(outcome) => outcome,
        Err(error) => return assert_sentence(&error),
    };
    outcome.assert_consistent(&ram, KERNEL);
    for blob in &outcome.blobs {
        assert_eq!(blob.range.start() % blob.align, 0, "{blob:x?}");
        let scanned = Range::between(RSDP_SCAN_START, HIGH_RAM_START);
        assert!(!blob.scanned || scanned.contains(blob.range), "{blob:x?}");
    }
    follow(&script, &mut files, &outcome);
    for blob in &outcome.blobs {
        assert_eq!(machine.bytes(blob.range), files[&blob.key.0], "{blob:x?}");
    }
    for (key, bytes) in &files {
        let loaded = outcome.blobs.iter().any(|blob| blob.key.0 == *key);
        assert!(loaded || machine.item(Key(*key)) == bytes, "file {key:#x}");
    }
    if let Some(rsdp) = outcome.rsdp {
        let at_start = |blob: &&super::machine::Place| blob.range.start() == rsdp && blob.scanned;
        let blob = outcome
            .blobs
            .iter()
            .find(at_start)
            .expect("the RSDP is a file");
        assert!(machine.bytes(blob.range).starts_with(RSDP));
    }
}

/// A script: mostly commands that make some sense.
fn script(input: &mut Input<'_>) -> Vec<u8> {
    let mut script = Vec::new();
    while !input.is_empty() && script.len() < 128 * COMMAND_SIZE {
        let kind = input.u8();
        match kind % 8 {
            0 => script.extend_from_slice(&input.array::<COMMAND_SIZE>()),
            1 | 2 => {
                let mut body = Allocate::new_zeroed();
                body.file = name(input);
                body.align = match input.u8() {
                    0xff => input.u32(),
                    shift => 1 << (shift % 32),
                }
                .into();
                body.zone = input.u8() % 4;
                push(&mut script, COMMAND_ALLOCATE, body.as_bytes());
            }
            3 => {
                let mut body = AddPointer::new_zeroed();
                body.dest = name(input);
                body.src = name(input);
                body.offset = offset(input).into();
                body.size = size(input);
                push(&mut script, COMMAND_ADD_POINTER, body.as_bytes());
            }
            4 | 5 => {
                let mut body = AddChecksum::new_zeroed();
                body.file = name(input);
                body.offset = offset(input).into();
                body.start = offset(input).into();
                body.length = offset(input).into();
                push(&mut script, COMMAND_ADD_CHECKSUM, body.as_bytes());
            }
            6 => {
                let mut body = WritePointer::new_zeroed();
                body.dest = name(input);
                body.src = name(input);
                body.dest_offset = offset(input).into();
                body.src_offset = offset(input).into();
                body.size = size(input);
                push(&mut script, COMMAND_WRITE_POINTER, body.as_bytes());
            }
            _ => push(&mut script, input.u32(), &[kind; COMMAND_SIZE - 4]),
        }
    }
    if input.u8() == 1 {
        script.pop();
    }
    script
}

fn push(script: &mut Vec<u8>, number: u32, body: &[u8]) {
    script.extend_from_slice(&number.to_le_bytes());
    script.extend_from_slice(body);
}

fn name(input: &mut Input<'_>) -> FileName {
    let mut field = [0; FILE_NAME_SIZE];
    let choice = input.u8();
    if choice == 0xff {
        return [b'x'; FILE_NAME_SIZE];
    }
    let name = NAMES[usize::from(choice) % NAMES.len()].as_bytes();
    field[..name.len()].copy_from_slice(name);
    field
}

fn offset(input: &mut Input<'_>) -> u32 {
    match input.u8() {
        0xff => input.u32(),
        0xfe => input.u16().into(),
        small => small.into(),
    }
}

fn size(input: &mut Input<'_>) -> u8 {
    input.pick(&[4, 8, 1, 2, 4, 8, 0, 3, 255])
}

/// Does to `files` what the script says, with the places that its files were given.
fn follow(script: &[u8], files: &mut BTreeMap<u16, Vec<u8>>, outcome: &Outcome) {
    let key = |name: &FileName| -> u16 {
        let index = NAMES
            .iter()
            .position(|known| name.starts_with(known.as_bytes()) && name[known.len()] == 0);
        Key::FILE_FIRST.0 + 1 + u16::try_from(index.expect("a file")).expect("few")
    };
    let place = |key: u16| -> u64 {
        let blob = outcome.blobs.iter().find(|blob| blob.key.0 == key);
        blob.expect("a loaded file").range.start()
    };
    for command in script.chunks_exact(COMMAND_SIZE) {
        let (number, body) = command.split_at(4);
        match u32::from_le_bytes(number.try_into().expect("four bytes")) {
            COMMAND_ALLOCATE => {
                let body = Allocate::ref_from_bytes(body).expect("a body");
                let blob = outcome
                    .blobs
                    .iter()
                    .find(|blob| blob.key.0 == key(&body.file));
                let blob = blob.expect("an allocated file");
                assert_eq!(blob.align, u64::from(body.align.get()));
                assert_eq!(blob.scanned, body.zone == ZONE_FSEG);
            }
            COMMAND_ADD_POINTER => {
                let body = AddPointer::ref_from_bytes(body).expect("a body");
                let address = place(key(&body.src));
                let start = body.offset.get() as usize;
                let dest = files.get_mut(&key(&body.dest)).expect("a file");
                let bytes = &mut dest[start..][..body.size.into()];
                let mut value = [0; 8];
                value[..bytes.len()].copy_from_slice(bytes);
                let sum = u64::from_le_bytes(value)
                    .wrapping_add(address)
                    .to_le_bytes();
                bytes.copy_from_slice(&sum[..bytes.len()]);
            }
            COMMAND_ADD_CHECKSUM => {
                let body = AddChecksum::ref_from_bytes(body).expect("a body");
                let file = files.get_mut(&key(&body.file)).expect("a file");
                let (start, length) = (body.start.get() as usize, body.length.get() as usize);
                let sum = checksum::sum(&file[start..][..length]);
                let byte = &mut file[body.offset.get() as usize];
                *byte = byte.wrapping_sub(sum);
            }
            COMMAND_WRITE_POINTER => {
                let body = WritePointer::ref_from_bytes(body).expect("a body");
                let address = place(key(&body.src)) + u64::from(body.src_offset.get());
                let dest = key(&body.dest);
                if outcome.blobs.iter().any(|blob| blob.key.0 == dest) {
                    continue; // it is the device's copy that changes, and that is loaded already
                }
                let file = files.get_mut(&dest).expect("a file");
                let start = body.dest_offset.get() as usize;
                file[start..][..body.size.into()]
                    .copy_from_slice(&address.to_le_bytes()[..body.size.into()]);
            }
            _ => {}
        }
    }
}
