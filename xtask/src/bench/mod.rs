// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench`: what a boot costs, in numbers that anyone can reproduce.

mod disk;
#[allow(dead_code, reason = "the format comes first")]
mod model;
#[allow(dead_code, reason = "what is reported comes later")]
mod report;

use crate::error::Result;
use crate::workspace::Workspace;

/// `cargo xtask bench`
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    /// Compare the speed of a disk of our monitor with that of one of QEMU's, in the lab
    Disk(disk::Args),
}

pub fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    match &args.what {
        What::Disk(args) => disk::run(workspace, args),
    }
}
