// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask test`: every promise by name, from the unit tests to stock kernels.
//!
//! A floor is the first part of a name: `host` needs nothing, `vmm` our monitor, `qemu` that
//! program, `lab` both, `page` a browser. A new case is a line in one of the tables that [`cases`] joins.

mod boards;
mod boot_sector;
mod budgets;
pub mod case;
mod confined;
mod consoles;
mod counts;
mod disks;
mod exposed;
mod floor;
mod handed;
mod host;
mod log;
mod matrix;
mod measured;
mod memory;
mod modules;
mod multiboot;
mod networks;
mod nothing;
mod page;
mod panics;
mod pci;
mod placement;
mod programs;
mod promises;
mod readme;
mod real_mode;
mod refusals;
pub mod report;
mod scene;
mod scribbles;
mod slowed;
mod stock;
mod summary;
mod ticks;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Write, stdout};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::guest::{Flavour, Format};
use crate::oracle;
use crate::progress::Progress;
use crate::workspace::Workspace;
use case::{Case, Context, Outcome, Trial};
pub use summary::Summary;

/// `cargo xtask test`
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Count what this machine cannot do as a failure
    #[arg(long)]
    pub require: bool,
    /// Say the names and run nothing
    #[arg(long)]
    pub list: bool,
    /// Boot every format by every firmware on every machine, and print the table
    #[arg(long, conflicts_with = "names")]
    pub matrix: bool,
    /// Only cases whose name contains one of these
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
}

impl Args {
    fn wants(&self, name: &str) -> bool {
        if self.matrix {
            return name.contains(matrix::NAME);
        }
        self.names.is_empty() || self.names.iter().any(|part| name.contains(part))
    }

    /// Whether the tests of the host have to be compiled to know.
    fn may_want_host(&self, cases: &[Case]) -> bool {
        let known = |part: &String| cases.iter().any(|case| case.name.contains(part));
        !self.matrix && (!self.names.iter().all(known) || self.names.is_empty())
    }
}

/// One finished case.
struct Finished {
    outcome: Outcome,
    took: Duration,
    remarks: Vec<String>,
}

/// Runs the cases that were asked for, and says at the very end how many ended how.
pub fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let all = cases();
    let may_want_host = args.may_want_host(&all);
    let wanted: Vec<_> = all
        .into_iter()
        .filter(|case| args.wants(&case.name))
        .collect();
    if args.list {
        list(workspace, args, &wanted, may_want_host)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut summary = Summary::new(args.require);
    if may_want_host {
        host_floor(workspace, args, &mut summary)?;
    }
    run_cases(workspace, &wanted, &mut summary);
    if args.names.is_empty() {
        println!("\n{}\n", matrix::table(summary.outcomes()));
    }
    println!("{summary}");
    if summary.is_empty() {
        return Err(Error::Guest(format!(
            "expected the name of a test or a part of one, found {:?}",
            args.names
        )));
    }
    Ok(ExitCode::from(u8::from(summary.failed() > 0)))
}

/// Runs cases and says of each how it ended.
pub fn run_cases(workspace: &Workspace, wanted: &[Case], summary: &mut Summary) {
    let context = Context::new(workspace);
    prepare(&context, wanted);
    in_parallel(&context, wanted, |case, finished| {
        let trial = Trial::new(workspace, &case.name);
        summary.add(&case.name, &finished.outcome, Some(finished.took));
        for remark in &finished.remarks {
            println!("    {remark}");
        }
        match finished.outcome {
            Outcome::Failed(_) => summary::show_log(&trial.log),
            _ => drop(fs::remove_file(&trial.log)),
        }
    });
}

/// Every case but those of the host, which Cargo lists.
fn cases() -> Vec<Case> {
    let mut cases = handed::cases();
    cases.extend(refusals::cases());
    cases.extend(ticks::cases());
    cases.extend(panics::cases());
    cases.extend(confined::cases());
    cases.extend(measured::cases());
    cases.extend(floor::cases());
    cases.extend(pci::cases());
    cases.extend(placement::cases());
    cases.extend(promises::cases());
    cases.extend(budgets::cases());
    cases.extend(slowed::cases());
    cases.extend(counts::cases());
    cases.extend(readme::cases());
    cases.extend(modules::cases());
    cases.extend(multiboot::cases());
    cases.extend(programs::cases());
    cases.extend(real_mode::cases());
    cases.extend(nothing::cases());
    cases.extend(log::cases());
    cases.extend(matrix::cases());
    cases.extend(boot_sector::cases());
    cases.extend(boards::cases());
    cases.extend(stock::cases());
    cases.extend(disks::cases());
    cases.extend(networks::cases());
    cases.extend(exposed::cases());
    cases.extend(scribbles::cases());
    cases.extend(memory::cases());
    cases.extend(consoles::cases());
    cases.extend(oracle::cases());
    cases.extend(page::cases());
    // The floors in the order of what they need; within one the order of its table.
    let floor = |case: &Case| {
        ["page/", "vmm/", "qemu/", "lab/"]
            .iter()
            .position(|floor| case.name.starts_with(floor))
    };
    cases.sort_by_key(floor);
    cases
}

fn list(workspace: &Workspace, args: &Args, wanted: &[Case], host: bool) -> Result<()> {
    if host {
        let names = host::list(workspace)?.map_err(|output| {
            Error::Guest(format!("the tests of the host do not compile:\n{output}"))
        })?;
        names
            .iter()
            .filter(|name| args.wants(name))
            .for_each(|name| say(name));
    }
    wanted.iter().for_each(|case| say(&case.name));
    Ok(())
}

/// A line of the list. Whoever has seen enough of it may close the pipe.
fn say(name: &str) {
    let _ = writeln!(stdout(), "{name}");
}

fn host_floor(workspace: &Workspace, args: &Args, summary: &mut Summary) -> Result<()> {
    let trial = Trial::new(workspace, "host");
    let _ = fs::remove_file(&trial.log);
    let outcomes = host::run(workspace, &trial)?;
    let mut failed = false;
    for (name, outcome) in outcomes.iter().filter(|(name, _)| args.wants(name)) {
        failed |= matches!(outcome, Outcome::Failed(_));
        summary.add(name, outcome, None);
    }
    if failed {
        summary::show_log(&trial.log);
    }
    Ok(())
}

/// Makes what the cases share, one thing after the other, so that two at a time find it there.
/// What cannot be made is told by each case that needs it.
fn prepare(context: &Context<'_>, wanted: &[Case]) {
    let floor = |name: &str| wanted.iter().any(|case| case.name.starts_with(name));
    if floor("vmm/") {
        let _ = context.host();
    }
    if floor("qemu/") || floor("lab/") {
        let _ = context.qemu();
    }
    if floor("lab/") {
        let _ = context.lab();
    }
    if floor("page/") {
        let _ = context.browser();
    }
    if wanted.iter().any(|case| {
        ["report", "oracle", "placement", "matrix"]
            .iter()
            .any(|part| case.name.contains(part))
    }) {
        let _ = context.guest("report.elf");
    }
    if wanted.iter().any(|case| case.name.contains("debian")) {
        let _ = context.initrd();
        let _ = context.root_disk();
        for flavour in [Flavour::Cloud, Flavour::Amd64] {
            let _ = context.kernel(flavour, Format::Pvh);
        }
    }
}

/// Runs the cases two at a time where there are two cores, and tells of them in their order.
fn in_parallel(context: &Context<'_>, cases: &[Case], mut tell: impl FnMut(&Case, Finished)) {
    const AT_A_TIME: usize = 2;
    let workers = thread::available_parallelism().map_or(1, |cores| cores.get().min(AT_A_TIME));
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..workers {
            let (next, sender) = (&next, sender.clone());
            scope.spawn(move || {
                while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed))
                    && let Some(case) = cases.get(index)
                {
                    // The receiver lives until every sender is gone.
                    let _ = sender.send((index, run_one(context, case)));
                }
            });
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        for turn in 0..cases.len() {
            let Some(case) = cases.get(turn) else { break };
            let progress = Progress::start(format!("running {}", case.name));
            while !waiting.contains_key(&turn) {
                match receiver.recv() {
                    Ok((index, finished)) => waiting.insert(index, finished),
                    Err(_) => return,
                };
            }
            drop(progress);
            if let Some(finished) = waiting.remove(&turn) {
                tell(case, finished);
            }
        }
    });
}

fn run_one(context: &Context<'_>, case: &Case) -> Finished {
    let trial = Trial::new(context.workspace, &case.name);
    let _ = fs::remove_file(&trial.log);
    let started = Instant::now();
    let outcome = (case.run)(context, &trial).into();
    Finished {
        outcome,
        took: started.elapsed(),
        remarks: trial.into_remarks(),
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn every_case_has_a_floor_and_a_name_of_its_own() {
        let cases = cases();
        let names: std::collections::BTreeSet<_> = cases.iter().map(|case| &case.name).collect();

        assert_eq!(names.len(), cases.len());
        assert!(names.iter().all(|name| name.split('/').count() == 2));
    }

    #[test]
    fn the_host_is_left_alone_when_only_other_floors_are_named() {
        let args = |names: &[&str]| Args {
            require: false,
            list: false,
            matrix: false,
            names: names.iter().map(|&name| name.to_owned()).collect(),
        };

        assert!(!args(&["lab/"]).may_want_host(&cases()));
        assert!(args(&["e820"]).may_want_host(&cases()));
        assert!(args(&[]).may_want_host(&cases()));
    }
}
