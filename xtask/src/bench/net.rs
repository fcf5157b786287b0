// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench net`: network devices behind the same tap, with the outer machine at its other
//! end.

use super::contest::{self, Contest, Rounds};
use crate::error::Result;
use crate::guest;
use crate::workspace::Workspace;

/// `cargo xtask bench net`
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    rounds: Rounds,
}

/// Where the guest's program looks for the host, which runs the same program.
const BEFORE_ALL: &str = "\
insmod tun.ko
tunctl -t tap0 >/dev/null
ip address add 10.0.2.1/24 dev tap0
ip link set tap0 up
\"$4\" 10.0.2.1:5201 >/dev/null &";

/// Measures and prints a table.
pub fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let device = |name: &str, words: &str| vec![(name.to_owned(), words.to_owned())];
    let contest = Contest {
        program: "net-speed",
        files: vec![guest::tun_module(workspace)?],
        before_all: BEFORE_ALL.into(),
        before_each: String::new(),
        ours: device("--net tap", "--net tap=tap0"),
        theirs: device(
            "-netdev tap",
            "-netdev tap,id=net,ifname=tap0,script=no,downscript=no \
             -device virtio-net-device,netdev=net",
        ),
    };
    contest::run(workspace, args.rounds, contest)
}
