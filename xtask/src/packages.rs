// SPDX-License-Identifier: MIT OR Apache-2.0
//! The distribution's packages, by its own package manager.
//!
//! Never: installs anything without root, or anything when the programs are there already.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::process::{capture, run_quietly};

/// A package as the package lists know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// The first package that it depends on.
    pub first_dependency: Option<String>,
}

/// Whether a program is in the search path.
pub fn found(program: &str) -> bool {
    locate(program).is_some()
}

/// Where a program is. A user's search path may lack the directory for the administrator's.
pub fn locate(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// Makes sure that a program is there, and says where: installs its packages when root, otherwise
/// says how to.
pub fn require(program: &str, packages: &[&str]) -> Result<PathBuf> {
    if let Some(path) = locate(program) {
        return Ok(path);
    }
    let missing = |remedy: String| Error::Missing {
        what: format!("`{program}`"),
        remedy,
    };
    let list = packages.join(" ");
    if !found("apt-get") {
        return Err(missing(format!(
            "install what your distribution calls {list}"
        )));
    }
    if !is_root() {
        return Err(missing(format!(
            "run `sudo apt-get install -y --no-install-recommends {list}`"
        )));
    }
    eprintln!("xtask: `{program}` is missing; installing {list}");
    let install = || {
        run_quietly(
            &format!("installing {list}"),
            Command::new("apt-get")
                .args(["install", "-y", "--no-install-recommends"])
                .args(packages)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
    };
    if install().is_err() {
        update()?;
        install()?;
    }
    locate(program).ok_or_else(|| missing(format!("the packages {list} did not bring it")))
}

/// What the package lists say of a package. With root, missing lists are fetched first.
pub fn look_up(name: &str) -> Result<Package> {
    if !found("apt-get") || !found("apt-cache") {
        return Err(Error::Missing {
            what: "`apt-get`".into(),
            remedy: "on this distribution give your own files: --kernel PATH and --initrd PATH"
                .into(),
        });
    }
    if let Some(package) = show(name)? {
        return Ok(package);
    }
    if !is_root() {
        return Err(Error::Missing {
            what: format!("the package `{name}` in the package lists"),
            remedy: "run `sudo apt-get update`, or give your own files: --kernel PATH and \
                     --initrd PATH"
                .into(),
        });
    }
    update()?;
    show(name)?.ok_or_else(|| Error::Missing {
        what: format!("the package `{name}` in the package lists"),
        remedy: "give your own files: --kernel PATH and --initrd PATH".into(),
    })
}

/// Downloads a package of exactly this version into a directory: the path of the `.deb`.
///
/// The package manager checks it against the signed lists. No root is needed.
pub fn download(package: &Package, directory: &Path) -> Result<PathBuf> {
    fs::create_dir_all(directory).map_err(Error::file("create", directory))?;
    let fetch = || {
        run_quietly(
            &format!("downloading {} {}", package.name, package.version),
            Command::new("apt-get")
                // As root apt drops to a user of its own, which cannot write here.
                .args(["-o", "APT::Sandbox::User=root", "download"])
                .arg(format!("{}={}", package.name, package.version))
                .current_dir(directory),
        )
    };
    if let Err(error) = fetch() {
        if !is_root() {
            return Err(error);
        }
        // Old lists name versions that the mirror no longer has.
        update()?;
        fetch()?;
    }
    for entry in fs::read_dir(directory).map_err(Error::file("list", directory))? {
        let path = entry.map_err(Error::file("list", directory))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(&format!("{}_", package.name)) && name.ends_with(".deb") {
            return Ok(path);
        }
    }
    Err(Error::Missing {
        what: format!("the downloaded package `{}`", package.name),
        remedy: format!(
            "`apt-get download` left no such file in {}",
            directory.display()
        ),
    })
}

fn update() -> Result<()> {
    run_quietly(
        "updating the package lists",
        Command::new("apt-get").arg("update"),
    )
    .map(drop)
}

/// Whether this process may install packages.
pub fn is_root() -> bool {
    // The owner of a process's own entry is its effective user.
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0)
}

fn show(name: &str) -> Result<Option<Package>> {
    let (status, text) =
        capture(Command::new("apt-cache").args(["show", "--no-all-versions", name]))?;
    Ok(status.success().then(|| parse(&text)).flatten())
}

/// The first paragraph of a package list.
fn parse(text: &str) -> Option<Package> {
    let field = |key: &str| {
        text.lines()
            .take_while(|line| !line.is_empty())
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
    };
    let first_dependency = field("Depends").and_then(|list| {
        let first = list.split([',', '|']).next()?;
        first.split_whitespace().next().map(str::to_owned)
    });
    Some(Package {
        name: field("Package")?.to_owned(),
        version: field("Version")?.to_owned(),
        first_dependency,
    })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_versioned_kernel_is_the_first_dependency() {
        let text = "Package: linux-image-x\nVersion: 6.1-2\n\
                    Depends: linux-image-6.1.0-5-x (= 6.1-2), y\n\nPackage: other\n";

        let package = parse(text);

        assert_eq!(
            package,
            Some(Package {
                name: "linux-image-x".into(),
                version: "6.1-2".into(),
                first_dependency: Some("linux-image-6.1.0-5-x".into()),
            })
        );
    }

    #[test]
    fn a_paragraph_without_version_is_no_package() {
        assert_eq!(parse("Package: a\n\nVersion: 1\n"), None);
    }
}
