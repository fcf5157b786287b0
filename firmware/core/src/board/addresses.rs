// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which addresses the board has left for PCI.
//!
//! In: the VMM's memory map, and what its files say. Out: [`Windows`] for the placement. QEMU's
//! tables declare a hole for PCI from the end of RAM to the I/O APIC, and one above RAM.

use super::Board;
use crate::error::BootError;
use crate::fw_cfg::{Directory, Transport};
use crate::memory::{Range, hole_below_4g};
use crate::pci::{ConfigSpace, Inventory, Storage, Windows};
use abi::e820::{E820Entry, TYPE_RAM};
use abi::fw_cfg::{FILE_NAME_SIZE, file, file_name};
use abi::layout::{IO_APIC_ADDR, RAM_ABOVE_4G_START};

/// I/O ports that no chipset of these boards uses: first the range that is PCI's by custom, then
/// what is free around the ports of QEMU's own devices.
const IO: [Range; 3] = [
    Range::between(0xc000, 0x1_0000),
    Range::between(0x6000, 0xa000),
    Range::between(0x1000, 0x5000),
];

/// The window above RAM starts at a multiple of this.
const HIGH_ALIGN: u64 = 1 << 30;
/// Wider addresses than any processor has (Intel SDM volume 3, section 4.1.4).
const MOST_ADDRESS_BITS: u8 = 52;

const EXTRA_ROOTS: [u8; FILE_NAME_SIZE] = file_name(file::EXTRA_PCI_ROOTS);
const RESERVED_END: [u8; FILE_NAME_SIZE] = file_name(file::RESERVED_MEMORY_END);

impl Board {
    /// Finds all PCI functions and gives them bus numbers, addresses and interrupt lines. With
    /// `address_bits` the processor tells the width of a guest-physical address, if it matters.
    /// What was found stays in `storage`.
    ///
    /// # Errors
    /// A transfer failed.
    pub fn assign_addresses(
        self,
        config: &mut impl ConfigSpace,
        fw_cfg: &mut impl Transport,
        files: &mut Directory<'_>,
        memory: &[E820Entry],
        address_bits: impl FnOnce() -> u8,
        storage: &mut Storage,
    ) -> Result<(), BootError> {
        let extra_roots = number(fw_cfg, files, &EXTRA_ROOTS)?;
        let mut inventory = Inventory::take(config, &self, extra_roots, storage);
        let windows = Windows {
            io: &IO,
            memory: low_window(memory),
        };
        let mut failed = None;
        inventory.place(&windows, || match number(fw_cfg, files, &RESERVED_END) {
            Ok(end) => high_window(memory, end, address_bits()),
            Err(error) => {
                failed = Some(error);
                Range::between(0, 0)
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        inventory.write(config);
        inventory.leave();
        Ok(())
    }
}

/// The content of a file that holds a 64-bit number; 0 without it.
fn number(
    fw_cfg: &mut impl Transport,
    files: &mut Directory<'_>,
    name: &[u8; FILE_NAME_SIZE],
) -> Result<u64, BootError> {
    let mut bytes = [0; 8];
    if let Some(file) = files.find(fw_cfg, name)? {
        fw_cfg.read(file.key(), &mut bytes)?;
    }
    Ok(u64::from_le_bytes(bytes))
}

/// The addresses of a record, as far as they do not wrap.
fn range_of(record: &E820Entry) -> Range {
    Range::between(
        record.addr.get(),
        record.addr.get().saturating_add(record.size.get()),
    )
}

/// Memory below the I/O APIC that is uncached and that no record is about.
fn low_window(memory: &[E820Entry]) -> Range {
    let is_ram = |record: &&E820Entry| record.kind.get() == TYPE_RAM;
    let hole = hole_below_4g(|hole| {
        let mut ram = memory.iter().filter(is_ram);
        ram.any(|record| range_of(record).overlaps(hole))
    });
    let window = Range::between(hole.start(), IO_APIC_ADDR);
    clear_of(window, memory)
}

/// Memory above all RAM, also such that comes later, as far as the processor reaches.
fn high_window(memory: &[E820Entry], reserved_end: u64, address_bits: u8) -> Range {
    let end = 1u64.wrapping_shl(address_bits.min(MOST_ADDRESS_BITS).into());
    let ram_end = memory
        .iter()
        .filter(|record| record.kind.get() == TYPE_RAM)
        .map(|record| range_of(record).end())
        .max();
    let start = reserved_end
        .max(ram_end.unwrap_or_default())
        .max(RAM_ABOVE_4G_START)
        .checked_next_multiple_of(HIGH_ALIGN);
    clear_of(Range::between(start.unwrap_or(end), end), memory)
}

/// The part of a window below the first record in it.
fn clear_of(window: Range, memory: &[E820Entry]) -> Range {
    let obstacles = memory.iter().map(range_of);
    let first = obstacles
        .filter(|obstacle| obstacle.overlaps(window))
        .map(Range::start)
        .min();
    Range::between(
        window.start(),
        first.unwrap_or(window.end()).min(window.end()),
    )
}

#[cfg(test)]
mod test {
    use super::*;
    use abi::e820::TYPE_RESERVED;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    fn record(addr: u64, size: u64, kind: u32) -> E820Entry {
        E820Entry {
            addr: addr.into(),
            size: size.into(),
            kind: kind.into(),
        }
    }

    #[test]
    fn the_windows_are_all_that_ram_leaves() {
        let memory = [record(0, 3 * GIB, TYPE_RAM), record(4 * GIB, GIB, TYPE_RAM)];
        assert_eq!(low_window(&memory), Range::between(3 * GIB, IO_APIC_ADDR));
        let high = |end, bits| high_window(&memory, end, bits);
        assert_eq!(high(0, 40), Range::between(5 * GIB, 1 << 40));
        // Memory may be plugged in up to there.
        assert_eq!(high(9 * GIB + 1, 46), Range::between(10 * GIB, 1 << 46));
        assert_eq!(high(0, 57).end(), 1 << 52);
        assert!(high(u64::MAX, 40).is_empty());
        assert!(high(0, 32).is_empty());
    }

    proptest! {
        /// Whatever the records, also such that overlap or wrap: no address in a window is one of
        /// theirs, and none is out of the processor's reach.
        #[test]
        fn windows_are_clear_of_every_record(
            low_ram in 0u64..4 * GIB, high_ram in 0u64..1 << 42,
            others in proptest::collection::vec((any::<u64>(), any::<u64>(), 0u32..48), 0..6),
            reserved_end in prop_oneof![Just(0u64), 0u64..1 << 44, any::<u64>()],
            bits in 32u8..64,
        ) {
            let mut memory = vec![
                record(0, low_ram, TYPE_RAM),
                record(4 * GIB, high_ram, TYPE_RAM),
            ];
            memory.extend(others.iter().map(|(addr, size, shift)| {
                record(addr >> shift, size >> shift, TYPE_RESERVED)
            }));
            let low = low_window(&memory);
            let high = high_window(&memory, reserved_end, bits);
            for record in &memory {
                let held = range_of(record);
                prop_assert!(!held.overlaps(low) && !held.overlaps(high), "{}", held);
            }
            prop_assert!(Range::between(3 * GIB, IO_APIC_ADDR).contains(low) || low.is_empty());
            if !high.is_empty() {
                prop_assert!(high.start() >= (4 * GIB + high_ram).max(reserved_end));
                prop_assert!(high.start().is_multiple_of(GIB));
                prop_assert!(high.end() <= 1 << bits.min(52));
            }
        }
    }
}
