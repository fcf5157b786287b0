// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Rust toolchain: adds the targets and components that are missing.
//!
//! `rust-toolchain.toml` names them all, but where `RUSTUP_AUTO_INSTALL=0` nobody acts on it.

use crate::error::Result;
use crate::process;
use std::process::Command;

/// Adds a target unless it is there.
pub fn ensure_target(target: &str) -> Result<()> {
    ensure("target", target)
}

/// Adds a component unless it is there.
pub fn ensure_component(component: &str) -> Result<()> {
    ensure("component", component)
}

fn ensure(kind: &str, name: &str) -> Result<()> {
    let list = process::run_quietly(
        &format!("looking for the {kind} {name}"),
        Command::new("rustup").args([kind, "list", "--installed"]),
    );
    // Without rustup the toolchain is somebody else's; the build will tell what it lacks.
    let Ok(list) = list else { return Ok(()) };
    if list.lines().any(|line| line.trim().starts_with(name)) {
        return Ok(());
    }
    eprintln!("xtask: adding the Rust {kind} {name}");
    process::run_quietly(
        &format!("adding the Rust {kind} {name}"),
        Command::new("rustup").args([kind, "add", name]),
    )
    .map(drop)
}
