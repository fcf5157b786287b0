// SPDX-License-Identifier: MIT OR Apache-2.0
//! ALLOCATE: a file is to be loaded into memory of its own.

use super::operands;
use crate::acpi::Problem;
use crate::acpi::blobs::{Blobs, ended};
use crate::fw_cfg::{Directory, Transport};
use abi::table_loader::{Allocate, Command};

/// Notes the file, its alignment and its zone.
pub fn allocate(
    command: &Command,
    fw_cfg: &mut impl Transport,
    files: &mut Directory<'_>,
    blobs: &mut Blobs<'_>,
) -> Result<(), Problem> {
    let operands: &Allocate = operands(command)?;
    let name = &operands.file;
    ended(name)?;
    let file = files.find(fw_cfg, name)?.ok_or(Problem::NoSuchFile)?;
    blobs.add(name, file, operands.align.get(), operands.zone)
}
