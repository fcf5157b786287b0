// SPDX-License-Identifier: MIT OR Apache-2.0
//! PCI: whatever the configuration space answers, the walk ends and writes only registers that are
//! its own; functions that behave get addresses that collide with nothing.

use std::collections::BTreeMap;

use abi::pci::Function;
use firmware_core::memory::Range;
use firmware_core::pci::{ConfigSpace, Inventory, Rules, Storage, Windows};
use zerocopy::{FromBytes, IntoBytes};

use super::input::Input;

const PORTS: [Range; 2] = [
    Range::between(0xc000, 0x1_0000),
    Range::between(0x1000, 0x5000),
];
const MEMORY: Range = Range::between(0xe000_0000, 0xfec0_0000);
const ABOVE: Range = Range::between(0x80_0000_0000, 0x100_0000_0000);
const LINES: [u8; 4] = [10, 10, 11, 11];

/// More accesses than 256 buses full of functions with BARs and capabilities take.
const MOST_ACCESSES: usize = 8_000_000;

/// Functions in their places; or answers to reads, one after the other and over again.
pub fn pci(data: &[u8]) {
    let mut input = Input(data);
    if input.u8().is_multiple_of(4) {
        let roots = u64::from(input.u8());
        let mut hostile = Hostile {
            answers: input.0.to_vec(),
            accesses: 0,
        };
        assign(&mut hostile, roots);
        assert!(
            hostile.accesses < MOST_ACCESSES,
            "{} accesses",
            hostile.accesses
        );
        return;
    }
    let mut nodes = 0;
    let mut machine = Machine {
        root: bus(&mut input, 0, &mut nodes),
    };
    assign(&mut machine, 0);
    let mut found = Found::default();
    let all = [PORTS.to_vec(), vec![MEMORY, ABOVE]];
    found.visit(&machine.root, 0, &all);
    found.assert_apart();
}

fn assign(config: &mut impl ConfigSpace, roots: u64) {
    // Nothing may depend on what the storage holds.
    let mut words = vec![0xa5a5_a5a5_a5a5_a5a5u64; size_of::<Storage>() / 8 + 1];
    let (storage, _) = Storage::mut_from_prefix(words.as_mut_slice().as_mut_bytes()).expect("room");
    let mut inventory = Inventory::take(config, &Wires, roots, storage);
    let windows = Windows {
        io: &PORTS,
        memory: MEMORY,
    };
    inventory.place(&windows, || ABOVE);
    inventory.write(config);
}

/// A board that turns the interrupts of its devices by their number.
struct Wires;

impl Rules for Wires {
    fn is_settled(&self, id: u32) -> bool {
        id == 0x1237_8086
    }

    fn turn(&self, device: u8) -> u8 {
        device
    }

    fn lines(&self) -> [u8; 4] {
        LINES
    }
}

/// A configuration space that answers anything.
struct Hostile {
    answers: Vec<u8>,
    accesses: usize,
}

impl ConfigSpace for Hostile {
    fn read_u32(&mut self, _: Function, _: u8) -> u32 {
        let length = self.answers.len().max(1);
        let mut bytes = [0xff; 4];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let at = (self.accesses * 4 + index) % length;
            *byte = self.answers.get(at).copied().unwrap_or(0xff);
        }
        self.accesses += 1;
        u32::from_le_bytes(bytes)
    }

    fn write_u8(&mut self, _: Function, _: u8, _: u8) {
        self.accesses += 1;
    }

    fn write_u16(&mut self, _: Function, _: u8, _: u16) {
        self.accesses += 1;
    }

    fn write_u32(&mut self, _: Function, _: u8, _: u32) {
        self.accesses += 1;
    }
}

/// The functions of a bus by device and function.
type Bus = BTreeMap<u8, Node>;

/// A function whose registers hold what is written, as far as their bits can be written.
#[derive(Debug)]
struct Node {
    registers: [u32; 64],
    writable: [u32; 64],
    behind: Option<Bus>,
    /// It has a BAR with bits that no BAR has: what it decodes is anybody's guess.
    odd: bool,
}

/// Registers by their index, four bytes each (PCI 3.0, section 6.1; bridge 1.2, section 3.2).
const COMMAND: usize = 1;
const HEADER: usize = 3;
const BARS: usize = 4;
const BUSES: usize = 6;
const BRIDGE_IO: usize = 7;
const BRIDGE_MEMORY: usize = 8;
const BRIDGE_PREFETCHABLE: usize = 9;
const CAPABILITIES: usize = 13;
const INTERRUPT: usize = 15;

/// A bus, and at most 40 functions in all.
fn bus(input: &mut Input<'_>, depth: usize, nodes: &mut usize) -> Bus {
    let mut bus = Bus::new();
    let count = input.u8() % 6;
    for _ in 0..count {
        if *nodes >= 40 || input.is_empty() {
            break;
        }
        *nodes += 1;
        let at = input.u8();
        let mut node = Node {
            registers: [0; 64],
            writable: [0; 64],
            behind: None,
            odd: false,
        };
        let bridge = depth < 5 && input.u8().is_multiple_of(3);
        node.registers[0] = input.pick(&[0x1000_1af4, 0x0001_1b36, 0x1237_8086]);
        node.registers[INTERRUPT] = u32::from(input.u8() % 6) << 8;
        node.writable[COMMAND] = 0xffff;
        node.writable[INTERRUPT] = 0x00ff;
        if at.is_multiple_of(8) && input.u8().is_multiple_of(2) {
            node.registers[HEADER] |= 0x80 << 16;
        }
        let bars = if bridge { 2 } else { 6 };
        let mut index = 0;
        while index < bars {
            let two = node.set_bar(input, index, index + 1 < bars);
            index += if two { 2 } else { 1 };
        }
        if bridge {
            node.set_bridge(input);
            node.behind = Some(self::bus(input, depth + 1, nodes));
        } else if input.u8().is_multiple_of(4) {
            node.writable[12] = 0xffff_0001; // a ROM of 64 KiB
        }
        bus.insert(at, node);
    }
    bus
}

impl Node {
    /// Makes a BAR of some kind; whether it takes two registers.
    fn set_bar(&mut self, input: &mut Input<'_>, index: usize, room: bool) -> bool {
        let at = BARS + index;
        let kind = input.u8();
        let size = 1u64 << (input.u8() % 40);
        let mask =
            |least: u64| u32::try_from(!(size.max(least) - 1) & 0xffff_ffff).expect("32 bits");
        match kind % 8 {
            1 | 2 => {
                self.registers[at] = 1;
                self.writable[at] = mask(4);
            }
            3 => self.writable[at] = mask(16),
            4 | 5 if room => {
                self.registers[at] = if kind % 8 == 5 { 0xc } else { 4 };
                self.writable[at] = mask(16);
                let high = !(size - 1) >> 32;
                self.writable[at + 1] = u32::try_from(high).expect("32 bits");
                return true;
            }
            6 => {
                // Bits that no BAR has: a mask with holes, or stuck.
                self.odd = true;
                self.registers[at] = input.u32();
                self.writable[at] = input.u32();
            }
            _ => {}
        }
        false
    }

    fn set_bridge(&mut self, input: &mut Input<'_>) {
        self.registers[HEADER] |= 1 << 16;
        self.writable[BUSES] = 0x00ff_ffff;
        self.writable[BRIDGE_IO] = 0xf0f0;
        self.writable[BRIDGE_MEMORY] = 0xfff0_fff0;
        self.writable[BRIDGE_PREFETCHABLE] = 0xfff0_fff0;
        self.writable[INTERRUPT] = 0xffff_00ff;
        if input.u8().is_multiple_of(2) {
            self.registers[BRIDGE_PREFETCHABLE] = 0x0001_0001;
            self.writable[10..12].fill(u32::MAX);
        }
        if input.u8().is_multiple_of(2) {
            // A list of capabilities, perhaps one without an end.
            self.registers[COMMAND] |= 1 << 20;
            self.registers[CAPABILITIES] = 0x40;
            self.registers[16] = input.pick(&[0x0042_0010, 0x0000_4005, 0x0000_0009]);
        }
    }

    /// The bus behind it, if its number was given out.
    fn secondary(&self) -> Option<(u8, u8, u8)> {
        let [primary, secondary, subordinate, _] = self.registers[BUSES].to_le_bytes();
        (self.behind.is_some() && secondary != 0).then_some((primary, secondary, subordinate))
    }
}

#[derive(Debug)]
struct Machine {
    root: Bus,
}

impl Machine {
    fn find(&mut self, function: Function) -> Option<&mut Node> {
        let [at, number] = function.0.to_le_bytes();
        let mut bus = &mut self.root;
        let mut here = 0;
        while here != number {
            let bridge = bus.values_mut().find(|node| {
                let leads = |(_, first, last)| (first..=last).contains(&number);
                node.secondary().is_some_and(leads)
            })?;
            (_, here, _) = bridge.secondary()?;
            bus = bridge.behind.as_mut()?;
        }
        bus.get_mut(&at)
    }

    fn write(&mut self, function: Function, register: u8, bytes: &[u8]) {
        assert!(usize::from(register).is_multiple_of(bytes.len()));
        let Some(node) = self.find(function) else {
            return;
        };
        let index = usize::from(register / 4);
        let own = match node.behind {
            // The command, BARs, ROM and interrupt line; for bridges the windows, too.
            None => [1, 3, 4, 5, 6, 7, 8, 9, 12, 15].contains(&index),
            Some(_) => [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15].contains(&index),
        };
        assert!(
            own,
            "register {register:#x} of {:#x} is written",
            function.0
        );
        let mut value = node.registers[index].to_le_bytes();
        let at = usize::from(register & 3);
        value[at..at + bytes.len()].copy_from_slice(bytes);
        let writable = node.writable[index];
        node.registers[index] =
            node.registers[index] & !writable | u32::from_le_bytes(value) & writable;
    }
}

impl ConfigSpace for Machine {
    fn read_u32(&mut self, function: Function, register: u8) -> u32 {
        assert!(register.is_multiple_of(4));
        self.find(function)
            .map_or(u32::MAX, |node| node.registers[usize::from(register / 4)])
    }

    fn write_u8(&mut self, function: Function, register: u8, value: u8) {
        self.write(function, register, &[value]);
    }

    fn write_u16(&mut self, function: Function, register: u8, value: u16) {
        self.write(function, register, &value.to_le_bytes());
    }

    fn write_u32(&mut self, function: Function, register: u8, value: u32) {
        self.write(function, register, &value.to_le_bytes());
    }
}

/// What functions decode once all is done.
#[derive(Debug, Default)]
struct Found {
    /// Ports, and memory.
    decoded: [Vec<Range>; 2],
    buses: Vec<u8>,
}

impl Found {
    /// Collects what is on a bus, all of which has to be in the windows to it.
    fn visit(&mut self, bus: &Bus, number: u8, windows: &[Vec<Range>; 2]) {
        assert!(!self.buses.contains(&number), "bus {number} twice");
        self.buses.push(number);
        for (&at, node) in bus {
            if at % 8 != 0 {
                // Function 0 has to be there and to say that there are others.
                let first = bus.get(&(at & !7));
                let many = |first: &Node| first.registers[HEADER] >> 23 & 1 == 1;
                if !first.is_some_and(many) {
                    continue;
                }
            }
            let command = node.registers[COMMAND];
            if !node.odd {
                self.collect(node, command, windows);
            }
            let Some((primary, secondary, subordinate)) = node.secondary() else {
                continue;
            };
            assert_eq!(primary, number);
            assert!(secondary > number && subordinate >= secondary);
            let inner = bridge_windows(node, command);
            for (inner, outer) in inner.iter().zip(windows) {
                for window in inner {
                    let inside = outer.iter().any(|outer| outer.contains(*window));
                    assert!(inside, "bridge window {window} outside {outer:x?}");
                }
            }
            if let Some(behind) = &node.behind {
                self.visit(behind, secondary, &inner);
            }
        }
    }

    fn collect(&mut self, node: &Node, command: u32, windows: &[Vec<Range>; 2]) {
        let count = if node.behind.is_some() { 2 } else { 6 };
        let mut index = BARS;
        while index < BARS + count {
            let (value, writable) = (node.registers[index], node.writable[index]);
            let io = value & 1 == 1;
            let two = !io && value & 6 == 4 && index + 1 < BARS + count;
            let mask = u64::from(writable & if io { !3 } else { !15 });
            let high = if two {
                u64::from(node.writable[index + 1])
            } else {
                0xffff_ffff
            };
            let mask = high << 32 | mask;
            let size = mask.wrapping_neg();
            let low = u64::from(value & if io { !3 } else { !15 });
            let high = if two {
                u64::from(node.registers[index + 1])
            } else {
                0
            };
            let address = high << 32 | low;
            // A bridge has to decode for what is behind it, whatever became of its own BARs.
            let own = node.behind.is_none() || address != 0;
            let decodes = own && command & if io { 1 } else { 2 } != 0;
            // One that makes no sense has no place to check.
            if decodes && writable != 0 && size.is_power_of_two() && (io || value & 6 != 2) {
                let range = Range::new(address, size).expect("in range");
                let windows = &windows[usize::from(!io)];
                let inside = windows.iter().any(|window| window.contains(range));
                assert!(inside, "{range} outside {windows:x?}");
                assert_eq!(address % size, 0, "{range}");
                self.decoded[usize::from(!io)].push(range);
            }
            index += if two { 2 } else { 1 };
        }
    }

    fn assert_apart(&mut self) {
        for decoded in &mut self.decoded {
            decoded.sort_by_key(|range| range.start());
            for pair in decoded.windows(2) {
                assert!(!pair[0].overlaps(pair[1]), "{} and {}", pair[0], pair[1]);
            }
        }
    }
}

/// What a bridge passes on: ports, and memory.
fn bridge_windows(node: &Node, command: u32) -> [Vec<Range>; 2] {
    let [io_base, io_limit, ..] = node.registers[BRIDGE_IO].to_le_bytes();
    let port = |byte: u8| u64::from(byte & 0xf0) << 8;
    let io = Range::between(port(io_base), port(io_limit) + 0x1000);
    let memory = |index: usize, high: [u32; 2]| {
        let half = |value: u32| u64::from(value & 0xfff0) << 16;
        let register = node.registers[index];
        let base = u64::from(high[0]) << 32 | half(register);
        let limit = u64::from(high[1]) << 32 | half(register >> 16);
        Range::between(base, limit + 0x10_0000)
    };
    let high = [node.registers[10], node.registers[11]];
    let all = [
        memory(BRIDGE_MEMORY, [0, 0]),
        memory(BRIDGE_PREFETCHABLE, high),
    ];
    let open = |range: &Range, bit: u32| command & bit != 0 && !range.is_empty();
    [
        [io].into_iter().filter(|range| open(range, 1)).collect(),
        all.into_iter().filter(|range| open(range, 2)).collect(),
    ]
}
