// SPDX-License-Identifier: MIT OR Apache-2.0
//! ADD_POINTER: a number inside one file becomes the address of something inside another.

use super::{checked, checked_size, operands};
use crate::acpi::blobs::Blobs;
use crate::acpi::{BlobMemory, Problem};
use abi::table_loader::{AddPointer, Command};

/// Adds the source's address to the little-endian number, which holds the offset in the source.
pub fn add_pointer(
    command: &Command,
    blobs: &Blobs<'_>,
    memory: &mut impl BlobMemory,
) -> Result<(), Problem> {
    let operands: &AddPointer = operands(command)?;
    let dest = checked(&operands.dest)?;
    let size = checked_size(operands.size)?;
    let source = blobs.find(checked(&operands.src)?)?.place().start();
    let offset = operands.offset.get();
    let number = blobs.find(dest)?.slice(offset, size)?;
    memory.edit(number, |bytes| {
        let mut value = [0; 8];
        if let Some(value) = value.get_mut(..bytes.len()) {
            value.copy_from_slice(bytes);
        }
        let sum = u64::from_le_bytes(value).wrapping_add(source).to_le_bytes();
        if let Some(sum) = sum.get(..bytes.len()) {
            bytes.copy_from_slice(sum);
        }
    });
    Ok(())
}
