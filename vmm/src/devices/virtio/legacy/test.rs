// SPDX-License-Identifier: MIT OR Apache-2.0
//! A driver from before version 1, good and hostile, through the registers.

use super::super::Interface;
use super::super::queue::Broken;
use super::super::test::{BUFFER, Driver, EVENT_INDEX, NEXT, SIZE, WRITE, random, rng};
use super::Pages;

/// Status after a good start: FEATURES_OK is not needed.
const RUNNING: u32 = 7;

const STATUS: u32 = 0x70;
const PAGE_SIZE: u32 = 0x28;
const QUEUE_SIZE: u32 = 0x38;
const ALIGN: u32 = 0x3c;
const PFN: u32 = 0x40;

/// The queue's first page, so that its rings are where [`Driver`] has them, and the page's size.
const PAGE: u32 = 63;
const SMALL: u32 = 128;
const TABLE: u64 = 63 * 128;

/// A driver that has begun, up to the queue.
fn driver(features: u64) -> Driver {
    let driver = Driver::with(Interface::Legacy, rng());
    begin(&driver, features);
    driver
}

fn begin(driver: &Driver, features: u64) {
    for (register, value) in [
        // As Linux does it, before the reset.
        (PAGE_SIZE, SMALL),
        (STATUS, 0),
        (STATUS, 1),
        (STATUS, 3),
        (0x24, 0),
        (0x20, u32::try_from(features).unwrap()),
    ] {
        driver.write(register, value);
    }
}

/// A queue of 8 entries.
fn place(driver: &Driver) {
    for (register, value) in [(0x30, 0), (QUEUE_SIZE, 8), (ALIGN, 4096), (PFN, PAGE)] {
        driver.write(register, value);
    }
    assert_eq!(driver.read(PFN), PAGE);
}

fn running(features: u64) -> Driver {
    let driver = driver(features);
    place(&driver);
    driver.write(STATUS, RUNNING);
    assert_eq!(driver.read(STATUS), RUNNING);
    driver
}

#[test]
fn the_registers_say_what_it_is() {
    let driver = Driver::with(Interface::Legacy, rng());
    let words = [
        0, 4, 8, 0x10, 0x34, PFN, 0x44, 0x60, STATUS, 0xb0, 0xfc, 0x100,
    ]
    .map(|offset| driver.read(offset));
    let features = 7 << 27;
    assert_eq!(
        words,
        [0x7472_6976, 1, 4, features, 64, 0, 0, 0, 0, 0, 0, 0]
    );
    for select in [1, 2] {
        driver.write(0x14, select);
        assert_eq!(driver.read(0x10), 0);
    }
    driver.write(0x30, 1);
    assert_eq!((driver.read(0x34), driver.read(PFN)), (0, 0));
}

#[test]
fn a_buffer_is_filled_and_given_back_with_an_interrupt() {
    let mut driver = running(0);
    driver.describe(TABLE, BUFFER, 3, WRITE | NEXT, 5);
    driver.describe(TABLE + 5 * 16, BUFFER + 0x100, 2, WRITE, 0);
    driver.offer(0);
    assert_eq!(driver.used(), (1, 0, 5));
    assert_eq!(driver.number(BUFFER + 0x100, 4), 0x0504);
    assert!(driver.interrupted());
    assert_eq!(driver.read(0x60), 1);
    driver.write(0x64, 1);
    assert_eq!(driver.read(0x60), 0);
}

#[test]
fn a_queue_lies_in_pages_of_4_kib_unless_the_driver_says_otherwise() {
    let mut driver = driver(0);
    driver.write(PAGE_SIZE, 4096);
    driver.write(PFN, 1);
    driver.write(STATUS, RUNNING);
    // 64 entries of 16 bytes; the used ring is on the next page.
    driver.describe(0x1000, BUFFER, 4, WRITE, 0);
    driver.put16(0x1402, 1);
    driver.notify();
    assert_eq!((driver.number(0x2002, 2), driver.number(0x2008, 4)), (1, 4));
    // What lies elsewhere is another queue.
    driver.offer(0);
    assert_eq!(driver.number(0x2002, 2), 1);
}

#[test]
fn the_device_can_be_used_before_the_driver_says_that_it_is_ready() {
    let mut driver = Driver::with(Interface::Legacy, rng());
    driver.write(PAGE_SIZE, SMALL);
    place(&driver);
    driver.describe(TABLE, BUFFER, 4, WRITE, 0);
    driver.offer(0);
    assert_eq!((driver.used(), driver.read(STATUS)), ((1, 0, 4), 0));
    driver.write(STATUS, RUNNING);
    driver.offer(0);
    assert_eq!(driver.used(), (2, 0, 4));
}

#[test]
fn features_are_settled_when_the_device_is_used() {
    // Those that are not offered do not count, nor does what the interface has no bits for.
    let mut driver = driver(1 << 5);
    place(&driver);
    driver.write(0x24, 1);
    driver.write(0x20, u32::MAX);
    driver.write(0x24, 0);
    // After the queue was set up.
    driver.write(0x20, u32::try_from(EVENT_INDEX).unwrap() | 1 << 5);
    driver.write(STATUS, 0xff);
    assert_eq!(driver.read(STATUS), 0x8f);
    // Too late.
    driver.write(0x20, 0);
    driver.describe(TABLE, BUFFER, 4, WRITE, 0);
    driver.put16(0x2004 + 2 * 8, 1);
    driver.offer(0);
    assert!(!driver.interrupted(), "not wanted for the first");
    driver.offer(0);
    assert!(driver.interrupted());
}

#[test]
fn a_notification_from_before_a_reset_starts_nothing() {
    let mut driver = running(0);
    driver.write(0x50, 0);
    driver.write(STATUS, 0);
    driver.transport.serve(0).unwrap();
    assert_eq!(driver.read(PFN), 0);
    begin(&driver, EVENT_INDEX);
    place(&driver);
    driver.write(STATUS, RUNNING);
    driver.describe(TABLE, BUFFER, 4, WRITE, 0);
    driver.put16(0x2004 + 2 * 8, 1);
    driver.offer(0);
    assert_eq!(driver.used().0, 1);
    assert!(!driver.interrupted(), "as agreed this time");
}

#[test]
fn a_machine_reset_forgets_the_size_of_pages_too() {
    let driver = running(0);
    driver.transport.reset();
    assert_eq!((driver.read(STATUS), driver.read(PFN)), (0, 0));
    place_refused(&driver, PAGE);
    driver.write(STATUS, 0);
    begin(&driver, 0);
    place(&driver);
}

#[test]
fn a_queue_in_use_does_not_move_until_it_is_given_up() {
    let mut driver = running(0);
    for (register, value) in [(QUEUE_SIZE, 4), (ALIGN, 16), (PFN, 1)] {
        driver.write(register, value);
    }
    assert_eq!(driver.read(PFN), PAGE);
    driver.describe(TABLE, BUFFER, 4, WRITE, 0);
    driver.offer(0);
    assert_eq!(driver.used().0, 1);
    driver.write(PFN, 0);
    assert_eq!(driver.read(PFN), 0);
    driver.offer(0);
    assert_eq!(driver.used().0, 1);
}

#[test]
fn queues_of_impossible_sizes_and_places_are_not_used() {
    let end = u32::try_from(SIZE).unwrap() / SMALL;
    for (page_size, size, align, first) in [
        (0, 8, 4096, PAGE),
        (100, 8, 4096, PAGE),
        (SMALL, 0, 4096, PAGE),
        (SMALL, 7, 4096, PAGE),
        (SMALL, 128, 4096, PAGE),
        (SMALL, 0x1_0008, 4096, PAGE),
        (SMALL, 8, 0, PAGE),
        (SMALL, 8, 24, PAGE),
        // The used ring is not even aligned to its own words.
        (SMALL, 8, 2, PAGE),
        (8, 8, 4096, 1),
        (SMALL, 8, 4096, end - 1),
        (SMALL, 8, 4096, end),
        (SMALL, 8, 1 << 31, PAGE),
        (1 << 31, 8, 4096, u32::MAX),
        (SMALL, 8, 4096, u32::MAX),
    ] {
        let mut driver = driver(0);
        for (register, value) in [
            (PAGE_SIZE, page_size),
            (QUEUE_SIZE, size),
            (ALIGN, align),
            (PFN, first),
            (STATUS, RUNNING),
        ] {
            driver.write(register, value);
        }
        let what = format!("{page_size} {size} {align} {first}");
        assert_eq!(driver.read(PFN), 0, "{what}");
        // A legacy driver has no bit for it.
        assert_eq!(driver.read(STATUS), RUNNING, "{what}");
        driver.describe(TABLE, BUFFER, 4, WRITE, 0);
        driver.offer(0);
        assert_eq!(
            (driver.used().0, driver.interrupted()),
            (0, false),
            "{what}"
        );
        // Only a reset helps.
        driver.write(PAGE_SIZE, SMALL);
        place_refused(&driver, PAGE);
        begin(&driver, 0);
        place(&driver);
        driver.write(STATUS, RUNNING);
        driver.notify();
        assert_eq!(driver.used().0, 1, "{what}");
    }
}

fn place_refused(driver: &Driver, page: u32) {
    driver.write(PFN, page);
    assert_eq!(driver.read(PFN), 0);
}

#[test]
fn a_broken_chain_stops_the_device_until_it_is_reset() {
    let mut driver = running(0);
    driver.describe(TABLE, BUFFER, 4, WRITE | NEXT, 0);
    driver.offer(0);
    assert_eq!((driver.used().0, driver.interrupted()), (0, false));
    assert_eq!((driver.read(STATUS), driver.read(0x60)), (RUNNING, 0));
    driver.describe(TABLE, BUFFER, 4, WRITE, 0);
    driver.notify();
    assert_eq!(driver.used().0, 0);
    begin(&driver, 0);
    place(&driver);
    driver.write(STATUS, RUNNING);
    driver.notify();
    assert_eq!(driver.used().0, 1);
}

#[test]
fn no_sequence_of_accesses_panics() {
    let driver = driver(0);
    let mut random = random();
    for _ in 0..200_000 {
        let bits = random();
        let offset = u32::try_from(bits & 0xff).unwrap() & !3;
        // Small numbers are more often possible ones.
        let value = u32::try_from(random() >> 32).unwrap() >> (bits >> 8 & 31);
        match bits >> 60 {
            0 => drop(driver.transport.serve(0)),
            1 => {
                driver.write(0x30, 0);
                driver.write(PFN, PAGE);
            }
            2 => begin(&driver, EVENT_INDEX),
            3 => driver.put16(TABLE + (bits >> 16 & 0x7e), (bits >> 32 & 0xffff) as u16),
            4 => driver.put16(0x2000 + (bits >> 16 & 0x1e), (bits >> 32 & 7) as u16),
            5 => driver.write(STATUS, RUNNING),
            _ => driver.write(offset, value),
        }
        driver.read(offset);
    }
}

fn placed(size: u32, align: u32, first: u32, page_size: u32) -> Result<[u64; 3], Broken> {
    let pages = Pages { size, align, first };
    let place = pages.place(page_size)?;
    assert_eq!(place.size, size);
    Ok([place.descriptors, place.available, place.used])
}

#[test]
fn the_parts_of_a_queue_lie_behind_each_other() {
    assert_eq!(placed(8, 4096, 3, 4096), Ok([0x3000, 0x3080, 0x4000]));
    assert_eq!(placed(8, 4, 3, 4096), Ok([0x3000, 0x3080, 0x3098]));
    assert_eq!(
        placed(256, 4096, 1, 0x1_0000),
        Ok([0x1_0000, 0x1_1000, 0x1_2000])
    );
    // The event of these entries is the last that fits before the boundary.
    let last = (4096 - 6) / 18;
    assert_eq!(placed(last, 4096, 1, 4096).map(|it| it[2]), Ok(0x2000));
    assert_eq!(placed(last + 1, 4096, 1, 4096).map(|it| it[2]), Ok(0x3000));
    let pages = Pages::new(64);
    assert_eq!((pages.size, pages.align, pages.first), (64, 4096, 0));
}

#[test]
fn the_largest_numbers_that_there_are_do_not_wrap() {
    let most = 1 << 31;
    let first = u64::from(u32::MAX) << 31;
    let found = placed(0xffff, most, u32::MAX, most).unwrap();
    assert_eq!(found, [first, first + 0xf_fff0, first + (1 << 31)]);
}

#[test]
fn sizes_of_pages_rings_and_gaps_that_cannot_be_are_refused() {
    for page_size in [0, 3, 4097, u32::MAX] {
        assert_eq!(placed(8, 4096, 1, page_size), Err(Broken::Setup));
    }
    for align in [0, 12, u32::MAX] {
        assert_eq!(placed(8, align, 1, 4096), Err(Broken::Setup));
    }
    for size in [0x1_0000, u32::MAX] {
        assert_eq!(placed(size, 4096, 1, 4096), Err(Broken::Setup));
    }
}
