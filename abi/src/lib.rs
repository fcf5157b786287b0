// SPDX-License-Identifier: MIT OR Apache-2.0
//! The bytes two programs must agree on, written once.
//!
//! A virtual machine monitor, the firmware inside it and the kernel that the firmware starts are
//! three programs with one contract. Every structure that crosses one of those borders lives here,
//! with its endianness in the field types, its size asserted underneath, and its specification
//! named above. Nothing in this crate performs I/O or takes a decision.
//!
//! | module | contract between | specification |
//! |---|---|---|
//! | [`fw_cfg`] | VMM and firmware | QEMU `docs/specs/fw_cfg.rst` |
//! | [`debug`] | VMM and firmware | this crate; trace points as in qboot's `benchmark.h` |
//! | [`layout`] | VMM and firmware | QEMU `microvm` machine, and this crate |
//! | [`table_loader`] | VMM and firmware | QEMU `hw/acpi/bios-linker-loader.c` |
//! | [`e820`] | VMM, firmware and kernel | ACPI 6.5, section 15 |
//! | [`linux`] | firmware and kernel | Linux `Documentation/arch/x86/boot.rst` |
//! | [`multiboot`] | VMM, firmware and kernel | Multiboot Specification 0.6.96 |
//! | [`pvh`] | firmware and kernel | Xen `include/public/arch-x86/hvm/start_info.h` |
//! | [`mp`] | firmware and kernel | Intel MultiProcessor Specification 1.4 |
//! | [`pci`] | machine and firmware | PCI Local Bus 3.0, PCI-to-PCI Bridge 1.2 |
//! | [`acpi`] | firmware and kernel | ACPI 6.5 |
//! | [`smbios`] | VMM, firmware and kernel | DMTF DSP0134 |
//! | [`virtio`] | VMM and kernel | VIRTIO 1.2 |

#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod acpi;
pub mod bios;
pub mod checksum;
pub mod debug;
pub mod e820;
pub mod fw_cfg;
pub mod layout;
pub mod linux;
pub mod mp;
pub mod multiboot;
pub mod pci;
pub mod pvh;
pub mod smbios;
pub mod table_loader;
pub mod virtio;
