// SPDX-License-Identifier: MIT OR Apache-2.0
//! The entropy device: fills the driver's buffers with random bytes of the host.
//!
//! Spec: VIRTIO 1.2, section 5.4. It has no configuration and one queue.

use super::queue::{Broken, Chain, Queue};
use super::{Device, Served};
use crate::devices::bus::lock;
use crate::memory::Memory;
use std::io::Read;
use std::sync::Mutex;

/// Its kind.
const KIND: u32 = 4;
/// Most entries of its queue.
const ENTRIES: u16 = 64;
/// Most bytes that one chain is given. The rest of a larger buffer stays as it is, which the
/// device is free to do.
const MOST: usize = 4096;

/// Where random bytes come from.
pub type Source = Box<dyn Read + Send>;

/// The device.
pub struct Rng {
    source: Mutex<Source>,
}

impl std::fmt::Debug for Rng {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rng").finish_non_exhaustive()
    }
}

impl Rng {
    /// A device that takes its bytes from `source`.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self {
            source: Mutex::new(source),
        }
    }

    /// Fills a chain as far as it goes. Gives the number of bytes.
    fn fill(&self, chain: &Chain, memory: &Memory) -> Result<u32, Broken> {
        let mut bytes = [0; MOST];
        let mut written = 0;
        for part in &chain.parts {
            if !part.writable {
                return Err(Broken::Buffer);
            }
            let rest = MOST - written;
            let length = rest.min(usize::try_from(part.length).unwrap_or(rest));
            let bytes = bytes.get_mut(..length).unwrap_or_default();
            // The host's source does not fail; if it did, less is given.
            if lock(&self.source).read_exact(bytes).is_err() {
                break;
            }
            let placed = memory.write(part.address, bytes);
            placed.map_err(|_| Broken::Memory)?;
            written += length;
        }
        // "The device MUST place one or more random bytes into the buffer."
        let total = u32::try_from(written).unwrap_or(0);
        if total == 0 {
            return Err(Broken::Buffer);
        }
        Ok(total)
    }
}

impl Device for Rng {
    fn kind(&self) -> u32 {
        KIND
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![ENTRIES]
    }

    fn serve(&self, _index: usize, queue: &mut Queue, memory: &Memory) -> Result<Served, Broken> {
        let mut used = false;
        for _ in 0..queue.most() {
            let Some(chain) = queue.take(memory)? else {
                break;
            };
            let written = self.fill(&chain, memory)?;
            queue.give_back(&chain, written, memory)?;
            used = true;
        }
        Ok(Served {
            more: queue.ask_for_notification(memory)?,
            interrupt: used && queue.wants_interrupt(memory)?,
        })
    }
}
