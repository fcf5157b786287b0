// SPDX-License-Identifier: MIT OR Apache-2.0
//! The loopback: the real firmware head against the real VMM devices, without KVM.
//!
//! The firmware's hands are replaced by register accesses on the device model, each of which is
//! counted; the device's DMA goes to the same guest memory that the "kernel" is then found in.

use abi::fw_cfg::{
    DmaControl, DmaDescriptor, Key, PORT_BASE, PORT_DATA, PORT_DMA_HIGH, PORT_DMA_LOW,
    PORT_SELECTOR, SIGNATURE,
};
use abi::layout::{LOW_RAM_END, SCRATCH_START, STACK_BOTTOM};
use firmware_core::acpi::{Blob, BlobMemory, CommandBuffer, Loader, MAX_BLOBS};
use firmware_core::board::Board;
use firmware_core::error::BootError;
use firmware_core::facts::{Facts, Scratch};
use firmware_core::fw_cfg::{Directory, DirectoryBuffer, KnownFiles, TransferError, Transport};
use firmware_core::memory::{Range, Region};
use firmware_core::plan::{Entry, Handoff, Means, Plan, RealMode};
use firmware_core::processors::{Identity, Topology};
use firmware_core::smbios;
use firmware_core::tables;
use firmware_core::tables::multiboot::LoadOrder;
use firmware_core::tables::pvh;
use firmware_core::trace;
use firmware_core::words::{Sink, Speaker};
use vmm::devices::fw_cfg::{FwCfg, Items};
use vmm::memory::Memory;
use zerocopy::{FromZeros, IntoBytes};

/// Processors with one thread each, and with 1 GiB pages.
pub const IDENTITY: Identity = Identity {
    signature: 0x600f12,
    features: 0x78b_fbff,
    gigabyte_pages: true,
    topology: Topology {
        threads_per_core: 1,
        threads_per_package: 1,
        core_shift: 0,
        package_shift: 0,
    },
};

/// Where the transport keeps its descriptor: on the firmware's stack.
const DESCRIPTOR: u64 = STACK_BOTTOM;
/// Where it has the device put what it reads.
const BUFFER: u64 = SCRATCH_START;

/// A machine of which only memory and `fw_cfg` exist.
#[derive(Debug)]
pub struct Loopback {
    device: FwCfg,
    dma: bool,
    /// Guest memory.
    pub memory: Memory,
    /// Port accesses so far.
    pub accesses: u32,
    /// What the firmware says at the level `trace`, if it is to say anything.
    pub said: Option<Said>,
}

/// Words that somebody has listened to.
#[derive(Debug, Default)]
pub struct Said(pub String);

impl Sink for Said {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.push_str(core::str::from_utf8(bytes).expect("UTF-8"));
    }
}

/// What a boot has come to.
#[derive(Debug)]
pub struct Booted {
    /// The files that the firmware has found.
    pub files: KnownFiles,
    /// The published memory map.
    pub regions: Vec<Region>,
    /// The hand-off block.
    pub handoff: Handoff,
    /// Where the kernel was loaded.
    pub kernel: Option<Range>,
    /// Where the initial RAM disk was loaded.
    pub initrd: Option<Range>,
    /// Where the ACPI RSDP lies.
    pub rsdp: Option<u64>,
    /// Where the SMBIOS entry point lies.
    pub smbios: Option<Range>,
    /// How the kernel would be entered.
    pub entry: Entry,
}

impl Loopback {
    /// A machine with `memory` that offers `items`.
    ///
    /// # Panics
    /// The device does not take the items.
    #[must_use]
    pub fn new(items: Items, memory: Memory, dma: bool) -> Self {
        let device = FwCfg::new(items, dma.then(|| memory.clone())).expect("items");
        Self {
            device,
            dma,
            memory,
            accesses: 0,
            said: None,
        }
    }

    /// Everything the firmware does from its first question to the kernel's door.
    ///
    /// # Errors
    /// What the firmware would say before it stops.
    pub fn boot(&mut self, identity: Identity) -> Result<Booted, BootError> {
        self.open()?;
        let mut scratch = Box::new(Scratch::new_zeroed());
        let mut directory = Box::new(DirectoryBuffer::new_zeroed());
        let mut commands = Box::new(CommandBuffer::new_zeroed());
        let mut blobs = Box::new([Blob::new_zeroed(); MAX_BLOBS]);
        let mut storage = [Region {
            start: 0,
            end: 0,
            kind: 0,
        }; abi::e820::MAX_ENTRIES];
        let mut files = Directory::read(self, &mut directory)?;
        self.trace(|device, to| trace::files(device, &mut files, to));
        let facts = Facts::gather(self, &files, Board::Microvm, |_| identity, &mut scratch)?;
        self.trace(|_, to| trace::found(&facts, None, to));
        let mut loader = Loader::gather(self, &mut files, &mut commands, &mut blobs)?;
        smbios::gather(&files.known, &mut loader)?;
        let plan = Plan::new(
            &facts,
            Means { dma: self.dma },
            &mut loader.blobs,
            &mut storage,
        )?;

        self.trace(|_, to| trace::decided(&plan, &loader.blobs, to));
        let block = plan.handoff.block;
        let mut bytes = vec![0xcc; usize::try_from(block.size()).expect("small")];
        plan.load(self, &mut bytes)?;
        loader.load(self)?;
        let mut tables = TableMemory(self.memory.clone());
        loader.link(self, &mut files, &mut tables)?;
        let smbios = smbios::link(&files.known, &loader, &mut tables)?;
        self.trace(|device, to| loader.trace(device, &mut tables, true, to));
        let rsdp = loader.rsdp(&mut tables);
        tables::write(&plan, &facts, rsdp, &mut bytes);
        if facts.modules.count() > 0 {
            pvh::add_modules(self, &plan, facts.modules, &mut bytes)?;
        }
        self.memory
            .write(block.start(), &bytes)
            .expect("the hand-off block is RAM");
        if let Entry::Multiboot { order, .. } = plan.entry {
            self.carry_out(order.into());
        }
        if let Some(real_mode) = RealMode::new(&facts, &plan) {
            let whole = Range::between(SCRATCH_START, LOW_RAM_END);
            let mut bytes = self.bytes(whole);
            real_mode.load(self, &mut bytes)?;
            self.memory
                .write(whole.start(), &bytes)
                .expect("conventional memory is RAM");
        }
        Ok(Booted {
            files: files.known,
            regions: plan.memory.regions().to_vec(),
            handoff: plan.handoff,
            kernel: plan.kernel,
            initrd: plan.initrd,
            rsdp,
            smbios,
            entry: plan.entry,
        })
    }

    fn trace(&mut self, say: impl FnOnce(&mut Self, &mut Speaker<'_>)) {
        if let Some(mut said) = self.said.take() {
            say(self, &mut Speaker::new(&mut said));
            self.said = Some(said);
        }
    }

    /// What `multiboot32.s` does.
    fn carry_out(&mut self, at: u64) {
        let mut order = LoadOrder::new_zeroed();
        let read = |memory: &Memory, order: &mut LoadOrder| {
            memory.read(at, order.as_mut_bytes()).expect("RAM");
        };
        read(&self.memory, &mut order);
        if order.dma.get() == 0 {
            let key = Key((order.transfer.control.get() >> 16) as u16);
            let mut kernel = vec![0; order.transfer.length.get() as usize];
            self.by_port(Some(key), &mut kernel);
            self.memory
                .write(order.transfer.address.get(), &kernel)
                .expect("the plan has found RAM");
        } else {
            let doorbell = u32::try_from(at).expect("low").to_be_bytes();
            self.output(PORT_DMA_LOW, &doorbell);
            read(&self.memory, &mut order);
            assert_eq!(order.transfer.control.get(), 0, "the kernel is loaded");
        }
        self.memory
            .write(order.terminator.get().into(), &[0])
            .expect("RAM");
    }

    /// Finds the device as the firmware's hands do.
    fn open(&mut self) -> Result<(), BootError> {
        let mut halves = [0; 8];
        self.input(PORT_DMA_HIGH, &mut halves[..4]);
        self.input(PORT_DMA_LOW, &mut halves[4..]);
        assert_eq!(&halves == b"QEMU CFG", self.dma);
        if !self.dma {
            let mut found = [0; 4];
            self.read(Key::SIGNATURE, &mut found)?;
            assert_eq!(found, SIGNATURE);
        }
        Ok(())
    }

    /// What failed on the host, if anything.
    #[must_use]
    pub fn host_error(&self) -> Option<&str> {
        self.device.host_error()
    }

    /// Guest-physical memory.
    ///
    /// # Panics
    /// The range is not memory.
    #[must_use]
    pub fn bytes(&self, range: Range) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(range.size()).expect("small")];
        self.memory.read(range.start(), &mut bytes).expect("memory");
        bytes
    }

    fn input(&mut self, port: u16, data: &mut [u8]) {
        self.accesses += 1;
        self.device.read(port - PORT_BASE, data);
    }

    fn output(&mut self, port: u16, data: &[u8]) {
        self.accesses += 1;
        self.device.write(port - PORT_BASE, data);
    }

    fn by_dma(&mut self, key: Option<Key>, to: u64, length: usize) -> Result<(), TransferError> {
        let control = key.map_or(DmaControl::READ.bits(), |key| {
            DmaControl::READ.with_key(key)
        });
        self.operate(control, to, length)
    }

    /// One DMA operation.
    fn operate(&mut self, control: u32, at: u64, length: usize) -> Result<(), TransferError> {
        let mut descriptor = DmaDescriptor {
            control: control.into(),
            length: u32::try_from(length).expect("small").into(),
            address: at.into(),
        };
        self.memory
            .write(DESCRIPTOR, descriptor.as_bytes())
            .expect("the stack is RAM");
        let doorbell = u32::try_from(DESCRIPTOR).expect("low").to_be_bytes();
        self.output(PORT_DMA_LOW, &doorbell);
        self.memory
            .read(DESCRIPTOR, descriptor.as_mut_bytes())
            .expect("the stack is RAM");
        let key = Key(u16::try_from(control >> 16).expect("16 bits"));
        match descriptor.control.get() {
            0 => Ok(()),
            control => Err(TransferError {
                key,
                length: descriptor.length.get(),
                control,
            }),
        }
    }

    fn by_port(&mut self, key: Option<Key>, buffer: &mut [u8]) {
        if let Some(key) = key {
            self.output(PORT_SELECTOR, &key.0.to_le_bytes());
        }
        self.accesses += 1;
        self.device.read_string(PORT_DATA - PORT_BASE, 1, buffer);
    }

    fn transfer(&mut self, key: Option<Key>, buffer: &mut [u8]) -> Result<(), TransferError> {
        if self.dma {
            self.by_dma(key, BUFFER, buffer.len())?;
            self.memory
                .read(BUFFER, buffer)
                .expect("the scratch area is RAM");
        } else {
            self.by_port(key, buffer);
        }
        Ok(())
    }
}

/// Guest memory as the place of loaded tables.
struct TableMemory(Memory);

impl BlobMemory for TableMemory {
    fn edit<T>(&mut self, range: Range, edit: impl FnOnce(&mut [u8]) -> T) -> T {
        let mut bytes = vec![0; usize::try_from(range.size()).expect("small")];
        self.0
            .read(range.start(), &mut bytes)
            .expect("tables lie in RAM");
        let result = edit(&mut bytes);
        self.0
            .write(range.start(), &bytes)
            .expect("tables lie in RAM");
        result
    }
}

impl Transport for Loopback {
    fn read(&mut self, key: Key, buffer: &mut [u8]) -> Result<(), TransferError> {
        self.transfer(Some(key), buffer)
    }

    fn read_more(&mut self, buffer: &mut [u8]) -> Result<(), TransferError> {
        self.transfer(None, buffer)
    }

    fn seek(&mut self, key: Key, offset: u32) -> Result<(), TransferError> {
        if self.dma {
            let control = DmaControl::SKIP.with_key(key);
            return self.operate(control, 0, offset as usize);
        }
        self.by_port(Some(key), &mut vec![0; offset as usize]);
        Ok(())
    }

    fn write_more(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        self.memory
            .write(BUFFER, bytes)
            .expect("the scratch area is RAM");
        self.operate(DmaControl::WRITE.bits(), BUFFER, bytes.len())
    }

    fn load(&mut self, key: Key, to: Range) -> Result<(), TransferError> {
        let length = usize::try_from(to.size()).expect("small");
        if self.dma {
            return self.by_dma(Some(key), to.start(), length);
        }
        let mut buffer = vec![0; length];
        self.by_port(Some(key), &mut buffer);
        self.memory
            .write(to.start(), &buffer)
            .map_err(|_| TransferError {
                key,
                length: u32::try_from(length).expect("small"),
                control: 1,
            })
    }
}
