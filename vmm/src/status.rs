// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the process's exit status means.

use std::process::ExitCode;

/// How a run ended, as programs see it. Part of the interface: the numbers do not change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// 0: the guest turned the machine off or, without `--reboot`, reset it, or the user ended the
    /// run (`Ctrl-a x`).
    Ended,
    /// 1: input or output failed on the host, or the host had no resources.
    HostIo,
    /// 2: wrong usage, or an input (kernel, initrd, firmware image, option) that was refused.
    Refused,
    /// 3: the firmware reported a failure ([`abi::debug::FailureCode`]).
    Firmware,
    /// 4: KVM is missing, may not be used, or lacks a capability.
    NoKvm,
    /// 5: KVM could not go on running the guest.
    KvmInternal,
    /// 6: the guest's kernel panicked, and said so.
    Panicked,
    /// 128 + n: ended by signal n.
    Signal(u8),
}

impl Status {
    /// The number the process exits with.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ended => 0,
            Self::HostIo => 1,
            Self::Refused => 2,
            Self::Firmware => 3,
            Self::NoKvm => 4,
            Self::KvmInternal => 5,
            Self::Panicked => 6,
            Self::Signal(number) => 128u8.wrapping_add(number),
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        status.code().into()
    }
}
