// SPDX-License-Identifier: MIT OR Apache-2.0
//! The network device: a station at one end of a [`Wire`].
//!
//! Spec: VIRTIO 1.2, section 5.1. A pair of queues for each end of the wire, and where there are
//! several pairs, a control queue to say how many are in use. Frames go out straight from guest
//! memory; those that come in pass through a buffer, because how many of the driver's buffers one
//! takes is not known before. Frames that the wire or the driver cannot take are lost, as on any network.

mod inbox;
#[allow(unsafe_code)] // the requests that make a tap have no safe wrapper; each has its proof
mod tap;
#[cfg(test)]
mod test;

pub use tap::{Error, Tap};

use super::queue::{Broken, Chain, Queue, take_front, take_last};
use super::{Device, Served, VERSION_1};
use crate::devices::bus::lock;
use crate::memory::{Memory, Range};
use abi::virtio::net::{
    CTRL_MQ, CTRL_MQ_VQ_PAIRS_SET, Command, Config, DEVICE_ID, ERR, F_CSUM, F_CTRL_VQ,
    F_GUEST_CSUM, F_GUEST_ECN, F_GUEST_TSO4, F_GUEST_TSO6, F_HOST_ECN, F_HOST_TSO4, F_HOST_TSO6,
    F_MAC, F_MQ, F_MRG_RXBUF, F_STATUS, Header, OK, S_LINK_UP,
};
use inbox::Inbox;
use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use zerocopy::little_endian::U16;
use zerocopy::{FromZeros, IntoBytes};

/// Most entries of each queue for frames.
const ENTRIES: u16 = 256;
/// Most entries of the control queue.
const CONTROL_ENTRIES: u16 = 64;
/// Most frames that are served before the driver hears of them: the first of many does not wait
/// for the last one.
const BATCH: u16 = 64;
/// Most bytes before each frame.
const HEADER: usize = size_of::<Header>();
/// What was agreed to, as kept here: this bit, which is no feature, and the features.
const READY: u64 = 1 << 63;
/// Most bytes of a frame: an IP packet of any size behind an Ethernet header with a VLAN tag.
const MOST_FRAME: usize = 18 + 65_535;

/// What is at the other end: where frames go, and where they come from.
pub trait Wire: Debug + Send + Sync {
    /// An end for each queue pair, at least one. A read or a write is a frame behind its header, and
    /// never waits.
    fn ends(&self) -> &[File];

    /// From now on frames come as a driver takes them that has agreed to `features`.
    fn offload(&self, features: u64) -> io::Result<()>;

    /// From now on the header before each frame ends after `header` bytes, both ways. At first it is
    /// all there.
    fn cut(&self, header: usize) -> io::Result<()>;

    /// From now on frames come to the first `pairs` ends.
    fn connect(&self, pairs: u16) -> io::Result<()>;
}

/// The device.
#[derive(Debug)]
pub struct Net {
    wire: Box<dyn Wire>,
    mac: [u8; 6],
    /// The same, unless a legacy driver has chosen another.
    station: Mutex<[u8; 6]>,
    /// What the driver has agreed to; nothing before it is ready.
    agreed: AtomicU64,
    /// What each end has given that is not in the driver's buffers yet.
    inboxes: Vec<Mutex<Inbox>>,
}

/// What a queue is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Role {
    /// Frames for the driver, of this pair.
    Receive(usize),
    /// Frames of the driver's, of this pair.
    Transmit(usize),
    Control,
    Nothing,
}

impl Net {
    /// The station with address `mac` at the end of `wire`.
    #[must_use]
    pub fn new(wire: Box<dyn Wire>, mac: [u8; 6]) -> Self {
        let inboxes = wire.ends().iter().map(|_| Mutex::default()).collect();
        Self {
            wire,
            mac,
            station: Mutex::new(mac),
            agreed: AtomicU64::new(0),
            inboxes,
        }
    }

    fn pairs(&self) -> u16 {
        u16::try_from(self.wire.ends().len()).unwrap_or(u16::MAX)
    }

    /// What queue `index` is for. Where the control queue is depends on what the driver has agreed to
    /// (section 5.1.2).
    fn role(&self, index: usize) -> Role {
        let agreed = self.agreed.load(Ordering::SeqCst);
        let pairs = if agreed & F_MQ == 0 {
            1
        } else {
            self.pairs().into()
        };
        match index.cmp(&(2 * pairs)) {
            std::cmp::Ordering::Less if index.is_multiple_of(2) => Role::Receive(index / 2),
            std::cmp::Ordering::Less => Role::Transmit(index / 2),
            std::cmp::Ordering::Equal if agreed & F_CTRL_VQ != 0 => Role::Control,
            _ => Role::Nothing,
        }
    }

    fn config(&self) -> Config {
        Config {
            mac: *lock(&self.station),
            status: S_LINK_UP.into(),
            max_virtqueue_pairs: self.pairs().into(),
        }
    }

    /// Frames from the wire, until there are no more of them or no buffers.
    fn receive(&self, pair: usize, queue: &mut Queue, memory: &Memory) -> Result<Served, Broken> {
        let (Some(end), Some(inbox)) = (self.wire.ends().get(pair), self.inboxes.get(pair)) else {
            return Ok(Served::default());
        };
        let mut inbox = lock(inbox);
        let agreed = self.agreed.load(Ordering::SeqCst);
        let mut used = false;
        let mut more = true;
        for _ in 0..BATCH {
            // A frame stays on the wire as long as there is no buffer for it.
            more = queue.has_more(memory)? || queue.ask_for_notification(memory)?;
            more = more && inbox.fill(end, agreed);
            if !more {
                break;
            }
            match place(&mut inbox, agreed & F_MRG_RXBUF != 0, queue, memory)? {
                Placed::Whole => used = true,
                Placed::Lost => {}
                Placed::Not => {
                    more = false;
                    break;
                }
            }
        }
        Ok(Served {
            more,
            interrupt: used && queue.wants_interrupt(memory)?,
        })
    }

    /// Frames of the driver's.
    fn transmit(&self, pair: usize, queue: &mut Queue, memory: &Memory) -> Result<Served, Broken> {
        let Some(end) = self.wire.ends().get(pair) else {
            return Ok(Served::default());
        };
        let header = header(self.agreed.load(Ordering::SeqCst));
        let mut used = false;
        for _ in 0..BATCH {
            let Some(chain) = queue.take(memory)? else {
                break;
            };
            let (readable, writable) = chain.split()?;
            let length = total(&readable);
            if !writable.is_empty() || length < header as u64 {
                return Err(Broken::Buffer);
            }
            if length <= (header + MOST_FRAME) as u64 {
                // What the host does not take is lost: an interface that is down, a header that
                // makes no sense.
                let _ = memory.send(&readable, end);
            }
            queue.give_back(&chain, 0, memory)?;
            used = true;
        }
        Ok(Served {
            more: queue.ask_for_notification(memory)?,
            interrupt: used && queue.wants_interrupt(memory)?,
        })
    }

    /// Commands.
    fn control(&self, queue: &mut Queue, memory: &Memory) -> Result<Served, Broken> {
        let mut used = false;
        for _ in 0..BATCH {
            let Some(chain) = queue.take(memory)? else {
                break;
            };
            let (mut readable, mut writable) = chain.split()?;
            let mut command = Command::new_zeroed();
            take_front(&mut readable, command.as_mut_bytes(), memory)?;
            let answer = take_last(&mut writable)?;
            let code = self.obey(command, &mut readable, memory)?;
            let told = memory.write(answer, &[code]);
            told.map_err(|_| Broken::Memory)?;
            queue.give_back(&chain, u32::from(writable.is_empty()), memory)?;
            used = true;
        }
        Ok(Served {
            more: queue.ask_for_notification(memory)?,
            interrupt: used && queue.wants_interrupt(memory)?,
        })
    }

    /// Does what a command asks for. Gives the answer.
    fn obey(
        &self,
        command: Command,
        argument: &mut Vec<Range>,
        memory: &Memory,
    ) -> Result<u8, Broken> {
        let pairs_set = (CTRL_MQ, CTRL_MQ_VQ_PAIRS_SET);
        let agreed = self.agreed.load(Ordering::SeqCst);
        if agreed & F_MQ == 0 || (command.class, command.command) != pairs_set {
            return Ok(ERR);
        }
        let mut pairs = U16::ZERO;
        take_front(argument, pairs.as_mut_bytes(), memory)?;
        let pairs = pairs.get();
        let possible = (1..=self.pairs()).contains(&pairs);
        let done = possible && self.wire.connect(pairs).is_ok();
        Ok(if done { OK } else { ERR })
    }
}

impl Device for Net {
    fn kind(&self) -> u32 {
        DEVICE_ID
    }

    fn features(&self) -> u64 {
        let mut features = F_MAC | F_STATUS | F_MRG_RXBUF;
        features |= F_CSUM | F_HOST_TSO4 | F_HOST_TSO6 | F_HOST_ECN;
        features |= F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6 | F_GUEST_ECN;
        if self.pairs() > 1 {
            features |= F_MQ | F_CTRL_VQ;
        }
        features
    }

    fn queue_sizes(&self) -> Vec<u16> {
        let mut sizes = vec![ENTRIES; 2 * usize::from(self.pairs())];
        if self.pairs() > 1 {
            sizes.push(CONTROL_ENTRIES);
        }
        sizes
    }

    fn outside(&self, index: usize) -> Option<BorrowedFd<'_>> {
        let receives = index.is_multiple_of(2);
        let end = self.wire.ends().get(index / 2).filter(|_| receives)?;
        Some(end.as_fd())
    }

    fn read_config(&self, offset: u32, data: &mut [u8]) {
        let config = self.config();
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = config.as_bytes().get(offset..).unwrap_or_default();
        for (place, byte) in data.iter_mut().zip(rest) {
            *place = *byte;
        }
    }

    /// "mac is driver-writable which provided a way for drivers to update the MAC" (section 5.1.4,
    /// legacy interface). It only has to be there: frames for all stations come in.
    fn write_legacy_config(&self, offset: u32, data: &[u8]) {
        let mut station = lock(&self.station);
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let places = station.get_mut(offset..).unwrap_or_default();
        for (place, byte) in places.iter_mut().zip(data) {
            *place = *byte;
        }
    }

    fn start(&self, features: u64) {
        self.agreed.store(READY | features, Ordering::SeqCst);
        // What fails here fails because the interface has gone, and with it the frames.
        let _ = self.wire.connect(1);
        let _ = self.wire.cut(header(features));
        let _ = self.wire.offload(features);
    }

    fn reset(&self) {
        *lock(&self.station) = self.mac;
        if self.agreed.swap(0, Ordering::SeqCst) == 0 {
            return;
        }
        for inbox in &self.inboxes {
            lock(inbox).clear();
        }
        let _ = self.wire.connect(1);
        let _ = self.wire.offload(0);
    }

    fn serve(&self, index: usize, queue: &mut Queue, memory: &Memory) -> Result<Served, Broken> {
        match self.role(index) {
            Role::Receive(pair) => self.receive(pair, queue, memory),
            Role::Transmit(pair) => self.transmit(pair, queue, memory),
            Role::Control => self.control(queue, memory),
            Role::Nothing => Ok(Served::default()),
        }
    }
}

/// Bytes before each frame of a driver with these features.
fn header(features: u64) -> usize {
    if features & (VERSION_1 | F_MRG_RXBUF) == 0 {
        offset_of!(Header, num_buffers)
    } else {
        HEADER
    }
}

/// What became of a frame.
enum Placed {
    /// The driver has it.
    Whole,
    /// It is too large for this driver.
    Lost,
    /// There are not enough buffers yet.
    Not,
}

/// Puts the frame into the driver's next buffers: into as many as it takes if they may be `merged`.
fn place(
    inbox: &mut Inbox,
    merged: bool,
    queue: &mut Queue,
    memory: &Memory,
) -> Result<Placed, Broken> {
    let position = queue.position();
    let mut chains = Vec::new();
    let mut rest = inbox.frame().len();
    while rest > 0 {
        let full = chains.len() >= if merged { queue.size().into() } else { 1 };
        if full {
            // However long it waited, there would never be room.
            queue.rewind(position);
            inbox.clear();
            return Ok(Placed::Lost);
        }
        let Some(chain) = next(queue, memory)? else {
            queue.rewind(position);
            return Ok(Placed::Not);
        };
        let taken = rest.min(capacity(&chain, inbox.header())?);
        rest -= taken;
        chains.push((chain, u32::try_from(taken).unwrap_or(u32::MAX)));
    }
    inbox.set_buffers(u16::try_from(chains.len()).unwrap_or(u16::MAX));
    let mut bytes = inbox.frame();
    for part in chains.iter().flat_map(|(chain, _)| &chain.parts) {
        let length = usize::try_from(part.length).unwrap_or(usize::MAX);
        let (now, later) = bytes.split_at(length.min(bytes.len()));
        let placed = memory.write(part.address, now);
        placed.map_err(|_| Broken::Memory)?;
        bytes = later;
    }
    queue.give_back_all(&chains, memory)?;
    inbox.clear();
    Ok(Placed::Whole)
}

/// The next buffer. If there is none, the driver is asked to notify of the next one.
fn next(queue: &mut Queue, memory: &Memory) -> Result<Option<Chain>, Broken> {
    match queue.take(memory)? {
        None if queue.ask_for_notification(memory)? => queue.take(memory),
        chain => Ok(chain),
    }
}

/// Bytes of a buffer for frames, which has room for a header at least (section 5.1.6.3.1).
fn capacity(chain: &Chain, header: usize) -> Result<usize, Broken> {
    if !chain.parts.iter().all(|part| part.writable) {
        return Err(Broken::Buffer);
    }
    let parts = chain.parts.iter();
    let total: u64 = parts.map(|part| u64::from(part.length)).sum();
    let bytes = usize::try_from(total).unwrap_or(usize::MAX);
    if bytes < header {
        return Err(Broken::Buffer);
    }
    Ok(bytes)
}

fn total(ranges: &[Range]) -> u64 {
    ranges.iter().map(|range| range.length).sum()
}
