// SPDX-License-Identifier: MIT OR Apache-2.0
//! When a monitor's guest spoke and what the monitor cost, by the program `stopwatch`, which is the
//! same on this machine and in the lab (`vmm/examples/stopwatch.rs`).

use serde::Deserialize;

use super::matrix::REPORT;
use super::subject::Subject;
use crate::error::{Error, Result};
use crate::guest::INIT_REACHED;

/// The program's name, as an example of the monitor's.
pub const PROGRAM: &str = "stopwatch";
/// What its line begins with.
const LINE: &str = "STOPWATCH: ";
/// In the report: behind the two time stamps.
const STAMPED: &str = "mode=";
/// The report itself; a BIOS may have said something before.
const BEGINS: &str = "report=begin";

/// One run. Times in microseconds since just before the monitor was started.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Microseconds since 1970 at that moment.
    pub started: u64,
    /// When the kernel first spoke for itself.
    pub output: f64,
    /// When its first process ran, of a kernel that has one.
    pub init: Option<f64>,
    pub end: f64,
    /// User and system.
    pub processor_time: f64,
    /// kB of anonymous memory.
    pub private: Option<f64>,
    /// Ticks of the guest's time-stamp counter between its first instruction and its first output,
    /// of a kernel that says so.
    pub ticks: Option<u64>,
}

/// What the program prints; see there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    started: u64,
    first_byte: Option<f64>,
    marks: Vec<Option<f64>>,
    end: f64,
    processor_time: f64,
    private: Option<f64>,
    #[serde(rename = "peak")]
    _peak: f64,
    status: Option<i32>,
}

/// The command line of a stopwatch for a monitor: a guest that reports is stopped once it has said
/// when it was entered, and another one ends by itself after its init line.
pub fn command(program: &str, subject: &Subject, limit: u32, monitor: &[String]) -> Vec<String> {
    let limit = limit.to_string();
    let what: &[&str] = if reports(subject) {
        &["--mark", BEGINS, "--until", STAMPED]
    } else {
        &["--mark", INIT_REACHED]
    };
    let words = [program].into_iter().chain(what.iter().copied());
    let words = words.chain(["--limit", &limit, "--"]).map(String::from);
    words.chain(monitor.iter().cloned()).collect()
}

/// Whether its kernel says when it was entered, and nothing but its report.
pub fn reports(subject: &Subject) -> bool {
    subject.combination.kernel == REPORT
}

/// The reading in what guest and stopwatch have said, or what is missing there.
pub fn read(subject: &Subject, output: &str) -> Result<Reading> {
    let (_, line) = output
        .lines()
        .find_map(|line| line.split_once(LINE))
        .ok_or_else(|| Error::Guest(format!("expected a line `{LINE}…`, found `{output}`")))?;
    let line: Line = serde_json::from_str(line.trim_end())
        .map_err(|error| Error::Guest(format!("`{line}`: {error}")))?;
    let mark = line.marks.first().copied().flatten();
    let (spoke, init) = if reports(subject) {
        (mark, None)
    } else {
        (line.first_byte.filter(|_| mark.is_some()), mark)
    };
    let Some(spoke) = spoke else {
        return Err(Error::Guest(silence(&line, output)));
    };
    let stamp = |name: &str| {
        let value = output.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(value.trim_end().strip_prefix("0x")?, 16).ok()
    };
    Ok(Reading {
        started: line.started,
        output: spoke,
        init,
        end: line.end,
        processor_time: line.processor_time,
        private: line.private,
        ticks: stamp("speaks=").and_then(|speaks| speaks.checked_sub(stamp("tsc=")?)),
    })
}

/// How a monitor ended whose guest did not come far enough, and the last words.
fn silence(line: &Line, output: &str) -> String {
    let how = match line.status {
        Some(status) => format!("the monitor ended with status {status}"),
        None => format!("the monitor was stopped after {:.0} s", line.end / 1e6),
    };
    let said: Vec<_> = output
        .lines()
        .filter(|line| !line.contains(LINE) && !line.trim().is_empty())
        .collect();
    let words = match &said[said.len().saturating_sub(3)..] {
        [] => "nothing was said".into(),
        last => format!("the last words: {}", last.join(" / ")),
    };
    format!("{how} before the guest had said what was waited for; {words}")
}

impl Reading {
    /// The end of the boot.
    pub fn arrival(&self) -> f64 {
        self.init.unwrap_or(self.output)
    }

    /// When the kernel was entered, with a counter of that frequency.
    pub fn entry(&self, khz: u64) -> Option<f64> {
        let ticks = f64::from(u32::try_from(self.ticks?).ok()?);
        let khz = f64::from(u32::try_from(khz).ok()?);
        Some(self.output - ticks * 1000.0 / khz)
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::bench::model::{Combination, Place, Vmm};

    fn subject(kernel: &str) -> Subject {
        Subject {
            combination: Combination {
                firmware: "qboot-rs".into(),
                vmm: Vmm::Microvm,
                place: Place::Kvm,
                machine: "microvm".into(),
                kernel: kernel.into(),
                format: "pvh".into(),
                cpus: 1,
                initrd: 0,
            },
            bios: None,
            kernel: "kernel".into(),
            initrd: None,
            append: String::new(),
            option_rom: None,
        }
    }

    fn said(words: &str, marks: &str, status: &str) -> String {
        format!(
            "{words}STOPWATCH: {{\"started\": 7, \"first_byte\": 20000, \"marks\": [{marks}], \
             \"end\": 31000, \"processor_time\": 29000, \"private\": 328, \"peak\": 3592, \
             \"status\": {status}}}\n"
        )
    }

    #[test]
    fn the_entry_lies_before_the_report_by_the_guests_own_ticks() {
        let words = "**report=begin\r\ntsc=0x100\r\nspeaks=0x4e8\r\nmode=pvh\r\n";

        let reading = read(&subject(REPORT), &said(words, "30000", "null")).unwrap();

        assert_eq!((reading.ticks, reading.arrival()), (Some(1000), 30_000.0));
        // 1,000 ticks of 1 MHz.
        assert_eq!(reading.entry(1000), Some(29_000.0));
    }

    #[test]
    fn a_kernel_with_processes_has_arrived_with_the_first_of_them() {
        let reading = read(&subject("debian"), &said("x\n", "30000", "0")).unwrap();

        assert_eq!((reading.output, reading.arrival()), (20_000.0, 30_000.0));
        assert_eq!(reading.entry(1000), None);
    }

    #[test]
    fn a_guest_that_stopped_on_the_way_is_told_with_its_last_words() {
        let error = read(&subject("debian"), &said("panic\r\n\r\n", "null", "null")).unwrap_err();

        assert_eq!(
            error.to_string(),
            "the monitor was stopped after 0 s before the guest had said what was waited for; the \
             last words: panic"
        );
        let error = read(&subject("debian"), "microvm: no\n").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("expected a line `STOPWATCH: …`")
        );
    }
}
