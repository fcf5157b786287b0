// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a disk is made of: a file or block device of the host, byte for byte.
//!
//! In: a path, and ranges of guest memory. Out: data in its place, or an error. A writable image
//! is locked against everybody, a read-only one against writers (flock(2)): two writers would
//! destroy it. Locks are advisory; other programs have to ask, too.

use crate::config::Disk;
use crate::memory::{Action, Memory, Range, Ring};
use abi::virtio::blk::SECTOR_SIZE;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use vmm_sys_util::fallocate::{FallocateMode, fallocate};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

/// Most bytes that go through a buffer of ours at once.
const STEP: u64 = 1 << 20;

/// Why there is no disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host does not open it.
    #[error("disk image {path}: opening it for {purpose}: {source}")]
    Open {
        /// The image.
        path: PathBuf,
        /// What it was opened for.
        purpose: &'static str,
        /// The host's words.
        source: io::Error,
    },
    /// Not made of bytes.
    #[error("disk image {path}: expected a file or a block device, found {found}")]
    Kind {
        /// The image.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// No whole number of blocks.
    #[error(
        "disk image {path}: expected a multiple of {block} bytes{why} that is not 0, found {size} \
         bytes"
    )]
    Size {
        /// The image.
        path: PathBuf,
        /// Bytes of a block.
        block: u64,
        /// Why they are not 512.
        why: &'static str,
        /// Bytes found.
        size: u64,
    },
    /// Somebody else has it.
    #[error(
        "disk image {path}: expected {expected}, found it in use by another disk or another program"
    )]
    Taken {
        /// The image.
        path: PathBuf,
        /// What was needed.
        expected: &'static str,
    },
    /// No io_uring, which was asked for.
    #[error(
        "disk image {path}: expected io_uring for aio=io_uring, found none that works: {source}"
    )]
    Ring {
        /// The image.
        path: PathBuf,
        /// The host's words.
        source: io::Error,
    },
}

/// A buffer for direct access, which wants addresses that are multiples of a block.
#[derive(Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C, align(4096))]
struct Page([u8; 4096]);

/// An open image.
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
    file: Arc<File>,
    size: u64,
    block: u64,
    read_only: bool,
    direct: bool,
}

impl Image {
    /// Opens and locks the image of `disk`.
    pub fn open(disk: &Disk) -> Result<Self, Error> {
        let path = || disk.path.clone();
        let purpose = match (disk.read_only, disk.direct) {
            (true, false) => "reading",
            (false, false) => "reading and writing",
            (true, true) => "reading it directly",
            (false, true) => "reading and writing it directly",
        };
        let refuse = |source| Error::Open {
            path: path(),
            purpose,
            source,
        };
        // Before it is opened: that alone may wait, for the other end of a pipe.
        let kind = std::fs::metadata(&disk.path).map_err(refuse)?.file_type();
        let found = [
            (kind.is_dir(), "a directory"),
            (kind.is_char_device(), "a character device"),
            (kind.is_fifo(), "a pipe"),
            (kind.is_socket(), "a socket"),
        ];
        if let Some((_, found)) = found.into_iter().find(|(is, _)| *is) {
            let path = path();
            return Err(Error::Kind { path, found });
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(!disk.read_only)
            .custom_flags(if disk.direct { libc::O_DIRECT } else { 0 })
            .open(&disk.path)
            .map_err(refuse)?;
        let (locked, expected) = if disk.read_only {
            (file.try_lock_shared(), "nobody else to write to it")
        } else {
            (file.try_lock(), "nobody else to use it")
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let path = path();
                return Err(Error::Taken { path, expected });
            }
            Err(TryLockError::Error(source)) => return Err(refuse(source)),
        }
        // The metadata of a block device has no size.
        let size = file.seek(SeekFrom::End(0)).map_err(refuse)?;
        let block = if disk.direct {
            direct_block(&file).map_err(refuse)?
        } else {
            SECTOR_SIZE
        };
        if size == 0 || !size.is_multiple_of(block) {
            return Err(Error::Size {
                path: path(),
                block,
                why: if block == SECTOR_SIZE {
                    ""
                } else {
                    ", which are what direct access takes there,"
                },
                size,
            });
        }
        Ok(Self {
            path: path(),
            file: Arc::new(file),
            size,
            block,
            read_only: disk.read_only,
            direct: disk.direct,
        })
    }

    /// Bytes, a multiple of [`Self::block`].
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of a logical block: places and lengths are multiples of it.
    #[must_use]
    pub fn block(&self) -> u64 {
        self.block
    }

    /// Whether it cannot be written.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// A ring for at most `most` transfers at once, which writes to `event` after each.
    pub fn ring<T>(&self, event: BorrowedFd<'_>, most: u16) -> io::Result<Ring<T>> {
        Ring::new(Arc::clone(&self.file), event, most)
    }

    /// What there is to say about an error of the host's.
    pub fn sentence(&self, action: Action, error: &io::Error) -> String {
        // Nobody else uses the cursor.
        let found = match (error.kind(), (&*self.file).seek(SeekFrom::End(0))) {
            (io::ErrorKind::UnexpectedEof, Ok(now)) => {
                format!("expected {} bytes, found {now}", self.size)
            }
            _ => error.to_string(),
        };
        let what = match action {
            Action::Read(offset) => format!("reading at {offset}"),
            Action::Write { offset, .. } => format!("writing at {offset}"),
            Action::Flush => "flushing".to_owned(),
        };
        format!(
            "disk image {}: {what}: {found}; the guest is told of an error, as of all others that \
             may follow",
            self.path.display()
        )
    }

    /// Fills `ranges` with what is at `offset`.
    pub fn read(&self, memory: &Memory, ranges: &[Range], offset: u64) -> io::Result<()> {
        if self.takes(ranges) {
            return memory.fill_from(ranges, &self.file, offset);
        }
        self.by_buffer(ranges, offset, |buffer, range, offset| {
            self.file.read_exact_at(buffer, offset)?;
            scatter(memory, buffer, range)
        })
    }

    /// Writes `ranges` to `offset`; with `stable` they are on the medium when it returns.
    pub fn write(
        &self,
        memory: &Memory,
        ranges: &[Range],
        offset: u64,
        stable: bool,
    ) -> io::Result<()> {
        if self.takes(ranges) {
            return memory.copy_to(ranges, &self.file, offset, stable);
        }
        self.by_buffer(ranges, offset, |buffer, ranges, offset| {
            gather(memory, buffer, ranges)?;
            self.file.write_all_at(buffer, offset)
        })?;
        if stable { self.flush() } else { Ok(()) }
    }

    /// Puts on the medium what was written.
    pub fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Gives space back, if the host can; what is read there afterwards is unspecified.
    pub fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        match self.allocate(FallocateMode::PunchHole, offset, length) {
            Err(error) if is_unsupported(&error) => Ok(()),
            result => result,
        }
    }

    /// Makes zeroes; with `unmap` their space may be given back.
    pub fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        let mode = if unmap {
            FallocateMode::PunchHole
        } else {
            FallocateMode::ZeroRange
        };
        match self.allocate(mode, offset, length) {
            Err(error) if is_unsupported(&error) => {}
            result => return result,
        }
        let zeroes = pages(length.min(STEP));
        let mut done = 0;
        while done < length {
            let step = (length - done).min(STEP);
            let step = usize::try_from(step).map_err(io::Error::other)?;
            let chunk = zeroes.as_bytes().get(..step).unwrap_or_default();
            self.file.write_all_at(chunk, offset + done)?;
            done += step as u64;
        }
        Ok(())
    }

    fn allocate(&self, mode: FallocateMode, offset: u64, length: u64) -> io::Result<()> {
        // The size of the file stays.
        fallocate(&*self.file, mode, true, offset, length)
            .map_err(|error| io::Error::from_raw_os_error(error.errno()))
    }

    /// Whether the host moves data between these ranges and the file itself.
    pub fn takes(&self, ranges: &[Range]) -> bool {
        let fits = |number: u64| number.is_multiple_of(self.block);
        !self.direct || ranges.iter().all(|r| fits(r.address) && fits(r.length))
    }

    /// Calls `step` with a buffer and the ranges that belong to it, piece after piece.
    fn by_buffer(
        &self,
        ranges: &[Range],
        mut offset: u64,
        mut step: impl FnMut(&mut [u8], &[Range], u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let total = ranges.iter().map(|range| range.length).sum::<u64>();
        let mut buffer = pages(total.min(STEP));
        let mut rest = ranges.to_vec();
        let mut left = total;
        while left > 0 {
            let length = left.min(STEP);
            let first = split_off(&mut rest, length);
            let size = usize::try_from(length).map_err(io::Error::other)?;
            let bytes = buffer.as_mut_bytes();
            step(bytes.get_mut(..size).unwrap_or_default(), &first, offset)?;
            offset += length;
            left -= length;
        }
        Ok(())
    }
}

/// The smallest block of direct access: what the host takes.
fn direct_block(file: &File) -> io::Result<u64> {
    let mut page = Page([0; 4096]);
    for size in [512, 1024, 2048, 4096] {
        // A buffer that is a multiple of this size and of no larger one.
        let start = size % 4096;
        let buffer = page.0.get_mut(start..start + size);
        match file.read_at(buffer.unwrap_or_default(), 0) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            result => return result.map(|_| size as u64),
        }
    }
    Err(io::ErrorKind::Unsupported.into())
}

fn pages(length: u64) -> Vec<Page> {
    let count = usize::try_from(length.div_ceil(4096)).unwrap_or(0);
    vec![Page::new_zeroed(); count]
}

fn is_unsupported(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [libc::EOPNOTSUPP, libc::ENOSYS, libc::ENODEV]
        .map(Some)
        .contains(&code)
}

/// Takes the first `length` bytes off `ranges`.
fn split_off(ranges: &mut Vec<Range>, mut length: u64) -> Vec<Range> {
    let mut first = Vec::new();
    while let Some(range) = ranges.first_mut().filter(|_| length > 0) {
        let part = range.length.min(length);
        first.push(Range {
            address: range.address,
            length: part,
        });
        range.address += part;
        range.length -= part;
        length -= part;
        if range.length == 0 {
            ranges.remove(0);
        }
    }
    first
}

fn scatter(memory: &Memory, bytes: &[u8], ranges: &[Range]) -> io::Result<()> {
    let mut rest = bytes;
    for range in ranges {
        let length = usize::try_from(range.length).map_err(io::Error::other)?;
        let (now, later) = rest.split_at(length.min(rest.len()));
        memory.write(range.address, now).map_err(io::Error::other)?;
        rest = later;
    }
    Ok(())
}

fn gather(memory: &Memory, bytes: &mut [u8], ranges: &[Range]) -> io::Result<()> {
    let mut rest = bytes;
    for range in ranges {
        let length = usize::try_from(range.length).map_err(io::Error::other)?;
        let (now, later) = rest.split_at_mut(length.min(rest.len()));
        memory.read(range.address, now).map_err(io::Error::other)?;
        rest = later;
    }
    Ok(())
}
