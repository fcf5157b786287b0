// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use crate::acpi::{Blob, MAX_BLOBS};
use crate::board::Board;
use crate::fw_cfg::{MAX_MODULES, Modules};
use crate::processors::{Identity, Processors};
use crate::tables;
use abi::debug::FailureCode;
use abi::e820::{E820Entry, TYPE_RAM, TYPE_RESERVED};
use abi::fw_cfg::{FileEntry, file, file_name};
use abi::layout::PAGE_SIZE;
use abi::linux::{BootParams, LoadFlags, SetupHeader, VERSION_2_10, VERSION_2_12, XLoadFlags};
use abi::pvh::{MemmapEntry, StartInfo};
use proptest::prelude::*;
use std::sync::LazyLock;
use zerocopy::{FromBytes, FromZeros};

mod told;

const MIB: u64 = 1 << 20;
const DMA: Means = Means { dma: true };
const PORTS: Means = Means { dma: false };

fn record(addr: u64, size: u64, kind: u32) -> E820Entry {
    E820Entry {
        addr: addr.into(),
        size: size.into(),
        kind: kind.into(),
    }
}

/// RAM as microvm lays it out: split at 3 GiB.
fn ram(size: u64) -> Vec<E820Entry> {
    const SPLIT: u64 = 3 << 30;
    let mut records = vec![record(0, size.min(SPLIT), TYPE_RAM)];
    if size > SPLIT {
        records.push(record(1 << 32, size - SPLIT, TYPE_RAM));
    }
    records
}

fn processors(count: u16, gigabyte_pages: bool) -> Processors {
    Processors::new(
        count,
        Identity {
            gigabyte_pages,
            ..Identity::default()
        },
    )
    .unwrap()
}

/// A header like that of a stock 6.1 kernel.
fn header() -> SetupHeader {
    let mut header = SetupHeader::new_zeroed();
    header.jump = [0xeb, 0x6a];
    header.version = VERSION_2_12.into();
    header.xloadflags = (XLoadFlags::KERNEL_64 | XLoadFlags::CAN_BE_LOADED_ABOVE_4G)
        .bits()
        .into();
    header.pref_address = 0x100_0000.into();
    header.init_size = 0x337_8000.into();
    header.kernel_alignment = 0x20_0000.into();
    header.relocatable_kernel = 1;
    header.initrd_addr_max = 0x7fff_ffff.into();
    header.cmdline_size = 2047.into();
    header
}

static NO_MODULES: LazyLock<Modules> = LazyLock::new(Modules::new_zeroed);

fn facts<'a>(memory: &'a [E820Entry], kernel: Kernel<'a>, initrd_size: u32) -> Facts<'a> {
    Facts {
        board: Board::Microvm,
        memory,
        processors: processors(1, true),
        irq0_override: true,
        kernel,
        cmdline_size: 14,
        initrd_size,
        modules: &NO_MODULES,
    }
}

fn storage() -> [Region; MAX_ENTRIES] {
    [Region {
        start: 1,
        end: 0,
        kind: 77,
    }; MAX_ENTRIES]
}

fn pvh(start: u64, size: u64) -> Kernel<'static> {
    Kernel::Pvh {
        image: Range::new(start, size).unwrap(),
        entry: 0x100_0000,
    }
}

/// A plan without ACPI tables.
fn planned<'a>(
    facts: &Facts<'a>,
    means: Means,
    storage: &'a mut [Region; MAX_ENTRIES],
) -> Result<Plan<'a>, PlanError> {
    let mut blobs = Box::new([Blob::new_zeroed(); MAX_BLOBS]);
    Plan::new(facts, means, &mut Blobs::new(&mut blobs), storage)
}

#[test]
fn a_bzimage_goes_to_its_preferred_address_and_the_initrd_above_4_gib_when_it_may() {
    let (header, memory) = (header(), ram(5 << 30));
    let facts = facts(
        &memory,
        Kernel::Linux64 {
            header: &header,
            size: 0x80_0000,
        },
        0x10_0001,
    );
    let mut storage = storage();
    let plan = planned(&facts, DMA, &mut storage).unwrap();
    assert_eq!(plan.kernel, Range::new(0x100_0000, 0x80_0000));
    assert_eq!(plan.initrd, Range::new(0x1_7fef_f000, 0x10_0001));
    assert_eq!(
        plan.entry,
        Entry::Linux64 {
            entry: 0x100_0200,
            boot_params: plan.handoff.parameters.start()
        }
    );
}

#[test]
fn without_dma_the_initrd_stays_where_the_firmware_reaches() {
    let (header, memory) = (header(), ram(5 << 30));
    let facts = facts(
        &memory,
        Kernel::Linux64 {
            header: &header,
            size: 0x80_0000,
        },
        0x1000,
    );
    let mut storage = storage();
    let plan = planned(&facts, PORTS, &mut storage).unwrap();
    assert_eq!(plan.initrd, Range::new(0xbfff_f000, 0x1000));
}

#[test]
fn a_kernel_that_does_not_take_high_addresses_gets_its_initrd_below_its_limit() {
    let mut header = header();
    header.xloadflags = XLoadFlags::KERNEL_64.bits().into();
    let memory = ram(5 << 30);
    let facts = facts(
        &memory,
        Kernel::Linux64 {
            header: &header,
            size: 0x80_0000,
        },
        0x1000,
    );
    let mut storage = storage();
    let plan = planned(&facts, DMA, &mut storage).unwrap();
    assert_eq!(plan.initrd, Range::new(0x7fff_f000, 0x1000));
}

/// A header like that of a stock 32-bit kernel.
fn header32() -> SetupHeader {
    let mut header = header();
    header.version = VERSION_2_10.into();
    header.xloadflags = 0.into();
    header.loadflags = LoadFlags::LOADED_HIGH.bits();
    header.initrd_addr_max = 0x37ff_ffff.into();
    header
}

proptest! {
    /// The real-mode part and what is loaded low stay clear of the block, and the other way round.
    #[test]
    fn nothing_of_a_16_bit_kernel_collides(
        version in 0x0200u16..0x0210,
        high in any::<bool>(), dma in any::<bool>(), gigabyte_pages in any::<bool>(),
        setup_sectors in 2u32..=64,
        kernel_size in 1u32..0x10_0000,
        initrd_size in 0u32..0x100_0000,
        cmdline_size in 0u32..=256,
        cpus in 1u16..=255,
    ) {
        let mut header = header32();
        header.version = version.into();
        header.loadflags = u8::from(high);
        let kernel = Kernel::Linux16 {
            header: &header,
            setup_size: setup_sectors * 512,
            size: kernel_size,
        };
        let memory = ram(128 * MIB);
        let facts = Facts {
            processors: processors(cpus, gigabyte_pages),
            cmdline_size,
            ..facts(&memory, kernel, initrd_size)
        };
        let mut storage = storage();
        let plan = match planned(&facts, Means { dma }, &mut storage) {
            Ok(plan) => plan,
            Err(error) => {
                // What has to keep below 0x90000, or above 0x9a000.
                let narrow = !high || version < 0x0202;
                let tables = !dma && !gigabyte_pages;
                prop_assert!(narrow && (kernel_size > 0x8_0000 || tables), "{}", error);
                return Ok(());
            }
        };
        let Some(real_mode) = RealMode::new(&facts, &plan) else {
            return Err(TestCaseError::fail("not the 16-bit entry"));
        };
        let entry = Entry::Linux16 {
            segment: u16::try_from(real_mode.setup.start() / 16).unwrap(),
            stack: real_mode.heap_end,
        };
        prop_assert_eq!(plan.entry, entry);
        let start = real_mode.setup.start();
        let used = Range::new(start, u64::from(real_mode.heap_end)).unwrap();
        let mut pieces = vec![used, plan.handoff.block];
        pieces.extend(plan.kernel);
        pieces.extend(plan.initrd);
        pieces.extend(real_mode.kernel);
        pieces.extend(real_mode.cmdline);
        prop_assert!(used.contains(real_mode.setup));
        for (index, piece) in pieces.iter().enumerate() {
            prop_assert!(!pieces[index + 1..].iter().any(|other| other.overlaps(*piece)));
            prop_assert!(piece.start() >= 0x1_0000);
        }
        prop_assert_eq!(real_mode.kernel.is_some(), !high);
        prop_assert_eq!(real_mode.cmdline.is_some(), version < 0x0202);
        prop_assert!(plan.initrd.is_none_or(|initrd| initrd.end() <= 0x3800_0000));
        prop_assert_eq!(plan.handoff.ebda.start(), plan.handoff.block.start());
    }
}

#[test]
fn a_32_bit_kernel_is_entered_at_its_load_address_and_its_initrd_keeps_below_its_limit() {
    let (header, memory) = (header32(), ram(5 << 30));
    let kernel = Kernel::Linux32 {
        header: &header,
        size: 0x80_0000,
    };
    let facts = Facts {
        processors: processors(1, false),
        ..facts(&memory, kernel, 0x1000)
    };
    let mut storage = storage();
    let plan = planned(&facts, DMA, &mut storage).unwrap();
    assert_eq!(plan.kernel, Range::new(0x100_0000, 0x80_0000));
    assert_eq!(plan.initrd, Range::new(0x37ff_f000, 0x1000));
    assert_eq!(plan.handoff.map, Map::Start);
    assert_eq!(
        plan.entry,
        Entry::Linux32 {
            entry: 0x100_0000,
            boot_params: u32::try_from(plan.handoff.parameters.start()).unwrap()
        }
    );
}

#[test]
fn a_fixed_kernel_is_loaded_at_1_mib_and_nothing_lies_where_it_moves_to() {
    let mut header = header32();
    header.relocatable_kernel = 0;
    let memory = ram(72 * MIB);
    let kernel = Kernel::Linux32 {
        header: &header,
        size: 0x80_0000,
    };
    let facts = facts(&memory, kernel, 0x10_0000);
    let mut storage = storage();
    let plan = planned(&facts, DMA, &mut storage).unwrap();
    assert_eq!(plan.kernel, Range::new(0x10_0000, 0x80_0000));
    assert_eq!(plan.initrd, Range::new(0x470_0000, 0x10_0000)); // behind 0x100_0000 + init_size
}

#[test]
fn an_occupied_preferred_address_moves_a_relocatable_kernel_up_and_stops_a_fixed_one() {
    let mut header = header();
    let mut memory = ram(512 * MIB);
    memory.push(record(0x180_0000, 0x1000, TYPE_RESERVED));
    let mut first = storage();
    let relocatable = facts(
        &memory,
        Kernel::Linux64 {
            header: &header,
            size: 0x80_0000,
        },
        0,
    );
    let plan = planned(&relocatable, DMA, &mut first).unwrap();
    assert_eq!(plan.kernel, Range::new(0x1a0_0000, 0x80_0000));

    header.relocatable_kernel = 0;
    let fixed = facts(
        &memory,
        Kernel::Linux64 {
            header: &header,
            size: 0x80_0000,
        },
        0,
    );
    let mut second = storage();
    assert_eq!(
        planned(&fixed, DMA, &mut second).unwrap_err().code(),
        FailureCode::KernelPlacement
    );
}

#[test]
fn the_initrd_of_a_pvh_kernel_lies_below_4_gib_and_off_the_kernel() {
    let memory = ram(5 << 30);
    let facts = facts(&memory, pvh(0xbf00_0000, 0x100_0000), 0x10_0000);
    let mut storage = storage();
    let plan = planned(&facts, DMA, &mut storage).unwrap();
    assert_eq!(plan.initrd, Range::new(0xbef0_0000, 0x10_0000));
}

#[test]
fn as_much_is_mapped_as_is_needed() {
    let (header, memory) = (header(), ram(2048 * MIB));
    let linux = |header| Kernel::Linux64 {
        header,
        size: 0x80_0000,
    };
    let bzimage = linux(&header);
    // It runs up to 0x3e80_0000 and no further, and one alignment higher.
    let (mut last, mut beyond) = (header, header);
    last.pref_address = (0x3e80_0000 - u64::from(header.init_size.get())).into();
    beyond.pref_address = (last.pref_address.get() + 0x20_0000).into();
    let elf = pvh(0x100_0000, 0x1000);
    for (gigabyte_pages, means, kernel, wanted) in [
        (true, DMA, bzimage, "start"),
        (true, PORTS, elf, "start"),
        (false, DMA, elf, "start"),
        (false, DMA, bzimage, "directory"),
        (false, DMA, linux(&last), "directory"),
        (false, DMA, linux(&beyond), "tables"),
        (false, PORTS, bzimage, "tables"),
        (false, PORTS, elf, "tables"),
    ] {
        let facts = Facts {
            processors: processors(1, gigabyte_pages),
            ..facts(&memory, kernel, 0)
        };
        let mut storage = storage();
        let plan = planned(&facts, means, &mut storage).unwrap();
        let found = match plan.handoff.map {
            Map::Start => "start",
            Map::Directory => "directory",
            Map::Tables(_) => "tables",
        };
        assert_eq!(found, wanted, "{kernel:?}");
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let header = header();
    let bzimage = Kernel::Linux64 {
        header: &header,
        size: 0x80_0000,
    };
    let mut without_limit = header32();
    without_limit.initrd_addr_max = 0.into();
    let no_initrd = Kernel::Linux32 {
        header: &without_limit,
        size: 0x80_0000,
    };
    let mut huge = header32();
    huge.init_size = u32::MAX.into();
    let huge = Kernel::Linux32 {
        header: &huge,
        size: 0x80_0000,
    };
    let high = pvh(0x1_0000_0000, 0x1000);
    let low = pvh(0xf_0000, 0x2_0000);
    let cases = [
        (
            vec![
                record(0, MIB / 4, TYPE_RAM),
                record(MIB, 511 * MIB, TYPE_RAM),
            ],
            bzimage,
            0,
            "memory: expected RAM in all of the first 640 KiB, found 0x1ff40000 bytes in all",
        ),
        (
            ram(8 * MIB),
            bzimage,
            0,
            "kernel: expected 0x3378000 bytes of RAM at or above 0x1000000, found 0x800000 bytes in all",
        ),
        (
            ram(128 * MIB),
            bzimage,
            0x800_0000,
            "initrd and modules: expected 0x8000000 free bytes of RAM between 1 MiB and 0xffffffffffffffff, found 0x7f9e000 bytes in all",
        ),
        (
            ram(512 * MIB),
            no_initrd,
            0x1000,
            "initrd and modules: expected 0x1000 free bytes of RAM between 1 MiB and 0x1, found 0x1ff9e000 bytes in all",
        ),
        (
            ram(512 * MIB),
            huge,
            0,
            "kernel: expected 0xffffffff bytes of RAM at or above 0x1000000, found 0x20000000 bytes in all",
        ),
        (
            ram(5 << 30),
            high,
            0,
            "kernel: expected its image in free RAM between 0x100000 and 4 GiB, found it at 0x100000000..0x100001000",
        ),
        (
            ram(8 * MIB),
            low,
            0,
            "kernel: expected its image in free RAM between 0x100000 and 4 GiB, found it at 0xf0000..0x110000",
        ),
        (
            vec![record(u64::MAX, 2, TYPE_RAM)],
            bzimage,
            0,
            "memory map: expected ranges inside the address space, found 0x2 bytes at 0xffffffffffffffff",
        ),
    ];
    for (memory, kernel, initrd_size, sentence) in cases {
        let facts = facts(&memory, kernel, initrd_size);
        let mut storage = storage();
        let error = planned(&facts, DMA, &mut storage).unwrap_err();
        assert_eq!(error.to_string(), sentence);
    }
}

#[test]
fn a_command_line_longer_than_the_kernel_takes_is_refused() {
    let (header, memory) = (header(), ram(512 * MIB));
    let bzimage = Kernel::Linux64 {
        header: &header,
        size: 0x80_0000,
    };
    let facts = |cmdline_size, kernel| Facts {
        cmdline_size,
        ..facts(&memory, kernel, 0)
    };
    let check = |facts: Facts<'_>| planned(&facts, DMA, &mut storage()).map(|_| ());
    assert_eq!(check(facts(2048, bzimage)), Ok(()));
    assert_eq!(
        check(facts(2049, bzimage)),
        Err(PlanError::CommandLine {
            found: 2049,
            limit: 2048
        })
    );
    let elf = pvh(0x100_0000, 0x1000);
    assert_eq!(check(facts(MAX_CMDLINE_SIZE, elf)), Ok(()));
    assert!(check(facts(MAX_CMDLINE_SIZE + 1, elf)).is_err());
}

proptest! {
    /// At any memory size, with any holes: nothing overlaps, all is RAM, what the kernel is given
    /// is reserved, and the published map is sorted.
    #[test]
    fn no_two_placements_ever_collide(
        size in (1u64..8192).prop_map(|mib| mib * MIB),
        holes in proptest::collection::vec((0u64..0x2_0000, 1u64..0x800), 0..12),
        initrd_size in 0u32..0x1000_0000,
        kernel_size in 0x400u32..0x400_0000,
        cpus in 1u16..=255,
        cmdline_size in 0u32..2048,
        gigabyte_pages in any::<bool>(), dma in any::<bool>(), is_pvh in any::<bool>(),
        at in 0x10u64..0x8000,
    ) {
        let mut memory = ram(size);
        memory.extend(holes.iter().map(|(page, pages)| {
            record(page * PAGE_SIZE * 8, pages * PAGE_SIZE, TYPE_RESERVED)
        }));
        let header = header();
        let kernel = if is_pvh {
            pvh(at * PAGE_SIZE * 16, kernel_size.into())
        } else {
            Kernel::Linux64 { header: &header, size: kernel_size }
        };
        let facts = Facts {
            processors: processors(cpus, gigabyte_pages),
            cmdline_size,
            ..facts(&memory, kernel, initrd_size)
        };
        let mut storage = storage();
        let plan = match planned(&facts, Means { dma }, &mut storage) {
            Ok(plan) => plan,
            Err(error) => {
                // Half a GiB without holes is enough for the largest of these.
                let ample = holes.is_empty() && size >= 512 * MIB && !is_pvh;
                prop_assert!(!ample, "{}", error);
                return Ok(());
            }
        };

        let regions = plan.memory.regions();
        prop_assert!(regions.windows(2).all(|pair| pair[0].end <= pair[1].start));
        let footprint = match (kernel, plan.kernel) {
            (Kernel::Pvh { image, .. }, None) => image,
            (Kernel::Linux64 { .. }, Some(load)) => {
                prop_assert_eq!(load.size(), u64::from(kernel_size));
                Range::new(load.start(), u64::from(kernel_size.max(0x337_8000))).unwrap()
            }
            _ => return Err(TestCaseError::fail("a kernel without a place")),
        };
        prop_assert!(plan.memory.is_ram(footprint));
        let initrd = plan.initrd.unwrap_or(Range::between(0, 0));
        if initrd_size > 0 {
            prop_assert_eq!(initrd.size(), u64::from(initrd_size));
            prop_assert!(plan.memory.is_ram(initrd) && !initrd.overlaps(footprint));
        }
        let handoff = plan.handoff;
        let mut pieces = vec![
            handoff.mp_pointer, handoff.mp_table, handoff.parameters, handoff.ebda,
            handoff.cmdline,
        ];
        if let Map::Tables(tables) = handoff.map {
            pieces.push(tables);
        }
        for (index, piece) in pieces.iter().enumerate() {
            prop_assert!(handoff.block.contains(*piece));
            prop_assert!(!pieces[index + 1..].iter().any(|other| other.overlaps(*piece)));
        }
        prop_assert!(!handoff.block.overlaps(footprint) && !handoff.block.overlaps(initrd));
        for region in regions.iter().filter(|region| region.range().overlaps(handoff.block)) {
            prop_assert_eq!(region.kind, u64::from(TYPE_RESERVED));
        }
        for record in &memory[1..] {
            let held = Range::new(record.addr.get(), record.size.get()).unwrap();
            if record.kind.get() == TYPE_RESERVED {
                prop_assert!(!held.overlaps(footprint) && !held.overlaps(initrd));
            }
        }
    }
}

/// Files of these sizes.
fn modules(sizes: &[u32]) -> Modules {
    let mut modules = Modules::new_zeroed();
    for size in sizes {
        let mut file = FileEntry::new_zeroed();
        file.name = file_name(file::MODULE);
        file.size = (*size).into();
        modules.note(&file);
    }
    modules
}

proptest! {
    /// Modules of any sizes, at any memory size, beside any kernel and initial RAM disk: each lies
    /// in RAM, on a page of its own, and on nothing else; or too little is free in one piece.
    #[test]
    fn no_module_collides_with_anything(
        size in (24u64..4096).prop_map(|mib| mib * MIB),
        at in 0x10u64..0x1000,
        kernel_size in 1u64..0x200_0000,
        initrd_size in 0u32..0x200_0000,
        sizes in proptest::collection::vec(0u32..0x400_0000, 0..=MAX_MODULES),
    ) {
        let (memory, kernel) = (ram(size), pvh(at * PAGE_SIZE * 16, kernel_size));
        let files = modules(&sizes);
        let facts = Facts { modules: &files, ..facts(&memory, kernel, initrd_size) };
        let image = Range::new(at * PAGE_SIZE * 16, kernel_size).unwrap();
        let mut storage = storage();
        let plan = match planned(&facts, DMA, &mut storage) {
            Ok(plan) => plan,
            Err(error) => {
                let total: u64 = sizes.iter().map(|size| u64::from(*size) + PAGE_SIZE).sum();
                let needed = image.end() + u64::from(initrd_size) + total + MIB;
                prop_assert!(needed > size.min(3 << 30), "{}", error);
                return Ok(());
            }
        };

        let place = Range::new(plan.modules, files.size()).unwrap();
        let needed: u64 = sizes.iter().map(|size| u64::from(*size).div_ceil(PAGE_SIZE).max(1)).sum();
        prop_assert_eq!(place.size(), needed * PAGE_SIZE);
        prop_assert_eq!(place.start() % PAGE_SIZE, 0);
        if !place.is_empty() {
            prop_assert!(place.start() >= MIB && place.end() <= 1 << 32);
            prop_assert!(plan.memory.is_ram(place) && !place.overlaps(image));
        }
        if let Some(initrd) = plan.initrd {
            prop_assert!(!initrd.overlaps(place) && !initrd.overlaps(image));
        }
    }
}

#[test]
fn the_initrd_and_the_modules_are_one_piece() {
    // 15 MiB below the kernel, 4 MiB above.
    let (memory, kernel) = (ram(64 * MIB), pvh(16 * MIB, 44 * MIB));
    let places = |initrd_size, sizes: &[u32]| {
        let files = modules(sizes);
        let facts = Facts {
            modules: &files,
            ..facts(&memory, kernel, initrd_size)
        };
        let mut storage = storage();
        let plan = planned(&facts, DMA, &mut storage)?;
        Ok::<_, PlanError>((plan.modules, plan.initrd.map(Range::start)))
    };

    assert_eq!(places(1, &[0x1001, 0]), Ok((0x3ff_c000, Some(0x3ff_f000))));
    assert_eq!(places(0, &[0x1001, 0]), Ok((0x3ff_d000, None)));
    assert_eq!(
        places(0x10_0000, &[0xe0_0000]),
        Ok((0x10_0000, Some(0xf0_0000)))
    );
    assert_eq!(
        places(1, &[0xf0_0000]).unwrap_err().to_string(),
        "initrd and modules: expected 0xf00001 free bytes of RAM between 1 MiB and 0x100000000, found \
         0x3f9f000 bytes in all"
    );
}

/// The hand-off block as the kernel finds it.
fn written(facts: &Facts<'_>, plan: &Plan<'_>) -> Vec<u8> {
    let mut block = vec![0xcc; usize::try_from(plan.handoff.block.size()).unwrap()];
    tables::write(plan, facts, None, &mut block);
    block
}

#[test]
fn start_info_leads_to_the_map_and_the_initrd() {
    let memory = ram(512 * MIB);
    let facts = facts(&memory, pvh(0x100_0000, 0x1000), 0x2345);
    let mut storage = storage();
    let plan = planned(&facts, DMA, &mut storage).unwrap();
    let block = written(&facts, &plan);
    let at =
        |address: u64| &block[usize::try_from(address - plan.handoff.block.start()).unwrap()..];
    let (info, _) = StartInfo::ref_from_prefix(at(plan.handoff.parameters.start())).unwrap();
    assert_eq!((info.magic.get(), info.version.get()), (0x336e_c578, 1));
    assert_eq!(info.cmdline_paddr.get(), plan.handoff.cmdline.start());
    let (map, _) = <[MemmapEntry]>::ref_from_prefix_with_elems(
        at(info.memmap_paddr.get()),
        info.memmap_entries.get() as usize,
    )
    .unwrap();
    let map: Vec<_> = map
        .iter()
        .map(|entry| (entry.addr.get(), entry.size.get(), entry.kind.get()))
        .collect();
    assert_eq!(
        map,
        [
            (0, 0x9_f000, 1),
            (0x9_f000, 0x1000, 2),
            (0xf_0000, 0x1_0000, 2),
            (0x10_0000, 0x1ff0_0000, 1)
        ]
    );
    let (module, _) =
        abi::pvh::ModlistEntry::ref_from_prefix(at(info.modlist_paddr.get())).unwrap();
    assert_eq!(info.nr_modules.get(), 1);
    assert_eq!(
        (module.paddr.get(), module.size.get()),
        (0x1fff_d000, 0x2345)
    );
    assert_eq!(module.cmdline_paddr.get(), 0);
}

#[test]
fn the_zero_page_starts_from_zeros_and_copies_the_header_only() {
    let mut header = header();
    header.jump = [0xeb, 0x62]; // the header ends at 0x264: init_size is its last field
    header.handover_offset = 0x190.into(); // behind its end
    let memory = ram(512 * MIB);
    let facts = facts(
        &memory,
        Kernel::Linux64 {
            header: &header,
            size: 0x80_0000,
        },
        0x2345,
    );
    let mut storage = storage();
    let plan = planned(&facts, DMA, &mut storage).unwrap();
    let block = written(&facts, &plan);
    let at = plan.handoff.parameters.start() - plan.handoff.block.start();
    let (page, _) = BootParams::ref_from_prefix(&block[usize::try_from(at).unwrap()..]).unwrap();
    assert_eq!(page.sentinel, 0);
    assert!(
        page.unused_000
            .iter()
            .chain(&page.unused_cd0)
            .all(|byte| *byte == 0)
    );
    assert_eq!(page.hdr.init_size, header.init_size);
    assert_eq!(page.hdr.handover_offset.get(), 0);
    assert_eq!(
        u64::from(page.hdr.cmd_line_ptr.get()),
        plan.handoff.cmdline.start()
    );
    assert_eq!(
        u64::from(page.hdr.ramdisk_image.get()),
        plan.initrd.unwrap().start()
    );
    assert_eq!(page.hdr.ramdisk_size.get(), 0x2345);
    assert_eq!(usize::from(page.e820_entries), plan.memory.regions().len());
    assert_eq!(page.e820_table[0].addr.get(), 0);
}
