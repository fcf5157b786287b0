// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sends bytes over a guest's network device to the host behind it and receives as many, and asks for
//! one byte at a time, and says how much it did in a second. The host runs the same program with an
//! address to listen at as its argument. What arrives is held against what was sent.

use std::io::{Error, Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

/// The guest's address, and where the host listens.
const GUEST: &str = "10.0.2.15/24";
const HOST: &str = "10.0.2.1:5201";
/// How long the host may take to be there.
const PATIENCE: Duration = Duration::from_secs(10);

const MIB: usize = 1 << 20;
/// Bytes of one stream of each kind, and of one call.
const AMOUNT: usize = 16 * MIB;
const PIECE: usize = 64 << 10;
/// How often one byte is asked for.
const QUESTIONS: usize = 1000;
/// Streams at once.
const STREAMS: [usize; 2] = [1, 4];

/// What a stream is for: the first byte of each.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Pattern {
    /// The guest sends.
    Send = b's',
    /// The host sends.
    Receive = b'r',
    /// The host answers each byte.
    Ask = b'a',
}

fn main() -> ExitCode {
    let address = std::env::args().nth(1);
    let result = match &address {
        Some(address) => serve(address),
        None => measure(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", address.as_deref().unwrap_or(HOST));
            ExitCode::FAILURE
        }
    }
}

/// The host's part, until it is stopped.
fn serve(address: &str) -> Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("listening at {address}");
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || {
            if let Err(error) = answer(stream) {
                eprintln!("a stream: {error}");
            }
        });
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    match kind[0] {
        b's' => {
            take(&mut stream)?;
            stream.write_all(&kind)
        }
        b'r' => give(&mut stream),
        b'a' => {
            let mut byte = [0];
            for _ in 0..QUESTIONS {
                stream.read_exact(&mut byte)?;
                stream.write_all(&byte)?;
            }
            Ok(())
        }
        other => Err(Error::other(format!(
            "expected s, r or a, found {other:#x}"
        ))),
    }
}

/// The guest's part.
fn measure() -> Result<()> {
    set_up()?;
    for streams in STREAMS {
        for (name, pattern) in [("send", Pattern::Send), ("receive", Pattern::Receive)] {
            let seconds = timed(pattern, streams)?;
            say(
                &format!("{name} streams={streams} KiB"),
                streams * (AMOUNT >> 10),
                seconds,
            );
        }
    }
    say("round trips", QUESTIONS, timed(Pattern::Ask, 1)?);
    Ok(())
}

fn say(what: &str, amount: usize, elapsed: Duration) {
    let rate = amount as u128 * 1_000_000_000 / elapsed.as_nanos().max(1);
    println!("SPEED: {what} {rate}");
}

fn set_up() -> Result<()> {
    for words in [
        ["address", "add", GUEST, "dev", "eth0"].as_slice(),
        &["link", "set", "eth0", "up"],
    ] {
        let status = Command::new("/bin/busybox")
            .arg("ip")
            .args(words)
            .status()?;
        if !status.success() {
            return Err(Error::other(format!(
                "ip {} ended with {status}",
                words.join(" ")
            )));
        }
    }
    Ok(())
}

/// How long all streams take, of which all are open before the first has anything to do.
fn timed(pattern: Pattern, count: usize) -> Result<Duration> {
    let streams = (0..count).map(|_| connect()).collect::<Result<Vec<_>>>()?;
    let start = Instant::now();
    thread::scope(|scope| {
        let one = |stream| scope.spawn(move || run(stream, pattern));
        let all: Vec<_> = streams.into_iter().map(one).collect();
        all.into_iter().try_for_each(|thread| {
            let panicked = |_| Error::other("a thread panicked");
            thread.join().map_err(panicked).flatten()
        })
    })?;
    Ok(start.elapsed())
}

fn connect() -> Result<TcpStream> {
    let start = Instant::now();
    loop {
        match TcpStream::connect(HOST) {
            Err(_) if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(50)),
            stream => return stream,
        }
    }
}

fn run(mut stream: TcpStream, pattern: Pattern) -> Result<()> {
    stream.set_nodelay(true)?;
    let kind = [pattern as u8];
    stream.write_all(&kind)?;
    match pattern {
        Pattern::Send => {
            give(&mut stream)?;
            // All of it has arrived.
            stream.read_exact(&mut [0])
        }
        Pattern::Receive => take(&mut stream),
        Pattern::Ask => {
            for number in 0..QUESTIONS {
                let asked = number.to_le_bytes()[0];
                let mut answered = [0];
                stream.write_all(&[asked])?;
                stream.read_exact(&mut answered)?;
                if answered[0] != asked {
                    return Err(Error::other(format!(
                        "asked {asked}, was answered {}",
                        answered[0]
                    )));
                }
            }
            Ok(())
        }
    }
}

fn give(stream: &mut TcpStream) -> Result<()> {
    let piece = piece();
    (0..AMOUNT / PIECE).try_for_each(|_| stream.write_all(&piece))
}

fn take(stream: &mut TcpStream) -> Result<()> {
    let expected = piece();
    let mut found = vec![0; PIECE];
    for number in 0..AMOUNT / PIECE {
        stream.read_exact(&mut found)?;
        if found != expected {
            return Err(Error::other(format!("piece {number} is not what was sent")));
        }
    }
    Ok(())
}

/// No two neighbours are alike, so that what is missing is seen.
fn piece() -> Vec<u8> {
    (0..=250).cycle().take(PIECE).collect()
}
