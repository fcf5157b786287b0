// SPDX-License-Identifier: MIT OR Apache-2.0
//! Running a program: to its end, or watched for as long as it speaks.
//!
//! Never: leaves a watched program behind when its watch ends.

use std::fmt;
use std::io::{self, Read, Write, stdout};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::progress::Progress;

/// Runs a program to its end with a sign of life; its output is shown only when it fails.
pub fn run_quietly(label: &str, command: &mut Command) -> Result<String> {
    let _progress = Progress::start(label);
    let (status, output) = capture(command)?;
    if status.success() {
        Ok(output)
    } else {
        Err(Error::Ended {
            command: shown(command),
            status,
            output,
        })
    }
}

/// Runs a program to its end: its status and what it wrote, errors among the rest in their order.
pub fn capture(command: &mut Command) -> Result<(ExitStatus, String)> {
    let (mut reader, mut child) = spawn_merged(command.stdin(Stdio::null()))?;
    let mut output = Vec::new();
    let read = reader.read_to_end(&mut output);
    let status = child.wait();
    match (read, status) {
        (Ok(_), Ok(status)) => Ok((status, String::from_utf8_lossy(&output).into_owned())),
        (Err(source), _) | (_, Err(source)) => Err(Error::Start {
            program: command.get_program().to_owned(),
            source,
        }),
    }
}

/// How long a watched program may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The longest time without a byte of output.
    pub silence: Duration,
    /// The longest time altogether.
    pub total: Duration,
}

/// How a watched program ended.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// By itself.
    Exited(ExitStatus),
    /// Stopped by the watch: it said what was waited for.
    Said,
    /// Stopped by the watch: nothing was heard for this long.
    Silent(Duration),
    /// Stopped by the watch: it spoke, but did not end within this time.
    Endless(Duration),
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(formatter, "ended with {status}"),
            Self::Said => formatter.write_str("said what was waited for"),
            Self::Silent(time) => {
                write!(formatter, "hung: no output for {} s", time.as_secs())
            }
            Self::Endless(time) => {
                write!(formatter, "did not end within {} s", time.as_secs())
            }
        }
    }
}

/// What a watched program said and how it ended.
#[derive(Debug)]
pub struct Watched {
    pub output: String,
    pub end: End,
}

/// What to do with a program while it is watched.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    pub bounds: Bounds,
    /// Show the output as it comes.
    pub echo: bool,
    /// The bounds hold until this has been said; from then on the user decides.
    pub released_by: Option<&'a str>,
    /// Stop it as soon as this has been said.
    pub until: Option<&'a str>,
}

/// Runs a program with the given bounds. Standard input is the caller's choice.
pub fn watch(command: &mut Command, watch: &Watch<'_>) -> Result<Watched> {
    let (reader, child) = spawn_merged(command)?;
    let mut child = Kept(child);
    let (sender, chunks) = mpsc::channel();
    thread::spawn(move || forward(reader, &sender));

    let started = Instant::now();
    let mut heard = started;
    let mut output = Vec::new();
    let mut released = false;
    let end = loop {
        let silence = (heard + watch.bounds.silence).saturating_duration_since(Instant::now());
        let total = (started + watch.bounds.total).saturating_duration_since(Instant::now());
        if total.is_zero() && !released {
            break End::Endless(watch.bounds.total);
        }
        let wait = if released {
            Duration::from_secs(3600)
        } else {
            silence.min(total)
        };
        match chunks.recv_timeout(wait) {
            Ok(chunk) => {
                heard = Instant::now();
                if watch.echo {
                    show(&chunk);
                }
                output.extend_from_slice(&chunk);
                let said = |mark: &str| contains(&output, mark.as_bytes(), chunk.len());
                if watch.until.is_some_and(said) {
                    break End::Said;
                }
                released = released
                    || watch
                        .released_by
                        .is_some_and(|mark| contains(&output, mark.as_bytes(), chunk.len()));
            }
            Err(RecvTimeoutError::Timeout) if released || total < silence => {}
            Err(RecvTimeoutError::Timeout) => break End::Silent(watch.bounds.silence),
            Err(RecvTimeoutError::Disconnected) => {
                break End::Exited(child.0.wait().map_err(|source| Error::Start {
                    program: command.get_program().to_owned(),
                    source,
                })?);
            }
        }
    };
    Ok(Watched {
        output: String::from_utf8_lossy(&output).into_owned(),
        end,
    })
}

/// The command as it would be typed, near enough for a message.
pub fn shown(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&quoted(&argument.to_string_lossy()));
    }
    line
}

/// A word as a POSIX shell reads it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A child that does not outlive this value.
#[derive(Debug)]
pub struct Kept(pub Child);

impl Drop for Kept {
    fn drop(&mut self) {
        // Both fail only when the child has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program with both outputs on one pipe, so that their order is kept.
fn spawn_merged(command: &mut Command) -> Result<(io::PipeReader, Child)> {
    let attempt = |command: &mut Command| {
        let (reader, writer) = io::pipe()?;
        let child = command.stdout(writer.try_clone()?).stderr(writer).spawn();
        // The command keeps its ends of the pipe; without them the reader sees the end.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok((reader, child?))
    };
    attempt(command).map_err(|source| Error::Start {
        program: command.get_program().to_owned(),
        source,
    })
}

fn forward(mut reader: io::PipeReader, chunks: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = [0; 4096];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                if chunks.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        }
    }
}

/// Writes everything to standard output. An emulator that owns the terminal may have made it
/// non-blocking for everyone; then this waits.
fn show(mut bytes: &[u8]) {
    let mut out = stdout().lock();
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(2));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
    while let Err(error) = out.flush() {
        if error.kind() != io::ErrorKind::WouldBlock {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Whether `mark` ends within the last `new` bytes of `output`.
fn contains(output: &[u8], mark: &[u8], new: usize) -> bool {
    let from = output.len().saturating_sub(new + mark.len());
    output[from..]
        .windows(mark.len())
        .any(|window| window == mark)
}

#[cfg(test)]
mod test {
    use super::*;

    /// Longer than any of these programs needs on a machine that has much else to do.
    const LONG: Duration = Duration::from_mins(1);
    const PATIENT: Bounds = Bounds {
        silence: LONG,
        total: LONG,
    };

    fn shell(script: &str, bounds: Bounds) -> Watched {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        let how = Watch {
            bounds,
            echo: false,
            released_by: None,
            until: None,
        };
        watch(&mut command, &how).unwrap()
    }

    #[test]
    fn both_outputs_arrive_in_their_order() {
        let watched = shell("echo one; echo two >&2; echo three", PATIENT);

        assert_eq!(watched.output, "one\ntwo\nthree\n");
        assert!(matches!(watched.end, End::Exited(status) if status.success()));
    }

    #[test]
    fn a_silent_program_is_stopped() {
        let bounds = Bounds {
            silence: Duration::from_secs(1),
            ..PATIENT
        };

        let watched = shell("echo here; exec sleep 60", bounds);

        assert_eq!(watched.output, "here\n");
        assert!(matches!(watched.end, End::Silent(_)));
    }

    #[test]
    fn a_program_that_said_enough_is_stopped() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo here; exec sleep 60"]);
        let how = Watch {
            bounds: PATIENT,
            echo: false,
            released_by: None,
            until: Some("her"),
        };

        let watched = watch(&mut command, &how).unwrap();

        assert!(matches!(watched.end, End::Said));
    }

    #[test]
    fn an_endless_program_is_stopped() {
        let bounds = Bounds {
            total: Duration::from_secs(1),
            ..PATIENT
        };

        let watched = shell("while sleep 0.1; do echo again; done", bounds);

        assert!(matches!(watched.end, End::Endless(_)));
    }

    #[test]
    fn a_word_survives_the_shell() {
        assert_eq!(quoted("--memory=512M"), "--memory=512M");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn a_mark_is_found_across_two_chunks() {
        assert!(contains(b"abcMARK", b"MARK", 2));
        assert!(!contains(b"MARKabcdefg", b"MARK", 1));
    }
}
