// SPDX-License-Identifier: MIT OR Apache-2.0
//! How often our firmware leaves the guest, counted by our monitor on KVM: what the emulator that
//! counts all else does not have.

use std::path::Path;
use std::process::Command;

use super::gate::Subject;
use crate::bench::instrument;
use crate::bench::model::Vmm;
use crate::error::{Error, Result};
use crate::lab;
use crate::process::capture;
use crate::workspace::{Workspace, read, write_atomically};

/// Boots it in our monitor: exits until the kernel is entered. Firmware, monitor and guests have been
/// built.
pub fn count(subject: &Subject, workspace: &Workspace) -> Result<u64> {
    let told = workspace
        .target
        .join(format!("test-inputs/exits-{}.json", subject.name));
    // What this run does not write is not to be taken for what an earlier one wrote.
    write_atomically(&told, b"")?;
    let (status, output) = capture(&mut command(subject, workspace, &told)?)?;
    let text = String::from_utf8_lossy(&read(&told)?).into_owned();
    let found = instrument::read(Vmm::Microvm, &text, 0);
    match found.as_ref().map(|found| found.counts.exits) {
        Ok(Some(exits)) if status.success() => Ok(exits),
        _ => Err(Error::Guest(format!(
            "{}: our monitor ended with {status} and has not seen the kernel entered; its last words: {}",
            subject.name,
            output.lines().last().unwrap_or_default()
        ))),
    }
}

fn command(subject: &Subject, workspace: &Workspace, told: &Path) -> Result<Command> {
    let boot = subject.boot(workspace, &workspace.rom())?;
    let mut command = Command::new(workspace.vmm());
    // The first word is the monitor itself.
    command.args(&lab::microvm(&boot)[1..]);
    if let Some((_, parts)) = subject.machine.split_once(',') {
        command.args(["--machine", parts]);
    }
    command.args(["--trace", "off", "--measure"]).arg(told);
    Ok(command)
}
