// SPDX-License-Identifier: MIT OR Apache-2.0
//! bzImage: split it as QEMU does, and complete its header as QEMU does.
//!
//! Spec: Linux `Documentation/arch/x86/boot.rst`; the patched bytes are those of QEMU
//! `x86_load_linux`. In: the first 8 KiB, and the file's size. Every declared size is checked.

use super::Entry;
use crate::memory::Layout;
use abi::layout::{
    HIGH_RAM_START, SUGGESTED_CMDLINE_ADDR, SUGGESTED_KERNEL_ADDR, SUGGESTED_LOW_KERNEL_ADDR,
    SUGGESTED_SETUP_ADDR,
};
use abi::linux::{
    BOOT_FLAG, DEFAULT_SETUP_SECTS, ENTRY_64_OFFSET, HEADER_MAGIC, LOADER_TYPE_QEMU, LoadFlags,
    PARAGRAPH_SIZE, SECTOR_SIZE, SETUP_HEADER_OFFSET, SetupHeader, VERSION_2_12, XLoadFlags,
};
use std::mem::offset_of;
use zerocopy::FromBytes;

/// End of the fields that QEMU's patches touch before protocol 2.02; no header may be shorter.
pub(super) const HEADER_END: usize = 0x228;

/// Where the magic lies.
const MAGIC_OFFSET: usize = SETUP_HEADER_OFFSET + offset_of!(SetupHeader, header);

/// Protocol 2.01: heap.
const VERSION_2_01: u16 = 0x0201;
/// Protocol 2.02: 32-bit command line pointer.
const VERSION_2_02: u16 = 0x0202;
/// Protocol 2.03: `initrd_addr_max`.
const VERSION_2_03: u16 = 0x0203;
/// Protocol 2.04: 32-bit `syssize`.
const VERSION_2_04: u16 = 0x0204;
/// Protocol 2.10: `init_size`.
const VERSION_2_10: u16 = 0x020a;

/// `initrd_addr_max` before protocol 2.03.
const OLD_INITRD_ADDR_MAX: u64 = 0x37ff_ffff;
/// Where the real-mode part goes before protocol 2.02, and that of a zImage.
const OLD_SETUP_ADDR: u32 = 0x9_0000;
/// End of the command line before protocol 2.02, and of a zImage's.
const OLD_CMDLINE_END: u32 = 0x9_a000;
/// Room for the protected-mode part of a zImage, in bytes.
const LOW_KERNEL_SIZE: u64 = (OLD_SETUP_ADDR - SUGGESTED_LOW_KERNEL_ADDR) as u64;
/// The magic before the command line's offset.
const OLD_CMDLINE_MAGIC: u16 = 0xa33f;
/// Before protocol 2.02: magic, then the command line's offset in the real-mode segment.
const OLD_CMDLINE_OFFSET: usize = 0x20;

/// What is wrong with a bzImage.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The header is cut off.
    #[error("bzImage header: expected at least {HEADER_END} bytes, found {0}")]
    ShortHeader(u64),
    /// The boot flag is missing.
    #[error("bzImage header: expected the boot flag 0xaa55 at offset 0x1fe, found {0:#06x}")]
    BootFlag(u16),
    /// The protocol is older than any kernel that can be met.
    #[error("bzImage header: expected boot protocol 2.00 or later, found {0:#06x}")]
    Version(u16),
    /// The real-mode part is cut off.
    #[error("bzImage setup part: expected {expected} bytes by its header, found a file of {found}")]
    ShortSetup {
        /// Bytes declared.
        expected: u64,
        /// Bytes in the file.
        found: u64,
    },
    /// The protected-mode part is cut off.
    #[error(
        "bzImage is truncated: expected {expected} bytes of protected-mode code by its header, \
         found {found}"
    )]
    ShortKernel {
        /// Bytes declared.
        expected: u64,
        /// Bytes in the file.
        found: u64,
    },
    /// There is nothing to run.
    #[error("bzImage: expected protected-mode code after its setup part, found none")]
    Empty,
    /// RAM is too small.
    #[error(
        "bzImage: expected RAM up to {needed:#x} ({needed} bytes), which the kernel needs, found \
         {found} bytes of --memory below 4 GiB"
    )]
    Memory {
        /// End of what it needs.
        needed: u64,
        /// RAM below 4 GiB.
        found: u64,
    },
    /// A low kernel would lie over its own real-mode part.
    #[error(
        "the kernel is a zImage, which loads at 64 KiB: expected at most {LOW_KERNEL_SIZE} bytes of \
         protected-mode code, found {0}"
    )]
    Low(u64),
}

/// Whether the file claims to be a bzImage.
pub(super) fn is_bzimage(head: &[u8]) -> bool {
    head.get(MAGIC_OFFSET..MAGIC_OFFSET + HEADER_MAGIC.len()) == Some(&HEADER_MAGIC[..])
}

/// A bzImage that can be booted.
#[derive(Debug)]
pub(super) struct Image {
    header: SetupHeader,
    kernel_size: u64,
}

/// Where QEMU suggests the parts go: guest-physical addresses.
#[derive(Debug)]
pub(super) struct Placement {
    pub setup: u32,
    pub cmdline: u32,
    pub kernel: u32,
}

impl Image {
    /// Reads and checks the header of a file of `file_size` bytes that begins with `head`.
    pub(super) fn parse(head: &[u8], file_size: u64, layout: &Layout) -> Result<Self, Problem> {
        if head.len() < HEADER_END {
            return Err(Problem::ShortHeader(head.len() as u64));
        }
        // A header that ends early is completed with zeros; fields beyond what its protocol
        // version has are not looked at.
        let mut padded = [0; size_of::<SetupHeader>()];
        let raw = head.get(SETUP_HEADER_OFFSET..).unwrap_or(&[]);
        padded
            .iter_mut()
            .zip(raw)
            .for_each(|(to, from)| *to = *from);
        let Ok(header) = SetupHeader::read_from_bytes(&padded) else {
            return Err(Problem::ShortHeader(head.len() as u64));
        };
        if header.boot_flag.get() != BOOT_FLAG {
            return Err(Problem::BootFlag(header.boot_flag.get()));
        }
        if header.version.get() < 0x0200 {
            return Err(Problem::Version(header.version.get()));
        }
        let mut image = Self {
            header,
            kernel_size: 0,
        };
        let setup = image.setup_size() as u64;
        image.kernel_size = file_size.checked_sub(setup).ok_or(Problem::ShortSetup {
            expected: setup,
            found: file_size,
        })?;
        image.check(layout)?;
        Ok(image)
    }

    fn check(&self, layout: &Layout) -> Result<(), Problem> {
        if self.kernel_size == 0 {
            return Err(Problem::Empty);
        }
        if !self.is_high() && self.kernel_size > LOW_KERNEL_SIZE {
            return Err(Problem::Low(self.kernel_size));
        }
        let paragraphs = self.kernel_size.div_ceil(PARAGRAPH_SIZE as u64);
        let declared = u64::from(self.header.syssize.get());
        if self.version() >= VERSION_2_04 && paragraphs < declared {
            return Err(Problem::ShortKernel {
                expected: declared * PARAGRAPH_SIZE as u64,
                found: self.kernel_size,
            });
        }
        if self.kernel_end() > layout.below_4g() {
            return Err(Problem::Memory {
                needed: self.kernel_end(),
                found: layout.below_4g(),
            });
        }
        Ok(())
    }

    fn version(&self) -> u16 {
        self.header.version.get()
    }

    fn is_high(&self) -> bool {
        LoadFlags::from_bits_truncate(self.header.loadflags).contains(LoadFlags::LOADED_HIGH)
    }

    /// Size in bytes of the real-mode part, the boot sector included.
    pub(super) fn setup_size(&self) -> usize {
        let sectors = match self.header.setup_sects {
            0 => DEFAULT_SETUP_SECTS,
            sectors => sectors,
        };
        (usize::from(sectors) + 1) * SECTOR_SIZE
    }

    /// The least address that RAM must reach: the end of the code at its default place, and of
    /// what it needs around itself when it starts.
    pub(super) fn kernel_end(&self) -> u64 {
        if !self.is_high() {
            return HIGH_RAM_START;
        }
        let needs = if self.version() >= VERSION_2_10 {
            self.header.init_size.get()
        } else {
            0
        };
        let fixed = self.version() >= VERSION_2_10 && self.header.relocatable_kernel == 0;
        let run = if fixed {
            self.header.pref_address.get()
        } else {
            HIGH_RAM_START
        };
        let loaded = HIGH_RAM_START + self.kernel_size;
        run.saturating_add(needs.into()).max(loaded)
    }

    /// Last address the initrd may touch.
    pub(super) fn initrd_ceiling(&self, layout: &Layout) -> u64 {
        let flags = XLoadFlags::from_bits_truncate(self.header.xloadflags.get());
        let limit = if self.version() >= VERSION_2_12
            && flags.contains(XLoadFlags::CAN_BE_LOADED_ABOVE_4G)
        {
            u64::from(u32::MAX)
        } else if self.version() >= VERSION_2_03 {
            self.header.initrd_addr_max.get().into()
        } else {
            OLD_INITRD_ADDR_MAX
        };
        limit.min(layout.below_4g() - 1)
    }

    /// Where firmware that puts the real-mode part where it is `placed` may enter the kernel. The
    /// protected-mode part lies where such a kernel prefers to run, or where it always was.
    pub(super) fn entries(&self, placed: &Placement) -> Vec<Entry> {
        let relocatable = self.version() >= VERSION_2_10 && self.header.relocatable_kernel != 0;
        let preferred = match relocatable {
            true => self.header.pref_address.get().max(HIGH_RAM_START),
            false => placed.kernel.into(),
        };
        let entry = |way, address| Entry { way, address };
        let mut entries = vec![
            entry("linux16", u64::from(placed.setup) + SECTOR_SIZE as u64),
            entry("linux32", preferred),
            entry("linux64", preferred + ENTRY_64_OFFSET),
        ];
        if preferred != u64::from(placed.kernel) {
            entries.push(entry("linux32", placed.kernel.into()));
        }
        entries
    }

    /// Where the parts go; `cmdline_size` counts the NUL.
    pub(super) fn placement(&self, cmdline_size: usize) -> Placement {
        let old_cmdline = OLD_CMDLINE_END.saturating_sub(u32::try_from(cmdline_size).unwrap_or(0));
        if !self.is_high() {
            Placement {
                setup: OLD_SETUP_ADDR,
                cmdline: old_cmdline,
                kernel: SUGGESTED_LOW_KERNEL_ADDR,
            }
        } else if self.version() < VERSION_2_02 {
            Placement {
                setup: OLD_SETUP_ADDR,
                cmdline: old_cmdline,
                kernel: SUGGESTED_KERNEL_ADDR,
            }
        } else {
            Placement {
                setup: SUGGESTED_SETUP_ADDR,
                cmdline: SUGGESTED_CMDLINE_ADDR,
                kernel: SUGGESTED_KERNEL_ADDR,
            }
        }
    }
}

/// Completes the header in `setup`, the real-mode part, as a boot loader of QEMU's kind does.
pub(super) fn patch(
    setup: &mut [u8],
    image: &Image,
    placed: &Placement,
    cmdline: &[u8],
    ramdisk: Option<(u32, u32)>,
) {
    let field = |offset| SETUP_HEADER_OFFSET + offset;
    if image.version() >= VERSION_2_02 {
        put(
            setup,
            field(offset_of!(SetupHeader, cmd_line_ptr)),
            &placed.cmdline.to_le_bytes(),
        );
    } else {
        let distance = placed.cmdline.wrapping_sub(placed.setup).to_le_bytes();
        put(setup, OLD_CMDLINE_OFFSET, &OLD_CMDLINE_MAGIC.to_le_bytes());
        put(setup, OLD_CMDLINE_OFFSET + 2, &distance[..2]);
    }
    if let Some(mode) = video_mode(cmdline) {
        put(
            setup,
            field(offset_of!(SetupHeader, vid_mode)),
            &mode.to_le_bytes(),
        );
    }
    put(
        setup,
        field(offset_of!(SetupHeader, type_of_loader)),
        &[LOADER_TYPE_QEMU],
    );
    if image.version() >= VERSION_2_01 {
        let flags = image.header.loadflags | LoadFlags::CAN_USE_HEAP.bits();
        put(setup, field(offset_of!(SetupHeader, loadflags)), &[flags]);
        // The heap ends where the command line begins; the field counts from offset 0x200.
        let heap = placed
            .cmdline
            .wrapping_sub(placed.setup)
            .wrapping_sub(0x200)
            .to_le_bytes();
        put(
            setup,
            field(offset_of!(SetupHeader, heap_end_ptr)),
            &heap[..2],
        );
    }
    if let Some((address, size)) = ramdisk {
        put(
            setup,
            field(offset_of!(SetupHeader, ramdisk_image)),
            &address.to_le_bytes(),
        );
        put(
            setup,
            field(offset_of!(SetupHeader, ramdisk_size)),
            &size.to_le_bytes(),
        );
    }
}

fn put(setup: &mut [u8], offset: usize, bytes: &[u8]) {
    if let Some(place) = setup.get_mut(offset..offset + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// The mode that `vga=` on the command line asks for: a number or one of three words.
fn video_mode(cmdline: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(cmdline);
    let value = text.split("vga=").nth(1)?.split([' ', '\0']).next()?;
    let number = match value
        .strip_prefix("0x")
        .or_else(|| value.strip_prefix("0X"))
    {
        Some(hex) => u16::from_str_radix(hex, 16).ok(),
        None => value.parse().ok(),
    };
    match value {
        "normal" => Some(0xffff),
        "ext" => Some(0xfffe),
        "ask" => Some(0xfffd),
        _ => number,
    }
}
