// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's `pc`: Intel 440FX with a PIIX3, whose power management is that of a PIIX4.
//!
//! Spec: Intel 82441FX (PMC) datasheet, section 3.2.18 (PAM); 82371AB (PIIX4) datasheet, chapters 4
//! (ISA bridge), 5 (IDE) and 7 (power management).

use super::{HOST_BRIDGE, IO_SPACE, POWER_PORTS, ROUTE, SCI_LINE, SMBUS_PORTS, Setting};
use abi::pci::{Function, ID_I440FX, INTERRUPT_LINE};

const ISA_BRIDGE: Function = Function::new(0, 1, 0);
const IDE: Function = Function::new(0, 1, 1);
const POWER: Function = Function::new(0, 1, 3);

/// Programmable attribute map: 0xF0000 in the upper half of the first byte, then two 16 KiB blocks a
/// byte from 0xC0000 on.
pub const PAM0: u8 = 0x59;
const PAM3: u8 = 0x5c;
/// Both blocks of a byte: reads and writes go to RAM.
const PAM_RAM: u8 = 0x33;
/// Interrupt router, a byte for each of four pins.
const PIRQRC: u8 = 0x60;
/// IDE timing of both channels.
const IDETIM: u8 = 0x40;
/// [`IDETIM`]: decode the ports of a channel, for both.
const IDE_DECODE: u32 = 0x8000_8000;
/// Power-management base address, and [`PMREGMISC`]: its enable bit.
const PMBA: u8 = 0x40;
const PMREGMISC: u8 = 0x80;
const PMIOSE: u32 = 1;
/// SMBus base address, and [`SMBHSTCFG`]: the controller's configuration.
const SMBBA: u8 = 0x90;
const SMBHSTCFG: u8 = 0xd2;
/// [`SMBHSTCFG`]: the controller on, its interrupt the SCI's.
const SMB_ON: u32 = 0x09;

/// Host bridge, PIIX3 ISA bridge and PIIX4 power management.
pub const SETTLED: [u32; 3] = [ID_I440FX, 0x7000_8086, 0x7113_8086];

/// A device's pin A is wired to the pin before that of the next device.
pub const fn turn(device: u8) -> u8 {
    device.wrapping_sub(1)
}

/// A machine without power management (`acpi=off`) loses what is written to it. PAM0 is 0, the image,
/// and stays so; the registers beside the others are 0 after a reset, or read-only.
pub const SETTINGS: [Setting; 9] = [
    (
        HOST_BRIDGE,
        PAM0 & !3,
        u32::from_ne_bytes([0, 0, PAM_RAM, PAM_RAM]),
    ),
    (HOST_BRIDGE, PAM3, u32::from_ne_bytes([PAM_RAM; 4])),
    (ISA_BRIDGE, PIRQRC, ROUTE),
    (IDE, IDETIM, IDE_DECODE),
    (POWER, INTERRUPT_LINE, SCI_LINE as u32),
    (POWER, PMBA, POWER_PORTS | IO_SPACE),
    (POWER, PMREGMISC, PMIOSE),
    (POWER, SMBBA, SMBUS_PORTS | IO_SPACE),
    (POWER, SMBHSTCFG & !3, SMB_ON << (8 * (SMBHSTCFG & 3))),
];
