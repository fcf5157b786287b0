// SPDX-License-Identifier: MIT OR Apache-2.0
//! A driver of a disk, through the registers.

use super::super::test::{
    BUFFER, Driver, NEEDS_RESET, NEXT, RUNNING, SIZE, TABLE, VERSION_1, WRITE,
};
use super::Blk;
use crate::config::{Disk, parse_disk};
use crate::memory::probe_ring;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use vmm_sys_util::tempfile::TempFile;

const FLUSH: u64 = 1 << 9;
const CONFIG_WCE: u64 = 1 << 11;

/// Where requests have their header, their data and their status.
const HEADER: u64 = BUFFER;
const DATA: u64 = BUFFER + 0x1000;
const STATUS: u64 = BUFFER + 0x800;

const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH_REQUEST: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;

const OK: u64 = 0;
const IOERR: u64 = 1;
const UNSUPP: u64 = 2;

const SECTORS: u64 = 64;

/// A disk of sectors that each hold their number in every byte.
struct Bench {
    image: TempFile,
    /// Who serves it.
    aio: &'static str,
}

impl Bench {
    /// One for everybody who may serve a disk. Not every kernel has io_uring, and not every one gives
    /// it to everybody; the lab's does.
    fn each() -> impl Iterator<Item = Self> {
        let all = [("threads", Ok(())), ("io_uring", probe_ring())];
        all.into_iter().filter_map(|(aio, found)| match found {
            Ok(()) => Some(Self::new(aio)),
            Err(error) => {
                eprintln!("SKIPPED: aio={aio}: {error}");
                None
            }
        })
    }

    fn new(aio: &'static str) -> Self {
        let image = TempFile::new().unwrap();
        for sector in 0..SECTORS {
            let bytes = [u8::try_from(sector).unwrap(); 512];
            let place = sector * 512;
            image.as_file().write_all_at(&bytes, place).unwrap();
        }
        Self { image, aio }
    }

    fn file(&self) -> &File {
        self.image.as_file()
    }

    fn disk(&self, words: &str) -> Disk {
        let path = self.image.as_path().display();
        parse_disk(&format!("path={path},aio={}{words}", self.aio)).unwrap()
    }

    fn driver(&self, words: &str) -> Driver {
        Driver::of(Box::new(Blk::open(&self.disk(words)).unwrap()))
    }

    fn started(&self, words: &str) -> Driver {
        let driver = self.driver(words);
        driver.restart(VERSION_1 | FLUSH);
        driver
    }

    fn sector(&self, sector: u64) -> [u8; 512] {
        let mut bytes = [0xee; 512];
        let read = self.file().read_exact_at(&mut bytes, sector * 512);
        read.unwrap();
        bytes
    }
}

impl Driver {
    fn header(&self, kind: u32, sector: u64) {
        let bytes = [&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()];
        self.memory.write(HEADER, &bytes.concat()).unwrap();
        self.put16(STATUS, 0xffff);
    }

    /// Serves the queue until the driver has got back what it offered, or the device is broken.
    fn offer_and_wait(&mut self, head: u16) {
        self.offer(head);
        self.wait();
    }

    fn wait(&self) {
        while !self.has_all() && self.read(0x70) == RUNNING {
            // Nothing to do yet.
            let _ = self.transport.serve(0);
            std::thread::yield_now();
        }
    }

    /// One request with `length` bytes of data, which the device writes or reads. Gives status and
    /// used length.
    fn ask(&mut self, kind: u32, sector: u64, length: u32, writable: bool) -> (u64, u64) {
        self.header(kind, sector);
        self.describe(TABLE, HEADER, 16, NEXT, 1);
        let flags = if writable { NEXT | WRITE } else { NEXT };
        if length == 0 {
            self.describe(TABLE + 16, STATUS, 1, WRITE, 0);
        } else {
            self.describe(TABLE + 16, DATA, length, flags, 2);
            self.describe(TABLE + 32, STATUS, 1, WRITE, 0);
        }
        self.offer_and_wait(0);
        let (_, _, written) = self.used();
        assert_eq!(self.number(STATUS + 1, 1), 0xff);
        (self.number(STATUS, 1), written)
    }

    fn config(&self, offset: u32, width: usize) -> u64 {
        let mut bytes = [0; 8];
        self.transport.read(0x100 + offset, &mut bytes[..width]);
        u64::from_le_bytes(bytes)
    }

    fn data(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory.read(DATA, &mut bytes).unwrap();
        bytes
    }
}

/// A segment to discard or zero.
fn segment(sector: u64, sectors: u32, flags: u32) -> Vec<u8> {
    let (sectors, flags) = (sectors.to_le_bytes(), flags.to_le_bytes());
    [&sector.to_le_bytes()[..], &sectors, &flags].concat()
}

#[test]
fn the_configuration_says_what_the_disk_is() {
    for bench in Bench::each() {
        let driver = bench.driver(",queues=3");
        assert_eq!((driver.read(8), driver.config(0, 8)), (2, SECTORS));
        let fields =
            [(12, 4), (20, 4), (32, 1), (34, 2)].map(|(at, width)| driver.config(at, width));
        assert_eq!(fields, [254, 512, 1, 3]);
        let fields = [36, 40, 44, 48, 52].map(|offset| driver.config(offset, 4));
        assert_eq!(fields, [1 << 21, 16, 1, 1 << 21, 16]);
        assert_eq!((driver.config(56, 1), driver.config(60, 8)), (1, 0));
        assert_eq!(driver.config(0xf8, 8), 0);
        assert_eq!(driver.read(0x10), 0x3000_7a44);
        assert_eq!(driver.transport.notified().len(), 3);
        for queue in 0..4 {
            driver.write(0x30, queue);
            assert_eq!(driver.read(0x34), if queue < 3 { 256 } else { 0 });
        }
    }
}

#[test]
fn a_read_only_disk_says_so_and_stays_as_it_is() {
    for bench in Bench::each() {
        let driver = bench.driver(",readonly=on");
        assert_eq!(driver.read(0x10), 0x3000_0a64);
        assert_eq!((driver.config(36, 4), driver.config(56, 1)), (0, 0));
        let mut driver = driver;
        driver.restart(VERSION_1);
        assert_eq!(driver.ask(OUT, 0, 512, false), (IOERR, 1));
        driver.memory.write(DATA, &segment(0, 1, 0)).unwrap();
        assert_eq!(driver.ask(DISCARD, 0, 16, false), (IOERR, 1));
        assert_eq!(driver.ask(WRITE_ZEROES, 0, 16, false), (IOERR, 1));
        assert_eq!(driver.ask(FLUSH_REQUEST, 0, 0, false), (OK, 1));
        assert_eq!(driver.ask(IN, 5, 512, true), (OK, 513));
        assert_eq!(driver.data(512), [5; 512]);
        assert_eq!(bench.sector(0), [0; 512]);
    }
}

#[test]
fn sectors_are_read_and_written_where_they_are() {
    for bench in Bench::each() {
        let mut driver = bench.started("");
        assert_eq!(driver.ask(IN, 2, 1024, true), (OK, 1025));
        assert_eq!(driver.data(1024), [[2; 512], [3; 512]].concat());
        driver.memory.write(DATA, &[0xab; 1024]).unwrap();
        assert_eq!(driver.ask(OUT, SECTORS - 2, 1024, false), (OK, 1));
        assert_eq!(bench.sector(SECTORS - 3), [61; 512]);
        assert_eq!(bench.sector(SECTORS - 1), [0xab; 512]);
        assert!(driver.interrupted());
        assert_eq!(driver.ask(FLUSH_REQUEST, 0, 0, false), (OK, 1));
        assert_eq!(driver.read(0x70), RUNNING);
    }
}

#[test]
fn a_request_may_be_cut_into_parts_anywhere() {
    for bench in Bench::each() {
        let mut driver = bench.started("");
        driver.header(IN, 7);
        driver.describe(TABLE, HEADER, 3, NEXT, 1);
        driver.describe(TABLE + 16, HEADER + 3, 13, NEXT, 2);
        driver.describe(TABLE + 32, DATA, 100, WRITE | NEXT, 3);
        // What is empty is nothing.
        driver.describe(TABLE + 48, DATA, 0, WRITE | NEXT, 4);
        driver.describe(TABLE + 64, DATA + 100, 413, WRITE, 0);
        driver.offer_and_wait(0);
        assert_eq!(driver.used(), (1, 0, 513));
        assert_eq!(driver.data(512), [7; 512]);
        assert_eq!(driver.number(DATA + 512, 1), OK);
    }
}

#[test]
fn what_a_driver_may_not_ask_for_is_an_error_and_changes_nothing() {
    for bench in Bench::each() {
        let mut driver = bench.started("");
        for (kind, sector, length, writable, status) in [
            (IN, SECTORS, 512, true, IOERR),
            (IN, SECTORS - 1, 1024, true, IOERR),
            (IN, u64::MAX, 512, true, IOERR),
            (IN, 1 << 55, 512, true, IOERR),
            (IN, 0, 511, true, IOERR),
            (IN, 0, 512, false, IOERR),
            (OUT, SECTORS, 512, false, IOERR),
            (OUT, u64::MAX >> 9, 512, false, IOERR),
            (OUT, 0, 100, false, IOERR),
            (OUT, 0, 512, true, IOERR),
            (2, 0, 512, true, UNSUPP),
            (14, 0, 16, false, UNSUPP),
            (u32::MAX, 0, 0, false, UNSUPP),
        ] {
            let (found, _) = driver.ask(kind, sector, length, writable);
            assert_eq!(found, status, "{kind} {sector:#x} {length} {writable}");
            assert_eq!(driver.read(0x70), RUNNING);
        }
        assert_eq!(bench.file().metadata().unwrap().len(), SECTORS * 512);
        assert_eq!(bench.sector(0), [0; 512]);
        assert_eq!(driver.ask(IN, 1, 512, true), (OK, 513));
    }
}

#[test]
fn a_request_without_room_for_header_or_status_breaks_the_device() {
    type Parts = &'static [(u64, u32, u16)];
    let cases: [(&str, Parts); 7] = [
        ("no status", &[(HEADER, 16, 0), (DATA, 512, 0)]),
        ("short header", &[(HEADER, 15, 0), (STATUS, 1, WRITE)]),
        ("no header", &[(DATA, 512, WRITE), (STATUS, 1, WRITE)]),
        ("no length", &[(HEADER, 16, 0), (STATUS, 0, WRITE)]),
        (
            "status before data",
            &[(HEADER, 16, 0), (STATUS, 1, WRITE), (DATA, 512, 0)],
        ),
        (
            "status outside",
            &[(HEADER, 16, 0), (SIZE as u64, 1, WRITE)],
        ),
        (
            "data outside",
            &[
                (HEADER, 16, 0),
                (SIZE as u64 - 256, 512, WRITE),
                (STATUS, 1, WRITE),
            ],
        ),
    ];
    for bench in Bench::each() {
        let mut driver = bench.started("");
        for (name, parts) in cases {
            driver.header(IN, 0);
            for (index, (address, length, flags)) in (0..).zip(parts) {
                let last = index + 1 == u16::try_from(parts.len()).unwrap();
                let next = if last { 0 } else { NEXT };
                let at = TABLE + 16 * u64::from(index);
                driver.describe(at, *address, *length, flags | next, index + 1);
            }
            driver.offer_and_wait(0);
            assert_eq!(driver.read(0x70), RUNNING | NEEDS_RESET, "{name}");
            assert_eq!(driver.used().0, 0, "{name}");
            driver.begin_again();
            driver.restart(VERSION_1 | FLUSH);
        }
        assert_eq!(driver.ask(IN, 1, 512, true), (OK, 513));
    }
}

#[test]
fn the_serial_number_has_twenty_bytes() {
    for bench in Bench::each() {
        let mut driver = bench.started(",serial=QB-0042");
        driver.memory.write(DATA, &[0xff; 24]).unwrap();
        assert_eq!(driver.ask(GET_ID, 0, 20, true), (OK, 21));
        assert_eq!(driver.data(21), b"QB-0042\0\0\0\0\0\0\0\0\0\0\0\0\0\xff");
        assert_eq!(driver.ask(GET_ID, 0, 4, true), (OK, 5));
    }
}

#[test]
fn discarded_space_goes_back_and_zeroes_are_zeroes() {
    for bench in Bench::each() {
        let mut driver = bench.started("");
        let before = bench.file().metadata().unwrap().blocks();
        driver.memory.write(DATA, &segment(8, 8, 0)).unwrap();
        assert_eq!(driver.ask(DISCARD, 0, 16, false), (OK, 1));
        assert!(bench.file().metadata().unwrap().blocks() < before);
        let two = [segment(16, 1, 0), segment(19, 2, 1)].concat();
        driver.memory.write(DATA, &two).unwrap();
        assert_eq!(driver.ask(WRITE_ZEROES, 0, 32, false), (OK, 1));
        for (sector, byte) in [
            (7, 7),
            (16, 0),
            (17, 17),
            (18, 18),
            (19, 0),
            (20, 0),
            (21, 21),
        ] {
            assert_eq!(bench.sector(sector), [byte; 512], "{sector}");
        }
        assert_eq!(bench.file().metadata().unwrap().len(), SECTORS * 512);
    }
}

#[test]
fn discards_that_make_no_sense_are_errors_and_change_nothing() {
    for bench in Bench::each() {
        let mut driver = bench.started("");
        for (kind, bytes, status) in [
            (DISCARD, segment(0, 1, 1), UNSUPP),
            (DISCARD, segment(0, 1, 2), UNSUPP),
            (WRITE_ZEROES, segment(0, 1, 2), UNSUPP),
            (WRITE_ZEROES, segment(SECTORS, 1, 0), IOERR),
            (WRITE_ZEROES, segment(1, u32::MAX, 0), IOERR),
            (WRITE_ZEROES, segment(u64::MAX, 1, 0), IOERR),
            (WRITE_ZEROES, segment(0, 1, 0)[..15].to_vec(), IOERR),
            (DISCARD, segment(1, 1, 0).repeat(17), IOERR),
        ] {
            driver.memory.write(DATA, &bytes).unwrap();
            let length = u32::try_from(bytes.len()).unwrap();
            assert_eq!(driver.ask(kind, 0, length, false), (status, 1), "{bytes:?}");
            assert_eq!(
                driver.ask(kind, 0, 0, false),
                (IOERR, 1),
                "without segments"
            );
        }
        assert_eq!(bench.sector(1), [1; 512]);
    }
}

#[test]
fn the_cache_has_the_mode_that_the_driver_chose() {
    for bench in Bench::each() {
        let driver = bench.driver("");
        let set = |mode: &[u8]| driver.transport.write(0x120, mode).unwrap();
        set(&[0]);
        assert_eq!(driver.config(32, 1), 1, "before features are agreed");
        driver.restart(VERSION_1);
        assert_eq!(driver.config(32, 1), 0, "a driver that cannot flush");
        driver.restart(VERSION_1 | FLUSH);
        set(&[0]);
        assert_eq!(driver.config(32, 1), 1, "not agreed");
        driver.restart(VERSION_1 | FLUSH | CONFIG_WCE);
        for (mode, found) in [(&[0][..], 0), (&[2], 0), (&[1, 1], 0), (&[1], 1)] {
            set(mode);
            assert_eq!(driver.config(32, 1), found, "{mode:?}");
        }
        set(&[0]);
        driver.transport.reset();
        assert_eq!(driver.config(32, 1), 1);
    }
}

#[test]
fn without_a_cache_a_write_still_arrives() {
    for bench in Bench::each() {
        let mut driver = bench.driver("");
        driver.restart(VERSION_1);
        driver.memory.write(DATA, &[9; 512]).unwrap();
        assert_eq!(driver.ask(OUT, 3, 512, false), (OK, 1));
        driver.memory.write(DATA, &segment(4, 1, 0)).unwrap();
        assert_eq!(driver.ask(WRITE_ZEROES, 0, 16, false), (OK, 1));
        assert_eq!((bench.sector(3), bench.sector(4)), ([9; 512], [0; 512]));
    }
}

#[test]
fn an_image_that_shrinks_gives_errors_and_nothing_else() {
    for bench in Bench::each() {
        let mut driver = bench.started("");
        bench.file().set_len(4 * 512 + 100).unwrap();
        assert_eq!(driver.ask(IN, 3, 1024, true), (IOERR, 0));
        assert_eq!(driver.ask(IN, 60, 512, true), (IOERR, 0));
        assert_eq!(driver.ask(IN, 3, 512, true), (OK, 513));
        assert_eq!(driver.read(0x70), RUNNING);
    }
}

#[test]
fn direct_access_takes_buffers_at_any_address() {
    // Not every file system for temporary files has direct access.
    let program = std::env::current_exe().unwrap();
    for bench in Bench::each() {
        let bench = Bench {
            image: TempFile::new_in(program.parent().unwrap()).unwrap(),
            ..bench
        };
        let size = 3 << 20;
        let pattern: Vec<u8> = (0..=255).cycle().take(size).collect();
        bench.file().write_all_at(&pattern, 0).unwrap();
        let mut driver = bench.started(",direct=on");
        let block = u32::try_from(driver.config(20, 4)).unwrap();
        assert!(block.is_power_of_two() && (512..=4096).contains(&block));
        driver.header(IN, 0);
        for shift in [0, 4, 0x100] {
            driver.memory.write(DATA, &[0; 0x3000]).unwrap();
            driver.describe(TABLE, HEADER, 16, NEXT, 1);
            driver.describe(TABLE + 16, DATA + shift, 0x2000, NEXT | WRITE, 2);
            driver.describe(TABLE + 32, STATUS, 1, WRITE, 0);
            driver.offer_and_wait(0);
            assert_eq!((driver.number(STATUS, 1), driver.used().2), (OK, 0x2001));
            let skip = usize::try_from(shift).unwrap();
            assert!(driver.data(0x3000)[skip..][..0x2000] == pattern[..0x2000]);
        }
        driver.header(OUT, 8);
        driver.describe(TABLE + 16, DATA + 0x101, 0x1000, NEXT, 2);
        driver.memory.write(DATA + 0x101, &[0xcd; 0x1000]).unwrap();
        driver.offer_and_wait(0);
        assert_eq!(driver.number(STATUS, 1), OK);
        assert_eq!(
            (bench.sector(8), bench.sector(15)),
            ([0xcd; 512], [0xcd; 512])
        );
        assert!(bench.sector(16) == pattern[..512]);
        if block > 512 {
            assert_eq!(driver.ask(IN, 1, 512, true), (IOERR, 0));
        }
    }
}

#[test]
fn every_queue_is_served_by_itself() {
    for bench in Bench::each() {
        let driver = bench.driver(",queues=2");
        driver.agree(VERSION_1 | 1 << 12);
        driver.place(8, TABLE, 0x2000, 0x3000);
        // The second queue: rings of its own, the same table.
        for (register, value) in [
            (0x30, 1),
            (0x38, 8),
            (0x80, 0x1000),
            (0x90, 0x5000),
            (0xa0, 0x6000),
            (0x44, 1),
            (0x70, 0xf),
        ] {
            driver.write(register, value);
        }
        driver.header(IN, 9);
        driver.describe(TABLE, HEADER, 16, NEXT, 1);
        driver.describe(TABLE + 16, DATA, 512, NEXT | WRITE, 2);
        driver.describe(TABLE + 32, STATUS, 1, WRITE, 0);
        driver.put16(0x5002, 1);
        driver.write(0x50, 1);
        assert!(
            driver.transport.serve(0).is_err(),
            "nobody notified queue 0"
        );
        driver.transport.serve(1).unwrap();
        assert_eq!((driver.number(0x6002, 2), driver.used().0), (1, 0));
        assert_eq!(driver.data(512), [9; 512]);
        assert!(driver.interrupted());
        // Beyond the last one there is nothing to notify.
        driver.write(0x50, 2);
        driver.transport.serve(2).unwrap();
    }
}

#[test]
fn of_many_requests_the_first_do_not_wait_for_the_last() {
    let bench = Bench::new("threads");
    let driver = bench.driver("");
    driver.agree(VERSION_1);
    driver.place(32, TABLE, 0x2000, 0x3000);
    driver.write(0x70, 0xf);
    driver.header(IN, 9);
    driver.describe(TABLE, HEADER, 16, NEXT, 1);
    driver.describe(TABLE + 16, DATA, 512, NEXT | WRITE, 2);
    driver.describe(TABLE + 32, STATUS, 1, WRITE, 0);
    driver.put16(0x2002, 20);
    driver.write(0x50, 0);
    for used in [8, 16, 20] {
        driver.transport.serve(0).unwrap();
        assert_eq!(driver.number(0x3002, 2), used);
        assert!(driver.interrupted());
    }
    assert!(driver.transport.serve(0).is_err(), "nothing is left");
}

#[test]
fn images_are_locked_against_writers() {
    let bench = Bench::new("auto");
    let refused = |words: &str| Blk::open(&bench.disk(words)).unwrap_err().to_string();
    let writable = Blk::open(&bench.disk("")).unwrap();
    assert!(refused("").contains("expected nobody else to use it, found it in use"));
    assert!(refused(",readonly=on").contains("expected nobody else to write to it"));
    drop(writable);
    let _first = Blk::open(&bench.disk(",readonly=on")).unwrap();
    let _second = Blk::open(&bench.disk(",readonly=on")).unwrap();
    assert!(refused("").contains("in use"));
}

#[test]
fn what_is_no_image_is_refused_in_a_sentence() {
    let bench = Bench::new("auto");
    let open = |path: &str| {
        let disk = parse_disk(&format!("path={path}")).unwrap();
        Blk::open(&disk).unwrap_err().to_string()
    };
    let sentence = open("/nonexistent");
    assert!(sentence.starts_with("disk image /nonexistent: opening it for reading and writing: "));
    for (path, found) in [("/", "a directory"), ("/dev/null", "a character device")] {
        assert_eq!(
            open(path),
            format!("disk image {path}: expected a file or a block device, found {found}")
        );
    }
    for size in [0, 511, 513, 1 << 20 | 1] {
        bench.file().set_len(size).unwrap();
        let path = bench.image.as_path().display().to_string();
        assert_eq!(
            open(&path),
            format!(
                "disk image {path}: expected a multiple of 512 bytes that is not 0, found {size} \
                 bytes"
            )
        );
    }
}
