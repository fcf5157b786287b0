// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest that reports what it was handed: on our monitor and on QEMU.
//!
//! It prints `key=value` lines between `report=begin` and `report=end`; each case asserts on them.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::guest::Format;
use crate::host::Kvm;
use crate::lab;
use crate::process::{Bounds, End, Watch, watch};
use crate::qemu::{Accelerator, Boot, Qemu};

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use super::stock;

const COMMAND_LINE: &str = "report console=ttyS0";
const MEMORY: &str = "256M";

/// Every machine that the guest reports from.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for format in [Format::Pvh, Format::Bzimage] {
        for cpus in [1, 2] {
            let name = format!("vmm/report-{format}-{cpus}cpu{}", plural(cpus));
            cases.push(Case::new(name, move |context, trial| {
                let output = on_monitor(context, trial, &boot(context, format, cpus)?)?;
                verify(&Report::parse(&output)?, format, cpus)
            }));
        }
        for acpi in ["on", "off"] {
            let name = format!("qemu/report-{format}-acpi-{acpi}");
            cases.push(Case::new(name, move |context, trial| {
                context.qemu()?;
                let machine = Qemu {
                    machine: format!("microvm,acpi={acpi}"),
                    accelerator: Accelerator::Tcg,
                    nested: false,
                    boot: boot(context, format, 2)?,
                    monitor: false,
                };
                let output = stock::watched(trial, &machine)?;
                verify(&Report::parse(&output)?, format, 2)
            }));
        }
    }
    cases
}

/// What every machine has to hand over.
fn verify(report: &Report, format: Format, cpus: u32) -> Run {
    report.expect("cmdline", COMMAND_LINE)?;
    report.expect("mp.checksum", "ok")?;
    let mode = match format {
        Format::Pvh => "pvh",
        Format::Bzimage => "linux64",
    };
    report.expect("mode", mode)?;
    let found = report.all("mp.cpu").count();
    expect(u32::try_from(found) == Ok(cpus), || {
        format!("expected {cpus} mp.cpu lines, found {found}")
    })
}

fn plural(cpus: u32) -> &'static str {
    if cpus == 1 { "" } else { "s" }
}

fn boot(context: &Context<'_>, format: Format, cpus: u32) -> Result<Boot, Outcome> {
    Ok(Boot {
        bios: context.rom()?,
        kernel: context.guest(match format {
            Format::Pvh => "report.elf",
            Format::Bzimage => "report.bz",
        })?,
        initrd: None,
        append: COMMAND_LINE.into(),
        memory: MEMORY.into(),
        cpus,
    })
}

/// On this machine's KVM, of whatever kind; without one in the lab.
fn on_monitor(context: &Context<'_>, trial: &Trial, boot: &Boot) -> Result<String, Outcome> {
    if let Kvm::Unusable(why) = &context.kvm {
        trial.remark(format!("in the lab, since {why}"));
        return stock::monitor_in_lab(context, trial, boot);
    }
    let how = Watch {
        bounds: Bounds {
            silence: Duration::from_secs(20),
            total: Duration::from_secs(60),
        },
        echo: false,
        released_by: None,
    };
    let mut command = Command::new(context.host()?.vmm);
    command.args(&lab::microvm(boot)[1..]).stdin(Stdio::null());
    let watched = watch(&mut command, &how)?;
    trial.keep(&watched.output)?;
    match watched.end {
        End::Exited(status) if status.success() => Ok(watched.output),
        end => Err(Outcome::Failed(format!("our monitor {end}"))),
    }
}

/// What the guest said.
#[derive(Debug)]
struct Report(Vec<(String, String)>);

impl Report {
    /// The lines between the marks.
    fn parse(output: &str) -> Result<Self, Outcome> {
        let missing = |mark| Outcome::Failed(format!("expected `{mark}`, found no such line"));
        let begin = "report=begin";
        let end = "report=end";
        let (_, rest) = output.split_once(begin).ok_or_else(|| missing(begin))?;
        let (body, _) = rest.split_once(end).ok_or_else(|| missing(end))?;
        let pairs = body.lines().filter_map(|line| {
            let (key, value) = line.trim_end_matches('\r').split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        });
        Ok(Self(pairs.collect()))
    }

    /// Every value of a key, in their order.
    fn all<'r>(&'r self, key: &'r str) -> impl Iterator<Item = &'r str> {
        self.0
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// A key has this one value.
    fn expect(&self, key: &str, value: &str) -> Run {
        let found: Vec<_> = self.all(key).collect();
        expect(found == [value], || {
            format!("expected {key}={value}, found {found:?}")
        })
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const OUTPUT: &str = "noise=1\r\nreport=begin\r\nmode=pvh\r\nmp.cpu=0x0 0x14\r\n\
                          mp.cpu=0x1 0x14\r\nreport=end\r\nmode=late\r\n";

    #[test]
    fn only_what_is_between_the_marks_counts() {
        let report = Report::parse(OUTPUT).unwrap();

        assert_eq!(report.expect("mode", "pvh"), Ok(()));
        assert_eq!(report.all("mp.cpu").count(), 2);
        assert_eq!(report.all("noise").count(), 0);
    }

    #[test]
    fn a_report_that_breaks_off_is_a_failure() {
        let error = Report::parse("report=begin\r\nmode=pvh\r\n").unwrap_err();

        assert_eq!(
            error,
            Outcome::Failed("expected `report=end`, found no such line".into())
        );
    }
}
