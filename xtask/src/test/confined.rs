// SPDX-License-Identifier: MIT OR Apache-2.0
//! That no thread of our monitor that runs a machine may ask the host for whatever it likes.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use super::scene::in_order;
use super::ticks::rom;
use crate::process::{Bounds, End};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

/// Its processor stays.
const PROGRAM: [u8; 3] = [
    0xf4, // hlt
    0xeb, 0xfd, // jmp 0
];

/// Runs the monitor in the background, says of each of its threads what the host says of its
/// confinement (`proc_pid_status(5)`), and ends it.
const LOOK: &str = r#"
"$@" < /dev/null &
monitor=$!
sleep 3
for task in /proc/"$monitor"/task/*; do
    set -- $(sed -nE 's/^(NoNewPrivs|Seccomp|Seccomp_filters):\s*//p' "$task"/status)
    echo "thread $(cat "$task"/comm): $*"
done
kill -TERM "$monitor"
wait "$monitor"
echo "status $?"
"#;

/// All but the main thread.
const THREADS: [&str; 8] = [
    "vcpu0",
    "vcpu1",
    "virtio5.0",
    "virtio5.1",
    "virtio6.0",
    "virtio7.0",
    "console input",
    "console output",
];

/// Every case.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("vmm/confined", |context, trial| {
            // Privileges that cannot grow, filters as they are meant, and how many.
            looks(context, trial, "on", "1 2 1", "1 2 2")
        }),
        Case::new("vmm/not-confined", |context, trial| {
            looks(context, trial, "off", "0 0 0", "0 0 0")
        }),
    ]
}

fn looks(context: &Context<'_>, trial: &Trial, seccomp: &str, main: &str, other: &str) -> Run {
    context.usable_kvm()?;
    let rom = rom(context, &trial.file_name(), &PROGRAM)?;
    let mut command = Command::new("sh");
    command
        .args(["-c", LOOK, "sh"])
        .arg(context.host()?.vmm)
        .args([
            "--seccomp",
            seccomp,
            "--cpus",
            "2",
            "--rng",
            "--console",
            "pty",
        ])
        .arg(format!("--disk=path={},readonly=on", rom.display()))
        .arg("--bios")
        .arg(&rom);
    let bounds = Bounds {
        silence: Duration::from_secs(20),
        total: Duration::from_secs(20),
    };
    let watched = trial.watch(&mut command, bounds)?;
    let End::Exited(_) = watched.end else {
        return Err(Outcome::Failed(format!("our monitor {}", watched.end)));
    };
    // Threads of KVM's own are the host's kernel.
    let ours = |line: &&str| line.starts_with("thread ") && !line.starts_with("thread kvm-");
    let found: BTreeSet<_> = watched.output.lines().filter(ours).collect();
    let mut expected = vec![format!("thread microvm: {main}")];
    expected.extend(THREADS.map(|name| format!("thread {name}: {other}")));
    let expected = expected.iter().map(String::as_str).collect();
    expect(found == expected, || {
        format!("expected {expected:#?}, found {found:#?}")
    })?;
    in_order(
        &watched.output,
        &["microvm: ended by signal 15;", "status 143"],
    )
}
