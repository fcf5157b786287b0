// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file directory: known files and searches agree with a plain reading of its bytes.

use abi::fw_cfg::{FILE_NAME_SIZE, FileEntry, Key, MAX_FILES, file};
use firmware_core::fw_cfg::{Directory, DirectoryBuffer, File};
use zerocopy::{FromBytes, FromZeros};

use super::input::Input;
use super::machine::Machine;
use super::sentence::assert_sentence;

type Name = [u8; FILE_NAME_SIZE];

/// What it claims to hold, then entries; the last one is repeated where the claim says more.
pub fn directory(data: &[u8]) {
    let mut input = Input(data);
    let claimed = input.near(&[0, 1, 31, 32, 33, 64, 96, MAX_FILES.into(), u32::MAX.into()]);
    let claimed = u32::try_from(claimed & 0xffff_ffff).unwrap_or_default();
    let mut bytes = claimed.to_be_bytes().to_vec();
    let mut entry = [0; size_of::<FileEntry>()];
    let mut written = 0;
    // What follows the last byte reads as zeros, as it does in the device.
    while written < claimed.min(MAX_FILES) && !input.is_empty() {
        entry = next_entry(&mut input, &entry);
        let times = if input.u8() == 0xff {
            input.u16() % 256
        } else {
            1
        };
        for _ in 0..times {
            bytes.extend_from_slice(&entry);
            written += 1;
        }
    }
    let entries: Vec<FileEntry> = bytes[4..]
        .chunks(size_of::<FileEntry>())
        .map(|chunk| FileEntry::read_from_bytes(chunk).expect("whole entries"))
        .chain(std::iter::repeat_with(FileEntry::new_zeroed))
        .take(claimed.min(MAX_FILES) as usize)
        .collect();

    let mut machine = Machine::new(0);
    machine.set(Key::FILE_DIR, bytes);
    let mut buffer = Box::new(DirectoryBuffer::new_zeroed());
    let mut found = match Directory::read(&mut machine, &mut buffer) {
        Ok(found) => found,
        Err(error) => {
            assert!(claimed > MAX_FILES, "{error}");
            return assert_sentence(&error);
        }
    };
    assert!(claimed <= MAX_FILES);

    for (name, known) in [
        (file::E820, found.known.e820),
        (file::LOG, found.known.log),
        (file::TABLE_LOADER, found.known.table_loader),
        (file::TRACE, found.known.trace),
    ] {
        // The last one counts. A name with something behind its NUL may or may not be another one.
        let called = |entry: &&FileEntry| text(&entry.name) == Some(name.as_bytes());
        let alike: Vec<_> = entries.iter().filter(called).collect();
        let exact = padded(name.as_bytes());
        let last = alike.iter().rposition(|entry| entry.name == exact);
        let possible: Vec<_> = alike[last.unwrap_or(0)..]
            .iter()
            .map(|entry| file_of(entry))
            .collect();
        let none = last.is_none() && known.is_none();
        assert!(none || possible.contains(&known), "{name}: {known:?}");
    }
    let absent = padded(b"etc/absent");
    let asked = entries.iter().take(8).map(|entry| entry.name);
    for name in asked.chain([absent]).filter(|name| text(name).is_some()) {
        let answer = found.find(&mut machine, &name).expect("no transfer fails");
        let same = |entry: &&FileEntry| entry.name == name;
        let alike = |entry: &&FileEntry| text(&entry.name) == text(&name);
        let possible: Vec<_> = entries.iter().filter(alike).map(file_of).collect();
        assert!(answer.is_none() || possible.contains(&answer));
        let exact = entries.iter().find(same);
        assert!(exact.is_none() || possible.contains(&answer));
    }
}

fn next_entry(input: &mut Input<'_>, previous: &[u8]) -> [u8; size_of::<FileEntry>()] {
    let mut entry = FileEntry::new_zeroed();
    entry.size = input.u32().into();
    entry.select = input.u16().into();
    entry.name = match input.u8() % 10 {
        0 => padded(file::E820.as_bytes()),
        1 => padded(file::LOG.as_bytes()),
        2 => padded(file::TABLE_LOADER.as_bytes()),
        3 => padded(file::TRACE.as_bytes()),
        4 => [input.u8(); FILE_NAME_SIZE],
        5 => padded(input.bytes(8)),
        6 => padded(input.bytes(FILE_NAME_SIZE)),
        7 => {
            let mut name = padded(file::TABLE_LOADER.as_bytes());
            name[usize::from(input.u8()) % FILE_NAME_SIZE] ^= input.u8();
            name
        }
        8 => padded(b"opt/file"),
        _ => {
            let mut name = [0; FILE_NAME_SIZE];
            let start = size_of::<FileEntry>() - FILE_NAME_SIZE;
            name.copy_from_slice(&previous[start..]);
            name
        }
    };
    let mut bytes = [0; size_of::<FileEntry>()];
    bytes.copy_from_slice(zerocopy::IntoBytes::as_bytes(&entry));
    bytes
}

fn padded(text: &[u8]) -> Name {
    let mut name = [0; FILE_NAME_SIZE];
    name[..text.len()].copy_from_slice(text);
    name
}

/// What stands before the NUL, if there is one.
fn text(name: &Name) -> Option<&[u8]> {
    let end = name.iter().position(|&byte| byte == 0)?;
    Some(&name[..end])
}

/// The file that an entry names, which cannot be item 0.
fn file_of(entry: &FileEntry) -> Option<File> {
    File::new(Key(entry.select.get()), entry.size.get())
}
