// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one front door: `cargo xtask VERB`, one file per verb.

#![forbid(unsafe_code)]

mod bench;
mod browser;
mod build;
mod check;
mod error;
mod fuzz;
mod guest;
mod host;
mod image;
mod images;
mod lab;
mod lines;
mod oracle;
mod packages;
mod process;
mod progress;
mod qemu;
mod run;
mod size;
mod test;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::Result;
use workspace::Workspace;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    about = "Builds, runs, tests and checks this tree"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build the ROM, the bare-metal guests and the monitor
    Build(build::Args),
    /// Obtain a stock kernel and make a root file system to boot
    Guest(guest::Args),
    /// Boot a guest, the best way that this machine allows
    Run(run::Args),
    /// Run a command where KVM works on any machine: inside QEMU's emulator
    Lab(lab::Args),
    /// Test every promise: on the host, on our monitor, on QEMU and in the lab
    Test(test::Args),
    /// Measure what a boot costs
    Bench(bench::Args),
    /// Look for input that breaks a promise
    Fuzz(fuzz::Args),
    /// Count the ROM's bytes by room, and hold each to its budget
    Size(size::Args),
    /// Compare what our ROM, qboot and SeaBIOS hand over on the same machines
    Oracle(oracle::Args),
    /// Check format, lints, documentation and the architecture's invariants
    Check(check::Args),
}

fn main() -> ExitCode {
    match dispatch(&Cli::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a verb. `test` and `check` have told of their failures themselves.
fn dispatch(verb: &Verb) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    let done = match verb {
        Verb::Build(args) => build::run(&workspace, args),
        Verb::Guest(args) => guest::run(&workspace, args),
        Verb::Run(args) => run::run(&workspace, args),
        Verb::Lab(args) => lab::run(&workspace, args),
        Verb::Bench(args) => bench::run(&workspace, args),
        Verb::Fuzz(args) => fuzz::run(&workspace, args),
        Verb::Size(args) => size::run(&workspace, args),
        Verb::Test(args) => return test::run(&workspace, args),
        Verb::Oracle(args) => return oracle::run(&workspace, args),
        Verb::Check(args) => return check::run(&workspace, args),
    };
    done.map(|()| ExitCode::SUCCESS)
}
