// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a boot ends early: the sentence for people and the code for programs.

use crate::acpi::LoaderError;
use crate::facts::MemoryMapError;
use crate::fw_cfg::{DirectoryError, TransferError};
use crate::kernel::KernelError;
use crate::plan::PlanError;
use crate::processors::CountError;
use crate::smbios::SmbiosError;
use crate::words::{Speaker, Words, display, say};
use abi::debug::FailureCode;

/// Everything that can go wrong between the first question and the kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BootError {
    /// Nothing answers at the `fw_cfg` ports.
    FwCfgAbsent {
        /// What item 0 reads as, little-endian.
        found: u32,
    },
    /// A transfer failed.
    Transfer(TransferError),
    /// The file directory.
    Directory(DirectoryError),
    /// The VMM's memory map.
    MemoryMap(MemoryMapError),
    /// The number of processors.
    Processors(CountError),
    /// The kernel.
    Kernel(KernelError),
    /// More modules than the kernel takes.
    Modules {
        /// How many there are.
        found: u32,
        /// The most it takes.
        limit: usize,
    },
    /// The ACPI loader script.
    Acpi(LoaderError),
    /// The SMBIOS files.
    Smbios(SmbiosError),
    /// The plan.
    Plan(PlanError),
}

impl BootError {
    /// The code for [`abi::debug::FAILURE_PORT`].
    #[must_use]
    pub const fn code(&self) -> FailureCode {
        match self {
            Self::FwCfgAbsent { .. } => FailureCode::FwCfgAbsent,
            Self::Transfer(_)
            | Self::Directory(DirectoryError::Transfer(_))
            | Self::Kernel(KernelError::Transfer(_))
            | Self::Acpi(LoaderError::Transfer(_)) => FailureCode::FwCfgTransfer,
            Self::Directory(DirectoryError::TooManyFiles { .. }) => FailureCode::FileDirectory,
            Self::MemoryMap(_) => FailureCode::MemoryMap,
            Self::Processors(_) => FailureCode::ProcessorCount,
            Self::Kernel(KernelError::Absent) => FailureCode::KernelAbsent,
            Self::Kernel(_) => FailureCode::KernelFormat,
            Self::Acpi(_) => FailureCode::Acpi,
            Self::Smbios(_) => FailureCode::Smbios,
            Self::Modules { .. } => FailureCode::Modules,
            Self::Plan(error) => error.code(),
        }
    }
}

impl Words for BootError {
    fn say(&self, to: &mut Speaker<'_>) {
        match self {
            Self::FwCfgAbsent { found } => say!(
                to,
                "fw_cfg device: expected the signature \"QEMU\" at ports 0x510 and 0x511, found #",
                found
            ),
            Self::Transfer(error) => error.say(to),
            Self::Directory(error) => error.say(to),
            Self::MemoryMap(error) => error.say(to),
            Self::Processors(error) => error.say(to),
            Self::Kernel(error) => error.say(to),
            Self::Acpi(error) => error.say(to),
            Self::Smbios(error) => error.say(to),
            Self::Modules { found, limit } => say!(
                to,
                "modules: expected at most % for this kernel, found %",
                limit,
                found
            ),
            Self::Plan(error) => error.say(to),
        }
    }
}

display!(BootError);

macro_rules! from {
    ($($cause:ty => $variant:ident),* $(,)?) => {$(
        impl From<$cause> for BootError {
            fn from(cause: $cause) -> Self {
                Self::$variant(cause)
            }
        }
    )*};
}

from! {
    TransferError => Transfer,
    DirectoryError => Directory,
    MemoryMapError => MemoryMap,
    CountError => Processors,
    KernelError => Kernel,
    LoaderError => Acpi,
    SmbiosError => Smbios,
    PlanError => Plan,
}
