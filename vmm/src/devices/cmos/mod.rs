// SPDX-License-Identifier: MIT OR Apache-2.0
//! MC146818 real-time clock and the memory behind it.
//!
//! Spec: Motorola MC146818A data sheet; memory-size bytes as QEMU `x86_rtc_set_cmos...` fills
//! them on `microvm`. UTC. In: port accesses and the time. Out: the level of the interrupt line, and
//! how long it stays as it is. The time goes on by whole seconds of the host's clock, also where
//! the divider is held; there is no square wave.

mod civil;
mod events;

use crate::memory::Layout;
use abi::layout::{HIGH_RAM_START, LOW_RAM_END};
use civil::Civil;
use events::Alarm;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Index register; bit 7 masks NMI on real hardware and is ignored.
pub const INDEX_PORT: u16 = 0x70;
/// Data register.
pub const DATA_PORT: u16 = 0x71;
/// Its interrupt.
pub const RTC_IRQ: u32 = 8;

const SECONDS: u8 = 0;
const SECONDS_ALARM: u8 = 1;
const MINUTES: u8 = 2;
const MINUTES_ALARM: u8 = 3;
const HOURS: u8 = 4;
const HOURS_ALARM: u8 = 5;
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
/// Status A: how often the periodic interrupt comes.
const A_RATE: u8 = 0x0f;
/// Status A: the divider. It runs up to [`A_RUNNING`].
const A_DIVIDER: u8 = 0x70;
/// Status A: the time base of a PC, and the last with which the divider runs.
const A_RUNNING: u8 = 0x20;
/// Status B: updates stop while the time is set.
const B_SET: u8 = 1 << 7;
/// Status B: binary instead of BCD.
const B_BINARY: u8 = 1 << 2;
/// Status B: 24 hours instead of 12.
const B_24_HOURS: u8 = 1 << 1;
/// Status B and C: the periodic interrupt is enabled, and has come.
const PERIODIC: u8 = 1 << 6;
/// Status B and C: the alarm's interrupt.
const ALARM: u8 = 1 << 5;
/// Status B and C: the interrupt after each update of the time.
const UPDATE: u8 = 1 << 4;
/// Status C: one has come that is enabled.
const C_REQUEST: u8 = 1 << 7;
/// Alarm: both bits say that any value will do.
const ANY: u8 = 0xc0;
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
    /// What has come, as in status C.
    flags: u8,
    /// The host's time up to which that holds.
    looked: Duration,
    /// The level of the interrupt line that was told last.
    told: bool,
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
            flags: 0,
            looked: clock(),
            told: false,
        }
    }

    /// What a machine reset does: the index returns to 0, interrupts are off; time goes on.
    pub fn reset(&mut self) {
        self.index = 0;
        self.bytes[usize::from(STATUS_B)] &= B_BINARY | B_24_HOURS;
        self.flags = 0;
        self.looked = (self.clock)();
        self.told = false;
    }

    /// The level of the interrupt line, if it has changed since the last time.
    pub fn line_changes(&mut self) -> Option<bool> {
        self.look();
        let high = self.asks();
        (std::mem::replace(&mut self.told, high) != high).then_some(high)
    }

    /// How long until the interrupt line can rise, if it does by itself.
    #[must_use]
    pub fn until_interrupt(&self) -> Option<Duration> {
        if self.asks() {
            return None;
        }
        let enabled = self.bytes[usize::from(STATUS_B)];
        let now = self.looked;
        let next = |event: u8| Some(event).filter(|event| enabled & event != 0);
        let periodic = next(PERIODIC)
            .and_then(|_| self.period())
            .map(|period| events::until_period(period, now));
        let whole = Duration::from_secs(1) - Duration::from_nanos(now.subsec_nanos().into());
        let update = next(UPDATE).filter(|_| self.updates()).map(|_| whole);
        let alarm = next(ALARM).filter(|_| self.updates()).and_then(|_| {
            let seconds = self.alarm().after(self.second_of_day(now))?;
            Some(whole + Duration::from_secs((seconds - 1).into()))
        });
        [periodic, update, alarm].into_iter().flatten().min()
    }

    /// Notes what has come since the last look. A clock that was set back starts anew.
    fn look(&mut self) {
        let (before, now) = (self.looked, (self.clock)());
        self.looked = now;
        if now <= before {
            return;
        }
        if let Some(period) = self.period()
            && events::periods(period, now) != events::periods(period, before)
        {
            self.flags |= PERIODIC;
        }
        let seconds = now.as_secs() - before.as_secs();
        if self.updates() && seconds > 0 {
            self.flags |= UPDATE;
            let alarm = self.alarm().after(self.second_of_day(before));
            if alarm.is_some_and(|after| u64::from(after) <= seconds) {
                self.flags |= ALARM;
            }
        }
    }

    /// Whether one has come that is enabled.
    fn asks(&self) -> bool {
        self.flags & self.bytes[usize::from(STATUS_B)] != 0
    }

    /// Whether the time registers move on.
    fn updates(&self) -> bool {
        self.runs() && !self.is_being_set()
    }

    fn runs(&self) -> bool {
        self.bytes[usize::from(STATUS_A)] & A_DIVIDER <= A_RUNNING
    }

    fn period(&self) -> Option<u64> {
        let rate = self.bytes[usize::from(STATUS_A)] & A_RATE;
        events::period(rate).filter(|_| self.runs())
    }

    /// The guest's second of the day at the host's `time`.
    fn second_of_day(&self, time: Duration) -> u32 {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX / 2);
        let of_day = seconds.saturating_add(self.offset).rem_euclid(86_400);
        u32::try_from(of_day).unwrap_or(0)
    }

    /// The times that the alarm registers match, compared as they are: "an alarm each time the
    /// bytes match".
    fn alarm(&self) -> Alarm {
        let set = |alarm: u8, index: u8, count: u8| {
            let wanted = self.bytes[usize::from(alarm)];
            let matches = |value: &u8| {
                let mut time = Civil::from_seconds(0);
                (time.hour, time.minute, time.second) = (*value, *value, *value);
                wanted & ANY == ANY || wanted == self.encode(&time, index)
            };
            let values = (0..count).filter(matches);
            values.fold(0, |all, value| all | 1 << value)
        };
        Alarm {
            hours: set(HOURS_ALARM, HOURS, 24),
            minutes: set(MINUTES_ALARM, MINUTES, 60),
            seconds: set(SECONDS_ALARM, SECONDS, 60),
        }
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
            STATUS_C => {
                self.look();
                let request = if self.asks() { C_REQUEST } else { 0 };
                std::mem::take(&mut self.flags) | request
            }
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
        // What was before holds until now.
        self.look();
        match self.index {
            index if TIME.contains(&index) && !self.is_being_set() => {
                let mut time = Civil::from_seconds(self.seconds());
                self.decode(&mut time, index, value);
                self.set_time(time);
            }
            STATUS_A => self.bytes[usize::from(STATUS_A)] = value & !A_UPDATE_IN_PROGRESS,
            STATUS_B => {
                let before = self.is_being_set();
                // "The UIE bit is cleared by the SET bit going high."
                let kept = if value & B_SET == 0 {
                    value
                } else {
                    value & !UPDATE
                };
                self.bytes[usize::from(STATUS_B)] = kept;
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
    use std::cell::Cell;

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

    thread_local! {
        static LATER: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    /// A clock at [`friday`], and some time after it.
    fn moving() -> Duration {
        friday() + LATER.get()
    }

    fn pass(time: Duration) {
        LATER.set(LATER.get() + time);
    }

    fn moving_device() -> Cmos {
        LATER.set(Duration::ZERO);
        device(moving)
    }

    /// Waits as long as the device says, and gives what has come.
    fn next(cmos: &mut Cmos) -> (Duration, u8) {
        let after = cmos.until_interrupt().unwrap();
        pass(after - Duration::from_nanos(1));
        assert_eq!(cmos.line_changes(), None, "not too early");
        pass(Duration::from_nanos(1));
        assert_eq!(cmos.line_changes(), Some(true));
        assert_eq!(cmos.until_interrupt(), None, "not before it is taken");
        let come = get(cmos, 0x0c);
        assert_eq!(cmos.line_changes(), Some(false));
        (after, come)
    }

    #[test]
    fn the_periodic_interrupt_comes_at_its_rate() {
        let mut cmos = moving_device();
        set(&mut cmos, 0x0a, 0x2d);
        assert_eq!(cmos.until_interrupt(), None);
        set(&mut cmos, 0x0b, 0x42);
        for _ in 0..3 {
            assert_eq!(next(&mut cmos), (Duration::from_micros(125_000), 0xc0));
        }
        set(&mut cmos, 0x0a, 0x20);
        assert_eq!(cmos.until_interrupt(), None, "rate 0 is none");
        set(&mut cmos, 0x0a, 0x6d);
        assert_eq!(cmos.until_interrupt(), None, "the divider is held");
    }

    #[test]
    fn the_update_interrupt_comes_each_second() {
        let mut cmos = moving_device();
        pass(Duration::from_millis(300));
        set(&mut cmos, 0x0b, 0x12);
        assert_eq!(next(&mut cmos), (Duration::from_millis(700), 0xd0));
        assert_eq!(next(&mut cmos), (Duration::from_secs(1), 0xd0));
        set(&mut cmos, 0x0b, 0x92);
        assert_eq!(get(&mut cmos, 0x0b), 0x82, "setting the time turns it off");
        pass(Duration::from_secs(5));
        assert_eq!(get(&mut cmos, 0x0c) & 0x10, 0);
    }

    #[test]
    fn the_alarm_comes_at_its_time() {
        // It is 19:48:11.
        let mut cmos = moving_device();
        for (index, value) in [(1, 0x05), (3, 0x50), (5, 0x19), (0x0b, 0x22)] {
            set(&mut cmos, index, value);
        }
        assert_eq!(next(&mut cmos), (Duration::from_secs(114), 0xf0));
        assert_eq!(cmos.until_interrupt(), Some(Duration::from_secs(86_400)));
        // Any hour, any minute.
        set(&mut cmos, 5, 0xff);
        set(&mut cmos, 3, 0xc0);
        assert_eq!(next(&mut cmos), (Duration::from_secs(60), 0xf0));
        // No such hour.
        set(&mut cmos, 5, 0x24);
        assert_eq!(cmos.until_interrupt(), None);
    }

    #[test]
    fn an_alarm_follows_the_format_and_the_time_that_was_set() {
        let mut cmos = moving_device();
        // Binary, 12 hours; it is set to 3:00:00 in the afternoon.
        set(&mut cmos, 0x0b, 0xa4);
        for (index, value) in [(4, 0x83), (2, 0), (0, 0), (5, 0x83), (3, 10), (1, 59)] {
            set(&mut cmos, index, value);
        }
        assert_eq!(cmos.until_interrupt(), None, "not while the time is set");
        set(&mut cmos, 0x0b, 0x24);
        assert_eq!(cmos.until_interrupt(), Some(Duration::from_secs(659)));
    }

    #[test]
    fn what_has_come_is_told_once_and_asks_only_if_enabled() {
        let mut cmos = moving_device();
        pass(Duration::from_secs(2));
        assert_eq!(cmos.line_changes(), None);
        assert_eq!((get(&mut cmos, 0x0c), get(&mut cmos, 0x0c)), (0x50, 0));
        // One that came before it was enabled asks at once.
        pass(Duration::from_secs(1));
        set(&mut cmos, 0x0b, 0x12);
        assert_eq!(cmos.line_changes(), Some(true));
        set(&mut cmos, 0x0b, 0x02);
        assert_eq!(cmos.line_changes(), Some(false));
        set(&mut cmos, 0x0b, 0x12);
        assert_eq!(cmos.line_changes(), Some(true));
        cmos.reset();
        assert_eq!((cmos.line_changes(), get(&mut cmos, 0x0c)), (None, 0));
    }

    #[test]
    fn a_host_clock_that_is_set_back_brings_nothing() {
        let mut cmos = moving_device();
        pass(Duration::from_secs(10));
        get(&mut cmos, 0x0c);
        LATER.set(Duration::ZERO);
        assert_eq!(get(&mut cmos, 0x0c), 0);
        pass(Duration::from_secs(1));
        assert_eq!(get(&mut cmos, 0x0c), 0x50);
    }
}
