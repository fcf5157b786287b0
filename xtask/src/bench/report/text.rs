// SPDX-License-Identifier: MIT OR Apache-2.0
//! The results as tables for the terminal.

use crate::bench::model::{Host, Measured, Outcome, Results};

use super::groups::{Group, groups};
use super::numbers;

/// A column of counts: its heading and what stands in it.
type Count = (&'static str, fn(&Measured) -> Option<String>);

const COUNTS: [Count; 9] = [
    ("instructions", |measured| {
        whole(measured.counts.instructions)
    }),
    ("port accesses", |measured| whole(measured.ports())),
    ("MMIO accesses", |measured| whole(measured.mmio())),
    ("exits", |measured| whole(measured.counts.exits)),
    ("fw_cfg items", |measured| {
        whole(measured.counts.fw_cfg_items)
    }),
    ("fw_cfg bytes", |measured| {
        whole(measured.counts.fw_cfg_bytes)
    }),
    ("ROM bytes", |measured| whole(measured.counts.rom_bytes)),
    ("memory touched", |measured| {
        Some(numbers::kibibytes(float(measured.counts.memory_touched?)))
    }),
    ("VMM program", |measured| {
        Some(numbers::bytes(measured.costs.program?))
    }),
];

/// The results for a terminal: a heading and tables for each group of rows that compare.
pub fn text(results: &Results) -> String {
    let mut text = format!(
        "{}\nrevision {}\n",
        machine(&results.host),
        results.revision
    );
    for group in groups(results) {
        text.push_str(&format!("\n{}\n", group.title()));
        let tables = [counts(&group), times(&group)];
        for table in tables.iter().filter(|table| table.len() > 1) {
            text.push_str(&aligned(table));
        }
        for row in &group.rows {
            if let Outcome::Unable(why) = &row.row.outcome {
                text.push_str(&format!("  {}: not measured: {why}\n", row.firmware()));
            }
        }
    }
    text.push_str(&format!("\nagain: {}\n", results.command));
    shown(&text)
}

/// The machine that measured.
pub fn machine(host: &Host) -> String {
    format!(
        "{}, {} processors, Linux {}, KVM: {}, QEMU: {}",
        host.processor,
        host.processors,
        host.kernel,
        host.kvm,
        host.qemu.as_deref().unwrap_or("none"),
    )
}

/// What is counted, and how many times the instructions of the first row each row executes.
fn counts(group: &Group<'_>) -> Vec<Vec<String>> {
    let first = group
        .measured()
        .next()
        .and_then(|(_, measured)| measured.counts.instructions);
    let mut columns: Vec<Vec<String>> = vec![names(group, "counts")];
    for (heading, count) in COUNTS {
        push(&mut columns, group, heading, count);
        if heading == "instructions" {
            push(&mut columns, group, "ratio", |measured| {
                let (number, first) = (measured.counts.instructions?, first?);
                (first > 0).then(|| numbers::times(float(number) / float(first)))
            });
        }
    }
    rows(&columns)
}

/// What is timed, and how many times as long as the first row each row takes.
fn times(group: &Group<'_>) -> Vec<Vec<String>> {
    let mut phases: Vec<&str> = Vec::new();
    for (_, measured) in group.measured() {
        for phase in &measured.phases {
            if !phases.contains(&phase.name.as_str()) {
                phases.push(&phase.name);
            }
        }
    }
    let mut columns = vec![names(group, "medians")];
    for name in phases {
        push(&mut columns, group, name, |measured| {
            let mut phases = measured.phases.iter();
            let time = phases.find(|phase| phase.name == name)?.time?;
            Some(numbers::time(time.median))
        });
    }
    push(&mut columns, group, "together", |measured| {
        Some(numbers::time(measured.costs.wall?.median))
    });
    push(&mut columns, group, "runs", |measured| {
        let wall = measured.costs.wall?;
        Some(format!(
            "{} in {} to {}",
            wall.runs,
            numbers::time(wall.low),
            numbers::time(wall.high)
        ))
    });
    push(&mut columns, group, "ratio (95 %)", |measured| {
        let ratio = measured.costs.ratio?;
        Some(format!(
            "{} ({} to {})",
            numbers::times(ratio.ratio),
            numbers::short(ratio.low),
            numbers::short(ratio.high)
        ))
    });
    push(&mut columns, group, "processor", |measured| {
        Some(numbers::time(measured.costs.processor_time?.median))
    });
    push(&mut columns, group, "VMM memory", |measured| {
        Some(numbers::kibibytes(measured.costs.memory?.median))
    });
    rows(&columns)
}

/// The first column: a heading and the firmware of each row.
fn names(group: &Group<'_>, heading: &str) -> Vec<String> {
    let firmware = group.measured().map(|(row, _)| row.firmware().to_owned());
    std::iter::once(heading.to_owned())
        .chain(firmware)
        .collect()
}

/// Adds a column where any row has something to say in it.
fn push(
    columns: &mut Vec<Vec<String>>,
    group: &Group<'_>,
    heading: &str,
    cell: impl Fn(&Measured) -> Option<String>,
) {
    let cells: Vec<_> = group
        .measured()
        .map(|(_, measured)| cell(measured))
        .collect();
    if cells.iter().any(Option::is_some) {
        let cells = cells.into_iter().map(|cell| cell.unwrap_or("-".into()));
        columns.push(std::iter::once(heading.to_owned()).chain(cells).collect());
    }
}

/// Columns turned into rows; none where there is nothing but names.
fn rows(columns: &[Vec<String>]) -> Vec<Vec<String>> {
    if columns.len() < 2 {
        return Vec::new();
    }
    let length = columns.first().map_or(0, Vec::len);
    (0..length)
        .map(|row| {
            columns
                .iter()
                .map(|column| column.get(row).cloned().unwrap_or_default())
                .collect()
        })
        .collect()
}

/// A table whose first column is aligned to the left and whose others are to the right.
fn aligned(table: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = table.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut text = String::new();
    for row in table {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            if column == 0 {
                line.push_str(&format!("  {cell:<width$}"));
            } else {
                line.push_str(&format!("  {cell:>width$}"));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A text without anything that a terminal would obey: names of files come from outside.
fn shown(text: &str) -> String {
    let harmless = |c: char| {
        if c.is_control() && c != '\n' {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(harmless).collect()
}

fn whole(number: Option<u64>) -> Option<String> {
    number.map(numbers::whole)
}

#[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::bench::report::sample;

    fn lines(results: &Results) -> Vec<String> {
        text(results).lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_tables_of_a_group_are_aligned_under_its_title() {
        let lines = lines(&sample::results());

        let title = "microvm (ours) on KVM: microvm, kernel report as PVH, 1 CPU";
        let start = lines.iter().position(|line| line == title);
        let table: Vec<_> = lines
            .iter()
            .skip(start.expect("it has a title") + 1)
            .collect();
        assert!(table[0].starts_with("  counts       instructions   ratio  port accesses  MMIO"));
        let widths = |rows: &[&String]| {
            let mut widths: Vec<_> = rows.iter().map(|row| row.chars().count()).collect();
            widths.dedup();
            widths.len()
        };
        assert_eq!(widths(&table[..5]), 1, "{table:#?}");
    }

    #[test]
    fn the_ratio_is_to_the_first_row_of_the_group() {
        let lines = lines(&sample::results());

        let row = lines.iter().find(|line| line.starts_with("  SeaBIOS "));

        let cells: Vec<_> = row.expect("it is there").split_whitespace().collect();
        assert_eq!(cells[..3], ["SeaBIOS", "5,971,259", "2,604×"]);
    }

    #[test]
    fn a_row_that_could_not_be_measured_says_why() {
        let text = text(&sample::results());

        for reason in sample::REASONS {
            assert!(
                text.contains(&format!("not measured: {reason}\n")),
                "{text}"
            );
        }
    }

    #[test]
    fn a_name_cannot_write_to_the_terminal() {
        let mut results = sample::results();
        results.rows[0].combination.firmware = "\u{1b}[2Jx".into();

        assert!(text(&results).contains("\u{fffd}[2Jx"));
        assert!(!text(&results).contains('\u{1b}'));
    }

    #[test]
    fn nothing_measured_is_no_table() {
        let mut results = sample::results();
        results.rows.clear();

        assert_eq!(lines(&results).len(), 4);
    }
}
