// SPDX-License-Identifier: MIT OR Apache-2.0
//! The threads of a machine: one a processor, one a queue of a virtio device; those of consoles are
//! in [`super::consoles`].

use super::Machine;
use crate::confine::Role;
use crate::devices::cmos::RTC_IRQ;
use crate::devices::line::Line;
use crate::devices::serial::COM1_IRQ;
use crate::devices::virtio::mmio::{QUEUE_NOTIFY, Transport};
use crate::hypervisor::{Vcpu, Vm};
use crate::measure::Watch;
use crate::processor::{self, PanicGuard};
use crate::report::{Ending, Exits};
use crate::{Error, signals};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long processors get to stop at the end of the run.
const PATIENCE: Duration = Duration::from_millis(500);

impl Machine {
    /// Makes a virtual machine and its processors.
    pub(super) fn create(&self) -> Result<(Vm, Vec<Vcpu>), Error> {
        let vm = Vm::new(&self.kvm, &self.memory, self.cpus, self.controllers)?;
        let mut counted = Vec::new();
        if let Some(line) = self.com1.as_ref().and_then(|(_, line)| line.counter()) {
            vm.connect(line, COM1_IRQ)?;
        }
        if let Some(line) = self.shared.ports.clock_line().and_then(Line::counter) {
            vm.connect(line, RTC_IRQ)?;
        }
        for (slot, transport) in self.shared.mmio.virtio() {
            let irq = slot.interrupt();
            if !self.is_watched(irq) {
                vm.connect(transport.line(), irq)?;
                counted.push(irq);
            }
            let register = slot.address() + u64::from(QUEUE_NOTIFY);
            for (queue, notified) in (0..).zip(transport.notified()) {
                vm.listen(notified, register, queue)?;
            }
        }
        let mut vcpus = (0..self.cpus)
            .map(|index| vm.vcpu(index))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(direct) = &self.direct {
            vm.set_memory_types(&vcpus)?;
            let first = vcpus.first();
            first.map_or(Ok(()), |first| first.begin(&direct.start))?;
        }
        if let (Some(measure), Some(first)) = (&self.shared.measure, vcpus.first_mut()) {
            measure.watch(|watch| {
                let set = match watch {
                    Watch::Steps(executed) => first.count(executed),
                    Watch::Entries(entries) => first.watch(&entries),
                };
                set.map_err(|it| it.to_string())
            });
        }
        if let Some(interrupts) = &self.shared.interrupts {
            let first = vcpus.first_mut().filter(|_| interrupts.has_pic());
            let kick = first.map(Vcpu::take_interrupts).transpose()?;
            interrupts.connect(Box::new(vm.messages(kick)), &counted);
        }
        Ok((vm, vcpus))
    }

    /// Sets the processors going.
    pub(super) fn start(&self, vcpus: Vec<Vcpu>) -> Result<Vec<JoinHandle<Exits>>, Error> {
        self.shared.stop.store(false, Ordering::SeqCst);
        let mut threads = Vec::with_capacity(vcpus.len());
        for (index, vcpu) in vcpus.into_iter().enumerate() {
            let (shared, confinement) = (Arc::clone(&self.shared), self.confinement.clone());
            let spawned = std::thread::Builder::new()
                .name(format!("vcpu{index}"))
                .spawn(move || {
                    if let Err(error) = confinement.enter(Role::Processor) {
                        shared.end(Ending::Host(format!("confining a processor: {error}")));
                        return Exits::default();
                    }
                    processor::run(vcpu, u32::try_from(index).unwrap_or(u32::MAX), &shared)
                });
            match spawned {
                Ok(thread) => threads.push(thread),
                Err(source) => {
                    self.stop(threads, true);
                    let what = format!("starting a thread for processor {index}");
                    return Err(Error::Host { what, source });
                }
            }
        }
        Ok(threads)
    }

    /// One thread a queue of a virtio device serves it, until the process ends.
    pub(super) fn serve_devices(&self) -> Result<(), Error> {
        for (slot, transport) in self.shared.mmio.virtio() {
            for queue in 0..transport.notified().len() {
                let (transport, shared) = (Arc::clone(transport), Arc::clone(&self.shared));
                let confinement = self.confinement.clone();
                std::thread::Builder::new()
                    .name(format!("virtio{}.{queue}", slot.number()))
                    .spawn(move || {
                        let _guard = PanicGuard(&shared);
                        let served = confinement
                            .enter(Role::Device)
                            .and_then(|()| serve(&transport, queue));
                        if let Err(error) = served {
                            shared.end(Ending::Host(format!("virtio: {error}")));
                        }
                    })
                    .map_err(Error::host("starting a thread for a device"))?;
            }
        }
        Ok(())
    }

    /// Stops the processors. When the run is over anyway, one that does not stop (its output
    /// blocks, perhaps) is left behind after a while; it ends with the process.
    pub(super) fn stop(&self, threads: Vec<JoinHandle<Exits>>, last: bool) -> Exits {
        self.shared.stop.store(true, Ordering::SeqCst);
        let begin = Instant::now();
        signals::kick_until_ended(&threads, || {
            (last || signals::arrived().is_some()) && begin.elapsed() > PATIENCE
        });
        let mut exits = Exits::default();
        for thread in threads.into_iter().filter(JoinHandle::is_finished) {
            // A thread that panicked has said so, and has ended the run.
            exits += thread.join().unwrap_or_default();
        }
        // What another processor said after the first does not count; what the user said does.
        if let Some(ending @ (Ending::Escape | Ending::Host(_))) = self.shared.take_ending() {
            self.shared.end(ending);
        }
        exits
    }
}

/// Serves a queue of a device until the host fails.
fn serve(transport: &Transport, queue: usize) -> io::Result<()> {
    loop {
        transport.serve(queue)?;
    }
}
