// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files out of a Debian package.
//!
//! Spec: deb(5): an `ar` archive whose member `data.tar`, with the ending of its compression,
//! holds the files.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::compression::Compression;
use crate::error::{Error, Result};

/// Goes through the package's regular files in their order until `take` says that it has
/// everything. `take` gets the path without the leading `./`.
pub fn extract(
    package: &Path,
    mut take: impl FnMut(&str, &mut dyn Read) -> io::Result<Progress>,
) -> Result<()> {
    let file = File::open(package).map_err(Error::file("open", package))?;
    let mut members = ar::Archive::new(BufReader::new(file));
    while let Some(member) = members.next_entry() {
        let member = member.map_err(Error::file("read", package))?;
        if member.header().identifier().starts_with(b"data.tar") {
            return files(member, &mut take).map_err(Error::file("unpack", package));
        }
    }
    Err(Error::Format {
        path: package.to_path_buf(),
        expected: "a Debian package",
        found: "no member data.tar".into(),
    })
}

/// Whether there is more to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Continue,
    Complete,
}

fn files(
    mut member: impl Read,
    take: &mut dyn FnMut(&str, &mut dyn Read) -> io::Result<Progress>,
) -> io::Result<()> {
    let mut magic = [0; 6];
    member.read_exact(&mut magic)?;
    let whole = io::Cursor::new(magic).chain(member);
    let plain: Box<dyn Read + '_> = match Compression::detect(&magic) {
        Some(compression) => compression.reader(whole)?,
        None => Box::new(whole),
    };
    for entry in tar::Archive::new(plain).entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path()?.to_string_lossy().into_owned();
        let path = path.strip_prefix("./").unwrap_or(&path);
        if take(path, &mut entry)? == Progress::Complete {
            break;
        }
    }
    Ok(())
}
