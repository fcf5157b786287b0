// SPDX-License-Identifier: MIT OR Apache-2.0
//! COM1: a 16550A whose output goes to a host file and whose input never gets lost.
//!
//! Spec: National PC16550D data sheet; the registers are `vm-superio`'s, except that interrupt
//! identification is ours. Input waits here while the receive FIFO is full and moves on when the
//! guest has drained it; a reset puts what the FIFO held back in front.

use super::line::Line;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use vm_superio::Trigger;
use vm_superio::serial::{NoEvents, Serial};
/// First port.
pub const COM1_PORT: u16 = 0x3f8;
/// Number of consecutive ports.
pub const COM1_PORTS: u16 = 8;
/// Its interrupt.
pub const COM1_IRQ: u32 = 4;

/// Input bytes that may wait for the guest before [`Com1::feed`] blocks.
const BACKLOG: usize = 64 << 10;

impl Trigger for Line {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.pulse()
    }
}

const INTERRUPT_ENABLE: u8 = 1;
const INTERRUPT_IDENTIFICATION: u8 = 2;
const LINE_CONTROL: u8 = 3;
const MODEM_CONTROL: u8 = 4;
const LINE_STATUS: u8 = 5;
const DATA: u8 = 0;

/// Interrupt enable: received data available.
const ENABLE_RECEIVED: u8 = 1 << 0;
/// Interrupt enable: transmitter holding register empty.
const ENABLE_TRANSMITTED: u8 = 1 << 1;
/// Interrupt identification: the bits that name the source.
const SOURCE: u8 = 0x0f;
/// Interrupt identification: none is pending.
const NONE: u8 = 0x01;
/// Interrupt identification: transmitter holding register empty. Reading this clears it.
const TRANSMITTED: u8 = 0x02;
/// Interrupt identification: received data available. It stays until the data is read.
const RECEIVED: u8 = 0x04;
/// Line control: the first two registers are the divisor.
const DIVISOR_LATCH: u8 = 1 << 7;
/// Modem control: what is sent is received.
const LOOP: u8 = 1 << 4;
/// Line status: received data is there.
const DATA_READY: u8 = 1 << 0;

type Output = Box<dyn Write + Send>;
type Uart = Serial<Line, NoEvents, Output>;

struct State {
    uart: Uart,
    /// Input the FIFO had no room for, in order.
    waiting: VecDeque<u8>,
    empty_capacity: usize,
    /// What the guest wrote; the register itself may hide behind the divisor.
    interrupt_enable: u8,
    /// The transmitter's interrupt is pending behind the receiver's, which comes first.
    transmitted: bool,
}

impl State {
    fn new(uart: Uart, waiting: VecDeque<u8>) -> Self {
        Self {
            empty_capacity: uart.fifo_capacity(),
            uart,
            waiting,
            interrupt_enable: 0,
            transmitted: false,
        }
    }

    /// Whether received data asks for the guest. Like the UART's, and unlike `vm-superio`'s, which
    /// forgets it as soon as one byte is read, this is a level: "received data available, or
    /// trigger level reached; reset by reading the receiver buffer".
    fn receiver_asks(&mut self) -> bool {
        self.interrupt_enable & ENABLE_RECEIVED != 0
            && self.uart.read(LINE_STATUS) & DATA_READY != 0
    }

    /// Interrupt identification: the first source by priority.
    fn identify(&mut self) -> u8 {
        let value = self.uart.read(INTERRUPT_IDENTIFICATION);
        let transmitted = self.transmitted || value & TRANSMITTED != 0;
        let transmitted = transmitted && self.interrupt_enable & ENABLE_TRANSMITTED != 0;
        let received = self.receiver_asks();
        self.transmitted = transmitted && received;
        let source = match (received, transmitted) {
            (true, _) => RECEIVED,
            (false, true) => TRANSMITTED,
            (false, false) => NONE,
        };
        value & !SOURCE | source
    }

    /// An edge for a level that is still there. The line knows edges only, and a handler may stop
    /// before it has read all: Linux's does so after 256 bytes.
    fn remind(&mut self) -> io::Result<()> {
        if self.receiver_asks() {
            self.uart.interrupt_evt().trigger()?;
        }
        Ok(())
    }
}

/// The port, shared by processors and the reader of the host's input.
pub struct Com1 {
    state: Mutex<State>,
    room: Condvar,
}

impl std::fmt::Debug for Com1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Com1").finish_non_exhaustive()
    }
}

impl Com1 {
    /// A port that interrupts through `line` and prints to `output`.
    #[must_use]
    pub fn new(line: impl Into<Line>, output: Output) -> Self {
        let uart = Serial::new(line.into(), output);
        Self {
            state: Mutex::new(State::new(uart, VecDeque::new())),
            room: Condvar::new(),
        }
    }

    /// An 8-bit read of register `offset`.
    pub fn read(&self, offset: u8) -> io::Result<u8> {
        let mut state = self.lock();
        let value = if offset == INTERRUPT_IDENTIFICATION {
            let value = state.identify();
            state.remind()?;
            value
        } else {
            state.uart.read(offset)
        };
        self.refill(&mut state)?;
        Ok(value)
    }

    /// An 8-bit write of register `offset`. Fails if the host does not take the output, or the
    /// interrupt.
    pub fn write(&self, offset: u8, value: u8) -> io::Result<()> {
        let mut state = self.lock();
        state.uart.write(offset, value).map_err(into_io)?;
        let hidden = state.uart.read(LINE_CONTROL) & DIVISOR_LATCH != 0;
        match offset {
            DATA if !hidden => state.transmitted = false,
            INTERRUPT_ENABLE if !hidden => {
                state.interrupt_enable = value;
                state.remind()?;
            }
            _ => {}
        }
        self.refill(&mut state)
    }

    /// Gives the guest input. Blocks while too much of it waits already.
    pub fn feed(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        while state.waiting.len() >= BACKLOG {
            state = self
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.extend(bytes);
        self.refill(&mut state)
    }

    /// The power-on state. Input that was not read, and the output, stay.
    pub fn reset(&self) -> io::Result<()> {
        let mut state = self.lock();
        let mut waiting = VecDeque::new();
        // In loop-back mode the FIFO holds what the guest sent to itself.
        if state.uart.read(MODEM_CONTROL) & LOOP == 0 {
            waiting.extend(state.uart.state().in_buffer);
        }
        waiting.append(&mut state.waiting);
        let line = state.uart.interrupt_evt().try_clone()?;
        let output = std::mem::replace(state.uart.writer_mut(), Box::new(io::sink()));
        *state = State::new(Serial::new(line, output), waiting);
        self.refill(&mut state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere ends the machine; until then the registers are still registers.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves waiting input into an empty FIFO, so one interrupt announces as much as possible.
    fn refill(&self, state: &mut State) -> io::Result<()> {
        if state.waiting.is_empty() || state.uart.fifo_capacity() < state.empty_capacity {
            return Ok(());
        }
        let count = state.waiting.len().min(state.empty_capacity);
        let batch: Vec<u8> = state.waiting.iter().take(count).copied().collect();
        // In loop-back mode the port takes none.
        let taken = state.uart.enqueue_raw_bytes(&batch).map_err(into_io)?;
        state.waiting.drain(..taken);
        if taken > 0 {
            self.room.notify_one();
        }
        Ok(())
    }
}

fn into_io(error: vm_superio::serial::Error<io::Error>) -> io::Error {
    use vm_superio::serial::Error;
    match error {
        Error::Trigger(error) | Error::IOError(error) => error,
        Error::FullFifo => io::Error::other("receive FIFO full"),
    }
}

#[cfg(test)]
pub(super) mod test {
    use super::*;
    use std::sync::Arc;
    use vmm_sys_util::eventfd::EventFd;

    const SCRATCH: u8 = 7;

    /// What a port has sent.
    #[derive(Clone, Debug, Default)]
    pub struct Screen(pub Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn port() -> (Com1, Screen, EventFd) {
        let line = EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let screen = Screen::default();
        (
            Com1::new(line.try_clone().unwrap(), Box::new(screen.clone())),
            screen,
            line,
        )
    }

    fn drain(port: &Com1) -> Vec<u8> {
        let mut bytes = Vec::new();
        while port.read(LINE_STATUS).unwrap() & 1 != 0 {
            bytes.push(port.read(DATA).unwrap());
        }
        bytes
    }

    #[test]
    fn output_arrives_and_a_reset_does_not_lose_it() {
        let (port, screen, _) = port();
        port.write(DATA, b'a').unwrap();
        port.write(SCRATCH, 0x55).unwrap();
        port.reset().unwrap();
        assert_eq!(port.read(SCRATCH).unwrap(), 0);
        port.write(DATA, b'b').unwrap();
        assert_eq!(*screen.0.lock().unwrap(), b"ab");
    }

    #[test]
    fn more_input_than_the_fifo_holds_arrives_in_order() {
        let (port, _, _) = port();
        let sent: Vec<u8> = (0..1000u32).map(|i| i.to_le_bytes()[0]).collect();
        port.feed(&sent[..700]).unwrap();
        port.feed(&sent[700..]).unwrap();
        assert_eq!(drain(&port), sent);
    }

    #[test]
    fn every_batch_of_input_interrupts() {
        let (port, _, line) = port();
        port.write(INTERRUPT_ENABLE, 1).unwrap();
        port.feed(&[b'x'; 65]).unwrap();
        assert!(line.read().unwrap() >= 1);
        for _ in 0..64 {
            port.read(DATA).unwrap();
        }
        assert!(line.read().unwrap() >= 1);
        assert_eq!(drain(&port), b"x");
    }

    /// A handler like Linux's: per edge it asks for the source up to `passes` times, and each time
    /// reads at most `most` bytes. Until no edge is left.
    fn interrupts(port: &Com1, line: &EventFd, passes: usize, most: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while line.read().is_ok() {
            let mut passes = 0..passes;
            while passes.next().is_some() && port.read(INTERRUPT_IDENTIFICATION).unwrap() & 1 == 0 {
                let mut room = 0..most;
                while port.read(LINE_STATUS).unwrap() & 1 != 0 && room.next().is_some() {
                    bytes.push(port.read(DATA).unwrap());
                }
            }
        }
        bytes
    }

    #[test]
    fn a_handler_that_stops_early_is_called_again() {
        // Linux's limits, and stricter ones.
        for (passes, most) in [(512, 256), (1, 256), (1, 16)] {
            let (port, _, line) = port();
            port.write(INTERRUPT_ENABLE, 1).unwrap();
            port.feed(&[b'x'; 10]).unwrap();
            port.feed(&[b'y'; 1000]).unwrap();
            let received = interrupts(&port, &line, passes, most);
            assert_eq!(received.len(), 1010, "{passes} passes of {most}");
        }
    }

    #[test]
    fn received_data_is_announced_as_long_as_there_is_some() {
        let (port, _, line) = port();
        port.feed(b"ab").unwrap();
        assert_eq!(port.read(INTERRUPT_IDENTIFICATION).unwrap(), 0xc1);
        assert!(line.read().is_err());
        port.write(INTERRUPT_ENABLE, 1).unwrap();
        assert!(line.read().is_ok());
        port.read(DATA).unwrap();
        assert_eq!(port.read(INTERRUPT_IDENTIFICATION).unwrap(), 0xc4);
        assert_eq!(port.read(INTERRUPT_IDENTIFICATION).unwrap(), 0xc4);
        port.read(DATA).unwrap();
        assert_eq!(port.read(INTERRUPT_IDENTIFICATION).unwrap(), 0xc1);
    }

    #[test]
    fn the_receiver_comes_before_the_transmitter_and_does_not_swallow_it() {
        let (port, _, _) = port();
        port.write(INTERRUPT_ENABLE, 3).unwrap();
        port.feed(b"a").unwrap();
        assert_eq!(port.read(INTERRUPT_IDENTIFICATION).unwrap(), 0xc4);
        port.read(DATA).unwrap();
        assert_eq!(port.read(INTERRUPT_IDENTIFICATION).unwrap(), 0xc2);
        assert_eq!(port.read(INTERRUPT_IDENTIFICATION).unwrap(), 0xc1);
    }

    #[test]
    fn a_reset_keeps_input_that_was_not_read() {
        let (port, _, _) = port();
        let sent: Vec<u8> = (0..100).collect();
        port.feed(&sent).unwrap();
        assert_eq!(port.read(DATA).unwrap(), 0);
        port.reset().unwrap();
        assert_eq!(drain(&port), sent[1..]);
    }

    #[test]
    fn input_during_loop_back_waits_until_it_ends() {
        let (port, screen, _) = port();
        port.write(MODEM_CONTROL, 0x10).unwrap();
        port.feed(b"later").unwrap();
        port.write(DATA, b'L').unwrap();
        assert_eq!(port.read(DATA).unwrap(), b'L');
        port.write(MODEM_CONTROL, 0).unwrap();
        assert_eq!(drain(&port), b"later");
        assert!(screen.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_full_backlog_blocks_until_the_guest_reads() {
        let (port, _, _) = port();
        let port = Arc::new(port);
        let sent = vec![7; BACKLOG + 100];
        port.feed(&sent).unwrap();
        let feeder = std::thread::spawn({
            let port = Arc::clone(&port);
            move || port.feed(b"end")
        });
        let mut received = Vec::new();
        while !received.ends_with(b"end") {
            received.extend(drain(&port));
        }
        feeder.join().unwrap().unwrap();
        assert_eq!(received.len(), sent.len() + 3);
    }

    #[test]
    fn the_divisor_hides_behind_its_latch() {
        let (port, screen, _) = port();
        port.write(LINE_CONTROL, 0x80).unwrap();
        port.write(DATA, 1).unwrap();
        assert_eq!(port.read(DATA).unwrap(), 1);
        assert!(screen.0.lock().unwrap().is_empty());
    }

    #[test]
    fn an_output_that_fails_is_reported() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let port = Com1::new(EventFd::new(0).unwrap(), Box::new(Broken));
        assert_eq!(
            port.write(DATA, b'x').unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }
}
