// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel files made to order, for tests that need no kernel that runs.

use abi::linux::{
    BOOT_FLAG, HEADER_MAGIC, LoadFlags, SECTOR_SIZE, SETUP_HEADER_OFFSET, SetupHeader,
    VERSION_2_12, XLoadFlags,
};
use zerocopy::{FromZeros, IntoBytes};

/// Bytes that differ from place to place.
#[must_use]
pub fn pattern(length: usize) -> Vec<u8> {
    (0u32..)
        .map(|index| (index.wrapping_mul(0x9e37_79b9) >> 13).to_le_bytes()[0])
        .take(length)
        .collect()
}

/// The header of a 64-bit kernel that prefers 16 MiB and needs as much memory as `init_size`.
#[must_use]
pub fn header(payload: usize, init_size: u32) -> SetupHeader {
    let mut header = SetupHeader::new_zeroed();
    header.setup_sects = 3;
    header.syssize = u32::try_from(payload.div_ceil(16))
        .unwrap_or(u32::MAX)
        .into();
    header.boot_flag = BOOT_FLAG.into();
    header.jump = [0xeb, 0x6a];
    header.header = HEADER_MAGIC;
    header.version = VERSION_2_12.into();
    header.loadflags = LoadFlags::LOADED_HIGH.bits();
    header.code32_start = 0x10_0000.into();
    header.initrd_addr_max = 0x7fff_ffff.into();
    header.kernel_alignment = 0x20_0000.into();
    header.relocatable_kernel = 1;
    header.xloadflags = XLoadFlags::KERNEL_64.bits().into();
    header.cmdline_size = 2047.into();
    header.pref_address = 0x100_0000.into();
    header.init_size = init_size.into();
    header
}

/// A bzImage: `header` in its place in the setup sectors it names, and `payload` behind them.
#[must_use]
pub fn bzimage(header: &SetupHeader, payload: &[u8]) -> Vec<u8> {
    let setup = (usize::from(header.setup_sects) + 1) * SECTOR_SIZE;
    let mut file = vec![0; setup];
    file[SETUP_HEADER_OFFSET..][..size_of::<SetupHeader>()].copy_from_slice(header.as_bytes());
    file.extend_from_slice(payload);
    file
}
