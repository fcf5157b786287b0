// SPDX-License-Identifier: MIT OR Apache-2.0
//! The generic event device: power button, power-off and reset of a machine without ACPI's fixed
//! hardware.
//!
//! Spec: ACPI 6.5, sections 4.8.3.6 (reset register), 4.8.3.7 (sleep control and status) and
//! 5.6.9 (events signalled by interrupt); the registers are those of QEMU's device of that name.
//! What the registers mean is told to the guest by the FADT and the DSDT.
//!
//! | address | bits | read | write |
//! |---------|-----:|------|-------|
//! | [`GED_EVENTS_ADDR`] | 32 | the events since the last read | nothing |
//! | [`GED_REGISTERS_ADDR`] | 8 | zero | sleep control |
//! | … + 1 | 8 | zero: never woken | nothing: there is no status to clear |
//! | … + 2 | 8 | zero | [`RESET_VALUE`]: reset |

use super::bus::Event;
use abi::layout::{GED_EVENTS_ADDR, GED_REGISTERS_ADDR};

/// Its interrupt: an edge for each event.
pub const GED_IRQ: u32 = 9;
/// Event: the power button was pressed.
pub const POWER_BUTTON: u32 = 1 << 1;
/// Sleep control register.
pub const SLEEP_CONTROL_ADDR: u64 = GED_REGISTERS_ADDR;
/// Sleep status register.
pub const SLEEP_STATUS_ADDR: u64 = GED_REGISTERS_ADDR + 1;
/// Reset register.
pub const RESET_ADDR: u64 = GED_REGISTERS_ADDR + 2;
/// What the reset register wants to be written.
pub const RESET_VALUE: u8 = 0x42;
/// The sleep type that means power-off (S5).
pub const SLEEP_TYPE_OFF: u8 = 5;

/// Sleep control: enter the sleep state whose type is in bits 2–4.
const SLEEP_ENABLE: u8 = 1 << 5;

/// The device.
#[derive(Debug, Default)]
pub struct Ged {
    events: u32,
}

impl Ged {
    /// Notes a press of the power button. An interrupt must follow.
    pub fn press_power_button(&mut self) {
        self.events |= POWER_BUTTON;
    }

    /// What a machine reset does.
    pub fn reset(&mut self) {
        self.events = 0;
    }

    /// A guest read. What is no register, or not as wide as one, is zero.
    pub fn read(&mut self, address: u64, data: &mut [u8]) {
        data.fill(0);
        if address == GED_EVENTS_ADDR && data.len() == size_of::<u32>() {
            data.copy_from_slice(&std::mem::take(&mut self.events).to_le_bytes());
        }
    }

    /// A guest write. What is no register, or not as wide as one, takes nothing.
    #[must_use]
    pub fn write(&mut self, address: u64, data: &[u8]) -> Option<Event> {
        match (address, data) {
            (SLEEP_CONTROL_ADDR, [value]) => {
                let off = value & SLEEP_ENABLE != 0 && (value >> 2) & 7 == SLEEP_TYPE_OFF;
                off.then_some(Event::PowerOff)
            }
            (RESET_ADDR, &[RESET_VALUE]) => Some(Event::Reset),
            _ => None,
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn events(ged: &mut Ged) -> u32 {
        let mut data = [0xaa; 4];
        ged.read(0xfea0_0000, &mut data);
        u32::from_le_bytes(data)
    }

    #[test]
    fn an_event_is_told_once() {
        let mut ged = Ged::default();
        assert_eq!(events(&mut ged), 0);
        ged.press_power_button();
        ged.press_power_button();
        assert_eq!((events(&mut ged), events(&mut ged)), (2, 0));
        ged.press_power_button();
        ged.reset();
        assert_eq!(events(&mut ged), 0);
    }

    #[test]
    fn a_read_that_is_no_register_clears_no_event() {
        let mut ged = Ged::default();
        ged.press_power_button();
        for (address, width) in [(0xfea0_0000, 1), (0xfea0_0000, 8), (0xfea0_0002, 4)] {
            let mut data = vec![0xaa; width];
            ged.read(address, &mut data);
            assert_eq!(data, vec![0; width]);
        }
        assert_eq!(events(&mut ged), 2);
    }

    #[test]
    fn only_sleep_type_5_with_the_enable_bit_turns_off() {
        let mut ged = Ged::default();
        for value in 0..=u8::MAX {
            let off = value & 0x3c == 0x34;
            let expected = off.then_some(Event::PowerOff);
            assert_eq!(ged.write(0xfea0_0200, &[value]), expected, "{value:#x}");
        }
        assert_eq!(ged.write(0xfea0_0200, &[0x34, 0]), None);
        assert_eq!(ged.write(0xfea0_0201, &[0x34]), None);
    }

    #[test]
    fn only_its_value_resets() {
        let mut ged = Ged::default();
        for value in 0..=u8::MAX {
            let expected = (value == 0x42).then_some(Event::Reset);
            assert_eq!(ged.write(0xfea0_0202, &[value]), expected);
        }
        assert_eq!(ged.write(0xfea0_0202, &[0x42, 0]), None);
    }
}
