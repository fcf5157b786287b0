// SPDX-License-Identifier: MIT OR Apache-2.0
//! A configuration space that is a map.

use super::*;
use std::collections::BTreeMap;

/// Registers that keep what is written to them, where something is.
#[derive(Debug, Default)]
pub(crate) struct Simulated {
    registers: BTreeMap<(u16, u8), u32>,
    /// How often something was written.
    pub(crate) writes: usize,
}

impl Simulated {
    pub(crate) fn set(&mut self, function: Function, register: u8, value: u32) {
        self.registers.insert((function.0, register), value);
    }

    pub(crate) fn get(&self, function: Function, register: u8) -> u32 {
        if self.registers.contains_key(&(function.0, 0)) {
            *self.registers.get(&(function.0, register)).unwrap_or(&0)
        } else {
            u32::MAX
        }
    }

    fn write(&mut self, function: Function, register: u8, bytes: &[u8]) {
        self.writes += 1;
        assert!(usize::from(register).is_multiple_of(bytes.len()));
        if !self.registers.contains_key(&(function.0, 0)) {
            return;
        }
        let mut value = self.get(function, register & !3).to_le_bytes();
        let at = usize::from(register & 3);
        value[at..at + bytes.len()].copy_from_slice(bytes);
        self.set(function, register & !3, u32::from_le_bytes(value));
    }
}

impl ConfigSpace for Simulated {
    fn read_u32(&mut self, function: Function, register: u8) -> u32 {
        self.get(function, register)
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
