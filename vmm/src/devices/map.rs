// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which device answers where: ports, registers in memory space, interrupts.
//!
//! Spec: the maps of QEMU `microvm`, and the additions named in [`crate::devices`]. In: what the
//! machine consists of. Out: one table of each kind, in ascending order, which the buses
//! ([`super::bus`], [`super::mmio`]) look up at every access and which is printed when it is asked
//! for. A guest reaches what is here and nothing else.

use super::cmos::{self, RTC_IRQ};
use super::ged::{GED_IRQ, RESET_ADDR};
use super::ioapic::PINS;
use super::pic;
use super::pit::{PIT_IRQ, PIT_PORT, PIT_PORTS, SPEAKER_PORT};
use super::pvpanic::PVPANIC_PORT;
use super::reset::{KEYBOARD_STATUS_PORT, RESET_CONTROL_PORT};
use super::serial::{COM1_IRQ, COM1_PORT, COM1_PORTS};
use super::virtio::{Slot, Wiring};
use crate::config::{IrqChip, Machine};
use abi::debug::{DEBUG_CONSOLE_PORT, FAILURE_PORT, TRACE_FIRMWARE_PORT, TRACE_KERNEL_PORT};
use abi::fw_cfg::{PORT_BASE, PORT_COUNT, PORT_DATA, PORT_DMA_HIGH, PORT_SELECTOR};
use abi::layout::{
    GED_EVENTS_ADDR, GED_REGISTERS_ADDR, IO_APIC_ADDR, IO_APIC_SIZE, IO_APIC2_ADDR,
    LOCAL_APIC_ADDR, LOCAL_APIC_SIZE, VIRTIO_MMIO_SIZE,
};

/// What answers at ports.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AtPorts {
    /// The 8259 pair of interrupt controllers.
    Pic,
    /// The 8254 timer, and the gate of its third counter.
    Pit,
    /// The keyboard controller, of which there is only the reset line.
    Keyboard,
    /// The real-time clock.
    Rtc,
    /// Trace points.
    Trace,
    /// COM1.
    Com1,
    /// The debug console.
    Debugcon,
    /// Where a kernel tells that it has panicked.
    Pvpanic,
    /// Selector and data of `fw_cfg`.
    FwCfg,
    /// The DMA address of `fw_cfg`.
    FwCfgDma,
    /// The failure code of the firmware.
    Failure,
    /// The reset control register.
    ResetControl,
}

impl AtPorts {
    /// What it is called when it is printed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pic => "pic",
            Self::Pit => "pit",
            Self::Keyboard => "keyboard-reset",
            Self::Rtc => "rtc",
            Self::Trace => "trace",
            Self::Com1 => "com1",
            Self::Debugcon => "debugcon",
            Self::Pvpanic => "pvpanic",
            Self::FwCfg => "fw_cfg",
            Self::FwCfgDma => "fw_cfg-dma",
            Self::Failure => "failure",
            Self::ResetControl => "reset-control",
        }
    }
}

/// What answers in memory space where there is neither RAM nor ROM.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InMemory {
    /// The event selector of the generic event device.
    GedEvents,
    /// Its sleep and reset registers.
    GedRegisters,
    /// The virtio device with this index.
    Virtio(usize),
    /// The I/O APIC with this index.
    IoApic(usize),
    /// The local APICs.
    LocalApics,
}

/// Addresses of one space, and what answers there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Range<A, D> {
    /// First address.
    pub first: A,
    /// Last address.
    pub last: A,
    /// What answers.
    pub device: D,
    /// Whether it does so in KVM. No access then comes here.
    pub in_kvm: bool,
}

/// An interrupt that a device raises.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Interrupt {
    /// Its number: that of the 8259 pair's input, if it is one of ISA's, and but for the timer's
    /// that of the I/O APIC pin, where a second I/O APIC goes on counting.
    pub number: u32,
    /// Who raises it.
    pub device: Interrupting,
}

/// Who raises interrupts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interrupting {
    /// The 8254 timer.
    Pit,
    /// COM1.
    Com1,
    /// The real-time clock.
    Rtc,
    /// The generic event device.
    Ged,
    /// The virtio device with this index.
    Virtio(usize),
}

/// All of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Map {
    /// Ports.
    pub ports: Vec<Range<u16, AtPorts>>,
    /// Registers in memory space.
    pub regions: Vec<Range<u64, InMemory>>,
    /// Interrupts.
    pub interrupts: Vec<Interrupt>,
}

impl Map {
    /// The map of a machine with virtio devices in these slots, and everything that can be switched
    /// off by itself but a debug console.
    #[must_use]
    pub fn new(machine: &Machine, wiring: Wiring, slots: &[Slot]) -> Self {
        Self {
            ports: ports(machine),
            regions: regions(machine, wiring, slots),
            interrupts: interrupts(machine, slots),
        }
    }

    /// With a debug console, which is otherwise not there.
    #[must_use]
    pub fn with_debugcon(mut self) -> Self {
        let before = |range: &Range<u16, _>| range.first < DEBUG_CONSOLE_PORT;
        let place = self.ports.partition_point(before);
        let range = Range {
            first: DEBUG_CONSOLE_PORT,
            last: DEBUG_CONSOLE_PORT,
            device: AtPorts::Debugcon,
            in_kvm: false,
        };
        self.ports.insert(place, range);
        self
    }

    /// Without ports for trace points unless `traced`, and without DMA unless `dma`.
    #[must_use]
    pub fn with(mut self, traced: bool, dma: bool) -> Self {
        self.ports.retain(|range| match range.device {
            AtPorts::Trace => traced,
            AtPorts::FwCfgDma => dma,
            _ => true,
        });
        self
    }

    /// Number of ports at which something answers.
    #[must_use]
    pub fn port_count(&self) -> u32 {
        let size = |range: &Range<u16, _>| u32::from(range.last) - u32::from(range.first) + 1;
        self.ports.iter().map(size).sum()
    }
}

/// What answers at `address` of `table`, and the offset from its first address.
pub(super) fn find<A, D>(table: &[Range<A, D>], address: A) -> Option<(D, A)>
where
    A: Copy + Ord + std::ops::Sub<Output = A>,
    D: Copy,
{
    let next = table.partition_point(|range| range.last < address);
    let range = table.get(next)?;
    (range.first <= address).then(|| (range.device, address - range.first))
}

fn ports(machine: &Machine) -> Vec<Range<u16, AtPorts>> {
    const DMA_PORTS: u16 = PORT_BASE + PORT_COUNT - PORT_DMA_HIGH;
    const TRACE_PORTS: u16 = TRACE_FIRMWARE_PORT - TRACE_KERNEL_PORT + 1;
    let kvm = machine.irqchip == IrqChip::Kernel;
    let all = [
        (machine.pic, pic::FIRST_PORT, 2, AtPorts::Pic, kvm),
        (machine.pit, PIT_PORT, PIT_PORTS, AtPorts::Pit, kvm),
        (machine.pit, SPEAKER_PORT, 1, AtPorts::Pit, kvm),
        (true, KEYBOARD_STATUS_PORT, 1, AtPorts::Keyboard, false),
        (machine.rtc, cmos::INDEX_PORT, 2, AtPorts::Rtc, false),
        (machine.pic, pic::SECOND_PORT, 2, AtPorts::Pic, kvm),
        (true, TRACE_KERNEL_PORT, TRACE_PORTS, AtPorts::Trace, false),
        (
            machine.isa_serial,
            COM1_PORT,
            COM1_PORTS,
            AtPorts::Com1,
            false,
        ),
        (machine.pic, pic::LEVEL_PORT, 2, AtPorts::Pic, kvm),
        (machine.pvpanic, PVPANIC_PORT, 1, AtPorts::Pvpanic, false),
        (
            true,
            PORT_SELECTOR,
            PORT_DATA - PORT_SELECTOR + 1,
            AtPorts::FwCfg,
            false,
        ),
        (true, PORT_DMA_HIGH, DMA_PORTS, AtPorts::FwCfgDma, false),
        (true, FAILURE_PORT, 4, AtPorts::Failure, false),
        (true, RESET_CONTROL_PORT, 1, AtPorts::ResetControl, false),
    ];
    let present = all.into_iter().filter(|(present, ..)| *present);
    present
        .map(|(_, first, count, device, in_kvm)| Range {
            first,
            last: first + (count - 1),
            device,
            in_kvm,
        })
        .collect()
}

fn regions(machine: &Machine, wiring: Wiring, slots: &[Slot]) -> Vec<Range<u64, InMemory>> {
    let kvm = machine.irqchip == IrqChip::Kernel;
    let region = |first, size, device, in_kvm| Range {
        first,
        last: first + (size - 1),
        device,
        in_kvm,
    };
    let mut table = Vec::new();
    if machine.acpi {
        let registers = RESET_ADDR - GED_REGISTERS_ADDR + 1;
        table.push(region(GED_EVENTS_ADDR, 4, InMemory::GedEvents, false));
        table.push(region(
            GED_REGISTERS_ADDR,
            registers,
            InMemory::GedRegisters,
            false,
        ));
    }
    for (index, slot) in slots.iter().enumerate() {
        let device = InMemory::Virtio(index);
        table.push(region(slot.address(), VIRTIO_MMIO_SIZE, device, false));
    }
    let io_apics = [IO_APIC_ADDR, IO_APIC2_ADDR].into_iter().enumerate();
    for (index, first) in io_apics.take(wiring.io_apics().into()) {
        table.push(region(first, IO_APIC_SIZE, InMemory::IoApic(index), kvm));
    }
    table.push(region(
        LOCAL_APIC_ADDR,
        LOCAL_APIC_SIZE,
        InMemory::LocalApics,
        true,
    ));
    table.sort_by_key(|range| range.first);
    table
}

fn interrupts(machine: &Machine, slots: &[Slot]) -> Vec<Interrupt> {
    let isa = [
        (machine.pit, PIT_IRQ, Interrupting::Pit),
        (machine.isa_serial, COM1_IRQ, Interrupting::Com1),
        (machine.rtc, RTC_IRQ, Interrupting::Rtc),
        (machine.acpi, GED_IRQ, Interrupting::Ged),
    ];
    let isa = isa.into_iter().filter(|(present, ..)| *present);
    let virtio = slots.iter().enumerate().map(|(index, slot)| Interrupt {
        number: slot.interrupt(),
        device: Interrupting::Virtio(index),
    });
    let mut table: Vec<_> = isa
        .map(|(_, number, device)| Interrupt { number, device })
        .chain(virtio)
        .collect();
    table.sort_by_key(|interrupt| interrupt.number);
    table
}

impl Interrupt {
    /// The I/O APIC and its pin at which it arrives.
    #[must_use]
    pub const fn pin(self) -> (u32, u32) {
        match self.number {
            PIT_IRQ => (0, super::interrupts::TIMER_PIN),
            number => (number / PINS, number % PINS),
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    /// Every machine, with as many devices as there are slots.
    fn all() -> impl Iterator<Item = (Machine, Map)> {
        (0..1 << 6).flat_map(|bits: u32| {
            let on = |bit: u32| bits & 1 << bit != 0;
            [Wiring::Isa, Wiring::One, Wiring::Two].map(|wiring| {
                let machine = Machine {
                    acpi: wiring != Wiring::Isa,
                    irqchip: if on(0) {
                        IrqChip::Split
                    } else {
                        IrqChip::Kernel
                    },
                    pic: on(1),
                    pit: on(2),
                    rtc: on(3),
                    isa_serial: on(4),
                    pvpanic: on(5),
                    ..Machine::default()
                };
                let slots: Vec<_> = Slot::all(wiring).collect();
                (machine, Map::new(&machine, wiring, &slots))
            })
        })
    }

    #[test]
    fn no_two_answer_at_one_place_and_all_are_in_order() {
        for (machine, map) in all() {
            assert!(
                map.ports.is_sorted_by(|a, b| a.last < b.first),
                "{machine:?}"
            );
            assert!(
                map.regions.is_sorted_by(|a, b| a.last < b.first),
                "{machine:?}"
            );
        }
    }

    #[test]
    fn what_is_switched_off_is_nowhere() {
        let named = |map: &Map, device| map.ports.iter().any(|range| range.device == device);
        let raised = |map: &Map, device| map.interrupts.iter().any(|it| it.device == device);
        for (machine, map) in all() {
            assert_eq!(named(&map, AtPorts::Pic), machine.pic);
            assert_eq!(named(&map, AtPorts::Pit), machine.pit);
            assert_eq!(raised(&map, Interrupting::Pit), machine.pit);
            assert_eq!(named(&map, AtPorts::Rtc), machine.rtc);
            assert_eq!(raised(&map, Interrupting::Rtc), machine.rtc);
            assert_eq!(named(&map, AtPorts::Com1), machine.isa_serial);
            assert_eq!(named(&map, AtPorts::Pvpanic), machine.pvpanic);
            assert_eq!(raised(&map, Interrupting::Com1), machine.isa_serial);
            assert_eq!(raised(&map, Interrupting::Ged), machine.acpi);
            let map = map.with(false, false);
            assert!(!named(&map, AtPorts::Trace) && !named(&map, AtPorts::FwCfgDma));
        }
    }

    #[test]
    fn a_place_is_found_from_its_first_to_its_last_address() {
        let (_, map) = all().next().unwrap();
        for range in &map.ports {
            let size = range.last - range.first;
            assert_eq!(find(&map.ports, range.first), Some((range.device, 0)));
            assert_eq!(find(&map.ports, range.last), Some((range.device, size)));
        }
        for nobody in [0, 0x65, 0x512, 0x513, 0x520, 0xffff] {
            assert_eq!(find(&map.ports, nobody), None, "{nobody:#x}");
        }
    }

    #[test]
    fn the_timer_arrives_at_pin_2_and_the_second_io_apic_goes_on_counting() {
        let pin = |number| {
            let device = Interrupting::Pit;
            Interrupt { number, device }.pin()
        };
        assert_eq!(
            [pin(0), pin(4), pin(23), pin(24)],
            [(0, 2), (0, 4), (0, 23), (1, 0)]
        );
    }
}
