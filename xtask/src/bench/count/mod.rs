// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every instruction and every access from reset to the kernel's first instruction.
//!
//! QEMU's emulator runs the boot one instruction at a time and writes each, and each access, into
//! a pipe that is read meanwhile. Its clock counts instructions, so every run is the same run, on
//! any machine.

mod budgets;
mod entry;
pub mod gate;
mod phases;
mod stream;
mod symbols;
mod table;
mod tally;

use std::io::{BufRead, Read};
use std::process::{ChildStderr, Stdio};
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

/// What a firmware may take before it is given up. SeaBIOS takes 12 million instructions and 15
/// seconds.
const MAX_INSTRUCTIONS: u64 = 100_000_000;
const MAX_TIME: Duration = Duration::from_secs(180);
/// The same for not executing anything.
const MAX_SILENCE: Duration = Duration::from_secs(10);

/// Chunks of the log that wait to be read.
const BACKLOG: usize = 16;
const CHUNK: usize = 64 * 1024;

/// Boots on a machine of QEMU's up to the kernel's first instruction and counts.
///
/// `symbols` are those of our firmware if that is what `boot` boots.
pub fn count(machine: &str, boot: &Boot, symbols: Option<&Symbols>) -> Result<Measured> {
    qemu::require()?;
    let entry = Entry::of(&boot.kernel, &read(&boot.kernel)?)?;
    let rom = read(&boot.bios)?;
    let resolver = symbols.map(Symbols::resolver).transpose()?;
    let mut tally = Tally::new(entry, resolver);
    run(machine, boot, &mut tally)?;
    let mut measured = tally.measured();
    measured.counts.rom_bytes = Some(image::occupied(&rom) as u64);
    Ok(measured)
}

/// Feeds the log to the tally until the kernel is entered; then the machine is stopped.
fn run(machine: &str, boot: &Boot, tally: &mut Tally<'_>) -> Result<()> {
    let qemu = Qemu {
        machine: machine.to_owned(),
        accelerator: Accelerator::Stepped,
        nested: false,
        boot: boot.clone(),
        monitor: false,
    };
    let mut command = qemu.command();
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
        match chunks.recv_timeout(MAX_SILENCE) {
            Ok(chunk) => {
                if feed(&chunk, &mut line, tally) {
                    return Ok(());
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                let seconds = MAX_SILENCE.as_secs();
                break format!("it executed nothing for {seconds} s");
            }
            Err(RecvTimeoutError::Disconnected) => break "QEMU ended".to_owned(),
        }
        if tally.instructions() > MAX_INSTRUCTIONS {
            break format!("it executed more than {MAX_INSTRUCTIONS} instructions");
        }
        if started.elapsed() > MAX_TIME {
            break format!("it took longer than {} s", MAX_TIME.as_secs());
        }
    };
    let firmware = boot.bios.display();
    Err(Error::Guest(format!(
        "{firmware} did not reach the kernel on {machine}: {why}; {}",
        tally.state()
    )))
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
