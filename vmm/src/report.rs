// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is left when the run is over: how it ended, how long each phase took, what it cost.

use crate::status::Status;
use abi::debug::FailureCode;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Why the run ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ending {
    /// The guest reset the machine, by a triple fault or through a port.
    Reset,
    /// The guest turned the machine off.
    PowerOff,
    /// The guest's kernel panicked.
    Panicked,
    /// The user pressed `Ctrl-a x`.
    Escape,
    /// The firmware gave up.
    Firmware(FailureCode),
    /// A signal with this number came.
    Signal(u8),
    /// KVM gave up; the words say how and where.
    Broken(String),
    /// The host failed; the words say how.
    Host(String),
}

/// Moments of the first boot.
#[derive(Debug)]
pub struct Marks {
    started: Instant,
    guest: AtomicU64,
    kernel: AtomicU64,
    fw_cfg: AtomicU64,
    /// Set when the first boot is over.
    over: AtomicBool,
}

impl Marks {
    /// Counts from `started`.
    #[must_use]
    pub fn new(started: Instant) -> Self {
        let unset = || AtomicU64::new(0);
        Self {
            started,
            guest: unset(),
            kernel: unset(),
            fw_cfg: unset(),
            over: AtomicBool::new(false),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    /// The first processor is about to run its first instruction.
    pub fn guest_starts(&self) {
        let _ = self
            .guest
            .compare_exchange(0, self.now(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The firmware is about to enter the kernel.
    pub fn kernel_entered(&self) {
        if !self.over.load(Ordering::Relaxed) {
            let now = self.now();
            let _ = self
                .kernel
                .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// The first boot is over; what comes later is not noted.
    pub fn boot_over(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// The guest has accessed `fw_cfg`. The last time before the kernel is kept.
    pub fn fw_cfg_accessed(&self) {
        let open = !self.over.load(Ordering::Relaxed);
        if open && self.kernel.load(Ordering::Relaxed) == 0 {
            self.fw_cfg.store(self.now(), Ordering::Relaxed);
        }
    }
}

/// How often the guest left for the VMM, by reason.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Exits {
    /// Port accesses; a string instruction counts as often as KVM reports it.
    pub io: u64,
    /// Accesses to addresses without memory.
    pub mmio: u64,
    /// Signals and everything else.
    pub other: u64,
}

impl std::ops::AddAssign for Exits {
    fn add_assign(&mut self, more: Self) {
        self.io += more.io;
        self.mmio += more.mmio;
        self.other += more.other;
    }
}

/// The whole story in one value; displayed, it is one line.
#[derive(Debug)]
pub struct Report {
    /// Why the processors stopped, if the process stayed after that.
    pub stopped: Option<Ending>,
    /// Why the run ended.
    pub ending: Ending,
    /// When things happened.
    pub marks: Arc<Marks>,
    /// From the start to the end.
    pub total: Duration,
    /// Of all processors, over all boots.
    pub exits: Exits,
    /// How often the machine was started.
    pub boots: u64,
    /// What went wrong on the host while serving `fw_cfg`.
    pub fw_cfg_error: Option<String>,
}

impl Report {
    /// The exit status that goes with it.
    #[must_use]
    pub fn status(&self) -> Status {
        match &self.ending {
            Ending::Host(_) => Status::HostIo,
            _ if self.fw_cfg_error.is_some() => Status::HostIo,
            Ending::Reset | Ending::PowerOff | Ending::Escape => Status::Ended,
            Ending::Firmware(_) => Status::Firmware,
            Ending::Panicked => Status::Panicked,
            Ending::Signal(number) => Status::Signal(*number),
            Ending::Broken(_) => Status::KvmInternal,
        }
    }
}

impl Ending {
    /// Whether the guest itself has ended its run, as it may.
    #[must_use]
    pub fn is_guests(&self) -> bool {
        matches!(self, Self::Reset | Self::PowerOff | Self::Panicked)
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset => f.write_str("the guest reset the machine"),
            Self::PowerOff => f.write_str("the guest turned the machine off"),
            Self::Panicked => f.write_str("the guest's kernel panicked"),
            Self::Escape => f.write_str("ended by Ctrl-a x"),
            Self::Firmware(code) => {
                let meaning = code.meaning();
                write!(f, "the firmware failed: {meaning} (code {})", *code as u8)
            }
            Self::Signal(number) => write!(f, "ended by signal {number}"),
            Self::Broken(words) | Self::Host(words) => f.write_str(words),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(earlier) = &self.stopped {
            write!(f, "{earlier}, then ")?;
        }
        write!(f, "{}", self.ending)?;
        if let Some(error) = &self.fw_cfg_error {
            write!(f, "; fw_cfg could not serve the guest: {error}")?;
        }
        let read = |mark: &AtomicU64| match mark.load(Ordering::Relaxed) {
            0 => None,
            nanoseconds => Some(Milliseconds(Duration::from_nanos(nanoseconds))),
        };
        f.write_str("; first guest instruction ")?;
        match read(&self.marks.guest) {
            Some(time) => write!(f, "at {time}")?,
            None => f.write_str("never")?,
        }
        match (read(&self.marks.kernel), read(&self.marks.fw_cfg)) {
            (Some(time), _) => write!(f, ", kernel entry at {time}")?,
            (None, Some(time)) => {
                write!(f, ", kernel entry not seen (last fw_cfg access at {time})")?;
            }
            (None, None) => f.write_str(", kernel entry not seen")?,
        }
        write!(f, ", end at {}", Milliseconds(self.total))?;
        let Exits { io, mmio, other } = self.exits;
        write!(f, "; exits: {io} io, {mmio} mmio, {other} other")?;
        match self.boots {
            0 | 1 => Ok(()),
            boots => write!(f, "; {boots} boots, times of the first"),
        }
    }
}

struct Milliseconds(Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:03} ms",
            self.0.as_millis(),
            self.0.as_micros() % 1000
        )
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn report(ending: Ending) -> Report {
        let marks = Marks::new(Instant::now());
        marks.guest.store(1_234_567, Ordering::Relaxed);
        marks.fw_cfg.store(2_000_000, Ordering::Relaxed);
        Report {
            stopped: None,
            ending,
            marks: Arc::new(marks),
            total: Duration::from_micros(3_004_005),
            exits: Exits {
                io: 7,
                mmio: 1,
                other: 2,
            },
            boots: 1,
            fw_cfg_error: None,
        }
    }

    #[test]
    fn without_the_trace_point_the_line_says_so() {
        assert_eq!(
            report(Ending::Reset).to_string(),
            "the guest reset the machine; first guest instruction at 1.234 ms, kernel entry not \
             seen (last fw_cfg access at 2.000 ms), end at 3004.005 ms; exits: 7 io, 1 mmio, 2 other"
        );
    }

    #[test]
    fn with_it_the_line_gives_the_time() {
        let report = report(Ending::Firmware(FailureCode::MemoryMap));
        report.marks.kernel.store(2_500_000, Ordering::Relaxed);
        let line = report.to_string();
        assert!(
            line.starts_with("the firmware failed: bad memory map (code 6); "),
            "{line}"
        );
        assert!(line.contains(", kernel entry at 2.500 ms,"), "{line}");
        assert!(!line.contains('\n'));
    }

    #[test]
    fn a_machine_that_stayed_has_two_endings() {
        let report = Report {
            stopped: Some(Ending::PowerOff),
            ..report(Ending::Signal(2))
        };
        let line = report.to_string();
        let expected = "the guest turned the machine off, then ended by signal 2; first";
        assert!(line.starts_with(expected), "{line}");
        assert_eq!(report.status().code(), 130);
    }

    #[test]
    fn every_ending_has_its_status() {
        let status = |ending| report(ending).status().code();
        assert_eq!(status(Ending::Reset), 0);
        assert_eq!(status(Ending::PowerOff), 0);
        assert_eq!(status(Ending::Escape), 0);
        assert_eq!(status(Ending::Host(String::new())), 1);
        assert_eq!(status(Ending::Firmware(FailureCode::Panic)), 3);
        assert_eq!(status(Ending::Broken(String::new())), 5);
        assert_eq!(status(Ending::Panicked), 6);
        assert_eq!(status(Ending::Signal(15)), 143);
    }
}
