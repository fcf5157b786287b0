// SPDX-License-Identifier: MIT OR Apache-2.0
//! The boot performance table: what the firmware cost, told to the kernel.
//!
//! Spec: ACPI 6.5, section 5.2.24 (FPDT).
//! In: three moments on the processor's clock, whose frequency is known. Out: three tables in one
//! blob of our own (FBPT, FPDT and a longer XSDT or RSDT), and an RSDP that leads there. Never:
//! changes what the VMM's tables are.

use super::{Blob, BlobMemory, Loader};
use crate::memory::Range;
use abi::acpi::{Fbpt, Fpdt, Header, RSDP_SIZE_0, Rsdp};
use abi::checksum;
use abi::table_loader::FileName;
use core::mem::offset_of;
use core::num::NonZeroU64;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{Immutable, IntoBytes, Unaligned};

/// Size in bytes of our memory: a list of a hundred tables fits.
const SIZE: usize = BLOB_SIZE as usize;
const BLOB_SIZE: u32 = 1024;

const FBPT_SIZE: u32 = 56;
const FPDT_SIZE: u32 = 52;
const _: () = assert!(size_of::<Fbpt>() == FBPT_SIZE as usize);
const _: () = assert!(size_of::<Fpdt>() == FPDT_SIZE as usize);

/// What our memory begins with; the longer list of tables follows.
#[derive(Clone, Copy, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Tables {
    fbpt: Fbpt,
    fpdt: Fpdt,
}

/// Where in our memory the list lies.
const LIST: usize = size_of::<Tables>().next_multiple_of(8);

/// No file has this name: `fw_cfg` names are not empty.
const NAME: FileName = [0; size_of::<FileName>()];

/// Moments of a boot, in ticks of the time-stamp counter.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Moments {
    /// The first instruction.
    pub reset: u64,
    /// The kernel begins to be loaded.
    pub load: u64,
    /// The kernel is entered.
    pub enter: u64,
    /// The counter's frequency in kHz; 0 where it is not known.
    pub khz: u32,
}

impl Moments {
    /// Nanoseconds from the first instruction to `moment`. A VMM that gives its processors the
    /// host's counter starts it anywhere.
    #[must_use]
    pub fn since_reset(&self, moment: u64) -> u64 {
        nanoseconds(moment.wrapping_sub(self.reset), self.khz)
    }
}

/// Ticks of a clock with a frequency in kHz as nanoseconds.
#[must_use]
#[inline(never)]
pub fn nanoseconds(ticks: u64, khz: u32) -> u64 {
    const PER_MILLISECOND: u64 = 1_000_000;
    let khz = NonZeroU64::new(khz.into()).unwrap_or(NonZeroU64::MAX);
    let part = (ticks % khz).wrapping_mul(PER_MILLISECOND) / khz;
    (ticks / khz)
        .wrapping_mul(PER_MILLISECOND)
        .wrapping_add(part)
}

impl Loader<'_> {
    /// Whether there are tables that could lead to another one.
    #[must_use]
    pub fn has_tables(&self) -> bool {
        self.blobs.iter().next().is_some()
    }

    /// Has memory placed for the tables, unless there are too many files.
    #[cold]
    pub fn want_performance(&mut self) {
        self.blobs.add_memory(&NAME, BLOB_SIZE, 8);
    }

    /// Writes the tables, once all others are linked, and makes the RSDP at `rsdp` lead to them.
    /// `None`, and nothing changed, where the VMM's tables are not as they should be.
    #[cold]
    #[inline(never)]
    pub fn add_performance(
        &self,
        rsdp: u64,
        moments: &Moments,
        memory: &mut impl BlobMemory,
    ) -> Option<()> {
        let own = self.blobs.find(&NAME).ok()?.place();
        let pointer = self.around(rsdp)?;
        let (list, address) = memory.edit(pointer, |rsdp| find_list(rsdp))?;
        let lists = self.around(address)?;
        let offset = usize::try_from(address.wrapping_sub(lists.start())).ok()?;
        let mut bytes = [0; SIZE];
        let to = bytes.get_mut(LIST..)?;
        let length = memory.edit(lists, |from| list.copy(from.get(offset..)?, to))?;
        list.write(&mut bytes, length, own.start(), moments)?;
        memory.edit(own, |to| bytes.write_to(to).ok())?;
        let address = own.start().wrapping_add(LIST as u64);
        memory.edit(pointer, |rsdp| {
            put(rsdp, list.pointer, list.entry, address)?;
            settle(rsdp.get_mut(..list.rsdp_size)?, list.rsdp_checksum)
        })
    }

    /// The place of the file with `address` in it.
    fn around(&self, address: u64) -> Option<Range> {
        let mut places = self.blobs.iter().map(Blob::place);
        places.find(|place| place.start() <= address && address < place.end())
    }
}

/// A list of tables, and how the RSDP leads to it.
struct List {
    signature: [u8; 4],
    /// Size in bytes of an entry, and of the address in the RSDP.
    entry: usize,
    /// Where in the RSDP its address is.
    pointer: usize,
    /// Bytes of the RSDP that a checksum covers, and where that is.
    rsdp_size: usize,
    rsdp_checksum: usize,
}

/// Where there is one, the list that the kernel reads.
static XSDT: List = List {
    signature: *b"XSDT",
    entry: 8,
    pointer: offset_of!(Rsdp, xsdt_address),
    rsdp_size: size_of::<Rsdp>(),
    rsdp_checksum: offset_of!(Rsdp, extended_checksum),
};

static RSDT: List = List {
    signature: *b"RSDT",
    entry: 4,
    pointer: offset_of!(Rsdp, rsdt_address),
    rsdp_size: RSDP_SIZE_0,
    rsdp_checksum: offset_of!(Rsdp, checksum),
};

/// The list that an RSDP leads to, and its address.
#[inline(never)]
fn find_list(rsdp: &[u8]) -> Option<(&'static List, u64)> {
    let list = match rsdp.get(offset_of!(Rsdp, revision))? {
        0 => &RSDT,
        _ => &XSDT,
    };
    let number = rsdp.get(list.pointer..)?.get(..list.entry)?;
    let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    Some((list, number.iter().rev().fold(0, add)))
}

impl List {
    /// Copies the list, and returns its length.
    #[inline(never)]
    fn copy(&self, from: &[u8], to: &mut [u8]) -> Option<usize> {
        let (signature, rest) = from.split_first_chunk()?;
        let length = u32::from_le_bytes(*rest.first_chunk()?) as usize;
        if *signature != self.signature || length < size_of::<Header>() {
            return None;
        }
        from.get(..length)?.write_to_prefix(to).ok()?;
        Some(length)
    }

    /// Writes FBPT and FPDT into our memory, which starts at `start`, and one entry more into the
    /// list of `length` bytes behind them.
    #[inline(never)]
    fn write(
        &self,
        bytes: &mut [u8; SIZE],
        length: usize,
        start: u64,
        moments: &Moments,
    ) -> Option<()> {
        let mut tables = TABLES;
        let entered = moments.since_reset(moments.enter).into();
        tables.fbpt.load_image_start = moments.since_reset(moments.load).into();
        tables.fbpt.start_image_start = entered;
        // There are no boot services to leave. systemd takes 0 for a table that says nothing, and
        // what it looks for here is when the kernel was on its own: from its entry on.
        tables.fbpt.exit_boot_services_entry = entered;
        tables.fbpt.exit_boot_services_exit = entered;
        tables.fpdt.fbpt_address = start.into();
        let (ours, list) = bytes.split_at_mut_checked(LIST)?;
        tables.write_to_prefix(ours).ok()?;
        settle(ours.get_mut(FPDT..)?, offset_of!(Header, checksum))?;
        let fpdt = start.wrapping_add(FPDT as u64);
        put(list, length, self.entry, fpdt)?;
        let length = length.checked_add(self.entry)?;
        put(
            list,
            offset_of!(Header, length),
            size_of::<u32>(),
            length as u64,
        )?;
        settle(list.get_mut(..length)?, offset_of!(Header, checksum))
    }
}

/// Where in our memory the FPDT lies; the FBPT lies at its start.
const FPDT: usize = offset_of!(Tables, fpdt);

/// What does not depend on the boot. Times are 0.
const TABLES: Tables = Tables {
    fbpt: Fbpt {
        signature: *b"FBPT",
        length: U32::new(FBPT_SIZE),
        record_type: U16::new(2),
        record_length: 48,
        revision: 2,
        reserved: U32::ZERO,
        reset_end: U64::ZERO,
        load_image_start: U64::ZERO,
        start_image_start: U64::ZERO,
        exit_boot_services_entry: U64::ZERO,
        exit_boot_services_exit: U64::ZERO,
    },
    fpdt: Fpdt {
        header: Header {
            signature: *b"FPDT",
            length: U32::new(FPDT_SIZE),
            revision: 1,
            checksum: 0,
            oem_id: *b"QBOOT ",
            oem_table_id: *b"QBOOT-RS",
            oem_revision: U32::ZERO,
            creator_id: *b"QBRS",
            creator_revision: U32::ZERO,
        },
        record_type: U16::ZERO,
        record_length: 16,
        revision: 1,
        reserved: U32::ZERO,
        fbpt_address: U64::ZERO,
    },
};

/// Writes the low `size` bytes of a little-endian number.
#[inline(never)]
fn put(bytes: &mut [u8], offset: usize, size: usize, number: u64) -> Option<()> {
    let slot = bytes.get_mut(offset..)?.get_mut(..size)?;
    number.to_le_bytes().get(..size)?.write_to(slot).ok()
}

/// Makes a table's bytes add up to zero by the one at `offset`.
#[inline(never)]
fn settle(table: &mut [u8], offset: usize) -> Option<()> {
    let sum = checksum::sum(table);
    let byte = table.get_mut(offset)?;
    *byte = byte.wrapping_sub(sum);
    Some(())
}
