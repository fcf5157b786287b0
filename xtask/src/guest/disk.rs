// SPDX-License-Identifier: MIT OR Apache-2.0
//! The root disk: an ext4 file system whose init says what the kernel has found, or works as the
//! command line says.
//!
//! Its identifiers are fixed and so is its content; only the times of its files are the day's.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::error::{Error, Result};
use crate::packages;
use crate::process::run_quietly;
use crate::workspace::{Workspace, read, write_atomically};

/// Where the kernel finds the disk: the word for its command line.
pub const ROOT_DISK: &str = "qboot_rs.root=/dev/vda";

pub(super) const INIT: &str = include_str!("disk-init.sh");
const WORK: &str = include_str!("disk-work.sh");
const MKFS: &str = "mkfs.ext4";
const PACKAGES: [&str; 1] = ["e2fsprogs"];
const SIZE: &str = "16M";
const UUID: &str = "71626f6f-7472-4573-8000-000000000001";
const HASH_SEED: &str = "71626f6f-7472-4573-8000-000000000002";

/// The disk image, made again whenever what goes into it has changed.
pub fn root_disk(workspace: &Workspace) -> Result<PathBuf> {
    let busybox = read(&super::busybox(workspace, false)?)?;
    let place = workspace.target.join("guest/disk");
    let image = place.join("root.ext4");
    let files = [
        ("root/bin/busybox", busybox.as_slice()),
        ("root/sbin/init", INIT.as_bytes()),
        ("root/sbin/work", WORK.as_bytes()),
    ];
    let same = |(name, bytes): &(&str, &[u8])| {
        fs::read(place.join(name)).is_ok_and(|present| present == *bytes)
    };
    if image.is_file() && files.iter().all(same) {
        return Ok(image);
    }
    for (name, bytes) in files {
        let path = place.join(name);
        write_atomically(&path, bytes)?;
        executable(&path)?;
    }
    for name in ["dev", "proc", "sys"] {
        let path = place.join("root").join(name);
        fs::create_dir_all(&path).map_err(Error::file("create", &path))?;
    }
    let partial = place.join(format!("root.ext4.{}.partial", std::process::id()));
    let _ = fs::remove_file(&partial);
    run_quietly(
        "making the root disk",
        Command::new(packages::require(MKFS, &PACKAGES)?)
            .args(["-q", "-U", UUID, "-E"])
            .arg(format!("root_owner=0:0,hash_seed={HASH_SEED}"))
            .arg("-d")
            .arg(place.join("root"))
            .args([partial.as_os_str(), SIZE.as_ref()]),
    )?;
    fs::rename(&partial, &image).map_err(Error::file("rename to", &image))?;
    Ok(image)
}

fn executable(path: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(Error::file("make executable", path))
}
