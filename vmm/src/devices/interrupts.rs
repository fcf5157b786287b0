// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupt controllers in user space, and the lines that lead to them.
//!
//! Spec: Intel MultiProcessor Specification 1.4, section 3.6.2 (which interrupt arrives where). In:
//! register accesses, levels of lines, ends of interrupts, acknowledge cycles. Out: messages to local
//! APICs, through an [`Output`]; the messages that edges on event counters mean, which then need
//! nobody here; and, of the 8259 pair, that the first processor is asked for an acknowledge cycle.
//!
//! ISA interrupt n arrives at input n of the 8259 pair and at pin n of the I/O APIC, except that
//! the timer's arrives at pin 2. Interrupts from 24 on are those of the second I/O APIC's pins.

use super::bus::lock;
use super::ioapic::{IoApic, Message, PINS};
use super::pic::Pic;
use std::fmt::Debug;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// The timer's interrupt.
const TIMER_IRQ: u32 = 0;
/// Where it arrives.
pub(super) const TIMER_PIN: u32 = 2;
/// The interrupt by which the second 8259 reaches the first. It arrives nowhere else.
const CASCADE: u32 = 2;

/// Where messages go.
pub trait Output: Debug + Send {
    /// Sends one now.
    fn send(&self, message: Message) -> io::Result<()>;

    /// From now on an edge on the event counter of an interrupt sends its message, and one that
    /// has none here sends nothing.
    fn route(&self, routes: &[(u32, Message)]) -> io::Result<()>;

    /// Has the first processor look whether the 8259 pair asks for an acknowledge cycle.
    fn ask(&self);
}

/// The controllers of a machine. Shared by all processors and all devices that interrupt.
#[derive(Debug)]
pub struct Interrupts {
    state: Mutex<State>,
    /// Whether the 8259 pair asks for an acknowledge cycle.
    asks: AtomicBool,
    has_pic: bool,
}

#[derive(Debug, Default)]
struct State {
    io_apics: Vec<IoApic>,
    pic: Option<Pic>,
    output: Option<Box<dyn Output>>,
    /// Interrupts whose edges come by event counter, a bit each.
    counted: u64,
    /// What the output was told last.
    routes: Vec<(u32, Message)>,
}

impl Interrupts {
    /// So many I/O APICs, and with `pic` an 8259 pair.
    #[must_use]
    pub fn new(io_apics: u32, pic: bool) -> Self {
        let state = State {
            io_apics: (0..io_apics).map(|_| IoApic::default()).collect(),
            pic: pic.then(Pic::default),
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            asks: AtomicBool::new(false),
            has_pic: pic,
        }
    }

    /// Whether there is a 8259 pair.
    #[must_use]
    pub fn has_pic(&self) -> bool {
        self.has_pic
    }

    /// What a machine reset does. The lines are as high as they were.
    pub fn reset(&self) {
        let mut state = lock(&self.state);
        state.io_apics.iter_mut().for_each(IoApic::reset);
        if let Some(pic) = &mut state.pic {
            pic.reset();
        }
        self.tell(&state);
    }

    /// A new virtual machine, whose local APICs `output` reaches and where the edges of `counted`
    /// come by event counter. It sends nothing yet.
    pub fn connect(&self, output: Box<dyn Output>, counted: &[u32]) {
        let mut state = lock(&self.state);
        state.output = Some(output);
        state.counted = counted.iter().fold(0, |all, irq| all | bit(*irq));
        state.routes.clear();
    }

    /// The virtual machine is no more.
    pub fn disconnect(&self) {
        lock(&self.state).output = None;
    }

    /// A guest read of I/O APIC `index`. One that is not there is zero.
    pub fn read(&self, index: usize, offset: u64, data: &mut [u8]) {
        match lock(&self.state).io_apics.get(index) {
            Some(io_apic) => io_apic.read(offset, data),
            None => data.fill(0),
        }
    }

    /// A guest write of I/O APIC `index`. Fails if the host refuses what follows from it.
    pub fn write(&self, index: usize, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.drive(index, |io_apic, send| io_apic.write(offset, data, send))?;
        state.settle()
    }

    /// An 8-bit read of a port, if it is one of the 8259 pair.
    pub fn read_port(&self, port: u16) -> Option<u8> {
        if !self.has_pic || !Pic::has(port) {
            return None;
        }
        let mut state = lock(&self.state);
        let value = state.pic.as_mut()?.read(port);
        // A poll is an acknowledge cycle.
        self.tell(&state);
        Some(value)
    }

    /// An 8-bit write of a port. Gives whether it is one of the 8259 pair.
    pub fn write_port(&self, port: u16, value: u8) -> bool {
        if !self.has_pic || !Pic::has(port) {
            return false;
        }
        let mut state = lock(&self.state);
        if let Some(pic) = &mut state.pic {
            pic.write(port, value);
        }
        self.tell(&state);
        true
    }

    /// A device raises or lowers its line. Fails if the host refuses the message.
    pub fn set(&self, irq: u32, high: bool) -> io::Result<()> {
        let mut state = lock(&self.state);
        if let Some(pic) = &mut state.pic {
            pic.set(irq, high);
            self.tell(&state);
        }
        let pin = match irq {
            TIMER_IRQ => TIMER_PIN,
            CASCADE => return Ok(()),
            _ => irq,
        };
        let (index, pin) = place(pin);
        state.drive(index, |io_apic, send| io_apic.set_pin(pin, high, send))
    }

    /// A device raises its line for a moment.
    pub fn pulse(&self, irq: u32) -> io::Result<()> {
        self.set(irq, true)?;
        self.set(irq, false)
    }

    /// A local APIC is done with a level-triggered interrupt.
    pub fn end_of_interrupt(&self, vector: u8) -> io::Result<()> {
        let mut state = lock(&self.state);
        for index in 0..state.io_apics.len() {
            state.drive(index, |io_apic, send| {
                io_apic.end_of_interrupt(vector, send);
            })?;
        }
        Ok(())
    }

    /// Whether the 8259 pair asks the first processor for an acknowledge cycle.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.asks.load(Ordering::SeqCst)
    }

    /// The first processor's acknowledge cycle: the vector, if the 8259 pair still asks.
    pub fn acknowledge(&self) -> Option<u8> {
        let mut state = lock(&self.state);
        let pic = state.pic.as_mut().filter(|pic| pic.asks())?;
        let vector = pic.acknowledge();
        self.tell(&state);
        Some(vector)
    }

    /// Whether the guest has opened the I/O APIC's pin for interrupt `irq`, which is neither the
    /// timer's nor the cascade's.
    #[must_use]
    pub fn is_heard(&self, irq: u32) -> bool {
        let (index, pin) = place(irq);
        let state = lock(&self.state);
        let io_apic = state.io_apics.get(index);
        io_apic.is_some_and(|io_apic| io_apic.is_open(pin))
    }

    /// Notes whether the 8259 pair asks, and asks when it begins to.
    fn tell(&self, state: &State) {
        let asks = state.pic.as_ref().is_some_and(Pic::asks);
        let began = !self.asks.swap(asks, Ordering::SeqCst) && asks;
        if let (true, Some(output)) = (began, &state.output) {
            output.ask();
        }
    }
}

impl State {
    /// Lets `action` happen to I/O APIC `index`, if it is there, and sends what it gives. The first
    /// error counts.
    fn drive(
        &mut self,
        index: usize,
        action: impl FnOnce(&mut IoApic, &mut dyn FnMut(Message)),
    ) -> io::Result<()> {
        let mut result = Ok(());
        let output = &self.output;
        let Some(io_apic) = self.io_apics.get_mut(index) else {
            return Ok(());
        };
        action(io_apic, &mut |message| {
            if let (Some(output), Ok(())) = (output, &result) {
                result = output.send(message);
            }
        });
        result
    }

    /// Tells the output what edges mean, if that has changed. It learns of pins that an event
    /// counter drives, and of level-triggered ones: KVM tells of the end of those it knows.
    fn settle(&mut self) -> io::Result<()> {
        let Some(output) = &self.output else {
            return Ok(());
        };
        let pins = self.io_apics.iter().flat_map(|io_apic| {
            let messages = (0..PINS).map(|pin| io_apic.message(pin));
            messages.collect::<Vec<_>>()
        });
        let routes: Vec<_> = (0..)
            .zip(pins)
            .filter_map(|(irq, message)| Some((irq, message?)))
            .filter(|(irq, message)| self.counted & bit(*irq) != 0 || message.is_level())
            .collect();
        if routes != self.routes {
            output.route(&routes)?;
            self.routes = routes;
        }
        Ok(())
    }
}

/// The I/O APIC at which this one of all pins is, and which of its own.
fn place(pin: u32) -> (usize, u32) {
    let index = usize::try_from(pin / PINS).unwrap_or(usize::MAX);
    (index, pin % PINS)
}

fn bit(irq: u32) -> u64 {
    1u64.checked_shl(irq).unwrap_or(0)
}

#[cfg(test)]
mod test {
    use super::*;
    use std::sync::Arc;

    /// What the local APICs and KVM are told.
    #[derive(Clone, Debug, Default)]
    struct Wire(Arc<Mutex<Told>>);

    #[derive(Debug, Default)]
    struct Told {
        sent: Vec<u32>,
        routes: Vec<Vec<(u32, u32)>>,
        broken: bool,
        asked: usize,
    }

    impl Output for Wire {
        fn send(&self, message: Message) -> io::Result<()> {
            let mut told = self.0.lock().unwrap();
            told.sent.push(message.data);
            if told.broken {
                return Err(io::ErrorKind::Other.into());
            }
            Ok(())
        }

        fn route(&self, routes: &[(u32, Message)]) -> io::Result<()> {
            let pairs = routes.iter().map(|(irq, message)| (*irq, message.data));
            self.0.lock().unwrap().routes.push(pairs.collect());
            Ok(())
        }

        fn ask(&self) {
            self.0.lock().unwrap().asked += 1;
        }
    }

    fn machine() -> (Interrupts, Wire) {
        let (interrupts, wire) = (Interrupts::new(2, true), Wire::default());
        interrupts.connect(Box::new(wire.clone()), &[4, 47]);
        (interrupts, wire)
    }

    fn set(interrupts: &Interrupts, index: u32, value: u32) {
        interrupts.write(0, 0, &index.to_le_bytes()).unwrap();
        interrupts.write(0, 0x10, &value.to_le_bytes()).unwrap();
    }

    #[test]
    fn the_timer_arrives_at_pin_2_and_the_cascade_nowhere() {
        let (interrupts, wire) = machine();
        set(&interrupts, 0x10, 0x30);
        set(&interrupts, 0x14, 0x32);
        set(&interrupts, 0x22, 0x39);
        for irq in [0, 2, 9] {
            interrupts.pulse(irq).unwrap();
        }
        assert_eq!(wire.0.lock().unwrap().sent, [0x4032, 0x4039]);
        assert!(interrupts.is_heard(9) && !interrupts.is_heard(8));
    }

    #[test]
    fn kvm_is_told_only_of_what_it_serves_and_only_of_changes() {
        let (interrupts, wire) = machine();
        // Masked, not counted, counted, the same again, a level, masked.
        set(&interrupts, 0x18, 0x1_0031);
        set(&interrupts, 0x22, 0x39);
        set(&interrupts, 0x18, 0x31);
        set(&interrupts, 0x18, 0x31);
        set(&interrupts, 0x20, 0x8038);
        set(&interrupts, 0x18, 0x1_0031);
        let level = (8, 0xc038);
        assert_eq!(
            wire.0.lock().unwrap().routes,
            [vec![(4, 0x4031)], vec![(4, 0x4031), level], vec![level]]
        );
        assert!(wire.0.lock().unwrap().sent.is_empty());
    }

    #[test]
    fn the_second_io_apic_has_the_interrupts_from_24_on() {
        let (interrupts, wire) = machine();
        let write = |offset, value: u32| {
            let word = value.to_le_bytes();
            interrupts.write(1, offset, &word).unwrap();
        };
        for (index, value) in [(0x10, 0x8041), (0x3e, 0x42)] {
            write(0, index);
            write(0x10, value);
        }
        for irq in [0, 24, 47, 48] {
            interrupts.pulse(irq).unwrap();
        }
        assert!(interrupts.is_heard(47) && !interrupts.is_heard(23) && !interrupts.is_heard(48));
        assert_eq!(wire.0.lock().unwrap().sent, [0xc041, 0x4042]);
        interrupts.set(24, true).unwrap();
        interrupts.end_of_interrupt(0x41).unwrap();
        let told = wire.0.lock().unwrap();
        assert_eq!(told.sent[2..], [0xc041]);
        let level = (24, 0xc041);
        assert_eq!(told.routes, [vec![level], vec![level, (47, 0x4042)]]);
    }

    #[test]
    fn an_io_apic_that_is_not_there_is_zero() {
        let interrupts = Interrupts::new(1, false);
        interrupts.write(1, 0, &[1, 0, 0, 0]).unwrap();
        let mut word = [0xaa; 4];
        interrupts.read(1, 0, &mut word);
        assert_eq!(word, [0; 4]);
        interrupts.pulse(24).unwrap();
    }

    #[test]
    fn a_level_that_stays_high_interrupts_again() {
        let (interrupts, wire) = machine();
        set(&interrupts, 0x20, 0x8038);
        interrupts.set(8, true).unwrap();
        interrupts.end_of_interrupt(0x38).unwrap();
        interrupts.set(8, false).unwrap();
        interrupts.end_of_interrupt(0x38).unwrap();
        assert_eq!(wire.0.lock().unwrap().sent, [0xc038, 0xc038]);
    }

    #[test]
    fn a_new_machine_knows_nothing_of_the_old_one() {
        let (interrupts, old) = machine();
        set(&interrupts, 0x18, 0x31);
        interrupts.disconnect();
        interrupts.reset();
        interrupts.pulse(4).unwrap();
        let new = Wire::default();
        interrupts.connect(Box::new(new.clone()), &[4]);
        set(&interrupts, 0x18, 0x31);
        assert_eq!(old.0.lock().unwrap().routes.len(), 1);
        assert_eq!(new.0.lock().unwrap().routes, [[(4, 0x4031)]]);
    }

    #[test]
    fn the_first_processor_is_asked_when_the_8259_pair_begins_to_ask() {
        let (interrupts, wire) = machine();
        let asked = || wire.0.lock().unwrap().asked;
        for (port, value) in [(0x20, 0x11), (0x21, 0x30), (0x21, 4), (0x21, 1)] {
            assert!(interrupts.write_port(port, value));
        }
        interrupts.pulse(0).unwrap();
        interrupts.pulse(4).unwrap();
        assert_eq!((interrupts.asks(), asked()), (true, 1));
        assert_eq!(interrupts.acknowledge(), Some(0x30));
        assert!(!interrupts.asks());
        interrupts.write_port(0x20, 0x20);
        assert_eq!((interrupts.asks(), asked()), (true, 2));
        assert_eq!(interrupts.read_port(0x21), Some(0));
        interrupts.reset();
        assert!(!interrupts.asks());
    }

    #[test]
    fn without_a_8259_pair_nobody_has_its_ports() {
        let interrupts = Interrupts::new(2, false);
        assert!(!interrupts.write_port(0x20, 0x11));
        assert_eq!(interrupts.read_port(0x21), None);
        interrupts.pulse(0).unwrap();
        assert!(!interrupts.asks());
        assert_eq!(interrupts.acknowledge(), None);
        assert_eq!(Interrupts::new(2, true).read_port(0x22), None);
    }

    #[test]
    fn what_the_host_refuses_is_told() {
        let (interrupts, wire) = machine();
        wire.0.lock().unwrap().broken = true;
        set(&interrupts, 0x22, 0x39);
        assert!(interrupts.pulse(9).is_err());
        set(&interrupts, 0x20, 0x8038);
        interrupts.set(8, true).unwrap_err();
    }
}
