// SPDX-License-Identifier: MIT OR Apache-2.0
//! Buses that behave: registers with read-only bits, and bridges that pass on what is for them.

use super::*;
use crate::memory::Range;
use crate::pci::storage::{MAX_BARS, Storage};
use crate::trace;
use crate::words::Speaker;
use crate::words::test::Text;
use abi::pci::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use zerocopy::{FromBytes, IntoBytes};

/// One function.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    registers: [u32; 64],
    /// Bits that a write changes.
    writable: [u32; 64],
    /// What is behind it, by device and function, if it is a bridge.
    behind: BTreeMap<u8, Node>,
}

impl Node {
    /// A device without BARs; everything behind the header can be written.
    pub(crate) fn device(id: u32) -> Self {
        let mut node = Self {
            registers: [0; 64],
            writable: [0; 64],
            behind: BTreeMap::new(),
        };
        node.registers[0] = id;
        node.writable[1] = 0xffff;
        node.writable[15] = 0xffff_00ff;
        node.writable[16..].fill(u32::MAX);
        node
    }

    /// A bridge whose prefetchable window has 64 bits.
    fn bridge(behind: impl IntoIterator<Item = (u8, Self)>) -> Self {
        let mut node = Self::device(0x0001_1b36);
        node.registers[3] = 1 << 16;
        node.writable[6] = 0x00ff_ffff;
        node.writable[7] = 0xf0f0;
        node.writable[8] = 0xfff0_fff0;
        node.registers[9] = 0x0001_0001;
        node.writable[9] = 0xfff0_fff0;
        node.writable[10..12].fill(u32::MAX);
        node.behind = behind.into_iter().collect();
        node
    }

    /// The same with a 32-bit prefetchable window.
    fn narrow(mut self) -> Self {
        self.registers[9] = 0;
        self.writable[10..12].fill(0);
        self
    }

    /// The same as a PCI Express root port, second in the list of its capabilities.
    fn root_port(mut self) -> Self {
        self.registers[1] = STATUS_CAPABILITIES;
        self.registers[13] = 0x40;
        self.registers[16] = 0x0000_540d;
        self.registers[21] = 0x0042_0010;
        self
    }

    /// With an answer to ones written to the BAR at `index`.
    fn bar(mut self, index: usize, answer: u32) -> Self {
        self.registers[4 + index] = answer & 0xf;
        self.writable[4 + index] = answer & !0xf;
        if answer & 3 == BAR_IO {
            self.registers[4 + index] = answer & 3;
            self.writable[4 + index] = answer & !3;
        }
        self
    }

    /// With a 64-bit BAR.
    fn wide_bar(mut self, index: usize, size: u64, prefetchable: bool) -> Self {
        let mask = size.wrapping_neg();
        let flags = BAR_MEMORY_64 | if prefetchable { BAR_PREFETCHABLE } else { 0 };
        self.registers[4 + index] = flags;
        self.writable[4 + index] = (mask & 0xffff_fff0) as u32;
        self.writable[5 + index] = (mask >> 32) as u32;
        self
    }

    fn pin(mut self, pin: u8) -> Self {
        self.registers[15] = u32::from(pin) << 8;
        self
    }

    fn multifunction(mut self) -> Self {
        self.registers[3] |= 0x80 << 16;
        self
    }

    fn register(&self, register: u8) -> u32 {
        self.registers[usize::from(register / 4)]
    }

    fn is_bridge(&self) -> bool {
        self.register(CACHE_LINE_SIZE) >> 16 & 0x7f == 1
    }

    fn buses(&self) -> [u8; 4] {
        self.register(BRIDGE_BUSES).to_le_bytes()
    }
}

/// All root buses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Simulated {
    roots: BTreeMap<u8, BTreeMap<u8, Node>>,
    /// How often something was read.
    pub(crate) reads: usize,
    /// How often something was written.
    pub(crate) writes: usize,
}

impl Simulated {
    /// Bus 0 with these devices, by device number.
    fn with(devices: impl IntoIterator<Item = (u8, Node)>) -> Self {
        let mut simulated = Self::default();
        for (device, node) in devices {
            simulated.put(Function::new(0, device, 0), node);
        }
        simulated
    }

    pub(crate) fn put(&mut self, function: Function, node: Node) {
        let root = self.roots.entry(function.bus()).or_default();
        root.insert(function.0.to_le_bytes()[0], node);
    }

    pub(crate) fn get(&self, function: Function, register: u8) -> u32 {
        let mut copy = self.clone();
        copy.find(function)
            .map_or(u32::MAX, |node| node.register(register))
    }

    /// The function that a configuration access reaches.
    fn find(&mut self, function: Function) -> Option<&mut Node> {
        let [at, bus] = function.0.to_le_bytes();
        let root = self.roots.range_mut(..=bus).next_back()?;
        if *root.0 == bus {
            return root.1.get_mut(&at);
        }
        let mut nodes = root.1;
        loop {
            let bridge = nodes.values_mut().find(|node| {
                let [_, secondary, subordinate, _] = node.buses();
                node.is_bridge() && secondary != 0 && (secondary..=subordinate).contains(&bus)
            })?;
            if bridge.buses()[1] == bus {
                return bridge.behind.get_mut(&at);
            }
            nodes = &mut bridge.behind;
        }
    }

    fn write(&mut self, function: Function, register: u8, bytes: &[u8]) {
        self.writes += 1;
        assert!(usize::from(register).is_multiple_of(bytes.len()));
        let Some(node) = self.find(function) else {
            return;
        };
        let index = usize::from(register / 4);
        let old = node.registers[index];
        let mut value = old.to_le_bytes();
        let at = usize::from(register & 3);
        value[at..at + bytes.len()].copy_from_slice(bytes);
        let writable = node.writable[index];
        node.registers[index] = old & !writable | u32::from_le_bytes(value) & writable;
    }
}

impl ConfigSpace for Simulated {
    fn read_u32(&mut self, function: Function, register: u8) -> u32 {
        assert!(register.is_multiple_of(4));
        self.reads += 1;
        self.find(function)
            .map_or(u32::MAX, |node| node.register(register))
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

/// Interrupts as on a board that turns root devices by their number.
struct Plain;

impl Rules for Plain {
    fn is_settled(&self, id: u32) -> bool {
        id == 0x1237_8086
    }

    fn turn(&self, device: u8) -> u8 {
        device
    }

    fn lines(&self) -> [u8; 4] {
        [10, 11, 12, 13]
    }
}

const PORTS: Range = Range::between(0xc000, 0x1_0000);
const MORE_PORTS: Range = Range::between(0x1000, 0x5000);
const LOW: Range = Range::between(0xc000_0000, 0xfec0_0000);
const HIGH: Range = Range::between(0x80_0000_0000, 0x100_0000_0000);

fn assign_with_roots(config: &mut impl ConfigSpace, extra_roots: u64) -> u16 {
    assign_and_say(config, extra_roots).0
}

fn assign_and_say(config: &mut impl ConfigSpace, extra_roots: u64) -> (u16, String) {
    // Not zeros: nothing may depend on what the storage held.
    let mut bytes = vec![0xa5a5_a5a5_a5a5_a5a5u64; size_of::<Storage>() / 8 + 1];
    let (storage, _) = Storage::mut_from_prefix(bytes.as_mut_slice().as_mut_bytes()).unwrap();
    let mut inventory = Inventory::take(config, &Plain, extra_roots, storage);
    let windows = Windows {
        io: &[PORTS, MORE_PORTS],
        memory: LOW,
    };
    inventory.place(&windows, || HIGH);
    inventory.write(config);
    let buses = inventory.buses;
    inventory.leave();
    let mut said = Text::default();
    trace::addresses(storage, &mut Speaker::new(&mut said));
    (buses, said.0)
}

fn assign(config: &mut impl ConfigSpace) -> u16 {
    assign_with_roots(config, 0)
}

/// A virtio device as QEMU makes it.
fn virtio() -> Node {
    Node::device(0x1000_1af4)
        .bar(0, 0xffff_ffe1)
        .bar(1, 0xffff_f000)
        .wide_bar(4, 0x4000, true)
        .pin(1)
}

fn at(bus: u8, device: u8) -> Function {
    Function::new(bus, device, 0)
}

#[test]
fn a_device_gets_all_it_asks_for_and_is_switched_on() {
    let mut config = Simulated::with([(0, Node::device(0x1237_8086)), (2, virtio())]);
    assert_eq!(assign(&mut config), 1);
    assert_eq!(config.get(at(0, 2), 0x10), 0xc001);
    assert_eq!(config.get(at(0, 2), 0x14), 0xc000_0000);
    assert_eq!(config.get(at(0, 2), 0x20), 0xc000_400c);
    assert_eq!(config.get(at(0, 2), 0x24), 0);
    assert_eq!(config.get(at(0, 2), 0x04), 0x103);
    assert_eq!(config.get(at(0, 2), 0x3c), 0x10c);
    assert_eq!(config.get(at(0, 0), 0x04), 0);
}

#[test]
fn every_bar_is_said_with_its_address_if_it_has_one() {
    let behind = Node::bridge([(5 << 3, Node::device(1).bar(0, 0xff00_0000))]);
    let mut config = Simulated::with([
        (2, virtio()),
        (3, behind),
        (4, Node::device(1).bar(5, 0x10)),
    ]);
    assert_eq!(
        assign_and_say(&mut config, 0).1,
        "  PCI 0:2.0, register 0x10: 0x20 bytes at 0xc000\n  \
         PCI 0:2.0, register 0x14: 0x1000 bytes at 0xc1000000\n  \
         PCI 0:2.0, register 0x20: 0x4000 bytes at 0xc1004000\n  \
         PCI 1:5.0, register 0x10: 0x1000000 bytes at 0xc0000000\n  \
         PCI 0:4.0, register 0x24: 0x0 bytes at 0x0\n"
    );
}

#[test]
fn a_bridge_passes_on_what_is_behind_it() {
    let inner = Node::bridge([(3 << 3, virtio())]);
    let mut config = Simulated::with([(4, Node::bridge([(1 << 3, inner)])), (5, virtio())]);
    assert_eq!(assign(&mut config), 3);
    assert_eq!(config.get(at(0, 4), 0x18), 0x02_0100);
    assert_eq!(config.get(at(1, 1), 0x18), 0x02_0201);
    for bridge in [at(0, 4), at(1, 1)] {
        assert_eq!(config.get(bridge, 0x1c), 0xc0c0);
        assert_eq!(config.get(bridge, 0x20), 0xc000_c000);
        assert_eq!(config.get(bridge, 0x24), 0xc021_c021);
        assert_eq!(config.get(bridge, 0x04), 0x107);
        assert_eq!(config.get(bridge, 0x3c) >> 16, 2);
    }
    // Pin A of device 3, turned by 3, by 1 and by 4: the board's pin A.
    assert_eq!(config.get(at(2, 3), 0x3c), 0x10a);
    assert_eq!(config.get(at(2, 3), 0x20), 0xc020_000c);
}

#[test]
fn a_link_is_asked_for_one_device() {
    let port = Node::bridge([(0, virtio())]).root_port();
    let mut config = Simulated::with([(1, port)]);
    assign(&mut config);
    let (with_link, bus) = (config.reads, Node::bridge([(0, virtio())]));
    let mut config = Simulated::with([(1, bus)]);
    assign(&mut config);
    assert_eq!(config.reads - with_link + 3, 31);
    assert_eq!(config.get(at(1, 0), 0x14), 0xc000_0000);
}

#[test]
fn every_function_of_a_device_is_found_and_a_single_one_is_not_asked_for_more() {
    let mut config = Simulated::with([(1, Node::device(0x1_8086).multifunction())]);
    config.put(Function::new(0, 1, 7), virtio());
    config.put(Function::new(0, 2, 0), Node::device(0x2_8086));
    config.put(Function::new(0, 2, 3), virtio()); // a ghost: device 2 has one function
    assign(&mut config);
    assert_eq!(config.get(Function::new(0, 1, 7), 0x04), 0x103);
    assert_eq!(config.get(Function::new(0, 2, 3), 0x04), 0);
}

#[test]
fn what_does_not_fit_below_4_gib_goes_above_ram_if_it_can() {
    let big = Node::device(0x1_1af4)
        .wide_bar(0, 1 << 34, true)
        .bar(2, 0xffff_f000);
    let mut config = Simulated::with([(1, big.clone()), (2, Node::bridge([(0, big)]))]);
    assign(&mut config);
    assert_eq!(config.get(at(0, 1), 0x10), 0xc);
    assert_eq!(config.get(at(0, 1), 0x14), 0x84);
    assert_eq!(config.get(at(0, 1), 0x18), 0xc010_0000);
    assert_eq!(config.get(at(1, 0), 0x14), 0x80);
    assert_eq!(config.get(at(0, 2), 0x24), 0xfff1_0001);
    assert_eq!(config.get(at(0, 2), 0x28), 0x80);
    assert_eq!(config.get(at(0, 2), 0x2c), 0x83);
}

#[test]
fn behind_a_bridge_with_a_32_bit_window_everything_stays_below_4_gib() {
    let bridge = Node::bridge([(0, virtio())]).narrow();
    let mut config = Simulated::with([(2, bridge)]);
    assign(&mut config);
    assert_eq!(config.get(at(1, 0), 0x20), 0xc000_000c);
    assert_eq!(config.get(at(0, 2), 0x20), 0xc000_c000);
    assert_eq!(config.get(at(0, 2), 0x24), 0xfff0); // closed
}

#[test]
fn what_fits_nowhere_has_no_address_and_stays_off() {
    let huge = Node::device(0x1_1af4)
        .wide_bar(0, 1 << 62, true)
        .bar(2, 0x8000_0000)
        .bar(3, 0xffff_ff01);
    let mut config = Simulated::with([(1, huge), (2, virtio())]);
    assign(&mut config);
    assert_eq!(config.get(at(0, 1), 0x10), 0xc);
    assert_eq!(config.get(at(0, 1), 0x14), 0);
    assert_eq!(config.get(at(0, 1), 0x18), 0);
    assert_eq!(config.get(at(0, 1), 0x1c), 0xc001);
    assert_eq!(config.get(at(0, 1), 0x04), 0x101); // ports, no memory
    assert_eq!(config.get(at(0, 2), 0x04), 0x103);
}

#[test]
fn ports_that_do_not_fit_the_best_range_go_to_the_next() {
    let bridges = (1..=10).map(|device| (device, Node::bridge([(0, virtio())])));
    let mut config = Simulated::with(bridges);
    assign(&mut config);
    let base = |bus| config.get(at(bus, 0), 0x10);
    assert_eq!((base(1), base(4), base(5)), (0xc001, 0xf001, 0x1001));
    assert_eq!(base(8), 0x4001);
    // The last two find no window; their bridges are closed to ports, and they are off.
    assert_eq!((base(9), config.get(at(0, 9), 0x1c)), (1, 0x00f0));
    assert_eq!(config.get(at(9, 0), 0x04), 0x102);
}

#[test]
fn bars_that_make_no_sense_are_left_at_0() {
    let cases: [Box<dyn Fn(Node) -> Node>; 7] = [
        Box::new(|node| node.bar(0, 0xffff_f0f0)), // a mask with holes
        Box::new(|node| node.bar(0, 0xffff_f0f1)), // ports with holes
        Box::new(|node| node.bar(0, 0xffff_f002)), // below 1 MiB, of old
        Box::new(|node| node.bar(0, 0xffff_f006)), // a type that is none
        Box::new(|node| node.bar(5, 0xffff_f004)), // 64 bits, and no second register
        Box::new(|node| node.bar(0, 4).bar(1, 0x10)), // a mask with holes in the upper half
        Box::new(|mut node| {
            node.registers[4] = u32::MAX; // all ones, always
            node
        }),
    ];
    for (index, case) in cases.iter().enumerate() {
        let node = case(Node::device(0x1_1af4)).bar(2, 0xffff_f000);
        let mut config = Simulated::with([(1, node)]);
        assign(&mut config);
        assert_eq!(config.get(at(0, 1), 0x18), 0xc000_0000, "case {index}");
        let command = config.get(at(0, 1), 0x04);
        assert!(
            command == 0x101 || command == 0x102,
            "case {index}: {command:#x}"
        );
    }
}

/// Every register of every function reads as one value.
struct Stuck(u32, usize);

impl ConfigSpace for Stuck {
    fn read_u32(&mut self, _: Function, _: u8) -> u32 {
        self.1 += 1;
        self.0
    }
    fn write_u8(&mut self, _: Function, _: u8, _: u8) {}
    fn write_u16(&mut self, _: Function, _: u8, _: u16) {}
    fn write_u32(&mut self, _: Function, _: u8, _: u32) {}
}

#[test]
fn a_space_that_answers_one_thing_is_walked_once() {
    // Nothing there: one look a device.
    for nothing in [0, u32::MAX, 0xffff_0000, 0x1237_ffff] {
        let mut config = Stuck(nothing, 0);
        assert_eq!(assign(&mut config), 1);
        assert_eq!(config.1, 32);
    }
    // A bridge everywhere, below every bridge again: 256 buses and no end of nonsense, but an end.
    let mut config = Stuck(0x0001_0001, 0);
    assert_eq!(assign(&mut config), 256);
    assert!(config.1 < 1_000_000);
    for anything in [0x0080_0080, 0x0000_0001, 0x1010_1010, 0x0081_5555] {
        assign(&mut Stuck(anything, 0));
    }
}

#[test]
fn the_bridge_after_the_last_bus_number_stays_closed() {
    let chain = (0..300).fold(virtio(), |node, _| Node::bridge([(0, node)]));
    let mut config = Simulated::with([(1, chain), (2, virtio())]);
    assert_eq!(assign(&mut config), 256);
    assert_eq!(config.get(at(254, 0), 0x18), 0xff_fffe);
    assert_eq!(config.get(at(255, 0), 0x18), 0);
    assert_eq!(config.get(at(0, 2), 0x04), 0x103);
}

#[test]
fn functions_after_the_storage_is_full_are_not_touched() {
    let full = || (0..32).map(|device| (device << 3, six_bars()));
    let bridges = (0..20).map(|device| (device, Node::bridge(full())));
    let mut config = Simulated::with(bridges);
    assign(&mut config);
    let mut on = 0;
    for bus in 1..=20 {
        for device in 0..32 {
            let function = at(bus, device);
            let command = config.get(function, 0x04);
            assert!(command == 0x103 || command == 0);
            on += usize::from(command != 0);
            assert_eq!(command != 0, config.get(function, 0x10) != 0);
        }
    }
    assert_eq!(on, usize::from(MAX_BARS - 8) / 6 + 1);
}

fn six_bars() -> Node {
    (0..6).fold(Node::device(0x1_1af4), |node, index| {
        node.bar(index, 0xffff_f000)
    })
}

#[test]
fn further_root_buses_are_looked_for_where_there_are_said_to_be_any() {
    let mut config = Simulated::with([(1, virtio())]);
    config.put(at(0x40, 3), virtio());
    config.put(at(0x80, 0), Node::bridge([(0, virtio())]));
    assert_eq!(assign_with_roots(&mut config.clone(), 0), 1);
    assert_eq!(assign_with_roots(&mut config, 2), 4);
    assert_eq!(config.get(at(0x40, 3), 0x04), 0x103);
    assert_eq!(config.get(at(0x80, 0), 0x18), 0x81_8180);
    assert_eq!(config.get(at(0x81, 0), 0x04), 0x103);
    // More are said to be there than there are: the search ends with the numbers.
    assign_with_roots(&mut Simulated::default(), u64::MAX);
}

/// What is checked of a tree whose functions have been told their addresses.
#[derive(Default)]
struct Check {
    /// Start and size of every BAR with an address: ports, then memory.
    taken: [Vec<(u64, u64)>; 2],
    all_assigned: bool,
}

fn bars_of(node: &Node) -> Vec<(bool, bool, u64, u64)> {
    let mut found = Vec::new();
    let mut index = 4;
    let end = if node.is_bridge() { 6 } else { 10 };
    while index < end {
        let (value, mask) = (node.registers[index], u64::from(node.writable[index]));
        if value & 1 == 1 {
            let size = (!mask & 0xffff_ffff).wrapping_add(1) & 0xffff_fffc;
            found.push((true, false, u64::from(value & !3), size));
        } else if value & 6 == 4 {
            let mask = mask | u64::from(node.writable[index + 1]) << 32;
            let address = u64::from(value & !0xf) | u64::from(node.registers[index + 1]) << 32;
            found.push((false, value & 8 != 0, address, mask.wrapping_neg()));
            index += 1;
        } else if mask != 0 {
            found.push((false, false, u64::from(value & !0xf), 0x1_0000_0000 - mask));
        }
        index += 1;
    }
    found
}

/// The windows of a bridge: ports, memory, prefetchable memory; empty when closed.
fn windows_of(node: &Node) -> [Range; 3] {
    let io = u64::from(node.register(BRIDGE_IO));
    let memory = |register: u8, base_high: u64, limit_high: u64| {
        let value = u64::from(node.register(register));
        let base = (value & 0xfff0) << 16 | base_high << 32;
        let limit = value & 0xfff0_0000 | 0xf_ffff | limit_high << 32;
        Range::between(base, limit + 1)
    };
    let high = |register: u8| u64::from(node.register(register));
    [
        Range::between((io & 0xf0) << 8, (io & 0xf000 | 0xfff) + 1),
        memory(BRIDGE_MEMORY, 0, 0),
        memory(BRIDGE_PREFETCHABLE, high(0x28), high(0x2c) & 0xffff),
    ]
}

impl Check {
    fn nodes(&mut self, nodes: &BTreeMap<u8, Node>, bus: u8, last: u8, within: [Range; 3]) {
        let mut numbers = bus;
        for node in nodes.values() {
            let command = node.register(COMMAND);
            for (io, _, address, size) in bars_of(node) {
                let bit = if io { 1 } else { 2 };
                if address == 0 {
                    assert!(node.is_bridge() || command & bit == 0);
                    self.all_assigned = false;
                    continue;
                }
                assert!(address.is_multiple_of(size), "{address:#x} {size:#x}");
                let place = Range::new(address, size).unwrap();
                let inside = |kind: usize| within[kind].contains(place);
                assert!(
                    if io {
                        inside(0)
                    } else {
                        inside(1) || inside(2)
                    },
                    "{place}"
                );
                self.taken[usize::from(!io)].push((address, size));
            }
            if !node.is_bridge() {
                continue;
            }
            let [primary, secondary, subordinate, _] = node.buses();
            if secondary == 0 {
                self.all_assigned = false;
                continue;
            }
            assert_eq!(primary, bus);
            assert!(numbers < secondary && secondary <= subordinate && subordinate <= last);
            numbers = subordinate;
            let windows = windows_of(node);
            for (inner, outer) in windows.iter().zip(within) {
                assert!(
                    inner.is_empty() || outer.contains(*inner),
                    "{inner} in {outer}"
                );
            }
            self.nodes(&node.behind, secondary, subordinate, windows);
        }
    }
}

/// No two windows of siblings overlap, and no BAR lies in the window of a sibling.
fn apart(nodes: &BTreeMap<u8, Node>) {
    let mut places = [Vec::new(), Vec::new()];
    for node in nodes.values() {
        for (io, _, address, size) in bars_of(node) {
            places[usize::from(!io)]
                .push(Range::new(address, size).unwrap_or(Range::between(0, 0)));
        }
        if node.is_bridge() {
            let [io, memory, wide] = windows_of(node);
            places[0].push(io);
            places[1].extend([memory, wide]);
            apart(&node.behind);
        }
    }
    for places in &mut places {
        places.retain(|place| place.start() != 0 && !place.is_empty());
        places.sort_by_key(|place| place.start());
        for pair in places.windows(2) {
            assert!(!pair[0].overlaps(pair[1]), "{} {}", pair[0], pair[1]);
        }
    }
}

fn bar_strategy() -> impl Strategy<Value = (u8, u32, bool)> {
    (0u8..3, 4u32..30, any::<bool>())
}

fn node_strategy() -> impl Strategy<Value = Node> {
    let bars = proptest::collection::vec(bar_strategy(), 0..4);
    let device = (bars, 0u8..6).prop_map(|(bars, pin)| {
        let mut node = Node::device(0x1_1af4).pin(pin);
        let mut index = 0;
        for (kind, bits, prefetchable) in bars {
            match kind {
                0 => node = node.bar(index, (u32::MAX << (bits % 8 + 2)) & !3 | 1),
                1 => node = node.bar(index, u32::MAX << bits),
                _ if index < 5 => {
                    node = node.wide_bar(index, 1 << (bits + 6), prefetchable);
                    index += 1;
                }
                _ => {}
            }
            index += 1;
            if index > 5 {
                break;
            }
        }
        node
    });
    device.prop_recursive(5, 60, 8, |inner| {
        let behind = proptest::collection::btree_map((0u8..32).prop_map(|d| d << 3), inner, 0..8);
        (behind, any::<bool>(), any::<bool>()).prop_map(|(behind, narrow, small)| {
            let mut node = Node::bridge(behind);
            if narrow {
                node = node.narrow();
            }
            if small {
                node = node.bar(0, 0xffff_f000);
            }
            node
        })
    })
}

proptest! {
    /// Whatever the tree: addresses are aligned, inside the windows above them and apart; numbers
    /// nest; what is without an address is off.
    #[test]
    fn no_two_functions_are_given_the_same_place(
        nodes in proptest::collection::btree_map((0u8..32).prop_map(|d| d << 3), node_strategy(), 0..10)
    ) {
        let mut config = Simulated::default();
        config.roots.insert(0, nodes);
        assign(&mut config);
        let root = &config.roots[&0];
        let mut check = Check { all_assigned: true, ..Check::default() };
        let ports = Range::between(0x1000, 0x1_0000);
        check.nodes(root, 0, 255, [ports, LOW, Range::between(LOW.start(), HIGH.end())]);
        apart(root);
        for (start, size) in &check.taken[1] {
            let place = Range::new(*start, *size).unwrap();
            prop_assert!(LOW.contains(place) || HIGH.contains(place));
        }
        for taken in &mut check.taken {
            taken.sort_unstable();
            for pair in taken.windows(2) {
                prop_assert!(pair[0].0 + pair[0].1 <= pair[1].0);
            }
        }
    }

    /// Whatever any register answers, the walk ends and nothing panics.
    #[test]
    fn any_answers_come_to_an_end(seed in any::<u64>()) {
        assign(&mut Noise(seed));
    }
}

/// Answers at random, but mostly with nothing, so that trees have an end before the numbers do.
struct Noise(u64);

impl ConfigSpace for Noise {
    fn read_u32(&mut self, _: Function, register: u8) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        let value = (self.0 >> 32) as u32;
        match (register, value & 7) {
            (0, 1..) => u32::MAX,
            (0x0c, _) => value & 0x0083_0000,
            (_, 0) => u32::MAX << (value >> 8 & 31) | value >> 16 & 0xf,
            _ => value,
        }
    }
    fn write_u8(&mut self, _: Function, _: u8, _: u8) {}
    fn write_u16(&mut self, _: Function, _: u8, _: u16) {}
    fn write_u32(&mut self, _: Function, _: u8, _: u32) {}
}
