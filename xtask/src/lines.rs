// SPDX-License-Identifier: MIT OR Apache-2.0
//! The line tables of a linked image: which function and which source file an address belongs to.

use addr2line::Context;
use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian};
use goblin::elf::Elf;

use crate::image::ImageError;

/// Line tables that are read as they are needed.
pub type Lines<'a> = Context<EndianSlice<'a, LittleEndian>>;

/// Those of the ELF file that was parsed from `linked`.
pub fn of<'a>(elf: &Elf<'_>, linked: &'a [u8]) -> Result<Lines<'a>, ImageError> {
    let section = |name: &str| {
        elf.section_headers
            .iter()
            .find(|header| elf.shdr_strtab.get_at(header.sh_name) == Some(name))
            .and_then(|header| linked.get(header.file_range()?))
            .unwrap_or_default()
    };
    Dwarf::load(|id| Ok(EndianSlice::new(section(id.name()), LittleEndian)))
        .and_then(Context::from_dwarf)
        .map_err(|error| ImageError::Lines(error.to_string()))
}
