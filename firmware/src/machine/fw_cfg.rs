// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `fw_cfg` device at its ports: DMA with one doorbell an item, or a byte at a time.
//!
//! Spec: QEMU `docs/specs/fw_cfg.rst`.

use super::ports;
use abi::debug::FailureCode;
use abi::fw_cfg::{
    DMA_SIGNATURE, DmaControl, DmaDescriptor, Key, PORT_DATA, PORT_DMA_HIGH, PORT_DMA_LOW,
    PORT_SELECTOR, SIGNATURE,
};
use abi::layout::{ROM_ALIAS_END, ROM_ALIAS_START, ROM_SIZE, ROM_TOP, TABLES_START};
use core::ptr;
use firmware_core::error::BootError;
use firmware_core::fw_cfg::{TransferError, Transport};
use firmware_core::memory::Range;
use firmware_core::plan::Means;

/// How often the control field is read before a transfer counts as lost. Every VMM we know is
/// done before the doorbell returns.
pub const PATIENCE: u32 = 1 << 24;

/// The device.
pub struct FwCfg {
    dma: bool,
}

impl FwCfg {
    /// The DMA registers identify themselves; only a device without them is asked for item 0.
    ///
    /// # Errors
    /// Nothing answers.
    pub fn open() -> Result<Self, BootError> {
        // SAFETY: the DMA address register reads as a signature, without an effect.
        let high = unsafe { ports::in_u32(PORT_DMA_HIGH) };
        // SAFETY: as above.
        let low = unsafe { ports::in_u32(PORT_DMA_LOW) };
        let halves = [high, low];
        let dma = halves.map(u32::to_le_bytes).as_flattened() == DMA_SIGNATURE;
        let device = Self { dma };
        if !dma {
            let mut found = [0; 4];
            select_by_port(Key::SIGNATURE);
            read_by_port(&mut found);
            if found != SIGNATURE {
                return Err(BootError::FwCfgAbsent {
                    found: u32::from_le_bytes(found),
                });
            }
        }
        Ok(device)
    }

    /// What this device lets the plan do.
    pub const fn means(&self) -> Means {
        Means { dma: self.dma }
    }
}

fn select_by_port(key: Key) {
    // SAFETY: selecting an item changes no memory.
    unsafe { ports::out_u16(PORT_SELECTOR, key.0) }
}

fn read_by_port(buffer: &mut [u8]) {
    // SAFETY: the buffer is ours to write.
    unsafe { ports::in_bytes(PORT_DATA, buffer.as_mut_ptr(), buffer.len()) }
}

/// The descriptor where the device's answer can be read in one piece.
#[repr(C, align(16))]
struct Descriptor(DmaDescriptor);

/// Runs one DMA operation; `control` also names the item.
///
/// # Safety
/// The `length` bytes at guest-physical `address` must be memory that the device may read or
/// overwrite, as `control` says.
#[inline(always)] // so that on success no result goes through memory
unsafe fn run_dma(control: u32, address: u64, length: u32) -> Result<(), TransferError> {
    // SAFETY: the caller's promise.
    match unsafe { ring(control, address, length) } {
        0 => Ok(()),
        status => Err(refused(control, length, status)),
    }
}

/// As [`run_dma`]; returns what the device leaves in the control field.
///
/// # Safety
/// As [`run_dma`].
#[inline(never)]
unsafe fn ring(control: u32, address: u64, length: u32) -> u32 {
    let mut descriptor = Descriptor(DmaDescriptor {
        control: control.into(),
        length: length.into(),
        address: address.into(),
    });
    let control_field = (&raw const descriptor.0.control).cast::<u32>();
    // The stack lies below 4 GiB, so the high half of the register keeps its resting zero.
    let doorbell = (&raw mut descriptor).expose_provenance() as u32;
    // SAFETY: the descriptor is complete and lives until the device is done; what it makes the
    // device write is covered by the caller's promise.
    unsafe { ports::out_u32(PORT_DMA_LOW, doorbell.to_be()) }
    let mut patience = PATIENCE;
    loop {
        // SAFETY: a field of a live local, aligned as `Descriptor` is, written by the device only.
        let status = u32::from_be(unsafe { ptr::read_volatile(control_field) });
        if status == 0 || status & DmaControl::ERROR.bits() != 0 {
            return status;
        }
        patience -= 1;
        if patience == 0 {
            // The device may still write to the buffer and the descriptor: nobody may use them
            // again.
            crate::report::fail(&refused(control, length, 0), FailureCode::FwCfgTransfer)
        }
    }
}

/// The error of the operation that `control` started.
#[cold]
fn refused(control: u32, length: u32, status: u32) -> TransferError {
    let [_, _, low, high] = control.to_le_bytes();
    TransferError {
        key: Key(u16::from_le_bytes([low, high])),
        length,
        control: status,
    }
}

/// The length of a buffer. What the firmware lends is far below 4 GiB; a longer one would come
/// out too short, which transfers less.
const fn length_of(bytes: &[u8]) -> u32 {
    bytes.len() as u32
}

/// Whether a range is neither the firmware's working memory nor one of the two places where the
/// image shows.
fn is_free(range: Range) -> bool {
    range.start() >= TABLES_START
        && !range.overlaps(Range::between(ROM_ALIAS_START, ROM_ALIAS_END))
        && !range.overlaps(Range::between(ROM_TOP - ROM_SIZE, ROM_TOP))
}

impl Transport for FwCfg {
    fn read(&mut self, key: Key, buffer: &mut [u8]) -> Result<(), TransferError> {
        if self.dma {
            let control = DmaControl::READ.with_key(key);
            // SAFETY: the buffer is borrowed for as long as the transfer lasts.
            return unsafe { run_dma(control, address_of(buffer), length_of(buffer)) };
        }
        select_by_port(key);
        read_by_port(buffer);
        Ok(())
    }

    fn read_more(&mut self, buffer: &mut [u8]) -> Result<(), TransferError> {
        if self.dma {
            let control = DmaControl::READ.bits();
            // SAFETY: as in `read`.
            return unsafe { run_dma(control, address_of(buffer), length_of(buffer)) };
        }
        read_by_port(buffer);
        Ok(())
    }

    fn seek(&mut self, key: Key, offset: u32) -> Result<(), TransferError> {
        if self.dma {
            let control = DmaControl::SKIP.with_key(key);
            // SAFETY: skipping writes no memory.
            return unsafe { run_dma(control, 0, offset) };
        }
        select_by_port(key);
        for _ in 0..offset {
            // SAFETY: reading the data register moves on in the item, and no more.
            unsafe { ports::in_u8(PORT_DATA) };
        }
        Ok(())
    }

    fn write_more(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        let control = DmaControl::WRITE.bits();
        if self.dma {
            let address = bytes.as_ptr().expose_provenance() as u64;
            // SAFETY: the device reads the bytes, which are borrowed for as long as it takes.
            return unsafe { run_dma(control, address, length_of(bytes)) };
        }
        Err(refused(control, length_of(bytes), u32::MAX))
    }

    fn load(&mut self, key: Key, to: Range) -> Result<(), TransferError> {
        let control = DmaControl::READ.with_key(key);
        let length = u32::try_from(to.size()).unwrap_or_default();
        if !is_free(to) || u64::from(length) != to.size() {
            return Err(refused(control, length, u32::MAX));
        }
        if self.dma {
            // SAFETY: `is_free` has kept the firmware's own memory out, and the plan has found
            // this range to be RAM that nothing else uses.
            return unsafe { run_dma(control, to.start(), length) };
        }
        select_by_port(key);
        let to = ptr::with_exposed_provenance_mut(to.start() as usize);
        // SAFETY: as above; without DMA the plan stays in the first 4 GiB, which are mapped.
        unsafe { ports::in_bytes(PORT_DATA, to, length as usize) }
        Ok(())
    }
}

/// The guest-physical address of memory that the device is to write: memory is mapped to itself.
fn address_of(buffer: &mut [u8]) -> u64 {
    buffer.as_mut_ptr().expose_provenance() as u64
}
