// SPDX-License-Identifier: MIT OR Apache-2.0
//! The 8254 under any sequence of accesses as time goes by: its output rises when it says so, and
//! not before.

use super::input::Input;
use std::cell::Cell;
use std::time::Duration;
use vmm::devices::pit::Pit;

const PORTS: [u16; 5] = [0x40, 0x41, 0x42, 0x43, 0x61];
/// The longest period of a tick of the 8254, rounded up.
const TICK: Duration = Duration::from_nanos(839);

thread_local! {
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

fn pass(time: Duration) {
    NOW.set(NOW.get().saturating_add(time));
}

/// Accesses to ports, and time that passes.
pub fn pit(data: &[u8]) {
    NOW.set(Duration::ZERO);
    let mut pit = Pit::new(|| NOW.get());
    let mut input = Input(data);
    while !input.is_empty() {
        let kind = input.u8();
        match kind % 6 {
            0 => {
                pit.read(input.pick(&PORTS));
            }
            1 => pit.write(input.pick(&PORTS), input.u8()),
            2 => {
                // A control word and a count.
                let word = input.u8();
                pit.write(0x43, word);
                for byte in input.array::<2>() {
                    pit.write(0x40 + u16::from(word >> 6 & 3) % 3, byte);
                }
            }
            3 => pass(Duration::from_nanos(input.u32().into())),
            4 => pass(Duration::from_nanos(input.u64() >> (kind >> 3))),
            _ => {
                pit.has_risen();
                let Some(after) = pit.until_rise() else {
                    pass(Duration::from_secs(1));
                    assert!(!pit.has_risen());
                    continue;
                };
                if after > 2 * TICK {
                    pass(after - 2 * TICK);
                    assert!(!pit.has_risen());
                    pass(2 * TICK);
                } else {
                    pass(after);
                }
                assert!(pit.has_risen() && !pit.has_risen());
            }
        }
    }
    pit.reset();
    pass(Duration::from_secs(1));
    assert_eq!((pit.until_rise(), pit.has_risen()), (None, false));
}
