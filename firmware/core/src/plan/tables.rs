// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the files of the ACPI loader go.

use super::PlanError;
use crate::acpi::{Blobs, LoaderError, Zone};
use crate::memory::{Arena, MemoryMap, Range};
use abi::e820::TYPE_RESERVED;
use abi::layout::{
    HIGH_RAM_START, PAGE_SIZE, RAM_ABOVE_4G_START, ROM_ALIAS_START, RSDP_SCAN_START, TABLES_START,
};

/// What of the memory for tables is in use, below and from [`RSDP_SCAN_START`].
pub struct Tables {
    pub used: [Range; 2],
    /// How many tables have found no room there.
    pub large: usize,
}

/// Puts tables below 1 MiB as far as they fit: no kernel takes that memory for its own, and the
/// firmware reaches it without further page tables.
pub fn place(blobs: &mut Blobs<'_>, memory: &MemoryMap<'_>) -> Result<Tables, PlanError> {
    let all = Range::between(TABLES_START, ROM_ALIAS_START);
    let (start, split) = if memory.is_ram(all) {
        (TABLES_START, RSDP_SCAN_START)
    } else {
        (ROM_ALIAS_START, ROM_ALIAS_START)
    };
    let mut high = Arena::new(Range::between(start, split));
    let mut scanned = Arena::new(Range::between(split, ROM_ALIAS_START));
    let mut large = 0usize;
    for blob in blobs.iter_mut() {
        let (size, align) = (u64::from(blob.size()), blob.align());
        match blob.zone() {
            Zone::FSegment => {
                let place = scanned.take(size, align);
                blob.put(place.ok_or(LoaderError::NoRoom { size, align })?.start());
            }
            Zone::High => match high.take(size, align) {
                Some(place) => blob.put(place.start()),
                None => {
                    blob.put(0); // place_large
                    large = large.saturating_add(1);
                }
            },
        }
    }
    Ok(Tables {
        used: [
            Range::between(high.free().end(), split),
            Range::between(scanned.free().end(), ROM_ALIAS_START),
        ],
        large,
    })
}

/// Puts the others at the top of what 32-bit pointers reach, and takes that RAM from the kernel.
pub fn place_large(
    blobs: &mut Blobs<'_>,
    memory: &mut MemoryMap<'_>,
    kernel: Range,
) -> Result<(), PlanError> {
    let within = Range::between(HIGH_RAM_START, RAM_ABOVE_4G_START);
    for blob in blobs.iter_mut().filter(|blob| blob.place().start() == 0) {
        let (size, align) = (u64::from(blob.size()), blob.align().max(PAGE_SIZE));
        let place = memory
            .highest_fit(size, align, within, &[kernel])
            .ok_or(LoaderError::NoRoom { size, align })?;
        memory.set(place, TYPE_RESERVED)?;
        blob.put(place.start());
    }
    Ok(())
}
