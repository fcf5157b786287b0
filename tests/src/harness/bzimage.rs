// SPDX-License-Identifier: MIT OR Apache-2.0
//! The setup header: a kernel is either refused, or lies with all it needs in RAM of its own and is
//! told the truth.

use abi::fw_cfg::Key;
use abi::layout::{HIGH_RAM_START, LOW_RAM_END, RAM_ABOVE_4G_START, SCRATCH_START};
use abi::linux::{
    BootParams, DEFAULT_CMDLINE_SIZE, DEFAULT_INITRD_ADDR_MAX, SETUP_HEADER_OFFSET, SetupHeader,
    VERSION_2_02, VERSION_2_03, VERSION_2_06, VERSION_2_10, VERSION_2_12, XLoadFlags,
};
use firmware_core::memory::Range;
use zerocopy::{FromBytes, IntoBytes};

use super::input::Input;
use super::machine::{Machine, Outcome};
use super::sentence::assert_sentence;
use crate::kernels;

const MIB: u64 = 1 << 20;

/// Sizes of RAM, kernel, initrd and command line, then changes to a header that could boot.
pub fn bzimage(data: &[u8]) {
    let mut input = Input(data);
    let ram = input.pick(&[4, 16, 17, 24, 32]) * MIB;
    let size = u32::from(input.u16()) << (input.u8() % 5);
    let initrd = u32::from(input.u16()) << (input.u8() % 5);
    let cmdline = u32::from(input.u16());
    let choice = input.u8();
    let cmdline = cmdline << (choice % 3);
    let setup_size = [0x800, 0x8000, 0xa00, 0][usize::from(choice / 3 % 4)];
    let mut machine = Machine::new(usize::try_from(ram).expect("64 bits"));
    machine.gigabyte_pages = input.u8() % 2 == 0;
    machine.dma = input.u8() % 2 == 0;

    let mut header = kernels::header(size as usize, input.u32() & 0x3ff_ffff);
    header.pref_address = (u64::from(input.u8()) * MIB).into();
    while !input.is_empty() {
        let at = usize::from(input.u8()) % size_of::<SetupHeader>();
        let bytes = input.u8() % 8 + 1;
        let bytes = input.bytes(bytes.into());
        let end = (at + bytes.len()).min(size_of::<SetupHeader>());
        header.as_mut_bytes()[at..end].copy_from_slice(&bytes[..end - at]);
    }
    let mut setup = vec![0; SETUP_HEADER_OFFSET];
    setup.extend_from_slice(header.as_bytes());
    machine.set(Key::SETUP_DATA, setup);
    machine.set_u32(Key::SETUP_SIZE, setup_size);
    machine.set_u32(Key::KERNEL_SIZE, size);
    machine.set(Key::KERNEL_DATA, vec![0xaa; size as usize]);
    machine.set_u32(Key::INITRD_SIZE, initrd);
    machine.set(Key::INITRD_DATA, vec![0xbb; initrd as usize]);
    machine.set_u32(Key::CMDLINE_SIZE, cmdline);
    machine.set(Key::CMDLINE_DATA, vec![b'x'; cmdline as usize]);
    let ram = [
        Range::between(0, LOW_RAM_END),
        Range::between(HIGH_RAM_START, ram),
    ];
    machine.set_ram(&ram);

    let outcome = match machine.boot() {
        Ok(outcome) => outcome,
        Err(error) => return assert_sentence(&error),
    };
    if outcome.real_mode.is_some() {
        return in_real_mode(&machine, &outcome, &ram, size);
    }
    let start = usize::try_from(outcome.handoff.parameters.start() - outcome.handoff.block.start());
    let parameters = &outcome.block[start.expect("small")..];
    let (page, _) = BootParams::ref_from_prefix(parameters).expect("a whole page");
    let load = outcome.kernel.expect("a bzImage is loaded");
    // Fields are what the header says, or what they were before it had them.
    let since = |version, value, before| {
        if header.version.get() < version {
            before
        } else {
            value
        }
    };
    let init_size = since(VERSION_2_10, header.init_size.get(), 0);
    let footprint = Range::new(load.start(), u64::from(init_size.max(size))).expect("in range");
    outcome.assert_consistent(&ram, footprint);

    assert_eq!(load.size(), u64::from(size));
    assert!(
        machine.bytes(load).iter().all(|&byte| byte == 0xaa),
        "the kernel is not whole"
    );
    assert_eq!(outcome.initrd.is_some(), initrd > 0);
    let [low, high] = [page.hdr.ramdisk_image, page.ext_ramdisk_image].map(|half| half.get());
    let told = u64::from(high) << 32 | u64::from(low);
    if let Some(place) = outcome.initrd {
        assert_eq!((told, page.hdr.ramdisk_size.get()), (place.start(), initrd));
        assert!(
            machine.bytes(place).iter().all(|&byte| byte == 0xbb),
            "the initrd is not whole"
        );
        let xloadflags = since(VERSION_2_12, header.xloadflags.get().into(), 0);
        let highest = header.initrd_addr_max.get();
        let highest = since(VERSION_2_03, highest, DEFAULT_INITRD_ADDR_MAX);
        let above = XLoadFlags::CAN_BE_LOADED_ABOVE_4G.bits();
        assert!(xloadflags & u32::from(above) != 0 || place.end() - 1 <= highest.into());
        assert!(place.end() <= RAM_ABOVE_4G_START);
    }
    assert_eq!(
        page.hdr.cmd_line_ptr.get(),
        low_half(outcome.handoff.cmdline.start())
    );
    let limit = since(
        VERSION_2_06,
        header.cmdline_size.get(),
        DEFAULT_CMDLINE_SIZE,
    );
    assert!(cmdline <= limit.saturating_add(1));
    assert_eq!(page.sentinel, 0);
    let entries = &page.e820_table[..page.e820_entries.into()];
    assert_eq!(entries.len(), outcome.regions.len());
    for (entry, region) in entries.iter().zip(&outcome.regions) {
        assert_eq!(entry.addr.get(), region.start);
        assert_eq!(entry.size.get(), region.end - region.start);
        assert_eq!(u64::from(entry.kind.get()), region.kind);
    }
}

/// What is loaded last lies off all else, is whole, and its header leads to the rest.
fn in_real_mode(machine: &Machine, outcome: &Outcome, memory: &[Range], size: u32) {
    let Some((real_mode, low)) = &outcome.real_mode else {
        return;
    };
    let nowhere = Range::between(0, 0);
    outcome.assert_consistent(memory, outcome.kernel.unwrap_or(nowhere));
    let block = outcome.handoff.block;
    let stack_end = real_mode.setup.start() + u64::from(real_mode.heap_end);
    assert!(real_mode.setup.end() < stack_end && stack_end <= block.start());
    let late = [real_mode.kernel, real_mode.cmdline];
    for range in late.into_iter().flatten().chain([real_mode.setup]) {
        assert!(!range.overlaps(block), "{range} overlaps {block}");
    }
    let at = |range: Range| {
        let index = |address| usize::try_from(address - SCRATCH_START).expect("64 bits");
        &low[index(range.start())..index(range.end())]
    };
    let kernel = match (outcome.kernel, real_mode.kernel) {
        (Some(high), None) => machine.bytes(high),
        (None, Some(low)) => at(low).to_vec(),
        both => panic!("loaded at {both:?}"),
    };
    assert_eq!(kernel, vec![0xaa; size as usize]);
    let setup = &at(real_mode.setup)[SETUP_HEADER_OFFSET..];
    let (header, _) = SetupHeader::ref_from_prefix(setup).expect("a whole header");
    let initrd = outcome.initrd.unwrap_or(nowhere);
    let told = [header.ramdisk_image, header.ramdisk_size].map(|field| u64::from(field.get()));
    assert_eq!(told, [initrd.start(), initrd.size()]);
    if header.version.get() >= VERSION_2_02 {
        let told = header.cmd_line_ptr.get();
        assert_eq!(told, low_half(outcome.handoff.cmdline.start()));
    }
}

fn low_half(address: u64) -> u32 {
    u32::try_from(address & 0xffff_ffff).unwrap_or_default()
}
