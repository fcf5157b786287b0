// SPDX-License-Identifier: MIT OR Apache-2.0
//! One file of results against another.
//!
//! Counts compare whatever the machines. Times of two machines do not; the ratio of a firmware to its
//! neighbour on the same machine may.

use super::groups::{firmware, groups, setup};
use super::numbers::{short, time, times, whole};
use super::text::machine;
use crate::bench::model::{Measured, Outcome, Results, Row};

/// What changed from `old` to `new`, a paragraph a combination that both have.
pub fn against(old: &Results, new: &Results) -> String {
    let same_machine = old.host == new.host;
    let mut text = String::new();
    if !same_machine {
        text += "warning: measured on different machines, so only counts and ratios are compared\n";
        for host in [&old.host, &new.host] {
            text += &format!("  {}\n", machine(host));
        }
    }
    let mut compared = 0;
    for group in groups(new) {
        for row in &group.rows {
            let combination = &row.row.combination;
            let earlier = old.rows.iter().find(|row| row.combination == *combination);
            let Some(earlier) = earlier else {
                continue;
            };
            compared += 1;
            let lines = differences(earlier, row.row, same_machine);
            let name = format!("{}, {}", firmware(combination), setup(combination));
            text += &match lines.as_slice() {
                [] => format!("{name}: no difference\n"),
                lines => format!("{name}:\n  {}\n", lines.join("\n  ")),
            };
        }
    }
    if compared == 0 {
        text += "no combination is in both\n";
    }
    text
}

fn differences(old: &Row, new: &Row, same_machine: bool) -> Vec<String> {
    let (old, new) = match (&old.outcome, &new.outcome) {
        (Outcome::Measured(old), Outcome::Measured(new)) => (old, new),
        (Outcome::Unable(old), Outcome::Unable(new)) if old == new => return Vec::new(),
        (Outcome::Unable(why), _) => {
            return vec![format!("it could not be measured before: {why}")];
        }
        (_, Outcome::Unable(why)) => return vec![format!("it cannot be measured any more: {why}")],
    };
    let mut lines = counts(old, new);
    if same_machine {
        let pairs = [
            ("time", old.costs.wall, new.costs.wall),
            (
                "processor time",
                old.costs.processor_time,
                new.costs.processor_time,
            ),
        ];
        for (name, old, new) in pairs {
            if let (Some(old), Some(new)) = (old, new) {
                lines.push(format!(
                    "{name}: {} → {} ({} to {} → {} to {})",
                    time(old.median),
                    time(new.median),
                    time(old.low),
                    time(old.high),
                    time(new.low),
                    time(new.high),
                ));
            }
        }
    }
    if let (Some(old), Some(new)) = (old.costs.ratio, new.costs.ratio) {
        lines.push(format!(
            "time, as a multiple of the first firmware's: {} ({} to {}) → {} ({} to {})",
            times(old.ratio),
            short(old.low),
            short(old.high),
            times(new.ratio),
            short(new.low),
            short(new.high),
        ));
    }
    lines
}

/// The counts that differ.
fn counts(old: &Measured, new: &Measured) -> Vec<String> {
    let (a, b) = (&old.counts, &new.counts);
    let pairs = [
        ("instructions", a.instructions, b.instructions),
        ("port accesses", old.ports(), new.ports()),
        ("MMIO accesses", old.mmio(), new.mmio()),
        ("exits", a.exits, b.exits),
        ("fw_cfg items", a.fw_cfg_items, b.fw_cfg_items),
        ("fw_cfg bytes", a.fw_cfg_bytes, b.fw_cfg_bytes),
        ("bytes of ROM", a.rom_bytes, b.rom_bytes),
        ("KiB of memory touched", a.memory_touched, b.memory_touched),
    ];
    let differ = pairs.into_iter().filter_map(|(name, old, new)| {
        let (old, new) = (old?, new?);
        (old != new).then(|| format!("{name}: {} → {}", whole(old), whole(new)))
    });
    differ.collect()
}

#[cfg(test)]
mod test {
    use super::super::sample;
    use super::*;

    #[test]
    fn what_is_the_same_is_said_to_be_the_same() {
        let mut results = sample::results();
        // Times are printed in any case.
        for row in 0..results.rows.len() {
            if matches!(results.rows[row].outcome, Outcome::Measured(_)) {
                sample::measured_mut(&mut results, row).costs = Default::default();
            }
        }

        let text = against(&results, &results);

        assert!(
            !text.contains('→') && text.contains(": no difference\n"),
            "{text}"
        );
    }

    #[test]
    fn a_count_that_grew_is_named() {
        let old = sample::results();
        let mut new = old.clone();
        sample::measured_mut(&mut new, 0).counts.instructions = Some(1_234_567);

        assert!(against(&old, &new).contains(" → 1,234,567\n"));
    }

    #[test]
    fn of_different_machines_only_counts_and_ratios_are_compared() {
        let old = sample::results();
        let mut new = old.clone();
        new.host.processor = "another".into();

        let text = against(&old, &new);

        assert!(text.starts_with("warning: measured on different machines"));
        assert!(!text.contains("processor time:") && text.contains("as a multiple"));
    }
}
