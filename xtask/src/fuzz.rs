// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask fuzz`: looks for bytes that break a promise, with cargo-fuzz.
//!
//! What it finds interesting is kept in `target/fuzz`; the seeds in the tree are never changed.

use std::fs;
use std::process::Command;

use crate::error::{Error, Result};
use crate::process::capture;
use crate::workspace::Workspace;

/// The toolchain that can instrument code for the fuzzer.
const TOOLCHAIN: &str = "nightly";

/// `cargo xtask fuzz`
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The target; without one they are listed
    pub target: Option<String>,
    /// How long to look
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub secs: u32,
}

/// Runs one target, or lists them all.
pub fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let targets = targets(workspace)?;
    let Some(target) = &args.target else {
        targets.iter().for_each(|target| println!("{target}"));
        return Ok(());
    };
    if !targets.contains(target) {
        return Err(Error::Missing {
            what: format!("the fuzz target `{target}`"),
            remedy: format!("there are {}", targets.join(", ")),
        });
    }
    require()?;
    let place = workspace.target.join("fuzz");
    let corpus = place.join("corpus").join(target);
    let artifacts = place.join("artifacts").join(target);
    for directory in [&corpus, &artifacts] {
        fs::create_dir_all(directory).map_err(Error::file("create", directory))?;
    }
    let mut command = cargo(workspace, &["fuzz", "run", "--fuzz-dir", "tests/fuzz"]);
    command
        .arg("--target-dir")
        .arg(place.join("build"))
        .arg(target)
        .arg(corpus)
        .arg(workspace.root.join("tests/fuzz/seeds").join(target))
        .args(["--", "-print_final_stats=1"])
        .arg(format!("-max_total_time={}", args.secs))
        .arg(format!("-artifact_prefix={}/", artifacts.display()));
    let status = command.status().map_err(|source| Error::Start {
        program: command.get_program().to_owned(),
        source,
    })?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Guest(format!(
        "the fuzz target `{target}` ended with {status}; what it has found is in {}",
        artifacts.display()
    )))
}

/// Every target by name.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let directory = workspace.root.join("tests/fuzz/targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).map_err(Error::file("list", &directory))? {
        let path = entry.map_err(Error::file("list", &directory))?.path();
        names.extend(
            path.file_stem()
                .map(|name| name.to_string_lossy().into_owned()),
        );
    }
    names.sort();
    Ok(names)
}

/// Says what to install where the fuzzer or its toolchain is missing.
fn require() -> Result<()> {
    let missing = |what: &str, remedy: &str| Error::Missing {
        what: what.to_owned(),
        remedy: remedy.to_owned(),
    };
    let runs = |command: &mut Command| capture(command).is_ok_and(|(status, _)| status.success());
    if !runs(Command::new("rustup").args(["run", TOOLCHAIN, "rustc", "--version"])) {
        return Err(missing(
            "a nightly Rust toolchain",
            "run `rustup toolchain install nightly --profile minimal`",
        ));
    }
    if !runs(Command::new("cargo-fuzz").arg("--version")) {
        return Err(missing("cargo-fuzz", "run `cargo install cargo-fuzz`"));
    }
    Ok(())
}

/// The nightly Cargo, in the source tree, free of what the Cargo that runs this tool has set.
fn cargo(workspace: &Workspace, arguments: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command
        .args(["run", TOOLCHAIN, "cargo"])
        .args(arguments)
        .current_dir(&workspace.root);
    for name in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "CARGO_TARGET_DIR"] {
        command.env_remove(name);
    }
    command
}
