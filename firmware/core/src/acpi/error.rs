// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a script could not be run.

use super::MAX_BLOBS;
use crate::fw_cfg::{DirectoryError, TransferError};
use core::fmt;

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

impl fmt::Display for LoaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transfer(error) => error.fmt(f),
            Self::ScriptSize { found } => write!(
                f,
                "ACPI loader script: expected a whole number of 128-byte commands, \
                 found {found} bytes"
            ),
            Self::Command { index, problem } => {
                write!(f, "ACPI loader command {index}: {problem}")
            }
            Self::NoRoom { size, align } => write!(
                f,
                "ACPI tables: expected room for {size:#x} bytes at a multiple of {align:#x}, \
                 found none"
            ),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transfer(error) => error.fmt(f),
            Self::Directory(error) => error.fmt(f),
            Self::Unterminated => {
                f.write_str("expected a file name that ends with a NUL, found none")
            }
            Self::NoSuchFile => f.write_str("expected a file of fw_cfg, found another name"),
            Self::Twice => f.write_str("expected a file once, found it a second time"),
            Self::NotLoaded => f.write_str("expected a file that is loaded, found one that is not"),
            Self::TooManyFiles => write!(f, "expected at most {MAX_BLOBS} files, found more"),
            Self::Align(found) => {
                write!(
                    f,
                    "expected an alignment that is a power of two, found {found:#x}"
                )
            }
            Self::Zone(found) => write!(f, "expected zone 1 or 2, found {found}"),
            Self::PointerSize(found) => {
                write!(f, "expected a number of 1, 2, 4 or 8 bytes, found {found}")
            }
            Self::Outside {
                offset,
                length,
                size,
            } => write!(
                f,
                "expected a range inside a file of {size:#x} bytes, \
                 found {length:#x} bytes at {offset:#x}"
            ),
        }
    }
}
