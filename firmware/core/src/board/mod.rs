// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which board this is, and what its chipset has to be told before anything else.
//!
//! In: the configuration space, where there is one. Out: register writes through it. QEMU makes
//! the ACPI tables at the moment they are first read, from what the registers hold by then.

mod addresses;
mod i440fx;
mod q35;

use crate::memory::Range;
use crate::pci::{ConfigSpace, Rules};
use abi::layout::{MMCONFIG_SIZE, MMCONFIG_START, ROOT_COMPLEX_SIZE, ROOT_COMPLEX_START};
use abi::pci::{Function, ID, ID_I440FX, ID_Q35};

/// The boards, told apart by their host bridge.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Board {
    /// QEMU's `microvm`, our VMM, or a machine whose host bridge we do not know: nothing to do.
    #[default]
    Microvm,
    /// QEMU's `pc`.
    I440fx,
    /// QEMU's `q35`.
    Q35,
}

/// A register that decides what 0xF0000 to 0xFFFFF show: the image, or RAM.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ImageAttributes {
    /// Whose register.
    pub function: Function,
    /// Its offset.
    pub register: u8,
    /// Its value for RAM.
    pub ram: u8,
    /// Its value for RAM that cannot be written.
    pub ram_read_only: u8,
}

/// What is written to four bytes of configuration space when the board is found.
type Setting = (Function, u8, u32);

/// The function that every PCI machine has.
const HOST_BRIDGE: Function = Function::new(0, 0, 0);

/// Where the power-management registers go; QEMU's tables name the ports that the chipset names.
const POWER_PORTS: u32 = 0x600;
/// Where the `pc`'s SMBus registers go.
const SMBUS_PORTS: u32 = 0x700;
/// Base address register of an I/O range: decoding enabled, or, in a BAR, read-only.
const IO_SPACE: u32 = 1;
/// The interrupt line of the power management (SCI): wired.
pub const SCI_LINE: u8 = 9;
/// The interrupt lines behind the four PCI interrupt pins of the board, in the order of the pins.
pub const PCI_LINES: [u8; 4] = [10, 10, 11, 11];
/// The lines that are level-triggered, as a 16-bit mask: those of PCI.
pub const LEVEL_LINES: u16 = 1 << 10 | 1 << 11;

/// [`PCI_LINES`] as one register of the interrupt router.
const ROUTE: u32 = u32::from_le_bytes(PCI_LINES);

impl Board {
    /// Asks the host bridge.
    pub fn identify(config: &mut impl ConfigSpace) -> Self {
        match config.read_u32(HOST_BRIDGE, ID) {
            ID_I440FX => Self::I440fx,
            ID_Q35 => Self::Q35,
            _ => Self::Microvm,
        }
    }

    /// Makes 0xC0000 to 0xEFFFF RAM, and tells the chipset where its ports and its interrupts are.
    pub fn initialise(self, config: &mut impl ConfigSpace) {
        let settings: &[Setting] = match self {
            Self::Microvm => &[],
            Self::I440fx => &i440fx::SETTINGS,
            Self::Q35 => &q35::SETTINGS,
        };
        for (function, register, value) in settings {
            config.write_u32(*function, *register, *value);
        }
    }

    /// What decides over the image's range, on a board where it can be RAM.
    #[must_use]
    pub const fn image_attributes(self) -> Option<ImageAttributes> {
        let register = match self {
            Self::Microvm => return None,
            Self::I440fx => i440fx::PAM0,
            Self::Q35 => q35::PAM0,
        };
        Some(ImageAttributes {
            function: HOST_BRIDGE,
            register,
            ram: 0x30,
            ram_read_only: 0x10,
        })
    }

    /// The guest-physical ranges that the chipset's registers take, once initialised.
    #[must_use]
    pub const fn registers(self) -> &'static [Range] {
        const Q35: [Range; 2] = [
            Range::between(MMCONFIG_START, MMCONFIG_START + MMCONFIG_SIZE),
            Range::between(ROOT_COMPLEX_START, ROOT_COMPLEX_START + ROOT_COMPLEX_SIZE),
        ];
        match self {
            Self::Microvm | Self::I440fx => &[],
            Self::Q35 => &Q35,
        }
    }
}

impl Rules for Board {
    fn is_settled(&self, id: u32) -> bool {
        match self {
            Self::Microvm => false,
            Self::I440fx => i440fx::SETTLED.contains(&id),
            Self::Q35 => q35::SETTLED.contains(&id),
        }
    }

    fn turn(&self, device: u8) -> u8 {
        match self {
            Self::Microvm => 0,
            Self::I440fx => i440fx::turn(device),
            Self::Q35 => q35::turn(device),
        }
    }

    fn lines(&self) -> [u8; 4] {
        PCI_LINES
    }
}

#[cfg(test)]
mod test;
