// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting, with whatever on this machine measures time; and the reset that ends it.
//!
//! Spec: Intel 8254 (counter latch command); Motorola MC146818 (seconds, register D).

use super::ports;
use core::arch::asm;

const PIT_COUNTER_0: u16 = 0x40;
const PIT_COMMAND: u16 = 0x43;
/// Counter 0, low byte then high byte, mode 2: counts down and starts again.
const PIT_RATE: u8 = 0x34;
/// Latch counter 0.
const PIT_LATCH: u8 = 0x00;
/// Ticks a second, rounded up.
const PIT_HERTZ: u64 = 1_193_182;

const RTC_INDEX: u16 = 0x70;
const RTC_DATA: u16 = 0x71;
const RTC_SECONDS: u8 = 0x00;
/// Register D: only bit 7 is not zero, where there is a clock with power.
const RTC_D: u8 = 0x0d;
const RTC_VALID: u8 = 0x80;

/// How often the timer, of which a tick is less than the time of two reads, is read before it counts
/// as standing still.
const PIT_PATIENCE: u32 = 100_000;
/// The same of the clock, whose ticks are seconds.
const RTC_PATIENCE: u32 = 1 << 30;

/// Waits so many milliseconds; `false` if nothing here measures time.
pub fn wait(milliseconds: u32) -> bool {
    let milliseconds = u64::from(milliseconds);
    wait_by_pit(milliseconds) || wait_by_rtc(milliseconds.div_ceil(1000))
}

fn wait_by_pit(milliseconds: u64) -> bool {
    output(PIT_COMMAND, PIT_RATE);
    output(PIT_COUNTER_0, 0);
    output(PIT_COUNTER_0, 0);
    let ticks = milliseconds * PIT_HERTZ / 1000;
    count(ticks)
}

/// Reads the counter until it has gone `left` further; `false` once it stands still.
fn count(mut left: u64) -> bool {
    let mut before = pit();
    let mut tries = PIT_PATIENCE;
    while left > 0 {
        let now = pit();
        if now == before {
            tries -= 1;
            if tries == 0 {
                return false;
            }
            continue;
        }
        left = left.saturating_sub(before.wrapping_sub(now).into());
        before = now;
        tries = PIT_PATIENCE;
    }
    true
}

/// The counter, which counts down from 65536.
fn pit() -> u16 {
    output(PIT_COMMAND, PIT_LATCH);
    u16::from_le_bytes([input(PIT_COUNTER_0), input(PIT_COUNTER_0)])
}

fn wait_by_rtc(seconds: u64) -> bool {
    if rtc(RTC_D) != RTC_VALID {
        return false;
    }
    // The second that has begun does not count.
    (0..=seconds).all(|_| {
        let before = rtc(RTC_SECONDS);
        (0..RTC_PATIENCE).any(|_| rtc(RTC_SECONDS) != before)
    })
}

fn rtc(register: u8) -> u8 {
    output(RTC_INDEX, register);
    input(RTC_DATA)
}

/// Writes to one of the ports above.
fn output(port: u16, value: u8) {
    // SAFETY: timer and clock reach no memory, and their interrupts are off.
    unsafe { ports::out_u8(port, value) }
}

/// Reads one of the ports above.
fn input(port: u16) -> u8 {
    // SAFETY: as in `output`.
    unsafe { ports::in_u8(port) }
}

/// Resets the machine: a third fault while a fault is being delivered does so on every one.
pub fn reset() -> ! {
    let no_table = [0u8; 10];
    // SAFETY: without an interrupt table the breakpoint shuts the processor down, and nothing of
    // what is behind it is ever run.
    unsafe {
        asm!("lidt [{}]", "int3", "2: hlt", "jmp 2b", in(reg) &raw const no_table, options(noreturn))
    }
}
