// SPDX-License-Identifier: MIT OR Apache-2.0
//! The 8254: three counters, of which one ticks, one is forgotten and one beeps; and port 0x61.
//!
//! Spec: Intel 8254 data sheet; port 0x61 as in the Intel ICH data sheets (NMI status and control).
//! In: port accesses and the time. Out: when counter 0's output rises. There is no speaker.
//!
//! | port | read | write |
//! |------|------|-------|
//! | 0x40–0x42 | count or status of counter 0–2 | count |
//! | 0x43 | ones | control word |
//! | 0x61 | gate and output of counter 2, refresh | gate of counter 2, speaker |
//!
//! A new count is taken at once, in modes 2 and 3, too, where a real one finishes its cycle first.
//! Counters do nothing before they are programmed.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// First port.
pub const PIT_PORT: u16 = 0x40;
/// Number of ports from there on: three counters and the control words.
pub const PIT_PORTS: u16 = 4;
/// The port of control words.
const CONTROL_PORT: u16 = PIT_PORT + PIT_PORTS - 1;
/// Gate of counter 2 and speaker.
pub const SPEAKER_PORT: u16 = 0x61;
/// The interrupt of counter 0.
pub const PIT_IRQ: u32 = 0;
/// Input frequency in Hz: a third of the NTSC colour subcarrier.
pub const FREQUENCY: u64 = 1_193_182;

const NANOSECONDS: u64 = 1_000_000_000;
/// Half the period of the refresh bit: 15 µs, as a PC's memory wants it.
const REFRESH: u128 = 15_000;

/// Control word: the counter, or [`READ_BACK`].
const SELECT_SHIFT: u8 = 6;
/// Control word: this counter number means the read-back command.
const READ_BACK: u8 = 3;
/// Read-back: do not latch the count.
const NO_COUNT: u8 = 1 << 5;
/// Read-back: do not latch the status.
const NO_STATUS: u8 = 1 << 4;
/// Control word: mode.
const MODE_SHIFT: u8 = 1;
/// Control word: count in decimal digits.
const BCD: u8 = 1 << 0;
/// Control word and status: access, mode and digits.
const SETTINGS: u8 = 0x3f;
/// Status: the output is high.
const STATUS_OUTPUT: u8 = 1 << 7;
/// Status: no count has been taken yet.
const STATUS_NULL: u8 = 1 << 6;

/// Port 0x61: gate of counter 2.
const GATE: u8 = 1 << 0;
/// Port 0x61: the speaker follows counter 2.
const SPEAKER: u8 = 1 << 1;
/// Port 0x61: toggles with each refresh.
const REFRESH_TOGGLE: u8 = 1 << 4;
/// Port 0x61: output of counter 2.
const OUTPUT: u8 = 1 << 5;

/// The time since some moment.
pub type Clock = fn() -> Duration;

/// The host's clock that nobody sets.
#[must_use]
pub fn host_clock() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// Which byte of a count is accessed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Access {
    #[default]
    Low,
    High,
    /// First the low byte, then the high one.
    Both,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    /// What the last control word set; there was none before.
    settings: Option<u8>,
    /// The count, 1 to 65536; none before it has been written.
    count: Option<u64>,
    /// Ticks that have been counted before `since`.
    counted: u64,
    /// The tick since which it counts, if it does.
    since: Option<u64>,
    gate: bool,
    /// The first byte of a count that comes in two.
    low: Option<u8>,
    /// A latched count, and latched status.
    latch: Option<u16>,
    status: Option<u8>,
    /// The next byte read is the second of two.
    second: bool,
}

impl Counter {
    fn mode(&self) -> u8 {
        // Modes 6 and 7 are 2 and 3.
        let mode = self.settings.unwrap_or(0) >> MODE_SHIFT & 7;
        if mode > 5 { mode - 4 } else { mode }
    }

    fn is_bcd(&self) -> bool {
        self.settings.unwrap_or(0) & BCD != 0
    }

    fn access(&self) -> Access {
        match self.settings.unwrap_or(0) >> 4 & 3 {
            1 => Access::Low,
            2 => Access::High,
            _ => Access::Both,
        }
    }

    /// Ticks counted since the count was taken.
    fn ticks(&self, now: u64) -> u64 {
        let running = self.since.map_or(0, |since| now.saturating_sub(since));
        self.counted.saturating_add(running)
    }

    fn set_up(&mut self, settings: u8) {
        *self = Self {
            settings: Some(settings & SETTINGS),
            gate: self.gate,
            ..Self::default()
        };
    }

    /// Starts to count from the beginning. Modes 1 and 5 wait for the gate to rise.
    fn take(&mut self, count: u16, now: u64) {
        let (value, most) = if self.is_bcd() {
            (from_bcd(count), 10_000)
        } else {
            (u64::from(count), 0x1_0000)
        };
        self.count = Some(if value == 0 { most } else { value });
        self.counted = 0;
        let triggered = matches!(self.mode(), 1 | 5);
        self.since = (self.gate && !triggered).then_some(now);
    }

    fn set_gate(&mut self, gate: bool, now: u64) {
        let rises = gate && !self.gate;
        let falls = !gate && self.gate;
        self.gate = gate;
        if self.count.is_none() {
            return;
        }
        match self.mode() {
            0 | 4 if rises => self.since = Some(now),
            0 | 4 if falls => {
                self.counted = self.ticks(now);
                self.since = None;
            }
            1 | 5 | 2 | 3 if rises => {
                self.counted = 0;
                self.since = Some(now);
            }
            2 | 3 if falls => {
                self.counted = 0;
                self.since = None;
            }
            _ => {}
        }
    }

    /// The output. In modes 2 to 5 it is high but for the ticks in which it tells.
    fn output(&self, now: u64) -> bool {
        let idle = self.settings.is_some() && self.mode() != 0;
        let Some(count) = self.count else { return idle };
        let ticks = self.ticks(now);
        let started = self.since.is_some() || self.counted > 0;
        match self.mode() {
            0 => ticks >= count,
            _ if !started => true,
            1 => ticks >= count,
            2 => ticks % count != count - 1,
            3 => ticks % count < count.div_ceil(2),
            _ => ticks != count,
        }
    }

    /// After how many ticks the output next rises, of those after the first `ticks`.
    fn next_rise(&self, ticks: u64) -> Option<u64> {
        let count = self.count?;
        self.since?;
        match self.mode() {
            0 | 1 => (ticks < count).then_some(count),
            2 | 3 => (ticks / count).checked_add(1)?.checked_mul(count),
            _ => (ticks <= count).then_some(count + 1),
        }
    }

    /// What is left to count.
    fn value(&self, now: u64) -> u16 {
        let Some(count) = self.count else { return 0 };
        let ticks = self.ticks(now);
        let modulus = if self.is_bcd() { 10_000 } else { 0x1_0000 };
        let left = match self.mode() {
            2 => count - ticks % count,
            // Two at a time.
            3 => {
                let ticks = 2 * (ticks % count) % count;
                count - ticks
            }
            // On and on.
            _ => (count + modulus - ticks % modulus) % modulus,
        };
        let value = u16::try_from(left % modulus).unwrap_or(0);
        if self.is_bcd() { to_bcd(value) } else { value }
    }

    fn latch_count(&mut self, now: u64) {
        if self.latch.is_none() {
            self.latch = Some(self.value(now));
        }
    }

    fn latch_status(&mut self, now: u64) {
        if self.status.is_none() {
            let mut status = self.settings.unwrap_or(0);
            if self.output(now) {
                status |= STATUS_OUTPUT;
            }
            if self.count.is_none() {
                status |= STATUS_NULL;
            }
            self.status = Some(status);
        }
    }

    fn read(&mut self, now: u64) -> u8 {
        if let Some(status) = self.status.take() {
            return status;
        }
        let [low, high] = self.latch.unwrap_or_else(|| self.value(now)).to_le_bytes();
        let (byte, last) = match (self.access(), self.second) {
            (Access::Low, _) => (low, true),
            (Access::High, _) => (high, true),
            (Access::Both, false) => (low, false),
            (Access::Both, true) => (high, true),
        };
        self.second = !last;
        if last {
            self.latch = None;
        }
        byte
    }

    /// Takes one byte of a count. Gives whether it was the last.
    fn write(&mut self, value: u8, now: u64) -> bool {
        if self.settings.is_none() {
            return false;
        }
        let count = match (self.access(), self.low.take()) {
            (Access::Low, _) => [value, 0],
            (Access::High, _) => [0, value],
            (Access::Both, Some(low)) => [low, value],
            (Access::Both, None) => {
                self.low = Some(value);
                return false;
            }
        };
        self.take(u16::from_le_bytes(count), now);
        true
    }
}

/// The device.
#[derive(Debug)]
pub struct Pit {
    counters: [Counter; 3],
    speaker: bool,
    clock: Clock,
    /// Ticks of counter 0 up to which rises have been told.
    told: u64,
}

impl Pit {
    /// A timer that runs with `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let counter = |gate| Counter {
            gate,
            ..Counter::default()
        };
        Self {
            // The gates of the first two are tied high.
            counters: [counter(true), counter(true), counter(false)],
            speaker: false,
            clock,
            told: 0,
        }
    }

    /// What a machine reset does.
    pub fn reset(&mut self) {
        *self = Self::new(self.clock);
    }

    /// An 8-bit read of one of its ports.
    pub fn read(&mut self, port: u16) -> u8 {
        let now = self.now();
        if port == SPEAKER_PORT {
            return self.read_speaker(now);
        }
        match self.counter(port) {
            Some(counter) => counter.read(now),
            None => u8::MAX,
        }
    }

    /// An 8-bit write of one of its ports.
    pub fn write(&mut self, port: u16, value: u8) {
        let now = self.now();
        match port {
            SPEAKER_PORT => {
                self.speaker = value & SPEAKER != 0;
                self.counters[2].set_gate(value & GATE != 0, now);
            }
            CONTROL_PORT => self.control(value, now),
            _ => {
                let taken = self.counter(port).is_some_and(|it| it.write(value, now));
                if taken && port == PIT_PORT {
                    self.told = 0;
                }
            }
        }
    }

    /// How long until counter 0's output next rises.
    #[must_use]
    pub fn until_rise(&self) -> Option<Duration> {
        let counter = &self.counters[0];
        let rise = counter.next_rise(self.told)?;
        let tick = counter.since?.checked_add(rise)?;
        Some(time_of(tick).saturating_sub((self.clock)()))
    }

    /// Whether the output has risen since the last time. Rises that were missed count once.
    pub fn has_risen(&mut self) -> bool {
        let counter = &self.counters[0];
        let ticks = counter.ticks(self.now());
        let next = counter.next_rise(self.told);
        self.told = ticks;
        next.is_some_and(|next| next <= ticks)
    }

    fn now(&self) -> u64 {
        let ticks = (self.clock)().as_nanos() * u128::from(FREQUENCY) / u128::from(NANOSECONDS);
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    fn counter(&mut self, port: u16) -> Option<&mut Counter> {
        let index = port.checked_sub(PIT_PORT)?;
        self.counters.get_mut(usize::from(index))
    }

    fn control(&mut self, value: u8, now: u64) {
        let select = value >> SELECT_SHIFT;
        if select == READ_BACK {
            for (index, counter) in (1..).zip(&mut self.counters) {
                if value & 1 << index == 0 {
                    continue;
                }
                if value & NO_STATUS == 0 {
                    counter.latch_status(now);
                }
                if value & NO_COUNT == 0 {
                    counter.latch_count(now);
                }
            }
            return;
        }
        let counter = &mut self.counters[usize::from(select)];
        if value >> 4 & 3 == 0 {
            counter.latch_count(now);
        } else {
            counter.set_up(value);
        }
    }

    fn read_speaker(&self, now: u64) -> u8 {
        let counter = &self.counters[2];
        let mut value = 0;
        let mut put = |bit, on| value |= if on { bit } else { 0 };
        put(GATE, counter.gate);
        put(SPEAKER, self.speaker);
        put(OUTPUT, counter.output(now));
        put(REFRESH_TOGGLE, (self.clock)().as_nanos() / REFRESH % 2 == 1);
        value
    }
}

/// The first moment at which so many ticks have passed.
fn time_of(tick: u64) -> Duration {
    let (seconds, rest) = (tick / FREQUENCY, tick % FREQUENCY);
    let nanoseconds = (rest * NANOSECONDS).div_ceil(FREQUENCY);
    Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
}

fn from_bcd(value: u16) -> u64 {
    let digits = [12, 8, 4, 0].map(|shift| u64::from(value >> shift & 0xf));
    digits
        .iter()
        .fold(0, |all, digit| (all * 10 + digit).min(9_999))
}

fn to_bcd(value: u16) -> u16 {
    [1000, 100, 10, 1]
        .iter()
        .fold(0, |all, unit| (all << 4) | (value / unit % 10))
}

#[cfg(test)]
mod test {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        static NOW: Cell<u64> = const { Cell::new(0) };
    }

    fn clock() -> Duration {
        time_of(NOW.get())
    }

    /// A timer whose clock is at tick 1000.
    fn pit() -> Pit {
        NOW.set(1000);
        Pit::new(clock)
    }

    fn pass(ticks: u64) {
        NOW.set(NOW.get() + ticks);
    }

    /// The tick of the clock at which counter 0's output next rises.
    fn rise(pit: &Pit) -> Option<u64> {
        let at = (clock() + pit.until_rise()?).as_nanos() * u128::from(FREQUENCY);
        Some(u64::try_from(at / u128::from(NANOSECONDS)).unwrap())
    }

    fn program(pit: &mut Pit, counter: u16, mode: u8, count: u16) {
        let select = counter.to_le_bytes()[0] << 6;
        pit.write(0x43, select | 0x30 | mode << 1);
        for byte in count.to_le_bytes() {
            pit.write(0x40 + counter, byte);
        }
    }

    fn value(pit: &mut Pit, counter: u16) -> u16 {
        pit.write(0x43, counter.to_le_bytes()[0] << 6);
        u16::from_le_bytes([pit.read(0x40 + counter), pit.read(0x40 + counter)])
    }

    /// Status of a counter, by the read-back command.
    fn status(pit: &mut Pit, counter: u16) -> u8 {
        pit.write(0x43, 0xe0 | 2 << counter);
        pit.read(0x40 + counter)
    }

    #[test]
    fn nothing_happens_before_it_is_programmed() {
        let mut pit = pit();
        assert_eq!(rise(&pit), None);
        pit.write(0x40, 0x34);
        pass(1 << 20);
        assert!(!pit.has_risen());
        assert_eq!(pit.read(0x43), 0xff);
    }

    #[test]
    fn a_rate_generator_rises_once_a_period() {
        let mut pit = pit();
        program(&mut pit, 0, 2, 100);
        assert_eq!(rise(&pit), Some(1100));
        pass(99);
        assert!(!pit.has_risen());
        assert_eq!(status(&mut pit, 0), 0x34, "low for one tick");
        pass(1);
        assert!(pit.has_risen() && !pit.has_risen());
        assert_eq!(rise(&pit), Some(1200));
        // What was missed is one.
        pass(350);
        assert!(pit.has_risen() && !pit.has_risen());
        assert_eq!(rise(&pit), Some(1500));
        assert_eq!(value(&mut pit, 0), 50);
    }

    #[test]
    fn a_square_wave_is_high_for_half_its_period() {
        let mut pit = pit();
        program(&mut pit, 0, 3, 7);
        let wave: Vec<_> = (0..8)
            .map(|_| {
                let high = status(&mut pit, 0) & 0x80 != 0;
                pass(1);
                high
            })
            .collect();
        assert_eq!(wave, [true, true, true, true, false, false, false, true]);
        assert!(pit.has_risen());
        assert_eq!(rise(&pit), Some(1014));
        program(&mut pit, 0, 3, 0);
        pass(0x4000);
        assert_eq!(value(&mut pit, 0), 0x8000, "two at a time from 65536");
    }

    #[test]
    fn a_terminal_count_comes_once_and_counting_goes_on() {
        let mut pit = pit();
        program(&mut pit, 0, 0, 50);
        assert_eq!(status(&mut pit, 0), 0x30);
        pass(50);
        assert!(pit.has_risen());
        assert_eq!((rise(&pit), status(&mut pit, 0)), (None, 0xb0));
        pass(1);
        assert_eq!(value(&mut pit, 0), 0xffff);
    }

    #[test]
    fn a_strobe_is_one_tick_low() {
        let mut pit = pit();
        program(&mut pit, 0, 4, 10);
        assert_eq!(rise(&pit), Some(1011));
        pass(10);
        assert_eq!(status(&mut pit, 0) & 0x80, 0);
        pass(1);
        assert_eq!(status(&mut pit, 0) & 0x80, 0x80);
        assert!(pit.has_risen());
        assert_eq!(rise(&pit), None);
    }

    #[test]
    fn modes_that_wait_for_a_gate_wait() {
        let mut pit = pit();
        // The gate of counter 0 never rises.
        program(&mut pit, 0, 1, 10);
        pass(100);
        assert_eq!((rise(&pit), pit.has_risen()), (None, false));
        program(&mut pit, 2, 1, 10);
        assert_eq!(pit.read(0x61) & 0x20, 0x20);
        pit.write(0x61, 1);
        assert_eq!(pit.read(0x61) & 0x21, 0x01);
        pass(10);
        assert_eq!(pit.read(0x61) & 0x21, 0x21);
    }

    #[test]
    fn the_gate_of_counter_2_stops_it_and_its_output_can_be_read() {
        let mut pit = pit();
        pit.write(0x61, 1);
        program(&mut pit, 2, 0, 100);
        pass(60);
        assert_eq!(pit.read(0x61) & 0x23, 0x01);
        pit.write(0x61, 2);
        pass(1000);
        assert_eq!(value(&mut pit, 2), 40);
        assert_eq!(pit.read(0x61) & 0x23, 0x02);
        pit.write(0x61, 3);
        pass(40);
        assert_eq!(pit.read(0x61) & 0x23, 0x23);
    }

    #[test]
    fn memory_is_refreshed_every_15_us() {
        let mut pit = pit();
        let before = pit.read(0x61) & 0x10;
        pass(18);
        assert_ne!(pit.read(0x61) & 0x10, before);
    }

    #[test]
    fn a_latched_count_stands_still_until_it_is_read() {
        let mut pit = pit();
        program(&mut pit, 0, 2, 0x1234);
        pit.write(0x43, 0);
        pass(0x34);
        pit.write(0x43, 0);
        assert_eq!((pit.read(0x40), pit.read(0x40)), (0x34, 0x12));
        assert_eq!((pit.read(0x40), pit.read(0x40)), (0x00, 0x12));
    }

    #[test]
    fn one_byte_of_a_count_can_be_accessed_alone() {
        let mut pit = pit();
        pit.write(0x43, 0x14);
        pit.write(0x40, 20);
        assert_eq!((pit.read(0x40), pit.read(0x40)), (20, 20));
        assert_eq!(rise(&pit), Some(1020));
        pit.write(0x43, 0x24);
        pit.write(0x40, 2);
        assert_eq!((pit.read(0x40), pit.read(0x40)), (2, 2));
        assert_eq!(rise(&pit), Some(1512));
    }

    #[test]
    fn the_read_back_command_latches_status_before_count() {
        let mut pit = pit();
        pit.write(0x43, 0x34);
        assert_eq!(status(&mut pit, 0), 0xf4, "no count yet");
        program(&mut pit, 0, 2, 0x100);
        program(&mut pit, 1, 3, 0x80);
        pit.write(0x43, 0xc6);
        assert_eq!(
            [pit.read(0x40), pit.read(0x40), pit.read(0x40)],
            [0xb4, 0, 1]
        );
        assert_eq!(
            [pit.read(0x41), pit.read(0x41), pit.read(0x41)],
            [0xb6, 0x80, 0]
        );
    }

    #[test]
    fn decimal_counts_are_decimal() {
        let mut pit = pit();
        pit.write(0x43, 0x35);
        pit.write(0x40, 0x00);
        pit.write(0x40, 0x15);
        assert_eq!(rise(&pit), Some(2500));
        pass(1);
        assert_eq!(value(&mut pit, 0), 0x1499);
        pit.write(0x40, 0);
        pit.write(0x40, 0);
        assert_eq!(rise(&pit), Some(NOW.get() + 10_000));
    }
}
