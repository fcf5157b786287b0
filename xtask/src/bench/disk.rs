// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench disk`: disks that read and write the same image.

use super::contest::{self, Contest, Rounds};
use crate::error::Result;
use crate::workspace::Workspace;

/// `cargo xtask bench disk`
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    rounds: Rounds,
    /// More words about a disk of ours, such as `aio=threads`; repeatable, and the first is what the
    /// others are compared with [default: none]
    #[arg(long = "disk", value_name = "KEY=VALUE,…")]
    ours: Vec<String>,
    /// More words about a drive of QEMU's; repeatable [default: aio=threads and aio=io_uring]
    #[arg(long = "drive", value_name = "KEY=VALUE,…")]
    theirs: Vec<String>,
}

/// Measures and prints a table.
pub fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let ours = or(&args.ours, &[""]).into_iter().map(|words| {
        let comma = if words.is_empty() { "" } else { "," };
        let disk = format!("--disk 'path=image{comma}{words}'");
        (words, disk)
    });
    let theirs = or(&args.theirs, &["aio=threads", "aio=io_uring"]);
    let theirs = theirs.into_iter().map(|words| {
        let drive = format!(
            "-drive 'if=none,id=disk,format=raw,file=image,{words}' \
             -device virtio-blk-device,drive=disk"
        );
        (words, drive)
    });
    let contest = Contest {
        program: "disk-speed",
        files: Vec::new(),
        before_all: String::new(),
        before_each: "dd if=/dev/zero of=image bs=1M count=16 2>/dev/null".into(),
        ours: ours.collect(),
        theirs: theirs.collect(),
    };
    contest::run(workspace, args.rounds, contest)
}

fn or(given: &[String], usual: &[&str]) -> Vec<String> {
    if given.is_empty() {
        usual.iter().map(|word| (*word).to_owned()).collect()
    } else {
        given.to_vec()
    }
}
