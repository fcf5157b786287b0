// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the firmware says when it is asked to: of items of the real `fw_cfg` device.

use abi::e820::E820Entry;
use abi::fw_cfg::{Key, file};
use abi::table_loader::COMMAND_SIZE;
use firmware_core::facts::LogLevel;
use firmware_core::fw_cfg::{Directory, DirectoryBuffer};
use system_tests::loopback::{Booted, IDENTITY, Loopback, Said};
use vmm::devices::fw_cfg::Items;
use vmm::memory::Memory;
use zerocopy::{FromZeros, IntoBytes};

/// A file that begins with an RSDP, and one with a table.
const RSDP: [u8; 36] = *b"RSD PTR \x04\0\0\0\0\0\0\0the rest of a table.";
const TABLE: [u8; 64] = *b"APIC\x40...the rest of a table, which is not looked at by anybody..";

/// An ELF kernel in 64 MiB, with these files.
fn items(files: &[(&str, &[u8])]) -> Items {
    let mut items = Items::new();
    for (key, value) in [
        (Key::NB_CPUS, 1u32),
        (Key::KERNEL_ADDR, 0x100_0000),
        (Key::KERNEL_SIZE, 0x20_0000),
        (Key::KERNEL_ENTRY, 0x100_0040),
        (Key::SETUP_SIZE, 1),
    ] {
        items.set(key, value.to_le_bytes().to_vec());
    }
    let memory = [(0, 0x400_0000, 1), (0xffff_0000, 0x1_0000, 2)];
    let memory = memory.map(|(addr, size, kind): (u64, u64, u32)| E820Entry {
        addr: addr.into(),
        size: size.into(),
        kind: kind.into(),
    });
    items
        .add_file(file::E820, memory.as_bytes().to_vec())
        .unwrap();
    for (name, bytes) in files {
        items.add_file(name, bytes.to_vec()).unwrap();
    }
    items
}

fn traced(files: &[(&str, &[u8])]) -> (String, Booted) {
    let memory = Memory::from_ranges(&[(0, 64 << 20)]).unwrap();
    let mut loopback = Loopback::new(items(files), memory, true);
    loopback.said = Some(Said::default());
    let booted = loopback.boot(IDENTITY).unwrap();
    (loopback.said.unwrap().0, booted)
}

/// The lines that begin with one of these.
fn lines<'t>(text: &'t str, starts: &[&str]) -> Vec<&'t str> {
    let wanted = |line: &&str| starts.iter().any(|start| line.starts_with(start));
    text.lines().filter(wanted).collect()
}

fn level(text: &str) -> LogLevel {
    let items = items(&[(file::LOG, text.as_bytes())]);
    let memory = Memory::from_ranges(&[(0, 1 << 20)]).unwrap();
    let mut loopback = Loopback::new(items, memory, true);
    let mut buffer = DirectoryBuffer::new_zeroed();
    let log = Directory::read(&mut loopback, &mut buffer)
        .unwrap()
        .known
        .log;
    LogLevel::read(&mut loopback, log.unwrap())
}

#[test]
fn the_log_level_comes_from_its_file() {
    for (text, expected) in [
        ("info", LogLevel::Info),
        ("info\n", LogLevel::Info),
        ("trace", LogLevel::Trace),
        ("error", LogLevel::Error),
        ("", LogLevel::Error),
    ] {
        assert_eq!(level(text), expected, "{text:?}");
    }
}

#[test]
fn a_level_that_is_none_has_its_sentence() {
    for (text, found) in [
        ("debug", "debug"),
        ("INFO", "INFO"),
        ("2", "2"),
        ("err", "err"),
        ("verbosely", "verbosel"),
        ("\u{1b}[2J", "?[2J"),
        ("a\nb", "a"),
    ] {
        let LogLevel::Unknown(name) = level(text) else {
            panic!("{text:?} is a level");
        };
        assert_eq!(
            name.to_string(),
            format!(
                "fw_cfg file {}: expected error, info or trace, found {found}",
                file::LOG
            )
        );
    }
}

#[test]
fn every_item_of_the_directory_is_named_however_many_there_are() {
    let names: Vec<_> = (0..100).map(|index| format!("opt/{index}")).collect();
    let files: Vec<(&str, &[u8])> = names
        .iter()
        .map(|name| (name.as_str(), &b"12345"[..]))
        .collect();
    for count in [0, 5, 31, 32, 100] {
        let text = traced(&files[..count]).0;
        let found = lines(&text, &["  fw_cfg item "]);
        assert_eq!(found.len(), count + 1);
        let files = names[..count].iter().map(|name| (name.as_str(), 5));
        for (name, size) in files.chain([("etc/e820", 40)]) {
            let key = found
                .iter()
                .position(|line| line.ends_with(&format!(": {name}")));
            let expected = format!(
                "  fw_cfg item {:#x}, {size} bytes: {name}",
                0x20 + key.unwrap()
            );
            assert!(
                found.contains(&expected.as_str()),
                "{expected} in {found:?}"
            );
        }
    }
}

#[test]
fn both_memory_maps_are_said_and_where_the_rest_is() {
    let (text, booted) = traced(&[]);
    assert_eq!(
        lines(&text, &["  etc/e820"]),
        [
            "  etc/e820: 0x4000000 bytes at 0x0, type 1",
            "  etc/e820: 0x10000 bytes at 0xffff0000, type 2",
        ]
    );
    let map: Vec<_> = booted
        .regions
        .iter()
        .map(|region| format!("  map: {}, type {} (1 is RAM)", region.range(), region.kind))
        .collect();
    assert!(map.len() > 2);
    assert_eq!(lines(&text, &["  map"]), map);
    let handoff = booted.handoff;
    assert_eq!(
        lines(&text, &["  command line", "  page tables"]),
        [format!(
            "  command line at {:#x}, MP table at {:#x}",
            handoff.cmdline.start(),
            handoff.mp_table.start()
        )]
    );
}

/// A command with operands at offsets behind its number.
fn command(number: u8, operands: &[(usize, &[u8])]) -> [u8; COMMAND_SIZE] {
    let mut command = [0; COMMAND_SIZE];
    command[0] = number;
    for (offset, bytes) in operands {
        command[4 + offset..][..bytes.len()].copy_from_slice(bytes);
    }
    command
}

fn script() -> Vec<u8> {
    [
        command(1, &[(0, b"etc/acpi/rsdp"), (56, &[16]), (60, &[2])]),
        command(1, &[(0, b"etc/acpi/tables"), (56, &[64]), (60, &[1])]),
        command(0x63, &[(0, b"etc/acpi/tables")]),
        command(3, &[(0, b"etc/acpi/tables"), (56, &[9]), (64, &[64])]),
        command(
            3,
            &[(0, b"etc/acpi/tables"), (56, &[9]), (60, &[61]), (64, &[3])],
        ),
        command(
            2,
            &[
                (0, b"etc/acpi/rsdp"),
                (56, b"etc/acpi/tables"),
                (112, &[16]),
                (116, &[4]),
            ],
        ),
        command(0, &[]),
    ]
    .concat()
}

#[test]
fn every_command_of_the_loader_is_said_and_every_file_that_it_places() {
    let (text, booted) = traced(&[
        ("etc/acpi/rsdp", &RSDP),
        ("etc/acpi/tables", &TABLE),
        (file::TABLE_LOADER, &script()),
    ]);
    assert_eq!(booted.rsdp, Some(0xe_ffd0));
    assert_eq!(
        lines(&text, &["  etc/acpi", "qboot-rs"]),
        [
            "  etc/acpi/rsdp: 36 bytes at 0xeffd0",
            "  etc/acpi/tables: 64 bytes at 0xdffc0",
            "qboot-rs: ACPI loader: expected command 0 to 4, found 99, skipped",
            "  etc/acpi/tables at 9: checksum of 64 bytes from 0, APIC",
            "  etc/acpi/tables at 9: checksum of 3 bytes from 61, ",
            "  etc/acpi/rsdp at 16: pointer into etc/acpi/tables",
        ]
    );
}
