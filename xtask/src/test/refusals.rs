// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bad input that our firmware refuses: one sentence on COM1 or the debug console, and our monitor's exit code for it.
//!
//! What the monitor itself refuses is tested beside it, without a KVM.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use crate::process::{Bounds, End};
use crate::workspace::{read, write_atomically};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Our monitor's exit code for a firmware that gave up.
const FIRMWARE_FAILED: i32 = 3;

/// An input, and what the firmware says of it.
struct Refusal {
    name: &'static str,
    sentence: &'static str,
    arguments: fn(&Context<'_>) -> Result<Vec<String>, Outcome>,
}

const REFUSALS: [Refusal; 7] = [
    Refusal {
        name: "no-kernel",
        sentence: "qboot-rs: kernel: expected one in fw_cfg, found none",
        arguments: |_| Ok(vec![]),
    },
    Refusal {
        name: "no-kernel-on-the-debug-console",
        sentence: "qboot-rs: kernel: expected one in fw_cfg, found none",
        arguments: |_| {
            let words = ["--machine", "isa-serial=off", "--debugcon", "stdio"];
            Ok(words.map(String::from).to_vec())
        },
    },
    Refusal {
        name: "long-command-line",
        sentence: "qboot-rs: kernel command line: expected at most 2048 bytes with its NUL, \
                   found 3001",
        arguments: |context| {
            Ok(vec![
                kernel(context)?,
                format!("--append=pci=off {}", "x".repeat(2992)),
            ])
        },
    },
    Refusal {
        name: "jump-past-the-setup",
        sentence: "qboot-rs: kernel: expected a jump over its setup header (0xeb, 0 to 0x7f), \
                   found 0xeb, 0xff",
        arguments: |context| patched(context, "jump-past-the-setup", 0x201, &[0xff]),
    },
    Refusal {
        name: "no-dma-and-no-kernel",
        sentence: "qboot-rs: kernel: expected one in fw_cfg, found none",
        arguments: |_| Ok(vec!["--fw-cfg-dma=off".into()]),
    },
    Refusal {
        name: "smbios-anchor",
        sentence: "qboot-rs: SMBIOS anchor: expected _SM_ and _DMI_ in 31 bytes or _SM3_ in 24, \
                   found 0x726f6873 in 5",
        arguments: |context| smbios(context, "short", "no table"),
    },
    Refusal {
        name: "smbios-length",
        sentence: "qboot-rs: SMBIOS table: expected at most 8 bytes, found 1296786018",
        arguments: |context| smbios(context, "_SM3_.\u{18}.....bbKM........", "no table"),
    },
];

/// Every refusal, on our monitor.
pub fn cases() -> Vec<Case> {
    REFUSALS
        .iter()
        .map(|refusal| {
            Case::new(
                format!("vmm/refuse-{}", refusal.name),
                move |context, trial| refused(context, trial, refusal),
            )
        })
        .collect()
}

fn refused(context: &Context<'_>, trial: &Trial, refusal: &Refusal) -> Run {
    context.usable_kvm()?;
    let mut command = Command::new(context.host()?.vmm);
    command
        .arg("--bios")
        .arg(context.rom()?)
        .args(["--memory", "64M"]);
    command.args((refusal.arguments)(context)?);
    let bounds = Bounds {
        silence: Duration::from_secs(20),
        total: Duration::from_secs(30),
    };
    let watched = trial.watch(&mut command, bounds)?;
    expect(watched.output.contains(refusal.sentence), || {
        format!(
            "expected `{}`, found `{}`",
            refusal.sentence,
            watched.output.trim_end()
        )
    })?;
    match watched.end {
        End::Exited(status) if status.code() == Some(FIRMWARE_FAILED) => Ok(()),
        end => Err(Outcome::Failed(format!(
            "expected our monitor to end with status {FIRMWARE_FAILED}, but it {end}"
        ))),
    }
}

fn kernel(context: &Context<'_>) -> Result<String, Outcome> {
    Ok(format!(
        "--kernel={}",
        context.guest("report.bz")?.display()
    ))
}

/// The bzImage guest with other bytes at `offset`.
fn patched(
    context: &Context<'_>,
    name: &str,
    offset: usize,
    bytes: &[u8],
) -> Result<Vec<String>, Outcome> {
    let mut image = read(&context.guest("report.bz")?)?;
    let place = image.get_mut(offset..offset + bytes.len());
    place
        .ok_or_else(|| Outcome::Failed("the guest is too short".into()))?
        .copy_from_slice(bytes);
    let path: PathBuf = context.workspace.target.join("test-inputs").join(name);
    write_atomically(&path, &image)?;
    Ok(vec![format!("--kernel={}", path.display())])
}

/// A kernel with these two SMBIOS files.
fn smbios(context: &Context<'_>, anchor: &str, tables: &str) -> Result<Vec<String>, Outcome> {
    Ok(vec![
        kernel(context)?,
        format!("--fw-cfg=name=etc/smbios/smbios-anchor,string={anchor}"),
        format!("--fw-cfg=name=etc/smbios/smbios-tables,string={tables}"),
    ])
}
