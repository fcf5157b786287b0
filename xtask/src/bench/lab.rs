// SPDX-License-Identifier: MIT OR Apache-2.0
//! The same boots in the lab, whose clock counts instructions: a microsecond is a thousand of them,
//! those of monitor, host kernel and guest alike.

use std::path::Path;

use super::contest::qemu_files;
use super::instrument::RUN;
use super::model::Vmm;
use super::stopwatch;
use super::subject::{Names, Subject};
use super::time::{self, How, LIMIT, Runs, round};
use crate::error::{Error, Result};
use crate::images::Images;
use crate::lab::{self, Job, Work};
use crate::process::quoted;
use crate::qemu;
use crate::workspace::Workspace;

/// Frequency of a time-stamp counter in the lab.
pub const KHZ: u64 = 1_000_000;

/// What the outer machine says before each boot, with the number of the subject behind it.
const NEXT: &str = "BENCH: ";
/// What QEMU runs before a kernel where the firmware does not find it by itself.
const OPTION_ROMS: [&str; 3] = ["pvh.bin", "linuxboot_dma.bin", "kvmvapic.bin"];
/// And after one in which the monitor has told of itself, before what it told.
const TOLD: &str = "BENCH-TOLD";
/// The file of that.
const SCRATCH: &str = "told";
const SEED: u32 = 1;
/// Where the distribution has them.
const SHARE: [&str; 2] = ["/usr/share/qemu", "/usr/share/seabios"];

/// Boots all of them in turns in one outer machine: once for memory, and then `rounds` times.
pub fn in_turns(
    workspace: &Workspace,
    images: &Images,
    stopwatch: &Path,
    subjects: &[Subject],
    rounds: u32,
) -> Result<Vec<Runs>> {
    let mut files = vec![stopwatch.to_path_buf()];
    let mut names = Names {
        microvm: vec!["microvm".into()],
        qemu: Vec::new(),
        files: lab::base_name,
    };
    if subjects.iter().any(|it| it.combination.vmm == Vmm::Qemu) {
        let (loader, parts) = qemu_files()?;
        files.extend(parts);
        let places = SHARE.iter().map(Path::new);
        let roms = places.flat_map(|place| OPTION_ROMS.map(|name| place.join(name)));
        files.extend(roms.filter(|path| path.is_file()));
        let start = format!("./{loader} --library-path . ./{} -L .", qemu::PROGRAM);
        names.qemu = start.split(' ').map(String::from).collect();
    }
    for subject in subjects {
        files.extend(subject.files().cloned());
    }
    files.sort();
    files.dedup();
    let boots = (2 * rounds + 1) * u32::try_from(subjects.len()).unwrap_or(u32::MAX);
    let mut job = Job {
        bios: images.rom.clone(),
        vmm: images.vmm.clone(),
        files,
        work: Work::Shell,
        memory_mib: 3072,
        terminal: false,
        seconds: Some(boots.saturating_mul(LIMIT)),
    };
    let script = script(&names, subjects, rounds);
    job.command(&["sh", "-c", &script].map(String::from));
    let remark = |remark| eprintln!("xtask: {remark}");
    let attempts = lab::counted_attempts(SEED);
    let watched = lab::boot_patiently(workspace, "bench", &job, attempts, false, remark)?;
    if lab::status(&watched.output).is_none() {
        return Err(Error::Guest(format!(
            "the lab {} before everything was measured",
            watched.end
        )));
    }
    Ok(read(&watched.output, subjects, rounds))
}

fn script(names: &Names, subjects: &[Subject], rounds: u32) -> String {
    let mut script = String::new();
    for number in 0..=rounds {
        for how in round(number) {
            for (number, subject) in subjects.iter().enumerate() {
                let words = time::command("./stopwatch", names, subject, *how, SCRATCH);
                let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
                script += &format!("echo '{NEXT}{number}'\n{}\n", words.join(" "));
                if let How::Inside(_) = how {
                    // Of QEMU's trace of every call the first of interest is enough.
                    let show = match subject.combination.vmm {
                        Vmm::Microvm => format!("cat {SCRATCH}"),
                        Vmm::Qemu => format!("grep -m 1 -F '{RUN}' {SCRATCH}"),
                    };
                    script += &format!("echo; echo '{TOLD}'; {show}\n");
                }
            }
        }
    }
    script
}

/// The readings in what the outer machine has said.
fn read(output: &str, subjects: &[Subject], rounds: u32) -> Vec<Runs> {
    let mut all = vec![Runs::default(); subjects.len()];
    let output = output.replace('\r', "");
    let mut parts = output.split(NEXT).skip(1);
    for how in (0..=rounds).flat_map(round) {
        for (subject, runs) in subjects.iter().zip(&mut all) {
            let part = parts.next().unwrap_or_default();
            if runs.failed.is_some() {
                continue;
            }
            let (said, told) = part.split_once(TOLD).unwrap_or((part, ""));
            let reading = stopwatch::read(subject, said);
            runs.note(*how, time::both(subject, *how, reading, told));
        }
    }
    all
}
