// SPDX-License-Identifier: MIT OR Apache-2.0
//! A split virtqueue as its device sees it.
//!
//! Spec: VIRTIO 1.2, section 2.7; the rings are `virtio-queue`'s. In: what a driver wrote to
//! memory. Out: whole chains of buffers that are all memory, or [`Broken`].
//!
//! `virtio-queue` ends a chain quietly where it breaks off: in a loop, outside its table, in a table
//! inside a table. Such a chain shows in that it is empty or that its last part announces another.

use crate::memory::{Memory, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use virtio_queue::{Queue as Rings, QueueOwnedT, QueueT};

/// Flag of the available ring `VIRTQ_AVAIL_F_NO_INTERRUPT`: the driver does not want any.
const NO_INTERRUPT: u16 = 1;
/// Bytes of either ring before its first entry.
const RING_HEADER: u64 = 4;
/// Bytes of an entry of the used ring.
const USED_ENTRY: u64 = 8;

/// The driver broke the rules; only a reset brings the device back.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Broken {
    /// More entries available than the queue has.
    #[error("the available ring is ahead by more than the queue's size")]
    Available,
    /// A chain that is empty, does not end, or leaves its table.
    #[error("a descriptor chain is not one")]
    Chain,
    /// Not all of a ring or a buffer is memory.
    #[error("a ring or a buffer is not all memory")]
    Memory,
    /// A buffer of a direction or size that the device has no use for.
    #[error("a buffer is of no use to the device")]
    Buffer,
    /// A queue's size or place is impossible.
    #[error("a queue's size or place is impossible")]
    Setup,
}

/// Where a queue lies, as its driver says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// Entries.
    pub size: u32,
    /// Guest-physical address of the descriptor table.
    pub descriptors: u64,
    /// Guest-physical address of the available ring.
    pub available: u64,
    /// Guest-physical address of the used ring.
    pub used: u64,
}

/// One part of a chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Part {
    /// Guest-physical address. All of the part is memory.
    pub address: u64,
    /// Bytes.
    pub length: u32,
    /// Whether the device writes it; otherwise it reads it.
    pub writable: bool,
}

/// A chain of buffers that the driver has made available.
#[derive(Debug)]
pub struct Chain {
    head: u16,
    /// Its parts in their order; at least one.
    pub parts: Vec<Part>,
}

impl Chain {
    /// What the device reads, and behind it what it writes: "The driver MUST place any
    /// device-writable descriptor elements after any device-readable" ones (section 2.7.4.2).
    pub fn split(&self) -> Result<(Vec<Range>, Vec<Range>), Broken> {
        let border = self.parts.iter().position(|part| part.writable);
        let (readable, writable) = self.parts.split_at(border.unwrap_or(self.parts.len()));
        if !writable.iter().all(|part| part.writable) {
            return Err(Broken::Chain);
        }
        let ranges = |parts: &[Part]| {
            let full = parts.iter().filter(|part| part.length != 0);
            full.map(|part| Range {
                address: part.address,
                length: part.length.into(),
            })
            .collect()
        };
        Ok((ranges(readable), ranges(writable)))
    }
}

/// Takes the first bytes off what the device reads, however they are cut into parts.
pub fn take_front(
    ranges: &mut Vec<Range>,
    bytes: &mut [u8],
    memory: &Memory,
) -> Result<(), Broken> {
    let mut wanted = bytes;
    while !wanted.is_empty() {
        let Some(first) = ranges.first_mut() else {
            return Err(Broken::Buffer);
        };
        let length = usize::try_from(first.length).unwrap_or(usize::MAX);
        let (now, later) = wanted.split_at_mut(length.min(wanted.len()));
        let read = memory.read(first.address, now);
        read.map_err(|_| Broken::Memory)?;
        first.address += now.len() as u64;
        first.length -= now.len() as u64;
        if first.length == 0 {
            ranges.remove(0);
        }
        wanted = later;
    }
    Ok(())
}

/// Takes the last byte off what the device writes. Gives its address.
pub fn take_last(ranges: &mut Vec<Range>) -> Result<u64, Broken> {
    let last = ranges.last_mut().ok_or(Broken::Buffer)?;
    last.length -= 1;
    let address = last.address + last.length;
    if last.length == 0 {
        ranges.pop();
    }
    Ok(address)
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    rings: Rings,
    /// Chains given back, modulo 2^16, when the driver's wish for an interrupt was last looked up.
    told: u16,
    closed: Arc<AtomicBool>,
}

impl Queue {
    /// A queue of at most `most` entries, a power of two, that its driver has not set up. It gives
    /// nothing while `closed` is set.
    #[must_use]
    pub fn new(most: u16, closed: Arc<AtomicBool>) -> Self {
        let rings = Rings::new(most).unwrap_or_default();
        Self {
            rings,
            told: 0,
            closed,
        }
    }

    /// Whether it may give something.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_ready() && !self.closed.load(Ordering::SeqCst)
    }

    /// Most entries.
    #[must_use]
    pub fn most(&self) -> u16 {
        self.rings.max_size()
    }

    /// Whether it may be used.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.rings.ready()
    }

    /// As at power-on.
    pub fn reset(&mut self) {
        self.rings.reset();
        self.told = 0;
    }

    /// Entries, as the driver has set it up.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.rings.size()
    }

    /// Begins to use what lies at `place`; with `events` the rings say when to notify.
    pub fn start(&mut self, place: &Place, events: bool, memory: &Memory) -> Result<(), Broken> {
        let size = u16::try_from(place.size).map_err(|_| Broken::Setup)?;
        self.reset();
        self.rings.set_size(size);
        let halves = |address: u64| {
            let bytes = address.to_le_bytes();
            let half = |i: usize| {
                let word = [bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]];
                Some(u32::from_le_bytes(word))
            };
            (half(0), half(4))
        };
        let (low, high) = halves(place.descriptors);
        self.rings.set_desc_table_address(low, high);
        let (low, high) = halves(place.available);
        self.rings.set_avail_ring_address(low, high);
        let (low, high) = halves(place.used);
        self.rings.set_used_ring_address(low, high);
        self.rings.set_event_idx(events);
        self.rings.set_ready(true);
        // What is not a possible value was not taken.
        let taken = self.rings.size() == size
            && self.rings.desc_table() == place.descriptors
            && self.rings.avail_ring() == place.available
            && self.rings.used_ring() == place.used;
        if taken && self.rings.is_valid(memory.view()) {
            return Ok(());
        }
        self.rings.reset();
        Err(Broken::Setup)
    }

    /// From now on, with `events`, the rings say when to notify.
    pub fn set_events(&mut self, events: bool) {
        self.rings.set_event_idx(events);
    }

    /// The next chain, if the driver has made one available.
    pub fn take(&mut self, memory: &Memory) -> Result<Option<Chain>, Broken> {
        if !self.is_open() {
            return Ok(None);
        }
        let mut available = self
            .rings
            .iter(memory.view())
            .map_err(|error| match error {
                virtio_queue::Error::InvalidAvailRingIndex => Broken::Available,
                _ => Broken::Memory,
            })?;
        let Some(mut chain) = available.next() else {
            return Ok(None);
        };
        let head = chain.head_index();
        let mut parts = Vec::new();
        let mut ended = false;
        for descriptor in &mut chain {
            let part = Part {
                address: descriptor.addr().0,
                length: descriptor.len(),
                writable: descriptor.is_write_only(),
            };
            if !memory.contains(part.address, part.length.into()) {
                return Err(Broken::Memory);
            }
            ended = !descriptor.has_next();
            parts.push(part);
        }
        if !ended {
            return Err(Broken::Chain);
        }
        Ok(Some(Chain { head, parts }))
    }

    /// Whether the driver has made more available than was taken.
    pub fn has_more(&self, memory: &Memory) -> Result<bool, Broken> {
        let available = self.rings.avail_idx(memory.view(), Ordering::Acquire);
        let available = available.map_err(|_| Broken::Memory)?;
        Ok(available.0 != self.rings.next_avail())
    }

    /// How many chains were taken, modulo 2^16.
    #[must_use]
    pub fn position(&self) -> u16 {
        self.rings.next_avail()
    }

    /// How many chains were given back, modulo 2^16.
    #[must_use]
    pub fn given_back(&self) -> u16 {
        self.rings.next_used()
    }

    /// Leaves the chains that were taken since [`Self::position`] said `position`, none of which was
    /// given back, to be taken again.
    pub fn rewind(&mut self, position: u16) {
        self.rings.set_next_avail(position);
    }

    /// Gives a chain back, into which `written` bytes were written.
    pub fn give_back(
        &mut self,
        chain: &Chain,
        written: u32,
        memory: &Memory,
    ) -> Result<(), Broken> {
        let used = self.rings.add_used(memory.view(), chain.head, written);
        used.map_err(|_| Broken::Memory)
    }

    /// Gives back the chains that hold one thing together, each with the bytes written into it: the
    /// driver sees them all, or none yet.
    pub fn give_back_all(
        &mut self,
        chains: &[(Chain, u32)],
        memory: &Memory,
    ) -> Result<(), Broken> {
        let Some(((last, written), others)) = chains.split_last() else {
            return Ok(());
        };
        // The last one publishes what is before it in the ring.
        let mut next = self.rings.next_used();
        for (chain, written) in others {
            let index = u64::from(next % self.rings.size().max(1));
            let place = self.rings.used_ring() + RING_HEADER + index * USED_ENTRY;
            let entry = u64::from(*written) << 32 | u64::from(chain.head);
            let placed = memory.write(place, &entry.to_le_bytes());
            placed.map_err(|_| Broken::Memory)?;
            next = next.wrapping_add(1);
        }
        self.rings.set_next_used(next);
        self.give_back(last, *written, memory)
    }

    /// Asks for a notification of what becomes available from now on. Gives whether something has
    /// become available meanwhile.
    pub fn ask_for_notification(&mut self, memory: &Memory) -> Result<bool, Broken> {
        let more = self.rings.enable_notification(memory.view());
        more.map_err(|_| Broken::Memory)
    }

    /// Whether the driver wants to know of what was given back since the last call (sections 2.7.7
    /// and 2.7.10).
    pub fn wants_interrupt(&mut self, memory: &Memory) -> Result<bool, Broken> {
        let used = self.rings.next_used();
        let before = std::mem::replace(&mut self.told, used);
        let ring = self.rings.avail_ring();
        let load = |place| memory.load(place).map_err(|_| Broken::Memory);
        // What was given back is there before the driver's wish is read.
        fence(Ordering::SeqCst);
        if !self.rings.event_idx_enabled() {
            return Ok(load(ring)? & NO_INTERRUPT == 0);
        }
        let event = load(ring + RING_HEADER + 2 * u64::from(self.rings.size()))?;
        let since = used.wrapping_sub(before);
        Ok(used.wrapping_sub(event).wrapping_sub(1) < since)
    }
}
