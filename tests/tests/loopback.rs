// SPDX-License-Identifier: MIT OR Apache-2.0
//! The real firmware head and the real `fw_cfg` device, register by register.

use abi::debug::FailureCode;
use abi::e820::E820Entry;
use abi::fw_cfg::{Key, file};
use abi::linux::BootParams;
use abi::pvh::{ModlistEntry, StartInfo};
use firmware_core::error::BootError;
use firmware_core::fw_cfg::MAX_MODULES;
use firmware_core::memory::Range;
use firmware_core::plan::Entry;
use std::ffi::CStr;
use system_tests::kernels::{bzimage, header, pattern};
use system_tests::loopback::{Booted, IDENTITY, Loopback};
use vmm::devices::fw_cfg::Items;
use vmm::memory::Memory;
use zerocopy::{FromBytes, IntoBytes};

const MIB: u64 = 1 << 20;

fn record(addr: u64, size: u64, kind: u32) -> E820Entry {
    E820Entry {
        addr: addr.into(),
        size: size.into(),
        kind: kind.into(),
    }
}

fn ram() -> Memory {
    Memory::from_ranges(&[(0, 64 << 20)]).unwrap()
}

fn items_with_map(records: &[E820Entry]) -> Items {
    let mut items = Items::new();
    items.set(Key::NB_CPUS, 1u16.to_le_bytes().to_vec());
    items.set(Key::IRQ0_OVERRIDE, 1u32.to_le_bytes().to_vec());
    items
        .add_file(file::E820, records.as_bytes().to_vec())
        .unwrap();
    items
}

fn items() -> Items {
    items_with_map(&[record(0, 64 * MIB, 1)])
}

fn set_u32(items: &mut Items, key: Key, value: usize) {
    items.set(key, u32::try_from(value).unwrap().to_le_bytes().to_vec());
}

fn with_cmdline(mut items: Items, cmdline: &str) -> Items {
    set_u32(&mut items, Key::CMDLINE_SIZE, cmdline.len() + 1);
    items.set(Key::CMDLINE_DATA, [cmdline.as_bytes(), b"\0"].concat());
    items
}

fn with_initrd(mut items: Items, initrd: &[u8]) -> Items {
    set_u32(&mut items, Key::INITRD_SIZE, initrd.len());
    items.set(Key::INITRD_DATA, initrd.to_vec());
    items
}

fn with_pvh(mut items: Items, addr: usize, size: usize, entry: usize) -> Items {
    set_u32(&mut items, Key::KERNEL_ADDR, addr);
    set_u32(&mut items, Key::KERNEL_SIZE, size);
    set_u32(&mut items, Key::KERNEL_ENTRY, entry);
    set_u32(&mut items, Key::SETUP_SIZE, 8192);
    items.set(Key::SETUP_DATA, pattern(8192));
    items
}

fn with_bzimage(mut items: Items, image: &[u8]) -> Items {
    let setup = (usize::from(image[0x1f1]) + 1) * 512;
    set_u32(&mut items, Key::SETUP_SIZE, setup);
    items.set(Key::SETUP_DATA, image[..setup].to_vec());
    set_u32(&mut items, Key::KERNEL_SIZE, image.len() - setup);
    items.set(Key::KERNEL_DATA, image[setup..].to_vec());
    items
}

fn boot(items: Items, dma: bool) -> (Loopback, Result<Booted, BootError>) {
    let mut loopback = Loopback::new(items, ram(), dma);
    let booted = loopback.boot(IDENTITY);
    (loopback, booted)
}

fn refused(items: Items) -> (String, FailureCode) {
    let error = boot(items, true).1.unwrap_err();
    (error.to_string(), error.code())
}

#[test]
fn a_pvh_kernel_gets_its_parameters_and_its_initrd_by_dma_as_by_port() {
    for dma in [true, false] {
        let initrd = pattern(100_001);
        let items = with_pvh(items(), 0x100_0000, 0x20_0000, 0x100_0040);
        let items = with_initrd(with_cmdline(items, "console=ttyS0"), &initrd);
        let (loopback, booted) = boot(items, dma);
        let booted = booted.unwrap();

        let Entry::Pvh { entry, start_info } = booted.entry else {
            panic!("{booted:?}")
        };
        assert_eq!(entry, 0x100_0040);
        let place = booted.initrd.unwrap();
        assert_eq!(place, Range::new(0x3fe_7000, 100_001).unwrap());
        assert_eq!(loopback.bytes(place), initrd);
        let info = loopback.bytes(Range::new(start_info.into(), 56).unwrap());
        let info = StartInfo::read_from_bytes(&info).unwrap();
        assert_eq!(info.nr_modules.get(), 1);
        let cmdline = loopback.bytes(Range::new(info.cmdline_paddr.get(), 14).unwrap());
        assert_eq!(cmdline, b"console=ttyS0\0");
    }
}

#[test]
fn a_bzimage_is_loaded_whole_at_its_preferred_address_by_dma_as_by_port() {
    for dma in [true, false] {
        let payload = pattern(300_000);
        let image = bzimage(&header(payload.len(), 0x80_0000), &payload);
        let items = with_cmdline(with_bzimage(items(), &image), "quiet");
        let (loopback, booted) = boot(items, dma);
        let booted = booted.unwrap();

        let place = booted.kernel.unwrap();
        assert_eq!(place.start(), 0x100_0000);
        assert_eq!(loopback.bytes(place), payload);
        let Entry::Linux64 { entry, boot_params } = booted.entry else {
            panic!("{booted:?}")
        };
        assert_eq!(entry, 0x100_0200);
        let page = loopback.bytes(Range::new(boot_params, 4096).unwrap());
        let page = BootParams::read_from_bytes(&page).unwrap();
        assert_eq!(page.hdr.boot_flag.get(), 0xaa55);
        assert_eq!(usize::from(page.e820_entries), booted.regions.len());
    }
}

/// The budget of port accesses: one for each item and two that find the device.
#[test]
fn a_boot_takes_one_doorbell_an_item() {
    let pvh = || {
        with_cmdline(
            with_pvh(items(), 0x100_0000, 0x20_0000, 0x100_0040),
            "quiet",
        )
    };
    let image = bzimage(&header(0x1000, 0x80_0000), &pattern(0x1000));
    let linux = || with_cmdline(with_bzimage(items(), &image), "quiet");
    for (name, items, budget) in [
        ("PVH", pvh(), 13),
        ("PVH and initrd", with_initrd(pvh(), b"disk"), 14),
        ("bzImage", linux(), 13),
        ("bzImage and initrd", with_initrd(linux(), b"disk"), 14),
        ("PVH and ACPI", with_acpi(pvh(), &pattern(0x2e2)), 16),
    ] {
        let (loopback, booted) = boot(items, true);
        booted.unwrap();
        assert_eq!(loopback.accesses, budget, "{name}");
    }
}

#[test]
fn an_empty_directory_has_no_memory_map() {
    let mut items = with_pvh(Items::new(), 0x100_0000, 0x20_0000, 0x100_0040);
    items.set(Key::NB_CPUS, 1u16.to_le_bytes().to_vec());
    assert_eq!(
        refused(items),
        (
            "fw_cfg file etc/e820: expected a memory map, found no such file".into(),
            FailureCode::MemoryMap
        )
    );
}

#[test]
fn four_thousand_files_hide_nothing() {
    let mut items = with_pvh(items(), 0x100_0000, 0x20_0000, 0x100_0040);
    for index in 0..4_000 {
        items
            .add_file(&format!("a/{index}"), b"x".to_vec())
            .unwrap();
    }
    items.add_file(file::TRACE, b"1".to_vec()).unwrap();
    let (_, booted) = boot(items, true);
    assert!(booted.unwrap().files.trace.is_some());
}

#[test]
fn a_map_of_the_wrong_size_is_refused() {
    for (size, sentence) in [
        (0, "found 0 bytes"),
        (19, "found 19 bytes"),
        (39, "found 39 bytes"),
        (20 * 513, "found 10260 bytes"),
    ] {
        let mut items = with_pvh(Items::new(), 0x100_0000, 0x20_0000, 0x100_0040);
        items.add_file(file::E820, vec![0; size]).unwrap();
        let (text, code) = refused(items);
        assert!(text.ends_with(sentence), "{text}");
        assert_eq!(code, FailureCode::MemoryMap);
    }
}

#[test]
fn an_unsorted_and_overlapping_map_comes_out_sorted_and_apart() {
    let records = [
        record(48 * MIB, 16 * MIB, 1),
        record(40 * MIB, MIB, 2),
        record(0, 32 * MIB, 1),
        record(16 * MIB, 34 * MIB, 1),
        record(40 * MIB + 0x8_0000, MIB, 2),
        record(20 * MIB, 0, 2),
    ];
    let items = with_pvh(items_with_map(&records), 0x100_0000, 0x20_0000, 0x100_0040);
    let booted = boot(items, true).1.unwrap();
    let map: Vec<_> = booted
        .regions
        .iter()
        .map(|r| (r.start, r.end, r.kind))
        .collect();
    assert_eq!(
        map,
        [
            (0, 0x9_f000, 1),
            (0x9_f000, 0xa_0000, 2),
            (0xf_0000, 0x10_0000, 2),
            (0x10_0000, 40 * MIB, 1),
            (40 * MIB, 41 * MIB + 0x8_0000, 2),
            (41 * MIB + 0x8_0000, 64 * MIB, 1),
        ]
    );
}

#[test]
fn more_ranges_than_a_kernel_takes_are_refused() {
    let mut records = vec![record(0, 64 * MIB, 1)];
    records.extend((0..200).map(|index| record(2 * MIB + index * 0x1_0000, 0x1000, 2)));
    let items = with_pvh(items_with_map(&records), 0x100_0000, 0x1000, 0x100_0040);
    let (text, code) = refused(items);
    assert_eq!(
        text,
        "memory map: expected at most 128 separate ranges, found more"
    );
    assert_eq!(code, FailureCode::MemoryMap);
}

#[test]
fn a_processor_count_that_makes_no_sense_is_refused() {
    for count in [0u16, 256, 300] {
        let mut items = with_pvh(items(), 0x100_0000, 0x20_0000, 0x100_0040);
        items.set(Key::NB_CPUS, count.to_le_bytes().to_vec());
        assert_eq!(
            refused(items),
            (
                format!("processors: expected 1 to 255, found {count}"),
                FailureCode::ProcessorCount
            )
        );
    }
}

/// A zImage or bzImage of an old protocol, with `setup_sects` and what the header says besides.
fn old_kernel(version: u16, loadflags: u8, setup_sects: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = header(payload.len(), 0);
    header.version = version.into();
    header.loadflags = loadflags;
    header.setup_sects = setup_sects;
    header.jump = [0xeb, 0x2e]; // ends behind initrd_addr_max
    bzimage(&header, payload)
}

#[test]
fn a_kernel_of_protocol_2_05_gets_its_real_mode_part_at_64_kib() {
    let payload = pattern(0x5000);
    let image = old_kernel(0x0205, 1, 6, &payload);
    let mut items = with_bzimage(items(), &image);
    set_u32(&mut items, Key::INITRD_SIZE, 0x1800);
    items.set(Key::INITRD_DATA, pattern(0x1800));
    set_u32(&mut items, Key::CMDLINE_SIZE, 5);
    items.set(Key::CMDLINE_DATA, b"auto\0".to_vec());

    let (loopback, booted) = boot(items, true);

    let booted = booted.unwrap();
    let (segment, stack) = (0x1000, 0xfff0);
    assert_eq!(booted.entry, Entry::Linux16 { segment, stack });
    let bytes = |start, size| loopback.bytes(Range::new(start, size).unwrap());
    assert_eq!(bytes(0x10_0000, 0x5000), payload);
    let initrd = booted.initrd.unwrap();
    assert_eq!(loopback.bytes(initrd), pattern(0x1800));
    let setup = bytes(0x1_0000, 7 * 512);
    assert_eq!(setup[0x210..0x212], [0xff, 0x81]);
    let field = |offset: usize| {
        u64::from(u32::from_le_bytes(
            setup[offset..offset + 4].try_into().unwrap(),
        ))
    };
    assert_eq!((field(0x218), field(0x21c)), (initrd.start(), 0x1800));
    assert_eq!(field(0x224) & 0xffff, 0xfff0 - 0x200);
    assert_eq!(field(0x228), booted.handoff.cmdline.start());
    assert_eq!(bytes(field(0x228), 5), b"auto\0");
    assert_eq!(setup[0x260..], image[0x260..7 * 512]);
    // The extended BIOS data area holds the map, and the map holds the area.
    let block = booted.handoff.block;
    assert_eq!(booted.handoff.ebda.start(), block.start());
    assert_eq!(bytes(block.start(), 1)[0], 4);
    assert_eq!(
        bytes(block.start() + 0x50 + 8, 8),
        block.start().to_le_bytes()
    );
}

#[test]
fn a_zimage_of_protocol_2_00_goes_low_with_its_command_line_in_its_segment() {
    let payload = pattern(0x7_fff0);
    let image = old_kernel(0x0200, 0, 4, &payload);
    let mut items = with_bzimage(items(), &image);
    let mut setup = image[..5 * 512].to_vec();
    setup[0x1f1] = 0; // which means 4
    items.set(Key::SETUP_DATA, setup);
    set_u32(&mut items, Key::CMDLINE_SIZE, 256);
    items.set(Key::CMDLINE_DATA, vec![b'x'; 256]);

    let (loopback, booted) = boot(items, true);

    let booted = booted.unwrap();
    let (segment, stack) = (0x9000, 0x9800);
    assert_eq!(booted.entry, Entry::Linux16 { segment, stack });
    assert!(booted.handoff.block.start() >= 0x9_a000);
    let bytes = |start, size| loopback.bytes(Range::new(start, size).unwrap());
    assert_eq!(bytes(0x1_0000, 0x7_fff0), payload);
    let setup = bytes(0x9_0000, 5 * 512);
    assert_eq!(setup[0x20..0x24], [0x3f, 0xa3, 0x00, 0x98]);
    assert_eq!(setup[0x212..0x214], 0x9900u16.to_le_bytes());
    assert_eq!(setup[0x211] & 0x80, 0, "protocol 2.00 has no heap_end_ptr");
    let cmdline = bytes(0x9_9800, 256);
    assert_eq!((cmdline[254], cmdline[255]), (b'x', 0));
}

#[test]
fn a_kernel_without_the_64_bit_flag_is_entered_in_32_bits() {
    let mut header = header(0x1000, 0x80_0000);
    header.xloadflags = 0.into();
    let booted = boot(
        with_bzimage(items(), &bzimage(&header, &pattern(0x1000))),
        true,
    )
    .1;
    let Entry::Linux32 { entry, .. } = booted.unwrap().entry else {
        panic!("not the 32-bit entry");
    };
    assert_eq!(entry, 0x100_0000);
}

#[test]
fn every_kernel_that_cannot_be_started_has_its_sentence() {
    let plain = header(0x1000, 0x80_0000);
    let linux = |header: &_| with_bzimage(items(), &bzimage(header, &pattern(0x1000)));
    let mut old = plain;
    old.version = 0x01ff.into();
    let mut astray = plain;
    astray.jump = [0xeb, 0xff];
    let mut crooked = plain;
    crooked.kernel_alignment = 3.into();
    let mut foreign = plain;
    foreign.header = *b"hdrs";
    let mut longer = plain;
    longer.syssize = 0x101.into();
    let linux_short = with_bzimage(items(), &bzimage(&plain, &pattern(0x200)));

    let payload = pattern(0x1000);
    let linux16 = |image: Vec<u8>| with_bzimage(items(), &image);
    let mut cut = linux16(old_kernel(0x0205, 1, 6, &payload));
    set_u32(&mut cut, Key::SETUP_SIZE, 0x600);
    let mut no_ramdisk = old_kernel(0x0203, 1, 6, &payload);
    no_ramdisk[0x22c..0x230].fill(0);
    let mut no_ramdisk = linux16(no_ramdisk);
    set_u32(&mut no_ramdisk, Key::INITRD_SIZE, 0x1000);
    let mut long_line = linux16(old_kernel(0x0205, 1, 6, &payload));
    set_u32(&mut long_line, Key::CMDLINE_SIZE, 257);
    let mut short_header = old_kernel(0x0202, 1, 6, &payload);
    short_header[0x201] = 0x22;

    for (items, sentence, code) in [
        (
            linux16(old_kernel(0x0205, 1, 255, &payload)),
            "kernel: expected a setup part of at most 64 sectors, found 256",
            FailureCode::KernelFormat,
        ),
        (
            cut,
            "kernel: expected a setup part of 0xe00 bytes by its header, found 0x600",
            FailureCode::KernelFormat,
        ),
        (
            linux16(short_header),
            "kernel: expected a jump over its setup header (0xeb, 0 to 0x7f), found 0xeb, 0x22",
            FailureCode::KernelFormat,
        ),
        (
            linux16(old_kernel(0x0205, 0, 6, &pattern(0x8_0001))),
            "kernel: expected at most 0x80000 bytes of one that is not loaded high, found 0x80001",
            FailureCode::KernelPlacement,
        ),
        (
            long_line,
            "kernel command line: expected at most 256 bytes with its NUL, found 257",
            FailureCode::CommandLine,
        ),
        (
            no_ramdisk,
            "initrd and modules: expected 0x1000 free bytes of RAM between 1 MiB and 0x1, \
             found 0x3f9f000 bytes in all",
            FailureCode::Initrd,
        ),
        (
            items(),
            "kernel: expected one in fw_cfg, found none",
            FailureCode::KernelAbsent,
        ),
        (
            linux(&old),
            "kernel: expected boot protocol 2.00 or later, found version 0x1ff",
            FailureCode::KernelFormat,
        ),
        (
            linux(&astray),
            "kernel: expected a jump over its setup header (0xeb, 0 to 0x7f), found 0xeb, 0xff",
            FailureCode::KernelFormat,
        ),
        (
            linux(&crooked),
            "kernel: expected kernel_alignment to be a power of two, found 0x3",
            FailureCode::KernelFormat,
        ),
        (
            linux(&foreign),
            "kernel: expected a Linux setup header (0xaa55, HdrS), found 0xaa55, 0x73726468",
            FailureCode::KernelFormat,
        ),
        (
            with_pvh(items(), 0x100_0000, 0x1000, 0x100_1000),
            "kernel: expected its entry point inside the image at 0x1000000..0x1001000, \
             found 0x1001000",
            FailureCode::KernelFormat,
        ),
        (
            linux(&longer),
            "kernel: expected 0x1010 bytes behind the setup part by its header, found 0x1000",
            FailureCode::KernelFormat,
        ),
        (
            linux_short,
            "kernel: expected more than 0x200 bytes behind the setup part, found 0x200",
            FailureCode::KernelFormat,
        ),
        (
            with_pvh(items(), 0xf_0000, 0x2_0000, 0x10_0000),
            "kernel: expected its image in free RAM between 0x100000 and 4 GiB, \
             found it at 0xf0000..0x110000",
            FailureCode::KernelPlacement,
        ),
    ] {
        assert_eq!(refused(items), (sentence.to_owned(), code));
    }
}

#[test]
fn an_init_size_beyond_all_memory_is_refused() {
    let header = header(0x1000, u32::MAX);
    let (text, code) = refused(with_bzimage(items(), &bzimage(&header, &pattern(0x1000))));
    assert!(text.starts_with("kernel: expected 0xffffffff bytes of RAM at or above 0x1000000"));
    assert_eq!(code, FailureCode::KernelPlacement);
}

#[test]
fn an_initrd_larger_than_memory_is_refused() {
    let mut items = with_pvh(items(), 0x100_0000, 0x1000, 0x100_0040);
    set_u32(&mut items, Key::INITRD_SIZE, 0xffff_f000);
    let (text, code) = refused(items);
    assert!(
        text.starts_with("initrd and modules: expected 0xfffff000 free bytes"),
        "{text}"
    );
    assert_eq!(code, FailureCode::Initrd);
}

fn with_modules(mut items: Items, modules: &[(&str, Vec<u8>)]) -> Items {
    for (name, bytes) in modules {
        let name = format!("{}{name}", file::MODULE);
        items.add_file(&name, bytes.clone()).unwrap();
    }
    items
}

/// The module list: of each its bytes and its command line.
fn modules(loopback: &Loopback, booted: &Booted) -> Vec<(Vec<u8>, Option<String>)> {
    let Entry::Pvh { start_info, .. } = booted.entry else {
        panic!("{booted:?}")
    };
    let info = loopback.bytes(Range::new(start_info.into(), 56).unwrap());
    let info = StartInfo::read_from_bytes(&info).unwrap();
    let size = size_of::<ModlistEntry>() as u64 * u64::from(info.nr_modules.get());
    let list = loopback.bytes(Range::new(info.modlist_paddr.get(), size).unwrap());
    let parameters = booted.handoff.parameters;
    assert!(size == 0 || parameters.contains(Range::new(info.modlist_paddr.get(), size).unwrap()));
    let list = <[ModlistEntry]>::ref_from_bytes(&list).unwrap();
    list.iter()
        .map(|entry| {
            let place = Range::new(entry.paddr.get(), entry.size.get()).unwrap();
            let cmdline = Some(entry.cmdline_paddr.get()).filter(|address| *address != 0);
            let cmdline = cmdline.map(|address| {
                let field = Range::new(address, 32).unwrap();
                assert!(parameters.contains(field));
                let text = loopback.bytes(field);
                let text = CStr::from_bytes_until_nul(&text).unwrap();
                text.to_str().unwrap().to_owned()
            });
            (loopback.bytes(place), cmdline)
        })
        .collect()
}

#[test]
fn every_module_follows_the_initrd_with_its_name() {
    let longest = "x".repeat(31);
    let files = [
        ("a", pattern(5000)),
        ("empty", vec![]),
        (longest.as_str(), pattern(0x10_0001)),
    ];
    for (dma, has_initrd) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut items = with_pvh(items(), 0x100_0000, 0x20_0000, 0x100_0040);
        items = with_acpi(items, &[0x55; 700]);
        if has_initrd {
            items = with_initrd(items, &pattern(4097));
        }
        let (loopback, booted) = boot(with_modules(items, &files), dma);
        let booted = booted.unwrap();

        let mut expected = Vec::new();
        expected.extend(has_initrd.then(|| (pattern(4097), None)));
        let named = files.iter().cloned();
        expected.extend(named.map(|(name, bytes)| (bytes, Some(name.to_owned()))));
        assert_eq!(modules(&loopback, &booted), expected);
    }
}

#[test]
fn as_many_modules_as_are_taken_come_from_a_long_directory() {
    let mut items = with_pvh(items(), 0x100_0000, 0x20_0000, 0x100_0040);
    let mut expected = Vec::new();
    for index in 0..MAX_MODULES {
        items
            .add_file(&format!("opt/other/{index}"), vec![])
            .unwrap();
        let (name, bytes) = (format!("{index}"), pattern(index * 100));
        items = with_modules(items, &[(&name, bytes.clone())]);
        expected.push((bytes, Some(name)));
    }
    let (loopback, booted) = boot(items, true);
    let mut found = modules(&loopback, &booted.unwrap());

    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn modules_that_a_kernel_cannot_take_are_refused() {
    let pvh = || with_pvh(items(), 0x100_0000, 0x1000, 0x100_0040);
    let names: Vec<_> = (0..=MAX_MODULES).map(|index| index.to_string()).collect();
    let many: Vec<_> = names.iter().map(|name| (&**name, vec![])).collect();
    let cases = [
        (
            with_modules(pvh(), &many),
            "modules: expected at most 32 for this kernel, found 33",
            FailureCode::Modules,
        ),
        (
            with_modules(
                with_bzimage(items(), &bzimage(&header(0x4000, 0), &pattern(0x4000))),
                &many[..1],
            ),
            "modules: expected at most 0 for this kernel, found 1",
            FailureCode::Modules,
        ),
        (
            with_modules(pvh(), &[("a", vec![0; 60 << 20])]),
            "initrd and modules: expected 0x3c00000 free bytes of RAM between 1 MiB and \
             0x100000000, found 0x3f9f000 bytes in all",
            FailureCode::Initrd,
        ),
    ];
    for (items, sentence, code) in cases {
        assert_eq!(refused(items), (sentence.to_owned(), code));
    }
}

/// One command of a loader script: its number, and fields at their offsets in the record.
fn command(number: u32, fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut record = vec![0; 128];
    record[..4].copy_from_slice(&number.to_le_bytes());
    for (offset, bytes) in fields {
        record[*offset..][..bytes.len()].copy_from_slice(bytes);
    }
    record
}

/// An RSDP and one table, connected and summed by a script as QEMU writes it.
fn with_acpi(mut items: Items, table: &[u8]) -> Items {
    let mut rsdp = b"RSD PTR \0BOCHS \x02\0\0\0\0\x24\0\0\0".to_vec();
    rsdp.resize(36, 0);
    let (to, from) = (b"etc/acpi/rsdp".as_slice(), b"etc/acpi/tables".as_slice());
    let script = [
        command(1, &[(4, to), (60, &16u32.to_le_bytes()), (64, &[2])]),
        command(1, &[(4, from), (60, &64u32.to_le_bytes()), (64, &[1])]),
        command(
            2,
            &[
                (4, to),
                (60, from),
                (116, &24u32.to_le_bytes()),
                (120, &[8]),
            ],
        ),
        command(
            3,
            &[
                (4, to),
                (60, &32u32.to_le_bytes()),
                (68, &36u32.to_le_bytes()),
            ],
        ),
    ];
    items.add_file("etc/acpi/rsdp", rsdp).unwrap();
    items.add_file("etc/acpi/tables", table.to_vec()).unwrap();
    items.add_file(file::TABLE_LOADER, script.concat()).unwrap();
    items
}

#[test]
fn acpi_tables_are_placed_connected_and_protected_by_dma_as_by_port() {
    // The second does not fit below 1 MiB.
    for (size, dma) in [
        (0x2e2, true),
        (0x2e2, false),
        (0x3_0000, true),
        (0x3_0000, false),
    ] {
        let table = pattern(size);
        let items = with_acpi(with_pvh(items(), 0x100_0000, 0x20_0000, 0x100_0040), &table);
        let (loopback, booted) = boot(items, dma);
        let booted = booted.unwrap();

        let rsdp = booted.rsdp.unwrap();
        assert!((0xe_0000..0x10_0000).contains(&rsdp) && rsdp.is_multiple_of(16));
        let bytes = loopback.bytes(Range::new(rsdp, 36).unwrap());
        assert_eq!(abi::checksum::sum(&bytes), 0);
        let at = u64::from_le_bytes(bytes[24..32].try_into().unwrap());
        let place = Range::new(at, size as u64).unwrap();
        assert_eq!(loopback.bytes(place), table);
        assert_eq!(place.start() >= MIB, size > 0x2_0000);
        for range in [place, Range::new(rsdp, 36).unwrap()] {
            let mut held = booted
                .regions
                .iter()
                .filter(|region| region.range().contains(range));
            assert!(
                held.any(|region| region.kind == 2),
                "{range} in {:x?}",
                booted.regions
            );
        }
        let Entry::Pvh { start_info, .. } = booted.entry else {
            panic!("{booted:?}")
        };
        let info = loopback.bytes(Range::new(start_info.into(), 56).unwrap());
        assert_eq!(
            StartInfo::read_from_bytes(&info).unwrap().rsdp_paddr.get(),
            rsdp
        );
    }
}

#[test]
fn acpi_tables_larger_than_memory_are_refused() {
    let items = with_pvh(items(), 0x100_0000, 0x20_0000, 0x100_0040);
    let (text, code) = refused(with_acpi(items, &vec![0; 64 << 20]));
    assert_eq!(
        text,
        "ACPI tables: expected room for 0x4000000 bytes at a multiple of 0x1000, found none"
    );
    assert_eq!(code, FailureCode::Acpi);
}

/// A VMM whose map promises memory that its DMA does not reach.
#[test]
fn a_transfer_the_device_refuses_is_named() {
    let map = [record(0, 128 * MIB, 1)];
    let items = with_pvh(items_with_map(&map), 0x100_0000, 0x1000, 0x100_0040);
    assert_eq!(
        refused(with_initrd(items, b"disk")),
        (
            "fw_cfg item 0x12: expected 4 bytes, found DMA status 0x1".into(),
            FailureCode::FwCfgTransfer
        )
    );
}

#[test]
fn a_command_line_without_its_nul_is_ended() {
    let mut items = with_pvh(items(), 0x100_0000, 0x1000, 0x100_0040);
    set_u32(&mut items, Key::CMDLINE_SIZE, 4);
    items.set(Key::CMDLINE_DATA, b"quietly".to_vec());
    let (loopback, booted) = boot(items, true);
    assert_eq!(loopback.bytes(booted.unwrap().handoff.cmdline), b"qui\0");
}
