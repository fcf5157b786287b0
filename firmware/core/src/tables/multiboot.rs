// SPDX-License-Identifier: MIT OR Apache-2.0
//! `multiboot_info` with the memory map, and the order to load the kernel, in one block.
//!
//! Spec: Multiboot Specification 0.6.96, section 3.3. Not BIOS's to say here, and so not flagged:
//! boot device, drives, ROM configuration table, APM, VBE.

// All numbers here are below 4 GiB: there the hand-off block lies, and the ROM ends contiguous RAM.
#![allow(clippy::cast_possible_truncation)]

use crate::kernel::Multiboot;
use crate::memory::Region;
use crate::plan::{Entry, Plan};
use abi::e820::TYPE_RAM;
use abi::fw_cfg::{DmaControl, DmaDescriptor, Key};
use abi::layout::HIGH_RAM_START;
use abi::multiboot::{Info, InfoFlags, MmapEntry};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What the boot loader calls itself.
const LOADER_NAME: [u8; 12] = *b"qboot-rs\0\0\0\0";

/// What is left to be done when nothing of the firmware's own memory is needed any more: a
/// multiboot kernel may be loaded anywhere, over stack and buffers too.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Debug)]
#[repr(C)]
pub struct LoadOrder {
    /// The transfer, complete and with its key.
    pub transfer: DmaDescriptor,
    /// Guest-physical entry point.
    pub entry: U32,
    /// Guest-physical address of a byte to clear behind the last string.
    pub terminator: U32,
    /// Not 0: by DMA, which finds the order itself; 0: by port.
    pub dma: U16,
    /// Nothing.
    pub spare: U16,
}

/// What stands before the memory map.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Head {
    info: Info,
    name: [u8; 12],
    order: LoadOrder,
}

/// Offset of the [`LoadOrder`] in the block.
pub const ORDER_OFFSET: u32 = core::mem::offset_of!(Head, order) as u32;

/// Size in bytes of a block whose memory map has up to `regions` entries.
#[must_use]
pub fn size(regions: usize) -> u64 {
    let map = (regions as u64).saturating_mul(size_of::<MmapEntry>() as u64);
    map.saturating_add(size_of::<Head>() as u64)
}

/// Writes the block into `bytes`, which stands for `plan.handoff.parameters`.
#[cold] // in bytes rather than in instructions
#[inline(never)]
pub fn write(bytes: &mut [u8], plan: &Plan<'_>, kernel: &Multiboot) {
    let Entry::Multiboot { dma, .. } = plan.entry else {
        return;
    };
    let regions = plan.memory.regions();
    let Ok((head, rest)) = Head::mut_from_prefix(bytes) else {
        return;
    };
    let Ok((map, _)) = <[MmapEntry]>::mut_from_prefix_with_elems(rest, regions.len()) else {
        return;
    };
    for (entry, region) in map.iter_mut().zip(regions) {
        *entry = MmapEntry {
            size: low(size_of::<MmapEntry>().wrapping_sub(size_of::<U32>()) as u64),
            addr: region.start.into(),
            length: region.range().size().into(),
            kind: low(region.kind),
        };
    }
    let base = plan.handoff.parameters.start();
    let offset_of = |field: usize| low(base.wrapping_add(field as u64));
    let free = plan.handoff.block.start(); // below it all is RAM
    let flags = InfoFlags::MEMORY | InfoFlags::MEMORY_MAP | InfoFlags::LOADER_NAME;
    head.info = kernel.info;
    head.info.flags = (head.info.flags.get() | flags.bits()).into();
    head.info.mem_lower = low(free / 1024);
    head.info.mem_upper = low(upper_memory(regions) / 1024);
    head.info.mmap_length = low(size_of_val(map) as u64);
    head.info.mmap_addr = offset_of(size_of::<Head>());
    head.info.boot_loader_name = offset_of(core::mem::offset_of!(Head, name));
    head.name = LOADER_NAME;
    let spare = offset_of(core::mem::offset_of!(Head, order.spare));
    head.order = LoadOrder {
        transfer: DmaDescriptor {
            control: DmaControl::READ.with_key(Key::KERNEL_DATA).into(),
            length: kernel.size.get().into(),
            address: u64::from(kernel.addr.get()).into(),
        },
        entry: kernel.entry,
        terminator: match kernel.strings_end.get().checked_sub(1) {
            Some(last) => last.into(),
            None => spare,
        },
        dma: u16::from(dma).into(),
        spare: 0.into(),
    };
}

/// Bytes of RAM from 1 MiB to the first hole.
fn upper_memory(regions: &[Region]) -> u64 {
    regions
        .iter()
        .filter(|region| region.kind == u64::from(TYPE_RAM))
        .find(|region| region.start <= HIGH_RAM_START && HIGH_RAM_START < region.end)
        .map_or(0, |region| region.end.saturating_sub(HIGH_RAM_START))
}

/// A number that fits.
fn low(number: u64) -> U32 {
    (number as u32).into()
}
