// SPDX-License-Identifier: MIT OR Apache-2.0
//! The debug console: a port that firmware prints to, byte by byte, without a screen or a serial port.
//!
//! Spec: QEMU's `isa-debugcon` at the port of SeaBIOS, which finds it by what a read gives. There is
//! no input, no interrupt and nothing to reset.

use super::bus::lock;
use std::fmt::{self, Debug, Formatter};
use std::io::{self, Write};
use std::sync::Mutex;

/// What a read gives, by which firmware knows that somebody listens.
pub const ANSWER: u8 = 0xe9;

type Output = Box<dyn Write + Send>;

/// The console.
pub struct Debugcon(Mutex<Output>);

impl Debug for Debugcon {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Debugcon").finish_non_exhaustive()
    }
}

impl Debugcon {
    /// One whose bytes go to `output`.
    #[must_use]
    pub fn new(output: Output) -> Self {
        Self(Mutex::new(output))
    }

    /// A byte that the guest prints. Fails if the host does not take it.
    pub fn print(&self, byte: u8) -> io::Result<()> {
        let mut output = lock(&self.0);
        output.write_all(&[byte])?;
        output.flush()
    }
}
