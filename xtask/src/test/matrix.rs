// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which firmware boots what on which machine: the guest `report` under ours, qboot and SeaBIOS, on
//! our monitor and on QEMU's boards, in every format that the machine takes, with ACPI and without.
//!
//! Whether it boots is asked here: that the guest is entered as the protocol says, has its command
//! line, and finds tables where there are some. What the firmware hands over besides is the
//! oracle's question.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use super::handed::{
    COMMAND_LINE, LINUX_LOADER, MULTIBOOT_LOADER, PVH_LOADER, monitor, run, stock_monitor,
};
use super::report::Report;
use super::stock;
use crate::oracle::{Board, FORMATS, Format, Reference};
use crate::qemu::{Boot, Qemu};
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// What every cell's name has in it.
pub const NAME: &str = "/matrix-";

const FIRMWARE: [Firmware; 3] = [
    Firmware::Ours,
    Firmware::Stock(Reference::Qboot),
    Firmware::Stock(Reference::SeaBios),
];
const HOSTS: [Host; 4] = [
    Host::Monitor,
    Host::Qemu(Board::Microvm),
    Host::Qemu(Board::Pc),
    Host::Qemu(Board::Q35),
];
/// Machines of our monitor that have more or less than the default one.
const PARTS: [(&str, &str); 5] = [
    ("kernel", "irqchip=kernel"),
    ("kernel-no-acpi", "irqchip=kernel,acpi=off"),
    ("least", "pic=off,pit=off,rtc=off,auto-kernel-cmdline=off"),
    ("least-no-acpi", "acpi=off,pic=off,pit=off,rtc=off"),
    ("most", "rtc=on,ioapic2=on"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Firmware {
    Ours,
    Stock(Reference),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Monitor,
    Qemu(Board),
}

/// One boot.
#[derive(Clone, Copy, Debug)]
struct Cell {
    firmware: Firmware,
    host: Host,
    format: Format,
    acpi: bool,
}

/// Every cell of the table, and our monitor's other machines.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for cell in cells() {
        cases.push(Case::new(cell.name(), move |context, trial| {
            let report = match cell.host {
                Host::Monitor => on_monitor(context, trial, &cell, cell.parts())?,
                Host::Qemu(board) => on_qemu(context, trial, &cell, board)?,
            };
            booted(&cell, &report)
        }));
    }
    for firmware in FIRMWARE {
        for (what, parts) in PARTS {
            let cell = Cell {
                firmware,
                host: Host::Monitor,
                format: Format::Pvh,
                acpi: !parts.contains("acpi=off"),
            };
            let name = format!("vmm/machine-{what}-{firmware}");
            cases.push(Case::new(name, move |context, trial| {
                booted(&cell, &on_monitor(context, trial, &cell, parts)?)
            }));
        }
    }
    cases
}

/// Every combination that there is.
fn cells() -> impl Iterator<Item = Cell> {
    HOSTS.into_iter().flat_map(|host| {
        FIRMWARE.into_iter().flat_map(move |firmware| {
            FORMATS.into_iter().flat_map(move |format| {
                [true, false].into_iter().map(move |acpi| Cell {
                    firmware,
                    host,
                    format,
                    acpi,
                })
            })
        })
    })
}

/// The table of how the cells ended, by their names.
pub fn table(outcomes: &BTreeMap<String, Outcome>) -> String {
    let mut table = format!("{:<22}", "");
    for host in HOSTS {
        let _ = write!(table, "{:<26}", host.title());
    }
    let _ = write!(table, "\n{:<22}", "");
    for _ in HOSTS {
        for firmware in FIRMWARE {
            let _ = write!(table, "{firmware:<8}");
        }
        table.push_str("  ");
    }
    for format in FORMATS {
        for acpi in [true, false] {
            let title = format!("{}{}", format.name(), if acpi { "" } else { ", no ACPI" });
            let _ = write!(table, "\n{title:<22}");
            for host in HOSTS {
                for firmware in FIRMWARE {
                    let cell = Cell {
                        firmware,
                        host,
                        format,
                        acpi,
                    };
                    let word = match outcomes.get(&cell.name()) {
                        Some(Outcome::Passed) => "boots",
                        Some(Outcome::Failed(_)) => "FAILS",
                        Some(Outcome::Skipped(_)) => "SKIPPED",
                        None => "-",
                    };
                    let _ = write!(table, "{word:<8}");
                }
                table.push_str("  ");
            }
        }
    }
    let lines: Vec<_> = table.lines().map(str::trim_end).collect();
    lines.join("\n")
}

impl fmt::Display for Firmware {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours => formatter.pad("ours"),
            Self::Stock(reference) => formatter.pad(&reference.to_string()),
        }
    }
}

impl Firmware {
    /// How it enters a kernel: we by the highest entry point, the others know one.
    fn mode(self, format: Format) -> &'static str {
        match (self, format) {
            (Self::Ours, _) | (_, Format::Pvh | Format::Multiboot) => format.mode(),
            _ => Format::Bzimage16.mode(),
        }
    }
}

impl Host {
    fn title(self) -> &'static str {
        match self {
            Self::Monitor => "our monitor",
            Self::Qemu(Board::Microvm) => "QEMU microvm",
            Self::Qemu(Board::Pc) => "QEMU pc",
            Self::Qemu(Board::Q35) => "QEMU q35",
        }
    }
}

impl Cell {
    fn name(&self) -> String {
        let (floor, board) = match self.host {
            Host::Monitor => ("vmm", ""),
            Host::Qemu(board) => ("qemu", board.name()),
        };
        let dash = if board.is_empty() { "" } else { "-" };
        format!(
            "{floor}{NAME}{board}{dash}{}-{}{}",
            self.firmware,
            self.format.name(),
            if self.acpi { "" } else { "-no-acpi" }
        )
    }

    /// `--machine` of our monitor.
    fn parts(&self) -> &'static str {
        if self.acpi { "acpi=on" } else { "acpi=off" }
    }

    fn boot(&self, context: &Context<'_>, board: Board) -> Result<Boot, Outcome> {
        Ok(Boot {
            bios: match self.firmware {
                Firmware::Ours => context.rom()?,
                Firmware::Stock(reference) => reference.rom(board),
            },
            kernel: context.guest(self.format.file())?,
            initrd: None,
            append: COMMAND_LINE.into(),
            memory: "256M".into(),
            cpus: 1,
        })
    }
}

/// The guest is entered as it should be, and finds what it needs.
fn booted(cell: &Cell, report: &Report) -> Run {
    report.expect("mode", cell.firmware.mode(cell.format))?;
    // Multiboot's begins with the kernel's path.
    let line = report.all("cmdline").next().unwrap_or_default();
    expect(
        line == COMMAND_LINE
            || cell.format == Format::Multiboot && line.ends_with(&format!(" {COMMAND_LINE}")),
        || format!("expected the command line `{COMMAND_LINE}`, found `{line}`"),
    )?;
    match cell.host {
        Host::Monitor => report.expect_tables(cell.acpi).map(drop),
        Host::Qemu(_) if cell.acpi => {
            let rsdp = report.number("acpi.scanned")?;
            expect(rsdp != 0, || "expected an RSDP, found none".to_owned())
        }
        // SeaBIOS may make up its own.
        Host::Qemu(_) => Ok(()),
    }
}

fn on_monitor(
    context: &Context<'_>,
    trial: &Trial,
    cell: &Cell,
    parts: &str,
) -> Result<Report, Outcome> {
    context.usable_kvm()?;
    let boot = cell.boot(context, Board::Microvm)?;
    let mut command = match cell.firmware {
        Firmware::Ours => monitor(context, &boot)?,
        Firmware::Stock(reference) => {
            let loader = match cell.format {
                Format::Pvh => PVH_LOADER,
                Format::Multiboot => MULTIBOOT_LOADER,
                _ => LINUX_LOADER,
            };
            stock_monitor(context, reference, boot, loader)?
        }
    };
    command.args(["--machine", parts]);
    Report::parse(&run(trial, &mut command)?)
}

fn on_qemu(
    context: &Context<'_>,
    trial: &Trial,
    cell: &Cell,
    board: Board,
) -> Result<Report, Outcome> {
    context.qemu()?;
    let acpi = if cell.acpi { "" } else { ",acpi=off" };
    let qemu = Qemu::plain(
        format!("{}{acpi}", board.name()),
        cell.boot(context, board)?,
    );
    Report::parse(&stock::watched_command(trial, &mut qemu.command())?)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_cell_is_in_the_table_once() {
        let outcomes: BTreeMap<_, _> = cells().map(|cell| (cell.name(), Outcome::Passed)).collect();
        assert_eq!(outcomes.len(), cells().count());
        let table = table(&outcomes);
        assert_eq!(table.matches("boots").count(), outcomes.len());
        assert_eq!(table.lines().count(), 2 + 2 * FORMATS.len());
    }

    #[test]
    fn a_cell_that_fails_is_seen() {
        let mut outcomes = BTreeMap::new();
        outcomes.insert("vmm/matrix-qboot-pvh".into(), Outcome::Failed("x".into()));
        outcomes.insert(
            "qemu/matrix-pc-ours-zimage".into(),
            Outcome::Skipped("y".into()),
        );
        let table = table(&outcomes);
        assert!(table.contains("FAILS") && table.contains("SKIPPED") && !table.contains("boots"));
    }
}
