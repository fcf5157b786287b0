// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why the VMM's SMBIOS files make no sense.

use crate::acpi::Problem;
use crate::words::{Speaker, Words, display, say};

/// What is wrong with the anchor or the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SmbiosError {
    /// The files have no place of their own.
    File(Problem),
    /// An anchor that is neither a 2.1 nor a 3.0 entry point of its own length.
    Anchor {
        /// Its first four bytes, little-endian.
        found: u32,
        /// Size in bytes of the file.
        size: usize,
    },
    /// A table longer than its file, or than a 2.1 entry point can say.
    TableLength {
        /// Its length in bytes.
        found: u32,
        /// The longest it can be.
        limit: u32,
    },
    /// A structure that passes the table's end, or is too short to be one.
    Structure {
        /// Its offset in the table.
        offset: usize,
    },
}

impl Words for SmbiosError {
    fn say(&self, to: &mut Speaker<'_>) {
        match self {
            Self::File(problem) => {
                say!(to, "SMBIOS files: ");
                problem.say(to);
            }
            Self::Anchor { found, size } => say!(
                to,
                "SMBIOS anchor: expected _SM_ and _DMI_ in 31 bytes or _SM3_ in 24, \
                 found # in %",
                found,
                size
            ),
            Self::TableLength { found, limit } => say!(
                to,
                "SMBIOS table: expected at most % bytes, found %",
                limit,
                found
            ),
            Self::Structure { offset } => say!(
                to,
                "SMBIOS structure at #: expected its end in the table, found none",
                offset
            ),
        }
    }
}

display!(SmbiosError);
