// SPDX-License-Identifier: MIT OR Apache-2.0
//! Between guest memory and a place in a file, or out to a device that takes messages, without a
//! copy in between.
//!
//! Spec: preadv(2), pwritev2(2), writev(2). In: ranges of guest memory, trusted by nobody, and a file whose
//! cursor is left alone, so that threads may share it. Out: all bytes, or an error after an
//! unspecified part of them.

use super::{Memory, Range};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use vm_memory::{GuestAddress, GuestMemoryBackend};

/// Most pieces that the host takes at once (`UIO_MAXIOV`).
pub(super) const MOST_PIECES: usize = 1024;

impl Memory {
    /// Fills `ranges`, one after the other, with what is at `offset` of `file`.
    pub fn fill_from(&self, ranges: &[Range], file: &File, offset: u64) -> io::Result<()> {
        self.transfer(ranges, offset, |pieces, count, offset| {
            // SAFETY: the first `count` pieces, of which there are as many, are writable mapped
            // memory, as `transfer` promises. It is guest memory, which the guest may change at any
            // time: nothing in this process holds a reference into it.
            unsafe { libc::preadv(file.as_raw_fd(), pieces, count, offset) }
        })
    }

    /// Writes `ranges`, one after the other, to `offset` of `file`. With `stable` they are on the
    /// medium when it returns.
    pub fn copy_to(
        &self,
        ranges: &[Range],
        file: &File,
        offset: u64,
        stable: bool,
    ) -> io::Result<()> {
        let flags = if stable { libc::RWF_DSYNC } else { 0 };
        self.transfer(ranges, offset, |pieces, count, offset| {
            // SAFETY: as above; the pieces are only read.
            unsafe { libc::pwritev2(file.as_raw_fd(), pieces, count, offset, flags) }
        })
    }

    /// Writes `ranges`, one after the other, to `file` as one message. One that the host does not take
    /// as a whole is an error.
    pub fn send(&self, ranges: &[Range], file: &File) -> io::Result<()> {
        let pieces = self.pieces(ranges)?;
        let count = libc::c_int::try_from(pieces.len()).map_err(io::Error::other)?;
        // SAFETY: the `count` pieces are mapped memory, which is only read, and stays mapped as long
        // as `self` lives. It is guest memory, which the guest may change at any time: nothing in
        // this process holds a reference into it.
        let sent = unsafe { libc::writev(file.as_raw_fd(), pieces.as_ptr(), count) };
        let whole: usize = pieces.iter().map(|piece| piece.iov_len).sum();
        match usize::try_from(sent) {
            Ok(sent) if sent == whole => Ok(()),
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }

    /// Calls `call` with the pieces of host memory that `ranges` are, how many, and the offset, until
    /// it has taken them all.
    fn transfer(
        &self,
        ranges: &[Range],
        mut offset: u64,
        call: impl Fn(*const libc::iovec, libc::c_int, libc::off_t) -> libc::ssize_t,
    ) -> io::Result<()> {
        let mut pieces = self.pieces(ranges)?;
        let mut rest = pieces.as_mut_slice();
        while !rest.is_empty() {
            let count = rest.len().min(MOST_PIECES);
            let count = libc::c_int::try_from(count).map_err(io::Error::other)?;
            let place = libc::off_t::try_from(offset).map_err(io::Error::other)?;
            let done = match usize::try_from(call(rest.as_ptr(), count, place)) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(done) => done,
                Err(_) => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => continue,
                    error => return Err(error),
                },
            };
            offset += done as u64;
            rest = advance(rest, done);
        }
        Ok(())
    }

    /// The host memory behind `ranges`. It stays mapped as long as `self` lives.
    pub(super) fn pieces(&self, ranges: &[Range]) -> io::Result<Vec<libc::iovec>> {
        let mut pieces = Vec::with_capacity(ranges.len());
        for range in ranges {
            let start = self.claim(range.address, range.length);
            let GuestAddress(start) = start.map_err(io::Error::other)?;
            let length = usize::try_from(range.length).map_err(io::Error::other)?;
            for slice in self.view.get_slices(GuestAddress(start), length) {
                let slice = slice.map_err(io::Error::other)?;
                if !slice.is_empty() {
                    pieces.push(libc::iovec {
                        iov_base: slice.ptr_guard_mut().as_ptr().cast(),
                        iov_len: slice.len(),
                    });
                }
            }
        }
        Ok(pieces)
    }
}

/// What is left of `pieces` without their first `done` bytes.
pub(super) fn advance(pieces: &mut [libc::iovec], mut done: usize) -> &mut [libc::iovec] {
    let mut whole = 0;
    for piece in pieces.iter_mut() {
        if done < piece.iov_len {
            piece.iov_base = piece.iov_base.wrapping_byte_add(done);
            piece.iov_len -= done;
            break;
        }
        done -= piece.iov_len;
        whole += 1;
    }
    pieces.get_mut(whole..).unwrap_or_default()
}

#[cfg(test)]
mod test {
    use super::*;
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixDatagram;
    use vmm_sys_util::tempfile::TempFile;

    fn memory() -> Memory {
        Memory::from_ranges(&[(0, 0x2000), (0x2000, 0x1000)]).unwrap()
    }

    fn range(address: u64, length: u64) -> Range {
        Range { address, length }
    }

    #[test]
    fn bytes_go_into_pieces_and_back_without_the_cursor() {
        let memory = memory();
        let file = TempFile::new().unwrap().into_file();
        (&file).write_all(b"0123456789").unwrap();
        // The first crosses from one mapping into the next.
        let ranges = [range(0x1ffe, 4), range(0x10, 0), range(0x20, 3)];
        memory.fill_from(&ranges, &file, 2).unwrap();
        let mut found = [0; 7];
        memory.read(0x1ffe, &mut found[..4]).unwrap();
        memory.read(0x20, &mut found[4..]).unwrap();
        assert_eq!(&found, b"2345678");
        memory.copy_to(&ranges, &file, 9, true).unwrap();
        (&file).write_all(b"x").unwrap();
        assert_eq!(file.metadata().unwrap().len(), 16);
    }

    #[test]
    fn a_message_is_sent_as_a_whole_or_refused() {
        let memory = memory();
        let (near, far) = UnixDatagram::pair().unwrap();
        let near = File::from(OwnedFd::from(near));
        memory.write(0x1ffe, b"2345").unwrap();
        memory.write(0x20, b"67").unwrap();
        let ranges = [range(0x1ffe, 4), range(0x10, 0), range(0x20, 2)];
        memory.send(&ranges, &near).unwrap();
        let mut found = [0; 8];
        assert_eq!(far.recv(&mut found).unwrap(), 6);
        assert_eq!(&found[..6], b"234567");
        assert!(memory.send(&[range(0x2fff, 2)], &near).is_err());
        // More pieces than one call takes.
        let many = vec![range(0, 1); MOST_PIECES + 1];
        assert!(memory.send(&many, &near).is_err());
        drop(far);
        assert!(memory.send(&ranges, &near).is_err());
    }

    #[test]
    fn more_pieces_than_the_host_takes_at_once() {
        let memory = memory();
        let file = TempFile::new().unwrap().into_file();
        let pattern: Vec<u8> = (0..=255).cycle().take(0x1800).collect();
        (&file).write_all(&pattern).unwrap();
        let ranges: Vec<_> = (0..0x1800).map(|place| range(place, 1)).collect();
        memory.fill_from(&ranges, &file, 0).unwrap();
        let mut found = vec![0; 0x1800];
        memory.read(0, &mut found).unwrap();
        assert!(found == pattern);
    }

    #[test]
    fn the_end_of_the_file_and_what_is_no_memory_are_errors() {
        let memory = memory();
        let file = TempFile::new().unwrap().into_file();
        (&file).write_all(b"0123456789").unwrap();
        let error = memory.fill_from(&[range(0, 11)], &file, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(memory.fill_from(&[range(0, 1)], &file, 10).is_err());
        assert!(memory.fill_from(&[range(0, 1)], &file, u64::MAX).is_err());
        for outside in [range(0x2fff, 2), range(u64::MAX, 2), range(0, u64::MAX)] {
            assert!(memory.copy_to(&[outside], &file, 0, false).is_err());
        }
        assert_eq!(file.metadata().unwrap().len(), 10);
    }

    #[test]
    fn a_call_that_did_a_part_goes_on_after_it() {
        let mut bytes = [0u8; 8];
        let base = bytes.as_mut_ptr();
        let mut pieces = [(0, 3), (3, 5)].map(|(skip, length)| libc::iovec {
            iov_base: base.wrapping_add(skip).cast(),
            iov_len: length,
        });
        let rest = advance(&mut pieces, 4);
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].iov_len, 4);
        assert_eq!(rest[0].iov_base, base.wrapping_add(4).cast());
        assert!(advance(rest, 4).is_empty());
    }
}
