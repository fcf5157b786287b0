// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench`: what a boot costs, in numbers that anyone can reproduce.
//!
//! A matrix of subjects ([`matrix`]) is counted where runs are always the same, and timed where they
//! are not ([`time`], [`lab`]); both fill in one format ([`model`]), which reports print.

mod about;
mod contest;
pub mod count;
mod disk;
mod instrument;
mod lab;
mod matrix;
pub mod model;
mod net;
pub mod readme;
pub mod report;
mod stats;
mod stopwatch;
mod subject;
mod time;

use std::path::{Path, PathBuf};

use crate::build;
use crate::error::{Error, Result};
use crate::host::{self, Kvm};
use crate::images::{self, Images};
use crate::packages;
use crate::progress::Progress;
use crate::qemu;
use crate::workspace::{Workspace, read};
use count::Symbols;
use matrix::{Lists, OURS};
use model::{Combination, Outcome, Place, Results, Row, VERSION, Vmm};
use subject::{Names, Subject};

/// Accesses of a boot that are kept one by one.
const MOST_ACCESSES: usize = 10_000;

/// `cargo xtask bench`
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Lower the budgets in `tests/budgets.toml` to what is found
    #[arg(long)]
    save: bool,
    /// Raise those, too, that were outgrown
    #[arg(long, requires = "save")]
    raise: bool,
    /// Tell what changed from one firmware to the other: ROM files, revisions, or `.` for this tree; or
    /// from one `bench.json` to another
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with = "save")]
    compare: Vec<String>,
    /// Count what the README's table of firmware says, and write it there
    #[arg(long)]
    readme: bool,
    #[command(flatten)]
    lists: Lists,
    /// How often each of them is timed
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Where the reports go [default: target/bench]
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    /// Compare the speed of a disk of our monitor with that of one of QEMU's, in the lab
    Disk(disk::Args),
    /// Compare the speed of a network device of our monitor with that of one of QEMU's, in the lab
    Net(net::Args),
}

/// Builds what is needed, measures and reports.
pub fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    match &args.what {
        Some(What::Disk(args)) => return disk::run(workspace, args),
        Some(What::Net(args)) => return net::run(workspace, args),
        None if args.save => return count::gate::save(workspace, args.raise),
        None if !args.compare.is_empty() => return compare(workspace, &args.compare),
        None if args.readme => return write_readme(workspace),
        None => {}
    }
    let results = measure(workspace, args)?;
    print!("{}", report::text(&results));
    let output = args.output.clone();
    let directory = output.unwrap_or_else(|| workspace.target.join("bench"));
    for path in report::write_all(&directory, &results)? {
        println!("{}", path.display());
    }
    Ok(())
}

/// Results with results, or else firmware with firmware.
fn compare(workspace: &Workspace, names: &[String]) -> Result<()> {
    let json = |name: &&String| Path::new(name).extension().is_some_and(|it| it == "json");
    let [old, new] = names else {
        return count::compare::run(workspace, names);
    };
    match (json(&old), json(&new)) {
        (true, true) => {
            let read = |name: &String| report::read_json(Path::new(name));
            print!("{}", report::against(&read(old)?, &read(new)?));
            Ok(())
        }
        (false, false) => count::compare::run(workspace, names),
        _ => Err(Error::Guest(format!(
            "expected two files of results or two firmwares, found one of each: {old} and {new}"
        ))),
    }
}

fn write_readme(workspace: &Workspace) -> Result<()> {
    build::guests(workspace)?;
    readme::save(workspace, &images::rom(workspace)?)
}

fn measure(workspace: &Workspace, args: &Args) -> Result<Results> {
    let tools = Tools::build(workspace, args)?;
    let subjects = matrix::subjects(workspace, &args.lists, &tools.host.rom)?;
    let mut rows = Vec::new();
    for group in subjects.chunk_by(Subject::compares_with) {
        rows.extend(tools.measure(workspace, group, args.rounds));
    }
    for row in &mut rows {
        if let Outcome::Measured(measured) = &mut row.outcome {
            // SeaBIOS has 212,000 on q35, and they are still counted by place.
            measured.accesses.truncate(MOST_ACCESSES);
        }
    }
    Ok(Results {
        version: VERSION,
        command: about::command(),
        revision: about::revision(workspace),
        host: about::host(),
        rows,
    })
}

/// What measuring needs, built once.
struct Tools {
    host: Images,
    /// Where there is something to do in the lab.
    lab: Option<Images>,
    stopwatch: PathBuf,
    kvm: Kvm,
    /// Our firmware's.
    symbols: Symbols,
}

impl Tools {
    fn build(workspace: &Workspace, args: &Args) -> Result<Self> {
        build::guests(workspace)?;
        let lab = args.lists.on.contains(&Place::Lab);
        let host = images::for_host(workspace)?;
        let linked = read(&workspace.linked_firmware())?;
        Ok(Self {
            host,
            lab: lab.then(|| images::for_lab(workspace)).transpose()?,
            stopwatch: build::static_example(workspace, stopwatch::PROGRAM)?,
            kvm: Kvm::probe(),
            symbols: Symbols::new(&workspace.root, linked),
        })
    }

    /// Subjects that differ only in their firmware, in turns.
    fn measure(&self, workspace: &Workspace, group: &[Subject], rounds: u32) -> Vec<Row> {
        let combination = &group[0].combination;
        let firmware: Vec<_> = group
            .iter()
            .map(|it| report::firmware(&it.combination))
            .collect();
        let _progress = Progress::start(format!(
            "measuring {} in {}",
            firmware.join(", "),
            report::setup(combination)
        ));
        if let Some(why) = self.obstacle(combination) {
            return unable(group, &why);
        }
        let runs = match (combination.place, &self.lab) {
            (Place::Tcg, _) => return group.iter().map(|it| self.count(it)).collect(),
            (Place::Kvm, _) | (Place::Lab, None) => Ok(time::in_turns(
                &self.stopwatch,
                &self.names(),
                group,
                rounds,
                &workspace.target.join("bench/told"),
            )),
            (Place::Lab, Some(images)) => {
                lab::in_turns(workspace, images, &self.stopwatch, group, rounds)
            }
        };
        let khz = match combination.place {
            Place::Lab => Some(lab::KHZ),
            _ => host::tsc_khz(),
        };
        match runs {
            Ok(runs) => time::rows(group, &runs, khz, &self.host.vmm),
            Err(error) => unable(group, &error.to_string()),
        }
    }

    /// Counts a boot; there is nothing to take turns for.
    fn count(&self, subject: &Subject) -> Row {
        let symbols = (subject.combination.firmware == OURS).then_some(&self.symbols);
        let counted = count::count(&subject.combination.machine, &subject.boot(), symbols);
        Row {
            combination: subject.combination.clone(),
            outcome: match counted {
                Ok(measured) => Outcome::Measured(Box::new(measured)),
                Err(error) => Outcome::Unable(error.to_string()),
            },
        }
    }

    /// Why nothing of this kind can be measured here.
    fn obstacle(&self, combination: &Combination) -> Option<String> {
        let qemu = combination.vmm == Vmm::Qemu || combination.place == Place::Lab;
        if qemu && !packages::found(qemu::PROGRAM) {
            return Some(format!("`{}` is missing", qemu::PROGRAM));
        }
        match (&self.kvm, combination.place) {
            (Kvm::Unusable(why), Place::Kvm) => Some(why.clone()),
            _ => None,
        }
    }

    fn names(&self) -> Names {
        Names {
            microvm: vec![self.host.vmm.to_string_lossy().into_owned()],
            qemu: vec![qemu::PROGRAM.to_owned()],
            files: |path| path.to_string_lossy().into_owned(),
        }
    }
}

fn unable(group: &[Subject], why: &str) -> Vec<Row> {
    let rows = group.iter().map(|subject| Row {
        combination: subject.combination.clone(),
        outcome: Outcome::Unable(why.to_owned()),
    });
    rows.collect()
}
