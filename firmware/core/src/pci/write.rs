// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tells the functions their addresses, and switches on what has one.

use super::storage::{FIRST_BAR, IO, MEMORY, Resource, WIDE, window};
use super::{ConfigSpace, Inventory};
use abi::pci::{
    BRIDGE_IO, BRIDGE_MEMORY, BRIDGE_PREFETCHABLE, BRIDGE_PREFETCHABLE_BASE_HIGH,
    BRIDGE_PREFETCHABLE_LIMIT_HIGH, COMMAND, COMMAND_IO, COMMAND_MASTER, COMMAND_MEMORY,
    COMMAND_SERR, Function,
};

/// First and last address of a window.
type Span = (u64, u64);

/// A window that lets nothing through: its base is above its limit.
const CLOSED: Span = (u64::MAX, 0);

impl Inventory<'_> {
    /// Writes every BAR and every bridge's windows. A function whose BARs of a kind all have an
    /// address decodes that kind. Accesses to memory by the device itself are for its driver to
    /// switch on; bridges pass them.
    pub fn write(&mut self, config: &mut impl ConfigSpace) {
        let mut command = 0;
        for index in FIRST_BAR..self.bars_end {
            let bar = *self.at(index);
            let function = Function(bar.function);
            let (low, high) = halves(bar.address);
            config.write_u32(function, bar.register, low);
            if bar.flags & Resource::TWO_REGISTERS != 0 {
                config.write_u32(function, bar.register.wrapping_add(4), high);
            }
            if bar.address == 0 && bar.flags & Resource::ROM == 0 {
                command |= match bar.flags & Resource::IO_PORTS {
                    0 => COMMAND_MEMORY,
                    _ => COMMAND_IO,
                };
            }
            let next = index.wrapping_add(1);
            if next == self.bars_end || self.at(next).function != bar.function {
                let on = COMMAND_IO | COMMAND_MEMORY | COMMAND_SERR;
                config.write_u16(function, COMMAND, on & !command);
                command = 0;
            }
        }
        for index in 1..self.buses {
            let [index, _] = index.to_le_bytes();
            if self.bus(index).root == 0 {
                self.open(config, index);
            }
        }
    }

    /// Writes the windows of the bridge above a bus.
    fn open(&mut self, config: &mut impl ConfigSpace, index: u8) {
        let bridge = Function(self.bus(index).bridge);
        let io = self.span(window(index, IO));
        config.write_u16(bridge, BRIDGE_IO, io_window(io));
        let memory = self.span(window(index, MEMORY));
        config.write_u32(bridge, BRIDGE_MEMORY, memory_window(memory));
        let wide = self.span(window(index, WIDE));
        config.write_u32(bridge, BRIDGE_PREFETCHABLE, memory_window(wide));
        config.write_u32(bridge, BRIDGE_PREFETCHABLE_BASE_HIGH, halves(wide.0).1);
        config.write_u32(bridge, BRIDGE_PREFETCHABLE_LIMIT_HIGH, halves(wide.1).1);
        let on = COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_SERR;
        config.write_u16(bridge, COMMAND, on);
    }

    /// First and last address of a window.
    fn span(&mut self, window: u16) -> Span {
        let window = self.at(window);
        match window.address {
            0 => CLOSED,
            base => (base, base.saturating_add(window.size.wrapping_sub(1))),
        }
    }
}

/// The register of an I/O window: bits 12-15 of base and limit, each in the upper half of a byte.
const fn io_window((base, limit): Span) -> u16 {
    let [_, base, ..] = base.to_le_bytes();
    let [_, limit, ..] = limit.to_le_bytes();
    u16::from_le_bytes([base & 0xf0, limit & 0xf0])
}

/// The register of a memory window: bits 20-31 of base and limit.
const fn memory_window((base, limit): Span) -> u32 {
    let ((base, _), (limit, _)) = (halves(base), halves(limit));
    base >> 16 & 0xfff0 | limit & 0xfff0_0000
}

/// An address in two registers.
#[allow(clippy::cast_possible_truncation)]
const fn halves(address: u64) -> (u32, u32) {
    (address as u32, (address >> 32) as u32)
}
