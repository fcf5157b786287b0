// SPDX-License-Identifier: MIT OR Apache-2.0
//! More than an initial RAM disk: modules of a PVH kernel on QEMU; and an initial RAM disk too high
//! for 32 bits.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use super::report::Report;
use super::stock;
use crate::qemu::{Boot, Qemu};
use crate::workspace::{read, write_atomically};
use abi::layout::RAM_ABOVE_4G_START;
use abi::linux::{SETUP_HEADER_OFFSET, SetupHeader, XLoadFlags};
use std::mem::offset_of;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;

/// A machine, what else is on its command line, how many modules, and whether there is an initial
/// RAM disk.
const MACHINES: [(&str, &str, &[&str], usize, bool); 5] = [
    ("initrd", "microvm", &[], 3, true),
    ("no-initrd", "microvm", &[], 3, false),
    (
        "no-dma",
        "microvm",
        &["-global", "fw_cfg_io.dma_enabled=off", "-cpu", "qemu64"],
        3,
        true,
    ),
    (
        "32",
        "microvm",
        &["-global", "fw_cfg_io.x-file-slots=64"],
        32,
        true,
    ),
    ("pc", "pc", &[], 3, true),
];

/// Where a bzImage says what it takes.
const XLOADFLAGS: usize = SETUP_HEADER_OFFSET + offset_of!(SetupHeader, xloadflags);

/// Every case.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, machine, more, count, has_initrd) in MACHINES {
        let name = format!("qemu/report-modules-{name}");
        cases.push(Case::new(name, move |context, trial| {
            listed(context, trial, machine, more, count, has_initrd)
        }));
    }
    cases.push(Case::new("qemu/report-initrd-above-4GiB", above_4g));
    cases
}

fn command(
    context: &Context<'_>,
    machine: &str,
    kernel: PathBuf,
    memory: &str,
) -> Result<Command, Outcome> {
    context.qemu()?;
    let machine = Qemu::plain(
        machine,
        Boot {
            bios: context.rom()?,
            kernel,
            initrd: None,
            append: "report".into(),
            memory: memory.into(),
            cpus: 1,
        },
    );
    Ok(machine.command())
}

/// Every module is listed with its name behind the initial RAM disk, whole, in RAM and on nothing
/// else.
fn listed(
    context: &Context<'_>,
    trial: &Trial,
    machine: &str,
    more: &[&str],
    count: usize,
    has_initrd: bool,
) -> Run {
    let directory = context.workspace.target.join("test-inputs");
    let path = |what: &str| directory.join(format!("{}-{what}", trial.file_name()));
    let mut command = command(context, machine, context.guest("report.elf")?, "256M")?;
    let mut expected = Vec::new();
    if has_initrd {
        let bytes = vec![0x5a; 70_001];
        write_atomically(&path("initrd"), &bytes)?;
        command.arg("-initrd").arg(path("initrd"));
        expected.push(bytes);
    }
    let names: Vec<_> = (0..count).map(|index| format!("{index:02}")).collect();
    for (index, name) in names.iter().enumerate() {
        // One of them is empty, one is as long as a page.
        let byte = u8::try_from(index).unwrap_or_default();
        let bytes = vec![byte; index * 4096];
        write_atomically(&path(name), &bytes)?;
        let file = format!(
            "name=opt/org.qboot-rs/module/{name},file={}",
            path(name).display()
        );
        command.arg("-fw_cfg").arg(file);
        expected.push(bytes);
    }
    let report = Report::parse(&stock::watched_command(trial, command.args(more))?)?;

    let found: Vec<_> = report.all("module.text").collect();
    expect(found == names, || {
        format!("expected the modules {names:?}, found {found:?}")
    })?;
    let modules = report.numbers("module")?;
    let found: Vec<_> = modules.iter().map(|module| module[1..].to_vec()).collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|bytes| vec![bytes.len() as u64, guests::digest(bytes)])
        .collect();
    expect(found == expected, || {
        format!("expected modules of {expected:x?}, found {found:x?}")
    })?;
    apart_in_ram(&report, &modules)
}

fn apart_in_ram(report: &Report, modules: &[Vec<u64>]) -> Run {
    let ram: Vec<_> = report
        .numbers("memory")?
        .iter()
        .filter(|region| region[2] == 1)
        .map(|region| region[0]..region[0] + region[1])
        .collect();
    let mut places: Vec<Range<u64>> = modules.iter().map(|m| m[0]..m[0] + m[1]).collect();
    places.sort_by_key(|place| (place.start, place.end));
    let apart = places.windows(2).all(|pair| pair[0].end <= pair[1].start);
    let inside = places.iter().all(|place| {
        place.start % 4096 == 0
            && ram
                .iter()
                .any(|ram| ram.start <= place.start && place.end <= ram.end)
    });
    expect(apart && inside, || {
        format!("expected modules apart from each other in RAM {ram:x?}, found {places:x?}")
    })
}

/// A 64-bit kernel that takes it there finds a large initial RAM disk above 4 GiB.
fn above_4g(context: &Context<'_>, trial: &Trial) -> Run {
    let bytes: Vec<_> = (0..8_000_001_u64)
        .flat_map(|index| index.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect();
    let path = context.workspace.target.join("test-inputs/large-initrd");
    write_atomically(&path, &bytes)?;
    let mut kernel = read(&context.guest("report.bz")?)?;
    let flags = kernel
        .get_mut(XLOADFLAGS)
        .ok_or_else(|| Outcome::Failed("the guest is too short".into()))?;
    *flags |= XLoadFlags::CAN_BE_LOADED_ABOVE_4G.bits().to_le_bytes()[0];
    let kernel_path = path.with_file_name("report-above-4GiB.bz");
    write_atomically(&kernel_path, &kernel)?;
    let mut command = command(context, "microvm", kernel_path, "5G")?;
    command.arg("-initrd").arg(path);
    let report = Report::parse(&stock::watched_command(trial, &mut command)?)?;

    let modules = report.numbers("module")?;
    let expected = [bytes.len() as u64, guests::digest(&bytes)];
    let [module] = &modules[..] else {
        return Err(Outcome::Failed(format!(
            "expected one module, found {modules:x?}"
        )));
    };
    expect(
        module[0] >= RAM_ABOVE_4G_START && module[1..] == expected,
        || format!("expected {expected:x?} above 4 GiB, found {module:x?}"),
    )?;
    apart_in_ram(&report, &modules)
}
