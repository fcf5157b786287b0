// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be wrong with an ELF kernel, as sentences.

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
    #[error(
        "ELF segments: expected that none overlap, found one that ends at {end:#x} and one that begins at {start:#x}"
    )]
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
