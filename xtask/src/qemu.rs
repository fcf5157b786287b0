// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line of a QEMU that boots our ROM.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::error::Result;
use crate::host;
use crate::packages;

/// The program.
pub const PROGRAM: &str = "qemu-system-x86_64";
/// The second package holds the option ROMs that the first one looks for.
const PACKAGES: [&str; 2] = ["qemu-system-x86", "seabios"];

/// Installs QEMU, or says how to.
pub fn require() -> Result<()> {
    packages::require(PROGRAM, &PACKAGES).map(drop)
}

/// Since this version `-singlestep` is a property of the accelerator.
const STEPS_BY_PROPERTY: (u32, u32) = (8, 1);

/// The version of the program as far as it tells features apart: major and minor number.
pub fn version() -> Option<(u32, u32)> {
    static VERSION: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    *VERSION.get_or_init(|| {
        let output = Command::new(PROGRAM).arg("--version").output().ok()?;
        numbers(&String::from_utf8_lossy(&output.stdout))
    })
}

/// The numbers in `QEMU emulator version 7.2.22 (Debian …)`.
fn numbers(said: &str) -> Option<(u32, u32)> {
    let mut parts = said.split_once(" version ")?.1.split(['.', ' ', '\n']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The command line of a small machine of any type that has nothing to boot.
pub fn without_kernel(bios: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(["-no-user-config", "-nodefaults", "-display", "none"])
        .args(["-no-reboot", "-accel", "tcg", "-m", "64M"])
        .args(["-serial", "stdio", "-bios"])
        .arg(bios);
    command
}

/// What a machine boots, whoever makes the machine.
#[derive(Clone, Debug)]
pub struct Boot {
    pub bios: PathBuf,
    pub kernel: PathBuf,
    pub initrd: Option<PathBuf>,
    pub append: String,
    /// As it is given to `-m`, for example `512M`.
    pub memory: String,
    pub cpus: u32,
}

/// Who runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    Kvm,
    /// The emulator at full speed.
    Tcg,
    /// The same with all processors on one thread, which is quicker where most of them sleep.
    TcgOneThread,
    /// The emulator with a clock that counts instructions, one a nanosecond: every run with the
    /// same seed is the same run.
    Icount {
        seed: u32,
    },
    /// The same, one instruction at a time, so that each can be logged.
    Stepped,
}

impl Accelerator {
    /// What the guest kernel has to be told about time.
    ///
    /// Without a PM timer Linux measures the TSC with the PIT, which fails now and then on a busy
    /// machine under TCG, and then it hangs.
    pub fn time_words(self) -> Option<String> {
        match self {
            Self::Kvm => None,
            Self::Tcg | Self::TcgOneThread => Some(format!("tsc_early_khz={}", host::tsc_khz()?)),
            Self::Icount { .. } | Self::Stepped => Some("tsc_early_khz=1000000".to_owned()),
        }
    }

    /// The same for another run, where a repeated one would be the same run.
    pub fn another_time(self) -> Self {
        match self {
            Self::Icount { seed } => Self::Icount {
                seed: seed.saturating_add(1),
            },
            other => other,
        }
    }
}

/// A machine.
#[derive(Clone, Debug)]
pub struct Qemu {
    /// Type and properties, for example `microvm,acpi=off`.
    pub machine: String,
    pub accelerator: Accelerator,
    /// Virtualization for the guest's own use.
    pub nested: bool,
    pub boot: Boot,
    /// Share the terminal with the monitor, so that Ctrl-A X ends it and Ctrl-C is the guest's.
    pub monitor: bool,
}

impl Qemu {
    /// The emulator at full speed, with nothing but the guest on standard output.
    pub fn plain(machine: impl Into<String>, boot: Boot) -> Self {
        Self {
            machine: machine.into(),
            accelerator: Accelerator::Tcg,
            nested: false,
            boot,
            monitor: false,
        }
    }

    pub fn command(&self) -> Command {
        let boot = &self.boot;
        let (accelerator, cpu) = match (self.accelerator, self.nested) {
            (Accelerator::Kvm, _) => ("kvm", "host"),
            (_, false) => ("tcg", "max"),
            (_, true) => ("tcg", "max,+svm"),
        };
        let mut command = Command::new(PROGRAM);
        command
            .args(["-no-user-config", "-nodefaults", "-display", "none"])
            .args(["-no-reboot", "-M"]);
        match self.accelerator {
            Accelerator::TcgOneThread => {
                command.args([&self.machine, "-accel", "tcg,thread=single"]);
            }
            Accelerator::Stepped if version().is_some_and(|found| found >= STEPS_BY_PROPERTY) => {
                command.args([&self.machine, "-accel", "tcg,one-insn-per-tb=on"]);
            }
            Accelerator::Stepped => {
                command.args([&self.machine, "-accel", "tcg", "-singlestep"]);
            }
            _ => {
                command.arg(format!("{},accel={accelerator}", self.machine));
            }
        }
        command
            .args(["-cpu", cpu, "-m", &boot.memory])
            .args(["-smp", &boot.cpus.to_string()])
            .arg("-bios")
            .arg(&boot.bios)
            .arg("-kernel")
            .arg(&boot.kernel);
        if let Some(initrd) = &boot.initrd {
            command.arg("-initrd").arg(initrd);
        }
        if !boot.append.is_empty() {
            command.args(["-append", &boot.append]);
        }
        let seed = match self.accelerator {
            Accelerator::Icount { seed } => Some(seed),
            Accelerator::Stepped => Some(1),
            _ => None,
        };
        if let Some(seed) = seed {
            command.args(["-icount", "shift=0,sleep=off"]);
            command.args(["-seed", &seed.to_string()]);
            command.args(["-rtc", "base=2026-01-01T00:00:00,clock=vm"]);
        }
        let serial: OsString = if self.monitor { "mon:stdio" } else { "stdio" }.into();
        command.arg("-serial").arg(serial);
        command
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::process::shown;

    fn machine() -> Qemu {
        Qemu {
            machine: "microvm,acpi=off".into(),
            accelerator: Accelerator::Icount { seed: 3 },
            nested: true,
            boot: Boot {
                bios: "rom".into(),
                kernel: "vmlinux".into(),
                initrd: Some("cpio".into()),
                append: "console=ttyS0 quiet".into(),
                memory: "512M".into(),
                cpus: 2,
            },
            monitor: false,
        }
    }

    #[test]
    fn a_counted_run_fixes_clock_and_seed() {
        let line = shown(&machine().command());

        assert!(line.contains("-icount shift=0,sleep=off -seed 3 -rtc base="));
        assert!(line.contains("-M microvm,acpi=off,accel=tcg -cpu max,+svm -m 512M -smp 2"));
    }

    #[test]
    fn the_version_is_told_from_what_debian_appends() {
        let said = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright";

        assert_eq!(numbers(said), Some((7, 2)));
        assert_eq!(numbers("QEMU emulator version 10.0\n"), Some((10, 0)));
        assert_eq!(numbers("not found"), None);
    }

    #[test]
    fn nothing_optional_is_given_empty() {
        let mut machine = machine();
        machine.boot.initrd = None;
        machine.boot.append.clear();

        let line = shown(&machine.command());

        assert!(!line.contains("-initrd") && !line.contains("-append"));
    }
}
