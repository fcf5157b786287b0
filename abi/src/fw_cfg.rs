// SPDX-License-Identifier: MIT OR Apache-2.0
//! The firmware configuration device: how a VMM tells firmware what to boot.
//!
//! Spec: QEMU `docs/specs/fw_cfg.rst`; item keys from `include/standard-headers/linux/qemu_fw_cfg.h`.
//! Items are little-endian; the file directory and the DMA interface are big-endian.

use bitflags::bitflags;
use zerocopy::big_endian;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First port of the device.
pub const PORT_BASE: u16 = 0x510;
/// Number of consecutive ports it decodes.
pub const PORT_COUNT: u16 = 12;
/// Selector register: 16-bit write, little-endian. Selecting an item rewinds it.
pub const PORT_SELECTOR: u16 = 0x510;
/// Data register: each 8-bit read returns the next byte of the selected item.
pub const PORT_DATA: u16 = 0x511;
/// High half of the DMA address register: 32-bit, big-endian; zero after every operation.
pub const PORT_DMA_HIGH: u16 = 0x514;
/// Low half of the DMA address register: a 32-bit write, big-endian, starts the operation.
pub const PORT_DMA_LOW: u16 = 0x518;

/// What item [`Key::SIGNATURE`] holds.
pub const SIGNATURE: [u8; 4] = *b"QEMU";
/// What the DMA address register reads as, in port order, where DMA is offered.
pub const DMA_SIGNATURE: [u8; 8] = *b"QEMU CFG";

bitflags! {
    /// Content of item [`Key::ID`] (32-bit).
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct Features: u32 {
        /// The selector and data registers exist; always set.
        const TRADITIONAL = 1 << 0;
        /// The DMA interface exists.
        const DMA = 1 << 1;
    }
}

/// The key of an item, as written to the selector register.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Key(pub u16);

impl Key {
    /// [`SIGNATURE`], 4 bytes.
    pub const SIGNATURE: Self = Self(0x00);
    /// [`Features`], 4 bytes.
    pub const ID: Self = Self(0x01);
    /// Machine UUID, 16 bytes.
    pub const UUID: Self = Self(0x02);
    /// RAM size in bytes, 8 bytes.
    pub const RAM_SIZE: Self = Self(0x03);
    /// 1 when there is no graphical display, 2 bytes.
    pub const NOGRAPHIC: Self = Self(0x04);
    /// Processors present at power-on, 2 bytes.
    pub const NB_CPUS: Self = Self(0x05);
    /// Guest-physical address of the protected-mode kernel or of the lowest ELF segment, 4 bytes.
    pub const KERNEL_ADDR: Self = Self(0x07);
    /// Size in bytes of the protected-mode kernel, or of the ELF image in memory, 4 bytes.
    pub const KERNEL_SIZE: Self = Self(0x08);
    /// Suggested guest-physical address of the initial RAM disk, 4 bytes.
    pub const INITRD_ADDR: Self = Self(0x0a);
    /// Size in bytes of the initial RAM disk, 4 bytes.
    pub const INITRD_SIZE: Self = Self(0x0b);
    /// 1 when a boot menu is asked for, 2 bytes.
    pub const BOOT_MENU: Self = Self(0x0e);
    /// Most processors the machine can have, 2 bytes.
    pub const MAX_CPUS: Self = Self(0x0f);
    /// Guest-physical address of the PVH or multiboot entry point, 4 bytes.
    pub const KERNEL_ENTRY: Self = Self(0x10);
    /// The protected-mode kernel.
    pub const KERNEL_DATA: Self = Self(0x11);
    /// The initial RAM disk.
    pub const INITRD_DATA: Self = Self(0x12);
    /// Suggested guest-physical address of the command line, 4 bytes.
    pub const CMDLINE_ADDR: Self = Self(0x13);
    /// Size in bytes of the command line with its NUL, 4 bytes.
    pub const CMDLINE_SIZE: Self = Self(0x14);
    /// The command line, NUL-terminated.
    pub const CMDLINE_DATA: Self = Self(0x15);
    /// Suggested guest-physical address of the real-mode part, 4 bytes.
    pub const SETUP_ADDR: Self = Self(0x16);
    /// Size in bytes of the real-mode part, 4 bytes; for an ELF kernel, of its first bytes.
    pub const SETUP_SIZE: Self = Self(0x17);
    /// The real-mode part; for an ELF kernel, its first bytes.
    pub const SETUP_DATA: Self = Self(0x18);
    /// The file directory: [`Count`](FileCount) and that many [`FileEntry`] records.
    pub const FILE_DIR: Self = Self(0x19);
    /// The first file; files have the keys from here on.
    pub const FILE_FIRST: Self = Self(0x20);
    /// 1 when ISA IRQ 0 arrives at I/O APIC pin 2, 4 bytes (x86).
    pub const IRQ0_OVERRIDE: Self = Self(0x8002);

    /// Bit that names the architecture's own items.
    pub const ARCH_LOCAL: u16 = 0x8000;
    /// Bit of the retired write channel; ignored when an item is looked up.
    pub const WRITE_CHANNEL: u16 = 0x4000;

    /// What QEMU calls the item, in lower case; none for a file, which has a name of its own.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::SIGNATURE => "signature",
            Self::ID => "id",
            Self::UUID => "uuid",
            Self::RAM_SIZE => "ram-size",
            Self::NOGRAPHIC => "nographic",
            Self::NB_CPUS => "nb-cpus",
            Self::KERNEL_ADDR => "kernel-addr",
            Self::KERNEL_SIZE => "kernel-size",
            Self::INITRD_ADDR => "initrd-addr",
            Self::INITRD_SIZE => "initrd-size",
            Self::BOOT_MENU => "boot-menu",
            Self::MAX_CPUS => "max-cpus",
            Self::KERNEL_ENTRY => "kernel-entry",
            Self::KERNEL_DATA => "kernel-data",
            Self::INITRD_DATA => "initrd-data",
            Self::CMDLINE_ADDR => "cmdline-addr",
            Self::CMDLINE_SIZE => "cmdline-size",
            Self::CMDLINE_DATA => "cmdline-data",
            Self::SETUP_ADDR => "setup-addr",
            Self::SETUP_SIZE => "setup-size",
            Self::SETUP_DATA => "setup-data",
            Self::FILE_DIR => "file-dir",
            Self::IRQ0_OVERRIDE => "irq0-override",
            _ => return None,
        })
    }
}

/// The most files a directory can name: keys 0x20 to 0x3fff.
pub const MAX_FILES: u32 = 0x4000 - Key::FILE_FIRST.0 as u32;

/// Files (slots) for which QEMU reserves room in the directory unless told otherwise; its
/// directory item is padded to this many entries.
pub const DEFAULT_FILE_SLOTS: usize = 32;

/// First field of the file directory: the number of entries that follow.
pub type FileCount = big_endian::U32;

/// One entry of the file directory (`struct FWCfgFile`).
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct FileEntry {
    /// Size in bytes of the file.
    pub size: big_endian::U32,
    /// Key of the file.
    pub select: big_endian::U16,
    /// Zero.
    pub reserved: big_endian::U16,
    /// Name in ASCII, ended by a NUL.
    pub name: [u8; FILE_NAME_SIZE],
}

/// Size in bytes of [`FileEntry::name`], the NUL included.
pub const FILE_NAME_SIZE: usize = 56;

const _: () = assert!(size_of::<FileEntry>() == 64);

/// Files with an agreed name.
pub mod file {
    /// What to do when nothing can be booted: milliseconds until a reset (32-bit, little-endian), or a
    /// negative number not to.
    pub const BOOT_FAIL_WAIT: &str = "etc/boot-fail-wait";
    /// Device paths of what to boot, one a line, the first one first.
    pub const BOOT_ORDER: &str = "bootorder";
    /// What the names of option ROMs begin with.
    pub const OPTION_ROMS: &str = "genroms/";
    /// Memory map: [`E820Entry`](crate::e820::E820Entry) records.
    pub const E820: &str = "etc/e820";
    /// The ACPI root pointer (RSDP), which the linker-loader connects with [`ACPI_TABLES`].
    pub const ACPI_RSDP: &str = "etc/acpi/rsdp";
    /// The other ACPI tables, one after the other.
    pub const ACPI_TABLES: &str = "etc/acpi/tables";
    /// ACPI linker-loader script: [`Command`](crate::table_loader::Command) records.
    pub const TABLE_LOADER: &str = "etc/table-loader";
    /// SMBIOS entry point: [`EntryPoint21`](crate::smbios::EntryPoint21) or
    /// [`EntryPoint30`](crate::smbios::EntryPoint30).
    pub const SMBIOS_ANCHOR: &str = "etc/smbios/smbios-anchor";
    /// SMBIOS structures.
    pub const SMBIOS_TABLES: &str = "etc/smbios/smbios-tables";
    /// Port at which a kernel tells that it has panicked (16-bit, little-endian).
    pub const PVPANIC_PORT: &str = "etc/pvpanic-port";
    /// What our firmware prints: absent or `error`, nothing but errors; `info`, one line a phase;
    /// `trace`, and below it whatever the phase has found or decided. Four letters are enough.
    pub const LOG: &str = "opt/org.qboot-rs/log";
    /// Present: our firmware marks its trace points ([`crate::debug`]).
    pub const TRACE: &str = "opt/org.qboot-rs/trace";
    /// What the names of a PVH kernel's modules begin with; the rest of a name is the module's own
    /// command line.
    pub const MODULE: &str = "opt/org.qboot-rs/module/";
    /// 64-bit number: PCI root buses besides bus 0.
    pub const EXTRA_PCI_ROOTS: &str = "etc/extra-pci-roots";
    /// 64-bit number: end of the guest-physical addresses at which memory may be added later.
    pub const RESERVED_MEMORY_END: &str = "etc/reserved-memory-end";
}

/// A file's name as it stands in the directory; of a longer one its beginning.
#[must_use]
#[allow(clippy::indexing_slicing)] // evaluated by the compiler
pub const fn file_name(name: &str) -> [u8; FILE_NAME_SIZE] {
    let mut field = [0; FILE_NAME_SIZE];
    let mut index = 0;
    while index < name.len() && index < FILE_NAME_SIZE - 1 {
        field[index] = name.as_bytes()[index];
        index += 1;
    }
    field
}

/// Whether two names are the same, eight bytes at a time up to the word that ends with a NUL.
///
/// Behind a name's NUL its field holds zeros; a VMM that leaves something else there has given
/// another name.
#[must_use]
#[inline(never)] // inlined, every word of both names is loaded before the first is compared
pub fn same_name(a: &[u8; FILE_NAME_SIZE], b: &[u8; FILE_NAME_SIZE]) -> bool {
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        let (a, b) = (u64::from_le_bytes(*a), u64::from_le_bytes(*b));
        if a != b {
            return false;
        }
        if a >> 56 == 0 {
            return true;
        }
    }
    true
}

/// DMA operation descriptor (`struct FWCfgDmaAccess`), anywhere in guest memory.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct DmaDescriptor {
    /// [`DmaControl`] bits and, with `SELECT`, the item's key in bits 16–31. The device writes
    /// back 0, or [`DmaControl::ERROR`].
    pub control: big_endian::U32,
    /// Number of bytes.
    pub length: big_endian::U32,
    /// Guest-physical address of the buffer.
    pub address: big_endian::U64,
}

const _: () = assert!(size_of::<DmaDescriptor>() == 16);

bitflags! {
    /// Low bits of [`DmaDescriptor::control`].
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct DmaControl: u32 {
        /// Set by the device when the operation failed.
        const ERROR = 1 << 0;
        /// Copy from the item to memory; past the item's end come zeros.
        const READ = 1 << 1;
        /// Advance in the item without copying.
        const SKIP = 1 << 2;
        /// Select the item whose key is in bits 16–31, and rewind it.
        const SELECT = 1 << 3;
        /// Copy from memory to the item.
        const WRITE = 1 << 4;
    }
}

impl DmaControl {
    /// The control word that also selects `key`.
    #[must_use]
    pub const fn with_key(self, key: Key) -> u32 {
        ((key.0 as u32) << 16) | self.bits() | Self::SELECT.bits()
    }
}
