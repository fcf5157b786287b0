// SPDX-License-Identifier: MIT OR Apache-2.0
//! FADT: there is no fixed ACPI hardware, and this is how to sleep and reset without it.
//!
//! Spec: ACPI 6.5, section 5.2.9; revision 5.1, as QEMU's. Unlike QEMU's it says what of a PC is
//! not there, so that no kernel looks for it: a Linux without this knowledge waits a second for
//! an absent RTC.

use super::{OEM_ID, OEM_REVISION, OEM_TABLE_ID, bytes};
use crate::config::Machine;
use crate::devices::ged::{RESET_ADDR, RESET_VALUE, SLEEP_CONTROL_ADDR, SLEEP_STATUS_ADDR};
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};

/// Offset and size in bytes of each pointer to the DSDT.
pub(super) const POINTERS: [(u32, u8); 2] = [(40, 4), (140, 8)];

/// Size in bytes of revision 5. What `acpi_tables` has behind it is of revision 6, and zero here.
const SIZE: u16 = 268;

/// IA-PC boot architecture: there are devices on an ISA bus.
const LEGACY_DEVICES: u16 = 1 << 0;
/// IA-PC boot architecture: there is no VGA.
const NO_VGA: u16 = 1 << 2;
/// IA-PC boot architecture: there is no RTC.
const NO_RTC: u16 = 1 << 5;

/// The table. `dsdt` is where the DSDT lies among the tables.
pub(super) fn table(machine: &Machine, dsdt: u32) -> Vec<u8> {
    let mut table = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION)
        .flag(Flags::ResetRegSup)
        .flag(Flags::HwReducedAcpi);
    table.major_version = 5;
    table.fadt_minor_version = 1;
    table.length = u32::from(SIZE).into();
    table.dsdt = dsdt.into();
    table.x_dsdt = u64::from(dsdt).into();
    let mut present = NO_VGA;
    if machine.isa_serial {
        present |= LEGACY_DEVICES;
    }
    if !machine.rtc {
        present |= NO_RTC;
    }
    table.iapc_boot_arch = present.into();
    table.reset_reg = register(RESET_ADDR);
    table.reset_value = RESET_VALUE;
    table.sleep_control_reg = register(SLEEP_CONTROL_ADDR);
    table.sleep_status_reg = register(SLEEP_STATUS_ADDR);
    let mut table = bytes(&table.finalize());
    table.truncate(SIZE.into());
    table
}

/// Eight bits in memory space.
fn register(address: u64) -> GAS {
    GAS::new(
        AddressSpace::SystemMemory,
        8,
        0,
        AccessSize::ByteAccess,
        address,
    )
}
