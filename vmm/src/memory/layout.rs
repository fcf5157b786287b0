// SPDX-License-Identifier: MIT OR Apache-2.0
//! The arithmetic of the memory map: how much RAM lies where, and what the ROM covers.
//!
//! Spec: QEMU `hw/i386/microvm.c`, `microvm_memory_init`. Pure; no memory is touched.

use abi::layout::{
    HIGH_RAM_START, RAM_ABOVE_4G_START, RAM_BELOW_4G_END, ROM_ALIAS_END, ROM_ALIAS_MAX_SIZE,
    ROM_TOP,
};

/// What memory is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// RAM.
    Ram,
    /// The firmware image, which can be written, as on QEMU's `microvm`.
    Rom,
}

/// A piece of guest memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Piece {
    /// First guest-physical address.
    pub guest: u64,
    /// Bytes.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
    /// Where it starts in all RAM, or in the ROM.
    pub offset: u64,
}

/// Sizes from which every boundary of the map follows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Layout {
    ram_size: u64,
    rom_size: u64,
}

impl Layout {
    /// A machine with `ram_size` and `rom_size` bytes; the latter may be none. Both are validated by [`crate::config`]
    /// and [`crate::boot`] before they come here.
    #[must_use]
    pub const fn new(ram_size: u64, rom_size: u64) -> Self {
        Self { ram_size, rom_size }
    }

    /// RAM in bytes.
    #[must_use]
    pub const fn ram_size(&self) -> u64 {
        self.ram_size
    }

    /// ROM in bytes.
    #[must_use]
    pub const fn rom_size(&self) -> u64 {
        self.rom_size
    }

    /// End of RAM below 4 GiB, which is also its size.
    #[must_use]
    pub const fn below_4g(&self) -> u64 {
        if self.ram_size < RAM_BELOW_4G_END {
            self.ram_size
        } else {
            RAM_BELOW_4G_END
        }
    }

    /// Bytes of RAM from [`RAM_ABOVE_4G_START`] on.
    #[must_use]
    pub const fn above_4g(&self) -> u64 {
        self.ram_size - self.below_4g()
    }

    /// First guest-physical address after all RAM.
    #[must_use]
    pub const fn ram_end(&self) -> u64 {
        if self.above_4g() == 0 {
            self.below_4g()
        } else {
            RAM_ABOVE_4G_START + self.above_4g()
        }
    }

    /// Bytes of the ROM's end that are visible below 1 MiB.
    #[must_use]
    pub const fn alias_size(&self) -> u64 {
        if self.rom_size < ROM_ALIAS_MAX_SIZE {
            self.rom_size
        } else {
            ROM_ALIAS_MAX_SIZE
        }
    }

    /// First address of the view below 1 MiB.
    #[must_use]
    pub const fn alias_start(&self) -> u64 {
        ROM_ALIAS_END - self.alias_size()
    }

    /// All guest memory in ascending order. The end of the ROM is there twice.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece> {
        let piece = |kind, guest, offset, size| Piece {
            guest,
            size,
            kind,
            offset,
        };
        let (alias, alias_size) = (self.alias_start(), self.alias_size());
        let (rom, rom_size) = (self.rom_start(), self.rom_size);
        let below_4g = self.below_4g();
        let mut pieces = vec![
            piece(Kind::Ram, 0, 0, alias),
            piece(Kind::Rom, alias, rom_size - alias_size, alias_size),
            piece(
                Kind::Ram,
                HIGH_RAM_START,
                HIGH_RAM_START,
                below_4g - HIGH_RAM_START,
            ),
            piece(Kind::Rom, rom, 0, rom_size),
        ];
        pieces.retain(|piece| piece.size > 0);
        if self.above_4g() > 0 {
            pieces.push(piece(
                Kind::Ram,
                RAM_ABOVE_4G_START,
                below_4g,
                self.above_4g(),
            ));
        }
        pieces
    }

    /// First address of the view below 4 GiB.
    #[must_use]
    pub const fn rom_start(&self) -> u64 {
        ROM_TOP - self.rom_size
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_small_rom_is_all_visible_and_a_large_one_only_its_end() {
        assert_eq!(Layout::new(1 << 28, 0x1_0000).alias_start(), 0xf_0000);
        assert_eq!(Layout::new(1 << 28, 0x2_0000).alias_start(), 0xe_0000);
        assert_eq!(Layout::new(1 << 28, 0x100_0000).alias_start(), 0xe_0000);
        assert_eq!(Layout::new(1 << 28, 0x100_0000).rom_start(), 0xff00_0000);
    }

    #[test]
    fn without_a_rom_there_is_ram_in_its_place() {
        let layout = Layout::new(2 << 20, 0);
        let pieces: Vec<_> = layout
            .pieces()
            .iter()
            .map(|it| (it.guest, it.size))
            .collect();
        assert_eq!(pieces, [(0, 1 << 20), (1 << 20, 1 << 20)]);
    }

    #[test]
    fn ram_splits_at_three_gib() {
        let three = Layout::new(3 << 30, 0x1_0000);
        assert_eq!(
            (three.below_4g(), three.above_4g(), three.ram_end()),
            (3 << 30, 0, 3 << 30)
        );
        let five = Layout::new(5 << 30, 0x1_0000);
        assert_eq!((five.below_4g(), five.above_4g()), (3 << 30, 2 << 30));
        assert_eq!(five.ram_end(), 6 << 30);
    }
}
