// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hands out guest-physical memory from the top of a range downwards.

use super::Range;

/// A range from which pieces are cut, highest first.
#[derive(Clone, Copy, Debug)]
pub struct Arena {
    free: Range,
}

impl Arena {
    /// An arena over `free`.
    #[must_use]
    pub const fn new(free: Range) -> Self {
        Self { free }
    }

    /// Cuts off `size` bytes whose start is a multiple of `align` (a power of two); `None` if too
    /// little is left.
    pub fn take(&mut self, size: u64, align: u64) -> Option<Range> {
        let start = self.free.end().checked_sub(size)? & align.wrapping_neg();
        if start < self.free.start() {
            return None;
        }
        self.free = Range::between(self.free.start(), start);
        Range::new(start, size)
    }

    /// What has not been handed out.
    #[must_use]
    pub const fn free(&self) -> Range {
        self.free
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pieces_come_from_the_top_aligned_and_apart() {
        let mut arena = Arena::new(Range::between(0x1000, 0x2000));
        assert_eq!(arena.take(0x10, 0x10), Range::new(0x1ff0, 0x10));
        assert_eq!(arena.take(0x11, 0x10), Range::new(0x1fd0, 0x11));
        assert_eq!(arena.take(1, 0x1000), Range::new(0x1000, 1));
        assert_eq!(arena.take(1, 1), None);
    }

    #[test]
    fn nothing_is_handed_out_below_the_floor() {
        let mut arena = Arena::new(Range::between(0x1000, 0x2000));
        assert_eq!(arena.take(0x1001, 1), None);
        assert_eq!(arena.take(u64::MAX, 1), None);
        assert_eq!(arena.take(0x1000, 1), Range::new(0x1000, 0x1000));
    }

    proptest! {
        /// Every piece is aligned, below the one before and above the floor; one is refused only
        /// where no multiple of its alignment is left.
        #[test]
        fn no_two_pieces_overlap(
            start in 0u64..200, length in 0u64..400,
            pieces in proptest::collection::vec((1u64..90, 0u32..6), 0..12),
        ) {
            let mut arena = Arena::new(Range::between(start, start + length));
            for (size, shift) in pieces {
                let free = arena.free();
                let fits = |at: &u64| at.is_multiple_of(1 << shift) && at + size <= free.end();
                let highest = (free.start()..free.end()).rev().find(fits);
                let piece = arena.take(size, 1 << shift);
                prop_assert_eq!(piece.map(Range::start), highest);
                prop_assert_eq!(arena.free().end(), highest.unwrap_or(free.end()));
                prop_assert_eq!(arena.free().start(), start);
            }
        }
    }
}
