// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask guest`: a stock kernel and a small root file system to boot.
//!
//! Out: paths under `target/guest/`. The kernel and busybox are Debian's, by its own package
//! manager; everything that takes them also takes the user's own files instead.

mod cache;
mod compression;
mod deb;
mod disk;
mod initramfs;
mod payload;
mod programs;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::workspace::{Workspace, read, write_atomically};
pub use compression::decompressed;
pub use disk::{ROOT_DISK, root_disk};
pub use initramfs::Initramfs;
pub use programs::Program;

/// What the default guest prints when its first process runs, before the number of CPUs.
pub const INIT_REACHED: &str = "QBOOT-RS: init reached";
/// On the kernel command line: end the machine after that line instead of giving a shell.
pub const EXIT_WORD: &str = "qboot_rs.exit";
/// The modules that make a stock kernel a host for virtual machines on AMD, in loading order.
pub const KVM_MODULES: [&str; 3] = ["irqbypass.ko", "kvm.ko", "kvm-amd.ko"];

/// The module that gives a host taps.
const TUN_MODULE: &str = "tun.ko";

/// What a disk needs that is a module in either kernel, in loading order.
const VIRTIO_MODULES: [&str; 10] = [
    "virtio_ring.ko",
    "virtio.ko",
    "virtio_pci_modern_dev.ko",
    "virtio_pci_legacy_dev.ko",
    "virtio_pci.ko",
    "virtio_mmio.ko",
    "virtio_blk.ko",
    "failover.ko",
    "net_failover.ko",
    "virtio_net.ko",
];
/// What the cloud kernel needs for random bytes of its host's, in loading order.
const RANDOM_MODULES: [&str; 4] = [
    "virtio_ring.ko",
    "virtio.ko",
    "virtio_mmio.ko",
    "virtio-rng.ko",
];
/// What the cloud kernel needs to tell that it has panicked, in loading order.
const PANIC_MODULES: [&str; 2] = ["pvpanic.ko", "pvpanic-mmio.ko"];
/// What the cloud kernel needs for a console of its host's, in loading order.
const CONSOLE_MODULES: [&str; 4] = [
    "virtio_ring.ko",
    "virtio.ko",
    "virtio_mmio.ko",
    "virtio_console.ko",
];
/// The root file system, where it is not built in, in loading order.
const EXT4_MODULES: [&str; 5] = [
    "crc16.ko",
    "crc32c_generic.ko",
    "mbcache.ko",
    "jbd2.ko",
    "ext4.ko",
];

const INIT: &str = include_str!("init.sh");
const BZIMAGE: &str = "vmlinuz";
const VMLINUX: &str = "vmlinux";
const BUSYBOX: &str = "busybox";

/// `cargo xtask guest`
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The kernel to obtain
    #[arg(long, value_enum, default_value_t = Flavour::Cloud)]
    pub flavour: Flavour,
    /// Ask the package lists for a newer version
    #[arg(long)]
    pub update: bool,
}

/// Debian's builds of the same kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Flavour {
    /// `linux-image-cloud-amd64`: small, KVM host modules, cannot read MP tables
    Cloud,
    /// `linux-image-amd64`: reads MP tables
    Amd64,
}

impl Flavour {
    /// The kernel that can use that many CPUs whatever the machine describes them with.
    pub fn for_cpus(cpus: u32) -> Self {
        if cpus > 1 { Self::Amd64 } else { Self::Cloud }
    }

    /// What a root file system on a disk needs, in loading order.
    fn disk_modules(self) -> Vec<&'static str> {
        let mut modules = VIRTIO_MODULES.to_vec();
        if self == Self::Amd64 {
            modules.extend(EXT4_MODULES);
        }
        modules
    }

    /// Every module that is taken out of the package.
    fn modules(self) -> Vec<&'static str> {
        let mut modules = self.disk_modules();
        if self == Self::Cloud {
            modules.extend(KVM_MODULES);
            modules.extend(["virtio-rng.ko", "virtio_console.ko"]);
            modules.extend(PANIC_MODULES);
            modules.push(TUN_MODULE);
        }
        modules
    }

    fn package(self) -> &'static str {
        match self {
            Self::Cloud => "linux-image-cloud-amd64",
            Self::Amd64 => "linux-image-amd64",
        }
    }
}

/// How a kernel is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Format {
    /// The uncompressed ELF file, entered as Xen's PVH
    Pvh,
    /// The compressed image of the Linux boot protocol
    Bzimage,
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pvh => "pvh",
            Self::Bzimage => "bzimage",
        })
    }
}

/// Obtains what was asked for and says where it is.
pub fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let directory = kernel_directory(workspace, args.flavour, args.update)?;
    busybox(workspace, args.update)?;
    println!("bzimage  {}", directory.join(BZIMAGE).display());
    println!("pvh      {}", directory.join(VMLINUX).display());
    println!("initrd   {}", initrd(workspace)?.display());
    Ok(())
}

/// The stock kernel in the given form.
pub fn kernel(workspace: &Workspace, flavour: Flavour, format: Format) -> Result<PathBuf> {
    let directory = kernel_directory(workspace, flavour, false)?;
    Ok(directory.join(match format {
        Format::Pvh => VMLINUX,
        Format::Bzimage => BZIMAGE,
    }))
}

/// A kernel of the user's own in the given form, or in the form that it has.
pub fn own_kernel(workspace: &Workspace, path: &Path, format: Option<Format>) -> Result<PathBuf> {
    if format != Some(Format::Pvh) {
        return Ok(path.to_path_buf());
    }
    let image = read(path)?;
    if image.starts_with(b"\x7fELF") {
        return Ok(path.to_path_buf());
    }
    let name = format!("vmlinux-{:08x}", crc32fast::hash(&image));
    let vmlinux = workspace.target.join("guest/own").join(name);
    if !vmlinux.is_file() {
        write_atomically(&vmlinux, &payload::vmlinux(path, &image)?)?;
    }
    Ok(vmlinux)
}

/// The default root file system: a static busybox and an init that says that it was reached.
pub fn initrd(workspace: &Workspace) -> Result<PathBuf> {
    archived(workspace, "initrd.cpio", |_| Ok(()))
}

/// The same with what that kernel needs to find its root file system on [`ROOT_DISK`].
pub fn disk_initrd(workspace: &Workspace, flavour: Flavour) -> Result<PathBuf> {
    let name = format!("initrd-disk-{}.cpio", flavour.package());
    with_modules(workspace, flavour, &flavour.disk_modules(), &name)
}

/// The same with what the cloud kernel needs for random bytes of its host's.
pub fn random_initrd(workspace: &Workspace) -> Result<PathBuf> {
    with_modules(
        workspace,
        Flavour::Cloud,
        &RANDOM_MODULES,
        "initrd-random.cpio",
    )
}

/// The same with what the cloud kernel needs to tell that it has panicked.
pub fn panic_initrd(workspace: &Workspace) -> Result<PathBuf> {
    let name = "initrd-panic.cpio";
    with_modules(workspace, Flavour::Cloud, &PANIC_MODULES, name)
}

/// The same with what the cloud kernel needs for a console of its host's.
pub fn console_initrd(workspace: &Workspace) -> Result<PathBuf> {
    with_modules(
        workspace,
        Flavour::Cloud,
        &CONSOLE_MODULES,
        "initrd-console.cpio",
    )
}

/// The same with what the cloud kernel needs for disks, and a program to run.
pub fn program_initrd(workspace: &Workspace, program: &Path, name: &str) -> Result<PathBuf> {
    let program = read(program)?;
    let modules = Flavour::Cloud.disk_modules();
    with_more(workspace, Flavour::Cloud, &modules, name, |initramfs| {
        initramfs.program("program", &program)
    })
}

fn with_modules(
    workspace: &Workspace,
    flavour: Flavour,
    modules: &[&str],
    name: &str,
) -> Result<PathBuf> {
    with_more(workspace, flavour, modules, name, |_| Ok(()))
}

fn with_more(
    workspace: &Workspace,
    flavour: Flavour,
    modules: &[&str],
    name: &str,
    more: impl FnOnce(&mut Initramfs) -> io::Result<()>,
) -> Result<PathBuf> {
    let directory = kernel_directory(workspace, flavour, false)?;
    let bytes = modules
        .iter()
        .map(|module| read(&directory.join(module)))
        .collect::<Result<Vec<_>>>()?;
    archived(workspace, name, |initramfs| {
        initramfs.file("modules/order", modules.join("\n").as_bytes())?;
        for (module, bytes) in modules.iter().zip(&bytes) {
            initramfs.file(&format!("modules/{module}"), bytes)?;
        }
        more(initramfs)
    })
}

/// An archive with busybox, init and more, written unless it is there already.
fn archived(
    workspace: &Workspace,
    name: &str,
    more: impl FnOnce(&mut Initramfs) -> io::Result<()>,
) -> Result<PathBuf> {
    let busybox = read(&busybox(workspace, false)?)?;
    let path = workspace.target.join("guest").join(name);
    let archive = assemble(&busybox, more).map_err(Error::file("assemble", &path))?;
    if !std::fs::read(&path).is_ok_and(|present| present == archive) {
        write_atomically(&path, &archive)?;
    }
    Ok(path)
}

/// The kernel command line of a guest: its console, how it ends, and more words.
pub fn append(words: &[&str], terminal: bool) -> String {
    let mut all = vec!["console=ttyS0", "reboot=t", "panic=-1"];
    if !terminal {
        all.push(EXIT_WORD);
    }
    all.extend(words);
    all.join(" ")
}

/// The host modules of the cloud kernel, in loading order.
pub fn kvm_modules(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let directory = kernel_directory(workspace, Flavour::Cloud, false)?;
    Ok(KVM_MODULES.map(|name| directory.join(name)).to_vec())
}

/// The cloud kernel's module for taps.
pub fn tun_module(workspace: &Workspace) -> Result<PathBuf> {
    let directory = kernel_directory(workspace, Flavour::Cloud, false)?;
    Ok(directory.join(TUN_MODULE))
}

/// A program that a package holds, by its file name.
pub fn program(workspace: &Workspace, package: &str, name: &str) -> Result<PathBuf> {
    let wanted = cache::Wanted {
        name: package,
        versioned: false,
        files: &[name],
    };
    let directory = cache::obtain(workspace, &wanted, false, |package| {
        let mut parts = Vec::new();
        deb::extract(package, |path, file| {
            if path.rsplit('/').next() == Some(name) {
                parts.push((name.to_owned(), bytes(file)?));
                return Ok(deb::Progress::Complete);
            }
            Ok(deb::Progress::Continue)
        })?;
        complete(package, parts, 1)
    })?;
    Ok(directory.join(name))
}

/// The static busybox.
pub fn busybox(workspace: &Workspace, update: bool) -> Result<PathBuf> {
    let package = cache::Wanted {
        name: "busybox-static",
        versioned: false,
        files: &[BUSYBOX],
    };
    let directory = cache::obtain(workspace, &package, update, |package| {
        let mut parts = Vec::new();
        deb::extract(package, |path, file| {
            if path.ends_with("bin/busybox") {
                parts.push((BUSYBOX.to_owned(), bytes(file)?));
                return Ok(deb::Progress::Complete);
            }
            Ok(deb::Progress::Continue)
        })?;
        complete(package, parts, 1)
    })?;
    Ok(directory.join(BUSYBOX))
}

fn kernel_directory(workspace: &Workspace, flavour: Flavour, update: bool) -> Result<PathBuf> {
    let modules = flavour.modules();
    let package = cache::Wanted {
        name: flavour.package(),
        versioned: true,
        files: &modules,
    };
    cache::obtain(workspace, &package, update, |package| {
        let _progress = Progress::start("unpacking the kernel package");
        let mut parts = Vec::new();
        deb::extract(package, |path, file| {
            let name = path.rsplit('/').next().unwrap_or(path);
            if path.starts_with("boot/vmlinuz-") {
                parts.push((BZIMAGE.to_owned(), bytes(file)?));
            } else if let Some(module) = modules.iter().find(|module| name.starts_with(**module)) {
                parts.push(((*module).to_owned(), decompressed(bytes(file)?)?));
            }
            Ok(if parts.len() == modules.len() + 1 {
                deb::Progress::Complete
            } else {
                deb::Progress::Continue
            })
        })?;
        let mut parts = complete(package, parts, modules.len() + 1)?;
        let vmlinux = parts
            .iter()
            .find(|(name, _)| name == BZIMAGE)
            .map(|(_, image)| payload::vmlinux(package, image))
            .transpose()?;
        parts.extend(vmlinux.map(|elf| (VMLINUX.to_owned(), elf)));
        Ok(parts)
    })
}

fn complete(package: &Path, parts: Vec<cache::Part>, expected: usize) -> Result<Vec<cache::Part>> {
    if parts.len() == expected {
        return Ok(parts);
    }
    let names: Vec<_> = parts.iter().map(|(name, _)| name.as_str()).collect();
    Err(Error::Format {
        path: package.to_path_buf(),
        expected: "a package with every file that is needed",
        found: format!("{} of {expected} files, {names:?}", parts.len()),
    })
}

fn bytes(file: &mut dyn io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn assemble(
    busybox: &[u8],
    more: impl FnOnce(&mut Initramfs) -> io::Result<()>,
) -> io::Result<Vec<u8>> {
    let mut initramfs = Initramfs::new()?;
    initramfs.program("bin/busybox", busybox)?;
    initramfs.program("init", INIT.as_bytes())?;
    more(&mut initramfs)?;
    initramfs.finish()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn init_says_the_line_that_is_waited_for() {
        assert!(INIT.contains(&format!("\"{INIT_REACHED} cpus=")));
        assert!(INIT.contains(&format!("'{EXIT_WORD}'")));
        assert!(disk::INIT.contains(&format!("\"{} cpus=", &INIT_REACHED["QBOOT-RS: ".len()..])));
    }

    #[test]
    fn more_cpus_need_the_kernel_that_reads_mp_tables() {
        assert_eq!(Flavour::for_cpus(1), Flavour::Cloud);
        assert_eq!(Flavour::for_cpus(2), Flavour::Amd64);
    }
}
