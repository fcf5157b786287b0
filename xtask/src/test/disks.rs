// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stock Debian with its root file system on a virtio disk of our monitor, in the lab.
//!
//! The image lives in the outer machine, whose `e2fsck` judges what the guest has left of it.

use super::case::Case;
use super::scene::{self, Scene};

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
            boot write --cpus 2 --disk path="$image",queues=2
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
            private "$(pidof microvm)" 600
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
    scene::cases("disk", &SCENES, |_| Ok(Vec::new()))
}
