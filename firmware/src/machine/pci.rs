// SPDX-License-Identifier: MIT OR Apache-2.0
//! PCI configuration space at its ports.
//!
//! Spec: PCI Local Bus 3.0, section 3.2.2.3.2 (configuration mechanism #1).

use super::ports;
use abi::pci::{Function, PORT_ADDRESS, PORT_DATA};
use firmware_core::pci::ConfigSpace;

/// The ports, and what the first one holds.
pub struct ConfigPorts {
    selected: u32,
}

impl ConfigPorts {
    /// The ports, where there are any: the address register reads as it was written, and nobody
    /// writes all ones. One access.
    pub fn find() -> Option<Self> {
        // SAFETY: reading the address register has no effect, as has reading nothing.
        let selected = unsafe { ports::in_u32(PORT_ADDRESS) };
        (selected != u32::MAX).then_some(Self { selected })
    }

    /// Makes the data port show the doubleword that holds `register`; returns the port for it.
    pub fn select(&mut self, function: Function, register: u8) -> u16 {
        let address = function.address(register);
        if address != self.selected {
            self.selected = address;
            // SAFETY: the port only selects what another one shows.
            unsafe { ports::out_u32(PORT_ADDRESS, address) }
        }
        PORT_DATA + u16::from(register & 3)
    }
}

// SAFETY of all accesses below: firmware owns every function's registers. No function has been
// allowed to access memory, and what decides where RAM is, is written before RAM is used there.
impl ConfigSpace for ConfigPorts {
    #[inline(never)]
    fn read_u32(&mut self, function: Function, register: u8) -> u32 {
        let port = self.select(function, register);
        // SAFETY: as above.
        unsafe { ports::in_u32(port) }
    }

    #[inline(never)]
    fn write_u8(&mut self, function: Function, register: u8, value: u8) {
        let port = self.select(function, register);
        // SAFETY: as above.
        unsafe { ports::out_u8(port, value) }
    }

    #[inline(never)]
    fn write_u16(&mut self, function: Function, register: u8, value: u16) {
        let port = self.select(function, register);
        // SAFETY: as above.
        unsafe { ports::out_u16(port, value) }
    }

    #[inline(never)]
    fn write_u32(&mut self, function: Function, register: u8, value: u32) {
        let port = self.select(function, register);
        // SAFETY: as above.
        unsafe { ports::out_u32(port, value) }
    }
}
