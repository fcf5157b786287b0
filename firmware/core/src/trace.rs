// SPDX-License-Identifier: MIT OR Apache-2.0
//! What [`LogLevel::Trace`](crate::facts::LogLevel::Trace) says below the line of a phase.
//!
//! In: what the phase has found or decided, which is still in memory at its end. Nothing is kept
//! for the trace on the way, so a boot without it runs none of this. Never: fails; what cannot be
//! read once more is not said.

use crate::acpi::Blobs;
use crate::board::Board;
use crate::facts::Facts;
use crate::fw_cfg::{Directory, Transport};
use crate::pci::Storage;
use crate::plan::{Map, Plan};
use crate::words::{Speaker, say};
use abi::pci::Function;
use zerocopy::IntoBytes;

/// A packed text with fields of a record in it: `$` a name, `%` 32 bits in decimal, `#` 64 bits
/// in hexadecimal, each followed by the field's offset, a multiple of 4 from `@` (0) to `_` (124),
/// characters that no phrase has.
macro_rules! fields {
    ($text:literal) => {{
        const PACKED: [u8; $crate::words::packed_size($text)] = $crate::words::pack($text);
        &PACKED
    }};
}
pub(crate) use fields;

/// The file directory.
#[cold]
pub fn files(fw_cfg: &mut impl Transport, files: &mut Directory<'_>, to: &mut Speaker<'_>) {
    let _ = files.for_each(fw_cfg, |entry| {
        let (item, size) = (entry.select.get(), entry.size.get());
        say!(to, "  fw_cfg item #, % bytes: ", item, size);
        to.foreign(&entry.name);
        say!(to, "\n");
    });
}

/// The VMM's memory map, and every BAR in what [`Board::assign_addresses`] has left behind.
#[cold]
pub fn found(facts: &Facts<'_>, storage: Option<&mut Storage>, to: &mut Speaker<'_>) {
    let text = fields!("  etc/e820: #B bytes at #@, type %D\n");
    for memory in facts.memory {
        record(text, memory.as_bytes(), to);
    }
    if let Some(storage) = storage.filter(|_| facts.board != Board::Microvm) {
        addresses(storage, to);
    }
}

/// Every BAR of an inventory that has been in `storage`.
pub(crate) fn addresses(storage: &Storage, to: &mut Speaker<'_>) {
    for bar in storage.bars() {
        let at = Function(bar.function);
        let (bus, device, function) = (at.bus(), at.device(), at.function());
        say!(to, "  PCI %:%.%", bus, device, function);
        let (register, size, address) = (bar.register, bar.size, bar.address);
        say!(to, ", register #: # bytes at #\n", register, size, address);
    }
}

/// The map for the kernel, and the place of everything in it.
#[cold]
pub fn decided(plan: &Plan<'_>, blobs: &Blobs<'_>, to: &mut Speaker<'_>) {
    let text = fields!("  map: #@..#B, type %D (1 is RAM)\n");
    for region in plan.memory.regions() {
        record(text, region.as_bytes(), to);
    }
    let handoff = &plan.handoff;
    say!(
        to,
        "  command line at #, MP table at #\n",
        handoff.cmdline.start(),
        handoff.mp_table.start()
    );
    if let Map::Tables(page_tables) = handoff.map {
        say!(to, "  page tables at #\n", page_tables.start());
    }
    let text = fields!("  $@: %P bytes at #N\n");
    for blob in blobs.iter() {
        record(text, blob.as_bytes(), to);
    }
}

/// Says what a record holds.
pub(crate) fn record(text: &[u8], bytes: &[u8], to: &mut Speaker<'_>) {
    let mut text = text.iter();
    while let Some(byte) = text.next() {
        if !matches!(byte, b'$' | b'%' | b'#') {
            to.packed(core::slice::from_ref(byte));
            continue;
        }
        let offset = text.next().map_or(0, |at| at.wrapping_sub(b'@'));
        let start = usize::from(offset).saturating_mul(4);
        let field = bytes.get(start..).unwrap_or_default();
        if *byte == b'$' {
            to.foreign(field);
            continue;
        }
        let mut number = [0; 8];
        for (to, from) in number.iter_mut().zip(field) {
            *to = *from;
        }
        let mut number = u64::from_le_bytes(number);
        if *byte == b'%' {
            number &= u64::from(u32::MAX);
        }
        to.one(core::slice::from_ref(byte), number);
    }
}
