// SPDX-License-Identifier: MIT OR Apache-2.0
//! A driver of a console, through the registers, and its far end.

use super::super::test::{
    AVAILABLE, BUFFER, Driver, INDIRECT, NEEDS_RESET, NEXT, RUNNING, SIZE, TABLE, TABLE_OF_ITS_OWN,
    USED, VERSION_1, WRITE,
};
use super::{BACKLOG, Console, ROOM, Size, Wire};
use crate::config::Target;
use crate::console::{End, Guest};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use vmm_sys_util::tempdir::TempDir;

/// The transmit queue.
const TX_TABLE: u64 = 0x5000;
const TX_AVAILABLE: u64 = 0x6000;
const TX_USED: u64 = 0x7000;

/// What the device writes, and what it reads.
const INPUT: u64 = BUFFER;
const OUTPUT: u64 = BUFFER + 0x1000;

struct Bench {
    driver: Driver,
    wire: Arc<Wire>,
    /// Messages made available so far.
    messages: u16,
}

impl Bench {
    fn new(size: Option<Size>) -> Self {
        let console = Arc::new(Console::new(size));
        let driver = Driver::of(Box::new(Arc::clone(&console)));
        let wire = Arc::new(Wire::new(console, Arc::clone(&driver.transport)));
        Self {
            driver,
            wire,
            messages: 0,
        }
    }

    fn started() -> Self {
        let mut bench = Self::new(None);
        bench.start(VERSION_1);
        bench
    }

    fn start(&mut self, features: u64) {
        self.driver.begin_again();
        for ring in [TX_AVAILABLE, TX_USED] {
            self.driver.put16(ring + 2, 0);
        }
        self.messages = 0;
        self.driver.agree(features);
        self.driver.place(8, TABLE, AVAILABLE, USED);
        let driver = &self.driver;
        driver.place_queue(1, 8, TX_TABLE, TX_AVAILABLE, TX_USED);
        driver.write(0x70, 0xf);
        assert_eq!(driver.read(0x70), RUNNING);
    }

    /// Makes a buffer for input available, and gives what came into it.
    fn offer(&mut self, length: u32) -> Vec<u8> {
        let before = self.driver.used().0;
        self.driver.describe(TABLE, INPUT, length, WRITE, 0);
        self.driver.offer(0);
        self.received(before)
    }

    /// What came into the buffer since so many came back.
    fn received(&self, before: u64) -> Vec<u8> {
        let (count, _, length) = self.driver.used();
        if count == before {
            return Vec::new();
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        self.driver.memory.read(INPUT, &mut bytes).unwrap();
        bytes
    }

    /// Makes the message at `head` available.
    fn send(&mut self, head: u16) {
        let slot = TX_AVAILABLE + 4 + 2 * u64::from(self.messages % 8);
        self.driver.put16(slot, head);
        self.messages += 1;
        self.driver.put16(TX_AVAILABLE + 2, self.messages);
        self.driver.write(0x50, 1);
        self.driver.transport.serve(1).unwrap();
    }

    /// Prints a text as one message.
    fn print(&mut self, text: &[u8]) {
        self.driver.memory.write(OUTPUT, text).unwrap();
        let length = u32::try_from(text.len()).unwrap();
        self.driver.describe(TX_TABLE, OUTPUT, length, 0, 0);
        self.send(0);
    }

    /// Messages that came back.
    fn sent(&self) -> u64 {
        self.driver.number(TX_USED + 2, 2)
    }

    /// What reaches the far end next.
    fn shown(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.wire.print(&mut bytes).unwrap();
        bytes
    }
}

#[test]
fn the_registers_say_what_it_is() {
    let size = Size {
        columns: 80,
        rows: 25,
    };
    for (size, features, config) in [(None, 0, 0), (Some(size), 1, 80 | 25 << 16)] {
        let bench = Bench::new(size);
        let driver = &bench.driver;
        assert_eq!((driver.read(8), driver.read(0x10) & 0xff), (3, features));
        assert_eq!((driver.read(0x100), driver.read(0x104)), (config, 0));
        for (index, most) in [(0, 64), (1, 64), (2, 0)] {
            driver.write(0x30, index);
            assert_eq!(driver.read(0x34), most);
        }
        let mut rows = [0; 2];
        driver.transport.read(0x102, &mut rows);
        assert_eq!(u32::from(u16::from_le_bytes(rows)), config >> 16);
    }
}

#[test]
fn input_waits_for_buffers_and_arrives_in_order() {
    let mut bench = Bench::started();
    bench.wire.feed(b"first ").unwrap();
    bench.wire.feed(b"second").unwrap();
    bench.driver.transport.serve(0).unwrap();
    assert!(!bench.driver.interrupted(), "there is no buffer");
    assert_eq!(bench.offer(8), b"first se");
    assert!(bench.driver.interrupted());
    assert_eq!(bench.offer(8), b"cond");
    // And buffers wait for input.
    assert_eq!(bench.offer(8), b"");
    assert!(bench.driver.interrupted());
    let before = bench.driver.used().0;
    bench.wire.feed(b"third").unwrap();
    bench.driver.transport.serve(0).unwrap();
    assert_eq!(bench.received(before), b"third");
    assert!(bench.driver.interrupted());
}

#[test]
fn input_fills_the_parts_of_a_chain_one_after_the_other() {
    let mut bench = Bench::started();
    bench.wire.feed(b"abcdefg").unwrap();
    let driver = &mut bench.driver;
    driver.describe(TABLE, INPUT, 3, WRITE | NEXT, 1);
    driver.describe(TABLE + 16, INPUT + 3, 0, WRITE | NEXT, 2);
    driver.describe(TABLE + 32, INPUT + 3, 100, WRITE, 0);
    driver.offer(0);
    assert_eq!(bench.received(0), b"abcdefg");
}

#[test]
fn a_driver_that_is_not_ready_loses_no_input() {
    let mut bench = Bench::new(None);
    bench.wire.feed(b"early").unwrap();
    bench.driver.transport.serve(0).unwrap();
    bench.start(VERSION_1);
    assert_eq!(bench.offer(8), b"early");
}

#[test]
fn too_much_input_waits_at_the_far_end_until_the_guest_reads() {
    let mut bench = Bench::started();
    let sent: Vec<u8> = (0..BACKLOG).map(|i| i.to_le_bytes()[0]).collect();
    bench.wire.feed(&sent).unwrap();
    let (told, is_told) = channel();
    let wire = Arc::clone(&bench.wire);
    let feeder = std::thread::spawn(move || {
        wire.feed(b"end").unwrap();
        told.send(()).unwrap();
    });
    assert!(is_told.recv_timeout(Duration::from_millis(50)).is_err());
    let mut received = bench.offer(0x1000);
    feeder.join().unwrap();
    while !received.ends_with(b"end") {
        received.extend(bench.offer(0x1000));
    }
    assert_eq!(received.len(), BACKLOG + 3);
    assert_eq!(received[..BACKLOG], sent);
}

#[test]
fn what_is_printed_reaches_the_far_end() {
    let mut bench = Bench::started();
    bench.print(b"hello");
    assert_eq!(bench.sent(), 1);
    assert_eq!(bench.driver.number(TX_USED + 8, 4), 0, "nothing is written");
    assert!(bench.driver.interrupted());
    bench.driver.memory.write(OUTPUT, b", world").unwrap();
    bench.driver.describe(INDIRECT, OUTPUT, 2, NEXT, 2);
    bench.driver.describe(INDIRECT + 32, OUTPUT + 2, 5, 0, 0);
    bench
        .driver
        .describe(TX_TABLE, INDIRECT, 48, TABLE_OF_ITS_OWN, 0);
    bench.send(0);
    assert_eq!(bench.shown(), b"hello, world");
    assert_eq!(bench.sent(), 2);
}

#[test]
fn a_far_end_that_does_not_read_holds_up_nothing_but_the_messages() {
    let mut bench = Bench::started();
    // One message that is four times what may wait, in parts of half of it.
    let part = u32::try_from(ROOM / 2).unwrap();
    let bytes: Vec<u8> = (0..ROOM / 2).map(|i| i.to_le_bytes()[0]).collect();
    bench.driver.memory.write(BUFFER, &bytes[..0x8000]).unwrap();
    for i in 0..8u16 {
        let flags = if i < 7 { NEXT } else { 0 };
        let at = TX_TABLE + 16 * u64::from(i);
        bench.driver.describe(at, BUFFER, part, flags, i + 1);
    }
    bench.send(0);
    assert_eq!(bench.sent(), 0, "it has found room only in part");
    // A processor that looks at the registers does not wait, nor does input.
    assert_eq!(bench.driver.read(0x70), RUNNING);
    bench.wire.feed(b"typed").unwrap();
    bench.driver.describe(TABLE, SIZE as u64 - 8, 8, WRITE, 0);
    bench.driver.offer(0);
    assert_eq!(bench.driver.used(), (1, 0, 5));
    let mut shown = Vec::new();
    for round in 1..4 {
        shown.extend(bench.shown());
        assert_eq!(shown.len(), round * ROOM);
        assert_eq!(bench.sent(), 0);
        bench.driver.transport.serve(1).unwrap();
    }
    shown.extend(bench.shown());
    assert_eq!(bench.sent(), 1);
    assert_eq!(shown[..bytes.len() - 8], bytes[..bytes.len() - 8]);
}

#[test]
fn a_reset_keeps_input_and_output_and_forgets_the_message_it_was_at() {
    let mut bench = Bench::started();
    bench.wire.feed(b"typed").unwrap();
    let part = u32::try_from(ROOM / 2).unwrap();
    for i in 0..3u16 {
        let flags = if i < 2 { NEXT } else { 0 };
        let at = TX_TABLE + 16 * u64::from(i);
        bench.driver.describe(at, BUFFER, part, flags, i + 1);
    }
    bench.send(0);
    assert_eq!(bench.sent(), 0);
    bench.driver.transport.reset();
    bench.start(VERSION_1);
    assert_eq!(bench.shown().len(), ROOM);
    bench.driver.transport.serve(1).unwrap();
    bench.print(b"again");
    assert_eq!(bench.shown(), b"again");
    assert_eq!(bench.offer(8), b"typed");
}

#[test]
fn broken_chains_break_the_device_until_it_is_reset() {
    type Mischief = fn(&Driver, u64) -> u16;
    let mischiefs: [(&str, Mischief); 8] = [
        ("head outside", |_, _| 8),
        ("next outside", |driver, table| {
            driver.describe(table, BUFFER, 4, NEXT, 8);
            0
        }),
        ("loop", |driver, table| {
            driver.describe(table, BUFFER, 4, WRITE | NEXT, 1);
            driver.describe(table + 16, BUFFER, 4, WRITE | NEXT, 0);
            0
        }),
        ("empty", |driver, table| {
            driver.describe(table, BUFFER, 0, 0, 0);
            0
        }),
        ("both ways", |driver, table| {
            driver.describe(table, BUFFER, 4, NEXT, 1);
            driver.describe(table + 16, BUFFER, 4, WRITE, 0);
            0
        }),
        ("no memory", |driver, table| {
            driver.describe(table, SIZE as u64 - 2, 4, 0, 0);
            0
        }),
        ("wraps around", |driver, table| {
            driver.describe(table, u64::MAX - 1, 4, WRITE, 0);
            0
        }),
        ("table in a table", |driver, table| {
            driver.describe(table, INDIRECT, 32, TABLE_OF_ITS_OWN, 0);
            driver.describe(INDIRECT, INDIRECT, 16, TABLE_OF_ITS_OWN, 0);
            0
        }),
    ];
    // And a direction that is not the queue's.
    let outwards: Mischief = |driver, table| {
        driver.describe(table, BUFFER, 4, 0, 0);
        0
    };
    let inwards: Mischief = |driver, table| {
        driver.describe(table, BUFFER, 4, WRITE, 0);
        0
    };
    for (queue, table, direction) in [(0, TABLE, outwards), (1, TX_TABLE, inwards)] {
        for (name, mischief) in mischiefs.into_iter().chain([("direction", direction)]) {
            let mut bench = Bench::started();
            bench.wire.feed(b"typed").unwrap();
            let head = mischief(&bench.driver, table);
            match queue {
                0 => bench.driver.offer(head),
                _ => bench.send(head),
            }
            let status = bench.driver.read(0x70);
            assert_eq!(status, RUNNING | NEEDS_RESET, "{queue} {name}");
            assert_eq!(bench.driver.read(0x60), 2, "{queue} {name}");
            assert!(bench.driver.interrupted(), "{queue} {name}");
            bench.start(VERSION_1);
            assert_eq!(bench.offer(8), b"typed", "{queue} {name}");
            bench.print(b"printed");
            assert_eq!(bench.shown(), b"printed", "{queue} {name}");
        }
    }
}

#[test]
fn another_size_changes_the_configuration() {
    let size = |columns, rows| Size { columns, rows };
    let mut bench = Bench::new(Some(size(80, 25)));
    bench.start(VERSION_1 | 1);
    // The driver is to look at it from the start.
    assert!(bench.driver.interrupted());
    assert_eq!((bench.driver.read(0x60), bench.driver.read(0xfc)), (2, 0));
    bench.driver.write(0x64, 2);
    bench.wire.resize(size(80, 25)).unwrap();
    assert!(!bench.driver.interrupted(), "it is the same");
    bench.wire.resize(size(132, 43)).unwrap();
    let driver = &bench.driver;
    assert!(driver.interrupted());
    assert_eq!((driver.read(0x60), driver.read(0xfc)), (2, 1));
    assert_eq!(driver.read(0x100), 132 | 43 << 16);
    // Where there is no size, there is none to change.
    let bench = Bench::started();
    assert!(!bench.driver.interrupted());
    bench.wire.resize(size(132, 43)).unwrap();
    let driver = &bench.driver;
    assert!(!driver.interrupted());
    assert_eq!((driver.read(0xfc), driver.read(0x100)), (0, 0));
}

#[test]
fn the_end_waits_for_the_far_end_but_not_for_ever() {
    let mut bench = Bench::started();
    let moment = Duration::from_millis(20);
    bench.wire.drain(moment);
    bench.print(b"last words");
    let begin = Instant::now();
    bench.wire.drain(moment);
    assert!(begin.elapsed() >= moment);
    std::thread::scope(|scope| {
        let wire = Arc::clone(&bench.wire);
        let drained = scope.spawn(move || wire.drain(Duration::from_secs(60)));
        assert_eq!(bench.shown(), b"last words");
        drained.join().unwrap();
    });
    assert!(begin.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_client_and_the_driver_talk_across_a_reset_of_the_machine() {
    let place = TempDir::new_with_prefix(std::env::temp_dir().join("console-")).unwrap();
    let path = place.as_path().join("socket");
    let end = Arc::new(End::open("--console", &Target::Unix(path.clone())).unwrap());
    let mut bench = Bench::started();
    let mut output = end.output().unwrap();
    let (wire, guest) = (Arc::clone(&bench.wire), Arc::clone(&bench.wire));
    // Both end with the process.
    std::thread::spawn(move || while wire.print(&mut output).is_ok() {});
    std::thread::spawn(move || end.pump(&(guest as Arc<dyn Guest>)));
    let mut client = UnixStream::connect(&path).unwrap();
    for _ in 0..2 {
        client.write_all(b"typed").unwrap();
        let mut received = bench.offer(16);
        while received != b"typed" {
            let before = bench.driver.used().0;
            std::thread::sleep(Duration::from_millis(1));
            // It fails where there is nothing new.
            let _ = bench.driver.transport.serve(0);
            received.extend(bench.received(before));
            assert!(b"typed".starts_with(&received), "{received:?}");
        }
        bench.print(b"printed");
        let mut shown = [0; 7];
        client.read_exact(&mut shown).unwrap();
        assert_eq!(shown, *b"printed");
        bench.driver.transport.reset();
        bench.start(VERSION_1);
    }
}
