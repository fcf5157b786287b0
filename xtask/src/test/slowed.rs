// SPDX-License-Identifier: MIT OR Apache-2.0
//! The gate is asked about a firmware that costs more: one access too many, and a slow loop.

use std::fs;
use std::path::Path;

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use crate::bench::count::Symbols;
use crate::bench::count::gate::{self, Firmware, Saved};
use crate::build;
use crate::error::{Error, Result};
use crate::workspace::{Workspace, read, write_atomically};

/// What the firmware is built from.
const SOURCES: [&str; 11] = [
    ".cargo",
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
    "abi",
    "firmware",
    "linker",
    "tests/Cargo.toml",
    "tests/guests/Cargo.toml",
    "vmm/Cargo.toml",
    "xtask/Cargo.toml",
];

/// Other members of the workspace, of which Cargo wants to see a program.
const PROGRAMS: [&str; 4] = [
    "tests/src/lib.rs",
    "tests/guests/src/lib.rs",
    "vmm/src/lib.rs",
    "xtask/src/main.rs",
];

/// Its name, so that it does not take the place of the real one.
const NAME: &str = "firmware-slowed";

/// In which file what becomes what. Cargo tells crates in one target directory apart by their
/// versions, not by where they are.
const CHANGES: [(&str, &str, &str); 4] = [
    (
        "Cargo.toml",
        "[workspace.package]\nversion = \"",
        "[workspace.package]\nversion = \"0.0.0-",
    ),
    (
        "firmware/Cargo.toml",
        "[[bin]]\nname = \"firmware\"",
        "[[bin]]\nname = \"firmware-slowed\"",
    ),
    (
        "firmware/src/machine/mod.rs",
        "        Chipset::initialise()",
        "        let _ = unsafe { ports::in_u8(0x61) };\n        Chipset::initialise()",
    ),
    (
        "firmware/core/src/memory/map.rs",
        "            if region.end < window.start() {",
        "for turn in 0..9 { core::hint::black_box(turn); } if region.end < window.start() {",
    ),
];

/// What the gate has to say, in its words.
const FINDINGS: [[&str; 2]; 3] = [
    ["port accesses ", ""],
    [
        "fw_cfg and chipset: accesses ",
        "machine::initialise_chipset 0 → 1",
    ],
    ["plan: instructions ", "(core/memory/map::replace "],
];

/// That what costs more is caught and named.
pub fn cases() -> Vec<Case> {
    vec![Case::new("qemu/budget-names-what-grew", named)]
}

fn named(context: &Context<'_>, trial: &Trial) -> Run {
    context.qemu()?;
    context.rom()?;
    context.guest("report.elf")?;
    let saved = Saved::read(context.workspace)?;
    saved.applies().map_err(Outcome::Skipped)?;
    let slowed = slowed(context.workspace)?;
    let subject = gate::subjects().into_iter().next();
    let Some(subject) = subject else {
        return Err(Outcome::Failed("there are no budgets".into()));
    };
    let measured = subject.measure(context.workspace, &slowed)?;
    let changes = saved.changes(&subject.name, &measured)?;
    let grew: Vec<_> = changes.iter().filter(|change| change.grew()).collect();
    let said: Vec<_> = grew.iter().map(ToString::to_string).collect();
    trial.keep(&said.join("\n"))?;
    for [beginning, function] in FINDINGS {
        let found = said
            .iter()
            .find(|said| said.starts_with(beginning) && said.contains(function));
        expect(found.is_some(), || {
            format!("expected `{beginning}… {function}` to be said to have grown, found {said:?}")
        })?;
        found
            .into_iter()
            .for_each(|said| trial.remark(said.clone()));
    }
    Ok(())
}

/// Builds the firmware that costs more, from a copy of the tree.
fn slowed(workspace: &Workspace) -> Result<Firmware, Outcome> {
    let tree = Workspace::inner(
        workspace.target.join("test-inputs/slowed"),
        workspace.target.clone(),
    );
    for source in SOURCES {
        copy(&workspace.root, &tree.root, Path::new(source))?;
    }
    for program in PROGRAMS {
        write_if_new(&tree.root.join(program), b"")?;
    }
    let (image, linked) = build::firmware_called(&tree, NAME)?;
    let rom = tree.root.with_extension("rom");
    write_atomically(&rom, &image)?;
    Ok(Firmware {
        rom,
        symbols: Some(Symbols::new(&tree.root, linked)),
    })
}

/// Copies a file or a directory, and changes what is to be changed.
fn copy(from: &Path, to: &Path, what: &Path) -> Result<(), Outcome> {
    let source = from.join(what);
    if source.is_dir() {
        let entries = fs::read_dir(&source).map_err(Error::file("read", &source))?;
        for entry in entries {
            let entry = entry.map_err(Error::file("read", &source))?;
            copy(from, to, &what.join(entry.file_name()))?;
        }
        return Ok(());
    }
    let mut bytes = read(&source)?;
    for (_, old, new) in CHANGES.iter().filter(|(file, ..)| Path::new(file) == what) {
        let text = String::from_utf8_lossy(&bytes);
        expect(text.matches(old).count() == 1, || {
            format!(
                "{}: expected `{old}` once, found it otherwise",
                what.display()
            )
        })?;
        bytes = text.replace(old, new).into_bytes();
    }
    Ok(write_if_new(&to.join(what), &bytes)?)
}

/// What has not changed keeps its time, by which Cargo tells what it has to build.
fn write_if_new(path: &Path, bytes: &[u8]) -> Result<()> {
    match fs::read(path) {
        Ok(old) if old == bytes => Ok(()),
        _ => write_atomically(path, bytes),
    }
}
