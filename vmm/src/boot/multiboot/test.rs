// SPDX-License-Identifier: MIT OR Apache-2.0
//! Multiboot kernels, good and hostile, through the door the user has.
#![allow(clippy::cast_possible_truncation)] // the values are the tests' own, and fit

use super::super::test::{Files, RAM, item, number};
use super::super::{Boot, Error, prepare};
use super::*;
use crate::config::Target;

const MAGIC: u32 = 0x1bad_b002;
const ADDRESSES: u32 = 1 << 16;

/// A header with these flags and addresses, at `offset`, and bytes that count up to `size`.
fn image(offset: usize, flags: u32, addresses: [u32; 5], size: usize) -> Vec<u8> {
    let checksum = 0u32.wrapping_sub(MAGIC).wrapping_sub(flags);
    let words = [&[MAGIC, flags, checksum][..], &addresses].concat();
    let header: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut image: Vec<u8> = (0..=255).cycle().take(size).collect();
    image[offset..][..32].copy_from_slice(&header);
    image
}

/// A flat kernel of 0x1800 bytes for 1 MiB, whose first 0x10 are left out, and 0x1000 zero bytes.
fn flat() -> Vec<u8> {
    let addresses = [0x10_0010, 0x10_0000, 0x10_17f0, 0x10_27f0, 0x10_0040];
    image(0x20, ADDRESSES | 3, addresses, 0x1800)
}

/// A 32-bit ELF file of two segments, and a header that leaves it to that.
fn elf32(entry: u32, loads: &[[u32; 6]]) -> Vec<u8> {
    let mut file = image(0x200, 0, [0; 5], 0x2000);
    file[..16].copy_from_slice(b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0");
    let header = [
        0x0003_0002, // an executable for the 80386
        1,
        entry,
        52, // program headers
        0,
        0,
        0x0020_0034, // sizes
        loads.len() as u32,
        0,
    ];
    let words = header.iter().flat_map(|word: &u32| word.to_le_bytes());
    file.splice(16..52, words);
    for (index, [offset, virt, phys, in_file, in_memory, flags]) in loads.iter().enumerate() {
        let words = [
            1, *offset, *virt, *phys, *in_file, *in_memory, *flags, 0x1000,
        ];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        file[52 + 32 * index..][..32].copy_from_slice(&bytes);
    }
    file
}

const LOADS: [[u32; 6]; 2] = [
    [0x1000, 0xc010_0000, 0x10_0000, 0x800, 0x800, 5],
    [0x1800, 0xc010_4000, 0x10_4000, 0x10, 0x1001, 6],
];

fn booted(kernel: &[u8]) -> Result<Boot, Error> {
    prepare(&Files::new().with_kernel(kernel))
}

fn refusal(kernel: &[u8]) -> String {
    booted(kernel).unwrap_err().to_string()
}

fn words(bytes: &[u8]) -> Vec<u32> {
    let words = bytes.chunks_exact(4);
    words
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect()
}

fn string(blob: &[u8], address: u32, start: u32) -> String {
    let bytes = &blob[(address - start) as usize..];
    let end = bytes.iter().position(|byte| *byte == 0).unwrap();
    String::from_utf8(bytes[..end].to_vec()).unwrap()
}

#[test]
fn a_flat_kernel_with_modules_is_laid_out_as_qemu_does() {
    let files = Files::new();
    let mut config = files.with_kernel(&flat());
    config.append = "one two".into();
    let module = files.put("module", &[7; 0x1001]);
    let empty = files.put("a,b", &[]);
    let comma = empty.to_str().unwrap().replace(',', ",,");
    let list = format!("{} x=1  y,  {comma}", module.display());
    config.initrd = Some(list.into());
    let boot = prepare(&config).unwrap();
    let items = &boot.items;
    assert!(boot.preload.is_none());
    for key in [Key::SETUP_SIZE, Key::CMDLINE_SIZE] {
        assert!(items.get(key).is_none());
    }
    assert_eq!(number(items, Key::KERNEL_ADDR), 0x10_0000);
    assert_eq!(number(items, Key::KERNEL_ENTRY), 0x10_0040);
    // The kernel with its zeros, the list with the strings, a module of two pages, an empty one.
    assert_eq!(number(items, Key::KERNEL_SIZE), 0x6000);
    assert_eq!(number(items, Key::INITRD_SIZE), 88);
    assert_eq!(number(items, Key::INITRD_ADDR), 0x9500);

    let info = prepare(&config).unwrap().items;
    let info = words(&item(info, Key::INITRD_DATA));
    let (start, kernel) = (0x10_0000, flat());
    let blob = item(boot.items, Key::KERNEL_DATA);
    assert_eq!(blob.len(), 0x6000);
    assert_eq!(blob[..0x17f0], kernel[0x10..]);
    assert_eq!(blob[0x17f0..0x3000], [0; 0x1810]);
    assert_eq!((info[0], info[3]), (0x24f, 0x8000_ffff));
    assert_eq!((info[5], info[6], info[12]), (2, 0x10_3000, 0x9000));
    let line = format!("{} one two", config.kernel.unwrap().display());
    assert_eq!(string(&blob, info[4], start), line);
    assert_eq!(string(&blob, info[16], start), "microvm");
    let list = words(&blob[0x3000..0x3020]);
    let text = |address| string(&blob, address, start);
    assert_eq!(list[..2], [0x10_4000, 0x10_5001]);
    assert_eq!(text(list[2]), format!("{} x=1  y", module.display()));
    assert_eq!(list[4..6], [0x10_6000, 0x10_6000]);
    assert_eq!(text(list[6]), format!("  {}", empty.display()));
    assert_eq!(blob[0x4000..0x5001], [7; 0x1001]);
    assert_eq!(blob[0x5001..], [0; 0xfff]);
}

#[test]
fn an_elf_file_goes_where_it_says_and_is_entered_where_that_is() {
    for entry in [0xc010_0123, 0x10_0123] {
        let kernel = elf32(entry, &LOADS);
        let boot = booted(&kernel).unwrap();
        assert_eq!(number(&boot.items, Key::KERNEL_ADDR), 0x10_0000);
        assert_eq!(number(&boot.items, Key::KERNEL_ENTRY), 0x10_0123);
        assert_eq!(number(&boot.items, Key::KERNEL_SIZE), 0x7000);
        let blob = item(boot.items, Key::KERNEL_DATA);
        assert_eq!(blob[..0x800], kernel[0x1000..0x1800]);
        assert_eq!(blob[0x800..0x4000], [0; 0x3800]);
        assert_eq!(blob[0x4000..0x4010], kernel[0x1800..0x1810]);
        assert_eq!(blob[0x4010..0x6000], [0; 0x1ff0]);
    }
}

#[test]
fn addresses_in_the_header_count_more_than_those_of_an_elf_file() {
    let mut kernel = elf32(0, &LOADS);
    let addresses = [0x20_0200, 0x20_0000, 0, 0, 0x20_0300];
    let header = image(0, ADDRESSES, addresses, 32);
    kernel[0x200..0x220].copy_from_slice(&header);
    let boot = booted(&kernel).unwrap();
    assert_eq!(number(&boot.items, Key::KERNEL_ADDR), 0x20_0000);
    let blob = item(boot.items, Key::KERNEL_DATA);
    // All of the file.
    assert_eq!(blob[..0x2000], kernel);
}

#[test]
fn only_a_header_that_adds_up_near_the_start_and_in_place_is_one() {
    let last = image(
        8192 - 32,
        ADDRESSES,
        [0x10_1fe0, 0x10_0000, 0, 0, 0x10_0000],
        0x3000,
    );
    booted(&last).unwrap();
    let mut wrong = flat();
    wrong[0x28] ^= 1;
    let moved = image(
        0x22,
        ADDRESSES,
        [0x10_0022, 0x10_0000, 0, 0, 0x10_0000],
        0x400,
    );
    let far = image(
        8192,
        ADDRESSES,
        [0x10_2000, 0x10_0000, 0, 0, 0x10_0000],
        0x3000,
    );
    for other in [&wrong, &moved, &far] {
        let sentence = refusal(other);
        assert!(
            sentence.contains("or a multiboot header in the first 8192 bytes, found 00 01 02 03"),
            "{sentence}"
        );
    }
}

#[test]
fn every_mistake_in_a_header_has_its_sentence() {
    let flat = |addresses| image(0x20, ADDRESSES, addresses, 0x1000);
    let (at, to) = (0x10_0020, 0x10_0000);
    for (kernel, words) in [
        (
            image(0x20, ADDRESSES | 8, [at, to, 0, 0, to], 0x1000),
            "no other requirements than those of flags 0x7, found flags 0x10008",
        ),
        (
            image(8192 - 28, ADDRESSES, [at, to, 0, 0, to], 0x3000),
            "header at 0x1fe4: expected 32 bytes of it in the first 8192 of the file, found 28",
        ),
        (
            image(0x20, ADDRESSES, [at, to, 0, 0, to], 0x40)[..0x30].to_vec(),
            "found 16",
        ),
        (
            flat([to - 1, to, 0, 0, to]),
            "0x100000, 0xfffff, 0x0 and 0x0",
        ),
        (flat([at + 1, to, 0, 0, to]), "in this order"),
        (flat([at, to, at - 1, 0, to]), "in this order"),
        (flat([at, to, to + 0x800, to + 0x7ff, to]), "in this order"),
        (flat([at, to, 0, to + 0xfff, to]), "in this order"),
        (
            flat([at, to, to + 0x1001, 0, to]),
            "truncated: expected 0x1001 bytes at offset 0x0, found a file of 0x1000",
        ),
        (
            flat([at, to, 0, 0, to + 0x1000]),
            "entry point 0x101000: expected an address in the kernel at 0x100000..0x101000",
        ),
        (flat([at, to, 0, 0, to - 1]), "entry point 0xfffff"),
        (
            flat([at, to, 0, u32::MAX, to]),
            "expected that it ends with its modules within RAM, which ends at 0x4000000",
        ),
        (
            flat([u32::MAX, u32::MAX - 0x20, 0, 0, u32::MAX - 0x20]),
            "found 0x1000 bytes",
        ),
        (
            image(0x20, 0, [0; 5], 0x1000),
            "(flag 16) or a 32-bit ELF file, found neither",
        ),
        (elf32(0xc010_0800, &LOADS), "entry point 0xc0100800"),
        (elf32(0, &[]), "without a loadable segment"),
        (
            elf32(0, &[[0, 0, 0xffff_f000, 0x1000, 0x2000, 5]]),
            "expected within RAM",
        ),
        (
            elf32(0, &[[0x1fff, 0, 0, 2, 2, 5]]),
            "segment 0 is truncated",
        ),
    ] {
        let sentence = refusal(&kernel);
        assert!(sentence.starts_with("kernel /"), "{sentence}");
        assert!(sentence.contains(words), "{words}: {sentence}");
    }
}

#[test]
fn modules_that_are_no_list_or_not_there_are_refused() {
    let files = Files::new();
    let with = |initrd: &str| {
        let mut config = files.with_kernel(&flat());
        config.initrd = Some(initrd.into());
        prepare(&config).unwrap_err().to_string()
    };
    let here = files.put("here", &[1]);
    let here = here.to_str().unwrap();
    for list in [
        "",
        " ",
        ",",
        &format!("{here},"),
        &format!("{here},  ,{here}"),
    ] {
        let sentence = with(list);
        let expected = format!("--initrd {list}: expected FILE or FILE ARGUMENTS between commas");
        assert!(sentence.starts_with(&expected), "{sentence}");
    }
    let sentence = with(&format!("{here} a,nowhere b"));
    let expected = "module nowhere: expected a readable file, found: No such file";
    assert!(sentence.starts_with(expected), "{sentence}");
    // As large as RAM, and in no need of room on the host.
    let large = files.put("large", &[]);
    let file = std::fs::File::options().write(true).open(&large).unwrap();
    for size in [RAM, 1 << 33] {
        file.set_len(size).unwrap();
        let sentence = with(&format!("{here},{}", large.display()));
        assert!(
            sentence.contains("expected that it ends with its modules within RAM")
                || sentence.contains("expected less than 4 GiB"),
            "{sentence}"
        );
    }
}

#[test]
fn com1_does_not_empty_a_module() {
    let files = Files::new();
    let mut config = files.with_kernel(&flat());
    let module = files.put("module", &[1]);
    config.initrd = Some(format!("{} x", module.display()).into());
    config.serial = Target::File(module);
    let sentence = prepare(&config).unwrap_err().to_string();
    assert!(sentence.contains("found the module "), "{sentence}");
}

#[test]
fn a_64_bit_elf_file_with_a_header_for_others_is_a_pvh_kernel() {
    let mut kernel = elf32(0, &LOADS);
    kernel[4] = 2;
    let sentence = refusal(&kernel);
    assert!(sentence.contains("ELF"), "{sentence}");
    assert!(!sentence.contains("multiboot"), "{sentence}");
}

#[test]
fn every_truncation_is_refused_or_stays_within_the_file() {
    let files = Files::new();
    for whole in [flat(), elf32(0x10_0123, &LOADS)] {
        for length in (0..0x400).step_by(7).chain(whole.len() - 0x20..whole.len()) {
            if let Ok(boot) = prepare(&files.with_kernel(&whole[..length])) {
                // Reads it all, which fails where the file ends earlier.
                item(boot.items, Key::KERNEL_DATA);
            }
        }
    }
}

#[test]
fn no_flipped_byte_of_the_headers_leads_outside_ram_or_file() {
    let files = Files::new();
    for whole in [flat(), elf32(0x10_0123, &LOADS)] {
        for position in (0..0x80).chain(0x200..0x220) {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[position] ^= flip;
                let Ok(boot) = prepare(&files.with_kernel(&bytes)) else {
                    continue;
                };
                let size = number(&boot.items, Key::KERNEL_SIZE);
                let start = number(&boot.items, Key::KERNEL_ADDR);
                let entry = number(&boot.items, Key::KERNEL_ENTRY);
                assert!(start + size <= RAM, "{position:#x}");
                assert!((start..start + size).contains(&entry), "{position:#x}");
                item(boot.items, Key::KERNEL_DATA);
            }
        }
    }
}
