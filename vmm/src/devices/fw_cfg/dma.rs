// SPDX-License-Identifier: MIT OR Apache-2.0
//! The DMA half of `fw_cfg`: an address register and one operation at a time.
//!
//! Spec: QEMU `docs/specs/fw_cfg.rst`, section "DMA Interface". Operations complete before the
//! write that starts them returns. An operation whose memory is not all there writes nothing.

use super::Selection;
use super::items::Content;
use super::tally::Operation;
use crate::memory::{Error, Memory};
use abi::fw_cfg::{DmaControl, DmaDescriptor, Key};
use zerocopy::FromBytes;

/// The DMA interface's own state.
#[derive(Debug)]
pub(super) struct Dma {
    memory: Memory,
    /// Descriptor address, latched by the upper half, zero after every operation.
    address: u64,
}

impl Dma {
    pub(super) fn new(memory: Memory) -> Self {
        Self { memory, address: 0 }
    }

    pub(super) fn latch_high(&mut self, high: u32) {
        self.address = u64::from(high) << 32;
    }

    /// Takes the latched address, completed by its lower half.
    pub(super) fn take_address(&mut self, low: u32) -> u64 {
        std::mem::take(&mut self.address) | u64::from(low)
    }

    pub(super) fn reset(&mut self) {
        self.address = 0;
    }

    /// Performs the operation described at `address` and writes back how it went. Gives what it was.
    ///
    /// The returned error is the host's, for the VMM to report; the guest sees `ERROR`.
    pub(super) fn run(
        &self,
        address: u64,
        items: &[(Key, Content)],
        selection: &mut Selection,
    ) -> (Operation, Result<(), Error>) {
        let mut raw = [0; size_of::<DmaDescriptor>()];
        let descriptor = self.memory.read(address, &mut raw).ok();
        // As many bytes as the structure has were read.
        let descriptor = descriptor.and_then(|()| DmaDescriptor::read_from_bytes(&raw).ok());
        let result = match &descriptor {
            Some(descriptor) => self.transfer(descriptor, items, selection),
            None => Outcome::Failed,
        };
        let operation = operation(descriptor.as_ref(), &result);
        let status = match result {
            Outcome::Done => DmaControl::empty(),
            Outcome::Failed | Outcome::HostFailed(_) => DmaControl::ERROR,
        };
        // The status goes into the first field. Where even that is no memory, nobody can be told.
        let _ = self.memory.write(address, &status.bits().to_be_bytes());
        match result {
            Outcome::HostFailed(error) => (operation, Err(error)),
            Outcome::Done | Outcome::Failed => (operation, Ok(())),
        }
    }

    fn transfer(
        &self,
        descriptor: &DmaDescriptor,
        items: &[(Key, Content)],
        selection: &mut Selection,
    ) -> Outcome {
        let word = descriptor.control.get();
        let control = DmaControl::from_bits_truncate(word);
        if control.contains(DmaControl::SELECT) {
            *selection = Selection::of(Key((word >> 16) as u16), items);
        }
        let length = descriptor.length.get();
        // READ wins over WRITE, WRITE over SKIP, as in QEMU.
        if control.contains(DmaControl::READ) {
            self.read(descriptor.address.get(), length, items, selection)
        } else if control.contains(DmaControl::WRITE) {
            // No item of ours can be written.
            if length == 0 {
                Outcome::Done
            } else {
                Outcome::Failed
            }
        } else {
            if control.contains(DmaControl::SKIP) {
                selection.advance(length, items);
            }
            Outcome::Done
        }
    }

    fn read(
        &self,
        address: u64,
        length: u32,
        items: &[(Key, Content)],
        selection: &mut Selection,
    ) -> Outcome {
        if !self.memory.contains(address, length.into()) {
            return Outcome::Failed;
        }
        let item = selection.item(items);
        let offset = selection.offset();
        let rest = item.map_or(0, |item| item.size().saturating_sub(offset));
        let real = rest.min(length);
        let copied = match item {
            Some(content) if real > 0 => content.put(&self.memory, address, offset, real),
            _ => Ok(()),
        };
        let filled = copied.and_then(|()| {
            self.memory
                .zero(address + u64::from(real), u64::from(length - real))
        });
        match filled {
            Ok(()) => {
                selection.advance(length, items);
                Outcome::Done
            }
            Err(error @ Error::File { .. }) => Outcome::HostFailed(error),
            Err(_) => Outcome::Failed,
        }
    }
}

/// What was done, for who counts.
fn operation(descriptor: Option<&DmaDescriptor>, outcome: &Outcome) -> Operation {
    let Some(descriptor) = descriptor.filter(|_| matches!(outcome, Outcome::Done)) else {
        return Operation {
            verb: "fail at",
            copied: 0,
        };
    };
    let control = DmaControl::from_bits_truncate(descriptor.control.get());
    let (verb, copied) = if control.contains(DmaControl::READ) {
        ("read", descriptor.length.get())
    } else if control.contains(DmaControl::WRITE) {
        ("write", 0)
    } else if control.contains(DmaControl::SKIP) {
        ("skip in", 0)
    } else {
        ("select", 0)
    };
    Operation { verb, copied }
}

enum Outcome {
    Done,
    Failed,
    HostFailed(Error),
}
