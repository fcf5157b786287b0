// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads and writes a disk in blocks of 4 KiB, in order and at random, without the page cache, and
//! says how many it did in a second. Everything that is on the disk is lost. What is read is held
//! against what was written. The first argument names the disk, if it is not the guest's first one.

use std::fs::File;
use std::io::{Error, Result};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::process::ExitCode;
use std::time::Instant;

const BLOCK: u64 = 4096;
const BYTES: usize = 4096;
/// Blocks of the disk that are used, each as often as the other.
const BLOCKS: u64 = 1024;
/// How many requests are under way at once, and how often a pattern is run.
const DEPTHS: [u64; 2] = [1, 8];

/// A buffer that direct access takes.
#[repr(C, align(4096))]
struct Block([u8; BYTES]);

#[derive(Clone, Copy)]
struct Pattern {
    name: &'static str,
    writes: bool,
    random: bool,
}

const PATTERNS: [Pattern; 4] = [
    Pattern {
        name: "sequential-write",
        writes: true,
        random: false,
    },
    Pattern {
        name: "sequential-read",
        writes: false,
        random: false,
    },
    Pattern {
        name: "random-write",
        writes: true,
        random: true,
    },
    Pattern {
        name: "random-read",
        writes: false,
        random: true,
    },
];

fn main() -> ExitCode {
    let path = std::env::args().nth(1);
    let path = path.unwrap_or_else(|| "/dev/vda".into());
    match measure(&path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{path}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(path: &str) -> Result<()> {
    let disk = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)?;
    for depth in DEPTHS {
        for pattern in PATTERNS {
            let start = Instant::now();
            std::thread::scope(|scope| {
                let one = |part| {
                    let disk = &disk;
                    scope.spawn(move || run(disk, pattern, part, depth))
                };
                let all: Vec<_> = (0..depth).map(one).collect();
                all.into_iter().try_for_each(|thread| {
                    let panicked = |_| Error::other("a thread panicked");
                    thread.join().map_err(panicked).flatten()
                })
            })?;
            let rate =
                BLOCKS * 1_000_000_000 / u64::try_from(start.elapsed().as_nanos()).unwrap_or(1);
            println!("SPEED: {} depth={depth} {rate}", pattern.name);
        }
    }
    Ok(())
}

/// Does part `part` of `parts` of all blocks.
fn run(disk: &File, pattern: Pattern, part: u64, parts: u64) -> Result<()> {
    let mut block = Block([0; BYTES]);
    let each = BLOCKS / parts;
    for index in part * each..(part + 1) * each {
        // An odd factor reaches every block once; neighbours are far from each other.
        let number = if pattern.random {
            index * 1_597 % BLOCKS
        } else {
            index
        };
        if pattern.writes {
            block.0[..8].copy_from_slice(&number.to_le_bytes());
            disk.write_all_at(&block.0, number * BLOCK)?;
        } else {
            disk.read_exact_at(&mut block.0, number * BLOCK)?;
            if block.0[..8] != number.to_le_bytes() {
                return Err(Error::other(format!(
                    "block {number} is not what was written"
                )));
            }
        }
    }
    Ok(())
}
