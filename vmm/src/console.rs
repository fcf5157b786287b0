// SPDX-License-Identifier: MIT OR Apache-2.0
//! Standard input on its way to COM1, and the keys that are for us.
//!
//! `Ctrl-a x` ends the machine; `Ctrl-a Ctrl-a` and `Ctrl-a a` send one `Ctrl-a`; `Ctrl-a` and
//! any other key sends nothing. The same holds when standard input is not a terminal.

use crate::devices::serial::Com1;
use std::io::{self, Read};

/// Ctrl-a.
const ESCAPE: u8 = 0x01;

/// Reads `input` to its end and feeds the guest. Returns whether the user asked to end the
/// machine; the end of the input is not such a wish.
pub fn pump(mut input: impl Read, com1: &Com1) -> io::Result<bool> {
    let mut keys = Keys::default();
    let mut buffer = [0; 4096];
    loop {
        let count = match input.read(&mut buffer) {
            // A closed standard input is an ended one.
            Ok(0) => return Ok(false),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return Ok(false),
        };
        let (bytes, end) = keys.filter(buffer.get(..count).unwrap_or(&[]));
        com1.feed(&bytes)?;
        if end {
            return Ok(true);
        }
    }
}

/// Whether the last byte was an escape.
#[derive(Debug, Default)]
struct Keys {
    escaped: bool,
}

impl Keys {
    /// What of `input` is for the guest, and whether it contains the wish to end.
    fn filter(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut output = Vec::with_capacity(input.len());
        for byte in input {
            match (std::mem::take(&mut self.escaped), *byte) {
                (false, ESCAPE) => self.escaped = true,
                (false, other) => output.push(other),
                (true, b'x') => return (output, true),
                (true, ESCAPE | b'a') => output.push(ESCAPE),
                (true, _) => {}
            }
        }
        (output, false)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn plain_bytes_pass() {
        assert_eq!(
            Keys::default().filter(b"ls\r\x03\xff"),
            (b"ls\r\x03\xff".to_vec(), false)
        );
    }

    #[test]
    fn the_escape_ends_even_across_two_reads() {
        let mut keys = Keys::default();
        assert_eq!(keys.filter(b"ab\x01"), (b"ab".to_vec(), false));
        assert_eq!(keys.filter(b"xcd"), (Vec::new(), true));
    }

    #[test]
    fn an_escaped_escape_is_sent_once() {
        assert_eq!(
            Keys::default().filter(b"\x01a\x01\x01z\x01qx"),
            (b"\x01\x01zx".to_vec(), false)
        );
    }
}
