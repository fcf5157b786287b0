// SPDX-License-Identifier: MIT OR Apache-2.0
//! What was taken out of packages, kept under `target/guest/PACKAGE/VERSION/`.
//!
//! A directory appears whole, by one rename, with a stamp that lists size and CRC-32 of every
//! file; one that no longer fits its stamp is made again.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::packages::{self, Package};
use crate::workspace::{Workspace, read};

/// Two cases that miss the same package do not download it twice.
static MAKING: Mutex<()> = Mutex::new(());

const STAMP: &str = "stamp";

/// A file to keep: its name and its bytes.
pub type Part = (String, Vec<u8>);

/// What is wanted of which package.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The package.
    pub name: &'a str,
    /// Whether it only names the current one, which is its first dependency.
    pub versioned: bool,
    /// Files that have to be among what is kept; a directory from before they were is made again.
    pub files: &'a [&'a str],
}

/// The directory that holds what `make` takes out of a package.
///
/// A version that is there already is used as it is, without asking the package lists, unless
/// `update` says to.
pub fn obtain(
    workspace: &Workspace,
    wanted: &Wanted<'_>,
    update: bool,
    make: impl FnOnce(&Path) -> Result<Vec<Part>>,
) -> Result<PathBuf> {
    let Wanted {
        name,
        versioned,
        files,
    } = *wanted;
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let shelf = workspace.target.join("guest").join(name);
    if !update && let Some(directory) = newest(&shelf) {
        match damage(&directory, files) {
            None => return Ok(directory),
            Some(what) => eprintln!("xtask: {what}; making {} again", directory.display()),
        }
    }
    let mut package = packages::look_up(name)?;
    if versioned && let Some(dependency) = package.first_dependency.take() {
        package = packages::look_up(&dependency)?;
    }
    let directory = shelf.join(key(&package));
    if directory.is_dir() {
        if damage(&directory, files).is_none() {
            return Ok(directory);
        }
        fs::remove_dir_all(&directory).map_err(Error::file("remove", &directory))?;
    }
    let partial = shelf.join(format!("{}.{}.partial", key(&package), std::process::id()));
    let deb = packages::download(&package, &partial)?;
    let parts = make(&deb)?;
    fs::remove_file(&deb).map_err(Error::file("remove", &deb))?;
    keep(&partial, &parts)?;
    match fs::rename(&partial, &directory) {
        // Another process was faster; its files are the same.
        Err(_) if directory.is_dir() => {
            fs::remove_dir_all(&partial).map_err(Error::file("remove", &partial))?;
        }
        result => result.map_err(Error::file("rename to", &directory))?,
    }
    Ok(directory)
}

/// A directory name for a version of a package. An epoch's colon is not welcome in a path list.
fn key(package: &Package) -> String {
    format!("{}_{}", package.name, package.version.replace(':', "%3a"))
}

fn newest(shelf: &Path) -> Option<PathBuf> {
    let stamped = |path: &Path| -> Option<SystemTime> {
        fs::metadata(path.join(STAMP)).ok()?.modified().ok()
    };
    fs::read_dir(shelf)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_none_or(|extension| extension != "partial")
        })
        .filter_map(|path| Some((stamped(&path)?, path)))
        .max()
        .map(|(_, path)| path)
}

fn keep(directory: &Path, parts: &[Part]) -> Result<()> {
    let mut stamp = String::new();
    for (name, bytes) in parts {
        let path = directory.join(name);
        fs::write(&path, bytes).map_err(Error::file("write", &path))?;
        // Writing to a string cannot fail.
        let _ = writeln!(stamp, "{}", line(name, bytes));
    }
    let path = directory.join(STAMP);
    fs::write(&path, stamp).map_err(Error::file("write", &path))
}

fn line(name: &str, bytes: &[u8]) -> String {
    format!("{:08x} {} {name}", crc32fast::hash(bytes), bytes.len())
}

/// What is wrong with a kept directory, if anything is.
fn damage(directory: &Path, files: &[&str]) -> Option<String> {
    let stamp = match fs::read_to_string(directory.join(STAMP)) {
        Ok(stamp) => stamp,
        Err(error) => return Some(format!("{} has no stamp: {error}", directory.display())),
    };
    let kept = |file: &&&str| {
        stamp
            .lines()
            .any(|line| line.rsplit(' ').next() == Some(**file))
    };
    if let Some(file) = files.iter().find(|file| !kept(file)) {
        return Some(format!("{} has no {file}", directory.display()));
    }
    stamp.lines().find_map(|expected| {
        let name = expected.splitn(3, ' ').nth(2).unwrap_or_default();
        let path = directory.join(name);
        match read(&path) {
            Ok(bytes) if line(name, &bytes) == expected => None,
            Ok(_) => Some(format!("{} is damaged", path.display())),
            Err(error) => Some(error.to_string()),
        }
    })
}

#[cfg(test)]
mod test {
    use super::*;

    /// A kept directory with one file, under a name of its own.
    fn kept(test: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("xtask-{test}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        keep(&directory, &[("kernel".into(), b"abc".to_vec())]).unwrap();
        directory
    }

    #[test]
    fn an_untouched_directory_is_whole() {
        let directory = kept("whole");

        assert_eq!(damage(&directory, &["kernel"]), None);

        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_changed_file_is_damage() {
        let directory = kept("changed");
        fs::write(directory.join("kernel"), b"abd").unwrap();

        assert!(damage(&directory, &[]).unwrap().contains("is damaged"));

        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_missing_file_is_damage() {
        let directory = kept("missing");
        fs::remove_file(directory.join("kernel")).unwrap();

        assert!(damage(&directory, &[]).is_some());

        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_file_that_was_not_kept_is_damage() {
        let directory = kept("older");

        assert!(
            damage(&directory, &["kernel", "module"])
                .unwrap()
                .contains("has no module")
        );

        fs::remove_dir_all(directory).unwrap();
    }
}
