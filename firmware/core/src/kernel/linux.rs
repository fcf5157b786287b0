// SPDX-License-Identifier: MIT OR Apache-2.0
//! The setup header of a bzImage.
//!
//! Spec: Linux `Documentation/arch/x86/boot.rst`.

use super::KernelError;
use abi::linux::{
    BOOT_FLAG, HEADER_MAGIC, SETUP_HEADER_OFFSET, SetupHeader, VERSION_2_12, XLoadFlags,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Room for the start of a bzImage's real-mode part, through the setup header.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SetupBuffer {
    pub(super) before: [u8; SETUP_HEADER_OFFSET],
    pub(super) header: SetupHeader,
}

/// Accepts a header whose kernel has a 64-bit entry point.
pub fn check_header(header: &SetupHeader) -> Result<(), KernelError> {
    if header.boot_flag.get() != BOOT_FLAG || header.header != HEADER_MAGIC {
        return Err(KernelError::NotLinux {
            boot_flag: header.boot_flag.get(),
            magic: u32::from_le_bytes(header.header),
        });
    }
    let version = header.version.get();
    if version < VERSION_2_12 {
        return Err(KernelError::ProtocolTooOld { found: version });
    }
    let flags = XLoadFlags::from_bits_retain(header.xloadflags.get());
    if !flags.contains(XLoadFlags::KERNEL_64) {
        return Err(KernelError::No64BitEntry {
            xloadflags: flags.bits(),
        });
    }
    let alignment = header.kernel_alignment.get();
    if header.relocatable_kernel != 0 && !alignment.is_power_of_two() {
        return Err(KernelError::Alignment { found: alignment });
    }
    Ok(())
}
