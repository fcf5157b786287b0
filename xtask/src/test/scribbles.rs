// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest that accesses all registers of all devices at random, for a minute: our monitor goes on,
//! whatever it is told, and ends when it is asked to.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use super::handed::{monitor, run};
use crate::process::{Bounds, End};
use crate::qemu::Boot;
use crate::workspace::write_atomically;
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

/// Devices that rightly end the run or, almost at once, a boot.
const LAST_WORDS: [&str; 4] = ["ged-registers", "pvpanic", "failure", "reset-control"];

/// Machines that have each device at least once.
const MACHINES: [(&str, &str); 2] = [
    ("split", "rtc=on,ioapic2=on,pvpanic=on"),
    ("kernel", "irqchip=kernel,rtc=on,force-legacy=on"),
];

/// How long.
const SCRIBBLING: Duration = Duration::from_mins(1);

/// What our monitor ends with: at the end of that time; and earlier where a device was told to write
/// over the guest's program, which then fails before it has handlers of its own, and says so.
const BY_SIGNAL: &str = "143";
const GUEST_FAILED: &str = "3";

/// A guest that got stuck has fewer exits, on the slowest of machines, too.
const FEWEST_EXITS: u64 = 10_000;

/// Bytes of the disk.
const DISK: usize = 1 << 20;

pub fn cases() -> Vec<Case> {
    MACHINES
        .into_iter()
        .map(|(name, parts)| {
            Case::new(format!("vmm/scribbles-{name}"), move |context, trial| {
                scribbles(context, trial, parts)
            })
        })
        .collect()
}

fn scribbles(context: &Context<'_>, trial: &Trial, parts: &str) -> Run {
    context.usable_kvm()?;
    let inputs = context.workspace.target.join("test-inputs");
    let disk = inputs.join(format!("{}.raw", trial.file_name()));
    write_atomically(&disk, &vec![0x5a; DISK])?;
    let mut options: Vec<String> = ["--rng", "--reboot", "--console", "none", "--serial", "none"]
        .map(String::from)
        .into();
    options.extend(["--machine".into(), parts.into()]);
    options.extend(["--disk".into(), format!("path={}", disk.display())]);

    let mut boot = Boot {
        bios: context.rom()?,
        kernel: context.guest("report.elf")?,
        initrd: None,
        append: String::new(),
        memory: "64M".into(),
        cpus: 1,
    };
    let mut description = monitor(context, &boot)?;
    description.args(&options).arg("--print-machine=json");
    let described = serde_json::from_str(&run(trial, &mut description)?)
        .map_err(|error| Outcome::Failed(format!("--print-machine=json: {error}")))?;
    boot.append = format!("pci=off report=scribble,{}", places(&described).join(","));

    let mut count = 0;
    let mut remarks = Vec::new();
    let started = Instant::now();
    while let Some(left) = SCRIBBLING.checked_sub(started.elapsed()) {
        let mut monitor = monitor(context, &boot)?;
        monitor.args(&options);
        let (status, summary) = ended(trial, &monitor, left)?;
        let exits = summary.split_once("; exits: ").map_or("", |it| it.1);
        remarks.push(exits.to_owned());
        let numbers = exits.split([' ', ';']).map_while(|word| match word {
            "io," | "mmio," => Some(0),
            word => word.parse::<u64>().ok(),
        });
        count += numbers.sum::<u64>();
        match status.as_str() {
            BY_SIGNAL => break,
            GUEST_FAILED => {}
            _ => {
                return Err(Outcome::Failed(format!(
                    "expected our monitor to end with {BY_SIGNAL}, by SIGTERM, or {GUEST_FAILED}, \
                     found {status}: `{summary}`"
                )));
            }
        }
    }
    trial.remark(remarks.join("; then "));
    expect(count >= FEWEST_EXITS, || {
        format!("expected at least {FEWEST_EXITS} exits, found {count}")
    })?;
    let size = std::fs::metadata(&disk).map_or(0, |data| data.len());
    expect(size == DISK as u64, || {
        format!("expected a disk of {DISK} bytes, found {size}")
    })
}

/// Runs our monitor for so long at most: the status it ended with, and its last line.
fn ended(trial: &Trial, monitor: &Command, left: Duration) -> Result<(String, String), Outcome> {
    // The first signal presses the power button, which nobody hears.
    let script = format!(
        "\"$@\" & monitor=$!\n\
         (sleep {}; kill $monitor; sleep 1; kill $monitor) >/dev/null 2>&1 & clock=$!\n\
         wait $monitor; status=$?\n\
         kill $clock 2>/dev/null\n\
         echo status=$status",
        left.as_secs()
    );
    let mut command = Command::new("sh");
    command
        .args(["-c", &script, "sh"])
        .arg(monitor.get_program())
        .args(monitor.get_args());
    let patience = left + Duration::from_secs(30);
    let watched = trial.watch(
        &mut command,
        Bounds {
            silence: patience,
            total: patience,
        },
    )?;
    let said = &watched.output;
    let summary = said.lines().find(|line| line.contains("; exits: "));
    match (said.trim_end().rsplit_once("status="), watched.end) {
        (Some((_, status)), End::Exited(_)) => {
            Ok((status.to_owned(), summary.unwrap_or_default().to_owned()))
        }
        (_, end) => Err(Outcome::Failed(format!(
            "expected our monitor to end by itself, found that it {end}: `{said}`"
        ))),
    }
}

/// The registers of devices in a description, as words for the guest.
fn places(description: &Value) -> Vec<String> {
    let of = |key: &str, letter| {
        let places = description[key].as_array().cloned().unwrap_or_default();
        places.into_iter().filter_map(move |place| {
            let name = place["device"].as_str()?;
            let (first, last) = (place["first"].as_u64()?, place["last"].as_u64()?);
            (!LAST_WORDS.contains(&name)).then(|| format!("{letter}{first:x}-{last:x}"))
        })
    };
    of("ports", 'p').chain(of("mmio", 'm')).collect()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn devices_that_end_the_run_are_left_out() {
        let description = serde_json::json!({
            "ports": [{"first": 32, "last": 33, "device": "pic"}],
            "mmio": [
                {"first": 65536, "last": 65539, "device": "ged-events"},
                {"first": 65792, "last": 65794, "device": "ged-registers"}
            ]
        });

        assert_eq!(places(&description), ["p20-21", "m10000-10003"]);
    }
}
