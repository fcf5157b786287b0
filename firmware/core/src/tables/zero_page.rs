// SPDX-License-Identifier: MIT OR Apache-2.0
//! The zero page (`struct boot_params`) for the 32-bit and 64-bit boot protocols.
//!
//! Spec: Linux `Documentation/arch/x86/boot.rst`, "32-bit Boot Protocol" and
//! "64-bit Boot Protocol", and `zero-page.rst`.

use crate::plan::Plan;
use abi::e820::E820Entry;
use abi::linux::{
    BootParams, JUMP_BASE, LOADER_TYPE_UNDEFINED, SETUP_HEADER_OFFSET, SetupHeader,
    VIDEO_MODE_NORMAL,
};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Writes the page into `bytes`, which stands for `plan.handoff.parameters`.
pub fn write(bytes: &mut [u8], plan: &Plan<'_>, header: &SetupHeader, rsdp: Option<u64>) {
    let Ok(page) = BootParams::mut_from_bytes(bytes) else {
        return;
    };
    page.zero();
    copy_header(&mut page.hdr, header);

    page.hdr.type_of_loader = LOADER_TYPE_UNDEFINED;
    page.hdr.vid_mode = VIDEO_MODE_NORMAL.into();
    page.acpi_rsdp_addr = rsdp.unwrap_or_default().into();
    let (low, high) = halves(plan.handoff.cmdline.start());
    page.hdr.cmd_line_ptr = low.into();
    page.ext_cmd_line_ptr = high.into();
    if let Some(initrd) = plan.initrd {
        let (low, high) = halves(initrd.start());
        page.hdr.ramdisk_image = low.into();
        page.ext_ramdisk_image = high.into();
        let (low, high) = halves(initrd.size());
        page.hdr.ramdisk_size = low.into();
        page.ext_ramdisk_size = high.into();
    }
    let regions = plan.memory.regions();
    page.e820_entries = u8::try_from(regions.len()).unwrap_or_default(); // at most 128
    for (entry, region) in page.e820_table.iter_mut().zip(regions) {
        *entry = E820Entry {
            addr: region.start.into(),
            size: region.range().size().into(),
            kind: u32::try_from(region.kind).unwrap_or_default().into(),
        };
    }
}

/// boot.rst: "The end of setup header can be calculated as follows: 0x0202 + byte value at offset
/// 0x0201". What lies behind it in the file is not header and must stay zero.
fn copy_header(to: &mut SetupHeader, from: &SetupHeader) {
    let end = JUMP_BASE.saturating_add(from.jump[1].into());
    let length = end
        .saturating_sub(SETUP_HEADER_OFFSET)
        .min(size_of::<SetupHeader>());
    if let (Some(to), Some(from)) = (
        to.as_mut_bytes().get_mut(..length),
        from.as_bytes().get(..length),
    ) {
        to.copy_from_slice(from);
    }
}

/// The low and the high 32 bits.
fn halves(value: u64) -> (u32, u32) {
    let low = value & u64::from(u32::MAX);
    (
        u32::try_from(low).unwrap_or_default(),
        u32::try_from(value >> 32).unwrap_or_default(),
    )
}
