// SPDX-License-Identifier: MIT OR Apache-2.0
//! A driver of a network device, through the registers, and whoever is at the other end.

use super::super::Interface;
use super::super::test::{Driver, NEEDS_RESET, NEXT, RUNNING, VERSION_1, WRITE};
use super::{Net, Wire};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};

const MAC: [u8; 6] = [2, 1, 2, 3, 4, 5];

const GUEST_CSUM: u64 = 1 << 1;
const GUEST_TSO4: u64 = 1 << 7;
const MERGED: u64 = 1 << 15;
const CONTROL: u64 = 1 << 17;
const PAIRS: u64 = 1 << 22;
const EVENT_INDEX: u64 = 1 << 29;

/// What each queue has to itself: a table, rings, and behind all of them buffers.
const SPACE: u64 = 0x400;
const BUFFERS: u64 = 0x4000;

/// The address of `queue`. That of the first is not 0, which legacy drivers cannot say.
fn space(queue: u64) -> u64 {
    SPACE * (queue + 1)
}

const OK: u64 = 0;
const ERR: u64 = 1;

/// A part of a chain: its address, length and flags.
type Part = (u64, u32, u16);

/// What a device has asked of its wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asked {
    Cut(usize),
    Offload(u64),
    Connect(u16),
}

/// Sockets that keep frames apart, as a tap does.
#[derive(Debug)]
struct Sockets {
    ends: Vec<File>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Wire for Sockets {
    fn ends(&self) -> &[File] {
        &self.ends
    }

    fn offload(&self, features: u64) -> io::Result<()> {
        self.asked.lock().unwrap().push(Asked::Offload(features));
        Ok(())
    }

    fn cut(&self, header: usize) -> io::Result<()> {
        self.asked.lock().unwrap().push(Asked::Cut(header));
        Ok(())
    }

    fn connect(&self, pairs: u16) -> io::Result<()> {
        self.asked.lock().unwrap().push(Asked::Connect(pairs));
        Ok(())
    }
}

/// A driver whose queues have 8 entries each.
struct Station {
    driver: Driver,
    far: Vec<UnixDatagram>,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Chains made available so far, queue after queue.
    available: [u16; 5],
}

impl Station {
    fn new(pairs: usize) -> Self {
        Self::with(Interface::Modern, pairs)
    }

    fn with(interface: Interface, pairs: usize) -> Self {
        let (mut ends, mut far) = (Vec::new(), Vec::new());
        for _ in 0..pairs {
            let (near, other) = UnixDatagram::pair().unwrap();
            for socket in [&near, &other] {
                socket.set_nonblocking(true).unwrap();
            }
            ends.push(File::from(OwnedFd::from(near)));
            far.push(other);
        }
        let asked = Arc::default();
        let wire = Sockets {
            ends,
            asked: Arc::clone(&asked),
        };
        Self {
            driver: Driver::with(interface, Box::new(Net::new(Box::new(wire), MAC))),
            far,
            asked,
            available: [0; 5],
        }
    }

    /// One pair, and a driver that has agreed to `features`, too.
    fn started(features: u64) -> Self {
        let mut station = Self::new(1);
        station.start(features, 2);
        station
    }

    /// One pair, and a driver from before version 1.
    fn legacy(features: u32) -> Self {
        let mut station = Self::with(Interface::Legacy, 1);
        station.start_legacy(features);
        station
    }

    fn start_legacy(&mut self, features: u32) {
        // With 16 entries and these pages, rings lie as they do otherwise.
        let page = u32::try_from(SPACE).unwrap();
        for (register, value) in [(0x70, 0), (0x70, 3), (0x20, features), (0x28, page)] {
            self.driver.write(register, value);
        }
        for queue in 0..2 {
            self.driver.memory.zero(space(queue.into()), SPACE).unwrap();
            for (register, value) in [(0x30, queue), (0x38, 16), (0x3c, 0x100), (0x40, queue + 1)] {
                self.driver.write(register, value);
            }
        }
        self.available = [0; 5];
        self.driver.write(0x70, 7);
    }

    /// Brings up the first `queues` queues.
    fn start(&mut self, features: u64, queues: u32) {
        self.driver.agree(VERSION_1 | features);
        for queue in 0..queues {
            let space = space(queue.into());
            self.driver.memory.zero(space, SPACE).unwrap();
            let low = |address: u64| u32::try_from(address).unwrap();
            for (register, value) in [
                (0x30, queue),
                (0x38, 8),
                (0x80, low(space)),
                (0x90, low(space + 0x100)),
                (0xa0, low(space + 0x200)),
                (0x44, 1),
            ] {
                self.driver.write(register, value);
            }
        }
        self.available = [0; 5];
        self.driver.write(0x70, 0xf);
        assert_eq!(self.status(), RUNNING);
    }

    fn status(&self) -> u32 {
        self.driver.read(0x70)
    }

    /// Makes parts `(address, length, flags)` available as chain `head`, and says nothing yet.
    fn put(&mut self, queue: u64, head: u16, parts: &[Part]) {
        let space = space(queue);
        for (index, (address, length, flags)) in (head..).zip(parts) {
            let next = usize::from(index - head) + 1 < parts.len();
            let flags = flags | if next { NEXT } else { 0 };
            let place = space + 16 * u64::from(index);
            self.driver
                .describe(place, *address, *length, flags, index + 1);
        }
        let available = &mut self.available[usize::try_from(queue).unwrap()];
        let slot = space + 0x104 + 2 * u64::from(*available % 8);
        *available += 1;
        let available = *available;
        self.driver.put16(slot, head);
        self.driver.put16(space + 0x102, available);
    }

    fn notify(&self, queue: u32) {
        self.driver.write(0x50, queue);
        let index = usize::try_from(queue).unwrap();
        self.driver.transport.serve(index).unwrap();
    }

    fn serve(&self, queue: usize) -> io::Result<()> {
        self.driver.transport.serve(queue)
    }

    /// A buffer of `length` bytes for frames, number `head`, 0x100 bytes apart.
    fn buffer(&mut self, head: u16, length: u32) {
        let address = BUFFERS + 0x100 * u64::from(head);
        self.put(0, head, &[(address, length, WRITE)]);
    }

    /// Chains of `queue` given back: their heads and lengths.
    fn used(&self, queue: u64) -> Vec<(u64, u64)> {
        let ring = space(queue) + 0x200;
        let count = self.driver.number(ring + 2, 2);
        let entry = |index| {
            let place = ring + 4 + 8 * (index % 8);
            (
                self.driver.number(place, 4),
                self.driver.number(place + 4, 4),
            )
        };
        (0..count).map(entry).collect()
    }

    fn bytes(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.driver.memory.read(address, &mut bytes).unwrap();
        bytes
    }

    /// A frame comes in, and queue 0 is served because of it.
    fn comes(&self, frame: &[u8]) {
        self.far[0].send(frame).unwrap();
        self.serve(0).unwrap();
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// A command with these bytes. Gives the answer.
    fn command(&mut self, queue: u64, bytes: &[u8]) -> u64 {
        self.driver.memory.write(BUFFERS, bytes).unwrap();
        self.driver.put16(BUFFERS + 0x100, 0xffff);
        let length = u32::try_from(bytes.len()).unwrap();
        let parts = [(BUFFERS, length, 0), (BUFFERS + 0x100, 1, WRITE)];
        self.put(queue, 0, &parts);
        self.notify(u32::try_from(queue).unwrap());
        assert_eq!(self.used(queue).last(), Some(&(0, 1)));
        self.driver.number(BUFFERS + 0x100, 1)
    }
}

/// A header with these flags and this type, and bytes that count behind it.
fn frame(flags: u8, gso_type: u8, length: usize) -> Vec<u8> {
    let mut frame = vec![flags, gso_type, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    frame.extend((0..=255).cycle().take(length));
    frame
}

#[test]
fn the_configuration_says_who_it_is() {
    for (pairs, features, queues) in [(1, 0x3001_bba3u32, 2), (2, 0x3043_bba3, 5)] {
        let station = Station::new(pairs);
        let driver = &station.driver;
        assert_eq!((driver.read(8), driver.read(0x10)), (1, features));
        assert_eq!(driver.transport.notified().len(), queues);
        let mut config = [0xaa; 12];
        driver.transport.read(0x100, &mut config);
        let pairs = u8::try_from(pairs).unwrap();
        assert_eq!(config, [2, 1, 2, 3, 4, 5, 1, 0, pairs, 0, 0, 0]);
        driver.transport.write(0x100, &[7]).unwrap();
        driver.transport.read(0x100, &mut config[..1]);
        assert_eq!(config[0], 2);
    }
}

#[test]
fn a_frame_of_the_drivers_goes_out_with_its_header() {
    let mut station = Station::started(0);
    let sent = frame(0, 0, 100);
    station.driver.memory.write(BUFFERS, &sent).unwrap();
    // The header is in two parts, and the frame in two.
    let parts = [(0, 5), (5, 17), (22, 90)].map(|(skip, size)| (BUFFERS + skip, size, 0));
    station.put(1, 2, &parts);
    station.notify(1);
    let mut found = [0; 200];
    assert_eq!(station.far[0].recv(&mut found).unwrap(), 112);
    assert_eq!(found[..112], sent);
    assert_eq!(station.used(1), [(2, 0)]);
    assert!(station.driver.interrupted());
}

#[test]
fn a_frame_that_nobody_takes_is_lost_and_its_buffer_given_back() {
    let mut station = Station::started(0);
    // Larger than any frame.
    let large = [(0, 0xf000, 0), (0, 0xf000, 0)];
    station.put(1, 0, &large);
    station.notify(1);
    assert!(station.far[0].recv(&mut [0; 16]).is_err());
    station.far.clear();
    station.put(1, 2, &[(BUFFERS, 100, 0)]);
    station.notify(1);
    assert_eq!(station.used(1), [(0, 0), (2, 0)]);
    // Nor does anything come any more.
    station.buffer(0, 200);
    station.notify(0);
    assert_eq!((station.used(0), station.status()), (vec![], RUNNING));
}

#[test]
fn a_frame_that_comes_in_fills_a_buffer() {
    let mut station = Station::started(0);
    station.put(0, 3, &[(BUFFERS, 12, WRITE), (BUFFERS + 0x20, 200, WRITE)]);
    assert!(station.serve(0).is_err(), "nothing has come");
    let mut sent = frame(0, 0, 100);
    station.comes(&sent);
    assert_eq!(station.used(0), [(3, 112)]);
    assert!(station.driver.interrupted());
    sent[10] = 1;
    assert_eq!(station.bytes(BUFFERS, 12), sent[..12]);
    assert_eq!(station.bytes(BUFFERS + 0x20, 100), sent[12..]);
    assert_eq!(station.driver.number(BUFFERS + 0x20 + 100, 8), 0);
}

#[test]
fn one_frame_fills_several_buffers_if_the_driver_agrees() {
    let mut station = Station::started(MERGED);
    for head in 0..5 {
        station.buffer(head, 64);
    }
    station.comes(&frame(0, 0, 150));
    assert_eq!(station.used(0), [(0, 64), (1, 64), (2, 34)]);
    assert_eq!(station.driver.number(BUFFERS + 10, 2), 3);
    let whole = frame(0, 0, 150);
    assert_eq!(station.bytes(BUFFERS + 12, 52), whole[12..64]);
    assert_eq!(station.bytes(BUFFERS + 0x100, 64), whole[64..128]);
    assert_eq!(station.bytes(BUFFERS + 0x200, 34), whole[128..]);
    station.comes(&frame(0, 0, 10));
    assert_eq!(station.used(0).last(), Some(&(3, 22)));
}

#[test]
fn a_frame_waits_for_buffers() {
    let mut station = Station::started(MERGED);
    station.comes(&frame(0, 0, 150));
    station.comes(&frame(0, 0, 20));
    assert_eq!(station.used(0), []);
    for head in 0..2 {
        station.buffer(head, 64);
        station.notify(0);
        assert_eq!(station.used(0), []);
    }
    assert!(!station.driver.interrupted());
    assert!(
        station.serve(0).is_err(),
        "and nobody is kept busy meanwhile"
    );
    for head in 2..4 {
        station.buffer(head, 64);
    }
    station.notify(0);
    assert_eq!(station.used(0), [(0, 64), (1, 64), (2, 34), (3, 32)]);
}

#[test]
fn a_frame_for_which_there_is_never_room_is_lost() {
    let mut alone = Station::started(0);
    alone.buffer(0, 64);
    alone.comes(&frame(0, 0, 150));
    assert_eq!(alone.used(0), []);
    alone.comes(&frame(0, 0, 20));
    assert_eq!(alone.used(0), [(0, 32)]);
    // The whole queue is not enough.
    let mut merged = Station::started(MERGED);
    for head in 0..8 {
        merged.buffer(head, 64);
    }
    merged.comes(&frame(0, 0, 8 * 64));
    assert_eq!(merged.used(0), []);
    merged.comes(&frame(0, 0, 8 * 64 - 12));
    assert_eq!(merged.used(0).len(), 8);
}

#[test]
fn of_many_frames_the_first_do_not_wait_for_the_last() {
    let station = Station::new(1);
    let driver = &station.driver;
    driver.agree(VERSION_1);
    let (table, available, used) = (0x1000, 0x2000, 0x3000);
    for (register, value) in [
        (0x30, 1),
        (0x38, 128),
        (0x80, table),
        (0x90, available),
        (0xa0, used),
        (0x44, 1),
        (0x70, 0xf),
    ] {
        driver.write(register, value);
    }
    driver.describe(table.into(), BUFFERS, 20, 0, 0);
    driver.put16(0x2002, 100);
    driver.write(0x50, 1);
    for count in [64, 100] {
        station.serve(1).unwrap();
        assert_eq!(driver.number(0x3002, 2), count);
        assert!(driver.interrupted());
    }
    assert!(station.serve(1).is_err(), "nothing is left");
}

#[test]
fn the_driver_is_left_what_it_has_agreed_to_and_nothing_else() {
    let agreed = VERSION_1 | GUEST_CSUM | GUEST_TSO4;
    let mut station = Station::started(agreed);
    let asked = [Asked::Connect(1), Asked::Cut(12), Asked::Offload(agreed)];
    assert_eq!(station.asked(), asked);
    for head in 0..4 {
        station.buffer(head, 64);
    }
    // TCP over IPv6, UDP, ECN, and something new.
    for gso_type in [4, 3, 0x81, 9] {
        station.comes(&frame(1, gso_type, 10));
    }
    assert_eq!(station.used(0), []);
    station.comes(&frame(1, 1, 10));
    station.comes(&frame(2, 0, 10));
    assert_eq!(station.used(0), [(0, 22), (1, 22)]);
    assert_eq!(station.bytes(BUFFERS, 2), [1, 1]);
    assert_eq!(station.bytes(BUFFERS + 0x100, 2), [2, 0]);
    // A driver that knows nothing of checksums.
    station.start(0, 2);
    let off = [Asked::Connect(1), Asked::Offload(0)];
    let none = [Asked::Connect(1), Asked::Cut(12), Asked::Offload(VERSION_1)];
    assert_eq!(station.asked(), [&off[..], &none].concat());
    station.buffer(0, 64);
    station.comes(&frame(1, 0, 10));
    assert_eq!(station.used(0), []);
    station.comes(&frame(2, 0, 10));
    assert_eq!(station.bytes(BUFFERS, 2), [0, 0]);
}

#[test]
fn a_reset_forgets_the_frame_that_waits() {
    let mut station = Station::started(MERGED);
    station.buffer(0, 64);
    station.comes(&frame(0, 0, 100));
    station.driver.transport.reset();
    station.asked();
    station.driver.transport.reset();
    assert_eq!(station.asked(), [], "there is nothing to undo");
    station.start(MERGED, 2);
    station.buffer(0, 64);
    station.buffer(1, 64);
    station.notify(0);
    assert_eq!(station.used(0), []);
    station.comes(&frame(0, 0, 20));
    assert_eq!(station.used(0), [(0, 32)]);
}

#[test]
fn nothing_is_placed_before_the_driver_is_ready() {
    let mut station = Station::new(1);
    station.comes(&frame(0, 0, 20));
    assert_eq!(station.bytes(space(0), 0x400), [0; 0x400]);
    station.start(0, 2);
    station.buffer(0, 64);
    station.notify(0);
    assert_eq!(station.used(0), [(0, 32)]);
}

#[test]
fn the_driver_says_after_which_buffer_it_wants_an_interrupt() {
    let mut station = Station::started(MERGED | EVENT_INDEX);
    for head in 0..8 {
        station.buffer(head, 64);
    }
    let event = space(0) + 0x104 + 2 * 8;
    station.driver.put16(event, 4);
    station.comes(&frame(0, 0, 150));
    assert!(!station.driver.interrupted());
    // Buffers 3 to 5: the one it waits for is in the middle of a frame.
    station.comes(&frame(0, 0, 150));
    assert!(station.driver.interrupted());
    station.comes(&frame(0, 0, 20));
    assert!(!station.driver.interrupted());
}

#[test]
fn a_driver_without_events_can_do_without_interrupts() {
    let mut station = Station::started(0);
    station.buffer(0, 64);
    station.buffer(1, 64);
    station.driver.put16(space(0) + 0x100, 1);
    station.comes(&frame(0, 0, 20));
    assert!(!station.driver.interrupted());
    station.driver.put16(space(0) + 0x100, 0);
    station.comes(&frame(0, 0, 20));
    assert!(station.driver.interrupted());
    assert_eq!(station.used(0).len(), 2);
}

#[test]
fn every_pair_has_its_own_end() {
    let mut station = Station::new(2);
    station.start(PAIRS | CONTROL, 5);
    assert_eq!(station.command(4, &[4, 0, 2, 0]), OK);
    station.put(2, 0, &[(BUFFERS, 64, WRITE)]);
    station.put(3, 0, &[(BUFFERS + 0x100, 30, 0)]);
    station.far[1].send(&frame(0, 0, 20)).unwrap();
    station.serve(2).unwrap();
    assert_eq!(station.used(2), [(0, 32)]);
    station.notify(3);
    assert_eq!(station.far[1].recv(&mut [0; 64]).unwrap(), 30);
    assert!(station.far[0].recv(&mut [0; 64]).is_err());
}

#[test]
fn commands_are_obeyed_or_refused() {
    let mut station = Station::new(2);
    station.start(PAIRS | CONTROL, 5);
    station.asked();
    for (bytes, answer) in [
        (&[4, 0, 2, 0][..], OK),
        (&[4, 0, 1, 0], OK),
        (&[4, 0, 0, 0], ERR),
        (&[4, 0, 3, 0], ERR),
        (&[4, 0, 0, 1], ERR),
        (&[4, 1, 1, 0], ERR),
        (&[0, 0, 1], ERR),
        (&[9, 9], ERR),
    ] {
        assert_eq!(station.command(4, bytes), answer, "{bytes:?}");
    }
    assert_eq!(station.asked(), [Asked::Connect(2), Asked::Connect(1)]);
    // Without several pairs the control queue is the third.
    station.start(CONTROL, 3);
    assert_eq!(station.command(2, &[4, 0, 1, 0]), ERR);
    // And without one nothing is there.
    station.start(0, 3);
    station.put(2, 0, &[(BUFFERS, 4, 0), (BUFFERS + 0x100, 1, WRITE)]);
    station.notify(2);
    assert_eq!((station.used(2), station.status()), (vec![], RUNNING));
}

#[test]
fn buffers_of_no_use_break_the_device_until_it_is_reset() {
    let far = 1 << 40;
    let mischiefs: [(u64, &[Part]); 14] = [
        (0, &[(BUFFERS, 64, 0)]),
        (0, &[(BUFFERS, 12, 0), (BUFFERS, 64, WRITE)]),
        (0, &[(BUFFERS, 64, WRITE), (BUFFERS, 12, 0)]),
        (0, &[(BUFFERS, 11, WRITE)]),
        (0, &[(BUFFERS, 0, WRITE)]),
        (0, &[(far, 64, WRITE)]),
        (1, &[(BUFFERS, 11, 0)]),
        (1, &[(BUFFERS, 64, WRITE)]),
        (1, &[(BUFFERS, 64, 0), (BUFFERS, 1, WRITE)]),
        (1, &[(BUFFERS, 64, WRITE), (BUFFERS, 64, 0)]),
        (1, &[(far, 64, 0)]),
        (4, &[(BUFFERS, 4, 0)]),
        (4, &[(BUFFERS, 1, 0), (BUFFERS, 1, WRITE)]),
        (4, &[(BUFFERS, 3, 0), (BUFFERS, 1, WRITE)]),
    ];
    for (queue, parts) in mischiefs {
        let mut station = Station::new(2);
        station.driver.memory.write(BUFFERS, &[4, 0, 1, 0]).unwrap();
        for features in [PAIRS | CONTROL, PAIRS | CONTROL | MERGED] {
            station.start(features, 5);
            station.put(queue, 0, parts);
            station.far[0].send(&frame(0, 0, 20)).unwrap();
            station.notify(u32::try_from(queue).unwrap());
            assert_eq!(station.status(), RUNNING | NEEDS_RESET, "{parts:?}");
            assert_eq!(station.used(queue), [], "{parts:?}");
            // Nothing more happens.
            station.buffer(1, 64);
            station.comes(&frame(0, 0, 20));
            assert_eq!(station.used(0), []);
        }
        station.start(0, 2);
        station.buffer(0, 64);
        station.comes(&frame(0, 0, 30));
        assert!(!station.used(0).is_empty(), "{parts:?}");
    }
}

#[test]
fn the_header_of_a_legacy_driver_is_shorter() {
    let mut station = Station::legacy(0);
    let asked = [Asked::Connect(1), Asked::Cut(10), Asked::Offload(0)];
    assert_eq!(station.asked(), asked);
    // Out.
    let out = frame(0, 0, 20);
    station.driver.memory.write(BUFFERS, &out).unwrap();
    station.put(1, 0, &[(BUFFERS, 10, 0), (BUFFERS + 10, 22, 0)]);
    station.notify(1);
    let mut found = [0; 64];
    assert_eq!(station.far[0].recv(&mut found).unwrap(), 32);
    assert_eq!(found[..32], out);
    // In: what would be a number of buffers is frame.
    station.buffer(0, 64);
    let frame = [&[0; 10][..], b"\xff\xfe and so on"].concat();
    station.comes(&frame);
    assert_eq!(station.used(0), [(0, 22)]);
    assert_eq!(station.bytes(BUFFERS, 22), frame);
    // A header alone is no frame, and no room for one.
    station.buffer(1, 10);
    station.comes(&[0; 10]);
    assert_eq!(station.used(0).len(), 1);
    station.put(1, 1, &[(BUFFERS, 9, 0)]);
    station.notify(1);
    station.put(1, 0, &[(BUFFERS, 11, 0)]);
    station.notify(1);
    assert_eq!(station.used(1).len(), 1, "broken until it is reset");
    // With buffers that are merged, it says how many.
    station.start_legacy(u32::try_from(MERGED).unwrap());
    assert_eq!(station.asked()[3], Asked::Cut(12));
    station.buffer(0, 16);
    station.buffer(1, 64);
    station.comes(&self::frame(0, 0, 20));
    assert_eq!(station.used(0), [(0, 16), (1, 16)]);
    assert_eq!(station.bytes(BUFFERS + 10, 2), [2, 0]);
}

#[test]
fn a_legacy_driver_chooses_its_address_before_and_after_it_is_ready() {
    let station = Station::with(Interface::Legacy, 1);
    let address = || {
        let mut config = [0; 8];
        station.driver.transport.read(0x100, &mut config);
        config
    };
    // Byte by byte, and no further than the address.
    for (offset, byte) in (0x100..0x108).zip(10..) {
        station.driver.transport.write(offset, &[byte]).unwrap();
    }
    assert_eq!(address(), [10, 11, 12, 13, 14, 15, 1, 0]);
    station.driver.transport.write(0x104, &[7; 8]).unwrap();
    assert_eq!(address(), [10, 11, 12, 13, 7, 7, 1, 0]);
    station.driver.write(0x70, 0);
    assert_eq!(address()[..6], MAC);
}

#[test]
fn a_legacy_driver_without_features_is_forgotten_like_others() {
    let mut station = Station::legacy(0);
    station.asked();
    station.comes(&frame(0, 0, 100));
    station.driver.write(0x70, 0);
    assert_eq!(station.asked(), [Asked::Connect(1), Asked::Offload(0)]);
    station.start_legacy(0);
    station.buffer(0, 64);
    station.notify(0);
    assert_eq!(station.used(0), []);
}
