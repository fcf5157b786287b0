// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a boot costs in time and memory on a machine whose runs are never the same twice.
//!
//! What is compared takes turns, so that whatever else the machine does falls on all of them. Nothing
//! here is ever a verdict.

use std::path::Path;
use std::process::Command;

use super::about;
use super::instrument::{self, Found};
use super::model::{Costs, Measured, Outcome, Phase, Place, Row};
use super::stats::{ratio, spread};
use super::stopwatch::{self, Reading};
use super::subject::{Memory, Names, Subject};
use crate::error::{Error, Result};
use crate::process::capture;
use crate::workspace::{read, write_atomically};

/// Seconds that one boot may take: several times what the slowest takes.
pub const LIMIT: u32 = 60;

/// All runs of one subject.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    /// As anyone would start it.
    pub plain: Vec<Reading>,
    /// With the monitor telling of itself, which takes a little of its time. The first of them has the
    /// guest's memory shared.
    pub inside: Vec<(Reading, Found)>,
    /// Why there are no more.
    pub failed: Option<String>,
}

/// How a monitor is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Plain,
    Inside(Memory),
}

/// The runs of a round. The first round warms the host's caches and tells of memory.
pub fn round(number: u32) -> &'static [How] {
    match number {
        0 => &[How::Inside(Memory::Shared)],
        _ => &[How::Plain, How::Inside(Memory::Plain)],
    }
}

impl Runs {
    /// Notes how a run went.
    pub fn note(&mut self, how: How, run: Result<(Reading, Found)>) {
        match (how, run) {
            (_, Err(error)) => self.failed = Some(error.to_string()),
            (How::Plain, Ok((reading, _))) => self.plain.push(reading),
            (How::Inside(_), Ok(run)) => self.inside.push(run),
        }
    }
}

/// Boots all of them in turns on this machine; `scratch` is a file for what monitors tell.
pub fn in_turns(
    stopwatch: &Path,
    names: &Names,
    subjects: &[Subject],
    rounds: u32,
    scratch: &Path,
) -> Vec<Runs> {
    let mut all = vec![Runs::default(); subjects.len()];
    for number in 0..=rounds {
        for how in round(number) {
            for (subject, runs) in subjects.iter().zip(&mut all) {
                if runs.failed.is_none() {
                    runs.note(*how, once(stopwatch, names, subject, *how, scratch));
                }
            }
        }
    }
    all
}

fn once(
    stopwatch: &Path,
    names: &Names,
    subject: &Subject,
    how: How,
    scratch: &Path,
) -> Result<(Reading, Found)> {
    let program = stopwatch.to_string_lossy();
    let words = command(&program, names, subject, how, &scratch.to_string_lossy());
    // What this run does not write is not to be taken for what an earlier one wrote.
    write_atomically(scratch, b"")?;
    let (_, output) = capture(Command::new(&words[0]).args(&words[1..]))?;
    let reading = stopwatch::read(subject, &output);
    let told = String::from_utf8_lossy(&read(scratch)?).into_owned();
    both(subject, how, reading, &told)
}

/// A stopwatch's command line; what the monitor tells goes to `scratch`.
pub fn command(
    stopwatch: &str,
    names: &Names,
    subject: &Subject,
    how: How,
    scratch: &str,
) -> Vec<String> {
    let mut monitor = match how {
        How::Plain => subject.command(names, Memory::Plain),
        How::Inside(memory) => subject.command(names, memory),
    };
    if let How::Inside(_) = how {
        let accesses = subject.combination.place == Place::Kvm && stopwatch::reports(subject);
        monitor.extend(instrument::words(
            subject.combination.vmm,
            scratch,
            accesses,
        ));
    }
    stopwatch::command(stopwatch, subject, LIMIT, &monitor)
}

/// What was seen from outside and from inside. Where a boot led nowhere, what the monitor says of it
/// is the better reason.
pub fn both(
    subject: &Subject,
    how: How,
    reading: Result<Reading>,
    told: &str,
) -> Result<(Reading, Found)> {
    let started = reading.as_ref().map_or(0, |reading| reading.started);
    let found = match how {
        How::Plain => Ok(Found::default()),
        How::Inside(_) => instrument::read(subject.combination.vmm, told, started),
    };
    match (reading, found) {
        (Ok(reading), Ok(found)) => Ok((reading, found)),
        (
            Err(outside),
            Ok(Found {
                stuck: Some(place), ..
            }),
        ) => Err(Error::Guest(format!("{outside}; {place}"))),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// What the runs of subjects that differ only in their firmware say.
pub fn rows(subjects: &[Subject], all: &[Runs], khz: Option<u64>, microvm: &Path) -> Vec<Row> {
    let reference = all.first().map(|runs| firmware_ends(runs, khz));
    let reference = reference.unwrap_or_default();
    let rows = subjects.iter().zip(all).enumerate();
    rows.map(|(index, (subject, runs))| Row {
        combination: subject.combination.clone(),
        outcome: match &runs.failed {
            Some(why) => Outcome::Unable(why.clone()),
            None => {
                let mut measured = measured(subject, runs, khz, microvm);
                if index > 0 {
                    measured.costs.ratio = ratio(&firmware_ends(runs, khz), &reference);
                }
                Outcome::Measured(Box::new(measured))
            }
        },
    })
    .collect()
}

fn measured(subject: &Subject, runs: &Runs, khz: Option<u64>, microvm: &Path) -> Measured {
    let (_, found) = runs.inside.first().cloned().unzip();
    let Found {
        mut counts,
        accesses,
        ..
    } = found.unwrap_or_default();
    counts.rom_bytes = subject.rom_bytes();
    let plain =
        |of: &dyn Fn(&Reading) -> f64| spread(&runs.plain.iter().map(of).collect::<Vec<_>>());
    let memory = runs.inside.first().and_then(|(warm, _)| warm.private);
    Measured {
        phases: phases(&runs.inside[1..], khz),
        counts,
        accesses,
        costs: Costs {
            wall: plain(&Reading::arrival),
            processor_time: plain(&|reading| reading.processor_time),
            memory: memory.and_then(|memory| spread(&[memory])),
            program: about::program_bytes(subject, microvm),
            ratio: None,
        },
    }
}

/// The intervals of a boot, as far as there is somebody who tells where they end.
fn phases(runs: &[(Reading, Found)], khz: Option<u64>) -> Vec<Phase> {
    type Moment<'a> = (&'a str, &'a dyn Fn(&(Reading, Found)) -> Option<f64>);
    let entry = |(reading, _): &(Reading, Found)| reading.entry(khz?);
    let moments: [Moment<'_>; 5] = [
        ("VMM start", &|(_, found)| found.guest_starts),
        ("firmware", &entry),
        ("kernel to first output", &|(reading, _)| {
            Some(reading.output)
        }),
        ("kernel to init", &|(reading, _)| reading.init),
        ("init to the end", &|(reading, _)| {
            reading.init.map(|_| reading.end)
        }),
    ];
    let mut phases = Vec::new();
    let mut begins = vec![0.0; runs.len()];
    let mut unnamed: Option<&str> = None;
    for (name, moment) in moments {
        let ends: Option<Vec<f64>> = runs.iter().map(moment).collect();
        let Some(ends) = ends else {
            // The next one that has an end has this one's time, too.
            unnamed = unnamed.or(Some(name));
            continue;
        };
        let times: Vec<_> = ends
            .iter()
            .zip(&begins)
            .map(|(end, begin)| end - begin)
            .collect();
        phases.push(Phase {
            name: match unnamed.take() {
                Some(first) => format!("{first}, {name}"),
                None => name.into(),
            },
            time: spread(&times),
            ..Phase::default()
        });
        begins = ends;
    }
    phases
}

/// When the kernel was entered, or else when it first spoke.
fn firmware_ends(runs: &Runs, khz: Option<u64>) -> Vec<f64> {
    let end = |reading: &Reading| {
        khz.and_then(|khz| reading.entry(khz))
            .unwrap_or(reading.output)
    };
    runs.plain.iter().map(end).collect()
}

#[cfg(test)]
mod test {
    use super::*;

    fn run(guest_starts: Option<f64>, init: Option<f64>) -> (Reading, Found) {
        let reading = Reading {
            started: 0,
            output: 50.0,
            init,
            end: 100.0,
            processor_time: 40.0,
            private: None,
            ticks: Some(10_000),
        };
        let found = Found {
            guest_starts,
            ..Found::default()
        };
        (reading, found)
    }

    fn named(phases: &[Phase]) -> Vec<(&str, f64)> {
        let named = phases.iter();
        named
            .map(|it| (it.name.as_str(), it.time.map_or(0.0, |time| time.median)))
            .collect()
    }

    #[test]
    fn intervals_follow_one_another_without_a_gap() {
        let runs = [run(Some(20.0), Some(80.0))];

        // 10,000 ticks of 1 GHz are 10 microseconds.
        assert_eq!(
            named(&phases(&runs, Some(1_000_000))),
            [
                ("VMM start", 20.0),
                ("firmware", 20.0),
                ("kernel to first output", 10.0),
                ("kernel to init", 30.0),
                ("init to the end", 20.0),
            ]
        );
    }

    #[test]
    fn an_interval_whose_end_nobody_tells_is_part_of_the_next() {
        let runs = [run(Some(20.0), None)];

        assert_eq!(
            named(&phases(&runs, None)),
            [
                ("VMM start", 20.0),
                ("firmware, kernel to first output", 30.0)
            ]
        );
    }
}
