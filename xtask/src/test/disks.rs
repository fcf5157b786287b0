// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stock Debian with its root file system on a virtio disk of our monitor, in the lab.
//!
//! The image lives in the outer machine, whose `e2fsck` judges what the guest has left of it.

use super::case::Case;
use super::scene::{self, Scene};

const SCENES: [Scene; 7] = [
    Scene {
        name: "written-and-read",
        cpus: 1,
        script: r#"
            boot write --disk path="$image",serial=QB-1,aio=io_uring
            clean
            cp "$image" before
            boot check --disk path="$image",readonly=on,aio=threads
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
            # What aio=auto means where the kernel has io_uring.
            microvm --print-machine --disk path="$image" | grep "aio="
            boot write --cpus 2 --disk path="$image",queues=2
            clean
        "#,
        said: &[
            " aio=io_uring",
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
            boot reboot --reboot --disk path="$image",aio=threads
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
        name: "reset-while-busy",
        cpus: 1,
        script: r#"
            boot storm --reboot --disk path="$image",aio=io_uring
            clean
        "#,
        said: &[
            "QBOOT-RS: boot 1",
            "QBOOT-RS: boot 2",
            "QBOOT-RS: boot 3",
            "QBOOT-RS: data is whole",
            "; 3 boots",
            "LAB: clean",
        ],
    },
    Scene {
        name: "refusals",
        cpus: 1,
        script: r#"
            refused() {
                "$@" && return 1
                [ "$?" -eq 2 ]
            }
            mkdir -p /etc
            echo 'nobody::65534:65534::/:/bin/sh' >/etc/passwd
            cp "$image" /tmp/secret
            chmod 600 /tmp/secret
            refused su nobody -c 'microvm --disk path=/tmp/secret'
            for aio in io_uring threads; do
                cp "$image" small
                # What the one before has said is not what is waited for.
                : >log
                boot shrink --disk path=small,aio=$aio >log 2>&1 &
                heard 'QBOOT-RS: waiting'
                refused microvm --disk path=small
                truncate -s 8M small
                wait
                cat log
            done
        "#,
        said: &[
            "microvm: disk image /tmp/secret: opening it for reading and writing: Permission denied",
            "microvm: disk image small: expected nobody else to use it, found it in use",
            "microvm: disk image small: reading at 16773120: expected 16777216 bytes, found 8388608;",
            "QBOOT-RS: a read has failed, the others are as before",
            "microvm: the guest turned the machine off;",
            "microvm: disk image small: reading at 16773120: expected 16777216 bytes, found 8388608;",
            "QBOOT-RS: a read has failed, the others are as before",
            "microvm: the guest turned the machine off;",
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
