// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest can reach of our monitor and of QEMU's `microvm` with the same options.
//!
//! Both describe the machine before it runs: ours with `--print-machine`, QEMU with `info mtree -f`.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use crate::process::{Bounds, End, Watch, watch};
use crate::qemu;
use crate::workspace::write_atomically;
use serde_json::Value;
use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What QEMU's monitor is told.
const QUESTION: &str = "info mtree -f\nquit\n";
/// A disk and a source of random bytes.
const QEMU_DEVICES: [&str; 6] = [
    "-drive",
    "if=none,id=disk,format=raw,readonly=on,file=/dev/zero,file.locking=off",
    "-device",
    "virtio-blk-device,drive=disk",
    "-device",
    "virtio-rng-device",
];
/// And no console in the place of COM1.
const OUR_DEVICES: [&str; 4] = [
    "--disk",
    "path=/dev/zero,readonly=on",
    "--rng",
    "--serial=none",
];

/// What QEMU has to be told that ours has where there is ACPI.
const PVPANIC: [&str; 2] = ["-device", "pvpanic"];

/// The same machine in QEMU's words and in ours.
const MACHINES: [(&str, &str, &str); 5] = [
    ("all", "rtc=on", "irqchip=split"),
    ("kernel-irqchip", "rtc=on,ioapic2=off", "irqchip=kernel"),
    (
        "two-io-apics",
        "rtc=on,ioapic2=on",
        "irqchip=split,ioapic2=on",
    ),
    ("no-acpi", "rtc=on,acpi=off", "irqchip=split,acpi=off"),
    (
        "none",
        "acpi=off,pic=off,pit=off,rtc=off,isa-serial=off",
        "irqchip=split,acpi=off,pic=off,pit=off,rtc=off,isa-serial=off",
    ),
];

/// Every case.
pub fn cases() -> Vec<Case> {
    MACHINES
        .iter()
        .map(|&(name, theirs, ours)| {
            Case::new(format!("qemu/exposed-{name}"), move |context, trial| {
                compare(context, trial, theirs, ours)
            })
        })
        .collect()
}

/// Places that a guest can reach: as they are listed, and of the ports also each one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    ports: u64,
    ranges: u64,
    regions: u64,
}

fn compare(context: &Context<'_>, trial: &Trial, theirs: &str, ours: &str) -> Run {
    context.qemu()?;
    let theirs = of_qemu(context, trial, theirs)?;
    let ours = of_ours(context, trial, ours)?;
    trial.remark(format!(
        "{} ports in {} ranges and {} MMIO regions; QEMU: {}, {} and {}",
        ours.ports, ours.ranges, ours.regions, theirs.ports, theirs.ranges, theirs.regions
    ));
    let smaller = ours.regions < theirs.regions
        && ours.ranges + ours.regions < theirs.ranges + theirs.regions
        && ours.ports + ours.regions < theirs.ports + theirs.regions;
    expect(smaller, || {
        format!("expected less than {theirs:?} (QEMU), found {ours:?}")
    })
}

fn of_ours(context: &Context<'_>, trial: &Trial, machine: &str) -> Result<Count, Outcome> {
    let images = context.host()?;
    let mut command = Command::new(&images.vmm);
    command
        .args([
            "--print-machine=json",
            "--memory=128M",
            "--machine",
            machine,
        ])
        .args(OUR_DEVICES)
        // QEMU has no trace points.
        .arg("--trace=off")
        .arg("--bios")
        .arg(&images.rom);
    let description = said(trial, command.stdin(Stdio::null()))?;
    let value: Value = serde_json::from_str(&description)
        .map_err(|error| Outcome::Failed(format!("expected JSON: {error}")))?;
    let number = |key: &str| {
        let found = &value["exposed"][key];
        found.as_u64().ok_or_else(|| {
            Outcome::Failed(format!("expected a number called {key}, found {found}"))
        })
    };
    Ok(Count {
        ports: number("ports")?,
        ranges: number("port_ranges")?,
        regions: number("mmio_regions")?,
    })
}

fn of_qemu(context: &Context<'_>, trial: &Trial, machine: &str) -> Result<Count, Outcome> {
    let question = context.workspace.target.join("test-inputs/info-mtree");
    write_atomically(&question, QUESTION.as_bytes())?;
    let question = File::open(&question)
        .map_err(|error| Outcome::Failed(format!("{}: {error}", question.display())))?;
    let mut command = Command::new(qemu::PROGRAM);
    command
        .args(["-no-user-config", "-nodefaults", "-display", "none", "-S"])
        .args(["-M", &format!("microvm,{machine}"), "-accel", "tcg"])
        .args(["-m", "128M", "-serial", "null", "-monitor", "stdio"])
        .args(QEMU_DEVICES)
        .arg("-bios")
        .arg(context.rom()?);
    if !machine.contains("acpi=off") {
        command.args(PVPANIC);
    }
    let answer = said(trial, command.stdin(Stdio::from(question)))?;
    count(&answer).ok_or_else(|| {
        Outcome::Failed("expected the flat views of memory and ports from QEMU".into())
    })
}

/// What a program says that ends by itself.
fn said(trial: &Trial, command: &mut Command) -> Result<String, Outcome> {
    let how = Watch {
        bounds: Bounds {
            silence: Duration::from_secs(60),
            total: Duration::from_secs(60),
        },
        echo: false,
        released_by: None,
        until: None,
    };
    let watched = watch(command, &how)?;
    trial.keep(&watched.output)?;
    match watched.end {
        End::Exited(status) if status.success() => Ok(watched.output),
        end => Err(Outcome::Failed(format!(
            "expected {} to end well, but it {end}",
            command.get_program().display()
        ))),
    }
}

/// Counts the entries of the flat views of all memory and all ports, without RAM, ROM and what is
/// nobody's.
fn count(answer: &str) -> Option<Count> {
    let entries = |space: &str| {
        let name = format!("AS \"{space}\",");
        let view = answer
            .split("FlatView #")
            .find(|view| view.contains(&name))?;
        Some(view.lines().filter_map(entry).collect::<Vec<_>>())
    };
    let ports = entries("I/O")?;
    let sizes = ports.iter().map(|(first, last)| last - first + 1);
    Some(Count {
        ports: sizes.sum(),
        ranges: ports.len().try_into().ok()?,
        regions: entries("memory")?.len().try_into().ok()?,
    })
}

/// The addresses of `  FIRST-LAST (prio N, i/o): NAME`.
fn entry(line: &str) -> Option<(u64, u64)> {
    let (addresses, rest) = line.trim().split_once(' ')?;
    let (kind, name) = rest.split_once("): ")?;
    if !kind.ends_with(", i/o") || name == "io" || name.starts_with("io @") {
        return None;
    }
    let (first, last) = addresses.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(first)?, number(last)?))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn registers_are_counted_and_memory_is_not() {
        let answer = "FlatView #0\n AS \"memory\", root: system\n Root memory region: system\n  \
            0000000000000000-00000000000effff (prio 0, ram): microvm.ram\n  \
            00000000feb00000-00000000feb001ff (prio 0, i/o): virtio-mmio\n\n\
            FlatView #1\n AS \"I/O\", root: io\n  \
            0000000000000000-000000000000001f (prio 0, i/o): io\n  \
            0000000000000020-0000000000000021 (prio 0, i/o): pic\n  \
            0000000000000022-000000000000003f (prio 0, i/o): io @0000000000000022\n  \
            0000000000000071-0000000000000071 (prio 0, i/o): rtc @0000000000000001\n";

        assert_eq!(
            count(answer),
            Some(Count {
                ports: 3,
                ranges: 2,
                regions: 1
            })
        );
        assert_eq!(count("nothing"), None);
    }
}
