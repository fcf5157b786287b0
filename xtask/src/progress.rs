// SPDX-License-Identifier: MIT OR Apache-2.0
//! A sign of life on standard error for anything longer than two seconds.
//!
//! On a terminal one line that counts the seconds and vanishes at the end; elsewhere a plain line
//! every ten seconds.

use std::io::{IsTerminal, Write, stderr};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(2);
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);
const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);
const CLEAR_LINE: &str = "\r\x1b[K";

/// What is going on, said for as long as the value lives.
#[derive(Debug)]
pub struct Progress {
    quiet: Option<Sender<()>>,
    speaker: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts to speak of `label`.
    pub fn start(label: impl Into<String>) -> Self {
        let (sender, receiver) = mpsc::channel::<()>();
        let label = label.into();
        let terminal = stderr().is_terminal();
        let interval = if terminal {
            TERMINAL_INTERVAL
        } else {
            PLAIN_INTERVAL
        };
        let speaker = thread::spawn(move || {
            let started = Instant::now();
            let mut spoken = false;
            let mut wait = PATIENCE;
            loop {
                match receiver.recv_timeout(wait) {
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {
                        let seconds = started.elapsed().as_secs();
                        // Standard error may be closed; a sign of life is not worth an error.
                        let _ = if terminal {
                            write!(stderr(), "{CLEAR_LINE}{label} ({seconds} s)")
                        } else if seconds >= PLAIN_INTERVAL.as_secs() {
                            writeln!(stderr(), "{label} ({seconds} s)")
                        } else {
                            Ok(())
                        };
                        spoken = true;
                        wait = if terminal || seconds >= PLAIN_INTERVAL.as_secs() {
                            interval
                        } else {
                            PLAIN_INTERVAL.saturating_sub(started.elapsed())
                        };
                    }
                }
            }
            if terminal && spoken {
                let _ = write!(stderr(), "{CLEAR_LINE}");
            }
        });
        Self {
            quiet: Some(sender),
            speaker: Some(speaker),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.quiet.take());
        if let Some(speaker) = self.speaker.take() {
            let _ = speaker.join();
        }
    }
}
