// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `fw_cfg` device at its ports: DMA with one doorbell an item, or a byte at a time.
//!
//! Spec: QEMU `docs/specs/fw_cfg.rst`.

use super::ports;
use abi::fw_cfg::{
    DMA_SIGNATURE, DmaControl, DmaDescriptor, Key, PORT_DATA, PORT_DMA_HIGH, PORT_DMA_LOW,
    PORT_SELECTOR, SIGNATURE,
};
use abi::layout::HIGH_RAM_START;
use core::ptr;
use firmware_core::error::BootError;
use firmware_core::fw_cfg::{TransferError, Transport};
use firmware_core::memory::Range;
use firmware_core::plan::Means;

/// How often the control field is read before a transfer counts as lost. Every VMM we know is
/// done before the doorbell returns.
const PATIENCE: u32 = 1 << 24;

/// The device.
pub struct FwCfg {
    dma: bool,
    /// The item selected last, for error messages.
    selected: Key,
}

impl FwCfg {
    /// The DMA registers identify themselves; only a device without them is asked for item 0.
    ///
    /// # Errors
    /// Nothing answers.
    pub fn open() -> Result<Self, BootError> {
        let halves = [
            ports::probe_u32(PORT_DMA_HIGH),
            ports::probe_u32(PORT_DMA_LOW),
        ];
        let dma = halves.map(u32::to_le_bytes).as_flattened() == DMA_SIGNATURE;
        let mut device = Self {
            dma,
            selected: Key::SIGNATURE,
        };
        if !dma {
            let mut found = [0; 4];
            device.read_by_port(Some(Key::SIGNATURE), &mut found);
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

    fn transfer(&mut self, key: Option<Key>, buffer: &mut [u8]) -> Result<(), TransferError> {
        if self.dma {
            // SAFETY: the buffer is borrowed for as long as the transfer lasts.
            unsafe { self.read_by_dma(key, buffer.as_mut_ptr().expose_provenance(), buffer.len()) }
        } else {
            self.read_by_port(key, buffer);
            Ok(())
        }
    }

    fn read_by_port(&mut self, key: Option<Key>, buffer: &mut [u8]) {
        self.select_by_port(key);
        // SAFETY: the buffer is ours to write.
        unsafe { ports::in_bytes(PORT_DATA, buffer.as_mut_ptr(), buffer.len()) }
    }

    fn select_by_port(&mut self, key: Option<Key>) {
        if let Some(key) = key {
            self.selected = key;
            // SAFETY: selecting an item changes no memory.
            unsafe { ports::out_u16(PORT_SELECTOR, key.0) }
        }
    }

    /// # Safety
    /// The `length` bytes at guest-physical `address` must be RAM that may be overwritten.
    unsafe fn read_by_dma(
        &mut self,
        key: Option<Key>,
        address: usize,
        length: usize,
    ) -> Result<(), TransferError> {
        let control = match key {
            Some(key) => {
                self.selected = key;
                DmaControl::READ.with_key(key)
            }
            None => DmaControl::READ.bits(),
        };
        let error = |control| TransferError {
            key: self.selected,
            length,
            control,
        };
        let mut descriptor = DmaDescriptor {
            control: control.into(),
            length: u32::try_from(length).map_err(|_| error(u32::MAX))?.into(),
            address: (address as u64).into(),
        };
        let descriptor = &raw mut descriptor;
        // The stack lies below 4 GiB, so the high half of the register keeps its resting zero.
        let doorbell = descriptor.expose_provenance() as u32;
        // SAFETY: the descriptor is complete and lives until the device is done; what it makes
        // the device write is covered by the caller's promise.
        unsafe { ports::out_u32(PORT_DMA_LOW, doorbell.to_be()) }
        for _ in 0..PATIENCE {
            // SAFETY: a live local, written by the device only.
            let control = unsafe { ptr::read_volatile(&raw const (*descriptor).control) }.get();
            if control == 0 {
                return Ok(());
            }
            if control & DmaControl::ERROR.bits() != 0 {
                return Err(error(control));
            }
        }
        Err(error(0))
    }
}

impl Transport for FwCfg {
    fn read(&mut self, key: Key, buffer: &mut [u8]) -> Result<(), TransferError> {
        self.transfer(Some(key), buffer)
    }

    fn read_more(&mut self, buffer: &mut [u8]) -> Result<(), TransferError> {
        self.transfer(None, buffer)
    }

    fn load(&mut self, key: Key, to: Range) -> Result<(), TransferError> {
        let length = to.size() as usize;
        if to.start() < HIGH_RAM_START {
            return Err(TransferError {
                key,
                length,
                control: u32::MAX,
            });
        }
        if self.dma {
            // SAFETY: nothing of the firmware lies at or above 1 MiB, and the plan has found this
            // range to be RAM that nothing else uses.
            unsafe { self.read_by_dma(Some(key), to.start() as usize, length) }
        } else {
            self.select_by_port(Some(key));
            let to = ptr::with_exposed_provenance_mut(to.start() as usize);
            // SAFETY: as above; without DMA the plan stays in the first 4 GiB, which are mapped.
            unsafe { ports::in_bytes(PORT_DATA, to, length) }
            Ok(())
        }
    }
}
