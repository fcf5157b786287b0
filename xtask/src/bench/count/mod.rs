// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every instruction and every access from reset to the kernel's first instruction.
//!
//! QEMU's emulator runs the boot one instruction at a time and writes each, and each access, into
//! a pipe that is read meanwhile. Its clock counts instructions, so every run is the same run, on
//! any machine.

mod budgets;
pub mod compare;
mod entry;
pub mod exits;
pub mod gate;
mod phases;
pub mod stream;
mod symbols;
mod table;
mod tally;

use std::io::{BufRead, Read};
use std::process::{ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use crate::bench::model::Measured;
use crate::error::{Error, Result};
use crate::image;
use crate::process::Kept;
use crate::qemu::{self, Accelerator, Boot, Qemu};
use crate::workspace::read;
use entry::Entry;
pub use symbols::Symbols;
use tally::Tally;

/// How a boot is run, and what it may take before it is given up.
#[derive(Clone, Copy, Debug)]
pub struct How<'a> {
    /// Words before QEMU's command, such as those of `taskset`.
    pub before: &'a [&'a str],
    /// The processor, as `-cpu` takes it.
    pub cpu: &'a str,
    pub instructions: u64,
    pub time: Duration,
    /// Without an instruction.
    pub silence: Duration,
}

impl Default for How<'_> {
    /// SeaBIOS takes 6 million instructions and 7 seconds on `microvm`.
    fn default() -> Self {
        Self {
            before: &[],
            cpu: "max",
            instructions: 100_000_000,
            time: Duration::from_secs(180),
            silence: Duration::from_secs(20),
        }
    }
}

/// Chunks of the log that wait to be read.
const BACKLOG: usize = 16;
const CHUNK: usize = 64 * 1024;

/// Boots on a machine of QEMU's up to the kernel's first instruction and counts.
///
/// `symbols` are those of our firmware if that is what `boot` boots.
pub fn count(machine: &str, boot: &Boot, symbols: Option<&Symbols>) -> Result<Measured> {
    counted(machine, boot, symbols, &How::default())
}

/// The same, run in another way.
pub fn counted(
    machine: &str,
    boot: &Boot,
    symbols: Option<&Symbols>,
    how: &How<'_>,
) -> Result<Measured> {
    qemu::require()?;
    let entry = Entry::of(&boot.kernel, &read(&boot.kernel)?)?;
    let rom = read(&boot.bios)?;
    let resolver = symbols.map(Symbols::resolver).transpose()?;
    let mut tally = Tally::new(entry, resolver);
    run(machine, boot, how, &mut tally)?;
    let mut measured = tally.measured();
    measured.counts.rom_bytes = Some(image::occupied(&rom) as u64);
    Ok(measured)
}

/// Feeds the log to the tally until the kernel is entered; then the machine is stopped.
fn run(machine: &str, boot: &Boot, how: &How<'_>, tally: &mut Tally<'_>) -> Result<()> {
    let qemu = Qemu {
        machine: machine.to_owned(),
        accelerator: Accelerator::Stepped,
        nested: false,
        boot: boot.clone(),
        monitor: false,
    };
    let mut command = after(how.before, qemu.command());
    // Of two the second counts.
    command.args(["-cpu", how.cpu]);
    // The log's own file is buffered by line, standard error not at all.
    command.args(["-d", stream::WANTED, "-D", "/dev/stderr"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.stderr(Stdio::piped()).spawn();
    let mut child = Kept(child.map_err(|source| Error::Start {
        program: command.get_program().to_owned(),
        source,
    })?);
    let (sender, chunks) = mpsc::sync_channel(BACKLOG);
    if let Some(log) = child.0.stderr.take() {
        thread::spawn(move || forward(log, &sender));
    }

    let started = Instant::now();
    let mut line = Vec::new();
    let why = loop {
        match chunks.recv_timeout(how.silence) {
            Ok(chunk) => {
                if feed(&chunk, &mut line, tally) {
                    return Ok(());
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                let seconds = how.silence.as_secs();
                break format!("it executed nothing for {seconds} s");
            }
            Err(RecvTimeoutError::Disconnected) => break "QEMU ended".to_owned(),
        }
        if tally.instructions() > how.instructions {
            break format!("it executed more than {} instructions", how.instructions);
        }
        if started.elapsed() > how.time {
            break format!("it took longer than {} s", how.time.as_secs());
        }
    };
    let firmware = boot.bios.display();
    Err(Error::Guest(format!(
        "{firmware} did not reach the kernel on {machine}: {why}; {}",
        tally.state()
    )))
}

/// A command with words before it.
fn after(before: &[&str], command: Command) -> Command {
    let [program, arguments @ ..] = before else {
        return command;
    };
    let mut whole = Command::new(program);
    whole.args(arguments).arg(command.get_program());
    whole.args(command.get_args());
    whole
}

/// Feeds whole lines, and keeps the beginning of one in `line`.
fn feed(mut chunk: &[u8], line: &mut Vec<u8>, tally: &mut Tally<'_>) -> bool {
    // Reading a slice does not fail.
    while chunk.read_until(b'\n', line).is_ok() && line.last() == Some(&b'\n') {
        let entered = tally.take(String::from_utf8_lossy(line).trim_end());
        line.clear();
        if entered {
            return true;
        }
    }
    false
}

fn forward(mut log: ChildStderr, chunks: &SyncSender<Vec<u8>>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = log.read(&mut buffer) {
        if chunks.send(buffer[..count].to_vec()).is_err() {
            break;
        }
    }
}
