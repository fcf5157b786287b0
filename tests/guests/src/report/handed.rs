// SPDX-License-Identifier: MIT OR Apache-2.0
//! The parameters: `hvm_start_info` or the zero page, and all they point to.
//!
//! Spec: see `abi::pvh` and `abi::linux`.

// Addresses are u64, lengths of slices usize: the same width here.
#![allow(clippy::cast_possible_truncation)]

use crate::serial::line;
use abi::linux::BootParams;
use abi::pvh::{MemmapEntry, ModlistEntry, StartInfo};
use core::ffi::CStr;
use core::fmt;
use core::{ptr, slice};
use guests::digest;
use zerocopy::FromBytes;

/// What of the parameters is needed to go on.
pub struct Handed {
    /// Guest-physical address of the RSDP, or 0.
    pub rsdp: u64,
    pub command_line: &'static str,
}

/// What lies at a guest-physical address.
pub fn at<T: FromBytes>(address: u64) -> &'static T {
    // SAFETY: memory is mapped to itself; the firmware says there is a T; any bytes are one.
    unsafe { &*ptr::with_exposed_provenance(address as usize) }
}

/// A list at a guest-physical address.
pub fn list<T: FromBytes>(address: u64, count: usize) -> &'static [T] {
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

/// A little-endian number inside bytes; 0 where there are none.
pub fn number(bytes: &[u8], offset: usize, size: usize) -> u64 {
    let field = bytes.get(offset..offset + size).unwrap_or_default();
    field
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Bytes as they are printed whole.
pub fn hexadecimal(bytes: &[u8]) -> impl fmt::Display {
    fmt::from_fn(move |formatter| {
        bytes
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    })
}

/// PVH.
pub fn start_info(address: u64) -> Handed {
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
        if entry.cmdline_paddr.get() != 0 {
            line!("module.text={}", text(entry.cmdline_paddr.get()));
        }
        module(entry.paddr.get(), entry.size.get());
    }
    Handed {
        rsdp: info.rsdp_paddr.get(),
        command_line: command_line(info.cmdline_paddr.get()),
    }
}

/// Linux.
pub fn boot_params(address: u64) -> Handed {
    let page = at::<BootParams>(address);
    line!("boot_params.sentinel={:#x}", page.sentinel);
    line!("boot_params.type_of_loader={:#x}", page.hdr.type_of_loader);
    line!("boot_params.version={:#x}", page.hdr.version);
    line!("boot_params.loadflags={:#x}", page.hdr.loadflags);
    line!("boot_params.vid_mode={:#x}", page.hdr.vid_mode);
    line!("boot_params.code32_start={:#x}", page.hdr.code32_start);
    line!("boot_params.heap_end={:#x}", page.hdr.heap_end_ptr);
    setup_data(page.hdr.setup_data.get());
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
    Handed {
        rsdp: page.acpi_rsdp_addr.get(),
        command_line: command_line(join(
            page.hdr.cmd_line_ptr.get(),
            page.ext_cmd_line_ptr.get(),
        )),
    }
}

/// The list of further parameters: of each its type, length and digest.
fn setup_data(first: u64) {
    // A list that leads nowhere shall end.
    const MOST: usize = 16;
    let mut next = first;
    for _ in 0..MOST {
        if next == 0 {
            return;
        }
        let header = bytes(next, 16);
        let (kind, length) = (number(header, 8, 4), number(header, 12, 4));
        line!(
            "boot_params.setup_data={kind:#x} {length:#x} {:#x}",
            digest(bytes(next + 16, length.min(1 << 20)))
        );
        next = number(header, 0, 8);
    }
    line!("boot_params.setup_data=endless");
}

/// One range of the memory map.
pub fn memory(addr: u64, size: u64, kind: u32) {
    line!("memory={addr:#x} {size:#x} {kind:#x}");
}

/// One module.
pub fn module(addr: u64, size: u64) {
    line!(
        "module={addr:#x} {size:#x} {:#x}",
        digest(list(addr, size as usize))
    );
}

/// Reports a digest of the memory at `START,LENGTH`.
pub fn digest_of(place: &str) {
    let number = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let place = place
        .split_once(',')
        .map(|(start, length)| (number(start), number(length)));
    match place {
        Some((Some(start), Some(length))) => {
            line!(
                "digest={start:#x} {length:#x} {:#x}",
                digest(bytes(start, length))
            );
        }
        _ => line!("digest=?"),
    }
}

/// Reports the command line, and returns it.
pub fn command_line(address: u64) -> &'static str {
    line!("cmdline.address={address:#x}");
    if address == 0 {
        return "";
    }
    let text = text(address);
    line!("cmdline={text}");
    text
}

/// A NUL-terminated string at a guest-physical address.
pub fn text(address: u64) -> &'static str {
    // SAFETY: the firmware says there is one.
    let text = unsafe { CStr::from_ptr(ptr::with_exposed_provenance(address as usize)) };
    text.to_str().unwrap_or("(not UTF-8)")
}
