// SPDX-License-Identifier: MIT OR Apache-2.0
//! The checked-in table: a budget for every room, and what was found when it was saved.
//!
//! Only the budgets are enforced. What was found drifts with every change until it is saved again;
//! it is there to be read in a diff.

use std::fmt;

use super::rooms::{Rooms, Sizes};

/// The line for the image as a whole.
const WHOLE: &str = "image";
/// The line for its sections, long runs of zeros included.
const SECTIONS: &str = "sections";
/// The line for all rooms without one of their own.
const OTHERS: &str = "others";
const HEADER: &str = "\
# Occupied bytes of the ROM by room: what each may have, and what it had when this was saved.
# `cargo xtask check` enforces the budgets; `cargo xtask size --save` renews the last column.
";

/// One line.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Line {
    room: String,
    budget: usize,
    saved: usize,
    found: usize,
}

/// All lines, and what is found now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Table {
    lines: Vec<Line>,
    /// Rooms that share the line for [`OTHERS`].
    shared: Rooms,
}

impl Table {
    /// The table in `text`, to be filled with what was found.
    ///
    /// # Errors
    /// A line that is none, as a sentence.
    pub fn read(text: &str, sizes: &Sizes) -> Result<Self, String> {
        let content = |line: &&str| !line.is_empty() && !line.starts_with('#');
        let mut lines = text
            .lines()
            .filter(content)
            .map(Line::read)
            .collect::<Result<Vec<_>, _>>()?;
        for name in [WHOLE, SECTIONS, OTHERS] {
            if !lines.iter().any(|line| line.room == name) {
                return Err(format!("expected a line for `{name}`, found none"));
            }
        }
        let mut shared = sizes.rooms.clone();
        for line in &mut lines {
            line.found = shared.remove(&line.room).unwrap_or_default();
        }
        for line in &mut lines {
            match line.room.as_str() {
                WHOLE => line.found = sizes.rooms.values().sum(),
                SECTIONS => line.found = sizes.sections,
                OTHERS => line.found = shared.values().sum(),
                _ => {}
            }
        }
        Ok(Self { lines, shared })
    }

    /// A sentence for every room that outgrew its budget.
    pub fn over(&self) -> Vec<String> {
        self.lines
            .iter()
            .filter(|line| line.found > line.budget)
            .map(|line| {
                format!(
                    "{}: expected at most {} bytes of ROM, found {}",
                    line.room, line.budget, line.found
                )
            })
            .collect()
    }

    /// The text to check in, with what was found.
    pub fn saved(&self) -> String {
        let mut text = HEADER.to_owned();
        text += &format!("# {:<22} {:>8} {:>8}\n", "room", "budget", "found");
        for line in &self.lines {
            text += &format!("{:<24} {:>8} {:>8}\n", line.room, line.budget, line.found);
        }
        text
    }
}

impl Line {
    fn read(text: &str) -> Result<Self, String> {
        let fields: Vec<_> = text.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse().ok();
        match (fields.first(), number(1), number(2), fields.len()) {
            (Some(room), Some(budget), Some(saved), 3) => Ok(Self {
                room: (*room).to_owned(),
                budget,
                saved,
                found: 0,
            }),
            _ => Err(format!(
                "expected a room, its budget and what was found, found `{text}`"
            )),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:<24} {:>8} {:>8} {:>8}",
            "room", "budget", "found", "change"
        )?;
        for line in &self.lines {
            let change = line.found.cast_signed() - line.saved.cast_signed();
            let change = match change {
                0 => String::new(),
                _ => format!("{change:+}"),
            };
            let row = format!(
                "{:<24} {:>8} {:>8} {change:>8}",
                line.room, line.budget, line.found
            );
            writeln!(formatter, "{}", row.trim_end())?;
        }
        for (room, bytes) in &self.shared {
            writeln!(formatter, "  {room:<22} {:>8} {bytes:>8}", "")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const TEXT: &str =
        "# comment\nimage 100 90\nsections 200 190\nboot 50 40\ncore/plan 40 40\nothers 10 10\n";

    fn sizes(list: &[(&str, usize)]) -> Sizes {
        Sizes {
            rooms: list
                .iter()
                .map(|&(room, bytes)| (room.to_owned(), bytes))
                .collect(),
            sections: 190,
        }
    }

    #[test]
    fn a_room_that_outgrew_its_budget_is_named() {
        let found = sizes(&[("boot", 51), ("core/plan", 40)]);

        let table = Table::read(TEXT, &found).unwrap();

        assert_eq!(
            table.over(),
            ["boot: expected at most 50 bytes of ROM, found 51"]
        );
    }

    #[test]
    fn rooms_without_a_line_share_one_and_all_count_for_the_image() {
        let found = sizes(&[("boot", 50), ("core/plan", 40), ("a", 5), ("b", 6)]);

        let table = Table::read(TEXT, &found).unwrap();

        assert_eq!(
            table.over(),
            [
                "image: expected at most 100 bytes of ROM, found 101",
                "others: expected at most 10 bytes of ROM, found 11"
            ]
        );
    }

    #[test]
    fn what_is_saved_is_read_as_the_same_budgets() {
        let found = sizes(&[("boot", 30)]);
        let table = Table::read(TEXT, &found).unwrap();

        let again = Table::read(&table.saved(), &found).unwrap();

        assert_eq!(again.saved(), table.saved());
        assert!(again.to_string().lines().all(|line| !line.contains('+')));
        assert!(table.to_string().contains("-10"));
    }

    #[test]
    fn a_line_that_is_none_is_refused() {
        let none = Sizes::default();

        for (text, missing) in [("boot 1\n", "`boot 1`"), ("image 1 1\n", "`sections`")] {
            let refused = Table::read(text, &none).unwrap_err();
            assert!(refused.contains(missing), "{refused}");
        }
    }
}
