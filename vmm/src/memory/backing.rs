// SPDX-License-Identifier: MIT OR Apache-2.0
//! What RAM is made of on the host.
//!
//! Spec: mmap(2), memfd_create(2), madvise(2); Linux `Documentation/admin-guide/mm/hugetlbpage.rst`.
//! In: a size and a [`Backing`]. Out: a mapping of the whole process's life, or an [`Error`] that says
//! what the host lacks. RAM itself is never shorter than was asked for: what the host has promised
//! here cannot fail later, but for an ordinary page when no memory is left at all.

use super::Error;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use vm_memory::{FileOffset, MmapRegion};

/// How RAM is made of the host's memory.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Backing {
    /// Of huge pages that the host keeps for this purpose.
    pub hugepages: bool,
    /// As a file that other processes can be given, not as memory of this one alone.
    pub shared: bool,
    /// All of it at once, not page by page when the guest first touches it.
    pub prefault: bool,
    /// Of transparent huge pages wherever the host can.
    pub thp: bool,
}

/// Size of a huge page on x86-64.
pub const HUGE_PAGE: u64 = 2 << 20;
/// The same for the host's addresses.
pub(super) const HUGE_PAGE_LENGTH: usize = 2 << 20;
const _: () = assert!(HUGE_PAGE_LENGTH as u64 == HUGE_PAGE);

/// What a memory file is called in `/proc`.
const NAME: &CStr = c"guest-ram";

/// How many huge pages the host keeps, and has not given to anybody.
const FREE_HUGE_PAGES: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";

pub(super) const PROTECTION: i32 = libc::PROT_READ | libc::PROT_WRITE;
/// Memory of this process alone, of which the host promises nothing.
pub(super) const PRIVATE: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

/// The start of a new mapping of `size` bytes that stays for the rest of the process.
pub(super) fn map(size: u64, backing: Backing) -> Result<*mut u8, Error> {
    let refuse = |reason: String| {
        if backing.hugepages {
            let free = std::fs::read_to_string(FREE_HUGE_PAGES).ok();
            let free = free.and_then(|text| text.trim().parse().ok());
            let pages = size / HUGE_PAGE;
            Error::HugePages {
                pages,
                free,
                reason,
            }
        } else {
            Error::Reserve { size, reason }
        }
    };
    let length = usize::try_from(size).map_err(|error| refuse(error.to_string()))?;
    let file = if backing.shared {
        let file = memory_file(size, backing.hugepages);
        Some(file.map_err(|error| refuse(error.to_string()))?)
    } else {
        None
    };
    // Huge pages are promised by the host when they are mapped, or not had at all.
    let flags = match (backing.shared, backing.hugepages) {
        (false, false) => PRIVATE,
        (false, true) => {
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB | libc::MAP_HUGE_2MB
        }
        (true, false) => libc::MAP_SHARED | libc::MAP_NORESERVE,
        (true, true) => libc::MAP_SHARED,
    };
    // A huge page shows through to the guest where its addresses here and there are both multiples
    // of its size: a guest's 256 MiB then cost some 170 page faults, not 16,000. The host sees to that
    // for huge pages that it keeps.
    let spare = if backing.hugepages || length < HUGE_PAGE_LENGTH {
        0
    } else {
        HUGE_PAGE_LENGTH
    };
    let reserve = |file, protection, flags| {
        let mapping =
            MmapRegion::<()>::build(file, length.saturating_add(spare), protection, flags)
                .map_err(|error| refuse(error.to_string()))?;
        let skip = mapping.as_ptr().align_offset(HUGE_PAGE_LENGTH).min(spare);
        let start = mapping.as_ptr().wrapping_add(skip);
        // Its destructor would unmap.
        std::mem::forget(mapping);
        Ok(start)
    };
    let start = match file {
        // A file has no bytes to spare.
        Some(file) if spare > 0 => {
            let start = reserve(None, libc::PROT_NONE, PRIVATE)?;
            fill(start, length, &file, flags).map_err(|error| refuse(error.to_string()))?;
            // Others may be given it as long as the process lives.
            std::mem::forget(file);
            start
        }
        file => reserve(file.map(|file| FileOffset::new(file, 0)), PROTECTION, flags)?,
    };
    for (wanted, option, advice) in [
        (backing.thp, "thp", libc::MADV_HUGEPAGE),
        (backing.prefault, "prefault", libc::MADV_POPULATE_WRITE),
    ] {
        if wanted {
            advise(start, length, advice).map_err(|source| Error::Option { option, source })?;
        }
    }
    Ok(start)
}

/// Puts the first `length` bytes of `file` where `start` has reserved as many.
fn fill(start: *mut u8, length: usize, file: &File, flags: libc::c_int) -> io::Result<()> {
    let flags = flags | libc::MAP_FIXED;
    // SAFETY: replaces pages that `map` has reserved for this, to which nothing refers yet; the host
    // checks the descriptor, which is open.
    let found = unsafe { libc::mmap(start.cast(), length, PROTECTION, flags, file.as_raw_fd(), 0) };
    if found == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Gives the host advice about memory that has just been mapped and that nothing refers to yet.
fn advise(start: *mut u8, length: usize, advice: libc::c_int) -> io::Result<()> {
    loop {
        // SAFETY: whatever the range is, both kinds of advice that are given change neither protection
        // nor content of any memory: they populate pages with what a read would find, or have them
        // populated in larger pieces.
        let result = unsafe { libc::madvise(start.cast(), length, advice) };
        match io::Error::last_os_error() {
            _ if result == 0 => return Ok(()),
            error if error.kind() == io::ErrorKind::Interrupted => {}
            error => return Err(error),
        }
    }
}

/// A file of `size` bytes in memory. It never becomes shorter, so that no access beyond its end can
/// kill the process.
fn memory_file(size: u64, hugepages: bool) -> io::Result<File> {
    let huge = libc::MFD_HUGETLB | libc::MFD_HUGE_2MB;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING | if hugepages { huge } else { 0 };
    // SAFETY: the name is a string that ends with a NUL; the kernel copies it.
    let descriptor = unsafe { libc::memfd_create(NAME.as_ptr(), flags) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is a new descriptor that nothing else owns.
    let file = unsafe { File::from_raw_fd(descriptor) };
    file.set_len(size)?;
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: adds seals to a descriptor that is open; no memory of this process is involved.
    if unsafe { libc::fcntl(descriptor, libc::F_ADD_SEALS, seals) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}

/// Bytes of memory and swap that the host has altogether, if it says so.
pub(super) fn of_host() -> Option<u64> {
    // SAFETY: it is made of integers, for which zero is a value.
    let mut info: libc::sysinfo = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills the structure that the pointer is to, which lives until it returns.
    if unsafe { libc::sysinfo(&raw mut info) } < 0 {
        return None;
    }
    let units = info.totalram.checked_add(info.totalswap)?;
    units.checked_mul(info.mem_unit.into())
}

#[cfg(test)]
mod test {
    use super::*;

    /// A mapping of `size` bytes: how many of its pages are there, and the flags that `/proc` says it
    /// has. The host joins mappings that are alike.
    fn mapped(size: u64, backing: Backing) -> (usize, String) {
        let start = map(size, backing).unwrap();
        let length = usize::try_from(size).unwrap();
        let mut pages = vec![0u8; length / 4096];
        // SAFETY: there is a byte for each page of the range, which the kernel only looks up.
        let result = unsafe { libc::mincore(start.cast(), length, pages.as_mut_ptr().cast()) };
        assert_eq!(result, 0);
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            let range = line
                .split_once(' ')
                .and_then(|(range, _)| range.split_once('-'));
            let address = |text| usize::from_str_radix(text, 16).ok();
            if let Some((Some(first), Some(end))) = range.map(|(a, b)| (address(a), address(b))) {
                inside = (first..end).contains(&start.addr());
            } else if inside && line.starts_with("VmFlags:") {
                let present = pages.iter().filter(|page| **page & 1 != 0).count();
                return (present, format!("{line} "));
            }
        }
        panic!("{start:?} is in no mapping: {maps}");
    }

    #[test]
    fn ram_is_made_of_what_was_asked_for() {
        let none = Backing::default();
        let (present, flags) = mapped(32 << 20, none);
        assert_eq!(present, 0);
        assert!(flags.contains(" nr ") && !flags.contains(" sh ") && !flags.contains(" hg "));

        let prefault = true;
        let (present, _) = mapped(34 << 20, Backing { prefault, ..none });
        assert_eq!(present, 34 << 8);

        let thp = true;
        let (_, flags) = mapped(36 << 20, Backing { thp, ..none });
        assert!(flags.contains(" hg "), "{flags}");

        let (shared, prefault) = (true, true);
        let backing = Backing {
            shared,
            prefault,
            ..none
        };
        let (present, flags) = mapped(38 << 20, backing);
        assert_eq!(present, 38 << 8);
        assert!(flags.contains(" sh "), "{flags}");
    }

    #[test]
    fn huge_pages_can_be_used_from_the_first_address_on() {
        let backing = |thp, shared| Backing {
            thp,
            shared,
            ..Backing::default()
        };
        // A host may use them without advice, too. Newer ones see to the address by themselves, but
        // only for whole numbers of huge pages.
        for backing in [
            backing(false, false),
            backing(true, false),
            backing(true, true),
        ] {
            let start = map(33 << 20, backing).unwrap();
            assert_eq!(start.align_offset(HUGE_PAGE_LENGTH), 0, "{backing:?}");
        }
    }

    #[test]
    fn huge_pages_are_had_or_refused_in_one_sentence() {
        let size = 64 << 20;
        for shared in [false, true] {
            let backing = Backing {
                hugepages: true,
                shared,
                prefault: true,
                ..Backing::default()
            };
            if let Err(error) = map(size, backing) {
                let sentence = error.to_string();
                let expected = "--memory hugepages=on: expected 32 free huge pages of 2 MiB";
                assert!(sentence.starts_with(expected), "{sentence}");
            }
        }
    }
}
