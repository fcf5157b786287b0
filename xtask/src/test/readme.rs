// SPDX-License-Identifier: MIT OR Apache-2.0
//! The README's table of firmware says what is so.

use super::case::{Case, Context, Run, expect};
use crate::bench::readme::{BOOTS, rows};
use crate::guest::Format;
use crate::workspace::read;

pub fn cases() -> Vec<Case> {
    BOOTS
        .into_iter()
        .map(|(name, machine, format)| {
            Case::new(format!("qemu/readme-{name}"), move |context, _| {
                says_so(context, machine, format)
            })
        })
        .collect()
}

fn says_so(context: &Context<'_>, machine: &str, format: Format) -> Run {
    context.qemu()?;
    // Builds the guests.
    context.guest("report.elf")?;
    let readme = read(&context.workspace.root.join("README.md"))?;
    let readme = String::from_utf8_lossy(&readme);
    for row in rows(context.workspace, &context.rom()?, machine, format)? {
        expect(readme.contains(&row), || {
            format!(
                "expected the README's line `{}`, found none: `cargo xtask bench --readme` writes it",
                row.trim()
            )
        })?;
    }
    Ok(())
}
