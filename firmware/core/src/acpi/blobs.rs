// SPDX-License-Identifier: MIT OR Apache-2.0
//! The files a script loads: what they are called, and where they lie.

use super::Problem;
use crate::fw_cfg::File;
use crate::memory::Range;
use abi::fw_cfg::{Key, same_name};
use abi::table_loader::{FileName, ZONE_FSEG, ZONE_HIGH};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The key of memory that is no file: item 0 is none.
pub const NO_FILE: Key = Key(0);

/// Most files a script can load.
pub const MAX_BLOBS: usize = 256;

/// Where a file may lie.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Zone {
    /// Anywhere a 32-bit pointer reaches.
    High,
    /// Where kernels scan for the RSDP.
    FSegment,
}

/// One file, as it stands in lent memory.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Blob {
    name: FileName,
    start: u64,
    size: u32,
    align: u32,
    key: u16,
    zone: u8,
    padding: [u8; 5],
}

impl Blob {
    /// The file in `fw_cfg`.
    #[must_use]
    pub const fn key(&self) -> Key {
        Key(self.key)
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// The alignment of its address: a power of two.
    #[must_use]
    pub fn align(&self) -> u64 {
        self.align.into()
    }

    /// Where it may lie.
    #[must_use]
    pub const fn zone(&self) -> Zone {
        if self.zone == ZONE_FSEG {
            Zone::FSegment
        } else {
            Zone::High
        }
    }

    /// Where it lies, once the plan has said so.
    #[must_use]
    pub fn place(&self) -> Range {
        Range::new(self.start, self.size.into()).unwrap_or(Range::between(0, 0))
    }

    /// Puts it at a guest-physical address.
    pub const fn put(&mut self, start: u64) {
        self.start = start;
    }

    /// What is wrong with `length` bytes at `offset`: they pass the file's end.
    #[cold]
    pub const fn outside(&self, offset: u32, length: u32) -> Problem {
        Problem::Outside {
            offset,
            length,
            size: self.size,
        }
    }

    /// The guest-physical range of `length` bytes at `offset`.
    ///
    /// # Errors
    /// The range passes the file's end.
    pub fn slice(&self, offset: u32, length: u32) -> Result<Range, Problem> {
        let outside = self.outside(offset, length);
        let end = offset.checked_add(length).ok_or(outside)?;
        let start = self.start.checked_add(offset.into()).ok_or(outside)?;
        if end > self.size {
            return Err(outside);
        }
        Range::new(start, length.into()).ok_or(outside)
    }
}

/// Accepts a name that ends inside its field.
///
/// # Errors
/// It does not.
pub const fn ended(name: &FileName) -> Result<(), Problem> {
    match name {
        [.., 0] => Ok(()),
        _ => Err(Problem::Unterminated),
    }
}

/// What is wrong with a name that no loaded file has: those end in their field.
#[cold]
fn absent(name: &FileName) -> Problem {
    ended(name).err().unwrap_or(Problem::NotLoaded)
}

/// The files of one script.
#[derive(Debug)]
pub struct Blobs<'a> {
    storage: &'a mut [Blob; MAX_BLOBS],
    count: usize,
}

impl<'a> Blobs<'a> {
    /// None yet. What `storage` held does not matter.
    pub const fn new(storage: &'a mut [Blob; MAX_BLOBS]) -> Self {
        Self { storage, count: 0 }
    }

    /// All files, in the script's order.
    pub fn iter(&self) -> impl Iterator<Item = &Blob> {
        self.storage.iter().take(self.count)
    }

    /// All files, to be put somewhere.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Blob> {
        self.storage.iter_mut().take(self.count)
    }

    /// Takes all files out of sight, and returns how many there are.
    pub const fn hide(&mut self) -> usize {
        core::mem::replace(&mut self.count, 0)
    }

    /// Brings `count` files more into sight, in the script's order, of `all` there are.
    pub fn show(&mut self, count: usize, all: usize) {
        self.count = self.count.saturating_add(count).min(all);
    }

    /// The file called `name`. The last one loaded is looked at first: of QEMU's it is the one
    /// with the tables, which nearly every command is about.
    ///
    /// # Errors
    /// None is loaded under this name.
    #[inline] // for speed: every command looks up one or two files
    pub fn find(&self, name: &FileName) -> Result<&Blob, Problem> {
        self.get(name).ok_or_else(|| absent(name))
    }

    /// The same; `None` if none is loaded under this name.
    #[inline(never)]
    pub fn get(&self, name: &FileName) -> Option<&Blob> {
        let blobs = self.storage.get(..self.count).unwrap_or_default();
        blobs.iter().rev().find(|blob| same_name(&blob.name, name))
    }

    /// Adds a file.
    ///
    /// # Errors
    /// It is there already, its name or operands make no sense, or the table is full.
    #[inline] // for speed, as `find`
    pub fn add(
        &mut self,
        name: &FileName,
        file: File,
        align: u32,
        zone: u8,
    ) -> Result<(), Problem> {
        match self.find(name) {
            Err(Problem::NotLoaded) => {}
            Ok(_) => return Err(Problem::Twice),
            Err(problem) => return Err(problem),
        }
        if !align.is_power_of_two() {
            return Err(Problem::Align(align));
        }
        if zone != ZONE_HIGH && zone != ZONE_FSEG {
            return Err(Problem::Zone(zone));
        }
        self.push(name, file.key(), file.size, align, zone)
    }

    /// Adds memory above 1 MiB of a name that no file has, to be placed but not loaded, unless the
    /// table is full.
    pub fn add_memory(&mut self, name: &FileName, size: u32, align: u32) {
        let _ = self.push(name, NO_FILE, size, align, ZONE_HIGH);
    }

    fn push(
        &mut self,
        name: &FileName,
        key: Key,
        size: u32,
        align: u32,
        zone: u8,
    ) -> Result<(), Problem> {
        let slot = self
            .storage
            .get_mut(self.count)
            .ok_or(Problem::TooManyFiles)?;
        *slot = Blob {
            name: *name,
            start: 0,
            size,
            align,
            key: key.0,
            zone,
            padding: [0; 5],
        };
        self.count = self.count.saturating_add(1);
        Ok(())
    }
}
