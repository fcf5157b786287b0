// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hole below 4 GiB: where devices are, and no RAM.

use super::Range;
use abi::layout::RAM_ABOVE_4G_START;

/// The largest hole: the last GiB.
const LARGEST: u64 = 1 << 30;

/// The hole that ends at 4 GiB: at most a GiB, and the largest power of two that holds no RAM, so
/// that one memory type range register covers it.
#[must_use]
pub fn hole_below_4g(has_ram: impl Fn(Range) -> bool) -> Range {
    let mut size = LARGEST;
    loop {
        let start = RAM_ABOVE_4G_START.wrapping_sub(size);
        let hole = Range::between(start, RAM_ABOVE_4G_START);
        if hole.is_empty() || !has_ram(hole) {
            return hole;
        }
        size = size.wrapping_shr(1);
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// One register covers it, no RAM is in it, and twice its size would have RAM or be too
        /// large.
        #[test]
        fn the_hole_is_the_largest_without_ram(start in 0u64..1 << 32, bits in 0u32..33) {
            let ram = Range::between(start, (start + (1 << bits)).min(RAM_ABOVE_4G_START));
            let hole = hole_below_4g(|range| range.overlaps(ram));
            prop_assert_eq!(hole.end(), RAM_ABOVE_4G_START);
            prop_assert!(!hole.overlaps(ram));
            prop_assert!(hole.is_empty() || hole.size().is_power_of_two());
            let next = (hole.size() * 2).max(1);
            let larger = Range::between(RAM_ABOVE_4G_START - next, RAM_ABOVE_4G_START);
            prop_assert!(next > LARGEST || larger.overlaps(ram));
        }
    }
}
