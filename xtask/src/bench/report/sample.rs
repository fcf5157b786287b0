// SPDX-License-Identifier: MIT OR Apache-2.0
//! Results with every kind of row, for the tests of the report and for the check of its page in a
//! browser. The figures are of the size of real ones, but made up.

use crate::bench::model::{
    Access, AccessKind, Combination, Costs, Counts, Host, Measured, Phase, Place, PlaceCount,
    Ratio, Results, Row, Spread, SymbolCount, VERSION, Vmm,
};
use crate::bench::model::{AccessKind::*, Outcome};

/// A name of a file that must do no harm wherever it is shown.
pub const HOSTILE: &str = "<script>alert(1)</script>&\"'<img src=x onerror=alert(2)>.rom";

/// Why rows could not be measured, in their order.
pub const REASONS: [&str; 3] = [
    "`qboot` did not reach the kernel within 60 s; its last exit was a read of port 0x511 at RIP \
     0xffff_0231",
    "<b>no</b> \"kernel\" & no 'initrd' in it",
    "`qemu-system-x86_64` is missing: run `sudo apt-get install -y --no-install-recommends \
     qemu-system-x86 seabios`",
];

/// The results.
pub fn results() -> Results {
    let mut rows = vec![
        row("qboot-rs", here("report", "pvh"), ours()),
        row("qboot", here("report", "pvh"), qboot()),
        row("seabios", here("report", "pvh"), seabios()),
        row("none", here("report", "pvh"), floor()),
    ];
    rows.extend([
        row("qboot-rs", in_tcg(), counted(2_293, 15)),
        row("qboot", in_tcg(), counted(14_802, 77)),
        row("seabios", in_tcg(), counted(5_971_259, 362)),
    ]);
    rows.extend([
        row("qboot-rs", large(), slow(31_415, 1.0)),
        unable("qboot", large(), REASONS[0]),
        row("seabios", large(), slow(15_814_539, 9.4)),
    ]);
    rows.extend([
        unable(
            HOSTILE,
            here(
                "a-kernel-with-a-name-that-goes-on-and-on-and-on-without-a-single-space-in-it.elf",
                "bzimage",
            ),
            REASONS[1],
        ),
        row(HOSTILE, here("vmlinux<em>", "pvh"), extreme()),
        row(
            "a-firmware-with-a-name-that-goes-on-and-on-and-on-without-a-single-space-in-it.rom",
            here("vmlinux<em>", "pvh"),
            Measured::default(),
        ),
    ]);
    rows.push(unable("qboot-rs", lab(), REASONS[2]));
    Results {
        version: VERSION,
        command: "cargo xtask bench --firmware qboot-rs,qboot,seabios,none --kernel report \
                  --runs 20"
            .into(),
        revision: "0123456789ab+".into(),
        host: Host {
            processor: "AMD EPYC 7B13".into(),
            processors: 2,
            kernel: "6.18.44".into(),
            kvm: "hardware virtualisation (SVM)".into(),
            qemu: Some("7.2.22".into()),
        },
        rows,
    }
}

/// The first of them, in which every firmware has been measured, with a few accesses each.
pub fn small() -> Results {
    let mut results = results();
    results.rows.truncate(4);
    for row in &mut results.rows {
        if let Outcome::Measured(measured) = &mut row.outcome {
            measured.accesses.truncate(20);
        }
    }
    results
}

/// A row of QEMU's emulator on `microvm`.
pub fn emulated(firmware: &str, measured: Measured) -> Row {
    row(firmware, in_tcg(), measured)
}

/// The figures of a row that has some.
#[cfg(test)]
pub fn measured_mut(results: &mut Results, row: usize) -> &mut Measured {
    match &mut results.rows[row].outcome {
        Outcome::Measured(measured) => measured,
        Outcome::Unable(why) => panic!("row {row} was not measured: {why}"),
    }
}

fn row(firmware: &str, combination: Combination, measured: Measured) -> Row {
    Row {
        combination: Combination {
            firmware: firmware.into(),
            ..combination
        },
        outcome: Outcome::Measured(Box::new(measured)),
    }
}

fn unable(firmware: &str, combination: Combination, why: &str) -> Row {
    Row {
        combination: Combination {
            firmware: firmware.into(),
            ..combination
        },
        outcome: Outcome::Unable(why.into()),
    }
}

fn here(kernel: &str, format: &str) -> Combination {
    Combination {
        firmware: String::new(),
        vmm: Vmm::Microvm,
        place: Place::Kvm,
        machine: "microvm".into(),
        kernel: kernel.into(),
        format: format.into(),
        cpus: 1,
        initrd: 0,
    }
}

fn in_tcg() -> Combination {
    Combination {
        vmm: Vmm::Qemu,
        place: Place::Tcg,
        ..here("report", "pvh")
    }
}

fn large() -> Combination {
    Combination {
        vmm: Vmm::Qemu,
        machine: "q35".into(),
        cpus: 8,
        initrd: 64 << 20,
        ..here("debian", "bzimage")
    }
}

fn lab() -> Combination {
    Combination {
        vmm: Vmm::Qemu,
        place: Place::Lab,
        machine: "microvm,acpi=off".into(),
        ..here("debian", "pvh")
    }
}

fn ours() -> Measured {
    Measured {
        phases: vec![
            phase("firmware", Some(2_293), Some(15), 13_569.25),
            phase("kernel to first output", Some(1_204), Some(3), 640.5),
            phase("kernel to init", None, Some(1), 10_100.75),
        ],
        counts: Counts {
            instructions: Some(2_293),
            port_reads: Some(2),
            port_writes: Some(13),
            mmio_reads: Some(0),
            mmio_writes: Some(0),
            local_apic: Some(2),
            other_processors: Some(0),
            exits: Some(16),
            fw_cfg_items: Some(13),
            fw_cfg_bytes: Some(41_284),
            rom_bytes: Some(26_112),
            memory_touched: Some(188),
            places: vec![
                place(PortWrite, 0x514, "fw_cfg DMA, high", 1),
                place(PortWrite, 0x518, "fw_cfg DMA, low", 12),
                place(PortRead, 0x510, "fw_cfg", 2),
            ],
            symbols: vec![
                symbol("firmware_core::fw_cfg::directory::find", 702),
                symbol("firmware_core::tables::mp::write", 518),
                symbol("abi::checksum::sum", 433),
                symbol("firmware::boot::long64", 211),
                symbol("firmware_core::acpi::Loader::link", 187),
                symbol("memcpy", 120),
                symbol("firmware_core::memory::e820::Map::join", 64),
                symbol("firmware::handoff::pvh32", 58),
            ],
        },
        accesses: our_accesses(),
        costs: Costs {
            wall: Some(spread(24_310.5, 23_980.0, 26_112.25)),
            processor_time: Some(spread(9_100.0, 8_950.0, 9_480.0)),
            memory: Some(spread(1_020.0, 1_016.0, 1_044.0)),
            program: Some(1_904_640),
            ratio: Some(ratio(1.0, 1.0, 1.0)),
        },
    }
}

fn our_accesses() -> Vec<Access> {
    let items = [
        "the list of files",
        "etc/e820",
        "number of processors",
        "size of the kernel",
        "size of the command line",
        "etc/acpi/rsdp",
        "etc/acpi/tables",
        "etc/table-loader",
        "kernel",
        "command line",
        "entry point",
    ];
    let mut accesses = vec![
        access(61, PortWrite, 0x510, 2, 0, "the signature"),
        access(62, PortRead, 0x510, 4, 0x554d_4551, "the signature"),
        access(64, PortRead, 0x511, 1, 0x43, "the interface"),
        access(66, PortWrite, 0x514, 4, 0, "above 4 GiB"),
    ];
    for (turn, item) in items.into_iter().enumerate() {
        let turn = turn as u64;
        accesses.push(access(
            90 + 190 * turn,
            PortWrite,
            0x518,
            4,
            0x0010_0700 + 16 * turn,
            item,
        ));
    }
    accesses
}

fn qboot() -> Measured {
    let mut measured = with_phases(&[
        ("firmware", 20141.0),
        ("kernel to first output", 652.0),
        ("kernel to init", 10_088.0),
    ]);
    measured.counts = Counts {
        instructions: Some(14_802),
        port_reads: Some(54),
        port_writes: Some(23),
        mmio_reads: Some(0),
        mmio_writes: Some(0),
        exits: Some(78),
        fw_cfg_items: Some(19),
        fw_cfg_bytes: Some(43_120),
        rom_bytes: Some(12_826),
        memory_touched: Some(212),
        places: vec![place(PortRead, 0x511, "fw_cfg", 52)],
        symbols: vec![],
        ..Counts::default()
    };
    measured.accesses = (0..77)
        .map(|turn| Access {
            purpose: None,
            ..access(70 + 180 * turn, PortRead, 0x511, 1, turn & 0xff, "")
        })
        .collect();
    measured.costs = Costs {
        wall: Some(spread(30_881.0, 30_412.0, 33_017.0)),
        processor_time: Some(spread(15_120.0, 14_900.0, 15_700.0)),
        memory: Some(spread(1_024.0, 1_020.0, 1_040.0)),
        program: Some(1_904_640),
        ratio: Some(ratio(1.27, 1.258, 1.284)),
    };
    measured
}

fn seabios() -> Measured {
    let mut measured = with_phases(&[
        ("firmware", 2663485.0),
        ("kernel to first output", 660.0),
        ("kernel to init", 10_120.0),
    ]);
    measured.counts = Counts {
        instructions: Some(5_971_259),
        port_reads: Some(89),
        port_writes: Some(273),
        mmio_reads: Some(3),
        mmio_writes: Some(4),
        exits: Some(796),
        fw_cfg_items: Some(29),
        fw_cfg_bytes: Some(61_744),
        rom_bytes: Some(92_784),
        memory_touched: Some(1_412),
        places: vec![
            place(PortWrite, 0x402, "debug console", 160),
            place(PortWrite, 0xcf8, "PCI configuration", 67),
            place(MmioWrite, 0xfee0_00f0, "local APIC", 4),
        ],
        symbols: vec![],
        ..Counts::default()
    };
    // More than the page shows.
    measured.accesses = (0..640)
        .map(|turn| {
            let (kind, address) = if turn % 90 == 89 {
                (MmioWrite, 0xfee0_00f0)
            } else {
                (PortWrite, 0x402)
            };
            access(900 + 9_000 * turn, kind, address, 1, 0x20 + turn % 0x50, "")
        })
        .collect();
    measured.costs = Costs {
        wall: Some(spread(2_674_265.0, 2_635_918.0, 2_699_512.0)),
        processor_time: Some(spread(2_655_000.0, 2_640_000.0, 2_670_000.0)),
        memory: Some(spread(1_032.0, 1_028.0, 1_052.0)),
        program: Some(1_904_640),
        ratio: Some(ratio(110.0, 108.6, 111.2)),
    };
    measured
}

fn floor() -> Measured {
    let mut measured = with_phases(&[
        ("firmware", 12377.0),
        ("kernel to first output", 641.0),
        ("kernel to init", 10_095.0),
    ]);
    measured.counts = Counts {
        instructions: Some(0),
        port_reads: Some(0),
        port_writes: Some(0),
        mmio_reads: Some(0),
        mmio_writes: Some(0),
        exits: Some(0),
        fw_cfg_items: Some(0),
        fw_cfg_bytes: Some(0),
        rom_bytes: None,
        memory_touched: Some(96),
        places: vec![],
        symbols: vec![],
        ..Counts::default()
    };
    measured.costs = Costs {
        wall: Some(spread(23_113.0, 22_790.0, 24_901.0)),
        processor_time: None,
        memory: Some(spread(1_000.0, 996.0, 1_012.0)),
        program: Some(1_904_640),
        ratio: Some(ratio(0.951, 0.943, 0.958)),
    };
    measured
}

/// What an emulator tells: instructions and accesses, but no time.
fn counted(instructions: u64, accesses: u64) -> Measured {
    Measured {
        phases: vec![
            Phase {
                name: "firmware".into(),
                instructions: Some(instructions),
                accesses: Some(accesses),
                time: None,
            },
            Phase {
                name: "kernel".into(),
                instructions: Some(1_204),
                accesses: Some(3),
                time: None,
            },
        ],
        counts: Counts {
            instructions: Some(instructions),
            port_reads: Some(accesses / 3),
            port_writes: Some(accesses - accesses / 3),
            ..Counts::default()
        },
        accesses: our_accesses(),
        costs: Costs::default(),
    }
}

/// A machine with much to find, and a whole Linux.
fn slow(instructions: u64, factor: f64) -> Measured {
    let mut measured = with_phases(&[
        ("firmware", 80_000.0 + 20_500.0 * factor),
        ("kernel to first output", 310_000.0),
        ("kernel to init", 905_000.0),
        ("init to the end", 48_000.0),
    ]);
    measured.counts.instructions = Some(instructions);
    measured.counts.port_reads = Some(112);
    measured.counts.port_writes = Some(137);
    measured.costs.wall = Some(spread(
        1_343_000.0 + 20_500.0 * factor,
        1_331_000.0,
        1_790_000.0,
    ));
    measured
}

/// The largest and the smallest numbers that there are.
fn extreme() -> Measured {
    Measured {
        phases: vec![
            Phase {
                name: "a phase with a name <b>of its own</b> that goes on".into(),
                instructions: Some(u64::MAX),
                accesses: Some(0),
                time: Some(spread(1e15, 0.001, 1e18)),
            },
            Phase {
                name: "nothing".into(),
                ..Phase::default()
            },
        ],
        counts: Counts {
            instructions: Some(u64::MAX),
            port_reads: Some(u64::MAX),
            port_writes: Some(u64::MAX),
            exits: Some(1),
            rom_bytes: Some(1),
            ..Counts::default()
        },
        accesses: vec![Access {
            instruction: None,
            kind: MmioRead,
            address: u64::MAX,
            width: 8,
            value: u64::MAX,
            device: "<i>device</i>".into(),
            purpose: Some(HOSTILE.into()),
        }],
        costs: Costs {
            wall: Some(spread(0.0, 0.0, 0.0)),
            ratio: Some(ratio(0.0, 0.0, 1e9)),
            ..Costs::default()
        },
    }
}

fn with_phases(times: &[(&str, f64)]) -> Measured {
    Measured {
        phases: times
            .iter()
            .map(|&(name, time)| phase(name, None, None, time))
            .collect(),
        ..Measured::default()
    }
}

fn phase(name: &str, instructions: Option<u64>, accesses: Option<u64>, time: f64) -> Phase {
    Phase {
        name: name.into(),
        instructions,
        accesses,
        time: Some(spread(time, time * 0.98, time * 1.05)),
    }
}

fn spread(median: f64, low: f64, high: f64) -> Spread {
    Spread {
        median,
        low,
        high,
        runs: 20,
    }
}

fn ratio(ratio: f64, low: f64, high: f64) -> Ratio {
    Ratio { ratio, low, high }
}

fn place(kind: AccessKind, address: u64, device: &str, count: u64) -> PlaceCount {
    PlaceCount {
        kind,
        address,
        device: device.into(),
        count,
    }
}

fn symbol(symbol: &str, count: u64) -> SymbolCount {
    SymbolCount {
        phase: "firmware".into(),
        symbol: symbol.into(),
        count,
        accesses: count / 100,
    }
}

fn access(
    instruction: u64,
    kind: AccessKind,
    address: u64,
    width: u8,
    value: u64,
    purpose: &str,
) -> Access {
    let device = match address {
        0x510..=0x51b => "fw_cfg",
        0x402 => "debug console",
        _ => "",
    };
    Access {
        instruction: Some(instruction),
        kind,
        address,
        width,
        value,
        device: device.into(),
        purpose: (!purpose.is_empty()).then(|| purpose.to_owned()),
    }
}
