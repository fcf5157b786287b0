// SPDX-License-Identifier: MIT OR Apache-2.0
//! A second interpreter, plain and slow, that knows nothing of the first: offsets counted by hand
//! in QEMU's `hw/acpi/bios-linker-loader.c`, files in a map, one command after the other.

use super::*;
use std::collections::HashMap;

/// A file in memory.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Loaded {
    address: u64,
    bytes: Vec<u8>,
}

/// What a script makes of a machine.
#[derive(Debug, Default, Eq, PartialEq)]
struct Made {
    /// What is in memory, by name.
    memory: HashMap<String, Loaded>,
    /// What the VMM holds, by name.
    device: HashMap<String, Vec<u8>>,
    rsdp: Option<u64>,
}

/// Where the file at `index` of the directory is put.
fn address(index: usize, zone: u8) -> u64 {
    let index = index as u64;
    match zone {
        2 => 0xe_0000 + index * 0x400,
        _ => 0x20_0000 + index * 0x1_0000,
    }
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn text(bytes: &[u8], at: usize) -> Option<String> {
    let field = &bytes[at..at + 56];
    let end = field.iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8(field[..end].to_vec()).unwrap())
}

/// What the script should do; `None` if it should be refused.
fn expected(files: &[(String, Vec<u8>)], script: &[u8]) -> Option<Made> {
    if !script.len().is_multiple_of(128) {
        return None;
    }
    let mut made = Made {
        device: files.iter().cloned().collect(),
        ..Made::default()
    };
    let mut scanned = Vec::new();
    for command in script.chunks(128) {
        match word(command, 0) {
            1 => {
                let name = text(command, 4)?;
                let (align, zone) = (word(command, 60), command[64]);
                let index = files.iter().position(|(known, _)| *known == name)?;
                if !matches!(zone, 1 | 2) || align.count_ones() != 1 {
                    return None;
                }
                let loaded = Loaded {
                    address: address(index, zone),
                    bytes: files[index].1.clone(),
                };
                if zone == 2 {
                    scanned.push(name.clone());
                }
                if made.memory.insert(name, loaded).is_some() {
                    return None;
                }
            }
            2 => {
                let (dest, source) = (text(command, 4)?, text(command, 60)?);
                let (at, size) = (word(command, 116), command[120]);
                let addend = made.memory.get(&source)?.address;
                let bytes = &mut made.memory.get_mut(&dest)?.bytes;
                if !matches!(size, 1 | 2 | 4 | 8) || at + usize::from(size) > bytes.len() {
                    return None;
                }
                let mut carry = 0;
                for index in 0..usize::from(size) {
                    let digit = (addend >> (8 * index)) & 0xff;
                    let sum = u64::from(bytes[at + index]) + digit + carry;
                    bytes[at + index] = u8::try_from(sum % 256).unwrap();
                    carry = sum / 256;
                }
            }
            3 => {
                let bytes = &mut made.memory.get_mut(&text(command, 4)?)?.bytes;
                let (at, start) = (word(command, 60), word(command, 64));
                let length = word(command, 68);
                if at >= bytes.len() || start + length > bytes.len() {
                    return None;
                }
                let mut sum = 0u32;
                for byte in &bytes[start..start + length] {
                    sum += u32::from(*byte);
                }
                let found = 0x1_0000 + u32::from(bytes[at]) - sum;
                bytes[at] = u8::try_from(found % 256).unwrap();
            }
            4 => {
                let (dest, source) = (text(command, 4)?, text(command, 60)?);
                let (to, from) = (word(command, 116), word(command, 120));
                let size = command[124];
                let source = made.memory.get(&source)?;
                let bytes = made.device.get_mut(&dest)?;
                let inside = from < source.bytes.len() && to + usize::from(size) <= bytes.len();
                if !matches!(size, 1 | 2 | 4 | 8) || !inside {
                    return None;
                }
                for index in 0..usize::from(size) {
                    let byte = (source.address + from as u64) >> (8 * index) & 0xff;
                    bytes[to + index] = u8::try_from(byte).unwrap();
                }
            }
            _ => {}
        }
    }
    for loaded in scanned.iter().rev().map(|name| &made.memory[name]) {
        if loaded.bytes.len() >= 20 && loaded.bytes.starts_with(b"RSD PTR ") {
            made.rsdp = Some(loaded.address);
        }
    }
    Some(made)
}

/// What the firmware makes of it.
fn found(files: &[(String, Vec<u8>)], script: &[u8]) -> Option<Made> {
    let mut offered: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    offered.push(("etc/table-loader", script));
    let mut device = Device::new(&offered);
    let mut directory = DirectoryBuffer::new_zeroed();
    let mut commands = CommandBuffer::new_zeroed();
    let mut storage = Box::new([Blob::new_zeroed(); MAX_BLOBS]);
    let mut directory = Directory::read(&mut device, &mut directory).unwrap();
    let loader = Loader::gather(&mut device, &mut directory, &mut commands, &mut storage);
    let mut loader = loader.ok()?;
    let mut memory = Bytes::default();
    let mut places = Vec::new();
    for blob in loader.blobs.iter_mut() {
        let index = usize::from(blob.key().0 - 0x20);
        let zone = if blob.zone() == Zone::FSegment { 2 } else { 1 };
        blob.put(address(index, zone));
        places.push((index, blob.place()));
        memory
            .0
            .extend((blob.place().start()..).zip(files[index].1.iter().copied()));
    }
    loader.link(&mut device, &mut directory, &mut memory).ok()?;
    let rsdp = loader.rsdp(&mut memory);
    let loaded = places.into_iter().map(|(index, place)| {
        let bytes = at(&memory, place.start(), place.size());
        let address = place.start();
        (files[index].0.clone(), Loaded { address, bytes })
    });
    Some(Made {
        memory: loaded.collect(),
        device: device.files[..files.len()].iter().cloned().collect(),
        rsdp,
    })
}

/// Operands that are inside files most of the time.
fn script(files: &[(String, Vec<u8>)], commands: &[(u8, [u8; 6], bool)]) -> Vec<u8> {
    let mut script = Vec::new();
    // Most files are allocated at once; the others where the commands say so.
    for (index, (name, _)) in files.iter().enumerate().skip(1) {
        script.extend(allocate(
            name,
            1 << index,
            if index == 1 { ZONE_FSEG } else { ZONE_HIGH },
        ));
    }
    for (kind, [a, b, c, d, e, f], wild) in commands {
        let pick = |byte: u8| match usize::from(byte) {
            any @ 0xf0.. => any % files.len(),
            late => 1 + late % (files.len() - 1),
        };
        let (one, other) = (pick(*a), pick(*b));
        let inside = |file: usize, number: u8, length: usize| {
            let size = files[file].1.len();
            if *wild || size < length {
                return [0, 1, 7, 199, 200, 0x7fff_ffff, u32::MAX - 1, u32::MAX]
                    [usize::from(number) % 8];
            }
            u32::try_from(usize::from(number) % (size - length + 1)).unwrap()
        };
        let size = if *wild { *f } else { 1 << (f % 4) };
        let (name, second) = (files[one].0.as_str(), files[other].0.as_str());
        script.extend(match kind {
            0 if *wild => command((*a).into(), &[*c; 124]),
            0 => command(0x10, &[*c; 124]),
            1 => allocate(
                files[0].0.as_str(),
                1 << (c % 32),
                d % 2 + 1 + u8::from(*wild),
            ),
            2..=4 => add_pointer(name, second, inside(one, *c, size.into()), size),
            5..=7 => {
                let start = inside(one, *d, 0);
                let rest = u32::try_from(files[one].1.len())
                    .unwrap()
                    .saturating_sub(start);
                let length = if *wild {
                    inside(one, *e, 0)
                } else {
                    u32::from(*e) % (rest + 1)
                };
                add_checksum(name, inside(one, *c, 1), start, length)
            }
            _ => {
                let to = inside(one, *c, size.into());
                write_pointer(name, second, to, inside(other, *d, 1), size)
            }
        });
    }
    script
}

fn files_of(sizes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let content = |index: usize, size: u8| -> Vec<u8> {
        let bytes = (0..size).map(|at| at.wrapping_mul(37).wrapping_add(index.to_le_bytes()[0]));
        b"RSD PTR "
            .iter()
            .copied()
            .chain(bytes)
            .take(size.into())
            .collect()
    };
    let sizes = sizes.iter().enumerate();
    sizes
        .map(|(index, size)| (format!("etc/file{index}"), content(index, *size)))
        .collect()
}

fn compare(files: &[(String, Vec<u8>)], script: &[u8]) -> bool {
    let expected = expected(files, script);
    assert_eq!(found(files, script), expected);
    expected.is_some()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// The same bytes in memory and in the device, and the same RSDP; or both refuse.
    #[test]
    fn two_interpreters_make_the_same_of_a_script(
        sizes in proptest::collection::vec(0u8..200, 2..6),
        commands in proptest::collection::vec((0u8..10, any::<[u8; 6]>(), any::<[u8; 1]>()), 0..10),
        cut in 0usize..400,
    ) {
        let files = files_of(&sizes);
        let commands: Vec<_> = commands
            .into_iter()
            .map(|(kind, operands, [wild])| (kind, operands, wild < 12))
            .collect();
        let mut script = script(&files, &commands);
        if cut < 8 {
            script.truncate(script.len().saturating_sub(cut));
        }
        compare(&files, &script);
    }
}

#[test]
fn ten_thousand_commands_of_all_kinds_come_out_the_same() {
    let files = files_of(&[60, 40, 0, 199, 24]);
    let mut commands = vec![(1, [0; 6], false)];
    commands.extend((0u32..9_995).map(|index| {
        let [a, b, c, d] = index.wrapping_mul(0x9e37_79b9).to_le_bytes();
        let with_room = |choice: u8| [0, 2, 3][usize::from(choice % 3)];
        (
            2 + d % 8,
            [with_room(a), with_room(b), c, d, a ^ c, b],
            false,
        )
    }));
    let script = script(&files, &commands);
    assert_eq!(script.len(), 10_000 * 128);
    assert!(compare(&files, &script));
}
