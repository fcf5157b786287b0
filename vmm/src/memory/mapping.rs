// SPDX-License-Identifier: MIT OR Apache-2.0
//! Host mappings behind guest memory.
//!
//! Spec: mmap(2), and the Linux KVM API, section 4.35 (`KVM_SET_USER_MEMORY_REGION`).
//! RAM is one mapping, so that guest and host addresses stay congruent and huge pages can back
//! it; the ROM is another. Both are cut into views, and the last views of the ROM are two views
//! of the same bytes. Neither mapping is ever unmapped: KVM and processor threads use them
//! until the process ends, and the process ends with the machine.

use super::backing::{self, Backing, HUGE_PAGE_LENGTH as HUGE_PAGE, PRIVATE, PROTECTION};
use super::layout::{Kind, Piece};
use super::{Error, Layout};
use abi::layout::ROM_GRANULE;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion, VolatileSlice};

/// A mapping that outlives every view of it.
#[derive(Debug)]
struct Eternal {
    start: *mut u8,
    size: u64,
}

impl Eternal {
    fn new(size: u64, backing: Backing) -> Result<Self, Error> {
        let start = backing::map(size, backing)?;
        Ok(Self { start, size })
    }

    /// The guest region at `guest` that shows `size` bytes from `offset` of this mapping.
    fn view(&self, offset: u64, size: u64, guest: u64) -> Result<GuestRegionMmap, Error> {
        let refuse = |reason: String| Error::Reserve { size, reason };
        let inside = offset.checked_add(size).is_some_and(|end| end <= self.size);
        let (Ok(skip), Ok(length)) = (usize::try_from(offset), usize::try_from(size)) else {
            return Err(refuse("larger than the host's address space".into()));
        };
        if !inside {
            return Err(refuse("a view reaches beyond its mapping".into()));
        }
        let start = self.start.wrapping_add(skip);
        // SAFETY: `start..start + length` lies within the mapping, because `inside` was checked
        // above and both conversions were exact; the mapping is present for the rest of the
        // process, because `backing::map` forgets its owner and nothing else unmaps it.
        let region = unsafe { MmapRegion::build_raw(start, length, PROTECTION, PRIVATE) }
            .map_err(|error| refuse(error.to_string()))?;
        GuestRegionMmap::new(region, GuestAddress(guest))
            .ok_or_else(|| refuse("guest address overflows".into()))
    }
}

/// Tells the host that all of `slice` is about to be written, so that it may use huge pages for
/// what is large enough: 16 MiB then cost 8 page faults, not 4096.
pub(super) fn expect_all_of(slice: VolatileSlice<'_>) {
    let start = slice.ptr_guard_mut().as_ptr();
    let skip = start.align_offset(HUGE_PAGE);
    let length = slice.len().saturating_sub(skip) / HUGE_PAGE * HUGE_PAGE;
    if length > 0 {
        let start = start.wrapping_add(skip).cast();
        // SAFETY: `start..start + length` lies within `slice`, which is mapped while it is
        // borrowed. The advice changes no content and no protection; if the host does not
        // follow it, nothing is lost.
        unsafe { libc::madvise(start, length, libc::MADV_HUGEPAGE) };
    }
}

/// All regions of a machine, in ascending order of guest address.
pub(super) fn machine(layout: &Layout, backing: Backing) -> Result<GuestMemoryMmap, Error> {
    let ram = Eternal::new(layout.ram_size(), backing)?;
    // A machine may have no ROM, but no mapping is empty.
    let rom = Eternal::new(layout.rom_size().max(ROM_GRANULE), Backing::default())?;
    let view = |piece: Piece| match piece.kind {
        Kind::Ram => ram.view(piece.offset, piece.size, piece.guest),
        Kind::Rom => rom.view(piece.offset, piece.size, piece.guest),
    };
    let regions = layout.pieces().into_iter().map(view);
    let regions = regions.collect::<Result<_, _>>()?;
    GuestMemoryMmap::from_regions(regions).map_err(|error| Error::Reserve {
        size: layout.ram_size(),
        reason: error.to_string(),
    })
}
