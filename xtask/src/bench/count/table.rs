// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tests/symbols.txt`: which functions the budgets' numbers come from.
//!
//! In: the text, or what was measured. Out: the text, sums. Pure.

use std::collections::BTreeMap;

use super::budgets::Sums;
use crate::bench::model::Measured;

const HEADER: &str = "\
# Instructions of our firmware by phase and function, and after a slash accesses; a column for each
# boot of `budgets.toml`. Written by `cargo xtask bench --save`; it names what grew, and limits
# nothing.

";

/// What a line begins with that names the columns.
const COLUMNS: &str = "boots";

/// Instructions and accesses by boot, phase and function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols(BTreeMap<String, BTreeMap<String, Sums>>);

impl Symbols {
    /// Those of one phase of one boot.
    pub fn of(&self, boot: &str, phase: &str) -> Sums {
        let phases = self.0.get(boot);
        let sums = phases.and_then(|phases| phases.get(phase));
        sums.cloned().unwrap_or_default()
    }

    /// Takes those of a boot.
    pub fn set(&mut self, boot: &str, measured: &Measured) {
        let mut phases = BTreeMap::<String, Sums>::new();
        for symbol in &measured.counts.symbols {
            let sums = phases.entry(symbol.phase.clone()).or_default();
            sums.insert(symbol.symbol.clone(), (symbol.count, symbol.accesses));
        }
        self.0.insert(boot.to_owned(), phases);
    }

    /// Takes those of one phase.
    pub fn set_phase(&mut self, boot: &str, phase: &str, sums: Sums) {
        let phases = self.0.entry(boot.to_owned()).or_default();
        phases.insert(phase.to_owned(), sums);
    }

    /// Reads the text, or says in one sentence what is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut symbols = Self::default();
        let mut boots = Vec::new();
        let mut phase = None;
        for (number, line) in (1..).zip(text.lines()) {
            let wrong = |what: &str| format!("line {number}: expected {what}, found `{line}`");
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            if !line.starts_with(' ') && boots.is_empty() {
                if words.next() != Some(COLUMNS) {
                    return Err(wrong("the names of the boots"));
                }
                boots = words.map(str::to_owned).collect();
                continue;
            }
            if !line.starts_with(' ') {
                phase = Some(line);
                continue;
            }
            let (Some(phase), Some(symbol)) = (phase, words.next()) else {
                return Err(wrong("a phase first"));
            };
            let sums: Option<Vec<_>> = words.map(sum).collect();
            let sums = sums.filter(|sums| sums.len() == boots.len());
            let Some(sums) = sums else {
                return Err(wrong("a function and a number for each boot"));
            };
            for (boot, sum) in boots.iter().zip(sums).filter(|(_, sum)| *sum != (0, 0)) {
                let phases = symbols.0.entry(boot.clone()).or_default();
                let sums = phases.entry(phase.to_owned()).or_default();
                sums.insert(symbol.to_owned(), sum);
            }
        }
        Ok(symbols)
    }

    /// The text to check in; `order` has the names of the phases.
    pub fn saved(&self, order: &[&str]) -> String {
        let mut text = HEADER.to_owned();
        text += COLUMNS;
        for boot in self.0.keys() {
            text += &format!(" {boot}");
        }
        text.push('\n');
        for phase in order {
            let phases = || self.0.values().map(|phases| phases.get(*phase));
            let names: std::collections::BTreeSet<_> =
                phases().flatten().flat_map(BTreeMap::keys).collect();
            if !names.is_empty() {
                text += &format!("\n{phase}\n");
            }
            for name in names {
                let sum = |sums: Option<&Sums>| {
                    let sum = sums.and_then(|sums| sums.get(name)).copied();
                    shown(sum.unwrap_or_default())
                };
                let columns: Vec<_> = phases().map(sum).collect();
                let columns: String = columns.iter().map(|sum| format!(" {sum:>6}")).collect();
                text += &format!("  {name:<44}{columns}\n");
            }
        }
        text
    }
}

/// `12` or `12/3`.
fn sum(word: &str) -> Option<(u64, u64)> {
    match word.split_once('/') {
        None => Some((word.parse().ok()?, 0)),
        Some((instructions, accesses)) => {
            Some((instructions.parse().ok()?, accesses.parse().ok()?))
        }
    }
}

fn shown((instructions, accesses): (u64, u64)) -> String {
    match accesses {
        0 => instructions.to_string(),
        _ => format!("{instructions}/{accesses}"),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const TEXT: &str = "\
# comment
boots a b

way in
  real16 10 10

facts
  core/facts::gather 12/3 0
  memcpy 0 7
";

    #[test]
    fn a_function_has_a_number_for_each_boot() {
        let symbols = Symbols::read(TEXT).unwrap();

        assert_eq!(symbols.of("a", "way in")["real16"], (10, 0));
        assert_eq!(symbols.of("a", "facts")["core/facts::gather"], (12, 3));
        assert_eq!(symbols.of("b", "facts").len(), 1);
        assert!(symbols.of("c", "facts").is_empty());
    }

    #[test]
    fn what_is_saved_is_read_as_the_same() {
        let symbols = Symbols::read(TEXT).unwrap();

        let text = symbols.saved(&["way in", "facts"]);

        assert_eq!(Symbols::read(&text).unwrap(), symbols);
    }

    #[test]
    fn a_line_that_is_none_is_refused() {
        for (text, line) in [
            ("facts\n", "line 1"),
            ("boots a\n  f 1\n", "line 2"),
            ("boots a\nfacts\n  f\n", "line 3"),
            ("boots a\nfacts\n  f 1 2\n", "line 3"),
            ("boots a\nfacts\n  f 1/x\n", "line 3"),
        ] {
            let refused = Symbols::read(text).unwrap_err();
            assert!(refused.starts_with(line), "{refused}");
        }
    }
}
