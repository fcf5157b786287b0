// SPDX-License-Identifier: MIT OR Apache-2.0
//! PCI: what is there, and which addresses it gets.
//!
//! Spec: PCI Local Bus 3.0; PCI-to-PCI Bridge 1.2.
//! In: a [`ConfigSpace`]. Out: register writes through it. Never: a port access.

use abi::pci::Function;

/// The configuration space of every function. What nobody answers reads as all ones, and a write
/// to it is lost. A register is its offset in bytes, a multiple of the access's size.
pub trait ConfigSpace {
    /// Reads four bytes.
    fn read_u32(&mut self, function: Function, register: u8) -> u32;
    /// Writes one byte.
    fn write_u8(&mut self, function: Function, register: u8, value: u8);
    /// Writes two bytes.
    fn write_u16(&mut self, function: Function, register: u8, value: u16);
    /// Writes four bytes.
    fn write_u32(&mut self, function: Function, register: u8, value: u32);
}

#[cfg(test)]
pub(crate) mod test;
