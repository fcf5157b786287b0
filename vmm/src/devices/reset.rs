// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two classic ways to reset a PC: a pulse from the keyboard controller, and port 0xCF9.
//!
//! Spec: Intel 8042 command 0xF0–0xFF ("pulse output port", bit 0 is the reset line); Intel ICH
//! datasheets, "Reset Control Register". QEMU's `microvm` has neither; a guest that tries them
//! gets its reset here instead of a wait.

/// Keyboard controller, data.
pub const KEYBOARD_DATA_PORT: u16 = 0x60;
/// Keyboard controller, command (write) and status (read).
pub const KEYBOARD_STATUS_PORT: u16 = 0x64;
/// Reset control register.
pub const RESET_CONTROL_PORT: u16 = 0xcf9;

/// What the status port reads as: no keyboard controller, yet ready for a command.
///
/// "Output full" never clears, so Linux' driver finds no controller after 16 reads, as it does
/// with an absent one. "Input full" is clear, so `reboot=k` does not wait 65536 rounds for it.
pub const KEYBOARD_STATUS: u8 = 0xfd;

/// "CPU reset" in the reset control register: the reset happens when this bit is written.
const RESET_CPU: u8 = 1 << 2;

/// Whether an 8-bit write to `port` resets the machine.
#[must_use]
pub fn is_reset(port: u16, value: u8) -> bool {
    match port {
        // Lines are pulsed low where the bit is 0; bit 0 is the reset line.
        KEYBOARD_STATUS_PORT => value & 0xf1 == 0xf0,
        RESET_CONTROL_PORT => value & RESET_CPU != 0,
        _ => false,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_pulse_of_the_reset_line_resets() {
        assert!(is_reset(0x64, 0xfe));
        assert!(is_reset(0x64, 0xf0));
        for command in [0xff, 0xaa, 0xd1, 0x20, 0x60] {
            assert!(!is_reset(0x64, command), "{command:#x}");
        }
        assert!(!is_reset(0x60, 0xfe));
    }

    #[test]
    fn reset_control_resets_with_its_second_write() {
        assert!(!is_reset(0xcf9, 0x02));
        assert!(is_reset(0xcf9, 0x06));
        assert!(is_reset(0xcf9, 0x0e));
    }
}
