// SPDX-License-Identifier: MIT OR Apache-2.0
//! The firmware configuration device: what firmware asks to learn what to boot.
//!
//! Spec: QEMU `docs/specs/fw_cfg.rst`; registers and structures are `abi::fw_cfg`.
//! In: port accesses (any width, any offset) and, through DMA, guest memory.
//! Out: item bytes. Never: knows KVM, threads, or what the items mean.
//!
//! | offset | read | write |
//! |-------:|------|-------|
//! | 0, 1 | 8-bit: next byte of the item; wider: see [`FwCfg::read`] | 16-bit at 0: select |
//! | 2, 3 | ones | nothing |
//! | 4–11 | `QEMU CFG` in port order; ones without DMA | 32-bit at 4: address high; 32-bit at 8: address low, go; 64-bit at 4: both |

mod dma;
mod items;
mod tally;
#[cfg(test)]
mod test;

pub use items::{Content, Error, Items, Joined};
pub use tally::Usage;

use crate::memory::Memory;
use abi::fw_cfg::{
    DMA_SIGNATURE, Features, Key, PORT_BASE, PORT_COUNT, PORT_DATA, PORT_DMA_HIGH, PORT_DMA_LOW,
    PORT_SELECTOR, SIGNATURE,
};
use dma::Dma;
use tally::Tally;

/// Offsets from [`PORT_BASE`].
const SELECTOR: u16 = PORT_SELECTOR - PORT_BASE;
const DATA: u16 = PORT_DATA - PORT_BASE;
const DMA_HIGH: u16 = PORT_DMA_HIGH - PORT_BASE;
const DMA_LOW: u16 = PORT_DMA_LOW - PORT_BASE;

/// What a port without a register reads as.
const NOBODY: u8 = 0xff;

/// Bytes of a host file fetched at once for the data register.
const WINDOW: usize = 4096;

/// The device.
#[derive(Debug)]
pub struct FwCfg {
    items: Vec<(Key, Content)>,
    /// Of the files, in the order of their keys.
    names: Vec<String>,
    selection: Selection,
    dma: Option<Dma>,
    window: Window,
    host_error: Option<String>,
    /// What it was used for, if that is counted.
    tally: Option<Tally>,
}

impl FwCfg {
    /// A device that offers `items`; with `memory`, also the DMA interface.
    ///
    /// Adds the signature, the feature word and the file directory, instead of any that are in
    /// `items`.
    pub fn new(mut items: Items, memory: Option<Memory>) -> Result<Self, Error> {
        let mut features = Features::TRADITIONAL;
        features.set(Features::DMA, memory.is_some());
        items.set(Key::SIGNATURE, SIGNATURE.to_vec());
        items.set(Key::ID, Content::u32(features.bits()));
        let names = items.names().map(Into::into).collect();
        let items = items.into_table()?;
        Ok(Self {
            names,
            selection: Selection::of(Key::SIGNATURE, &items),
            items,
            dma: memory.map(Dma::new),
            window: Window::default(),
            host_error: None,
            tally: None,
        })
    }

    /// Every item: its key, its name if it is a file, and its size in bytes.
    pub fn items(&self) -> impl Iterator<Item = (Key, Option<&str>, u32)> {
        let name = |key: Key| {
            let index = usize::from(key.0.checked_sub(Key::FILE_FIRST.0)?);
            self.names.get(index).map(String::as_str)
        };
        let item = move |(key, content): &(Key, Content)| (*key, name(*key), content.size());
        self.items.iter().map(item)
    }

    /// Back to the power-on state: the signature selected, no DMA address latched.
    pub fn reset(&mut self) {
        self.selection = Selection::of(Key::SIGNATURE, &self.items);
        if let Some(dma) = &mut self.dma {
            dma.reset();
        }
    }

    /// One guest read of `data.len()` bytes at `offset` from the first port.
    ///
    /// The selector and data ports form one register that answers 8-bit reads only: what is
    /// wider and starts at the selector reads as zero. Any other wide access is one per port.
    /// QEMU 7.2 under KVM answers the same for all offsets and widths a processor can produce.
    pub fn read(&mut self, offset: u16, data: &mut [u8]) {
        if offset == SELECTOR && data.len() > 1 {
            data.fill(0);
            return;
        }
        for (port, byte) in (offset..).zip(data) {
            *byte = match port {
                SELECTOR | DATA => self.next_byte(),
                DMA_HIGH..PORT_COUNT if self.dma.is_some() => DMA_SIGNATURE
                    .get(usize::from(port - DMA_HIGH))
                    .copied()
                    .unwrap_or(NOBODY),
                _ => NOBODY,
            };
        }
    }

    /// A run of equal reads of `width` bytes each at `offset`, as `rep ins` makes them.
    pub fn read_string(&mut self, offset: u16, width: usize, data: &mut [u8]) {
        if width == 1 && offset <= DATA {
            self.next_bytes(data);
        } else {
            data.chunks_mut(width.max(1))
                .for_each(|chunk| self.read(offset, chunk));
        }
    }

    /// One guest write of `data` at `offset` from the first port. Any that no register takes is
    /// ignored.
    pub fn write(&mut self, offset: u16, data: &[u8]) {
        match (offset, data) {
            (SELECTOR, &[low, high]) => {
                self.selection = Selection::of(Key(u16::from_le_bytes([low, high])), &self.items);
                if let Some(tally) = &mut self.tally {
                    tally.selected(self.selection);
                }
            }
            (DMA_HIGH, &[a, b, c, d]) => {
                if let Some(dma) = &mut self.dma {
                    dma.latch_high(u32::from_be_bytes([a, b, c, d]));
                }
            }
            (DMA_LOW, &[a, b, c, d]) => self.start_dma(u32::from_be_bytes([a, b, c, d])),
            (DMA_HIGH, &[a, b, c, d, e, f, g, h]) => {
                self.write(DMA_HIGH, &[a, b, c, d]);
                self.write(DMA_LOW, &[e, f, g, h]);
            }
            _ => {}
        }
    }

    /// What went wrong on the host while serving the guest, the first time it did.
    #[must_use]
    pub fn host_error(&self) -> Option<&str> {
        self.host_error.as_deref()
    }

    fn start_dma(&mut self, low: u32) {
        let Some(dma) = &mut self.dma else { return };
        let address = dma.take_address(low);
        let (operation, result) = dma.run(address, &self.items, &mut self.selection);
        if let Err(error) = result {
            self.host_error.get_or_insert_with(|| error.to_string());
        }
        if let Some(tally) = &mut self.tally {
            tally.operated(self.selection, operation);
        }
    }

    /// The next byte of the selected item; past its end, zero.
    fn next_byte(&mut self) -> u8 {
        if let Some(tally) = &mut self.tally {
            tally.given(self.selection, 1);
        }
        let Some(index) = self.selection.index else {
            return 0;
        };
        let Some((_, content)) = self.items.get(index) else {
            return 0;
        };
        let offset = self.selection.offset;
        if offset >= content.size() {
            return 0;
        }
        self.selection.offset += 1;
        match content {
            Content::Bytes(bytes) => bytes.get(offset as usize).copied().unwrap_or(0),
            Content::File { .. } | Content::Joined(_) => {
                match self.window.get(index, offset, content) {
                    Ok(byte) => byte,
                    Err(error) => {
                        self.host_error.get_or_insert_with(|| error.to_string());
                        0
                    }
                }
            }
        }
    }

    /// As many single bytes as `data` takes, without a detour through the window.
    fn next_bytes(&mut self, data: &mut [u8]) {
        if let Some(tally) = &mut self.tally {
            tally.given(self.selection, data.len());
        }
        let Some(content) = self.selection.item(&self.items) else {
            data.fill(0);
            return;
        };
        if let Err(error) = content.copy(self.selection.offset, data) {
            data.fill(0);
            self.host_error.get_or_insert_with(|| error.to_string());
        }
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        self.selection.advance(length, &self.items);
    }
}

/// The selected item and the position in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Selection {
    key: Key,
    /// Index in the table; `None` if the key names nothing.
    index: Option<usize>,
    offset: u32,
}

impl Selection {
    fn of(key: Key, items: &[(Key, Content)]) -> Self {
        let key = Key(key.0 & !Key::WRITE_CHANNEL);
        Self {
            key,
            index: items.binary_search_by_key(&key, |(key, _)| *key).ok(),
            offset: 0,
        }
    }

    fn item(self, items: &[(Key, Content)]) -> Option<&Content> {
        self.index
            .and_then(|index| items.get(index))
            .map(|(_, content)| content)
    }

    fn offset(self) -> u32 {
        self.offset
    }

    /// Moves on by `count` bytes, at most to the item's end.
    fn advance(&mut self, count: u32, items: &[(Key, Content)]) {
        let size = self.item(items).map_or(0, Content::size);
        self.offset = self.offset.saturating_add(count).min(size);
    }
}

/// A few bytes of a host file, kept while the guest reads them one by one.
#[derive(Debug, Default)]
struct Window {
    bytes: Vec<u8>,
    /// Item and position of the first byte.
    place: Option<(usize, u32)>,
}

impl Window {
    fn get(&mut self, index: usize, offset: u32, content: &Content) -> std::io::Result<u8> {
        let found = self.place.and_then(|(item, start)| {
            let at = offset.checked_sub(start).filter(|_| item == index)?;
            self.bytes.get(at as usize).copied()
        });
        if let Some(byte) = found {
            return Ok(byte);
        }
        self.place = None;
        self.bytes
            .resize(WINDOW.min((content.size() - offset) as usize), 0);
        content.copy(offset, &mut self.bytes)?;
        self.place = Some((index, offset));
        Ok(self.bytes.first().copied().unwrap_or(0))
    }
}
