// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtio devices and a driver without manners: whatever it does, a reset brings the device back.

use super::input::Input;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vmm::config::{Aio, Disk};
use vmm::devices::virtio::blk::Blk;
use vmm::devices::virtio::console::{Console, Size, Wire};
use vmm::devices::virtio::mmio::Transport;
use vmm::devices::virtio::rng::Rng;
use vmm::devices::virtio::{Device, Interface};
use vmm::memory::Memory;
use vmm_sys_util::tempfile::TempFile;

pub(super) const SIZE: usize = 0x1_0000;
const TABLE: u64 = 0x1000;
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;
const BUFFER: u64 = 0x8000;
/// How long the host gets for a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Addresses that a driver may mean, or may not.
const PLACES: [u64; 8] = [
    0,
    TABLE,
    AVAILABLE,
    USED,
    BUFFER,
    SIZE as u64,
    1 << 32,
    u64::MAX,
];
pub(super) const LENGTHS: [u64; 6] = [0, 1, 16, 0x1000, SIZE as u64, u32::MAX as u64];

/// The registers that a driver writes, of either interface.
pub(super) const REGISTERS: [u8; 21] = [
    0x14, 0x20, 0x24, 0x28, 0x30, 0x38, 0x3c, 0x40, 0x44, 0x50, 0x64, 0x70, 0x80, 0x84, 0x90, 0x94,
    0xa0, 0xa4, 0xb0, 0xc0, 0xfc,
];

/// A driver of one of the queues.
pub(super) struct Driver {
    pub(super) transport: Arc<Transport>,
    pub(super) memory: Memory,
    interface: Interface,
    queue: u8,
}

impl Driver {
    pub(super) fn new(interface: Interface, device: Box<dyn Device>, queue: u8) -> Self {
        let memory = Memory::from_ranges(&[(0, SIZE)]).expect("64 KiB");
        let transport = Transport::new(interface, device, memory.clone(), false);
        Self {
            transport: Arc::new(transport.expect("event counters")),
            memory,
            interface,
            queue,
        }
    }

    pub(super) fn interface(&self) -> Interface {
        self.interface
    }

    /// The bits of the status that a driver may see.
    pub(super) fn possible(&self) -> u32 {
        match self.interface {
            Interface::Modern => 0xcf,
            Interface::Legacy => 0x8f,
        }
    }

    /// What the status is after a good start.
    pub(super) fn running(&self) -> u32 {
        match self.interface {
            Interface::Modern => 0xf,
            Interface::Legacy => 7,
        }
    }

    pub(super) fn read(&self, offset: u32) -> u32 {
        let mut data = [0; 4];
        self.transport.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    pub(super) fn write(&self, offset: u32, value: u32) {
        let written = self.transport.write(offset, &value.to_le_bytes());
        written.expect("event counters do not fail");
    }

    /// As the specification has it, with its queue of 8 and the first of these features.
    fn start(&self, features: u32) {
        if self.interface == Interface::Legacy {
            return self.start_legacy(features);
        }
        for (register, value) in [
            (0x70, 0),
            (0x70, 3),
            (0x24, 0),
            (0x20, features),
            (0x24, 1),
            (0x20, 1),
            (0x70, 0xb),
            (0x30, self.queue.into()),
            (0x38, 8),
            (0x80, 0x1000),
            (0x84, 0),
            (0x90, 0x2000),
            (0x94, 0),
            (0xa0, 0x3000),
            (0xa4, 0),
            (0x44, 1),
            (0x70, 0xf),
        ] {
            self.write(register, value);
        }
    }

    /// The same before version 1: the rings are where the pages of a queue of 8 have them.
    fn start_legacy(&self, features: u32) {
        for (register, value) in [
            (0x70, 0),
            (0x70, 3),
            (0x24, 0),
            (0x20, features),
            (0x28, 128),
            (0x30, self.queue.into()),
            (0x38, 8),
            (0x3c, 0x1000),
            (0x40, 63),
            (0x70, 7),
        ] {
            self.write(register, value);
        }
    }

    /// Where descriptor `index` is.
    fn descriptor(&self, index: u64) -> u64 {
        let table = match self.interface {
            Interface::Modern => TABLE,
            Interface::Legacy => 63 * 128,
        };
        table + 16 * index
    }

    fn describe(&self, index: u64, address: u64, length: u32, flags: u16, next: u16) {
        let bytes = [
            &address.to_le_bytes()[..],
            &length.to_le_bytes(),
            &flags.to_le_bytes(),
            &next.to_le_bytes(),
        ];
        self.put(self.descriptor(index), &bytes.concat());
    }

    pub(super) fn put(&self, address: u64, bytes: &[u8]) {
        self.memory.write(address, bytes).expect("memory");
    }

    /// Makes the chain at 0 available, the only one, and gives how much of it was written.
    fn last_word(&self) -> u32 {
        self.put(AVAILABLE + 2, &[1, 0]);
        self.write(0x50, self.queue.into());
        self.serve();
        // The host may still be at it.
        let begin = Instant::now();
        while !self.is_answered() && begin.elapsed() < PATIENCE {
            std::thread::yield_now();
            self.serve();
        }
        self.answer()
    }

    fn is_answered(&self) -> bool {
        let mut used = [0; 2];
        self.memory.read(USED + 2, &mut used).expect("memory");
        used != [0; 2]
    }

    fn answer(&self) -> u32 {
        let mut used = [0; 10];
        self.memory.read(USED + 2, &mut used).expect("memory");
        let [1, 0, 0, 0, 0, 0, length @ ..] = used else {
            panic!("expected one chain to be used, found {used:?}");
        };
        u32::from_le_bytes(length)
    }

    fn serve(&self) {
        // Where nothing was notified there is nothing to wait for.
        let _ = self.transport.serve(self.queue.into());
    }
}

/// The same steps with each device and either interface.
pub fn virtio(data: &[u8]) {
    for interface in [Interface::Modern, Interface::Legacy] {
        entropy(interface, data);
        disk(interface, data, Aio::Threads);
        // The same where the kernel has no io_uring.
        disk(interface, data, Aio::Auto);
        console_input(interface, data);
        console_output(interface, data);
    }
}

/// Steps of a driver of the entropy device.
fn entropy(interface: Interface, data: &[u8]) {
    let driver = Driver::new(
        interface,
        Box::new(Rng::new(Box::new(std::io::repeat(0x5a)))),
        0,
    );
    drive(&driver, data, 0);
    driver.describe(0, BUFFER, 4, 2, 0);
    assert_eq!(driver.last_word(), 4);
    let mut bytes = [0; 4];
    driver.memory.read(BUFFER, &mut bytes).expect("memory");
    assert_eq!(bytes, [0x5a; 4]);
}

/// Steps of a driver of a disk, whose image keeps its size and what is written to it at last.
fn disk(interface: Interface, data: &[u8], aio: Aio) {
    const SECTORS: u64 = 32;
    let file = TempFile::new().expect("an image");
    file.as_file()
        .set_len(SECTORS * 512)
        .expect("a size that fits");
    let disk = Disk {
        path: file.as_path().into(),
        read_only: false,
        direct: false,
        aio,
        serial: "fuzz".into(),
        queues: 2,
        boot_index: None,
    };
    let device = Blk::open(&disk).expect("an image");
    let driver = Driver::new(interface, Box::new(device), 0);
    drive(&driver, data, 1 << 9);
    // A write of sector 3.
    let header = [&[1, 0, 0, 0, 0, 0, 0, 0, 3][..], &[0; 7]].concat();
    driver.put(BUFFER, &header);
    driver.put(BUFFER + 0x100, &[0xa5; 512]);
    driver.describe(0, BUFFER, 16, 1, 1);
    driver.describe(1, BUFFER + 0x100, 512, 1, 2);
    driver.describe(2, BUFFER + 0x80, 1, 2, 0);
    assert_eq!(driver.last_word(), 1);
    let mut status = [0xff];
    driver
        .memory
        .read(BUFFER + 0x80, &mut status)
        .expect("memory");
    assert_eq!(status, [0]);
    let mut sector = [0; 512];
    let read = file.as_file().read_exact_at(&mut sector, 3 * 512);
    read.expect("a sector");
    assert_eq!(sector, [0xa5; 512]);
    let size = file.as_file().metadata().expect("a size").len();
    assert_eq!(size, SECTORS * 512);
}

/// A console with something typed, and a driver of one of its queues.
fn console(interface: Interface, queue: u8) -> (Driver, Wire) {
    let console = Arc::new(Console::new(Some(Size::default())));
    let driver = Driver::new(interface, Box::new(Arc::clone(&console)), queue);
    let wire = Wire::new(console, Arc::clone(&driver.transport));
    wire.feed(&[0x5a; 100]).expect("event counters do not fail");
    (driver, wire)
}

/// Steps of a driver of a console that is typed at.
fn console_input(interface: Interface, data: &[u8]) {
    let (driver, wire) = console(interface, 0);
    drive(&driver, data, 1);
    wire.feed(&[0x5a; 4]).expect("event counters do not fail");
    driver.describe(0, BUFFER, 4, 2, 0);
    assert_eq!(driver.last_word(), 4);
    let mut bytes = [0; 4];
    driver.memory.read(BUFFER, &mut bytes).expect("memory");
    assert_eq!(bytes, [0x5a; 4]);
}

/// Steps of a driver of a console that prints. What it prints at last comes last.
fn console_output(interface: Interface, data: &[u8]) {
    let (driver, wire) = console(interface, 1);
    drive(&driver, data, 1);
    driver.put(BUFFER, b"last");
    driver.describe(0, BUFFER, 4, 0, 0);
    driver.put(AVAILABLE + 2, &[1, 0]);
    driver.write(0x50, 1);
    driver.serve();
    let mut printed = Vec::new();
    // Where it found no room, somebody makes it.
    for _ in 0..2 {
        wire.print(&mut printed).expect("memory takes it");
        driver.serve();
        if printed.ends_with(b"last") {
            break;
        }
    }
    assert_eq!(driver.answer(), 0);
    assert!(printed.ends_with(b"last"));
}

/// Steps of a driver: registers, descriptors, the available ring, notifications, machine resets.
/// Then a good start with these features.
fn drive(driver: &Driver, data: &[u8], features: u32) {
    let mut input = Input(data);
    while !input.is_empty() {
        match input.u8() % 8 {
            0 => {
                let value = input.near(&PLACES) & 0xffff_ffff;
                let register = input.pick(&REGISTERS);
                driver.write(register.into(), u32::try_from(value).unwrap_or_default());
            }
            1 => driver.write(input.pick(&REGISTERS).into(), input.u8().into()),
            2 => driver.start(features),
            3 => {
                let index = u64::from(input.u8() % 16);
                let address = input.near(&PLACES);
                let length = u32::try_from(input.near(&LENGTHS) & 0xffff_ffff);
                let length = length.unwrap_or_default();
                driver.describe(index, address, length, input.u8().into(), input.u8().into());
            }
            4 => {
                let slot = u64::from(input.u8() % 8);
                driver.put(AVAILABLE + 4 + 2 * slot, &[input.u8() % 10, 0]);
                driver.put(AVAILABLE + 2, &input.u16().to_le_bytes());
            }
            5 => {
                driver.write(0x50, driver.queue.into());
                driver.serve();
            }
            6 => {
                let offset = input.u16().into();
                let mut wide = [0; 8];
                let width = 1 << (input.u8() % 4);
                driver.transport.read(offset, &mut wide[..width]);
                let written = driver.transport.write(offset, &wide[..width]);
                written.expect("event counters do not fail");
            }
            _ => driver.transport.reset(),
        }
        assert_eq!(driver.read(0), 0x7472_6976);
        assert_eq!(driver.read(0x70) & !driver.possible(), 0);
    }

    // However broken, a new start works.
    driver.put(AVAILABLE, &[0; 0x20]);
    driver.put(USED, &[0; 0x60]);
    driver.start(features);
    assert_eq!(driver.read(0x70), driver.running());
}
