// SPDX-License-Identifier: MIT OR Apache-2.0
//! The port by which a guest's kernel says that it has panicked.
//!
//! Spec: QEMU `docs/specs/pvpanic.rst`. A read gives the events that can be told, a write tells them;
//! each is a bit. Guests find the port in the DSDT, and firmware in a `fw_cfg` file.

use super::bus::Event;

/// Its only port, of 8 bits.
pub const PVPANIC_PORT: u16 = 0x505;

/// The kernel has panicked, and nobody will do anything about it.
const PANICKED: u8 = 1 << 0;
/// The kernel has panicked, and another one that it keeps for this purpose takes over.
const CRASH_LOADED: u8 = 1 << 1;

/// What the port reads as.
pub const EVENTS: u8 = PANICKED | CRASH_LOADED;

/// What follows from a write. The run goes on where a crash kernel does.
#[must_use]
pub const fn decode(value: u8) -> Option<Event> {
    if value & PANICKED == 0 {
        None
    } else {
        Some(Event::Panicked)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn only_a_panic_that_nobody_handles_is_an_event() {
        for value in 0..=u8::MAX {
            let panicked = value % 2 == 1;
            assert_eq!(decode(value), panicked.then_some(Event::Panicked));
        }
    }
}
