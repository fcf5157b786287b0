// SPDX-License-Identifier: MIT OR Apache-2.0
//! What was measured, for people and for machines.
//!
//! In: [`Results`]. Out: a table for the terminal, JSON, CSV and one page of HTML. Never: measures,
//! nor says a number that is not in the results or made of them.

mod groups;
mod json;
mod numbers;
mod sample;
mod spreadsheet;
mod text;

use std::path::{Path, PathBuf};

use super::model::Results;
use crate::error::Result;
use crate::workspace::write_atomically;

#[allow(unused_imports, reason = "what is measured comes later")]
pub use json::{json, read_json};
pub use spreadsheet::csv;
#[allow(unused_imports, reason = "what is measured comes later")]
pub use text::text;

/// Writes the results in every form that is a file: what was written, in this order.
pub fn write_all(directory: &Path, results: &Results) -> Result<Vec<PathBuf>> {
    let forms = [("bench.json", json(results)), ("bench.csv", csv(results))];
    forms
        .into_iter()
        .map(|(name, content)| {
            let path = directory.join(name);
            write_atomically(&path, content.as_bytes())?;
            Ok(path)
        })
        .collect()
}
