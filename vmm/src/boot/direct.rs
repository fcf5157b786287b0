// SPDX-License-Identifier: MIT OR Apache-2.0
//! No firmware: where the monitor itself puts a kernel and what it hands over, and how the first
//! processor begins.
//!
//! Spec: Linux `Documentation/arch/x86/boot.rst`, "64-bit Boot Protocol"; Xen `docs/misc/pvh.pandoc`
//! and `start_info.h`. In: the items that firmware would find. Out: bytes and their places, and the
//! state of the processor. It is the least that a kernel can be entered with, for comparison: there are
//! no MP tables, no SMBIOS structures and no services of a BIOS.
//!
//! The monitor's own ACPI tables are connected by following its own script, of which every command is
//! one of three. Nothing here is of a guest's making.

use super::elf::Segment;
use crate::devices::fw_cfg::{Content, Items};
use crate::memory::Layout;
use abi::checksum::complement;
use abi::e820::{E820Entry, TYPE_RAM, TYPE_RESERVED};
use abi::fw_cfg::{Key, file};
use abi::layout::{
    HANDOFF_FLOOR, HIGH_RAM_START, KVM_IDENTITY_MAP_ADDR, KVM_RESERVED_SIZE, LOW_RAM_END,
    PAGE_SIZE, RAM_ABOVE_4G_START, RSDP_SCAN_START,
};
use abi::linux::{
    BootParams, ENTRY_64_OFFSET, JUMP_BASE, LOADER_TYPE_UNDEFINED, SETUP_HEADER_OFFSET,
    SetupHeader, VERSION_2_12, VIDEO_MODE_NORMAL, XLoadFlags,
};
use abi::pvh::{MemmapEntry, ModlistEntry, START_INFO_MAGIC, StartInfo};
use abi::table_loader::{
    AddChecksum, AddPointer, Allocate, COMMAND_ADD_CHECKSUM, COMMAND_ADD_POINTER, COMMAND_ALLOCATE,
    Command, FileName,
};
use std::collections::BTreeMap;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Entries of a page table.
const ENTRIES: usize = 512;
/// Page table entry: present and writable.
const PRESENT: u64 = 0b11;
/// Page table entry: a page of 2 MiB.
const LARGE: u64 = 1 << 7;
/// What such an entry maps.
const LARGE_PAGE: u64 = 2 << 20;
/// Page directories for the first 4 GiB.
const DIRECTORIES: u64 = 4;

/// Flat segments: code of 64 bits, data, code of 32 bits.
const CODE_64: u64 = 0x00af_9b00_0000_ffff;
const DATA: u64 = 0x00cf_9300_0000_ffff;
const CODE_32: u64 = 0x00cf_9b00_0000_ffff;
/// A task state of 104 bytes at 0, in use.
const TASK: u64 = 0x0000_8b00_0000_0067;

/// Selectors: Linux's for a boot loader, and those of a PVH kernel, which are the loader's to choose.
pub const CODE_64_SELECTOR: u16 = 0x10;
/// As above.
pub const DATA_SELECTOR: u16 = 0x18;
/// As above.
pub const CODE_32_SELECTOR: u16 = 0x20;
/// As above.
pub const TASK_SELECTOR: u16 = 0x30;
/// All descriptors, in their order.
const DESCRIPTORS: [u64; 8] = [0, 0, CODE_64, DATA, CODE_32, 0, TASK, 0];

/// What no kernel can be entered from.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Without a kernel there is nothing to enter.
    #[error("expected a --kernel for the monitor to enter, found none")]
    Nothing,
    /// Not one of the two ways in.
    #[error(
        "expected a kernel with a PVH entry point or a bzImage with a 64-bit one (boot protocol 2.12), \
         found {0}"
    )]
    Kernel(&'static str),
    /// Not enough RAM.
    #[error(
        "expected RAM up to {needed:#x}, which the kernel needs from its preferred address on, found it \
         up to {found:#x}, where RAM ends or the initrd begins"
    )]
    Memory {
        /// End of what the kernel needs.
        needed: u64,
        /// Where something else begins.
        found: u64,
    },
    /// More than fits below 640 KiB.
    #[error("expected at most {most} bytes of --append, found {found}")]
    CommandLine {
        /// What the kernel takes, or what there is room for.
        most: u64,
        /// Its size.
        found: u64,
    },
    /// More than fits below 1 MiB.
    #[error("expected at most {most} bytes of ACPI tables, found {found}")]
    Tables {
        /// Room.
        most: u64,
        /// Their size.
        found: u64,
    },
}

/// How the first processor begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Start {
    /// Guest-physical address of the kernel's first instruction.
    pub entry: u64,
    /// Guest-physical address of what it is handed: in EBX for PVH, in RSI for Linux.
    pub parameters: u64,
    /// Guest-physical address of the descriptor table, and its last byte's offset.
    pub descriptors: (u64, u16),
    /// Guest-physical address of the page tables: 64-bit mode, else 32-bit mode without paging.
    pub page_tables: Option<u64>,
}

/// What takes the place of firmware.
#[derive(Debug)]
pub struct Direct {
    /// What goes where, at every reset.
    pub pieces: Vec<(u64, Content)>,
    /// How it begins.
    pub start: Start,
}

/// Which way in.
pub(super) enum Way<'a> {
    /// An ELF file, whose parts are in RAM already.
    Pvh(&'a [Segment]),
    /// A bzImage.
    Linux,
}

/// Takes the place of firmware, which would find `items`.
pub(super) fn place(way: &Way<'_>, items: &Items, layout: &Layout) -> Result<Direct, Problem> {
    let mut pieces = Vec::new();
    let (rsdp, tables) = tables(items)?;
    pieces.extend(tables);
    let initrd = items.get(Key::INITRD_DATA).map(|content| {
        let address = number(items, Key::INITRD_ADDR);
        (address, content.clone())
    });
    let ceiling = initrd
        .as_ref()
        .map_or(layout.below_4g(), |(start, _)| *start);
    let room = |needed: u64| {
        let found = ceiling;
        (needed <= found)
            .then_some(())
            .ok_or(Problem::Memory { needed, found })
    };
    let given = Given {
        cmdline: bytes(items.get(Key::CMDLINE_DATA)),
        initrd: initrd
            .as_ref()
            .map(|(start, content)| (*start, u64::from(content.size()))),
        rsdp,
        layout,
    };
    let (block, start) = match way {
        Way::Pvh(segments) => {
            room(segments.iter().map(Segment::end).max().unwrap_or(0))?;
            given.pvh(number(items, Key::KERNEL_ENTRY))?
        }
        Way::Linux => {
            let header = header(items).ok_or(Problem::Kernel("a damaged header"))?;
            let address = preferred(&header)?;
            let kernel = items.get(Key::KERNEL_DATA);
            let size = kernel.map_or(0, Content::size).max(header.init_size.get());
            room(address.saturating_add(size.into()))?;
            pieces.extend(kernel.map(|kernel| (address, kernel.clone())));
            given.linux(&header, address + ENTRY_64_OFFSET)?
        }
    };
    pieces.push(block);
    pieces.extend(initrd);
    Ok(Direct { pieces, start })
}

/// The kernel's header, as far as it has one.
fn header(items: &Items) -> Option<SetupHeader> {
    let setup = bytes(items.get(Key::SETUP_DATA));
    let jump = setup.get(JUMP_BASE - 1).copied()?;
    let length = (JUMP_BASE + usize::from(jump)).checked_sub(SETUP_HEADER_OFFSET)?;
    let mut header = SetupHeader::new_zeroed();
    let from = setup.get(SETUP_HEADER_OFFSET..)?;
    let to = header.as_mut_bytes().iter_mut().take(length);
    to.zip(from).for_each(|(to, from)| *to = *from);
    Some(header)
}

/// Where a kernel runs that has the entry point we need.
fn preferred(header: &SetupHeader) -> Result<u64, Problem> {
    let flags = XLoadFlags::from_bits_truncate(header.xloadflags.get());
    if header.version.get() < VERSION_2_12 || !flags.contains(XLoadFlags::KERNEL_64) {
        return Err(Problem::Kernel("a bzImage without one"));
    }
    match header.relocatable_kernel {
        0 => Ok(HIGH_RAM_START),
        _ => Ok(header.pref_address.get().max(HIGH_RAM_START)),
    }
}

/// What both ways in are made of.
struct Given<'a> {
    /// With its NUL.
    cmdline: Vec<u8>,
    /// Start and size.
    initrd: Option<(u64, u64)>,
    rsdp: u64,
    layout: &'a Layout,
}

impl Given<'_> {
    /// A PVH kernel: its parameters, and how it is entered.
    fn pvh(&self, entry: u64) -> Result<((u64, Content), Start), Problem> {
        let mut block = Block::new(0, &self.cmdline)?;
        let map = self.memory(block.start());
        let map = map.iter().map(|entry| MemmapEntry {
            addr: entry.addr,
            size: entry.size,
            kind: entry.kind,
            reserved: 0.into(),
        });
        let map: Vec<_> = map.collect();
        let modlist = self.initrd.map(|(start, size)| ModlistEntry {
            paddr: start.into(),
            size: size.into(),
            cmdline_paddr: 0.into(),
            reserved: 0.into(),
        });
        let info = StartInfo {
            magic: START_INFO_MAGIC.into(),
            version: 1.into(),
            flags: 0.into(),
            nr_modules: u32::from(modlist.is_some()).into(),
            memmap_paddr: block.add(map.as_bytes()).into(),
            memmap_entries: u32::try_from(map.len()).unwrap_or(0).into(),
            modlist_paddr: modlist.map_or(0, |it| block.add(it.as_bytes())).into(),
            cmdline_paddr: block.cmdline.into(),
            rsdp_paddr: self.rsdp.into(),
            reserved: 0.into(),
        };
        let parameters = block.add(info.as_bytes());
        let start = Start {
            entry,
            parameters,
            descriptors: block.descriptors,
            page_tables: None,
        };
        Ok((block.done(), start))
    }

    /// A Linux kernel at its 64-bit entry.
    fn linux(&self, header: &SetupHeader, entry: u64) -> Result<((u64, Content), Start), Problem> {
        let most = header.cmdline_size.get().into();
        let found = self.cmdline.len().saturating_sub(1) as u64;
        if found > most {
            return Err(Problem::CommandLine { most, found });
        }
        let mut block = Block::new(DIRECTORIES + 2, &self.cmdline)?;
        let mut page = BootParams::new_zeroed();
        page.hdr = *header;
        page.hdr.type_of_loader = LOADER_TYPE_UNDEFINED;
        page.hdr.vid_mode = VIDEO_MODE_NORMAL.into();
        page.hdr.cmd_line_ptr = low(block.cmdline).into();
        page.acpi_rsdp_addr = self.rsdp.into();
        let (image, size) = self.initrd.unwrap_or_default();
        page.hdr.ramdisk_image = low(image).into();
        page.hdr.ramdisk_size = low(size).into();
        let map = self.memory(block.start());
        page.e820_entries = u8::try_from(map.len()).unwrap_or(0);
        for (to, from) in page.e820_table.iter_mut().zip(map) {
            *to = from;
        }
        let start = Start {
            entry,
            parameters: block.add(page.as_bytes()),
            descriptors: block.descriptors,
            page_tables: Some(block.start()),
        };
        Ok((block.done(), start))
    }

    /// The memory map, with the block from `block` to the end of conventional memory.
    fn memory(&self, block: u64) -> Vec<E820Entry> {
        let (below, above) = (self.layout.below_4g(), self.layout.above_4g());
        let tables = (RSDP_SCAN_START, HIGH_RAM_START, TYPE_RESERVED);
        let pages = KVM_IDENTITY_MAP_ADDR;
        let ranges = [
            (0, block, TYPE_RAM),
            (block, LOW_RAM_END, TYPE_RESERVED),
            tables,
            (HIGH_RAM_START, below, TYPE_RAM),
            (pages, pages + KVM_RESERVED_SIZE, TYPE_RESERVED),
            (RAM_ABOVE_4G_START, RAM_ABOVE_4G_START + above, TYPE_RAM),
        ];
        let entry = |(start, end, kind): (u64, u64, u32)| E820Entry {
            addr: start.into(),
            size: (end - start).into(),
            kind: kind.into(),
        };
        let there = ranges.into_iter().filter(|(start, end, _)| start < end);
        there.map(entry).collect()
    }
}

/// What is handed over, in one piece that ends with conventional memory.
struct Block {
    start: u64,
    bytes: Vec<u8>,
    cmdline: u64,
    descriptors: (u64, u16),
}

impl Block {
    /// Room for what is added: less than this.
    const REST: u64 = 2 * PAGE_SIZE;

    /// Begins with this many pages of page tables, if any; then come descriptors and command line.
    fn new(tables: u64, cmdline: &[u8]) -> Result<Self, Problem> {
        let fixed = tables * PAGE_SIZE + size_of_val(&DESCRIPTORS) as u64 + Self::REST;
        let room = LOW_RAM_END - HANDOFF_FLOOR - fixed - PAGE_SIZE;
        let found = cmdline.len() as u64;
        if found > room {
            let (most, found) = (room - 1, found - 1);
            return Err(Problem::CommandLine { most, found });
        }
        let start = (LOW_RAM_END - fixed - found) & !(PAGE_SIZE - 1);
        let mut block = Self {
            start,
            bytes: Vec::new(),
            cmdline: 0,
            descriptors: (0, 0),
        };
        if tables > 0 {
            block.add(identity_map(start).as_bytes());
        }
        let limit = size_of_val(&DESCRIPTORS) - 1;
        let descriptors = block.add(DESCRIPTORS.as_bytes());
        block.descriptors = (descriptors, u16::try_from(limit).unwrap_or(u16::MAX));
        block.cmdline = block.add(cmdline);
        Ok(block)
    }

    fn start(&self) -> u64 {
        self.start
    }

    /// Adds `bytes` where a structure may begin: their address.
    fn add(&mut self, bytes: &[u8]) -> u64 {
        const ALIGN: usize = 16;
        self.bytes
            .resize(self.bytes.len().next_multiple_of(ALIGN), 0);
        let address = self.start + self.bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        address
    }

    fn done(self) -> (u64, Content) {
        (self.start, self.bytes.into())
    }
}

/// Page tables from `address` on that map the first 4 GiB to themselves.
fn identity_map(address: u64) -> Vec<u64> {
    let table = |index: u64| address + index * PAGE_SIZE;
    let mut entries = vec![table(1) | PRESENT];
    entries.resize(ENTRIES, 0);
    entries.extend((0..DIRECTORIES).map(|index| table(2 + index) | PRESENT));
    entries.resize(2 * ENTRIES, 0);
    let pages = 0..DIRECTORIES * ENTRIES as u64;
    entries.extend(pages.map(|page| (page * LARGE_PAGE) | LARGE | PRESENT));
    entries
}

/// The ACPI tables where they go, and where the RSDP is; 0 if there are none.
fn tables(items: &Items) -> Result<(u64, Vec<(u64, Content)>), Problem> {
    let script = bytes(items.file(file::TABLE_LOADER));
    let mut files: BTreeMap<FileName, (u64, Vec<u8>)> = BTreeMap::new();
    let mut next = RSDP_SCAN_START;
    let mut rsdp = 0;
    let whole = script.chunks_exact(size_of::<Command>());
    for command in whole.filter_map(|bytes| Command::read_from_bytes(bytes).ok()) {
        match command.command.get() {
            COMMAND_ALLOCATE => {
                let order: Allocate = operands(&command);
                let content = bytes(items.file(&text(&order.file)));
                let start = next.next_multiple_of(order.align.get().max(1).into());
                next = start + content.len() as u64;
                if text(&order.file) == file::ACPI_RSDP {
                    rsdp = start;
                }
                files.insert(order.file, (start, content));
            }
            COMMAND_ADD_POINTER => {
                let order: AddPointer = operands(&command);
                let address = files.get(&order.src).map_or(0, |(start, _)| *start);
                add(&mut files, &order, address);
            }
            COMMAND_ADD_CHECKSUM => {
                let order: AddChecksum = operands(&command);
                sum_up(&mut files, &order);
            }
            _ => {}
        }
    }
    if next > HIGH_RAM_START {
        return Err(Problem::Tables {
            most: HIGH_RAM_START - RSDP_SCAN_START,
            found: next - RSDP_SCAN_START,
        });
    }
    let placed = files.into_values();
    Ok((rsdp, placed.map(|(start, it)| (start, it.into())).collect()))
}

fn operands<T: FromBytes + FromZeros>(command: &Command) -> T {
    T::read_from_bytes(&command.body).unwrap_or_else(|_| T::new_zeroed())
}

fn add(files: &mut BTreeMap<FileName, (u64, Vec<u8>)>, order: &AddPointer, address: u64) {
    let (offset, size) = (order.offset.get() as usize, usize::from(order.size));
    let field = files.get_mut(&order.dest);
    let field = field.and_then(|(_, bytes)| bytes.get_mut(offset..offset + size.min(8)));
    if let Some(field) = field {
        let mut value = [0; 8];
        value
            .iter_mut()
            .zip(&*field)
            .for_each(|(to, from)| *to = *from);
        let sum = u64::from_le_bytes(value).wrapping_add(address);
        field
            .iter_mut()
            .zip(sum.to_le_bytes())
            .for_each(|(to, from)| *to = from);
    }
}

fn sum_up(files: &mut BTreeMap<FileName, (u64, Vec<u8>)>, order: &AddChecksum) {
    let Some((_, bytes)) = files.get_mut(&order.file) else {
        return;
    };
    let (start, length) = (order.start.get() as usize, order.length.get() as usize);
    let sum = bytes.get(start..start + length).map(complement);
    if let (Some(sum), Some(byte)) = (sum, bytes.get_mut(order.offset.get() as usize)) {
        *byte = byte.wrapping_add(sum);
    }
}

/// The name without its NULs.
fn text(name: &FileName) -> String {
    let end = name.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(name.get(..end.unwrap_or(name.len())).unwrap_or_default()).into()
}

/// All of an item; nothing if there is none, or if the host cannot read it.
fn bytes(content: Option<&Content>) -> Vec<u8> {
    let mut bytes = vec![0; content.map_or(0, Content::size) as usize];
    match content.map(|content| content.copy(0, &mut bytes)) {
        Some(Ok(())) => bytes,
        _ => Vec::new(),
    }
}

fn number(items: &Items, key: Key) -> u64 {
    let mut value = [0; 8];
    let content = bytes(items.get(key));
    value
        .iter_mut()
        .zip(content)
        .for_each(|(to, from)| *to = from);
    u64::from_le_bytes(value)
}

/// Everything here lies below 4 GiB.
fn low(address: u64) -> u32 {
    u32::try_from(address).unwrap_or(0)
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::boot::table_loader::Script;
    use abi::checksum::sum;
    use abi::table_loader::{ZONE_FSEG, ZONE_HIGH};

    const RAM: u64 = 64 << 20;

    fn items() -> Items {
        let mut script = Script::default();
        script.allocate(file::ACPI_RSDP, 16, ZONE_FSEG);
        script.allocate("tables", 64, ZONE_HIGH);
        script.add_pointer("tables", 8, 4, "tables");
        script.add_pointer(file::ACPI_RSDP, 0, 8, "tables");
        script.add_checksum(file::ACPI_RSDP, 9, 0..10);
        let mut items = Items::new();
        items
            .add_file(file::ACPI_RSDP, vec![4, 0, 0, 0, 0, 0, 0, 0, 7, 0])
            .unwrap();
        items
            .add_file("tables", (0..16).collect::<Vec<u8>>())
            .unwrap();
        items
            .add_file(file::TABLE_LOADER, script.into_bytes())
            .unwrap();
        items.set(Key::CMDLINE_DATA, b"words\0".to_vec());
        items.set(Key::KERNEL_ENTRY, Content::u32(0x10_0040));
        items
    }

    fn segments(end: u64) -> Vec<Segment> {
        vec![Segment {
            address: HIGH_RAM_START,
            file_offset: 0,
            file_size: 1,
            memory_size: end - HIGH_RAM_START,
        }]
    }

    fn piece(direct: &Direct, start: u64) -> Vec<u8> {
        let there = |(address, _): &&(u64, Content)| *address == start;
        bytes(direct.pieces.iter().find(there).map(|(_, content)| content))
    }

    #[test]
    fn the_script_connects_the_tables_where_they_are_scanned_for() {
        let layout = Layout::new(RAM, 0);
        let direct = place(&Way::Pvh(&segments(2 << 20)), &items(), &layout).unwrap();
        let rsdp = piece(&direct, RSDP_SCAN_START);
        assert_eq!(rsdp[..8], (RSDP_SCAN_START + 64 + 4).to_le_bytes());
        assert_eq!(sum(&rsdp), 0);
        let tables = piece(&direct, RSDP_SCAN_START + 64);
        let pointer = u32::from_le_bytes(tables[8..12].try_into().unwrap());
        assert_eq!(pointer, 0x0b0a_0908 + 0xe_0040);
        assert_eq!(tables[..8], [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn what_is_handed_over_is_reserved_and_leads_to_itself() {
        let layout = Layout::new(RAM, 0);
        let direct = place(&Way::Pvh(&segments(2 << 20)), &items(), &layout).unwrap();
        let start = direct.start;
        assert_eq!((start.entry, start.page_tables), (0x10_0040, None));
        let (block, content) = direct
            .pieces
            .iter()
            .find(|(address, _)| *address < LOW_RAM_END)
            .unwrap();
        let all = bytes(Some(content));
        assert!(block + all.len() as u64 <= LOW_RAM_END);
        let at = |address: u64| &all[usize::try_from(address - block).unwrap()..];
        let info = StartInfo::read_from_prefix(at(start.parameters)).unwrap().0;
        assert_eq!(info.magic.get(), START_INFO_MAGIC);
        assert_eq!(info.rsdp_paddr.get(), RSDP_SCAN_START);
        assert_eq!(&at(info.cmdline_paddr.get())[..6], b"words\0");
        let list = at(info.memmap_paddr.get());
        let first = MemmapEntry::read_from_prefix(list).unwrap().0;
        assert_eq!((first.addr.get(), first.size.get()), (0, *block));
        assert_eq!(info.memmap_entries.get(), 5);
    }

    #[test]
    fn the_first_four_gib_are_mapped_to_themselves() {
        let map = identity_map(0x9_0000);
        assert_eq!(map.len(), 6 * 512);
        assert_eq!((map[0], map[512], map[515]), (0x9_1003, 0x9_2003, 0x9_5003));
        assert_eq!((map[1024], map[1025]), (0x83, 0x20_0083));
        assert_eq!(map[6 * 512 - 1], ((4 << 30) - (2 << 20)) | 0x83);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let layout = Layout::new(RAM, 0);
        let refusal = |items: &Items, end| {
            let placed = place(&Way::Pvh(&segments(end)), items, &layout);
            placed.unwrap_err().to_string()
        };
        let mut long = items();
        long.set(Key::CMDLINE_DATA, vec![b'x'; 1 << 20]);
        let sentence = refusal(&long, 2 << 20);
        assert!(
            sentence.ends_with("of --append, found 1048575"),
            "{sentence}"
        );
        let mut low = items();
        low.set(Key::INITRD_DATA, b"initrd".to_vec());
        low.set(Key::INITRD_ADDR, Content::u32(3 << 20));
        assert!(refusal(&low, 4 << 20).contains("found it up to 0x300000"));
        let mut many = items();
        many.set(Key::SETUP_DATA, vec![0; 0x300]);
        let linux = place(&Way::Linux, &many, &layout).unwrap_err();
        assert!(linux.to_string().ends_with("found a bzImage without one"));
    }
}
