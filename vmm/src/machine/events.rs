// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the main thread does while the processors run.
//!
//! In: an ending, a signal, a device's time, an edge that both kinds of interrupt controllers must
//! see. Out: why the run ends. Never: runs the guest.

use super::Machine;
use crate::devices::ged::GED_IRQ;
use crate::devices::pic;
use crate::hypervisor::Vm;
use crate::report::Ending;
use crate::signals;
use std::io;
use std::os::fd::AsRawFd;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

/// The signal that presses the power button the first time.
const TERMINATE: u8 = 15;

/// What the main thread waits for.
#[derive(Clone, Copy, Debug)]
enum Awaited {
    /// An ending or a signal.
    Wake,
    /// A time that a device waits for.
    Alarm,
    /// Another size of the terminal.
    Resized,
    /// An edge of the virtio device with this index.
    Virtio(u16),
}

impl From<Awaited> for u64 {
    fn from(event: Awaited) -> Self {
        match event {
            Awaited::Wake => 0,
            Awaited::Alarm => 1,
            Awaited::Resized => 2,
            Awaited::Virtio(index) => 3 + Self::from(index),
        }
    }
}

impl From<u64> for Awaited {
    fn from(number: u64) -> Self {
        match number {
            0 => Self::Wake,
            1 => Self::Alarm,
            2 => Self::Resized,
            _ => Self::Virtio(u16::try_from(number - 3).unwrap_or(u16::MAX)),
        }
    }
}

impl Machine {
    /// Whether the edges of interrupt `irq` are seen here, because KVM would not show them to the
    /// 8259 pair.
    pub(super) fn is_watched(&self, irq: u32) -> bool {
        let interrupts = self.shared.interrupts.as_ref();
        irq < pic::INPUTS && interrupts.is_some_and(|it| it.has_pic())
    }

    /// What [`Self::wait`] waits for.
    pub(super) fn watch(&self) -> io::Result<Epoll> {
        let watched = Epoll::new()?;
        let add = |descriptor, event: Awaited| {
            let event = EpollEvent::new(EventSet::IN, event.into());
            watched.ctl(ControlOperation::Add, descriptor, event)
        };
        add(self.shared.wake.as_raw_fd(), Awaited::Wake)?;
        if let Some(alarm) = self.shared.ports.alarm() {
            add(alarm, Awaited::Alarm)?;
        }
        if let Some(resized) = self.consoles.resized() {
            add(resized.as_raw_fd(), Awaited::Resized)?;
        }
        for (index, (slot, transport)) in (0..).zip(self.shared.mmio.virtio()) {
            if self.is_watched(slot.interrupt()) {
                add(transport.line().as_raw_fd(), Awaited::Virtio(index))?;
            }
        }
        Ok(watched)
    }

    /// Serves what is not a processor's: devices whose time has come, and edges that both kinds of
    /// interrupt controllers must see.
    fn serve(&self, event: Awaited) -> io::Result<()> {
        match event {
            Awaited::Wake => self.shared.wake.read().map(drop),
            Awaited::Alarm => self.shared.ports.ring(),
            Awaited::Resized => self.consoles.resize(),
            Awaited::Virtio(index) => {
                let virtio = self.shared.mmio.virtio().get(usize::from(index));
                let interrupts = self.shared.interrupts.as_ref();
                let (Some((slot, transport)), Some(interrupts)) = (virtio, interrupts) else {
                    return Ok(());
                };
                // None if a reset has taken it back.
                if transport.line().read().is_ok() {
                    interrupts.pulse(slot.interrupt())?;
                }
                Ok(())
            }
        }
    }

    /// Waits for an ending or a signal.
    fn wait_once(&self, watched: &Epoll) -> Result<u8, Ending> {
        let mut events = [EpollEvent::default(); 4];
        loop {
            // Interrupted by the very signal we wait for, or woken: look what it is.
            let count = watched.wait(-1, &mut events).unwrap_or(0);
            for event in events.iter().take(count) {
                if let Err(error) = self.serve(event.data().into()) {
                    return Err(Ending::Host(format!("an interrupt: {error}")));
                }
            }
            if let Some(ending) = self.shared.take_ending() {
                return Err(ending);
            }
            if let Some(number) = signals::arrived() {
                return Ok(number);
            }
        }
    }

    /// Waits for an ending, or a signal that means one, when no processor runs any more.
    pub(super) fn stay(&self, watched: &Epoll) -> Ending {
        loop {
            match self.wait_once(watched) {
                Ok(number) => return Ending::Signal(number),
                // What a processor said after the first one.
                Err(ending) if ending.is_guests() => {}
                Err(ending) => return ending,
            }
        }
    }

    /// Waits for an ending or a signal that means one.
    pub(super) fn wait(&self, vm: &Vm, watched: &Epoll, pressed: &mut bool) -> Ending {
        loop {
            let number = match self.wait_once(watched) {
                Ok(number) => number,
                Err(ending) => return ending,
            };
            if *pressed || number != TERMINATE || !self.press_power_button(vm) {
                return Ending::Signal(number);
            }
            *pressed = true;
            signals::take(number);
        }
    }

    /// Presses the power button, if there is one and the guest listens to it.
    fn press_power_button(&self, vm: &Vm) -> bool {
        let mmio = &self.shared.mmio;
        match &self.shared.interrupts {
            Some(chip) => {
                chip.is_heard(GED_IRQ) && mmio.press_power_button() && chip.pulse(GED_IRQ).is_ok()
            }
            None => vm.is_heard(GED_IRQ) && mmio.press_power_button() && vm.pulse(GED_IRQ).is_ok(),
        }
    }
}
