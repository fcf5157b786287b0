// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lab's outer machine: its root file system and kernel command line.

use std::io;
use std::path::{Path, PathBuf};

use super::base_name;
use crate::error::{Error, Result};
use crate::guest::{self, Initramfs, KVM_MODULES};
use crate::process::quoted;
use crate::qemu::{Accelerator, Boot};
use crate::workspace::{Workspace, read};

/// What the shell of the outer machine begins with.
pub const SHELL_PROMPT: &str = "lab# ";

const INIT: &str = include_str!("init.sh");
const MICROVM: &str = "microvm";

/// What to do in the outer machine.
#[derive(Clone, Debug)]
pub struct Job {
    pub bios: PathBuf,
    pub vmm: PathBuf,
    /// Carried along into `/lab`, where the command starts, under their own names.
    pub files: Vec<PathBuf>,
    pub work: Work,
    pub memory_mib: u32,
    /// The user's terminal reaches the command.
    pub terminal: bool,
    /// Seconds that the command may take, if not as many as usual.
    pub seconds: Option<u32>,
}

/// What runs in the outer machine.
#[derive(Clone, Debug)]
pub enum Work {
    Shell,
    Command(Vec<String>),
}

impl Job {
    /// Sets the command; arguments that name files on this machine are carried along.
    pub fn command(&mut self, words: &[String]) {
        let mut command = Vec::with_capacity(words.len());
        for word in words {
            let path = Path::new(word);
            if word.contains('/') && path.is_file() {
                self.files.push(path.to_path_buf());
                command.push(base_name(path));
            } else {
                command.push(word.clone());
            }
        }
        self.work = Work::Command(command);
    }
}

/// Our monitor's command line for this boot.
pub fn microvm(boot: &Boot) -> Vec<String> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let mut words = vec![
        MICROVM.into(),
        "--bios".into(),
        path(&boot.bios),
        "--kernel".into(),
        path(&boot.kernel),
    ];
    if let Some(initrd) = &boot.initrd {
        words.extend(["--initrd".into(), path(initrd)]);
    }
    if !boot.append.is_empty() {
        words.extend(["--append".into(), boot.append.clone()]);
    }
    words.extend(["--memory".into(), boot.memory.clone()]);
    words.extend(["--cpus".into(), boot.cpus.to_string()]);
    words
}

/// The kernel command line of the outer machine.
pub fn append(mode: Accelerator) -> String {
    let mut words = vec!["console=ttyS0", "quiet", "reboot=t", "panic=-1"];
    // A periodic tick: where the emulator loses a timer interrupt on its way out of the inner
    // machine, another one follows.
    words.extend(["nohz=off", "highres=off"]);
    if matches!(mode, Accelerator::Icount { .. }) {
        words.extend(["norandmaps", "nokaslr"]);
    }
    let time = mode.time_words();
    words.extend(time.as_deref());
    let mut line = words.join(" ");
    if let Accelerator::Icount { seed } = mode
        && seed > 1
    {
        // Random numbers alone do not make it another run.
        line += &format!(" lab.wait={}", seed.saturating_mul(777));
    }
    line
}

/// The root file system of the outer machine.
pub fn archive(workspace: &Workspace, job: &Job, mode: Accelerator) -> Result<Vec<u8>> {
    let mut files = vec![
        (
            true,
            "bin/busybox".to_owned(),
            read(&guest::busybox(workspace, false)?)?,
        ),
        (true, "init".to_owned(), INIT.as_bytes().to_vec()),
        (true, format!("bin/{MICROVM}"), read(&job.vmm)?),
        // Where the monitor looks for it unless told otherwise.
        (false, "bin/qboot-rs.rom".to_owned(), read(&job.bios)?),
        (
            false,
            "modules/order".to_owned(),
            KVM_MODULES.join("\n").into_bytes(),
        ),
        (
            false,
            "lab/command".to_owned(),
            script(job, mode).into_bytes(),
        ),
    ];
    for module in guest::kvm_modules(workspace)? {
        files.push((
            false,
            format!("modules/{}", base_name(&module)),
            read(&module)?,
        ));
    }
    for file in &job.files {
        // A program of the user's own is as welcome as a kernel.
        files.push((true, format!("lab/{}", base_name(file)), read(file)?));
    }
    let pack = || -> io::Result<Vec<u8>> {
        let mut archive = Initramfs::new()?;
        for (program, path, bytes) in &files {
            if *program {
                archive.program(path, bytes)?;
            } else {
                archive.file(path, bytes)?;
            }
        }
        archive.finish()
    };
    pack().map_err(Error::file("pack", Path::new("the lab's root file system")))
}

/// What init reads as `/lab/command`: leaves the status of the work in `$?`.
fn script(job: &Job, mode: Accelerator) -> String {
    /// Enough for every case, also with another one on the machine; the clock of a counted run
    /// shows a few seconds for a whole boot.
    const PLAIN_SECONDS: u32 = 75;
    const COUNTED_SECONDS: u32 = 15;
    match &job.work {
        Work::Shell => "setsid cttyhack sh\n".to_owned(),
        Work::Command(words) => {
            let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
            let words = words.join(" ");
            if job.terminal {
                // The inner machine alone says what its keys mean.
                format!("stty raw -echo\n{words}\n")
            } else {
                let seconds = job.seconds.unwrap_or(match mode {
                    Accelerator::Icount { .. } => COUNTED_SECONDS,
                    _ => PLAIN_SECONDS,
                });
                format!("timeout -s KILL {seconds} {words} </dev/null\n")
            }
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn job(terminal: bool) -> Job {
        let mut job = Job {
            bios: "rom".into(),
            vmm: "microvm".into(),
            files: Vec::new(),
            work: Work::Shell,
            memory_mib: 2048,
            terminal,
            seconds: None,
        };
        job.command(&["microvm".into(), "--append".into(), "a b".into()]);
        job
    }

    #[test]
    fn a_command_without_terminal_has_a_bound() {
        let script = script(&job(false), Accelerator::Icount { seed: 1 });

        assert_eq!(
            script,
            "timeout -s KILL 15 microvm --append 'a b' </dev/null\n"
        );
    }

    #[test]
    fn a_command_with_terminal_gets_every_key() {
        let script = script(&job(true), Accelerator::Tcg);

        assert_eq!(script, "stty raw -echo\nmicrovm --append 'a b'\n");
    }

    #[test]
    fn a_file_of_this_machine_is_carried_along() {
        let mut job = job(false);

        job.command(&[
            "microvm".into(),
            "--kernel".into(),
            "/proc/self/maps".into(),
        ]);

        assert_eq!(job.files, [PathBuf::from("/proc/self/maps")]);
        assert!(matches!(&job.work, Work::Command(words) if words[2] == "maps"));
    }

    #[test]
    fn a_counted_run_has_no_random_addresses() {
        let append = append(Accelerator::Icount { seed: 1 });

        assert!(append.ends_with("norandmaps nokaslr tsc_early_khz=1000000"));
    }

    #[test]
    fn init_says_the_line_that_is_waited_for() {
        assert!(INIT.contains(super::super::EXIT_LINE));
        assert!(INIT.contains(&format!("PS1='{SHELL_PROMPT}'")));
    }
}
