// SPDX-License-Identifier: MIT OR Apache-2.0
//! ALLOCATE: a file is to be loaded into memory of its own.

use super::{checked, operands};
use crate::acpi::Problem;
use crate::acpi::blobs::Blobs;
use crate::fw_cfg::{Directory, DirectoryBuffer, Transport};
use abi::table_loader::{Allocate, Command};

/// Notes the file, its alignment and its zone.
pub fn allocate(
    command: &Command,
    fw_cfg: &mut impl Transport,
    files: &Directory,
    directory: &mut DirectoryBuffer,
    blobs: &mut Blobs<'_>,
) -> Result<(), Problem> {
    let operands: &Allocate = operands(command)?;
    let name = checked(&operands.file)?;
    let file = files
        .find(fw_cfg, directory, name)?
        .ok_or(Problem::NoSuchFile)?;
    blobs.add(name, file, operands.align.get(), operands.zone)
}
