// SPDX-License-Identifier: MIT OR Apache-2.0
//! How our monitor ends when a guest's kernel panics, and that it stays when it is told to.
//!
//! A ROM of a few instructions tells of both kinds of panic, and resets the machine where nobody
//! listens. In the lab a stock kernel does it, with the driver of its distribution.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use super::scene::in_order;
use super::stock::{self, command_in_lab};
use super::ticks::rom;
use crate::guest::{self, Flavour, Format};
use crate::lab;
use crate::process::{Bounds, End};
use std::process::Command;
use std::time::Duration;

/// Its offsets are those of the image.
#[rustfmt::skip]
const PROGRAM: [u8; 22] = [
    0xba, 0x05, 0x05, // mov $0x505, %dx
    0xec,             // in (%dx), %al
    0x3c, 0x03,       // cmp $0x3, %al
    0x75, 0x06,       // jne e <reset>
    // There is a crash kernel: to be gone on with.
    0xb0, 0x02,       // mov $0x2, %al
    0xee,             // out %al, (%dx)
    // There is none.
    0xb0, 0x01,       // mov $0x1, %al
    0xee,             // out %al, (%dx)
    // reset:
    0xb0, 0xfe,       // mov $0xfe, %al
    0xe6, 0x64,       // out %al, $0x64
    0xf4,             // hlt
    0xf4,             // hlt
    0xeb, 0xfc,       // jmp 12
];

/// The status for a panic.
const PANICKED: i32 = 6;

/// Runs the monitor in the background until it has stopped the machine, and ends it.
const STAYING: &str = r#"
"$@" &
monitor=$!
sleep 3
kill -0 "$monitor" && echo "it stays"
kill -TERM "$monitor"
wait "$monitor"
echo "status $?"
"#;

/// A monitor whose guest has a kernel of Debian's panic, after it has loaded the driver.
const DEBIAN: &str = r#"
status=0
microvm --kernel "$1" --initrd "$2" --memory "$MEMORY" --reboot \
    --append 'console=ttyS0 quiet panic=-1 reboot=t qboot_rs.panic' || status=$?
echo "LAB: status $status"
"#;
const MEMORY: &str = "256M";

/// Every case.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("vmm/panic", |context, trial| {
            let (status, output) = ended(context, trial, "pvpanic=on", &[])?;
            expect(status == Some(PANICKED), || {
                format!("expected status {PANICKED}, found {status:?}")
            })?;
            in_order(&output, &["microvm: the guest's kernel panicked;"])
        }),
        Case::new("vmm/panic-unheard", |context, trial| {
            let (status, output) = ended(context, trial, "pvpanic=off", &[])?;
            expect(status == Some(0), || {
                format!("expected status 0, found {status:?}")
            })?;
            in_order(&output, &["microvm: the guest reset the machine;"])
        }),
        Case::new("vmm/no-shutdown-panic", |context, trial| {
            stays(context, trial, "pvpanic=on", "the guest's kernel panicked")
        }),
        Case::new("vmm/no-shutdown-reset", |context, trial| {
            stays(context, trial, "pvpanic=off", "the guest reset the machine")
        }),
        Case::new("lab/debian-panic", debian),
        Case::new("lab/no-shutdown-power-off", stays_off),
    ]
}

/// What comes of the ROM: the monitor's status, and what it says.
fn ended(
    context: &Context<'_>,
    trial: &Trial,
    machine: &str,
    before: &[&str],
) -> Result<(Option<i32>, String), Outcome> {
    context.usable_kvm()?;
    let path = rom(context, &trial.file_name(), &PROGRAM)?;
    let monitor = context.host()?.vmm;
    let mut words = before.iter().map(Into::into).collect::<Vec<_>>();
    words.push(monitor.into_os_string());
    let [program, rest @ ..] = words.as_slice() else {
        return Err(Outcome::Failed("no program".into()));
    };
    let mut command = Command::new(program);
    command.args(rest);
    if !before.is_empty() {
        command.arg("--no-shutdown");
    }
    command.args(["--machine", machine, "--bios"]).arg(&path);
    let bounds = Bounds {
        silence: Duration::from_secs(20),
        total: Duration::from_secs(20),
    };
    let watched = trial.watch(&mut command, bounds)?;
    match watched.end {
        End::Exited(status) => Ok((status.code(), watched.output)),
        end => Err(Outcome::Failed(format!("our monitor {end}"))),
    }
}

fn stays(context: &Context<'_>, trial: &Trial, machine: &str, stopped: &str) -> Run {
    let (_, output) = ended(context, trial, machine, &["sh", "-c", STAYING, "sh"])?;
    let sentence = format!("microvm: {stopped}, then ended by signal 15;");
    in_order(&output, &["it stays", &sentence, "status 143"])
}

fn debian(context: &Context<'_>, trial: &Trial) -> Run {
    context.lab()?;
    let files = [
        context.kernel(Flavour::Cloud, Format::Pvh)?,
        guest::panic_initrd(context.workspace)?,
    ];
    let script = format!("MEMORY={MEMORY}{DEBIAN}");
    let mut words = ["sh", "-c", &script, "sh"].map(String::from).to_vec();
    words.extend(files.map(|path| path.to_string_lossy().into_owned()));
    let output = command_in_lab(context, trial, &words, MEMORY)?;
    in_order(
        &output,
        &[
            "Kernel panic - not syncing",
            "microvm: the guest's kernel panicked;",
            "LAB: status 6",
        ],
    )
}

/// The sleep register stops a machine that is to stay, as all else does that ends one.
fn stays_off(context: &Context<'_>, trial: &Trial) -> Run {
    let rom = context.lab()?.rom;
    let words = ["quiet", "qboot_rs.poweroff"];
    let boot = stock::boot(context, rom, Format::Pvh, 1, &words)?;
    let words = [
        ["sh", "-c", STAYING, "sh"].map(String::from).to_vec(),
        lab::microvm(&boot),
        vec!["--no-shutdown".into()],
    ];
    let output = command_in_lab(context, trial, &words.concat(), &boot.memory)?;
    in_order(
        &output,
        &[
            guest::INIT_REACHED,
            "it stays",
            "microvm: the guest turned the machine off, then ended by signal 15;",
            "status 143",
        ],
    )
}
