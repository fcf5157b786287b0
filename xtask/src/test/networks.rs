// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stock Debian on a virtio network device of our monitor, in the lab, and the outer machine at the
//! other end of the tap.

use std::path::PathBuf;

use super::case::{Case, Context, Outcome};
use super::scene::{self, Scene};
use crate::build;
use crate::guest;

const SCENES: [Scene; 5] = [
    Scene {
        name: "there-and-back",
        cpus: 1,
        script: r#"
            . ./network.sh
            tunctl -t tap0 >/dev/null
            network
            boot net --disk path="$image" --net tap=tap0,mac=52:54:00:12:34:56 2>&1 | tee log &
            talk 1
            private "$(pidof microvm)" 1000
            kill -TERM "$(pidof microvm)"
            wait
            judge 1
        "#,
        said: &[
            "QBOOT-RS: versions 1: 11",
            "QBOOT-RS: net virtio_net mac=52:54:00:12:34:56 queues=1",
            "QBOOT-RS: host answers",
            "LAB: guest answers",
            "LAB: private memory ",
            "microvm: the guest turned the machine off;",
            "LAB: stream 1 is whole both ways",
        ],
    },
    Scene {
        name: "legacy",
        cpus: 1,
        script: r#"
            . ./network.sh
            tunctl -t tap0 >/dev/null
            network
            boot net --machine force-legacy=on --disk path="$image" --net tap=tap0 2>&1 | tee log &
            talk 1
            kill -TERM "$(pidof microvm)"
            wait
            judge 1
            clean
        "#,
        said: &[
            "QBOOT-RS: root /dev/vda ext4 rw",
            "QBOOT-RS: versions 1: 00",
            "QBOOT-RS: net virtio_net mac=02:",
            "QBOOT-RS: host answers",
            "LAB: guest answers",
            "microvm: the guest turned the machine off;",
            "LAB: stream 1 is whole both ways",
            "LAB: clean",
        ],
    },
    Scene {
        name: "two-pairs",
        cpus: 2,
        script: r#"
            . ./network.sh
            tap tap0
            network
            boot net --cpus 2 --machine irqchip=split --disk path="$image" \
                --net tap=tap0,queues=2 2>&1 | tee log &
            talk 2
            kill -TERM "$(pidof microvm)"
            wait
            judge 2
        "#,
        said: &[
            "QBOOT-RS: net virtio_net mac=02:",
            " queues=2",
            "QBOOT-RS: host answers",
            "LAB: guest answers",
            "microvm: the guest turned the machine off;",
            "LAB: stream 1 is whole both ways",
            "LAB: stream 2 is whole both ways",
        ],
    },
    Scene {
        name: "after-reboots",
        cpus: 1,
        script: r#"
            . ./network.sh
            tunctl -t tap0 >/dev/null
            network
            boot net-reboot --reboot --disk path="$image" --net tap=tap0
        "#,
        said: &[
            "QBOOT-RS: boot 1, host answers",
            "QBOOT-RS: boot 2, host answers",
            "QBOOT-RS: boot 3, host answers",
            "; 3 boots",
        ],
    },
    Scene {
        name: "refusals",
        cpus: 1,
        script: r#"
            . ./network.sh
            tunctl -t tap0 >/dev/null
            tap tap1
            network
            refused() {
                "$@" && return 1
                [ "$?" -eq 2 ]
            }
            mkdir -p /etc
            echo 'nobody::65534:65534::/:/bin/sh' >/etc/passwd
            chmod 666 /dev/net/tun
            refused su nobody -c 'microvm --net tap=tap1'
            refused microvm --net tap=tap0,queues=2
            refused microvm --net tap=lo
            boot button --disk path="$image" --net tap=tap0 --net tap=tap1 2>&1 | tee log &
            heard 'QBOOT-RS: waiting'
            refused microvm --net tap=tap0
            kill -TERM "$(pidof microvm)"
            wait
        "#,
        said: &[
            "microvm: tap tap1: expected an interface that belongs to this user or group",
            "microvm: tap tap0: expected a tap interface made with multi_queue, found",
            "microvm: tap lo: expected a tap interface, found",
            "microvm: tap tap0: expected nobody else to use it, found it in use",
            "microvm: the guest turned the machine off;",
        ],
    },
];

/// Every scene.
pub fn cases() -> Vec<Case> {
    scene::cases("net", &SCENES, files)
}

/// What the outer machine needs for taps, and its part of the conversation.
fn files(context: &Context<'_>) -> Result<Vec<PathBuf>, Outcome> {
    let workspace = context.workspace;
    Ok(vec![
        guest::tun_module(workspace)?,
        build::static_example(workspace, "tap")?,
        workspace.root.join("xtask/src/test/network.sh"),
    ])
}
