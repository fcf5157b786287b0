// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guest memory: where RAM and ROM lie, and the only way to touch them.
//!
//! Spec: QEMU `hw/i386/microvm.c` and `x86_bios_rom_init`; the map itself is `abi::layout`.
//! In: guest-physical addresses from anywhere, trusted by nobody. Out: bytes, or an [`Error`].
//! Never: a host pointer, except in [`Slot`], which only the hypervisor room uses.

#[allow(unsafe_code)] // what the host offers beyond mmap has no safe wrapper; each block is proved
mod backing;
#[allow(unsafe_code)] // vectored file access has no safe wrapper; each block carries its proof
mod files;
mod layout;
#[allow(unsafe_code)] // makes several views of one mapping; each block carries its proof
mod mapping;
#[allow(unsafe_code)] // what the host has provided has no safe wrapper; the block carries its proof
mod resident;
#[allow(unsafe_code)] // what the host does meanwhile has no safe wrapper; each block is proved
mod ring;

pub use backing::{Backing, HUGE_PAGE};
pub use layout::{Kind, Layout, Piece};
pub use ring::{Action, Ring, probe as probe_ring};

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryError, GuestMemoryMmap, GuestMemoryRegion,
    GuestRegionMmap,
};

/// Why guest memory could not be had or touched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host gave no memory.
    #[error("cannot reserve {size} bytes of host address space for guest memory: {reason}")]
    Reserve {
        /// Bytes asked for.
        size: u64,
        /// The host's words.
        reason: String,
    },
    /// More RAM than there is.
    #[error(
        "--memory: expected at most {most} bytes, the memory and swap of this host, found {found}"
    )]
    Host {
        /// Bytes that the host has.
        most: u64,
        /// Bytes asked for.
        found: u64,
    },
    /// No huge pages.
    #[error(
        "--memory hugepages=on: expected {pages} free huge pages of 2 MiB \
         (/proc/sys/vm/nr_hugepages), found {}: {reason}",
        free.map_or("a host without them".into(), |free| free.to_string())
    )]
    HugePages {
        /// Pages needed.
        pages: u64,
        /// Pages that nobody uses.
        free: Option<u64>,
        /// The host's words.
        reason: String,
    },
    /// A way of having memory that this host does not know.
    #[error("--memory {option}=on: refused by the host: {source}")]
    Option {
        /// The option.
        option: &'static str,
        /// The host's words.
        source: io::Error,
    },
    /// The range is not all memory.
    #[error("guest range {address:#x}+{length:#x} is not all memory")]
    Outside {
        /// First guest-physical address.
        address: u64,
        /// Length in bytes.
        length: u64,
    },
    /// A file could not be read into guest memory.
    #[error("reading {length} bytes at offset {offset} of a file into guest memory: {source}")]
    File {
        /// Offset in the file.
        offset: u64,
        /// Bytes asked for.
        length: u64,
        /// The host's error.
        source: io::Error,
    },
}

/// One contiguous piece of guest memory, as KVM wants it described.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// First guest-physical address.
    pub guest: u64,
    /// Length in bytes, a multiple of the page size.
    pub size: u64,
    /// Host address of the first byte. It stays mapped for the life of the process.
    pub host: u64,
}

/// A range of guest memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Range {
    /// First guest-physical address.
    pub address: u64,
    /// Length in bytes.
    pub length: u64,
}

/// All memory of one machine. Cloning gives another handle on the same bytes.
#[derive(Clone, Debug)]
pub struct Memory {
    view: Arc<GuestMemoryMmap>,
}

impl Memory {
    /// The memory of a machine: RAM, the ROM below 4 GiB, and the same ROM bytes below 1 MiB.
    ///
    /// Unless `backing` says otherwise RAM is reserved, not committed: the host provides a page when
    /// it is first touched. More than the host has could only end badly, and is refused.
    pub fn for_machine(layout: &Layout, backing: Backing) -> Result<Self, Error> {
        let found = layout.ram_size();
        if let Some(most) = backing::of_host().filter(|most| *most < found) {
            return Err(Error::Host { most, found });
        }
        Ok(Self {
            view: Arc::new(mapping::machine(layout, backing)?),
        })
    }

    /// Separate zeroed ranges `(guest-physical address, size in bytes)`, for device tests.
    pub fn from_ranges(ranges: &[(u64, usize)]) -> Result<Self, Error> {
        let size = ranges.iter().map(|(_, size)| *size as u64).sum();
        let ranges: Vec<_> = ranges
            .iter()
            .map(|(start, size)| (GuestAddress(*start), *size))
            .collect();
        GuestMemoryMmap::from_ranges(&ranges)
            .map(|view| Self {
                view: Arc::new(view),
            })
            .map_err(|error| Error::Reserve {
                size,
                reason: error.to_string(),
            })
    }

    /// The pieces to hand to KVM, in ascending order of guest address.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.view.iter().map(|region: &GuestRegionMmap| Slot {
            guest: region.start_addr().0,
            size: region.len(),
            host: region.as_ptr() as u64,
        })
    }

    /// Whether all of `address..address + length` is memory. An empty range always is.
    #[must_use]
    pub fn contains(&self, address: u64, length: u64) -> bool {
        usize::try_from(length)
            .is_ok_and(|length| self.view.check_range(GuestAddress(address), length))
    }

    /// What `virtio-queue` knows memory as.
    pub(crate) fn view(&self) -> &GuestMemoryMmap {
        &self.view
    }

    fn claim(&self, address: u64, length: u64) -> Result<GuestAddress, Error> {
        if self.contains(address, length) {
            Ok(GuestAddress(address))
        } else {
            Err(Error::Outside { address, length })
        }
    }

    /// Copies guest memory out; all of `out` or nothing.
    pub fn read(&self, address: u64, out: &mut [u8]) -> Result<(), Error> {
        let length = out.len() as u64;
        let start = self.claim(address, length)?;
        self.view
            .read_slice(out, start)
            .map_err(|_| Error::Outside { address, length })
    }

    /// Copies into guest memory; all of `bytes` or nothing.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Error> {
        let length = bytes.len() as u64;
        let start = self.claim(address, length)?;
        self.view
            .write_slice(bytes, start)
            .map_err(|_| Error::Outside { address, length })
    }

    /// A 16-bit number that the guest may be changing, little-endian.
    pub fn load(&self, address: u64) -> Result<u16, Error> {
        let number = self.view.load(GuestAddress(address), Ordering::Acquire);
        let outside = |_| Error::Outside { address, length: 2 };
        number.map(u16::from_le).map_err(outside)
    }

    /// Sets `length` bytes to zero; all of them or none.
    pub fn zero(&self, address: u64, length: u64) -> Result<(), Error> {
        const ZEROS: [u8; 4096] = [0; 4096];
        self.claim(address, length)?;
        let mut done = 0;
        while done < length {
            let step = (length - done).min(ZEROS.len() as u64);
            let chunk = ZEROS
                .get(..usize::try_from(step).unwrap_or(0))
                .unwrap_or(&[]);
            self.write(address + done, chunk)?;
            done += step;
        }
        Ok(())
    }

    /// Reads `length` bytes at `offset` of `file` straight into guest memory.
    ///
    /// Moves the file's cursor. Nothing is written unless the whole range is memory; a file that
    /// ends early is an error, with an unspecified part of the range written.
    pub fn read_file(
        &self,
        address: u64,
        mut file: &File,
        offset: u64,
        length: u64,
    ) -> Result<(), Error> {
        let start = self.claim(address, length)?;
        let wrap = |source| Error::File {
            offset,
            length,
            source,
        };
        let count = usize::try_from(length).map_err(|_| Error::Outside { address, length })?;
        if count == 0 {
            return Ok(());
        }
        for slice in self.view.get_slices(start, count).flatten() {
            mapping::expect_all_of(slice);
        }
        file.seek(SeekFrom::Start(offset)).map_err(wrap)?;
        self.view
            .read_exact_volatile_from(start, &mut file, count)
            .map_err(|error| {
                wrap(match error {
                    GuestMemoryError::IOError(source) => source,
                    other => io::Error::new(io::ErrorKind::UnexpectedEof, other.to_string()),
                })
            })
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::io::Write;
    use vmm_sys_util::tempfile::TempFile;

    fn two_ranges() -> Memory {
        Memory::from_ranges(&[(0, 0x2000), (0x2000, 0x1000), (0x8000, 0x1000)]).unwrap()
    }

    #[test]
    fn a_copy_crosses_from_one_range_into_its_neighbour() {
        let memory = two_ranges();
        memory.write(0x1ffe, b"abcd").unwrap();
        let mut back = [0; 4];
        memory.read(0x1ffe, &mut back).unwrap();
        assert_eq!(&back, b"abcd");
    }

    #[test]
    fn a_copy_into_a_hole_fails_and_writes_nothing() {
        let memory = two_ranges();
        assert!(memory.write(0x2fff, b"xy").is_err());
        let mut back = [0xff];
        memory.read(0x2fff, &mut back).unwrap();
        assert_eq!(back, [0]);
    }

    #[test]
    fn ranges_that_wrap_around_are_not_memory() {
        let memory = two_ranges();
        for (address, length) in [
            (u64::MAX, 1),
            (u64::MAX, 2),
            (0x1000, u64::MAX),
            (0x8fff, 2),
            (u64::MAX - 1, 4),
        ] {
            assert!(
                !memory.contains(address, length),
                "{address:#x}+{length:#x}"
            );
            assert!(memory.zero(address, length).is_err());
        }
        assert!(memory.contains(0x9000, 0));
    }

    #[test]
    fn a_file_lands_where_it_was_asked_to_and_a_short_one_is_an_error() {
        let memory = two_ranges();
        let temp = TempFile::new().unwrap();
        temp.as_file().write_all(b"0123456789").unwrap();
        memory.read_file(0x1fff, temp.as_file(), 3, 5).unwrap();
        let mut back = [0; 5];
        memory.read(0x1fff, &mut back).unwrap();
        assert_eq!(&back, b"34567");
        assert!(memory.read_file(0, temp.as_file(), 8, 3).is_err());
        assert!(memory.read_file(0x3000, temp.as_file(), 0, 1).is_err());
    }

    #[test]
    fn both_views_of_the_rom_are_the_same_bytes() {
        let layout = Layout::new(4 << 20, 256 << 10);
        let memory = Memory::for_machine(&layout, Backing::default()).unwrap();
        memory.write(0xffff_fff0, b"reset").unwrap();
        let mut back = [0; 5];
        memory.read(0xf_fff0, &mut back).unwrap();
        assert_eq!(&back, b"reset");
        memory.write(0xe_0000, b"alias").unwrap();
        memory.read(0xfffe_0000, &mut back).unwrap();
        assert_eq!(&back, b"alias");
        assert!(memory.contains(0xfffc_0000, 256 << 10));
        assert!(!memory.contains(0xfffb_ffff, 1));
        assert!(memory.contains(0, 4 << 20));
        assert!(!memory.contains(4 << 20, 1));
    }

    #[test]
    fn ram_above_three_gib_continues_at_four() {
        let layout = Layout::new(5 << 30, 64 << 10);
        let memory = Memory::for_machine(&layout, Backing::default()).unwrap();
        assert!(memory.contains(0xbfff_ffff, 1));
        assert!(!memory.contains(0xc000_0000, 1));
        assert!(memory.contains(0x1_0000_0000, 2 << 30));
        assert!(!memory.contains(0x1_8000_0000, 1));
    }

    #[test]
    fn more_than_the_host_has_is_refused() {
        let size = 1 << 45;
        let error = Memory::for_machine(&Layout::new(size, 64 << 10), Backing::default());
        let sentence = error.unwrap_err().to_string();
        assert!(
            sentence.contains("this host, found 35184372088832"),
            "{sentence}"
        );
    }
}
