// SPDX-License-Identifier: MIT OR Apache-2.0
//! Between guest memory and a file without waiting: the host is told what to do, goes on by itself,
//! and says later what became of it.
//!
//! Spec: io_uring(7), io_uring_enter(2), io_uring_register(2). In: ranges of guest memory, trusted by
//! nobody, and one file. Out: for each transfer all bytes, or an error after an unspecified part of
//! them. A ring can do nothing else: that is told the host when it is made, because filters of system
//! calls do not see what goes through a ring.

use super::files::{MOST_PIECES, advance};
use super::{Memory, Range};
use io_uring::register::Restriction;
use io_uring::squeue::Entry;
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{EnterFlags, IoUring, Probe, opcode};
use std::collections::VecDeque;
use std::fmt::{self, Debug, Formatter};
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

/// What a ring is made for.
const OPERATIONS: [(u8, &str); 3] = [
    (opcode::Readv::CODE, "IORING_OP_READV"),
    (opcode::Writev::CODE, "IORING_OP_WRITEV"),
    (opcode::Fsync::CODE, "IORING_OP_FSYNC"),
];
/// How long the host gets when it has no memory for a request just now.
const PAUSE: Duration = Duration::from_millis(1);

/// What the host is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Fill guest memory with what is at this offset.
    Read(u64),
    /// Write guest memory to this offset; if `stable`, onto the medium.
    Write {
        /// Offset in the file.
        offset: u64,
        /// Whether it is done only when it is on the medium.
        stable: bool,
    },
    /// Put onto the medium what was written.
    Flush,
}

/// Pieces of guest memory as the host knows them.
struct Pieces(Vec<libc::iovec>);

// SAFETY: the pointers lead into guest memory, which belongs to no thread, and nothing in this
// process follows them: they are numbers for the host.
unsafe impl Send for Pieces {}

/// Something that the host is doing, and what it is needed for.
struct Job<T> {
    action: Action,
    pieces: Pieces,
    /// Bytes that are done.
    done: u64,
    /// Keeps the pieces mapped.
    _memory: Memory,
    what: T,
}

/// A ring. Each transfer carries a `T`, which comes back with its result.
pub struct Ring<T> {
    /// Dropped only when the host does nothing any more.
    ring: ManuallyDrop<IoUring>,
    /// The same: what the host works with.
    jobs: ManuallyDrop<Vec<Option<Job<T>>>>,
    /// Not registered with the ring, which goes some time after its process and would keep it locked.
    file: Arc<File>,
    /// Those of `jobs` that are `None`.
    free: Vec<usize>,
    /// Those of `jobs` that the host has not taken yet, in their order.
    waiting: VecDeque<usize>,
    /// The host's words when it took no more.
    refused: Option<i32>,
}

impl<T> Debug for Ring<T> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let under_way = self.jobs.len() - self.free.len();
        let mut shown = formatter.debug_struct("Ring");
        shown.field("under_way", &under_way).finish_non_exhaustive()
    }
}

/// Whether the kernel has what a ring needs; if not, why.
pub fn probe() -> io::Result<()> {
    build(1).map(drop)
}

/// A ring that cannot do anything yet.
fn build(most: u16) -> io::Result<IoUring> {
    let ring = IoUring::builder().setup_r_disabled().build(most.into())?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let missing = OPERATIONS.iter().find(|it| !probe.is_supported(it.0));
    match missing {
        None => Ok(ring),
        Some((_, name)) => {
            let words = format!("the kernel has no {name}");
            Err(io::Error::new(io::ErrorKind::Unsupported, words))
        }
    }
}

impl<T> Ring<T> {
    /// A ring for at most `most` transfers at once, from and to `file`. The host writes to the event
    /// counter `event` when it has finished something; nobody has to read it.
    pub fn new(file: Arc<File>, event: BorrowedFd<'_>, most: u16) -> io::Result<Self> {
        let most = most.max(1);
        let ring = build(most)?;
        let host = ring.submitter();
        host.register_eventfd(event.as_raw_fd())?;
        let mut rules: Vec<_> = OPERATIONS
            .iter()
            .map(|(code, _)| Restriction::sqe_op(*code))
            .collect();
        host.register_restrictions(&mut rules)?;
        host.register_enable_rings()?;
        let count = usize::from(most);
        Ok(Self {
            ring: ManuallyDrop::new(ring),
            jobs: ManuallyDrop::new((0..count).map(|_| None).collect()),
            file,
            free: (0..count).rev().collect(),
            waiting: VecDeque::with_capacity(count),
            refused: None,
        })
    }

    /// Whether one more transfer can be started.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Prepares a transfer between `ranges` of `memory`, one after the other, and the file. The host
    /// hears of it in [`Self::finish`]. Without room, or where a range is not all memory, it is an error.
    pub fn start(
        &mut self,
        memory: &Memory,
        action: Action,
        ranges: &[Range],
        what: T,
    ) -> Result<(), (io::Error, T)> {
        let pieces = match memory.pieces(ranges) {
            Ok(pieces) => Pieces(pieces),
            Err(error) => return Err((error, what)),
        };
        if let Some(code) = self.refused {
            return Err((io::Error::from_raw_os_error(code), what));
        }
        let Some(index) = self.free.pop() else {
            return Err((io::ErrorKind::QuotaExceeded.into(), what));
        };
        self.place(
            index,
            Job {
                action,
                pieces,
                done: 0,
                _memory: memory.clone(),
                what,
            },
        );
        Ok(())
    }

    /// Puts a job where the host finds it.
    fn place(&mut self, index: usize, job: Job<T>) {
        let entry = job.entry(Fd(self.file.as_raw_fd())).user_data(index as u64);
        if let Some(slot) = self.jobs.get_mut(index) {
            *slot = Some(job);
        }
        // SAFETY: what the entry points to is valid until the host has finished it. The array of
        // pieces is on the heap and belongs to the job, which stays in `jobs` until then and is not
        // changed there; so does the guest memory that the pieces are, because `_memory` keeps it
        // mapped. `drop` gives up neither before the host has finished. The file is open as long as
        // `self`, and from then on the host has a hold of its own on it.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        self.waiting.push_back(index);
        if pushed.is_err() {
            // There are as many entries as jobs, and each has at most one: this does not happen.
            self.refused = Some(libc::EBUSY);
        }
    }

    /// Lets the host take what was started, and calls `each` for all that it has finished by now.
    pub fn finish(&mut self, mut each: impl FnMut(T, io::Result<()>)) {
        loop {
            let refused = self.submit();
            for (job, error) in refused {
                each(job.what, Err(error));
            }
            let mut any = false;
            while let Some((index, job, result)) = self.next() {
                any = true;
                match job.after(result) {
                    After::Done(what, result) => {
                        self.free.push(index);
                        each(what, result);
                    }
                    After::More(job) if self.refused.is_none() => self.place(index, job),
                    After::More(job) => {
                        self.free.push(index);
                        each(job.what, Err(io::ErrorKind::Interrupted.into()));
                    }
                }
            }
            if self.waiting.is_empty() && !any {
                return;
            }
        }
    }

    /// Drops what the host has finished by now. Gives whether it does nothing any more.
    pub fn settle(&mut self) -> bool {
        // What the host has not even heard of yet would stay for ever.
        self.submit();
        while let Some((index, ..)) = self.next() {
            self.free.push(index);
        }
        self.free.len() == self.jobs.len()
    }

    /// Takes out a job that the host has finished.
    fn next(&mut self) -> Option<(usize, Job<T>, i32)> {
        loop {
            let entry = self.ring.completion().next()?;
            let index = usize::try_from(entry.user_data()).unwrap_or(usize::MAX);
            let job = self.jobs.get_mut(index).and_then(Option::take);
            if let Some(job) = job {
                return Some((index, job, entry.result()));
            }
        }
    }

    /// Lets the host take what waits. Gives what it refuses; then it takes nothing any more.
    fn submit(&mut self) -> Vec<(Job<T>, io::Error)> {
        while !self.waiting.is_empty() && self.refused.is_none() {
            match self.ring.submit() {
                Ok(0) => self.refused = Some(libc::EIO),
                Ok(count) => {
                    self.waiting.drain(..count.min(self.waiting.len()));
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => std::thread::sleep(PAUSE),
                    code => self.refused = Some(code.unwrap_or(libc::EIO)),
                },
            }
        }
        let mut refused = Vec::new();
        if let Some(code) = self.refused {
            for index in std::mem::take(&mut self.waiting) {
                // Nothing is submitted any more, so that the host never sees these.
                if let Some(job) = self.jobs.get_mut(index).and_then(Option::take) {
                    self.free.push(index);
                    refused.push((job, io::Error::from_raw_os_error(code)));
                }
            }
        }
        refused
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        while !self.settle() {
            let flags = EnterFlags::GETEVENTS.bits();
            // SAFETY: submits nothing, and waits for one that is finished; there is no argument.
            let waited = unsafe { self.ring.submitter().enter::<()>(0, 1, flags, None) };
            if waited.is_err_and(|error| error.kind() != io::ErrorKind::Interrupted) {
                // What the host may still write to, it keeps for ever.
                return;
            }
        }
        // SAFETY: neither is used again, because `self` is going.
        unsafe { ManuallyDrop::drop(&mut self.jobs) };
        // SAFETY: as above.
        unsafe { ManuallyDrop::drop(&mut self.ring) };
    }
}

/// What a job is, once the host has had its turn.
enum After<T> {
    Done(T, io::Result<()>),
    /// The host has done a part, or nothing yet.
    More(Job<T>),
}

impl<T> Job<T> {
    /// What the host is told about the part that is not done.
    fn entry(&self, file: Fd) -> Entry {
        let pieces = self.pieces.0.as_ptr();
        let count = self.pieces.0.len().min(MOST_PIECES);
        let count = u32::try_from(count).unwrap_or(0);
        match self.action {
            Action::Read(offset) => opcode::Readv::new(file, pieces, count)
                .offset(offset.saturating_add(self.done))
                .build(),
            Action::Write { offset, stable } => opcode::Writev::new(file, pieces, count)
                .offset(offset.saturating_add(self.done))
                .rw_flags(if stable { libc::RWF_DSYNC } else { 0 })
                .build(),
            Action::Flush => opcode::Fsync::new(file).flags(FsyncFlags::DATASYNC).build(),
        }
    }

    fn after(mut self, result: i32) -> After<T> {
        let done = match usize::try_from(result) {
            Ok(done) => done,
            Err(_) if [-libc::EINTR, -libc::EAGAIN].contains(&result) => return After::More(self),
            Err(_) => return self.failed(io::Error::from_raw_os_error(-result)),
        };
        if self.action == Action::Flush {
            return After::Done(self.what, Ok(()));
        }
        let rest = advance(&mut self.pieces.0, done).len();
        let whole = self.pieces.0.len() - rest;
        self.pieces.0.drain(..whole);
        self.done += done as u64;
        if rest == 0 {
            After::Done(self.what, Ok(()))
        } else if done == 0 {
            self.failed(io::ErrorKind::UnexpectedEof.into())
        } else {
            After::More(self)
        }
    }

    fn failed(self, error: io::Error) -> After<T> {
        After::Done(self.what, Err(error))
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::FileExt;
    use std::time::Instant;
    use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
    use vmm_sys_util::tempfile::TempFile;

    /// Memory of two mappings and a ring of two transfers; `None` where there is no io_uring. That
    /// there is one in the lab is what its cases expect.
    fn bench(file: File) -> Option<(Memory, Ring<u32>)> {
        if let Err(error) = probe() {
            eprintln!("SKIPPED: io_uring: {error}");
            return None;
        }
        let event = EventFd::new(EFD_NONBLOCK).unwrap();
        // SAFETY: `event` is open until the end of this function.
        let descriptor = unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) };
        let ring = Ring::new(Arc::new(file), descriptor, 2).unwrap();
        let memory = Memory::from_ranges(&[(0, 0x2000), (0x2000, 0x1000)]).unwrap();
        Some((memory, ring))
    }

    fn range(address: u64, length: u64) -> Range {
        Range { address, length }
    }

    /// Everything that is under way, in the order of its numbers.
    fn all(ring: &mut Ring<u32>) -> Vec<(u32, io::Result<()>)> {
        let begin = Instant::now();
        let mut found = Vec::new();
        while ring.free.len() < ring.jobs.len() {
            ring.finish(|what, result| found.push((what, result)));
            assert!(begin.elapsed() < Duration::from_secs(10));
        }
        found.sort_by_key(|(what, _)| *what);
        found
    }

    #[test]
    fn bytes_go_into_pieces_and_back() {
        let file = TempFile::new().unwrap().into_file();
        (&file).write_all(b"0123456789").unwrap();
        let Some((memory, mut ring)) = bench(file.try_clone().unwrap()) else {
            return;
        };
        // The first crosses from one mapping into the next.
        let ranges = [range(0x1ffe, 4), range(0x10, 0), range(0x20, 3)];
        ring.start(&memory, Action::Read(2), &ranges, 1).unwrap();
        assert!(matches!(all(&mut ring)[..], [(1, Ok(()))]));
        let mut found = [0; 7];
        memory.read(0x1ffe, &mut found[..4]).unwrap();
        memory.read(0x20, &mut found[4..]).unwrap();
        assert_eq!(&found, b"2345678");
        let (offset, stable) = (9, true);
        let write = Action::Write { offset, stable };
        ring.start(&memory, write, &ranges, 2).unwrap();
        ring.start(&memory, Action::Flush, &[], 3).unwrap();
        assert!(!ring.has_room());
        assert!(matches!(all(&mut ring)[..], [(2, Ok(())), (3, Ok(()))]));
        let mut found = [0; 16];
        file.read_exact_at(&mut found, 0).unwrap();
        assert_eq!(&found, b"0123456782345678");
    }

    #[test]
    fn more_pieces_than_the_host_takes_at_once() {
        let file = TempFile::new().unwrap().into_file();
        let pattern: Vec<u8> = (0..=255).cycle().take(0x1800).collect();
        (&file).write_all(&pattern).unwrap();
        let Some((memory, mut ring)) = bench(file) else {
            return;
        };
        let ranges: Vec<_> = (0..0x1800).map(|place| range(place, 1)).collect();
        ring.start(&memory, Action::Read(0), &ranges, 1).unwrap();
        assert!(matches!(all(&mut ring)[..], [(1, Ok(()))]));
        let mut found = vec![0; 0x1800];
        memory.read(0, &mut found).unwrap();
        assert!(found == pattern);
    }

    #[test]
    fn the_end_of_the_file_and_what_is_no_memory_are_errors() {
        let file = TempFile::new().unwrap().into_file();
        (&file).write_all(b"0123456789").unwrap();
        let Some((memory, mut ring)) = bench(file) else {
            return;
        };
        for (offset, length) in [(0, 11), (10, 1), (u64::MAX, 1)] {
            let ranges = [range(0, length)];
            ring.start(&memory, Action::Read(offset), &ranges, 1)
                .unwrap();
            assert!(matches!(all(&mut ring)[..], [(1, Err(_))]), "{offset}");
        }
        for outside in [range(0x2fff, 2), range(u64::MAX, 2), range(0, u64::MAX)] {
            let refused = ring.start(&memory, Action::Read(0), &[outside], 7);
            assert_eq!(refused.unwrap_err().1, 7);
        }
    }

    /// A read that ends only when something is written to the other end.
    fn waiting() -> Option<(Memory, Ring<u32>, File)> {
        let (near, far) = io::pipe().unwrap();
        let (memory, mut ring) = bench(OwnedFd::from(near).into())?;
        let ranges = [range(0x100, 4)];
        ring.start(&memory, Action::Read(0), &ranges, 1).unwrap();
        ring.finish(|_, _| panic!("nothing has been written"));
        Some((memory, ring, OwnedFd::from(far).into()))
    }

    #[test]
    fn what_is_under_way_is_waited_for_and_forgotten() {
        let Some((memory, mut ring, mut far)) = waiting() else {
            return;
        };
        ring.start(&memory, Action::Read(0), &[range(0, 4)], 2)
            .unwrap();
        let refused = ring.start(&memory, Action::Flush, &[], 3);
        assert_eq!(refused.unwrap_err().1, 3, "no room");
        assert!(!ring.settle());
        far.write_all(b"datadata").unwrap();
        let begin = Instant::now();
        while !ring.settle() {
            assert!(begin.elapsed() < Duration::from_secs(10));
        }
        ring.finish(|_, _| panic!("it was forgotten"));
        let mut found = [0; 4];
        memory.read(0x100, &mut found).unwrap();
        assert_eq!(&found, b"data");
        assert!(ring.has_room());
    }

    #[test]
    fn a_ring_goes_when_the_host_is_done_with_it() {
        let Some((memory, ring, mut far)) = waiting() else {
            return;
        };
        let later = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            far.write_all(b"late").unwrap();
        });
        drop(ring);
        let mut found = [0; 4];
        memory.read(0x100, &mut found).unwrap();
        assert_eq!(&found, b"late");
        later.join().unwrap();
    }

    #[test]
    fn a_ring_does_nothing_but_what_it_was_made_for() {
        let file = TempFile::new().unwrap().into_file();
        let Some((_, mut ring)) = bench(file) else {
            return;
        };
        let entry = opcode::Nop::new().build();
        // SAFETY: it leads nowhere.
        unsafe { ring.ring.submission().push(&entry) }.unwrap();
        ring.ring.submit_and_wait(1).unwrap();
        let done = ring.ring.completion().next().unwrap();
        assert_eq!(done.result(), -libc::EACCES);
    }
}
