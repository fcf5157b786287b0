// SPDX-License-Identifier: MIT OR Apache-2.0
//! The RAM below 1 MiB that the firmware works in, lent as disjoint windows.
//!
//! Addresses: `abi::layout`. What the memory holds beforehand (after a reset: anything) does not
//! matter, because every type lent here is valid for any bytes.

use abi::bios::Bda;
use abi::e820::MAX_ENTRIES;
use abi::layout::{
    BDA_START, HANDOFF_FLOOR, HIGH_RAM_START, LOW_RAM_END, ROM_ALIAS_START, ROM_SIZE, ROM_TOP,
    SCRATCH_END, SCRATCH_START, TABLES_START,
};
use core::ptr;
use firmware_core::acpi::{Blob, BlobMemory, CommandBuffer, MAX_BLOBS};
use firmware_core::facts;
use firmware_core::fw_cfg::DirectoryBuffer;
use firmware_core::memory::{Range, Region};
use firmware_core::tables::piece;
use zerocopy::{FromBytes, IntoBytes, KnownLayout};

/// What lies at `SCRATCH_START`.
#[derive(FromBytes)]
#[repr(C)]
pub struct Scratch {
    /// The memory map while it is being made.
    pub map: [Region; MAX_ENTRIES],
    /// Files that the ACPI loader loads.
    pub blobs: [Blob; MAX_BLOBS],
    /// The file directory.
    pub directory: DirectoryBuffer,
    /// The ACPI loader script.
    pub commands: CommandBuffer,
    /// What the device answers.
    pub facts: facts::Scratch,
}

const _: () = assert!(size_of::<Scratch>() as u64 <= SCRATCH_END - SCRATCH_START);
const _: () = assert!(SCRATCH_START.is_multiple_of(align_of::<Scratch>() as u64));

impl Scratch {
    /// # Safety
    /// Call it once; nothing else may use the memory from `SCRATCH_START` to `SCRATCH_END`.
    pub unsafe fn take() -> &'static mut Self {
        let scratch = ptr::with_exposed_provenance_mut(SCRATCH_START as usize);
        // SAFETY: aligned and large enough (asserted above); mapped to itself by `boot`; RAM on
        // every machine with conventional memory; exclusive by the caller's promise; any bytes
        // are a valid Self (FromBytes).
        unsafe { &mut *scratch }
    }
}

/// The memory from `HANDOFF_FLOOR` to `LOW_RAM_END`.
pub struct HandoffMemory {
    bytes: &'static mut [u8],
}

impl HandoffMemory {
    /// # Safety
    /// Call it once; nothing else may use this memory.
    pub unsafe fn take() -> Self {
        let start = ptr::with_exposed_provenance_mut(HANDOFF_FLOOR as usize);
        let length = (LOW_RAM_END - HANDOFF_FLOOR) as usize;
        // SAFETY: bytes have no alignment and no invalid values; the rest as in `Scratch::take`.
        let bytes = unsafe { core::slice::from_raw_parts_mut(start, length) };
        Self { bytes }
    }

    /// Lends it as a whole for the time until the plan divides it.
    pub fn borrow<T: FromBytes + IntoBytes + KnownLayout>(&mut self) -> Option<&mut T> {
        let (borrowed, _) = T::mut_from_prefix(self.bytes).ok()?;
        Some(borrowed)
    }

    /// The bytes of the guest-physical range `range`; none if it is not inside.
    pub fn window(&mut self, range: Range) -> &mut [u8] {
        piece(
            self.bytes,
            Range::between(HANDOFF_FLOOR, LOW_RAM_END),
            range,
        )
    }
}

/// The BIOS data area, and the memory from `SCRATCH_START` to `LOW_RAM_END`.
///
/// # Safety
/// Nothing else may use this memory, the windows of this module included, while either is in use.
pub unsafe fn conventional<'a>() -> (&'a mut Bda, &'a mut [u8]) {
    let bda = ptr::with_exposed_provenance_mut(BDA_START as usize);
    let start = ptr::with_exposed_provenance_mut(SCRATCH_START as usize);
    let length = (LOW_RAM_END - SCRATCH_START) as usize;
    // SAFETY: as in `HandoffMemory::take`; a BDA has no alignment either.
    let memory = unsafe { core::slice::from_raw_parts_mut(start, length) };
    // SAFETY: as above; the BDA lies outside the other window, and below the page tables.
    (unsafe { &mut *bda }, memory)
}

/// Memory that ACPI tables are loaded to: below the image, or where the plan has found room above
/// 1 MiB.
pub struct TableMemory(());

impl TableMemory {
    /// # Safety
    /// Call it once; nothing else may use the memory that the plan gives to the ACPI loader.
    pub const unsafe fn take() -> Self {
        Self(())
    }
}

impl BlobMemory for TableMemory {
    fn edit<T>(&mut self, range: Range, edit: impl FnOnce(&mut [u8]) -> T) -> T {
        let low = Range::between(TABLES_START, ROM_ALIAS_START);
        let high = Range::between(HIGH_RAM_START, ROM_TOP - ROM_SIZE);
        if !low.contains(range) && !high.contains(range) {
            return edit(&mut []);
        }
        let start = ptr::with_exposed_provenance_mut(range.start() as usize);
        // SAFETY: the plan has put blobs in RAM that nothing else uses, `Paging::extend` has
        // mapped what lies above 2 MiB, and `self` is the only way here.
        edit(unsafe { core::slice::from_raw_parts_mut(start, range.size() as usize) })
    }
}
