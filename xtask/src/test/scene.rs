// SPDX-License-Identifier: MIT OR Apache-2.0
//! A script for the lab's outer machine that boots stock Debian from a disk in our monitor, and what
//! has to be said meanwhile.

use std::path::PathBuf;

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use super::stock::{command_in_lab, reached};
use crate::guest::{self, Flavour, Format, ROOT_DISK};

const MEMORY: &str = "256M";

/// What every scene begins with: how the guest is booted for a kind of work, and how its file
/// system and the monitor are judged.
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
# What is not guest memory, which is mapped with MAP_NORESERVE: at most so many kB.
private() {
    kilobytes=$(awk '/^Anonymous:/ { kb = $2 } /^VmFlags:/ && !/ nr/ { sum += kb } END { print sum }' \
        "/proc/$1/smaps")
    echo "LAB: private memory $kilobytes kB"
    [ "$kilobytes" -le "$2" ]
}
heard() {
    until grep -q "$1" log; do
        sleep 0.1
    done
}
"#;

/// What happens, and what has to be said, in this order.
pub struct Scene {
    pub name: &'static str,
    pub cpus: u32,
    pub script: &'static str,
    pub said: &'static [&'static str],
}

/// Further files of the scenes of a table: `$5` and so on.
pub type Files = fn(&Context<'_>) -> Result<Vec<PathBuf>, Outcome>;

/// The scenes of a table.
pub fn cases(table: &str, scenes: &'static [Scene], files: Files) -> Vec<Case> {
    scenes
        .iter()
        .map(|scene| {
            let name = format!("lab/{table}-{}", scene.name);
            Case::new(name, move |context, trial| {
                play(context, trial, scene, files)
            })
        })
        .collect()
}

fn play(context: &Context<'_>, trial: &Trial, scene: &Scene, files: Files) -> Run {
    context.lab()?;
    let workspace = context.workspace;
    let script = format!("MEMORY={MEMORY} ROOT={ROOT_DISK}{PRELUDE}{}", scene.script);
    let mut all = vec![
        context.kernel(Flavour::Cloud, Format::Pvh)?,
        guest::disk_initrd(workspace, Flavour::Cloud)?,
        context.root_disk()?,
        guest::program(workspace, "e2fsck-static", "e2fsck.static")?,
    ];
    all.extend(files(context)?);
    let mut words = ["sh", "-c", &script, "sh"].map(String::from).to_vec();
    words.extend(all.iter().map(|path| path.to_string_lossy().into_owned()));
    let output = command_in_lab(context, trial, &words, MEMORY)?;
    reached(&output, scene.cpus)?;
    for line in output.lines().filter(|line| line.contains("LAB: ")) {
        let told = line
            .split_once("LAB: ")
            .map_or("", |(_, told)| told.trim_end());
        if told.ends_with(" kB") || told.ends_with(" ms") {
            trial.remark(told.to_owned());
        }
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
