// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host file that was named on the command line: opened, sized, not yet believed.
//!
//! In: a path. Out: bytes by position, bounds checked against the size at opening.
//! Never: reads more than was asked for.

use crate::devices::fw_cfg::Content;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened.
    #[error("{role} {path}: expected a readable file, found: {source}")]
    Open {
        /// What it was to be.
        role: &'static str,
        /// Its path.
        path: PathBuf,
        /// The host's words.
        source: io::Error,
    },
    /// It is not a file.
    #[error("{role} {path}: expected a regular file, found {found}")]
    Kind {
        /// What it was to be.
        role: &'static str,
        /// Its path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// It is too large to offer.
    #[error("{role} {path}: expected less than 4 GiB, found {size} bytes")]
    Large {
        /// What it was to be.
        role: &'static str,
        /// Its path.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// It cannot be read, or shrank after it was opened.
    #[error("{role} {path}: expected {length} bytes at offset {offset}, found: {source}")]
    Read {
        /// What it was to be.
        role: &'static str,
        /// Its path.
        path: PathBuf,
        /// Position in bytes.
        offset: u64,
        /// Bytes asked for.
        length: u64,
        /// The host's words.
        source: io::Error,
    },
}

/// An opened file.
#[derive(Debug)]
pub struct Input {
    role: &'static str,
    path: PathBuf,
    file: Arc<File>,
    size: u64,
}

impl Input {
    /// Opens a regular file; `role` is what error messages call it.
    pub fn open(role: &'static str, path: &Path) -> Result<Self, Error> {
        let wrap = |source| Error::Open {
            role,
            path: path.into(),
            source,
        };
        // Opening a pipe would wait for somebody to write to it; for a regular file it is no
        // difference.
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .map_err(wrap)?;
        // Of what was opened: by its path, it may be another file by now.
        let metadata = file.metadata().map_err(wrap)?;
        if !metadata.is_file() {
            let found = if metadata.is_dir() {
                "a directory"
            } else {
                "a device or pipe"
            };
            return Err(Error::Kind {
                role,
                path: path.into(),
                found,
            });
        }
        Ok(Self {
            role,
            path: path.into(),
            size: metadata.len(),
            file: Arc::new(file),
        })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size in bytes when it was opened.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Up to `length` bytes from the start.
    pub(super) fn head(&self, length: usize) -> Result<Vec<u8>, Error> {
        let length = usize::try_from(self.size).unwrap_or(usize::MAX).min(length);
        self.bytes(0, length)
    }

    /// `length` bytes from `offset`. The caller has checked that the file has them.
    pub(super) fn bytes(&self, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; length];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(|source| Error::Read {
                role: self.role,
                path: self.path.clone(),
                offset,
                length: length as u64,
                source,
            })?;
        Ok(bytes)
    }

    /// `length` bytes from `offset` on, as item content that stays in the file. The caller has
    /// checked that the file has them.
    pub(super) fn part(&self, offset: u64, length: u32) -> Content {
        Content::File {
            file: Arc::clone(&self.file),
            offset,
            size: length,
        }
    }

    /// Everything from `offset` on, as item content that stays in the file.
    pub(super) fn into_content(self, offset: u64) -> Result<Content, Error> {
        let size = self.size.saturating_sub(offset);
        let Ok(size) = u32::try_from(size) else {
            return Err(Error::Large {
                role: self.role,
                path: self.path,
                size,
            });
        };
        Ok(Content::File {
            file: self.file,
            offset,
            size,
        })
    }
}
