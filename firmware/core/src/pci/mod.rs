// SPDX-License-Identifier: MIT OR Apache-2.0
//! PCI: what is there, and which addresses it gets.
//!
//! Spec: PCI Local Bus 3.0, chapter 6; PCI-to-PCI Bridge 1.2, chapter 3; PCI Express 3.0, 7.8.
//!
//! In three steps: [`Inventory::take`] walks the buses, numbers them and asks every function what
//! it needs; [`Inventory::place`] gives it all addresses, as data; [`Inventory::write`] tells the
//! functions. In: a [`ConfigSpace`], [`Windows`]. Out: register writes. Never: a port access.
//!
//! What does not fit, makes no sense or comes after the storage is full keeps address 0 and is not
//! switched on: a kernel may still find a better place.

mod inventory;
mod place;
mod storage;
mod write;

pub use inventory::Rules;
pub use place::Windows;
pub use storage::{Inventory, Storage};

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
