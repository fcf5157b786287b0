// SPDX-License-Identifier: MIT OR Apache-2.0
//! A virtio network device of two queue pairs, a driver without manners, and frames that come in
//! meanwhile: whatever they do, a reset brings the device back, and frames pass both ways.

use super::input::Input;
use super::virtio::{Driver, LENGTHS, REGISTERS, SIZE};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use vmm::devices::virtio::Interface;
use vmm::devices::virtio::net::{Net, Wire};

/// Queues: two pairs, and for control.
const QUEUES: u8 = 5;
/// What each queue has to itself: a table, and rings.
const SPACE: u64 = 0x400;
const AVAILABLE: u64 = 0x100;
const USED: u64 = 0x200;
const BUFFER: u64 = 0x8000;
const PLACES: [u64; 6] = [0, 2 * SPACE + USED, BUFFER, SIZE as u64, 1 << 32, u64::MAX];

/// The address of a queue. That of the first is not 0, which legacy drivers cannot say.
fn space(queue: u8) -> u64 {
    SPACE * (u64::from(queue) + 1)
}

/// Everything that can be agreed to below bit 32.
const ALL: u32 = 0x3043_bba3;
const HEADER: usize = 12;

/// Sockets that keep frames apart, as a tap does.
#[derive(Debug)]
struct Sockets(Vec<File>);

impl Wire for Sockets {
    fn ends(&self) -> &[File] {
        &self.0
    }

    fn offload(&self, _features: u64) -> io::Result<()> {
        Ok(())
    }

    fn cut(&self, header: usize) -> io::Result<()> {
        assert!([10, 12].contains(&header));
        Ok(())
    }

    fn connect(&self, pairs: u16) -> io::Result<()> {
        assert!((1..=2).contains(&pairs), "as many as there are");
        Ok(())
    }
}

fn pair() -> (UnixDatagram, File) {
    let (near, far) = UnixDatagram::pair().expect("sockets");
    for socket in [&near, &far] {
        socket.set_nonblocking(true).expect("sockets");
    }
    (far, OwnedFd::from(near).into())
}

/// Steps of a driver, and frames, with either interface.
pub fn net(data: &[u8]) {
    for interface in [Interface::Modern, Interface::Legacy] {
        with(interface, data);
    }
}

fn with(interface: Interface, data: &[u8]) {
    let (far, near): (Vec<_>, Vec<_>) = [pair(), pair()].into_iter().unzip();
    let mut ends: Vec<File> = (near.iter().map(File::try_clone))
        .collect::<Result<_, _>>()
        .expect("sockets");
    let driver = Driver::new(
        interface,
        Box::new(Net::new(Box::new(Sockets(near)), [2; 6])),
        0,
    );
    let mut input = Input(data);
    while !input.is_empty() {
        let queue = input.u8() % QUEUES;
        let space = space(queue);
        match input.u8() % 8 {
            0 => {
                let value = input.near(&PLACES) & 0xffff_ffff;
                let register = input.pick(&REGISTERS);
                driver.write(register.into(), u32::try_from(value).unwrap_or_default());
            }
            1 => start(&driver, input.u32()),
            2 => {
                let index = u64::from(input.u8() % 10);
                let address = input.near(&PLACES);
                let length = u32::try_from(input.near(&LENGTHS) & 0xffff_ffff);
                let (flags, next) = (input.u8() % 8, input.u8() % 10);
                describe(
                    &driver,
                    space + 16 * index,
                    (address, length.unwrap_or_default()),
                    [flags.into(), next.into()],
                );
            }
            3 => {
                let slot = u64::from(input.u8() % 8);
                driver.put(space + AVAILABLE + 4 + 2 * slot, &[input.u8() % 10, 0]);
                let count = input.u16().to_le_bytes();
                driver.put(space + AVAILABLE + 2, &count);
            }
            4 => {
                driver.write(0x50, queue.into());
                serve(&driver, queue);
            }
            5 => {
                let mut frame = input.array::<HEADER>().to_vec();
                frame.resize(usize::from(input.u16()), 0xf0);
                // A wire that is full loses it.
                let _ = far[usize::from(queue % 2)].send(&frame);
                serve(&driver, queue & 2);
            }
            6 => {
                let bytes = input.array::<8>();
                let command = [&bytes[..4], &[0xff]].concat();
                driver.put(BUFFER, &command);
            }
            _ => driver.transport.reset(),
        }
        assert_eq!(driver.read(0), 0x7472_6976);
        assert_eq!(driver.read(0x70) & !driver.possible(), 0);
        // Nobody listens, and the sockets take only so much.
        far.iter().for_each(drain);
    }

    // What was on its way has arrived, or never will.
    for end in &mut ends {
        while end.read(&mut [0; 16]).is_ok() {}
    }
    start(&driver, ALL);
    assert_eq!(driver.read(0x70), driver.running());
    // Both pairs are in use when the driver says so.
    driver.put(BUFFER, &[4, 0, 2, 0, 0xff]);
    let control = [(BUFFER, 4, 0), (BUFFER + 4, 1, 2)];
    assert_eq!(offer(&driver, 4, &control), 1);
    assert_eq!(bytes::<1>(&driver, BUFFER + 4), [0]);
    for (index, far) in (0..).zip(&far) {
        let out = [&[0; HEADER][..], b"to the wire"].concat();
        driver.put(BUFFER, &out);
        offer(&driver, 2 * index + 1, &[(BUFFER, 23, 0)]);
        let mut found = [0; 64];
        assert_eq!(far.recv(&mut found).expect("a frame"), out.len());
        assert_eq!(found[..out.len()], out);
        far.send(&[&[0; HEADER][..], b"and back"].concat())
            .expect("room");
        // In two buffers.
        let parts = [(BUFFER, 16, 2), (BUFFER + 0x20, 16, 2)];
        assert_eq!(offer(&driver, 2 * index, &parts), 20);
        assert_eq!(bytes(&driver, BUFFER + 10), [1, 0, b'a', b'n', b'd', b' ']);
        assert_eq!(&bytes(&driver, BUFFER + 0x20), b"back");
    }
}

/// As the specification has it, with these features among those that there are.
fn start(driver: &Driver, features: u32) {
    for queue in 0..QUEUES {
        let space = space(queue);
        driver.put(space + AVAILABLE, &[0; 0x28]);
        driver.put(space + USED, &[0; 0x88]);
    }
    if driver.interface() == Interface::Legacy {
        return start_legacy(driver, features);
    }
    for (register, value) in [
        (0x70, 0),
        (0x70, 3),
        (0x24, 0),
        (0x20, features & ALL),
        (0x24, 1),
        (0x20, 1),
        (0x70, 0xb),
    ] {
        driver.write(register, value);
    }
    for queue in 0..QUEUES {
        let space = space(queue);
        for (register, value) in [
            (0x30, queue.into()),
            (0x38, 8),
            (0x80, space),
            (0x84, 0),
            (0x90, space + AVAILABLE),
            (0x94, 0),
            (0xa0, space + USED),
            (0xa4, 0),
            (0x44, 1),
        ] {
            driver.write(register, u32::try_from(value).unwrap_or_default());
        }
    }
    driver.write(0x70, 0xf);
}

/// The same before version 1: with 16 entries and these pages, the rings lie alike.
fn start_legacy(driver: &Driver, features: u32) {
    for (register, value) in [
        (0x70, 0),
        (0x70, 3),
        (0x24, 0),
        (0x20, features & ALL),
        (0x28, 0x400),
    ] {
        driver.write(register, value);
    }
    for queue in (0..QUEUES).map(u32::from) {
        for (register, value) in [(0x30, queue), (0x38, 16), (0x3c, 0x100), (0x40, queue + 1)] {
            driver.write(register, value);
        }
    }
    driver.write(0x70, 7);
}

fn describe(driver: &Driver, place: u64, buffer: (u64, u32), flags_and_next: [u16; 2]) {
    let [flags, next] = flags_and_next.map(u16::to_le_bytes);
    let (address, length) = (buffer.0.to_le_bytes(), buffer.1.to_le_bytes());
    let bytes = [&address[..], &length, &flags, &next].concat();
    driver.put(place, &bytes);
}

/// Makes a chain of these parts available, the only one of its queue since the start, and gives how
/// much of it was written.
fn offer(driver: &Driver, queue: u8, parts: &[(u64, u32, u16)]) -> u32 {
    let space = space(queue);
    for (index, (address, length, flags)) in (1..).zip(parts) {
        let more = u16::from(usize::from(index) < parts.len());
        let place = space + 16 * u64::from(index - 1);
        describe(driver, place, (*address, *length), [flags | more, index]);
    }
    driver.put(space + AVAILABLE + 2, &[1, 0, 0, 0]);
    driver.write(0x50, queue.into());
    serve(driver, queue);
    let used = bytes::<10>(driver, space + USED + 2);
    let [1, 0, 0, 0, 0, 0, length @ ..] = used else {
        panic!("expected one chain of queue {queue} to be used, found {used:?}");
    };
    u32::from_le_bytes(length)
}

fn bytes<const N: usize>(driver: &Driver, address: u64) -> [u8; N] {
    let mut bytes = [0; N];
    driver.memory.read(address, &mut bytes).expect("memory");
    bytes
}

fn serve(driver: &Driver, queue: u8) {
    // Where there is nothing to do there is nothing to wait for.
    let _ = driver.transport.serve(queue.into());
}

fn drain(far: &UnixDatagram) {
    while far.recv(&mut [0; 16]).is_ok() {}
}
