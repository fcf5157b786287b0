// SPDX-License-Identifier: MIT OR Apache-2.0
//! The block device: a disk made of an image of the host's.
//!
//! Spec: VIRTIO 1.2, section 5.2. Several queues, all alike. What a driver may not ask for gets an
//! error in the request's status; only a request without room for a header or a status breaks the
//! device. Reads, writes and flushes are the host's work where there is io_uring: then the thread of a
//! queue hands them over and answers them in the order in which they are done.

mod image;
#[cfg(test)]
mod test;

pub use image::Error;

use super::queue::{Broken, Chain, Queue, take_front, take_last};
use super::{Device, Served};
use crate::config::{Aio, Disk};
use crate::devices::bus::lock;
use crate::memory::{Action, Memory, Range, Ring, probe_ring};
use abi::virtio::blk::{
    Config, DEVICE_ID, F_BLK_SIZE, F_CONFIG_WCE, F_DISCARD, F_FLUSH, F_MQ, F_RO, F_SEG_MAX,
    F_WRITE_ZEROES, Header, ID_BYTES, S_IOERR, S_OK, S_UNSUPP, SECTOR_SIZE, SEGMENT_UNMAP, Segment,
    T_DISCARD, T_FLUSH, T_GET_ID, T_IN, T_OUT, T_WRITE_ZEROES,
};
use image::Image;
use rustix::event::{EventfdFlags, eventfd};
use std::io::{self, Write};
use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use zerocopy::{FromZeros, IntoBytes};

/// Most entries of each queue.
const ENTRIES: u16 = 256;
/// Most requests that are served before the driver hears of them: the first of many does not wait
/// for the last one.
const BATCH: u16 = 8;
/// Most segments of a request: what a queue holds without header and status.
const MOST_SEGMENTS: u32 = ENTRIES as u32 - 2;
/// Most sectors of a discard or of zeroes at once: 1 GiB, so that a queue's thread comes back.
const MOST_SECTORS: u32 = 1 << 21;
/// Most parts of the disk that one request discards or zeroes.
const MOST_PARTS: u32 = 16;
/// Where the configuration has its one writable byte.
const WRITEBACK: usize = offset_of!(Config, writeback);

/// The device.
#[derive(Debug)]
pub struct Blk {
    image: Image,
    /// One a queue, or none at all.
    lanes: Vec<Lane>,
    serial: [u8; ID_BYTES],
    queues: u16,
    /// What the driver has agreed to.
    agreed: AtomicU64,
    /// Writes become stable by a flush, and not by themselves.
    writeback: AtomicBool,
    /// The user has heard of an error of the host's.
    told: AtomicBool,
}

/// By which the host serves a queue while its thread does something else.
#[derive(Debug)]
struct Lane {
    ring: Mutex<Ring<Asked>>,
    /// What the host writes to when something is done.
    event: OwnedFd,
}

impl Lane {
    fn new(image: &Image) -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let ring = Mutex::new(image.ring(event.as_fd(), ENTRIES)?);
        Ok(Self { ring, event })
    }
}

/// Whether `disk` is served by io_uring, as far as that is the kernel's decision.
#[must_use]
pub fn uses_io_uring(disk: &Disk) -> bool {
    match disk.aio {
        Aio::Threads => false,
        Aio::IoUring => true,
        Aio::Auto => probe_ring().is_ok(),
    }
}

/// Why a request fails: its status.
#[derive(Debug)]
struct Failure(u8);

/// The driver or the host did what it may not.
const IOERR: Failure = Failure(S_IOERR);
/// The device does not know such a request.
const UNSUPP: Failure = Failure(S_UNSUPP);

/// A request, whose data begins where the header and ends where the status was.
#[derive(Debug)]
struct Request {
    header: Header,
    readable: Vec<Range>,
    writable: Vec<Range>,
    /// Guest-physical address of its status.
    status: u64,
}

/// A request that somebody works on.
#[derive(Debug)]
struct Asked {
    chain: Chain,
    action: Action,
    /// Guest-physical address of its status.
    status: u64,
    /// Bytes of data that the device writes.
    writes: u64,
}

impl Request {
    fn new(chain: &Chain, memory: &Memory) -> Result<Self, Broken> {
        let (mut readable, mut writable) = chain.split()?;
        let mut header = Header::new_zeroed();
        take_front(&mut readable, header.as_mut_bytes(), memory)?;
        let status = take_last(&mut writable)?;
        Ok(Self {
            header,
            readable,
            writable,
            status,
        })
    }
}

/// Writes the status of a request into whose data `writes` bytes go. Gives how many bytes were
/// written, from the first on.
fn conclude(
    status: u64,
    writes: u64,
    result: &Result<(), Failure>,
    memory: &Memory,
) -> Result<u32, Broken> {
    let (code, written) = match result {
        Ok(()) => (S_OK, word(writes).saturating_add(1)),
        // Of the data nobody knows, and the status is behind it.
        Err(Failure(code)) => (*code, u32::from(writes == 0)),
    };
    let told = memory.write(status, &[code]);
    told.map_err(|_| Broken::Memory)?;
    Ok(written)
}

impl Blk {
    /// Opens what `disk` is made of.
    pub fn open(disk: &Disk) -> Result<Self, Error> {
        let image = Image::open(disk)?;
        let lanes = (0..disk.queues).map(|_| Lane::new(&image));
        let lanes = match disk.aio {
            Aio::Threads => Vec::new(),
            Aio::Auto => lanes.collect::<Result<_, _>>().unwrap_or_default(),
            Aio::IoUring => lanes.collect::<Result<_, _>>().map_err(|source| {
                let path = disk.path.clone();
                Error::Ring { path, source }
            })?,
        };
        let mut serial = [0; ID_BYTES];
        for (place, byte) in serial.iter_mut().zip(disk.serial.bytes()) {
            *place = byte;
        }
        Ok(Self {
            image,
            lanes,
            serial,
            queues: disk.queues,
            agreed: AtomicU64::new(0),
            writeback: AtomicBool::new(true),
            told: AtomicBool::new(false),
        })
    }

    fn config(&self) -> Config {
        let mut config = Config {
            capacity: (self.image.size() / SECTOR_SIZE).into(),
            seg_max: MOST_SEGMENTS.into(),
            blk_size: word(self.image.block()).into(),
            writeback: self.writeback.load(Ordering::SeqCst).into(),
            num_queues: self.queues.into(),
            ..Config::default()
        };
        if !self.image.is_read_only() {
            config.max_discard_sectors = MOST_SECTORS.into();
            config.max_discard_seg = MOST_PARTS.into();
            config.discard_sector_alignment = word(self.image.block() / SECTOR_SIZE).into();
            config.max_write_zeroes_sectors = MOST_SECTORS.into();
            config.max_write_zeroes_seg = MOST_PARTS.into();
            config.write_zeroes_may_unmap = 1;
        }
        config
    }

    /// What a request for data asks of the host; `None` if it asks for something else.
    fn action(&self, request: &Request) -> Result<Option<Action>, Failure> {
        let sector = request.header.sector.get();
        let (readable, writable) = (&request.readable, &request.writable);
        Ok(Some(match request.header.kind.get() {
            T_IN if readable.is_empty() => Action::Read(self.place(sector, total(writable))?),
            T_OUT if writable.is_empty() && !self.image.is_read_only() => Action::Write {
                offset: self.place(sector, total(readable))?,
                stable: self.is_stable(),
            },
            T_IN | T_OUT => return Err(IOERR),
            T_FLUSH => Action::Flush,
            _ => return Ok(None),
        }))
    }

    /// Does what is asked of the host.
    fn perform(&self, action: Action, request: &Request, memory: &Memory) -> Result<(), Failure> {
        let done = match action {
            Action::Read(offset) => self.image.read(memory, &request.writable, offset),
            Action::Write { offset, stable } => {
                self.image.write(memory, &request.readable, offset, stable)
            }
            Action::Flush => self.image.flush(),
        };
        done.map_err(|error| self.failed(action, &error))
    }

    /// Does what needs no data of the disk's.
    fn other(&self, request: &Request, memory: &Memory) -> Result<(), Failure> {
        let may_write = request.writable.is_empty() && !self.image.is_read_only();
        match request.header.kind.get() {
            T_GET_ID => self.identify(&request.writable, memory),
            kind @ (T_DISCARD | T_WRITE_ZEROES) if may_write => {
                self.clear(kind == T_DISCARD, &request.readable, memory)
            }
            T_DISCARD | T_WRITE_ZEROES => Err(IOERR),
            _ => Err(UNSUPP),
        }
    }

    /// What the host's error is to the driver, which learns nothing but that there is one. The user
    /// hears of the first.
    fn failed(&self, action: Action, error: &io::Error) -> Failure {
        if !self.told.swap(true, Ordering::SeqCst) {
            let sentence = self.image.sentence(action, error);
            // Standard error may be full or closed.
            let _ = writeln!(io::stderr(), "microvm: {sentence}");
        }
        IOERR
    }

    /// Where `length` bytes from `sector` on are, if they are whole blocks of the disk.
    fn place(&self, sector: u64, length: u64) -> Result<u64, Failure> {
        let offset = sector.checked_mul(SECTOR_SIZE).ok_or(IOERR)?;
        let end = offset.checked_add(length).ok_or(IOERR)?;
        let block = self.image.block();
        let whole = offset.is_multiple_of(block) && length.is_multiple_of(block);
        if whole && end <= self.image.size() {
            Ok(offset)
        } else {
            Err(IOERR)
        }
    }

    /// Whether a write is complete only when it is on the medium.
    fn is_stable(&self) -> bool {
        !self.writeback.load(Ordering::SeqCst)
    }

    fn identify(&self, writable: &[Range], memory: &Memory) -> Result<(), Failure> {
        let mut rest = self.serial.as_slice();
        for range in writable {
            let length = usize::try_from(range.length).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at(length.min(rest.len()));
            let written = memory.write(range.address, now);
            written.map_err(|_| IOERR)?;
            rest = later;
        }
        Ok(())
    }

    /// Discards or zeroes parts of the disk.
    fn clear(&self, discard: bool, readable: &[Range], memory: &Memory) -> Result<(), Failure> {
        let size = total(readable);
        let each = size_of::<Segment>() as u64;
        if size == 0 || !size.is_multiple_of(each) || size / each > MOST_PARTS.into() {
            return Err(IOERR);
        }
        let mut rest = readable.to_vec();
        while !rest.is_empty() {
            let mut segment = Segment::new_zeroed();
            let taken = take_front(&mut rest, segment.as_mut_bytes(), memory);
            taken.map_err(|_| IOERR)?;
            let flags = segment.flags.get();
            // "The unmap bit is reserved for discard commands" (section 5.2.6.2), and the others are
            // for all.
            if flags & !SEGMENT_UNMAP != 0 || discard && flags != 0 {
                return Err(UNSUPP);
            }
            let sectors = segment.num_sectors.get();
            let length = u64::from(sectors) * SECTOR_SIZE;
            let offset = self.place(segment.sector.get(), length)?;
            if sectors > MOST_SECTORS {
                return Err(IOERR);
            }
            if length == 0 {
                continue;
            }
            let cleared = if discard {
                self.image.discard(offset, length)
            } else {
                let unmap = flags & SEGMENT_UNMAP != 0;
                self.image.write_zeroes(offset, length, unmap)
            };
            let stable = false;
            cleared.map_err(|error| self.failed(Action::Write { offset, stable }, &error))?;
        }
        if self.is_stable() {
            let flushed = self.image.flush();
            flushed.map_err(|error| self.failed(Action::Flush, &error))?;
        }
        Ok(())
    }

    /// Takes a request. What the ring can do for it is left to the ring; anything else is done when it
    /// returns, and the chain is given back.
    fn take(
        &self,
        chain: Chain,
        ring: Option<&mut Ring<Asked>>,
        queue: &mut Queue,
        memory: &Memory,
    ) -> Result<(), Broken> {
        let request = Request::new(&chain, memory)?;
        let writes = total(&request.writable);
        let result = match (self.action(&request), ring) {
            (Ok(Some(action)), Some(ring)) if self.suits(action, &request) => {
                let ranges = match action {
                    Action::Read(_) => request.writable,
                    _ => request.readable,
                };
                let asked = Asked {
                    chain,
                    action,
                    status: request.status,
                    writes,
                };
                return match ring.start(memory, action, &ranges, asked) {
                    Ok(()) => Ok(()),
                    Err((error, asked)) => self.answer(&asked, Err(error), queue, memory),
                };
            }
            (Ok(Some(action)), _) => self.perform(action, &request, memory),
            (Ok(None), _) => self.other(&request, memory),
            (Err(failure), _) => Err(failure),
        };
        let written = conclude(request.status, writes, &result, memory)?;
        queue.give_back(&chain, written, memory)
    }

    /// Whether the ring can do that, and not only the thread.
    fn suits(&self, action: Action, request: &Request) -> bool {
        let suits = |ranges: &[Range]| !ranges.is_empty() && self.image.takes(ranges);
        match action {
            Action::Read(_) => suits(&request.writable),
            Action::Write { .. } => suits(&request.readable),
            Action::Flush => true,
        }
    }

    /// Gives back what the host has done.
    fn answer(
        &self,
        asked: &Asked,
        result: io::Result<()>,
        queue: &mut Queue,
        memory: &Memory,
    ) -> Result<(), Broken> {
        let result = result.map_err(|error| self.failed(asked.action, &error));
        let written = conclude(asked.status, asked.writes, &result, memory)?;
        queue.give_back(&asked.chain, written, memory)
    }

    /// Takes some of what the driver has made available, as long as the ring has room.
    fn take_some(
        &self,
        mut ring: Option<&mut Ring<Asked>>,
        queue: &mut Queue,
        memory: &Memory,
    ) -> Result<(), Broken> {
        for _ in 0..BATCH {
            if ring.as_ref().is_some_and(|ring| !ring.has_room()) {
                break;
            }
            let Some(chain) = queue.take(memory)? else {
                break;
            };
            self.take(chain, ring.as_deref_mut(), queue, memory)?;
        }
        Ok(())
    }
}

impl Device for Blk {
    fn kind(&self) -> u32 {
        DEVICE_ID
    }

    fn features(&self) -> u64 {
        let mut features = F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_CONFIG_WCE;
        if self.queues > 1 {
            features |= F_MQ;
        }
        features
            | if self.image.is_read_only() {
                F_RO
            } else {
                F_DISCARD | F_WRITE_ZEROES
            }
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![ENTRIES; self.queues.into()]
    }

    fn read_config(&self, offset: u32, data: &mut [u8]) {
        let config = self.config();
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = config.as_bytes().get(offset..).unwrap_or_default();
        for (place, byte) in data.iter_mut().zip(rest) {
            *place = *byte;
        }
    }

    fn write_config(&self, offset: u32, data: &[u8]) {
        let agreed = self.agreed.load(Ordering::SeqCst) & F_CONFIG_WCE != 0;
        let place = usize::try_from(offset).unwrap_or(usize::MAX);
        if let (true, WRITEBACK, [mode @ (0 | 1)]) = (agreed, place, data) {
            self.writeback.store(*mode == 1, Ordering::SeqCst);
        }
    }

    fn start(&self, features: u64) {
        self.agreed.store(features, Ordering::SeqCst);
        // A driver that does not know how to flush relies on every write (section 5.2.6.2).
        let flushes = features & F_FLUSH != 0;
        self.writeback.store(flushes, Ordering::SeqCst);
    }

    fn reset(&self) {
        self.agreed.store(0, Ordering::SeqCst);
        self.writeback.store(true, Ordering::SeqCst);
    }

    fn outside(&self, index: usize) -> Option<BorrowedFd<'_>> {
        self.lanes.get(index).map(|lane| lane.event.as_fd())
    }

    fn settle(&self, index: usize) -> bool {
        let lane = self.lanes.get(index);
        lane.is_none_or(|lane| lock(&lane.ring).settle())
    }

    fn serve(&self, index: usize, queue: &mut Queue, memory: &Memory) -> Result<Served, Broken> {
        let before = queue.given_back();
        let Some(lane) = self.lanes.get(index) else {
            self.take_some(None, queue, memory)?;
            return Ok(Served {
                more: queue.ask_for_notification(memory)?,
                interrupt: queue.given_back() != before && queue.wants_interrupt(memory)?,
            });
        };
        let mut ring = lock(&lane.ring);
        let mut result = self.take_some(Some(&mut *ring), queue, memory);
        ring.finish(|asked, outcome| {
            if result.is_ok() {
                result = self.answer(&asked, outcome, queue, memory);
            }
        });
        result?;
        Ok(Served {
            // Without room there is some when the host has finished something, of which it tells.
            more: ring.has_room() && queue.ask_for_notification(memory)?,
            interrupt: queue.given_back() != before && queue.wants_interrupt(memory)?,
        })
    }
}

fn total(ranges: &[Range]) -> u64 {
    ranges.iter().map(|range| range.length).sum()
}

fn word(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
