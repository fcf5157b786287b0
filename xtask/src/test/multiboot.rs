// SPDX-License-Identifier: MIT OR Apache-2.0
//! Multiboot kernels on QEMU and on our monitor with our ROM: `report`, and one that lies over the
//! firmware itself.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use super::report::Report;
use super::{handed, stock};
use crate::process::{Bounds, End};
use crate::qemu::{Boot, Qemu};
use crate::workspace::write_atomically;
use abi::debug::FailureCode;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The command line.
const APPEND: &str = "one two";

/// A machine, what else is on its command line, and the guest.
const REPORTS: [(&str, &str, &[&str], &str); 5] = [
    ("elf", "microvm", &[], "report.multiboot"),
    ("flat", "microvm", &[], "report-flat.multiboot"),
    ("no-acpi", "microvm,acpi=off", &[], "report.multiboot"),
    (
        "no-dma",
        "microvm",
        &["-global", "fw_cfg_io.dma_enabled=off"],
        "report.multiboot",
    ),
    (
        "2MiB-pages",
        "microvm",
        &["-cpu", "qemu64"],
        "report.multiboot",
    ),
];

/// The same on our monitor: what else is on its command line, and the guest.
const ON_MONITOR: [(&str, &[&str], &str); 4] = [
    ("elf", &[], "report.multiboot"),
    ("flat", &[], "report-flat.multiboot"),
    ("no-acpi", &["--machine", "acpi=off"], "report.multiboot"),
    ("no-dma", &["--fw-cfg-dma", "off"], "report.multiboot"),
];

/// Load addresses, and whether `fw_cfg` offers DMA: over the stack and all buffers.
const LOW: [(u32, bool); 3] = [(0x8000, true), (0x8000, false), (0x1000, true)];

/// Every case.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, machine, more, kernel) in REPORTS {
        let name = format!("qemu/multiboot-report-{name}");
        cases.push(Case::new(name, move |context, trial| {
            report(context, trial, machine, more, kernel)
        }));
    }
    for (name, words, kernel) in ON_MONITOR {
        let name = format!("vmm/multiboot-report-{name}");
        cases.push(Case::new(name, move |context, trial| {
            on_monitor(context, trial, words, kernel)
        }));
    }
    for (addr, dma) in LOW {
        let how = if dma { "dma" } else { "port" };
        let name = format!("qemu/multiboot-loaded-at-{addr:#x}-by-{how}");
        cases.push(Case::new(name, move |context, trial| {
            low(context, trial, addr, dma)
        }));
    }
    for machine in ["microvm", "pc"] {
        let name = format!("qemu/multiboot-refused-checksum-{machine}");
        cases.push(Case::new(name, move |context, trial| {
            wrong_sum(context, trial, machine)
        }));
    }
    cases
}

/// The command of a machine that boots `kernel`.
fn command(
    context: &Context<'_>,
    machine: &str,
    kernel: PathBuf,
    append: &str,
) -> Result<Command, Outcome> {
    context.qemu()?;
    let machine = Qemu::plain(
        machine,
        Boot {
            bios: context.rom()?,
            kernel,
            initrd: None,
            append: append.into(),
            memory: "256M".into(),
            cpus: 1,
        },
    );
    Ok(machine.command())
}

/// Two modules with their strings, the command line, the map: all as QEMU and the memory say.
fn report(context: &Context<'_>, trial: &Trial, machine: &str, more: &[&str], guest: &str) -> Run {
    let kernel = context.guest(guest)?;
    let list = list(context, trial)?;
    let mut command = command(context, machine, kernel.clone(), APPEND)?;
    command.arg("-initrd").arg(list.join(",")).args(more);
    let report = Report::parse(&stock::watched_command(trial, &mut command)?)?;
    let acpi = !machine.contains("acpi=off");
    whole(&report, &kernel, &list, acpi)
}

/// The same where our monitor has loaded the kernel.
fn on_monitor(context: &Context<'_>, trial: &Trial, more: &[&str], guest: &str) -> Run {
    context.usable_kvm()?;
    let kernel = context.guest(guest)?;
    let list = list(context, trial)?;
    let boot = Boot {
        bios: context.rom()?,
        kernel: kernel.clone(),
        initrd: Some(list.join(",").into()),
        append: APPEND.into(),
        memory: "256M".into(),
        cpus: 1,
    };
    let mut command = handed::monitor(context, &boot)?;
    command.args(more);
    let report = Report::parse(&handed::run(trial, &mut command)?)?;
    whole(&report, &kernel, &list, !more.contains(&"acpi=off"))
}

fn modules() -> [Vec<u8>; 2] {
    [vec![0x11; 5000], vec![0x22; 1]]
}

/// The modules as files, with a word each.
fn list(context: &Context<'_>, trial: &Trial) -> Result<Vec<String>, Outcome> {
    let directory = context.workspace.target.join("test-inputs");
    let mut list = Vec::new();
    for (index, bytes) in modules().iter().enumerate() {
        let path = directory.join(format!("{}-{index}", trial.file_name()));
        write_atomically(&path, bytes)?;
        list.push(format!("{} number={index}", path.display()));
    }
    Ok(list)
}

/// The kernel was told all that there is.
fn whole(report: &Report, kernel: &Path, list: &[String], acpi: bool) -> Run {
    report.expect("mode", "multiboot")?;
    report.expect("cr0", "0x11")?;
    report.expect("cr4", "0x0")?;
    report.expect("efer", "0x0")?;
    report.expect("multiboot.flags", "0x24d")?;
    report.expect("multiboot.loader", "qboot-rs")?;
    report.expect("cmdline", &format!("{} {APPEND}", kernel.display()))?;
    let texts: Vec<_> = report.all("module.text").collect();
    expect(texts == list, || {
        format!("expected the modules {list:?}, found {texts:?}")
    })?;
    let found: Vec<_> = report
        .all("module")
        .filter_map(|module| module.split_once(' '))
        .map(|(_, size_and_digest)| size_and_digest.to_owned())
        .collect();
    let expected: Vec<_> = modules()
        .iter()
        .map(|bytes| format!("{:#x} {:#x}", bytes.len(), guests::digest(bytes)))
        .collect();
    expect(found == expected, || {
        format!("expected modules of {expected:?}, found {found:?}")
    })?;
    let free = report.all("memory").next().unwrap_or_default();
    let lower = report.all("multiboot.memory").next().unwrap_or_default();
    expect(
        free == "0x0 0x9f000 0x1" && lower == "0x27c 0x3fc00",
        || format!("expected 636 KiB and 255 MiB of free memory, found {free} and {lower}"),
    )?;
    let acpi = usize::from(acpi);
    expect(report.all("acpi.rsdp").count() == acpi, || {
        format!("expected {acpi} RSDP to be found by a scan")
    })
}

/// A program that says its name and ends by triple fault, in an image that ends at 128 KiB.
fn low(context: &Context<'_>, trial: &Trial, addr: u32, dma: bool) -> Run {
    let path = context
        .workspace
        .target
        .join("test-inputs")
        .join(trial.file_name());
    write_atomically(&path, &program(addr, b"loaded low"))?;
    let mut command = command(context, "microvm", path, "")?;
    if !dma {
        command.args(["-global", "fw_cfg_io.dma_enabled=off"]);
    }
    let output = stock::watched_command(trial, &mut command)?;
    expect(output.contains("loaded low"), || {
        format!("expected `loaded low`, found `{}`", output.trim_end())
    })
}

/// To QEMU an image whose header does not add up is no multiboot kernel but an old Linux one, and
/// our firmware sees that it is neither.
fn wrong_sum(context: &Context<'_>, trial: &Trial, machine: &str) -> Run {
    const SENTENCE: &str = "qboot-rs: kernel: expected a Linux setup header (0xaa55, HdrS), found";
    let mut image = program(0x8000, b"not to be seen");
    image[8] ^= 1; // in the checksum
    let path = context
        .workspace
        .target
        .join("test-inputs")
        .join(trial.file_name());
    write_atomically(&path, &image)?;
    let mut command = command(context, machine, path, "")?;
    command.args(["-device", "isa-debug-exit,iobase=0x51c,iosize=4"]);
    let bounds = Bounds {
        silence: Duration::from_secs(20),
        total: Duration::from_secs(30),
    };
    let watched = trial.watch(&mut command, bounds)?;
    expect(watched.output.contains(SENTENCE), || {
        format!(
            "expected `{SENTENCE}`, found `{}`",
            watched.output.trim_end()
        )
    })?;
    // What the device makes of the last byte of the code.
    let status = i32::from(FailureCode::KernelFormat as u8) << 1 | 1;
    match watched.end {
        End::Exited(found) if found.code() == Some(status) => Ok(()),
        end => Err(Outcome::Failed(format!(
            "expected QEMU to end with status {status}, but it {end}"
        ))),
    }
}

/// A flat image whose header says where it goes.
fn program(addr: u32, text: &[u8]) -> Vec<u8> {
    const HEADER: usize = 32;
    const MAGIC: u32 = 0x1bad_b002;
    const ADDRESSES: u32 = 1 << 16;
    let checksum = 0u32.wrapping_sub(MAGIC).wrapping_sub(ADDRESSES);
    let entry = addr + 32;
    let header = [MAGIC, ADDRESSES, checksum, addr, addr, 0, 0, entry];
    let mut image: Vec<_> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    image.extend_from_slice(&[0xbe, 0, 0, 0, 0]); //        mov $text, %esi
    image.extend_from_slice(&[0x66, 0xba, 0xf8, 0x03]); //  mov $0x3f8, %dx
    image.extend_from_slice(&[0xac, 0x84, 0xc0]); //     1: lodsb; test %al, %al
    image.extend_from_slice(&[0x74, 0x03]); //              jz 2f
    image.extend_from_slice(&[0xee, 0xeb, 0xf8]); //        out %al, %dx; jmp 1b
    image.extend_from_slice(&[0x0f, 0x01, 0x1d, 0, 0, 0, 0]); // 2: lidt zeros
    image.push(0xcc); //                                    int3
    let at = |offset: usize| (addr + u32::try_from(offset).unwrap_or(0)).to_le_bytes();
    // The text is the last thing in the image, so that all of it has to be there.
    let size = 0x2_0000 - addr as usize;
    let text_at = size - text.len() - 1;
    image.resize(text_at, 0);
    image.extend_from_slice(text);
    image.push(0);
    image[HEADER + 1..][..4].copy_from_slice(&at(text_at));
    image[HEADER + 20..][..4].copy_from_slice(&at(0x100));
    image
}
