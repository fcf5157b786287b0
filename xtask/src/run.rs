// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask run`: one line from a checkout to a booting guest, the best way that the machine
//! allows.

use std::io::{IsTerminal, stdin};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;

use crate::error::{Error, Result};
use crate::guest::{self, Flavour, Format};
use crate::host::Kvm;
use crate::images;
use crate::lab::{self, Job, Work};
use crate::process::{Bounds, End, Watch, Watched, shown, watch};
use crate::qemu::{self, Accelerator, Boot, Qemu};
use crate::workspace::Workspace;

/// `cargo xtask run`
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where to run [default: what this machine does best]
    #[arg(long, value_enum)]
    pub on: Option<On>,
    /// The machine of `--on qemu`, with its properties
    #[arg(
        long,
        default_value = "microvm",
        value_name = "TYPE[,PROPERTY=VALUE...]"
    )]
    pub qemu_machine: String,
    /// A kernel of your own [default: a stock Debian kernel]
    #[arg(long, value_name = "PATH")]
    pub kernel: Option<PathBuf>,
    /// A root file system of your own [default: busybox with a shell]
    #[arg(long, value_name = "PATH")]
    pub initrd: Option<PathBuf>,
    /// More words for the kernel command line
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    pub append: Option<String>,
    /// The guest's memory, for example 512M or 1G
    #[arg(long, default_value = "512M", value_name = "SIZE")]
    pub memory: String,
    /// The guest's CPUs
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub cpus: u32,
    /// A firmware image instead of ours
    #[arg(long, value_name = "PATH")]
    pub bios: Option<PathBuf>,
    /// The form to hand the kernel over in [default: pvh, or the one your own kernel has]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
}

/// Who makes the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum On {
    /// Our monitor on this machine's KVM
    Vmm,
    /// Our monitor on a KVM inside QEMU's emulator
    Lab,
    /// QEMU with our ROM
    Qemu,
}

/// Builds what is needed, says which way it takes and why, and boots.
pub fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let kvm = Kvm::probe();
    let (on, why) = choose(args.on, &kvm);
    eprintln!("xtask: {why}");
    if on != On::Vmm {
        qemu::require()?;
    }
    let (rom, vmm) = match on {
        On::Vmm => images::for_host(workspace).map(|images| (images.rom, images.vmm))?,
        On::Lab => images::for_lab(workspace).map(|images| (images.rom, images.vmm))?,
        On::Qemu => (images::rom(workspace)?, PathBuf::new()),
    };
    let terminal = stdin().is_terminal();
    let accelerator = match (on, &kvm) {
        (On::Qemu, Kvm::Hardware) => Accelerator::Kvm,
        _ => Accelerator::Tcg,
    };
    let boot = boot(workspace, args, &rom, on, accelerator, terminal)?;
    if terminal {
        eprintln!("xtask: Ctrl-A X ends the machine, `exit` in its shell does, too");
    }
    let bounds = Bounds {
        silence: Duration::from_secs(90),
        total: Duration::from_secs(240),
    };
    let how = Watch {
        bounds,
        echo: true,
        released_by: terminal.then_some(guest::INIT_REACHED),
        until: None,
    };
    let mut command = match on {
        On::Vmm => {
            let mut command = Command::new(&vmm);
            command.args(&lab::microvm(&boot)[1..]);
            command
        }
        On::Qemu => Qemu {
            machine: args.qemu_machine.clone(),
            accelerator,
            nested: false,
            boot,
            monitor: terminal,
        }
        .command(),
        On::Lab => return in_lab(workspace, args, &boot, vmm, terminal),
    };
    if !terminal {
        command.stdin(Stdio::null());
    }
    let watched = watch(&mut command, &how)?;
    judge(&watched, args.initrd.is_none(), &shown(&command))
}

/// The way to take and the line that says why.
fn choose(asked: Option<On>, kvm: &Kvm) -> (On, String) {
    let name = |on| match on {
        On::Vmm => "our monitor on /dev/kvm",
        On::Lab => "the lab: our monitor on an emulated KVM",
        On::Qemu => "QEMU",
    };
    match (asked, kvm) {
        (Some(on), _) => (on, format!("running on {}, as asked", name(on))),
        (None, Kvm::Hardware) => (On::Vmm, format!("running on {}: {kvm}", name(On::Vmm))),
        (None, _) => (On::Lab, format!("running on {}: {kvm}", name(On::Lab))),
    }
}

/// What to boot: the user's choice, and the stock parts for the rest.
fn boot(
    workspace: &Workspace,
    args: &Args,
    rom: &std::path::Path,
    on: On,
    accelerator: Accelerator,
    terminal: bool,
) -> Result<Boot> {
    let kernel = match &args.kernel {
        Some(path) => guest::own_kernel(workspace, path, args.format)?,
        None => guest::kernel(
            workspace,
            Flavour::for_cpus(args.cpus),
            args.format.unwrap_or(Format::Pvh),
        )?,
    };
    let initrd = match &args.initrd {
        Some(path) => path.clone(),
        None => guest::initrd(workspace)?,
    };
    let time = if on == On::Qemu {
        accelerator.time_words()
    } else {
        None
    };
    let words: Vec<_> = args
        .append
        .iter()
        .chain(&time)
        .map(String::as_str)
        .collect();
    Ok(Boot {
        bios: args.bios.clone().unwrap_or_else(|| rom.to_path_buf()),
        kernel,
        initrd: Some(initrd),
        append: guest::append(&words, terminal),
        memory: args.memory.clone(),
        cpus: args.cpus,
    })
}

fn in_lab(
    workspace: &Workspace,
    args: &Args,
    boot: &Boot,
    vmm: PathBuf,
    terminal: bool,
) -> Result<()> {
    let mut job = Job {
        bios: boot.bios.clone(),
        vmm,
        files: Vec::new(),
        work: Work::Shell,
        memory_mib: lab::memory_mib(&boot.memory),
        terminal,
        seconds: None,
    };
    job.command(&lab::microvm(boot));
    let watched = lab::boot_patiently(
        workspace,
        "run",
        &job,
        lab::attempts(Accelerator::Tcg),
        true,
        |remark| {
            eprintln!("xtask: {remark}");
        },
    )?;
    match lab::status(&watched.output) {
        Some(0) => judge(&watched, args.initrd.is_none(), "the lab"),
        Some(status) => Err(Error::Guest(format!(
            "the monitor in the lab ended with {}",
            lab::meaning(status)
        ))),
        // The user may end the lab at any time.
        None if terminal => Ok(()),
        None => Err(Error::Guest(format!(
            "the lab {} without saying how the monitor ended",
            watched.end
        ))),
    }
}

/// Whether the guest did what it was booted for.
fn judge(watched: &Watched, ours: bool, what: &str) -> Result<()> {
    let reached = !ours || watched.output.contains(guest::INIT_REACHED);
    match watched.end {
        End::Exited(status) if !status.success() => {
            Err(Error::Guest(format!("`{what}` ended with {status}")))
        }
        End::Exited(_) if reached => Ok(()),
        End::Exited(_) => Err(Error::Guest(format!(
            "the guest ended before its line `{}`",
            guest::INIT_REACHED
        ))),
        end if reached => Err(Error::Guest(format!(
            "the guest reached init, but then it {end}"
        ))),
        end => Err(Error::Guest(format!(
            "the guest {end} and never said `{}`",
            guest::INIT_REACHED
        ))),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn hardware_runs_the_monitor_itself() {
        assert_eq!(choose(None, &Kvm::Hardware).0, On::Vmm);
    }

    #[test]
    fn anything_less_goes_to_the_lab() {
        assert_eq!(choose(None, &Kvm::Software).0, On::Lab);
        assert_eq!(choose(None, &Kvm::Unusable("no".into())).0, On::Lab);
    }

    #[test]
    fn what_is_asked_for_is_done_and_said() {
        let (on, why) = choose(Some(On::Qemu), &Kvm::Hardware);

        assert_eq!(on, On::Qemu);
        assert!(why.contains("as asked"));
    }

    #[test]
    fn a_guest_that_ends_early_has_failed() {
        let watched = Watched {
            output: "Kernel panic\n".into(),
            end: End::Exited(Default::default()),
        };

        assert!(judge(&watched, true, "x").is_err());
        assert!(judge(&watched, false, "x").is_ok());
    }

    #[test]
    fn a_hang_after_init_is_a_failure() {
        let watched = Watched {
            output: format!("{} cpus=1\n", guest::INIT_REACHED),
            end: End::Silent(Duration::from_secs(9)),
        };

        let error = judge(&watched, true, "x").unwrap_err().to_string();

        assert_eq!(
            error,
            "the guest reached init, but then it hung: no output for 9 s"
        );
    }
}
