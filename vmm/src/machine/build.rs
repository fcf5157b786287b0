// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a machine is put together.
//!
//! In: what the user wants, what firmware will find, and what devices are made of, opened. Out: a
//! machine that has not run yet. Every other resource of the host is taken here; a file for output
//! is emptied only when everything else that the user named is there.

use super::consoles::Consoles;
use super::{Backends, Machine};
use crate::Error;
use crate::boot::{self, Boot};
use crate::config::{self, Config, IrqChip};
use crate::confine::{Confinement, Needs};
use crate::console::End;
use crate::devices::alarm::Alarm;
use crate::devices::bus::Ports;
use crate::devices::cmos::{Cmos, RTC_IRQ, host_clock};
use crate::devices::debugcon::Debugcon;
use crate::devices::fw_cfg::FwCfg;
use crate::devices::ged::Ged;
use crate::devices::interrupts::Interrupts;
use crate::devices::ioapic::PINS;
use crate::devices::line::Line;
use crate::devices::mmio::Mmio;
use crate::devices::pit::{self, PIT_IRQ, Pit};
use crate::devices::serial::{COM1_IRQ, Com1};
use crate::devices::virtio::blk::Blk;
use crate::devices::virtio::console::{Console, Wire};
use crate::devices::virtio::mmio::Transport;
use crate::devices::virtio::net::{Net, Tap};
use crate::devices::virtio::rng::Rng;
use crate::devices::virtio::{Device, Slot};
use crate::hypervisor::{self, Controllers};
use crate::measure::Measure;
use crate::memory::Memory;
use crate::processor::Shared;
use crate::report::Marks;
use std::fs::File;
use std::sync::{Arc, OnceLock};
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
        let Backends {
            disks,
            taps,
            far_ends,
            measure,
        } = backends;
        let measure =
            measure.map(|output| Measure::new(output, config, &boot, memory.clone(), started));
        let first = measure.as_ref().map(Measure::printed);
        let virtio = virtio(config, disks, taps, &far_ends.consoles, first.as_ref())?;
        let transports = transports(config, &boot.slots, virtio.devices, &memory)?;
        let wires = wires(virtio.consoles, &transports);
        let map = boot.map;
        let mmio = Mmio::new(map.regions, parts.acpi.then(Ged::default), transports)
            .with_interrupts(lines.interrupts());
        let dma = config.fw_cfg_dma.then(|| memory.clone());
        let mut fw_cfg = FwCfg::new(boot.items, dma).map_err(boot::Error::from)?;
        if measure.is_some() {
            fw_cfg = fw_cfg.counted();
        }
        let cmos = parts.rtc.then(|| Cmos::new(&boot.layout, host_clock));
        let wake = counter(0)?;
        let com1 = com1(config, &lines, &far_ends.serial)?;
        let port = com1.as_ref().map(|(com1, _)| Arc::clone(com1));
        let debugcon = far_ends.debugcon.as_ref().map(debugcon).transpose()?;
        let near_ends = [
            port.clone().map(|port| (port as _, far_ends.serial)),
            debugcon.clone().map(|it| it as _).zip(far_ends.debugcon),
        ];
        let wires = wires.into_iter().zip(far_ends.consoles);
        let consoles = Consoles::new(near_ends.into_iter().flatten(), wires)?;
        let ports = Ports::new(map.ports, port, cmos, fw_cfg).with_debugcon(debugcon);
        let ports = clocks(config, &lines, ports)?;
        let marks = Arc::new(Marks::new(started));
        let interrupts = lines.interrupts();
        let machine = Self {
            kvm,
            memory,
            rom_start: boot.layout.rom_start(),
            rom: boot.rom,
            direct: boot.direct,
            preload: boot.preload,
            com1,
            controllers: lines.controllers(config),
            cpus: config.cpus,
            reboot: config.reboot,
            no_shutdown: config.no_shutdown,
            confinement: confinement(config)?,
            consoles,
            shared: Arc::new(
                Shared::new(ports, mmio, interrupts, marks, wake).with_measure(measure),
            ),
            started,
        };
        machine.load(false)?;
        machine.consoles.begin()?;
        if let Some(measure) = &machine.shared.measure {
            measure.begin().map_err(Error::host(measure.name()))?;
        }
        Ok(machine)
    }
}

/// The virtio devices, in the order of their slots.
#[derive(Default)]
struct Virtio {
    devices: Vec<Box<dyn Device>>,
    /// Those of them that are consoles: the last ones.
    consoles: Vec<Arc<Console>>,
}

/// The virtio devices; they are made of these, and consoles lead to `far_ends` and note their first
/// output.
fn virtio(
    config: &Config,
    disks: Vec<Blk>,
    taps: Vec<Tap>,
    far_ends: &[End],
    first_output: Option<&Arc<OnceLock<Instant>>>,
) -> Result<Virtio, Error> {
    let mut disks = disks.into_iter();
    let mut taps = taps.into_iter().enumerate();
    let mut far_ends = far_ends.iter();
    let mut virtio = Virtio::default();
    let devices = &mut virtio.devices;
    for device in config.virtio() {
        match device {
            config::Virtio::Disk(_) => {
                devices.extend(disks.next().map(|blk| Box::new(blk) as Box<dyn Device>));
            }
            config::Virtio::Net(net) => {
                let tap = taps.next();
                let made = |(index, tap)| Net::new(Box::new(tap), net.address(index));
                devices.extend(tap.map(|tap| Box::new(made(tap)) as Box<dyn Device>));
            }
            config::Virtio::Rng => {
                let source = File::open(RANDOM).map_err(Error::host(RANDOM))?;
                devices.push(Box::new(Rng::new(Box::new(source))));
            }
            config::Virtio::Console(_) => {
                let size = far_ends.next().and_then(End::size);
                let console = Console::new(size).with_first(first_output.cloned());
                let console = Arc::new(console);
                devices.push(Box::new(Arc::clone(&console)));
                virtio.consoles.push(console);
            }
        }
    }
    Ok(virtio)
}

/// Each device in its slot.
fn transports(
    config: &Config,
    slots: &[Slot],
    devices: Vec<Box<dyn Device>>,
    memory: &Memory,
) -> Result<Vec<(Slot, Arc<Transport>)>, Error> {
    let in_slot = |(slot, device): (&Slot, _)| {
        let transport = Transport::new(config.machine.interface(), device, memory.clone(), true);
        let transport = transport.map_err(Error::host("creating an event counter"))?;
        Ok((*slot, Arc::new(transport)))
    };
    slots.iter().zip(devices).map(in_slot).collect()
}

/// The wires to the consoles, whose transports are the last ones.
fn wires(consoles: Vec<Arc<Console>>, transports: &[(Slot, Arc<Transport>)]) -> Vec<Wire> {
    let others = transports.len().saturating_sub(consoles.len());
    let theirs = transports.iter().skip(others).map(|(_, it)| Arc::clone(it));
    let wire = |(console, transport)| Wire::new(console, transport);
    consoles.into_iter().zip(theirs).map(wire).collect()
}

/// COM1, which prints to `end`, and its interrupt line, if the machine has it.
fn com1(config: &Config, lines: &Lines, end: &End) -> Result<Option<(Arc<Com1>, Line)>, Error> {
    if !config.machine.isa_serial {
        return Ok(None);
    }
    let line = lines.line(COM1_IRQ)?;
    let of_vm = line.try_clone();
    let of_vm = of_vm.map_err(Error::host("creating an event counter"))?;
    Ok(Some((Arc::new(Com1::new(line, end.output()?)), of_vm)))
}

/// The debug console, which prints to `end`.
fn debugcon(end: &End) -> Result<Arc<Debugcon>, Error> {
    Ok(Arc::new(Debugcon::new(end.output()?)))
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

fn confinement(config: &Config) -> Result<Confinement, Error> {
    if config.seccomp {
        Confinement::new(Needs {
            measured: config.measure.is_some(),
            direct: config.bios.is_none(),
        })
    } else {
        Ok(Confinement::default())
    }
}

fn io_apics(config: &Config) -> u32 {
    config.wiring().io_apics().into()
}

fn counter(flags: i32) -> Result<EventFd, Error> {
    EventFd::new(flags).map_err(Error::host("creating an event counter"))
}
