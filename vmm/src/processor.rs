// SPDX-License-Identifier: MIT OR Apache-2.0
//! The life of a processor: run the guest, serve what it asks for, stop when told.
//!
//! In: a [`Vcpu`] of its own, and what all threads of a run share. Out: how often the guest left,
//! and, through [`Shared::end`], why the run ends. Never: waits for another processor.

use crate::devices::bus::{Event, Ports};
use crate::devices::debug::Message;
use crate::hypervisor::{Access, Exit, Vcpu};
use crate::report::{Ending, Exits, Marks};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use vmm_sys_util::eventfd::EventFd;

/// What the threads of a run share.
#[derive(Debug)]
pub struct Shared {
    /// The devices.
    pub ports: Ports,
    /// When things happened.
    pub marks: Arc<Marks>,
    /// Set when processors must stop.
    pub stop: AtomicBool,
    ending: Mutex<Option<Ending>>,
    /// Written when there is an ending, or a signal.
    pub wake: EventFd,
}

impl Shared {
    /// For processors that have not started yet. `wake` is written when there is an ending.
    pub fn new(ports: Ports, marks: Arc<Marks>, wake: EventFd) -> Self {
        Self {
            ports,
            marks,
            stop: AtomicBool::new(false),
            ending: Mutex::new(None),
            wake,
        }
    }

    /// The first one to say why the run ends is believed.
    pub fn end(&self, ending: Ending) {
        self.ending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(ending);
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
struct PanicGuard<'a>(&'a Shared);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0
                .end(Ending::Host("a processor thread panicked".into()));
        }
    }
}

/// The life of a processor.
pub fn run(mut vcpu: Vcpu, first: bool, shared: &Shared) -> Exits {
    let _guard = PanicGuard(shared);
    let mut exits = Exits::default();
    if first {
        shared.marks.guest_starts();
    }
    while !shared.stop.load(Ordering::Relaxed) {
        if let Some(ending) = step(&mut vcpu, shared, &mut exits) {
            shared.end(ending);
            break;
        }
    }
    exits
}

/// Runs the guest up to its next exit and serves that.
fn step(vcpu: &mut Vcpu, shared: &Shared, exits: &mut Exits) -> Option<Ending> {
    let exit = match vcpu.run() {
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
                Access::Read(data) => shared.ports.read(port, width, data),
                Access::Write(data) => shared.ports.write(port, width, data),
            };
            match served {
                Ok(None) => None,
                Ok(Some(event)) => note(event, shared),
                Err(error) => Some(Ending::Host(format!("COM1 output: {error}"))),
            }
        }
        Exit::Mmio(access) => {
            exits.mmio += 1;
            if let Access::Read(data) = access {
                data.fill(0);
            }
            None
        }
        Exit::Interrupted => {
            exits.other += 1;
            None
        }
        Exit::Shutdown => {
            exits.other += 1;
            Some(Ending::Reset)
        }
        Exit::Broken(words) => {
            exits.other += 1;
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
    }
    None
}
