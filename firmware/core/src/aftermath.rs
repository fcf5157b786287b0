// SPDX-License-Identifier: MIT OR Apache-2.0
//! After a boot that failed: what else there is to say, and whether to try again.
//!
//! Spec: QEMU `docs/specs/fw_cfg.rst`; `bootorder` is lines of device paths, `etc/boot-fail-wait`
//! a number of milliseconds, of which a negative one means for ever.
//! Never: fails. What cannot be read is not there; one sentence is being said already.

use crate::error::BootError;
use crate::fw_cfg::{Directory, DirectoryBuffer, DirectoryError, Transport};
use crate::kernel::KernelError;
use crate::words::{Speaker, Words, display, say};
use abi::fw_cfg::{FILE_NAME_SIZE, file, file_name};

/// Longest part of a device path that is said.
const MAX_PATH: usize = 96;

const WAIT_NAME: [u8; FILE_NAME_SIZE] = file_name(file::BOOT_FAIL_WAIT);
const ORDER_NAME: [u8; FILE_NAME_SIZE] = file_name(file::BOOT_ORDER);

/// The line of `bootorder` that ends the list, of no device.
const HALT: &[u8] = b"HALT";

/// What follows on a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Aftermath {
    /// The first device that the VMM would have booted, cut off or ended by a NUL or a newline.
    path: [u8; MAX_PATH],
    /// Milliseconds until the machine is to be reset; `None`: it is not.
    pub wait: Option<u32>,
}

impl Default for Aftermath {
    fn default() -> Self {
        Self {
            path: [0; MAX_PATH],
            wait: None,
        }
    }
}

impl Aftermath {
    /// Asks what the VMM wants after `error`.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub fn gather(
        fw_cfg: &mut impl Transport,
        buffer: &mut DirectoryBuffer,
        error: &BootError,
    ) -> Self {
        let mut aftermath = Self::default();
        if matches!(error, BootError::Directory(_)) {
            return aftermath;
        }
        // Nothing is left to be done about a second error.
        let _ = aftermath.ask(fw_cfg, buffer, error);
        aftermath
    }

    fn ask(
        &mut self,
        fw_cfg: &mut impl Transport,
        buffer: &mut DirectoryBuffer,
        error: &BootError,
    ) -> Result<(), DirectoryError> {
        let mut files = Directory::again(buffer);
        if let Some(wait) = files.find(fw_cfg, &WAIT_NAME)? {
            let mut milliseconds = [0xff; 4];
            fw_cfg.read(wait.key(), &mut milliseconds)?;
            self.wait = u32::try_from(i32::from_le_bytes(milliseconds)).ok();
        }
        if *error == BootError::Kernel(KernelError::Absent)
            && let Some(order) = files.find(fw_cfg, &ORDER_NAME)?
        {
            fw_cfg.read(order.key(), &mut self.path)?;
        }
        Ok(())
    }

    /// The path without what ends it.
    fn path(&self) -> &[u8] {
        let path = self.path.split(|byte| matches!(byte, 0 | b'\n')).next();
        path.filter(|path| *path != HALT).unwrap_or_default()
    }
}

/// What is said behind the sentence of the error.
impl Words for Aftermath {
    fn say(&self, to: &mut Speaker<'_>) {
        let path = self.path();
        if !path.is_empty() {
            say!(
                to,
                ", and first in the boot order, but neither disk nor option ROM is booted here, "
            );
            to.foreign(path);
        }
        if let Some(milliseconds) = self.wait {
            say!(to, "; the machine is reset after % ms", milliseconds);
        }
    }
}

display!(Aftermath);
