// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which room every byte of the ROM comes from.
//!
//! In: the linked firmware with its line tables. Out: occupied bytes a room. Pure.
//!
//! Functions are inlined across rooms, so a symbol does not tell whose a byte is. The line tables
//! do: a byte belongs to the innermost inlined function whose source is in this tree, so what a
//! library inlines counts for the room that called it.

use std::collections::BTreeMap;
use std::path::Path;

use goblin::elf::Elf;
use goblin::elf::section_header::SHF_ALLOC;

use crate::image::{self, ImageError};
use crate::lines::{self, Lines};
use abi::layout;

/// Occupied bytes by room.
pub type Rooms = BTreeMap<String, usize>;

/// What the ROM's bytes are taken by.
#[derive(Clone, Debug, Default)]
pub struct Sizes {
    pub rooms: Rooms,
    /// Bytes of all sections, long runs of zeros included: nothing else can lie there.
    pub sections: usize,
}

/// Between functions and between sections.
const PADDING: &str = "padding";

/// Attributes every occupied byte of the ROM, which was made from `linked`, to a room.
pub fn measure(root: &Path, linked: &[u8], rom: &[u8]) -> Result<Sizes, ImageError> {
    let elf = Elf::parse(linked)?;
    let lines = lines::of(&elf, linked)?;
    let occupied = image::occupancy(rom);
    let loaded: Vec<_> = elf
        .section_headers
        .iter()
        .filter(|section| section.sh_flags & u64::from(SHF_ALLOC) != 0)
        .collect();
    let mut rooms = Rooms::new();
    for (address, _) in (layout::ROM_ALIAS_START..)
        .zip(&occupied)
        .filter(|(_, occupied)| **occupied)
    {
        let section = loaded.iter().find(|section| {
            (section.sh_addr..section.sh_addr + section.sh_size).contains(&address)
        });
        let name = section.and_then(|section| elf.shdr_strtab.get_at(section.sh_name));
        let room = match name {
            None => PADDING.to_owned(),
            Some(".text") => code(&lines, root, address)
                .unwrap_or_else(|| without_lines(&elf, address).to_owned()),
            Some(".reset") => "boot".to_owned(),
            Some(name) => name.trim_start_matches('.').to_owned(),
        };
        *rooms.entry(room).or_default() += 1;
    }
    let sections: u64 = loaded.iter().map(|section| section.sh_size).sum();
    Ok(Sizes {
        rooms,
        sections: usize::try_from(sections).unwrap_or(usize::MAX),
    })
}

/// The room of an address that line tables cover.
fn code(lines: &Lines<'_>, root: &Path, address: u64) -> Option<String> {
    let mut frames = lines.find_frames(address).skip_all_loads().ok()?;
    let mut outermost = None;
    while let Ok(Some(frame)) = frames.next() {
        let Some(file) = frame.location.and_then(|location| location.file) else {
            continue;
        };
        if let Some(room) = of_tree(root, file) {
            return Some(room);
        }
        outermost = Some(of_library(file));
    }
    outermost
}

/// Assembly has no line tables. The way in has a section of its own, so in `.text` it is the way
/// out; its symbols have no size, and what lies behind the end of a symbol with one is padding.
fn without_lines(elf: &Elf<'_>, address: u64) -> &'static str {
    let before = elf
        .syms
        .iter()
        .filter(|symbol| symbol.st_value <= address)
        .max_by_key(|symbol| (symbol.st_value, symbol.st_size));
    match before {
        Some(symbol) if symbol.st_size == 0 => "handoff",
        _ => PADDING,
    }
}

/// The room of a source file in this tree: the first part of its path in its crate.
fn of_tree(root: &Path, file: &str) -> Option<String> {
    const CRATES: [(&str, &str); 3] = [
        ("firmware/core/src/", "core/"),
        ("firmware/src/", ""),
        ("abi/src/", "abi/"),
    ];
    let path = Path::new(file).strip_prefix(root).ok()?.to_str()?;
    CRATES.iter().find_map(|(sources, prefix)| {
        let rest = path.strip_prefix(sources)?;
        let first = rest.split('/').next()?;
        let room = match *prefix {
            "abi/" => "abi",
            _ => first.trim_end_matches(".rs"),
        };
        Some(match *prefix {
            "core/" => format!("core/{room}"),
            _ => room.to_owned(),
        })
    })
}

/// What a library's source file is counted as.
fn of_library(file: &str) -> String {
    if file.contains("/library/core/src/fmt/") {
        return "rust/fmt".to_owned();
    }
    if file.contains("/library/") || file.contains("/compiler_builtins") {
        return "rust/other".to_owned();
    }
    // …/registry/src/INDEX/NAME-VERSION/src/…
    let package = file
        .split_once("/registry/src/")
        .and_then(|(_, rest)| rest.split('/').nth(1))
        .and_then(|package| package.rsplit_once('-'));
    package.map_or_else(|| "unknown".to_owned(), |(name, _)| format!("crate/{name}"))
}

#[cfg(test)]
mod test {
    use super::*;

    fn room(file: &str) -> Option<String> {
        of_tree(Path::new("/tree"), file)
    }

    #[test]
    fn a_room_is_a_folder_or_a_file_of_its_crate() {
        assert_eq!(
            room("/tree/firmware/core/src/acpi/commands/mod.rs"),
            Some("core/acpi".into())
        );
        assert_eq!(
            room("/tree/firmware/core/src/plan.rs"),
            Some("core/plan".into())
        );
        assert_eq!(room("/tree/firmware/src/boot/mod.rs"), Some("boot".into()));
        assert_eq!(room("/tree/firmware/src/main.rs"), Some("main".into()));
        assert_eq!(room("/tree/abi/src/checksum.rs"), Some("abi".into()));
        assert_eq!(room("/elsewhere/firmware/src/main.rs"), None);
    }

    #[test]
    fn a_library_is_told_by_its_package() {
        assert_eq!(
            of_library("/rustc/1/library/core/src/fmt/mod.rs"),
            "rust/fmt"
        );
        assert_eq!(
            of_library("/rustc/1/library/core/src/slice/mod.rs"),
            "rust/other"
        );
        assert_eq!(
            of_library("/home/.cargo/registry/src/index-0a/uart_16550-0.9.1/src/lib.rs"),
            "crate/uart_16550"
        );
    }
}
