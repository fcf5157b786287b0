// SPDX-License-Identifier: MIT OR Apache-2.0
//! The script as a sequence of commands, of any length, through one buffer.

use super::{LoaderError, Problem};
use crate::fw_cfg::{File, Transport};
use abi::table_loader::{COMMAND_SIZE, Command};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Commands that fit the buffer. QEMU's scripts have 13 to 32; they are then read once and stay.
const STRETCH: usize = 64;

/// One stretch of the script.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CommandBuffer {
    commands: [Command; STRETCH],
}

/// The script.
#[derive(Debug)]
pub struct Script<'a> {
    file: Option<File>,
    count: usize,
    buffer: &'a mut CommandBuffer,
    /// The stretch that the buffer holds.
    held: Option<usize>,
}

impl<'a> Script<'a> {
    /// The script in `file`; without a file, an empty one.
    ///
    /// # Errors
    /// The file is not a whole number of commands.
    pub fn new(file: Option<File>, buffer: &'a mut CommandBuffer) -> Result<Self, LoaderError> {
        let size = file.map_or(0, |file| file.size) as usize;
        if !size.is_multiple_of(COMMAND_SIZE) {
            return Err(LoaderError::ScriptSize { found: size });
        }
        let count = size.checked_div(COMMAND_SIZE).unwrap_or_default();
        Ok(Self {
            file,
            count,
            buffer,
            held: None,
        })
    }

    /// Calls `run` with every command in order.
    ///
    /// # Errors
    /// Those of `run`, and of the transfer.
    pub fn for_each<T: Transport>(
        &mut self,
        fw_cfg: &mut T,
        mut run: impl FnMut(&mut T, &Command) -> Result<(), Problem>,
    ) -> Result<(), LoaderError> {
        let mut first = 0;
        while first < self.count {
            let length = self.count.saturating_sub(first).min(STRETCH);
            self.hold(fw_cfg, first, length)?;
            for (index, command) in (first..).zip(self.buffer.commands.iter().take(length)) {
                run(fw_cfg, command).map_err(|problem| problem.at(index))?;
            }
            first = first.saturating_add(length);
        }
        Ok(())
    }

    /// Fills the buffer with `length` commands from `first` on, unless it has them.
    fn hold(
        &mut self,
        fw_cfg: &mut impl Transport,
        first: usize,
        length: usize,
    ) -> Result<(), LoaderError> {
        let (Some(file), Some(stretch)) = (self.file, self.buffer.commands.get_mut(..length))
        else {
            return Ok(());
        };
        if self.held != Some(first) {
            let offset = u32::try_from(first.saturating_mul(COMMAND_SIZE)).unwrap_or(u32::MAX);
            fw_cfg.read_at(file.key(), offset, stretch.as_mut_bytes())?;
            self.held = Some(first);
        }
        Ok(())
    }
}
