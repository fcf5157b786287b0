// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a machine is put together.
//!
//! In: what the user wants, what firmware will find, and the opened images and taps. Out: a machine that has
//! not run yet. Every resource of the host is taken here; a file for output is emptied only when
//! everything else that the user named is there.

use super::{Backends, Machine};
use crate::boot::{self, Boot};
use crate::config::{Config, IrqChip, SerialTarget, Virtio};
use crate::devices::alarm::Alarm;
use crate::devices::bus::Ports;
use crate::devices::cmos::{Cmos, RTC_IRQ, host_clock};
use crate::devices::fw_cfg::FwCfg;
use crate::devices::ged::Ged;
use crate::devices::interrupts::Interrupts;
use crate::devices::ioapic::PINS;
use crate::devices::line::Line;
use crate::devices::mmio::Mmio;
use crate::devices::pit::{self, PIT_IRQ, Pit};
use crate::devices::serial::{COM1_IRQ, Com1};
use crate::devices::virtio::blk::Blk;
use crate::devices::virtio::mmio::Transport;
use crate::devices::virtio::net::Net;
use crate::devices::virtio::rng::Rng;
use crate::devices::virtio::{Device, Slot};
use crate::hypervisor::{self, Controllers};
use crate::memory::Memory;
use crate::processor::Shared;
use crate::report::Marks;
use crate::{Error, console};
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;
use vmm_sys_util::eventfd::EventFd;

/// Where the host's random bytes are.
const RANDOM: &str = "/dev/urandom";

impl Machine {
    /// Puts together what `boot` has prepared, and the devices of `config`, which are made of
    /// `backends`.
    pub fn new(
        config: &Config,
        boot: Boot,
        backends: Backends,
        started: Instant,
    ) -> Result<Self, Error> {
        let parts = &config.machine;
        // Before KVM, because it may be refused like any other option.
        let memory = Memory::for_machine(&boot.layout, config.memory.backing)?;
        let kvm = hypervisor::open()?;
        let lines = Lines::new(config);
        let devices = virtio(config, backends)?;
        let map = boot.map;
        let mmio = Mmio::new(
            map.regions,
            parts.acpi.then(Ged::default),
            transports(&boot.slots, devices, &memory)?,
        )
        .with_interrupts(lines.interrupts());
        let dma = config.fw_cfg_dma.then(|| memory.clone());
        let fw_cfg = FwCfg::new(boot.items, dma).map_err(boot::Error::from)?;
        let cmos = parts.rtc.then(|| Cmos::new(&boot.layout, host_clock));
        let wake = counter(0)?;
        let com1 = com1(config, &lines)?;
        let port = com1.as_ref().map(|(com1, _)| Arc::clone(com1));
        let ports = clocks(config, &lines, Ports::new(map.ports, port, cmos, fw_cfg))?;
        let marks = Arc::new(Marks::new(started));
        let interrupts = lines.interrupts();
        let machine = Self {
            kvm,
            memory,
            rom_start: boot.layout.rom_start(),
            rom: boot.rom,
            preload: boot.preload,
            com1,
            controllers: lines.controllers(config),
            cpus: config.cpus,
            reboot: config.reboot,
            reads_stdin: config.serial == SerialTarget::Stdio,
            shared: Arc::new(Shared::new(ports, mmio, interrupts, marks, wake)),
            started,
        };
        machine.load(false)?;
        Ok(machine)
    }
}

/// The virtio devices, in the order of their slots; they are made of `backends`.
fn virtio(config: &Config, backends: Backends) -> Result<Vec<Box<dyn Device>>, Error> {
    let mut images = backends.disks.into_iter();
    let mut taps = backends.taps.into_iter().enumerate();
    let mut devices: Vec<Box<dyn Device>> = Vec::new();
    for device in config.virtio() {
        match device {
            Virtio::Disk(disk) => {
                let image = images.next().map(|image| Blk::new(image, disk));
                devices.extend(image.map(|blk| Box::new(blk) as Box<dyn Device>));
            }
            Virtio::Net(net) => {
                let tap = taps.next();
                let made = |(index, tap)| Net::new(Box::new(tap), net.address(index));
                devices.extend(tap.map(|tap| Box::new(made(tap)) as Box<dyn Device>));
            }
            Virtio::Rng => {
                let source = File::open(RANDOM).map_err(Error::host(RANDOM))?;
                devices.push(Box::new(Rng::new(Box::new(source))));
            }
        }
    }
    Ok(devices)
}

/// Each device in its slot.
fn transports(
    slots: &[Slot],
    devices: Vec<Box<dyn Device>>,
    memory: &Memory,
) -> Result<Vec<(Slot, Arc<Transport>)>, Error> {
    let in_slot = |(slot, device): (&Slot, _)| {
        let transport = Transport::new(device, memory.clone(), true);
        let transport = transport.map_err(Error::host("creating an event counter"))?;
        Ok((*slot, Arc::new(transport)))
    };
    slots.iter().zip(devices).map(in_slot).collect()
}

/// COM1 and its interrupt line, if the machine has it.
fn com1(config: &Config, lines: &Lines) -> Result<Option<(Arc<Com1>, Line)>, Error> {
    let line = if config.machine.isa_serial {
        let line = lines.line(COM1_IRQ)?;
        let of_vm = line.try_clone();
        Some((
            line,
            of_vm.map_err(Error::host("creating an event counter"))?,
        ))
    } else {
        None
    };
    let output: Box<dyn Write + Send> = match &config.serial {
        SerialTarget::Stdio => {
            Box::new(console::Output::stdout().map_err(Error::host("standard output"))?)
        }
        SerialTarget::File(path) => {
            let what = format!("--serial file {}", path.display());
            Box::new(File::create(path).map_err(Error::host(what))?)
        }
        SerialTarget::None => Box::new(io::sink()),
    };
    Ok(line.map(|(line, of_vm)| (Arc::new(Com1::new(line, output)), of_vm)))
}

/// The devices at ports that interrupt by themselves: a timer that is not KVM's, and the clock.
fn clocks(config: &Config, lines: &Lines, ports: Ports) -> Result<Ports, Error> {
    let parts = &config.machine;
    let mut ports = ports.with_interrupts(lines.interrupts());
    let ours = lines.0.is_some() && parts.pit;
    if ours {
        ports = ports.with_pit(Pit::new(pit::host_clock), lines.line(PIT_IRQ)?);
    }
    if parts.rtc {
        ports = ports.with_clock_line(lines.line(RTC_IRQ)?);
    }
    if ours || parts.rtc {
        ports = ports.with_alarm(Alarm::new().map_err(Error::host("creating a timer"))?);
    }
    Ok(ports)
}

/// Where interrupt lines lead: to our controllers, or to KVM's.
struct Lines(Option<Arc<Interrupts>>);

impl Lines {
    fn new(config: &Config) -> Self {
        let parts = &config.machine;
        let split = parts.irqchip == IrqChip::Split;
        Self(split.then(|| Arc::new(Interrupts::new(io_apics(config), parts.pic))))
    }

    /// Our controllers.
    fn interrupts(&self) -> Option<Arc<Interrupts>> {
        self.0.clone()
    }

    /// A new line of interrupt `irq`.
    fn line(&self, irq: u32) -> Result<Line, Error> {
        Ok(match &self.0 {
            Some(interrupts) => Line::Input(Arc::clone(interrupts), irq),
            None => counter(libc::EFD_NONBLOCK)?.into(),
        })
    }

    /// Which controllers are KVM's.
    fn controllers(&self, config: &Config) -> Controllers {
        match self.0 {
            None => Controllers::Kernel {
                pit: config.machine.pit,
            },
            Some(_) => Controllers::Split {
                pins: PINS * io_apics(config),
            },
        }
    }
}

fn io_apics(config: &Config) -> u32 {
    config.wiring().io_apics().into()
}

fn counter(flags: i32) -> Result<EventFd, Error> {
    EventFd::new(flags).map_err(Error::host("creating an event counter"))
}
