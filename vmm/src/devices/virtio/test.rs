// SPDX-License-Identifier: MIT OR Apache-2.0
//! A driver, good and hostile, through the registers.

use super::mmio::Transport;
use super::queue::{Broken, Queue};
use super::rng::Rng;
use super::{Device, Interface, Served, Slot, Wiring};
use crate::memory::Memory;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

pub(super) const SIZE: usize = 0x1_0000;
pub(super) const TABLE: u64 = 0x1000;
pub(super) const AVAILABLE: u64 = 0x2000;
pub(super) const USED: u64 = 0x3000;
pub(super) const INDIRECT: u64 = 0x4000;
pub(super) const BUFFER: u64 = 0x8000;

pub(super) const NEXT: u16 = 1;
pub(super) const WRITE: u16 = 2;
pub(super) const TABLE_OF_ITS_OWN: u16 = 4;

pub(super) const VERSION_1: u64 = 1 << 32;
pub(super) const EVENT_INDEX: u64 = 1 << 29;

/// Status after a good start, and what a broken device adds to it.
pub(super) const RUNNING: u32 = 0xf;
pub(super) const NEEDS_RESET: u32 = 0x40;

/// Bytes that count from 1.
struct Counting(u8);

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for byte in &mut *buffer {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
        Ok(buffer.len())
    }
}

/// A device that gives them.
pub(super) fn rng() -> Box<dyn Device> {
    Box::new(Rng::new(Box::new(Counting(1))))
}

/// A driver of one device, whose queue 0 has 8 entries.
pub(super) struct Driver {
    pub(super) transport: Arc<Transport>,
    pub(super) memory: Memory,
    /// Chains made available so far.
    available: u16,
}

impl Driver {
    fn new() -> Self {
        Self::of(rng())
    }

    pub(super) fn of(device: Box<dyn Device>) -> Self {
        Self::with(Interface::Modern, device)
    }

    pub(super) fn with(interface: Interface, device: Box<dyn Device>) -> Self {
        let memory = Memory::from_ranges(&[(0, SIZE)]).unwrap();
        let transport = Transport::new(interface, device, memory.clone(), false).unwrap();
        Self {
            transport: Arc::new(transport),
            memory,
            available: 0,
        }
    }

    /// Empties the rings, for a new start.
    pub(super) fn begin_again(&mut self) {
        self.put16(AVAILABLE + 2, 0);
        self.put16(USED + 2, 0);
        self.available = 0;
    }

    pub(super) fn read(&self, offset: u32) -> u32 {
        let mut data = [0xaa; 4];
        self.transport.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    pub(super) fn write(&self, offset: u32, value: u32) {
        let data = value.to_le_bytes();
        self.transport.write(offset, &data).unwrap();
    }

    /// The steps of section 3.1.1, up to the queue.
    pub(super) fn agree(&self, features: u64) {
        let [low, high] = [features, features >> 32].map(|half| half & 0xffff_ffff);
        for status in [0, 1, 3] {
            self.write(0x70, status);
        }
        for (select, half) in [(0, low), (1, high)] {
            self.write(0x24, select);
            self.write(0x20, u32::try_from(half).unwrap());
        }
        self.write(0x70, 0xb);
    }

    pub(super) fn place(&self, size: u32, table: u64, available: u64, used: u64) {
        self.place_queue(0, size, table, available, used);
    }

    pub(super) fn place_queue(&self, index: u32, size: u32, table: u64, available: u64, used: u64) {
        self.write(0x30, index);
        self.write(0x38, size);
        for (register, address) in [(0x80, table), (0x90, available), (0xa0, used)] {
            self.write(register, u32::try_from(address & 0xffff_ffff).unwrap());
            self.write(register + 4, u32::try_from(address >> 32).unwrap());
        }
        self.write(0x44, 1);
    }

    fn start(features: u64) -> Self {
        let driver = Self::new();
        driver.restart(features);
        driver
    }

    pub(super) fn restart(&self, features: u64) {
        self.agree(features);
        self.place(8, TABLE, AVAILABLE, USED);
        self.write(0x70, 0xf);
        assert_eq!(self.read(0x70), RUNNING);
    }

    pub(super) fn put16(&self, address: u64, value: u16) {
        self.memory.write(address, &value.to_le_bytes()).unwrap();
    }

    pub(super) fn number(&self, address: u64, size: usize) -> u64 {
        let mut bytes = [0; 8];
        self.memory.read(address, &mut bytes[..size]).unwrap();
        u64::from_le_bytes(bytes)
    }

    pub(super) fn describe(&self, at: u64, address: u64, length: u32, flags: u16, next: u16) {
        let bytes = [
            &address.to_le_bytes()[..],
            &length.to_le_bytes(),
            &flags.to_le_bytes(),
            &next.to_le_bytes(),
        ];
        self.memory.write(at, &bytes.concat()).unwrap();
    }

    /// Makes the chain at `head` available and has the device look.
    pub(super) fn offer(&mut self, head: u16) {
        let slot = AVAILABLE + 4 + 2 * u64::from(self.available % 8);
        self.put16(slot, head);
        self.available += 1;
        self.put16(AVAILABLE + 2, self.available);
        self.notify();
    }

    /// Whether everything that was offered has come back.
    pub(super) fn has_all(&self) -> bool {
        self.number(USED + 2, 2) == u64::from(self.available)
    }

    pub(super) fn notify(&self) {
        self.write(0x50, 0);
        self.transport.serve(0).unwrap();
    }

    /// Whether there was an interrupt since the last call.
    pub(super) fn interrupted(&self) -> bool {
        self.transport.line().read().is_ok()
    }

    /// How many chains came back, and the last one's head and length.
    pub(super) fn used(&self) -> (u64, u64, u64) {
        let count = self.number(USED + 2, 2);
        let element = USED + 4 + 8 * (count.wrapping_sub(1) % 8);
        (count, self.number(element, 4), self.number(element + 4, 4))
    }
}

#[test]
fn the_registers_say_what_it_is() {
    let driver = Driver::new();
    let words: Vec<_> = [0, 4, 8, 0x34, 0x44, 0x60, 0x70, 0xb0, 0xbc, 0xfc, 0x100]
        .map(|offset| driver.read(offset))
        .to_vec();
    let none = u32::MAX;
    assert_eq!(words, [0x7472_6976, 2, 4, 64, 0, 0, 0, none, none, 0, 0]);
    driver.write(0x14, 1);
    assert_eq!(driver.read(0x10), 1);
    driver.write(0x14, 0);
    assert_eq!(driver.read(0x10), 3 << 28);
    driver.write(0x30, 1);
    assert_eq!(driver.read(0x34), 0);
}

#[test]
fn accesses_that_are_not_32_bits_wide_do_nothing() {
    let driver = Driver::new();
    for width in [1, 2, 8] {
        let mut data = vec![0xaa; width];
        driver.transport.read(0, &mut data);
        assert_eq!(data, vec![0; width]);
        driver.transport.write(0x70, &vec![1; width]).unwrap();
    }
    assert_eq!((driver.read(0x70), driver.read(2)), (0, 0));
}

#[test]
fn both_sides_must_agree_about_features() {
    let driver = Driver::new();
    for features in [0, EVENT_INDEX, VERSION_1 | 1 << 33, VERSION_1 | 1] {
        driver.agree(features);
        assert_eq!(driver.read(0x70), 3, "{features:#x}");
        driver.write(0x70, 0xf);
        assert_eq!(driver.read(0x70), 3, "not without features");
    }
    driver.agree(VERSION_1);
    assert_eq!(driver.read(0x70), 0xb);
    // What is agreed stays, and no step is taken back.
    driver.write(0x24, 1);
    driver.write(0x20, 0);
    driver.write(0x70, 1);
    assert_eq!(driver.read(0x70), 0xb);
}

#[test]
fn a_buffer_is_filled_and_given_back_with_an_interrupt() {
    let mut driver = Driver::start(VERSION_1);
    driver.describe(TABLE, BUFFER, 3, WRITE | NEXT, 5);
    driver.describe(TABLE + 5 * 16, BUFFER + 0x100, 2, WRITE, 0);
    driver.offer(0);
    assert_eq!(driver.used(), (1, 0, 5));
    assert_eq!(driver.number(BUFFER, 4), 0x0003_0201);
    assert_eq!(driver.number(BUFFER + 0x100, 4), 0x0504);
    assert!(driver.interrupted());
    assert_eq!(driver.read(0x60), 1);
    driver.write(0x64, 1);
    assert_eq!(driver.read(0x60), 0);
    driver.notify();
    assert!(!driver.interrupted(), "nothing new");
}

#[test]
fn a_table_of_its_own_and_a_large_buffer() {
    let mut driver = Driver::start(VERSION_1 | 1 << 28);
    driver.describe(TABLE + 7 * 16, INDIRECT, 32, TABLE_OF_ITS_OWN, 0);
    driver.describe(INDIRECT, BUFFER, 2, WRITE | NEXT, 1);
    driver.describe(INDIRECT + 16, BUFFER + 2, 0x7000, WRITE, 0);
    driver.offer(7);
    assert_eq!(driver.used(), (1, 7, 0x1000));
    assert_eq!(driver.number(BUFFER + 0x1000, 8), 0, "beyond the bound");
    assert_eq!(driver.read(0x70), RUNNING);
}

#[test]
fn the_driver_says_when_it_wants_an_interrupt() {
    let mut driver = Driver::start(VERSION_1 | EVENT_INDEX);
    driver.describe(TABLE, BUFFER, 4, WRITE, 0);
    // After the second chain.
    driver.put16(AVAILABLE + 4 + 2 * 8, 1);
    driver.offer(0);
    assert!(!driver.interrupted());
    driver.offer(0);
    assert!(driver.interrupted());
    // The device wants to hear of the third.
    assert_eq!(driver.number(USED + 4 + 8 * 8, 2), 2);
}

#[test]
fn nothing_is_used_before_the_driver_is_ready() {
    let mut driver = Driver::new();
    driver.agree(VERSION_1);
    driver.place(8, TABLE, AVAILABLE, USED);
    driver.describe(TABLE, BUFFER, 4, WRITE, 0);
    driver.offer(0);
    assert_eq!(driver.used().0, 0);
    driver.write(0x70, 0xf);
    driver.notify();
    assert_eq!(driver.used().0, 1);
}

#[test]
fn a_queue_in_use_does_not_move() {
    let mut driver = Driver::start(VERSION_1);
    driver.write(0x38, 4);
    driver.write(0x80, 0x5000);
    driver.describe(TABLE, BUFFER, 4, WRITE, 0);
    driver.offer(0);
    assert_eq!(driver.used().0, 1);
    driver.write(0x44, 0);
    assert_eq!(driver.read(0x44), 0);
    driver.offer(0);
    assert_eq!(driver.used().0, 1);
}

#[test]
fn queues_of_impossible_sizes_and_places_break_the_device() {
    let end = SIZE as u64;
    for (size, table, available, used) in [
        (0, TABLE, AVAILABLE, USED),
        (7, TABLE, AVAILABLE, USED),
        (128, TABLE, AVAILABLE, USED),
        (0x1_0008, TABLE, AVAILABLE, USED),
        (8, TABLE + 8, AVAILABLE, USED),
        (8, TABLE, AVAILABLE + 1, USED),
        (8, TABLE, AVAILABLE, USED + 2),
        (8, end - 64, AVAILABLE, USED),
        (8, TABLE, end - 8, USED),
        (8, TABLE, AVAILABLE, end - 16),
        (8, TABLE, AVAILABLE, 1 << 40),
        (8, u64::MAX - 15, AVAILABLE, USED),
    ] {
        let driver = Driver::new();
        driver.agree(VERSION_1);
        driver.place(size, table, available, used);
        assert_eq!(driver.read(0x44), 0, "{size} {table:#x}");
        assert_eq!(driver.read(0x70), 0xb | NEEDS_RESET);
        assert!(!driver.interrupted(), "the driver does not listen yet");
        driver.restart(VERSION_1);
    }
}

#[test]
fn broken_chains_break_the_device_until_it_is_reset() {
    type Mischief = fn(&Driver) -> u16;
    let mischiefs: [(&str, Mischief); 11] = [
        ("head outside", |_| 8),
        ("next outside", |driver| {
            driver.describe(TABLE, BUFFER, 4, WRITE | NEXT, 8);
            0
        }),
        ("loop", |driver| {
            driver.describe(TABLE, BUFFER, 4, WRITE | NEXT, 1);
            driver.describe(TABLE + 16, BUFFER, 4, WRITE | NEXT, 0);
            0
        }),
        ("zero length", |driver| {
            driver.describe(TABLE, BUFFER, 0, WRITE, 0);
            0
        }),
        ("to be read", |driver| {
            driver.describe(TABLE, BUFFER, 4, 0, 0);
            0
        }),
        ("no memory", |driver| {
            driver.describe(TABLE, SIZE as u64 - 2, 4, WRITE, 0);
            0
        }),
        ("wraps around", |driver| {
            driver.describe(TABLE, u64::MAX - 1, 4, WRITE, 0);
            0
        }),
        ("4 GiB in all", |driver| {
            driver.describe(TABLE, 0, 0x8000, WRITE | NEXT, 1);
            driver.describe(TABLE + 16, 0, u32::MAX, WRITE, 0);
            0
        }),
        ("half a table", |driver| {
            driver.describe(TABLE, INDIRECT, 24, TABLE_OF_ITS_OWN, 0);
            0
        }),
        ("empty table", |driver| {
            driver.describe(TABLE, INDIRECT, 0, TABLE_OF_ITS_OWN, 0);
            0
        }),
        ("table in a table", |driver| {
            driver.describe(TABLE, INDIRECT, 32, TABLE_OF_ITS_OWN, 0);
            driver.describe(INDIRECT, BUFFER, 4, WRITE | NEXT, 1);
            driver.describe(INDIRECT + 16, INDIRECT, 16, TABLE_OF_ITS_OWN, 0);
            0
        }),
    ];
    for (name, mischief) in mischiefs {
        let mut driver = Driver::start(VERSION_1);
        let head = mischief(&driver);
        driver.offer(head);
        assert_eq!(driver.read(0x70), RUNNING | NEEDS_RESET, "{name}");
        assert_eq!((driver.used().0, driver.read(0x60)), (0, 2), "{name}");
        assert!(driver.interrupted(), "{name}");
        // Nothing more happens.
        driver.describe(TABLE, BUFFER, 4, WRITE, 0);
        driver.offer(0);
        assert_eq!(driver.used().0, 0, "{name}");
        // A new start.
        driver.put16(AVAILABLE + 2, 0);
        driver.available = 0;
        driver.restart(VERSION_1);
        driver.offer(0);
        assert_eq!(driver.used(), (1, 0, 4), "{name}");
    }
}

#[test]
fn an_available_ring_that_runs_ahead_breaks_the_device() {
    let driver = Driver::start(VERSION_1);
    driver.put16(AVAILABLE + 2, 9);
    driver.notify();
    assert_eq!(driver.read(0x70), RUNNING | NEEDS_RESET);
}

#[test]
fn a_machine_reset_is_a_power_on() {
    let mut driver = Driver::start(VERSION_1);
    driver.describe(TABLE, BUFFER, 4, WRITE, 0);
    driver.offer(0);
    driver.transport.reset();
    assert!(!driver.interrupted());
    assert_eq!((driver.read(0x70), driver.read(0x60)), (0, 0));
    assert_eq!(driver.read(0x44), 0);
}

/// Gives a byte when told to, and says when it is asked for one.
struct Gate(Sender<()>, Receiver<()>);

impl Read for Gate {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.send(()).unwrap();
        self.1.recv().unwrap();
        buffer.fill(1);
        Ok(buffer.len())
    }
}

#[test]
fn registers_do_not_wait_for_data_and_a_reset_does() {
    let (entered, has_entered) = channel();
    let (release, released) = channel();
    let source = Box::new(Gate(entered, released));
    let driver = &Driver::of(Box::new(Rng::new(source)));
    driver.restart(VERSION_1);
    driver.describe(TABLE, BUFFER, 4, WRITE, 0);
    driver.put16(AVAILABLE + 2, 1);
    driver.write(0x50, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| driver.transport.serve(0).unwrap());
        has_entered.recv().unwrap();
        driver.write(0x64, 1);
        assert_eq!((driver.read(0x60), driver.read(0x70)), (0, RUNNING));
        let reset = scope.spawn(|| driver.write(0x70, 0));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!reset.is_finished(), "a request is under way");
        release.send(()).unwrap();
        reset.join().unwrap();
        assert_eq!((driver.read(0x60), driver.read(0x70)), (0, 0));
    });
}

#[test]
fn a_changed_configuration_is_told_to_a_driver_that_is_ready() {
    let driver = Driver::new();
    driver.transport.config_changed().unwrap();
    assert_eq!((driver.read(0xfc), driver.read(0x60)), (1, 0));
    assert!(!driver.interrupted());
    driver.restart(VERSION_1);
    driver.transport.config_changed().unwrap();
    assert_eq!((driver.read(0xfc), driver.read(0x60)), (2, 2));
    assert!(driver.interrupted());
}

/// Marsaglia's xorshift.
pub(super) fn random() -> impl FnMut() -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

#[test]
fn no_sequence_of_accesses_panics() {
    let driver = Driver::new();
    let mut random = random();
    for _ in 0..200_000 {
        let bits = random();
        let offset = u32::try_from(bits & 0xff).unwrap() & !3;
        // Small numbers are more often possible ones.
        let value = u32::try_from(random() >> 32).unwrap() >> (bits >> 8 & 31);
        match bits >> 60 {
            0 => drop(driver.transport.serve(0)),
            1 => driver.place(8, TABLE, AVAILABLE, USED),
            2 => driver.agree(VERSION_1),
            3 => driver.put16(TABLE + (bits >> 16 & 0xffe), (bits >> 32 & 0xffff) as u16),
            4 => driver.put16(AVAILABLE + (bits >> 16 & 0x1e), (bits >> 32 & 7) as u16),
            5 => driver.write(0x70, 0xf),
            _ => driver.write(offset, value),
        }
        driver.read(offset);
    }
}

/// A device whose host is slow: it has something under way, each time for so many looks.
#[derive(Debug)]
struct Slow(Arc<AtomicU32>);

impl Device for Slow {
    fn kind(&self) -> u32 {
        4
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![8]
    }

    fn settle(&self, _index: usize) -> bool {
        let looks = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |looks| {
                looks.checked_sub(1)
            });
        looks.is_err()
    }

    fn serve(&self, _: usize, _: &mut Queue, _: &Memory) -> Result<Served, Broken> {
        Ok(Served::default())
    }
}

#[test]
fn a_reset_waits_for_what_is_under_way_elsewhere() {
    let looks = Arc::new(AtomicU32::new(0));
    let driver = Driver::of(Box::new(Slow(Arc::clone(&looks))));
    let stop_queue = |driver: &Driver| driver.write(0x44, 0);
    let reset = |driver: &Driver| driver.write(0x70, 0);
    let reset_machine = |driver: &Driver| driver.transport.reset();
    for way in [&stop_queue as &dyn Fn(&Driver), &reset, &reset_machine] {
        driver.restart(VERSION_1);
        looks.store(3, Ordering::SeqCst);
        way(&driver);
        assert_eq!(looks.load(Ordering::SeqCst), 0);
        assert_eq!(driver.read(0x44), 0);
    }
}

#[test]
fn the_first_slot_is_the_highest() {
    let firsts = [Wiring::Two, Wiring::One, Wiring::Isa].map(|wiring| {
        let first = Slot::all(wiring).next().unwrap();
        (
            first.address(),
            first.interrupt(),
            Slot::all(wiring).count(),
        )
    });
    assert_eq!(firsts[0], (0xfeb0_2e00, 47, 24));
    assert_eq!(firsts[1], (0xfeb0_0e00, 23, 8));
    assert_eq!(firsts[2], (0xfeb0_0e00, 12, 8));
}
