// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hand-off block: what the kernel is given, at the top of conventional memory.

use super::tables::Tables;
use super::{Means, PlanError, real_mode};
use crate::facts::Facts;
use crate::kernel::Kernel;
use crate::memory::{Arena, MemoryMap, Range};
use crate::tables::{identity_map, mp, multiboot, pvh};
use abi::bios::Ebda;
use abi::layout::{HANDOFF_FLOOR, LOW_RAM_END, PAGE_SIZE};
use abi::linux::BootParams;

/// Longest command line in bytes, NUL included, for a kernel that does not say its own limit.
pub const MAX_CMDLINE_SIZE: u32 = 0x1_0000;

/// What the kernel is given, in one reserved block at the top of conventional memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Handoff {
    /// The whole block.
    pub block: Range,
    /// MP floating pointer: in the last KiB of conventional memory, where kernels look.
    pub mp_pointer: Range,
    /// MP configuration table.
    pub mp_table: Range,
    /// `hvm_start_info` or `multiboot_info` with its lists, or the zero page; a kernel that is
    /// entered in real mode has them in its setup part.
    pub parameters: Range,
    /// The extended BIOS data area, which begins where the block does; empty for kernels that never
    /// call a BIOS.
    pub ebda: Range,
    /// The command line; at least its NUL.
    pub cmdline: Range,
    /// What is mapped when the kernel is loaded.
    pub map: Map,
}

/// How far the page tables of the way in are enough. On a processor with 1 GiB pages they always
/// are; on others they map the first 2 MiB.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Map {
    /// They are.
    Start,
    /// Their page directory has to map all that it can: up to
    /// [`DIRECTORY_END`](identity_map::DIRECTORY_END).
    Directory,
    /// The first 4 GiB have to be mapped by tables here.
    Tables(Range),
}

/// Finds a place for each part; `kernel` is where that runs.
pub fn place(
    facts: &Facts<'_>,
    means: Means,
    tables: &Tables,
    kernel: Range,
    memory: &MemoryMap<'_>,
) -> Result<Handoff, PlanError> {
    let conventional = Range::between(0, LOW_RAM_END);
    if !memory.is_ram(conventional) {
        return Err(PlanError::NoConventionalMemory {
            ram: memory.ram_size(),
        });
    }
    let floor = match facts.kernel {
        Kernel::Linux16 { header, .. } => real_mode::end(header),
        _ => HANDOFF_FLOOR,
    };
    let mut arena = Arena::new(Range::between(floor, LOW_RAM_END));
    let mut take = |size, align| arena.take(size, align).ok_or(PlanError::HandoffFull);

    // Reserving low memory adds at most four regions to the map, each large table two.
    let regions = memory
        .regions()
        .len()
        .saturating_add(4)
        .saturating_add(tables.large.saturating_mul(2));
    let mp_pointer = take(mp::POINTER_SIZE, 16)?;
    let mp_table = take(mp::table_size(&facts.processors, facts.board), 16)?;
    let parameters = match facts.kernel {
        Kernel::Pvh { .. } => take(pvh::size(regions, facts.modules.count()), 16)?,
        Kernel::Multiboot(_) => take(multiboot::size(regions), 16)?,
        Kernel::Linux64 { .. } | Kernel::Linux32 { .. } => {
            take(size_of::<BootParams>() as u64, 16)?
        }
        Kernel::Linux16 { .. } => take(0, 1)?,
    };
    let limit = cmdline_limit(&facts.kernel);
    if facts.cmdline_size > limit {
        return Err(PlanError::CommandLine {
            found: facts.cmdline_size,
            limit,
        });
    }
    let cmdline = take(facts.cmdline_size.max(1).into(), 16)?;
    let map = if facts.processors.identity().gigabyte_pages {
        Map::Start
    } else {
        match facts.kernel {
            Kernel::Multiboot(_) if tables.large == 0 => Map::Start, // loaded without paging
            _ if tables.large > 0 || !means.dma => {
                Map::Tables(take(identity_map::SIZE as u64, PAGE_SIZE)?)
            }
            // boot.rst: entered with the range mapped that it runs in, and what it is given.
            Kernel::Linux64 { .. } if kernel.end() <= identity_map::DIRECTORY_END => Map::Directory,
            Kernel::Linux64 { .. } => Map::Tables(take(identity_map::SIZE as u64, PAGE_SIZE)?),
            _ => Map::Start,
        }
    };

    let ebda_size = match facts.kernel {
        Kernel::Linux16 { .. } | Kernel::Multiboot(_) => size_of::<Ebda>() as u64,
        _ => 0,
    };
    let ebda = take(ebda_size, PAGE_SIZE)?;
    let block = Range::between(ebda.start(), LOW_RAM_END);
    Ok(Handoff {
        block,
        mp_pointer,
        mp_table,
        parameters,
        ebda,
        cmdline,
        map,
    })
}

/// Longest command line in bytes, NUL included.
fn cmdline_limit(kernel: &Kernel<'_>) -> u32 {
    match kernel {
        Kernel::Pvh { .. } | Kernel::Multiboot(_) => MAX_CMDLINE_SIZE,
        Kernel::Linux64 { header, .. }
        | Kernel::Linux32 { header, .. }
        | Kernel::Linux16 { header, .. } => header
            .cmdline_size
            .get()
            .saturating_add(1)
            .min(MAX_CMDLINE_SIZE),
    }
}
