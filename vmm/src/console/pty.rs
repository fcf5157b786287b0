// SPDX-License-Identifier: MIT OR Apache-2.0
//! A pseudo-terminal of its own, which a terminal program can open by its path.
//!
//! Spec: pty(7), with the raw mode of POSIX `cfmakeraw`. The host tells us neither that somebody
//! opens it nor that its size changes, so both are looked for now and then.

use super::{Guest, terminal_size};
use crate::devices::virtio::console::Size;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often its size is looked at.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 250_000_000,
};

/// How soon it is seen that somebody has opened it.
const ABSENT: Duration = Duration::from_millis(100);

/// Our side of it.
#[derive(Debug)]
pub struct Pty {
    ours: File,
    path: PathBuf,
}

impl Pty {
    /// A new one, which passes all bytes on as they are.
    pub fn open() -> io::Result<Self> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let path = PathBuf::from(OsString::from_vec(ptsname(&ours, [])?.into_bytes()));
        // Opened and closed, because before the first time it looks as if somebody had it open.
        let mut how = File::options();
        let how = how.read(true).write(true).custom_flags(libc::O_NOCTTY);
        let theirs = how.open(&path)?;
        let mut attributes = tcgetattr(&theirs)?;
        attributes.make_raw();
        tcsetattr(&theirs, OptionalActions::Now, &attributes)?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        Ok(Self {
            ours: ours.into(),
            path,
        })
    }

    /// What somebody opens to talk to us.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size, as whoever has it open has set it.
    pub fn size(&self) -> Size {
        terminal_size(&self.ours)
    }

    /// Waits for one of `wanted`, but not longer than `patience`. Without any, the time has passed;
    /// `HUP` is that nobody has it open.
    fn wait(&self, wanted: PollFlags, patience: Option<&Timespec>) -> io::Result<PollFlags> {
        let mut descriptors = [PollFd::new(&self.ours, wanted)];
        match poll(&mut descriptors, patience) {
            Ok(_) => Ok(descriptors[0].revents()),
            Err(rustix::io::Errno::INTR) => Ok(PollFlags::empty()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads it as long as the process lives.
    pub fn pump(&self, guest: &dyn Guest) -> io::Result<()> {
        let mut buffer = [0; 4096];
        let mut size = self.size();
        loop {
            let ready = self.wait(PollFlags::IN, Some(&LOOK))?;
            let now = self.size();
            if now != size {
                size = now;
                guest.resize(size)?;
            }
            if ready.contains(PollFlags::IN) {
                // What was there may be gone, with whoever wrote it.
                let count = (&self.ours).read(&mut buffer).unwrap_or(0);
                guest.feed(buffer.get(..count).unwrap_or_default())?;
            } else if ready.contains(PollFlags::HUP) {
                std::thread::sleep(ABSENT);
            }
        }
    }
}

/// Prints to it. What is printed while nobody has it open is lost.
#[derive(Debug)]
pub struct Printer(pub Arc<Pty>);

impl Write for Printer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let ready = self.0.wait(PollFlags::OUT, None)?;
            if ready.contains(PollFlags::HUP) {
                return Ok(bytes.len());
            }
            match (&self.0.ours).write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Somebody had it open a moment ago.
                Err(error) if error.raw_os_error() == Some(libc::EIO) => return Ok(bytes.len()),
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod test {
    use super::super::test::Listener;
    use super::*;
    use rustix::termios::{Winsize, tcsetwinsize};

    fn opened(pty: &Pty) -> File {
        let mut how = File::options();
        let how = how.read(true).write(true).custom_flags(libc::O_NOCTTY);
        how.open(pty.path()).unwrap()
    }

    #[test]
    fn bytes_pass_as_they_are_and_sizes_are_seen() {
        let pty = Arc::new(Pty::open().unwrap());
        let (guest, heard) = Listener::new();
        let pump = Arc::clone(&pty);
        // Ends with the process.
        std::thread::spawn(move || pump.pump(&guest));
        let mut printer = Printer(Arc::clone(&pty));
        // Nobody hears it, and nobody is held up.
        printer.write_all(&[b'x'; 1 << 20]).unwrap();
        for _ in 0..2 {
            let mut theirs = opened(&pty);
            theirs.write_all(b"\x03a\r").unwrap();
            heard.bytes(b"\x03a\r");
            printer.write_all(b"b\n\xff").unwrap();
            let mut bytes = [0; 3];
            theirs.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes, *b"b\n\xff");
        }
        let theirs = opened(&pty);
        let size = Winsize {
            ws_col: 132,
            ws_row: 43,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&theirs, size).unwrap();
        let expected = Size {
            columns: 132,
            rows: 43,
        };
        heard.size(expected);
        assert_eq!(pty.size(), expected);
    }
}
