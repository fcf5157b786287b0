// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a script could not be run.

use super::MAX_BLOBS;
use crate::fw_cfg::{DirectoryError, TransferError};
use crate::words::{Speaker, Words, display, say};

/// What is wrong with the script.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LoaderError {
    /// A transfer failed.
    Transfer(TransferError),
    /// Not a whole number of commands.
    ScriptSize {
        /// Size in bytes of the script.
        found: usize,
    },
    /// A command makes no sense.
    Command {
        /// Its position in the script, from 0.
        index: usize,
        /// What is wrong with it.
        problem: Problem,
    },
    /// No place for a file.
    NoRoom {
        /// Size in bytes of the file.
        size: u64,
        /// Its alignment.
        align: u64,
    },
}

/// What is wrong with a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Problem {
    /// A transfer failed.
    Transfer(TransferError),
    /// The file directory, on another look.
    Directory(DirectoryError),
    /// A file name without its NUL.
    Unterminated,
    /// `fw_cfg` has no such file.
    NoSuchFile,
    /// The file is loaded already.
    Twice,
    /// The file has not been loaded.
    NotLoaded,
    /// More files than there is room for.
    TooManyFiles,
    /// An alignment that is none.
    Align(u32),
    /// A zone that does not exist.
    Zone(u8),
    /// A number of a size that numbers do not have.
    PointerSize(u8),
    /// A range that is not inside its file.
    Outside {
        /// Offset in the file.
        offset: u32,
        /// Length in bytes.
        length: u32,
        /// Size in bytes of the file.
        size: u32,
    },
}

impl Problem {
    /// The error of the command at `index`.
    pub const fn at(self, index: usize) -> LoaderError {
        match self {
            Self::Transfer(error) | Self::Directory(DirectoryError::Transfer(error)) => {
                LoaderError::Transfer(error)
            }
            problem => LoaderError::Command { index, problem },
        }
    }
}

impl From<TransferError> for LoaderError {
    fn from(error: TransferError) -> Self {
        Self::Transfer(error)
    }
}

impl From<TransferError> for Problem {
    fn from(error: TransferError) -> Self {
        Self::Transfer(error)
    }
}

impl From<DirectoryError> for Problem {
    fn from(error: DirectoryError) -> Self {
        Self::Directory(error)
    }
}

impl Words for LoaderError {
    fn say(&self, to: &mut Speaker<'_>) {
        match self {
            Self::Transfer(error) => error.say(to),
            Self::ScriptSize { found } => say!(
                to,
                "ACPI loader script: expected a whole number of 128-byte commands, \
                 found % bytes",
                found
            ),
            Self::Command { index, problem } => {
                say!(to, "ACPI loader command %: ", index);
                problem.say(to);
            }
            Self::NoRoom { size, align } => say!(
                to,
                "ACPI tables: expected room for # bytes at a multiple of #, found none",
                size,
                align
            ),
        }
    }
}

display!(LoaderError);

impl Words for Problem {
    fn say(&self, to: &mut Speaker<'_>) {
        match self {
            Self::Transfer(error) => error.say(to),
            Self::Directory(error) => error.say(to),
            Self::Unterminated => say!(to, "expected a file name that ends with a NUL, found none"),
            Self::NoSuchFile => say!(to, "expected a file of fw_cfg, found another name"),
            Self::Twice => say!(to, "expected a file once, found it a second time"),
            Self::NotLoaded => say!(to, "expected a file that is loaded, found one that is not"),
            Self::TooManyFiles => say!(to, "expected at most % files, found more", MAX_BLOBS),
            Self::Align(found) => {
                say!(
                    to,
                    "expected an alignment that is a power of two, found #",
                    found
                );
            }
            Self::Zone(found) => say!(to, "expected zone 1 or 2, found %", found),
            Self::PointerSize(found) => {
                say!(
                    to,
                    "expected a number of 1, 2, 4 or 8 bytes, found %",
                    found
                );
            }
            Self::Outside {
                offset,
                length,
                size,
            } => say!(
                to,
                "expected a range inside a file of # bytes, found # bytes at #",
                size,
                length,
                offset
            ),
        }
    }
}

display!(Problem);
