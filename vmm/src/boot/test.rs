// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernels, good and hostile, through the door the user has: files named in a [`Config`].
#![allow(clippy::cast_possible_truncation)] // the values are the tests' own, and fit

use super::*;
use crate::config::{Machine, Memory, OptionRom, Target};
use crate::devices::fw_cfg::FwCfg;
use std::path::Path;
use vmm_sys_util::tempdir::TempDir;

pub(super) const RAM: u64 = 64 << 20;

pub(super) struct Files {
    directory: TempDir,
}

impl Files {
    pub(super) fn new() -> Self {
        let directory = TempDir::new_with_prefix(std::env::temp_dir().join("boot-")).unwrap();
        std::fs::write(directory.as_path().join("rom"), vec![0; 0x1_0000]).unwrap();
        Self { directory }
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.directory.as_path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn config(&self) -> Config {
        Config {
            kernel: None,
            initrd: None,
            append: String::new(),
            memory: Memory::plain(RAM),
            cpus: 3,
            bios: Some(self.directory.as_path().join("rom")),
            // QEMU's is the user's as it is.
            machine: Machine {
                auto_kernel_cmdline: false,
                ..Machine::default()
            },
            disks: Vec::new(),
            nets: Vec::new(),
            rng: false,
            serial: Target::None,
            consoles: Vec::new(),
            debugcon: Target::None,
            reboot: false,
            no_shutdown: false,
            trace: true,
            seccomp: false,
            fw_cfg_dma: true,
            measure: None,
            single_step: false,
            fw_cfg: Vec::new(),
            option_roms: Vec::new(),
            smbios: None,
        }
    }

    pub(super) fn with_kernel(&self, bytes: &[u8]) -> Config {
        Config {
            kernel: Some(self.put("kernel", bytes)),
            ..self.config()
        }
    }
}

fn boot(kernel: &[u8]) -> Result<Boot, Error> {
    prepare(&Files::new().with_kernel(kernel))
}

fn refusal(kernel: &[u8]) -> String {
    boot(kernel).unwrap_err().to_string()
}

/// The bytes of an item, through the device.
pub(super) fn item(items: Items, key: Key) -> Vec<u8> {
    let size = items.get(key).map_or(0, |content| content.size() as usize);
    let mut device = FwCfg::new(items, None).unwrap();
    let mut bytes = vec![0; size];
    device.write(0, &key.0.to_le_bytes());
    device.read_string(1, 1, &mut bytes);
    assert_eq!(device.host_error(), None);
    bytes
}

/// The bytes of a file.
fn content(items: &Items, name: &str) -> Vec<u8> {
    let content = items.file(name).unwrap();
    let mut bytes = vec![0; content.size() as usize];
    content.copy(0, &mut bytes).unwrap();
    bytes
}

pub(super) fn number(items: &Items, key: Key) -> u64 {
    let mut table = [0; 8];
    if let Some(fw_cfg::Content::Bytes(bytes)) = items.get(key) {
        table[..bytes.len()].copy_from_slice(bytes);
    }
    u64::from_le_bytes(table)
}

// ---- Files --------------------------------------------------------------------------------------

#[test]
fn more_files_than_the_directory_has_keys_for_are_refused() {
    let files = Files::new();
    let config = Config {
        fw_cfg: (0..=abi::fw_cfg::MAX_FILES)
            .map(|number| crate::config::UserFile {
                name: format!("opt/{number}"),
                source: UserSource::String(String::new()),
            })
            .collect(),
        ..files.config()
    };
    let error = prepare(&config).unwrap_err();
    assert!(matches!(error, Error::Items(fw_cfg::Error::Count(_))));
}

#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let files = Files::new();
    let path = files.directory.as_path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    for (path, words) in [
        (path.as_path(), "found a device or pipe"),
        (files.directory.as_path(), "found a directory"),
    ] {
        let config = Config {
            kernel: Some(path.into()),
            ..files.config()
        };
        let sentence = prepare(&config).unwrap_err().to_string();
        assert!(sentence.contains(words), "{sentence}");
    }
}

// ---- PVH ----------------------------------------------------------------------------------------

/// One PT_LOAD: address, bytes in the file, bytes in memory.
type Load = (u64, u64, u64);

/// A 64-bit ELF file with the given segments, and a note of `note` (name, type, description).
fn elf64(loads: &[Load], note: Option<(&[u8], u32, &[u8])>) -> Vec<u8> {
    let count = loads.len() + usize::from(note.is_some());
    let mut data = Vec::new();
    let mut headers = Vec::new();
    let start = 64 + 56 * count as u64;
    let mut header = |kind: u32, offset: u64, address: u64, file: u64, memory: u64| {
        for word in [kind, 7] {
            headers.extend(word.to_le_bytes());
        }
        for word in [offset, address, address, file, memory, 4] {
            headers.extend(u64::to_le_bytes(word));
        }
    };
    for (index, (address, file, memory)) in loads.iter().enumerate() {
        header(1, start + data.len() as u64, *address, *file, *memory);
        data.extend(std::iter::repeat_n(0x10 + index as u8, *file as usize));
    }
    if let Some((name, kind, description)) = note {
        let mut bytes = Vec::new();
        for word in [name.len() as u32, description.len() as u32, kind] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(name);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(description);
        header(
            4,
            start + data.len() as u64,
            0,
            bytes.len() as u64,
            bytes.len() as u64,
        );
        data.extend(bytes);
    }
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for half in [2u16, 62] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1u32.to_le_bytes());
    for word in [0u64, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(0u32.to_le_bytes());
    for half in [64u16, 56, count as u16, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(headers);
    elf.extend(data);
    elf
}

const ENTRY: [u8; 4] = 0x10_0010u32.to_le_bytes();

fn pvh() -> Vec<u8> {
    elf64(
        &[(0x10_0000, 0x100, 0x1000), (0x20_0000, 0x20, 0x20)],
        Some((b"Xen\0", 18, &ENTRY)),
    )
}

fn pvh_with(loads: &[Load]) -> Vec<u8> {
    elf64(loads, Some((b"Xen\0", 18, &ENTRY)))
}

#[test]
fn a_pvh_kernel_has_the_items_qemu_gives_it() {
    let files = Files::new();
    let mut config = files.with_kernel(&pvh());
    config.append = "console=ttyS0".into();
    config.initrd = Some(files.put("initrd", &[7; 5000]));
    let boot = prepare(&config).unwrap();
    let items = &boot.items;
    assert_eq!(number(items, Key::KERNEL_ADDR), 0x10_0000);
    assert_eq!(number(items, Key::KERNEL_SIZE), 0x10_0020);
    assert_eq!(number(items, Key::KERNEL_ENTRY), 0x10_0010);
    assert_eq!(number(items, Key::SETUP_SIZE), 8192);
    assert_eq!(number(items, Key::CMDLINE_SIZE), 14);
    assert_eq!(number(items, Key::INITRD_SIZE), 5000);
    assert_eq!(number(items, Key::INITRD_ADDR), (RAM - 1 - 5000) & !4095);
    assert!(items.get(Key::KERNEL_DATA).is_none());
    assert!(items.get(Key::SETUP_ADDR).is_none());
    assert!(items.get(Key::CMDLINE_ADDR).is_none());
    let preload = boot.preload.unwrap();
    assert_eq!(preload.segments.len(), 2);
    assert_eq!(preload.segments[0].memory_size, 0x1000);
    let setup = item(boot.items, Key::SETUP_DATA);
    assert_eq!(setup.len(), 8192);
    assert_eq!(setup[..4], *b"\x7fELF");
}

#[test]
fn the_machine_has_the_items_qemu_gives_it() {
    let files = Files::new();
    let mut config = files.config();
    config.fw_cfg = vec![crate::config::UserFile {
        name: "opt/a".into(),
        source: UserSource::File(files.put("user", b"user's")),
    }];
    let boot = prepare(&config).unwrap();
    let items = &boot.items;
    assert_eq!(number(items, Key::RAM_SIZE), RAM);
    assert_eq!(number(items, Key::NB_CPUS), 3);
    assert_eq!(items.get(Key::NB_CPUS).unwrap().size(), 2);
    assert_eq!(items.get(Key::MAX_CPUS).unwrap().size(), 2);
    assert_eq!(number(items, Key::NOGRAPHIC), 1);
    assert_eq!(number(items, Key::IRQ0_OVERRIDE), 1);
    assert_eq!(items.get(Key::UUID).unwrap().size(), 16);
}

#[test]
fn the_command_line_says_what_only_the_machine_knows() {
    let files = Files::new();
    for (acpi, auto, append, expected) in [
        (true, true, "quiet", "quiet pci=off\0"),
        (true, true, "quiet pci=conf1", "quiet pci=conf1\0"),
        (false, false, "quiet", "quiet\0"),
        (
            false,
            true,
            "quiet",
            "quiet virtio_mmio.device=512@0xfeb00e00:12 pci=off\0",
        ),
        (
            false,
            true,
            "",
            "virtio_mmio.device=512@0xfeb00e00:12 pci=off\0",
        ),
    ] {
        for kernel in [pvh(), bz(0x1000)] {
            let boot = prepare(&Config {
                append: append.into(),
                rng: true,
                machine: Machine {
                    acpi,
                    auto_kernel_cmdline: auto,
                    ..Machine::default()
                },
                ..files.with_kernel(&kernel)
            })
            .unwrap();
            assert_eq!(item(boot.items, Key::CMDLINE_DATA), expected.as_bytes());
        }
    }
}

#[test]
fn a_trace_switch_is_a_file_that_can_be_left_out() {
    let files = Files::new();
    let names = |trace| {
        let boot = prepare(&Config {
            trace,
            ..files.config()
        })
        .unwrap();
        let mut device = FwCfg::new(boot.items, None).unwrap();
        let mut directory = vec![0; 2052];
        device.write(0, &Key::FILE_DIR.0.to_le_bytes());
        device.read_string(1, 1, &mut directory);
        String::from_utf8_lossy(&directory).into_owned()
    };
    assert!(names(true).contains(file::TRACE));
    assert!(!names(false).contains(file::TRACE));
    assert!(names(false).contains(file::E820));
}

#[test]
fn a_32_bit_elf_and_an_8_byte_note_are_fine_too() {
    let entry = 0x10_0010u64.to_le_bytes();
    let wide = elf64(&[(0x10_0000, 0x100, 0x1000)], Some((b"Xen\0", 18, &entry)));
    assert_eq!(
        number(&boot(&wide).unwrap().items, Key::KERNEL_ENTRY),
        0x10_0010
    );

    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let words = |elf: &mut Vec<u8>, words: &[u32]| {
        words.iter().for_each(|word| elf.extend(word.to_le_bytes()));
    };
    elf.extend([2, 0, 3, 0]);
    words(&mut elf, &[1, 0, 52, 0, 0]);
    for half in [52u16, 32, 2, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    words(&mut elf, &[1, 140, 0, 0x10_0000, 4, 0x100, 7, 4]);
    words(&mut elf, &[4, 116, 0, 0, 20, 20, 4, 4]);
    words(&mut elf, &[4, 4, 18]);
    elf.extend(b"Xen\0");
    words(&mut elf, &[0x10_0000, 0, 0x1234_5678]);
    let boot = boot(&elf).unwrap();
    assert_eq!(number(&boot.items, Key::KERNEL_ENTRY), 0x10_0000);
    assert_eq!(number(&boot.items, Key::KERNEL_SIZE), 0x100);
}

#[test]
fn an_elf_without_the_note_says_which_one_is_missing() {
    let none = elf64(&[(0x10_0000, 0x100, 0x1000)], None);
    let sentence = refusal(&none);
    assert!(
        sentence.contains("type 18") && sentence.contains("\"Xen\""),
        "{sentence}"
    );
    assert!(sentence.contains("found no notes"), "{sentence}");
    let other = elf64(&[(0x10_0000, 1, 1)], Some((b"GNU\0", 3, &[1; 20])));
    assert!(refusal(&other).contains("found notes GNU/3"));
    let name = b"\x1b[2J\nunprintable and long\0";
    let wild = elf64(&[(0x10_0000, 1, 1)], Some((name, 18, &[])));
    let sentence = refusal(&wild);
    let found = r"found notes \x1b[2J\nunprintable/18;";
    assert!(sentence.contains(found), "{sentence}");
    let short = elf64(&[(0x10_0000, 1, 1)], Some((b"Xen\0", 18, &[1; 2])));
    assert!(refusal(&short).contains("4 or 8 bytes, found 2"));
}

#[test]
fn segments_in_wrong_places_are_refused() {
    for (loads, words) in [
        (
            &[(0xf_0000u64, 0x10u64, 0x10u64), (0x10_0000, 1, 0x1000)][..],
            "firmware lives below",
        ),
        (&[(0x10_0000, 1, 0x1000), (0x10_0800, 1, 1)], "overlap"),
        (&[(0x10_0000, 1, 0x1000), (RAM - 1, 2, 2)], "within RAM"),
        (&[(0x10_0000, 1, 0x1000), (0xffff_0000, 2, 2)], "within RAM"),
        (
            &[(0x10_0000, 1, 0x1000), (u64::MAX - 4, 2, 8)],
            "within RAM",
        ),
        (&[(0x10_0000, 1, u64::MAX)], "within RAM"),
        (&[(0x10_0000, 0x20, 0x10)], "expected at most the 0x10"),
        (&[(0x20_0000, 0x20, 0x20)], "PVH entry point 0x100010"),
        (&[], "without a loadable segment"),
    ] {
        let sentence = refusal(&pvh_with(loads));
        assert!(sentence.contains(words), "{words}: {sentence}");
    }
}

#[test]
fn every_truncation_of_an_elf_is_refused_or_loads_within_the_file() {
    let whole = pvh();
    let files = Files::new();
    for length in 0..whole.len() {
        let result = prepare(&files.with_kernel(&whole[..length]));
        assert!(result.is_err(), "length {length}");
    }
}

#[test]
fn no_flipped_byte_of_an_elf_header_leads_outside_ram_or_file() {
    let whole = pvh();
    let files = Files::new();
    for position in 0..64 + 3 * 56 + 40 {
        for flip in [0x01, 0x80, 0xff, whole[position] ^ 0xff] {
            let mut bytes = whole.clone();
            bytes[position.min(whole.len() - 1)] ^= flip;
            let Ok(boot) = prepare(&files.with_kernel(&bytes)) else {
                continue;
            };
            for part in boot
                .preload
                .map(|preload| preload.segments)
                .unwrap_or_default()
            {
                assert!(part.address >= 0x10_0000 && part.address + part.memory_size <= RAM);
                assert!(part.file_offset + part.file_size <= bytes.len() as u64);
                assert!(part.file_size <= part.memory_size);
            }
        }
    }
}

// ---- bzImage ------------------------------------------------------------------------------------

const SETUP: usize = 5 * 512;

/// A bzImage of protocol 2.15 with 4 setup sectors and `payload` bytes of kernel.
fn bz(payload: usize) -> Vec<u8> {
    let mut image = vec![0; SETUP + payload];
    image[SETUP..].fill(0x5a);
    image[0x1f1] = 4;
    image[0x1f4..0x1f8].copy_from_slice(&(payload.div_ceil(16) as u32).to_le_bytes());
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&[0x0f, 0x02]);
    image[0x211] = 1;
    image[0x22c..0x230].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
    image[0x234] = 1;
    image[0x260..0x264].copy_from_slice(&0x20_0000u32.to_le_bytes());
    image
}

#[test]
fn a_bzimage_is_split_and_patched_as_qemu_does() {
    let files = Files::new();
    let mut config = files.with_kernel(&bz(3000));
    config.append = "quiet vga=0x317 x".into();
    config.initrd = Some(files.put("initrd", &[7; 5000]));
    let boot = prepare(&config).unwrap();
    let items = &boot.items;
    assert!(boot.preload.is_none());
    assert_eq!(number(items, Key::SETUP_ADDR), 0x1_0000);
    assert_eq!(number(items, Key::SETUP_SIZE), SETUP as u64);
    assert_eq!(number(items, Key::KERNEL_ADDR), 0x10_0000);
    assert_eq!(number(items, Key::KERNEL_SIZE), 3000);
    assert_eq!(number(items, Key::CMDLINE_ADDR), 0x2_0000);
    assert_eq!(number(items, Key::CMDLINE_SIZE), 18);
    assert!(items.get(Key::KERNEL_ENTRY).is_none());
    let initrd = (RAM - 1 - 5000) & !4095;
    assert_eq!(number(items, Key::INITRD_ADDR), initrd);
    let setup = item(boot.items, Key::SETUP_DATA);
    let mut expected = bz(3000)[..SETUP].to_vec();
    expected[0x210] = 0xb0;
    expected[0x211] = 0x81;
    expected[0x224..0x226].copy_from_slice(&0xfe00u16.to_le_bytes());
    expected[0x228..0x22c].copy_from_slice(&0x2_0000u32.to_le_bytes());
    expected[0x1fa..0x1fc].copy_from_slice(&0x317u16.to_le_bytes());
    expected[0x218..0x21c].copy_from_slice(&(initrd as u32).to_le_bytes());
    expected[0x21c..0x220].copy_from_slice(&5000u32.to_le_bytes());
    assert_eq!(setup, expected);
}

#[test]
fn the_kernel_part_is_served_from_the_file() {
    let boot = boot(&bz(3000)).unwrap();
    assert!(matches!(
        boot.items.get(Key::KERNEL_DATA),
        Some(fw_cfg::Content::File { .. })
    ));
    assert_eq!(item(boot.items, Key::KERNEL_DATA), vec![0x5a; 3000]);
}

#[test]
fn no_setup_sectors_mean_four() {
    let mut image = bz(100);
    image[0x1f1] = 0;
    assert_eq!(
        number(&boot(&image).unwrap().items, Key::SETUP_SIZE),
        SETUP as u64
    );
}

#[test]
fn an_old_protocol_gets_its_old_addresses() {
    let mut image = bz(100);
    image[0x206] = 0x01;
    let boot = boot(&image).unwrap();
    assert_eq!(number(&boot.items, Key::SETUP_ADDR), 0x9_0000);
    assert_eq!(number(&boot.items, Key::CMDLINE_ADDR), 0x9_9fff);
    let setup = item(boot.items, Key::SETUP_DATA);
    assert_eq!(setup[0x20..0x24], [0x3f, 0xa3, 0xff, 0x9f]);
}

#[test]
fn the_initrd_stays_below_what_the_kernel_can_reach() {
    let files = Files::new();
    let mut image = bz(100);
    image[0x22c..0x230].copy_from_slice(&0x01ff_ffffu32.to_le_bytes());
    let mut config = files.with_kernel(&image);
    config.initrd = Some(files.put("initrd", &[7; 5000]));
    let address = number(&prepare(&config).unwrap().items, Key::INITRD_ADDR);
    assert_eq!(address, (0x01ff_ffff - 5000) & !4095);
    // A kernel that takes any address gets the end of RAM.
    image[0x236] = 2;
    files.put("kernel", &image);
    let address = number(&prepare(&config).unwrap().items, Key::INITRD_ADDR);
    assert_eq!(address, (RAM - 1 - 5000) & !4095);
}

#[test]
fn an_initrd_that_does_not_fit_is_refused() {
    let files = Files::new();
    let mut config = files.with_kernel(&bz(100));
    config.initrd = Some(files.put("initrd", &vec![0; 62 << 20]));
    let sentence = prepare(&config).unwrap_err().to_string();
    assert!(
        sentence.contains("initrd") && sentence.contains("do not fit"),
        "{sentence}"
    );
    config.kernel = Some(files.put("kernel", &pvh()));
    config.memory.size = 8 << 20;
    assert!(matches!(prepare(&config), Err(Error::Initrd { .. })));
}

#[test]
fn a_zimage_goes_below_its_real_mode_part_as_with_qemu() {
    let files = Files::new();
    let mut image = bz(0x8_0000);
    image[0x211] = 0;
    let mut config = files.with_kernel(&image);
    config.append = "quiet".into();
    config.initrd = Some(files.put("initrd", &[7; 5000]));
    let items = prepare(&config).unwrap().items;
    assert_eq!(number(&items, Key::SETUP_ADDR), 0x9_0000);
    assert_eq!(number(&items, Key::KERNEL_ADDR), 0x1_0000);
    assert_eq!(number(&items, Key::KERNEL_SIZE), 0x8_0000);
    assert_eq!(
        number(&items, Key::CMDLINE_ADDR),
        0x9_a000 - number(&items, Key::CMDLINE_SIZE)
    );
}

#[test]
fn a_kernel_that_needs_more_ram_is_refused() {
    let mut image = bz(100);
    image[0x260..0x264].copy_from_slice(&(RAM as u32).to_le_bytes());
    assert!(refusal(&image).contains("expected RAM up to"));
}

#[test]
fn broken_bzimages_are_refused() {
    let edit = |range: std::ops::Range<usize>, bytes: &[u8]| {
        let mut image = bz(100);
        image[range].copy_from_slice(bytes);
        refusal(&image)
    };
    assert!(edit(0x1fe..0x200, &[0, 0]).contains("boot flag"));
    assert!(edit(0x206..0x208, &[0xff, 0x01]).contains("protocol"));
    let mut low = bz(0x8_0001);
    low[0x211] = 0;
    assert!(refusal(&low).contains("zImage"));
    assert!(edit(0x1f1..0x1f2, &[200]).contains("setup part"));
    assert!(edit(0x1f4..0x1f8, &[0xff; 4]).contains("truncated"));
    assert!(refusal(&bz(0)).contains("expected protected-mode code"));
}

#[test]
fn every_truncation_of_a_bzimage_is_refused() {
    let whole = bz(1024);
    let files = Files::new();
    for length in (0..whole.len() - 16)
        .step_by(7)
        .chain(0..0x240)
        .chain([whole.len() - 16])
    {
        let result = prepare(&files.with_kernel(&whole[..length]));
        assert!(result.is_err(), "length {length}");
    }
}

#[test]
fn no_flipped_byte_of_a_bzimage_header_makes_items_beyond_the_file() {
    let whole = bz(1024);
    let files = Files::new();
    let initrd = files.put("initrd", &[1; 100]);
    for position in 0x1f0..0x270 {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[position] ^= flip;
            let config = Config {
                initrd: Some(initrd.clone()),
                ..files.with_kernel(&bytes)
            };
            let Ok(boot) = prepare(&config) else { continue };
            let sizes =
                number(&boot.items, Key::SETUP_SIZE) + number(&boot.items, Key::KERNEL_SIZE);
            assert_eq!(sizes, bytes.len() as u64);
            let address = number(&boot.items, Key::INITRD_ADDR);
            assert!(address >= 0x10_0000 + 1024 && address + 100 <= RAM);
        }
    }
}

#[test]
fn what_is_no_kernel_is_refused_by_what_it_looks_like() {
    for (bytes, words) in [
        (&b""[..], "an empty file"),
        (b"x", "1 bytes, too short"),
        (b"\x1f\x8b\x08", "gzip"),
        (&[0x41; 4096], "41 41 41 41 at its start"),
    ] {
        let sentence = refusal(bytes);
        assert!(sentence.contains(words), "{sentence}");
    }
}

#[test]
fn firmware_images_of_wrong_sizes_are_refused() {
    let files = Files::new();
    for size in [0, 1, 0xffff, 0x1_0001, 0x101_0000] {
        let bios = files.put("bad", &vec![0; size]);
        let result = prepare(&Config {
            bios: Some(bios),
            ..files.config()
        });
        assert!(matches!(result, Err(Error::RomSize { .. })), "size {size}");
    }
    for size in [0x1_0000, 0x3_0000, 0x100_0000] {
        let bios = files.put("good", &vec![0; size]);
        let boot = prepare(&Config {
            bios: Some(bios),
            ..files.config()
        })
        .unwrap();
        assert_eq!(boot.layout.rom_size(), size as u64);
    }
}

#[test]
fn missing_files_and_directories_are_refused_by_name() {
    let files = Files::new();
    for path in [
        Path::new("/nonexistent/kernel"),
        Path::new("/"),
        Path::new("/dev/null"),
    ] {
        let config = Config {
            kernel: Some(path.into()),
            ..files.config()
        };
        let sentence = prepare(&config).unwrap_err().to_string();
        assert!(sentence.contains(path.to_str().unwrap()), "{sentence}");
    }
}

#[test]
fn the_boot_order_names_disks_by_slot_and_option_roms_by_file() {
    let files = Files::new();
    let disk = |text| crate::config::parse_disk(text).unwrap();
    let rom = |name: &str, boot_index| OptionRom {
        path: files.put(name, b"rom"),
        boot_index,
    };
    let config = Config {
        disks: vec![
            disk("path=a,bootindex=9"),
            disk("path=b"),
            disk("path=c,bootindex=1"),
        ],
        option_roms: vec![rom("one.bin", Some(5)), rom("two.bin", None)],
        ..files.config()
    };
    let items = prepare(&config).unwrap().items;
    let expected = b"/virtio-mmio@00000000feb00a00/disk@0,0\n/rom@genroms/one.bin\n\
        /virtio-mmio@00000000feb00e00/disk@0,0\0";
    assert_eq!(content(&items, "bootorder"), expected);
    assert_eq!(content(&items, "genroms/two.bin"), b"rom");

    let machine = Machine {
        x_option_roms: false,
        ..Machine::default()
    };
    let items = prepare(&Config { machine, ..config }).unwrap().items;
    assert_eq!(
        content(&items, "bootorder"),
        b"/virtio-mmio@00000000feb00a00/disk@0,0\n/virtio-mmio@00000000feb00e00/disk@0,0\0"
    );
    assert!(items.file("genroms/one.bin").is_none() && items.file("genroms/two.bin").is_none());
}

#[test]
fn a_place_in_the_boot_order_is_for_one() {
    let files = Files::new();
    let rom = |name: &str| OptionRom {
        path: files.put(name, b"rom"),
        boot_index: Some(4),
    };
    let config = Config {
        option_roms: vec![rom("a"), rom("b")],
        ..files.config()
    };
    let sentence = config.validate().unwrap_err().to_string();
    assert!(
        sentence.starts_with("bootindex=4: expected a number"),
        "{sentence}"
    );
    let config = Config {
        option_roms: vec![
            rom("a"),
            OptionRom {
                boot_index: None,
                ..rom("a")
            },
        ],
        ..config
    };
    assert!(
        prepare(&config)
            .unwrap_err()
            .to_string()
            .contains("given twice")
    );
}
