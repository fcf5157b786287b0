// SPDX-License-Identifier: MIT OR Apache-2.0
//! The console device: a port whose far end is the host's.
//!
//! Spec: VIRTIO 1.2, section 5.3, with one port. In: bytes from the far end, which wait here until
//! the driver has buffers for them, and the far end's size. Out: what the driver prints, of which a
//! bounded part waits here for the far end. Neither a processor nor a queue ever waits for the far
//! end: where there is no more room, the driver's buffers stay with the device.

#[cfg(test)]
mod test;

use super::mmio::Transport;
use super::queue::{Broken, Chain, Queue, take_front};
use super::{Device, Served};
use crate::devices::bus::lock;
use crate::memory::{Memory, Range};
use abi::virtio::console::{Config, DEVICE_ID, F_SIZE, RECEIVE, TRANSMIT};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// Most entries of a queue.
const ENTRIES: u16 = 64;

/// Input bytes that may wait for the guest before [`Wire::feed`] blocks.
const BACKLOG: usize = 64 << 10;

/// Output bytes that may wait for the far end.
const ROOM: usize = 64 << 10;

/// How many characters the far end shows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Size {
    /// Of a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

impl From<Size> for u32 {
    fn from(size: Size) -> Self {
        Self::from(size.columns) | Self::from(size.rows) << 16
    }
}

impl From<u32> for Size {
    fn from(packed: u32) -> Self {
        let [a, b, c, d] = packed.to_le_bytes();
        Self {
            columns: u16::from_le_bytes([a, b]),
            rows: u16::from_le_bytes([c, d]),
        }
    }
}

/// The device.
#[derive(Debug)]
pub struct Console {
    /// In one piece, so that it is never half of one and half of another.
    size: Option<AtomicU32>,
    input: Mutex<VecDeque<u8>>,
    /// There is room for input.
    read: Condvar,
    output: Mutex<Output>,
    /// There is output, or it has left.
    printed: Condvar,
    /// A message of which only the beginning has found room.
    begun: Mutex<Option<Message>>,
    /// Where to note when the driver first printed something, if that matters.
    first: Option<Arc<OnceLock<Instant>>>,
}

/// What is on its way to the far end.
#[derive(Debug, Default)]
struct Output {
    waiting: Vec<u8>,
    /// What waited before is being written.
    leaving: bool,
    /// The transmit queue is to be served when there is room again.
    stalled: bool,
}

/// What the driver prints with one chain.
#[derive(Debug)]
struct Message {
    chain: Chain,
    /// What of it has found no room yet.
    rest: Vec<Range>,
}

impl Message {
    fn of(chain: Chain) -> Result<Self, Broken> {
        let (readable, writable) = chain.split()?;
        if readable.is_empty() || !writable.is_empty() {
            return Err(Broken::Buffer);
        }
        Ok(Self {
            chain,
            rest: readable,
        })
    }
}

impl Console {
    /// A console whose far end has this size, which may change, or none.
    #[must_use]
    pub fn new(size: Option<Size>) -> Self {
        Self {
            size: size.map(|size| AtomicU32::new(size.into())),
            input: Mutex::default(),
            read: Condvar::new(),
            output: Mutex::default(),
            printed: Condvar::new(),
            begun: Mutex::default(),
            first: None,
        }
    }

    /// With a place to note when the driver first prints something, if somebody wants to know.
    #[must_use]
    pub fn with_first(self, first: Option<Arc<OnceLock<Instant>>>) -> Self {
        Self { first, ..self }
    }

    fn config(&self) -> Config {
        let size = self.size.as_ref().map(|size| size.load(Ordering::SeqCst));
        let size = Size::from(size.unwrap_or(0));
        Config {
            cols: size.columns.into(),
            rows: size.rows.into(),
            ..Config::default()
        }
    }

    /// Gives input to the driver while it has buffers.
    fn receive(&self, queue: &mut Queue, memory: &Memory) -> Result<Served, Broken> {
        let mut used = false;
        let mut input = lock(&self.input);
        for _ in 0..queue.most() {
            if input.is_empty() {
                break;
            }
            let Some(chain) = queue.take(memory)? else {
                break;
            };
            let written = fill(&chain, &mut input, memory)?;
            queue.give_back(&chain, written, memory)?;
            used = true;
        }
        if input.len() < BACKLOG {
            self.read.notify_all();
        }
        // Without input, nobody needs to hear of buffers.
        let waits = !input.is_empty();
        drop(input);
        Ok(Served {
            more: waits && queue.ask_for_notification(memory)?,
            interrupt: used && queue.wants_interrupt(memory)?,
        })
    }

    /// Takes what the driver prints while there is room.
    fn transmit(&self, queue: &mut Queue, memory: &Memory) -> Result<Served, Broken> {
        let mut used = false;
        let mut begun = lock(&self.begun);
        for _ in 0..queue.most() {
            let mut message = match begun.take() {
                Some(message) => message,
                None => match queue.take(memory)? {
                    Some(chain) => Message::of(chain)?,
                    None => break,
                },
            };
            self.print(&mut message.rest, memory)?;
            if !message.rest.is_empty() {
                *begun = Some(message);
                break;
            }
            queue.give_back(&message.chain, 0, memory)?;
            used = true;
        }
        Ok(Served {
            more: begun.is_none() && queue.ask_for_notification(memory)?,
            interrupt: used && queue.wants_interrupt(memory)?,
        })
    }

    /// Moves as much as there is room for. If something is left, the queue will be served again.
    fn print(&self, rest: &mut Vec<Range>, memory: &Memory) -> Result<(), Broken> {
        if let Some(first) = &self.first {
            first.get_or_init(Instant::now);
        }
        let mut output = lock(&self.output);
        while !rest.is_empty() {
            let room = ROOM.saturating_sub(output.waiting.len());
            if room == 0 {
                output.stalled = true;
                break;
            }
            let whole: u64 = rest.iter().map(|range| range.length).sum();
            let now = usize::try_from(whole).unwrap_or(usize::MAX).min(room);
            let start = output.waiting.len();
            output.waiting.resize(start + now, 0);
            let place = output.waiting.get_mut(start..).unwrap_or_default();
            take_front(rest, place, memory)?;
        }
        self.printed.notify_all();
        Ok(())
    }
}

/// Fills a chain with the first bytes of `input`, at least one. Gives the number of bytes.
fn fill(chain: &Chain, input: &mut VecDeque<u8>, memory: &Memory) -> Result<u32, Broken> {
    let (readable, writable) = chain.split()?;
    if writable.is_empty() || !readable.is_empty() {
        return Err(Broken::Buffer);
    }
    let mut written = 0;
    for range in writable {
        let length = usize::try_from(range.length).unwrap_or(usize::MAX);
        let bytes: Vec<u8> = input.drain(..length.min(input.len())).collect();
        let placed = memory.write(range.address, &bytes);
        placed.map_err(|_| Broken::Memory)?;
        written += bytes.len();
    }
    // No more than waits at once.
    Ok(u32::try_from(written).unwrap_or(u32::MAX))
}

impl Device for Arc<Console> {
    fn kind(&self) -> u32 {
        DEVICE_ID
    }

    fn features(&self) -> u64 {
        if self.size.is_some() { F_SIZE } else { 0 }
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![ENTRIES; 2]
    }

    fn read_config(&self, offset: u32, data: &mut [u8]) {
        let config = self.config();
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = config.as_bytes().get(offset..).unwrap_or_default();
        for (place, byte) in data.iter_mut().zip(rest) {
            *place = *byte;
        }
    }

    /// Linux asks for the size only when it has changed.
    fn announces_config(&self) -> bool {
        self.size.is_some()
    }

    /// What has not reached the driver, and what it has printed, stays.
    fn reset(&self) {
        *lock(&self.begun) = None;
    }

    fn serve(&self, index: usize, queue: &mut Queue, memory: &Memory) -> Result<Served, Broken> {
        if index == RECEIVE {
            self.receive(queue, memory)
        } else {
            self.transmit(queue, memory)
        }
    }
}

/// A console behind its registers, as its far end sees it.
#[derive(Debug)]
pub struct Wire {
    console: Arc<Console>,
    transport: Arc<Transport>,
}

impl Wire {
    /// The wire to `console`, which is the device behind `transport`.
    #[must_use]
    pub fn new(console: Arc<Console>, transport: Arc<Transport>) -> Self {
        Self { console, transport }
    }

    /// Gives the guest input. Blocks while too much of it waits already.
    pub fn feed(&self, bytes: &[u8]) -> io::Result<()> {
        let mut input = lock(&self.console.input);
        while input.len() >= BACKLOG {
            let waited = self.console.read.wait(input);
            input = waited.unwrap_or_else(PoisonError::into_inner);
        }
        input.extend(bytes);
        drop(input);
        self.transport.notify(RECEIVE)
    }

    /// The far end has this size now. Does nothing if it had none, or this one.
    pub fn resize(&self, size: Size) -> io::Result<()> {
        let Some(place) = &self.console.size else {
            return Ok(());
        };
        let size = u32::from(size);
        if place.swap(size, Ordering::SeqCst) == size {
            return Ok(());
        }
        self.transport.config_changed()
    }

    /// Waits until the guest has printed something, and writes it to the far end.
    pub fn print(&self, far_end: &mut dyn Write) -> io::Result<()> {
        let mut output = lock(&self.console.output);
        while output.waiting.is_empty() {
            let waited = self.console.printed.wait(output);
            output = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let bytes = std::mem::take(&mut output.waiting);
        output.leaving = true;
        let stalled = std::mem::take(&mut output.stalled);
        drop(output);
        if stalled {
            self.transport.notify(TRANSMIT)?;
        }
        far_end.write_all(&bytes)?;
        lock(&self.console.output).leaving = false;
        self.console.printed.notify_all();
        Ok(())
    }

    /// Waits until everything printed has been written, but not longer than this.
    pub fn drain(&self, patience: Duration) {
        let output = lock(&self.console.output);
        let under_way = |output: &mut Output| output.leaving || !output.waiting.is_empty();
        // What could not be written by then is lost with the process.
        let _ = self
            .console
            .printed
            .wait_timeout_while(output, patience, under_way);
    }
}
