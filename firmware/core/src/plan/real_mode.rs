// SPDX-License-Identifier: MIT OR Apache-2.0
//! The 16-bit entry: what goes where the firmware's own buffers are, and is loaded last of all.
//!
//! Spec: Linux `Documentation/arch/x86/boot.rst`, "Memory Layout of The Real-Mode Code", "Sample
//! Boot Configuration" and "Running the Kernel".

use super::{Entry, Plan};
use crate::facts::Facts;
use crate::fw_cfg::{TransferError, Transport};
use crate::kernel::Kernel;
use crate::memory::Range;
use crate::tables::piece;
use abi::fw_cfg::Key;
use abi::layout::{
    LOW_KERNEL_START, OLD_REAL_MODE_END, OLD_REAL_MODE_START, REAL_MODE_END, REAL_MODE_START,
    SCRATCH_START,
};
use abi::linux::{
    HEAP_BASE, LOADER_TYPE_UNDEFINED, LoadFlags, OLD_CMDLINE_MAGIC, OLD_CMDLINE_OFFSET,
    SETUP_HEADER_OFFSET, SetupHeader, VERSION_2_01, VERSION_2_02,
};
use zerocopy::FromBytes;
use zerocopy::little_endian::U16;

/// End of stack and heap as an offset, for a real-mode part that has a whole segment.
const HEAP_END: u16 = 0xfff0;
/// The same for one at 0x90000; the command line of old follows it.
const OLD_HEAP_END: u16 = 0x9800;

/// What is left to be loaded of a kernel that is entered in real mode.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RealMode {
    /// Where the real-mode part goes, at the start of its segment.
    pub setup: Range,
    /// End of its stack and heap in its segment.
    pub heap_end: u16,
    /// Where the protected-mode part goes, if not above 1 MiB.
    pub kernel: Option<Range>,
    /// Where the command line goes, if the kernel wants it in its own segment.
    pub cmdline: Option<Range>,
    version: u16,
    cmd_line_ptr: u32,
    ramdisk_image: u32,
    ramdisk_size: u32,
}

/// "Unfortunately, under the following circumstances the 0x90000 memory segment has to be used":
/// a kernel that is not loaded high, and protocols before 2.02.
fn is_old(header: &SetupHeader) -> bool {
    !is_high(header) || header.version.get() < VERSION_2_02
}

/// Whether the protected-mode part is loaded at 1 MiB.
pub fn is_high(header: &SetupHeader) -> bool {
    LoadFlags::from_bits_retain(header.loadflags).contains(LoadFlags::LOADED_HIGH)
}

/// First address that neither the real-mode part nor its stack, heap and command line use.
pub fn end(header: &SetupHeader) -> u64 {
    if is_old(header) {
        OLD_REAL_MODE_END
    } else {
        REAL_MODE_END
    }
}

/// Where the real-mode part goes, and where its stack and heap end in its segment.
fn place(header: &SetupHeader) -> (u64, u16) {
    if is_old(header) {
        (OLD_REAL_MODE_START, OLD_HEAP_END)
    } else {
        (REAL_MODE_START, HEAP_END)
    }
}

/// How the kernel is entered.
#[cold] // in favour of size: few kernels come here
pub fn entry(header: &SetupHeader) -> Entry {
    let (start, stack) = place(header);
    Entry::Linux16 {
        segment: u16::try_from(start >> 4).unwrap_or_default(), // below 1 MiB
        stack,
    }
}

impl RealMode {
    /// What a plan leaves to be loaded, if the kernel is entered in real mode.
    #[cold] // in favour of size: few kernels come here
    #[must_use]
    pub fn new(facts: &Facts<'_>, plan: &Plan<'_>) -> Option<Self> {
        let Kernel::Linux16 {
            header,
            setup_size,
            size,
        } = facts.kernel
        else {
            return None;
        };
        let (start, heap_end) = place(header);
        let version = header.version.get();
        // At most 256 bytes, which the plan has checked: a protocol that old has no longer ones.
        let cmdline_size = u64::from(facts.cmdline_size.max(1));
        let cmdline = Range::new(start.saturating_add(heap_end.into()), cmdline_size)
            .filter(|range| version < VERSION_2_02 && range.end() <= OLD_REAL_MODE_END);
        let initrd = plan.initrd.unwrap_or(Range::between(0, 0)); // below 4 GiB
        Some(Self {
            setup: Range::between(start, start.saturating_add(setup_size.into())),
            heap_end,
            kernel: Range::new(LOW_KERNEL_START, size.into()).filter(|_| !is_high(header)),
            cmdline,
            version,
            cmd_line_ptr: low(plan.handoff.cmdline.start()),
            ramdisk_image: low(initrd.start()),
            ramdisk_size: low(initrd.size()),
        })
    }

    /// Loads what is left and completes the header.
    ///
    /// `memory` stands for conventional memory from [`SCRATCH_START`] on. From here on nothing of
    /// the firmware may be there but what the plan has put into the hand-off block.
    ///
    /// # Errors
    /// A transfer failed.
    #[cold] // in favour of size: few kernels come here
    pub fn load(
        &self,
        fw_cfg: &mut impl Transport,
        memory: &mut [u8],
    ) -> Result<(), TransferError> {
        let whole = Range::new(SCRATCH_START, memory.len() as u64).unwrap_or(self.setup);
        let nothing = Range::between(0, 0);
        for (key, to) in [
            (Key::KERNEL_DATA, self.kernel.unwrap_or(nothing)),
            (Key::CMDLINE_DATA, self.cmdline.unwrap_or(nothing)),
            (Key::SETUP_DATA, self.setup),
        ] {
            let bytes = piece(memory, whole, to);
            if !bytes.is_empty() {
                fw_cfg.read(key, bytes)?;
            }
        }
        if let Some(end) = piece(memory, whole, self.cmdline.unwrap_or(nothing)).last_mut() {
            *end = 0; // the VMM's word alone is not enough
        }
        self.complete(piece(memory, whole, self.setup));
        Ok(())
    }

    /// Writes the fields that are a boot loader's to write and that the protocol has. The video
    /// mode is the VMM's word: it has read the command line.
    #[cold] // in favour of size: few kernels come here
    fn complete(&self, setup: &mut [u8]) {
        let header = setup
            .get_mut(SETUP_HEADER_OFFSET..)
            .and_then(|bytes| SetupHeader::mut_from_prefix(bytes).ok());
        let Some((header, _)) = header else {
            return;
        };
        header.type_of_loader = LOADER_TYPE_UNDEFINED;
        header.ramdisk_image = self.ramdisk_image.into();
        header.ramdisk_size = self.ramdisk_size.into();
        if self.version >= VERSION_2_01 {
            header.heap_end_ptr = self.heap_end.wrapping_sub(HEAP_BASE).into();
            header.loadflags |= LoadFlags::CAN_USE_HEAP.bits();
        }
        if self.version >= VERSION_2_02 {
            header.cmd_line_ptr = self.cmd_line_ptr.into();
            return;
        }
        let cmdline_size = self.cmdline.map_or(0, Range::size);
        let end = u64::from(self.heap_end).saturating_add(cmdline_size);
        header.setup_move_size = u16::try_from(end).unwrap_or_default().into();
        let old = setup
            .get_mut(OLD_CMDLINE_OFFSET..)
            .and_then(|bytes| <[U16; 2]>::mut_from_prefix(bytes).ok());
        if let (Some((old, _)), Some(_)) = (old, self.cmdline) {
            *old = [OLD_CMDLINE_MAGIC.into(), self.heap_end.into()];
        }
    }
}

/// An address or a size below 4 GiB.
fn low(value: u64) -> u32 {
    u32::try_from(value).unwrap_or_default()
}
