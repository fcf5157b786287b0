// SPDX-License-Identifier: MIT OR Apache-2.0
//! The far ends of the machine's serial port and consoles: what the host has there.
//!
//! In: a [`Target`]. Out: something to print to and something that is read. Never: knows what kind
//! of device is at the near end, which is a [`Guest`].
//!
//! | room | knows |
//! |------|-------|
//! | `stdio` | standard input and output, and the keys that are for us |
//! | `pty` | a pseudo-terminal of its own |
//! | `socket` | a Unix socket that one client after another talks to |

mod pty;
mod socket;
mod stdio;

use crate::config::{CONSOLE, Config, DEBUGCON, SERIAL, Target};
use crate::devices::debugcon::Debugcon;
use crate::devices::serial::Com1;
use crate::devices::virtio::console::{Size, Wire};
use pty::Pty;
use socket::Socket;
use std::fmt::Debug;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

/// The near end.
pub trait Guest: Debug + Send + Sync {
    /// Gives it input. May block while too much of it waits already.
    fn feed(&self, bytes: &[u8]) -> io::Result<()>;

    /// Tells it the far end's size, if that is something to it.
    fn resize(&self, _size: Size) -> io::Result<()> {
        Ok(())
    }
}

impl Guest for Com1 {
    fn feed(&self, bytes: &[u8]) -> io::Result<()> {
        Com1::feed(self, bytes)
    }
}

/// It has no way in: what somebody types to the debug console is dropped.
impl Guest for Debugcon {
    fn feed(&self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

impl Guest for Wire {
    fn feed(&self, bytes: &[u8]) -> io::Result<()> {
        Wire::feed(self, bytes)
    }

    fn resize(&self, size: Size) -> io::Result<()> {
        Wire::resize(self, size)
    }
}

/// Why a far end cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Standard output is closed.
    #[error("{option} stdio: expected standard output to be open, found: {source}")]
    Stdio {
        /// The option that asks for it.
        option: &'static str,
        /// The host's words.
        source: io::Error,
    },
    /// Not something to write to.
    #[error("{option} file:{path}: expected a file to write to, found: {source}")]
    File {
        /// The option that asks for it.
        option: &'static str,
        /// Where.
        path: PathBuf,
        /// The host's words.
        source: io::Error,
    },
    /// The host has no pseudo-terminal to give.
    #[error("{option} pty: expected a pseudo-terminal of the host's, found: {source}")]
    Pty {
        /// The option that asks for it.
        option: &'static str,
        /// The host's words.
        source: io::Error,
    },
    /// No place for a socket.
    #[error(
        "{option} unix:{path}: expected a path of at most 107 bytes in a directory of ours, with \
         nothing there yet, found: {source}"
    )]
    Socket {
        /// The option that asks for it.
        option: &'static str,
        /// Where.
        path: PathBuf,
        /// The host's words.
        source: io::Error,
    },
}

/// The far ends of a machine, opened.
#[derive(Debug)]
pub struct FarEnds {
    /// COM1's.
    pub serial: End,
    /// Those of the virtio consoles, in their order.
    pub consoles: Vec<End>,
    /// The debug console's, if there is one.
    pub debugcon: Option<End>,
}

impl FarEnds {
    /// Opens what `config` asks for.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let consoles = config.consoles.iter();
        let consoles = consoles.map(|target| End::open(CONSOLE, target));
        Ok(Self {
            serial: End::open(SERIAL, &config.serial)?,
            consoles: consoles.collect::<Result<_, _>>()?,
            debugcon: match &config.debugcon {
                Target::None => None,
                target => Some(End::open(DEBUGCON, target)?),
            },
        })
    }
}

/// A far end, opened.
#[derive(Debug)]
pub struct End {
    option: &'static str,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Nowhere,
    Stdio,
    File(File, PathBuf),
    Pty(Arc<Pty>),
    Socket(Arc<Socket>),
}

impl End {
    /// Opens what `option` asks for. A file keeps its bytes until [`Self::begin`].
    pub fn open(option: &'static str, target: &Target) -> Result<Self, Error> {
        let kind = match target {
            Target::None => Kind::Nowhere,
            Target::Stdio => Kind::Stdio,
            Target::File(path) => {
                let mut how = File::options();
                let how = how.write(true).create(true).truncate(false);
                let file = how.custom_flags(libc::O_NOCTTY).open(path);
                let file = file.map_err(|source| Error::File {
                    option,
                    path: path.clone(),
                    source,
                })?;
                Kind::File(file, path.clone())
            }
            Target::Pty => {
                let pty = Pty::open().map_err(|source| Error::Pty { option, source })?;
                Kind::Pty(Arc::new(pty))
            }
            Target::Unix(path) => {
                let socket = Socket::listen(path).map_err(|source| Error::Socket {
                    option,
                    path: path.clone(),
                    source,
                })?;
                Kind::Socket(Arc::new(socket))
            }
        };
        Ok(Self { option, kind })
    }

    /// Its size, if it is something that has one; 0 as long as nobody has said.
    pub fn size(&self) -> Option<Size> {
        match &self.kind {
            Kind::Stdio if io::stdin().is_terminal() => Some(terminal_size(io::stdin())),
            Kind::Pty(pty) => Some(pty.size()),
            _ => None,
        }
    }

    /// Whether it is standard input and output.
    pub fn is_stdio(&self) -> bool {
        matches!(self.kind, Kind::Stdio)
    }

    /// Whether there will be no input.
    pub fn is_mute(&self) -> bool {
        matches!(self.kind, Kind::Nowhere | Kind::File(..))
    }

    /// The machine is there: empties a file, and tells where a pseudo-terminal is.
    pub fn begin(&self) -> Result<(), Error> {
        match &self.kind {
            Kind::File(file, path) if file.metadata().is_ok_and(|it| it.is_file()) => {
                file.set_len(0).map_err(|source| Error::File {
                    option: self.option,
                    path: path.clone(),
                    source,
                })
            }
            Kind::Pty(pty) => {
                // Standard error may be closed; then nobody wants to know.
                let _ = writeln!(
                    io::stderr(),
                    "microvm: {} pty: {}",
                    self.option,
                    pty.path().display()
                );
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What is printed goes here.
    pub fn output(&self) -> Result<Box<dyn Write + Send>, Error> {
        Ok(match &self.kind {
            Kind::Nowhere => Box::new(io::sink()),
            Kind::Stdio => Box::new(stdio::Output::stdout().map_err(|source| Error::Stdio {
                option: self.option,
                source,
            })?),
            Kind::File(file, path) => Box::new(file.try_clone().map_err(|source| Error::File {
                option: self.option,
                path: path.clone(),
                source,
            })?),
            Kind::Pty(pty) => Box::new(pty::Printer(Arc::clone(pty))),
            Kind::Socket(socket) => Box::new(socket::Printer(Arc::clone(socket))),
        })
    }

    /// Reads it to its end, or as long as the process lives, and feeds the guest. Returns whether
    /// the user asked to end the machine.
    pub fn pump(&self, guest: &Arc<dyn Guest>) -> io::Result<bool> {
        match &self.kind {
            Kind::Nowhere | Kind::File(..) => Ok(false),
            Kind::Stdio => {
                let input = io::stdin().lock();
                if input.is_terminal() {
                    stdio::pump_keys(input, guest)
                } else {
                    stdio::pump(input, &**guest).map(|()| false)
                }
            }
            Kind::Pty(pty) => pty.pump(&**guest).map(|()| false),
            Kind::Socket(socket) => socket.pump(&**guest).map(|()| false),
        }
    }
}

/// The size of a terminal; nothing where it has none, or nobody has said.
fn terminal_size(terminal: impl AsFd) -> Size {
    let size = rustix::termios::tcgetwinsize(terminal);
    size.map_or_else(
        |_| Size::default(),
        |size| Size {
            columns: size.ws_col,
            rows: size.ws_row,
        },
    )
}

/// Takes a socket's path away when it is dropped, though a thread may still serve the socket.
#[derive(Debug)]
pub struct Closing(pub Arc<End>);

impl Drop for Closing {
    fn drop(&mut self) {
        if let Kind::Socket(socket) = &self.0.kind {
            socket.close();
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    /// A guest that tells what it is given.
    #[derive(Debug)]
    pub struct Listener(Sender<u8>, Sender<Size>);

    /// What it has been given.
    pub struct Heard(Receiver<u8>, Receiver<Size>);

    impl Listener {
        pub fn new() -> (Self, Heard) {
            let (bytes, heard) = channel();
            let (sizes, seen) = channel();
            (Self(bytes, sizes), Heard(heard, seen))
        }
    }

    impl Guest for Listener {
        fn feed(&self, bytes: &[u8]) -> io::Result<()> {
            bytes.iter().for_each(|byte| self.0.send(*byte).unwrap());
            Ok(())
        }

        fn resize(&self, size: Size) -> io::Result<()> {
            self.1.send(size).unwrap();
            Ok(())
        }
    }

    #[test]
    fn a_file_keeps_its_bytes_until_the_machine_is_there() {
        let file = vmm_sys_util::tempfile::TempFile::new().unwrap();
        file.as_file().write_all(b"of the last run").unwrap();
        let content = || std::fs::read(file.as_path()).unwrap();
        let end = End::open(CONSOLE, &Target::File(file.as_path().into())).unwrap();
        let mut output = end.output().unwrap();
        assert_eq!(content(), b"of the last run");
        end.begin().unwrap();
        output.write_all(b"of").unwrap();
        output.write_all(b" this").unwrap();
        assert_eq!(content(), b"of this");
        assert!(end.is_mute() && end.size().is_none());
    }

    impl Heard {
        const PATIENCE: Duration = Duration::from_secs(20);

        pub fn bytes(&self, expected: &[u8]) {
            for byte in expected {
                assert_eq!(self.0.recv_timeout(Self::PATIENCE).unwrap(), *byte);
            }
        }

        pub fn size(&self, expected: Size) {
            assert_eq!(self.1.recv_timeout(Self::PATIENCE).unwrap(), expected);
        }
    }
}
