// SPDX-License-Identifier: MIT OR Apache-2.0
//! PCI configuration space: where what stands, and how a function says it.
//!
//! Spec: PCI Local Bus Specification 3.0 ("PCI"), sections 3.2.2.3.2 (configuration ports), 6.1 to
//! 6.2.5 (header) and 6.7 (capabilities); PCI-to-PCI Bridge Architecture Specification 1.2
//! ("bridge"), section 3.2; PCI Express Base Specification 3.0 ("PCIe"), section 7.8. All
//! registers are little-endian; offsets are in bytes.

/// Selects a function and a doubleword of its configuration space: `CONFIG_ADDRESS`, 32-bit.
pub const PORT_ADDRESS: u16 = 0xcf8;
/// Shows the doubleword that [`PORT_ADDRESS`] selects: `CONFIG_DATA`, four bytes.
pub const PORT_DATA: u16 = 0xcfc;
/// [`PORT_ADDRESS`]: accesses to [`PORT_DATA`] are configuration accesses.
pub const ADDRESS_ENABLE: u32 = 1 << 31;

/// Buses that there can be.
pub const MAX_BUSES: u16 = 256;
/// Devices on a bus.
pub const DEVICES_PER_BUS: u8 = 32;
/// Functions of a device.
pub const FUNCTIONS_PER_DEVICE: u8 = 8;

/// Where a function is: bus in bits 8-15, device in bits 3-7, function in bits 0-2.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Function(pub u16);

impl Function {
    /// A device on `bus`, its function and nothing above.
    #[must_use]
    pub const fn new(bus: u8, device: u8, function: u8) -> Self {
        Self((bus as u16) << 8 | ((device & 31) as u16) << 3 | (function & 7) as u16)
    }

    /// Its bus.
    #[must_use]
    pub const fn bus(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// Its device number on the bus.
    #[must_use]
    pub const fn device(self) -> u8 {
        self.0.to_le_bytes()[0] >> 3
    }

    /// Its number in the device.
    #[must_use]
    pub const fn function(self) -> u8 {
        self.0.to_le_bytes()[0] & 7
    }

    /// What [`PORT_ADDRESS`] takes to show the doubleword that holds `register`.
    #[must_use]
    pub const fn address(self, register: u8) -> u32 {
        ADDRESS_ENABLE | (self.0 as u32) << 8 | (register & 0xfc) as u32
    }
}

/// Vendor (16-bit) and, above it, device; all ones where there is nothing.
pub const ID: u8 = 0x00;
/// [`COMMAND_IO`] and so on, 16-bit.
pub const COMMAND: u8 = 0x04;
/// Answer to I/O accesses.
pub const COMMAND_IO: u16 = 1 << 0;
/// Answer to memory accesses.
pub const COMMAND_MEMORY: u16 = 1 << 1;
/// Access memory by itself; what a bridge needs to pass such accesses upwards.
pub const COMMAND_MASTER: u16 = 1 << 2;
/// Report errors (`SERR#`).
pub const COMMAND_SERR: u16 = 1 << 8;
/// Header type, in bits 16-23 of the doubleword from 0x0c on.
pub const CACHE_LINE_SIZE: u8 = 0x0c;
/// Layout of the header and [`HEADER_MULTIFUNCTION`], 8-bit.
pub const HEADER_TYPE: u8 = 0x0e;
/// Header type: the device has more than one function.
pub const HEADER_MULTIFUNCTION: u8 = 1 << 7;
/// Header type without [`HEADER_MULTIFUNCTION`]: a device.
pub const HEADER_DEVICE: u8 = 0;
/// Header type without [`HEADER_MULTIFUNCTION`]: a PCI-to-PCI bridge.
pub const HEADER_BRIDGE: u8 = 1;
/// First base address register ("BAR"); each has 32 bits, a 64-bit address takes two.
pub const BAR0: u8 = 0x10;
/// BARs of a device.
pub const DEVICE_BARS: u8 = 6;
/// BARs of a bridge.
pub const BRIDGE_BARS: u8 = 2;
/// BAR: I/O ports; the address is in bits 2-31.
pub const BAR_IO: u32 = 1 << 0;
/// Memory BAR: where it may lie.
pub const BAR_MEMORY_TYPE: u32 = 3 << 1;
/// [`BAR_MEMORY_TYPE`]: anywhere in the 64-bit address space.
pub const BAR_MEMORY_64: u32 = 2 << 1;
/// Memory BAR: reads have no side effect.
pub const BAR_PREFETCHABLE: u32 = 1 << 3;
/// The flags of an I/O BAR, which are no part of the address.
pub const BAR_IO_FLAGS: u32 = 0x3;
/// The flags of a memory BAR, which are no part of the address.
pub const BAR_MEMORY_FLAGS: u32 = 0xf;
/// First capability, 8-bit, where [`STATUS_CAPABILITIES`] is set.
pub const CAPABILITIES: u8 = 0x34;
/// Status (16 bits above [`COMMAND`]): there are capabilities; as a bit of the doubleword.
pub const STATUS_CAPABILITIES: u32 = 1 << 20;
/// Interrupt line, 8-bit: which interrupt of the board, for software.
pub const INTERRUPT_LINE: u8 = 0x3c;
/// Interrupt pin, 8-bit: 1 to 4 for INTA# to INTD#, 0 for none.
pub const INTERRUPT_PIN: u8 = 0x3d;
/// Expansion ROM base address of a device; the address is in bits 11-31.
pub const DEVICE_ROM: u8 = 0x30;
/// Expansion ROM base address of a bridge.
pub const BRIDGE_ROM: u8 = 0x38;
/// The bits of an expansion ROM base address that are no part of the address; bit 0 enables it.
pub const ROM_FLAGS: u32 = 0x7ff;

/// Bridge: primary, secondary and subordinate bus number, 8-bit each.
pub const BRIDGE_BUSES: u8 = 0x18;
/// Bridge: I/O base and limit, 8-bit each, in units of [`BRIDGE_IO_GRANULE`] in their upper halves.
pub const BRIDGE_IO: u8 = 0x1c;
/// Bridge: memory base and limit, 16-bit each: bits 20-31 in their upper 12 bits.
pub const BRIDGE_MEMORY: u8 = 0x20;
/// Bridge: the same for prefetchable memory; the lowest bit of each says that it has 64 bits.
pub const BRIDGE_PREFETCHABLE: u8 = 0x24;
/// Bridge: bits 32-63 of the prefetchable memory base.
pub const BRIDGE_PREFETCHABLE_BASE_HIGH: u8 = 0x28;
/// Bridge: bits 32-63 of the prefetchable memory limit.
pub const BRIDGE_PREFETCHABLE_LIMIT_HIGH: u8 = 0x2c;
/// Bridge: bits 16-31 of I/O base and limit, 16-bit each.
pub const BRIDGE_IO_HIGH: u8 = 0x30;
/// Bridge: bridge control, 16-bit.
pub const BRIDGE_CONTROL: u8 = 0x3e;
/// Bridge control: pass errors upwards.
pub const BRIDGE_CONTROL_SERR: u16 = 1 << 1;
/// An I/O window is a whole number of these, and starts at a multiple of it.
pub const BRIDGE_IO_GRANULE: u64 = 0x1000;
/// A memory window is a whole number of these, and starts at a multiple of it.
pub const BRIDGE_MEMORY_GRANULE: u64 = 0x10_0000;

/// Capability ID of PCI Express, whose register follows ID and next pointer.
pub const CAPABILITY_EXPRESS: u8 = 0x10;
/// PCI Express device/port type, in bits 4-7 of the capability's register, as bits of the doubleword.
pub const EXPRESS_PORT_TYPE: u32 = 0xf << 20;
/// [`EXPRESS_PORT_TYPE`]: root port. Its link leads to one device.
pub const EXPRESS_ROOT_PORT: u32 = 4 << 20;
/// [`EXPRESS_PORT_TYPE`]: downstream port of a switch. Its link leads to one device.
pub const EXPRESS_DOWNSTREAM_PORT: u32 = 6 << 20;

/// Host bridge of QEMU's `pc`: Intel 440FX.
pub const ID_I440FX: u32 = 0x1237_8086;
/// Host bridge of QEMU's `q35`: Intel Q35.
pub const ID_Q35: u32 = 0x29c0_8086;

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_function_has_the_address_that_the_specification_draws() {
        let function = Function::new(0x12, 0x1f, 3);
        assert_eq!(function.address(0x3d), 0x8012_fb3c);
        assert_eq!(
            (function.bus(), function.device(), function.function()),
            (0x12, 0x1f, 3)
        );
    }
}
