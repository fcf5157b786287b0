// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's `pc` and `q35` with devices on the root bus and behind bridges, as the guest `report` finds
//! them: every function has its addresses, and the ACPI tables are whole.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use super::report::Report;
use super::stock;
use crate::qemu::{Boot, Qemu};
use std::ops::Range;

/// On both boards: one on the root bus with ports and 64-bit memory, a card with an expansion ROM,
/// one behind a bridge, a device that hands its table's address back to QEMU.
const DEVICES: [&str; 6] = [
    "virtio-blk-pci,drive=disk",
    "virtio-net-pci,netdev=net",
    "pci-bridge,id=bridge,chassis_nr=1",
    "virtio-rng-pci,bus=bridge,addr=3",
    "VGA",
    "vmgenid",
];
/// On `q35` besides.
const EXPRESS: [&str; 3] = [
    "pcie-root-port,id=express,chassis=2",
    "virtio-serial-pci,bus=express",
    "pcie-root-port,id=vacant,chassis=3",
];
/// More than fits below 4 GiB; QEMU takes no memory for it before it is touched.
const LARGE: [&str; 1] = ["pci-testdev,membar=64G"];

struct Machine {
    name: &'static str,
    board: &'static str,
    cpus: u32,
    memory: &'static str,
    devices: &'static [&'static [&'static str]],
    /// PCI functions that there are.
    functions: usize,
    /// Bridges that lead somewhere.
    bridges: usize,
}

const PC: Machine = Machine {
    name: "pc",
    board: "pc",
    cpus: 1,
    memory: "512M",
    devices: &[&DEVICES],
    functions: 9,
    bridges: 1,
};

const Q35: Machine = Machine {
    name: "q35",
    board: "q35",
    devices: &[&DEVICES, &EXPRESS],
    functions: 12,
    bridges: 3,
    ..PC
};

const MACHINES: [Machine; 9] = [
    PC,
    Q35,
    Machine {
        name: "pc-4cpus-5GiB",
        cpus: 4,
        memory: "5G",
        ..PC
    },
    Machine {
        name: "q35-4cpus-5GiB",
        cpus: 4,
        memory: "5G",
        ..Q35
    },
    Machine {
        name: "pc-41cpus",
        cpus: 41,
        ..PC
    },
    Machine {
        name: "q35-41cpus",
        cpus: 41,
        ..Q35
    },
    Machine {
        name: "pc-3400MiB-no-acpi",
        board: "pc,acpi=off",
        memory: "3400M",
        devices: &[&["virtio-blk-pci,drive=disk"]],
        functions: 4,
        bridges: 0,
        ..PC
    },
    Machine {
        name: "pc-64GiB-bar",
        devices: &[&DEVICES, &LARGE],
        functions: 10,
        ..PC
    },
    Machine {
        name: "q35-64GiB-bar",
        devices: &[&DEVICES, &EXPRESS, &LARGE],
        functions: 13,
        memory: "2560M",
        ..Q35
    },
];

/// Every machine.
pub fn cases() -> Vec<Case> {
    MACHINES
        .iter()
        .map(|machine| {
            Case::new(
                format!("qemu/pci-{}", machine.name),
                move |context, trial| run(context, trial, machine),
            )
        })
        .collect()
}

fn run(context: &Context<'_>, trial: &Trial, machine: &Machine) -> Run {
    context.qemu()?;
    let qemu = Qemu::plain(
        machine.board,
        Boot {
            bios: context.rom()?,
            kernel: context.guest("report.elf")?,
            initrd: None,
            append: "report=pci".into(),
            memory: machine.memory.into(),
            cpus: machine.cpus,
        },
    );
    let mut command = qemu.command();
    command.args(["-blockdev", "null-co,node-name=disk,size=1048576"]);
    command.args(["-netdev", "user,id=net"]);
    for device in machine.devices.iter().copied().flatten() {
        command.args(["-device", device]);
    }
    let report = Report::parse(&stock::watched_command(trial, &mut command)?)?;
    verify(&report, machine)
}

fn verify(report: &Report, machine: &Machine) -> Run {
    let acpi = !machine.board.contains("acpi=off");
    let (functions, bridges) = (places(report, "pci")?, places(report, "pci.bridge")?);
    let names: Vec<_> = functions.iter().map(|(place, _)| *place).collect();
    expect(functions.len() == machine.functions, || {
        format!("expected {} functions, found {names:?}", machine.functions)
    })?;
    expect(bridges.len() == machine.bridges, || {
        format!("expected {} bridges, found {bridges:x?}", machine.bridges)
    })?;
    let bars = bars(report)?;
    for (place, numbers) in &functions {
        let &[id, _, command, header, line] = &numbers[..] else {
            return Err(Outcome::Failed(format!(
                "expected a function, found {numbers:x?}"
            )));
        };
        let own: Vec<_> = bars.iter().filter(|bar| bar.owner == *place).collect();
        expect(own.iter().all(|bar| bar.address != 0), || {
            format!("expected an address in every BAR of {place}, found {own:x?}")
        })?;
        expect(own.is_empty() || command & 3 == 3, || {
            format!("expected {place} ({id:#x}) switched on, found {command:#x}")
        })?;
        let right = line >> 8 == 0 || [9, 10, 11].contains(&(line & 0xff));
        expect(right, || {
            format!("expected an interrupt line of {place}, found {line:#x}")
        })?;
        expect(header & 0x7f <= 1, || {
            format!("{place}: header {header:#x}")
        })?;
    }
    low_bars_in_the_hole(report, &bars)?;
    tables(report, machine, acpi)
}

/// What has an address below 4 GiB is in memory that the memory types say is not cached.
fn low_bars_in_the_hole(report: &Report, bars: &[Bar<'_>]) -> Run {
    let mtrrs = report.numbers("mtrr")?;
    let base = mtrrs.iter().find(|line| line[0] == 0x200);
    let hole: Range<u64> = base.map_or(u64::MAX, |line| line[1])..0xfec0_0000;
    let low = |bar: &&Bar<'_>| !bar.ports && bar.address < 1 << 32;
    let outside: Vec<_> = bars
        .iter()
        .filter(low)
        .filter(|bar| !hole.contains(&bar.address))
        .collect();
    expect(outside.is_empty(), || {
        format!("expected memory BARs in {hole:x?}, found {outside:x?}")
    })
}

/// A base address, of one register or of two.
#[derive(Debug)]
struct Bar<'r> {
    owner: &'r str,
    ports: bool,
    address: u64,
}

fn bars(report: &Report) -> Result<Vec<Bar<'_>>, Outcome> {
    let lines = places(report, "pci.bar")?;
    let value = |place: &str, index: u64| {
        let same = |line: &&(&str, Vec<u64>)| line.0 == place && line.1[0] == index;
        lines.iter().find(same).map_or(0, |line| line.1[1])
    };
    let mut bars = Vec::new();
    for (owner, numbers) in &lines {
        let (index, low) = (numbers[0], numbers[1]);
        // The upper half of the one before.
        if index > 0 && value(owner, index - 1) & 7 == 4 {
            continue;
        }
        let (ports, wide) = (low & 1 == 1, low & 7 == 4);
        let high = if wide { value(owner, index + 1) } else { 0 };
        let flags = if ports { 3 } else { 0xf };
        bars.push(Bar {
            owner,
            ports,
            address: low & !flags | high << 32,
        });
    }
    Ok(bars)
}

fn tables(report: &Report, machine: &Machine, acpi: bool) -> Run {
    let rsdp = report.number("acpi.scanned")?;
    expect((rsdp != 0) == acpi, || {
        format!("expected an RSDP by scan: {acpi}, found {rsdp:#x}")
    })?;
    let names: Vec<_> = report
        .all("acpi.table")
        .filter_map(|line| {
            let (name, rest) = line.split_once(' ')?;
            (rest.ends_with(" 0x0") || name == "FACS").then_some(name)
        })
        .collect();
    let complete = report.all("acpi.table").count() == names.len();
    let mcfg = names.contains(&"MCFG") == machine.board.starts_with("q35");
    expect(
        complete && (!acpi || mcfg && names.contains(&"DSDT")),
        || format!("expected tables that add up, found {names:?}"),
    )?;
    let cpus = report.all("mp.cpu").count();
    expect(cpus == machine.cpus as usize, || {
        format!("expected {} processors, found {cpus}", machine.cpus)
    })
}

/// The lines under a key that begin with a function's place: the place, and the numbers behind it.
fn places<'r>(report: &'r Report, key: &'r str) -> Result<Vec<(&'r str, Vec<u64>)>, Outcome> {
    report
        .all(key)
        .map(|line| {
            let (place, rest) = line.split_once(' ')?;
            let numbers = rest
                .split(' ')
                .map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
            Some((place, numbers.collect::<Option<_>>()?))
        })
        .collect::<Option<_>>()
        .ok_or_else(|| Outcome::Failed(format!("expected lines of numbers under {key}")))
}
