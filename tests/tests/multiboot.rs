// SPDX-License-Identifier: MIT OR Apache-2.0
//! Multiboot kernels through the real firmware head and the real `fw_cfg` device.

use abi::debug::FailureCode;
use abi::e820::E820Entry;
use abi::fw_cfg::{Key, file};
use abi::multiboot::{Info, MmapEntry, Module};
use firmware_core::memory::Range;
use firmware_core::plan::Entry;
use firmware_core::processors::Identity;
use system_tests::kernels::pattern;
use system_tests::loopback::{Booted, Loopback};
use system_tests::multiboot::Multiboot;
use vmm::devices::fw_cfg::Items;
use vmm::memory::Memory;
use zerocopy::{FromBytes, IntoBytes};

const MEMORY: u64 = 64 << 20;

fn items() -> Items {
    let record = E820Entry {
        addr: 0.into(),
        size: MEMORY.into(),
        kind: 1.into(),
    };
    let mut items = Items::new();
    items.set(Key::NB_CPUS, 1u16.to_le_bytes().to_vec());
    items
        .add_file(file::E820, record.as_bytes().to_vec())
        .unwrap();
    items
}

/// A kernel with two modules, of which the second is empty.
fn kernel() -> Multiboot {
    let modules: [(&str, &[u8]); 2] = [("one a=b", &[7; 0x1234]), ("two", &[])];
    Multiboot::new(0x10_0000, &pattern(0x2345), "kernel quiet", &modules)
}

fn boot(items: Items, dma: bool) -> (Loopback, Result<Booted, (String, FailureCode)>) {
    let memory = Memory::from_ranges(&[(0, 64 << 20)]).unwrap();
    let mut loopback = Loopback::new(items, memory, dma);
    let booted = loopback
        .boot(Identity::default())
        .map_err(|error| (error.to_string(), error.code()));
    (loopback, booted)
}

fn refused(kernel: &Multiboot) -> (String, FailureCode) {
    boot(kernel.offered(items()), true).1.unwrap_err()
}

fn info(loopback: &Loopback, booted: &Booted) -> Info {
    let Entry::Multiboot { info, .. } = booted.entry else {
        panic!("{booted:?}")
    };
    let bytes = loopback.bytes(Range::new(info.into(), 88).unwrap());
    Info::read_from_bytes(&bytes).unwrap()
}

fn text(loopback: &Loopback, address: u32) -> String {
    let bytes = loopback.bytes(Range::new(address.into(), 64).unwrap());
    let end = bytes.iter().position(|byte| *byte == 0).unwrap();
    String::from_utf8(bytes[..end].to_vec()).unwrap()
}

#[test]
fn a_kernel_its_modules_and_all_strings_arrive_by_dma_as_by_port() {
    let kernel = kernel();
    for dma in [true, false] {
        let (loopback, booted) = boot(kernel.offered(items()), dma);
        let booted = booted.unwrap();
        let info = info(&loopback, &booted);

        assert_eq!(info.flags.get(), 0b10_0100_1101);
        assert_eq!(text(&loopback, info.boot_loader_name.get()), "qboot-rs");
        assert_eq!(text(&loopback, info.cmdline.get()), "kernel quiet");
        assert_eq!(info.mods_count.get(), 2);
        let list = Range::new(info.mods_addr.get().into(), 32).unwrap();
        let list = loopback.bytes(list);
        let list = <[Module]>::ref_from_bytes(&list).unwrap();
        let strings: Vec<_> = list
            .iter()
            .map(|module| text(&loopback, module.string.get()))
            .collect();
        assert_eq!(strings, ["one a=b", "two"]);
        let module = |index: usize| {
            let module = &list[index];
            Range::between(module.mod_start.get().into(), module.mod_end.get().into())
        };
        assert_eq!(loopback.bytes(module(0)), [7; 0x1234]);
        assert!(module(1).is_empty());
        let place = Range::new(0x10_0000, 0x2345).unwrap();
        assert_eq!(loopback.bytes(place), pattern(0x2345));
    }
}

#[test]
fn the_memory_map_is_what_is_left_of_memory() {
    let (loopback, booted) = boot(kernel().offered(items()), true);
    let booted = booted.unwrap();
    let info = info(&loopback, &booted);

    let map = Range::new(info.mmap_addr.get().into(), info.mmap_length.get().into()).unwrap();
    assert!(booted.handoff.block.contains(map));
    let map = loopback.bytes(map);
    let map: Vec<_> = <[MmapEntry]>::ref_from_bytes(&map)
        .unwrap()
        .iter()
        .map(|entry| {
            assert_eq!(entry.size.get(), 20);
            (entry.addr.get(), entry.length.get(), entry.kind.get())
        })
        .collect();
    assert_eq!(
        map,
        [
            (0, 0x9_f000, 1),
            (0x9_f000, 0x1000, 2),
            (0xf_0000, 0x1_0000, 2),
            (0x10_0000, 0x3f0_0000, 1)
        ]
    );
    assert_eq!((info.mem_lower.get(), info.mem_upper.get()), (636, 0xfc00));
}

/// Over the firmware's stack and its buffers, right up to the hand-off block.
#[test]
fn a_kernel_may_lie_anywhere_in_conventional_memory() {
    for (addr, length) in [(0x8000, 0x1000), (0, 0x9_d000), (0x9_d000, 0x1000)] {
        for dma in [true, false] {
            let bytes = pattern(length);
            let mut kernel = Multiboot::new(addr, &bytes, "low", &[]);
            kernel.entry = addr + 0x10; // an entry point at 0 is none
            let (loopback, booted) = boot(kernel.offered(items()), dma);
            let info = info(&loopback, &booted.unwrap());
            let place = Range::new(addr.into(), length as u64).unwrap();
            assert!(loopback.bytes(place) == bytes, "{addr:#x}");
            assert_eq!(text(&loopback, info.cmdline.get()), "low");
        }
    }
}

#[test]
fn an_image_where_there_is_no_free_ram_is_refused() {
    let cases = [
        (0x9_e000, "0x9e000..0xa0000"),
        (0xf_0000, "0xf0000..0xf2000"),
        (0x3ff_f000, "0x3fff000..0x4001000"),
        (0xffff_e000, "0xffffe000..0x100000000"),
    ];
    for (addr, found) in cases {
        let mut kernel = Multiboot::new(0x10_0000, &[1], "x", &[]);
        kernel.entry = addr;
        kernel.addr = addr;
        let move_by = addr.wrapping_sub(0x10_0000);
        for field in [&mut kernel.info.cmdline, &mut kernel.info.mods_addr] {
            field.set(field.get().wrapping_add(move_by));
        }
        assert_eq!(
            refused(&kernel),
            (
                format!(
                    "kernel: expected its image in free RAM between 0x0 and 4 GiB, found it at {found}"
                ),
                FailureCode::KernelPlacement
            )
        );
    }
}

#[test]
fn a_command_line_that_fills_the_last_page_is_ended() {
    let mut kernel = Multiboot::new(0x10_0000, &[1], "x", &[]);
    let end = kernel.blob.len();
    kernel.blob[end - 0x10..].fill(b'y');
    kernel.info.cmdline = (0x10_0000 + u32::try_from(end).unwrap() - 0x10).into();
    let (loopback, booted) = boot(kernel.offered(items()), true);
    let info = info(&loopback, &booted.unwrap());
    assert_eq!(text(&loopback, info.cmdline.get()), "y".repeat(15));
}

#[test]
fn without_strings_no_byte_of_the_kernel_is_touched() {
    let mut kernel = Multiboot::new(0x10_0000, &[1], "x", &[]);
    kernel.blob.fill(0x5a);
    kernel.info.flags = 1.into();
    let (loopback, booted) = boot(kernel.offered(items()), true);
    assert_eq!(
        info(&loopback, &booted.unwrap()).flags.get(),
        0b10_0100_0001
    );
    let place = Range::new(0x10_0000, kernel.blob.len() as u64).unwrap();
    assert_eq!(loopback.bytes(place), kernel.blob);
}

#[test]
fn every_lie_has_its_sentence() {
    type Lie = fn(&mut Multiboot);
    let lies: [(Lie, &str); 11] = [
        (
            |kernel| kernel.entry = 0x0f_ffff,
            "kernel: expected its entry point inside the image at 0x100000..0x106000, \
             found 0xfffff",
        ),
        (
            |kernel| kernel.info.mods_addr = 0x10_0000.into(),
            "multiboot module list: expected it in 0x100001..0x106000, \
             found 0x20 bytes at 0x100000",
        ),
        (
            |kernel| kernel.info.mods_count = u32::MAX.into(),
            "multiboot module list: expected it in 0x100001..0x106000, \
             found 0xffffffff bytes at 0x103000",
        ),
        (
            |kernel| kernel.info.mods_count = 3.into(),
            "multiboot module string: expected it in 0x103030..0x104000, \
             found 0x1 bytes at 0x103020",
        ),
        (
            |kernel| kernel.info.cmdline = 0x10_2000.into(),
            "multiboot command line: expected it in 0x103020..0x104000, \
             found 0x1 bytes at 0x102000",
        ),
        (
            |kernel| kernel.info.cmdline = 0xffff_ffff.into(),
            "multiboot command line: expected it in 0x103020..0x104000, \
             found 0x1 bytes at 0xffffffff",
        ),
        (
            |kernel| kernel.edit_module(0, |module| module.mod_start = 0x10_2000.into()),
            "multiboot module: expected it in 0x103020..0x106000, \
             found 0x3234 bytes at 0x102000",
        ),
        (
            |kernel| kernel.edit_module(0, |module| module.mod_end = 0x10_6001.into()),
            "multiboot module: expected it in 0x103020..0x106000, \
             found 0x2001 bytes at 0x104000",
        ),
        (
            |kernel| kernel.edit_module(1, |module| module.mod_start = 0x10_5000.into()),
            "multiboot module: expected it in 0x105234..0x106000, \
             found 0x1000 bytes at 0x105000",
        ),
        (
            |kernel| kernel.edit_module(1, |module| module.mod_end = 0.into()),
            "multiboot module: expected it in 0x105234..0x106000, \
             found 0xffffffff bytes at 0x106000",
        ),
        (
            |kernel| kernel.edit_module(1, |module| module.string = 0x10_4000.into()),
            "multiboot module string: expected it in 0x103020..0x104000, \
             found 0x1 bytes at 0x104000",
        ),
    ];
    for (lie, sentence) in lies {
        let mut kernel = kernel();
        lie(&mut kernel);
        assert_eq!(
            refused(&kernel),
            (sentence.to_owned(), FailureCode::KernelFormat)
        );
    }
}

#[test]
fn information_of_another_size_is_refused() {
    for size in [0, 87, 89, u32::MAX] {
        let mut items = kernel().offered(items());
        items.set(Key::INITRD_SIZE, size.to_le_bytes().to_vec());
        assert_eq!(
            boot(items, true).1.unwrap_err(),
            (
                format!("multiboot information: expected 88 bytes, found {size}"),
                FailureCode::KernelFormat
            )
        );
    }
}

/// A VMM whose map promises memory that its DMA does not reach, at the very last transfer.
#[test]
#[should_panic(expected = "the kernel is loaded")]
fn a_kernel_that_cannot_be_loaded_is_not_entered() {
    let kernel = kernel();
    let memory = Memory::from_ranges(&[(0, 0x10_1000)]).unwrap();
    let mut loopback = Loopback::new(kernel.offered(items()), memory, true);
    let _ = loopback.boot(Identity::default());
}
