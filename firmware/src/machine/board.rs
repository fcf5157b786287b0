// SPDX-License-Identifier: MIT OR Apache-2.0
//! The board's chipset and its PCI functions, where there are any.

use super::fw_cfg::FwCfg;
use super::memory::HandoffMemory;
use super::mtrr::address_bits;
use super::pci::ConfigPorts;
use super::pic;
use abi::e820::E820Entry;
use firmware_core::board::Board;
use firmware_core::error::BootError;
use firmware_core::facts::Facts;
use firmware_core::fw_cfg::Directory;

/// The chipset.
pub struct Chipset {
    /// Which board it is on.
    pub board: Board,
    config: Option<ConfigPorts>,
}

impl Chipset {
    /// Finds out which board this is, and makes its memory, its ports and its interrupts what the
    /// ACPI tables will say.
    pub(super) fn initialise() -> Self {
        match ConfigPorts::find() {
            None => Self {
                board: Board::Microvm,
                config: None,
            },
            Some(config) => Self::with(config),
        }
    }

    /// The chipset behind these ports.
    #[cold]
    #[inline(never)]
    fn with(mut config: ConfigPorts) -> Self {
        let board = Board::identify(&mut config);
        if board != Board::Microvm {
            board.initialise(&mut config);
            pic::initialise();
        }
        Self {
            board,
            config: Some(config),
        }
    }

    /// Gives every PCI function its addresses. Needs memory until it is done.
    ///
    /// # Errors
    /// A transfer failed.
    #[inline]
    pub fn assign_addresses(
        &mut self,
        fw_cfg: &mut FwCfg,
        files: &mut Directory<'_>,
        facts: &Facts<'_>,
        memory: &mut HandoffMemory,
    ) -> Result<(), BootError> {
        if self.board == Board::Microvm {
            return Ok(());
        }
        self.assign(fw_cfg, files, facts.memory, memory)
    }

    #[cold]
    #[inline(never)]
    fn assign(
        &mut self,
        fw_cfg: &mut FwCfg,
        files: &mut Directory<'_>,
        records: &[E820Entry],
        memory: &mut HandoffMemory,
    ) -> Result<(), BootError> {
        let (Some(config), Some(storage)) = (&mut self.config, memory.borrow()) else {
            return Ok(());
        };
        self.board
            .assign_addresses(config, fw_cfg, files, records, address_bits, storage)
    }
}
