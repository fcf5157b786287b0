// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tests/budgets.toml`: what our firmware may cost on each machine.
//!
//! In: the text, and what was measured. Out: the text anew, sentences about what grew. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;

use super::table::Symbols;
use crate::bench::model::{Measured, Phase};

const HEADER: &str = "\
# What our firmware may cost from reset to the kernel's first instruction, counted by QEMU's emulator:
# instructions, and accesses of ports and of device memory. `cargo xtask test budget` holds it to
# these numbers and to those of every phase; `symbols.txt` tells which functions they come from. Exits
# are counted by our monitor on KVM, where the emulator has none.
# `cargo xtask bench --save` lowers them to what is found; `--save --raise` also raises them.

";

/// All budgets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// The version of QEMU that they are for; another one makes other tables for its guest.
    pub qemu: String,
    /// Occupied bytes of the ROM image.
    pub rom_bytes: u64,
    /// From reset to the kernel's first instruction in our monitor, by the name of the boot.
    #[serde(default)]
    pub exits: BTreeMap<String, u64>,
    /// By the name of the boot.
    pub boots: BTreeMap<String, Budget>,
}

/// Of one boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    pub instructions: u64,
    /// Accesses of ports.
    pub ports: u64,
    /// Accesses of device memory, without the local APIC.
    pub mmio: u64,
    /// In the order of the boot when written.
    pub phases: BTreeMap<String, PhaseBudget>,
}

/// Of one phase of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseBudget {
    pub instructions: u64,
    pub accesses: u64,
}

/// A number that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub what: String,
    pub old: u64,
    pub new: u64,
    /// The functions that changed it, the most to blame first.
    pub functions: Vec<String>,
}

/// How many functions a sentence names.
const NAMED: usize = 6;

impl Change {
    pub fn grew(&self) -> bool {
        self.new > self.old
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} → {}", self.what, self.old, self.new)?;
        if self.functions.is_empty() {
            return Ok(());
        }
        let (named, more) = self.functions.split_at(self.functions.len().min(NAMED));
        write!(formatter, " ({}", named.join(", "))?;
        match more.len() {
            0 => formatter.write_str(")"),
            count => write!(formatter, ", and {count} more)"),
        }
    }
}

impl Budgets {
    /// Reads the text, or says in one sentence what is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| {
                let before = text.get(..span.start).unwrap_or_default();
                1 + before.bytes().filter(|byte| *byte == b'\n').count()
            });
            let message = error.message().replace('\n', " ");
            line.map_or_else(|| message.clone(), |line| format!("line {line}: {message}"))
        })
    }

    /// The text to check in; `order` has the names of the phases.
    pub fn saved(&self, order: &[&str]) -> String {
        let mut text = HEADER.to_owned();
        text += &format!("qemu = {:?}\n", self.qemu);
        text += &format!("rom_bytes = {}\n", self.rom_bytes);
        text += "\n[exits]\n";
        for (name, exits) in &self.exits {
            text += &format!("{name} = {exits}\n");
        }
        for (name, boot) in &self.boots {
            text += &format!("\n[boots.{name}]\n");
            text += &format!("instructions = {}\n", boot.instructions);
            text += &format!("ports = {}\nmmio = {}\n", boot.ports, boot.mmio);
            text += &format!("\n[boots.{name}.phases]\n");
            for phase in order {
                if let Some(budget) = boot.phases.get(*phase) {
                    let PhaseBudget {
                        instructions,
                        accesses,
                    } = budget;
                    let name = format!("{phase:?}");
                    text += &format!(
                        "{name:<20} = {{ instructions = {instructions}, accesses = {accesses} }}\n"
                    );
                }
            }
        }
        text
    }
}

impl From<&Measured> for Budget {
    fn from(measured: &Measured) -> Self {
        let counts = &measured.counts;
        let sum = |a: Option<u64>, b: Option<u64>| a.unwrap_or(0) + b.unwrap_or(0);
        let phase = |phase: &Phase| {
            let budget = PhaseBudget {
                instructions: phase.instructions.unwrap_or(0),
                accesses: phase.accesses.unwrap_or(0),
            };
            (phase.name.clone(), budget)
        };
        Self {
            instructions: counts.instructions.unwrap_or(0),
            ports: sum(counts.port_reads, counts.port_writes),
            mmio: sum(counts.mmio_reads, counts.mmio_writes),
            phases: measured.phases.iter().map(phase).collect(),
        }
    }
}

impl Budget {
    /// What has changed from this to `found`, the totals first; the functions are those of the boot
    /// called `name`, and `order` has the names of the phases.
    pub fn changes(
        &self,
        found: &Self,
        order: &[&str],
        name: &str,
        functions: (&Symbols, &Symbols),
    ) -> Vec<Change> {
        let mut changes = vec![
            total("instructions", self.instructions, found.instructions),
            total("port accesses", self.ports, found.ports),
            total("accesses of device memory", self.mmio, found.mmio),
        ];
        let known = order.iter().map(|phase| (*phase).to_owned());
        let unknown = self
            .phases
            .keys()
            .filter(|phase| !order.contains(&phase.as_str()));
        for phase in known.chain(unknown.cloned()) {
            let of = |budget: &Self| budget.phases.get(&phase).copied().unwrap_or_default();
            let (old, new) = (of(self), of(found));
            let sums = (functions.0.of(name, &phase), functions.1.of(name, &phase));
            changes.push(Change {
                what: format!("{phase}: instructions"),
                old: old.instructions,
                new: new.instructions,
                functions: changed(&sums.0, &sums.1, |sum| sum.0),
            });
            changes.push(Change {
                what: format!("{phase}: accesses"),
                old: old.accesses,
                new: new.accesses,
                functions: changed(&sums.0, &sums.1, |sum| sum.1),
            });
        }
        changes.retain(|change| change.old != change.new);
        changes
    }

    /// The lower of both numbers everywhere; what is not found any more is gone.
    pub fn lowered(&self, found: &Self) -> Self {
        let phases = found.phases.iter().map(|(name, found)| {
            let old = self.phases.get(name).copied().unwrap_or_default();
            let lowered = PhaseBudget {
                instructions: old.instructions.min(found.instructions),
                accesses: old.accesses.min(found.accesses),
            };
            (name.clone(), lowered)
        });
        Self {
            instructions: self.instructions.min(found.instructions),
            ports: self.ports.min(found.ports),
            mmio: self.mmio.min(found.mmio),
            phases: phases.collect(),
        }
    }
}

/// Instructions and accesses by function.
pub type Sums = BTreeMap<String, (u64, u64)>;

/// A sum that no function is told of.
pub fn total(what: &str, old: u64, new: u64) -> Change {
    Change {
        what: what.to_owned(),
        old,
        new,
        functions: Vec::new(),
    }
}

/// The functions whose number changed: first what changed most in the direction of the sum.
fn changed(old: &Sums, new: &Sums, which: impl Fn(&(u64, u64)) -> u64) -> Vec<String> {
    let of = |sums: &Sums, name: &str| sums.get(name).map_or(0, &which);
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let mut changes: Vec<_> = names
        .into_iter()
        .map(|name| (name, of(old, name), of(new, name)))
        .filter(|(_, old, new)| old != new)
        .collect();
    let growth = |old: u64, new: u64| new.cast_signed() - old.cast_signed();
    let sum: i64 = changes.iter().map(|(_, old, new)| growth(*old, *new)).sum();
    changes.sort_by_key(|(_, old, new)| -growth(*old, *new) * sum.signum());
    let words = changes.iter();
    words
        .map(|(name, old, new)| format!("{name} {old} → {new}"))
        .collect()
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::bench::model::{Counts, SymbolCount};

    const TEXT: &str = "\
qemu = \"7.2\"
rom_bytes = 100

[exits]
microvm-pvh = 2

[boots.pc-pvh]
instructions = 30
ports = 2
mmio = 0

[boots.pc-pvh.phases]
\"way in\" = { instructions = 10, accesses = 0 }
facts = { instructions = 20, accesses = 2 }
";

    fn measured(facts: u64, accesses: u64) -> Measured {
        let phase = |name: &str, instructions, accesses| Phase {
            name: name.into(),
            instructions: Some(instructions),
            accesses: Some(accesses),
            time: None,
        };
        let symbol = |phase: &str, symbol: &str, count, accesses| SymbolCount {
            phase: phase.into(),
            symbol: symbol.into(),
            count,
            accesses,
        };
        Measured {
            phases: vec![phase("way in", 10, 0), phase("facts", facts, accesses)],
            counts: Counts {
                instructions: Some(10 + facts),
                port_reads: Some(accesses),
                port_writes: Some(0),
                mmio_reads: Some(0),
                mmio_writes: Some(0),
                symbols: vec![
                    symbol("way in", "real16", 10, 0),
                    symbol("facts", "core/facts::gather", facts - 5, accesses),
                    symbol("facts", "memcpy", 5, 0),
                ],
                ..Counts::default()
            },
            ..Measured::default()
        }
    }

    fn changes(facts: u64, accesses: u64) -> Vec<String> {
        let budgets = Budgets::read(TEXT).unwrap();
        let symbols = |measured: &Measured| {
            let mut symbols = Symbols::default();
            symbols.set("pc-pvh", measured);
            symbols
        };
        let found = measured(facts, accesses);
        let changes = budgets.boots["pc-pvh"].changes(
            &Budget::from(&found),
            &["way in", "facts"],
            "pc-pvh",
            (&symbols(&measured(20, 2)), &symbols(&found)),
        );
        changes.iter().map(Change::to_string).collect()
    }

    #[test]
    fn what_changed_is_named_by_phase_and_function() {
        assert_eq!(
            changes(22, 3),
            [
                "instructions 30 → 32",
                "port accesses 2 → 3",
                "facts: instructions 20 → 22 (core/facts::gather 15 → 17)",
                "facts: accesses 2 → 3 (core/facts::gather 2 → 3)",
            ]
        );
        assert_eq!(changes(19, 2).len(), 2);
        assert!(changes(20, 2).is_empty());
    }

    #[test]
    fn a_phase_that_is_gone_or_has_another_name_has_changed() {
        let mut found = measured(20, 2);
        found.phases[1].name = "truths".into();
        let budgets = Budgets::read(TEXT).unwrap();
        let none = Symbols::default();

        let changes = budgets.boots["pc-pvh"].changes(
            &Budget::from(&found),
            &["way in", "truths"],
            "pc-pvh",
            (&none, &none),
        );

        let grew: Vec<_> = changes.iter().filter(|change| change.grew()).collect();
        assert_eq!(grew[0].to_string(), "truths: instructions 0 → 20");
        assert_eq!(changes.len(), 4);
    }

    #[test]
    fn lowering_raises_nothing() {
        let budgets = Budgets::read(TEXT).unwrap();
        let budget = &budgets.boots["pc-pvh"];

        let lowered = budget.lowered(&Budget::from(&measured(25, 1)));

        assert_eq!(lowered.phases["facts"].instructions, 20);
        assert_eq!(lowered.phases["facts"].accesses, 1);
        assert_eq!((lowered.instructions, lowered.ports), (30, 1));
    }

    #[test]
    fn what_is_saved_is_read_as_the_same() {
        let budgets = Budgets::read(TEXT).unwrap();

        let text = budgets.saved(&["way in", "facts"]);

        assert_eq!(Budgets::read(&text).unwrap(), budgets);
        assert!(text.find("way in").unwrap() < text.find("facts").unwrap());
    }

    #[test]
    fn an_unknown_key_is_refused_in_one_sentence() {
        let text = TEXT.replace("mmio", "memory");

        let refused = Budgets::read(&text).unwrap_err();

        assert!(
            refused.starts_with("line 10: unknown field `memory`"),
            "{refused}"
        );
        assert_eq!(refused.lines().count(), 1);
    }

    #[test]
    fn a_number_that_is_none_is_refused() {
        for (old, new) in [("= 30", "= \"30\""), ("= 30", "= -1"), ("qemu", "")] {
            assert!(Budgets::read(&TEXT.replacen(old, new, 1)).is_err(), "{new}");
        }
    }
}
