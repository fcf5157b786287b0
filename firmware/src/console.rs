// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the firmware's words go: COM1, and the debug console where there is one.
//!
//! Opened only when there is something to say; each byte costs an exit.

use crate::machine::{self, ReportPort, UartPorts, has_debug_console, report};
use firmware_core::words::Sink;
use uart_16550::{BaudRate, Config, Uart16550};

/// I/O port of COM1.
pub const COM1: u16 = 0x3f8;

/// COM1, ready to speak, if it is there.
pub fn com1() -> Option<Uart16550<UartPorts>> {
    let config = Config {
        baud_rate: BaudRate::Baud115200,
        ..Config::default()
    };
    let mut uart = machine::uart(COM1);
    // A port that nobody decodes cannot hold what is written to it.
    uart.check_present().then_some(())?;
    uart.init(config).ok()?;
    Some(uart)
}

/// The consoles that answer.
pub struct Console {
    com1: Option<Uart16550<UartPorts>>,
    debug: bool,
}

impl Console {
    /// Looks for both.
    #[cold]
    #[inline(never)]
    pub fn open() -> Self {
        Self {
            com1: com1(),
            debug: has_debug_console(),
        }
    }
}

impl Sink for Console {
    fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if let Some(com1) = &mut self.com1 {
                if byte == b'\n' {
                    com1.send_bytes_exact(b"\r");
                }
                com1.send_bytes_exact(&[byte]);
            }
            if self.debug {
                report(ReportPort::DebugConsole, byte);
            }
        }
    }
}
