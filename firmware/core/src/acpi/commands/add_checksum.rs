// SPDX-License-Identifier: MIT OR Apache-2.0
//! ADD_CHECKSUM: a byte is made to bring a range's sum to zero.

use super::{operands, part};
use crate::acpi::blobs::Blobs;
use crate::acpi::{BlobMemory, Problem};
use abi::checksum;
use abi::table_loader::{AddChecksum, Command};

/// Subtracts the sum of the range from the byte.
pub fn add_checksum(
    command: &Command,
    blobs: &Blobs<'_>,
    memory: &mut impl BlobMemory,
) -> Result<(), Problem> {
    let operands: &AddChecksum = operands(command)?;
    let blob = blobs.find(&operands.file)?;
    let (start, length) = (operands.start.get(), operands.length.get());
    let offset = operands.offset.get();
    memory.edit(blob.place(), |bytes| {
        let range = part(bytes, start, length).ok_or_else(|| blob.outside(start, length))?;
        let sum = checksum::sum(range);
        let byte = bytes.get_mut(offset as usize);
        let byte = byte.ok_or_else(|| blob.outside(offset, 1))?;
        *byte = byte.wrapping_sub(sum);
        Ok(())
    })
}
