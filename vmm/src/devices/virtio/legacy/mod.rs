// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers in which a legacy driver says where its queues are.
//!
//! Spec: VIRTIO 1.2, section 4.2.4 (legacy interface), and section 2.7.2 for where the parts of a
//! queue lie: all behind each other, from the page that the driver names. In: what the driver
//! writes. Out: a queue's [`Place`], of which only the arithmetic is checked here.

#[cfg(test)]
mod test;

use super::queue::{Broken, Place};

/// Bytes of the driver's pages.
pub const GUEST_PAGE_SIZE: u32 = 0x28;
/// What the address of the selected queue's used ring is a multiple of.
pub const QUEUE_ALIGN: u32 = 0x3c;
/// Number of the selected queue's first page; 0 while it is not in use.
pub const QUEUE_PFN: u32 = 0x40;

/// Bytes of a descriptor.
const DESCRIPTOR: u64 = 16;
/// Used rings are aligned like this unless the driver says otherwise, as QEMU has it.
const USUAL_ALIGN: u32 = 4096;

/// A queue, as its driver describes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pages {
    /// Entries.
    pub size: u32,
    /// What the address of its used ring is a multiple of: bytes.
    pub align: u32,
    /// Number of its first page; 0 while it is not in use.
    pub first: u32,
}

impl Pages {
    /// A queue of which the driver has said nothing: of as many entries as it can have.
    pub fn new(most: u16) -> Self {
        Self {
            size: most.into(),
            align: USUAL_ALIGN,
            first: 0,
        }
    }

    /// Where its parts are, with pages of `page_size` bytes. That they are memory is not said.
    pub fn place(self, page_size: u32) -> Result<Place, Broken> {
        let size = u64::from(u16::try_from(self.size).map_err(|_| Broken::Setup)?);
        if !page_size.is_power_of_two() || !self.align.is_power_of_two() {
            return Err(Broken::Setup);
        }
        // Below 2^63, so that nothing of what follows wraps.
        let descriptors = u64::from(self.first) * u64::from(page_size);
        let available = descriptors + DESCRIPTOR * size;
        // Flags, index, the entries and the event.
        let end = available + 2 * (3 + size);
        let used = end.next_multiple_of(self.align.into());
        Ok(Place {
            size: self.size,
            descriptors,
            available,
            used,
        })
    }
}
