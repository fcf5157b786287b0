// SPDX-License-Identifier: MIT OR Apache-2.0
//! Buses, and what the functions on them need, in lent memory.

use abi::pci::MAX_BUSES;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What an address is for: I/O ports.
pub const IO: u16 = 0;
/// Memory below 4 GiB.
pub const MEMORY: u16 = 1;
/// Memory that may lie above 4 GiB: with 64-bit addresses, and behind bridges prefetchable.
pub const WIDE: u16 = 2;
/// How many kinds there are.
const KINDS: u16 = 3;

/// Windows and BARs; a power of two.
const RESOURCES: u16 = 4096;
/// Every bus has a window of each kind, in this order; the BARs are behind them.
pub const FIRST_BAR: u16 = MAX_BUSES * KINDS;
/// The most BARs that get an address. A function whose BARs might not fit is not asked for them.
#[cfg(test)]
pub const MAX_BARS: u16 = RESOURCES - FIRST_BAR;
/// More BARs than a function has.
const BARS_PER_FUNCTION: u16 = 8;
/// The end of a list: the first window, which is in none.
pub const END: u16 = 0;

/// The window of a kind to what is on a bus.
pub const fn window(bus: u8, kind: u16) -> u16 {
    (bus as u16).wrapping_mul(KINDS).wrapping_add(kind)
}

/// The bus and the kind of a window.
pub const fn bus_of(window: u16) -> (u8, u16) {
    let [bus, _] = (window / KINDS).to_le_bytes();
    (bus, window % KINDS)
}

/// A BAR, or the window to what is on a bus: that of the bridge above, or the board's.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Resource {
    /// Bytes it needs; 0 for a BAR that makes no sense.
    pub size: u64,
    /// Multiple that its address has to be: a power of two.
    pub align: u64,
    /// Its address; 0 while or where it has none. Behind a bridge that has none yet: its offset
    /// from the start of the bridge's window.
    pub address: u64,
    /// Next in its window, of smaller or the same alignment.
    pub next: u16,
    /// First in this window.
    pub first: u16,
    /// The function a BAR belongs to.
    pub function: u16,
    /// Its register.
    pub register: u8,
    /// [`Resource::IO_PORTS`] and so on.
    pub flags: u8,
}

impl Resource {
    /// It is an I/O BAR.
    pub const IO_PORTS: u8 = 1 << 0;
    /// Its address has 64 bits, the upper ones in the next register.
    pub const TWO_REGISTERS: u8 = 1 << 1;
    /// It is an expansion ROM, which has an enable bit of its own.
    pub const ROM: u8 = 1 << 2;

    const NONE: Self = Self {
        size: 0,
        align: 0,
        address: 0,
        next: END,
        first: END,
        function: 0,
        register: 0,
        flags: 0,
    };
}

/// A bus and how the walk stands on it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Bus {
    /// The bridge above.
    pub bridge: u16,
    /// Device and function that come next.
    pub next: u16,
    /// Device and function that come no more.
    pub end: u16,
    /// Its number.
    pub number: u8,
    /// Index of the bus above.
    pub parent: u8,
    /// 1 when there is no bridge above.
    pub root: u8,
    /// By how many pins the interrupts of the bridge above are turned.
    pub turn: u8,
    /// 1 when every bridge above has a 64-bit prefetchable window.
    pub wide: u8,
    /// 1 when any function is here.
    pub inhabited: u8,
}

/// What an inventory lives in; what it holds beforehand does not matter.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Storage {
    resources: [Resource; RESOURCES as usize],
    buses: [Bus; MAX_BUSES as usize],
    // For an index outside, of which there is none.
    spare: Resource,
    spare_bus: Bus,
    /// Behind the last BAR, once the inventory has left.
    bars_end: u16,
    padding: u16,
}

impl Storage {
    /// The BARs of the inventory that has been here, in the order in which they were found.
    pub fn bars(&self) -> &[Resource] {
        let bars = usize::from(FIRST_BAR)..usize::from(self.bars_end);
        self.resources.get(bars).unwrap_or_default()
    }
}

/// Everything that is on the buses.
#[derive(Debug)]
pub struct Inventory<'a> {
    storage: &'a mut Storage,
    /// Buses known so far; one further down comes after the one above it.
    pub(super) buses: u16,
    /// Behind the last BAR.
    pub(super) bars_end: u16,
}

impl<'a> Inventory<'a> {
    /// Nothing yet.
    pub(super) const fn new(storage: &'a mut Storage) -> Self {
        Self {
            storage,
            buses: 0,
            bars_end: FIRST_BAR,
        }
    }

    /// Leaves what it has found to its storage.
    pub const fn leave(self) {
        self.storage.bars_end = self.bars_end;
    }

    pub(super) fn bus(&mut self, index: u8) -> &mut Bus {
        // There are as many as a byte can tell apart.
        match self.storage.buses.get_mut(usize::from(index)) {
            Some(bus) => bus,
            None => &mut self.storage.spare_bus,
        }
    }

    pub(super) fn at(&mut self, index: u16) -> &mut Resource {
        let index = usize::from(index % RESOURCES);
        match self.storage.resources.get_mut(index) {
            Some(resource) => resource,
            None => &mut self.storage.spare,
        }
    }

    /// The window of a kind to what is on a bus. All roots share one address space.
    pub(super) fn window_on(&mut self, bus: u8, kind: u16) -> u16 {
        let bus = if self.bus(bus).root == 0 { bus } else { 0 };
        window(bus, kind)
    }

    /// Whether the BARs of one more function fit.
    pub(super) const fn has_room(&self) -> bool {
        self.bars_end <= RESOURCES - BARS_PER_FUNCTION
    }

    /// Adds a bus; `None` when all numbers are in use.
    pub(super) fn add_bus(&mut self, bus: Bus) -> Option<u8> {
        let index = u8::try_from(self.buses).ok()?;
        *self.bus(index) = bus;
        for kind in 0..KINDS {
            *self.at(window(index, kind)) = Resource::NONE;
        }
        self.buses = self.buses.wrapping_add(1);
        Some(index)
    }

    /// Adds a BAR to a window; one that makes no sense to none.
    pub(super) fn add(&mut self, window: u16, bar: Resource) {
        let index = self.bars_end;
        self.bars_end = index.wrapping_add(1);
        *self.at(index) = bar;
        if bar.size != 0 {
            self.link(window, index);
        }
    }

    /// Puts a resource into a window. Lists are sorted, largest alignment first, so that laid out
    /// in their order nothing is lost between BARs. BARs arrive from the first to the last, windows
    /// from the last to the first: among equals the first stay first.
    pub(super) fn link(&mut self, window: u16, index: u16) {
        let mut least = self.at(index).align;
        if index < FIRST_BAR {
            least = least.saturating_add(1);
        }
        let (mut before, mut behind) = (END, self.at(window).first);
        while behind != END && self.at(behind).align >= least {
            (before, behind) = (behind, self.at(behind).next);
        }
        self.at(index).next = behind;
        match before {
            END => self.at(window).first = index,
            before => self.at(before).next = index,
        }
    }
}
