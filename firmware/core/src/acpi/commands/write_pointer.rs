// SPDX-License-Identifier: MIT OR Apache-2.0
//! WRITE_POINTER: the VMM is told where a file lies.

use super::{checked_size, operands};
use crate::acpi::Problem;
use crate::acpi::blobs::{Blobs, ended};
use crate::fw_cfg::{Directory, Transport};
use abi::table_loader::{Command, WritePointer};

/// Writes the address into the `fw_cfg` file.
pub fn write_pointer(
    command: &Command,
    blobs: &Blobs<'_>,
    fw_cfg: &mut impl Transport,
    files: &mut Directory<'_>,
) -> Result<(), Problem> {
    let operands: &WritePointer = operands(command)?;
    let dest = &operands.dest;
    ended(dest)?;
    let size = checked_size(operands.size)?;
    let source = blobs.find(&operands.src)?;
    let target = source.slice(operands.src_offset.get(), 1)?;
    let file = files.find(fw_cfg, dest)?.ok_or(Problem::NoSuchFile)?;
    let offset = operands.dest_offset.get();
    if offset.checked_add(size).is_none_or(|end| end > file.size) {
        return Err(Problem::Outside {
            offset,
            length: size,
            size: file.size,
        });
    }
    let address = target.start().to_le_bytes();
    let bytes = address.get(..size as usize).unwrap_or_default();
    fw_cfg.seek(file.key(), offset)?;
    fw_cfg.write_more(bytes)?;
    Ok(())
}
