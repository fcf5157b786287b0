// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs a program, of whatever kind, and says when it spoke and what it cost.
//!
//! ```text
//! stopwatch [--mark TEXT]… [--until TEXT] [--limit SECONDS] -- PROGRAM ARGUMENTS…
//! ```
//!
//! What the program writes to standard output is passed on. At the end there is one line on standard
//! error, `STOPWATCH: ` and a JSON object: `started`, microseconds since 1970; then microseconds since
//! that moment, just before the program was started: `first_byte` of its output; `marks`, when the
//! first byte of each text came, `null` for one that did not come whole; `end`; `processor_time`, user and system;
//! `private`, kB of its own memory at the last of these moments, and `peak`, kB of all of its memory
//! at the worst one; `status`, `null` where it was stopped: as soon as it had said what `--until` names,
//! or after the limit. What is to stop gets a SIGTERM, so that it can write what it has to, and a little
//! later a SIGKILL.

use std::io::{Error, Read, Result, Write, stderr, stdout};
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What was asked for.
struct Wanted {
    marks: Vec<String>,
    until: Option<String>,
    limit: Duration,
    program: String,
    arguments: Vec<String>,
}

/// What was found. Times in microseconds.
#[derive(Default)]
struct Found {
    first_byte: Option<u128>,
    marks: Vec<Option<u128>>,
    private: Option<u64>,
    /// Whether it said what `--until` names.
    enough: bool,
}

/// A program at its end.
struct Ended {
    /// Unless it was stopped.
    status: Option<ExitStatus>,
    /// Microseconds.
    processor_time: i64,
    /// kB.
    peak: i64,
}

fn main() -> ExitCode {
    let Some(wanted) = wanted(std::env::args().skip(1)) else {
        eprintln!("usage: stopwatch [--mark TEXT]… [--until TEXT] [--limit SECONDS] -- PROGRAM …");
        return ExitCode::from(2);
    };
    match measure(&wanted) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("stopwatch: {}: {error}", wanted.program);
            ExitCode::FAILURE
        }
    }
}

fn wanted(mut words: impl Iterator<Item = String>) -> Option<Wanted> {
    let (mut marks, mut until, mut limit) = (Vec::new(), None, Duration::from_mins(10));
    loop {
        match words.next()?.as_str() {
            "--mark" => marks.push(words.next()?),
            "--until" => until = Some(words.next()?),
            "--limit" => limit = Duration::from_secs(words.next()?.parse().ok()?),
            "--" => break,
            _ => return None,
        }
    }
    Some(Wanted {
        marks,
        until,
        limit,
        program: words.next()?,
        arguments: words.collect(),
    })
}

/// Whether it ended well, or was stopped as asked for.
fn measure(wanted: &Wanted) -> Result<bool> {
    let mut found = Found {
        marks: vec![None; wanted.marks.len()],
        ..Found::default()
    };
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(Error::other)?;
    let started = Instant::now();
    let mut child = Command::new(&wanted.program)
        .args(&wanted.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let stopped = listen(wanted, &mut child, started, &mut found)?;
    let ended = wait(&child, stopped)?;
    let end = started.elapsed().as_micros();
    let number = |value: Option<u128>| value.map_or("null".into(), |value| value.to_string());
    let marks: Vec<String> = found.marks.iter().map(|mark| number(*mark)).collect();
    let status = ended.status.and_then(|status| {
        let signal = status.signal().map(|signal| 128 + signal);
        status.code().or(signal)
    });
    writeln!(
        stderr(),
        "STOPWATCH: {{\"started\": {}, \"first_byte\": {}, \"marks\": [{}], \"end\": {end}, \
         \"processor_time\": {}, \"private\": {}, \"peak\": {}, \"status\": {}}}",
        since_1970.as_micros(),
        number(found.first_byte),
        marks.join(", "),
        ended.processor_time,
        found.private.map_or("null".into(), |it| it.to_string()),
        ended.peak,
        status.map_or("null".into(), |it| it.to_string()),
    )?;
    Ok(found.enough || ended.status.is_some_and(|status| status.success()))
}

/// Passes on what the program says until it says no more. Whether it had to be stopped.
fn listen(wanted: &Wanted, child: &mut Child, started: Instant, found: &mut Found) -> Result<bool> {
    let mut output = child.stdout.take().ok_or_else(|| Error::other("no pipe"))?;
    let (sender, chunks) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            // Nobody listens any more once the program is to end.
            if sender
                .send((started.elapsed(), buffer[..count].to_vec()))
                .is_err()
            {
                break;
            }
        }
    });
    let mut heard = Heard::default();
    loop {
        let left = wanted.limit.saturating_sub(started.elapsed());
        let (moment, chunk) = match chunks.recv_timeout(left) {
            Ok(heard) => heard,
            Err(RecvTimeoutError::Timeout) => {
                found.private = private(child.id());
                stop(child, &chunks)?;
                return Ok(true);
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
        };
        if found.first_byte.is_none() {
            found.first_byte = Some(moment.as_micros());
            found.private = private(child.id());
        }
        heard.push(&chunk, moment);
        for (mark, at) in wanted.marks.iter().zip(&mut found.marks) {
            if at.is_none()
                && let Some(moment) = heard.began(mark)
            {
                *at = Some(moment.as_micros());
                found.private = private(child.id());
            }
        }
        let until = wanted.until.as_deref();
        found.enough = until.is_some_and(|text| heard.began(text).is_some());
        let mut stdout = stdout().lock();
        stdout.write_all(&chunk)?;
        stdout.flush()?;
        if found.enough {
            stop(child, &chunks)?;
            return Ok(true);
        }
    }
}

/// Asks the program to end, and ends it if it does not.
fn stop(child: &mut Child, chunks: &Receiver<(Duration, Vec<u8>)>) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let id = libc::pid_t::try_from(child.id()).map_err(Error::other)?;
    // SAFETY: the call takes no pointers, and the child has not been waited for, so that the number
    // is still its own.
    unsafe { libc::kill(id, libc::SIGTERM) };
    // It has closed its output when it has ended.
    let asked = Instant::now();
    while chunks
        .recv_timeout(PATIENCE.saturating_sub(asked.elapsed()))
        .is_ok()
    {}
    child.kill()
}

/// All that was said, and when.
#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    /// Where each piece ends, and when it came.
    pieces: Vec<(usize, Duration)>,
}

impl Heard {
    fn push(&mut self, chunk: &[u8], moment: Duration) {
        self.bytes.extend_from_slice(chunk);
        self.pieces.push((self.bytes.len(), moment));
    }

    /// When the first byte of a text came that ends in the last piece.
    fn began(&self, text: &str) -> Option<Duration> {
        let before = self.pieces.iter().rev().nth(1).map_or(0, |piece| piece.0);
        let fresh = before.saturating_sub(text.len());
        let mut windows = self.bytes[fresh..].windows(text.len());
        let start = fresh + windows.position(|window| window == text.as_bytes())?;
        let piece = self.pieces.iter().find(|(end, _)| start < *end)?;
        Some(piece.1)
    }
}

/// kB of anonymous memory: with the guest's shared, all that is the program's own.
fn private(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Waits for the end, and asks what all was used.
fn wait(child: &Child, stopped: bool) -> Result<Ended> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let id = libc::pid_t::try_from(child.id()).map_err(Error::other)?;
    // SAFETY: both pointers are to variables that live longer than the call, of the types that it
    // writes. Nobody else waits for this child.
    if unsafe { libc::wait4(id, &raw mut status, 0, usage.as_mut_ptr()) } != id {
        return Err(Error::last_os_error());
    }
    // SAFETY: all zeros is a value of this structure of integers, whether or not it was written.
    let usage = unsafe { usage.assume_init() };
    let micros = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
    Ok(Ended {
        status: (!stopped).then(|| ExitStatus::from_raw(status)),
        processor_time: micros(usage.ru_utime) + micros(usage.ru_stime),
        peak: usage.ru_maxrss,
    })
}
