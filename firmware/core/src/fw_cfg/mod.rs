// SPDX-License-Identifier: MIT OR Apache-2.0
//! The firmware's end of `fw_cfg`.
//!
//! Spec: QEMU `docs/specs/fw_cfg.rst`.
//! In: a [`Transport`]. Out: numbers, bytes and files by name. Never: a port access.

mod directory;

pub use directory::{
    Directory, DirectoryBuffer, DirectoryError, File, KnownFiles, MAX_MODULES, Modules, whole_pages,
};

use crate::memory::Range;
use crate::words::{Speaker, Words, display, say};
use abi::fw_cfg::Key;

/// How bytes come out of the device: by DMA or by port reads, the head does not care.
pub trait Transport {
    /// Selects `key` and fills `buffer` with the item's first bytes; zeros follow its end.
    ///
    /// # Errors
    /// The device refused the transfer.
    fn read(&mut self, key: Key, buffer: &mut [u8]) -> Result<(), TransferError>;

    /// Fills `buffer` with the next bytes of the item selected last.
    ///
    /// # Errors
    /// The device refused the transfer.
    fn read_more(&mut self, buffer: &mut [u8]) -> Result<(), TransferError>;

    /// Selects `key` and goes to `offset` in it.
    ///
    /// # Errors
    /// The device refused.
    fn seek(&mut self, key: Key, offset: u32) -> Result<(), TransferError>;

    /// Writes `bytes` to the item selected last.
    ///
    /// # Errors
    /// The item cannot be written there, or the device has no DMA.
    fn write_more(&mut self, bytes: &[u8]) -> Result<(), TransferError>;

    /// Fills `buffer` from `offset` of the item on.
    ///
    /// # Errors
    /// The device refused the transfer.
    fn read_at(&mut self, key: Key, offset: u32, buffer: &mut [u8]) -> Result<(), TransferError> {
        if offset == 0 {
            return self.read(key, buffer);
        }
        self.seek(key, offset)?;
        self.read_more(buffer)
    }

    /// Selects `key` and fills the guest-physical range `to` with the item's first bytes.
    ///
    /// # Errors
    /// The device refused the transfer, or `to` is not memory that may be written.
    fn load(&mut self, key: Key, to: Range) -> Result<(), TransferError>;

    /// The item as a little-endian 16-bit number; 0 when it is absent.
    ///
    /// # Errors
    /// The device refused the transfer.
    fn read_u16(&mut self, key: Key) -> Result<u16, TransferError> {
        let mut bytes = [0; 2];
        self.read(key, &mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }

    /// The item as a little-endian 32-bit number; 0 when it is absent.
    ///
    /// # Errors
    /// The device refused the transfer.
    fn read_u32(&mut self, key: Key) -> Result<u32, TransferError> {
        let mut bytes = [0; 4];
        self.read(key, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }
}

/// The device answered a transfer with an error, or not at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TransferError {
    /// The item that was selected.
    pub key: Key,
    /// How many bytes were asked for.
    pub length: u32,
    /// The control field the device left behind (0: it never finished).
    pub control: u32,
}

impl Words for TransferError {
    fn say(&self, to: &mut Speaker<'_>) {
        say!(
            to,
            "fw_cfg item #: expected % bytes, found DMA status #",
            self.key.0,
            self.length,
            self.control
        );
    }
}

display!(TransferError);
