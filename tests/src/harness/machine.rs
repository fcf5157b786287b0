// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine that sees every write: `fw_cfg` items as told, and RAM in which nothing may be written
//! but what the plan has given away.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops;
use std::rc::Rc;

use abi::e820::{E820Entry, TYPE_RAM};
use abi::fw_cfg::{FileEntry, Key, file};
use abi::layout::{LOW_RAM_END, ROM_ALIAS_END, ROM_ALIAS_START, SCRATCH_END, SCRATCH_START};
use firmware_core::acpi::{Blob, BlobMemory, CommandBuffer, Loader, MAX_BLOBS, Zone};
use firmware_core::board::Board;
use firmware_core::error::BootError;
use firmware_core::facts::{Facts, Scratch};
use firmware_core::fw_cfg::{Directory, DirectoryBuffer, TransferError, Transport};
use firmware_core::memory::{Range, Region};
use firmware_core::plan::{Handoff, Means, Plan, RealMode};
use firmware_core::processors::{Identity, Topology};
use firmware_core::tables::pvh;
use firmware_core::words::{Sink, Speaker};
use firmware_core::{smbios, tables, trace};
use zerocopy::{FromZeros, IntoBytes};

/// What a boot is given.
#[derive(Debug)]
pub struct Machine {
    pub board: Board,
    pub dma: bool,
    pub gigabyte_pages: bool,
    items: BTreeMap<u16, Vec<u8>>,
    directory: Vec<FileEntry>,
    selected: u16,
    offset: usize,
    ram: Memory,
}

/// RAM that is shared by the device, which loads to it, and the linker, which changes tables in it.
#[derive(Clone, Debug)]
struct Memory(Rc<RefCell<Ram>>);

#[derive(Debug)]
struct Ram {
    bytes: Vec<u8>,
    /// What may be written: pieces of the plan.
    allocated: Vec<Range>,
}

/// What became of it.
#[derive(Debug)]
pub struct Outcome {
    pub regions: Vec<Region>,
    pub handoff: Handoff,
    pub block: Vec<u8>,
    pub kernel: Option<Range>,
    pub initrd: Option<Range>,
    pub blobs: Vec<Place>,
    pub rsdp: Option<u64>,
    pub smbios: Option<Range>,
    /// What a kernel entered in real mode finds from `SCRATCH_START` to `LOW_RAM_END`.
    pub real_mode: Option<(RealMode, Vec<u8>)>,
}

/// Where a file of the loader script lies.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub key: Key,
    pub range: Range,
    pub align: u64,
    pub scanned: bool,
}

impl Machine {
    /// One processor, no item but its number, and this much RAM.
    pub fn new(ram: usize) -> Self {
        let mut machine = Self {
            board: Board::Microvm,
            dma: true,
            gigabyte_pages: true,
            items: BTreeMap::new(),
            directory: Vec::new(),
            selected: 0,
            offset: 0,
            ram: Memory(Rc::new(RefCell::new(Ram {
                bytes: vec![0; ram],
                allocated: Vec::new(),
            }))),
        };
        machine.set(Key::NB_CPUS, 1u16.to_le_bytes());
        machine
    }

    pub fn set(&mut self, key: Key, bytes: impl Into<Vec<u8>>) {
        self.items.insert(key.0, bytes.into());
    }

    pub fn set_u32(&mut self, key: Key, value: u32) {
        self.set(key, value.to_le_bytes());
    }

    /// An ELF kernel that the VMM has placed.
    pub fn set_pvh(&mut self, addr: u32, size: u32) {
        self.set_u32(Key::KERNEL_ENTRY, addr);
        self.set_u32(Key::KERNEL_ADDR, addr);
        self.set_u32(Key::KERNEL_SIZE, size);
        self.set_u32(Key::SETUP_SIZE, 1);
    }

    /// A memory map of RAM alone.
    pub fn set_ram(&mut self, ranges: &[Range]) {
        let record = |range: &Range| E820Entry {
            addr: range.start().into(),
            size: range.size().into(),
            kind: TYPE_RAM.into(),
        };
        let map: Vec<_> = ranges.iter().map(record).collect();
        self.add_whole_file(file::E820, map.as_slice().as_bytes().to_vec());
    }

    /// A file of the size that the directory says.
    pub fn add_whole_file(&mut self, name: &str, bytes: Vec<u8>) -> Key {
        let size = u32::try_from(bytes.len()).expect("small");
        self.add_file(name.as_bytes(), size, bytes)
    }

    /// A file, which may have another size than the directory says.
    pub fn add_file(&mut self, name: &[u8], claimed: u32, bytes: Vec<u8>) -> Key {
        let key =
            Key(u16::try_from(Key::FILE_FIRST.0 as usize + self.directory.len()).expect("few"));
        let mut entry = FileEntry::new_zeroed();
        entry.size = claimed.into();
        entry.select = key.0.into();
        entry.name[..name.len()].copy_from_slice(name);
        self.directory.push(entry);
        self.set(key, bytes);
        key
    }

    /// What an item holds now.
    pub fn item(&self, key: Key) -> &[u8] {
        self.items.get(&key.0).map_or(&[], Vec::as_slice)
    }

    /// What lies in RAM.
    pub fn bytes(&self, range: Range) -> Vec<u8> {
        self.ram.0.borrow().bytes[indices(range)].to_vec()
    }

    /// Everything from the directory to the kernel's door.
    pub fn boot(&mut self) -> Result<Outcome, BootError> {
        let count = u32::try_from(self.directory.len()).expect("few");
        let mut bytes = count.to_be_bytes().to_vec();
        bytes.extend_from_slice(self.directory.as_slice().as_bytes());
        self.set(Key::FILE_DIR, bytes);

        let mut scratch = Box::new(Scratch::new_zeroed());
        let mut directory = Box::new(DirectoryBuffer::new_zeroed());
        let mut commands = Box::new(CommandBuffer::new_zeroed());
        let mut storage = Box::new([Blob::new_zeroed(); MAX_BLOBS]);
        let mut regions = [Region::new_zeroed(); abi::e820::MAX_ENTRIES];
        let identity = self.identity();
        let mut files = Directory::read(self, &mut directory)?;
        let board = self.board;
        let facts = Facts::gather(self, &files, board, |_| identity, &mut scratch)?;
        let mut loader = Loader::gather(self, &mut files, &mut commands, &mut storage)?;
        smbios::gather(&files.known, &mut loader)?;
        let means = Means { dma: self.dma };
        let plan = Plan::new(&facts, means, &mut loader.blobs, &mut regions)?;

        let blobs: Vec<_> = loader.blobs.iter().map(Place::of).collect();
        let mut allocated: Vec<_> = blobs.iter().map(|blob| blob.range).collect();
        allocated.extend(plan.kernel);
        allocated.extend(plan.initrd);
        self.ram.0.borrow_mut().allocated = allocated;
        let mut block = vec![0xcc; plan.handoff.block.size().try_into().expect("small")];
        plan.load(self, &mut block)?;
        loader.load(self)?;
        self.ram.0.borrow_mut().allocated.truncate(blobs.len());
        let mut memory = self.ram.clone();
        loader.link(self, &mut files, &mut memory)?;
        // All that can be said of it: where nobody asks for it, it makes no difference.
        let mut listener = Listener;
        let to = &mut Speaker::new(&mut listener);
        trace::files(self, &mut files, to);
        trace::found(&facts, None, to);
        trace::decided(&plan, &loader.blobs, to);
        loader.trace(self, &mut memory, true, to);
        let smbios = smbios::link(&files.known, &loader, &mut memory)?;
        let rsdp = loader.rsdp(&mut memory);
        tables::write(&plan, &facts, rsdp, &mut block);
        if facts.modules.count() > 0 {
            let place = Range::new(plan.modules, facts.modules.size());
            self.ram.0.borrow_mut().allocated.extend(place);
            pvh::add_modules(self, &plan, facts.modules, &mut block)?;
        }
        let real_mode = if let Some(real_mode) = RealMode::new(&facts, &plan) {
            let low = Range::between(SCRATCH_START, LOW_RAM_END);
            let mut low = vec![0xcc; low.size().try_into().expect("small")];
            real_mode.load(self, &mut low)?;
            Some((real_mode, low))
        } else {
            None
        };
        Ok(Outcome {
            regions: plan.memory.regions().to_vec(),
            handoff: plan.handoff,
            block,
            kernel: plan.kernel,
            initrd: plan.initrd,
            blobs,
            rsdp,
            smbios,
            real_mode,
        })
    }

    fn identity(&self) -> Identity {
        Identity {
            signature: 0x600f12,
            features: 0x78b_fbff,
            gigabyte_pages: self.gigabyte_pages,
            topology: Topology {
                threads_per_core: 1,
                threads_per_package: 1,
                core_shift: 0,
                package_shift: 0,
            },
        }
    }

    fn refusal(&self, length: usize) -> TransferError {
        TransferError {
            key: Key(self.selected),
            length: u32::try_from(length).unwrap_or(u32::MAX),
            control: 1,
        }
    }
}

/// Hears nothing that a terminal would obey.
struct Listener;

impl Sink for Listener {
    fn bytes(&mut self, bytes: &[u8]) {
        let mut harmless = bytes.iter().map(|byte| matches!(byte, b' '..=b'~' | b'\n'));
        assert!(harmless.all(|harmless| harmless), "{bytes:x?}");
    }
}

impl Transport for Machine {
    fn read(&mut self, key: Key, buffer: &mut [u8]) -> Result<(), TransferError> {
        self.seek(key, 0)?;
        self.read_more(buffer)
    }

    fn read_more(&mut self, buffer: &mut [u8]) -> Result<(), TransferError> {
        let item = self
            .items
            .get(&self.selected)
            .map_or(&[][..], Vec::as_slice);
        let rest = item.get(self.offset..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        buffer[length..].fill(0);
        self.offset = self.offset.saturating_add(buffer.len());
        Ok(())
    }

    fn seek(&mut self, key: Key, offset: u32) -> Result<(), TransferError> {
        self.selected = key.0;
        self.offset = offset as usize;
        Ok(())
    }

    fn write_more(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        let refusal = self.refusal(bytes.len());
        let end = self.offset.saturating_add(bytes.len());
        let item = self.items.get_mut(&self.selected).ok_or(refusal)?;
        let target = item.get_mut(self.offset..end).ok_or(refusal)?;
        target.copy_from_slice(bytes);
        self.offset = end;
        Ok(())
    }

    fn load(&mut self, key: Key, to: Range) -> Result<(), TransferError> {
        self.selected = key.0;
        let refusal = self.refusal(0);
        let item = self.items.get(&key.0).map_or(&[][..], Vec::as_slice);
        let mut ram = self.ram.0.borrow_mut();
        ram.assert_allocated(to);
        let target = ram.bytes.get_mut(indices(to)).ok_or(refusal)?;
        let length = item.len().min(target.len());
        target[..length].copy_from_slice(&item[..length]);
        target[length..].fill(0);
        Ok(())
    }
}

impl BlobMemory for Memory {
    fn edit<T>(&mut self, range: Range, edit: impl FnOnce(&mut [u8]) -> T) -> T {
        let mut ram = self.0.borrow_mut();
        ram.assert_allocated(range);
        edit(&mut ram.bytes[indices(range)])
    }
}

impl Ram {
    fn assert_allocated(&self, range: Range) {
        assert!(
            self.allocated.iter().any(|piece| piece.contains(range)),
            "{range} is written, but is no part of {:x?}",
            self.allocated
        );
    }
}

impl Place {
    fn of(blob: &Blob) -> Self {
        Self {
            key: blob.key(),
            range: blob.place(),
            align: blob.align(),
            scanned: blob.zone() == Zone::FSegment,
        }
    }
}

impl Outcome {
    /// The map is sorted, has neither overlaps nor empty nor mergeable regions, and nothing that was
    /// given away overlaps anything else, is free RAM in the map or is not memory at all.
    ///
    /// `kernel` is what the kernel occupies before it reads the map.
    pub fn assert_consistent(&self, ram: &[Range], kernel: Range) {
        for region in &self.regions {
            assert!(region.start < region.end, "{region:x?}");
        }
        for pair in self.regions.windows(2) {
            let apart = pair[0].end < pair[1].start;
            let other = pair[0].end == pair[1].start && pair[0].kind != pair[1].kind;
            assert!(apart || other, "{pair:x?}");
        }
        let mut given = vec![("hand-off block", self.handoff.block), ("kernel", kernel)];
        given.extend(self.initrd.map(|range| ("initrd", range)));
        given.extend(self.blobs.iter().map(|blob| ("table", blob.range)));
        given.push(("image", Range::between(ROM_ALIAS_START, ROM_ALIAS_END)));
        given.push(("firmware", Range::between(0, SCRATCH_END)));
        for (index, (name, range)) in given.iter().enumerate() {
            for (other_name, other) in &given[..index] {
                assert!(
                    !range.overlaps(*other),
                    "{name} {range}, {other_name} {other}"
                );
            }
            let is_ram = ram.iter().any(|ram| ram.contains(*range)) || range.is_empty();
            assert!(is_ram || *name == "image", "{name} {range} is not in RAM");
            let keeps = ["hand-off block", "table", "image"].contains(name);
            let free = |region: &&Region| {
                region.kind == u64::from(TYPE_RAM) && region.range().overlaps(*range)
            };
            let taken = self.regions.iter().find(free);
            assert!(
                !keeps || taken.is_none(),
                "{name} {range} is free in {taken:x?}"
            );
        }
        if let Some(load) = self.kernel {
            assert!(kernel.contains(load), "{load} outside {kernel}");
        }
        let parts = [
            self.handoff.mp_pointer,
            self.handoff.mp_table,
            self.handoff.parameters,
            self.handoff.ebda,
            self.handoff.cmdline,
        ];
        for (index, part) in parts.iter().enumerate() {
            assert!(
                self.handoff.block.contains(*part),
                "{part} outside its block"
            );
            let apart = parts[..index].iter().all(|other| !other.overlaps(*part));
            assert!(apart, "{part} overlaps another part of {parts:x?}");
        }
    }
}

/// A range as an index into RAM that begins at 0.
fn indices(range: Range) -> ops::Range<usize> {
    let index = |address: u64| usize::try_from(address).expect("64 bits");
    index(range.start())..index(range.end())
}
