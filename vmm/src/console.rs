// SPDX-License-Identifier: MIT OR Apache-2.0
//! Standard input on its way to COM1, the keys that are for us, and standard output.
//!
//! `Ctrl-a x` ends the machine; `Ctrl-a Ctrl-a` and `Ctrl-a a` send one `Ctrl-a`; `Ctrl-a` and
//! any other key sends nothing. The same holds when standard input is not a terminal.

use crate::devices::serial::Com1;
use std::fs::File;
use std::io::{self, Read, Write};
use std::thread::sleep;
use std::time::Duration;

/// How soon a descriptor that does not block is tried again. Somebody else made it so: a terminal
/// is shared by all who have it open, and a pipe by whoever started us.
const RETRY: Duration = Duration::from_millis(2);

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
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sleep(RETRY);
                continue;
            }
            Err(_) => return Ok(false),
        };
        let (bytes, end) = keys.filter(buffer.get(..count).unwrap_or(&[]));
        com1.feed(&bytes)?;
        if end {
            return Ok(true);
        }
    }
}

/// Standard output without a buffer: what the guest prints is visible at once.
#[derive(Debug)]
pub struct Output<T = File>(T);

impl Output {
    /// The process's standard output.
    pub fn stdout() -> io::Result<Self> {
        use std::os::fd::AsFd;
        Ok(Self(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
    }
}

impl<T: Write> Write for Output<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(RETRY),
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
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

    /// Does every other thing only when asked again.
    struct Reluctant<T>(T, bool);

    impl<T> Reluctant<T> {
        fn refuses(&mut self) -> bool {
            self.1 = !self.1;
            self.1
        }
    }

    impl<T: Write> Write for Reluctant<T> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.refuses() {
                Err(io::ErrorKind::WouldBlock.into())
            } else {
                self.0.write(bytes)
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<T: Read> Read for Reluctant<T> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.refuses() {
                Err(io::ErrorKind::WouldBlock.into())
            } else {
                self.0.read(buffer)
            }
        }
    }

    #[test]
    fn descriptors_that_do_not_block_lose_nothing() {
        let mut output = Output(Reluctant(Vec::new(), false));
        output.write_all(b"a").unwrap();
        output.write_all(b"b").unwrap();
        assert_eq!(output.0.0, b"ab");

        let line = vmm_sys_util::eventfd::EventFd::new(0).unwrap();
        let com1 = Com1::new(line, Box::new(io::sink()));
        let input = Reluctant(&b"x"[..], false);
        assert!(!pump(input, &com1).unwrap());
        assert_eq!(com1.read(0).unwrap(), b'x');
    }

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
