// SPDX-License-Identifier: MIT OR Apache-2.0
//! A kernel file as the user names it: the monitor refuses it in one line, or offers items that the
//! file has all bytes of, and a multiboot kernel that the firmware boots or refuses in a sentence.

use abi::fw_cfg::Key;
use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;
use vmm::boot::{Boot, prepare};
use vmm::config::{Config, Machine, Memory, Target};
use vmm::devices::fw_cfg::{Content, Items};
use vmm_sys_util::tempfile::TempFile;

use super::input::Input;
use super::sentence::assert_sentence;
use crate::loopback::{IDENTITY, Loopback};

const MIB: u64 = 1 << 20;

/// Whether there is an initial RAM disk, how much RAM, and the file.
pub fn kernel(data: &[u8]) {
    static INPUTS: OnceLock<[TempFile; 2]> = OnceLock::new();
    let [rom, initrd] = INPUTS.get_or_init(|| [with(&[0; 0x1_0000]), with(&[0x5a; 3000])]);
    let mut input = Input(data);
    let choice = input.u8();
    let size = input.pick(&[2, 4, 16]) * MIB;
    let file = with(input.0);
    let initrd = (choice % 2 == 1).then(|| initrd.as_path().to_path_buf());
    let boot = prepare(&config(size, rom, &file, initrd.clone()));
    let boot = match boot {
        Ok(boot) => boot,
        Err(error) => {
            let line = error.to_string();
            assert!(line.contains("expected "), "{line}");
            return assert!(!line.contains('\n'), "{line}");
        }
    };
    preloaded(&boot, size, input.0.len() as u64);
    let number = |key| number(&boot.items, key);
    let (start, length) = (number(Key::KERNEL_ADDR), number(Key::KERNEL_SIZE));
    let multiboot = boot.items.get(Key::KERNEL_ENTRY).is_some() && boot.preload.is_none();
    if multiboot {
        assert!(start + length <= size, "{start:#x} {length:#x}");
        let entry = number(Key::KERNEL_ENTRY);
        assert!((start..start + length).contains(&entry), "{entry:#x}");
    }
    // All of it is there: by port nothing fails that the file has not.
    let memory = vmm::memory::Memory::from_ranges(&[(0, usize::try_from(size).expect("small"))]);
    let mut loopback = Loopback::new(boot.items, memory.expect("RAM"), choice & 2 == 0);
    if let Err(error) = loopback.boot(IDENTITY) {
        assert_sentence(&error);
    }
    assert!(loopback.host_error().is_none());
}

/// What the monitor puts into RAM is in it, and in the file.
fn preloaded(boot: &Boot, size: u64, file_size: u64) {
    for segment in boot.preload.iter().flat_map(|preload| &preload.segments) {
        assert!(segment.address + segment.memory_size <= size);
        assert!(segment.file_offset + segment.file_size <= file_size);
    }
}

fn number(items: &Items, key: Key) -> u64 {
    let mut number = [0; 8];
    if let Some(Content::Bytes(bytes)) = items.get(key) {
        number[..bytes.len()].copy_from_slice(bytes);
    }
    u64::from_le_bytes(number)
}

fn with(bytes: &[u8]) -> TempFile {
    let file = TempFile::new().expect("a file");
    file.as_file().write_all(bytes).expect("room for it");
    file
}

fn config(size: u64, rom: &TempFile, kernel: &TempFile, initrd: Option<PathBuf>) -> Config {
    Config {
        kernel: Some(kernel.as_path().into()),
        initrd,
        append: "words".into(),
        memory: Memory::plain(size),
        cpus: 1,
        bios: Some(rom.as_path().into()),
        machine: Machine::default(),
        disks: Vec::new(),
        nets: Vec::new(),
        rng: false,
        serial: Target::None,
        consoles: Vec::new(),
        debugcon: Target::None,
        reboot: false,
        no_shutdown: false,
        seccomp: false,
        trace: false,
        measure: None,
        single_step: false,
        fw_cfg_dma: true,
        fw_cfg: Vec::new(),
        option_roms: Vec::new(),
        smbios: None,
    }
}
