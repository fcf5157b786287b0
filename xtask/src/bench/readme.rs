// SPDX-License-Identifier: MIT OR Apache-2.0
//! The README's table of firmware: written by the tool, and held against what it finds.

use std::path::Path;

use super::count;
use super::matrix::{self, Lists, OURS, REPORT};
use super::model::{Measured, Place, Vmm};
use super::report::whole;
use crate::error::{Error, Result};
use crate::guest::Format;
use crate::workspace::{Workspace, read, write_atomically};

/// What the table compares: its name for tests, the machine, how the kernel is handed over.
pub const BOOTS: [(&str, &str, Format); 6] = [
    ("microvm-pvh", "microvm", Format::Pvh),
    ("microvm-bzimage", "microvm", Format::Bzimage),
    ("microvm-no-acpi-pvh", "microvm:acpi=off", Format::Pvh),
    ("pc-pvh", "pc", Format::Pvh),
    ("q35-pvh", "q35", Format::Pvh),
    ("q35-bzimage", "q35", Format::Bzimage),
];

const FIRMWARE: [&str; 3] = [OURS, "qboot", "seabios"];
const BEGIN: &str = "<!-- written by `cargo xtask bench --readme` -->\n";
const END: &str = "<!-- until here -->\n";
const HEAD: &str = "| machine | kernel | firmware | instructions | × | port accesses | bytes of ROM |\n\
     |---|---|---|--:|--:|--:|--:|\n";

/// Writes the table into the README.
pub fn save(workspace: &Workspace, rom: &Path) -> Result<()> {
    let path = workspace.root.join("README.md");
    let text = String::from_utf8_lossy(&read(&path)?).into_owned();
    let mut table = HEAD.to_owned();
    for (_, machine, format) in BOOTS {
        table += &rows(workspace, rom, machine, format)?.concat();
    }
    let Some(text) = replaced(&text, &table) else {
        return Err(Error::Format {
            path,
            expected: "a README with a place for the table",
            found: format!("no `{}` with `{}` behind it", BEGIN.trim(), END.trim()),
        });
    };
    write_atomically(&path, text.as_bytes())
}

fn replaced(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{table}{END}{after}"))
}

/// The lines of one boot, as they have to stand in the README.
pub fn rows(
    workspace: &Workspace,
    rom: &Path,
    machine: &str,
    format: Format,
) -> Result<Vec<String>> {
    let lists = Lists {
        firmware: FIRMWARE.map(String::from).into(),
        vmm: vec![Vmm::Qemu],
        on: vec![Place::Tcg],
        machine: vec![machine.parse().map_err(Error::Guest)?],
        kernel: vec![REPORT.into()],
        format: vec![format],
        cpus: vec![1],
        initrd: vec![0],
    };
    let mut ours = None;
    let mut rows = Vec::new();
    for subject in matrix::subjects(workspace, &lists, rom)? {
        let combination = &subject.combination;
        let measured = count::count(&combination.machine, &subject.boot(), None)?;
        let reference = *ours.get_or_insert(measured.counts.instructions.unwrap_or(0));
        let boot = format!("| `{}` | {} ", combination.machine, in_words(format));
        rows.push(boot + &line(&combination.firmware, &measured, reference));
    }
    Ok(rows)
}

fn line(firmware: &str, measured: &Measured, reference: u64) -> String {
    let number = |value: Option<u64>| value.map_or("?".to_owned(), whole);
    let instructions = measured.counts.instructions;
    let tenths = instructions.unwrap_or(0) * 10 / reference.max(1);
    let times = if tenths < 100 {
        format!("{}.{}", tenths / 10, tenths % 10)
    } else {
        whole(tenths / 10)
    };
    format!(
        "| {} | {} | {times} | {} | {} |\n",
        match firmware {
            "seabios" => "SeaBIOS",
            other => other,
        },
        number(instructions),
        number(measured.ports()),
        number(measured.counts.rom_bytes),
    )
}

fn in_words(format: Format) -> &'static str {
    match format {
        Format::Pvh => "PVH",
        Format::Bzimage => "bzImage",
    }
}

#[cfg(test)]
mod test {
    use super::super::model::Counts;
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = format!("a\n{BEGIN}old\n{END}b\n");

        assert_eq!(
            replaced(&text, "new\n"),
            Some(format!("a\n{BEGIN}new\n{END}b\n"))
        );
        assert_eq!(replaced("a\n", "new\n"), None);
    }

    #[test]
    fn a_line_says_how_many_times_ours_it_is() {
        let measured = Measured {
            counts: Counts {
                instructions: Some(14_802),
                port_reads: Some(54),
                port_writes: Some(23),
                rom_bytes: Some(12_826),
                ..Counts::default()
            },
            ..Measured::default()
        };

        assert_eq!(
            line("qboot", &measured, 5_974),
            "| qboot | 14,802 | 2.4 | 77 | 12,826 |\n"
        );
    }
}
