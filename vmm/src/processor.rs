// SPDX-License-Identifier: MIT OR Apache-2.0
//! The life of a processor: run the guest, serve what it asks for, stop when told.
//!
//! In: a [`Vcpu`] of its own, and what all threads of a run share. Out: how often the guest left,
//! and, through [`Shared::end`], why the run ends. Never: waits for another processor.

use crate::devices::bus::{Event, Ports};
use crate::devices::debug::Message;
use crate::devices::interrupts::Interrupts;
use crate::devices::mmio::Mmio;
use crate::hypervisor::{Access, Exit, Vcpu};
use crate::measure::{AccessKind, Measure, Processor, Seen, Stopped};
use crate::report::{Ending, Exits, Marks};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use vmm_sys_util::eventfd::EventFd;

/// What the threads of a run share.
#[derive(Debug)]
pub struct Shared {
    /// The devices at ports.
    pub ports: Ports,
    /// The devices in memory space.
    pub mmio: Mmio,
    /// The interrupt controllers that are not KVM's.
    pub interrupts: Option<Arc<Interrupts>>,
    /// When things happened.
    pub marks: Arc<Marks>,
    /// What they cost, if somebody wants to know.
    pub measure: Option<Measure>,
    /// Set when processors must stop.
    pub stop: AtomicBool,
    ending: Mutex<Option<Ending>>,
    /// Written when there is an ending, or a signal.
    pub wake: EventFd,
}

impl Shared {
    /// For processors that have not started yet. `wake` is written when there is an ending.
    pub fn new(
        ports: Ports,
        mmio: Mmio,
        interrupts: Option<Arc<Interrupts>>,
        marks: Arc<Marks>,
        wake: EventFd,
    ) -> Self {
        Self {
            ports,
            mmio,
            interrupts,
            marks,
            measure: None,
            stop: AtomicBool::new(false),
            ending: Mutex::new(None),
            wake,
        }
    }

    /// With a measurement, if there is one.
    #[must_use]
    pub fn with_measure(self, measure: Option<Measure>) -> Self {
        Self { measure, ..self }
    }

    /// Tells of an access to a port, where somebody wants to know.
    fn port(&self, kind: AccessKind, port: u16, width: usize, data: &[u8]) {
        if let Some(measure) = &self.measure {
            let seen = Seen {
                kind,
                address: port.into(),
                width,
                data,
                purpose: self.ports.fw_cfg_purpose(),
            };
            measure.access(&seen, || self.ports.fw_cfg_usage());
        }
    }

    /// Tells of an access to memory space, where somebody wants to know.
    fn memory(&self, kind: AccessKind, address: u64, data: &[u8]) {
        if let Some(measure) = &self.measure {
            let seen = Seen {
                kind,
                address,
                width: data.len(),
                data,
                purpose: None,
            };
            measure.access(&seen, Vec::new);
        }
    }

    /// Tells of another exit, where somebody wants to know.
    fn other(&self, kind: &'static str) {
        if let Some(measure) = &self.measure {
            measure.other(kind);
        }
    }

    /// The first one to say why the run ends is believed. But a reset may be the start of the next
    /// boot, and what the user or the host says is said only once, so that replaces a reset.
    pub fn end(&self, ending: Ending) {
        let mut slot = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        let replaces = match *slot {
            None => true,
            Some(Ending::Reset) => {
                matches!(ending, Ending::Escape | Ending::Host(_) | Ending::Signal(_))
            }
            Some(_) => false,
        };
        if replaces {
            *slot = Some(ending);
        }
        drop(slot);
        // The counter cannot overflow by these few writes.
        let _ = self.wake.write(1);
    }

    /// Why the run ends, if it does.
    pub fn take_ending(&self) -> Option<Ending> {
        self.ending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// Ends the run if the thread that owns it panics.
pub struct PanicGuard<'a>(pub &'a Shared);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0
                .end(Ending::Host("a thread of the machine panicked".into()));
        }
    }
}

/// The life of processor `index`.
pub fn run(mut vcpu: Vcpu, index: u32, shared: &Shared) -> Exits {
    let _guard = PanicGuard(shared);
    let first = index == 0;
    let mut exits = Exits::default();
    // The 8259 pair leads to the first processor.
    let interrupts = shared
        .interrupts
        .as_ref()
        .filter(|it| first && it.has_pic());
    vcpu.runs_here();
    if first {
        shared.marks.guest_starts();
        if let Some(measure) = &shared.measure {
            measure.guest_starts();
        }
    }
    while !shared.stop.load(Ordering::Relaxed) {
        let offered = match interrupts {
            Some(it) => vcpu.offer(|| it.asks(), || it.acknowledge()),
            None => Ok(()),
        };
        let ending = match offered {
            Ok(()) => step(&mut vcpu, shared, &mut exits),
            Err(error) => Some(Ending::Broken(error.to_string())),
        };
        if let Some(ending) = ending {
            shared.end(ending);
            break;
        }
    }
    if let Some(measure) = &shared.measure
        && let Some(state) = vcpu.state()
    {
        measure.left(Processor {
            index,
            rip: state.rip,
            linear: state.linear,
            mode: state.mode,
        });
    }
    exits
}

/// Runs the guest up to its next exit and serves that.
fn step(vcpu: &mut Vcpu, shared: &Shared, exits: &mut Exits) -> Option<Ending> {
    // A write that KVM has collected selects a register, from which nothing can follow.
    let earlier = |address, data: &[u8]| {
        let _ = shared.mmio.write(address, data);
    };
    let exit = match vcpu.run(earlier) {
        Ok(exit) => exit,
        Err(error) => {
            let place = vcpu.whereabouts();
            return Some(Ending::Broken(format!("{error} {place}")));
        }
    };
    match exit {
        Exit::Port {
            port,
            width,
            access,
        } => {
            exits.io += 1;
            let served = match access {
                Access::Read(data) => {
                    let served = shared.ports.read(port, width, data);
                    shared.port(AccessKind::PortRead, port, width, data);
                    served
                }
                Access::Write(data) => {
                    let served = shared.ports.write(port, width, data);
                    shared.port(AccessKind::PortWrite, port, width, data);
                    served
                }
            };
            match served {
                Ok(None) => None,
                Ok(Some(event)) => note(event, shared),
                Err(error) => Some(Ending::Host(format!("a port: {error}"))),
            }
        }
        Exit::Mmio { address, access } => {
            exits.mmio += 1;
            let served = match access {
                Access::Read(data) => {
                    shared.mmio.read(address, data);
                    shared.memory(AccessKind::MmioRead, address, data);
                    Ok(None)
                }
                Access::Write(data) => {
                    let served = shared.mmio.write(address, data);
                    shared.memory(AccessKind::MmioWrite, address, data);
                    served
                }
            };
            match served {
                Ok(event) => event.and_then(|event| note(event, shared)),
                Err(error) => Some(Ending::Host(format!("an interrupt: {error}"))),
            }
        }
        Exit::EndOfInterrupt(vector) => {
            exits.other += 1;
            shared.other("end_of_interrupt");
            let interrupts = shared.interrupts.as_ref();
            let ended = interrupts.map(|it| it.end_of_interrupt(vector));
            match ended {
                Some(Err(error)) => Some(Ending::Host(format!("an interrupt: {error}"))),
                _ => None,
            }
        }
        Exit::Interrupted => {
            exits.other += 1;
            shared.other("interrupted");
            None
        }
        Exit::Debug(address) => {
            let ports = &shared.ports;
            let stopped = match &shared.measure {
                Some(measure) => measure.stopped(address, || ports.fw_cfg_usage()),
                None => Stopped::Nowhere,
            };
            if stopped == Stopped::Kernel {
                shared.marks.kernel_entered();
            }
            if stopped == Stopped::Underway && vcpu.is_counted() {
                return None;
            }
            let unwatched = vcpu.unwatch();
            unwatched.err().map(|it| Ending::Broken(it.to_string()))
        }
        Exit::Shutdown => {
            exits.other += 1;
            shared.other("shutdown");
            Some(Ending::Reset)
        }
        Exit::Broken(words) => {
            exits.other += 1;
            shared.other("broken");
            let place = vcpu.whereabouts();
            Some(Ending::Broken(format!("{words} {place}")))
        }
    }
}

fn note(event: Event, shared: &Shared) -> Option<Ending> {
    match event {
        Event::FwCfg => shared.marks.fw_cfg_accessed(),
        Event::Message(Message::FirmwareStarted) => {}
        Event::Message(Message::KernelEntry) => shared.marks.kernel_entered(),
        Event::Message(Message::Failure(code)) => return Some(Ending::Firmware(code)),
        Event::Reset => return Some(Ending::Reset),
        Event::PowerOff => return Some(Ending::PowerOff),
        Event::Panicked => return Some(Ending::Panicked),
    }
    None
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::devices::cmos::{Cmos, host_clock};
    use crate::devices::fw_cfg::{FwCfg, Items};
    use crate::devices::serial::Com1;
    use crate::memory::Layout;
    use std::time::Instant;

    fn shared() -> Shared {
        let counter = || EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let com1 = Com1::new(counter(), Box::new(std::io::sink()));
        let cmos = Cmos::new(&Layout::new(64 << 20, 0x1_0000), host_clock);
        let fw_cfg = FwCfg::new(Items::new(), None).unwrap();
        let ports = Ports::new(Vec::new(), Some(Arc::new(com1)), Some(cmos), fw_cfg);
        let marks = Arc::new(Marks::new(Instant::now()));
        Shared::new(
            ports,
            Mmio::new(Vec::new(), None, Vec::new()),
            None,
            marks,
            counter(),
        )
    }

    #[test]
    fn a_pending_reset_gives_way_to_the_user_and_the_host() {
        for ending in [Ending::Escape, Ending::Host("x".into()), Ending::Signal(1)] {
            let shared = shared();
            shared.end(Ending::Reset);
            shared.end(ending.clone());
            shared.end(Ending::Reset);
            assert_eq!(shared.take_ending(), Some(ending));
        }
    }

    #[test]
    fn otherwise_the_first_ending_counts() {
        let shared = shared();
        shared.end(Ending::Escape);
        shared.end(Ending::Host("late".into()));
        assert_eq!(shared.take_ending(), Some(Ending::Escape));
        shared.end(Ending::Reset);
        shared.end(Ending::Broken("late".into()));
        assert_eq!(shared.take_ending(), Some(Ending::Reset));
    }
}
