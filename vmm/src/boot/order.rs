// SPDX-License-Identifier: MIT OR Apache-2.0
//! Option ROMs, and the order in which firmware is to try what it could boot.
//!
//! Spec: QEMU `hw/core/loader.c` (`genroms/`) and `softmmu/bootdevice.c` (`bootorder`): a line for
//! each device, of which the first is tried first, and NUL behind the last.

use super::Error;
use super::input::Input;
use crate::config::Config;
use crate::devices::fw_cfg::Items;
use crate::devices::virtio::Slot;
use abi::fw_cfg::file;

/// What error messages call an option ROM.
pub const OPTION_ROM: &str = "option ROM";

/// Adds the option ROMs of `config`, and the boot order if anything has a place in it. Disks are in
/// the first of `slots`.
pub fn add(config: &Config, slots: &[Slot], items: &mut Items) -> Result<(), Error> {
    let mut order = Vec::new();
    for (disk, slot) in config.disks.iter().zip(slots) {
        if let Some(index) = disk.boot_index {
            let path = format!("/virtio-mmio@{:016x}/disk@0,0", slot.address());
            order.push((index, path));
        }
    }
    for rom in config.option_roms() {
        let name = rom.path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{}{name}", file::OPTION_ROMS);
        let content = Input::open(OPTION_ROM, &rom.path)?.into_content(0)?;
        items.add_file(&name, content)?;
        if let Some(index) = rom.boot_index {
            order.push((index, format!("/rom@{name}")));
        }
    }
    if order.is_empty() {
        return Ok(());
    }
    order.sort();
    let lines: Vec<_> = order.into_iter().map(|(_, path)| path).collect();
    let mut text = lines.join("\n").into_bytes();
    text.push(0);
    Ok(items.add_file(file::BOOT_ORDER, text)?)
}
