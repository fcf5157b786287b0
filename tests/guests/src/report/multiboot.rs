// SPDX-License-Identifier: MIT OR Apache-2.0
//! The parameters of multiboot 1: `multiboot_info` and all that it points to.
//!
//! Spec: Multiboot Specification 0.6.96, section 3.3, "Boot information format".

use crate::handed::{Handed, bytes, command_line, memory, module, number, text};
use crate::serial::line;

const FLAG_MEMORY: u64 = 1 << 0;
const FLAG_COMMAND_LINE: u64 = 1 << 2;
const FLAG_MODULES: u64 = 1 << 3;
const FLAG_MEMORY_MAP: u64 = 1 << 6;
const FLAG_LOADER_NAME: u64 = 1 << 9;

/// Reports them.
pub fn info(address: u64) -> Handed {
    let info = bytes(address, 88);
    let field = |offset| number(info, offset, 4);
    let flags = field(0);
    let has = |flag| flags & flag != 0;
    line!("multiboot.flags={flags:#x}");
    if has(FLAG_MEMORY) {
        line!("multiboot.memory={:#x} {:#x}", field(4), field(8));
    }
    line!("multiboot.boot_device={:#x}", field(12));
    if has(FLAG_LOADER_NAME) {
        line!("multiboot.loader={}", text(field(64)));
    }
    if has(FLAG_MODULES) {
        line!("multiboot.modules={:#x}", field(24));
        for index in 0..field(20) {
            let entry = bytes(field(24) + index * 16, 16);
            let (start, end) = (number(entry, 0, 4), number(entry, 4, 4));
            line!("module.text={}", text(number(entry, 8, 4)));
            module(start, end.saturating_sub(start));
        }
    }
    if has(FLAG_MEMORY_MAP) {
        let map = bytes(field(48), field(44));
        line!("multiboot.mmap={:#x} {:#x}", field(48), field(44));
        let mut at = 0;
        while at + 24 <= map.len() {
            let entry = |offset, size| number(map, at + offset, size);
            memory(
                entry(4, 8),
                entry(12, 8),
                u32::try_from(entry(20, 4)).unwrap_or(0),
            );
            at += usize::try_from(entry(0, 4)).unwrap_or(map.len()).max(20) + 4;
        }
    }
    Handed {
        rsdp: 0,
        command_line: command_line(if has(FLAG_COMMAND_LINE) { field(16) } else { 0 }),
    }
}
