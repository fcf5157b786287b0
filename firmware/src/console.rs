// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the firmware's words go: COM1, and the debug console where there is one.
//!
//! Opened only when there is something to say; each byte costs an exit.

use crate::machine::ports;
use abi::debug::{DEBUG_CONSOLE_PORT, DEBUG_CONSOLE_PRESENT};
use core::fmt;
use uart_16550::backend::PioBackend;
use uart_16550::{BaudRate, Config, Uart16550};

/// COM1's first port.
const COM1: u16 = 0x3f8;

/// The consoles that answer.
pub struct Console {
    com1: Option<Uart16550<PioBackend>>,
    debug: bool,
}

impl Console {
    /// Looks for both.
    pub fn open() -> Self {
        let config = Config {
            baud_rate: BaudRate::Baud115200,
            ..Config::default()
        };
        // SAFETY: the ports of COM1 are a 16550 or nothing, and no other code here uses them.
        #[allow(unsafe_code)]
        let com1 = unsafe { Uart16550::new_port(COM1) }
            .ok()
            .and_then(|mut uart| {
                // A port that nobody decodes cannot hold what is written to it.
                uart.check_present().then_some(())?;
                uart.init(config).ok()?;
                Some(uart)
            });
        let debug = ports::probe_u8(DEBUG_CONSOLE_PORT) == DEBUG_CONSOLE_PRESENT;
        Self { com1, debug }
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if let Some(com1) = &mut self.com1 {
                if byte == b'\n' {
                    com1.send_bytes_exact(b"\r");
                }
                com1.send_bytes_exact(&[byte]);
            }
            if self.debug {
                ports::report_u8(DEBUG_CONSOLE_PORT, byte);
            }
        }
        Ok(())
    }
}
