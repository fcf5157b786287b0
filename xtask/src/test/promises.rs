// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbers that the README promises, as assertions. All are counts, the same on every machine.

use super::case::{Case, Context, Run, Trial, expect};
use super::report::Report;
use super::stock;
use crate::bench::count::count;
use crate::image;
use crate::qemu::{Accelerator, Boot, Qemu};
use crate::workspace::read;

/// Guest instructions from reset to the kernel's first, on QEMU's `microvm` with 512 MiB and one
/// CPU; a repeated string instruction counts as often as it repeats.
const INSTRUCTIONS: [(&str, &str, &str, u64); 6] = [
    ("pvh", "microvm", "report.elf", 6_000),
    ("bzimage", "microvm", "report.bz", 6_800),
    ("pvh-no-acpi", "microvm,acpi=off", "report.elf", 2_400),
    ("pvh-pc", "pc", "report.elf", 30_000),
    ("pvh-q35", "q35", "report.elf", 36_000),
    ("bzimage-no-acpi", "microvm,acpi=off", "report.bz", 3_100),
];

/// Bytes of the ROM that hold something.
const OCCUPIED: usize = 48 * 1024;

/// Bytes of the static monitor.
const MONITOR: usize = 2_500_000;

/// Every promise.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![Case::new("qemu/promise-rom-bytes", |context, _| {
        let occupied = image::occupied(&read(&context.rom()?)?);
        expect(occupied <= OCCUPIED, || {
            format!("expected at most {OCCUPIED} bytes of ROM occupied, found {occupied}")
        })
    })];
    cases.push(Case::new("lab/promise-monitor-bytes", |context, trial| {
        let bytes = read(&context.lab()?.vmm)?.len();
        trial.remark(format!("{bytes} bytes"));
        expect(bytes <= MONITOR, || {
            format!("expected at most {MONITOR} bytes, found {bytes}")
        })
    }));
    for (name, machine, kernel, budget) in INSTRUCTIONS {
        let name = format!("qemu/promise-instructions-{name}");
        cases.push(Case::new(name, move |context, trial| {
            instructions(context, trial, machine, kernel, budget)
        }));
    }
    cases
}

/// Counted twice: by the log of every instruction, and by the guest. With a clock of one tick an
/// instruction, its first time stamp is their number and one.
fn instructions(
    context: &Context<'_>,
    trial: &Trial,
    machine: &str,
    kernel: &str,
    budget: u64,
) -> Run {
    context.qemu()?;
    let boot = Boot {
        bios: context.rom()?,
        kernel: context.guest(kernel)?,
        initrd: None,
        append: "console=ttyS0".into(),
        memory: "512M".into(),
        cpus: 1,
    };
    let logged = count(machine, &boot, None)?.counts.instructions;
    let qemu = Qemu {
        machine: machine.into(),
        accelerator: Accelerator::Icount { seed: 1 },
        nested: false,
        boot,
        monitor: false,
    };
    let found = Report::parse(&stock::watched(trial, &qemu)?)?.number("tsc")? - 1;
    trial.remark(format!("{found} instructions"));
    expect(logged == Some(found), || {
        format!("expected the {found} instructions of the guest's clock, found {logged:?} logged")
    })?;
    expect(found <= budget, || {
        format!("expected at most {budget} instructions, found {found}")
    })
}
