// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench --compare A B`: what changed from one firmware to the other, on each machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Cursor;
use std::path::Path;

use super::budgets::Budget;
use super::gate::{self, Firmware, Subject};
use super::{Symbols, phases, table};
use crate::bench::model::{AccessKind, Measured};
use crate::build;
use crate::error::{Error, Result};
use crate::image;
use crate::progress::Progress;
use crate::qemu;
use crate::workspace::{Workspace, read, write_atomically};

/// What stands for this tree with all that has been changed in it.
const THIS_TREE: &str = ".";

/// Compares on every machine and prints.
pub fn run(workspace: &Workspace, names: &[String]) -> Result<()> {
    let [old, new] = names else {
        return Err(Error::Guest(format!(
            "expected two names, found {}",
            names.len()
        )));
    };
    qemu::require()?;
    let sides = [firmware(workspace, old)?, firmware(workspace, new)?];
    build::guests(workspace)?;
    let roms = (read(&sides[0].rom)?, read(&sides[1].rom)?);
    if roms.0 == roms.1 {
        println!("{old} and {new} are the same ROM, byte by byte");
        return Ok(());
    }
    let occupied = (image::occupied(&roms.0), image::occupied(&roms.1));
    println!("ROM bytes: {} → {}", occupied.0, occupied.1);
    // Phases compare with phases only.
    let both = sides.iter().all(|side| side.symbols.is_some());
    let sides = sides.map(|side| Firmware {
        symbols: side.symbols.filter(|_| both),
        ..side
    });
    let mut identical = true;
    for subject in gate::subjects() {
        let lines = compared(workspace, &subject, &sides);
        identical &= lines.is_empty();
        if lines.is_empty() {
            println!("{}: identical", subject.name);
        } else {
            println!("{}:\n  {}", subject.name, lines.join("\n  "));
        }
    }
    if identical {
        println!("{old} and {new} differ in bytes, but in nothing that a boot executes");
    }
    Ok(())
}

/// One machine's differences, or why there are none to tell.
fn compared(workspace: &Workspace, subject: &Subject, sides: &[Firmware; 2]) -> Vec<String> {
    let _progress = Progress::start(format!("booting {}", subject.name));
    let measured = sides
        .each_ref()
        .map(|side| subject.measure(workspace, side));
    match measured {
        [Ok(old), Ok(new)] => differences(&subject.name, &old, &new),
        failed => failed
            .into_iter()
            .filter_map(|side| Some(side.err()?.to_string()))
            .collect(),
    }
}

fn differences(name: &str, old: &Measured, new: &Measured) -> Vec<String> {
    let symbols = |measured| {
        let mut symbols = table::Symbols::default();
        symbols.set(name, measured);
        symbols
    };
    let budget = |measured: &Measured| {
        let mut budget = Budget::from(measured);
        if measured.counts.symbols.is_empty() {
            budget.phases.clear(); // the only one is the whole
        }
        budget
    };
    let changes = budget(old).changes(
        &budget(new),
        &phases::names(),
        name,
        (&symbols(old), &symbols(new)),
    );
    let mut lines: Vec<_> = changes.iter().map(ToString::to_string).collect();
    lines.extend(registers(old, new));
    lines
}

/// The registers that are accessed more often or more rarely.
fn registers(old: &Measured, new: &Measured) -> Vec<String> {
    let counted = |measured: &Measured| -> BTreeMap<_, u64> {
        let mut counted = BTreeMap::new();
        for place in &measured.counts.places {
            *counted.entry((place.address, place.kind)).or_default() += place.count;
        }
        counted
    };
    let (old, new) = (counted(old), counted(new));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    keys.into_iter()
        .map(|key| {
            let of = |counted: &BTreeMap<_, _>| counted.get(key).copied().unwrap_or(0);
            (key, of(&old), of(&new))
        })
        .filter(|(_, old, new)| old != new)
        .map(|((address, kind), old, new)| {
            let what = match kind {
                AccessKind::PortRead => "reads of port",
                AccessKind::PortWrite => "writes to port",
                AccessKind::MmioRead => "reads of",
                AccessKind::MmioWrite => "writes to",
            };
            format!("{what} {address:#x} {old} → {new}")
        })
        .collect()
}

/// A ROM file, this tree, or a revision.
fn firmware(workspace: &Workspace, name: &str) -> Result<Firmware> {
    if name == THIS_TREE {
        return Firmware::build(workspace);
    }
    if Path::new(name).is_file() {
        return Ok(Firmware {
            rom: name.into(),
            symbols: None,
        });
    }
    let commit = format!("{name}^{{commit}}");
    match workspace.git(&["rev-parse", "--verify", "--quiet", &commit]) {
        Ok(hash) => revision(workspace, String::from_utf8_lossy(&hash).trim()),
        Err(Error::Ended { .. }) => Err(Error::Guest(format!(
            "expected a ROM file, a revision or `{THIS_TREE}`, found `{name}`"
        ))),
        Err(error) => Err(error),
    }
}

/// Builds a revision in a tree of its own, once.
fn revision(workspace: &Workspace, hash: &str) -> Result<Firmware> {
    let place = workspace.target.join("compare");
    let rom = place.join(format!("{hash}.rom"));
    let linked = place.join(format!("{hash}.elf"));
    let root = place.join(hash);
    if !(rom.exists() && linked.exists()) {
        let archive = workspace.git(&["archive", "--format=tar", hash])?;
        // Cargo takes what is older than its last build for what it has built, wherever it was.
        let mut archive = tar::Archive::new(Cursor::new(archive));
        archive.set_preserve_mtime(false);
        archive
            .unpack(&root)
            .map_err(Error::file("unpack", &root))?;
        let tree = Workspace::inner(root.clone(), place.join("target"));
        let made = build::firmware_called(&tree, "firmware")?;
        write_atomically(&rom, &made.0)?;
        write_atomically(&linked, &made.1)?;
        fs::remove_dir_all(&root).map_err(Error::file("remove", &root))?;
    }
    // The line tables name the files where they were.
    Ok(Firmware {
        symbols: Some(Symbols::new(&root, read(&linked)?)),
        rom,
    })
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::bench::model::{Counts, Phase, PlaceCount};

    fn measured(instructions: u64, reads: u64) -> Measured {
        Measured {
            phases: vec![Phase {
                name: "firmware".into(),
                instructions: Some(instructions),
                accesses: Some(reads),
                time: None,
            }],
            counts: Counts {
                instructions: Some(instructions),
                port_reads: Some(reads),
                port_writes: Some(0),
                places: vec![PlaceCount {
                    kind: AccessKind::PortRead,
                    address: 0x61,
                    device: "pcspk".into(),
                    count: reads,
                }],
                ..Counts::default()
            },
            ..Measured::default()
        }
    }

    #[test]
    fn what_changed_is_told_with_the_registers() {
        let lines = differences("pc-pvh", &measured(10, 1), &measured(12, 3));

        assert_eq!(
            lines,
            [
                "instructions 10 → 12",
                "port accesses 1 → 3",
                "reads of port 0x61 1 → 3"
            ]
        );
        assert!(differences("pc-pvh", &measured(10, 1), &measured(10, 1)).is_empty());
    }
}
