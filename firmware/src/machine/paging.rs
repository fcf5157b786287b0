// SPDX-License-Identifier: MIT OR Apache-2.0
//! The identity map: what is mapped, and how to map more.

use core::arch::asm;
use firmware_core::plan::Handoff;
use firmware_core::tables::{identity_map, piece};

/// The page tables in use.
pub struct Paging(());

impl Paging {
    /// The tables that `boot` has pointed CR3 to.
    pub const fn take() -> Self {
        Self(())
    }

    /// Maps the first 4 GiB where the plan asks for page tables of our own; `block` is the memory
    /// of `handoff.block`.
    pub fn extend(&mut self, handoff: &Handoff, block: &mut [u8]) {
        let Some(tables) = handoff.page_tables else {
            return;
        };
        let bytes = piece(block, handoff.block, tables);
        if bytes.len() != identity_map::SIZE {
            return;
        }
        identity_map::write(bytes, tables.start());
        // SAFETY: the tables just written map every address that was mapped to the same memory
        // as before, and lie in reserved memory that nothing writes again.
        unsafe { asm!("mov cr3, {}", in(reg) tables.start(), options(nostack, preserves_flags)) }
    }
}
