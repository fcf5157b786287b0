// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hvm_start_info` and the lists it points to, in one block.
//!
//! Spec: Xen `include/public/arch-x86/hvm/start_info.h`, version 1.

use crate::plan::Plan;
use abi::pvh::{MemmapEntry, ModlistEntry, START_INFO_MAGIC, StartInfo};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What stands before the memory map.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Head {
    start_info: StartInfo,
    initrd: ModlistEntry,
}

/// Size in bytes of a block whose memory map has up to `regions` entries.
#[must_use]
pub fn size(regions: usize) -> u64 {
    let map = (regions as u64).saturating_mul(size_of::<MemmapEntry>() as u64);
    map.saturating_add(size_of::<Head>() as u64)
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
                Some(_) => offset_of(core::mem::offset_of!(Head, initrd)).into(),
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
