// SPDX-License-Identifier: MIT OR Apache-2.0
//! KVM. The only room that knows its ioctls.
//!
//! Spec: Linux `Documentation/virt/kvm/api.rst`. No capability is asked for in advance: what is
//! missing shows when it is used, and the [`Error`] names it. Limits, too, are asked for only when
//! one has been met.

mod cpuid;
mod kick;
mod messages;
mod steps;
mod vcpu;
mod vm;

pub use steps::Executed;
pub use vcpu::{Access, Exit, Vcpu};
pub use vm::{Controllers, Vm};

pub use kvm_ioctls::Kvm;
use vmm_sys_util::errno;

/// The version of the KVM interface, unchanged since 2007.
const API_VERSION: i32 = 12;

/// Why KVM cannot be used, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No access to KVM.
    #[error("/dev/kvm: expected read and write access, found: {source}{hint}", hint = hint(source))]
    Open {
        /// The host's words.
        source: errno::Error,
    },
    /// Not the interface we know.
    #[error("/dev/kvm: expected API version {API_VERSION}, found {0}")]
    ApiVersion(i32),
    /// A step failed for want of a capability.
    #[error("KVM lacks {capability}, or refuses it: {step} failed: {source}")]
    Capability {
        /// Name of the capability.
        capability: &'static str,
        /// What was attempted.
        step: &'static str,
        /// The host's words.
        source: errno::Error,
    },
    /// More processors than this host's KVM allows.
    #[error("--cpus {found}: expected at most {most} processors, KVM's limit on this host")]
    Cpus {
        /// Processors asked for.
        found: u32,
        /// KVM_CAP_MAX_VCPUS.
        most: i32,
    },
    /// More memory than this host's processor can address, or KVM can handle in one piece.
    #[error(
        "--memory: expected pieces of at most {piece} bytes that end at or below {limit:#x}, the \
         limits of KVM and of this host's {bits} physical address bits, found a piece of {size} \
         bytes that ends at {end:#x}",
        piece = vm::MAX_SLOT_SIZE,
        limit = 1u128 << bits
    )]
    Memory {
        /// The host's physical address bits.
        bits: u8,
        /// Size of the piece.
        size: u64,
        /// Guest address behind the piece.
        end: u64,
    },
    /// KVM_RUN failed.
    #[error("KVM_RUN failed: {source}")]
    Run {
        /// The host's words.
        source: errno::Error,
    },
}

fn hint(error: &errno::Error) -> &'static str {
    match error.errno() {
        libc::ENOENT => " (is the kvm module loaded, and the device node here?)",
        libc::EACCES | libc::EPERM => " (is this user in the kvm group?)",
        libc::ENODEV | libc::ENXIO => " (does this processor offer virtualization?)",
        _ => "",
    }
}

/// Opens `/dev/kvm` and checks its version.
pub fn open() -> Result<Kvm, Error> {
    let kvm = Kvm::new().map_err(|source| Error::Open { source })?;
    match kvm.get_api_version() {
        API_VERSION => Ok(kvm),
        other => Err(Error::ApiVersion(other)),
    }
}

/// An error of `step`, which needs `capability`.
fn lacks(capability: &'static str, step: &'static str) -> impl FnOnce(errno::Error) -> Error {
    move |source| Error::Capability {
        capability,
        step,
        source,
    }
}
