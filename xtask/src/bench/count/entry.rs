// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a kernel begins: what the first fetch from there ends the firmware's part with.
//!
//! Spec: Linux `Documentation/arch/x86/boot.rst`; Xen `docs/misc/pvh.pandoc`, "Entry point".
//! In: the kernel's file. Out: guest-physical addresses. Pure.

use std::ops::Range;
use std::path::Path;

use abi::layout::HIGH_RAM_START;
use abi::linux::{
    DEFAULT_SETUP_SECTS, ENTRY_16_PARAGRAPHS, HEADER_MAGIC, PARAGRAPH_SIZE, SECTOR_SIZE,
    SETUP_HEADER_OFFSET, SetupHeader, VERSION_2_10,
};
use abi::pvh::{ELF_NOTE_NAME, ELF_NOTE_PHYS32_ENTRY};
use goblin::elf::Elf;
use zerocopy::FromBytes;

use crate::error::{Error, Result};

/// Where QEMU puts the real-mode part of a bzImage, by its version.
const SETUP_PARTS: [u64; 2] = [0x1_0000, 0x9_0000];

/// The addresses that only the kernel executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry(Vec<Range<u64>>);

impl Entry {
    /// Of a kernel that QEMU's `-kernel` takes: an ELF file or a bzImage.
    pub fn of(path: &Path, kernel: &[u8]) -> Result<Self> {
        let refused = |found: String| Error::Format {
            path: path.to_path_buf(),
            expected: "a kernel whose entry point can be told",
            found,
        };
        if kernel.starts_with(goblin::elf::header::ELFMAG) {
            elf(kernel).map_err(|error| refused(error.to_string()))
        } else {
            bzimage(kernel)
                .ok_or_else(|| refused("neither an ELF file nor a bzImage was found".into()))
        }
    }

    /// One address.
    pub fn at(address: u64) -> Self {
        Self(std::iter::once(address..address + 1).collect())
    }

    pub fn contains(&self, address: u64) -> bool {
        self.0.iter().any(|range| range.contains(&address))
    }
}

/// The entry point of Xen's note, else that of the header.
fn elf(kernel: &[u8]) -> Result<Entry, goblin::error::Error> {
    let elf = Elf::parse(kernel)?;
    let note = elf
        .iter_note_headers(kernel)
        .into_iter()
        .chain(elf.iter_note_sections(kernel, None))
        .flatten()
        .filter_map(Result::ok)
        .find(|note| note.name == ELF_NOTE_NAME && note.n_type == ELF_NOTE_PHYS32_ENTRY);
    let address = note.and_then(|note| {
        // 4 bytes or 8, by the kernel's class.
        let low = note.desc.first_chunk::<4>()?;
        Some(u64::from(u32::from_le_bytes(*low)))
    });
    Ok(Entry::at(address.unwrap_or(elf.entry)))
}

/// The 16-bit entry point, or any address where the protected-mode part lies: that of old, or the
/// preferred one.
fn bzimage(kernel: &[u8]) -> Option<Entry> {
    let (header, _) = SetupHeader::read_from_prefix(kernel.get(SETUP_HEADER_OFFSET..)?).ok()?;
    if header.header != HEADER_MAGIC {
        return None;
    }
    let distance = u64::from(ENTRY_16_PARAGRAPHS) * PARAGRAPH_SIZE as u64;
    let mut ranges: Vec<_> = SETUP_PARTS
        .iter()
        .map(|part| part + distance..part + distance + 1)
        .collect();
    let setup = match header.setup_sects {
        0 => DEFAULT_SETUP_SECTS,
        sectors => sectors,
    };
    let setup = (usize::from(setup) + 1) * SECTOR_SIZE;
    let size = kernel.len().checked_sub(setup)? as u64;
    ranges.push(HIGH_RAM_START..HIGH_RAM_START + size);
    if header.version.get() >= VERSION_2_10 {
        let preferred = header.pref_address.get();
        ranges.push(preferred..preferred.saturating_add(size));
    }
    Some(Entry(ranges))
}

#[cfg(test)]
mod test {
    use super::*;
    use zerocopy::{FromZeros, IntoBytes};

    fn entry(kernel: &[u8]) -> Result<Entry> {
        Entry::of(Path::new("kernel"), kernel)
    }

    /// One setup sector and 32 bytes of kernel.
    fn bzimage(version: u16, preferred: u64) -> Vec<u8> {
        let mut header = SetupHeader::new_zeroed();
        header.setup_sects = 1;
        header.header = HEADER_MAGIC;
        header.version = version.into();
        header.pref_address = preferred.into();
        let mut kernel = vec![0; 2 * SECTOR_SIZE + 32];
        kernel[SETUP_HEADER_OFFSET..][..size_of::<SetupHeader>()]
            .copy_from_slice(header.as_bytes());
        kernel
    }

    #[test]
    fn a_bzimage_begins_at_its_setup_part_or_where_it_is_loaded() {
        let entry = entry(&bzimage(0x020f, 0x100_0000)).unwrap();

        let inside = [0x1_0200, 0x9_0200, 0x10_0000, 0x10_001f, 0x100_0000];
        assert!(inside.iter().all(|address| entry.contains(*address)));
        let outside = [0x1_0201, 0xf_ffff, 0x10_0020, 0x100_0020, 0xffff_fff0];
        assert!(!outside.iter().any(|address| entry.contains(*address)));
    }

    #[test]
    fn an_address_that_the_header_does_not_have_yet_is_not_taken_from_it() {
        let entry = entry(&bzimage(0x0209, 0x100_0000)).unwrap();

        assert!(!entry.contains(0x100_0000));
    }

    #[test]
    fn an_elf_file_without_a_note_begins_where_its_header_says() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();

        let entry = entry(&own).unwrap();

        assert!(entry.contains(Elf::parse(&own).unwrap().entry));
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        let truncated = &bzimage(0x020f, 0)[..2 * SECTOR_SIZE - 1];
        for kernel in [&b""[..], b"\x7fELF", &[0; 4096], truncated] {
            let refused = entry(kernel).unwrap_err().to_string();
            assert!(refused.contains("entry point"), "{refused}");
        }
    }
}
