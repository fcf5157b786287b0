// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the script says and has skipped, in words, once it has run.

use super::commands::operands;
use super::{BlobMemory, Blobs, Loader};
use crate::fw_cfg::Transport;
use crate::memory::Range;
use crate::trace::{fields, record};
use crate::words::Speaker;
use abi::table_loader::{
    AddChecksum, COMMAND_ADD_CHECKSUM, COMMAND_ADD_POINTER, COMMAND_ALLOCATE, COMMAND_NONE,
    COMMAND_WRITE_POINTER,
};
use zerocopy::IntoBytes;

/// Size in bytes of what a table begins with, its signature (ACPI 6.5, section 5.2.6).
const SIGNATURE_SIZE: u32 = 4;

impl Loader<'_> {
    /// Names the commands that were skipped and, with `all`, the others. Where the files lie, the
    /// plan has said.
    #[cold]
    pub fn trace(
        &mut self,
        fw_cfg: &mut impl Transport,
        memory: &mut impl BlobMemory,
        all: bool,
        to: &mut Speaker<'_>,
    ) {
        let blobs = &self.blobs;
        // A boot does not fail for want of a log.
        let _ = self.script.for_each(fw_cfg, |_, command| {
            let bytes = command.as_bytes();
            let text: &[u8] = match command.command.get() {
                COMMAND_NONE | COMMAND_ALLOCATE => return Ok(()),
                number if number > COMMAND_WRITE_POINTER => {
                    fields!("qboot-rs: ACPI loader: expected command 0 to 4, found %@, skipped\n")
                }
                _ if !all => return Ok(()),
                COMMAND_ADD_POINTER => fields!("  $A at %]: pointer into $O\n"),
                COMMAND_ADD_CHECKSUM => {
                    record(
                        fields!("  $A at %O: checksum of %Q bytes from %P, "),
                        bytes,
                        to,
                    );
                    if let Some(signature) = signature(blobs, operands(command)?) {
                        memory.edit(signature, |bytes| to.foreign(bytes));
                    }
                    b"\n"
                }
                _ => fields!("  fw_cfg file $A at %]: address of $O at %^\n"),
            };
            record(text, bytes, to);
            Ok(())
        });
    }
}

/// The first bytes of what a checksum is about.
#[inline(never)]
fn signature(blobs: &Blobs<'_>, checksum: &AddChecksum) -> Option<Range> {
    let blob = blobs.get(&checksum.file)?;
    blob.slice(checksum.start.get(), SIGNATURE_SIZE).ok()
}
