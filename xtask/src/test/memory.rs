// SPDX-License-Identifier: MIT OR Apache-2.0
//! What RAM can be made of on the host, in the lab, whose outer machine keeps huge pages on demand.

use super::case::{Case, Context, Run, Trial};
use super::scene::in_order;
use super::stock::command_in_lab;

const MEMORY: &str = "64M";

const SCRIPT: &str = r#"
set -e
boot() {
    microvm --kernel "$kernel" --append 'report console=ttyS0' --memory "size=$MEMORY,$1" >log 2>&1
}
free() {
    awk '/^HugePages_Free:/ { print $2 }' /proc/meminfo
}
kernel=$1
status=0
boot hugepages=on || status=$?
cat log
echo "LAB: status $status"
echo 32 >/proc/sys/vm/nr_hugepages
for words in shared=on thp=on,prefault=on hugepages=on,prefault=on hugepages=on,shared=on; do
    boot "$words"
    grep -q '^report=end' log
    echo "LAB: $words boots, $(free) huge pages are free again"
done
"#;

const SAID: [&str; 6] = [
    "--memory hugepages=on: expected 32 free huge pages of 2 MiB",
    "LAB: status 2",
    "LAB: shared=on boots, 32 ",
    "LAB: thp=on,prefault=on boots, 32 ",
    "LAB: hugepages=on,prefault=on boots, 32 ",
    "LAB: hugepages=on,shared=on boots, 32 ",
];

/// The only case.
pub fn cases() -> Vec<Case> {
    vec![Case::new("lab/memory-backings", backings)]
}

fn backings(context: &Context<'_>, trial: &Trial) -> Run {
    let kernel = context.guest("report.elf")?.to_string_lossy().into_owned();
    let script = format!("MEMORY={MEMORY}{SCRIPT}");
    let words = ["sh", "-c", &script, "sh", &kernel].map(String::from);
    let output = command_in_lab(context, trial, &words, MEMORY)?;
    in_order(&output, &SAID)
}
