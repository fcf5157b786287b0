// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stock Debian up to its first process on our monitor in the lab, and what boots of stock kernels
//! share.

use crate::guest::{self, Flavour, Format, INIT_REACHED};
use crate::lab::{self, Job, Work};
use crate::process::{Bounds, End, Watched};
use crate::qemu::{Accelerator, Boot, Qemu};

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const MEMORY: &str = "512M";
const SEED: u32 = 1;

/// A way for a stock kernel to end its machine.
struct Ending {
    name: &'static str,
    cpus: &'static [u32],
    /// `--machine` of our monitor.
    parts: &'static str,
    /// Seconds of the lab's clock after which our monitor gets a SIGTERM.
    signalled: Option<&'static str>,
    /// On the kernel command line, where the last word about `reboot=` counts.
    word: &'static str,
    /// What our monitor says of it.
    sentence: &'static str,
    /// Whether ACPI's registers are written.
    registers: bool,
}

const ENDINGS: [Ending; 4] = [
    Ending {
        name: "power-off",
        cpus: &[1, 2],
        parts: "acpi=on",
        signalled: None,
        word: "qboot_rs.poweroff",
        sentence: "microvm: the guest turned the machine off;",
        registers: true,
    },
    Ending {
        name: "power-button",
        cpus: &[1],
        parts: "acpi=on,pit=off,rtc=off",
        signalled: Some("5"),
        word: "qboot_rs.button",
        sentence: "microvm: the guest turned the machine off;",
        registers: true,
    },
    Ending {
        name: "acpi-reset",
        cpus: &[1],
        parts: "acpi=on",
        signalled: None,
        word: "reboot=acpi",
        sentence: "microvm: the guest reset the machine;",
        registers: true,
    },
    Ending {
        name: "no-acpi-reset",
        cpus: &[2],
        parts: "acpi=off,irqchip=kernel",
        signalled: None,
        word: "reboot=acpi",
        sentence: "microvm: the guest reset the machine;",
        registers: false,
    },
];

/// Interrupt controllers in KVM and out of it, with all that a PC has and without.
const WIRINGS: [(&str, u32, &str); 8] = [
    ("kernel", 4, "irqchip=kernel"),
    ("kernel-no-acpi", 2, "irqchip=kernel,acpi=off"),
    ("split", 1, "irqchip=split"),
    ("split", 4, "irqchip=split"),
    (
        "split-most",
        2,
        "pic=on,pit=on,rtc=on,ioapic2=on,pvpanic=on,x-option-roms=on",
    ),
    ("split-least", 2, "pic=off,pit=off,rtc=off"),
    ("split-no-acpi", 1, "acpi=off"),
    ("split-no-acpi", 2, "acpi=off"),
];

/// Every way that a stock kernel is booted.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for format in [Format::Pvh, Format::Bzimage] {
        for cpus in [1, 2] {
            let name = format!("lab/debian-{format}-{}", count(cpus));
            cases.push(Case::new(name, move |context, trial| {
                let output = in_lab(context, trial, format, cpus)?;
                reached(&output, cpus)
            }));
        }
    }
    for (name, cpus, parts) in WIRINGS {
        let name = format!("lab/irqchip-{name}-{}", count(cpus));
        cases.push(Case::new(name, move |context, trial| {
            wired(context, trial, cpus, parts)
        }));
    }
    for ending in &ENDINGS {
        for cpus in ending.cpus {
            let name = format!("lab/{}-{}", ending.name, count(*cpus));
            cases.push(Case::new(name, move |context, trial| {
                ends(context, trial, ending, *cpus)
            }));
        }
    }
    for (name, parts) in [("bytes", "force-legacy=off"), ("legacy", "force-legacy=on")] {
        let name = format!("lab/random-{name}");
        cases.push(Case::new(name, move |context, trial| {
            random_bytes(context, trial, parts)
        }));
    }
    cases.push(Case::new("lab/debian-memory-above-4GiB", above_4g));
    cases.push(Case::new("lab/same-seed-same-run", same_run));
    cases
}

fn count(cpus: u32) -> String {
    format!("{cpus}cpu{}", if cpus == 1 { "" } else { "s" })
}

/// A stock kernel with the default root file system.
pub fn boot(
    context: &Context<'_>,
    bios: PathBuf,
    format: Format,
    cpus: u32,
    words: &[&str],
) -> Result<Boot, Outcome> {
    Ok(Boot {
        bios,
        kernel: context.kernel(Flavour::for_cpus(cpus), format)?,
        initrd: Some(context.initrd()?),
        append: guest::append(words, false),
        memory: MEMORY.into(),
        cpus,
    })
}

/// Runs a QEMU to its end, which has to be its own and with status 0: what it said.
pub fn watched(trial: &Trial, machine: &Qemu) -> Result<String, Outcome> {
    watched_command(trial, &mut machine.command())
}

/// The same with a command line that is not quite the machine's.
pub fn watched_command(trial: &Trial, command: &mut Command) -> Result<String, Outcome> {
    let bounds = Bounds {
        silence: Duration::from_secs(60),
        total: Duration::from_secs(150),
    };
    let watched = trial.watch(command, bounds)?;
    match watched.end {
        End::Exited(status) if status.success() => Ok(watched.output),
        end => Err(Outcome::Failed(format!("QEMU {end}"))),
    }
}

fn in_lab(
    context: &Context<'_>,
    trial: &Trial,
    format: Format,
    cpus: u32,
) -> Result<String, Outcome> {
    let images = context.lab()?;
    let boot = boot(context, images.rom.clone(), format, cpus, &[])?;
    monitor_in_lab(context, trial, &boot)
}

/// The guest reaches its first process and ends the machine as it was told to.
fn ends(context: &Context<'_>, trial: &Trial, ending: &Ending, cpus: u32) -> Run {
    let rom = context.lab()?.rom;
    let boot = boot(context, rom, Format::Pvh, cpus, &["quiet", ending.word])?;
    let signal = ending
        .signalled
        .map(|seconds| ["timeout", "-s", "TERM", seconds].map(String::from));
    let words = [
        signal.map_or_else(Vec::new, Vec::from),
        lab::microvm(&boot),
        vec!["--machine".into(), ending.parts.into()],
    ];
    let output = command_in_lab(context, trial, &words.concat(), &boot.memory)?;
    reached(&output, cpus)?;
    let summary = output.lines().find(|line| line.contains(ending.sentence));
    expect(
        summary.is_some_and(|line| line.contains(" 0 mmio") != ending.registers),
        || {
            format!(
                "expected `{}` {} MMIO exits, found {summary:?}",
                ending.sentence,
                if ending.registers { "with" } else { "without" }
            )
        },
    )
}

/// The guest finds its way to its first process whichever way its interrupts go. That has the
/// entropy device make bytes, by interrupt, where the kernel is the one that its driver is for.
fn wired(context: &Context<'_>, trial: &Trial, cpus: u32, parts: &str) -> Run {
    let rom = context.lab()?.rom;
    let words = ["quiet", "qboot_rs.random"];
    let mut boot = boot(context, rom, Format::Pvh, cpus, &words)?;
    // The kernel that the driver is for knows neither MP tables nor devices on its command line.
    let acpi = !parts.contains("acpi=off");
    if acpi {
        boot.kernel = context.kernel(Flavour::Cloud, Format::Pvh)?;
        boot.initrd = Some(guest::random_initrd(context.workspace)?);
    }
    let machine = ["--rng", "--machine", parts].map(String::from);
    let words = [lab::microvm(&boot), machine.into()].concat();
    let output = command_in_lab(context, trial, &words, &boot.memory)?;
    let summary = output.lines().find(|line| line.contains("; exits: "));
    trial.remark(summary.unwrap_or("no summary").to_owned());
    reached(&output, cpus)?;
    if acpi { took_bytes(&output) } else { Ok(()) }
}

/// A stock kernel has all of its RAM where that goes on above 4 GiB.
fn above_4g(context: &Context<'_>, trial: &Trial) -> Run {
    /// Half a GiB of it above 4 GiB; in KiB what the kernel does not count, below 1 MiB, and more.
    const MEMORY_KIB: u64 = 3584 << 10;
    const UNCOUNTED_KIB: u64 = 1024;
    let rom = context.lab()?.rom;
    let mut boot = boot(context, rom, Format::Pvh, 1, &[])?;
    boot.memory = format!("{}M", MEMORY_KIB >> 10);
    let output = monitor_in_lab(context, trial, &boot)?;
    reached(&output, 1)?;
    let line = output.lines().find(|line| line.contains("K available"));
    let total = line.and_then(|line| {
        let (_, rest) = line.split_once("K/")?;
        rest.split_once('K')?.0.parse::<u64>().ok()
    });
    let expected = MEMORY_KIB - UNCOUNTED_KIB..=MEMORY_KIB;
    expect(total.is_some_and(|total| expected.contains(&total)), || {
        format!("expected {expected:?} KiB of RAM, found {line:?}")
    })
}

/// A stock kernel finds the entropy device by the DSDT, and takes bytes from it by interrupt.
fn random_bytes(context: &Context<'_>, trial: &Trial, parts: &str) -> Run {
    let rom = context.lab()?.rom;
    let words = ["quiet", "qboot_rs.random", "qboot_rs.poweroff"];
    let mut boot = boot(context, rom, Format::Pvh, 1, &words)?;
    boot.initrd = Some(guest::random_initrd(context.workspace)?);
    let machine = ["--rng", "--machine", parts].map(String::from);
    let words = [lab::microvm(&boot), machine.into()].concat();
    let output = command_in_lab(context, trial, &words, &boot.memory)?;
    reached(&output, 1)?;
    took_bytes(&output)
}

fn took_bytes(output: &str) -> Run {
    let expected = "QBOOT-RS: random bytes=100000 from virtio_rng.0";
    expect(output.contains(expected), || {
        format!("expected `{expected}`, found no such line")
    })
}

/// Runs our monitor in the lab, which has to end with status 0: what was said.
fn monitor_in_lab(context: &Context<'_>, trial: &Trial, boot: &Boot) -> Result<String, Outcome> {
    command_in_lab(context, trial, &lab::microvm(boot), &boot.memory)
}

/// The same with a command line of one's own, for an inner machine with this much memory.
pub fn command_in_lab(
    context: &Context<'_>,
    trial: &Trial,
    words: &[String],
    memory: &str,
) -> Result<String, Outcome> {
    let job = job(context, words, memory)?;
    let attempts = lab::attempts(Accelerator::Icount { seed: SEED });
    let name = trial.file_name();
    let watched = lab::boot_patiently(context.workspace, &name, &job, attempts, false, |remark| {
        trial.remark(remark);
    })?;
    ended_well(trial, watched)
}

/// A command line for the lab, whose own kernel and root file system are made, too.
fn job(context: &Context<'_>, words: &[String], memory: &str) -> Result<Job, Outcome> {
    let images = context.lab()?;
    context.kernel(Flavour::Cloud, Format::Pvh)?;
    context.initrd()?;
    let mut job = Job {
        bios: images.rom,
        vmm: images.vmm,
        files: Vec::new(),
        work: Work::Shell,
        memory_mib: lab::memory_mib(memory),
        terminal: false,
        seconds: None,
    };
    job.command(words);
    Ok(job)
}

/// The lab and the command in it ended by themselves, and well: what was said.
fn ended_well(trial: &Trial, watched: Watched) -> Result<String, Outcome> {
    trial.keep(&watched.output)?;
    match (lab::status(&watched.output), watched.end) {
        (Some(0), End::Exited(_)) => Ok(watched.output),
        (Some(0), end) => Err(Outcome::Failed(format!("the lab's outer machine {end}"))),
        (Some(status), _) => Err(Outcome::Failed(format!(
            "our monitor ended with {}",
            lab::meaning(status)
        ))),
        (None, end) => Err(Outcome::Failed(format!(
            "the lab's outer machine {end} without saying how our monitor ended"
        ))),
    }
}

/// Two runs with the same seed say the same, to the nanosecond. A seed with which the emulator hangs
/// would have it hang again.
fn same_run(context: &Context<'_>, trial: &Trial) -> Run {
    let boot = boot(context, context.lab()?.rom, Format::Pvh, 1, &[])?;
    let job = job(context, &lab::microvm(&boot), &boot.memory)?;
    let name = trial.file_name();
    for seed in SEED..SEED + 3 {
        let run = || {
            let mode = Accelerator::Icount { seed };
            lab::boot(context.workspace, &name, &job, mode, false)
        };
        let first = run()?;
        if matches!(first.end, End::Silent(_)) {
            trial.remark(format!("the emulator hangs with seed {seed}"));
            continue;
        }
        let (first, second) = (ended_well(trial, first)?, ended_well(trial, run()?)?);
        return expect(first == second, || {
            let line = first
                .lines()
                .zip(second.lines())
                .find(|(one, other)| one != other);
            format!("two runs with seed {seed} differ, first in {line:?}")
        });
    }
    Err(Outcome::Failed(
        "expected a seed with which the emulator does not hang, found none of three".into(),
    ))
}

/// The guest's first process ran, and saw every CPU.
pub fn reached(output: &str, cpus: u32) -> Run {
    let expected = format!("{INIT_REACHED} cpus={cpus}");
    let found = output.lines().find_map(|line| {
        line.find(INIT_REACHED)
            .map(|start| line[start..].trim_end())
    });
    expect(found == Some(expected.as_str()), || {
        format!(
            "expected `{expected}`, found {}",
            found.map_or_else(|| "no such line".to_owned(), |line| format!("`{line}`"))
        )
    })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_cpu_has_to_be_seen() {
        assert_eq!(reached("x\r\nQBOOT-RS: init reached cpus=2\r\n", 2), Ok(()));
        assert_eq!(
            reached("QBOOT-RS: init reached cpus=1\r\n", 2),
            Err(Outcome::Failed(
                "expected `QBOOT-RS: init reached cpus=2`, found `QBOOT-RS: init reached cpus=1`"
                    .into()
            ))
        );
        assert!(reached("Kernel panic", 1).is_err());
    }

    #[test]
    fn the_guest_of_a_case_ends_by_itself() {
        assert!(guest::append(&[], false).contains(guest::EXIT_WORD));
    }
}
