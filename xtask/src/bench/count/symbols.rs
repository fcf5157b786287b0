// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an instruction of our firmware belongs to: a function, and a step of the boot narrative.
//!
//! In: the linked firmware with its line tables, addresses. Out: names. Pure.
//!
//! The compiler makes one function of nearly all of it. The line tables still tell them apart: an
//! instruction belongs to the innermost inlined function whose source is in this tree, so what a
//! library inlines counts for the function that called it.

use std::path::{Path, PathBuf};

use abi::layout;
use goblin::elf::Elf;

use super::phases;
use crate::error::{Error, Result};
use crate::image::ImageError;
use crate::lines::{self, Lines};

/// Of one linked firmware.
#[derive(Clone, Debug)]
pub struct Symbols {
    root: PathBuf,
    linked: Vec<u8>,
}

/// What one instruction belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub symbol: String,
    /// The function that asks a device, where it is another one that does it.
    pub asker: Option<String>,
    /// The phase that this begins or goes on with, where it says so.
    pub phase: Option<usize>,
}

/// The symbols, ready to be asked.
pub struct Resolver<'s> {
    root: &'s Path,
    elf: Elf<'s>,
    lines: Lines<'s>,
}

/// A function that an instruction is in, by inlining or truly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Without its generic arguments.
    pub function: String,
    /// The source file, relative to the tree, or as it is where it is elsewhere.
    pub file: String,
}

/// The image's copy below 4 GiB, where the processor starts.
const COPY_OFFSET: u64 = (1 << 32) - layout::ROM_ALIAS_END;

/// One instruction each, inlined everywhere; what counts is who asked for it.
const TRANSPARENT: &str = "machine/ports::";

/// Who asks a device or looks something up for somebody else.
const HANDS: [&str; 8] = [
    "machine/fw_cfg::",
    "machine/memory::",
    "machine/pci::",
    TRANSPARENT,
    "console::",
    "core/fw_cfg::",
    "core/memory/",
    "abi/",
];

impl Symbols {
    /// Of the firmware that was linked from the tree at `root`.
    pub fn new(root: &Path, linked: Vec<u8>) -> Self {
        Self {
            root: root.to_path_buf(),
            linked,
        }
    }

    pub fn resolver(&self) -> Result<Resolver<'_>> {
        let open = || {
            let elf = Elf::parse(&self.linked)?;
            let lines = lines::of(&elf, &self.linked)?;
            Ok(Resolver {
                root: &self.root,
                elf,
                lines,
            })
        };
        open().map_err(|error: ImageError| Error::Build(Box::new(error)))
    }
}

impl Resolver<'_> {
    /// The instruction at a linear address, in the image or in its copy below 4 GiB.
    pub fn place(&self, address: u64) -> Place {
        let address = match address.checked_sub(COPY_OFFSET) {
            Some(below) if below < layout::ROM_ALIAS_END => below,
            _ => address,
        };
        let frames = self.frames(address);
        Place {
            symbol: innermost(&frames).unwrap_or_else(|| self.label(address)),
            asker: asker(&frames),
            phase: phases::begun(&frames),
        }
    }

    /// The innermost first.
    fn frames(&self, address: u64) -> Vec<Frame> {
        let mut frames = Vec::new();
        let Ok(mut found) = self.lines.find_frames(address).skip_all_loads() else {
            return frames;
        };
        while let Ok(Some(frame)) = found.next() {
            let name = frame.function.as_ref().and_then(|name| {
                let name = name.raw_name().ok()?.into_owned();
                Some(plain(&name).to_owned())
            });
            // A function that nothing is inlined in has a file, but no name there.
            let name = name.or_else(|| {
                let label = self.label(address);
                Some(label.rsplit("::").next()?.to_owned())
            });
            let file = frame.location.and_then(|location| location.file);
            let file = file.map(|file| {
                let path = Path::new(file).strip_prefix(self.root).ok();
                path.and_then(Path::to_str).unwrap_or(file).to_owned()
            });
            frames.push(Frame {
                function: name.unwrap_or_default(),
                file: file.unwrap_or_default(),
            });
        }
        frames
    }

    /// The symbol before: of assembly, which has no line tables, or of a function that is nothing
    /// but what a library inlined.
    fn label(&self, address: u64) -> String {
        if !(layout::ROM_ALIAS_START..layout::ROM_ALIAS_END).contains(&address) {
            return "outside the image".to_owned();
        }
        let label = self
            .elf
            .syms
            .iter()
            .filter(|symbol| (layout::ROM_ALIAS_START..=address).contains(&symbol.st_value))
            .filter_map(|symbol| Some((symbol.st_value, self.elf.strtab.get_at(symbol.st_name)?)))
            .filter(|(_, name)| !name.is_empty() && !name.starts_with("__"))
            .max();
        label.map_or_else(|| "unknown".to_owned(), |(_, name)| demangled(name))
    }
}

/// The function that an instruction counts for.
fn innermost(frames: &[Frame]) -> Option<String> {
    let ours = || frames.iter().filter_map(Frame::named);
    let counts = |name: &String| !name.starts_with(TRANSPARENT) && !name.contains("::{");
    ours().find(counts).or_else(|| ours().next())
}

/// The function that asks, unless that is somebody before.
fn asker(frames: &[Frame]) -> Option<String> {
    let asks = |name: &String| !HANDS.iter().any(|hand| name.starts_with(hand));
    frames.iter().filter_map(Frame::named).find(asks)
}

impl Frame {
    /// Its room and its name, where its source is in this tree.
    fn named(&self) -> Option<String> {
        Some(format!("{}::{}", room(&self.file)?, self.function))
    }
}

/// `firmware_core::memory::map::MemoryMap::set` as line tables would have it: its room and its name.
fn demangled(symbol: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(symbol));
    let mut path: Vec<_> = name.split("::").collect();
    let Some(function) = path.pop().filter(|_| !name.contains('<')) else {
        return name.rsplit("::").next().unwrap_or(&name).to_owned();
    };
    match path.as_slice() {
        [] => return name,
        ["firmware", _, ..] => drop(path.remove(0)),
        ["firmware_core", ..] => path[0] = "core",
        _ => {}
    }
    path.retain(|part| !part.starts_with(char::is_uppercase));
    format!("{}::{function}", path.join("/"))
}

/// A source file of this tree as the path of its room.
fn room(file: &str) -> Option<String> {
    const CRATES: [(&str, &str); 3] = [
        ("firmware/core/src/", "core/"),
        ("firmware/src/", ""),
        ("abi/src/", "abi/"),
    ];
    CRATES.iter().find_map(|(sources, prefix)| {
        let path = file.strip_prefix(sources)?.strip_suffix(".rs")?;
        let path = path.strip_suffix("/mod").unwrap_or(path);
        Some(format!("{prefix}{path}"))
    })
}

/// `gather` of `gather<firmware::machine::FwCfg>`.
fn plain(name: &str) -> &str {
    match name.split_once('<') {
        Some(("", _)) | None => name,
        Some((plain, _)) => plain,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn frame(function: &str, file: &str) -> Frame {
        Frame {
            function: function.into(),
            file: file.into(),
        }
    }

    #[test]
    fn an_instruction_counts_for_the_innermost_function_of_this_tree() {
        let frames = [
            frame("next", "/rustc/1/library/core/src/iter.rs"),
            frame("in_u8", "firmware/src/machine/ports.rs"),
            frame("{closure#0}", "firmware/core/src/facts.rs"),
            frame("gather", "firmware/core/src/facts.rs"),
            frame("find_kernel", "firmware/src/main.rs"),
        ];

        assert_eq!(innermost(&frames).unwrap(), "core/facts::gather");
        assert_eq!(innermost(&frames[..2]).unwrap(), "machine/ports::in_u8");
        assert_eq!(innermost(&frames[..1]), None);
        assert_eq!(innermost(&[]), None);
    }

    #[test]
    fn who_asks_is_not_the_one_who_rings() {
        let frames = [
            frame("ring", "firmware/src/machine/fw_cfg.rs"),
            frame("read_u32", "firmware/core/src/fw_cfg/mod.rs"),
            frame("gather", "firmware/core/src/facts.rs"),
        ];

        assert_eq!(asker(&frames).unwrap(), "core/facts::gather");
        assert_eq!(asker(&frames[..2]), None);
    }

    #[test]
    fn a_symbol_is_named_as_line_tables_would_name_it() {
        let name = |symbol| demangled(symbol);

        assert_eq!(
            name("_ZN3abi6fw_cfg9same_name17hbc1b77400c799f67E"),
            "abi/fw_cfg::same_name"
        );
        assert_eq!(
            name("_ZN13firmware_core6smbios7connect17h4b90e8afd4d0f88fE"),
            "core/smbios::connect"
        );
        assert_eq!(
            name("_ZN8firmware7handoff5enter17hf481871c83ede936E"),
            "handoff::enter"
        );
        assert_eq!(
            name("_ZN13firmware_core6memory3map9MemoryMap3set17he59e5192dd27c791E"),
            "core/memory/map::set"
        );
        assert_eq!(
            name("_ZN8firmware7give_up17h0a5b6c7d8e9f0a1bE"),
            "firmware::give_up"
        );
        assert_eq!(name("pvh32"), "pvh32");
    }

    #[test]
    fn a_room_is_its_path_without_what_every_path_has() {
        let path = |file| room(file).unwrap();

        assert_eq!(path("firmware/core/src/acpi/mod.rs"), "core/acpi");
        assert_eq!(path("firmware/src/machine/board.rs"), "machine/board");
        assert_eq!(path("abi/src/checksum.rs"), "abi/checksum");
        assert_eq!(room("vmm/src/main.rs"), None);
    }

    #[test]
    fn generic_arguments_do_not_tell_functions_apart() {
        assert_eq!(plain("read<firmware::machine::FwCfg>"), "read");
        assert_eq!(plain("memcpy"), "memcpy");
        assert_eq!(plain("<impl u8>"), "<impl u8>");
    }
}
