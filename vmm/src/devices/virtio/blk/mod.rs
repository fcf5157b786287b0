// SPDX-License-Identifier: MIT OR Apache-2.0
//! The block device: a disk made of an [`Image`].
//!
//! Spec: VIRTIO 1.2, section 5.2. Several queues, all alike. What a driver may not ask for gets an
//! error in the request's status; only a request without room for a header or a status breaks the
//! device.

mod image;
#[cfg(test)]
mod test;

pub use image::{Error, Image};

use super::queue::{Broken, Chain, Queue, take_front, take_last};
use super::{Device, Served};
use crate::config::Disk;
use crate::memory::{Memory, Range};
use abi::virtio::blk::{
    Config, DEVICE_ID, F_BLK_SIZE, F_CONFIG_WCE, F_DISCARD, F_FLUSH, F_MQ, F_RO, F_SEG_MAX,
    F_WRITE_ZEROES, Header, ID_BYTES, S_IOERR, S_OK, S_UNSUPP, SECTOR_SIZE, SEGMENT_UNMAP, Segment,
    T_DISCARD, T_FLUSH, T_GET_ID, T_IN, T_OUT, T_WRITE_ZEROES,
};
use std::mem::offset_of;
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
    serial: [u8; ID_BYTES],
    queues: u16,
    /// What the driver has agreed to.
    agreed: AtomicU64,
    /// Writes become stable by a flush, and not by themselves.
    writeback: AtomicBool,
}

/// Why a request fails: its status.
#[derive(Debug)]
struct Failure(u8);

/// The driver or the host did what it may not.
const IOERR: Failure = Failure(S_IOERR);
/// The device does not know such a request.
const UNSUPP: Failure = Failure(S_UNSUPP);

impl From<std::io::Error> for Failure {
    fn from(_: std::io::Error) -> Self {
        // Which one it was has no way to the driver.
        IOERR
    }
}

/// What a request asks for: whatever comes in the second and fourth field is not checked yet.
#[derive(Debug)]
struct Request<'a> {
    header: &'a Header,
    readable: &'a [Range],
    writable: &'a [Range],
}

impl Blk {
    /// The device for `disk`, which is made of `image`.
    #[must_use]
    pub fn new(image: Image, disk: &Disk) -> Self {
        let mut serial = [0; ID_BYTES];
        for (place, byte) in serial.iter_mut().zip(disk.serial.bytes()) {
            *place = byte;
        }
        Self {
            image,
            serial,
            queues: disk.queues,
            agreed: AtomicU64::new(0),
            writeback: AtomicBool::new(true),
        }
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

    /// Serves a request. Gives how many bytes were written, from the first on.
    fn answer(&self, chain: &Chain, memory: &Memory) -> Result<u32, Broken> {
        let (mut readable, mut writable) = chain.split()?;
        let mut header = Header::new_zeroed();
        take_front(&mut readable, header.as_mut_bytes(), memory)?;
        let status = take_last(&mut writable)?;
        let request = Request {
            header: &header,
            readable: &readable,
            writable: &writable,
        };
        let (code, written) = match self.perform(&request, memory) {
            Ok(()) => (S_OK, word(total(&writable)).saturating_add(1)),
            // Of the data nobody knows, and the status is behind it.
            Err(Failure(code)) => (code, u32::from(writable.is_empty())),
        };
        let told = memory.write(status, &[code]);
        told.map_err(|_| Broken::Memory)?;
        Ok(written)
    }

    fn perform(&self, request: &Request<'_>, memory: &Memory) -> Result<(), Failure> {
        let (readable, writable) = (request.readable, request.writable);
        let sector = request.header.sector.get();
        match request.header.kind.get() {
            T_IN if readable.is_empty() => {
                let offset = self.place(sector, total(writable))?;
                Ok(self.image.read(memory, writable, offset)?)
            }
            T_OUT if writable.is_empty() && !self.image.is_read_only() => {
                let offset = self.place(sector, total(readable))?;
                let stable = self.is_stable();
                Ok(self.image.write(memory, readable, offset, stable)?)
            }
            T_FLUSH => Ok(self.image.flush()?),
            T_GET_ID => self.identify(writable, memory),
            kind @ (T_DISCARD | T_WRITE_ZEROES)
                if writable.is_empty() && !self.image.is_read_only() =>
            {
                self.clear(kind == T_DISCARD, readable, memory)
            }
            T_IN | T_OUT | T_DISCARD | T_WRITE_ZEROES => Err(IOERR),
            _ => Err(UNSUPP),
        }
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
            if discard {
                self.image.discard(offset, length)?;
            } else {
                let unmap = flags & SEGMENT_UNMAP != 0;
                self.image.write_zeroes(offset, length, unmap)?;
            }
        }
        if self.is_stable() {
            self.image.flush()?;
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

    fn serve(&self, _index: usize, queue: &mut Queue, memory: &Memory) -> Result<Served, Broken> {
        let mut used = false;
        for _ in 0..BATCH {
            let Some(chain) = queue.take(memory)? else {
                break;
            };
            let written = self.answer(&chain, memory)?;
            queue.give_back(&chain, written, memory)?;
            used = true;
        }
        Ok(Served {
            more: queue.ask_for_notification(memory)?,
            interrupt: used && queue.wants_interrupt(memory)?,
        })
    }
}

fn total(ranges: &[Range]) -> u64 {
    ranges.iter().map(|range| range.length).sum()
}

fn word(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
