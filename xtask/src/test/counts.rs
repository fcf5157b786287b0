// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether counting counts: the same on every run, and what it says of a firmware that never boots.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use super::ticks;
use crate::bench::count::compare;
use crate::bench::count::gate::{self, Firmware};
use crate::bench::count::{How, counted};
use crate::error::Error;
use crate::qemu::Boot;
use std::time::Duration;

/// A ROM that does not boot, and what is said of it.
struct Stuck {
    name: &'static str,
    program: &'static [u8],
    sentences: [&'static str; 2],
}

#[rustfmt::skip]
const STUCK: [Stuck; 2] = [
    Stuck {
        name: "endless",
        program: &[
            0xe4, 0x64, // again: in $0x64, %al
            0xeb, 0xfc, // jmp again
        ],
        sentences: [
            "it executed more than 10000 instructions; instruction 1",
            "in 16-bit mode; its last accesses: read of port 0x64 (",
        ],
    },
    Stuck {
        name: "halted",
        program: &[
            0xe6, 0x80, // out %al, $0x80
            0xfa,       // cli
            0xf4,       // hlt
        ],
        sentences: [
            "it executed nothing for 4 s; instruction ",
            "write to port 0x80 (",
        ],
    },
];

/// Every case.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("qemu/count-same-every-run", same),
        Case::new("qemu/count-refuses-what-is-no-firmware", refuses),
    ];
    cases.extend(STUCK.iter().map(|rom| {
        let name = format!("qemu/count-gives-up-{}", rom.name);
        Case::new(name, move |context, trial| stuck(context, trial, rom))
    }));
    cases
}

/// Boots of one firmware, some of them on one core each: every count and every access alike.
fn same(context: &Context<'_>, trial: &Trial) -> Run {
    context.qemu()?;
    context.rom()?;
    context.guest("report.elf")?;
    let firmware = Firmware::built(context.workspace)?;
    let mut subjects = gate::subjects().into_iter();
    let Some(subject) = subjects.find(|subject| subject.name == "pc-pvh-8cpus-initrd") else {
        return Err(Outcome::Failed("there are no budgets".into()));
    };
    let first = subject.measure(context.workspace, &firmware)?;
    for core in ["0", "1"] {
        let how = How {
            before: &["taskset", "--cpu-list", core],
            ..How::default()
        };
        let again = match subject.measure_as(&how, context.workspace, &firmware) {
            Err(error @ Error::Start { .. }) => {
                trial.remark(error.to_string());
                subject.measure(context.workspace, &firmware)?
            }
            again => again?,
        };
        expect(again == first, || {
            format!("expected the same counts and accesses on core {core}, found others")
        })?;
    }
    Ok(())
}

/// What is neither a file nor a revision has its sentence.
fn refuses(context: &Context<'_>, _: &Trial) -> Run {
    context.qemu()?;
    let names = ["no-such-thing".to_owned(), ".".to_owned()];
    let said = match compare::run(context.workspace, &names) {
        Ok(()) => "nothing".to_owned(),
        Err(Error::Start { source, .. }) => {
            return Err(Outcome::Skipped(format!("git cannot be started: {source}")));
        }
        Err(error) => error.to_string(),
    };
    let expected = "expected a ROM file, a revision or `.`, found `no-such-thing`";
    expect(said == expected, || {
        format!("expected to be told `{expected}`, found: {said}")
    })
}

fn stuck(context: &Context<'_>, trial: &Trial, rom: &Stuck) -> Run {
    context.qemu()?;
    let boot = Boot {
        bios: ticks::rom(context, &trial.file_name(), rom.program)?,
        kernel: context.guest("report.elf")?,
        initrd: None,
        append: String::new(),
        memory: "64M".into(),
        cpus: 1,
    };
    let how = How {
        instructions: 10_000,
        silence: Duration::from_secs(4),
        ..How::default()
    };
    let said = match counted("microvm", &boot, None, &how) {
        Ok(_) => return Err(Outcome::Failed("expected no boot, found one".into())),
        Err(error) => error.to_string(),
    };
    let all = rom.sentences.iter().all(|sentence| said.contains(sentence));
    expect(all, || {
        format!("expected the words {:?}, found: {said}", rom.sentences)
    })
}
