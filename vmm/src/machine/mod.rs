// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine: puts memory, devices and processors together, runs them, resets them.
//!
//! One thread per processor runs the guest and serves its exits; this thread waits for the run to
//! end; more of them serve devices and consoles. A reset stops the processors, makes a new virtual
//! machine on the same memory, and starts over; RAM that nobody loads anything into keeps its
//! content.

mod build;
mod consoles;
mod events;
mod threads;

use crate::confine::{Confinement, Role};
use crate::console::FarEnds;
use crate::devices::line::Line;
use crate::devices::serial::Com1;
use crate::devices::virtio::blk::Blk;
use crate::devices::virtio::net::Tap;
use crate::hypervisor::{Controllers, Kvm};
use crate::memory::Memory;
use crate::processor::Shared;
use crate::report::{Ending, Exits, Report};
use crate::terminal::RawTerminal;
use crate::{Error, boot, measure, signals};
use consoles::Consoles;
use std::sync::Arc;
use std::time::Instant;

/// What devices are made of, opened, in the order in which the user named it.
#[derive(Debug)]
pub struct Backends {
    /// The disks.
    pub disks: Vec<Blk>,
    /// The network devices' taps.
    pub taps: Vec<Tap>,
    /// The far ends of COM1 and of the consoles.
    pub far_ends: FarEnds,
    /// Where a measurement goes.
    pub measure: Option<measure::Output>,
}

/// A machine that can be run once, over any number of resets.
#[derive(Debug)]
pub struct Machine {
    kvm: Kvm,
    memory: Memory,
    rom: Option<boot::Input>,
    rom_start: u64,
    direct: Option<boot::Direct>,
    preload: Option<boot::Preload>,
    /// COM1 and its interrupt line.
    com1: Option<(Arc<Com1>, Line)>,
    controllers: Controllers,
    cpus: u32,
    reboot: bool,
    no_shutdown: bool,
    confinement: Confinement,
    consoles: Consoles,
    shared: Arc<Shared>,
    started: Instant,
}

impl Machine {
    /// Runs the guest until the run ends.
    pub fn run(self) -> Result<Report, Error> {
        signals::install(&self.shared.wake)?;
        let mut exits = Exits::default();
        let mut boots = 1;
        let mut terminal = None;
        let mut pressed = false;
        let mut stopped = None;
        let watched = self.watch().map_err(Error::host("watching for events"))?;
        let ending = loop {
            // The virtual machine must stay until its processors have stopped: closing it would
            // disconnect its interrupt lines.
            let (vm, processors) = match self.create() {
                Ok(created) => created,
                Err(error) => break interrupted(error, signals::arrived())?,
            };
            if boots == 1 {
                if self.consoles.use_stdio() {
                    terminal = Some(RawTerminal::enter());
                }
                // Everything is open, and there is no other thread yet.
                let confined = self.confinement.enter(Role::Main);
                confined.map_err(Error::host("confining the main thread"))?;
                self.serve_devices()?;
                self.consoles.start(&self.shared, &self.confinement)?;
            }
            let threads = self.start(processors)?;
            let ending = self.wait(&vm, &watched, &mut pressed);
            let last = ending != Ending::Reset || !self.reboot;
            exits += self.stop(threads, last);
            if let Some(interrupts) = &self.shared.interrupts {
                interrupts.disconnect();
            }
            drop(vm);
            if let Some(number) = signals::arrived() {
                break Ending::Signal(number);
            }
            if last && self.no_shutdown && ending.is_guests() {
                stopped = Some(ending);
                break self.stay(&watched);
            }
            if last {
                break ending;
            }
            self.shared.marks.boot_over();
            if let Some(measure) = &self.shared.measure {
                measure.boot_over();
            }
            if let Some((_, line)) = &self.com1 {
                line.reset().map_err(Error::host("resetting COM1"))?;
            }
            // First of all, because a device that still fills memory would spoil what is loaded.
            self.shared.mmio.reset();
            self.load(true)?;
            if let Some(interrupts) = &self.shared.interrupts {
                interrupts.reset();
            }
            let reset = self.shared.ports.reset();
            reset.map_err(Error::host("resetting the devices at ports"))?;
            boots += 1;
        };
        self.consoles.drain();
        drop(terminal);
        let shared = &self.shared;
        let report = Report {
            stopped,
            ending,
            total: self.started.elapsed(),
            exits,
            boots,
            fw_cfg_error: shared.ports.fw_cfg_error(),
            marks: Arc::clone(&shared.marks),
        };
        if let Some(measure) = &shared.measure {
            let written = measure.finish(&report, shared.ports.fw_cfg_usage());
            written.map_err(Error::host(measure.name()))?;
        }
        Ok(report)
    }

    /// Puts the firmware image, or what takes its place, and a PVH kernel where they belong. RAM that was used before
    /// is not zero, and is made so where the kernel expects it.
    fn load(&self, used: bool) -> Result<(), Error> {
        if let Some(rom) = &self.rom {
            self.memory
                .read_file(self.rom_start, rom.file(), 0, rom.size())?;
        }
        let pieces = self.direct.iter().flat_map(|direct| &direct.pieces);
        for (address, content) in pieces {
            content.put(&self.memory, *address, 0, content.size())?;
        }
        let Some(preload) = &self.preload else {
            return Ok(());
        };
        for part in &preload.segments {
            let file = preload.file.file();
            self.memory
                .read_file(part.address, file, part.file_offset, part.file_size)?;
            if used {
                let rest = part.memory_size - part.file_size;
                self.memory.zero(part.address + part.file_size, rest)?;
            }
        }
        Ok(())
    }
}

/// What an error during the start means. KVM_CREATE_VM, for one, fails with EINTR when a signal
/// has come; then the signal is why the run ends.
fn interrupted(error: Error, signal: Option<u8>) -> Result<Ending, Error> {
    signal.map(Ending::Signal).ok_or(error)
}

#[cfg(test)]
mod test {
    use super::*;
    use std::io;

    #[test]
    fn a_start_that_fails_after_a_signal_has_ended_by_the_signal() {
        let failure = || Error::Host {
            what: "KVM_CREATE_VM".into(),
            source: io::ErrorKind::Interrupted.into(),
        };
        assert_eq!(
            interrupted(failure(), Some(15)).unwrap(),
            Ending::Signal(15)
        );
        assert!(interrupted(failure(), None).is_err());
    }
}
