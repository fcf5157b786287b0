// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench`: what a boot costs, in numbers that anyone can reproduce.

pub mod count;
mod disk;
#[allow(dead_code, reason = "the format comes first")]
pub mod model;
#[allow(dead_code, reason = "what is reported comes later")]
pub mod report;

use crate::error::{Error, Result};
use crate::workspace::Workspace;

/// `cargo xtask bench`
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Lower the budgets in `tests/budgets.toml` to what is found
    #[arg(long)]
    save: bool,
    /// Raise those, too, that were outgrown
    #[arg(long, requires = "save")]
    raise: bool,
    /// Tell what changed from one firmware to the other: ROM files, revisions, or `.` for this tree
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with = "save")]
    compare: Vec<String>,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    /// Compare the speed of a disk of our monitor with that of one of QEMU's, in the lab
    Disk(disk::Args),
}

pub fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    match &args.what {
        Some(What::Disk(args)) => disk::run(workspace, args),
        None if args.save => count::gate::save(workspace, args.raise),
        None if !args.compare.is_empty() => count::compare::run(workspace, &args.compare),
        None => Err(Error::Guest(
            "expected `--save`, `--compare A B` or `disk`, found none of them".into(),
        )),
    }
}
