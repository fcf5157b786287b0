// SPDX-License-Identifier: MIT OR Apache-2.0
//! ADD_POINTER: a number inside one file becomes the address of something inside another.

use super::{checked_size, operands, part};
use crate::acpi::blobs::Blobs;
use crate::acpi::{BlobMemory, Problem};
use abi::fw_cfg::same_name;
use abi::table_loader::{AddPointer, Command};

/// Adds the source's address to the little-endian number, which holds the offset in the source.
pub fn add_pointer(
    command: &Command,
    blobs: &Blobs<'_>,
    memory: &mut impl BlobMemory,
) -> Result<(), Problem> {
    let operands: &AddPointer = operands(command)?;
    let size = checked_size(operands.size)?;
    let blob = blobs.find(&operands.dest)?;
    let source = if same_name(&operands.src, &operands.dest) {
        blob // as nearly always
    } else {
        blobs.find(&operands.src)?
    };
    let source = source.place().start();
    let offset = operands.offset.get();
    memory.edit(blob.place(), |bytes| {
        let number = part(bytes, offset, size).ok_or_else(|| blob.outside(offset, size))?;
        add(number, source);
        Ok(())
    })
}

/// Adds `address` to a little-endian number of 1, 2, 4 or 8 bytes; what leaves it is lost.
fn add(number: &mut [u8], address: u64) {
    if let Ok(number) = <&mut [u8; 8]>::try_from(&mut *number) {
        *number = u64::from_le_bytes(*number)
            .wrapping_add(address)
            .to_le_bytes();
        return;
    }
    let mut carry = 0;
    for (byte, addend) in number.iter_mut().zip(address.to_le_bytes()) {
        carry = u16::from(*byte)
            .wrapping_add(addend.into())
            .wrapping_add(carry);
        [*byte, _] = carry.to_le_bytes();
        carry >>= 8;
    }
}
