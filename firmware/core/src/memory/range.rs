// SPDX-License-Identifier: MIT OR Apache-2.0
//! A range of guest-physical addresses.

use crate::words::{Speaker, Words, display, say};

/// The guest-physical addresses from `start` up to, not including, `end`. Never wraps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Range {
    start: u64,
    end: u64,
}

impl Range {
    /// The range of `size` bytes at `start`; `None` if it would pass the end of the address space.
    #[must_use]
    pub const fn new(start: u64, size: u64) -> Option<Self> {
        match start.checked_add(size) {
            Some(end) => Some(Self { start, end }),
            None => None,
        }
    }

    /// The range between two addresses; empty if `end` is not above `start`.
    #[must_use]
    pub const fn between(start: u64, end: u64) -> Self {
        Self {
            start,
            end: if end > start { end } else { start },
        }
    }

    /// First address.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// First address behind the range.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.end
    }

    /// Length in bytes.
    #[must_use]
    pub const fn size(self) -> u64 {
        self.end.wrapping_sub(self.start) // start <= end by construction
    }

    /// Whether the range holds no address.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether both ranges have an address in common.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        !self.is_empty() && !other.is_empty() && self.start < other.end && other.start < self.end
    }

    /// Whether all of `other` lies inside.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

impl Words for Range {
    fn say(&self, to: &mut Speaker<'_>) {
        say!(to, "#..#", self.start, self.end);
    }
}

display!(Range);

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against sets of addresses.
        #[test]
        fn ranges_are_sets_of_addresses(
            a in 0u64..20, b in 0u64..20, c in 0u64..20, d in 0u64..20,
        ) {
            let (one, other) = (Range::between(a, b), Range::between(c, d));
            let common = (a..b).any(|address| (c..d).contains(&address));
            prop_assert_eq!(one.overlaps(other), common);
            prop_assert_eq!(one.is_empty(), (a..b).is_empty());
            prop_assert_eq!(one.size(), (a..b).count() as u64);
            if !other.is_empty() {
                let all = (c..d).all(|address| (a..b).contains(&address));
                prop_assert_eq!(one.contains(other), all);
            }
        }

        #[test]
        fn a_range_never_wraps(start in any::<u64>(), size in any::<u64>()) {
            let end = u128::from(start) + u128::from(size);
            let range = Range::new(start, size);
            prop_assert_eq!(range.is_some(), end <= u128::from(u64::MAX));
            let told = range.map(|range| (range.start(), range.size()));
            prop_assert!(told.is_none_or(|told| told == (start, size)));
        }
    }
}
