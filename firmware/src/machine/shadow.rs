// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shows an operating system what it looks for in the last 64 KiB below 1 MiB.
//!
//! Spec: DSP0134, section 5.2.1: the SMBIOS entry point is found by a search from 0xF0000 on. The
//! image lies there: on `microvm` in RAM (QEMU, `x86_bios_rom_init`), and where the chipset can show
//! RAM instead, in a copy that is made there.

use super::pci::ConfigPorts;
use abi::layout::{PAGE_TABLES_START, ROM_ALIAS_START, ROM_SIZE, ROM_TOP};
use core::{arch::global_asm, ptr};
use firmware_core::board::Board;
use firmware_core::memory::Range;

global_asm!(
    include_str!("shadow.s"),
    copy = const ROM_TOP - ROM_SIZE,
    image = const ROM_ALIAS_START,
    size = const ROM_SIZE,
    page_tables = const PAGE_TABLES_START,
    options(att_syntax),
);

unsafe extern "C" {
    static mut smbios_anchor: [u8; 32];
    fn shadow_image(port: u16, ram: u8, _: u64, length: u64, ram_read_only: u8, anchor: u64);
}

/// Copies the SMBIOS entry point at `anchor` into the image, or into a copy of it that is made where
/// the board has none in RAM.
pub fn show(board: Board, anchor: Range) {
    let length = anchor.size().min(32);
    let (Some(attributes), Some(mut config)) = (board.image_attributes(), ConfigPorts::find())
    else {
        let from = ptr::with_exposed_provenance::<u8>(anchor.start() as usize);
        let to = (&raw mut smbios_anchor).cast();
        // SAFETY: `smbios::link` has put the anchor there, and only `shadow.s` knows of these bytes in
        // the image. Should they be in ROM after all, they stay what they are.
        unsafe { ptr::copy_nonoverlapping(from, to, length as usize) };
        return;
    };
    let port = config.select(attributes.function, attributes.register);
    // SAFETY: the port is the register's, which decides over the image's range alone. The image's
    // copy below 4 GiB is mapped by all page tables we use; where those lie in the image,
    // `shadow.s` uses a copy meanwhile, in memory that is kept for page tables. Rust sees the same
    // bytes before and after; nobody else runs. The anchor is at most 32 bytes, which `shadow.s`
    // keeps for it.
    unsafe {
        shadow_image(
            port,
            attributes.ram,
            0,
            length,
            attributes.ram_read_only,
            anchor.start(),
        );
    }
}
