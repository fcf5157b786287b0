// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel is given: values in, bytes out.
//!
//! Every builder writes into a slice that stands for the guest-physical range the plan chose, and
//! takes addresses as numbers. None dereferences one.

pub mod bios_data;
pub mod identity_map;
pub mod mp;
pub mod multiboot;
pub mod pvh;
pub mod zero_page;

use crate::facts::Facts;
use crate::kernel::Kernel;
use crate::memory::Range;
use crate::plan::Plan;

/// Writes everything but the command line and the page tables into the hand-off block.
///
/// `block` stands for `plan.handoff.block`, `rsdp` is the guest-physical address of the ACPI RSDP.
pub fn write(plan: &Plan<'_>, facts: &Facts<'_>, rsdp: Option<u64>, block: &mut [u8]) {
    let handoff = &plan.handoff;
    mp::write_table(
        piece(block, handoff.block, handoff.mp_table),
        &facts.processors,
        facts.irq0_override,
        facts.board,
    );
    mp::write_pointer(
        piece(block, handoff.block, handoff.mp_pointer),
        handoff.mp_table,
    );
    let parameters = piece(block, handoff.block, handoff.parameters);
    match facts.kernel {
        Kernel::Pvh { .. } => pvh::write(parameters, plan, rsdp),
        Kernel::Multiboot(kernel) => {
            multiboot::write(parameters, plan, kernel);
            bios_data::write_ebda(piece(block, handoff.block, handoff.ebda), plan);
        }
        Kernel::Linux16 { .. } => {
            bios_data::write_ebda(piece(block, handoff.block, handoff.ebda), plan);
        }
        Kernel::Linux64 { header, .. } | Kernel::Linux32 { header, .. } => {
            zero_page::write(parameters, plan, header, rsdp);
        }
    }
}

/// The part of `block` (which stands for the guest-physical range `whole`) that stands for `part`.
///
/// Empty when `part` is not inside, which a [`Plan`] rules out.
#[inline(never)] // in favour of size: 60 bytes for each of its callers
pub fn piece(block: &mut [u8], whole: Range, part: Range) -> &mut [u8] {
    let offset = part.start().wrapping_sub(whole.start());
    let end = part.end().wrapping_sub(whole.start());
    match (usize::try_from(offset), usize::try_from(end)) {
        (Ok(offset), Ok(end)) => block.get_mut(offset..end).unwrap_or_default(),
        _ => &mut [],
    }
}
