// SPDX-License-Identifier: MIT OR Apache-2.0
//! PVH ELF kernels: where their segments go, and where they are entered.
//!
//! Spec: System V ABI, "Object Files" and "Program Loading"; Xen `docs/misc/pvh.pandoc` for the
//! note. Only the headers and notes are read; segments go from the file straight into RAM.

use super::Input;
use super::input;
use crate::memory::Layout;
use abi::layout::HIGH_RAM_START;
use abi::pvh::{ELF_NOTE_NAME, ELF_NOTE_PHYS32_ENTRY};
use goblin::container::{Container, Ctx, Endian};
use goblin::elf::header::{EI_CLASS, EI_DATA, ELFCLASS32, ELFCLASS64, ELFDATA2LSB, ELFMAG};
use goblin::elf::header::{EM_386, EM_X86_64};
use goblin::elf::program_header::{PT_LOAD, PT_NOTE};
use goblin::elf::{Elf, ProgramHeader};

/// Most bytes of notes looked at, in one segment. Linux has a few hundred.
const MAX_NOTES: u64 = 1 << 20;

/// What is wrong with an ELF kernel.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The header is cut off or makes no sense.
    #[error("ELF header: {0}")]
    Header(String),
    /// It is for another machine.
    #[error("ELF machine: expected x86-64 or 80386 little-endian, found machine {0}")]
    Machine(u16),
    /// The program headers lie outside the file.
    #[error(
        "ELF program headers: expected {count} of {entry} bytes at offset {offset:#x}, found a file of {size} bytes"
    )]
    ProgramHeaders {
        /// Their number.
        count: u16,
        /// Size of one.
        entry: u16,
        /// Their place.
        offset: u64,
        /// The file's size.
        size: u64,
    },
    /// A segment lies outside the file.
    #[error(
        "ELF segment {index} is truncated: expected {length:#x} bytes at offset {offset:#x}, \
         found a file of {size:#x}"
    )]
    Truncated {
        /// Which program header.
        index: usize,
        /// Its place in the file.
        offset: u64,
        /// Its size in the file.
        length: u64,
        /// The file's size.
        size: u64,
    },
    /// A segment has more bytes in the file than in memory.
    #[error(
        "ELF segment {index}: {file:#x} bytes in the file, expected at most the {memory:#x} it has in memory"
    )]
    FileLargerThanMemory {
        /// Which program header.
        index: usize,
        /// Bytes in the file.
        file: u64,
        /// Bytes in memory.
        memory: u64,
    },
    /// A segment lies where the firmware lives.
    #[error(
        "ELF segment {index} at {start:#x}: expected at or above 1 MiB, because the firmware \
         lives below"
    )]
    Low {
        /// Which program header.
        index: usize,
        /// Its physical address.
        start: u64,
    },
    /// A segment lies outside RAM.
    #[error(
        "ELF segment {index} at {start:#x}, {length:#x} bytes: expected within RAM, which ends \
         at {ram:#x} below 4 GiB (see --memory)"
    )]
    OutsideRam {
        /// Which program header.
        index: usize,
        /// Its physical address.
        start: u64,
        /// Its size in memory.
        length: u64,
        /// End of RAM below 4 GiB.
        ram: u64,
    },
    /// Two segments want the same memory.
    #[error("ELF segments overlap: one ends at {end:#x}, the next begins at {start:#x}")]
    Overlap {
        /// End of the lower one.
        end: u64,
        /// Start of the higher one.
        start: u64,
    },
    /// Nothing is loaded.
    #[error("ELF file without a loadable segment; expected at least one PT_LOAD")]
    NothingToLoad,
    /// There is no PVH entry point.
    #[error(
        "ELF kernel without a PVH entry point; expected an ELF note of type 18 \
         (XEN_ELFNOTE_PHYS32_ENTRY) named \"Xen\", found {found}; build Linux with CONFIG_PVH=y \
         or boot its bzImage"
    )]
    NoNote {
        /// What there was instead.
        found: String,
    },
    /// The note has a strange size.
    #[error("PVH note: expected an address of 4 or 8 bytes, found {0} bytes")]
    NoteSize(usize),
    /// The entry point is not in the kernel.
    #[error("PVH entry point {entry:#x}: expected an address within a loaded segment")]
    Entry {
        /// The note's address.
        entry: u64,
    },
}

/// Either the file failed us, or what is in it.
#[derive(Debug)]
pub(super) enum Failure {
    Input(input::Error),
    Problem(Problem),
}

impl From<input::Error> for Failure {
    fn from(error: input::Error) -> Self {
        Self::Input(error)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
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
    fn end(&self) -> u64 {
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
        let (context, headers) = program_headers(file)?;
        let segments = segments(&headers, file.size(), layout)?;
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

fn program_headers(file: &Input) -> Result<(Ctx, Vec<ProgramHeader>), Failure> {
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
    let header = Elf::parse_header(&head).map_err(|error| Problem::Header(error.to_string()))?;
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
    Ok((context, headers.map_err(|_| wrong)?))
}

fn segments(
    headers: &[ProgramHeader],
    file_size: u64,
    layout: &Layout,
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
        check(index, &segment, file_size, layout)?;
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

fn check(index: usize, segment: &Segment, size: u64, layout: &Layout) -> Result<(), Problem> {
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
    if start < HIGH_RAM_START {
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
                seen.push(format!(
                    "{}/{}",
                    String::from_utf8_lossy(note.name),
                    note.kind
                ));
            }
        }
    }
    let found = match seen.as_slice() {
        [] => "no notes".into(),
        some => format!("notes {}", some.join(", ")),
    };
    Err(Problem::NoNote { found }.into())
}

/// One entry of a note segment.
struct Note<'a> {
    name: &'a [u8],
    kind: u32,
    desc: &'a [u8],
}

/// The entries of a note segment; ends at the first that is cut off.
struct Notes<'a> {
    rest: &'a [u8],
    align: usize,
}

impl<'a> Iterator for Notes<'a> {
    type Item = Note<'a>;

    fn next(&mut self) -> Option<Note<'a>> {
        let field = |index: usize| {
            let bytes = self.rest.get(index * 4..index * 4 + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let (name_size, desc_size, kind) = (field(0)? as usize, field(1)? as usize, field(2)?);
        let desc_start = name_size
            .checked_add(12)?
            .checked_next_multiple_of(self.align)?;
        let desc_end = desc_start.checked_add(desc_size)?;
        let name = self.rest.get(12..12 + name_size)?;
        let desc = self.rest.get(desc_start..desc_end)?;
        // The last entry's padding may be missing.
        let next = desc_end.checked_next_multiple_of(self.align)?;
        self.rest = self.rest.get(next..).unwrap_or(&[]);
        Some(Note {
            name: name.strip_suffix(&[0]).unwrap_or(name),
            kind,
            desc,
        })
    }
}
