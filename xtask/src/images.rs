// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ROM and the monitor that a virtual machine needs, built when they are asked for.

use std::path::PathBuf;

use crate::build;
use crate::error::Result;
use crate::workspace::Workspace;

/// Built files.
#[derive(Clone, Debug)]
pub struct Images {
    pub rom: PathBuf,
    pub vmm: PathBuf,
}

/// The ROM alone.
pub fn rom(workspace: &Workspace) -> Result<PathBuf> {
    build::firmware(workspace)?;
    Ok(workspace.rom())
}

/// The ROM, and the monitor for this machine.
pub fn for_host(workspace: &Workspace) -> Result<Images> {
    build::monitor(workspace)?;
    Ok(Images {
        rom: rom(workspace)?,
        vmm: workspace.vmm(),
    })
}

/// The ROM, and the monitor for the lab's outer machine.
pub fn for_lab(workspace: &Workspace) -> Result<Images> {
    build::static_monitor(workspace)?;
    Ok(Images {
        rom: rom(workspace)?,
        vmm: workspace.vmm_static(),
    })
}
