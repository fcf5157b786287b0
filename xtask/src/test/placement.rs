// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where other firmware has put things on top of each other: boots in which ours may not.
//!
//! The kernel is preloaded by QEMU and large, so that little is left beside it at 64 MiB; it reports
//! digests of its own bytes and of its zeroed memory, and the initial RAM disk's.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use super::handed::{COMMAND_LINE, initrd};
use super::report::{Given, Report};
use super::stock;
use crate::guest::Format;
use crate::image::{self, Segment};
use crate::qemu::{Accelerator, Boot, Qemu};
use crate::workspace::{read, write_atomically};
use std::path::PathBuf;
use std::sync::OnceLock;

const MIB: u64 = 1 << 20;

/// Sizes of RAM: with SeaBIOS a large kernel or the tables are lost at the smaller ones, and at
/// those around it what lies at a boundary of the map or of a kernel's reach.
const MEMORY_MIB: [(&str, &[u64]); 3] = [
    ("microvm", &[64, 70, 256, 1024, 2048, 3072, 3073, 5120]),
    ("pc", &[64, 70, 3072, 5120]),
    ("q35", &[64, 70, 2048, 5120]),
];

/// The part of the large kernel that is not the guest: bytes, and zeroed memory behind them.
const LARGE_START: u64 = 16 * MIB;
const LARGE_BYTES: u64 = 30 * MIB;
const LARGE_ZEROS: u64 = LARGE_START + LARGE_BYTES;
const LARGE_END: u64 = 62 * MIB;

/// Every placement.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (machine, sizes) in MEMORY_MIB {
        for memory in sizes {
            cases.push(Case::new(
                format!("qemu/placement-large-pvh-initrd-{machine}-{memory}MiB"),
                move |context, trial| large(context, trial, machine, *memory),
            ));
        }
    }
    for (name, cpus, ids) in [
        ("41cpus", "41", (0..41).collect::<Vec<u32>>()),
        ("64cpus", "64", (0..64).collect()),
        (
            "2-sockets-of-3",
            "6,sockets=2,cores=3",
            vec![0, 1, 2, 4, 5, 6],
        ),
    ] {
        cases.push(Case::new(
            format!("qemu/placement-{name}"),
            move |context, trial| processors(context, trial, cpus, &ids),
        ));
    }
    for (name, machine, slots) in [
        ("24-slots", "microvm", 24),
        ("8-slots", "microvm,ioapic2=off", 8),
        ("8-slots-no-acpi", "microvm,acpi=off", 8),
    ] {
        cases.push(Case::new(
            format!("qemu/placement-{name}"),
            move |context, trial| every_slot(context, trial, machine, slots),
        ));
    }
    for (name, kernel) in [
        ("pvh", "report.elf"),
        ("bzimage64", "report.bz"),
        ("bzimage32", "report32.bz"),
        ("multiboot", "report.multiboot"),
    ] {
        cases.push(Case::new(
            format!("qemu/placement-option-roms-{name}"),
            move |context, trial| option_roms(context, trial, kernel),
        ));
    }
    cases
}

/// A machine with `-smp cpus` and whatever else is on its command line.
fn report(
    context: &Context<'_>,
    trial: &Trial,
    machine: &str,
    boot: Boot,
    more: &[String],
) -> Result<Report, Outcome> {
    context.qemu()?;
    let qemu = Qemu {
        machine: machine.into(),
        accelerator: Accelerator::TcgOneThread,
        nested: false,
        boot,
        monitor: false,
    };
    let mut command = qemu.command();
    command.args(more);
    Report::parse(&stock::watched_command(trial, &mut command)?)
}

fn boot(context: &Context<'_>, kernel: PathBuf, memory_mib: u64) -> Result<Boot, Outcome> {
    let path = context.workspace.target.join("test-inputs/initrd");
    write_atomically(&path, &initrd())?;
    Ok(Boot {
        bios: context.rom()?,
        kernel,
        initrd: Some(path),
        append: COMMAND_LINE.into(),
        memory: format!("{memory_mib}M"),
        cpus: 1,
    })
}

fn given(format: Format, memory_mib: u64, cmdline: &str, acpi: bool) -> Given {
    Given {
        format,
        memory: memory_mib * MIB,
        cpus: (0..1).collect(),
        cmdline: cmdline.into(),
        initrd: Some(initrd()),
        acpi,
    }
}

/// The large kernel: its file, and the digests of its bytes and of its zeroed memory.
#[derive(Clone, Debug)]
struct Large {
    file: PathBuf,
    digests: [u64; 2],
}

/// Makes it, once.
fn kernel(context: &Context<'_>) -> Result<Large, Outcome> {
    static MADE: OnceLock<Result<Large, Outcome>> = OnceLock::new();
    let make = || {
        let bytes: Vec<_> = (1..=LARGE_BYTES / 8)
            .flat_map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
            .collect();
        let zeros = vec![0; usize::try_from(LARGE_END - LARGE_ZEROS).unwrap_or_default()];
        let segment = Segment {
            memory: LARGE_START..LARGE_END,
            bytes: &bytes,
        };
        let guest = read(&context.guest("report.elf")?)?;
        let kernel =
            image::elf32(&guest, &[segment]).map_err(|error| Outcome::Failed(error.to_string()))?;
        let file = context.workspace.target.join("test-inputs/large-pvh");
        write_atomically(&file, &kernel)?;
        let digests = [guests::digest(&bytes), guests::digest(&zeros)];
        Ok(Large { file, digests })
    };
    MADE.get_or_init(make).clone()
}

fn large(context: &Context<'_>, trial: &Trial, board: &str, memory_mib: u64) -> Run {
    let kernel = kernel(context)?;
    let mut machine = boot(context, kernel.file, memory_mib)?;
    let places = [
        (LARGE_START, LARGE_BYTES),
        (LARGE_ZEROS, LARGE_END - LARGE_ZEROS),
    ];
    for (start, length) in places {
        machine.append += &format!(" report=digest,{start:#x},{length:#x}");
    }
    let given = given(Format::Pvh, memory_mib, &machine.append, true);
    let report = report(context, trial, board, machine, &[])?;
    if board == "microvm" {
        report.verify(&given)?;
    } else {
        report.verify_places(&given)?;
    }
    let expected: Vec<_> = places
        .iter()
        .zip(kernel.digests)
        .map(|((start, length), digest)| format!("{start:#x} {length:#x} {digest:#x}"))
        .collect();
    let found: Vec<_> = report.all("digest").collect();
    expect(found == expected, || {
        format!("expected the kernel as it was loaded, {expected:?}, found {found:?}")
    })?;
    off_the_kernel(&report)
}

/// Nothing that was handed over lies in the kernel.
fn off_the_kernel(report: &Report) -> Run {
    for module in report.numbers("module")? {
        let [start, size, ..] = module[..] else {
            continue;
        };
        let off = start + size <= LARGE_START || LARGE_END <= start;
        expect(off, || {
            format!("expected the module off the kernel, found it at {start:#x}")
        })?;
    }
    Ok(())
}

/// The MP tables name the processors by their own IDs, as the MADT does.
fn processors(context: &Context<'_>, trial: &Trial, cpus: &str, ids: &[u32]) -> Run {
    let machine = boot(context, context.guest("report.elf")?, 256)?;
    // The last `-smp` counts.
    let more = ["-smp".to_owned(), cpus.to_owned()];
    let report = report(context, trial, "microvm", machine, &more)?;
    report.verify(&Given {
        cpus: ids.to_vec(),
        ..given(Format::Pvh, 256, COMMAND_LINE, true)
    })
}

/// A device in every slot: longer tables, or a longer command line.
fn every_slot(context: &Context<'_>, trial: &Trial, machine: &str, slots: u32) -> Run {
    let boot = boot(context, context.guest("report.elf")?, 256)?;
    let more: Vec<_> = (0..slots)
        .flat_map(|_| ["-device", "virtio-rng-device"].map(str::to_owned))
        .collect();
    let report = report(context, trial, machine, boot, &more)?;
    let acpi = !machine.contains("acpi=off");
    let mut cmdline = COMMAND_LINE.to_owned();
    if !acpi {
        // QEMU tells of the devices in the command line, each with its interrupt, the last slot first.
        for slot in (0..slots).rev() {
            let base = 0xfeb0_0000_u64 + u64::from(slot) * 0x200;
            cmdline += &format!(" virtio_mmio.device=512@{base:#x}:{}", slot + 5);
        }
    }
    report.verify(&given(Format::Pvh, 256, &cmdline, acpi))
}

/// With QEMU's option ROMs and without them, which only microvm can do, it is the same machine.
fn option_roms(context: &Context<'_>, trial: &Trial, kernel: &str) -> Run {
    let mut reports = Vec::new();
    for switch in ["on", "off"] {
        let boot = boot(context, context.guest(kernel)?, 256)?;
        let machine = format!("microvm,x-option-roms={switch}");
        reports.push(report(context, trial, &machine, boot, &[])?.without_time());
    }
    expect(reports[0] == reports[1], || {
        format!("expected two equal boots, found {reports:#?}")
    })
}
