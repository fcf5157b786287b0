// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses for everything in an inventory: pure data.
//!
//! From the last bus to the first each bridge's windows are made as large as what is behind them;
//! then what is on the root bus is laid out in the board's windows, and from the first bus to the
//! last everything learns where it is.

use super::Inventory;
use super::storage::{END, IO, MEMORY, WIDE, bus_of, window};
use crate::memory::Range;
use abi::pci::{BRIDGE_IO_GRANULE, BRIDGE_MEMORY_GRANULE};

/// Where the board lets PCI have addresses.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// I/O ports, best first.
    pub io: &'static [Range],
    /// Memory below 4 GiB.
    pub memory: Range,
}

impl Inventory<'_> {
    /// Gives an address to all that fits. `high` is asked once, and only when something has no room
    /// below 4 GiB that need not lie there: for the window above.
    pub fn place(&mut self, windows: &Windows, high: impl FnOnce() -> Range) {
        let end = self.buses.wrapping_mul(3);
        for index in (0..end).rev() {
            self.size_window(index);
        }
        for range in windows.io {
            self.fill(IO, *range);
        }
        let (rest, _) = self.fill(MEMORY, windows.memory);
        let (_, left) = self.fill(WIDE, rest);
        if left {
            self.fill(WIDE, high());
        }
        for index in 0..end {
            self.settle(index);
        }
    }

    /// Lays out what is in a bridge's window, and puts the window into that of the bus above.
    fn size_window(&mut self, index: u16) {
        let (bus, kind) = bus_of(index);
        let (bus, first) = (*self.bus(bus), self.at(index).first);
        if bus.root != 0 || first == END {
            return;
        }
        let granule = match kind {
            IO => BRIDGE_IO_GRANULE,
            _ => BRIDGE_MEMORY_GRANULE,
        };
        let mut size = 0u64;
        let mut at = first;
        while at != END {
            let resource = self.at(at);
            resource.address = align_up(size, resource.align);
            size = resource.address.saturating_add(resource.size);
            at = resource.next;
        }
        let align = self.at(first).align.max(granule);
        let this = self.at(index);
        (this.size, this.align) = (align_up(size, granule), align);
        let above = self.window_on(bus.parent, kind);
        self.link(above, index);
    }

    /// Lays out in `range` what has no address yet of a kind on the root bus. Returns the rest of
    /// the range, and whether anything is left without an address.
    fn fill(&mut self, kind: u16, range: Range) -> (Range, bool) {
        let (mut free, mut left) = (range.start(), false);
        let mut at = self.at(window(0, kind)).first;
        while at != END {
            let resource = self.at(at);
            at = resource.next;
            if resource.address != 0 {
                continue;
            }
            let start = align_up(free, resource.align);
            let end = start.saturating_add(resource.size);
            if end <= range.end() {
                (resource.address, free) = (start, end);
            } else {
                left = true;
            }
        }
        (Range::between(free, range.end()), left)
    }

    /// Turns offsets in a bridge's window into addresses, if the window has one.
    fn settle(&mut self, index: u16) {
        let (bus, _) = bus_of(index);
        if self.bus(bus).root != 0 {
            return;
        }
        let base = self.at(index).address;
        let mut at = self.at(index).first;
        while at != END {
            let resource = self.at(at);
            resource.address = match base {
                0 => 0,
                base => base.saturating_add(resource.address),
            };
            at = resource.next;
        }
    }
}

/// The next multiple of `align`, a power of two; near the end of the address space one that nothing
/// fits behind.
const fn align_up(address: u64, align: u64) -> u64 {
    let mask = align.wrapping_sub(1);
    address.saturating_add(mask) & !mask
}
