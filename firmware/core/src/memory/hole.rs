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
