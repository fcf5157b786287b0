// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stock Debian with its root file system on a virtio disk of our monitor, in the lab.
//!
//! The image lives in the outer machine, whose `e2fsck` judges what the guest has left of it.

use super::case::{Case, Context, Run, Trial, expect};
use super::stock::{command_in_lab, reached};
use crate::guest::{self, Flavour, Format, ROOT_DISK};

const MEMORY: &str = "256M";

/// Most memory of the monitor with a disk that is not the guest's, in kB.
const MOST_PRIVATE: u32 = 600;

/// What every scene begins with: how the guest is booted for a kind of work, and how its file
/// system is judged.
const PRELUDE: &str = r#"
set -e
kernel=$1 initrd=$2 image=$3 fsck=$4
boot() {
    work=$1
    shift
    microvm --kernel "$kernel" --initrd "$initrd" --memory "$MEMORY" "$@" \
        --append "console=ttyS0 quiet panic=-1 reboot=acpi $ROOT qboot_rs.work=$work"
}
clean() {
    "$fsck" -fn "$image" >fsck.log 2>&1 || cat fsck.log
    ! grep -q 'Fix? no' fsck.log && grep -q ' files ' fsck.log && echo 'LAB: clean'
}
# What is not guest memory, which is mapped with MAP_NORESERVE.
private() {
    kilobytes=$(awk '/^Anonymous:/ { kb = $2 } /^VmFlags:/ && !/ nr/ { sum += kb } END { print sum }' \
        "/proc/$1/smaps")
    echo "LAB: private memory $kilobytes kB"
    [ "$kilobytes" -le "$MOST_PRIVATE" ]
}
heard() {
    until grep -q "$1" log; do
        sleep 0.1
    done
}
"#;

/// What happens to a disk, and what has to be said, in this order.
struct Scene {
    name: &'static str,
    cpus: u32,
    script: &'static str,
    said: &'static [&'static str],
}

const SCENES: [Scene; 5] = [
    Scene {
        name: "written-and-read",
        cpus: 1,
        script: r#"
            boot write --disk path="$image",serial=QB-1
            clean
            cp "$image" before
            boot check --disk path="$image",readonly=on
            cmp before "$image"
            echo 'LAB: unchanged'
        "#,
        said: &[
            "QBOOT-RS: root /dev/vda ext4 rw",
            "QBOOT-RS: disk serial=QB-1 queues=1",
            "QBOOT-RS: trimmed",
            "microvm: the guest turned the machine off;",
            "LAB: clean",
            "QBOOT-RS: root /dev/vda ext4 ro",
            "QBOOT-RS: data is whole",
            "microvm: the guest turned the machine off;",
            "LAB: unchanged",
        ],
    },
    Scene {
        name: "two-queues",
        cpus: 2,
        script: r#"
            boot write --cpus 2 --machine irqchip=split --disk path="$image",queues=2
            clean
        "#,
        said: &[
            "QBOOT-RS: disk serial= queues=2",
            "QBOOT-RS: trimmed",
            "microvm: the guest turned the machine off;",
            "LAB: clean",
        ],
    },
    Scene {
        name: "three-reboots",
        cpus: 1,
        script: r#"
            boot reboot --reboot --disk path="$image"
            clean
        "#,
        said: &[
            "QBOOT-RS: boot 1",
            "QBOOT-RS: boot 2",
            "QBOOT-RS: boot 3",
            "QBOOT-RS: boot 4",
            "; 4 boots",
            "LAB: clean",
        ],
    },
    Scene {
        name: "sigterm",
        cpus: 1,
        script: r#"
            boot button --disk path="$image" >log 2>&1 &
            heard 'QBOOT-RS: waiting'
            private "$(pidof microvm)"
            kill -TERM "$(pidof microvm)"
            wait
            cat log
            clean
        "#,
        said: &[
            "LAB: private memory ",
            "QBOOT-RS: waiting",
            "microvm: the guest turned the machine off;",
            "LAB: clean",
        ],
    },
    Scene {
        name: "sigkill",
        cpus: 1,
        script: r#"
            boot kill --disk path="$image" >log 2>&1 &
            heard 'QBOOT-RS: synced'
            sleep 0.5
            kill -KILL "$(pidof microvm)"
            wait
            cat log
            boot check --disk path="$image"
            clean
        "#,
        said: &[
            "QBOOT-RS: synced",
            "QBOOT-RS: data is whole",
            "microvm: the guest turned the machine off;",
            "LAB: clean",
        ],
    },
];

/// Every scene.
pub fn cases() -> Vec<Case> {
    SCENES
        .iter()
        .map(|scene| {
            let name = format!("lab/disk-{}", scene.name);
            Case::new(name, move |context, trial| play(context, trial, scene))
        })
        .collect()
}

fn play(context: &Context<'_>, trial: &Trial, scene: &Scene) -> Run {
    context.lab()?;
    let workspace = context.workspace;
    let script = format!(
        "MEMORY={MEMORY} ROOT={ROOT_DISK} MOST_PRIVATE={MOST_PRIVATE}{PRELUDE}{}",
        scene.script
    );
    let files = [
        context.kernel(Flavour::Cloud, Format::Pvh)?,
        guest::disk_initrd(workspace, Flavour::Cloud)?,
        guest::root_disk(workspace)?,
        guest::program(workspace, "e2fsck-static", "e2fsck.static")?,
    ];
    let mut words = ["sh", "-c", &script, "sh"].map(String::from).to_vec();
    words.extend(files.map(|path| path.to_string_lossy().into_owned()));
    let output = command_in_lab(context, trial, &words, MEMORY)?;
    reached(&output, scene.cpus)?;
    let private = output.lines().find(|line| line.contains("private memory"));
    if let Some(line) = private {
        trial.remark(line.trim().to_owned());
    }
    in_order(&output, scene.said)
}

/// Everything was said, one after the other.
pub fn in_order(output: &str, said: &[&str]) -> Run {
    let mut rest = output;
    for sentence in said {
        let found = rest.split_once(sentence);
        expect(found.is_some(), || {
            format!("expected `{sentence}` in its place, found no such line")
        })?;
        rest = found.map_or("", |(_, rest)| rest);
    }
    Ok(())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_is_said_too_early_does_not_count() {
        assert_eq!(in_order("a\nb\nc", &["a", "c"]), Ok(()));
        assert!(in_order("a\nb\nc", &["c", "a"]).is_err());
        assert!(in_order("a\n", &["a", "a"]).is_err());
    }
}
