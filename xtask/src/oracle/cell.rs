// SPDX-License-Identifier: MIT OR Apache-2.0
//! The matrix: which machines are booted, and which of them are enough for every day.
//!
//! Pure.

use std::fmt;

/// QEMU's machine types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    Microvm,
    Pc,
    Q35,
}

/// The formats of the guest `report`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Pvh,
    Bzimage64,
    Bzimage32,
    /// Loaded high, with nothing but the 16-bit entry point.
    Bzimage16,
    /// The same, loaded low.
    Zimage,
    Multiboot,
}

/// What a machine has besides, on the cells of its own that are not part of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    None,
    /// A generation identifier, whose place the firmware tells QEMU.
    Generation,
    /// Processor IDs that are not in one row.
    Topology,
    /// A device in every slot for virtio-mmio.
    Slots,
    /// microvm with PCIe and USB.
    Pcie,
    /// Functions with BARs of all kinds, some of them behind bridges.
    Devices,
    /// The SMBIOS entry point of version 3.
    Smbios3,
    /// An NVDIMM, room for more memory, and a page that tables point to.
    Nvdimm,
}

/// One machine and what it boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub board: Board,
    pub format: Format,
    pub cpus: u32,
    pub memory_mib: u32,
    pub acpi: bool,
    pub initrd: bool,
    pub extra: Extra,
}

const BOARDS: [Board; 3] = [Board::Microvm, Board::Pc, Board::Q35];
/// Every format.
pub const FORMATS: [Format; 6] = [
    Format::Pvh,
    Format::Bzimage64,
    Format::Bzimage32,
    Format::Bzimage16,
    Format::Zimage,
    Format::Multiboot,
];
const CPUS: [u32; 4] = [1, 2, 64, 255];
const MEMORY_MIB: [u32; 3] = [64, 512, 5 * 1024];
const SWITCH: [bool; 2] = [true, false];

/// How many properties a cell of the matrix has.
const DIMENSIONS: usize = 6;

impl Board {
    /// As it is given to `-M`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Microvm => "microvm",
            Self::Pc => "pc",
            Self::Q35 => "q35",
        }
    }
}

impl Format {
    /// The guest's file.
    pub fn file(self) -> &'static str {
        match self {
            Self::Pvh => "report.elf",
            Self::Bzimage64 => "report.bz",
            Self::Bzimage32 => "report32.bz",
            Self::Bzimage16 => "report16.bz",
            Self::Zimage => "report16.z",
            Self::Multiboot => "report.multiboot",
        }
    }

    /// As the guest says how it was entered, if the firmware knows the entry.
    pub fn mode(self) -> &'static str {
        match self {
            Self::Pvh => "pvh",
            Self::Bzimage64 => "linux64",
            Self::Bzimage32 => "linux32",
            Self::Bzimage16 | Self::Zimage => "linux16",
            Self::Multiboot => "multiboot",
        }
    }

    /// In the names of cells.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pvh => "pvh",
            Self::Bzimage64 => "bzimage64",
            Self::Bzimage32 => "bzimage32",
            Self::Bzimage16 => "bzimage16",
            Self::Zimage => "zimage",
            Self::Multiboot => "multiboot",
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}-{}-{}cpu-{}MiB{}{}{}",
            self.board.name(),
            self.format.name(),
            self.cpus,
            self.memory_mib,
            if self.acpi { "" } else { "-no-acpi" },
            if self.initrd { "-initrd" } else { "" },
            match self.extra {
                Extra::None => "",
                Extra::Generation => "-vmgenid",
                Extra::Topology => "-2-sockets-of-3",
                Extra::Slots => "-every-slot",
                Extra::Pcie => "-pcie-usb",
                Extra::Devices => "-devices",
                Extra::Smbios3 => "-smbios3",
                Extra::Nvdimm => "-nvdimm",
            }
        )
    }
}

impl Cell {
    /// As it is given to `-M`.
    pub fn machine(&self) -> String {
        let acpi = if self.acpi { "" } else { ",acpi=off" };
        format!("{}{acpi}", self.board.name())
    }

    /// What else is on the command line.
    pub fn more(&self) -> Vec<String> {
        let words = match self.extra {
            Extra::None => "",
            Extra::Generation => "-device vmgenid,guid=324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87",
            Extra::Topology => "-smp 6,sockets=2,cores=3",
            Extra::Slots => {
                let slots = if self.acpi { 24 } else { 8 };
                return ["-device", "virtio-rng-device"]
                    .repeat(slots)
                    .into_iter()
                    .map(str::to_owned)
                    .collect();
            }
            Extra::Pcie => "-machine pcie=on,usb=on",
            Extra::Devices if self.board == Board::Pc => {
                "-device virtio-net-pci -device e1000 -device virtio-rng-pci -device nec-usb-xhci \
                 -device pci-bridge,chassis_nr=1,id=b1 -device virtio-rng-pci,bus=b1,addr=3"
            }
            Extra::Devices => {
                "-device pcie-root-port,id=p1,chassis=1 -device virtio-net-pci,bus=p1 \
                 -device pcie-root-port,id=p2,chassis=2 -device virtio-rng-pci -device e1000e \
                 -device nec-usb-xhci"
            }
            Extra::Smbios3 => "-machine smbios-entry-point-type=64",
            Extra::Nvdimm => {
                "-machine nvdimm=on -m 512M,slots=4,maxmem=8G \
                 -object memory-backend-ram,id=m,size=128M -device nvdimm,memdev=m"
            }
        };
        words.split_whitespace().map(str::to_owned).collect()
    }

    /// The bytes of its generation identifier: a UUID with its first three fields little-endian.
    pub fn generation(&self) -> Option<&'static str> {
        (self.extra == Extra::Generation).then_some("af6e4e32d1d1f64bbf41b9bb6c91fb87")
    }

    /// Bytes of RAM below 4 GiB; QEMU `hw/i386/{microvm,pc_piix,pc_q35}.c`.
    pub fn low_ram(&self) -> u64 {
        const GIB: u64 = 1 << 30;
        let memory = u64::from(self.memory_mib) << 20;
        let (most, split) = match self.board {
            Board::Microvm => (3 * GIB, 3 * GIB),
            Board::Pc => (0xe000_0000, 3 * GIB),
            Board::Q35 => (0xb000_0000, 2 * GIB),
        };
        if memory >= most { split } else { memory }
    }

    /// Its properties as numbers.
    fn values(&self) -> [u32; DIMENSIONS] {
        [
            self.board as u32,
            self.format as u32,
            self.cpus,
            self.memory_mib,
            self.acpi.into(),
            self.initrd.into(),
        ]
    }

    /// Roughly what a boot costs: QEMU makes every processor, and the PC boards give each a table
    /// of ports.
    fn cost(&self) -> usize {
        match (self.cpus, self.board) {
            (255, Board::Microvm) => 3,
            (255, _) => 8,
            (64, _) => 2,
            _ => 1,
        }
    }

    /// Every pair of its properties.
    fn pairs(&self) -> Vec<(usize, u32, usize, u32)> {
        let values = self.values();
        let mut pairs = Vec::new();
        for (first, one) in values.into_iter().enumerate() {
            for (second, other) in values.into_iter().enumerate().skip(first + 1) {
                pairs.push((first, one, second, other));
            }
        }
        pairs
    }
}

/// Every cell of the matrix.
pub fn all() -> Vec<Cell> {
    let mut cells = Vec::new();
    for board in BOARDS {
        for format in FORMATS {
            for cpus in CPUS {
                for memory_mib in MEMORY_MIB {
                    for acpi in SWITCH {
                        for initrd in SWITCH {
                            cells.push(Cell {
                                board,
                                format,
                                cpus,
                                memory_mib,
                                acpi,
                                initrd,
                                extra: Extra::None,
                            });
                        }
                    }
                }
            }
        }
    }
    cells
}

/// Cells outside the matrix, one by one.
pub fn special() -> Vec<Cell> {
    let mut cells = Vec::new();
    for format in [Format::Pvh, Format::Bzimage64] {
        for board in BOARDS {
            for extra in [
                Extra::Generation,
                Extra::Topology,
                Extra::Slots,
                Extra::Pcie,
                Extra::Devices,
                Extra::Smbios3,
                Extra::Nvdimm,
            ] {
                for acpi in SWITCH {
                    let microvm = board == Board::Microvm;
                    let has = match extra {
                        Extra::Generation | Extra::Nvdimm => !microvm && acpi,
                        Extra::Pcie => microvm && acpi,
                        Extra::Slots => microvm,
                        Extra::Devices | Extra::Smbios3 => !microvm,
                        Extra::None | Extra::Topology => true,
                    };
                    let cell = Cell {
                        board,
                        format,
                        cpus: if extra == Extra::Topology { 6 } else { 1 },
                        memory_mib: 512,
                        acpi,
                        initrd: false,
                        extra,
                    };
                    if has {
                        cells.push(cell);
                    }
                }
            }
        }
    }
    cells
}

/// Few cells in which every two properties meet that meet anywhere: again and again the one that
/// adds most for what it costs.
pub fn pairwise() -> Vec<Cell> {
    let all = all();
    let mut missing: std::collections::HashSet<_> = all.iter().flat_map(Cell::pairs).collect();
    let mut chosen = Vec::new();
    while !missing.is_empty() {
        // The first of the best, so that the choice is the same everywhere.
        let gain = |cell: &Cell| {
            let new = cell
                .pairs()
                .iter()
                .filter(|pair| missing.contains(pair))
                .count();
            new * 100 / cell.cost()
        };
        let Some(best) = all.iter().rev().max_by_key(|cell| gain(cell)) else {
            break;
        };
        for pair in best.pairs() {
            missing.remove(&pair);
        }
        chosen.push(*best);
    }
    chosen
}

#[cfg(test)]
mod test {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_cell_has_a_name_of_its_own() {
        let names: HashSet<_> = all().iter().map(Cell::to_string).collect();

        assert_eq!(names.len(), all().len());
    }

    #[test]
    fn every_two_properties_meet_in_the_few() {
        let few = pairwise();
        let met: HashSet<_> = few.iter().flat_map(Cell::pairs).collect();

        assert!(
            all()
                .iter()
                .flat_map(Cell::pairs)
                .all(|pair| met.contains(&pair))
        );
        assert!(few.len() <= 40, "{}", few.len());
    }

    #[test]
    fn ram_is_split_where_the_board_splits_it() {
        let cell = |board, memory_mib| Cell {
            board,
            format: Format::Pvh,
            cpus: 1,
            memory_mib,
            acpi: true,
            initrd: false,
            extra: Extra::None,
        };

        assert_eq!(cell(Board::Microvm, 5120).low_ram(), 0xc000_0000);
        assert_eq!(cell(Board::Pc, 5120).low_ram(), 0xc000_0000);
        assert_eq!(cell(Board::Q35, 5120).low_ram(), 0x8000_0000);
        assert_eq!(cell(Board::Q35, 512).low_ram(), 0x2000_0000);
    }
}
