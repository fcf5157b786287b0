// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guest has used `fw_cfg` for, where somebody wants to know.
//!
//! In: what the device has just done. Out: counts by item, and words for the last operation.

use super::{FwCfg, Selection};
use abi::fw_cfg::Key;

/// How an item was used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// What it is called: a file by its name, another one by its key's.
    pub name: String,
    /// Selections through the register, and DMA operations.
    pub operations: u64,
    /// Bytes that were handed over.
    pub bytes: u64,
    /// Those of them that DMA has copied.
    pub dma_bytes: u64,
}

/// What a DMA operation has done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Operation {
    /// In a word.
    pub verb: &'static str,
    /// Bytes that were written to guest memory.
    pub copied: u32,
}

/// Counts by item.
#[derive(Debug)]
pub(super) struct Tally {
    /// In the order of the items; the last one is what names no item.
    items: Vec<Usage>,
    /// What the last access was for.
    last: Option<String>,
}

impl Tally {
    /// Of items with these names.
    pub fn new(names: impl Iterator<Item = String>) -> Self {
        let usage = |name| Usage {
            name,
            ..Usage::default()
        };
        let nothing = std::iter::once("no item".to_owned());
        Self {
            items: names.chain(nothing).map(usage).collect(),
            last: None,
        }
    }

    /// What counts for the selected item, and what that is called.
    fn of(&mut self, selection: Selection) -> Option<(&mut Usage, String)> {
        let last = self.items.len().saturating_sub(1);
        let index = selection.index.unwrap_or(last);
        let item = self.items.get_mut(index)?;
        let name = match selection.index {
            Some(_) => item.name.clone(),
            None => name_of(selection.key, None),
        };
        Some((item, name))
    }

    /// The register has selected.
    pub fn selected(&mut self, selection: Selection) {
        if let Some((item, name)) = self.of(selection) {
            item.operations += 1;
            self.last = Some(format!("select {name}"));
        }
    }

    /// The data register has given `count` bytes.
    pub fn given(&mut self, selection: Selection, count: usize) {
        if let Some((item, name)) = self.of(selection) {
            item.bytes += count as u64;
            self.last = Some(name);
        }
    }

    /// A DMA operation has ended.
    pub fn operated(&mut self, selection: Selection, operation: Operation) {
        let Operation { verb, copied } = operation;
        if let Some((item, name)) = self.of(selection) {
            item.operations += 1;
            item.bytes += u64::from(copied);
            item.dma_bytes += u64::from(copied);
            self.last = Some(match copied {
                0 => format!("{verb} {name}"),
                bytes => format!("{verb} {name}, {bytes} bytes"),
            });
        }
    }
}

/// What an item is called.
fn name_of(key: Key, file: Option<&str>) -> String {
    let name = file.or(key.name());
    name.map_or_else(|| format!("{:#x}", key.0), Into::into)
}

impl FwCfg {
    /// Counts from now on.
    #[must_use]
    pub fn counted(mut self) -> Self {
        let names = self.items().map(|(key, name, _)| name_of(key, name));
        self.tally = Some(Tally::new(names));
        self
    }

    /// What the items were used for so far, in the order of their keys, if that is counted.
    #[must_use]
    pub fn usage(&self) -> Vec<Usage> {
        self.tally
            .as_ref()
            .map_or(Vec::new(), |it| it.items.clone())
    }

    /// What the last access was for, once, if that is counted.
    pub fn purpose(&mut self) -> Option<String> {
        self.tally.as_mut()?.last.take()
    }
}
