// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can go wrong in this tool, each with what was expected and what was found.
//!
//! Printed once, by `main`, as a sentence.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the tool or of something that it started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },

    /// A program could not be started.
    #[error("cannot start {}: {source}", program.display())]
    Start {
        program: OsString,
        source: io::Error,
    },

    /// A program ended otherwise than with status 0.
    #[error("`{command}` ended with {status}{}", detail(output))]
    Ended {
        command: String,
        status: ExitStatus,
        output: String,
    },

    /// Bytes that are not in the format that they should be in.
    #[error("{} is not {expected}: {found}", path.display())]
    Format {
        path: PathBuf,
        expected: &'static str,
        found: String,
    },

    /// Something that has to be on the machine is not there.
    #[error("{what} is missing: {remedy}")]
    Missing { what: String, remedy: String },

    /// A virtual machine did not do what it was started for.
    #[error("{0}")]
    Guest(String),

    /// Rules of the tree that some file does not keep.
    #[error("{} broken:\n  {}", .0.len(), .0.join("\n  "))]
    Invariants(Vec<String>),

    /// Rooms that take more of the ROM than they may.
    #[error("{}", .0.join("; "))]
    Budgets(Vec<String>),

    /// The images could not be built.
    #[error("{0}")]
    Build(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// For `map_err` on a file operation: `.map_err(Error::file("read", path))`.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}

/// The last lines of a program's output, on lines of their own.
fn detail(output: &str) -> String {
    let lines: Vec<_> = output.trim_end().lines().collect();
    let tail = &lines[lines.len().saturating_sub(12)..];
    if tail.is_empty() {
        String::new()
    } else {
        format!("; its last words:\n  {}", tail.join("\n  "))
    }
}
