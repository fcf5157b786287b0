// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory map the kernel is given: the VMM's records joined, what the firmware keeps taken out.

use super::tables::Tables;
use super::{Handoff, PlanError};
use crate::facts::Facts;
use crate::memory::{MemoryMap, Range, Region};
use abi::e820::{E820Entry, MAX_ENTRIES, TYPE_RAM, TYPE_RESERVED};
use abi::layout::{HIGH_RAM_START, ROM_ALIAS_END, ROM_ALIAS_START, ROM_SIZE, ROM_TOP};

/// Joins the VMM's records, in any order and overlapping at will: what one of them reserves is
/// not RAM, whatever another says. So are the registers of the board.
pub fn join<'a>(
    facts: &Facts<'_>,
    storage: &'a mut [Region; MAX_ENTRIES],
) -> Result<MemoryMap<'a>, PlanError> {
    let mut memory = MemoryMap::new(storage);
    add(facts.memory, true, &mut memory)?;
    add(facts.memory, false, &mut memory)?;
    for registers in facts.board.registers() {
        memory.set(*registers, TYPE_RESERVED)?;
    }
    Ok(memory)
}

/// Adds the records of RAM, or all others.
fn add(records: &[E820Entry], ram: bool, memory: &mut MemoryMap<'_>) -> Result<(), PlanError> {
    for record in records {
        let kind = record.kind.get();
        if (kind == TYPE_RAM) == ram {
            let (addr, size) = (record.addr.get(), record.size.get());
            let range = Range::new(addr, size).ok_or(PlanError::RecordWraps { addr, size })?;
            memory.set(range, kind)?;
        }
    }
    Ok(())
}

/// Takes what the firmware uses below 1 MiB, and the image.
pub fn reserve_low(
    memory: &mut MemoryMap<'_>,
    handoff: &Handoff,
    tables: &Tables,
) -> Result<(), PlanError> {
    // All between the block and 1 MiB at once; the tables end where the image begins.
    let image = Range::between(ROM_ALIAS_START, ROM_ALIAS_END);
    let [tables, scanned] = tables.used;
    let reserved =
        |from: Range, to: Range| Region::new(Range::between(from.start(), to.end()), TYPE_RESERVED);
    let block = reserved(handoff.block, handoff.block);
    let window = Range::between(handoff.block.start(), HIGH_RAM_START);
    if tables.is_empty() || tables.end() == scanned.start() {
        let all = if tables.is_empty() { scanned } else { tables };
        memory.replace(window, &mut [block, reserved(all, image)])?;
    } else {
        let three = &mut [block, reserved(tables, tables), reserved(scanned, image)];
        memory.replace(window, three)?;
    }
    // Whatever a map says, the image ends at 4 GiB, and those are the bytes that run below 1 MiB.
    memory.clear(Range::between(ROM_TOP - ROM_SIZE, ROM_TOP))?;
    Ok(())
}
