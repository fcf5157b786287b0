// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask lab`: hardware-class KVM on any machine.
//!
//! QEMU's emulator with an emulated SVM boots a stock kernel through our ROM (the outer machine,
//! L1), whose init loads KVM and runs our monitor, which boots the inner machine (L2) through our
//! ROM again.

mod outer;

use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::guest::{self, Flavour, Format};
use crate::images;
use crate::process::{Bounds, End, Watch, Watched, watch};
use crate::qemu::{self, Accelerator, Boot, Qemu};
use crate::workspace::{Workspace, write_atomically};
pub use outer::{Job, Work, microvm};

/// What the outer machine says at the end, before the status of the command.
pub const EXIT_LINE: &str = "LAB: microvm exit=";

/// The status of a command that the outer machine's `timeout` has stopped.
const STOPPED: i32 = 137;

/// `cargo xtask lab`
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Count instructions instead of time: every run with the same seed is the same run
    #[arg(long)]
    pub icount: bool,
    /// The seed of the emulator's random numbers
    #[arg(long, default_value_t = 1)]
    pub seed: u32,
    /// A shell in the outer machine instead of a command
    #[arg(long, conflicts_with = "command")]
    pub shell: bool,
    /// Memory of the outer machine in MiB
    #[arg(long, default_value_t = 3072, value_name = "MIB")]
    pub memory: u32,
    /// A file to carry along into the directory that the command starts in
    #[arg(long = "file", value_name = "PATH")]
    pub files: Vec<PathBuf>,
    /// What to run in the outer machine, `microvm` being our monitor; arguments that name files
    /// here are carried along [default: boot the default guest]
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Builds what is needed and runs one command in the lab.
pub fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    qemu::require()?;
    let images = images::for_lab(workspace)?;
    let terminal = stdin().is_terminal();
    let mut job = Job {
        bios: images.rom.clone(),
        vmm: images.vmm,
        files: args.files.clone(),
        work: Work::Shell,
        memory_mib: args.memory,
        terminal,
        seconds: None,
    };
    if !args.shell {
        let command = if args.command.is_empty() {
            let boot = Boot {
                bios: images.rom,
                kernel: guest::kernel(workspace, Flavour::Cloud, Format::Pvh)?,
                initrd: Some(guest::initrd(workspace)?),
                append: guest::append(&[], terminal),
                memory: "512M".into(),
                cpus: 1,
            };
            microvm(&boot)
        } else {
            args.command.clone()
        };
        job.command(&command);
    }
    let mode = if args.icount {
        Accelerator::Icount { seed: args.seed }
    } else {
        Accelerator::Tcg
    };
    if terminal {
        eprintln!("xtask: Ctrl-A X ends the lab at any time");
    }
    let watched = boot(workspace, "lab", &job, mode, true)?;
    match status(&watched.output) {
        Some(0) => Ok(()),
        Some(status) => Err(Error::Guest(format!(
            "the command in the lab ended with {}",
            meaning(status)
        ))),
        None if job.terminal => Ok(()),
        None => Err(Error::Guest(format!(
            "the lab {} without a line `{EXIT_LINE}N`",
            watched.end
        ))),
    }
}

/// The status that the outer machine said its command ended with.
pub fn status(output: &str) -> Option<i32> {
    let (_, rest) = output.rsplit_once(EXIT_LINE)?;
    rest.lines().next()?.trim().parse().ok()
}

/// A status as the outer machine's `timeout` and our monitor mean it.
pub fn meaning(status: i32) -> String {
    match status {
        STOPPED => format!("status {STOPPED}: it did not end in time and was stopped"),
        _ => format!("status {status}"),
    }
}

/// The memory of an outer machine around an inner one with this much: room for the kernels and
/// the root file systems, too.
pub fn memory_mib(inner: &str) -> u32 {
    const ROOM: u32 = 1536;
    const DEFAULT: u32 = 512;
    let digits = inner.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = if inner.ends_with(['g', 'G']) { 1024 } else { 1 };
    let inner = digits
        .parse::<u32>()
        .ok()
        .and_then(|number| number.checked_mul(unit));
    inner.unwrap_or(DEFAULT).saturating_add(ROOM)
}

/// Boots the outer machine once and watches it to its end.
pub fn boot(
    workspace: &Workspace,
    name: &str,
    job: &Job,
    mode: Accelerator,
    echo: bool,
) -> Result<Watched> {
    let archive = Archive(
        workspace
            .target
            .join(format!("lab/{name}-{}.cpio", std::process::id())),
    );
    write_atomically(&archive.0, &outer::archive(workspace, job, mode)?)?;
    let machine = Qemu {
        machine: "microvm".into(),
        accelerator: mode,
        nested: true,
        boot: Boot {
            bios: job.bios.clone(),
            kernel: guest::kernel(workspace, Flavour::Cloud, Format::Pvh)?,
            initrd: Some(archive.0.clone()),
            append: outer::append(mode),
            memory: format!("{}M", job.memory_mib),
            cpus: 1,
        },
        monitor: job.terminal,
    };
    let mut command = machine.command();
    if !job.terminal {
        command.stdin(Stdio::null());
    }
    let how = Watch {
        bounds: bounds(mode, job.seconds),
        echo,
        released_by: job.terminal.then_some(match job.work {
            Work::Shell => outer::SHELL_PROMPT,
            Work::Command(_) => guest::INIT_REACHED,
        }),
        until: None,
    };
    watch(&mut command, &how)
}

/// Attempts at what has to work: the last one goes by the clock.
pub fn attempts(mode: Accelerator) -> [Accelerator; 3] {
    [mode, mode.another_time(), Accelerator::Tcg]
}

/// Attempts at what is measured: only a clock that counts instructions says something.
pub fn counted_attempts(seed: u32) -> [Accelerator; 3] {
    let first = Accelerator::Icount { seed };
    let second = first.another_time();
    [first, second, second.another_time()]
}

/// Boots the outer machine, again when it or the command in it hangs. Each hang is told to `remark`.
///
/// The emulator's VMRUN leaves the vector that it injects noted as an exception still to come
/// (`exception_index`). Any exit of the inner machine strikes it out; but where a timer of the
/// emulator ends the slice before, the same vector is delivered again, interrupts on or off: after 3
/// to 7 of 6,500 injections by `-d int`. Most do no harm; in a handler that holds a lock, Linux then
/// waits for itself (`handle_edge_irq` within itself), in the inner machine or in the outer one.
///
/// Counted, a hang is the same again, so the next of the `attempts` begins a little later. What hangs by
/// our own doing hangs each time.
pub fn boot_patiently(
    workspace: &Workspace,
    name: &str,
    job: &Job,
    attempts: [Accelerator; 3],
    echo: bool,
    mut remark: impl FnMut(String),
) -> Result<Watched> {
    let mut count = 1;
    loop {
        let watched = boot(workspace, name, job, attempts[count - 1], echo)?;
        let hung = match (&watched.end, status(&watched.output)) {
            (End::Silent(_), _) => format!("outer machine {}", watched.end),
            (_, Some(STOPPED)) if !job.terminal => "command did not end in time".to_owned(),
            _ => return Ok(watched),
        };
        if count == attempts.len() {
            return Ok(watched);
        }
        count += 1;
        remark(format!(
            "the lab's {hung}, which is the emulator's doing now and then; attempt {count} of {}",
            attempts.len()
        ));
    }
}

fn bounds(mode: Accelerator, seconds: Option<u32>) -> Bounds {
    let usual = match mode {
        Accelerator::Icount { .. } => Bounds {
            silence: Duration::from_secs(75),
            total: Duration::from_secs(400),
        },
        _ => Bounds {
            silence: Duration::from_secs(90),
            total: Duration::from_secs(300),
        },
    };
    let wanted = Duration::from_secs(seconds.unwrap_or(0).into());
    Bounds {
        total: usual.total.max(2 * wanted),
        ..usual
    }
}

/// The outer machine's root file system, for as long as it is needed.
struct Archive(PathBuf);

impl Drop for Archive {
    fn drop(&mut self) {
        // Nothing depends on its absence.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The name of a file in the lab.
pub fn base_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_last_exit_line_counts() {
        let output = "LAB: microvm exit=1\r\nx\r\nLAB: microvm exit=0\r\n[  1.2] reboot\r\n";

        assert_eq!(status(output), Some(0));
        assert_eq!(status("nothing"), None);
    }

    #[test]
    fn the_outer_machine_is_larger_than_the_inner_one() {
        assert_eq!(memory_mib("512M"), 2048);
        assert_eq!(memory_mib("1G"), 2560);
        assert_eq!(memory_mib("256"), 1792);
    }
}
