// SPDX-License-Identifier: MIT OR Apache-2.0
//! The gate: our firmware on every machine, held to `tests/budgets.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::budgets::{Budget, Budgets, Change, total};
use super::exits;
use super::table;
use super::{How, Symbols, counted, phases};
use crate::bench::model::Measured;
use crate::build;
use crate::error::{Error, Result};
use crate::host::Kvm;
use crate::image;
use crate::qemu::{self, Boot};
use crate::workspace::{self, Workspace, read, write_atomically};

/// A boot that has budgets.
#[derive(Clone, Debug)]
pub struct Subject {
    pub name: String,
    /// QEMU's, with properties.
    pub machine: &'static str,
    kernel: &'static str,
    cpu: &'static str,
    cpus: u32,
    initrd: bool,
}

/// The machines, by what the names of boots begin with.
const MACHINES: [(&str, &str); 4] = [
    ("microvm", "microvm"),
    ("microvm-no-acpi", "microvm,acpi=off"),
    ("pc", "pc"),
    ("q35", "q35"),
];

/// The guest in both formats.
const KERNELS: [(&str, &str); 2] = [("pvh", "report.elf"), ("bzimage", "report.bz")];

/// The least, and more processors with an initial RAM disk.
const SIZES: [(&str, u32, bool); 2] = [("", 1, false), ("-8cpus-initrd", 8, true)];

/// All that the emulator can.
const ANY_CPU: &str = "max";

const INITRD_SIZE: usize = 1 << 20;

/// All boots that have budgets.
pub fn subjects() -> Vec<Subject> {
    let mut subjects = Vec::new();
    for (machine_name, machine) in MACHINES {
        for (format, kernel) in KERNELS {
            for (size, cpus, initrd) in SIZES {
                subjects.push(Subject {
                    name: format!("{machine_name}-{format}{size}"),
                    machine,
                    kernel,
                    cpu: ANY_CPU,
                    cpus,
                    initrd,
                });
            }
        }
    }
    // A kernel that is entered in 64-bit mode by a processor that needs more page tables.
    subjects.push(Subject {
        name: "microvm-bzimage-2MiB-pages".into(),
        machine: "microvm",
        kernel: "report.bz",
        cpu: "max,-pdpe1gb",
        cpus: 1,
        initrd: false,
    });
    subjects
}

/// A firmware to hold to the budgets.
#[derive(Clone, Debug)]
pub struct Firmware {
    pub rom: PathBuf,
    /// Unless they are not known.
    pub symbols: Option<Symbols>,
}

impl Firmware {
    /// Builds the one of a tree.
    pub fn build(workspace: &Workspace) -> Result<Self> {
        build::firmware(workspace)?;
        Self::built(workspace)
    }

    /// The one that has been built from a tree.
    pub fn built(workspace: &Workspace) -> Result<Self> {
        let linked = read(&workspace.linked_firmware())?;
        Ok(Self {
            rom: workspace.rom(),
            symbols: Some(Symbols::new(&workspace.root, linked)),
        })
    }
}

impl Subject {
    /// Boots it. The guests have been built.
    pub fn measure(&self, workspace: &Workspace, firmware: &Firmware) -> Result<Measured> {
        self.measure_as(&How::default(), workspace, firmware)
    }

    /// The same, run in another way.
    pub fn measure_as(
        &self,
        how: &How<'_>,
        workspace: &Workspace,
        firmware: &Firmware,
    ) -> Result<Measured> {
        let boot = self.boot(workspace, &firmware.rom)?;
        let how = How {
            cpu: self.cpu,
            ..*how
        };
        counted(self.machine, &boot, firmware.symbols.as_ref(), &how)
    }

    /// What is booted.
    pub fn boot(&self, workspace: &Workspace, rom: &Path) -> Result<Boot> {
        let initrd = workspace.target.join("test-inputs/initrd-1MiB");
        if self.initrd && !initrd.exists() {
            write_atomically(&initrd, &vec![0; INITRD_SIZE])?;
        }
        Ok(Boot {
            bios: rom.to_path_buf(),
            kernel: workspace.guest(self.kernel),
            initrd: self.initrd.then_some(initrd),
            append: "console=ttyS0".into(),
            memory: "512M".into(),
            cpus: self.cpus,
        })
    }

    /// Whether our monitor can boot it, too, and count exits.
    pub fn has_exits(&self) -> bool {
        self.machine.starts_with("microvm") && self.cpu == ANY_CPU
    }
}

/// What is checked in.
#[derive(Clone, Debug)]
pub struct Saved {
    pub budgets: Budgets,
    pub symbols: table::Symbols,
}

impl Saved {
    pub fn read(workspace: &Workspace) -> Result<Self> {
        let (budgets, symbols) = paths(workspace);
        let wrong = |path: &PathBuf, expected| {
            let path = path.clone();
            move |found| Error::Format {
                path,
                expected,
                found,
            }
        };
        let text = |path| Ok(String::from_utf8_lossy(&read(path)?).into_owned());
        Ok(Self {
            budgets: Budgets::read(&text(&budgets)?)
                .map_err(wrong(&budgets, "a file of budgets"))?,
            symbols: table::Symbols::read(&text(&symbols)?)
                .map_err(wrong(&symbols, "a table of functions"))?,
        })
    }

    /// Whether the budgets say anything about this machine's QEMU, or else one sentence.
    pub fn applies(&self) -> Result<(), String> {
        let found = qemu_version();
        if self.budgets.qemu == found {
            return Ok(());
        }
        Err(format!(
            "the budgets are for QEMU {}, whose guests see other tables than those of QEMU {found}",
            self.budgets.qemu
        ))
    }

    /// What has become of a boot.
    pub fn changes(&self, name: &str, measured: &Measured) -> Result<Vec<Change>> {
        let budget = self.budgets.boots.get(name).ok_or_else(|| without(name))?;
        let mut found = table::Symbols::default();
        found.set(name, measured);
        let functions = (&self.symbols, &found);
        Ok(budget.changes(&Budget::from(measured), &phases::names(), name, functions))
    }
}

/// What has become of the number of exits of a boot, if anything.
pub fn exits_change(name: &str, budgets: &Budgets, found: u64) -> Result<Option<Change>> {
    let old = *budgets.exits.get(name).ok_or_else(|| without(name))?;
    Ok((old != found).then(|| total("exits", old, found)))
}

/// The numbers of exits to save; those that outgrew their budgets are added to `grew`. Without KVM they
/// stay what they were.
fn saved_exits(
    workspace: &Workspace,
    old: Option<&Saved>,
    raise: bool,
    grew: &mut Vec<String>,
) -> Result<BTreeMap<String, u64>> {
    let before = old.map(|old| &old.budgets.exits);
    if let Kvm::Unusable(why) = Kvm::probe() {
        println!("the numbers of exits are left as they are: {why}");
        return Ok(before.cloned().unwrap_or_default());
    }
    build::monitor(workspace)?;
    let mut saved = BTreeMap::new();
    for subject in subjects().into_iter().filter(Subject::has_exits) {
        let found = exits::count(&subject, workspace)?;
        let name = &subject.name;
        let budget = match before.and_then(|before| before.get(name)) {
            Some(budget) => *budget,
            None if raise => found,
            None => return Err(without(name)),
        };
        if budget != found {
            let change = total("exits", budget, found);
            println!("{name}: {change}");
            if change.grew() && !raise {
                grew.push(format!("{name}: {change}"));
            }
        }
        let kept = if raise { found } else { found.min(budget) };
        saved.insert(name.clone(), kept);
    }
    Ok(saved)
}

fn without(name: &str) -> Error {
    Error::Guest(format!(
        "expected a budget for {name} in tests/budgets.toml, found none: \
         `cargo xtask bench --save --raise` makes one"
    ))
}

/// `cargo xtask bench --save`: lowers what is found lower, and with `raise` takes everything.
pub fn save(workspace: &Workspace, raise: bool) -> Result<()> {
    qemu::require()?;
    let rom = build::firmware(workspace)?;
    build::guests(workspace)?;
    let firmware = Firmware::built(workspace)?;
    let occupied = image::occupied(&rom) as u64;
    let old = match Saved::read(workspace) {
        Err(Error::File { .. }) if raise => None,
        old => Some(old?),
    };
    if let Some(old) = &old
        && !raise
    {
        old.applies().map_err(Error::Guest)?;
    }
    let mut saved = Saved {
        budgets: Budgets {
            qemu: qemu_version(),
            rom_bytes: occupied,
            ..Budgets::default()
        },
        symbols: table::Symbols::default(),
    };
    let mut grew = Vec::new();
    if let Some(old) = &old
        && !raise
        && occupied > old.budgets.rom_bytes
    {
        saved.budgets.rom_bytes = old.budgets.rom_bytes;
        grew.push(format!("ROM bytes {} → {occupied}", old.budgets.rom_bytes));
    }
    saved.budgets.exits = saved_exits(workspace, old.as_ref(), raise, &mut grew)?;
    for subject in subjects() {
        let name = &subject.name;
        let measured = subject.measure(workspace, &firmware)?;
        let found = Budget::from(&measured);
        let before = old
            .as_ref()
            .and_then(|old| Some((old, old.budgets.boots.get(name)?)));
        let changes = match before {
            Some((old, _)) => old.changes(name, &measured)?,
            None if raise => Vec::new(),
            None => return Err(without(name)),
        };
        for change in &changes {
            println!("{name}: {change}");
        }
        saved.symbols.set(name, &measured);
        let budget = match before {
            Some((old, budget)) if !raise => {
                let outgrown = changes.iter().filter(|change| change.grew());
                grew.extend(outgrown.map(|change| format!("{name}: {change}")));
                let lowered = budget.lowered(&found);
                // What has outgrown its budget is still told from what the budget was made of.
                for (phase, kept) in &lowered.phases {
                    if found.phases.get(phase) != Some(kept) {
                        let sums = old.symbols.of(name, phase);
                        saved.symbols.set_phase(name, phase, sums);
                    }
                }
                lowered
            }
            _ => found,
        };
        saved.budgets.boots.insert(name.clone(), budget);
    }
    let (budgets, symbols) = paths(workspace);
    let order = phases::names();
    workspace::write_atomically(&budgets, saved.budgets.saved(&order).as_bytes())?;
    workspace::write_atomically(&symbols, saved.symbols.saved(&order).as_bytes())?;
    if grew.is_empty() {
        Ok(())
    } else {
        grew.push("nothing was raised, which takes --raise".into());
        Err(Error::Budgets(grew))
    }
}

fn paths(workspace: &Workspace) -> (PathBuf, PathBuf) {
    let tests = workspace.root.join("tests");
    (tests.join("budgets.toml"), tests.join("symbols.txt"))
}

/// As budgets have it: what adds tables to a guest's is a new minor version.
fn qemu_version() -> String {
    qemu::version().map_or_else(
        || "unknown".to_owned(),
        |(major, minor)| format!("{major}.{minor}"),
    )
}
