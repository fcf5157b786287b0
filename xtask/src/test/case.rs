// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a case is, how it ends and what it may use.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::browser;
use crate::build;
use crate::error::{Error, Result};
use crate::guest::{self, Flavour, Format, Program};
use crate::host::Kvm;
use crate::images::{self, Images};
use crate::process::{Bounds, Watch, Watched, watch};
use crate::qemu;
use crate::workspace::{Workspace, write_atomically};

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// This machine cannot do it, and why.
    Skipped(String),
    /// What was expected and what was found.
    Failed(String),
}

/// `Err` is an outcome other than [`Outcome::Passed`], so that a case can use `?`.
pub type Run = std::result::Result<(), Outcome>;

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<Run> for Outcome {
    fn from(run: Run) -> Self {
        run.err().unwrap_or(Self::Passed)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => formatter.write_str("passed"),
            Self::Skipped(why) => write!(formatter, "SKIPPED: {why}"),
            Self::Failed(why) => write!(formatter, "FAILED: {why}"),
        }
    }
}

/// Fails with a sentence unless something holds.
pub fn expect(holds: bool, sentence: impl FnOnce() -> String) -> Run {
    if holds {
        Ok(())
    } else {
        Err(Outcome::Failed(sentence()))
    }
}

/// What a case does.
pub type Body = Box<dyn Fn(&Context<'_>, &Trial) -> Run + Send + Sync>;

/// One promise, by name. The part of the name before the first `/` is its floor.
pub struct Case {
    pub name: String,
    pub run: Body,
}

impl fmt::Debug for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Case").field(&self.name).finish()
    }
}

impl Case {
    pub fn new(
        name: impl Into<String>,
        run: impl Fn(&Context<'_>, &Trial) -> Run + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

/// One run of a case: what it said, and what else there is to tell.
#[derive(Debug)]
pub struct Trial {
    pub name: String,
    pub log: PathBuf,
    remarks: Mutex<Vec<String>>,
}

impl Trial {
    pub fn new(workspace: &Workspace, name: &str) -> Self {
        let file = format!("{}.log", name.replace('/', "-"));
        Self {
            name: name.to_owned(),
            log: workspace.target.join("test-logs").join(file),
            remarks: Mutex::default(),
        }
    }

    /// A name for files that belong to this run alone.
    pub fn file_name(&self) -> String {
        self.name.replace('/', "-")
    }

    /// Keeps what a machine said, for the case that it was not what was expected.
    pub fn keep(&self, output: &str) -> Result<()> {
        let mut log = fs::read(&self.log).unwrap_or_default();
        log.extend_from_slice(output.as_bytes());
        write_atomically(&self.log, &log)
    }

    /// Runs a program within the bounds, without input, and keeps what it said.
    pub fn watch(&self, command: &mut Command, bounds: Bounds) -> Result<Watched> {
        self.watch_until(command, bounds, None)
    }

    /// The same, but stops it as soon as it has said that.
    pub fn watch_until(
        &self,
        command: &mut Command,
        bounds: Bounds,
        until: Option<&str>,
    ) -> Result<Watched> {
        let how = Watch {
            bounds,
            echo: false,
            released_by: None,
            until,
        };
        let watched = watch(command.stdin(Stdio::null()), &how)?;
        self.keep(&watched.output)?;
        Ok(watched)
    }

    /// Something to be said of the run whatever its outcome.
    pub fn remark(&self, remark: String) {
        self.remarks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(remark);
    }

    pub fn into_remarks(self) -> Vec<String> {
        self.remarks
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the cases share, made once and only when a case asks for it.
#[derive(Debug)]
pub struct Context<'a> {
    pub workspace: &'a Workspace,
    pub kvm: Kvm,
    rom: Shared<PathBuf>,
    guests: Shared<()>,
    host: Shared<Images>,
    lab: Shared<Images>,
    qemu: Shared<()>,
    browser: Shared<PathBuf>,
    initrd: Shared<PathBuf>,
    root_disk: Shared<PathBuf>,
    kernels: [Shared<()>; 2],
}

/// Made once; the reason is kept when it cannot be made.
type Shared<T> = OnceLock<std::result::Result<T, String>>;

impl<'a> Context<'a> {
    pub fn new(workspace: &'a Workspace) -> Self {
        Self {
            workspace,
            kvm: Kvm::probe(),
            rom: OnceLock::new(),
            guests: OnceLock::new(),
            host: OnceLock::new(),
            lab: OnceLock::new(),
            qemu: OnceLock::new(),
            browser: OnceLock::new(),
            initrd: OnceLock::new(),
            root_disk: OnceLock::new(),
            kernels: Default::default(),
        }
    }

    /// For a case that cannot go to the lab instead: is skipped where this machine's KVM is of no use.
    pub fn usable_kvm(&self) -> Result<(), Outcome> {
        match &self.kvm {
            Kvm::Unusable(why) => Err(Outcome::Skipped(why.to_string())),
            _ => Ok(()),
        }
    }

    /// The ROM.
    pub fn rom(&self) -> std::result::Result<PathBuf, Outcome> {
        needed(&self.rom, || images::rom(self.workspace))
    }

    /// A bare-metal guest, by its file name.
    pub fn guest(&self, name: &str) -> std::result::Result<PathBuf, Outcome> {
        needed(&self.guests, || build::guests(self.workspace))?;
        Ok(self.workspace.guest(name))
    }

    /// The monitor for this machine, and the ROM.
    pub fn host(&self) -> std::result::Result<Images, Outcome> {
        self.rom()?;
        needed(&self.host, || images::for_host(self.workspace))
    }

    /// The monitor for the lab, and the ROM.
    pub fn lab(&self) -> std::result::Result<Images, Outcome> {
        self.qemu()?;
        self.rom()?;
        needed(&self.lab, || images::for_lab(self.workspace))
    }

    /// QEMU, without which the machine cannot do it.
    pub fn qemu(&self) -> std::result::Result<(), Outcome> {
        available(&self.qemu, qemu::require)
    }

    /// A browser without a window, without which no page can be looked at.
    pub fn browser(&self) -> std::result::Result<PathBuf, Outcome> {
        available(&self.browser, browser::require)
    }

    /// A stock kernel.
    pub fn kernel(
        &self,
        flavour: Flavour,
        format: Format,
    ) -> std::result::Result<PathBuf, Outcome> {
        let place = &self.kernels[usize::from(flavour == Flavour::Amd64)];
        available(place, || {
            guest::kernel(self.workspace, flavour, format).map(drop)
        })?;
        Ok(guest::kernel(self.workspace, flavour, format)?)
    }

    /// The default root file system.
    pub fn initrd(&self) -> std::result::Result<PathBuf, Outcome> {
        available(&self.initrd, || guest::initrd(self.workspace))
    }

    /// A program that is not Linux.
    pub fn program(&self, program: Program) -> std::result::Result<PathBuf, Outcome> {
        let path = program.obtain(self.workspace);
        path.map_err(|error| Outcome::Skipped(error.to_string()))
    }

    /// The disk with a root file system.
    pub fn root_disk(&self) -> std::result::Result<PathBuf, Outcome> {
        available(&self.root_disk, || guest::root_disk(self.workspace))
    }
}

/// What this tree makes: not having it is a failure.
fn needed<T: Clone>(
    place: &Shared<T>,
    make: impl FnOnce() -> Result<T>,
) -> std::result::Result<T, Outcome> {
    made_once(place, make).map_err(Outcome::Failed)
}

/// What the machine brings: not having it is a reason to skip.
fn available<T: Clone>(
    place: &Shared<T>,
    make: impl FnOnce() -> Result<T>,
) -> std::result::Result<T, Outcome> {
    made_once(place, make).map_err(Outcome::Skipped)
}

fn made_once<T: Clone>(
    place: &Shared<T>,
    make: impl FnOnce() -> Result<T>,
) -> std::result::Result<T, String> {
    place
        .get_or_init(|| make().map_err(|error| error.to_string()))
        .clone()
}
