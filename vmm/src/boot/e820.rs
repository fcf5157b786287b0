// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `etc/e820` file: what a VMM says about memory.
//!
//! Spec: QEMU `e820_add_entry` and its callers on `microvm` with KVM. It names RAM and what KVM
//! itself occupies; the holes below 1 MiB and the ROM are the firmware's to carve out.

use crate::memory::Layout;
use abi::e820::{E820Entry, TYPE_RAM, TYPE_RESERVED};
use abi::layout::{KVM_IDENTITY_MAP_ADDR, KVM_RESERVED_SIZE, RAM_ABOVE_4G_START};
use zerocopy::IntoBytes;

/// The file: KVM's own pages first, then RAM.
pub(super) fn table(layout: &Layout) -> Vec<u8> {
    let mut entries = vec![
        entry(KVM_IDENTITY_MAP_ADDR, KVM_RESERVED_SIZE, TYPE_RESERVED),
        entry(0, layout.below_4g(), TYPE_RAM),
    ];
    if layout.above_4g() > 0 {
        entries.push(entry(RAM_ABOVE_4G_START, layout.above_4g(), TYPE_RAM));
    }
    entries.as_bytes().to_vec()
}

fn entry(addr: u64, size: u64, kind: u32) -> E820Entry {
    E820Entry {
        addr: addr.into(),
        size: size.into(),
        kind: kind.into(),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn decoded(ram: u64) -> Vec<(u64, u64, u32)> {
        table(&Layout::new(ram, 0x1_0000))
            .chunks(20)
            .map(|record| {
                (
                    u64::from_le_bytes(record[..8].try_into().unwrap()),
                    u64::from_le_bytes(record[8..16].try_into().unwrap()),
                    u32::from_le_bytes(record[16..].try_into().unwrap()),
                )
            })
            .collect()
    }

    #[test]
    fn small_ram_is_one_record_after_the_reserved_one() {
        assert_eq!(
            decoded(256 << 20),
            [(0xfeff_c000, 0x4000, 2), (0, 0x1000_0000, 1)]
        );
        assert_eq!(decoded(3 << 30)[1..], [(0, 0xc000_0000, 1)]);
    }

    #[test]
    fn ram_beyond_three_gib_continues_at_four() {
        assert_eq!(
            decoded(5 << 30)[1..],
            [(0, 0xc000_0000, 1), (0x1_0000_0000, 0x8000_0000, 1)]
        );
    }
}
