// SPDX-License-Identifier: MIT OR Apache-2.0
//! The architecture's invariants, as far as they can be seen in the text.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::workspace::Workspace;

/// A name that only some files may say.
struct Border {
    /// Where the rule holds.
    room: &'static str,
    name: &'static str,
    /// The only paths, by their beginning, that may name it.
    only: &'static [&'static str],
}

const BORDERS: [Border; 5] = [
    Border {
        room: "vmm/src",
        name: "kvm_ioctls",
        only: &["vmm/src/hypervisor/"],
    },
    Border {
        room: "vmm/src",
        name: "vm_memory",
        only: &["vmm/src/memory/"],
    },
    Border {
        room: "vmm/src",
        name: "clap",
        only: &["vmm/src/cli.rs"],
    },
    Border {
        room: "vmm/src",
        name: "acpi_tables",
        only: &["vmm/src/boot/acpi/"],
    },
    Border {
        room: "vmm/src",
        name: "serde",
        only: &["vmm/src/description.rs", "vmm/src/measure/"],
    },
];

/// Packages that never depend on one another: manifest, and the dependency that it may not have.
const STRANGERS: [(&str, &str); 9] = [
    ("abi/Cargo.toml", "firmware"),
    ("abi/Cargo.toml", "vmm"),
    ("firmware/Cargo.toml", "vmm"),
    ("firmware/core/Cargo.toml", "vmm"),
    ("tests/guests/Cargo.toml", "firmware"),
    ("tests/guests/Cargo.toml", "vmm"),
    ("tests/guests/Cargo.toml", "firmware-core"),
    ("vmm/Cargo.toml", "firmware"),
    ("vmm/Cargo.toml", "firmware-core"),
];

/// Crates without a single unsafe block.
const SAFE_CRATES: [&str; 4] = [
    "abi/src/lib.rs",
    "firmware/core/src/lib.rs",
    "tests/guests/src/lib.rs",
    "xtask/src/main.rs",
];
const FORBID: &str = "#![forbid(unsafe_code)]";
const LICENCE: &str = "SPDX-License-Identifier: MIT OR Apache-2.0";
/// Every room with Rust in it.
const ROOMS: [&str; 6] = ["abi", "firmware", "vmm", "tests", "xtask", "linker"];

/// Checks every rule, and tells of every place where one is broken.
pub fn run(workspace: &Workspace) -> Result<()> {
    let mut broken = Vec::new();
    for border in &BORDERS {
        for (path, text) in sources(workspace, border.room)? {
            broken.extend(crossings(border, &path, &text));
        }
    }
    for (manifest, stranger) in STRANGERS {
        if depends(&read(&workspace.root.join(manifest))?, stranger) {
            broken.push(format!("{manifest}: expected no dependency on {stranger}"));
        }
    }
    for path in SAFE_CRATES {
        let text = read(&workspace.root.join(path))?;
        if !text.lines().any(|line| line.trim() == FORBID) {
            broken.push(format!("{path}: expected {FORBID}, found no such line"));
        }
    }
    for room in ROOMS {
        for (path, text) in sources(workspace, room)? {
            let first = text.lines().next().unwrap_or_default();
            if !first.contains(LICENCE) {
                broken.push(format!("{path}:1: expected {LICENCE}, found `{first}`"));
            }
        }
    }
    if broken.is_empty() {
        Ok(())
    } else {
        Err(Error::Invariants(broken))
    }
}

/// The lines outside comments in which a name crosses its border.
fn crossings(border: &Border, path: &str, text: &str) -> Vec<String> {
    if border.only.iter().any(|place| path.starts_with(place)) {
        return Vec::new();
    }
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    text.lines()
        .enumerate()
        .filter(|(_, line)| names(&code(line), border.name))
        .map(|(index, _)| {
            format!(
                "{path}:{}: only {} may name {}",
                index + 1,
                border.only.join(" and "),
                border.name
            )
        })
        .collect()
}

/// Whether a manifest has a dependency of this name.
fn depends(manifest: &str, on: &str) -> bool {
    manifest.lines().any(|line| {
        line.strip_prefix(on)
            .is_some_and(|rest| rest.starts_with([' ', '.', '=']))
    })
}

/// Whether code uses `name` as the beginning of a path.
fn names(code: &str, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(start, _)| {
        let before = code[..start].chars().next_back();
        let after = &code[start + name.len()..];
        !before.is_some_and(|c| word(c) || c == ':') && after.starts_with("::")
    })
}

/// The Rust sources under a directory, as paths from the root, in a fixed order.
fn sources(workspace: &Workspace, room: &str) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut open = vec![workspace.root.join(room)];
    while let Some(directory) = open.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(_) if !directory.exists() => continue,
            Err(error) => return Err(Error::file("list", &directory)(error)),
        };
        for entry in entries {
            let path: PathBuf = entry.map_err(Error::file("list", &directory))?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&workspace.root).unwrap_or(&path);
                found.push((name.to_string_lossy().into_owned(), read(&path)?));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(Error::file("read", path))
}

#[cfg(test)]
mod test {
    use super::*;

    const BORDER: Border = Border {
        room: "vmm/src",
        name: "clap",
        only: &["vmm/src/cli.rs"],
    };

    #[test]
    fn a_crossing_is_told_with_its_line() {
        let found = crossings(&BORDER, "vmm/src/main.rs", "\nuse clap::Parser;\n");

        assert_eq!(
            found,
            ["vmm/src/main.rs:2: only vmm/src/cli.rs may name clap"]
        );
    }

    #[test]
    fn comments_and_the_allowed_file_may_name_it() {
        assert!(crossings(&BORDER, "vmm/src/cli.rs", "use clap::Parser;").is_empty());
        assert!(crossings(&BORDER, "vmm/src/a.rs", "// not clap::Parser").is_empty());
    }

    #[test]
    fn a_dependency_is_seen_in_either_spelling() {
        assert!(depends("[dependencies]\nvmm.workspace = true\n", "vmm"));
        assert!(depends("firmware = { path = \"x\" }\n", "firmware"));
        assert!(!depends("vmm-sys-util = \"1\"\n", "vmm"));
        assert!(!depends("[package]\nname = \"vmm\"\n", "vmm"));
    }

    #[test]
    fn a_name_is_a_whole_word_at_the_beginning_of_a_path() {
        assert!(names("use std::io;", "std"));
        assert!(!names("use core::std::io;", "std"));
        assert!(!names("use no_std::io;", "std"));
        assert!(!names("#![no_std]", "std"));
    }
}
