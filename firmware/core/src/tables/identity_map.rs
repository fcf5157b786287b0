// SPDX-License-Identifier: MIT OR Apache-2.0
//! Page tables that map the first 4 GiB to themselves in 2 MiB pages, or less.
//!
//! Spec: Intel SDM volume 3, section 4.5 (4-level paging). For processors without 1 GiB pages; the
//! others use tables that stand ready in the image.

use abi::layout::{LOCAL_APIC_ADDR, PAGE_SIZE};
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Present, writable, accessed.
const TABLE: u64 = 0b10_0011;
/// Present, writable, accessed, dirty, page size.
const LEAF: u64 = 0b1110_0011;
/// What one leaf maps.
const LEAF_SIZE: u64 = 0x20_0000;

const DIRECTORIES: usize = 4;

/// Entries of the page directory of the way in that can map what lies below [`DIRECTORY_END`]. It stands
/// for the first GiB and for the last one below 4 GiB, whose entry for the local APIC is the first that
/// differs. Rounded, for [`write_leaves`].
pub const DIRECTORY_ENTRIES: usize = (LOCAL_APIC_ADDR / LEAF_SIZE % 512) as usize & !3;
/// Guest-physical address up to which that directory can map memory to itself.
pub const DIRECTORY_END: u64 = DIRECTORY_ENTRIES as u64 * LEAF_SIZE;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Tables {
    pml4: [U64; 512],
    pdpt: [U64; 512],
    directories: [U64; 512 * DIRECTORIES],
}

/// Size in bytes of the tables.
pub const SIZE: usize = size_of::<Tables>();

const _: () = assert!(SIZE as u64 == PAGE_SIZE * (2 + DIRECTORIES as u64));

/// Writes the tables into `bytes`, which stands for [`SIZE`] bytes at the page-aligned
/// guest-physical address `base`, the future CR3.
pub fn write(bytes: &mut [u8], base: u64) {
    let Ok(tables) = Tables::mut_from_bytes(bytes) else {
        return;
    };
    tables.pml4.zero();
    tables.pdpt.zero();
    let pdpt = base.wrapping_add(PAGE_SIZE);
    let directories = base.wrapping_add(PAGE_SIZE.wrapping_mul(2));
    tables.pml4[0] = (pdpt | TABLE).into();
    let addresses = (0..).map(|index: u64| directories.wrapping_add(index.wrapping_mul(PAGE_SIZE)));
    for (entry, address) in tables.pdpt.iter_mut().take(DIRECTORIES).zip(addresses) {
        *entry = (address | TABLE).into();
    }
    write_leaves(&mut tables.directories);
}

/// Maps as much as `entries` can, from address 0 on. They are a multiple of four.
pub fn write_leaves(entries: &mut [U64]) {
    // Four at a time: most of what one at a time costs is the loop.
    let mut leaf = LEAF;
    for [first, second, third, fourth] in entries.as_chunks_mut().0 {
        *first = leaf.into();
        *second = leaf.wrapping_add(LEAF_SIZE).into();
        *third = leaf.wrapping_add(LEAF_SIZE * 2).into();
        *fourth = leaf.wrapping_add(LEAF_SIZE * 3).into();
        leaf = leaf.wrapping_add(LEAF_SIZE * 4);
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    /// Walks the tables as the processor does.
    fn translate(bytes: &[u8], base: u64, address: u64) -> Option<u64> {
        let entry = |table: u64, shift: u32| {
            let index = usize::try_from((address >> shift) & 511).unwrap();
            let at = usize::try_from(table - base).unwrap() + index * 8;
            let value = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
            (value & 1 == 1).then_some(value)
        };
        let pdpt = entry(base, 39)? & !0xfff;
        let directory = entry(pdpt, 30)? & !0xfff;
        let leaf = entry(directory, 21)?;
        assert_eq!(leaf & 0x80, 0x80);
        Some((leaf & !0x1f_ffff) + (address & 0x1f_ffff))
    }

    #[test]
    fn the_first_4_gib_map_to_themselves_and_nothing_else() {
        let base = 0x9_0000;
        let mut bytes = vec![0xff; SIZE];
        write(&mut bytes, base);
        for address in (0..0x1_0000_0000).step_by(0x10_0001) {
            assert_eq!(translate(&bytes, base, address), Some(address));
        }
        assert_eq!(translate(&bytes, base, 0x1_0000_0000), None);
        assert_eq!(translate(&bytes, base, 1 << 39), None);
    }

    #[test]
    fn a_directory_maps_what_lies_below_the_local_apics_place_in_it() {
        let mut directory = [U64::ZERO; DIRECTORY_ENTRIES];
        write_leaves(&mut directory);
        for (index, entry) in (0..).zip(directory) {
            assert_eq!(entry.get(), (index * LEAF_SIZE) | LEAF);
        }
        assert_eq!(DIRECTORY_END, 1000 << 20);
    }

    proptest! {
        #[test]
        fn tables_work_wherever_they_lie(
            page in 0u64..0x10_0000, addresses in proptest::collection::vec(0u64..1 << 48, 20),
            low in proptest::collection::vec(0u64..1 << 32, 20),
        ) {
            let mut bytes = vec![0xff; SIZE];
            write(&mut bytes, page * PAGE_SIZE);
            for address in addresses.into_iter().chain(low) {
                let mapped = (address < 1 << 32).then_some(address);
                prop_assert_eq!(translate(&bytes, page * PAGE_SIZE, address), mapped);
            }
        }
    }
}
