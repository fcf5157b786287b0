// SPDX-License-Identifier: MIT OR Apache-2.0
//! Standard input on its way to the guest, the keys that are for us, and standard output.
//!
//! `Ctrl-a x` ends the machine; `Ctrl-a Ctrl-a` and `Ctrl-a a` send one `Ctrl-a`; `Ctrl-a` and
//! any other key sends nothing. All this only where standard input is a terminal; bytes from a
//! pipe or file pass unchanged.

use super::Guest;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Arc, mpsc};
use std::thread::{self, sleep};
use std::time::Duration;

/// How soon a descriptor that does not block is tried again. Somebody else made it so: a terminal
/// is shared by all who have it open, and a pipe by whoever started us.
const RETRY: Duration = Duration::from_millis(2);

/// Ctrl-a.
const ESCAPE: u8 = 0x01;

/// Reads `input` to its end and feeds the guest, which may make it wait.
pub fn pump(mut input: impl Read, guest: &dyn Guest) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while let Some(bytes) = read(&mut input, &mut buffer) {
        guest.feed(bytes)?;
    }
    Ok(())
}

/// Reads a terminal to its end and feeds the guest. Returns whether the user asked to end the
/// machine; the end of the input is not such a wish.
///
/// The guest is fed by a thread of its own, behind a queue without limit: a processor that waits
/// for its output, or a guest that does not read, must not keep us from hearing the user.
pub fn pump_keys(mut input: impl Read, guest: &Arc<dyn Guest>) -> io::Result<bool> {
    let (queue, queued) = mpsc::channel::<Vec<u8>>();
    let guest = Arc::clone(guest);
    let feeder = thread::Builder::new()
        .name("stdin feeder".into())
        .spawn(move || queued.iter().try_for_each(|bytes| guest.feed(&bytes)))?;
    let mut keys = Keys::default();
    let mut buffer = [0; 4096];
    while let Some(bytes) = read(&mut input, &mut buffer) {
        let (bytes, end) = keys.filter(bytes);
        if end {
            // The feeder, if it is stuck, ends with the process.
            return Ok(true);
        }
        if queue.send(bytes).is_err() {
            // The feeder has failed; it says why below.
            break;
        }
    }
    drop(queue);
    // A panic of the feeder has been reported already.
    feeder.join().unwrap_or(Ok(())).map(|()| false)
}

/// What comes next, unless the input has ended.
fn read<'a>(input: &mut impl Read, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    loop {
        match input.read(buffer) {
            // A closed standard input is an ended one.
            Ok(0) => return None,
            Ok(count) => return buffer.get(..count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(RETRY),
            Err(_) => return None,
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
    use crate::devices::serial::Com1;

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

        let com1 = com1(io::sink());
        let input = Reluctant(&b"x"[..], false);
        pump(input, &*com1).unwrap();
        assert_eq!(com1.read(0).unwrap(), b'x');
    }

    /// An output that never takes anything.
    struct Stuck(mpsc::Sender<()>);

    impl Write for Stuck {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.0.send(()).unwrap();
            loop {
                thread::park();
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn com1(output: impl Write + Send + 'static) -> Arc<Com1> {
        let line = vmm_sys_util::eventfd::EventFd::new(0).unwrap();
        Arc::new(Com1::new(line, Box::new(output)))
    }

    fn guest(com1: &Arc<Com1>) -> Arc<dyn Guest> {
        Arc::clone(com1) as _
    }

    #[test]
    fn the_escape_ends_while_the_output_blocks() {
        let (sender, stuck) = mpsc::channel();
        let com1 = com1(Stuck(sender));
        let processor = Arc::clone(&com1);
        thread::spawn(move || processor.write(0, b'x'));
        stuck.recv().unwrap();
        // Reads give one byte at a time, so that some are fed before the escape comes.
        let input = io::BufReader::with_capacity(1, &b"ab\x01x"[..]);
        assert!(pump_keys(input, &guest(&com1)).unwrap());
    }

    #[test]
    fn the_escape_ends_while_the_guest_reads_nothing() {
        let input = io::repeat(b'a').take(1 << 20).chain(&b"\x01x"[..]);
        assert!(pump_keys(input, &guest(&com1(io::sink()))).unwrap());
    }

    #[test]
    fn keys_arrive_without_the_escapes() {
        let com1 = com1(io::sink());
        assert!(!pump_keys(&b"\x01ax"[..], &guest(&com1)).unwrap());
        assert_eq!([0, 0].map(|data| com1.read(data).unwrap()), *b"\x01x");
    }

    #[test]
    fn input_that_is_no_terminal_passes_unchanged() {
        let com1 = com1(io::sink());
        pump(&b"\x01x"[..], &*com1).unwrap();
        assert_eq!([0, 0].map(|data| com1.read(data).unwrap()), *b"\x01x");
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
