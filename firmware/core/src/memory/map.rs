// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory map: which guest-physical ranges are what.
//!
//! Spec: ACPI 6.5, section 15 (INT 15h E820h): a kernel may rely on nothing but the map.
//! Invariant: regions are sorted by address, do not overlap, are not empty, and neighbours of one
//! kind are merged, so that what we publish needs no cleaning up.

use super::Range;
use crate::words::{Speaker, Words, display, say};
use abi::e820::{MAX_ENTRIES, TYPE_RAM};
use core::cell::Cell;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One range and its E820 type.
#[derive(Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Region {
    /// First guest-physical address.
    pub start: u64,
    /// First guest-physical address behind the region.
    pub end: u64,
    /// E820 type.
    pub kind: u64,
}

impl Region {
    /// A range and its E820 type.
    #[must_use]
    pub fn new(range: Range, kind: u32) -> Self {
        Self {
            start: range.start(),
            end: range.end(),
            kind: kind.into(),
        }
    }

    /// The addresses it covers.
    #[must_use]
    pub const fn range(&self) -> Range {
        Range::between(self.start, self.end)
    }
}

/// The map grew past what a kernel accepts ([`MAX_ENTRIES`]).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MapFull;

impl Words for MapFull {
    fn say(&self, to: &mut Speaker<'_>) {
        say!(
            to,
            "memory map: expected at most % separate ranges, found more",
            MAX_ENTRIES
        );
    }
}

display!(MapFull);

/// A sorted set of [`Region`]s in lent memory.
#[derive(Debug)]
pub struct MemoryMap<'a> {
    storage: &'a mut [Region; MAX_ENTRIES],
    len: usize,
}

impl<'a> MemoryMap<'a> {
    /// An empty map. What `storage` held does not matter.
    #[must_use]
    pub const fn new(storage: &'a mut [Region; MAX_ENTRIES]) -> Self {
        Self { storage, len: 0 }
    }

    /// The regions, in order.
    #[must_use]
    pub fn regions(&self) -> &[Region] {
        self.storage.get(..self.len).unwrap_or_default()
    }

    /// Makes `range` be of `kind`, whatever it was before.
    ///
    /// # Errors
    /// The map is full.
    pub fn set(&mut self, range: Range, kind: u32) -> Result<(), MapFull> {
        self.replace(range, &mut [Region::new(range, kind)])
    }

    /// Makes `range` be nothing: neither RAM nor reserved.
    ///
    /// # Errors
    /// The map is full (a region was cut in two).
    pub fn clear(&mut self, range: Range) -> Result<(), MapFull> {
        self.replace(range, &mut [])
    }

    /// Makes `window` be what `with` says, and nothing elsewhere, whatever it was before. `with` is
    /// as this map: sorted, apart, without empty regions and with neighbours of one kind merged;
    /// and it lies inside `window`.
    ///
    /// # Errors
    /// The map is full.
    pub fn replace(&mut self, window: Range, with: &mut [Region]) -> Result<(), MapFull> {
        if window.is_empty() {
            return Ok(());
        }
        let past_the_end = |last: &Region| last.end < window.start();
        if self.regions().last().is_none_or(past_the_end) {
            return self.append(with);
        }
        // Only what overlaps the window or touches it can change: the regions `from..to`.
        let (mut from, mut below, mut above) = (0usize, None, None);
        let mut to = self.len;
        for (index, region) in self.regions().iter().enumerate() {
            if region.end < window.start() {
                from = index.wrapping_add(1);
                continue;
            }
            if region.start > window.end() {
                to = index;
                break;
            }
            if region.start < window.start() {
                let end = region.end.min(window.start());
                below = Some(Region { end, ..*region });
            }
            if region.end > window.end() {
                let start = region.start.max(window.end());
                above = Some(Region { start, ..*region });
            }
        }
        if let (Some(part), Some(first)) = (below, with.first_mut())
            && part.end == first.start
            && part.kind == first.kind
        {
            first.start = part.start;
            below = None;
        }
        if let (Some(part), Some(last)) = (above, with.last_mut())
            && part.start == last.end
            && part.kind == last.kind
        {
            last.end = part.end;
            above = None;
        }

        let parts = usize::from(below.is_some()).wrapping_add(above.is_some().into());
        let behind = from.wrapping_add(with.len()).wrapping_add(parts);
        let len = behind.wrapping_add(self.len.wrapping_sub(to));
        if len > self.storage.len() {
            return Err(MapFull);
        }
        self.shift(to, behind);
        let mut slots = self.storage.get_mut(from..).unwrap_or_default().iter_mut();
        let mut put = |region: Region| {
            if let Some(slot) = slots.next() {
                *slot = region;
            }
        };
        if let Some(part) = below {
            put(part);
        }
        for region in with {
            put(*region);
        }
        if let Some(part) = above {
            put(part);
        }
        self.len = len;
        Ok(())
    }

    /// Moves the last regions, from `from` on, so that they start at `to`.
    fn shift(&mut self, from: usize, to: usize) {
        // Cell by cell, as the two places overlap, and without the panics of `copy_within`.
        let cells = Cell::from_mut(self.storage.as_mut_slice()).as_slice_of_cells();
        let (Some(old), Some(new)) = (cells.get(from..self.len), cells.get(to..)) else {
            return;
        };
        let pairs = old.iter().zip(new);
        if to < from {
            pairs.for_each(|(old, new)| new.set(old.get()));
        } else {
            pairs.rev().for_each(|(old, new)| new.set(old.get()));
        }
    }

    /// Adds regions behind the last one, which they do not touch.
    fn append(&mut self, with: &[Region]) -> Result<(), MapFull> {
        let len = self.len.wrapping_add(with.len());
        let slots = self.storage.get_mut(self.len..len).ok_or(MapFull)?;
        for (slot, region) in slots.iter_mut().zip(with) {
            *slot = *region;
        }
        self.len = len;
        Ok(())
    }

    /// Whether all of `range` is RAM.
    #[must_use]
    pub fn is_ram(&self, range: Range) -> bool {
        let ram = u64::from(TYPE_RAM);
        for region in self.regions() {
            if region.kind == ram && region.range().contains(range) {
                return true;
            }
        }
        false
    }

    /// Whether any of `range` is RAM.
    #[must_use]
    pub fn has_ram(&self, range: Range) -> bool {
        self.ram().any(|ram| ram.overlaps(range))
    }

    /// The RAM regions, in order.
    fn ram(&self) -> impl DoubleEndedIterator<Item = Range> {
        let ram = u64::from(TYPE_RAM);
        self.regions()
            .iter()
            .filter(move |region| region.kind == ram)
            .map(Region::range)
    }

    /// Bytes of RAM.
    #[must_use]
    pub fn ram_size(&self) -> u64 {
        self.ram()
            .fold(0, |total, ram| total.saturating_add(ram.size()))
    }

    /// The highest place in RAM inside `within` for `size` bytes at a multiple of `align` (a power
    /// of two) that touches none of `taken`.
    #[must_use]
    pub fn highest_fit(
        &self,
        size: u64,
        align: u64,
        within: Range,
        taken: &[Range],
    ) -> Option<Range> {
        for ram in self.ram().rev() {
            let floor = ram.start().max(within.start());
            let mut ceiling = ram.end().min(within.end());
            while let Some(start) = ceiling.checked_sub(size) {
                let place = Range::new(start & align.wrapping_neg(), size)?;
                if place.start() < floor {
                    break;
                }
                match taken.iter().find(|range| range.overlaps(place)) {
                    None => return Some(place),
                    Some(obstacle) => ceiling = obstacle.start(),
                }
            }
        }
        None
    }

    /// The lowest place in RAM inside `within` for `size` bytes at a multiple of `align`.
    #[must_use]
    pub fn lowest_fit(&self, size: u64, align: u64, within: Range) -> Option<Range> {
        self.ram().find_map(|ram| {
            let floor = ram.start().max(within.start());
            let start = floor.checked_add(align.wrapping_sub(1))? & align.wrapping_neg();
            let place = Range::new(start, size)?;
            (place.end() <= ram.end().min(within.end())).then_some(place)
        })
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use abi::e820::TYPE_RESERVED;
    use proptest::prelude::*;

    fn storage() -> [Region; MAX_ENTRIES] {
        // Not zeros: the map must not depend on what its storage held.
        [Region {
            start: 7,
            end: 3,
            kind: 99,
        }; MAX_ENTRIES]
    }

    fn list(map: &MemoryMap<'_>) -> Vec<(u64, u64, u64)> {
        map.regions()
            .iter()
            .map(|region| (region.start, region.end, region.kind))
            .collect()
    }

    #[test]
    fn a_reservation_cuts_ram_in_two() {
        let mut storage = storage();
        let mut map = MemoryMap::new(&mut storage);
        map.set(Range::between(0, 0x1000), TYPE_RAM).unwrap();
        map.set(Range::between(0x400, 0x500), TYPE_RESERVED)
            .unwrap();
        assert_eq!(
            list(&map),
            [(0, 0x400, 1), (0x400, 0x500, 2), (0x500, 0x1000, 1)]
        );
        assert_eq!(map.ram_size(), 0xf00);
    }

    #[test]
    fn neighbours_of_one_kind_merge() {
        let mut storage = storage();
        let mut map = MemoryMap::new(&mut storage);
        map.set(Range::between(0x2000, 0x3000), TYPE_RAM).unwrap();
        map.set(Range::between(0, 0x1000), TYPE_RAM).unwrap();
        map.set(Range::between(0x1000, 0x2000), TYPE_RAM).unwrap();
        assert_eq!(list(&map), [(0, 0x3000, 1)]);
    }

    #[test]
    fn an_empty_range_leaves_no_entry() {
        let mut storage = storage();
        let mut map = MemoryMap::new(&mut storage);
        map.set(Range::between(5, 5), TYPE_RAM).unwrap();
        assert_eq!(list(&map), []);
    }

    #[test]
    fn the_129th_range_is_refused_and_the_map_stays_whole() {
        let mut storage = storage();
        let mut map = MemoryMap::new(&mut storage);
        for index in 0..128 {
            map.set(Range::new(index * 0x2000, 0x1000).unwrap(), TYPE_RAM)
                .unwrap();
        }
        assert_eq!(
            map.set(Range::new(0x80_0000, 0x1000).unwrap(), TYPE_RAM),
            Err(MapFull)
        );
        assert_eq!(
            map.set(Range::new(0x400, 0x100).unwrap(), TYPE_RESERVED),
            Err(MapFull)
        );
        assert_eq!(map.regions().len(), 128);
    }

    #[test]
    fn the_highest_fit_steps_below_what_is_taken() {
        let mut storage = storage();
        let mut map = MemoryMap::new(&mut storage);
        map.set(Range::between(0x10_0000, 0x100_0000), TYPE_RAM)
            .unwrap();
        let taken = [
            Range::between(0xf0_0000, 0xff_f000),
            Range::between(0xe0_0000, 0xf0_0000),
        ];
        let all = Range::between(0, u64::MAX);
        assert_eq!(
            map.highest_fit(0x1000, 0x1000, all, &taken),
            Range::new(0xff_f000, 0x1000)
        );
        assert_eq!(
            map.highest_fit(0x2000, 0x1000, all, &taken),
            Range::new(0xdf_e000, 0x2000)
        );
        assert_eq!(map.highest_fit(0xd0_0001, 0x1000, all, &taken), None);
    }

    #[test]
    fn the_lowest_fit_is_aligned_and_inside() {
        let mut storage = storage();
        let mut map = MemoryMap::new(&mut storage);
        map.set(Range::between(0x10_0000, 0x80_0000), TYPE_RAM)
            .unwrap();
        let high = Range::between(0x10_0001, 0x80_0000);
        assert_eq!(
            map.lowest_fit(0x1000, 0x20_0000, high),
            Range::new(0x20_0000, 0x1000)
        );
        assert_eq!(map.lowest_fit(0x60_0001, 0x20_0000, high), None);
    }

    proptest! {
        /// Byte by byte against an array: order, coverage, no overlap, no two mergeable neighbours.
        #[test]
        fn set_and_clear_equal_a_plain_array(
            operations in proptest::collection::vec((0u64..64, 0u64..64, 0u32..4), 0..40)
        ) {
            let mut storage = storage();
            let mut map = MemoryMap::new(&mut storage);
            let mut plain = [0u64; 64];
            for (a, b, kind) in operations {
                let range = Range::between(a, b);
                if kind == 0 {
                    map.clear(range).unwrap();
                } else {
                    map.set(range, kind).unwrap();
                }
                for address in range.start()..range.end() {
                    plain[usize::try_from(address).unwrap()] = u64::from(kind);
                }
            }
            for pair in map.regions().windows(2) {
                prop_assert!(pair[0].end <= pair[1].start);
                prop_assert!(pair[0].end < pair[1].start || pair[0].kind != pair[1].kind);
            }
            let mut seen = [0u64; 64];
            for region in map.regions() {
                prop_assert!(region.start < region.end);
                for address in region.start..region.end {
                    seen[usize::try_from(address).unwrap()] = region.kind;
                }
            }
            prop_assert_eq!(seen, plain);
        }

        /// A window of several regions equals clearing it and setting them one by one.
        #[test]
        fn replace_equals_clear_and_set(
            before in proptest::collection::vec((0u64..64, 0u64..64, 1u32..4), 0..10),
            edges in proptest::collection::btree_set(0u64..64, 2..10),
            kinds in proptest::collection::vec(0u32..4, 10),
        ) {
            let (mut one, mut other) = (storage(), storage());
            let (mut one, mut other) = (MemoryMap::new(&mut one), MemoryMap::new(&mut other));
            for (a, b, kind) in before {
                one.set(Range::between(a, b), kind).unwrap();
                other.set(Range::between(a, b), kind).unwrap();
            }
            let edges: Vec<u64> = edges.into_iter().collect();
            let window = Range::between(edges[0], edges[edges.len() - 1]);
            let pieces: Vec<(Range, u32)> = edges
                .windows(2)
                .map(|pair| Range::between(pair[0], pair[1]))
                .zip(kinds)
                .filter(|(_, kind)| *kind != 0)
                .collect();
            other.clear(window).unwrap();
            let mut with: Vec<Region> = Vec::new();
            for (range, kind) in pieces {
                other.set(range, kind).unwrap();
                match with.last_mut() {
                    Some(last) if last.end == range.start() && last.kind == u64::from(kind) => {
                        last.end = range.end();
                    }
                    _ => with.push(Region::new(range, kind)),
                }
            }
            one.replace(window, &mut with).unwrap();
            prop_assert_eq!(list(&one), list(&other));
        }

        #[test]
        fn a_fit_is_ram_aligned_inside_and_apart(
            size in 1u64..0x3000, shift in 0u32..13,
            obstacles in proptest::collection::vec((0u64..0x8000, 0u64..0x2000), 0..5)
        ) {
            let mut storage = storage();
            let mut map = MemoryMap::new(&mut storage);
            map.set(Range::between(0x100, 0x4000), TYPE_RAM).unwrap();
            map.set(Range::between(0x5000, 0x8000), TYPE_RAM).unwrap();
            let within = Range::between(0x200, 0x7f00);
            let taken: Vec<Range> =
                obstacles.iter().filter_map(|(start, size)| Range::new(*start, *size)).collect();
            if let Some(place) = map.highest_fit(size, 1 << shift, within, &taken) {
                prop_assert!(map.is_ram(place) && within.contains(place));
                prop_assert_eq!(place.start() % (1 << shift), 0);
                prop_assert!(!taken.iter().any(|range| range.overlaps(place)));
            }
        }
    }

    proptest! {
        /// Against a look at every address.
        #[test]
        fn a_fit_is_what_a_plain_search_finds(
            ram in proptest::collection::vec((0u64..64, 0u64..64), 0..5),
            size in 1u64..20, shift in 0u32..4,
            window in (0u64..64, 0u64..64),
            obstacles in proptest::collection::vec((0u64..64, 1u64..10), 0..4),
        ) {
            let mut storage = storage();
            let mut map = MemoryMap::new(&mut storage);
            for (start, end) in ram {
                map.set(Range::between(start, end), TYPE_RAM).unwrap();
            }
            let within = Range::between(window.0, window.1);
            let taken: Vec<Range> =
                obstacles.iter().filter_map(|(start, size)| Range::new(*start, *size)).collect();
            let place = |start: u64| Range::between(start, start + size);
            let fits = |start: &u64| {
                let place = place(*start);
                start.is_multiple_of(1 << shift) && within.contains(place) && map.is_ram(place)
            };
            let free = |start: &u64| !taken.iter().any(|range| range.overlaps(place(*start)));
            prop_assert_eq!(
                map.lowest_fit(size, 1 << shift, within),
                (0..64).find(fits).map(place)
            );
            prop_assert_eq!(
                map.highest_fit(size, 1 << shift, within, &taken),
                (0..64).rev().find(|start| fits(start) && free(start)).map(place)
            );
        }
    }
}
