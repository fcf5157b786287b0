// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ACPI linker-loader: run the VMM's script over the files it names.
//!
//! Spec: QEMU `hw/acpi/bios-linker-loader.c` (no prose specification exists).
//!
//! In two passes. [`Loader::gather`] finds out which files are to be loaded; the plan then gives
//! each a place; [`Loader::link`] connects them where they lie. In: commands, files. Out: patched
//! tables, the RSDP's address. Never: picks an address.

mod blobs;
mod commands;
mod error;
mod performance;
mod script;
mod trace;

use blobs::NO_FILE;
pub use blobs::{Blob, Blobs, MAX_BLOBS, Zone};
pub use error::{LoaderError, Problem};
pub use performance::{Moments, nanoseconds};
pub use script::CommandBuffer;

use crate::fw_cfg::{Directory, Transport};
use crate::memory::Range;
use abi::table_loader::{
    COMMAND_ADD_CHECKSUM, COMMAND_ADD_POINTER, COMMAND_ALLOCATE, COMMAND_WRITE_POINTER,
};
use script::Script;

/// Memory that holds loaded files.
pub trait BlobMemory {
    /// Lets `edit` change the bytes of `range`, which lies inside one placed blob, and returns what
    /// it returns.
    fn edit<T>(&mut self, range: Range, edit: impl FnOnce(&mut [u8]) -> T) -> T;
}

/// The script and the files it loads.
#[derive(Debug)]
pub struct Loader<'a> {
    script: Script<'a>,
    /// What is to be loaded, in the script's order.
    pub blobs: Blobs<'a>,
}

impl<'a> Loader<'a> {
    /// Reads the script, if there is one, and collects what it loads.
    ///
    /// # Errors
    /// The script or a command in it makes no sense.
    pub fn gather(
        fw_cfg: &mut impl Transport,
        files: &mut Directory<'_>,
        commands: &'a mut CommandBuffer,
        storage: &'a mut [Blob; MAX_BLOBS],
    ) -> Result<Self, LoaderError> {
        let mut script = Script::new(files.known.table_loader, commands)?;
        let mut blobs = Blobs::new(storage);
        script.for_each(fw_cfg, |fw_cfg, command| {
            if command.command.get() == COMMAND_ALLOCATE {
                commands::allocate(command, fw_cfg, files, &mut blobs)?;
            }
            Ok(())
        })?;
        Ok(Self { script, blobs })
    }

    /// Loads every file to its place.
    ///
    /// # Errors
    /// A transfer failed.
    pub fn load(&self, fw_cfg: &mut impl Transport) -> Result<(), LoaderError> {
        for blob in self.blobs.iter().filter(|blob| blob.key() != NO_FILE) {
            fw_cfg.load(blob.key(), blob.place())?;
        }
        Ok(())
    }

    /// The guest-physical address of the RSDP, once it is loaded.
    pub fn rsdp(&self, memory: &mut impl BlobMemory) -> Option<u64> {
        const SIGNATURE: [u8; 8] = *b"RSD PTR ";
        /// Of revision 0; later ones are longer (ACPI 6.5, section 5.2.5.3).
        const RSDP_LENGTH: u32 = 20;
        let scanned = self
            .blobs
            .iter()
            .filter(|blob| blob.zone() == Zone::FSegment);
        scanned
            .filter_map(|blob| blob.slice(0, RSDP_LENGTH).ok())
            .find(|range| memory.edit(*range, |bytes| bytes.first_chunk() == Some(&SIGNATURE)))
            .map(Range::start)
    }

    /// Runs the commands that connect the loaded files.
    ///
    /// # Errors
    /// A command names what was not loaded or reaches past a file's end.
    pub fn link(
        &mut self,
        fw_cfg: &mut impl Transport,
        files: &mut Directory<'_>,
        memory: &mut impl BlobMemory,
    ) -> Result<(), LoaderError> {
        let Self { script, blobs } = self;
        // A command may name only what is allocated before it.
        let all = blobs.hide();
        script.for_each(fw_cfg, |fw_cfg, command| match command.command.get() {
            COMMAND_ALLOCATE => {
                blobs.show(1, all);
                Ok(())
            }
            COMMAND_ADD_POINTER => commands::add_pointer(command, blobs, memory),
            COMMAND_ADD_CHECKSUM => commands::add_checksum(command, blobs, memory),
            COMMAND_WRITE_POINTER => commands::write_pointer(command, blobs, fw_cfg, files),
            _ => Ok(()), // padding, or a command newer than we are
        })?;
        blobs.show(all, all);
        Ok(())
    }
}

#[cfg(test)]
mod test;
