// SPDX-License-Identifier: MIT OR Apache-2.0
//! The devices of the machine, each a state machine behind its registers.
//!
//! In: register accesses, and what a constructor was given. Out: register values.
//! Never: knows KVM, threads of the run, or how the guest boots.
//!
//! | ports | device |
//! |-------|--------|
//! | 0x064, 0xcf9 | [`reset`] |
//! | 0x020, 0x021, 0x0a0, 0x0a1, 0x4d0, 0x4d1 | [`pic`], where it is not KVM's |
//! | 0x040–0x043, 0x061 | [`pit`], where it is not KVM's |
//! | 0x070, 0x071 | [`cmos`] |
//! | 0x0f4, 0x0f5, 0x51c | [`debug`] |
//! | 0x3f8–0x3ff | [`serial`] |
//! | 0x402 | [`debugcon`] |
//! | 0x505 | [`pvpanic`] |
//! | 0x510–0x51b | [`fw_cfg`] |
//!
//! | addresses | device |
//! |-----------|--------|
//! | 0xfea00000–0xfea00003, 0xfea00200–0xfea00202 | [`ged`] |
//! | 0xfeb00000–0xfeb02fff, 0x200 a slot | [`virtio`] |
//! | 0xfec00000–0xfec00fff, 0xfec10000–0xfec10fff | [`ioapic`], where they are not KVM's |
//!
//! [`map`] says which of them a machine has; the buses ([`bus`], [`mmio`]) find them there.
//!
//! Local APICs are KVM's, and with `irqchip=kernel` also the I/O APIC, 8259, 8254 and port 0x61.
//! Every other port reads as ones, every other address without memory as zero.

pub mod alarm;
pub mod bus;
pub mod cmos;
pub mod debug;
pub mod debugcon;
pub mod fw_cfg;
pub mod ged;
pub mod interrupts;
pub mod ioapic;
pub mod line;
pub mod map;
pub mod mmio;
pub mod pic;
pub mod pit;
pub mod pvpanic;
pub mod reset;
pub mod serial;
pub mod virtio;
