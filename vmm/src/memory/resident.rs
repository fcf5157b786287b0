// SPDX-License-Identifier: MIT OR Apache-2.0
//! How much of guest memory the host has provided so far.
//!
//! Spec: mincore(2). In: ranges of guest memory. Out: bytes. A page that was only read counts, too.

use super::{Memory, Range};
use std::io;

/// What mincore counts in.
const PAGE: usize = 4096;
/// Pages asked for at once.
const PAGES: usize = 4096;

impl Memory {
    /// Bytes of `ranges` that the host has provided, in whole pages. What is not memory counts nothing.
    pub fn resident(&self, ranges: &[Range]) -> io::Result<u64> {
        let mut pages = 0;
        for range in ranges {
            for slot in self.slots() {
                let start = slot.guest.max(range.address);
                let end = (slot.guest + slot.size).min(range.address.saturating_add(range.length));
                if start < end {
                    pages += provided(slot.host + (start - slot.guest), end - start)?;
                }
            }
        }
        Ok(pages * PAGE as u64)
    }
}

/// Pages that the host has provided of `length` bytes from host address `start` on, where a page
/// begins.
fn provided(start: u64, length: u64) -> io::Result<u64> {
    let mut states = [0; PAGES];
    let mut count = 0;
    let mut done = 0;
    while done < length {
        let step = (length - done).min((PAGES * PAGE) as u64);
        let size = usize::try_from(step).unwrap_or(0);
        let address = usize::try_from(start + done).unwrap_or(usize::MAX);
        // SAFETY: the call changes no memory but `states`, which has a byte for each page of `size`
        // bytes, since `size` is at most `PAGES` pages. What it is asked about need not be mapped.
        let result = unsafe {
            libc::mincore(
                std::ptr::without_provenance_mut(address),
                size,
                states.as_mut_ptr(),
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        let asked = states.get(..size.div_ceil(PAGE)).unwrap_or_default();
        count += asked.iter().filter(|state| **state & 1 != 0).count() as u64;
        done += step;
    }
    Ok(count)
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::memory::{Backing, Layout};

    #[test]
    fn only_what_was_touched_is_there() {
        let layout = Layout::new(64 << 20, 64 << 10);
        let memory = Memory::for_machine(&layout, Backing::default()).unwrap();
        let all = [Range {
            address: 0,
            length: 64 << 20,
        }];
        let upper = [Range {
            address: 32 << 20,
            length: 32 << 20,
        }];
        let before = memory.resident(&all).unwrap();
        for page in [0, 5, 9000] {
            memory.write(page * PAGE as u64, b"x").unwrap();
        }
        let added = memory.resident(&all).unwrap() - before;
        assert_eq!(added, 3 * PAGE as u64);
        assert_eq!(memory.resident(&upper).unwrap(), PAGE as u64);
    }
}
