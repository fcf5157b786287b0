// SPDX-License-Identifier: MIT OR Apache-2.0
//! MC146818 real-time clock and the memory behind it.
//!
//! Spec: Motorola MC146818A data sheet; memory-size bytes as QEMU `x86_rtc_set_cmos...` fills
//! them on `microvm`. UTC. Alarms and periodic interrupts are not offered: nothing that boots
//! needs them, but a Linux without an RTC polls these ports for a second.

mod civil;

use crate::memory::Layout;
use abi::layout::{HIGH_RAM_START, LOW_RAM_END};
use civil::Civil;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Index register; bit 7 masks NMI on real hardware and is ignored.
pub const INDEX_PORT: u16 = 0x70;
/// Data register.
pub const DATA_PORT: u16 = 0x71;

const SECONDS: u8 = 0;
const MINUTES: u8 = 2;
const HOURS: u8 = 4;
const DAY_OF_WEEK: u8 = 6;
const DAY: u8 = 7;
const MONTH: u8 = 8;
const YEAR: u8 = 9;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
const STATUS_C: u8 = 0x0c;
const STATUS_D: u8 = 0x0d;
const CENTURY: u8 = 0x32;

/// The registers that hold the time, each after those its meaning depends on.
const TIME: [u8; 8] = [
    CENTURY,
    YEAR,
    MONTH,
    DAY,
    DAY_OF_WEEK,
    HOURS,
    MINUTES,
    SECONDS,
];

/// Status A at power-on: 32.768 kHz time base, 1024 Hz periodic rate.
const A_POWER_ON: u8 = 0x26;
/// Status A: an update is about to happen; the time may not be read now.
const A_UPDATE_IN_PROGRESS: u8 = 1 << 7;
/// Status B: updates stop while the time is set.
const B_SET: u8 = 1 << 7;
/// Status B: binary instead of BCD.
const B_BINARY: u8 = 1 << 2;
/// Status B: 24 hours instead of 12.
const B_24_HOURS: u8 = 1 << 1;
/// Status D: the battery has held.
const D_VALID: u8 = 1 << 7;
/// Hours in 12-hour mode: afternoon.
const PM: u8 = 1 << 7;

/// How long before an update the update-in-progress bit appears (data sheet: 244 us).
const UPDATE_WARNING: Duration = Duration::from_micros(244);

/// The time since 1970-01-01 UTC.
pub type Clock = fn() -> Duration;

/// The host's clock.
#[must_use]
pub fn host_clock() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The device.
#[derive(Debug)]
pub struct Cmos {
    index: u8,
    /// The memory. The time registers count here only while the guest sets the time.
    bytes: [u8; 128],
    clock: Clock,
    /// Guest time less host time, in seconds.
    offset: i64,
}

impl Cmos {
    /// A clock that runs with `clock`, and the sizes of `layout`.
    #[must_use]
    pub fn new(layout: &Layout, clock: Clock) -> Self {
        let mut bytes = [0; 128];
        bytes[usize::from(STATUS_A)] = A_POWER_ON;
        bytes[usize::from(STATUS_B)] = B_24_HOURS;
        let mut put = |index: usize, value: u64, width: usize| {
            let value = value.min((1 << (8 * width)) - 1).to_le_bytes();
            bytes[index..index + width].copy_from_slice(&value[..width]);
        };
        let extended = layout.below_4g().saturating_sub(HIGH_RAM_START) >> 10;
        put(0x15, LOW_RAM_END >> 10, 2);
        put(0x17, extended, 2);
        put(0x30, extended, 2);
        put(0x34, layout.below_4g().saturating_sub(16 << 20) >> 16, 2);
        put(0x5b, layout.above_4g() >> 16, 3);
        Self {
            index: 0,
            bytes,
            clock,
            offset: 0,
        }
    }

    /// What a machine reset does: the index returns to 0, interrupts are off; time goes on.
    pub fn reset(&mut self) {
        self.index = 0;
        self.bytes[usize::from(STATUS_B)] &= B_BINARY | B_24_HOURS;
    }

    /// An 8-bit read. The index register cannot be read.
    pub fn read(&mut self, port: u16) -> u8 {
        if port != DATA_PORT {
            return 0xff;
        }
        match self.index {
            index if TIME.contains(&index) && !self.is_being_set() => {
                let time = Civil::from_seconds(self.seconds());
                self.encode(&time, index)
            }
            STATUS_A => self.bytes[usize::from(STATUS_A)] | self.update_in_progress(),
            STATUS_C => 0,
            STATUS_D => D_VALID,
            other => self.bytes[usize::from(other)],
        }
    }

    /// An 8-bit write.
    pub fn write(&mut self, port: u16, value: u8) {
        if port == INDEX_PORT {
            self.index = value & 0x7f;
            return;
        }
        match self.index {
            index if TIME.contains(&index) && !self.is_being_set() => {
                let mut time = Civil::from_seconds(self.seconds());
                self.decode(&mut time, index, value);
                self.set_time(time);
            }
            STATUS_A => self.bytes[usize::from(STATUS_A)] = value & !A_UPDATE_IN_PROGRESS,
            STATUS_B => {
                let before = self.is_being_set();
                self.bytes[usize::from(STATUS_B)] = value;
                match (before, self.is_being_set()) {
                    (false, true) => self.hold_time(),
                    (true, false) => self.release_time(),
                    _ => {}
                }
            }
            STATUS_C | STATUS_D => {}
            other => self.bytes[usize::from(other)] = value,
        }
    }

    fn host_seconds(&self) -> i64 {
        i64::try_from((self.clock)().as_secs()).unwrap_or(i64::MAX / 2)
    }

    fn seconds(&self) -> i64 {
        self.host_seconds().saturating_add(self.offset)
    }

    fn is_being_set(&self) -> bool {
        self.bytes[usize::from(STATUS_B)] & B_SET != 0
    }

    /// From now on the registers are what the guest writes. They make a date only together: the
    /// 31st need not exist in the month that is written before the day.
    fn hold_time(&mut self) {
        let time = Civil::from_seconds(self.seconds());
        for index in TIME {
            self.bytes[usize::from(index)] = self.encode(&time, index);
        }
    }

    /// Time goes on from what the registers say.
    fn release_time(&mut self) {
        let mut time = Civil::from_seconds(self.seconds());
        for index in TIME {
            self.decode(&mut time, index, self.bytes[usize::from(index)]);
        }
        self.set_time(time);
    }

    fn set_time(&mut self, time: Civil) {
        self.offset = time.to_seconds() - self.host_seconds();
    }

    fn update_in_progress(&self) -> u8 {
        let into_second = Duration::from_nanos((self.clock)().subsec_nanos().into());
        let soon = into_second + UPDATE_WARNING >= Duration::from_secs(1);
        if soon && !self.is_being_set() {
            A_UPDATE_IN_PROGRESS
        } else {
            0
        }
    }

    /// The register `index` of `time`, in the format that status B asks for.
    fn encode(&self, time: &Civil, index: u8) -> u8 {
        let b = self.bytes[usize::from(STATUS_B)];
        let number = |value: u8| {
            if b & B_BINARY == 0 {
                to_bcd(value)
            } else {
                value
            }
        };
        match index {
            SECONDS => number(time.second),
            MINUTES => number(time.minute),
            HOURS if b & B_24_HOURS == 0 => {
                let half = if time.hour >= 12 { PM } else { 0 };
                number(if time.hour.is_multiple_of(12) {
                    12
                } else {
                    time.hour % 12
                }) | half
            }
            HOURS => number(time.hour),
            DAY_OF_WEEK => number(time.week_day),
            DAY => number(time.day),
            MONTH => number(time.month),
            YEAR => number(two_digits(time.year)),
            _ => number(two_digits(time.year / 100)),
        }
    }

    /// Puts what `value` means in register `index` into `time`.
    fn decode(&self, time: &mut Civil, index: u8, value: u8) {
        let b = self.bytes[usize::from(STATUS_B)];
        let number = |value: u8| {
            if b & B_BINARY == 0 {
                from_bcd(value)
            } else {
                value
            }
        };
        match index {
            SECONDS => time.second = number(value) % 60,
            MINUTES => time.minute = number(value) % 60,
            HOURS if b & B_24_HOURS == 0 => {
                let half = if value & PM == 0 { 0 } else { 12 };
                time.hour = number(value & !PM) % 12 + half;
            }
            HOURS => time.hour = number(value) % 24,
            // It follows from the date.
            DAY_OF_WEEK => {}
            DAY => time.day = number(value).clamp(1, 31),
            MONTH => time.month = number(value).clamp(1, 12),
            YEAR => time.year = time.year / 100 * 100 + u16::from(number(value) % 100),
            _ => time.year = u16::from(number(value) % 100) * 100 + time.year % 100,
        }
    }
}

/// The last two decimal digits.
fn two_digits(value: u16) -> u8 {
    (value % 100).to_le_bytes()[0]
}

fn to_bcd(value: u8) -> u8 {
    ((value / 10 % 10) << 4) | (value % 10)
}

fn from_bcd(value: u8) -> u8 {
    (value >> 4) * 10 + (value & 0xf)
}

#[cfg(test)]
mod test {
    use super::*;

    /// 2026-11-20 19:48:11 UTC, a Friday.
    fn friday() -> Duration {
        Duration::from_secs(1_795_204_091)
    }

    fn late_in_the_second() -> Duration {
        friday() + Duration::from_micros(999_800)
    }

    fn device(clock: Clock) -> Cmos {
        Cmos::new(&Layout::new(256 << 20, 0x1_0000), clock)
    }

    fn get(cmos: &mut Cmos, index: u8) -> u8 {
        cmos.write(INDEX_PORT, index);
        cmos.read(DATA_PORT)
    }

    fn set(cmos: &mut Cmos, index: u8, value: u8) {
        cmos.write(INDEX_PORT, index);
        cmos.write(DATA_PORT, value);
    }

    #[test]
    fn the_time_is_bcd_in_24_hours() {
        let mut cmos = device(friday);
        let time: Vec<_> = [0, 2, 4, 6, 7, 8, 9, 0x32]
            .map(|index| get(&mut cmos, index))
            .into_iter()
            .collect();
        assert_eq!(time, [0x11, 0x48, 0x19, 0x06, 0x20, 0x11, 0x26, 0x20]);
        assert_eq!(get(&mut cmos, 0x0b), 0x02);
    }

    #[test]
    fn the_nmi_bit_of_the_index_is_ignored() {
        assert_eq!(get(&mut device(friday), 0x80 | 0x0d), 0x80);
    }

    #[test]
    fn update_in_progress_shows_only_just_before_the_second() {
        assert_eq!(get(&mut device(friday), 0x0a), 0x26);
        assert_eq!(get(&mut device(late_in_the_second), 0x0a), 0xa6);
    }

    #[test]
    fn status_c_and_d_say_no_interrupt_and_good_battery() {
        let mut cmos = device(friday);
        assert_eq!(get(&mut cmos, 0x0c), 0);
        assert_eq!(get(&mut cmos, 0x0d), 0x80);
        set(&mut cmos, 0x0d, 0);
        assert_eq!(get(&mut cmos, 0x0d), 0x80);
    }

    #[test]
    fn binary_and_12_hours_are_offered() {
        let mut cmos = device(friday);
        set(&mut cmos, 0x0b, 0x04);
        assert_eq!(get(&mut cmos, 4), 7 | 0x80);
        assert_eq!(get(&mut cmos, 2), 48);
    }

    #[test]
    fn a_time_set_by_the_guest_goes_on_from_there() {
        let mut cmos = device(friday);
        set(&mut cmos, 0x0b, 0x82);
        for (index, value) in [
            (0x32, 0x19),
            (9, 0x99),
            (8, 0x12),
            (7, 0x31),
            (4, 0x23),
            (2, 0x59),
            (0, 0x58),
        ] {
            set(&mut cmos, index, value);
        }
        assert_eq!(get(&mut cmos, 9), 0x99);
        set(&mut cmos, 0x0b, 0x02);
        cmos.clock = || friday() + Duration::from_secs(3);
        let time: Vec<_> = [0, 2, 4, 7, 8, 9, 0x32]
            .map(|index| get(&mut cmos, index))
            .into_iter()
            .collect();
        assert_eq!(time, [0x01, 0x00, 0x00, 0x01, 0x01, 0x00, 0x20]);
    }

    #[test]
    fn a_month_too_short_for_the_day_before_does_not_move_the_date() {
        // 2026-01-31 00:00 UTC.
        let mut cmos = device(|| Duration::from_secs(1_769_817_600));
        set(&mut cmos, 0x0b, 0x82);
        for (index, value) in [(9, 0x26), (8, 0x02), (7, 0x15)] {
            set(&mut cmos, index, value);
        }
        set(&mut cmos, 0x0b, 0x02);
        let date = [9, 8, 7].map(|index| get(&mut cmos, index));
        assert_eq!(date, [0x26, 0x02, 0x15]);
    }

    #[test]
    fn memory_sizes_are_where_firmware_looks() {
        let mut cmos = Cmos::new(&Layout::new(5 << 30, 0x1_0000), friday);
        let mut word =
            |index| u16::from(get(&mut cmos, index)) | u16::from(get(&mut cmos, index + 1)) << 8;
        assert_eq!(word(0x15), 640);
        assert_eq!(word(0x17), 65535);
        assert_eq!(word(0x30), 65535);
        assert_eq!(word(0x34), 0xbf00);
        assert_eq!(word(0x5b), 0x8000);
        assert_eq!(get(&mut cmos, 0x5d), 0);
    }

    #[test]
    fn a_reset_keeps_time_and_memory() {
        let mut cmos = device(friday);
        set(&mut cmos, 0x40, 0x5a);
        set(&mut cmos, 0x0b, 0x72);
        cmos.reset();
        assert_eq!(get(&mut cmos, 0x40), 0x5a);
        assert_eq!(get(&mut cmos, 0x0b), 0x02);
    }
}
