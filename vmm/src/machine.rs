// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine: puts memory, devices and processors together, runs them, resets them.
//!
//! One thread per processor runs the guest and serves its exits; this thread waits for the run to
//! end; one more reads standard input. A reset stops the processors, makes a new virtual machine
//! on the same memory, and starts over; RAM that nobody loads anything into keeps its content.

use crate::boot::Boot;
use crate::config::{Config, IrqChip, SerialTarget};
use crate::devices::alarm::Alarm;
use crate::devices::bus::Ports;
use crate::devices::cmos::{Cmos, RTC_IRQ, host_clock};
use crate::devices::fw_cfg::FwCfg;
use crate::devices::ged::{GED_IRQ, Ged};
use crate::devices::interrupts::Interrupts;
use crate::devices::ioapic::PINS;
use crate::devices::line::Line;
use crate::devices::mmio::Mmio;
use crate::devices::pic;
use crate::devices::pit::{self, PIT_IRQ, Pit};
use crate::devices::serial::{COM1_IRQ, Com1};
use crate::devices::virtio::blk::{Blk, Image};
use crate::devices::virtio::mmio::{QUEUE_NOTIFY, Transport};
use crate::devices::virtio::rng::Rng;
use crate::devices::virtio::{Device, Wiring};
use crate::hypervisor::{self, Controllers, Kvm, Vcpu, Vm};
use crate::memory::Memory;
use crate::processor::{self, PanicGuard, Shared};
use crate::report::{Ending, Exits, Marks, Report};
use crate::terminal::RawTerminal;
use crate::{Error, boot, console, signals};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::EventFd;

/// The signal that presses the power button the first time.
const TERMINATE: u8 = 15;

/// Where the host's random bytes are.
const RANDOM: &str = "/dev/urandom";

/// How long processors get to stop at the end of the run.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the main thread waits for.
#[derive(Clone, Copy, Debug)]
enum Awaited {
    /// An ending or a signal.
    Wake,
    /// A time that a device waits for.
    Alarm,
    /// An edge of the virtio device with this index.
    Virtio(u16),
}

impl From<Awaited> for u64 {
    fn from(event: Awaited) -> Self {
        match event {
            Awaited::Wake => 0,
            Awaited::Alarm => 1,
            Awaited::Virtio(index) => 2 + Self::from(index),
        }
    }
}

impl From<u64> for Awaited {
    fn from(number: u64) -> Self {
        match number {
            0 => Self::Wake,
            1 => Self::Alarm,
            _ => Self::Virtio(u16::try_from(number - 2).unwrap_or(u16::MAX)),
        }
    }
}

/// A machine that can be run once, over any number of resets.
#[derive(Debug)]
pub struct Machine {
    kvm: Kvm,
    memory: Memory,
    rom: boot::Input,
    rom_start: u64,
    preload: Option<boot::Preload>,
    /// COM1 and its interrupt line.
    com1: Option<(Arc<Com1>, Line)>,
    controllers: Controllers,
    cpus: u32,
    reboot: bool,
    reads_stdin: bool,
    shared: Arc<Shared>,
    started: Instant,
}

impl Machine {
    /// Puts together what `boot` has prepared, and the disks of `config`, which are made of `images`.
    pub fn new(
        config: &Config,
        boot: Boot,
        images: Vec<Image>,
        started: Instant,
    ) -> Result<Self, Error> {
        let host = |what: &str| {
            let what = what.to_string();
            move |source| Error::Host { what, source }
        };
        let kvm = hypervisor::open()?;
        let memory = Memory::for_machine(&boot.layout)?;
        let parts = &config.machine;
        let cmos = parts.rtc.then(|| Cmos::new(&boot.layout, host_clock));
        let mut devices: Vec<Box<dyn Device>> = Vec::new();
        for (image, disk) in images.into_iter().zip(&config.disks) {
            devices.push(Box::new(Blk::new(image, disk)));
        }
        if config.rng {
            let source = File::open(RANDOM).map_err(host(RANDOM))?;
            devices.push(Box::new(Rng::new(Box::new(source))));
        }
        let mut virtio = Vec::new();
        for (slot, device) in boot.slots.iter().zip(devices) {
            let transport = Transport::new(device, memory.clone(), true);
            let transport = transport.map_err(host("creating an event counter"))?;
            virtio.push((*slot, Arc::new(transport)));
        }
        let split = parts.irqchip == IrqChip::Split;
        let io_apics = if config.wiring() == Wiring::Two { 2 } else { 1 };
        let interrupts = split.then(|| Arc::new(Interrupts::new(io_apics, parts.pic)));
        let mmio =
            Mmio::new(parts.acpi.then(Ged::default), virtio).with_interrupts(interrupts.clone());
        let dma = config.fw_cfg_dma.then(|| memory.clone());
        let fw_cfg = FwCfg::new(boot.items, dma).map_err(boot::Error::from)?;
        let wake = EventFd::new(0).map_err(host("creating an event counter"))?;
        let line = if parts.isa_serial {
            let line = match &interrupts {
                Some(interrupts) => Line::Input(Arc::clone(interrupts), COM1_IRQ),
                None => EventFd::new(libc::EFD_NONBLOCK)
                    .map_err(host("creating an event counter"))?
                    .into(),
            };
            let of_vm = line.try_clone();
            Some((line, of_vm.map_err(host("creating an event counter"))?))
        } else {
            None
        };
        // Last, because it empties a file that exists.
        let output: Box<dyn Write + Send> = match &config.serial {
            SerialTarget::Stdio => {
                Box::new(console::Output::stdout().map_err(host("standard output"))?)
            }
            SerialTarget::File(path) => {
                let what = format!("--serial file {}", path.display());
                Box::new(File::create(path).map_err(host(&what))?)
            }
            SerialTarget::None => Box::new(io::sink()),
        };
        let com1 = line.map(|(line, of_vm)| (Arc::new(Com1::new(line, output)), of_vm));
        let ports = Ports::new(
            com1.as_ref().map(|(com1, _)| Arc::clone(com1)),
            cmos,
            fw_cfg,
        )
        .with_interrupts(interrupts.clone());
        let line = |irq| -> io::Result<Line> {
            Ok(match &interrupts {
                Some(interrupts) => Line::Input(Arc::clone(interrupts), irq),
                None => EventFd::new(libc::EFD_NONBLOCK)?.into(),
            })
        };
        let ours = interrupts.is_some() && parts.pit;
        let ports = if ours {
            let line = line(PIT_IRQ).map_err(host("creating an event counter"))?;
            ports.with_pit(Pit::new(pit::host_clock), line)
        } else {
            ports
        };
        let ports = if parts.rtc {
            let line = line(RTC_IRQ).map_err(host("creating an event counter"))?;
            ports.with_clock_line(line)
        } else {
            ports
        };
        let ports = if ours || parts.rtc {
            ports.with_alarm(Alarm::new().map_err(host("creating a timer"))?)
        } else {
            ports
        };
        let marks = Arc::new(Marks::new(started));
        let shared = Arc::new(Shared::new(ports, mmio, interrupts, marks, wake));
        let machine = Self {
            kvm,
            memory,
            rom_start: boot.layout.rom_start(),
            rom: boot.rom,
            preload: boot.preload,
            com1,
            controllers: match parts.irqchip {
                IrqChip::Kernel => Controllers::Kernel { pit: parts.pit },
                IrqChip::Split => Controllers::Split {
                    pins: PINS * io_apics,
                },
            },
            cpus: config.cpus,
            reboot: config.reboot,
            reads_stdin: config.serial == SerialTarget::Stdio,
            shared,
            started,
        };
        machine.load(false)?;
        Ok(machine)
    }

    /// Runs the guest until the run ends.
    pub fn run(self) -> Result<Report, Error> {
        signals::install(&self.shared.wake)?;
        let mut exits = Exits::default();
        let mut boots = 1;
        let mut terminal = None;
        let mut pressed = false;
        let watched = self.watch().map_err(|source| Error::Host {
            what: "watching for events".into(),
            source,
        })?;
        let ending = loop {
            // The virtual machine must stay until its processors have stopped: closing it would
            // disconnect its interrupt lines.
            let (vm, threads) = match self.start() {
                Ok(started) => started,
                Err(error) => break interrupted(error, signals::arrived())?,
            };
            if boots == 1 {
                self.serve_devices()?;
                if self.reads_stdin {
                    terminal = Some(RawTerminal::enter());
                    self.read_stdin()?;
                }
            }
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
            if last {
                break ending;
            }
            self.shared.marks.boot_over();
            if let Some((_, line)) = &self.com1 {
                line.reset().map_err(|source| Error::Host {
                    what: "resetting COM1".into(),
                    source,
                })?;
            }
            // First of all, because a device that still fills memory would spoil what is loaded.
            self.shared.mmio.reset();
            self.load(true)?;
            if let Some(interrupts) = &self.shared.interrupts {
                interrupts.reset();
            }
            self.shared.ports.reset().map_err(|source| Error::Host {
                what: "resetting COM1".into(),
                source,
            })?;
            boots += 1;
        };
        drop(terminal);
        let shared = &self.shared;
        Ok(Report {
            ending,
            total: self.started.elapsed(),
            exits,
            boots,
            fw_cfg_error: shared.ports.fw_cfg_error(),
            marks: Arc::clone(&shared.marks),
        })
    }

    /// Puts the firmware image, and a PVH kernel, where they belong. RAM that was used before
    /// is not zero, and is made so where the kernel expects it.
    fn load(&self, used: bool) -> Result<(), Error> {
        self.memory
            .read_file(self.rom_start, self.rom.file(), 0, self.rom.size())?;
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

    /// Makes a virtual machine and sets its processors going.
    fn start(&self) -> Result<(Vm, Vec<JoinHandle<Exits>>), Error> {
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
        if let Some(interrupts) = &self.shared.interrupts {
            let first = vcpus.first_mut().filter(|_| interrupts.has_pic());
            let kick = first.map(Vcpu::take_interrupts).transpose()?;
            interrupts.connect(Box::new(vm.messages(kick)), &counted);
        }
        self.shared.stop.store(false, Ordering::SeqCst);
        let mut threads = Vec::with_capacity(vcpus.len());
        for (index, vcpu) in vcpus.into_iter().enumerate() {
            let shared = Arc::clone(&self.shared);
            let spawned = std::thread::Builder::new()
                .name(format!("vcpu{index}"))
                .spawn(move || processor::run(vcpu, index == 0, &shared));
            match spawned {
                Ok(thread) => threads.push(thread),
                Err(source) => {
                    self.stop(threads, true);
                    let what = format!("starting a thread for processor {index}");
                    return Err(Error::Host { what, source });
                }
            }
        }
        Ok((vm, threads))
    }

    /// One thread a queue of a virtio device serves it, until the process ends.
    fn serve_devices(&self) -> Result<(), Error> {
        for (slot, transport) in self.shared.mmio.virtio() {
            for queue in 0..transport.notified().len() {
                let (transport, shared) = (Arc::clone(transport), Arc::clone(&self.shared));
                std::thread::Builder::new()
                    .name(format!("virtio{}.{queue}", slot.number()))
                    .spawn(move || {
                        let _guard = PanicGuard(&shared);
                        loop {
                            if let Err(error) = transport.serve(queue) {
                                shared.end(Ending::Host(format!("virtio: {error}")));
                                break;
                            }
                        }
                    })
                    .map_err(|source| Error::Host {
                        what: "starting a thread for a device".into(),
                        source,
                    })?;
            }
        }
        Ok(())
    }

    fn read_stdin(&self) -> Result<(), Error> {
        let Some((com1, _)) = &self.com1 else {
            return Ok(());
        };
        let (com1, shared) = (Arc::clone(com1), Arc::clone(&self.shared));
        // It ends with the process: nothing can interrupt a read from a terminal in good order.
        std::thread::Builder::new()
            .name("stdin".into())
            .spawn(move || {
                let input = io::stdin().lock();
                let escaped = if input.is_terminal() {
                    console::pump_keys(input, &com1)
                } else {
                    console::pump(input, &com1).map(|()| false)
                };
                match escaped {
                    Ok(true) => shared.end(Ending::Escape),
                    Ok(false) => {}
                    Err(error) => shared.end(Ending::Host(format!("COM1 input: {error}"))),
                }
            })
            .map(drop)
            .map_err(|source| Error::Host {
                what: "starting a thread for input".into(),
                source,
            })
    }

    /// Whether the edges of interrupt `irq` are seen here, because KVM would not show them to the
    /// 8259 pair.
    fn is_watched(&self, irq: u32) -> bool {
        let interrupts = self.shared.interrupts.as_ref();
        irq < pic::INPUTS && interrupts.is_some_and(|it| it.has_pic())
    }

    /// What [`Self::wait`] waits for.
    fn watch(&self) -> io::Result<Epoll> {
        let watched = Epoll::new()?;
        let add = |descriptor, event: Awaited| {
            let event = EpollEvent::new(EventSet::IN, event.into());
            watched.ctl(ControlOperation::Add, descriptor, event)
        };
        add(self.shared.wake.as_raw_fd(), Awaited::Wake)?;
        if let Some(alarm) = self.shared.ports.alarm() {
            add(alarm, Awaited::Alarm)?;
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

    /// Waits for an ending or a signal that means one.
    fn wait(&self, vm: &Vm, watched: &Epoll, pressed: &mut bool) -> Ending {
        let mut events = [EpollEvent::default(); 4];
        loop {
            // Interrupted by the very signal we wait for, or woken: look what it is.
            let count = watched.wait(-1, &mut events).unwrap_or(0);
            for event in events.iter().take(count) {
                if let Err(error) = self.serve(event.data().into()) {
                    return Ending::Host(format!("an interrupt: {error}"));
                }
            }
            if let Some(ending) = self.shared.take_ending() {
                return ending;
            }
            let Some(number) = signals::arrived() else {
                continue;
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

    /// Stops the processors. When the run is over anyway, one that does not stop (its output
    /// blocks, perhaps) is left behind after a while; it ends with the process.
    fn stop(&self, threads: Vec<JoinHandle<Exits>>, last: bool) -> Exits {
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

/// What an error during the start means. KVM_CREATE_VM, for one, fails with EINTR when a signal
/// has come; then the signal is why the run ends.
fn interrupted(error: Error, signal: Option<u8>) -> Result<Ending, Error> {
    signal.map(Ending::Signal).ok_or(error)
}

#[cfg(test)]
mod test {
    use super::*;

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
