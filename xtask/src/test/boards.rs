// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stock Debian with its root file system on a disk, on every board of QEMU that our ROM knows.
//!
//! The init on that disk says what the kernel has found; a disk and a network card that answer
//! mean that their registers have addresses and their interrupts arrive.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use super::stock;
use crate::guest::{self, Flavour, Format, ROOT_DISK};
use crate::qemu::{Accelerator, Qemu};

/// A machine with a disk and a network card.
struct Board {
    name: &'static str,
    machine: &'static str,
    devices: &'static [&'static str],
    /// What the init says of this board besides, in any order; ACPI tables only where it has ACPI.
    found: &'static [&'static str],
    tables: &'static [&'static str],
}

/// The disk uses message-signalled interrupts, the network card its interrupt line.
const DISK: &str = "virtio-blk-pci,drive=root";
const NET: &str = "virtio-net-pci,netdev=net,romfile=,vectors=0";

const BOARDS: [Board; 4] = [
    Board {
        name: "microvm",
        machine: "microvm",
        devices: &[
            "virtio-blk-device,drive=root",
            "virtio-net-device,netdev=net",
        ],
        found: &[],
        tables: &["APIC", "DSDT", "FACP"],
    },
    Board {
        name: "pc",
        machine: "pc",
        devices: &[DISK, NET],
        found: &[
            "pci 0000:00:02.0 0x1af4 0x1001 virtio-pci",
            "pci 0000:00:03.0 0x1af4 0x1000 virtio-pci",
            "dmi product_name Standard PC (i440FX + PIIX, 1996)",
        ],
        tables: &["APIC", "DSDT", "FACP", "FACS", "HPET", "WAET"],
    },
    Board {
        name: "q35",
        machine: "q35",
        devices: &[DISK, NET],
        found: &[
            "pci 0000:00:01.0 0x1af4 0x1001 virtio-pci",
            "pci 0000:00:02.0 0x1af4 0x1000 virtio-pci",
            "dmi product_name Standard PC (Q35 + ICH9, 2009)",
        ],
        tables: &["APIC", "DSDT", "FACP", "FACS", "HPET", "MCFG", "WAET"],
    },
    Board {
        name: "q35-port",
        machine: "q35",
        devices: &[
            // Without ACPI the kernel's own hot-plugging takes the slot for empty, whatever firmware.
            "pcie-root-port,id=rp,slot=1,hotplug=off",
            "virtio-blk-pci,drive=root,bus=rp",
            NET,
        ],
        found: &[
            "pci 0000:00:01.0 0x1b36 0x000c pcieport",
            "pci 0000:01:00.0 0x1af4 0x1042 virtio-pci",
            "pci 0000:00:02.0 0x1af4 0x1000 virtio-pci",
            "dmi product_name Standard PC (Q35 + ICH9, 2009)",
        ],
        tables: &["APIC", "DSDT", "FACP", "FACS", "HPET", "MCFG", "WAET"],
    },
];

/// Every board with every kernel format, one processor and four, with and without ACPI.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for board in &BOARDS {
        for format in [Format::Pvh, Format::Bzimage] {
            for cpus in [1, 4] {
                for acpi in [true, false] {
                    let name = format!(
                        "qemu/debian-{}-{format}-{cpus}cpu{}-{}",
                        board.name,
                        if cpus == 1 { "" } else { "s" },
                        if acpi { "acpi" } else { "noacpi" }
                    );
                    cases.push(Case::new(name, move |context, trial| {
                        // Debian's kernels find virtio-mmio devices by ACPI only.
                        if board.name == "microvm" && !acpi {
                            in_memory(context, trial, board, format, cpus)
                        } else {
                            on_disk(context, trial, board, format, cpus, acpi)
                        }
                    }));
                }
            }
        }
    }
    cases
}

fn on_disk(
    context: &Context<'_>,
    trial: &Trial,
    board: &Board,
    format: Format,
    cpus: u32,
    acpi: bool,
) -> Run {
    let flavour = Flavour::for_cpus(cpus);
    let mut machine = machine(context, board, format, cpus, acpi)?;
    machine.boot.initrd = Some(guest::disk_initrd(context.workspace, flavour)?);
    machine.boot.append += &format!(" {ROOT_DISK}");
    let mut command = machine.command();
    command.arg("-drive").arg(format!(
        "if=none,id=root,format=raw,snapshot=on,file={}",
        context.root_disk()?.display()
    ));
    command.args(["-netdev", "user,id=net"]);
    for device in board.devices {
        command.args(["-device", device]);
    }
    let output = stock::watched_command(trial, &mut command)?;
    stock::reached(&output, cpus)?;
    verify(&output, board, acpi)
}

/// With the initial RAM disk as its root.
fn in_memory(
    context: &Context<'_>,
    trial: &Trial,
    board: &Board,
    format: Format,
    cpus: u32,
) -> Run {
    let machine = machine(context, board, format, cpus, false)?;
    stock::reached(&stock::watched(trial, &machine)?, cpus)
}

fn machine(
    context: &Context<'_>,
    board: &Board,
    format: Format,
    cpus: u32,
    acpi: bool,
) -> Result<Qemu, Outcome> {
    context.qemu()?;
    let time = Accelerator::Tcg.time_words();
    let words: Vec<_> = time.iter().map(String::as_str).collect();
    Ok(Qemu::plain(
        format!("{},acpi={}", board.machine, if acpi { "on" } else { "off" }),
        stock::boot(context, context.rom()?, format, cpus, &words)?,
    ))
}

/// The root file system is the disk's, the network answers, and all that belongs to the board was
/// found.
fn verify(output: &str, board: &Board, acpi: bool) -> Run {
    const MARK: &str = "QBOOT-RS: ";
    let said: Vec<_> = output
        .lines()
        .filter_map(|line| Some(line.split_once(MARK)?.1.trim_end()))
        .collect();
    let always = ["root /dev/vda ext4", "net virtio_net", "gateway answers"];
    for expected in always.iter().chain(board.found) {
        expect(said.contains(expected), || {
            format!("expected init to say `{expected}`, found {said:#?}")
        })?;
    }
    let tables: Vec<_> = said
        .iter()
        .filter_map(|line| line.strip_prefix("acpi "))
        .collect();
    let expected = if acpi { board.tables } else { &[] };
    let missing: Vec<_> = expected
        .iter()
        .filter(|table| !tables.contains(table))
        .collect();
    expect(missing.is_empty() && acpi != tables.is_empty(), || {
        format!("expected the ACPI tables {expected:?}, found {tables:?}")
    })
}

#[cfg(test)]
mod test {
    use super::*;

    const SAID: &str = "QBOOT-RS: root /dev/vda ext4\r\nx\r\n[ 2.1] QBOOT-RS: net virtio_net\r\n\
                        QBOOT-RS: gateway answers\r\n";

    #[test]
    fn a_board_is_found_whole() {
        let tables = "QBOOT-RS: acpi APIC\r\nQBOOT-RS: acpi DSDT\r\nQBOOT-RS: acpi FACP\r\n";

        assert_eq!(verify(&format!("{SAID}{tables}"), &BOARDS[0], true), Ok(()));
        assert_eq!(verify(SAID, &BOARDS[0], false), Ok(()));
    }

    #[test]
    fn what_is_missing_is_named() {
        let why = |run: Run| match run {
            Err(Outcome::Failed(why)) => why,
            other => format!("{other:?}"),
        };

        assert!(why(verify("", &BOARDS[0], false)).contains("`root /dev/vda ext4`"));
        assert!(why(verify(SAID, &BOARDS[0], true)).contains("found []"));
        assert!(why(verify(SAID, &BOARDS[1], false)).contains("0x1001"));
    }
}
