// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs that are not Linux but are handed over like it, out of Debian's packages.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use super::{Progress, bytes, cache, complete, deb, decompressed};
use crate::error::{Error, Result};
use crate::packages;
use crate::process::run_quietly;
use crate::workspace::{Workspace, read, write_atomically};

/// A program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Program {
    /// The network boot loader, as a bzImage with only the 16-bit entry.
    Ipxe,
    /// The disk emulator of SYSLINUX, the same.
    Memdisk,
    /// GRUB behind its `lnxboot.img`, the same.
    GrubLinux,
    /// GRUB's core image, which has a multiboot header.
    GrubMultiboot,
    /// The hypervisor, as a multiboot kernel.
    Xen,
    /// The memory tester, as a bzImage with the 32-bit entry.
    Memtest32,
    /// The same with the 64-bit entry.
    Memtest64,
}

/// What is taken out of which package.
#[derive(Clone, Copy)]
struct Source {
    package: &'static str,
    /// Whether the package only names the current one.
    versioned: bool,
    /// Beginning and end of a path in it, and a name to keep the file under.
    files: &'static [(&'static str, &'static str, &'static str)],
}

const IPXE: Source = Source {
    package: "ipxe",
    versioned: false,
    files: &[("boot/", "/ipxe.lkrn", "ipxe.lkrn")],
};
const SYSLINUX: Source = Source {
    package: "syslinux-common",
    versioned: false,
    files: &[("usr/lib/", "/memdisk", "memdisk")],
};
const XEN: Source = Source {
    package: "xen-system-amd64",
    versioned: true,
    files: &[("boot/xen-", ".gz", "xen")],
};
const MEMTEST: Source = Source {
    package: "memtest86+",
    versioned: false,
    files: &[
        ("boot/", "ia32.bin", "memtest32"),
        ("boot/", "x64.bin", "memtest64"),
    ],
};
/// GRUB's modules, of which `grub-mkimage` makes images.
const GRUB: Source = Source {
    package: "grub-pc-bin",
    versioned: false,
    files: &[],
};
const GRUB_MODULES: &str = "usr/lib/grub/i386-pc/";
const GRUB_TOOL: (&str, [&str; 1]) = ("grub-mkimage", ["grub-common"]);

/// What GRUB does without being asked: says what the firmware gave it.
const GRUB_SCRIPT: &str = "\
serial --unit=0 --speed=115200
terminal_output serial
echo GRUB: started
lsmmap
lsacpi
lspci
date
echo GRUB: done
reboot
";
const GRUB_COMMANDS: [&str; 8] = [
    "serial", "terminal", "echo", "lsmmap", "lsacpi", "lspci", "date", "reboot",
];

impl Program {
    /// The program as a file for QEMU.
    pub fn obtain(self, workspace: &Workspace) -> Result<PathBuf> {
        let taken = |source, name| Ok(take(workspace, source)?.join(name));
        match self {
            Self::Ipxe => taken(IPXE, "ipxe.lkrn"),
            Self::Memdisk => taken(SYSLINUX, "memdisk"),
            Self::GrubLinux => grub(workspace, true),
            Self::GrubMultiboot => grub(workspace, false),
            Self::Xen => taken(XEN, "xen"),
            Self::Memtest32 => taken(MEMTEST, "memtest32"),
            Self::Memtest64 => taken(MEMTEST, "memtest64"),
        }
    }
}

/// The directory with what is taken out of a package.
fn take(workspace: &Workspace, source: Source) -> Result<PathBuf> {
    let wanted = cache::Wanted {
        name: source.package,
        versioned: source.versioned,
        files: &[],
    };
    cache::obtain(workspace, &wanted, false, |package| {
        let _progress = Progress::start(format!("unpacking {}", source.package));
        let mut parts = Vec::new();
        deb::extract(package, |path, file| {
            let named = source
                .files
                .iter()
                .find(|(start, end, _)| path.starts_with(start) && path.ends_with(end));
            if let Some((_, _, name)) = named {
                parts.push(((*name).to_owned(), decompressed(bytes(file)?)?));
            } else if let Some(name) = path.strip_prefix(GRUB_MODULES) {
                parts.push((name.to_owned(), bytes(file)?));
            }
            Ok(deb::Progress::Continue)
        })?;
        let expected = source.files.len().max(1);
        let found = parts.len();
        complete(
            package,
            parts,
            if found > expected { found } else { expected },
        )
    })
}

/// Two cases do not install GRUB's tool or make an image at once.
static MAKING: Mutex<()> = Mutex::new(());

/// GRUB with its script: a multiboot kernel by itself, a bzImage behind `lnxboot.img`.
fn grub(workspace: &Workspace, linux: bool) -> Result<PathBuf> {
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let modules = take(workspace, GRUB)?;
    let place = workspace.target.join("guest/grub");
    let script = place.join("grub.cfg");
    let core = place.join("core.img");
    if !fs::read(&script).is_ok_and(|present| present == GRUB_SCRIPT.as_bytes()) || !core.is_file()
    {
        write_atomically(&script, GRUB_SCRIPT.as_bytes())?;
        let (tool, packages) = GRUB_TOOL;
        let partial = place.join(format!("core.img.{}.partial", std::process::id()));
        run_quietly(
            "making a GRUB image",
            Command::new(packages::require(tool, &packages)?)
                .args(["-O", "i386-pc", "-p", "/boot/grub", "-d"])
                .arg(&modules)
                .arg("-c")
                .arg(&script)
                .arg("-o")
                .arg(&partial)
                .args(GRUB_COMMANDS),
        )?;
        fs::rename(&partial, &core).map_err(Error::file("rename to", &core))?;
    }
    if !linux {
        return Ok(core);
    }
    let mut image = read(&modules.join("lnxboot.img"))?;
    image.extend_from_slice(&read(&core)?);
    let path = place.join("grub.lkrn");
    write_atomically(&path, &image)?;
    Ok(path)
}
