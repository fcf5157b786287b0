// SPDX-License-Identifier: MIT OR Apache-2.0
//! What has to be said along with numbers: the machine, the commit, the command.

use std::env;
use std::fs;
use std::process::Command;

use super::model::{Host, Vmm};
use super::subject::Subject;
use crate::host::Kvm;
use crate::packages;
use crate::process::capture;
use crate::qemu;
use crate::workspace::Workspace;

/// This machine.
pub fn host() -> Host {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Host {
        processor: field("model name").unwrap_or_else(|| "unknown".into()),
        processors: u32::try_from(processors).unwrap_or(u32::MAX),
        kernel: kernel.trim().to_owned(),
        kvm: match Kvm::probe() {
            Kvm::Hardware => "hardware".into(),
            Kvm::Software => "software: guest code is emulated".into(),
            Kvm::Unusable(why) => why,
        },
        qemu: qemu_version(),
    }
}

/// The line in which QEMU says its version.
fn qemu_version() -> Option<String> {
    let (status, output) = capture(Command::new(qemu::PROGRAM).arg("--version")).ok()?;
    let line = output.lines().next().filter(|_| status.success())?;
    let version = line.split_once("version ").map_or(line, |it| it.1);
    Some(version.to_owned())
}

/// The commit, with `+` behind it where the tree has changes.
pub fn revision(workspace: &Workspace) -> String {
    let git = |arguments: &[&str]| {
        let said = workspace.git(arguments).ok()?;
        Some(String::from_utf8_lossy(&said).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".into();
    };
    match git(&["status", "--porcelain"]).as_deref() {
        Some("") => commit,
        _ => commit + "+",
    }
}

/// What was typed.
pub fn command() -> String {
    let words = env::args()
        .skip(1)
        .map(|word| crate::process::quoted(&word));
    let mut line = "cargo xtask".to_owned();
    for word in words {
        line.push(' ');
        line.push_str(&word);
    }
    line
}

/// Bytes of the monitor's program, without libraries.
pub fn program_bytes(subject: &Subject, microvm: &std::path::Path) -> Option<u64> {
    let path = match subject.combination.vmm {
        Vmm::Microvm => microvm.to_path_buf(),
        Vmm::Qemu => packages::locate(qemu::PROGRAM)?,
    };
    Some(fs::metadata(path).ok()?.len())
}
