// SPDX-License-Identifier: MIT OR Apache-2.0
//! What was measured, for people and for machines.
//!
//! In: [`Results`]. Out: a table for the terminal, JSON, CSV and one page of HTML. Never: measures,
//! nor says a number that is not in the results or made of them.

mod against;
mod groups;
mod html;
mod json;
mod numbers;
pub mod sample;
mod spreadsheet;
mod text;

use std::path::{Path, PathBuf};

use super::model::Results;
use crate::error::Result;
use crate::workspace::write_atomically;

pub use against::against;
pub use groups::{firmware, setup};
pub use html::html;
pub use json::{json, read_json};
pub use numbers::whole;
pub use spreadsheet::csv;
pub use text::text;

/// Writes the results in every form that is a file: what was written, in this order.
pub fn write_all(directory: &Path, results: &Results) -> Result<Vec<PathBuf>> {
    let forms = [
        ("bench.json", json(results)),
        ("bench.csv", csv(results)),
        ("bench.html", html(results)),
    ];
    forms
        .into_iter()
        .map(|(name, content)| {
            let path = directory.join(name);
            write_atomically(&path, content.as_bytes())?;
            Ok(path)
        })
        .collect()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_form_is_written_and_only_that() {
        let name = format!("qboot-rs-report-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let results = sample::small();

        let written = write_all(&directory, &results).expect("the directory can be made");

        let names = ["bench.json", "bench.csv", "bench.html"].map(|name| directory.join(name));
        assert_eq!(written, names);
        let found = std::fs::read_dir(&directory).expect("it is there").count();
        let read = read_json(&names[0]).expect("it was just written");
        std::fs::remove_dir_all(&directory).expect("it is there");
        assert_eq!(found, names.len());
        assert_eq!(read, results);
    }
}
