// SPDX-License-Identifier: MIT OR Apache-2.0
//! The walk: every bus gets a number, every function is asked what it needs.
//!
//! Depth first, so that a bridge passes on what is for the buses behind it: their numbers follow
//! its own. Every bridge takes a new number and there are 256, so the walk ends whatever the
//! configuration space answers. BARs are 0 and nothing decodes them: that is so after a reset.

use super::storage::{Bus, END, IO, MEMORY, Resource, Storage, WIDE};
use super::{ConfigSpace, Inventory};
use abi::pci::{
    BAR_IO, BAR_IO_FLAGS, BAR_MEMORY_64, BAR_MEMORY_FLAGS, BAR_MEMORY_TYPE, BAR_PREFETCHABLE, BAR0,
    BRIDGE_BARS, BRIDGE_BUSES, BRIDGE_CONTROL_SERR, BRIDGE_PREFETCHABLE, BRIDGE_ROM,
    CACHE_LINE_SIZE, CAPABILITIES, CAPABILITY_EXPRESS, COMMAND, DEVICE_BARS, DEVICE_ROM,
    EXPRESS_DOWNSTREAM_PORT, EXPRESS_PORT_TYPE, EXPRESS_ROOT_PORT, FUNCTIONS_PER_DEVICE, Function,
    HEADER_BRIDGE, HEADER_DEVICE, HEADER_MULTIFUNCTION, ID, INTERRUPT_LINE, ROM_FLAGS,
    STATUS_CAPABILITIES,
};

/// Devices and functions on a bus.
const ALL_DEVICES: u16 = 256;
/// Functions of device 0: all there is behind a PCI Express link.
const ONE_DEVICE: u16 = FUNCTIONS_PER_DEVICE as u16;
/// More capabilities than fit the configuration space.
const MAX_CAPABILITIES: usize = 48;

/// What the board knows of its functions and its wires.
pub trait Rules {
    /// Whether the function with this ID is known to need nothing: it has no BARs, and its
    /// interrupt is wired.
    fn is_settled(&self, id: u32) -> bool;

    /// By how many of the board's four interrupt pins those of a device on a root bus are turned.
    fn turn(&self, device: u8) -> u8;

    /// The interrupt lines behind the board's pins.
    fn lines(&self) -> [u8; 4];
}

impl<'a> Inventory<'a> {
    /// Walks bus 0 and what is behind it, and then as many further root buses as there are said to
    /// be.
    pub fn take(
        config: &mut impl ConfigSpace,
        rules: &impl Rules,
        extra_roots: u64,
        storage: &'a mut Storage,
    ) -> Self {
        let mut inventory = Self::new(storage);
        let mut last = inventory.walk_root(config, rules, 0);
        let mut missing = extra_roots;
        while missing > 0
            && let Some(number) = last.checked_add(1)
        {
            let before = inventory.buses;
            last = inventory.walk_root(config, rules, number);
            if inventory.buses != before {
                missing = missing.saturating_sub(1);
            }
        }
        inventory
    }

    /// Walks one root bus and what is behind it; returns the last bus number that is taken. A
    /// further one without any function is forgotten.
    fn walk_root(&mut self, config: &mut impl ConfigSpace, rules: &impl Rules, number: u8) -> u8 {
        let mut last = number;
        let root = self.add_bus(Bus {
            bridge: 0,
            next: 0,
            end: ALL_DEVICES,
            number,
            parent: 0,
            root: 1,
            turn: 0,
            wide: 1,
            inhabited: 0,
        });
        let Some(mut index) = root else {
            return last;
        };
        loop {
            let bus = *self.bus(index);
            if bus.next < bus.end {
                let function = Function(u16::from(bus.number) << 8 | bus.next);
                if let Some(below) = self.visit(config, rules, index, function, last) {
                    last = last.saturating_add(1);
                    index = below;
                }
                continue;
            }
            if bus.root != 0 {
                if bus.inhabited == 0 && index != 0 {
                    self.buses = index.into();
                }
                return last;
            }
            let buses = [self.bus(bus.parent).number, bus.number, last, 0];
            let bridge = Function(bus.bridge);
            config.write_u32(bridge, BRIDGE_BUSES, u32::from_le_bytes(buses));
            index = bus.parent;
        }
    }

    /// Looks at one function of a bus and moves on; returns the bus behind it if it is a bridge.
    /// `last` is the last bus number that is taken.
    fn visit(
        &mut self,
        config: &mut impl ConfigSpace,
        rules: &impl Rules,
        index: u8,
        function: Function,
        last: u8,
    ) -> Option<u8> {
        let id = config.read_u32(function, ID);
        let bus = self.bus(index);
        let first = function.function() == 0;
        let next_device = bus.next.wrapping_add(FUNCTIONS_PER_DEVICE.into());
        let next_function = bus.next.wrapping_add(1);
        if matches!(id & 0xffff, 0 | 0xffff) {
            bus.next = if first { next_device } else { next_function };
            return None;
        }
        bus.inhabited = 1;
        bus.next = next_function;
        let settled = rules.is_settled(id);
        if settled && !first {
            return None;
        }
        let [_, _, header, _] = config.read_u32(function, CACHE_LINE_SIZE).to_le_bytes();
        if first && header & HEADER_MULTIFUNCTION == 0 {
            bus.next = next_device;
        }
        if settled {
            return None;
        }
        // Below a bridge a device's number says by how much (bridge, 9.1).
        let turn = match bus.root {
            0 => bus.turn.wrapping_add(function.device()),
            _ => rules.turn(function.device()),
        };
        match header & !HEADER_MULTIFUNCTION {
            HEADER_DEVICE => {
                route(config, rules, function, turn, 0);
                self.size_bars(config, index, function, DEVICE_BARS, DEVICE_ROM);
                None
            }
            HEADER_BRIDGE => {
                route(config, rules, function, turn, BRIDGE_CONTROL_SERR);
                self.size_bars(config, index, function, BRIDGE_BARS, BRIDGE_ROM);
                self.descend(config, index, function, turn, last.checked_add(1)?)
            }
            _ => None, // its registers are not where we know them
        }
    }

    /// Opens a bridge for the configuration space behind it, as bus `number`.
    fn descend(
        &mut self,
        config: &mut impl ConfigSpace,
        index: u8,
        bridge: Function,
        turn: u8,
        number: u8,
    ) -> Option<u8> {
        let above = *self.bus(index);
        let one_device = leads_to_one_device(config, bridge);
        let wide = config.read_u32(bridge, BRIDGE_PREFETCHABLE).to_le_bytes()[0] & 1;
        let below = self.add_bus(Bus {
            bridge: bridge.0,
            next: 0,
            end: if one_device { ONE_DEVICE } else { ALL_DEVICES },
            number,
            parent: index,
            root: 0,
            turn,
            wide: above.wide & wide,
            inhabited: 0,
        })?;
        let buses = u32::from_le_bytes([above.number, number, u8::MAX, 0]);
        config.write_u32(bridge, BRIDGE_BUSES, buses);
        Some(below)
    }

    /// Asks a function for the sizes of its BARs and its expansion ROM.
    fn size_bars(
        &mut self,
        config: &mut impl ConfigSpace,
        bus: u8,
        function: Function,
        count: u8,
        rom: u8,
    ) {
        if !self.has_room() {
            return;
        }
        let mut register = BAR0;
        let end = BAR0.wrapping_add(count.wrapping_mul(4));
        while register < end {
            let mask = probe(config, function, register, u32::MAX);
            let mut two = false;
            if mask != 0 {
                two = self.size_bar(config, bus, function, register, mask, end);
            }
            register = register.wrapping_add(if two { 8 } else { 4 });
        }
        let mask = probe(config, function, rom, !ROM_FLAGS) & !ROM_FLAGS;
        if mask != 0 {
            let size = size_of_mask(u64::from(mask) | !u64::from(u32::MAX));
            self.keep(bus, MEMORY, function, rom, Resource::ROM, size);
        }
    }

    /// Takes a BAR that answers `mask`; whether it takes two registers.
    fn size_bar(
        &mut self,
        config: &mut impl ConfigSpace,
        bus: u8,
        function: Function,
        register: u8,
        mask: u32,
        end: u8,
    ) -> bool {
        const HIGH: u64 = !(u32::MAX as u64);
        if mask & BAR_IO != 0 {
            let ports = u64::from(mask & !BAR_IO_FLAGS) | HIGH | 0xffff_0000;
            let sound = mask & BAR_IO_FLAGS == BAR_IO;
            let size = if sound { size_of_mask(ports) } else { 0 };
            self.keep(bus, IO, function, register, Resource::IO_PORTS, size);
            return false;
        }
        let low = u64::from(mask & !BAR_MEMORY_FLAGS);
        let next = register.wrapping_add(4);
        match mask & BAR_MEMORY_TYPE {
            BAR_MEMORY_64 if next < end => {
                // The upper half tells something only where the lower one has no bit of the mask.
                let high = match low {
                    0 => u64::from(probe(config, function, next, u32::MAX)) << 32,
                    _ => HIGH,
                };
                let at = *self.bus(bus);
                let prefetchable = mask & BAR_PREFETCHABLE != 0;
                let wide = at.root != 0 || at.wide != 0 && prefetchable;
                let kind = if wide { WIDE } else { MEMORY };
                let size = size_of_mask(high | low);
                self.keep(bus, kind, function, register, Resource::TWO_REGISTERS, size);
                true
            }
            0 => {
                self.keep(bus, MEMORY, function, register, 0, size_of_mask(low | HIGH));
                false
            }
            _ => {
                self.keep(bus, MEMORY, function, register, 0, 0);
                false
            }
        }
    }

    /// Keeps a BAR; one without a size belongs to no list and gets no address.
    fn keep(&mut self, bus: u8, kind: u16, function: Function, register: u8, flags: u8, size: u64) {
        let window = self.window_on(bus, kind);
        self.add(
            window,
            Resource {
                size,
                align: size,
                address: 0,
                next: END,
                first: END,
                function: function.0,
                register,
                flags,
            },
        );
    }
}

/// Writes ones to a BAR and returns what it holds of them.
fn probe(config: &mut impl ConfigSpace, function: Function, register: u8, ones: u32) -> u32 {
    config.write_u32(function, register, ones);
    config.read_u32(function, register)
}

/// The size that a mask of address bits stands for; 0 when it is none: a mask is all ones from the
/// size's bit upwards.
fn size_of_mask(mask: u64) -> u64 {
    let size = mask.wrapping_neg();
    if size.is_power_of_two() { size } else { 0 }
}

/// Tells a function its interrupt line; `control` is for the upper half of the same register.
fn route(
    config: &mut impl ConfigSpace,
    rules: &impl Rules,
    function: Function,
    turn: u8,
    control: u16,
) {
    let [_, pin, ..] = config.read_u32(function, INTERRUPT_LINE).to_le_bytes();
    let line = match pin {
        1..=4 => {
            let [a, b, c, d] = rules.lines();
            match pin.wrapping_sub(1).wrapping_add(turn) & 3 {
                0 => a,
                1 => b,
                2 => c,
                _ => d,
            }
        }
        _ => 0,
    };
    if line != 0 || control != 0 {
        let value = u32::from(control) << 16 | u32::from(line);
        config.write_u32(function, INTERRUPT_LINE, value);
    }
}

/// Whether a bridge is a PCI Express port whose link leads to one device.
fn leads_to_one_device(config: &mut impl ConfigSpace, bridge: Function) -> bool {
    if config.read_u32(bridge, COMMAND) & STATUS_CAPABILITIES == 0 {
        return false;
    }
    let [mut at, ..] = config.read_u32(bridge, CAPABILITIES).to_le_bytes();
    for _ in 0..MAX_CAPABILITIES {
        at &= !3;
        if at < 0x40 {
            return false;
        }
        let capability = config.read_u32(bridge, at);
        let [id, next, ..] = capability.to_le_bytes();
        if id == CAPABILITY_EXPRESS {
            let kind = capability & EXPRESS_PORT_TYPE;
            return kind == EXPRESS_ROOT_PORT || kind == EXPRESS_DOWNSTREAM_PORT;
        }
        at = next;
    }
    false
}
