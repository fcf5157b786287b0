// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real programs that are not Linux, in every format that QEMU hands over.
//!
//! What they say shows what the firmware gave them: the memory map by int 15h, ACPI and SMBIOS
//! tables where they scan for them, PCI devices with addresses, the clock, a disk by int 13h.

use std::path::PathBuf;
use std::time::Duration;

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use super::handed;
use crate::guest::{self, Flavour, Format, Program};
use crate::process::{Bounds, End};
use crate::qemu::{Boot, Qemu};
use crate::workspace::write_atomically;

/// A program, what goes with it, and what it says.
struct Load {
    name: &'static str,
    program: Program,
    boards: &'static [&'static str],
    initrd: Initrd,
    append: &'static str,
    /// The processor and the memory in MiB.
    machine: (&'static str, u32),
    devices: &'static [&'static str],
    says: &'static [&'static str],
    /// More that it says, on one of the boards.
    says_on: &'static [(&'static str, &'static str)],
    ends: Ends,
}

/// What goes with a program.
enum Initrd {
    None,
    /// The bytes of a file.
    File(&'static str, &'static [u8]),
    /// A floppy disk that begins with this.
    Floppy(&'static [u8]),
    /// The stock kernel and the default root file system, as multiboot modules.
    Debian,
}

/// How it ends.
enum Ends {
    /// By a reset.
    Itself,
    /// Never: it is stopped when it has said this.
    Stopped(&'static str),
}

const IPXE_SCRIPT: &[u8] = b"#!ipxe
echo script on ${platform}
echo smbios ${product}
set number:int32 17
inc number 25
echo sum ${number}
ifstat
reboot
";

/// Prints a line by int 10h, then triple-faults. It assumes no more than its load address.
const BOOT_SECTOR: &[u8] = &[
    0xea, 0x05, 0x00, 0xc0, 0x07, // ljmp $0x7c0, $5
    0x8c, 0xc8, // mov %cs, %ax
    0x8e, 0xd8, // mov %ax, %ds
    0xbe, 0x26, 0x00, // mov $message, %si
    0xac, // next: lodsb
    0x84, 0xc0, // test %al, %al
    0x74, 0x09, // jz end
    0xb4, 0x0e, // mov $0xe, %ah
    0xbb, 0x07, 0x00, // mov $7, %bx
    0xcd, 0x10, // int $0x10
    0xeb, 0xf2, // jmp next
    0x0f, 0x01, 0x1e, 0x20, 0x00, // end: lidt zero
    0xcc, // int3
    0, 0, 0, 0, 0, 0, // zero:
    b'b', b'o', b'o', b't', b' ', b's', b'e', b'c', b't', b'o', b'r', b' ', b'r', b'u', b'n', b's',
    b'.', b'\r', b'\n', b'.', b'.', b'.', b'.', b'.', b'.', b'.', b'.', b'.', b'.', b'.', b'.', 0,
];

const ALL: &[&str] = &["microvm", "pc", "q35"];
const PCI: &[&str] = &["pc", "q35"];
const HOST_BRIDGES: &[(&str, &str)] = &[
    ("pc", "00:00.0 8086:1237 [0600] Host Bridge"),
    ("q35", "00:00.0 8086:29c0 [0600] Host Bridge"),
];
const GRUB_SAYS: &[&str] = &[
    "GRUB: started",
    "base_addr = 0x100000, length = 0x",
    "available RAM",
    "RSDP",
    "APIC ",
    "IOAPIC ID=00 address=fec00000 GSI=00000000",
];

const LOADS: [Load; 8] = [
    Load {
        name: "bzimage16-grub",
        program: Program::GrubLinux,
        boards: ALL,
        initrd: Initrd::None,
        append: "",
        machine: ("max", 128),
        devices: &[],
        says: GRUB_SAYS,
        says_on: HOST_BRIDGES,
        ends: Ends::Itself,
    },
    Load {
        name: "bzimage16-ipxe",
        program: Program::Ipxe,
        boards: PCI,
        initrd: Initrd::File("script.ipxe", IPXE_SCRIPT),
        append: "",
        machine: ("max", 128),
        devices: &["virtio-net-pci,netdev=net,romfile="],
        says: &[
            "script on pcbios",
            "sum 42",
            "using virtio-net on 0000:00:0",
        ],
        says_on: &[
            ("pc", "smbios Standard PC (i440FX + PIIX, 1996)"),
            ("q35", "smbios Standard PC (Q35 + ICH9, 2009)"),
        ],
        ends: Ends::Itself,
    },
    Load {
        name: "bzimage16-memdisk",
        program: Program::Memdisk,
        boards: ALL,
        initrd: Initrd::Floppy(BOOT_SECTOR),
        append: "floppy",
        machine: ("max", 128),
        devices: &[],
        says: &[
            "e820: 0000000000100000",
            "Disk is fd0, 1440 K",
            "Loading boot sector... booting...",
            "boot sector runs",
        ],
        says_on: &[],
        ends: Ends::Itself,
    },
    Load {
        name: "bzimage32-memtest",
        program: Program::Memtest32,
        boards: PCI,
        initrd: Initrd::None,
        append: "console=ttyS0,115200",
        machine: ("max", 64),
        devices: &[],
        says: &["Memtest86+"],
        says_on: &[],
        ends: Ends::Stopped("Errors: 0"),
    },
    Load {
        name: "bzimage64-memtest",
        program: Program::Memtest64,
        boards: PCI,
        initrd: Initrd::None,
        append: "console=ttyS0,115200",
        machine: ("max", 64),
        devices: &[],
        says: &["Memtest86+"],
        says_on: &[],
        ends: Ends::Stopped("Errors: 0"),
    },
    Load {
        name: "multiboot-grub",
        program: Program::GrubMultiboot,
        boards: ALL,
        initrd: Initrd::None,
        append: "",
        machine: ("max", 128),
        devices: &[],
        says: GRUB_SAYS,
        says_on: HOST_BRIDGES,
        ends: Ends::Itself,
    },
    Load {
        name: "multiboot-xen",
        program: Program::Xen,
        boards: PCI,
        initrd: Initrd::None,
        append: "console=com1 com1=115200,8n1",
        machine: ("qemu64", 128),
        devices: &[],
        says: &["(XEN) Xen version", "(XEN) Command line: console=com1"],
        says_on: &[],
        ends: Ends::Stopped("dom0 kernel not specified"),
    },
    Load {
        name: "multiboot-xen-debian",
        program: Program::Xen,
        boards: PCI,
        initrd: Initrd::Debian,
        append: "console=com1 com1=115200,8n1",
        machine: ("qemu64", 1024),
        devices: &[],
        says: &[
            "(XEN) Xen-e820 RAM map:",
            "(XEN) ACPI: RSDP",
            "QBOOT-RS: init reached cpus=1",
        ],
        says_on: &[],
        ends: Ends::Itself,
    },
];

/// Every program on every board that it runs on.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for load in &LOADS {
        for board in load.boards {
            let name = format!("qemu/program-{}-{board}", load.name);
            cases.push(Case::new(name, move |context, trial| {
                run(context, trial, load, board)
            }));
        }
    }
    cases.push(Case::new("vmm/program-multiboot-grub", on_monitor));
    cases
}

/// GRUB, loaded by our monitor.
fn on_monitor(context: &Context<'_>, trial: &Trial) -> Run {
    context.usable_kvm()?;
    let boot = Boot {
        bios: context.rom()?,
        kernel: context.program(Program::GrubMultiboot)?,
        initrd: None,
        append: String::new(),
        memory: "128M".into(),
        cpus: 1,
    };
    let output = handed::run(trial, &mut handed::monitor(context, &boot)?)?;
    for words in GRUB_SAYS {
        expect(output.contains(words), || {
            format!("expected `{words}`, found no such words")
        })?;
    }
    Ok(())
}

fn run(context: &Context<'_>, trial: &Trial, load: &Load, board: &str) -> Run {
    context.qemu()?;
    let (cpu, memory_mib) = load.machine;
    let machine = Qemu::plain(
        board,
        Boot {
            bios: context.rom()?,
            kernel: context.program(load.program)?,
            initrd: initrd(context, load)?,
            append: load.append.into(),
            memory: format!("{memory_mib}M"),
            cpus: 1,
        },
    );
    let mut command = machine.command();
    command.args(["-cpu", cpu]);
    if !load.devices.is_empty() {
        command.args(["-netdev", "user,id=net"]);
    }
    for device in load.devices {
        command.args(["-device", device]);
    }
    let bounds = Bounds {
        silence: Duration::from_secs(40),
        total: Duration::from_secs(120),
    };
    let until = match load.ends {
        Ends::Itself => None,
        Ends::Stopped(mark) => Some(mark),
    };
    let watched = trial.watch_until(&mut command, bounds, until)?;
    let here = load.says_on.iter().filter(|(on, _)| *on == board);
    for words in load.says.iter().chain(here.map(|(_, words)| words)) {
        expect(watched.output.contains(words), || {
            format!(
                "expected `{words}`, found no such words; QEMU {}",
                watched.end
            )
        })?;
    }
    match (watched.end, until) {
        (End::Said, Some(_)) => Ok(()),
        (End::Exited(status), None) if status.success() => Ok(()),
        (end, _) => Err(Outcome::Failed(format!("QEMU {end}"))),
    }
}

/// What QEMU is given as its initial RAM disk: a path, or a list of modules.
fn initrd(context: &Context<'_>, load: &Load) -> Result<Option<PathBuf>, Outcome> {
    let place = context.workspace.target.join("test-inputs");
    Ok(match load.initrd {
        Initrd::None => None,
        Initrd::File(name, bytes) => {
            let path = place.join(name);
            write_atomically(&path, bytes)?;
            Some(path)
        }
        Initrd::Floppy(sector) => {
            let path = place.join("floppy.img");
            write_atomically(&path, &floppy(sector))?;
            Some(path)
        }
        Initrd::Debian => {
            let kernel = context.kernel(Flavour::Amd64, Format::Bzimage)?;
            let append = guest::append(&[], false).replace("ttyS0", "hvc0");
            let modules = [
                format!("{} {append}", kernel.display()),
                context.initrd()?.display().to_string(),
            ];
            Some(modules.join(",").into())
        }
    })
}

/// A disk of 1,440 KiB with a boot sector.
fn floppy(sector: &[u8]) -> Vec<u8> {
    let mut disk = vec![0; 1440 * 1024];
    disk[..sector.len()].copy_from_slice(sector);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}
