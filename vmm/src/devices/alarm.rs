// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's timer behind all clocks of the machine.
//!
//! Spec: timerfd_create(2). Whoever waits for [`Alarm::descriptor`] to become readable has the
//! clocks looked at, after which they set it anew.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;
use vmm_sys_util::timerfd::TimerFd;

/// The timer.
#[derive(Debug)]
pub struct Alarm {
    timer: TimerFd,
    set: bool,
}

impl Alarm {
    /// A timer that is not set.
    pub fn new() -> io::Result<Self> {
        let timer = TimerFd::new().map_err(into_io)?;
        Ok(Self { timer, set: false })
    }

    /// Readable from the time it is set to until it is set again.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.timer.as_raw_fd()
    }

    /// Rings after so much time, instead of what it was set to, or not at all.
    pub fn set(&mut self, after: Option<Duration>) -> io::Result<()> {
        match after {
            // No time at all would mean never.
            Some(after) => self.timer.reset(after.max(Duration::from_nanos(1)), None),
            None if self.set => self.timer.clear(),
            None => return Ok(()),
        }
        .map_err(into_io)?;
        self.set = after.is_some();
        Ok(())
    }
}

fn into_io(error: vmm_sys_util::errno::Error) -> io::Error {
    io::Error::from_raw_os_error(error.errno())
}
