// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use crate::fw_cfg::{DirectoryBuffer, TransferError};
use crate::words::Speaker;
use crate::words::test::Text;
use abi::checksum;
use abi::fw_cfg::{FileEntry, Key};
use abi::table_loader::{
    AddChecksum, AddPointer, Allocate, COMMAND_SIZE, FileName, WritePointer, ZONE_FSEG, ZONE_HIGH,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use zerocopy::{FromZeros, IntoBytes};

mod model;

/// Files in `fw_cfg`, in the order of their keys.
struct Device {
    files: Vec<(String, Vec<u8>)>,
    directory: Vec<u8>,
    selected: usize,
    offset: usize,
}

const DIRECTORY: usize = usize::MAX;

impl Device {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let mut directory = u32::try_from(files.len()).unwrap().to_be_bytes().to_vec();
        for (index, (name, bytes)) in files.iter().enumerate() {
            let mut entry = FileEntry::new_zeroed();
            entry.size.set(u32::try_from(bytes.len()).unwrap());
            entry.select.set(u16::try_from(0x20 + index).unwrap());
            entry.name = file_name(name);
            directory.extend_from_slice(entry.as_bytes());
        }
        let files = files
            .iter()
            .map(|(name, bytes)| ((*name).into(), bytes.to_vec()))
            .collect();
        Self {
            files,
            directory,
            selected: DIRECTORY,
            offset: 0,
        }
    }
}

impl Transport for Device {
    fn read(&mut self, key: Key, buffer: &mut [u8]) -> Result<(), TransferError> {
        self.seek(key, 0)?;
        self.read_more(buffer)
    }

    fn read_more(&mut self, buffer: &mut [u8]) -> Result<(), TransferError> {
        let bytes = match self.selected {
            DIRECTORY => &self.directory,
            index => &self.files[index].1,
        };
        for byte in buffer {
            *byte = bytes.get(self.offset).copied().unwrap_or(0);
            self.offset += 1;
        }
        Ok(())
    }

    fn seek(&mut self, key: Key, offset: u32) -> Result<(), TransferError> {
        self.selected = usize::from(key.0).checked_sub(0x20).unwrap_or(DIRECTORY);
        self.offset = offset as usize;
        Ok(())
    }

    fn write_more(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        self.files[self.selected].1[self.offset..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn load(&mut self, _: Key, _: Range) -> Result<(), TransferError> {
        unreachable!("the tests load by themselves")
    }
}

/// Guest memory, a byte at a time; only what was loaded exists.
#[derive(Default)]
struct Bytes(BTreeMap<u64, u8>);

impl BlobMemory for Bytes {
    fn edit<T>(&mut self, range: Range, edit: impl FnOnce(&mut [u8]) -> T) -> T {
        let addresses = range.start()..range.end();
        let mut bytes: Vec<u8> = addresses.clone().map(|address| self.0[&address]).collect();
        let result = edit(&mut bytes);
        self.0.extend(addresses.zip(bytes));
        result
    }
}

fn file_name(name: &str) -> FileName {
    let mut field = [0; 56];
    field[..name.len()].copy_from_slice(name.as_bytes());
    field
}

fn command(number: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend_from_slice(body);
    assert_eq!(bytes.len(), COMMAND_SIZE);
    bytes
}

fn allocate(file: &str, align: u32, zone: u8) -> Vec<u8> {
    let mut body = Allocate::new_zeroed();
    body.file = file_name(file);
    body.align = align.into();
    body.zone = zone;
    command(COMMAND_ALLOCATE, body.as_bytes())
}

fn add_pointer(dest: &str, src: &str, offset: u32, size: u8) -> Vec<u8> {
    let mut body = AddPointer::new_zeroed();
    body.dest = file_name(dest);
    body.src = file_name(src);
    body.offset = offset.into();
    body.size = size;
    command(COMMAND_ADD_POINTER, body.as_bytes())
}

fn add_checksum(file: &str, offset: u32, start: u32, length: u32) -> Vec<u8> {
    let mut body = AddChecksum::new_zeroed();
    body.file = file_name(file);
    body.offset = offset.into();
    body.start = start.into();
    body.length = length.into();
    command(COMMAND_ADD_CHECKSUM, body.as_bytes())
}

fn write_pointer(dest: &str, src: &str, dest_offset: u32, src_offset: u32, size: u8) -> Vec<u8> {
    let mut body = WritePointer::new_zeroed();
    body.dest = file_name(dest);
    body.src = file_name(src);
    body.dest_offset = dest_offset.into();
    body.src_offset = src_offset.into();
    body.size = size;
    command(COMMAND_WRITE_POINTER, body.as_bytes())
}

const A: [u8; 36] = *b"RSD PTR \x04\0\0\0\0\0\0\0the rest of a table.";
const B: [u8; 64] = [7; 64];

/// Runs a script over the files `a` (for the F-segment), `b` and the writable `w`; `a` is put at
/// 0xe1000, all else from 0x200000 on. Returns what became of memory and of `w`.
fn run(script: &[Vec<u8>]) -> Result<(Bytes, Vec<u8>, Option<u64>), LoaderError> {
    run_bytes(&script.concat())
}

fn run_bytes(script: &[u8]) -> Result<(Bytes, Vec<u8>, Option<u64>), LoaderError> {
    run_and_say(script, true).map(|(result, _)| result)
}

type Ran = (Bytes, Vec<u8>, Option<u64>);

/// Also returns what is said of it.
fn run_and_say(script: &[u8], all: bool) -> Result<(Ran, String), LoaderError> {
    let mut device = Device::new(&[
        ("a", &A),
        ("b", &B),
        ("etc/table-loader", script),
        ("w", &[0; 16]),
    ]);
    let mut directory = DirectoryBuffer::new_zeroed();
    let mut commands = CommandBuffer::new_zeroed();
    let mut storage = Box::new([Blob::new_zeroed(); MAX_BLOBS]);
    let mut files = Directory::read(&mut device, &mut directory).unwrap();
    let mut loader = Loader::gather(&mut device, &mut files, &mut commands, &mut storage)?;
    let mut memory = Bytes::default();
    let mut high = 0x20_0000;
    for blob in loader.blobs.iter_mut() {
        let at = if blob.zone() == Zone::FSegment {
            0xe_1000
        } else {
            high
        };
        blob.put(at);
        high += 0x1_0000;
        let bytes = &device.files[usize::from(blob.key().0 - 0x20)].1;
        memory.0.extend((at..).zip(bytes.iter().copied()));
    }
    loader.link(&mut device, &mut files, &mut memory)?;
    let mut said = Text::default();
    loader.trace(&mut device, &mut memory, all, &mut Speaker::new(&mut said));
    let rsdp = loader.rsdp(&mut memory);
    Ok(((memory, device.files[3].1.clone(), rsdp), said.0))
}

fn at(memory: &Bytes, start: u64, length: u64) -> Vec<u8> {
    (start..start + length)
        .map(|address| memory.0[&address])
        .collect()
}

/// One command of each kind, with operands that suit file `b`.
fn one_of_each() -> [Vec<u8>; 4] {
    [
        allocate("b", 64, ZONE_HIGH),
        add_pointer("b", "b", 8, 4),
        add_checksum("b", 0, 0, 64),
        write_pointer("w", "b", 0, 0, 8),
    ]
}

fn refused(script: &[Vec<u8>]) -> String {
    run(script).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn no_script_loads_nothing() {
    let mut device = Device::new(&[("a", &A)]);
    let mut directory = DirectoryBuffer::new_zeroed();
    let mut commands = CommandBuffer::new_zeroed();
    let mut storage = Box::new([Blob::new_zeroed(); MAX_BLOBS]);
    let mut files = Directory::read(&mut device, &mut directory).unwrap();
    let loader = Loader::gather(&mut device, &mut files, &mut commands, &mut storage).unwrap();
    assert_eq!(loader.blobs.iter().count(), 0);
}

#[test]
fn a_pointer_of_each_size_gains_the_address_of_its_target() {
    for (size, expected) in [(1, 4u64), (2, 0x1004), (4, 0xe_1004), (8, 0xe_1004)] {
        let script = [
            allocate("a", 16, ZONE_FSEG),
            allocate("b", 64, ZONE_HIGH),
            add_pointer("a", "a", 8, size),
        ];
        let (memory, _, _) = run(&script).unwrap();
        let found = at(&memory, 0xe_1008, 8);
        let found = u64::from_le_bytes(found.try_into().unwrap());
        assert_eq!(found, expected, "size {size}");
    }
}

#[test]
fn a_checksum_brings_its_range_to_zero() {
    for (offset, start, length) in [(9, 0, 32), (9, 3, 20), (31, 31, 1), (9, 0, 0)] {
        let before: u8 = checksum::sum(&B[start as usize..(start + length) as usize]);
        let script = [
            allocate("b", 64, ZONE_HIGH),
            add_checksum("b", offset, start, length),
        ];
        let (memory, _, _) = run(&script).unwrap();
        let byte = at(&memory, 0x20_0000 + u64::from(offset), 1)[0];
        assert_eq!(byte, 7u8.wrapping_sub(before));
    }
}

#[test]
fn the_vmm_is_told_where_a_file_lies() {
    let script = [
        allocate("b", 64, ZONE_HIGH),
        write_pointer("w", "b", 4, 0x28, 8),
    ];
    let (_, written, _) = run(&script).unwrap();
    assert_eq!(written[..4], [0; 4]);
    assert_eq!(written[4..12], 0x20_0028u64.to_le_bytes());
}

#[test]
fn what_was_skipped_is_said_and_the_rest_only_where_all_is_wanted() {
    let script = [
        allocate("a", 16, ZONE_FSEG),
        command(5, &[0; 124]),
        allocate("b", 64, ZONE_HIGH),
        add_pointer("a", "b", 16, 4),
        add_checksum("a", 8, 0, 20),
        write_pointer("w", "b", 8, 32, 8),
        command(0, &[0; 124]),
        command(u32::MAX, &[0; 124]),
    ]
    .concat();
    let skipped = |number| {
        format!("qboot-rs: ACPI loader: expected command 0 to 4, found {number}, skipped\n")
    };
    let (first, last) = (skipped(5), skipped(u32::MAX));
    assert_eq!(
        run_and_say(&script, false).unwrap().1,
        format!("{first}{last}")
    );
    let rest = "  a at 16: pointer into b\n  a at 8: checksum of 20 bytes from 0, RSD \n  \
                fw_cfg file w at 8: address of b at 32\n";
    assert_eq!(
        run_and_say(&script, true).unwrap().1,
        format!("{first}{rest}{last}")
    );
}

#[test]
fn the_rsdp_is_found_in_the_f_segment_only() {
    let (_, _, rsdp) = run(&[allocate("a", 16, ZONE_FSEG)]).unwrap();
    assert_eq!(rsdp, Some(0xe_1000));
    let (_, _, rsdp) = run(&[allocate("a", 16, ZONE_HIGH)]).unwrap();
    assert_eq!(rsdp, None);
}

#[test]
fn padding_and_unknown_commands_are_passed_over() {
    let script = [
        command(0, &[0; 124]),
        allocate("b", 64, ZONE_HIGH),
        command(5, &[0xff; 124]),
        command(u32::MAX, &[0xff; 124]),
        add_pointer("b", "b", 0, 4),
    ];
    assert!(run(&script).is_ok());
}

#[test]
fn an_empty_script_loads_nothing() {
    let (memory, written, rsdp) = run(&[]).unwrap();
    assert!(memory.0.is_empty());
    assert_eq!((written, rsdp), (vec![0; 16], None));
}

#[test]
fn of_scripts_of_one_command_only_those_run_that_need_no_file() {
    let [allocation, others @ ..] = one_of_each();
    let (memory, _, _) = run(&[allocation]).unwrap();
    assert_eq!(at(&memory, 0x20_0000, 64), B);
    for other in others {
        assert_eq!(
            refused(&[other]),
            "ACPI loader command 0: expected a file that is loaded, found one that is not"
        );
    }
    for number in [0, 5, 0x8000_0001] {
        assert!(run(&[command(number, &[0xff; 124])]).is_ok());
    }
}

#[test]
fn a_file_is_loaded_from_its_command_on() {
    let [allocation, others @ ..] = one_of_each();
    for other in others {
        let late = [other.clone(), allocation.clone()];
        assert_eq!(
            refused(&late),
            "ACPI loader command 0: expected a file that is loaded, found one that is not"
        );
        assert!(run(&[allocation.clone(), other]).is_ok());
    }
    let other_file = [
        allocate("a", 16, ZONE_FSEG),
        add_pointer("a", "b", 8, 4),
        allocate("b", 64, ZONE_HIGH),
    ];
    assert!(refused(&other_file).starts_with("ACPI loader command 1: expected a file that is"));
}

#[test]
fn no_name_in_any_command_is_read_past_its_field() {
    let first = allocate("b", 64, ZONE_HIGH);
    for (index, mut command) in one_of_each().into_iter().enumerate() {
        let fields = if index % 2 == 0 { 1 } else { 2 };
        for field in 0..fields {
            let name = 4 + field * size_of::<FileName>();
            let before = command.clone();
            command[name..name + size_of::<FileName>()].fill(b'x');
            let script = [first.clone(), command.clone()];
            assert_eq!(
                refused(&script),
                "ACPI loader command 1: expected a file name that ends with a NUL, found none"
            );
            command = before;
        }
    }
}

/// A script too long to stay in the buffer is read twice, and the VMM may have changed it.
#[test]
fn a_script_that_allocates_more_at_the_second_look_finds_no_more_files() {
    let mut script = vec![allocate("b", 64, ZONE_HIGH)];
    script.extend((0..64).map(|_| command(0, &[0; 124])));
    let first = script.concat();
    script[1] = allocate("w", 1, ZONE_HIGH);
    script[2] = add_pointer("", "b", 0, 4); // as a name of zeros in unused storage
    let mut device = Device::new(&[("b", &B), ("etc/table-loader", &first), ("w", &[0; 16])]);
    let mut directory = DirectoryBuffer::new_zeroed();
    let mut commands = CommandBuffer::new_zeroed();
    let mut storage = Box::new([Blob::new_zeroed(); MAX_BLOBS]);
    let mut files = Directory::read(&mut device, &mut directory).unwrap();
    let mut loader = Loader::gather(&mut device, &mut files, &mut commands, &mut storage).unwrap();
    device.files[1].1 = script.concat();
    let error = loader.link(&mut device, &mut files, &mut Bytes::default());
    assert_eq!(
        error.unwrap_err().to_string(),
        "ACPI loader command 2: expected a file that is loaded, found one that is not"
    );
}

#[test]
fn the_257th_file_is_refused() {
    let names: Vec<String> = (0..257).map(|index| format!("file{index}")).collect();
    let script: Vec<u8> = names
        .iter()
        .flat_map(|name| allocate(name, 1, ZONE_HIGH))
        .collect();
    for (count, fits) in [(256, true), (257, false)] {
        let script = &script[..count * COMMAND_SIZE];
        let mut files: Vec<(&str, &[u8])> =
            names.iter().map(|name| (name.as_str(), &B[..1])).collect();
        files.push(("etc/table-loader", script));
        let mut device = Device::new(&files);
        let mut directory = DirectoryBuffer::new_zeroed();
        let mut commands = CommandBuffer::new_zeroed();
        let mut storage = Box::new([Blob::new_zeroed(); MAX_BLOBS]);
        let mut files = Directory::read(&mut device, &mut directory).unwrap();
        let loader = Loader::gather(&mut device, &mut files, &mut commands, &mut storage);
        let refused = loader.map(|loader| assert_eq!(loader.blobs.iter().count(), 256));
        let sentence = "ACPI loader command 256: expected at most 256 files, found more";
        match refused {
            Ok(()) => assert!(fits),
            Err(error) => assert_eq!((fits, error.to_string().as_str()), (false, sentence)),
        }
    }
}

#[test]
fn a_script_of_ten_thousand_commands_runs_to_its_end() {
    let mut script = vec![allocate("b", 64, ZONE_HIGH)];
    script.extend((0..9_998).map(|_| command(0, &[0; 124])));
    script.push(add_checksum("b", 0, 0, 64));
    let (memory, _, _) = run(&script).unwrap();
    assert_eq!(checksum::sum(&at(&memory, 0x20_0000, 64)), 0);
}

#[test]
fn every_command_that_makes_no_sense_has_its_sentence() {
    let b = || allocate("b", 64, ZONE_HIGH);
    let mut endless = allocate("b", 64, ZONE_HIGH);
    endless[4..60].fill(b'x');
    for (script, sentence) in [
        (
            vec![allocate("c", 1, ZONE_HIGH)],
            "0: expected a file of fw_cfg, found another name",
        ),
        (
            vec![b(), b()],
            "1: expected a file once, found it a second time",
        ),
        (
            vec![add_checksum("b", 0, 0, 1)],
            "0: expected a file that is loaded, found one that is not",
        ),
        (
            vec![b(), add_pointer("b", "a", 0, 4)],
            "1: expected a file that is loaded, found one that is not",
        ),
        (
            vec![allocate("b", 0, ZONE_HIGH)],
            "0: expected an alignment that is a power of two, found 0x0",
        ),
        (
            vec![allocate("b", 3, ZONE_HIGH)],
            "0: expected an alignment that is a power of two, found 0x3",
        ),
        (
            vec![allocate("b", 1, 0)],
            "0: expected zone 1 or 2, found 0",
        ),
        (
            vec![allocate("b", 1, 3)],
            "0: expected zone 1 or 2, found 3",
        ),
        (
            vec![endless],
            "0: expected a file name that ends with a NUL, found none",
        ),
        (
            vec![b(), add_pointer("b", "b", 61, 4)],
            "1: expected a range inside a file of 0x40 bytes, found 0x4 bytes at 0x3d",
        ),
        (
            vec![b(), add_pointer("b", "b", u32::MAX, 8)],
            "1: expected a range inside a file of 0x40 bytes, found 0x8 bytes at 0xffffffff",
        ),
        (
            vec![b(), add_pointer("b", "b", 0, 3)],
            "1: expected a number of 1, 2, 4 or 8 bytes, found 3",
        ),
        (
            vec![b(), add_checksum("b", 64, 0, 64)],
            "1: expected a range inside a file of 0x40 bytes, found 0x1 bytes at 0x40",
        ),
        (
            vec![b(), add_checksum("b", 0, 1, 64)],
            "1: expected a range inside a file of 0x40 bytes, found 0x40 bytes at 0x1",
        ),
        (
            vec![b(), add_checksum("b", 0, 2, u32::MAX)],
            "1: expected a range inside a file of 0x40 bytes, found 0xffffffff bytes at 0x2",
        ),
        (
            vec![b(), write_pointer("w", "b", 9, 0, 8)],
            "1: expected a range inside a file of 0x10 bytes, found 0x8 bytes at 0x9",
        ),
        (
            vec![b(), write_pointer("w", "b", 0, 64, 8)],
            "1: expected a range inside a file of 0x40 bytes, found 0x1 bytes at 0x40",
        ),
        (
            vec![b(), write_pointer("w", "b", u32::MAX, 0, 8)],
            "1: expected a range inside a file of 0x10 bytes, found 0x8 bytes at 0xffffffff",
        ),
        (
            vec![b(), write_pointer("w", "b", 0, u32::MAX, 8)],
            "1: expected a range inside a file of 0x40 bytes, found 0x1 bytes at 0xffffffff",
        ),
        (
            vec![b(), write_pointer("w", "b", 0, 0, 0)],
            "1: expected a number of 1, 2, 4 or 8 bytes, found 0",
        ),
        (
            vec![b(), add_pointer("b", "b", 0, 255)],
            "1: expected a number of 1, 2, 4 or 8 bytes, found 255",
        ),
        (
            vec![b(), add_checksum("b", u32::MAX, 0, 64)],
            "1: expected a range inside a file of 0x40 bytes, found 0x1 bytes at 0xffffffff",
        ),
        (
            vec![b(), add_checksum("b", 0, u32::MAX, u32::MAX)],
            "1: expected a range inside a file of 0x40 bytes, found 0xffffffff bytes at 0xffffffff",
        ),
        (
            vec![allocate("b", 1, 0xff)],
            "0: expected zone 1 or 2, found 255",
        ),
        (
            vec![allocate("b", u32::MAX, ZONE_HIGH)],
            "0: expected an alignment that is a power of two, found 0xffffffff",
        ),
        (
            vec![b(), write_pointer("v", "b", 0, 0, 8)],
            "1: expected a file of fw_cfg, found another name",
        ),
    ] {
        assert_eq!(refused(&script), format!("ACPI loader command {sentence}"));
    }
}

#[test]
fn a_script_that_breaks_off_is_refused() {
    let error = run_bytes(&allocate("b", 64, ZONE_HIGH)[..127])
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "ACPI loader script: expected a whole number of 128-byte commands, found 127 bytes"
    );
}

/// An RSDP of a revision that leads to a list of one table, at `b`'s place, and that list.
fn root(revision: u8) -> (Vec<u8>, Vec<u8>) {
    let entry = if revision == 0 { 4 } else { 8 };
    let mut list = if revision == 0 { b"RSDT" } else { b"XSDT" }.to_vec();
    list.extend(u32::try_from(36 + entry).unwrap().to_le_bytes());
    list.resize(36, 0);
    list.resize(36 + entry, 0x11);
    list[9] = checksum::complement(&list);
    let mut rsdp = b"RSD PTR ".to_vec();
    rsdp.resize(20, 0);
    rsdp[15] = revision;
    if revision == 0 {
        rsdp[16..].copy_from_slice(&0x20_0000u32.to_le_bytes());
    } else {
        rsdp.extend(36u32.to_le_bytes());
        rsdp.extend(0x20_0000u64.to_le_bytes());
        rsdp.resize(36, 0);
    }
    rsdp[8] = checksum::complement(&rsdp[..20]);
    if revision != 0 {
        rsdp[32] = checksum::complement(&rsdp);
    }
    (rsdp, list)
}

const MOMENTS: Moments = Moments {
    reset: 2_500,
    load: 5_002_500,
    enter: 2_500_002_500,
    khz: 2_500_000,
};

/// Adds the performance table to these two files. Returns memory, and whether it was added.
fn measured(rsdp: &[u8], list: &[u8]) -> (Bytes, bool) {
    let script = [allocate("a", 16, ZONE_FSEG), allocate("b", 64, ZONE_HIGH)].concat();
    let mut device = Device::new(&[("a", rsdp), ("b", list), ("etc/table-loader", &script)]);
    let mut directory = DirectoryBuffer::new_zeroed();
    let mut commands = CommandBuffer::new_zeroed();
    let mut storage = Box::new([Blob::new_zeroed(); MAX_BLOBS]);
    let mut files = Directory::read(&mut device, &mut directory).unwrap();
    let mut loader = Loader::gather(&mut device, &mut files, &mut commands, &mut storage).unwrap();
    loader.want_performance();
    let mut memory = Bytes::default();
    for (blob, start) in loader
        .blobs
        .iter_mut()
        .zip([0xe_1000, 0x20_0000, 0x30_0000])
    {
        blob.put(start);
        let bytes = match start {
            0xe_1000 => rsdp.to_vec(),
            0x20_0000 => list.to_vec(),
            _ => vec![0xee; blob.size() as usize],
        };
        memory.0.extend((start..).zip(bytes));
    }
    let added = loader
        .add_performance(0xe_1000, &MOMENTS, &mut memory)
        .is_some();
    (memory, added)
}

#[test]
fn the_performance_table_is_found_through_either_list() {
    for (revision, entry) in [(0, 4), (2, 8)] {
        let (rsdp, list) = root(revision);
        let (memory, added) = measured(&rsdp, &list);
        assert!(added, "revision {revision}");
        let rsdp = at(&memory, 0xe_1000, rsdp.len() as u64);
        assert_eq!(checksum::sum(&rsdp[..20]), 0);
        assert_eq!(checksum::sum(&rsdp), 0);
        let place = if revision == 0 { 16..20 } else { 24..32 };
        let number = |bytes: &[u8]| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(word)
        };
        let longer = number(&rsdp[place]);
        assert_eq!(longer, 0x30_0070);
        let table = at(&memory, longer, 36 + 2 * entry);
        assert_eq!(checksum::sum(&table), 0);
        assert_eq!(number(&table[4..8]), 36 + 2 * entry);
        let entries: Vec<u64> = table[36..]
            .chunks(usize::try_from(entry).unwrap())
            .map(number)
            .collect();
        assert_eq!(entries[1], 0x30_0038);
        let fpdt = at(&memory, entries[1], 52);
        assert_eq!((&fpdt[..4], checksum::sum(&fpdt)), (&b"FPDT"[..], 0));
        let fbpt = at(&memory, number(&fpdt[44..]), 56);
        assert_eq!(&fbpt[..4], b"FBPT");
        let times: Vec<u64> = fbpt[16..].chunks(8).map(number).collect();
        let entered = 1_000_000_000;
        assert_eq!(times, [0, 2_000_000, entered, entered, entered]);
        // The VMM's list is as it was.
        assert_eq!(at(&memory, 0x20_0000, list.len() as u64), list);
    }
}

#[test]
fn a_list_that_is_none_is_left_alone() {
    for change in [0usize, 4, 5, 6, 7] {
        let (rsdp, mut list) = root(2);
        list[change] ^= 0x40;
        let (memory, added) = measured(&rsdp, &list);
        assert!(!added, "byte {change}");
        assert_eq!(at(&memory, 0xe_1000, 36), rsdp);
    }
    let (mut rsdp, list) = root(2);
    rsdp[26] = 0x77;
    assert!(!measured(&rsdp, &list).1);
}

proptest! {
    /// Lists of every length up to what there is room for gain one entry and lose none; longer
    /// ones stay alone.
    #[test]
    fn any_list_gains_one_entry(
        modern in any::<bool>(), count in 0usize..130, seed in any::<u8>(),
    ) {
        let entry = if modern { 8 } else { 4 };
        let (rsdp, mut list) = root(if modern { 2 } else { 0 });
        list.resize(36, 0);
        list.extend((0..count * entry).map(|at| at.to_le_bytes()[0] ^ seed));
        let length = u32::try_from(list.len()).unwrap();
        list[4..8].copy_from_slice(&length.to_le_bytes());
        list[9] = 0;
        list[9] = checksum::complement(&list);
        let (memory, added) = measured(&rsdp, &list);
        let room = 1024 - 112;
        prop_assert_eq!(added, list.len() + entry <= room);
        prop_assert_eq!(at(&memory, 0x20_0000, length.into()), list.clone());
        let pointer = if modern { 24 } else { 16 };
        let pointer = at(&memory, 0xe_1000 + pointer, 4);
        let pointer = u64::from(u32::from_le_bytes(pointer.try_into().unwrap()));
        prop_assert_eq!(pointer, if added { 0x30_0070 } else { 0x20_0000 });
        if added {
            let longer = at(&memory, pointer, u64::from(length) + entry as u64);
            prop_assert_eq!(checksum::sum(&longer), 0);
            prop_assert_eq!(&longer[36..list.len()], &list[36..]);
            prop_assert_eq!(&longer[list.len()..][..4], &0x30_0038u32.to_le_bytes());
        }
    }

    #[test]
    fn ticks_become_nanoseconds_without_a_wide_division(ticks in 0u64..1 << 52, khz in 1u32..) {
        let exact = u128::from(ticks) * 1_000_000 / u128::from(khz);
        prop_assert_eq!(u128::from(nanoseconds(ticks, khz)), exact & u128::from(u64::MAX));
    }

    #[test]
    fn no_files_make_the_performance_table_panic(
        rsdp in proptest::collection::vec(any::<u8>(), 0..40),
        list in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let _ = measured(&rsdp, &list);
    }

    /// Whatever the operands, nothing panics, and nothing outside the loaded files is touched:
    /// `Bytes` has no other bytes to give.
    #[test]
    fn no_script_reaches_past_its_files(
        commands in proptest::collection::vec(
            (0u32..6, 0usize..4, 0usize..4, any::<u32>(), any::<u32>(), any::<u32>(), 0u8..10),
            0..12,
        )
    ) {
        let names = ["a", "b", "w", "z"];
        let script: Vec<_> = commands
            .iter()
            .map(|&(kind, one, other, x, y, z, size)| match kind {
                1 => allocate(names[one], 1 << (x % 20), size % 4),
                2 => add_pointer(names[one], names[other], x % 80, size),
                3 => add_checksum(names[one], x % 80, y % 80, z % 80),
                4 => write_pointer(names[one], names[other], x % 20, y % 80, size),
                _ => command(kind, &[0; 124]),
            })
            .collect();
        let _ = run(&script);
    }

    #[test]
    fn no_bytes_are_a_script_that_panics(bytes in proptest::collection::vec(any::<u8>(), 0..1024)) {
        let _ = run_bytes(&bytes);
    }
}
