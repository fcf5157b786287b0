// SPDX-License-Identifier: MIT OR Apache-2.0
//! Our monitor without firmware: it enters the kernel itself, with the same memory and the same ACPI
//! tables that firmware hands over.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use super::handed::{COMMAND_LINE, initrd, monitor, run};
use super::report::Report;
use super::stock;
use crate::guest::Format;
use crate::lab;
use crate::process::{Bounds, End};
use crate::qemu::Boot;
use crate::workspace::write_atomically;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// Every case.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (format, kernel) in [("pvh", "report.elf"), ("bzimage", "report.bz")] {
        let name = format!("vmm/floor-{format}");
        cases.push(Case::new(name, move |context, trial| {
            same(context, trial, kernel)
        }));
    }
    cases.push(Case::new("vmm/floor-reboot", reboots));
    cases.push(Case::new("vmm/floor-refusals", refusals));
    for format in [Format::Pvh, Format::Bzimage] {
        let name = format!("lab/floor-debian-{format}");
        cases.push(Case::new(name, move |context, trial| {
            debian(context, trial, format)
        }));
    }
    cases
}

fn boot(context: &Context<'_>, kernel: &str, bios: PathBuf) -> Result<Boot, Outcome> {
    let path = context.workspace.target.join("test-inputs/floor-initrd");
    write_atomically(&path, &initrd())?;
    Ok(Boot {
        bios,
        kernel: context.guest(kernel)?,
        initrd: Some(path),
        append: COMMAND_LINE.into(),
        memory: "5G".into(),
        cpus: 2,
    })
}

/// What a kernel finds apart from where it is: the tables but the firmware's own, the initial RAM disk,
/// memory from 1 MiB on.
fn found(report: &Report) -> BTreeSet<String> {
    let tables = report.all("acpi.digest");
    // The root table of our firmware has one entry more, the time that it took.
    let tables = tables.filter(|it| !it.starts_with("FPDT") && !it.starts_with("XSDT"));
    let memory = report.all("memory");
    let memory = memory.filter(|it| it.split(' ').next().is_some_and(|start| start.len() > 7));
    // Its size and its digest.
    let modules = report.all("module");
    let modules = modules.filter_map(|it| it.split_once(' ').map(|(_, rest)| rest));
    let handed = ["cmdline", "mode", "cr0", "cr4", "efer", "mtrr"];
    let handed = handed.into_iter().flat_map(|name| report.all(name));
    let all = tables.chain(memory).chain(modules).chain(handed);
    all.map(str::to_owned).collect()
}

fn same(context: &Context<'_>, trial: &Trial, kernel: &str) -> Run {
    context.usable_kvm()?;
    let mut reports = Vec::new();
    for bios in ["none".into(), context.rom()?] {
        let output = run(trial, &mut monitor(context, &boot(context, kernel, bios)?)?)?;
        reports.push(Report::parse(&output)?);
    }
    let (floor, firmware) = (&reports[0], &reports[1]);
    let sums: Vec<_> = floor.all("acpi.table").collect();
    expect(
        sums.len() == 4 && sums.iter().all(|it| it.ends_with(" 0x0")),
        || format!("expected four ACPI tables whose bytes add up to 0, found {sums:?}"),
    )?;
    let (ours, theirs) = (found(floor), found(firmware));
    expect(ours == theirs, || {
        format!("expected what firmware hands over, {theirs:#?}, found {ours:#?}")
    })
}

/// A reset begins with the kernel again.
fn reboots(context: &Context<'_>, trial: &Trial) -> Run {
    const SECOND: &str = "report=end\nreport=begin";
    context.usable_kvm()?;
    for kernel in ["report.elf", "report.bz"] {
        let mut command = monitor(context, &boot(context, kernel, "none".into())?)?;
        let bounds = Bounds {
            silence: Duration::from_secs(30),
            total: Duration::from_secs(60),
        };
        let watched = trial.watch_until(command.arg("--reboot"), bounds, Some(SECOND))?;
        expect(watched.output.contains(SECOND), || {
            format!("expected {kernel} twice, found {}", watched.output)
        })?;
    }
    Ok(())
}

/// What needs firmware is refused with one sentence.
fn refusals(context: &Context<'_>, trial: &Trial) -> Run {
    const SENTENCE: &str = "microvm: --bios none: expected a kernel with a PVH entry point or a bzImage \
                            with a 64-bit one (boot protocol 2.12), found ";
    for (kernel, found) in [
        ("report.multiboot", "a multiboot kernel"),
        ("report32.bz", "a bzImage without one"),
        ("report16.bz", "a bzImage without one"),
    ] {
        let boot = boot(context, kernel, "none".into())?;
        let mut command = monitor(context, &boot)?;
        let bounds = Bounds {
            silence: Duration::from_secs(10),
            total: Duration::from_secs(10),
        };
        let watched = trial.watch(&mut command, bounds)?;
        let refused = matches!(watched.end, End::Exited(status) if status.code() == Some(2));
        expect(
            refused && watched.output.trim_end() == format!("{SENTENCE}{found}"),
            || format!("expected `{SENTENCE}{found}`, found `{}`", watched.output),
        )?;
    }
    Ok(())
}

fn debian(context: &Context<'_>, trial: &Trial, format: Format) -> Run {
    context.lab()?;
    let boot = stock::boot(context, "none".into(), format, 2, &[])?;
    let words = lab::microvm(&boot);
    let said = stock::command_in_lab(context, trial, &words, &boot.memory)?;
    stock::reached(&said, 2)
}
