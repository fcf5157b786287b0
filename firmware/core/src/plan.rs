// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one decision: where everything goes and how the kernel is entered.
//!
//! Spec: Linux `Documentation/arch/x86/boot.rst`; Xen `docs/misc/pvh.pandoc`.
//! In: [`Facts`]. Out: a [`Plan`], pure data. Never: touches the machine. What the VMM suggests as
//! addresses is not even read: QEMU's suggestions overlap in known cases.

use crate::acpi::{Blobs, LoaderError, Zone};
use crate::facts::Facts;
use crate::fw_cfg::{TransferError, Transport};
use crate::kernel::Kernel;
use crate::memory::{Arena, MapFull, MemoryMap, Range, Region};
use crate::tables::{identity_map, mp, piece, pvh};
use abi::debug::FailureCode;
use abi::e820::{E820Entry, MAX_ENTRIES, TYPE_RAM, TYPE_RESERVED};
use abi::fw_cfg::Key;
use abi::layout::{
    HANDOFF_FLOOR, HIGH_RAM_START, LOW_RAM_END, PAGE_SIZE, RAM_ABOVE_4G_START, ROM_ALIAS_END,
    ROM_ALIAS_START, ROM_SIZE, ROM_TOP, RSDP_SCAN_START, TABLES_START,
};
use abi::linux::{BootParams, ENTRY_64_OFFSET, SetupHeader, XLoadFlags};
use core::fmt;

/// Longest command line in bytes, NUL included, for a kernel that does not say its own limit.
pub const MAX_CMDLINE_SIZE: u32 = 0x1_0000;

/// What the machine lets the firmware do, as far as the plan depends on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Means {
    /// `fw_cfg` writes to any guest-physical address by DMA; otherwise the firmware copies, and
    /// reaches only what it has mapped: the first 4 GiB.
    pub dma: bool,
}

/// How the kernel is entered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entry {
    /// 32-bit protected mode, no paging, EBX = `start_info`.
    Pvh {
        /// Guest-physical entry point.
        entry: u32,
        /// Guest-physical address of the `hvm_start_info`.
        start_info: u32,
    },
    /// 64-bit mode, identity map, RSI = `boot_params`.
    Linux64 {
        /// Guest-physical entry point.
        entry: u64,
        /// Guest-physical address of the zero page.
        boot_params: u64,
    },
}

/// What the kernel is given, in one reserved block at the top of conventional memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Handoff {
    /// The whole block.
    pub block: Range,
    /// MP floating pointer: in the last KiB of conventional memory, where kernels look.
    pub mp_pointer: Range,
    /// MP configuration table.
    pub mp_table: Range,
    /// `hvm_start_info` with its lists, or the zero page.
    pub parameters: Range,
    /// The command line; at least its NUL.
    pub cmdline: Range,
    /// Page tables with 2 MiB pages, where the processor has no 1 GiB pages and the 2 MiB that
    /// the firmware starts with are not enough.
    pub page_tables: Option<Range>,
}

/// Everything that is to be done, as data.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The map the kernel is given.
    pub memory: MemoryMap<'a>,
    /// Where what the kernel is given goes.
    pub handoff: Handoff,
    /// Where the kernel is loaded; `None` when the VMM has placed it.
    pub kernel: Option<Range>,
    /// Where the initial RAM disk is loaded.
    pub initrd: Option<Range>,
    /// How the kernel is entered.
    pub entry: Entry,
}

impl<'a> Plan<'a> {
    /// Decides, and tells every file of the ACPI loader its place.
    ///
    /// # Errors
    /// Something does not fit.
    pub fn new(
        facts: &Facts<'_>,
        means: Means,
        blobs: &mut Blobs<'_>,
        storage: &'a mut [Region; MAX_ENTRIES],
    ) -> Result<Self, PlanError> {
        let mut memory = join(facts.memory, storage)?;
        let tables = place_tables(blobs, &memory)?;
        let handoff = place_handoff(facts, means, &tables, &memory)?;
        reserve_low_memory(&mut memory, &handoff, &tables)?;
        let placed = place_kernel(&facts.kernel, &memory)?;
        place_large_tables(blobs, &mut memory, placed.footprint)?;
        let initrd = place_initrd(facts, means, &memory, placed.footprint)?;
        let entry = match facts.kernel {
            Kernel::Pvh { entry, .. } => Entry::Pvh {
                entry,
                start_info: low_address(handoff.parameters),
            },
            Kernel::Linux64 { .. } => Entry::Linux64 {
                entry: placed.footprint.start().saturating_add(ENTRY_64_OFFSET),
                boot_params: handoff.parameters.start(),
            },
        };
        Ok(Self {
            memory,
            handoff,
            kernel: placed.load,
            initrd,
            entry,
        })
    }

    /// Loads what is still in `fw_cfg`: kernel, initial RAM disk and command line.
    ///
    /// `block` stands for `self.handoff.block`.
    ///
    /// # Errors
    /// A transfer failed.
    pub fn load(&self, fw_cfg: &mut impl Transport, block: &mut [u8]) -> Result<(), TransferError> {
        if let Some(kernel) = self.kernel {
            fw_cfg.load(Key::KERNEL_DATA, kernel)?;
        }
        if let Some(initrd) = self.initrd {
            fw_cfg.load(Key::INITRD_DATA, initrd)?;
        }
        let cmdline = piece(block, self.handoff.block, self.handoff.cmdline);
        if cmdline.len() > 1 {
            fw_cfg.read(Key::CMDLINE_DATA, cmdline)?;
        }
        if let Some(end) = cmdline.last_mut() {
            *end = 0; // the VMM's word alone is not enough
        }
        Ok(())
    }
}

/// The start of a range below 4 GiB. The hand-off block lies below 1 MiB.
fn low_address(range: Range) -> u32 {
    u32::try_from(range.start()).unwrap_or_default()
}

/// Joins the VMM's records, in any order and overlapping at will: what one of them reserves is
/// not RAM, whatever another says.
fn join<'a>(
    records: &[E820Entry],
    storage: &'a mut [Region; MAX_ENTRIES],
) -> Result<MemoryMap<'a>, PlanError> {
    let mut memory = MemoryMap::new(storage);
    for ram in [true, false] {
        for record in records {
            let kind = record.kind.get();
            if (kind == TYPE_RAM) == ram {
                let (addr, size) = (record.addr.get(), record.size.get());
                let range = Range::new(addr, size).ok_or(PlanError::RecordWraps { addr, size })?;
                memory.set(range, kind)?;
            }
        }
    }
    Ok(memory)
}

/// What of the memory for tables is in use, below and from [`RSDP_SCAN_START`].
struct Tables {
    used: [Range; 2],
    /// How many tables have found no room there.
    large: usize,
}

/// Puts tables below 1 MiB as far as they fit: no kernel takes that memory for its own, and the
/// firmware reaches it without further page tables.
fn place_tables(blobs: &mut Blobs<'_>, memory: &MemoryMap<'_>) -> Result<Tables, PlanError> {
    let all = Range::between(TABLES_START, ROM_ALIAS_START);
    let (start, split) = if memory.is_ram(all) {
        (TABLES_START, RSDP_SCAN_START)
    } else {
        (ROM_ALIAS_START, ROM_ALIAS_START)
    };
    let mut high = Arena::new(Range::between(start, split));
    let mut scanned = Arena::new(Range::between(split, ROM_ALIAS_START));
    let mut large = 0usize;
    for blob in blobs.iter_mut() {
        let (size, align) = (blob.file().size.into(), blob.align());
        match blob.zone() {
            Zone::FSegment => {
                let place = scanned.take(size, align);
                blob.put(place.ok_or(LoaderError::NoRoom { size, align })?.start());
            }
            Zone::High => match high.take(size, align) {
                Some(place) => blob.put(place.start()),
                None => {
                    blob.put(0); // place_large_tables
                    large = large.saturating_add(1);
                }
            },
        }
    }
    let used = [(high, split), (scanned, ROM_ALIAS_START)];
    Ok(Tables {
        used: used.map(|(arena, end)| Range::between(arena.free().end(), end)),
        large,
    })
}

/// Puts the others at the top of what 32-bit pointers reach, and takes that RAM from the kernel.
fn place_large_tables(
    blobs: &mut Blobs<'_>,
    memory: &mut MemoryMap<'_>,
    kernel: Range,
) -> Result<(), PlanError> {
    let within = Range::between(HIGH_RAM_START, RAM_ABOVE_4G_START);
    for blob in blobs.iter_mut().filter(|blob| blob.place().start() == 0) {
        let (size, align) = (u64::from(blob.file().size), blob.align().max(PAGE_SIZE));
        let place = memory
            .highest_fit(size, align, within, &[kernel])
            .ok_or(LoaderError::NoRoom { size, align })?;
        memory.set(place, TYPE_RESERVED)?;
        blob.put(place.start());
    }
    Ok(())
}

fn place_handoff(
    facts: &Facts<'_>,
    means: Means,
    tables: &Tables,
    memory: &MemoryMap<'_>,
) -> Result<Handoff, PlanError> {
    let conventional = Range::between(0, LOW_RAM_END);
    if !memory.is_ram(conventional) {
        return Err(PlanError::NoConventionalMemory {
            ram: memory.ram_size(),
        });
    }
    let mut arena = Arena::new(Range::between(HANDOFF_FLOOR, LOW_RAM_END));
    let mut take = |size, align| arena.take(size, align).ok_or(PlanError::HandoffFull);

    let mp_pointer = take(mp::POINTER_SIZE, 16)?;
    let mp_table = take(mp::table_size(&facts.processors), 16)?;
    let parameters = match facts.kernel {
        // Reserving low memory adds at most four regions to the map, each large table two.
        Kernel::Pvh { .. } => take(
            pvh::size(
                memory
                    .regions()
                    .len()
                    .saturating_add(4)
                    .saturating_add(tables.large.saturating_mul(2)),
            ),
            16,
        )?,
        Kernel::Linux64 { .. } => take(size_of::<BootParams>() as u64, 16)?,
    };
    let limit = cmdline_limit(&facts.kernel);
    if facts.cmdline_size > limit {
        return Err(PlanError::CommandLine {
            found: facts.cmdline_size,
            limit,
        });
    }
    let cmdline = take(facts.cmdline_size.max(1).into(), 16)?;
    let start_map_is_enough = facts.processors.identity().gigabyte_pages
        || (means.dma && tables.large == 0 && matches!(facts.kernel, Kernel::Pvh { .. }));
    let page_tables = if start_map_is_enough {
        None
    } else {
        Some(take(identity_map::SIZE as u64, PAGE_SIZE)?)
    };

    let end = arena.take(0, PAGE_SIZE).ok_or(PlanError::HandoffFull)?;
    let block = Range::between(end.start(), LOW_RAM_END);
    Ok(Handoff {
        block,
        mp_pointer,
        mp_table,
        parameters,
        cmdline,
        page_tables,
    })
}

/// Longest command line in bytes, NUL included.
fn cmdline_limit(kernel: &Kernel<'_>) -> u32 {
    match kernel {
        Kernel::Pvh { .. } => MAX_CMDLINE_SIZE,
        Kernel::Linux64 { header, .. } => header
            .cmdline_size
            .get()
            .saturating_add(1)
            .min(MAX_CMDLINE_SIZE),
    }
}

fn reserve_low_memory(
    memory: &mut MemoryMap<'_>,
    handoff: &Handoff,
    tables: &Tables,
) -> Result<(), PlanError> {
    memory.clear(Range::between(LOW_RAM_END, HIGH_RAM_START))?;
    for used in tables.used {
        memory.set(used, TYPE_RESERVED)?;
    }
    // Whatever a map says, the image ends at 4 GiB, and those are the bytes that run below 1 MiB.
    memory.clear(Range::between(ROM_TOP - ROM_SIZE, ROM_TOP))?;
    memory.set(handoff.block, TYPE_RESERVED)?;
    memory.set(
        Range::between(ROM_ALIAS_START, ROM_ALIAS_END),
        TYPE_RESERVED,
    )?;
    Ok(())
}

/// Where the kernel lies.
struct PlacedKernel {
    /// What is to be loaded.
    load: Option<Range>,
    /// What nothing else may touch: the memory it occupies before it looks at the memory map.
    footprint: Range,
}

fn place_kernel(kernel: &Kernel<'_>, memory: &MemoryMap<'_>) -> Result<PlacedKernel, PlanError> {
    match kernel {
        Kernel::Pvh { image, .. } => {
            let high = Range::between(HIGH_RAM_START, RAM_ABOVE_4G_START);
            if !high.contains(*image) || !memory.is_ram(*image) {
                return Err(PlanError::ImageOutsideRam { image: *image });
            }
            Ok(PlacedKernel {
                load: None,
                footprint: *image,
            })
        }
        Kernel::Linux64 { header, size } => place_bzimage(header, *size, memory),
    }
}

/// boot.rst, `pref_address`: a relocatable kernel that lies elsewhere moves itself there if its
/// own address is lower; so it goes exactly there, or else higher.
fn place_bzimage(
    header: &SetupHeader,
    size: u32,
    memory: &MemoryMap<'_>,
) -> Result<PlacedKernel, PlanError> {
    let needed = u64::from(header.init_size.get().max(size));
    let preferred = header.pref_address.get().max(HIGH_RAM_START);
    let does_not_fit = PlanError::KernelPlacement {
        needed,
        preferred,
        ram: memory.ram_size(),
    };
    let reachable = Range::between(preferred, RAM_ABOVE_4G_START);
    let footprint = Range::new(preferred, needed)
        .filter(|range| reachable.contains(*range) && memory.is_ram(*range))
        .or_else(|| {
            let align = u64::from(header.kernel_alignment.get());
            if header.relocatable_kernel == 0 {
                return None;
            }
            memory.lowest_fit(needed, align, reachable)
        })
        .ok_or(does_not_fit)?;
    let load = Range::new(footprint.start(), size.into()).ok_or(does_not_fit)?;
    Ok(PlacedKernel {
        load: Some(load),
        footprint,
    })
}

fn place_initrd(
    facts: &Facts<'_>,
    means: Means,
    memory: &MemoryMap<'_>,
    kernel: Range,
) -> Result<Option<Range>, PlanError> {
    let size = u64::from(facts.initrd_size);
    if size == 0 {
        return Ok(None);
    }
    let ceiling = initrd_ceiling(&facts.kernel, means);
    let within = Range::between(HIGH_RAM_START, ceiling);
    memory
        .highest_fit(size, PAGE_SIZE, within, &[kernel])
        .map(Some)
        .ok_or(PlanError::Initrd {
            size,
            ceiling,
            ram: memory.ram_size(),
        })
}

/// First address the kernel does not accept for any byte of its initial RAM disk.
fn initrd_ceiling(kernel: &Kernel<'_>, means: Means) -> u64 {
    match kernel {
        // Linux keeps the module's address in 32 bits on its PVH path.
        Kernel::Pvh { .. } => RAM_ABOVE_4G_START,
        Kernel::Linux64 { header, .. } => {
            let flags = XLoadFlags::from_bits_retain(header.xloadflags.get());
            if flags.contains(XLoadFlags::CAN_BE_LOADED_ABOVE_4G) {
                if means.dma {
                    u64::MAX
                } else {
                    RAM_ABOVE_4G_START
                }
            } else {
                u64::from(header.initrd_addr_max.get()).saturating_add(1)
            }
        }
    }
}

/// What does not fit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PlanError {
    /// A table of the ACPI loader fits nowhere.
    Acpi(LoaderError),
    /// The map has too many separate ranges.
    MapFull(MapFull),
    /// A record of the VMM's map passes the end of the address space.
    RecordWraps {
        /// First guest-physical address.
        addr: u64,
        /// Size in bytes.
        size: u64,
    },
    /// The first 640 KiB are not all RAM.
    NoConventionalMemory {
        /// Bytes of RAM in the map.
        ram: u64,
    },
    /// The block for the kernel's parameters is full.
    HandoffFull,
    /// The command line is longer than the kernel takes.
    CommandLine {
        /// Its size in bytes with its NUL.
        found: u32,
        /// The most the kernel takes, with the NUL.
        limit: u32,
    },
    /// A PVH kernel that is not in RAM between 1 MiB and 4 GiB.
    ImageOutsideRam {
        /// Where the VMM put it.
        image: Range,
    },
    /// No place for the kernel.
    KernelPlacement {
        /// Bytes it needs.
        needed: u64,
        /// Lowest guest-physical address it accepts.
        preferred: u64,
        /// Bytes of RAM in the map.
        ram: u64,
    },
    /// No place for the initial RAM disk.
    Initrd {
        /// Its size in bytes.
        size: u64,
        /// First guest-physical address the kernel does not accept.
        ceiling: u64,
        /// Bytes of RAM in the map.
        ram: u64,
    },
}

impl PlanError {
    /// The code for [`abi::debug::FAILURE_PORT`].
    #[must_use]
    pub const fn code(&self) -> FailureCode {
        match self {
            Self::Acpi(_) => FailureCode::Acpi,
            Self::MapFull(_) | Self::RecordWraps { .. } => FailureCode::MemoryMap,
            Self::NoConventionalMemory { .. } | Self::HandoffFull => FailureCode::Memory,
            Self::CommandLine { .. } => FailureCode::CommandLine,
            Self::ImageOutsideRam { .. } | Self::KernelPlacement { .. } => {
                FailureCode::KernelPlacement
            }
            Self::Initrd { .. } => FailureCode::Initrd,
        }
    }
}

impl From<LoaderError> for PlanError {
    fn from(error: LoaderError) -> Self {
        Self::Acpi(error)
    }
}

impl From<MapFull> for PlanError {
    fn from(error: MapFull) -> Self {
        Self::MapFull(error)
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acpi(error) => error.fmt(f),
            Self::MapFull(error) => error.fmt(f),
            Self::RecordWraps { addr, size } => write!(
                f,
                "memory map: expected ranges inside the address space, \
                 found {size:#x} bytes at {addr:#x}"
            ),
            Self::NoConventionalMemory { ram } => write!(
                f,
                "memory: expected RAM in all of the first 640 KiB, found {ram:#x} bytes in all"
            ),
            Self::HandoffFull => write!(
                f,
                "hand-off block: expected all to fit between {HANDOFF_FLOOR:#x} and \
                 {LOW_RAM_END:#x}, found more"
            ),
            Self::CommandLine { found, limit } => write!(
                f,
                "kernel command line: expected at most {limit} bytes with its NUL, found {found}"
            ),
            Self::ImageOutsideRam { image } => write!(
                f,
                "kernel: expected its image in RAM between 1 MiB and 4 GiB, found it at {image}"
            ),
            Self::KernelPlacement {
                needed,
                preferred,
                ram,
            } => write!(
                f,
                "kernel: expected {needed:#x} bytes of RAM at or above {preferred:#x}, \
                 found {ram:#x} bytes in all"
            ),
            Self::Initrd { size, ceiling, ram } => write!(
                f,
                "initrd: expected {size:#x} free bytes of RAM between 1 MiB and {ceiling:#x}, \
                 found {ram:#x} bytes in all"
            ),
        }
    }
}

#[cfg(test)]
mod test;
