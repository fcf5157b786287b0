// SPDX-License-Identifier: MIT OR Apache-2.0
//! One line for every case, and the last line of all.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::case::Outcome;

/// How many cases ended how.
#[derive(Debug)]
pub struct Summary {
    /// What is skipped counts as failed.
    require: bool,
    passed: usize,
    failed: usize,
    skipped: usize,
    outcomes: BTreeMap<String, Outcome>,
}

impl Summary {
    pub fn new(require: bool) -> Self {
        Self {
            require,
            passed: 0,
            failed: 0,
            skipped: 0,
            outcomes: BTreeMap::new(),
        }
    }

    /// Counts a case and says how it ended.
    pub fn add(&mut self, name: &str, outcome: &Outcome, took: Option<Duration>) {
        let took = took.map_or_else(String::new, |time| {
            format!(" ({:.1} s)", time.as_secs_f32())
        });
        println!("test {name} ... {outcome}{took}");
        self.count(outcome);
        self.outcomes.insert(name.to_owned(), outcome.clone());
    }

    /// How each case ended, by its name.
    pub fn outcomes(&self) -> &BTreeMap<String, Outcome> {
        &self.outcomes
    }

    fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Skipped(_) if !self.require => self.skipped += 1,
            Outcome::Skipped(_) | Outcome::Failed(_) => self.failed += 1,
        }
    }

    /// Whether nothing was run, because no name matched.
    pub fn is_empty(&self) -> bool {
        self.passed + self.failed + self.skipped == 0
    }

    pub fn failed(&self) -> usize {
        self.failed
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// The last lines of what a failed case said, and where the rest is.
pub fn show_log(path: &Path) {
    const LINES: usize = 15;
    let Ok(log) = fs::read(path) else { return };
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<_> = log.trim_end().lines().collect();
    for line in &lines[lines.len().saturating_sub(LINES)..] {
        println!("    | {line}");
    }
    println!("    the whole log: {}", path.display());
}

#[cfg(test)]
mod test {
    use super::*;

    fn summary(require: bool) -> Summary {
        let mut summary = Summary::new(require);
        summary.count(&Outcome::Passed);
        summary.count(&Outcome::Passed);
        summary.count(&Outcome::Failed("x".into()));
        summary.count(&Outcome::Skipped("y".into()));
        summary
    }

    #[test]
    fn the_last_line_counts_every_case() {
        assert_eq!(summary(false).to_string(), "2 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn what_is_required_may_not_be_skipped() {
        assert_eq!(summary(true).to_string(), "2 passed, 2 failed, 0 skipped");
        assert_eq!(summary(true).failed(), 2);
    }
}
