// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stock Debian on a virtio console of our monitor, in the lab: somebody logs in there.
//!
//! The guest has no COM1, nor any other device of a PC. What is typed comes from the outer machine, and
//! so is what has to be answered before the next line is typed.

use super::case::{Case, Context, Run, Trial};
use super::scene::in_order;
use super::stock::{command_in_lab, reached};
use crate::guest::{self, Flavour, Format};

const MEMORY: &str = "256M";

/// What every scene begins with: how the guest is booted, and somebody who reads and types.
const PRELUDE: &str = r#"
set -e
kernel=$1 initrd=$2
boot() {
    work=$1
    shift
    microvm --kernel "$kernel" --initrd "$initrd" --memory "$MEMORY" \
        --machine isa-serial=off,pic=off,pit=off,rtc=off,x-option-roms=off "$@" \
        --append "console=hvc0 quiet panic=-1 reboot=t qboot_rs.$work"
}
# Waits for something that was not heard before, and shows all that was.
mark=1
heard() {
    until tail -c "+$mark" log | grep -q "$1"; do
        sleep 0.1
    done
    end=$(wc -c <log)
    tail -c "+$mark" log | head -c $((end + 1 - mark))
    mark=$((end + 1))
}
types() {
    printf '%s\n' "$*" >&3
}
logs_in() {
    heard 'login: '
    types root
    heard '/root # '
}
"#;

/// What is typed, and what has to be said, in this order.
struct Scene {
    name: &'static str,
    script: &'static str,
    said: &'static [&'static str],
}

const SCENES: [Scene; 4] = [
    Scene {
        name: "login-and-reboot",
        script: r#"
            mkfifo keys
            >log
            boot login --reboot --console stdio --console file:other <keys >log 2>errors &
            exec 3>keys
            logs_in
            types 'echo the answer is $((6 * 7))'
            heard 'the answer is 42'
            types 'seq 1 5000 | md5sum'
            heard ' -'
            types 'seq 1 400'
            heard '^400'
            types 'echo another console >/dev/hvc1'
            types 'reboot -f'
            logs_in
            types 'cat | md5sum'
            heard 'cat | md5sum'
            sleep 1
            seq 1 400 >&3
            printf '\004' >&3
            heard ' -'
            types 'poweroff -f'
            wait
            heard ''
            cat errors
            md5() { seq 1 "$1" | md5sum | cut -d ' ' -f 1; }
            grep -q "$(md5 5000)" log && grep -q "$(md5 400)" log && echo 'LAB: sums agree'
            [ "$(grep -c '^[0-9]*.$' log)" -ge 800 ] && echo 'LAB: all lines'
            cat other
        "#,
        said: &[
            "QBOOT-RS: init reached",
            "login: root",
            "the answer is 42",
            "QBOOT-RS: init reached",
            "login: root",
            "microvm: the guest turned the machine off;",
            "; 2 boots",
            "LAB: sums agree",
            "LAB: all lines",
            "another console",
        ],
    },
    Scene {
        name: "pty-of-another-size",
        script: r#"
            mkdir -p /dev/pts
            mount -t devpts devpts /dev/pts
            >log >errors
            boot login --console pty 2>errors &
            until pty=$(sed -n 's/.*--console pty: //p' errors) && [ -n "$pty" ]; do
                sleep 0.1
            done
            exec 3<>"$pty"
            stty rows 33 cols 101 <&3
            cat <&3 >log &
            reader=$!
            logs_in
            types stty size
            heard '^33 101'
            stty rows 44 cols 122 <&3
            sleep 0.5
            types stty size
            heard '^44 122'
            types 'poweroff -f'
            wait %1
            wait "$reader" || true
            heard ''
            cat errors
        "#,
        said: &[
            "QBOOT-RS: init reached",
            "login: root",
            "33 101",
            "44 122",
            "microvm: the guest turned the machine off;",
        ],
    },
    Scene {
        name: "legacy",
        script: r#"
            mkfifo keys
            >log
            boot login --machine force-legacy=on <keys >log 2>errors &
            exec 3>keys
            logs_in
            types 'echo version $(cut -c 33 /sys/bus/virtio/devices/*/features)'
            heard 'version 0'
            types 'seq 1 5000 | md5sum'
            heard ' -'
            types 'poweroff -f'
            wait
            heard ''
            cat errors
            grep -q "$(seq 1 5000 | md5sum | cut -d ' ' -f 1)" log && echo 'LAB: sums agree'
        "#,
        said: &[
            "login: root",
            "version 0",
            "microvm: the guest turned the machine off;",
            "LAB: sums agree",
        ],
    },
    Scene {
        name: "terminal-of-another-size",
        script: r#"
            stty rows 31 cols 91 </dev/ttyS0
            >log
            boot sizes </dev/ttyS0 >log 2>errors &
            heard 'console of 31 91'
            stty rows 42 cols 112 </dev/ttyS0
            # The terminal is nobody's here, so nobody is told.
            kill -WINCH "$(pidof microvm)"
            wait
            heard 'console of 42 112'
            cat errors
        "#,
        said: &[
            "QBOOT-RS: init reached",
            "console of 31 91",
            "console of 42 112",
            "microvm: the guest turned the machine off;",
        ],
    },
];

/// Every scene.
pub fn cases() -> Vec<Case> {
    SCENES
        .iter()
        .map(|scene| {
            let name = format!("lab/console-{}", scene.name);
            Case::new(name, move |context, trial| play(context, trial, scene))
        })
        .collect()
}

fn play(context: &Context<'_>, trial: &Trial, scene: &Scene) -> Run {
    context.lab()?;
    let script = format!("MEMORY={MEMORY}{PRELUDE}{}", scene.script);
    let files = [
        context.kernel(Flavour::Cloud, Format::Pvh)?,
        guest::console_initrd(context.workspace)?,
    ];
    let mut words = ["sh", "-c", &script, "sh"].map(String::from).to_vec();
    words.extend(files.map(|path| path.to_string_lossy().into_owned()));
    let output = command_in_lab(context, trial, &words, MEMORY)?;
    let summary = output.lines().find(|line| line.contains("; exits: "));
    trial.remark(summary.unwrap_or("no summary").to_owned());
    reached(&output, 1)?;
    in_order(&output, scene.said)
}
