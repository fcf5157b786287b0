// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask build`: the ROM, the bare-metal guests and the monitor.

use crate::error::{Error, Result};
use crate::image::{self, BootProtocol, ImageError};
use crate::process;
use crate::toolchain;
use crate::workspace::{self, Workspace};
use abi::layout::ROM_SIZE;
use clap::Parser;
use std::path::{Path, PathBuf};

/// The target of everything that runs without an operating system.
pub const BARE_METAL: &str = "x86_64-unknown-none";

/// The target of what is linked statically.
const STATIC: &str = "x86_64-unknown-linux-musl";

/// Options of `build`.
#[derive(Debug, Parser)]
pub struct Args {
    /// Build the monitor, too, linked statically
    #[arg(long)]
    pub r#static: bool,
}

/// Builds everything and says what it has made.
pub fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let rom = firmware(workspace)?;
    guests(workspace)?;
    monitor(workspace)?;
    if args.r#static {
        static_monitor(workspace)?;
    }
    let occupied = image::occupied(&rom);
    println!(
        "{}: {ROM_SIZE} bytes, {occupied} occupied, {} left",
        workspace.rom().display(),
        rom.len() - occupied
    );
    Ok(())
}

/// The ROM image.
pub fn firmware(workspace: &Workspace) -> Result<Vec<u8>> {
    let (rom, _) = firmware_called(workspace, "firmware")?;
    workspace::write_atomically(&workspace.rom(), &rom)?;
    // Where the monitor looks for it unless told otherwise.
    workspace::write_atomically(&workspace.vmm().with_file_name("qboot-rs.rom"), &rom)?;
    Ok(rom)
}

/// The ROM image of a tree whose firmware has this name, and what it was made from.
pub fn firmware_called(workspace: &Workspace, binary: &str) -> Result<(Vec<u8>, Vec<u8>)> {
    let linked = bare_metal(workspace, &["--package", "firmware"], binary)?;
    Ok((made(image::rom(&linked))?, linked))
}

/// The guest that reports what it was handed, in every format that QEMU hands over.
pub fn guests(workspace: &Workspace) -> Result<()> {
    let arguments = ["--package", "guests", "--features", "bare-metal"];
    let linked = bare_metal(workspace, &arguments, "report")?;
    let bzimage = |protocol| image::bzimage(&linked, protocol);
    let files = [
        ("report.elf", Ok(linked.clone())),
        ("report32.elf", image::elf32(&linked, &[])),
        ("report.bz", bzimage(BootProtocol::ENTRY_64)),
        ("report32.bz", bzimage(BootProtocol::ENTRY_32)),
        ("report32-old.bz", bzimage(BootProtocol::OLD_ENTRY_32)),
        ("report16.bz", bzimage(BootProtocol::ENTRY_16)),
        ("report16.z", bzimage(BootProtocol::LOADED_LOW)),
        ("report.multiboot", image::multiboot(&linked, false)),
        ("report-flat.multiboot", image::multiboot(&linked, true)),
    ];
    for (name, file) in files {
        workspace::write_atomically(&workspace.guest(name), &made(file)?)?;
    }
    Ok(())
}

/// The monitor for this machine.
pub fn monitor(workspace: &Workspace) -> Result<()> {
    cargo(
        workspace,
        "building microvm",
        &["--package", "vmm", "--release"],
    )
}

/// The monitor for a root file system without shared libraries.
pub fn static_monitor(workspace: &Workspace) -> Result<()> {
    toolchain::ensure_target(STATIC)?;
    let arguments = ["--package", "vmm", "--release", "--target", STATIC];
    cargo(workspace, "building microvm (static)", &arguments)
}

/// One of the monitor's example programs, for the same.
pub fn static_example(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    toolchain::ensure_target(STATIC)?;
    let mut arguments = vec!["--package", "vmm", "--release", "--target", STATIC];
    arguments.extend(["--example", name]);
    cargo(workspace, &format!("building {name} (static)"), &arguments)?;
    let directory = workspace.target.join(STATIC).join("release/examples");
    Ok(directory.join(name))
}

/// Builds one bare-metal binary and returns the linked file.
fn bare_metal(workspace: &Workspace, package: &[&str], binary: &str) -> Result<Vec<u8>> {
    toolchain::ensure_target(BARE_METAL)?;
    let mut arguments = package.to_vec();
    arguments.extend(["--profile", "rom", "--target", BARE_METAL]);
    cargo(workspace, &format!("building {binary}"), &arguments)?;
    workspace::read(
        &workspace
            .target
            .join(Path::new(BARE_METAL))
            .join("rom")
            .join(binary),
    )
}

fn cargo(workspace: &Workspace, label: &str, arguments: &[&str]) -> Result<()> {
    let mut all = vec!["build", "--quiet"];
    all.extend(arguments);
    process::run_quietly(label, &mut workspace.cargo(&all)).map(drop)
}

fn made<T>(result: Result<T, ImageError>) -> Result<T> {
    result.map_err(|error| Error::Build(Box::new(error)))
}
