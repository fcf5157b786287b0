// SPDX-License-Identifier: MIT OR Apache-2.0
//! ADD_CHECKSUM: a byte is made to bring a range's sum to zero.

use super::{checked, operands};
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
    let blob = blobs.find(checked(&operands.file)?)?;
    let range = blob.slice(operands.start.get(), operands.length.get())?;
    let byte = blob.slice(operands.offset.get(), 1)?;
    let mut sum = 0;
    memory.edit(range, |bytes| sum = checksum::sum(bytes));
    memory.edit(byte, |bytes| {
        if let Some(byte) = bytes.first_mut() {
            *byte = byte.wrapping_sub(sum);
        }
    });
    Ok(())
}
