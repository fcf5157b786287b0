// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask size`: bytes of the ROM by room, against the checked-in budgets.

mod rooms;
mod table;

use std::path::PathBuf;

use crate::build;
use crate::error::{Error, Result};
use crate::workspace::{Workspace, read, write_atomically};
use table::Table;

/// `cargo xtask size`
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Check in what is found
    #[arg(long)]
    pub save: bool,
}

/// Prints the table, and saves it where that is asked for.
pub fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let table = measured(workspace)?;
    print!("{table}");
    if args.save {
        write_atomically(&path(workspace), table.saved().as_bytes())?;
    }
    kept(&table)
}

/// Builds the ROM and holds every room to its budget.
pub fn check(workspace: &Workspace) -> Result<()> {
    kept(&measured(workspace)?)
}

fn kept(table: &Table) -> Result<()> {
    let over = table.over();
    if over.is_empty() {
        Ok(())
    } else {
        Err(Error::Budgets(over))
    }
}

fn measured(workspace: &Workspace) -> Result<Table> {
    let rom = build::firmware(workspace)?;
    let linked = read(&workspace.linked_firmware())?;
    let rooms = rooms::measure(&workspace.root, &linked, &rom)
        .map_err(|error| Error::Build(Box::new(error)))?;
    let path = path(workspace);
    let text = String::from_utf8_lossy(&read(&path)?).into_owned();
    Table::read(&text, &rooms).map_err(|found| Error::Format {
        path,
        expected: "a table of budgets",
        found,
    })
}

fn path(workspace: &Workspace) -> PathBuf {
    workspace.root.join("firmware/size.txt")
}
