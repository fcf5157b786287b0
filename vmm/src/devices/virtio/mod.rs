// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtio: devices that share queues with their drivers.
//!
//! Spec: Virtual I/O Device (VIRTIO) version 1.2. In: register accesses, notifications, and queues
//! in guest memory, believed by nobody. Out: interrupts, and whatever a device makes.
//!
//! | room | knows |
//! |------|-------|
//! | [`mmio`] | the registers, and how a driver brings a device up |
//! | `legacy` | where the queues of a driver from before version 1 are |
//! | [`queue`] | how to take buffers from a queue, and what a broken one looks like |
//! | [`blk`] | disks, and the images they are made of |
//! | [`console`] | what is printed and typed |
//! | [`net`] | network interfaces, and the taps at the other end |
//! | [`rng`] | random bytes |

pub mod blk;
pub mod console;
mod legacy;
pub mod mmio;
pub mod net;
pub mod queue;
pub mod rng;
#[cfg(test)]
mod test;

use crate::memory::Memory;
use abi::layout::{VIRTIO_MMIO_ADDR, VIRTIO_MMIO_MOST_SLOTS, VIRTIO_MMIO_SIZE, VIRTIO_MMIO_SLOTS};
use queue::{Broken, Queue};
use std::fmt::Debug;
use std::os::fd::BorrowedFd;

/// Feature: both sides follow version 1 of the specification or later, not what came before it.
pub const VERSION_1: u64 = 1 << 32;

/// Which of virtio's two interfaces the registers of a device are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Interface {
    /// That of version 1 and later; its registers are version 2.
    #[default]
    Modern,
    /// The one before, for drivers that know no other; its registers are version 1.
    Legacy,
}

/// What is behind the registers. Processors and the threads of its queues call it at once.
pub trait Device: Debug + Send + Sync {
    /// The kind of device (section 5).
    fn kind(&self) -> u32;

    /// Features of this kind of device; those of all devices are not its own.
    fn features(&self) -> u64 {
        0
    }

    /// Most entries of each of its queues: powers of two.
    fn queue_sizes(&self) -> Vec<u16>;

    /// What has queue `index` served as a notification does, each time that there is something new to
    /// read. It stays the same as long as the device lives.
    fn outside(&self, _index: usize) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Reads its configuration at `offset`, where nothing is zero, as `data` already is.
    fn read_config(&self, _offset: u32, _data: &mut [u8]) {}

    /// Whether a driver that has become ready is to look at the configuration, as if it had changed.
    fn announces_config(&self) -> bool {
        false
    }

    /// Writes its configuration at `offset`.
    fn write_config(&self, _offset: u32, _data: &[u8]) {}

    /// Writes its configuration at `offset` as a legacy driver may, also before it is ready.
    fn write_legacy_config(&self, offset: u32, data: &[u8]) {
        self.write_config(offset, data);
    }

    /// The driver is ready and has agreed to these features: without [`VERSION_1`] it is a legacy
    /// driver. No queue is served yet.
    fn start(&self, _features: u64) {}

    /// Back to power-on. No queue is being served.
    fn reset(&self) {}

    /// Forgets what of queue `index` has ended meanwhile. Gives whether nothing of it is under way any
    /// more, anywhere. The queue gives and takes nothing.
    fn settle(&self, _index: usize) -> bool {
        true
    }

    /// Serves queue `index` after a notification, or when there is something new outside. It ends soon
    /// after the queue has been closed, which gives nothing from then on; what it leaves under way then
    /// is for [`Self::settle`].
    fn serve(&self, index: usize, queue: &mut Queue, memory: &Memory) -> Result<Served, Broken>;
}

/// What became of a notification.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Served {
    /// The driver is to be interrupted.
    pub interrupt: bool,
    /// There is more to serve.
    pub more: bool,
}

/// Where the interrupts of the slots arrive, and so how many slots there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wiring {
    /// At interrupts of ISA's, which the MP tables announce: a machine without ACPI.
    Isa,
    /// At the last pins of the only I/O APIC.
    One,
    /// At all pins of the second I/O APIC.
    Two,
}

impl Wiring {
    /// Number of slots.
    #[must_use]
    pub const fn slots(self) -> u8 {
        match self {
            Self::Isa | Self::One => VIRTIO_MMIO_SLOTS,
            Self::Two => VIRTIO_MMIO_MOST_SLOTS,
        }
    }

    /// Number of I/O APICs that it needs.
    #[must_use]
    pub const fn io_apics(self) -> u8 {
        match self {
            Self::Isa | Self::One => 1,
            Self::Two => 2,
        }
    }

    /// Interrupt of the first slot.
    const fn first(self) -> u32 {
        match self {
            Self::Isa => 5,
            Self::One => 16,
            Self::Two => 24,
        }
    }
}

/// A place for a device: an address and an interrupt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Slot {
    number: u8,
    wiring: Wiring,
}

impl Slot {
    /// The slots of a machine in the order in which QEMU's `microvm` fills them: from the top.
    pub fn all(wiring: Wiring) -> impl Iterator<Item = Self> {
        let numbers = (0..wiring.slots()).rev();
        numbers.map(move |number| Self { number, wiring })
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.number
    }

    /// Guest-physical address of its registers.
    #[must_use]
    pub const fn address(self) -> u64 {
        VIRTIO_MMIO_ADDR + self.number as u64 * VIRTIO_MMIO_SIZE
    }

    /// Its interrupt.
    #[must_use]
    pub const fn interrupt(self) -> u32 {
        self.wiring.first() + self.number as u32
    }
}
