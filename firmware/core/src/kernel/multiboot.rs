// SPDX-License-Identifier: MIT OR Apache-2.0
//! A multiboot kernel and what comes with it.
//!
//! Spec: Multiboot Specification 0.6.96, section 3.3; QEMU `hw/i386/multiboot.c` for the order of
//! the blob: kernel, list of modules, strings, modules.
//! In: `fw_cfg` items. Out: a [`Multiboot`]. The VMM has read the kernel's header. Every address in
//! what it hands over is an allegation: it has to be in the blob, behind the kernel and in order.

use super::KernelError;
use crate::fw_cfg::Transport;
use crate::memory::Range;
use crate::words::{Speaker, Words, display, say};
use abi::fw_cfg::Key;
use abi::multiboot::{Info, InfoFlags, Module};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

const MODULE_SIZE: u32 = 16;

const _: () = assert!(size_of::<Module>() == MODULE_SIZE as usize);

/// A multiboot kernel, still in `fw_cfg`.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Multiboot {
    /// Command line and module list, where the flags say that they are there; nothing else.
    pub info: Info,
    /// Where the kernel goes, with its modules and its strings behind it: guest-physical address.
    pub addr: U32,
    /// Size in bytes of all that.
    pub size: U32,
    /// Guest-physical entry point.
    pub entry: U32,
    /// First guest-physical address behind all strings; 0 when there are none.
    pub strings_end: U32,
}

impl Multiboot {
    /// What the kernel, its modules and its strings occupy.
    #[must_use]
    pub fn image(&self) -> Range {
        let start = u64::from(self.addr.get());
        Range::between(start, start.saturating_add(self.size.get().into()))
    }

    /// Asks for what comes with a kernel whose address, size and entry point are known.
    #[cold] // in bytes rather than in instructions
    #[inline(never)]
    pub(super) fn gather(&mut self, fw_cfg: &mut impl Transport) -> Result<(), KernelError> {
        let found = fw_cfg.read_u32(Key::INITRD_SIZE)?;
        if found as usize != size_of::<Info>() {
            return Err(MultibootError::InfoSize { found }.into());
        }
        let mut given = Info::new_zeroed();
        fw_cfg.read(Key::INITRD_DATA, given.as_mut_bytes())?;
        let flags = given.flags.get();
        self.info.zero();
        self.strings_end = 0.into();
        // The kernel reaches at least behind its entry point.
        let mut free = Span {
            start: self.entry.get().saturating_add(1),
            end: self.addr.get().saturating_add(self.size.get()),
        };
        let mut strings = free;
        if flags & InfoFlags::MODULES.bits() != 0 {
            let (list, count) = (given.mods_addr.get(), given.mods_count.get());
            let size = count.saturating_mul(MODULE_SIZE);
            Part::ModuleList.cut_from(&mut free, list, size)?;
            strings = free;
            fw_cfg.seek(Key::KERNEL_DATA, list.wrapping_sub(self.addr.get()))?;
            for index in 0..count {
                let mut module = Module::new_zeroed();
                fw_cfg.read_more(module.as_mut_bytes())?;
                let start = module.mod_start.get();
                let size = module.mod_end.get().checked_sub(start);
                Part::Module.cut_from(&mut free, start, size.unwrap_or(u32::MAX))?;
                if index == 0 {
                    strings.end = start;
                }
                Part::ModuleString.cut_from(&mut { strings }, module.string.get(), 1)?;
                self.strings_end = strings.end.into();
            }
            self.info.mods_addr = given.mods_addr;
            self.info.mods_count = given.mods_count;
        }
        if flags & InfoFlags::CMDLINE.bits() != 0 {
            Part::CommandLine.cut_from(&mut { strings }, given.cmdline.get(), 1)?;
            self.strings_end = strings.end.into();
            self.info.cmdline = given.cmdline;
        }
        self.info.flags = (flags & (InfoFlags::MODULES | InfoFlags::CMDLINE).bits()).into();
        Ok(())
    }
}

/// The guest-physical addresses from `start` up to, not including, `end`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// First address.
    pub start: u32,
    /// First address behind it.
    pub end: u32,
}

/// What comes with a multiboot kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// Its command line.
    CommandLine,
    /// The list of its modules.
    ModuleList,
    /// A module.
    Module,
    /// A module's command line.
    ModuleString,
}

impl Part {
    /// Leaves of `free` what is behind the `size` bytes at `start`, which have to be inside.
    #[inline(never)]
    fn cut_from(self, free: &mut Span, start: u32, size: u32) -> Result<(), MultibootError> {
        match start.checked_add(size) {
            Some(end) if free.start <= start && end <= free.end => {
                free.start = end;
                Ok(())
            }
            _ => Err(MultibootError::Misplaced {
                part: self,
                free: *free,
                start,
                size,
            }),
        }
    }
}

/// Why a multiboot kernel cannot be started.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MultibootError {
    /// The information the VMM has prepared has another size.
    InfoSize {
        /// Its size in bytes.
        found: u32,
    },
    /// Something is outside the blob, or overlaps what comes before it.
    Misplaced {
        /// What.
        part: Part,
        /// Where it may be.
        free: Span,
        /// Its guest-physical address.
        start: u32,
        /// Its size in bytes; [`u32::MAX`] for more, and for what ends before it starts.
        size: u32,
    },
}

impl From<MultibootError> for KernelError {
    fn from(error: MultibootError) -> Self {
        Self::Multiboot(error)
    }
}

impl Words for MultibootError {
    fn say(&self, to: &mut Speaker<'_>) {
        match *self {
            Self::InfoSize { found } => say!(
                to,
                "multiboot information: expected % bytes, found %",
                size_of::<Info>(),
                found
            ),
            Self::Misplaced {
                part,
                free,
                start,
                size,
            } => {
                let part = match part {
                    Part::CommandLine => "command line",
                    Part::ModuleList => "module list",
                    Part::Module => "module",
                    Part::ModuleString => "module string",
                };
                say!(to, "multiboot ");
                to.text(part);
                say!(to, ": expected it in #..#", free.start, free.end);
                say!(to, ", found # bytes at #", size, start);
            }
        }
    }
}

display!(MultibootError);
