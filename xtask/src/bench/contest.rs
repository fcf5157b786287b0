// SPDX-License-Identifier: MIT OR Apache-2.0
//! A device of our monitor against one of QEMU's `microvm`, in the lab.
//!
//! The same guest with the same ROM does the same work with each of them, in turns, all in one outer
//! machine, whose clock counts instructions: what else this machine does is not seen. Out: medians and
//! their ratio. Never: a verdict.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use crate::build;
use crate::error::{Error, Result};
use crate::guest::{self, Flavour, Format};
use crate::images;
use crate::lab::{self, Job, Work};
use crate::packages;
use crate::process::run_quietly;
use crate::qemu;
use crate::workspace::Workspace;

/// How it is measured.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Rounds {
    /// How often each of them is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The seed of the emulator's random numbers
    #[arg(long, default_value_t = 1)]
    seed: u32,
}

/// What is measured.
#[derive(Debug)]
pub struct Contest {
    /// The example that the guest runs, which says how fast it was.
    pub program: &'static str,
    /// Further files of the outer machine.
    pub files: Vec<PathBuf>,
    /// What the outer machine does first.
    pub before_all: String,
    /// What it does before each boot.
    pub before_each: String,
    /// Devices of ours by their names: more words for the monitor. The first is what the others are
    /// compared with.
    pub ours: Vec<(String, String)>,
    /// The same for QEMU.
    pub theirs: Vec<(String, String)>,
}

/// What the guest's program says before what it did and how fast.
const SPEED: &str = "SPEED: ";
/// What the outer machine says before the name of the one that is next.
const NEXT: &str = "BENCH: ";

const MEMORY: &str = "256M";
/// Seconds that the lab gets for one boot, several times what it takes.
const PATIENCE: u32 = 60;

/// Measures and prints a table.
pub fn run(workspace: &Workspace, rounds: Rounds, contest: Contest) -> Result<()> {
    qemu::require()?;
    let images = images::for_lab(workspace)?;
    let program = build::static_example(workspace, contest.program)?;
    let kernel = guest::kernel(workspace, Flavour::Cloud, Format::Pvh)?;
    let name = format!("initrd-{}.cpio", contest.program);
    let initrd = guest::program_initrd(workspace, &program, &name)?;
    let (loader, qemu) = qemu_files()?;
    let script = script(rounds.rounds, &contest, &loader);
    let mut words = ["sh", "-c", &script, "sh"].map(String::from).to_vec();
    let named = [&kernel, &initrd, &images.rom, &program];
    words.extend(named.iter().map(|path| path.to_string_lossy().into_owned()));
    let devices = contest.ours.len() + contest.theirs.len();
    let boots = rounds.rounds * u32::try_from(devices).unwrap_or(u32::MAX);
    let mut job = Job {
        bios: images.rom.clone(),
        vmm: images.vmm,
        files: contest.files,
        work: Work::Shell,
        memory_mib: 2048,
        terminal: false,
        seconds: Some(boots.saturating_mul(PATIENCE)),
    };
    job.command(&words);
    job.files.extend(qemu);
    let remark = |remark| eprintln!("xtask: {remark}");
    let attempts = lab::counted_attempts(rounds.seed);
    let watched = lab::boot_patiently(workspace, "bench", &job, attempts, true, remark)?;
    if lab::status(&watched.output) != Some(0) {
        let what = format!("the lab {} before everything was measured", watched.end);
        return Err(Error::Guest(what));
    }
    print!("{}", table(&watched.output));
    Ok(())
}

/// QEMU with its libraries, and the name of what starts it where there is nothing else.
pub fn qemu_files() -> Result<(String, Vec<PathBuf>)> {
    let program = packages::locate(qemu::PROGRAM)
        .ok_or_else(|| Error::Guest(format!("expected {} in PATH, found none", qemu::PROGRAM)))?;
    let listed = run_quietly(
        "listing QEMU's libraries",
        Command::new("ldd").arg(&program),
    )?;
    let mut files: Vec<_> = listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect();
    let loader = files.iter().find_map(|path| {
        let name = path.file_name()?.to_str()?;
        name.starts_with("ld-").then(|| name.to_owned())
    });
    let loader =
        loader.ok_or_else(|| Error::Guest(format!("expected a loader, found {listed}")))?;
    files.push(program);
    Ok((loader, files))
}

/// What the outer machine runs, with kernel, initial RAM disk, ROM and the program as its arguments.
fn script(rounds: u32, contest: &Contest, loader: &str) -> String {
    let mut script = format!(
        "set -e\n\
         append='console=ttyS0 quiet panic=-1 reboot=t {}'\n\
         {}\n\
         next() {{\n\
         echo \"{NEXT}$1\"\n\
         {}\n\
         }}\n",
        guest::EXIT_WORD,
        contest.before_all,
        contest.before_each
    );
    for _ in 0..rounds {
        for (name, words) in &contest.ours {
            script += &format!(
                "next 'microvm {name}'\n\
                 microvm --bios \"$3\" --kernel \"$1\" --initrd \"$2\" --memory {MEMORY} \
                 --append \"$append\" {words}\n"
            );
        }
        for (name, words) in &contest.theirs {
            script += &format!(
                "next 'qemu {name}'\n\
                 ./{loader} --library-path . ./{} -no-user-config -nodefaults -display none \
                 -no-reboot -M microvm,accel=kvm -cpu host -m {MEMORY} -bios \"$3\" -kernel \"$1\" \
                 -initrd \"$2\" -append \"$append\" -serial stdio {words}\n",
                qemu::PROGRAM
            );
        }
    }
    script
}

/// For each pattern the medians of all that were measured, with the ratio to the last of them.
fn table(output: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    let mut patterns: Vec<&str> = Vec::new();
    let mut found: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
    let mut name = "";
    for line in output.lines() {
        let line = line.trim_end();
        if let Some((_, next)) = line.split_once(NEXT) {
            name = next.trim_end();
            if !names.contains(&name) {
                names.push(name);
            }
        } else if let Some((_, told)) = line.split_once(SPEED)
            && let Some((pattern, rate)) = told.rsplit_once(' ')
            && let Ok(rate) = rate.parse()
        {
            if !patterns.contains(&pattern) {
                patterns.push(pattern);
            }
            found.entry((pattern, name)).or_default().push(rate);
        }
    }
    let mut table = String::new();
    for pattern in patterns {
        let medians: Vec<_> = names
            .iter()
            .map(|name| median(found.get(&(pattern, *name)).map_or(&[], Vec::as_slice)))
            .collect();
        let first = medians.first().copied().unwrap_or(0);
        for (name, rate) in names.iter().zip(&medians) {
            let percent = first * 100 / (*rate).max(1);
            table += &format!("{pattern:<24} {name:<24} {rate:>7}/s {percent:>5} %\n");
        }
    }
    table
}

fn median(rates: &[u64]) -> u64 {
    let mut rates = rates.to_vec();
    rates.sort_unstable();
    rates.get(rates.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_first_is_compared_with_each() {
        let output = "BENCH: a\r\nSPEED: read depth=1 90\r\nBENCH: b\r\nSPEED: read depth=1 100\r\n\
                      BENCH: a\r\nSPEED: read depth=1 10\r\nBENCH: a\r\nSPEED: read depth=1 95\r\n";

        let table = table(output);

        let lines: Vec<Vec<_>> = table
            .lines()
            .map(|l| l.split_whitespace().collect())
            .collect();
        assert_eq!(
            lines,
            [
                ["read", "depth=1", "a", "90/s", "100", "%"],
                ["read", "depth=1", "b", "100/s", "90", "%"],
            ]
        );
    }

    #[test]
    fn every_contestant_has_its_turn_in_every_round() {
        let device = |name: &str, words: &str| vec![(name.to_owned(), words.to_owned())];
        let contest = Contest {
            program: "disk-speed",
            files: Vec::new(),
            before_all: "echo once".into(),
            before_each: "echo often".into(),
            ours: device("plain", "--disk path=image"),
            theirs: device("aio=threads", "-device virtio-blk-device"),
        };

        let script = script(2, &contest, "ld-linux.so");

        for once in ["echo once", "echo often"] {
            assert_eq!(script.matches(once).count(), 1);
        }
        for (name, words) in contest.ours.iter().chain(&contest.theirs) {
            assert_eq!(script.matches(words).count(), 2);
            assert_eq!(script.matches(&format!("{name}'\n")).count(), 2);
        }
        assert!(script.contains("./ld-linux.so --library-path . ./qemu-system-x86_64"));
    }
}
