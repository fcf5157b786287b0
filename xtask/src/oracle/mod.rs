// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask oracle`: the same machine under our ROM, qboot and SeaBIOS, and whatever the guest
//! `report` says differently is explained or is a failure.
//!
//! `cell` is what is booted, `facts` what of a report can be compared, `explained` the differences
//! that have a reason. `cargo xtask test` runs the few cells in which every two properties meet.

mod cell;
mod explained;
mod facts;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::process::{Bounds, End};
use crate::qemu::{Accelerator, Boot, Qemu};
use crate::test::case::{Case, Context, Outcome, Run, Trial, expect};
use crate::test::report::Report;
use crate::test::{self, Summary};
use crate::workspace::{Workspace, write_atomically};
use abi::debug::FAILURE_PORT;
use cell::Cell;
pub use cell::{Board, FORMATS, Format};
use facts::{Difference, Facts, UNSAID};

/// `cargo xtask oracle`
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Boot every cell of the matrix, and say which explanations explain nothing any more
    #[arg(long)]
    full: bool,
    /// Another ROM in the place of ours
    #[arg(long, value_name = "FILE")]
    rom: Option<PathBuf>,
    /// More of QEMU's command line for every cell, its words separated by spaces
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    with: Option<String>,
    /// Say the names of the cells and boot nothing
    #[arg(long)]
    list: bool,
    /// Only cells whose name contains one of these, of all cells
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// A firmware to compare ours with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    Qboot,
    SeaBios,
}

impl Reference {
    pub const ALL: [Self; 2] = [Self::Qboot, Self::SeaBios];

    /// Where the packages put it.
    pub fn rom(self, board: Board) -> PathBuf {
        match (self, board) {
            (Self::Qboot, _) => "/usr/share/qemu/qboot.rom",
            (Self::SeaBios, Board::Microvm) => "/usr/share/seabios/bios-microvm.bin",
            (Self::SeaBios, _) => "/usr/share/seabios/bios-256k.bin",
        }
        .into()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Qboot => "qboot",
            Self::SeaBios => "SeaBIOS",
        })
    }
}

/// Boots the cells that were asked for.
pub fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let mut cells = if args.full || !args.names.is_empty() {
        cell::all()
    } else {
        cell::pairwise()
    };
    cells.extend(cell::special());
    let wanted = |name: &str| args.names.iter().any(|part| name.contains(part));
    let cells: Vec<_> = cells
        .into_iter()
        .filter(|cell| args.names.is_empty() || wanted(&cell.to_string()))
        .collect();
    if cells.is_empty() {
        return Err(Error::Guest(format!(
            "expected the name of a cell or a part of one, found {:?}",
            args.names
        )));
    }
    if args.list {
        cells.iter().for_each(|cell| println!("{cell}"));
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = Chosen {
        rom: args.rom.clone(),
        with: args
            .with
            .iter()
            .flat_map(|words| words.split(' '))
            .map(str::to_owned)
            .collect(),
    };
    let cases: Vec<_> = cells.iter().map(|cell| case(*cell, &chosen)).collect();
    let mut summary = Summary::new(true);
    test::run_cases(workspace, &cases, &mut summary);
    let mut stale = 0;
    if args.full && args.names.is_empty() {
        for why in explained::stale() {
            println!("explains nothing any more: {why}");
            stale += 1;
        }
    }
    println!("{summary}, {} boots, {stale} stale", explained::boots());
    Ok(ExitCode::from(u8::from(summary.failed() + stale > 0)))
}

/// The cells of every day.
pub fn cases() -> Vec<Case> {
    cell::pairwise()
        .into_iter()
        .chain(cell::special())
        .map(|cell| case(cell, &Chosen::default()))
        .collect()
}

/// What the user wants otherwise, in every cell.
#[derive(Clone, Debug, Default)]
struct Chosen {
    /// A ROM in the place of ours.
    rom: Option<PathBuf>,
    /// More of QEMU's command line.
    with: Vec<String>,
}

fn case(cell: Cell, chosen: &Chosen) -> Case {
    let chosen = chosen.clone();
    Case::new(format!("qemu/oracle-{cell}"), move |context, trial| {
        compare(&Bench {
            context,
            trial,
            cell: &cell,
            chosen: &chosen,
        })
    })
}

/// One cell, and where and how it is booted.
struct Bench<'a> {
    context: &'a Context<'a>,
    trial: &'a Trial,
    cell: &'a Cell,
    chosen: &'a Chosen,
}

/// Boots one cell under every firmware.
fn compare(bench: &Bench<'_>) -> Run {
    let cell = bench.cell;
    bench.context.qemu()?;
    let rom = match &bench.chosen.rom {
        Some(rom) => rom.clone(),
        None => bench.context.rom()?,
    };
    let report = bench.boot(&rom, "")?;
    report.expect("mode", cell.format.mode())?;
    if let Some(bytes) = cell.generation() {
        report.expect("acpi.generation", bytes)?;
    }
    let ours = Facts::of(&report);
    let mut unexplained = Vec::new();
    for reference in Reference::ALL {
        if explained::hangs(reference, cell).is_some() {
            continue;
        }
        let their_rom = reference.rom(cell.board);
        let theirs = match bench.boot(&their_rom, "") {
            Ok(report) => Facts::of(&report),
            Err(outcome) => {
                unexplained.push(format!("{reference}: {outcome}"));
                continue;
            }
        };
        let mut tables = Vec::new();
        for difference in ours.differences(&theirs) {
            if !explained::explain(reference, cell, &difference) {
                tables.extend(difference.table().map(str::to_owned));
                unexplained.push(Told(reference, &difference).to_string());
            }
        }
        if !tables.is_empty() {
            let words = " report=bytes";
            let (ours, theirs) = (bench.boot(&rom, words)?, bench.boot(&their_rom, words)?);
            unexplained.extend(facts::different_bytes(&tables, &ours, &theirs));
        }
    }
    expect(unexplained.is_empty(), || {
        format!(
            "{} differences without an explanation:\n    {}",
            unexplained.len(),
            unexplained.join("\n    ")
        )
    })
}

impl Bench<'_> {
    /// What the guest reports under a firmware, with more words on its command line.
    fn boot(&self, bios: &Path, words: &str) -> std::result::Result<Report, Outcome> {
        // Under load 255 processors take their time to be made.
        const BOUNDS: Bounds = Bounds {
            silence: Duration::from_secs(60),
            total: Duration::from_secs(120),
        };
        let cell = self.cell;
        let initrd = if cell.initrd {
            let path = self
                .context
                .workspace
                .target
                .join("test-inputs/oracle-initrd");
            write_atomically(&path, &initrd())?;
            Some(path)
        } else {
            None
        };
        let devices = if cell.board == Board::Microvm {
            ""
        } else {
            " report=pci"
        };
        let qemu = Qemu {
            machine: cell.machine(),
            accelerator: Accelerator::TcgOneThread,
            nested: false,
            boot: Boot {
                bios: bios.to_path_buf(),
                kernel: self.context.guest(cell.format.file())?,
                initrd,
                append: format!("report{devices}{words} console=ttyS0"),
                memory: format!("{}M", cell.memory_mib),
                cpus: cell.cpus,
            },
            monitor: false,
        };
        let mut command = qemu.command();
        // The last `-smp` counts.
        command.args(cell.more()).args(&self.chosen.with);
        // Our firmware's code for giving up ends the machine.
        let exit = format!("isa-debug-exit,iobase={FAILURE_PORT:#x},iosize=4");
        command.args(["-device", &exit]);
        let watched = self.trial.watch(&mut command, BOUNDS)?;
        explained::booted();
        let report = Report::parse(&watched.output);
        match watched.end {
            End::Exited(status) if status.success() => report,
            _ if report.is_ok() => report,
            end => {
                let said = watched.output.trim_end();
                let start = said.len().saturating_sub(200);
                let said = said.get(start..).unwrap_or(said);
                Err(Outcome::Failed(format!("QEMU {end}, last saying `{said}`")))
            }
        }
    }
}

/// An initial RAM disk whose length is no whole number of anything.
fn initrd() -> Vec<u8> {
    (0..70_001u32)
        .map(|index| (index.wrapping_mul(0x9e37_79b9) >> 11).to_le_bytes()[0])
        .collect()
}

/// A difference from a firmware, as it is printed.
struct Told<'a>(Reference, &'a Difference);

impl fmt::Display for Told<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(reference, difference) = self;
        match difference {
            Difference::Memory {
                range,
                ours,
                theirs,
            } => write!(
                formatter,
                "e820 {range:#x?}: ours {}, {reference} {}",
                kind(*ours),
                kind(*theirs)
            ),
            Difference::Value {
                field,
                ours,
                theirs,
            } => {
                // Lists can be long; the first place where they part is enough.
                let at = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
                let one = |list: &[String]| {
                    list.get(at)
                        .map_or_else(|| "nothing".to_owned(), |value| format!("`{value}`"))
                };
                write!(formatter, "{field}")?;
                if ours.len().max(theirs.len()) > 1 {
                    write!(formatter, "[{at}] of {} and {}", ours.len(), theirs.len())?;
                }
                write!(
                    formatter,
                    ": ours {}, {reference} {}",
                    one(ours),
                    one(theirs)
                )
            }
        }
    }
}

/// The name of a kind of memory.
fn kind(kind: u32) -> String {
    match kind {
        UNSAID => "nothing".to_owned(),
        1 => "RAM".to_owned(),
        2 => "reserved".to_owned(),
        3 => "ACPI".to_owned(),
        4 => "NVS".to_owned(),
        other => format!("kind {other}"),
    }
}
