// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench disk`: a disk of our monitor against one of QEMU's `microvm`, in the lab.
//!
//! The same guest with the same ROM reads and writes the same image, in turns, all in one outer
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
use crate::process::run_quietly;
use crate::qemu;
use crate::workspace::Workspace;

/// `cargo xtask bench disk`
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How often each of them is measured
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// The seed of the emulator's random numbers
    #[arg(long, default_value_t = 1)]
    seed: u32,
    /// More words about a disk of ours, such as `aio=threads`; repeatable, and the first is what the
    /// others are compared with [default: none]
    #[arg(long = "disk", value_name = "KEY=VALUE,…")]
    ours: Vec<String>,
    /// More words about a drive of QEMU's; repeatable [default: aio=threads and aio=io_uring]
    #[arg(long = "drive", value_name = "KEY=VALUE,…")]
    theirs: Vec<String>,
}

/// What the guest's program says before what it did and how fast.
const SPEED: &str = "SPEED: ";
/// What the outer machine says before the name of the one that is next.
const NEXT: &str = "BENCH: ";

const MEMORY: &str = "256M";
/// Seconds that the lab gets for one boot, several times what it takes.
const PATIENCE: u32 = 60;

/// Measures and prints a table.
pub fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    qemu::require()?;
    let images = images::for_lab(workspace)?;
    let program = build::static_example(workspace, "disk-speed")?;
    let kernel = guest::kernel(workspace, Flavour::Cloud, Format::Pvh)?;
    let initrd = guest::program_initrd(workspace, &program, "initrd-speed.cpio")?;
    let ours = or(&args.ours, &[""]);
    let theirs = or(&args.theirs, &["aio=threads", "aio=io_uring"]);
    let (loader, mut files) = qemu_files()?;
    let script = script(args.rounds, &ours, &theirs, &loader);
    let mut words = ["sh", "-c", &script, "sh"].map(String::from).to_vec();
    let named = [&kernel, &initrd, &images.rom];
    words.extend(named.iter().map(|path| path.to_string_lossy().into_owned()));
    let boots = args.rounds * u32::try_from(ours.len() + theirs.len()).unwrap_or(u32::MAX);
    let mut job = Job {
        bios: images.rom.clone(),
        vmm: images.vmm,
        files: Vec::new(),
        work: Work::Shell,
        memory_mib: 2048,
        terminal: false,
        seconds: Some(boots.saturating_mul(PATIENCE)),
    };
    job.command(&words);
    job.files.append(&mut files);
    let remark = |remark| eprintln!("xtask: {remark}");
    let attempts = lab::counted_attempts(args.seed);
    let watched = lab::boot_patiently(workspace, "bench", &job, attempts, true, remark)?;
    if lab::status(&watched.output) != Some(0) {
        let what = format!("the lab {} before everything was measured", watched.end);
        return Err(Error::Guest(what));
    }
    print!("{}", table(&watched.output));
    Ok(())
}

fn or(given: &[String], usual: &[&str]) -> Vec<String> {
    if given.is_empty() {
        usual.iter().map(|word| (*word).to_owned()).collect()
    } else {
        given.to_vec()
    }
}

/// QEMU with its libraries, and the name of what starts it where there is nothing else.
pub fn qemu_files() -> Result<(String, Vec<PathBuf>)> {
    let find = |program: &str| {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .map(|directory| directory.join(program))
            .find(|path| path.is_file());
        found.ok_or_else(|| Error::Guest(format!("expected {program} in PATH, found none")))
    };
    let program = find(qemu::PROGRAM)?;
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

/// What the outer machine runs, with kernel, initial RAM disk and ROM as its arguments.
fn script(rounds: u32, ours: &[String], theirs: &[String], loader: &str) -> String {
    let mut script = format!(
        "set -e\n\
         append='console=ttyS0 quiet panic=-1 reboot=t {}'\n\
         next() {{\n\
         echo \"{NEXT}$1\"\n\
         dd if=/dev/zero of=image bs=1M count=16 2>/dev/null\n\
         }}\n",
        guest::EXIT_WORD
    );
    for _ in 0..rounds {
        for words in ours {
            let comma = if words.is_empty() { "" } else { "," };
            script += &format!(
                "next 'microvm {words}'\n\
                 microvm --bios \"$3\" --kernel \"$1\" --initrd \"$2\" --memory {MEMORY} \
                 --append \"$append\" --disk 'path=image{comma}{words}'\n"
            );
        }
        for words in theirs {
            script += &format!(
                "next 'qemu {words}'\n\
                 ./{loader} --library-path . ./{} -no-user-config -nodefaults -display none \
                 -no-reboot -M microvm,accel=kvm -cpu host -m {MEMORY} -bios \"$3\" -kernel \"$1\" \
                 -initrd \"$2\" -append \"$append\" -serial stdio \
                 -drive 'if=none,id=disk,format=raw,file=image,{words}' \
                 -device virtio-blk-device,drive=disk\n",
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
        let words = |text: &str| vec![text.to_owned()];

        let script = script(2, &words("direct=on"), &words("aio=threads"), "ld-linux.so");

        assert_eq!(script.matches("path=image,direct=on'").count(), 2);
        assert_eq!(script.matches("file=image,aio=threads'").count(), 2);
        assert!(script.contains("./ld-linux.so --library-path . ./qemu-system-x86_64"));
    }
}
