// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask check`: what has to hold before a change is offered. Runs all, reports all.

mod invariants;

use std::process::ExitCode;

use crate::build::BARE_METAL;
use crate::error::{Error, Result};
use crate::process::run_quietly;
use crate::size;
use crate::toolchain;
use crate::workspace::Workspace;

/// Packages without an operating system under them.
const BARE_METAL_PACKAGES: [&str; 4] = ["-p", "firmware", "-p", "guests"];

/// `cargo xtask check`
#[derive(Clone, Debug, clap::Args)]
pub struct Args {}

/// Runs every check and says of each how it ended.
pub fn run(workspace: &Workspace, _: &Args) -> Result<ExitCode> {
    toolchain::ensure_component("rustfmt")?;
    toolchain::ensure_component("clippy")?;
    toolchain::ensure_target(BARE_METAL)?;

    let mut bare_metal = vec!["clippy", "--quiet"];
    bare_metal.extend(BARE_METAL_PACKAGES);
    bare_metal.extend(["--features", "guests/bare-metal"]);
    bare_metal.extend([
        "--target",
        BARE_METAL,
        "--profile",
        "rom",
        "--",
        "-D",
        "warnings",
    ]);
    let checks = [
        (
            "fmt",
            cargo(
                workspace,
                &["fmt", "--all", "--check", "--", "--color", "never"],
            ),
        ),
        (
            "clippy (host)",
            cargo(
                workspace,
                &["clippy", "--quiet", "--all-targets", "--", "-D", "warnings"],
            ),
        ),
        ("clippy (bare metal)", cargo(workspace, &bare_metal)),
        ("doc", documentation(workspace)),
        ("invariants", invariants::run(workspace)),
        ("size", size::check(workspace)),
    ];
    let failed = checks
        .iter()
        .filter(|(name, result)| !told(name, result))
        .count();
    println!("{} passed, {failed} failed", checks.len() - failed);
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn told(name: &str, result: &Result<()>) -> bool {
    match result {
        Ok(()) => println!("check {name} ... passed"),
        Err(Error::Ended {
            command,
            status,
            output,
        }) => {
            println!("check {name} ... FAILED: `{command}` ended with {status}");
            println!("{}", output.trim_end());
        }
        Err(error) => println!("check {name} ... FAILED: {error}"),
    }
    result.is_ok()
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let label = format!("cargo {}", arguments.join(" "));
    run_quietly(&label, &mut workspace.cargo(arguments)).map(drop)
}

fn documentation(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo(&["doc", "--quiet", "--no-deps", "--document-private-items"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    run_quietly("cargo doc", &mut command).map(drop)
}
