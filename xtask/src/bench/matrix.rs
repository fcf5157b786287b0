// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which combinations are measured: all of the asked-for lists that there can be.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use itertools::iproduct;

use super::model::{Combination, Place, Vmm};
use super::subject::Subject;
use crate::error::{Error, Result};
use crate::guest::{self, Flavour, Format};
use crate::lab::base_name;
use crate::oracle::{Board, Reference};
use crate::workspace::Workspace;

/// The name of our firmware.
pub const OURS: &str = "qboot-rs";
/// No firmware: our monitor enters the kernel.
pub const FLOOR: &str = "none";
/// A kernel that reports what it was handed, and begins with a time stamp.
pub const REPORT: &str = "report";
/// The distribution's kernel.
const STOCK: &str = "debian";

/// What to combine with what.
#[derive(Clone, Debug, clap::Args)]
pub struct Lists {
    /// Firmware: qboot-rs, qboot, seabios, none (our monitor enters the kernel) or a file; the first
    /// is what the others are compared with
    #[arg(long, value_delimiter = ',', value_name = "NAME|FILE,…", default_values = [OURS, "qboot", "seabios", FLOOR])]
    pub firmware: Vec<String>,
    /// Who makes the machine
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["qemu", "microvm"])]
    pub vmm: Vec<Vmm>,
    /// Who runs the guest's instructions
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["tcg", "kvm"])]
    pub on: Vec<Place>,
    /// A machine with its properties; repeatable, and the properties are joined by `:`
    #[arg(long, value_delimiter = ',', value_name = "TYPE[:KEY=VALUE…],…", default_values = ["microvm"])]
    pub machine: Vec<Machine>,
    /// What to boot: report (it says what it was handed), debian or a file
    #[arg(long, value_delimiter = ',', value_name = "NAME|FILE,…", default_values = [REPORT])]
    pub kernel: Vec<String>,
    /// How to hand it over
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["pvh", "bzimage"])]
    pub format: Vec<Format>,
    /// Numbers of processors
    #[arg(long, value_delimiter = ',', value_name = "N,…", default_values_t = [1])]
    pub cpus: Vec<u32>,
    /// MiB of the initial RAM disks that only take place, 0 for none; debian brings its own
    #[arg(long, value_delimiter = ',', value_name = "MIB,…", default_values_t = [0])]
    pub initrd: Vec<u32>,
}

/// A machine that firmware is known for.
#[derive(Clone, Debug)]
pub struct Machine {
    /// QEMU's, with properties.
    name: String,
    board: Board,
}

impl FromStr for Machine {
    type Err = String;

    /// `TYPE[:KEY=VALUE…]`; the comma is between machines.
    fn from_str(text: &str) -> Result<Self, String> {
        let kind = text.split(':').next().unwrap_or_default();
        let board = match kind {
            "microvm" => Board::Microvm,
            "pc" => Board::Pc,
            "q35" => Board::Q35,
            _ if kind.starts_with("pc-i440fx-") => Board::Pc,
            _ if kind.starts_with("pc-q35-") => Board::Q35,
            _ => return Err(format!("expected microvm, pc or q35, found {kind:?}")),
        };
        let name = text.replace(':', ",");
        Ok(Self { name, board })
    }
}

/// Every combination of the lists that there can be; what differs only in its firmware, in a row.
pub fn subjects(workspace: &Workspace, lists: &Lists, rom: &Path) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for (place, vmm, machine, kernel, format, cpus, initrd, firmware) in iproduct!(
        &lists.on,
        &lists.vmm,
        &lists.machine,
        &lists.kernel,
        &lists.format,
        &lists.cpus,
        &lists.initrd,
        &lists.firmware
    ) {
        let combination = Combination {
            firmware: base_name(Path::new(firmware)),
            vmm: *vmm,
            place: *place,
            machine: machine.name.clone(),
            kernel: base_name(Path::new(kernel)),
            format: format.to_string(),
            cpus: *cpus,
            initrd: u64::from(*initrd) << 20,
        };
        if !exists(&combination, machine.board) {
            continue;
        }
        let (kernel, initrd, words) = boots(workspace, kernel, *format, *cpus, *initrd)?;
        subjects.push(Subject {
            combination,
            bios: bios(firmware, rom, machine.board)?,
            kernel,
            initrd,
            append: guest::append(words, false),
            option_rom: (*vmm == Vmm::Microvm && firmware == "seabios")
                .then(|| option_rom(*format)),
        });
    }
    if subjects.is_empty() {
        return Err(Error::Guest(
            "expected a combination that exists, found none: machines other than `microvm`, and \
             those of the emulator, are QEMU's, and only our monitor boots without firmware"
                .into(),
        ));
    }
    Ok(subjects)
}

/// Whether there is such a machine at all.
fn exists(combination: &Combination, board: Board) -> bool {
    match combination.vmm {
        Vmm::Microvm => combination.place != Place::Tcg && board == Board::Microvm,
        Vmm::Qemu => combination.firmware != FLOOR,
    }
}

fn bios(firmware: &str, rom: &Path, board: Board) -> Result<Option<PathBuf>> {
    Ok(Some(match firmware {
        FLOOR => return Ok(None),
        OURS => rom.to_path_buf(),
        "qboot" => Reference::Qboot.rom(board),
        "seabios" => Reference::SeaBios.rom(board),
        path => readable(path, "firmware")?,
    }))
}

/// Where the packages put what SeaBIOS boots a kernel with.
fn option_rom(format: Format) -> PathBuf {
    let name = match format {
        Format::Pvh => "pvh.bin",
        Format::Bzimage => "linuxboot_dma.bin",
    };
    Path::new("/usr/share/qemu").join(name)
}

/// The kernel, its initial RAM disk and more words for its command line.
fn boots(
    workspace: &Workspace,
    kernel: &str,
    format: Format,
    cpus: u32,
    initrd: u32,
) -> Result<(PathBuf, Option<PathBuf>, &'static [&'static str])> {
    let filler = || (initrd > 0).then(|| filler(workspace, initrd)).transpose();
    // Nobody looks for PCI where there is none, whoever makes the command line.
    Ok(match kernel {
        REPORT => {
            let name = match format {
                Format::Pvh => "report.elf",
                Format::Bzimage => "report.bz",
            };
            (workspace.guest(name), filler()?, &[])
        }
        STOCK => {
            let kernel = guest::kernel(workspace, Flavour::for_cpus(cpus), format)?;
            (
                kernel,
                Some(guest::initrd(workspace)?),
                &["quiet", "pci=off"],
            )
        }
        path => {
            let path = readable(path, "kernel")?;
            let kernel = guest::own_kernel(workspace, &path, Some(format))?;
            (kernel, filler()?, &["quiet"])
        }
    })
}

fn readable(path: &str, what: &str) -> Result<PathBuf> {
    match File::open(path) {
        Ok(_) => Ok(path.into()),
        Err(error) => Err(Error::Guest(format!(
            "expected a known {what} or a file, found {path}: {error}"
        ))),
    }
}

/// An initial RAM disk that only takes place: so many MiB of zeros.
fn filler(workspace: &Workspace, mib: u32) -> Result<PathBuf> {
    let path = workspace.target.join(format!("guest/zeros-{mib}MiB"));
    let made = File::create(&path).and_then(|file| file.set_len(u64::from(mib) << 20));
    made.map_err(Error::file("make", &path))?;
    Ok(path)
}

#[cfg(test)]
mod test {
    use super::*;

    fn combination(firmware: &str, vmm: Vmm, place: Place, machine: &str) -> Combination {
        Combination {
            firmware: firmware.into(),
            vmm,
            place,
            machine: machine.into(),
            kernel: REPORT.into(),
            format: "pvh".into(),
            cpus: 1,
            initrd: 0,
        }
    }

    fn there(firmware: &str, vmm: Vmm, place: Place, machine: &str) -> bool {
        let machine: Machine = machine.parse().unwrap();
        let combination = combination(firmware, vmm, place, &machine.name);
        exists(&combination, machine.board)
    }

    #[test]
    fn our_monitor_has_one_machine_and_needs_kvm() {
        let there = |place, machine| there(OURS, Vmm::Microvm, place, machine);

        assert!(there(Place::Kvm, "microvm:acpi=off"));
        assert!(!there(Place::Kvm, "q35"));
        assert!(!there(Place::Tcg, "microvm"));
    }

    #[test]
    fn qemu_does_not_boot_without_firmware() {
        assert!(!there(FLOOR, Vmm::Qemu, Place::Kvm, "microvm"));
        assert!(there(FLOOR, Vmm::Microvm, Place::Kvm, "microvm"));
        assert!(there(OURS, Vmm::Qemu, Place::Tcg, "pc"));
    }

    #[test]
    fn a_machine_is_known_with_its_properties_and_versions_or_refused() {
        let named = |text: &str| text.parse::<Machine>().map(|it| (it.name, it.board));

        assert_eq!(
            named("microvm:acpi=off:rtc=on"),
            Ok(("microvm,acpi=off,rtc=on".into(), Board::Microvm))
        );
        assert_eq!(named("pc-q35-7.2").unwrap().1, Board::Q35);
        assert_eq!(
            named("foo:x=y").unwrap_err(),
            "expected microvm, pc or q35, found \"foo\""
        );
    }

    #[test]
    fn a_firmware_that_is_neither_known_nor_a_file_is_named() {
        let error = bios("no-such.rom", Path::new("rom"), Board::Pc).unwrap_err();

        assert!(
            error.to_string().starts_with(
                "expected a known firmware or a file, found no-such.rom: No such file"
            )
        );
    }
}
