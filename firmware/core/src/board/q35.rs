// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's `q35`: Intel Q35 with an ICH9.
//!
//! Spec: Intel 3 Series Express Chipset Family datasheet, section 5.1 (DRAM controller: PAM,
//! PCIEXBAR); Intel ICH9 datasheet, section 13.1 (LPC bridge).

use super::{HOST_BRIDGE, IO_SPACE, POWER_PORTS, ROUTE, Setting};
use abi::layout::{MMCONFIG_START, ROOT_COMPLEX_START};
use abi::pci::{Function, ID_Q35};

const LPC_BRIDGE: Function = Function::new(0, 0x1f, 0);

/// Programmable attribute map from 0xC0000 on, two 16 KiB blocks a byte: PAM0 for 0xF0000 in the
/// first byte, PAM1 to PAM3 behind it.
pub const PAM0: u8 = 0x90;
/// PAM4 to PAM6, and the legacy access control.
const PAM4: u8 = 0x94;
/// Three bytes of PAM: reads and writes go to RAM.
const PAM_RAM: u32 = 0x33_3333;
/// Memory-mapped configuration space: base address; 256 MiB where the other bits are 0.
const PCIEXBAR: u8 = 0x60;
/// [`PCIEXBAR`], [`RCBA`]: decoding enabled.
const ENABLE: u32 = 1;
/// Power-management base address, and [`ACPI_CNTL`]: its enable bit; SCI at interrupt 9.
const PMBASE: u8 = 0x40;
const ACPI_CNTL: u8 = 0x44;
const ACPI_EN: u32 = 1 << 7;
/// Interrupt router, a byte for each of pins A to D, and E to H.
const PIRQ_A: u8 = 0x60;
const PIRQ_E: u8 = 0x68;
/// Root complex base address. A watchdog's driver looks for the registers behind it.
const RCBA: u8 = 0xf0;

/// Host bridge and ICH9 LPC bridge.
pub const SETTLED: [u32; 2] = [ID_Q35, 0x2918_8086];

/// The chipset's own devices have their pins in order, those in slots are turned by one each.
pub const fn turn(device: u8) -> u8 {
    const LAST_SLOT: u8 = 24;
    if device <= LAST_SLOT { device } else { 0 }
}

/// After a reset PAM0 is 0, the image, and so is the legacy access control.
pub const SETTINGS: [Setting; 8] = [
    (HOST_BRIDGE, PAM0, PAM_RAM << 8),
    (HOST_BRIDGE, PAM4, PAM_RAM),
    (HOST_BRIDGE, PCIEXBAR, low(MMCONFIG_START) | ENABLE),
    (LPC_BRIDGE, PMBASE, POWER_PORTS | IO_SPACE),
    (LPC_BRIDGE, ACPI_CNTL, ACPI_EN),
    (LPC_BRIDGE, PIRQ_A, ROUTE),
    (LPC_BRIDGE, PIRQ_E, ROUTE),
    (LPC_BRIDGE, RCBA, low(ROOT_COMPLEX_START) | ENABLE),
];

/// The low half of an address; both lie below 4 GiB.
#[allow(clippy::cast_possible_truncation)]
const fn low(address: u64) -> u32 {
    address as u32
}
