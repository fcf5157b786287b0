// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest-physical map: every fixed address of the machine and of the firmware.
//!
//! Spec for the machine: QEMU `hw/i386/microvm.c`. All addresses are guest-physical, all sizes in
//! bytes. A physical address appears as a literal in this file or nowhere.
//!
//! ```text
//! 4 GiB      ┌──────────────────────────┐ RESET_VECTOR is 16 bytes below
//!            │ firmware image (ROM)     │ ROM_TOP - image size
//! 0xFEE00000 │ local APICs              │
//! 0xFEC00000 │ I/O APIC                 │
//! 0xFEB00000 │ virtio-mmio devices      │
//! 0xFEA00000 │ generic event device     │
//!            ┊ hole                     ┊
//! 3 GiB      ├──────────────────────────┤ RAM_BELOW_4G_END (RAM continues at 4 GiB)
//!            │ RAM: kernel, initrd      │
//! 1 MiB      ├──────────────────────────┤ HIGH_RAM_START
//! 0xF0000    │ firmware image (alias)   │ ROM_ALIAS_START: the firmware runs here
//! 0xE0000    ├──────────────────────────┤ RSDP_SCAN_START
//!            │ ACPI tables              │ reserved in the e820 map as far as used
//! 0xC0000    ├──────────────────────────┤ TABLES_START
//!            ┊                          ┊
//! 0xA0000    ├──────────────────────────┤ LOW_RAM_END
//!            │ hand-off block           │ grows down; reserved in the e820 map
//!            ┊                          ┊
//! 0x20000    ├──────────────────────────┤ HANDOFF_FLOOR
//!            │ firmware scratch         │ SCRATCH
//! 0x10000    ├──────────────────────────┤ STACK_TOP, later REAL_MODE_START
//!            │ firmware stack           │
//! 0x08000    ├──────────────────────────┤ STACK_BOTTOM, PAGE_TABLES_END
//!            │ page tables              │ of a processor without 1 GiB pages
//! 0x05000    ├──────────────────────────┤ PAGE_TABLES_START
//!            │ unused                   │
//! 0x00500    │ BIOS data area, IVT      │
//! 0          └──────────────────────────┘
//! ```

/// Size of a page.
pub const PAGE_SIZE: u64 = 0x1000;

// ---- the machine ------------------------------------------------------------------------------

/// End of conventional memory: 640 KiB.
pub const LOW_RAM_END: u64 = 0xa_0000;
/// Memory from here to the firmware image is for tables: on a PC it is RAM behind the option ROMs,
/// and no kernel takes it for its own.
pub const TABLES_START: u64 = 0xc_0000;
/// From here on kernels scan for the ACPI RSDP (to 1 MiB).
pub const RSDP_SCAN_START: u64 = 0xe_0000;
/// Start of extended memory: 1 MiB.
pub const HIGH_RAM_START: u64 = 0x10_0000;
/// RAM up to this address lies below 4 GiB, the rest from 4 GiB on.
pub const RAM_BELOW_4G_END: u64 = 0xc000_0000;
/// Where RAM continues above the hole, and where the firmware image ends.
pub const RAM_ABOVE_4G_START: u64 = 0x1_0000_0000;
/// End of the firmware image.
pub const ROM_TOP: u64 = 0x1_0000_0000;
/// A firmware image is a whole number of these.
pub const ROM_GRANULE: u64 = 0x1_0000;
/// Largest firmware image.
pub const ROM_MAX_SIZE: u64 = 0x100_0000;
/// End of the firmware image's alias below 1 MiB.
pub const ROM_ALIAS_END: u64 = 0x10_0000;
/// At most this much of the image's end is visible in the alias.
pub const ROM_ALIAS_MAX_SIZE: u64 = 0x2_0000;
/// The processor's first instruction.
pub const RESET_VECTOR: u64 = ROM_TOP - 16;
/// I/O APIC registers.
pub const IO_APIC_ADDR: u64 = 0xfec0_0000;
/// Registers of a second I/O APIC.
pub const IO_APIC2_ADDR: u64 = 0xfec1_0000;
/// Size of each I/O APIC's range.
pub const IO_APIC_SIZE: u64 = 0x1000;
/// Event selector of the ACPI generic event device: 32 bits.
pub const GED_EVENTS_ADDR: u64 = 0xfea0_0000;
/// Sleep control, sleep status and reset registers of that device: 8 bits each, in this order.
pub const GED_REGISTERS_ADDR: u64 = 0xfea0_0200;
/// Registers of the virtio-mmio devices, slot after slot.
pub const VIRTIO_MMIO_ADDR: u64 = 0xfeb0_0000;
/// Size of a slot.
pub const VIRTIO_MMIO_SIZE: u64 = 0x200;
/// Slots of a machine with one I/O APIC.
pub const VIRTIO_MMIO_SLOTS: u8 = 8;
/// Slots of a machine with two.
pub const VIRTIO_MMIO_MOST_SLOTS: u8 = 24;
/// Local APIC registers.
pub const LOCAL_APIC_ADDR: u64 = 0xfee0_0000;
/// Size of those registers.
pub const LOCAL_APIC_SIZE: u64 = 0x1000;
/// `q35`: configuration space of every PCI bus, memory-mapped (`PCIEXBAR`), 1 MiB a bus.
pub const MMCONFIG_START: u64 = 0xb000_0000;
/// Size of that range: 256 buses.
pub const MMCONFIG_SIZE: u64 = 0x1000_0000;
/// `q35`: root complex registers (`RCBA`).
pub const ROOT_COMPLEX_START: u64 = 0xfed1_c000;
/// Size of the root complex registers.
pub const ROOT_COMPLEX_SIZE: u64 = 0x4000;

/// KVM's identity-map page, which a VMM declares reserved (`KVM_SET_IDENTITY_MAP_ADDR`).
pub const KVM_IDENTITY_MAP_ADDR: u64 = 0xfeff_c000;
/// KVM's three task-state pages (`KVM_SET_TSS_ADDR`).
pub const KVM_TSS_ADDR: u64 = 0xfeff_d000;
/// Size of the reserved range that starts at [`KVM_IDENTITY_MAP_ADDR`]: both of the above.
pub const KVM_RESERVED_SIZE: u64 = 0x4000;

/// BIOS data area.
pub const BDA_START: u64 = 0x400;
/// BIOS data area: segment of the extended BIOS data area (16-bit).
pub const BDA_EBDA_SEGMENT: u64 = 0x40e;
/// BIOS data area: base memory in KiB (16-bit).
pub const BDA_BASE_MEMORY_KIB: u64 = 0x413;

// ---- addresses a VMM suggests in fw_cfg, as QEMU does ---------------------------------------

/// Real-mode part of a bzImage (`SETUP_ADDR`).
pub const SUGGESTED_SETUP_ADDR: u32 = 0x1_0000;
/// Command line of a bzImage (`CMDLINE_ADDR`).
pub const SUGGESTED_CMDLINE_ADDR: u32 = 0x2_0000;
/// Protected-mode part of a zImage (`KERNEL_ADDR`).
pub const SUGGESTED_LOW_KERNEL_ADDR: u32 = 0x1_0000;
/// Protected-mode part of a bzImage (`KERNEL_ADDR`).
pub const SUGGESTED_KERNEL_ADDR: u32 = 0x10_0000;
/// Where QEMU's loader of multiboot kernels puts the memory map.
pub const SUGGESTED_MULTIBOOT_MAP_ADDR: u32 = 0x9000;
/// Where it puts the boot information.
pub const SUGGESTED_MULTIBOOT_INFO_ADDR: u32 = 0x9500;

// ---- the firmware -----------------------------------------------------------------------------

/// Size of our firmware image.
pub const ROM_SIZE: u64 = 0x1_0000;
/// Where our firmware image runs: its alias below 1 MiB.
pub const ROM_ALIAS_START: u64 = ROM_ALIAS_END - ROM_SIZE;
/// Three page tables that map the first 2 MiB, on a processor without 1 GiB pages.
pub const PAGE_TABLES_START: u64 = 0x5000;
/// End of those page tables.
pub const PAGE_TABLES_END: u64 = PAGE_TABLES_START + 3 * PAGE_SIZE;
/// Lowest address of the firmware's stack.
pub const STACK_BOTTOM: u64 = 0x8000;
/// End of the firmware's stack.
pub const STACK_TOP: u64 = 0x1_0000;
/// Buffers the firmware needs only until the kernel starts.
pub const SCRATCH_START: u64 = 0x1_0000;
/// End of those buffers.
pub const SCRATCH_END: u64 = 0x2_0000;
/// Real-mode part of a Linux kernel: takes the place of the buffers, last of all.
pub const REAL_MODE_START: u64 = 0x1_0000;
/// End of the segment of that real-mode part.
pub const REAL_MODE_END: u64 = 0x2_0000;
/// Protected-mode part of a Linux kernel that is not loaded high.
pub const LOW_KERNEL_START: u64 = 0x1_0000;
/// Real-mode part of such a kernel, and of any before protocol 2.02; the former ends here.
pub const OLD_REAL_MODE_START: u64 = 0x9_0000;
/// End of the memory that such a real-mode part uses.
pub const OLD_REAL_MODE_END: u64 = 0x9_a000;
/// What the kernel is given is placed downwards from [`LOW_RAM_END`], never below this address.
pub const HANDOFF_FLOOR: u64 = 0x2_0000;

const _: () = assert!(PAGE_TABLES_START.is_multiple_of(PAGE_SIZE));
const _: () = assert!(PAGE_TABLES_END <= STACK_BOTTOM);
const _: () = assert!(STACK_BOTTOM < STACK_TOP && STACK_TOP <= SCRATCH_START);
const _: () = assert!(SCRATCH_END <= HANDOFF_FLOOR && HANDOFF_FLOOR < LOW_RAM_END);
const _: () = assert!(SCRATCH_START <= REAL_MODE_START && REAL_MODE_END <= HANDOFF_FLOOR);
const _: () = assert!(LOW_RAM_END < TABLES_START && RSDP_SCAN_START < ROM_ALIAS_START);
const _: () = assert!(ROM_SIZE.is_multiple_of(ROM_GRANULE) && ROM_SIZE <= ROM_ALIAS_MAX_SIZE);
