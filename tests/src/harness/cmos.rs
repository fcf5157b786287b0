// SPDX-License-Identifier: MIT OR Apache-2.0
//! The real-time clock under any sequence of accesses as time goes by, or is set: it interrupts
//! when it says so and not before, and reading status C ends that.

use super::input::Input;
use std::cell::Cell;
use std::time::Duration;
use vmm::devices::cmos::{Cmos, DATA_PORT, INDEX_PORT};
use vmm::memory::Layout;

/// 2026-11-20 19:48:11 UTC.
const START: Duration = Duration::from_secs(1_795_204_091);
const NANOSECOND: Duration = Duration::from_nanos(1);

thread_local! {
    static NOW: Cell<Duration> = const { Cell::new(START) };
}

fn pass(time: Duration) {
    NOW.set(NOW.get().saturating_add(time));
}

fn read(cmos: &mut Cmos, index: u8) -> u8 {
    cmos.write(INDEX_PORT, index);
    cmos.read(DATA_PORT)
}

/// Accesses to registers, and time that passes.
pub fn cmos(data: &[u8]) {
    NOW.set(START);
    let mut cmos = Cmos::new(&Layout::new(64 << 20, 0x1_0000), || NOW.get());
    let mut high = false;
    let mut input = Input(data);
    while !input.is_empty() {
        let kind = input.u8();
        match kind % 7 {
            0 => {
                read(&mut cmos, input.u8());
            }
            1 => {
                // Mostly what is not plain memory.
                let index = input.u8();
                cmos.write(INDEX_PORT, if kind & 8 == 0 { index % 14 } else { index });
                cmos.write(DATA_PORT, input.u8());
            }
            2 => pass(Duration::from_nanos(input.u32().into())),
            3 => pass(Duration::from_nanos(input.u64() >> (kind >> 3))),
            4 => NOW.set(Duration::from_nanos(input.u64())),
            5 => {
                cmos.reset();
                high = false;
            }
            _ => {
                high = cmos.line_changes().unwrap_or(high);
                match cmos.until_interrupt() {
                    Some(after) => {
                        assert!(!high && after > Duration::ZERO);
                        pass(after - NANOSECOND);
                        assert_eq!(cmos.line_changes(), None);
                        pass(NANOSECOND);
                        assert_eq!(cmos.line_changes(), Some(true));
                        assert_eq!(read(&mut cmos, 0x0c) & 0x80, 0x80);
                        assert_eq!(cmos.line_changes(), Some(false));
                        high = false;
                    }
                    None if !high => {
                        pass(Duration::from_secs(2 * 86_400));
                        assert_eq!(cmos.line_changes(), None);
                    }
                    None => {}
                }
            }
        }
    }
    cmos.reset();
    assert_eq!(cmos.line_changes(), None);
    assert_eq!(cmos.until_interrupt(), None);
    assert_eq!(read(&mut cmos, 0x0c), 0);
    assert_eq!(read(&mut cmos, 0x0d), 0x80);
}
