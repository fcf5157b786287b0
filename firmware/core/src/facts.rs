// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything the firmware learns before it decides: plain values.
//!
//! In: the device and what CPUID said. Out: [`Facts`]. One question for each item, each asked once.

use crate::board::Board;
use crate::error::BootError;
use crate::fw_cfg::{Directory, File, KnownFiles, MAX_MODULES, Modules, Transport};
use crate::kernel::{Kernel, SetupBuffer};
use crate::processors::{Identity, Processors};
use crate::words::{Speaker, Words, display, say};
use abi::e820::E820Entry;
use abi::fw_cfg::{Key, file};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Most records the firmware takes from `etc/e820`.
pub const MAX_RECORDS: usize = 512;

/// Memory for the answers; what it holds beforehand does not matter.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Scratch {
    records: [E820Entry; MAX_RECORDS],
    setup: SetupBuffer,
}

/// How much the firmware says while all goes well ([`file::LOG`]).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogLevel {
    /// Nothing: every byte costs an exit.
    #[default]
    Error,
    /// One line a phase.
    Info,
    /// And below it one for each thing that the phase has found or decided.
    Trace,
    /// Nothing, once it is said that this is none of them.
    Unknown(LevelName),
}

/// What was found as a level: the beginning of a word, with zeros behind its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LevelName([u8; 8]);

impl LogLevel {
    /// Reads it from its file, of which the first four letters decide; an empty one asks for nothing. What cannot be read asks
    /// for nothing: the next transfer fails, too, and is not about a log.
    #[inline]
    pub fn read(fw_cfg: &mut impl Transport, file: File) -> Self {
        const ERROR: u32 = u32::from_le_bytes(*b"erro");
        const INFO: u32 = u32::from_le_bytes(*b"info");
        const TRACE: u32 = u32::from_le_bytes(*b"trac");
        let mut name = *b"error\0\0\0";
        let _ = fw_cfg.read(file.key(), &mut name);
        let [a, b, c, d, ..] = name;
        match u32::from_le_bytes([a, b, c, d]) {
            0 | ERROR => Self::Error,
            INFO => Self::Info,
            TRACE => Self::Trace,
            _ => Self::Unknown(LevelName(name)),
        }
    }
}

impl Words for LevelName {
    fn say(&self, to: &mut Speaker<'_>) {
        say!(
            to,
            "fw_cfg file opt/org.qboot-rs/log: expected error, info or trace, found "
        );
        to.foreign(&self.0);
    }
}

display!(LevelName);

/// What there is to know about this machine and this boot.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The board.
    pub board: Board,
    /// The content of `etc/e820`, in the VMM's order.
    pub memory: &'a [E820Entry],
    /// The processors.
    pub processors: Processors,
    /// Whether ISA IRQ 0 arrives at I/O APIC pin 2.
    pub irq0_override: bool,
    /// The kernel.
    pub kernel: Kernel<'a>,
    /// Size in bytes of the command line with its NUL; 0 when there is none.
    pub cmdline_size: u32,
    /// Size in bytes of the initial RAM disk; 0 when there is none.
    pub initrd_size: u32,
    /// The kernel's other modules, at most [`MAX_MODULES`].
    pub modules: &'a Modules,
}

impl<'a> Facts<'a> {
    /// Asks for everything. `identify` is called with the number of processors.
    ///
    /// # Errors
    /// An answer is missing, makes no sense, or names a kernel that cannot be started.
    pub fn gather(
        fw_cfg: &mut impl Transport,
        files: &Directory<'a>,
        board: Board,
        identify: impl FnOnce(u16) -> Identity,
        scratch: &'a mut Scratch,
    ) -> Result<Self, BootError> {
        let kernel = Kernel::gather(fw_cfg, &mut scratch.setup)?;
        if files.modules.count() > 0 {
            let limit = match kernel {
                Kernel::Pvh { .. } => MAX_MODULES,
                _ => 0,
            };
            let found = files.modules.count();
            if found as usize > limit {
                return Err(BootError::Modules { found, limit });
            }
        }
        // A multiboot kernel's command line and modules are part of it.
        let (cmdline_size, initrd_size) = match kernel {
            Kernel::Multiboot(_) => (0, 0),
            _ => (
                fw_cfg.read_u32(Key::CMDLINE_SIZE)?,
                fw_cfg.read_u32(Key::INITRD_SIZE)?,
            ),
        };
        let irq0_override = fw_cfg.read_u32(Key::IRQ0_OVERRIDE)? != 0;
        let memory = read_memory_map(fw_cfg, &files.known, &mut scratch.records)?;
        let count = fw_cfg.read_u16(Key::NB_CPUS)?;
        Ok(Self {
            board,
            memory,
            processors: Processors::new(count, identify(count))?,
            irq0_override,
            kernel,
            cmdline_size,
            initrd_size,
            modules: files.modules,
        })
    }
}

fn read_memory_map<'a>(
    fw_cfg: &mut impl Transport,
    files: &KnownFiles,
    records: &'a mut [E820Entry; MAX_RECORDS],
) -> Result<&'a [E820Entry], BootError> {
    let file = files.e820.ok_or(MemoryMapError::Absent)?;
    let size = file.size as usize;
    let records = records
        .get_mut(..size.checked_div(size_of::<E820Entry>()).unwrap_or_default())
        .filter(|records| !records.is_empty() && size_of_val(*records) == size)
        .ok_or(MemoryMapError::Size { found: file.size })?;
    fw_cfg.read(file.key(), records.as_mut_bytes())?;
    Ok(records)
}

/// Why the VMM's memory map could not be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MemoryMapError {
    /// No such file.
    Absent,
    /// A size that is no whole number of records, or too many.
    Size {
        /// Size in bytes of the file.
        found: u32,
    },
}

impl Words for MemoryMapError {
    fn say(&self, to: &mut Speaker<'_>) {
        let name = file::E820;
        match self {
            Self::Absent => {
                say!(to, "fw_cfg file ");
                to.text(name);
                say!(to, ": expected a memory map, found no such file");
            }
            Self::Size { found } => {
                say!(to, "fw_cfg file ");
                to.text(name);
                say!(
                    to,
                    ": expected 1 to % records of 20 bytes, found % bytes",
                    MAX_RECORDS,
                    found
                );
            }
        }
    }
}

display!(MemoryMapError);
