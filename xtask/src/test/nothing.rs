// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMUs without a kernel: what our ROM says, and whether it waits or resets the machine.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use crate::process::{Bounds, End};
use crate::qemu;
use std::time::{Duration, Instant};

const NO_KERNEL: &str = "qboot-rs: kernel: expected one in fw_cfg, found none";
const RESET: &str = "; the machine is reset after 1100 ms";
const NO_CLOCK: &str =
    "qboot-rs: clock: expected a timer or a real-time clock that runs, found none";
const DISK_FIRST: &str =
    "first in the boot order, but neither disk nor option ROM is booted here, /virtio";
const WAIT: Duration = Duration::from_millis(1100);

/// What is on QEMU's command line, what has to be said, and whether the machine is reset.
struct Nothing {
    name: &'static str,
    arguments: &'static [&'static str],
    said: &'static [&'static str],
    reset: bool,
}

const WAITING: &str = "reboot-timeout=1100";
const DISK: &str = "if=none,id=disk,format=raw,readonly=on,file=/dev/zero,file.locking=off";

const NOTHING: [Nothing; 7] = [
    Nothing {
        name: "microvm",
        arguments: &["-M", "microvm"],
        said: &[NO_KERNEL],
        reset: false,
    },
    Nothing {
        name: "microvm-reset",
        arguments: &["-M", "microvm", "-boot", WAITING],
        said: &[NO_KERNEL, RESET],
        reset: true,
    },
    Nothing {
        name: "microvm-rtc-reset",
        arguments: &["-M", "microvm,pit=off", "-boot", WAITING],
        said: &[NO_KERNEL, RESET],
        reset: true,
    },
    Nothing {
        name: "microvm-no-clock",
        arguments: &["-M", "microvm,pit=off,rtc=off", "-boot", WAITING],
        said: &[NO_KERNEL, RESET, NO_CLOCK],
        reset: false,
    },
    Nothing {
        name: "microvm-disk-reset",
        arguments: &[
            "-M",
            "microvm",
            "-boot",
            "strict=on,reboot-timeout=1100",
            "-drive",
            DISK,
            "-device",
            "virtio-blk-device,drive=disk,bootindex=1",
        ],
        said: &[NO_KERNEL, DISK_FIRST, RESET],
        reset: true,
    },
    Nothing {
        name: "pc-reset",
        arguments: &["-M", "pc", "-boot", WAITING],
        said: &[NO_KERNEL, RESET],
        reset: true,
    },
    Nothing {
        name: "q35-reset",
        arguments: &["-M", "q35", "-boot", WAITING],
        said: &[NO_KERNEL, RESET],
        reset: true,
    },
];

/// Every case.
pub fn cases() -> Vec<Case> {
    NOTHING
        .iter()
        .map(|nothing| {
            let name = format!("qemu/no-kernel-{}", nothing.name);
            Case::new(name, move |context, trial| boot(context, trial, nothing))
        })
        .collect()
}

fn boot(context: &Context<'_>, trial: &Trial, nothing: &Nothing) -> Run {
    context.qemu()?;
    let mut command = qemu::without_kernel(&context.rom()?);
    command.args(nothing.arguments);
    let bounds = Bounds {
        silence: Duration::from_secs(if nothing.reset { 30 } else { 4 }),
        total: Duration::from_secs(60),
    };
    let started = Instant::now();
    let watched = trial.watch(&mut command, bounds)?;
    for sentence in nothing.said {
        expect(watched.output.contains(sentence), || {
            format!(
                "expected `{sentence}`, found `{}`",
                watched.output.trim_end()
            )
        })?;
    }
    expect(
        nothing.reset || !watched.output.contains(RESET) || watched.output.contains(NO_CLOCK),
        || "expected no reset, found one promised".into(),
    )?;
    match watched.end {
        End::Exited(status) if status.success() && nothing.reset => {
            let took = started.elapsed();
            expect(took >= WAIT, || {
                format!("expected a reset after {WAIT:?}, found one after {took:?}")
            })
        }
        End::Exited(_) => Err(Outcome::Failed(format!(
            "expected the machine to halt, but QEMU {}",
            watched.end
        ))),
        end if nothing.reset => Err(Outcome::Failed(format!("expected a reset, but QEMU {end}"))),
        _ => Ok(()),
    }
}
