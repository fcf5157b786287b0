// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hvm_start_info` and the lists it points to, in one block.
//!
//! Spec: Xen `include/public/arch-x86/hvm/start_info.h`, version 1.

use crate::fw_cfg::{MAX_MODULES, Modules, TransferError, Transport, whole_pages};
use crate::memory::Range;
use crate::plan::Plan;
use crate::tables::piece;
use abi::fw_cfg::{FILE_NAME_SIZE, Key, file};
use abi::pvh::{MemmapEntry, ModlistEntry, START_INFO_MAGIC, StartInfo};
use core::mem::offset_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What the block begins with. The memory map follows; with other modules than an initial RAM disk,
/// the block ends with a list of all and with the names of the others.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Head {
    start_info: StartInfo,
    initrd: ModlistEntry,
}

/// The end of a module's file name, which is its command line.
type Name = [u8; FILE_NAME_SIZE - file::MODULE.len()];

/// What the block ends with where there are other modules than an initial RAM disk.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct List {
    initrd: ModlistEntry,
    others: [ModlistEntry; MAX_MODULES],
    names: [Name; MAX_MODULES],
}

/// Size in bytes of a block whose memory map has up to `regions` entries, with `others` besides the
/// initial RAM disk.
#[must_use]
pub const fn size(regions: usize, others: u32) -> u64 {
    let map = (regions as u64).saturating_mul(size_of::<MemmapEntry>() as u64);
    let list = if others == 0 { 0 } else { size_of::<List>() };
    map.saturating_add(size_of::<Head>() as u64)
        .saturating_add(list as u64)
}

/// Loads `modules`, of which there is one at least, and lists them behind the initial RAM disk.
///
/// `block` stands for `plan.handoff.block`, and [`write`](fn@write) has filled it.
///
/// # Errors
/// A transfer failed.
#[cold]
#[inline(never)]
pub fn add_modules(
    fw_cfg: &mut impl Transport,
    plan: &Plan<'_>,
    modules: &Modules,
    block: &mut [u8],
) -> Result<(), TransferError> {
    let parameters = plan.handoff.parameters;
    let bytes = piece(block, plan.handoff.block, parameters);
    let Ok((head, rest)) = Head::mut_from_prefix(bytes) else {
        return Ok(());
    };
    let Ok((_, list)) = List::mut_from_suffix(rest) else {
        return Ok(());
    };
    let at = parameters.end().wrapping_sub(size_of::<List>() as u64);
    let first = match plan.initrd {
        Some(_) => offset_of!(List, initrd),
        None => offset_of!(List, others),
    };
    let info = &mut head.start_info;
    info.modlist_paddr = at.wrapping_add(first as u64).into();
    info.nr_modules = info.nr_modules.get().wrapping_add(modules.count()).into();
    list.initrd = head.initrd;
    let mut start = plan.modules;
    let mut cmdline = at.wrapping_add(offset_of!(List, names) as u64);
    let slots = list.others.iter_mut().zip(&mut list.names);
    for (module, (slot, name)) in modules.files().iter().zip(slots) {
        let end = start.wrapping_add(module.size.get().into());
        let place = Range::between(start, end);
        fw_cfg.load(Key(module.select.get()), place)?;
        *name = *module.name.last_chunk().unwrap_or(&[0; size_of::<Name>()]);
        if let Some(end) = name.last_mut() {
            *end = 0; // the VMM's word alone is not enough
        }
        *slot = ModlistEntry {
            paddr: start.into(),
            size: place.size().into(),
            cmdline_paddr: cmdline.into(),
            reserved: 0.into(),
        };
        start = start.wrapping_add(whole_pages(module));
        cmdline = cmdline.wrapping_add(size_of::<Name>() as u64);
    }
    Ok(())
}

/// Writes the block into `bytes`, which stands for `plan.handoff.parameters`.
pub fn write(bytes: &mut [u8], plan: &Plan<'_>, rsdp: Option<u64>) {
    let base = plan.handoff.parameters.start();
    let regions = plan.memory.regions();
    let Ok((head, rest)) = Head::mut_from_prefix(bytes) else {
        return;
    };
    let Ok((map, _)) = <[MemmapEntry]>::mut_from_prefix_with_elems(rest, regions.len()) else {
        return;
    };
    for (entry, region) in map.iter_mut().zip(regions) {
        *entry = MemmapEntry {
            addr: region.start.into(),
            size: region.range().size().into(),
            kind: u32::try_from(region.kind).unwrap_or_default().into(),
            reserved: 0.into(),
        };
    }
    let offset_of = |field: usize| base.wrapping_add(field as u64);
    *head = Head {
        start_info: StartInfo {
            magic: START_INFO_MAGIC.into(),
            version: 1.into(),
            flags: 0.into(),
            nr_modules: u32::from(plan.initrd.is_some()).into(),
            modlist_paddr: match plan.initrd {
                Some(_) => offset_of(offset_of!(Head, initrd)).into(),
                None => 0.into(),
            },
            cmdline_paddr: plan.handoff.cmdline.start().into(),
            rsdp_paddr: rsdp.unwrap_or_default().into(),
            memmap_paddr: offset_of(size_of::<Head>()).into(),
            memmap_entries: u32::try_from(regions.len()).unwrap_or_default().into(),
            reserved: 0.into(),
        },
        initrd: ModlistEntry {
            paddr: plan.initrd.map_or(0, |initrd| initrd.start()).into(),
            size: plan.initrd.map_or(0, |initrd| initrd.size()).into(),
            cmdline_paddr: 0.into(),
            reserved: 0.into(),
        },
    };
}
