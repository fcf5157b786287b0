// SPDX-License-Identifier: MIT OR Apache-2.0
//! The parameters: `hvm_start_info` or the zero page, and all they point to.
//!
//! Spec: see `abi::pvh` and `abi::linux`.

// Addresses are u64, lengths of slices usize: the same width here.
#![allow(clippy::cast_possible_truncation)]

use crate::acpi;
use crate::serial::line;
use abi::linux::BootParams;
use abi::pvh::{MemmapEntry, ModlistEntry, StartInfo};
use core::ffi::CStr;
use core::{ptr, slice};
use guests::digest;
use zerocopy::FromBytes;

/// What lies at a guest-physical address.
fn at<T: FromBytes>(address: u64) -> &'static T {
    // SAFETY: memory is mapped to itself; the firmware says there is a T; any bytes are one.
    unsafe { &*ptr::with_exposed_provenance(address as usize) }
}

/// A list at a guest-physical address.
fn list<T: FromBytes>(address: u64, count: usize) -> &'static [T] {
    if count == 0 {
        return &[];
    }
    // SAFETY: as in `at`.
    unsafe { slice::from_raw_parts(ptr::with_exposed_provenance(address as usize), count) }
}

/// Guest-physical memory.
pub fn bytes(address: u64, length: u64) -> &'static [u8] {
    list(address, length as usize)
}

/// PVH.
pub fn start_info(address: u64) {
    let info = at::<StartInfo>(address);
    line!("start_info.magic={:#x}", info.magic);
    line!("start_info.version={:#x}", info.version);
    line!("start_info.flags={:#x}", info.flags);
    line!("start_info.rsdp={:#x}", info.rsdp_paddr);
    line!("start_info.modlist={:#x}", info.modlist_paddr);
    line!("start_info.memmap={:#x}", info.memmap_paddr);
    for entry in list::<MemmapEntry>(info.memmap_paddr.get(), info.memmap_entries.get() as usize) {
        memory(entry.addr.get(), entry.size.get(), entry.kind.get());
    }
    for entry in list::<ModlistEntry>(info.modlist_paddr.get(), info.nr_modules.get() as usize) {
        line!("module.cmdline={:#x}", entry.cmdline_paddr);
        module(entry.paddr.get(), entry.size.get());
    }
    command_line(info.cmdline_paddr.get());
    acpi::tables(info.rsdp_paddr.get());
}

/// Linux.
pub fn boot_params(address: u64) {
    let page = at::<BootParams>(address);
    line!("boot_params.sentinel={:#x}", page.sentinel);
    line!("boot_params.type_of_loader={:#x}", page.hdr.type_of_loader);
    line!("boot_params.version={:#x}", page.hdr.version);
    line!("boot_params.rsdp={:#x}", page.acpi_rsdp_addr);
    for entry in page.e820_table.iter().take(page.e820_entries.into()) {
        memory(entry.addr.get(), entry.size.get(), entry.kind.get());
    }
    let join = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    let image = join(page.hdr.ramdisk_image.get(), page.ext_ramdisk_image.get());
    let size = join(page.hdr.ramdisk_size.get(), page.ext_ramdisk_size.get());
    if size != 0 {
        module(image, size);
    }
    command_line(join(
        page.hdr.cmd_line_ptr.get(),
        page.ext_cmd_line_ptr.get(),
    ));
    acpi::tables(page.acpi_rsdp_addr.get());
}

fn memory(addr: u64, size: u64, kind: u32) {
    line!("memory={addr:#x} {size:#x} {kind:#x}");
}

fn module(addr: u64, size: u64) {
    line!(
        "module={addr:#x} {size:#x} {:#x}",
        digest(list(addr, size as usize))
    );
}

fn command_line(address: u64) {
    line!("cmdline.address={address:#x}");
    if address != 0 {
        // SAFETY: the firmware says there is a NUL-terminated string.
        let text = unsafe { CStr::from_ptr(ptr::with_exposed_provenance(address as usize)) };
        line!("cmdline={}", text.to_str().unwrap_or("(not UTF-8)"));
    }
}
