// SPDX-License-Identifier: MIT OR Apache-2.0
//! ELF kernels: where their segments go, and where they are entered, by a PVH note or, where a
//! multiboot header leaves that to it, by the ELF header.
//!
//! Spec: System V ABI, "Object Files" and "Program Loading"; Xen `docs/misc/pvh.pandoc` for the
//! note; QEMU's `load_elf` for entry points. Only the headers and notes are read; segments go from the file straight into RAM.

mod notes;
mod problem;

pub use problem::Problem;

use super::Input;
use super::input;
use crate::memory::Layout;
use abi::layout::HIGH_RAM_START;
use abi::pvh::{ELF_NOTE_NAME, ELF_NOTE_PHYS32_ENTRY};
use goblin::container::{Container, Ctx, Endian};
use goblin::elf::header::{EI_CLASS, EI_DATA, ELFCLASS32, ELFCLASS64, ELFDATA2LSB, ELFMAG};
use goblin::elf::header::{EM_386, EM_X86_64};
use goblin::elf::program_header::{PF_X, PT_LOAD, PT_NOTE};
use goblin::elf::{Elf, Header, ProgramHeader};
use notes::Notes;

/// Most bytes of notes looked at, in one segment. Linux has a few hundred.
const MAX_NOTES: u64 = 1 << 20;

/// Most bytes of a note's name that an error message has.
const MAX_NAME: usize = 16;

/// Either the file failed us, or what is in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Input(#[from] input::Error),
    #[error(transparent)]
    Problem(#[from] Problem),
}

/// A piece of the kernel in guest memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Segment {
    /// Guest-physical address.
    pub address: u64,
    /// Position in the file.
    pub file_offset: u64,
    /// Bytes from the file.
    pub file_size: u64,
    /// Bytes in memory; those beyond `file_size` are zero.
    pub memory_size: u64,
}

impl Segment {
    /// Guest-physical address after its last byte.
    pub(super) fn end(&self) -> u64 {
        self.address.saturating_add(self.memory_size)
    }
}

/// Whether the file claims to be an ELF file.
pub(super) fn is_elf(head: &[u8]) -> bool {
    head.starts_with(ELFMAG)
}

/// An ELF kernel that can be booted.
#[derive(Debug)]
pub(super) struct Image {
    /// Sorted by address, disjoint, non-empty, within RAM from 1 MiB to 4 GiB.
    segments: Vec<Segment>,
    entry: u32,
}

impl Image {
    pub(super) fn parse(file: &Input, layout: &Layout) -> Result<Self, Failure> {
        let (_, context, headers) = program_headers(file)?;
        let segments = segments(&headers, file.size(), layout, HIGH_RAM_START)?;
        let entry = entry(file, &headers, context)?;
        let inside = segments
            .iter()
            .any(|segment| (segment.address..segment.end()).contains(&entry));
        match u32::try_from(entry) {
            Ok(entry) if inside => Ok(Self { segments, entry }),
            _ => Err(Problem::Entry { entry }.into()),
        }
    }

    /// Guest-physical address of the lowest byte. Below 4 GiB, as all of it.
    pub(super) fn start(&self) -> u32 {
        self.segments
            .first()
            .map_or(0, |segment| u32::try_from(segment.address).unwrap_or(0))
    }

    /// Guest-physical address after the highest byte.
    pub(super) fn end(&self) -> u64 {
        self.segments.last().map_or(0, Segment::end)
    }

    /// From the lowest byte to the highest, gaps included.
    pub(super) fn size(&self) -> u32 {
        u32::try_from(self.end() - u64::from(self.start())).unwrap_or(u32::MAX)
    }

    pub(super) fn entry(&self) -> u32 {
        self.entry
    }

    pub(super) fn into_segments(self) -> Vec<Segment> {
        self.segments
    }
}

/// Whether the file claims to be one for 64-bit code.
pub(super) fn is_64_bit(head: &[u8]) -> bool {
    is_elf(head) && head.get(EI_CLASS) == Some(&ELFCLASS64)
}

/// Where the segments of a file go, as those of [`Image`] but from 0 on, and the physical address at
/// which its header has it entered: that is virtual if it is in a segment that is elsewhere then.
pub(super) fn loaded(file: &Input, layout: &Layout) -> Result<(Vec<Segment>, u64), Failure> {
    let (header, _, headers) = program_headers(file)?;
    let segments = segments(&headers, file.size(), layout, 0)?;
    let entry = header.e_entry;
    let virtually = headers.iter().find_map(|part| {
        let loaded = part.p_type == PT_LOAD && part.p_flags & PF_X != 0;
        let offset = entry.checked_sub(part.p_vaddr)?;
        (loaded && offset < part.p_filesz).then(|| part.p_paddr.saturating_add(offset))
    });
    Ok((segments, virtually.unwrap_or(entry)))
}

fn program_headers(file: &Input) -> Result<(Header, Ctx, Vec<ProgramHeader>), Failure> {
    // The larger of both header sizes; goblin wants to see all of the header it is told about.
    const HEADER: usize = 64;
    let mut head = file.head(HEADER)?;
    let length = head.len();
    head.resize(HEADER, 0);
    let container = match head.get(EI_CLASS) {
        Some(&ELFCLASS32) if length >= 52 => Container::Little,
        Some(&ELFCLASS64) if length >= HEADER => Container::Big,
        _ => {
            let found = format!(
                "expected a complete 32-bit or 64-bit header, found {length} bytes of class {}",
                head[EI_CLASS]
            );
            return Err(Problem::Header(found).into());
        }
    };
    let header = Elf::parse_header(&head);
    let header = header.map_err(|error| {
        Problem::Header(format!("expected one that can be read, found: {error}"))
    })?;
    if ![EM_386, EM_X86_64].contains(&header.e_machine) || head[EI_DATA] != ELFDATA2LSB {
        return Err(Problem::Machine(header.e_machine).into());
    }
    let context = Ctx::new(container, Endian::Little);
    let wrong = Problem::ProgramHeaders {
        count: header.e_phnum,
        entry: header.e_phentsize,
        offset: header.e_phoff,
        size: file.size(),
    };
    let length = usize::from(header.e_phnum) * usize::from(header.e_phentsize);
    let end = header.e_phoff.checked_add(length as u64);
    let inside = end.is_some_and(|end| end <= file.size());
    if !inside || usize::from(header.e_phentsize) != ProgramHeader::size(context) {
        return Err(wrong.into());
    }
    let table = file.bytes(header.e_phoff, length)?;
    let headers = ProgramHeader::parse(&table, 0, header.e_phnum.into(), context);
    Ok((header, context, headers.map_err(|_| wrong)?))
}

fn segments(
    headers: &[ProgramHeader],
    file_size: u64,
    layout: &Layout,
    floor: u64,
) -> Result<Vec<Segment>, Problem> {
    let mut segments = Vec::new();
    for (index, header) in headers.iter().enumerate() {
        if header.p_type != PT_LOAD || header.p_memsz == 0 {
            continue;
        }
        let segment = Segment {
            address: header.p_paddr,
            file_offset: header.p_offset,
            file_size: header.p_filesz,
            memory_size: header.p_memsz,
        };
        check(index, &segment, file_size, layout, floor)?;
        segments.push(segment);
    }
    segments.sort_by_key(|segment| segment.address);
    for pair in segments.windows(2) {
        if let [low, high] = pair
            && low.end() > high.address
        {
            return Err(Problem::Overlap {
                end: low.end(),
                start: high.address,
            });
        }
    }
    if segments.is_empty() {
        Err(Problem::NothingToLoad)
    } else {
        Ok(segments)
    }
}

fn check(
    index: usize,
    segment: &Segment,
    size: u64,
    layout: &Layout,
    floor: u64,
) -> Result<(), Problem> {
    let Segment {
        address: start,
        file_offset,
        file_size,
        memory_size,
    } = *segment;
    if file_size > memory_size {
        return Err(Problem::FileLargerThanMemory {
            index,
            file: file_size,
            memory: memory_size,
        });
    }
    if file_offset
        .checked_add(file_size)
        .is_none_or(|end| end > size)
    {
        let length = file_size;
        return Err(Problem::Truncated {
            index,
            offset: file_offset,
            length,
            size,
        });
    }
    if start < floor {
        return Err(Problem::Low { index, start });
    }
    let ram = layout.below_4g();
    if start.checked_add(memory_size).is_none_or(|end| end > ram) {
        return Err(Problem::OutsideRam {
            index,
            start,
            length: memory_size,
            ram,
        });
    }
    Ok(())
}

/// The address in the first PVH note.
fn entry(file: &Input, headers: &[ProgramHeader], context: Ctx) -> Result<u64, Failure> {
    let mut seen = Vec::new();
    for (index, header) in headers.iter().enumerate() {
        if header.p_type != PT_NOTE {
            continue;
        }
        let (offset, length) = (header.p_offset, header.p_filesz);
        if offset
            .checked_add(length)
            .is_none_or(|end| end > file.size())
        {
            return Err(Problem::Truncated {
                index,
                offset,
                length,
                size: file.size(),
            }
            .into());
        }
        // Bounded above, so it fits.
        let length = usize::try_from(length.min(MAX_NOTES)).unwrap_or(0);
        let bytes = file.bytes(offset, length)?;
        // Notes are aligned to 4 bytes unless the segment says 8, which only 64-bit files may.
        let align = if header.p_align == 8 && context.is_big() {
            8
        } else {
            4
        };
        for note in (Notes {
            rest: &bytes,
            align,
        }) {
            if note.name == ELF_NOTE_NAME.as_bytes() && note.kind == ELF_NOTE_PHYS32_ENTRY {
                return match *note.desc {
                    [a, b, c, d] => Ok(u32::from_le_bytes([a, b, c, d]).into()),
                    [a, b, c, d, e, f, g, h] => Ok(u64::from_le_bytes([a, b, c, d, e, f, g, h])),
                    _ => Err(Problem::NoteSize(note.desc.len()).into()),
                };
            }
            if seen.len() < 4 {
                // The file's own bytes, which may be anything and many.
                let name = note.name.get(..MAX_NAME).unwrap_or(note.name);
                seen.push(format!("{}/{}", name.escape_ascii(), note.kind));
            }
        }
    }
    let found = match seen.as_slice() {
        [] => "no notes".into(),
        some => format!("notes {}", some.join(", ")),
    };
    Err(Problem::NoNote { found }.into())
}
