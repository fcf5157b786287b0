// SPDX-License-Identifier: MIT OR Apache-2.0
//! What kernels are told: for any machine, every builder says what the plan is, read back by
//! offsets of the specifications and not by our structures.

use super::*;
use crate::acpi::Zone;
use crate::fw_cfg::File;
use crate::fw_cfg::{TransferError, Transport};
use crate::kernel::SetupBuffer;
use crate::processors::Topology;
use abi::bios::{Bda, Ebda};
use abi::checksum;
use abi::fw_cfg::Key;
use abi::layout::{HIGH_RAM_START, LOW_RAM_END, ROM_ALIAS_START, RSDP_SCAN_START};
use abi::table_loader::{FileName, ZONE_FSEG, ZONE_HIGH};
use zerocopy::IntoBytes;

/// The hand-off block where it will lie.
struct Told {
    start: u64,
    bytes: Vec<u8>,
}

impl Told {
    fn at(&self, address: u64, size: u64) -> &[u8] {
        let offset = usize::try_from(address - self.start).unwrap();
        &self.bytes[offset..offset + usize::try_from(size).unwrap()]
    }

    fn number(&self, address: u64, size: u64) -> u64 {
        let bytes = self.at(address, size).iter().rev();
        bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// A memory map with holes, some of them next to each other.
fn memory_strategy() -> impl Strategy<Value = Vec<E820Entry>> {
    let hole = (0x1_0000u64..0x4_0000, 1u64..0x100, 2u32..6);
    let holes = proptest::collection::vec(hole, 0..20);
    (256u64..6000, holes).prop_map(|(mib, holes)| {
        let mut memory = ram(mib * MIB);
        let pages = |page: u64| page * PAGE_SIZE;
        memory.extend(
            holes
                .iter()
                .map(|&(at, size, kind)| record(pages(at), pages(size), kind)),
        );
        memory
    })
}

fn regions(plan: &Plan<'_>) -> Vec<(u64, u64, u64)> {
    let regions = plan.memory.regions().iter();
    regions
        .map(|region| (region.start, region.end - region.start, region.kind))
        .collect()
}

/// Intel MP 1.4, chapter 4: pointer and table add up, and every entry is where the one before ends.
fn check_mp(told: &Told, plan: &Plan<'_>, processors: &Processors) {
    let pointer = plan.handoff.mp_pointer;
    assert_eq!(pointer.start() % 16, 0);
    // Where a kernel looks: the last KiB of conventional memory.
    assert!(Range::between(LOW_RAM_END - 1024, LOW_RAM_END).contains(pointer));
    let bytes = told.at(pointer.start(), 16);
    assert_eq!((&bytes[..4], checksum::sum(bytes)), (&b"_MP_"[..], 0));
    let table = told.number(pointer.start() + 4, 4);
    assert_eq!(table, plan.handoff.mp_table.start());
    let length = told.number(table + 4, 2);
    assert_eq!(length, plan.handoff.mp_table.size());
    let bytes = told.at(table, length);
    assert_eq!((&bytes[..4], checksum::sum(bytes)), (&b"PCMP"[..], 0));
    let (mut ids, mut entries, mut at) = (Vec::new(), 0, 44);
    let mut kind = 0;
    while at < length {
        let entry = told.at(table + at, 8);
        assert!(
            entry[0] >= kind && entry[0] <= 4,
            "entries of type {} after {kind}",
            entry[0]
        );
        kind = entry[0];
        if kind == 0 {
            ids.push(Some(entry[1]));
            let flags = entry[3];
            assert_eq!((flags & 1, flags >> 1 & 1), (1, u8::from(ids.len() == 1)));
        }
        at += if kind == 0 { 20 } else { 8 };
        entries += 1;
    }
    assert_eq!((at, entries), (length, told.number(table + 34, 2)));
    let named: Vec<_> = processors.apic_ids().filter(Option::is_some).collect();
    assert_eq!(ids, named);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Xen's start_info.h.
    #[test]
    fn a_pvh_kernel_is_told_the_plan(
        memory in memory_strategy(), count in 1u16..=255, threads in 1u16..4, cores in 1u16..5,
        initrd in prop_oneof![Just(0u32), 1u32..0x10_0000], cmdline in 0u32..3000,
        rsdp in proptest::option::of(0xe_0000u64..0x10_0000),
    ) {
        let bits = |count: u16| count.next_power_of_two().trailing_zeros().to_le_bytes()[0];
        let topology = Topology {
            threads_per_core: threads,
            threads_per_package: threads * cores,
            core_shift: bits(threads),
            package_shift: bits(threads) + bits(cores),
        };
        let identity = Identity { topology, ..Identity::default() };
        let facts = Facts {
            processors: Processors::new(count, identity).unwrap(),
            cmdline_size: cmdline,
            ..facts(&memory, pvh(0x10_0000, 0x1000), initrd)
        };
        let mut storage = storage();
        let plan = planned(&facts, DMA, &mut storage).unwrap();
        let mut bytes = vec![0xcc; usize::try_from(plan.handoff.block.size()).unwrap()];
        tables::write(&plan, &facts, rsdp, &mut bytes);
        let told = Told { start: plan.handoff.block.start(), bytes };
        check_mp(&told, &plan, &facts.processors);

        let info = plan.handoff.parameters.start();
        prop_assert_eq!(told.number(info, 4), 0x336e_c578);
        prop_assert_eq!((told.number(info + 4, 4), told.number(info + 8, 4)), (1, 0));
        let modules = told.number(info + 12, 4);
        prop_assert_eq!(modules, u64::from(initrd != 0));
        let list = told.number(info + 16, 8);
        prop_assert_eq!(list != 0, initrd != 0);
        if initrd != 0 {
            let place = plan.initrd.unwrap();
            prop_assert_eq!(told.number(list, 8), place.start());
            prop_assert_eq!(told.number(list + 8, 8), u64::from(initrd));
            prop_assert_eq!(told.number(list + 16, 8), 0);
        }
        prop_assert_eq!(told.number(info + 24, 8), plan.handoff.cmdline.start());
        prop_assert_eq!(plan.handoff.cmdline.size(), u64::from(cmdline.max(1)));
        prop_assert_eq!(told.number(info + 32, 8), rsdp.unwrap_or(0));
        let (map, count) = (told.number(info + 40, 8), told.number(info + 48, 4));
        let map: Vec<_> = (0..count)
            .map(|index| map + index * 24)
            .map(|at| (told.number(at, 8), told.number(at + 8, 8), told.number(at + 16, 4)))
            .collect();
        prop_assert_eq!(map, regions(&plan));
    }

    /// Linux zero-page.rst and boot.rst.
    #[test]
    fn a_bzimage_is_told_the_plan(
        memory in memory_strategy(), narrow in any::<bool>(), distance in 0x62u8..0x80,
        initrd in prop_oneof![Just(0u32), 1u32..0x10_0000], cmdline in 0u32..2048,
        rsdp in proptest::option::of(0xe_0000u64..0x10_0000),
    ) {
        let mut header = if narrow { header32() } else { header() };
        header.jump[1] = distance;
        header.init_size = 0x10_0000.into();
        header.handover_offset = 0x5a5a_5a5a.into(); // behind init_size
        header.kernel_info_offset = 0x5a5a_5a5a.into();
        let size = 0x8_0000;
        let kernel = if narrow {
            Kernel::Linux32 { header: &header, size }
        } else {
            Kernel::Linux64 { header: &header, size }
        };
        let facts = Facts { cmdline_size: cmdline, ..facts(&memory, kernel, initrd) };
        let mut storage = storage();
        let plan = planned(&facts, DMA, &mut storage).unwrap();
        let mut bytes = vec![0xcc; usize::try_from(plan.handoff.block.size()).unwrap()];
        tables::write(&plan, &facts, rsdp, &mut bytes);
        let told = Told { start: plan.handoff.block.start(), bytes };
        check_mp(&told, &plan, &facts.processors);

        let page = plan.handoff.parameters.start();
        let split = |low: u64, high: u64| {
            told.number(page + low, 4) | told.number(page + high, 4) << 32
        };
        let place = plan.initrd.unwrap_or(Range::between(0, 0));
        prop_assert_eq!(split(0x218, 0xc0), place.start());
        prop_assert_eq!(split(0x21c, 0xc4), u64::from(initrd));
        prop_assert_eq!(split(0x228, 0xc8), plan.handoff.cmdline.start());
        prop_assert_eq!(told.number(page + 0x70, 8), rsdp.unwrap_or(0));
        prop_assert_eq!(told.number(page + 0x210, 1), 0xff);
        let count = told.number(page + 0x1e8, 1);
        let map: Vec<_> = (0..count)
            .map(|index| page + 0x2d0 + index * 20)
            .map(|at| (told.number(at, 8), told.number(at + 8, 8), told.number(at + 16, 4)))
            .collect();
        prop_assert_eq!(map, regions(&plan));
        // Of the header, all that it says it has and nothing behind it.
        let end = 0x202 + u64::from(distance);
        let given = [&[0; 0x1f1], header.as_bytes()].concat();
        for at in 0x1f1..0x290u64 {
            let written = [0x1fa..0x1fc, 0x210..0x211, 0x218..0x220, 0x228..0x22c];
            if written.iter().any(|fields| fields.contains(&at)) {
                continue;
            }
            let byte = given.get(usize::try_from(at).unwrap()).filter(|_| at < end);
            let byte = byte.copied().unwrap_or_default();
            prop_assert_eq!(told.number(page + at, 1), u64::from(byte), "{:#x}", at);
        }
        prop_assert_eq!(told.number(page + 0x1ef, 1), 0); // the sentinel
    }

    /// Multiboot Specification 0.6.96, section 3.3, and what a BIOS would say.
    #[test]
    fn a_multiboot_kernel_is_told_the_plan(
        memory in memory_strategy(), flags in any::<u32>(), dma in any::<bool>(),
        modules in 0u32..3, cmdline_at in 0u32..16,
    ) {
        let mut device = Offered::new(flags, modules, cmdline_at);
        let mut setup = SetupBuffer::new_zeroed();
        let kernel = Kernel::gather(&mut device, &mut setup).unwrap();
        let facts = facts(&memory, kernel, 0);
        let mut storage = storage();
        let plan = planned(&facts, Means { dma }, &mut storage).unwrap();
        let mut bytes = vec![0xcc; usize::try_from(plan.handoff.block.size()).unwrap()];
        tables::write(&plan, &facts, None, &mut bytes);
        let told = Told { start: plan.handoff.block.start(), bytes };
        check_mp(&told, &plan, &facts.processors);

        let info = plan.handoff.parameters.start();
        let field = |offset| told.number(info + offset, 4);
        prop_assert_eq!(field(0), u64::from(flags & 0b1100 | 0b10_0100_0001));
        prop_assert_eq!(field(4), plan.handoff.block.start() >> 10);
        let first_hole = regions(&plan).iter()
            .find(|(start, ..)| *start == HIGH_RAM_START)
            .map(|(_, size, _)| *size);
        prop_assert_eq!(field(8), first_hole.unwrap() >> 10);
        prop_assert_eq!(field(12), 0);
        if flags & 0b100 != 0 {
            prop_assert_eq!(field(16), u64::from(device.cmdline));
        }
        if flags & 0b1000 != 0 {
            prop_assert_eq!((field(20), field(24)), (modules.into(), u64::from(device.list)));
        }
        prop_assert_eq!(told.at(field(64), 9), b"qboot-rs\0");
        let (length, map) = (field(44), field(48));
        let map: Vec<_> = (0..length / 24)
            .map(|index| map + index * 24)
            .map(|at| {
                assert_eq!(told.number(at, 4), 20);
                (told.number(at + 4, 8), told.number(at + 12, 8), told.number(at + 20, 4))
            })
            .collect();
        prop_assert_eq!(map, regions(&plan));

        // The same memory by int 15h, from the extended BIOS data area.
        let ebda = told.at(told.start, plan.handoff.ebda.size());
        let (ebda, _) = Ebda::read_from_prefix(ebda).unwrap();
        prop_assert_eq!(u64::from(ebda.size_kib), plan.handoff.block.size() >> 10);
        let count = usize::from(ebda.e820_entries.get());
        let map: Vec<_> = ebda.e820[..count]
            .iter()
            .map(|entry| (entry.addr.get(), entry.size.get(), u64::from(entry.kind.get())))
            .collect();
        prop_assert_eq!(map, regions(&plan));
        let above = first_hole.unwrap();
        let below_16m = above.min(15 << 20);
        prop_assert_eq!(u64::from(ebda.below_16m_kib.get()) << 10, below_16m & !0x3ff);
        let rest = (above.min((1 << 32) - HIGH_RAM_START) - below_16m) & !0xffff;
        prop_assert_eq!(u64::from(ebda.above_16m_64k.get()) << 16, rest);
        let mut bda = Bda::new_zeroed();
        tables::bios_data::write_bda(&mut bda, plan.handoff.block, None);
        prop_assert_eq!(u64::from(bda.ebda_segment.get()) << 4, plan.handoff.ebda.start());
        prop_assert_eq!(u64::from(bda.base_memory_kib.get()) << 10, plan.handoff.block.start());
    }

    /// Tables of any size and alignment: aligned, apart, in reserved RAM where a kernel reaches
    /// them, off the kernel and the initial RAM disk; or there is no room for one, and it is said.
    #[test]
    fn tables_lie_in_memory_of_their_own(
        mib in 16u64..5000, shadow in any::<bool>(), at in 0x10u64..0x3000,
        files in proptest::collection::vec(
            (0u32..24, any::<u32>(), 0u32..32, any::<bool>()), 0..12,
        ),
        initrd in 0u32..0x100_0000,
    ) {
        let mut memory = ram(mib * MIB);
        if shadow {
            // As on a board without RAM there.
            memory.push(record(0xa_0000, 0x6_0000, TYPE_RESERVED));
        }
        let kernel = pvh(at * 0x1_0000, 0x20_0000);
        let facts = facts(&memory, kernel, initrd);
        let mut blobs = Box::new([Blob::new_zeroed(); MAX_BLOBS]);
        let mut blobs = Blobs::new(&mut blobs);
        for (index, (bits, size, shift, scanned)) in files.iter().enumerate() {
            let mut name: FileName = [0; 56];
            name[0] = b'a' + index.to_le_bytes()[0];
            let file = File::new(Key(0x20), size & ((1 << bits) - 1)).unwrap();
            // Most are as QEMU's: aligned to a page at most.
            let shift = if index % 4 == 3 { *shift } else { shift % 13 };
            let zone = if *scanned { ZONE_FSEG } else { ZONE_HIGH };
            blobs.add(&name, file, 1 << shift, zone).unwrap();
        }
        let mut storage = storage();
        let plan = match Plan::new(&facts, DMA, &mut blobs, &mut storage) {
            Ok(plan) => plan,
            Err(error) => {
                // Three small ones find room everywhere where the kernel does.
                let small = files.len() < 4 && files.iter().all(|(bits, ..)| *bits < 14);
                let needed = at * 0x1_0000 + 0x20_0000 + u64::from(initrd);
                let ample = small && !shadow && needed < (mib.min(3072) - 1) * MIB;
                prop_assert!(!ample, "{}", error);
                return Ok(());
            }
        };
        let mut taken = vec![plan.handoff.block, Range::new(at * 0x1_0000, 0x20_0000).unwrap()];
        taken.extend(plan.initrd);
        for blob in blobs.iter() {
            let place = blob.place();
            prop_assert_eq!(place.size(), u64::from(blob.size()));
            prop_assert_eq!(place.start() % blob.align(), 0);
            prop_assert!(place.end() <= 1 << 32);
            let scanned = Range::between(RSDP_SCAN_START, ROM_ALIAS_START);
            prop_assert!(blob.zone() == Zone::High || scanned.contains(place));
            prop_assert!(!taken.iter().any(|other| other.overlaps(place)), "{}", place);
            let kept = |region: &Region| {
                region.kind == u64::from(TYPE_RESERVED) && region.range().contains(place)
            };
            prop_assert!(place.is_empty() || plan.memory.regions().iter().any(kept), "{}", place);
            let is_ram = memory.iter().any(|record| {
                let range = Range::new(record.addr.get(), record.size.get()).unwrap();
                record.kind.get() == TYPE_RAM && range.contains(place)
            });
            prop_assert!(is_ram, "{}", place);
            taken.push(place);
        }
    }
}

/// A table of this size, alignment and zone beside an ordinary kernel.
fn one_table(memory: &[E820Entry], size: u32, align: u32, zone: u8) -> Result<Range, String> {
    let facts = facts(memory, pvh(0x100_0000, 0x10_0000), 0);
    let mut blobs = Box::new([Blob::new_zeroed(); MAX_BLOBS]);
    let mut blobs = Blobs::new(&mut blobs);
    blobs
        .add(&[0; 56], File::new(Key(0x20), size).unwrap(), align, zone)
        .unwrap();
    let mut storage = storage();
    let plan =
        Plan::new(&facts, DMA, &mut blobs, &mut storage).map_err(|error| error.to_string())?;
    let place = blobs.iter().next().unwrap().place();
    assert!(!plan.memory.has_ram(place));
    Ok(place)
}

#[test]
fn a_table_may_have_the_largest_alignment_where_there_is_ram_for_it() {
    let largest = 1 << 31;
    let place = one_table(&ram(3 << 30), 0x1234, largest, ZONE_HIGH);
    assert_eq!(place, Ok(Range::new(1 << 31, 0x1234).unwrap()));
    for (memory, zone) in [(512 * MIB, ZONE_HIGH), (3 << 30, ZONE_FSEG)] {
        assert_eq!(
            one_table(&ram(memory), 0x1234, largest, zone).unwrap_err(),
            "ACPI tables: expected room for 0x1234 bytes at a multiple of 0x80000000, found none"
        );
    }
}

#[test]
fn a_table_larger_than_its_zone_or_than_ram_has_its_sentence() {
    let zone = u32::try_from(ROM_ALIAS_START - RSDP_SCAN_START).unwrap();
    let place = one_table(&ram(512 * MIB), zone, 16, ZONE_FSEG).unwrap();
    assert_eq!(
        (place.start(), place.end()),
        (RSDP_SCAN_START, ROM_ALIAS_START)
    );
    for (size, kind, align) in [
        (zone + 1, ZONE_FSEG, 16),
        (512 << 20, ZONE_FSEG, 16),
        (u32::MAX, ZONE_FSEG, 16),
        (511 << 20, ZONE_HIGH, 0x1000),
        (512 << 20, ZONE_HIGH, 0x1000),
        (u32::MAX, ZONE_HIGH, 0x1000),
    ] {
        assert_eq!(
            one_table(&ram(512 * MIB), size, align, kind).unwrap_err(),
            format!(
                "ACPI tables: expected room for {size:#x} bytes at a multiple of {align:#x}, \
                 found none"
            )
        );
    }
    let large = one_table(&ram(512 * MIB), 400 << 20, 16, ZONE_HIGH).unwrap();
    assert_eq!(large.size(), 400 << 20);
}

/// A multiboot kernel with empty modules.
struct Offered {
    items: Vec<(Key, Vec<u8>)>,
    selected: usize,
    offset: usize,
    list: u32,
    cmdline: u32,
}

impl Offered {
    fn new(flags: u32, modules: u32, cmdline_at: u32) -> Self {
        const ADDR: u32 = 0x10_0000;
        let (list, strings, first) = (ADDR + 0x1000, ADDR + 0x1800, ADDR + 0x2000);
        let mut kernel = vec![0x90; 0x1000];
        for _ in 0..modules {
            for word in [first, first, strings, 0] {
                kernel.extend(word.to_le_bytes());
            }
        }
        kernel.resize(0x2000, 0);
        let mut info = [0u32; 22];
        let cmdline = strings + cmdline_at;
        info[0] = flags;
        info[3..7].copy_from_slice(&[0x8000_ffff, cmdline, modules, list]);
        let info: Vec<u8> = info.iter().flat_map(|word| word.to_le_bytes()).collect();
        let number = |value: u32| value.to_le_bytes().to_vec();
        let items = vec![
            (Key::KERNEL_ENTRY, number(ADDR + 0x10)),
            (Key::KERNEL_ADDR, number(ADDR)),
            (Key::KERNEL_SIZE, number(0x2000)),
            (Key::KERNEL_DATA, kernel),
            (Key::INITRD_SIZE, number(88)),
            (Key::INITRD_DATA, info),
        ];
        Self {
            items,
            selected: usize::MAX,
            offset: 0,
            list,
            cmdline,
        }
    }
}

impl Transport for Offered {
    fn read(&mut self, key: Key, buffer: &mut [u8]) -> Result<(), TransferError> {
        self.seek(key, 0)?;
        self.read_more(buffer)
    }

    fn read_more(&mut self, buffer: &mut [u8]) -> Result<(), TransferError> {
        let item = self
            .items
            .get(self.selected)
            .map_or(&[][..], |(_, bytes)| bytes);
        for byte in buffer {
            *byte = item.get(self.offset).copied().unwrap_or(0);
            self.offset += 1;
        }
        Ok(())
    }

    fn seek(&mut self, key: Key, offset: u32) -> Result<(), TransferError> {
        let index = self.items.iter().position(|(known, _)| *known == key);
        (self.selected, self.offset) = (index.unwrap_or(usize::MAX), offset as usize);
        Ok(())
    }

    fn write_more(&mut self, _: &[u8]) -> Result<(), TransferError> {
        unreachable!()
    }

    fn load(&mut self, _: Key, _: Range) -> Result<(), TransferError> {
        unreachable!()
    }
}
