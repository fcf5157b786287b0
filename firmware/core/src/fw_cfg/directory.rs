// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file directory: from names to keys, in one pass.
//!
//! Spec: QEMU `docs/specs/fw_cfg.rst`, "File Directory" (`struct FWCfgFiles`).
//! In: a transport and a buffer for one stretch of the directory. Out: the files we know by name.
//! Keys of files change from boot to boot; only names are stable.

use super::{TransferError, Transport};
use crate::words::{Speaker, Words, display, say};
use abi::fw_cfg::{
    DEFAULT_FILE_SLOTS, FILE_NAME_SIZE, FileCount, FileEntry, Key, MAX_FILES, file, file_name,
    same_name,
};
use abi::layout::PAGE_SIZE;
use core::num::NonZeroU16;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The most modules that a kernel is given.
pub const MAX_MODULES: usize = 32;

/// Memory for the directory; what it holds beforehand does not matter.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DirectoryBuffer {
    stretch: Stretch,
    modules: Modules,
}

/// The files whose names begin with [`file::MODULE`], in the directory's order.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Modules {
    /// How many there are, which may be more than fit.
    count: U32,
    /// What they take in bytes: each whole pages, at least one.
    size: U64,
    files: [FileEntry; MAX_MODULES],
}

/// What a module takes: whole pages, at least one. In bytes.
#[must_use]
pub fn whole_pages(module: &FileEntry) -> u64 {
    let size = u64::from(module.size.get().max(1));
    size.wrapping_add(PAGE_SIZE - 1) & PAGE_SIZE.wrapping_neg()
}

impl Modules {
    /// How many there are, which may be more than [`MAX_MODULES`].
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count.get()
    }

    /// What they take in memory, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size.get()
    }

    /// The files; of more than [`MAX_MODULES`] none.
    #[must_use]
    pub fn files(&self) -> &[FileEntry] {
        self.files
            .get(..self.count.get() as usize)
            .unwrap_or_default()
    }

    /// Keeps the file if it is one of them.
    #[cold]
    #[inline(never)]
    pub fn note(&mut self, entry: &FileEntry) {
        const PREFIX: &[u8; 24] = match file::MODULE.as_bytes().as_array() {
            Some(prefix) => prefix,
            None => panic!("a name of 24 bytes"),
        };
        let (words, expected) = (entry.name.as_chunks::<8>().0, PREFIX.as_chunks::<8>().0);
        let same = |(one, other): (&[u8; 8], &[u8; 8])| {
            u64::from_le_bytes(*one) == u64::from_le_bytes(*other)
        };
        if !words.iter().zip(expected).all(same) {
            return;
        }
        let count = self.count.get();
        if let Some(slot) = self.files.get_mut(count as usize) {
            *slot = *entry;
        }
        self.count = count.saturating_add(1).into();
        self.size = self.size.get().wrapping_add(whole_pages(entry)).into();
    }
}

/// One stretch of the directory. Its first use takes the count and every slot that QEMU has by
/// default in a single transfer; a longer directory passes through the same buffer.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Stretch {
    count: FileCount,
    entries: [FileEntry; DEFAULT_FILE_SLOTS],
}

/// A file in `fw_cfg`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct File {
    key: NonZeroU16, // so that a file that is absent takes no further room
    /// Its size in bytes.
    pub size: u32,
}

impl File {
    /// The file of `size` bytes in an item, which is not item 0.
    #[must_use]
    pub const fn new(key: Key, size: u32) -> Option<Self> {
        match NonZeroU16::new(key.0) {
            Some(key) => Some(Self { key, size }),
            None => None,
        }
    }

    /// The item that holds its content.
    #[must_use]
    pub const fn key(&self) -> Key {
        Key(self.key.get())
    }

    const fn of(entry: &FileEntry) -> Option<Self> {
        Self::new(Key(entry.select.get()), entry.size.get())
    }
}

/// The files this firmware uses, where the VMM offers them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct KnownFiles {
    /// [`file::E820`].
    pub e820: Option<File>,
    /// [`file::LOG`].
    pub log: Option<File>,
    /// [`file::SMBIOS_ANCHOR`].
    pub smbios_anchor: Option<File>,
    /// [`file::SMBIOS_TABLES`].
    pub smbios_tables: Option<File>,
    /// [`file::TABLE_LOADER`].
    pub table_loader: Option<File>,
    /// [`file::TRACE`].
    pub trace: Option<File>,
}

/// The directory, and the buffer that holds a stretch of it.
#[derive(Debug)]
pub struct Directory<'a> {
    /// The files we know by name.
    pub known: KnownFiles,
    /// The modules of the kernel.
    pub modules: &'a Modules,
    /// How many files there are in all.
    count: usize,
    buffer: &'a mut Stretch,
}

impl<'a> Directory<'a> {
    /// Reads the directory once, whatever its length.
    ///
    /// # Errors
    /// The transfer failed, or the directory claims more files than there are keys.
    pub fn read(
        fw_cfg: &mut impl Transport,
        buffer: &'a mut DirectoryBuffer,
    ) -> Result<Self, DirectoryError> {
        let mut known = KnownFiles::default();
        let DirectoryBuffer {
            stretch: buffer,
            modules,
        } = buffer;
        fw_cfg.read(Key::FILE_DIR, buffer.as_mut_bytes())?;
        let count = buffer.count.get();
        if count > MAX_FILES {
            return Err(DirectoryError::TooManyFiles { found: count });
        }
        let count = count as usize;
        let mut left = count;
        (modules.count, modules.size) = (0.into(), 0.into());
        while let Some(entries) = next_stretch(fw_cfg, buffer, count, left)? {
            for entry in entries {
                known.note(entry, modules);
            }
            left = left.saturating_sub(entries.len());
        }
        Ok(Self {
            known,
            modules,
            count,
            buffer,
        })
    }

    /// The directory once more, of a buffer that it has been read into, for
    /// [`find`](Self::find) alone.
    #[must_use]
    pub fn again(buffer: &'a mut DirectoryBuffer) -> Self {
        let DirectoryBuffer {
            stretch: buffer,
            modules,
        } = buffer;
        Self {
            known: KnownFiles::default(),
            modules,
            count: buffer.count.get().min(MAX_FILES) as usize,
            buffer,
        }
    }

    /// The file called `name`, which ends with its NUL. As long as one stretch holds all files,
    /// they are still in the buffer.
    ///
    /// # Errors
    /// The transfer failed.
    pub fn find(
        &mut self,
        fw_cfg: &mut impl Transport,
        name: &[u8; FILE_NAME_SIZE],
    ) -> Result<Option<File>, DirectoryError> {
        if self.count > DEFAULT_FILE_SLOTS {
            fw_cfg.read(Key::FILE_DIR, self.buffer.as_mut_bytes())?;
        }
        let mut left = self.count;
        while let Some(entries) = next_stretch(fw_cfg, self.buffer, self.count, left)? {
            if let Some(entry) = entries.iter().find(|entry| same_name(&entry.name, name)) {
                return Ok(File::of(entry));
            }
            left = left.saturating_sub(entries.len());
        }
        Ok(None)
    }

    /// Calls `look` with every entry.
    ///
    /// # Errors
    /// The transfer failed.
    pub fn for_each(
        &mut self,
        fw_cfg: &mut impl Transport,
        mut look: impl FnMut(&FileEntry),
    ) -> Result<(), TransferError> {
        if self.count > DEFAULT_FILE_SLOTS {
            fw_cfg.read(Key::FILE_DIR, self.buffer.as_mut_bytes())?;
        }
        let mut left = self.count;
        while let Some(entries) = next_stretch(fw_cfg, self.buffer, self.count, left)? {
            entries.iter().for_each(&mut look);
            left = left.saturating_sub(entries.len());
        }
        Ok(())
    }
}

impl KnownFiles {
    /// Keeps the file if it is one of them or a module. One word decides for nearly every other file.
    fn note(&mut self, entry: &FileEntry, modules: &mut Modules) {
        const E820: u64 = first_word(file::E820);
        const OPTION: u64 = first_word(file::LOG); // and TRACE, and MODULE
        const SMBIOS: u64 = first_word(file::SMBIOS_ANCHOR); // and SMBIOS_TABLES
        const TABLE_LOADER: u64 = first_word(file::TABLE_LOADER);
        let Some(word) = entry.name.first_chunk::<8>() else {
            return;
        };
        let slot = match u64::from_le_bytes(*word) {
            E820 if entry.name.get(file::E820.len()) == Some(&0) => &mut self.e820, // all of it
            OPTION if same_name(&entry.name, &const { file_name(file::LOG) }) => &mut self.log,
            OPTION if same_name(&entry.name, &const { file_name(file::TRACE) }) => &mut self.trace,
            OPTION => return modules.note(entry),
            SMBIOS if same_name(&entry.name, &const { file_name(file::SMBIOS_ANCHOR) }) => {
                &mut self.smbios_anchor
            }
            SMBIOS if same_name(&entry.name, &const { file_name(file::SMBIOS_TABLES) }) => {
                &mut self.smbios_tables
            }
            TABLE_LOADER if same_name(&entry.name, &const { file_name(file::TABLE_LOADER) }) => {
                &mut self.table_loader
            }
            _ => return,
        };
        *slot = File::of(entry);
    }
}

/// The next entries of a directory with `count` files, of which `left` have not been seen. The
/// first stretch is in the buffer already.
fn next_stretch<'a>(
    fw_cfg: &mut impl Transport,
    buffer: &'a mut Stretch,
    count: usize,
    left: usize,
) -> Result<Option<&'a [FileEntry]>, TransferError> {
    let entries = buffer
        .entries
        .get_mut(..left.min(DEFAULT_FILE_SLOTS))
        .unwrap_or_default();
    if entries.is_empty() {
        return Ok(None);
    }
    if left < count {
        fw_cfg.read_more(entries.as_mut_bytes())?;
    }
    Ok(Some(entries))
}

/// The first eight bytes of a name, as they stand in a directory entry.
const fn first_word(name: &str) -> u64 {
    match name.as_bytes().first_chunk::<8>() {
        Some(word) => u64::from_le_bytes(*word),
        None => 0,
    }
}

/// Why the directory could not be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DirectoryError {
    /// The transfer failed.
    Transfer(TransferError),
    /// More files than there are keys for.
    TooManyFiles {
        /// What the count field holds.
        found: u32,
    },
}

impl From<TransferError> for DirectoryError {
    fn from(error: TransferError) -> Self {
        Self::Transfer(error)
    }
}

impl Words for DirectoryError {
    fn say(&self, to: &mut Speaker<'_>) {
        match self {
            Self::Transfer(error) => error.say(to),
            Self::TooManyFiles { found } => {
                say!(
                    to,
                    "fw_cfg file directory: expected at most % files, found %",
                    MAX_FILES,
                    found
                );
            }
        }
    }
}

display!(DirectoryError);

#[cfg(test)]
mod test {
    use super::*;
    use crate::memory::Range;
    use proptest::prelude::*;
    use zerocopy::FromZeros;

    /// Serves a directory of `count` files named by `name` from memory.
    struct Script {
        bytes: Vec<u8>,
        offset: usize,
        transfers: usize,
    }

    impl Script {
        fn new(claimed: u32, names: impl Iterator<Item = String>) -> Self {
            let mut bytes = claimed.to_be_bytes().to_vec();
            for (index, name) in names.enumerate() {
                let mut entry = FileEntry::new_zeroed();
                entry.size.set(20);
                entry.select.set(u16::try_from(0x20 + index).unwrap());
                entry.name[..name.len()].copy_from_slice(name.as_bytes());
                bytes.extend_from_slice(entry.as_bytes());
            }
            Self {
                bytes,
                offset: 0,
                transfers: 0,
            }
        }
    }

    impl Transport for Script {
        fn read(&mut self, key: Key, buffer: &mut [u8]) -> Result<(), TransferError> {
            assert_eq!(key, Key::FILE_DIR);
            self.offset = 0;
            self.read_more(buffer)
        }

        fn read_more(&mut self, buffer: &mut [u8]) -> Result<(), TransferError> {
            self.transfers += 1;
            for byte in buffer {
                *byte = self.bytes.get(self.offset).copied().unwrap_or(0);
                self.offset += 1;
            }
            Ok(())
        }

        fn seek(&mut self, _: Key, _: u32) -> Result<(), TransferError> {
            unreachable!()
        }

        fn write_more(&mut self, _: &[u8]) -> Result<(), TransferError> {
            unreachable!()
        }

        fn load(&mut self, _: Key, _: Range) -> Result<(), TransferError> {
            unreachable!()
        }
    }

    fn read(script: &mut Script) -> Result<KnownFiles, DirectoryError> {
        let mut buffer = DirectoryBuffer::new_zeroed();
        Directory::read(script, &mut buffer).map(|directory| directory.known)
    }

    #[test]
    fn an_empty_directory_offers_nothing() {
        let mut script = Script::new(0, std::iter::empty());
        assert_eq!(read(&mut script), Ok(KnownFiles::default()));
        assert_eq!(script.transfers, 1);
    }

    #[test]
    fn a_usual_directory_takes_one_transfer() {
        let names = [
            "bootorder",
            "etc/e820",
            "etc/e820x",
            "etc/e82",
            "opt/org.qboot-rs/trace",
        ];
        let mut script = Script::new(5, names.iter().map(ToString::to_string));
        let directory = read(&mut script).unwrap();
        assert_eq!(directory.e820, File::new(Key(0x21), 20));
        assert_eq!(directory.trace, File::new(Key(0x24), 20));
        assert_eq!(directory.log, None);
        assert_eq!(script.transfers, 1);
    }

    #[test]
    fn modules_are_found_and_nothing_else_is() {
        let names = [
            "opt/org.qboot-rs/log",
            "opt/org.qboot-rs/modul",
            "opt/org.qboot-rs/module",
            "opt/org.qboot-rs/module/",
            "opt/org.qboot-rs/module/a",
            "opt/org.qboot-rs/modules/a",
        ];
        let mut script = Script::new(6, names.iter().map(ToString::to_string));
        let mut buffer = DirectoryBuffer::new_zeroed();
        let directory = Directory::read(&mut script, &mut buffer).unwrap();
        let found: Vec<_> = directory
            .modules
            .files()
            .iter()
            .map(|file| file.name)
            .collect();
        assert_eq!(found, [names[3], names[4]].map(abi::fw_cfg::file_name));
    }

    #[test]
    fn every_file_of_a_very_long_directory_is_seen() {
        for position in [0, 31, 32, 33, 63, 64, 3_998, 3_999] {
            let names = (0..4_000).map(|index| {
                if index == position {
                    "etc/e820".into()
                } else {
                    format!("opt/file{index}")
                }
            });
            let mut script = Script::new(4_000, names);
            let directory = read(&mut script).unwrap();
            assert_eq!(
                directory.e820.unwrap().key(),
                Key(u16::try_from(0x20 + position).unwrap())
            );
            assert_eq!(script.transfers, 125);
        }
    }

    #[test]
    fn a_count_beyond_the_key_space_is_refused() {
        let mut script = Script::new(0xffff_ffff, std::iter::empty());
        let error = read(&mut script).unwrap_err();
        assert_eq!(
            error.to_string(),
            "fw_cfg file directory: expected at most 16352 files, found 4294967295"
        );
    }

    #[test]
    fn names_without_a_nul_match_nothing() {
        let mut script = Script::new(1, std::iter::once("e".repeat(56)));
        assert_eq!(read(&mut script), Ok(KnownFiles::default()));
    }

    proptest! {
        /// Against a list of names, in directories that fit the buffer and in longer ones.
        #[test]
        fn a_file_is_found_where_its_name_is(
            names in proptest::collection::btree_set("[a-c/]{1,3}|etc/[a-f0-9]{1,3}", 0..80),
            at in 0usize..80, absent in "[a-c/]{1,3}",
        ) {
            let mut names: Vec<String> = names.into_iter().collect();
            names.insert(at.min(names.len()), file::E820.into());
            let count = u32::try_from(names.len()).unwrap();
            let mut script = Script::new(count, names.iter().cloned());
            let mut buffer = DirectoryBuffer::new_zeroed();
            let mut directory = Directory::read(&mut script, &mut buffer).unwrap();
            let place = |name: &str| {
                let index = names.iter().position(|known| known == name)?;
                File::new(Key(u16::try_from(0x20 + index).unwrap()), 20)
            };
            prop_assert_eq!(directory.known.e820, place(file::E820));
            for name in names.iter().chain([&absent]) {
                let mut field = [0; FILE_NAME_SIZE];
                field[..name.len()].copy_from_slice(name.as_bytes());
                prop_assert_eq!(directory.find(&mut script, &field), Ok(place(name)));
            }
        }

        #[test]
        fn names_are_the_same_up_to_their_nul(
            a in "[a-b]{0,55}", b in "[a-b]{0,55}", shared in "[a-b]{0,40}",
        ) {
            let field = |text: &str| {
                let mut field = [0; FILE_NAME_SIZE];
                let length = text.len().min(FILE_NAME_SIZE - 1);
                field[..length].copy_from_slice(&text.as_bytes()[..length]);
                field
            };
            let (a, b) = (field(&(shared.clone() + &a)), field(&(shared + &b)));
            prop_assert_eq!(same_name(&a, &b), a == b);
            prop_assert!(same_name(&a, &a));
        }
    }
}
