// SPDX-License-Identifier: MIT OR Apache-2.0
//! COM1, transmit only.

use core::arch::asm;
use core::fmt;

const DATA: u16 = 0x3f8;
const LINE_STATUS: u16 = 0x3fd;
/// Line status: the transmitter takes another byte.
const TRANSMITTER_EMPTY: u8 = 1 << 5;

/// The port as a text stream.
pub struct Serial;

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            let mut status: u8 = 0;
            while status & TRANSMITTER_EMPTY == 0 {
                // SAFETY: reading the line status changes no memory.
                unsafe { asm!("in al, dx", in("dx") LINE_STATUS, out("al") status) }
            }
            // SAFETY: sending a byte changes no memory.
            unsafe { asm!("out dx, al", in("dx") DATA, in("al") byte) }
        }
        Ok(())
    }
}

/// Prints one line.
macro_rules! line {
    ($($format:tt)*) => {{
        use core::fmt::Write as _;
        // Serial::write_str does not fail.
        let _ = writeln!($crate::serial::Serial, $($format)*);
    }};
}
pub(crate) use line;
