// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a boot of our firmware costs, held to `tests/budgets.toml`: counts, the same on every run
//! and on every machine.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use crate::bench::count::exits;
use crate::bench::count::gate::{self, Firmware, Saved, Subject};
use crate::image;
use crate::workspace::read;

/// Every budget.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![Case::new("qemu/budget-rom-bytes", rom_bytes)];
    cases.extend(gate::subjects().into_iter().map(|subject| {
        let name = format!("qemu/budget-{}", subject.name);
        Case::new(name, move |context, trial| held(context, trial, &subject))
    }));
    cases.push(Case::new("vmm/budget-exits", exits));
    cases
}

/// All boots that our monitor can make, too.
fn exits(context: &Context<'_>, trial: &Trial) -> Run {
    context.usable_kvm()?;
    context.guest("report.elf")?;
    context.host()?;
    let budgets = Saved::read(context.workspace)?.budgets;
    let mut changes = Vec::new();
    for subject in gate::subjects().into_iter().filter(Subject::has_exits) {
        let found = exits::count(&subject, context.workspace)?;
        let change = gate::exits_change(&subject.name, &budgets, found)?;
        changes.extend(change.map(|change| (subject.name, change)));
    }
    let sentence = |grew: bool| {
        let changes = changes.iter().filter(|(_, change)| change.grew() == grew);
        sentence(changes.map(|(name, change)| format!("{name}: {change}")))
    };
    if !sentence(false).is_empty() {
        trial.remark(lower(&sentence(false)));
    }
    expect(sentence(true).is_empty(), || {
        format!(
            "{}: `cargo xtask test qemu/budget` names phase and function; {}",
            sentence(true),
            raise()
        )
    })
}

fn rom_bytes(context: &Context<'_>, trial: &Trial) -> Run {
    let found = image::occupied(&read(&context.rom()?)?) as u64;
    let budget = Saved::read(context.workspace)?.budgets.rom_bytes;
    if found < budget {
        trial.remark(lower(&format!("ROM bytes {budget} → {found}")));
    }
    expect(found <= budget, || {
        format!(
            "ROM bytes {budget} → {found}: `cargo xtask size` says which rooms; {}",
            raise()
        )
    })
}

fn held(context: &Context<'_>, trial: &Trial, subject: &Subject) -> Run {
    context.qemu()?;
    context.rom()?;
    context.guest("report.elf")?;
    let saved = Saved::read(context.workspace)?;
    saved.applies().map_err(Outcome::Skipped)?;
    let firmware = Firmware::built(context.workspace)?;
    let measured = subject.measure(context.workspace, &firmware)?;
    let changes = saved.changes(&subject.name, &measured)?;
    let grew: Vec<_> = changes.iter().filter(|change| change.grew()).collect();
    if grew.is_empty() && !changes.is_empty() {
        trial.remark(lower(&sentence(&changes)));
    }
    expect(grew.is_empty(), || {
        format!("{}; {}", sentence(grew), raise())
    })
}

fn sentence<C: ToString>(changes: impl IntoIterator<Item = C>) -> String {
    let words: Vec<_> = changes
        .into_iter()
        .map(|change| change.to_string())
        .collect();
    words.join("; ")
}

fn lower(what: &str) -> String {
    format!("{what}: `cargo xtask bench --save` lowers the budget")
}

fn raise() -> &'static str {
    "if that is worth it, `cargo xtask bench --save --raise` raises the budget"
}
