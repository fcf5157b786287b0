// SPDX-License-Identifier: MIT OR Apache-2.0
//! A KVM monitor modelled on QEMU's `microvm` machine.
//!
//! | room | knows |
//! |------|-------|
//! | [`cli`] | the command line, and nothing else knows it |
//! | [`config`] | what the user wants, as plain data |
//! | [`boot`] | what firmware will find: `fw_cfg` items, and a PVH kernel in RAM |
//! | [`memory`] | guest memory, and nothing else touches it |
//! | [`console`] | what the host has at the far ends of the serial port and of consoles |
//! | [`devices`] | registers |
//! | `hypervisor` | KVM, and nothing else knows it |
//! | `processor` | the run loop of one processor |
//! | [`machine`] | all of the above: it puts them together and runs them |
//! | [`description`] | how to say what a machine is made of |
//! | [`measure`] | what the first boot of a run costs |
//! | `confine` | what a thread may ask of the host |
//! | [`report`], [`status`] | what is left when the run is over |

#![deny(missing_docs, unsafe_code)]

pub mod boot;
pub mod cli;
pub mod config;
mod confine;
pub mod console;
pub mod description;
pub mod devices;
#[allow(unsafe_code)] // memory slots and the shared `kvm_run` structure
mod hypervisor;
pub mod machine;
pub mod measure;
pub mod memory;
mod processor;
pub mod report;
#[allow(unsafe_code)] // asking what a signal does now has no safe wrapper
mod signals;
pub mod status;
#[allow(unsafe_code)] // termios has no safe wrapper that restores exactly what was there
mod terminal;

use config::Config;
use description::{Description, Format};
use devices::virtio::{blk, net};
use report::Report;
use status::Status;
use std::io;
use std::time::Instant;

/// Why there was no run, or why it could not be carried on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option makes no sense.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// A kernel, initrd, firmware image or `fw_cfg` file is refused.
    #[error(transparent)]
    Boot(#[from] boot::Error),
    /// A disk image is refused.
    #[error(transparent)]
    Disk(#[from] blk::Error),
    /// A tap is refused.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// A far end of the serial port or of a console is refused.
    #[error(transparent)]
    FarEnd(#[from] console::Error),
    /// A file for a measurement is refused.
    #[error(transparent)]
    Measure(#[from] measure::Error),
    /// Guest memory could not be had or filled.
    #[error(transparent)]
    Memory(#[from] memory::Error),
    /// KVM cannot be used.
    #[error(transparent)]
    Hypervisor(#[from] hypervisor::Error),
    /// The host refused something else.
    #[error("{what}: {source}")]
    Host {
        /// What was attempted.
        what: String,
        /// The host's words.
        source: io::Error,
    },
}

impl Error {
    /// Says what was attempted when the host refused it.
    pub(crate) fn host(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Host { what, source }
    }

    /// The exit status that goes with it.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Config(_)
            | Self::Boot(_)
            | Self::Disk(_)
            | Self::Net(_)
            | Self::FarEnd(_)
            | Self::Measure(_) => Status::Refused,
            Self::Memory(
                memory::Error::Host { .. }
                | memory::Error::HugePages { .. }
                | memory::Error::Option { .. },
            ) => Status::Refused,
            Self::Memory(_) | Self::Host { .. } => Status::HostIo,
            Self::Hypervisor(hypervisor::Error::Cpus { .. } | hypervisor::Error::Memory { .. }) => {
                Status::Refused
            }
            Self::Hypervisor(hypervisor::Error::Run { .. }) => Status::KvmInternal,
            Self::Hypervisor(_) => Status::NoKvm,
        }
    }
}

/// Builds the machine that `config` describes and runs it to its end.
///
/// `started` is when the process began; the report counts from there. Everything the user gave
/// is checked before KVM is opened, except against the limits of the host's KVM.
pub fn run(config: &Config, started: Instant) -> Result<Report, Error> {
    config.validate()?;
    let measure = config.measure.as_deref();
    let measure = measure.map(|path| measure::Output::open(path, started));
    let measure = measure.transpose()?;
    let boot = boot::prepare(config)?;
    let disks = config.disks.iter().map(blk::Blk::open);
    let disks = disks.collect::<Result<Vec<_>, _>>()?;
    let taps = config.nets.iter().map(net::Tap::open);
    let taps = taps.collect::<Result<Vec<_>, _>>()?;
    let far_ends = console::FarEnds::open(config)?;
    let backends = machine::Backends {
        disks,
        taps,
        far_ends,
        measure,
    };
    machine::Machine::new(config, boot, backends, started)?.run()
}

/// Says what the machine that `config` describes is made of, after the same checks as [`run`], but
/// without KVM, and without opening its disks and taps.
pub fn describe(config: &Config, format: Format) -> Result<String, Error> {
    config.validate()?;
    let boot = boot::prepare(config)?;
    let description = Description::new(config, boot).map_err(boot::Error::from)?;
    Ok(description.written(format))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_exceeds_the_host_is_refused_like_any_other_option() {
        let cpus = hypervisor::Error::Cpus { found: 9, most: 8 };
        let memory = hypervisor::Error::Memory {
            bits: 39,
            size: 1 << 39,
            end: 1 << 40,
        };
        for error in [cpus, memory] {
            assert_eq!(Error::from(error).status(), Status::Refused);
        }
        let version = hypervisor::Error::ApiVersion(11);
        assert_eq!(Error::from(version).status(), Status::NoKvm);
    }
}
