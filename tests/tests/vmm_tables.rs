// SPDX-License-Identifier: MIT OR Apache-2.0
//! The monitor's own ACPI tables, linked by the firmware's own interpreter, and its SMBIOS structures,
//! completed by the firmware.

use abi::smbios::{EntryPoint21, Header, INTERMEDIATE_OFFSET};
use firmware_core::memory::Range;
use std::path::{Path, PathBuf};
use system_tests::kernels::{bzimage, header, pattern};
use system_tests::loopback::{Booted, IDENTITY, Loopback};
use vmm::config::{self, Config, IrqChip, Machine, Target};
use vmm::memory::Memory;
use zerocopy::FromBytes;

/// Everything but ACPI taken away.
const LEAST: Machine = Machine {
    acpi: true,
    auto_kernel_cmdline: true,
    force_legacy: false,
    ioapic2: None,
    irqchip: IrqChip::Split,
    pic: false,
    pit: false,
    rtc: false,
    isa_serial: false,
    pvpanic: false,
    x_option_roms: true,
};

/// A file of its own for each test.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// What the monitor offers, read by the firmware.
fn boot(test: &str, machine: Machine, cpus: u32, dma: bool) -> (Loopback, Booted) {
    run(&config(test, machine, cpus, dma))
}

fn config(test: &str, machine: Machine, cpus: u32, dma: bool) -> Config {
    let kernel = bzimage(&header(0x1_0000, 0x2_0000), &pattern(0x1_0000));
    Config {
        kernel: Some(file(&format!("{test}.kernel"), &kernel)),
        initrd: None,
        append: String::new(),
        memory: config::Memory::plain(64 << 20),
        cpus,
        bios: Some(file(&format!("{test}.rom"), &[0; 0x1_0000])),
        machine,
        disks: Vec::new(),
        nets: Vec::new(),
        rng: true,
        serial: Target::None,
        consoles: Vec::new(),
        debugcon: Target::None,
        reboot: false,
        no_shutdown: false,
        trace: false,
        seccomp: false,
        measure: None,
        single_step: false,
        fw_cfg_dma: dma,
        fw_cfg: Vec::new(),
        option_roms: Vec::new(),
        smbios: None,
    }
}

fn run(config: &Config) -> (Loopback, Booted) {
    let items = vmm::boot::prepare(config).unwrap().items;
    let memory = Memory::from_ranges(&[(0, 64 << 20)]).unwrap();
    let mut loopback = Loopback::new(items, memory, config.fw_cfg_dma);
    let booted = loopback.boot(IDENTITY).unwrap();
    (loopback, booted)
}

fn number(bytes: &[u8], offset: usize, size: usize) -> u64 {
    let field = &bytes[offset..offset + size];
    field
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// The table at `address`, which has to add up and to be protected.
fn table(loopback: &Loopback, booted: &Booted, address: u64, signature: &[u8; 4]) -> Vec<u8> {
    let length = |address| {
        let header = loopback.bytes(Range::new(address, 8).unwrap());
        number(&header, 4, 4)
    };
    let range = Range::new(address, length(address)).unwrap();
    let bytes = loopback.bytes(range);
    assert_eq!(&bytes[..4], signature);
    assert_eq!(abi::checksum::sum(&bytes), 0);
    assert!(
        booted
            .regions
            .iter()
            .any(|region| region.kind == 2 && region.range().contains(range)),
        "{range} in {:x?}",
        booted.regions
    );
    bytes
}

#[test]
fn the_tables_are_found_connected_and_add_up_by_dma_as_by_port() {
    for (machine, cpus, dma) in [
        (Machine::default(), 1, true),
        (Machine::default(), 255, true),
        (LEAST, 2, false),
    ] {
        let (loopback, booted) = boot("tables", machine, cpus, dma);
        let rsdp = booted.rsdp.unwrap();
        assert!((0xe_0000..0x10_0000).contains(&rsdp) && rsdp.is_multiple_of(16));
        let rsdp = loopback.bytes(Range::new(rsdp, 36).unwrap());
        assert_eq!(abi::checksum::sum(&rsdp), 0);
        assert_eq!(abi::checksum::sum(&rsdp[..20]), 0);

        let find = |address, signature| table(&loopback, &booted, address, signature);
        let xsdt = find(number(&rsdp, 24, 8), b"XSDT");
        assert_eq!(xsdt.len(), 36 + 2 * 8);
        let fadt = find(number(&xsdt, 36, 8), b"FACP");
        let madt = find(number(&xsdt, 44, 8), b"APIC");
        let dsdt = number(&fadt, 140, 8);
        assert_eq!(number(&fadt, 40, 4), dsdt);
        find(dsdt, b"DSDT");
        let processors = madt.windows(8).filter(|it| {
            let id = it[3];
            *it == [0, 8, id, id, 1, 0, 0, 0]
        });
        assert_eq!(processors.count(), cpus as usize);
    }
}

#[test]
fn without_acpi_there_is_nothing_to_find() {
    let machine = Machine {
        acpi: false,
        ..Machine::default()
    };
    let (_, booted) = boot("nothing", machine, 2, true);
    assert_eq!(booted.rsdp, None);
}

#[test]
fn smbios_structures_are_found_whole_with_what_the_firmware_is_before_their_end() {
    for dma in [true, false] {
        let words = ["type=1,product=loopback", "type=11,value=one,value=two"];
        let config = Config {
            smbios: config::parse_smbios(words).unwrap(),
            ..config("smbios", Machine::default(), 3, dma)
        };
        let (loopback, booted) = run(&config);
        let anchor = loopback.bytes(booted.smbios.unwrap());
        assert_eq!(abi::checksum::sum(&anchor), 0);
        assert_eq!(abi::checksum::sum(&anchor[INTERMEDIATE_OFFSET..]), 0);
        let anchor = EntryPoint21::read_from_bytes(&anchor).unwrap();
        let place = Range::new(
            anchor.table_address.get().into(),
            anchor.table_length.get().into(),
        );
        let table = loopback.bytes(place.unwrap());

        let mut found = Vec::new();
        let mut rest = table.as_slice();
        while let Ok((header, _)) = Header::read_from_prefix(rest) {
            let strings = &rest[usize::from(header.length)..];
            let end = strings.windows(2).position(|pair| pair == [0, 0]).unwrap();
            found.push((header.kind, String::from_utf8_lossy(&strings[..end])));
            rest = &strings[end + 2..];
        }
        assert!(rest.is_empty());
        assert_eq!(found.len(), usize::from(anchor.structure_count.get()));
        let kinds: Vec<_> = found.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [1, 3, 4, 11, 16, 17, 19, 32, 0, 127]);
        assert!(found[0].1.contains("loopback"));
        assert_eq!(found[3].1, "one\0two");
        assert!(found[8].1.starts_with("qboot-rs\0"));
    }
}

#[test]
fn without_a_word_about_it_there_is_no_smbios() {
    let (_, booted) = boot("no-smbios", Machine::default(), 1, true);
    assert_eq!(booted.smbios, None);
}
