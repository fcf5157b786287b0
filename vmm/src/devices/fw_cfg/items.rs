// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the `fw_cfg` device offers: numbered items and named files.
//!
//! Spec: QEMU `docs/specs/fw_cfg.rst`, sections "Selector (Control) Register" and "File
//! Directory". A file is an item with a name; the directory, itself an item, gives the keys.

use crate::memory::{self, Memory};
use abi::fw_cfg::{DEFAULT_FILE_SLOTS, FILE_NAME_SIZE, FileCount, FileEntry, Key, MAX_FILES};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use zerocopy::IntoBytes;

/// Why an item cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Names travel in a fixed field and are compared as ASCII.
    #[error(
        "fw_cfg file name {0:?}: expected 1 to {max} printable ASCII characters without spaces",
        max = FILE_NAME_SIZE - 1
    )]
    Name(String),
    /// The name is taken.
    #[error("fw_cfg file {0:?} is given twice, or is one the machine itself offers")]
    Duplicate(String),
    /// The size field has 32 bits.
    #[error("fw_cfg item {name}: {size} bytes, expected at most 4294967295")]
    Size {
        /// The item or file.
        name: String,
        /// What was found.
        size: u64,
    },
    /// The key space has an end.
    #[error("{0} fw_cfg files, expected at most {MAX_FILES}")]
    Count(usize),
}

/// The bytes of an item.
#[derive(Clone, Debug)]
pub enum Content {
    /// Held by the VMM.
    Bytes(Cow<'static, [u8]>),
    /// Left where it is: part of a file, read when the guest asks for it.
    File {
        /// The file.
        file: Arc<File>,
        /// Where the item starts in it.
        offset: u64,
        /// Size of the item in bytes.
        size: u32,
    },
    /// Several, one behind the other with zeros between them.
    Joined(Joined),
}

/// Contents one behind the other, with zeros between them.
#[derive(Clone, Debug, Default)]
pub struct Joined {
    /// Where each part begins, and the part: in their order and apart, all below `size`.
    parts: Vec<(u32, Content)>,
    size: u32,
}

/// The bytes that a read takes from a part.
pub(super) struct Taken<'a> {
    /// Where they are in what is read.
    pub at: u32,
    /// The part.
    pub part: &'a Content,
    /// Where they are in the part.
    pub from: u32,
    /// How many.
    pub length: u32,
}

impl Joined {
    /// Adds `content` at `position`. `None` if something is there or behind it, or if it would not
    /// end below 4 GiB.
    pub fn put(&mut self, position: u32, content: impl Into<Content>) -> Option<()> {
        let content = content.into();
        if position < self.size {
            return None;
        }
        self.size = position.checked_add(content.size())?;
        if content.size() > 0 {
            self.parts.push((position, content));
        }
        Some(())
    }

    /// Adds zeros until there are `size` bytes.
    pub fn pad(&mut self, size: u32) {
        self.size = self.size.max(size);
    }

    /// Bytes so far.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// What a read of `length` bytes from `position` on takes from the parts; the rest is zero.
    pub(super) fn taken(&self, position: u32, length: u32) -> impl Iterator<Item = Taken<'_>> {
        let end = position.saturating_add(length);
        let before = |(start, part): &(u32, Content)| start + part.size() <= position;
        let first = self.parts.partition_point(before);
        let parts = self.parts.get(first..).unwrap_or_default();
        let parts = parts.iter().take_while(move |(start, _)| *start < end);
        parts.map(move |(start, part)| {
            let from = position.saturating_sub(*start);
            let at = start.saturating_sub(position);
            let length = (part.size() - from).min(length - at);
            Taken {
                at,
                part,
                from,
                length,
            }
        })
    }
}

impl Content {
    /// A little-endian 16-bit value.
    #[must_use]
    pub fn u16(value: u16) -> Self {
        Self::from(value.to_le_bytes().to_vec())
    }

    /// A little-endian 32-bit value.
    #[must_use]
    pub fn u32(value: u32) -> Self {
        Self::from(value.to_le_bytes().to_vec())
    }

    /// A little-endian 64-bit value.
    #[must_use]
    pub fn u64(value: u64) -> Self {
        Self::from(value.to_le_bytes().to_vec())
    }

    /// Size in bytes. Items of 4 GiB and more are refused when they are added.
    #[must_use]
    pub fn size(&self) -> u32 {
        match self {
            Self::Bytes(bytes) => u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            Self::File { size, .. } => *size,
            Self::Joined(joined) => joined.size,
        }
    }

    /// Copies `out.len()` bytes from `position`; past the end come zeros.
    ///
    /// Fails only if the host cannot read the file behind the item, or if that file has shrunk.
    pub(crate) fn copy(&self, position: u32, out: &mut [u8]) -> io::Result<()> {
        let rest = usize::try_from(self.size().saturating_sub(position)).unwrap_or(usize::MAX);
        let (real, beyond) = out.split_at_mut(rest.min(out.len()));
        beyond.fill(0);
        match self {
            Self::Bytes(bytes) => {
                let start = usize::try_from(position).unwrap_or(usize::MAX);
                let source = bytes.get(start..).unwrap_or(&[]);
                real.iter_mut()
                    .zip(source)
                    .for_each(|(to, from)| *to = *from);
                Ok(())
            }
            Self::File { file, offset, .. } if !real.is_empty() => {
                file.read_exact_at(real, offset.saturating_add(u64::from(position)))
            }
            Self::File { .. } => Ok(()),
            Self::Joined(joined) => {
                real.fill(0);
                let length = u32::try_from(real.len()).unwrap_or(u32::MAX);
                for taken in joined.taken(position, length) {
                    let rest = real.get_mut(taken.at as usize..).unwrap_or_default();
                    let place = rest.get_mut(..taken.length as usize).unwrap_or_default();
                    taken.part.copy(taken.from, place)?;
                }
                Ok(())
            }
        }
    }

    /// Writes `length` bytes from `offset` on, which it has, to guest-physical `address`.
    pub(crate) fn put(
        &self,
        memory: &Memory,
        address: u64,
        offset: u32,
        length: u32,
    ) -> Result<(), memory::Error> {
        match self {
            Self::Bytes(bytes) => {
                let start = offset as usize;
                let source = bytes.get(start..start + length as usize);
                memory.write(address, source.unwrap_or(&[]))
            }
            Self::File {
                file, offset: base, ..
            } => {
                let from = base.saturating_add(offset.into());
                memory.read_file(address, file, from, length.into())
            }
            Self::Joined(joined) => {
                let mut end = 0;
                for taken in joined.taken(offset, length) {
                    let gap = u64::from(taken.at - end);
                    memory.zero(address + u64::from(end), gap)?;
                    let place = address + u64::from(taken.at);
                    taken.part.put(memory, place, taken.from, taken.length)?;
                    end = taken.at + taken.length;
                }
                let gap = u64::from(length - end);
                memory.zero(address + u64::from(end), gap)
            }
        }
    }
}

impl From<Joined> for Content {
    fn from(joined: Joined) -> Self {
        Self::Joined(joined)
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Cow::Owned(bytes))
    }
}

impl From<&'static [u8]> for Content {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

/// Everything to offer, before it becomes a device.
#[derive(Debug, Default)]
pub struct Items {
    fixed: BTreeMap<Key, Content>,
    files: BTreeMap<String, Content>,
}

impl Items {
    /// Nothing at all. The device itself adds the signature, its features and the directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Offers `content` under a fixed key, instead of what was there.
    pub fn set(&mut self, key: Key, content: impl Into<Content>) {
        self.fixed.insert(key, content.into());
    }

    /// What a fixed key holds.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&Content> {
        self.fixed.get(&key)
    }

    /// What a file holds.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&Content> {
        self.files.get(name)
    }

    /// Offers a file. Its key follows from the order of all names.
    pub fn add_file(&mut self, name: &str, content: impl Into<Content>) -> Result<(), Error> {
        let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
        if name.is_empty() || name.len() >= FILE_NAME_SIZE || !printable {
            return Err(Error::Name(name.into()));
        }
        match self.files.entry(name.into()) {
            std::collections::btree_map::Entry::Occupied(_) => Err(Error::Duplicate(name.into())),
            std::collections::btree_map::Entry::Vacant(slot) => {
                slot.insert(content.into());
                Ok(())
            }
        }
    }

    /// The names of the files in the order of their keys.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Refuses what no device can offer. Gives the number of files.
    pub fn check(&self) -> Result<u32, Error> {
        let too_large = |name: &dyn Fn() -> String, content: &Content| match content {
            Content::Bytes(bytes) if u32::try_from(bytes.len()).is_err() => Err(Error::Size {
                name: name(),
                size: bytes.len() as u64,
            }),
            _ => Ok(()),
        };
        for (key, content) in &self.fixed {
            too_large(&|| format!("{:#x}", key.0), content)?;
        }
        for (name, content) in &self.files {
            too_large(&|| name.clone(), content)?;
        }
        let count = self.files.len();
        u32::try_from(count)
            .ok()
            .filter(|count| *count <= MAX_FILES)
            .ok_or(Error::Count(count))
    }

    /// Assigns keys to the files, writes the directory, and gives all items sorted by key.
    pub(super) fn into_table(mut self) -> Result<Vec<(Key, Content)>, Error> {
        let count_field = self.check()?;
        let count = self.files.len();
        let mut directory = FileCount::new(count_field).as_bytes().to_vec();
        let keys = (Key::FILE_FIRST.0..).map(Key);
        for (key, (name, content)) in keys.zip(std::mem::take(&mut self.files)) {
            let mut entry = FileEntry {
                size: content.size().into(),
                select: key.0.into(),
                reserved: 0.into(),
                name: [0; FILE_NAME_SIZE],
            };
            entry
                .name
                .iter_mut()
                .zip(name.bytes())
                .for_each(|(to, from)| *to = from);
            directory.extend_from_slice(entry.as_bytes());
            self.fixed.insert(key, content);
        }
        let slots = count.max(DEFAULT_FILE_SLOTS);
        directory.resize(size_of::<FileCount>() + slots * size_of::<FileEntry>(), 0);
        self.fixed.insert(Key::FILE_DIR, directory.into());
        Ok(self.fixed.into_iter().collect())
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use zerocopy::FromBytes;

    fn directory(items: Items) -> Vec<u8> {
        let table = items.into_table().unwrap();
        let (_, content) = table
            .into_iter()
            .find(|(key, _)| *key == Key::FILE_DIR)
            .unwrap();
        let mut bytes = vec![0xff; content.size() as usize];
        content.copy(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_directory_is_sorted_by_name_and_padded_to_32_slots() {
        let mut items = Items::new();
        items.add_file("opt/b", b"22".to_vec()).unwrap();
        items.add_file("etc/e820", b"1".to_vec()).unwrap();
        items.add_file("opt/B", b"333".to_vec()).unwrap();
        let bytes = directory(items);
        assert_eq!(bytes.len(), 2052);
        let (count, rest) = FileCount::read_from_prefix(&bytes).unwrap();
        assert_eq!(count.get(), 3);
        let names: Vec<_> = (0..3)
            .map(|index| {
                let entry = FileEntry::read_from_prefix(&rest[index * 64..]).unwrap().0;
                let name = entry.name.split(|byte| *byte == 0).next().unwrap().to_vec();
                (
                    String::from_utf8(name).unwrap(),
                    entry.select.get(),
                    entry.size.get(),
                )
            })
            .collect();
        assert_eq!(
            names,
            [
                ("etc/e820".to_string(), 0x20, 1),
                ("opt/B".to_string(), 0x21, 3),
                ("opt/b".to_string(), 0x22, 2)
            ]
        );
        assert!(rest[3 * 64..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn more_than_32_files_make_a_longer_directory() {
        let mut items = Items::new();
        for index in 0..40 {
            items.add_file(&format!("opt/{index}"), Vec::new()).unwrap();
        }
        assert_eq!(directory(items).len(), 4 + 40 * 64);
    }

    #[test]
    fn bad_and_repeated_names_are_refused() {
        let mut items = Items::new();
        let long = "x".repeat(FILE_NAME_SIZE);
        for name in ["", "opt/ö", "a b", "a\0b", long.as_str()] {
            assert!(
                matches!(items.add_file(name, Vec::new()), Err(Error::Name(_))),
                "{name:?}"
            );
        }
        items.add_file(&long[1..], Vec::new()).unwrap();
        let again = items.add_file(&long[1..], Vec::new());
        assert!(matches!(again, Err(Error::Duplicate(_))));
    }
}
