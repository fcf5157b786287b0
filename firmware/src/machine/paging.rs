// SPDX-License-Identifier: MIT OR Apache-2.0
//! The identity map: what is mapped, and how to map more.

use abi::layout::{PAGE_SIZE, PAGE_TABLES_START};
use core::arch::asm;
use core::ptr;
use firmware_core::plan::{Handoff, Map};
use firmware_core::tables::identity_map::{self, DIRECTORY_ENTRIES};
use firmware_core::tables::piece;

/// The third of the tables that `prot32.s` makes.
const PAGE_DIRECTORY: u64 = PAGE_TABLES_START + 2 * PAGE_SIZE;

/// The page tables in use.
pub struct Paging(());

impl Paging {
    /// The tables that `boot` has pointed CR3 to.
    pub const fn take() -> Self {
        Self(())
    }

    /// Maps what the plan asks for; `block` is the memory of `handoff.block`.
    pub fn extend(&mut self, handoff: &Handoff, block: &mut [u8]) {
        match handoff.map {
            Map::Start => {}
            Map::Directory => {
                let directory = ptr::with_exposed_provenance_mut(PAGE_DIRECTORY as usize);
                // SAFETY: `prot32.s` has made a page directory there, of which nothing else in Rust
                // knows. Its first entry is written with what it was, and the others were absent, so
                // that the processor has none of them in its TLB.
                let directory: &mut [_; DIRECTORY_ENTRIES] = unsafe { &mut *directory };
                identity_map::write_leaves(directory);
            }
            Map::Tables(tables) => {
                let bytes = piece(block, handoff.block, tables);
                if bytes.len() != identity_map::SIZE {
                    return;
                }
                identity_map::write(bytes, tables.start());
                // SAFETY: the tables just written map every address that was mapped to the same
                // memory as before, and lie in reserved memory that nothing writes again.
                unsafe {
                    asm!("mov cr3, {}", in(reg) tables.start(), options(nostack, preserves_flags));
                }
            }
        }
    }
}
