// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where things are: the source tree, the target directory and what is made inside it.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, Result};
use crate::process::shown;

/// Tells the writers of this process apart.
static WRITES: AtomicU32 = AtomicU32::new(0);

/// The source tree and the directory that everything made from it goes into.
#[derive(Clone, Debug)]
pub struct Workspace {
    pub root: PathBuf,
    pub target: PathBuf,
    /// It lies in another one, whose configuration of Cargo is not for it.
    inner: bool,
}

impl Workspace {
    /// A copy of the source tree that lies somewhere in the target directory.
    pub fn inner(root: PathBuf, target: PathBuf) -> Self {
        Self {
            root,
            target,
            inner: true,
        }
    }

    /// Finds the source tree from the place of this package, and the target directory as Cargo
    /// does: `CARGO_TARGET_DIR`, else `target` in the tree.
    pub fn locate() -> Result<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.parent().unwrap_or(&package).to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(directory) => std::path::absolute(&directory)
                .map_err(Error::file("locate", Path::new(&directory)))?,
            None => root.join("target"),
        };
        Ok(Self {
            root,
            target,
            inner: false,
        })
    }

    /// The ROM image.
    pub fn rom(&self) -> PathBuf {
        self.target.join("rom/qboot-rs.rom")
    }

    /// The linked firmware that the ROM image is made from.
    pub fn linked_firmware(&self) -> PathBuf {
        self.target.join("x86_64-unknown-none/rom/firmware")
    }

    /// A bare-metal guest, by its file name.
    pub fn guest(&self, name: &str) -> PathBuf {
        self.target.join("guests").join(name)
    }

    /// The monitor for this machine.
    pub fn vmm(&self) -> PathBuf {
        self.target.join("release/microvm")
    }

    /// The monitor linked statically, for a root file system without shared libraries.
    pub fn vmm_static(&self) -> PathBuf {
        self.target
            .join("x86_64-unknown-linux-musl/release/microvm")
    }

    /// What Git says of the source tree.
    pub fn git(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(&self.root);
        let output = command.output().map_err(|source| Error::Start {
            program: "git".into(),
            source,
        })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(Error::Ended {
            command: shown(&command),
            status: output.status,
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// The Cargo that runs this tool, in the source tree.
    pub fn cargo<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments).current_dir(&self.root);
        if self.inner {
            // Cargo reads the configuration of every directory above the one it is run in.
            command
                .current_dir("/")
                .env("CARGO_TARGET_DIR", &self.target);
            command
                .arg("--manifest-path")
                .arg(self.root.join("Cargo.toml"));
            command
                .arg("--config")
                .arg(self.root.join(".cargo/config.toml"));
        }
        command
    }
}

/// Writes a file so that it is there whole or not at all, whoever else writes it.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(Error::file("create", directory))?;
    }
    let mut partial = path.as_os_str().to_owned();
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    partial.push(format!(".{}-{number}.partial", std::process::id()));
    let partial = PathBuf::from(partial);
    fs::write(&partial, bytes).map_err(Error::file("write", &partial))?;
    fs::rename(&partial, path).map_err(Error::file("rename to", path))
}

/// The whole of a file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::file("read", path))
}
