// SPDX-License-Identifier: MIT OR Apache-2.0
//! Multiboot: a kernel is either refused, or finds its list, its modules and its strings in its
//! image, apart and whole, and a memory map that is the map.

use abi::fw_cfg::Key;
use abi::layout::{HIGH_RAM_START, LOW_RAM_END, SCRATCH_END};
use abi::multiboot::{Info, InfoFlags, MmapEntry, Module};
use firmware_core::board::Board;
use firmware_core::memory::Range;
use firmware_core::tables::multiboot::{LoadOrder, ORDER_OFFSET};
use zerocopy::{FromBytes, IntoBytes};

use super::input::Input;
use super::machine::{Machine, Outcome};
use super::sentence::assert_sentence;
use crate::kernels;
use crate::multiboot::Multiboot;

const RAM: u64 = 0x20_0000;
/// What the VMM has a say in.
const GIVEN: InfoFlags = InfoFlags::MODULES.union(InfoFlags::CMDLINE);

/// A board, an address, the sizes of a kernel and its modules, then changes to what is said of
/// them.
pub fn multiboot(data: &[u8]) {
    let mut input = Input(data);
    let mut machine = Machine::new(usize::try_from(RAM).expect("64 bits"));
    machine.board = input.pick(&[Board::Microvm, Board::I440fx, Board::Q35]);
    machine.dma = input.u8().is_multiple_of(2);
    let ram = if input.u8().is_multiple_of(2) {
        vec![
            Range::between(0, LOW_RAM_END),
            Range::between(HIGH_RAM_START, RAM),
        ]
    } else {
        vec![Range::between(0, RAM)]
    };
    machine.set_ram(&ram);

    let addr = match input.u8() % 8 {
        0 => u32::from(input.u16()) << 4,
        1 => input.u32().min(0xff00_0000), // so that there is room for all behind it
        _ => 0x10_0000 + (u32::from(input.u8()) << 12),
    };
    let bytes = kernels::pattern(usize::from(input.u16() % 0x3000) + 1);
    let sizes: Vec<u16> = (0..input.u8() % 5).map(|_| input.u16() % 0x3000).collect();
    let contents: Vec<_> = sizes
        .iter()
        .map(|size| kernels::pattern((*size).into()))
        .collect();
    let modules: Vec<_> = contents
        .iter()
        .map(|bytes| ("module x", bytes.as_slice()))
        .collect();
    let mut kernel = Multiboot::new(addr, &bytes, "kernel y", &modules);
    kernel.entry = addr.max(1); // an entry point at 0 is none
    let mut info_size = u32::try_from(size_of::<Info>()).expect("small");
    let mut size = u32::try_from(kernel.blob.len()).expect("small");
    while !input.is_empty() {
        change(&mut kernel, &mut size, &mut info_size, &mut input);
    }
    machine.set_u32(Key::KERNEL_ADDR, kernel.addr);
    machine.set_u32(Key::KERNEL_ENTRY, kernel.entry);
    machine.set_u32(Key::KERNEL_SIZE, size);
    machine.set(Key::KERNEL_DATA, kernel.blob.clone());
    machine.set_u32(Key::INITRD_SIZE, info_size);
    machine.set(Key::INITRD_DATA, kernel.info.as_bytes());

    let outcome = match machine.boot() {
        Ok(outcome) => outcome,
        Err(error) => return assert_sentence(&error),
    };
    assert_eq!(info_size as usize, size_of::<Info>());
    let image = Range::new(addr.into(), size.into()).expect("in range");
    assert!(ram.iter().any(|ram| ram.contains(image)), "{image}");
    let entry = u64::from(kernel.entry);
    assert!((image.start()..image.end()).contains(&entry), "{entry:#x}");
    // It is loaded over what the firmware has used itself.
    let late = Range::between(image.start().max(SCRATCH_END), image.end());
    outcome.assert_consistent(&ram, late);
    Loaded::new(&kernel, image, &outcome).check(&outcome);
}

/// One lie, or one more truth.
fn change(kernel: &mut Multiboot, size: &mut u32, info_size: &mut u32, input: &mut Input<'_>) {
    let list = kernel.info.mods_addr.get();
    let places = [
        0,
        kernel.addr,
        kernel.entry,
        kernel.addr.wrapping_add(*size),
        list,
        list.wrapping_add(0x1000),
        kernel.info.cmdline.get(),
        u32::MAX,
    ]
    .map(u64::from);
    let near = |input: &mut Input<'_>| {
        let [a, b, c, d, ..] = input.near(&places).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    };
    let listed = usize::try_from(list.wrapping_sub(kernel.addr)).unwrap_or(usize::MAX);
    match input.u8() % 8 {
        0 => kernel.entry = near(input),
        1 => {
            let at = usize::from(input.u8()) % size_of::<Info>();
            kernel.info.as_mut_bytes()[at] = input.u8();
        }
        2 => {
            let at = listed.saturating_add(input.u8().into());
            let value = near(input).to_le_bytes();
            let place = at
                .checked_add(4)
                .and_then(|end| kernel.blob.get_mut(at..end));
            if let Some(place) = place {
                place.copy_from_slice(&value);
            }
        }
        3 => *size = near(input),
        4 => kernel.info.flags = input.u32().into(),
        5 => {
            // Strings without an end.
            let end = listed.saturating_add(0x1000).min(kernel.blob.len());
            let start = listed.saturating_add(input.u8().into()).min(end);
            kernel.blob[start..end].fill(b'z');
        }
        6 => kernel.info.cmdline = near(input).into(),
        _ => match input.u8() % 4 {
            0 => kernel.info.mods_addr = near(input).into(),
            1 => kernel.info.mods_count = input.u32().into(),
            2 => *info_size = info_size.wrapping_add_signed(i32::from(input.u8()) - 128),
            _ => *size = size.wrapping_add_signed(i32::from(input.u8()) - 128),
        },
    }
}

/// Memory as the kernel finds it.
struct Loaded {
    memory: Vec<u8>,
    image: Range,
    /// What of the image may be written: behind the kernel's known part and the list, before the
    /// first module.
    given: Multiboot,
    info: Info,
    order: LoadOrder,
}

impl Loaded {
    /// Does what the order says, as the way out does.
    fn new(given: &Multiboot, image: Range, outcome: &Outcome) -> Self {
        let mut memory = vec![0; usize::try_from(RAM).expect("64 bits")];
        let block = outcome.handoff.block;
        memory[index(block.start())..index(block.end())].copy_from_slice(&outcome.block);
        let parameters = index(outcome.handoff.parameters.start());
        let (info, _) = Info::read_from_prefix(&memory[parameters..]).expect("RAM");
        let order = &memory[parameters + ORDER_OFFSET as usize..];
        let (order, _) = LoadOrder::read_from_prefix(order).expect("RAM");
        assert_eq!(order.transfer.control.get(), 0x0011_000a); // select and read KERNEL_DATA
        assert_eq!(order.transfer.address.get(), image.start());
        assert_eq!(u64::from(order.transfer.length.get()), image.size());
        assert_eq!(order.entry.get(), given.entry);

        let place = &mut memory[index(image.start())..index(image.end())];
        place.fill(0);
        let length = place.len().min(given.blob.len());
        place[..length].copy_from_slice(&given.blob[..length]);
        let mut given = given.clone();
        given.blob = place.to_vec();
        memory[index(order.terminator.get().into())] = 0;
        Self {
            memory,
            image,
            given,
            info,
            order,
        }
    }

    /// What the VMM's blob has there.
    fn blob(&self, range: Range) -> &[u8] {
        let offset = |address| index(address - self.image.start());
        &self.given.blob[offset(range.start())..offset(range.end())]
    }

    fn at(&self, range: Range) -> &[u8] {
        &self.memory[index(range.start())..index(range.end())]
    }

    fn check(&self, outcome: &Outcome) {
        let flags = InfoFlags::from_bits_retain(self.info.flags.get());
        let said = InfoFlags::from_bits_retain(self.given.info.flags.get());
        let own = InfoFlags::MEMORY | InfoFlags::MEMORY_MAP | InfoFlags::LOADER_NAME;
        assert_eq!(flags, said & GIVEN | own);

        // In this order, and apart: the kernel as far as it is known, the list, strings, modules.
        let kernel_end = u64::from(self.given.entry) + 1;
        let mut pieces = vec![Range::between(self.image.start(), kernel_end)];
        let mut strings = Vec::new();
        let mut modules = Vec::new();
        if flags.contains(InfoFlags::MODULES) {
            let size = u64::from(self.info.mods_count.get()) * size_of::<Module>() as u64;
            let list = Range::new(self.info.mods_addr.get().into(), size).expect("in range");
            pieces.push(list);
            let list = <[Module]>::ref_from_bytes(self.at(list)).expect("whole records");
            for module in list {
                modules.push(Range::between(
                    module.mod_start.get().into(),
                    module.mod_end.get().into(),
                ));
                strings.push(module.string.get());
            }
        }
        if flags.contains(InfoFlags::CMDLINE) {
            strings.push(self.info.cmdline.get());
        }
        let strings_start = pieces.last().map_or(0, |piece| piece.end());
        let strings_end = modules
            .first()
            .map_or(self.image.end(), |module| module.start());
        pieces.extend(modules);
        for pair in pieces.windows(2) {
            assert!(pair[0].end() <= pair[1].start(), "{pieces:x?}");
        }
        for piece in &pieces {
            assert!(self.image.contains(*piece), "{piece} outside the image");
            assert!(self.at(*piece) == self.blob(*piece), "{piece} is not whole");
        }
        for string in &strings {
            let from = u64::from(*string);
            assert!((strings_start..strings_end).contains(&from), "{from:#x}");
            let bytes = self.at(Range::between(from, strings_end));
            assert!(bytes.contains(&0), "the string at {from:#x} has no end");
        }
        // The one byte that is cleared is the last of the strings, or nothing of the kernel's.
        let cleared = u64::from(self.order.terminator.get());
        if strings.is_empty() {
            assert!(!self.image.contains(Range::between(cleared, cleared + 1)));
            assert!(self.at(self.image) == self.blob(self.image));
        } else {
            assert_eq!(cleared, strings_end - 1);
        }
        self.check_memory(outcome);
    }

    fn check_memory(&self, outcome: &Outcome) {
        let start = u64::from(self.info.mmap_addr.get());
        let map = Range::new(start, self.info.mmap_length.get().into()).expect("in range");
        assert!(outcome.handoff.block.contains(map));
        let map = <[MmapEntry]>::ref_from_bytes(self.at(map)).expect("whole entries");
        assert_eq!(map.len(), outcome.regions.len());
        for (entry, region) in map.iter().zip(&outcome.regions) {
            assert_eq!(entry.size.get(), 20);
            assert_eq!(entry.addr.get(), region.start);
            assert_eq!(entry.length.get(), region.end - region.start);
            assert_eq!(u64::from(entry.kind.get()), region.kind);
        }
        let is_ram = |kib: u32, start: u64| {
            let range = Range::new(start, u64::from(kib) << 10).expect("in range");
            let ram = outcome.regions.iter().filter(|region| region.kind == 1);
            ram.map(|region| region.range())
                .any(|ram| ram.contains(range))
        };
        assert!(is_ram(self.info.mem_lower.get(), 0));
        assert!(is_ram(self.info.mem_upper.get(), HIGH_RAM_START));
        assert!(!is_ram(self.info.mem_upper.get() + 1, HIGH_RAM_START));
    }
}

fn index(address: u64) -> usize {
    usize::try_from(address).expect("64 bits")
}
