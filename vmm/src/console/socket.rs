// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Unix socket that clients connect to, one after the other.
//!
//! Spec: unix(7), stream sockets. A client that has closed its sending half still gets what is
//! printed; the next one is served when it has closed both.

use super::Guest;
use crate::devices::bus::lock;
use rustix::event::{PollFd, PollFlags, poll};
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The socket. Its path goes with it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    /// Until it has been taken away.
    path: Mutex<Option<PathBuf>>,
    client: Mutex<Option<Arc<UnixStream>>>,
}

impl Socket {
    /// Listens at `path`, where nothing may be yet.
    pub fn listen(path: &Path) -> io::Result<Self> {
        Ok(Self {
            listener: UnixListener::bind(path)?,
            path: Mutex::new(Some(path.into())),
            client: Mutex::default(),
        })
    }

    /// Takes its path away; whoever is connected stays.
    pub fn close(&self) {
        if let Some(path) = lock(&self.path).take() {
            // Nobody to tell if it fails, and the next one to listen there will find out.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Serves clients as long as the process lives.
    pub fn pump(&self, guest: &dyn Guest) -> io::Result<()> {
        loop {
            let client = Arc::new(self.listener.accept()?.0);
            *lock(&self.client) = Some(Arc::clone(&client));
            let read = read(&client, guest);
            *lock(&self.client) = None;
            read?;
        }
    }
}

/// Reads a client to its end and waits until it is gone. Fails only if the guest does.
fn read(client: &UnixStream, guest: &dyn Guest) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let mut input = client;
        match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => guest.feed(buffer.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Ok(()),
        }
    }
    // It hangs up, or something is wrong with it; which it is does not matter.
    while poll(&mut [PollFd::new(client, PollFlags::empty())], None) == Err(rustix::io::Errno::INTR)
    {
    }
    Ok(())
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.close();
    }
}

/// Prints to the client. What is printed while there is none is lost.
#[derive(Debug)]
pub struct Printer(pub Arc<Socket>);

impl Write for Printer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let client = lock(&self.0.client).clone();
        let Some(client) = client else {
            return Ok(bytes.len());
        };
        match (&*client).write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            // It has gone.
            Err(_) => Ok(bytes.len()),
            written => written,
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
    use std::net::Shutdown;
    use vmm_sys_util::tempdir::TempDir;

    fn told(client: &mut UnixStream, expected: &[u8]) {
        let mut bytes = vec![0; expected.len()];
        client.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn one_client_after_another_is_served() {
        let place = TempDir::new_with_prefix(std::env::temp_dir().join("socket-")).unwrap();
        let path = place.as_path().join("s");
        let socket = Arc::new(Socket::listen(&path).unwrap());
        assert!(Socket::listen(&path).is_err(), "it is taken");
        let (guest, heard) = Listener::new();
        let pump = Arc::clone(&socket);
        // Ends with the process.
        std::thread::spawn(move || pump.pump(&guest));
        let mut printer = Printer(Arc::clone(&socket));
        printer.write_all(&[b'x'; 1 << 20]).unwrap();

        let mut first = UnixStream::connect(&path).unwrap();
        first.write_all(b"one").unwrap();
        heard.bytes(b"one");
        printer.write_all(b"for one").unwrap();
        told(&mut first, b"for one");
        // It waits until the first has closed both its halves.
        let mut second = UnixStream::connect(&path).unwrap();
        second.write_all(b"two").unwrap();
        first.shutdown(Shutdown::Write).unwrap();
        printer.write_all(b"still for one").unwrap();
        told(&mut first, b"still for one");
        drop(first);
        heard.bytes(b"two");
        printer.write_all(b"for two").unwrap();
        told(&mut second, b"for two");
        // Who does not read holds the output up, but only while it is there.
        let blocked = std::thread::spawn(move || printer.write_all(&[b'x'; 1 << 24]));
        std::thread::sleep(std::time::Duration::from_millis(20));
        drop(second);
        blocked.join().unwrap().unwrap();

        socket.close();
        assert!(!path.exists());
    }
}
