// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which rows stand side by side: those that differ in nothing but the firmware.

use crate::bench::model::{Combination, Measured, Outcome, Place, Results, Row, Vmm};

use super::numbers;

/// Rows that compare, in the order of the results. The first is what the others are held against.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    pub rows: Vec<Numbered<'a>>,
}

/// A row and its place in the results.
#[derive(Clone, Copy, Debug)]
pub struct Numbered<'a> {
    pub index: usize,
    pub row: &'a Row,
}

impl<'a> Numbered<'a> {
    pub fn measured(self) -> Option<&'a Measured> {
        match &self.row.outcome {
            Outcome::Measured(measured) => Some(measured),
            Outcome::Unable(_) => None,
        }
    }

    /// The firmware as people write it.
    pub fn firmware(self) -> &'a str {
        firmware(&self.row.combination)
    }
}

/// The groups, in the order of their first rows.
pub fn groups(results: &Results) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (index, row) in results.rows.iter().enumerate() {
        let numbered = Numbered { index, row };
        let same = |group: &&mut Group<'_>| {
            group
                .rows
                .first()
                .is_some_and(|first| comparable(&first.row.combination, &row.combination))
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.rows.push(numbered),
            None => groups.push(Group {
                rows: vec![numbered],
            }),
        }
    }
    groups
}

impl<'a> Group<'a> {
    /// The rows with figures.
    pub fn measured(&self) -> impl Iterator<Item = (Numbered<'a>, &'a Measured)> {
        self.rows
            .iter()
            .filter_map(|&row| Some((row, row.measured()?)))
    }

    /// What all its rows have in common, in words.
    pub fn title(&self) -> String {
        self.rows
            .first()
            .map_or_else(String::new, |first| setup(&first.row.combination))
    }
}

fn comparable(a: &Combination, b: &Combination) -> bool {
    let firmware = String::new;
    Combination {
        firmware: firmware(),
        ..a.clone()
    } == Combination {
        firmware: firmware(),
        ..b.clone()
    }
}

/// All of a combination but its firmware, in words.
pub fn setup(combination: &Combination) -> String {
    let Combination {
        vmm,
        place,
        machine,
        kernel,
        format,
        cpus,
        initrd,
        firmware: _,
    } = combination;
    let vmm = vmm_name(*vmm);
    let place = place_name(*place);
    let cpus = match cpus {
        1 => "1 CPU".to_owned(),
        more => format!("{more} CPUs"),
    };
    let initrd = match initrd {
        0 => String::new(),
        bytes => format!(", initrd of {}", numbers::bytes(*bytes)),
    };
    let format = format_name(format);
    format!("{vmm} {place}: {machine}, kernel {kernel} as {format}, {cpus}{initrd}")
}

/// The firmware as people write it.
pub fn firmware(combination: &Combination) -> &str {
    match combination.firmware.as_str() {
        "seabios" => "SeaBIOS",
        "none" => "no firmware",
        other => other,
    }
}

/// The monitor as people write it.
pub fn vmm_name(vmm: Vmm) -> &'static str {
    match vmm {
        Vmm::Microvm => "microvm (ours)",
        Vmm::Qemu => "QEMU",
    }
}

/// Where the guest runs, as people write it.
pub fn place_name(place: Place) -> &'static str {
    match place {
        Place::Tcg => "with TCG",
        Place::Kvm => "on KVM",
        Place::Lab => "in the lab",
    }
}

/// The format of a kernel as people write it.
pub fn format_name(format: &str) -> &str {
    match format {
        "pvh" => "PVH",
        "bzimage" => "bzImage",
        other => other,
    }
}
