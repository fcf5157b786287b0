// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the user wants, as plain data, and the checks that need nothing but that data.
//!
//! In: strings and paths from [`crate::cli`] or from a library user. Out: a [`Config`] that
//! [`Config::validate`] has approved. Never: opens a file.

mod disk;
mod file;
mod machine;
mod memory;
mod net;
mod option_rom;
mod smbios;
mod target;
mod words;

pub use disk::{Aio, Disk, MAX_DISK_QUEUES, parse_disk};
pub use file::{UserFile, UserSource, parse_user_file};
pub use machine::{IrqChip, Machine, parse_machine};
pub use memory::{Memory, parse_memory};
pub use net::{MAX_NET_QUEUES, Net, parse_net};
pub use option_rom::{OptionRom, parse_option_rom};
pub use smbios::{Smbios, parse_smbios};
pub use target::{CONSOLE, DEBUGCON, SERIAL, Target, far_ends, parse_target};
pub use words::list;

use crate::devices::virtio::Wiring;
use crate::memory::HUGE_PAGE;
use abi::layout::{PAGE_SIZE, RAM_ABOVE_4G_START};
use abi::virtio::blk::ID_BYTES;
use std::path::PathBuf;

/// What the option is called that has the run measured.
pub const MEASURE: &str = "--measure";

/// Most processors: one 8-bit APIC ID each, of which 255 is the broadcast.
pub const MAX_CPUS: u32 = 255;

/// Least RAM: 1 MiB that the firmware and its hand-off live in, and 1 MiB for something to boot.
pub const MIN_MEMORY: u64 = 2 << 20;

/// Most RAM: what a processor with 46 physical address bits can reach above 4 GiB.
pub const MAX_MEMORY: u64 = (1 << 46) - RAM_ABOVE_4G_START;

/// A machine to build and run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Kernel image: bzImage, PVH ELF or multiboot.
    pub kernel: Option<PathBuf>,
    /// Initial RAM disk. Of a multiboot kernel, its modules: `FILE[ ARGUMENTS]` between commas.
    pub initrd: Option<PathBuf>,
    /// Kernel command line.
    pub append: String,
    /// RAM.
    pub memory: Memory,
    /// Processors.
    pub cpus: u32,
    /// Firmware image; without one the monitor enters the kernel itself.
    pub bios: Option<PathBuf>,
    /// What the machine consists of.
    pub machine: Machine,
    /// Disks, in the order in which the guest finds them.
    pub disks: Vec<Disk>,
    /// Network devices behind the disks, in the order in which the guest finds them.
    pub nets: Vec<Net>,
    /// Whether there is a virtio entropy device, behind all others.
    pub rng: bool,
    /// Where COM1 leads.
    pub serial: Target,
    /// Virtio consoles, behind all other virtio devices, and where they lead.
    pub consoles: Vec<Target>,
    /// Where the debug console leads; there is one if that is somewhere.
    pub debugcon: Target,
    /// Whether a guest reset restarts the machine instead of ending the run.
    pub reboot: bool,
    /// Whether the process stays, with the processors stopped, where the guest would end the run.
    pub no_shutdown: bool,
    /// Whether the firmware is asked to mark its trace points.
    pub trace: bool,
    /// Whether `fw_cfg` offers DMA.
    pub fw_cfg_dma: bool,
    /// Whether the process confines itself to the system calls that it needs.
    pub seccomp: bool,
    /// Where to write what the run has cost.
    pub measure: Option<PathBuf>,
    /// Whether that counts instructions.
    pub single_step: bool,
    /// Further `fw_cfg` files.
    pub fw_cfg: Vec<UserFile>,
    /// Option ROMs, which the machine may be told to leave out.
    pub option_roms: Vec<OptionRom>,
    /// What the machine says it is, if anything.
    pub smbios: Option<Smbios>,
}

/// A virtio device.
#[derive(Clone, Copy, Debug)]
pub enum Virtio<'a> {
    /// A disk.
    Disk(&'a Disk),
    /// A network device.
    Net(&'a Net),
    /// Random bytes.
    Rng,
    /// A console.
    Console(&'a Target),
}

/// What is wrong with an option.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a size.
    #[error(
        "--memory {0}: expected a whole number of MiB, or one with the suffix K, M, G or T, \
         such as 512M"
    )]
    MemorySyntax(String),
    /// Not a description of memory.
    #[error(
        "--memory {0}: expected size=SIZE, a whole number of MiB or one with the suffix K, M, G or \
         T, and at most hugepages, shared, prefault and thp, each on or off and once, between \
         commas"
    )]
    Memory(String),
    /// Pages of two sizes.
    #[error(
        "--memory hugepages=on: expected a multiple of 2 MiB and thp=off to go with it, found \
         {found} bytes and thp={}", if *thp { "on" } else { "off" }
    )]
    HugePages {
        /// Bytes asked for.
        found: u64,
        /// Whether transparent huge pages are, too.
        thp: bool,
    },
    /// A size no machine has.
    #[error(
        "--memory {found}: expected a multiple of 4 KiB from {MIN_MEMORY} to {MAX_MEMORY} bytes, found {found} bytes"
    )]
    MemorySize {
        /// Bytes asked for.
        found: u64,
    },
    /// A processor count no machine has.
    #[error("--cpus {0}: expected 1 to {MAX_CPUS} processors")]
    Cpus(String),
    /// Not a far end.
    #[error("{0} {1}: expected stdio, none, pty, file:PATH or unix:PATH")]
    Target(&'static str, String),
    /// A far end that two ports lead to.
    #[error("--serial, --console, --debugcon: expected {0} at most once, found it twice")]
    TargetTwice(String),
    /// Not a choice of parts.
    #[error(
        "--machine {0}: expected KEY=VALUE with a key out of acpi, auto-kernel-cmdline, \
         force-legacy, ioapic2, pic, pit, rtc, isa-serial, pvpanic and x-option-roms, and a value out \
         of on, off and auto; or irqchip=split or kernel"
    )]
    Machine(String),
    /// A part that no machine of ours is without.
    #[error(
        "--machine pic=off: expected irqchip=split to go with it, found irqchip=kernel, and KVM's own \
         interrupt controllers come with a PIC"
    )]
    Pic,
    /// A second I/O APIC that nobody has, or nobody would know of.
    #[error(
        "--machine ioapic2=on: expected irqchip=split and acpi=on to go with it, found {0}, and \
         {1}"
    )]
    IoApic2(&'static str, &'static str),
    /// COM1 leads somewhere, but is not there.
    #[error("--serial: expected a machine with a serial port, found --machine isa-serial=off")]
    SerialAlone,
    /// Not a description of a disk.
    #[error(
        "--disk {0}: expected path=FILE, and at most readonly=on|off, direct=on|off, \
         aio=auto|io_uring|threads, serial=TEXT of up to {ID_BYTES} ASCII characters, queues=N \
         from 1 to {MAX_DISK_QUEUES} and bootindex=N, each once, between commas; a comma in a value is doubled"
    )]
    Disk(String),
    /// Not a description of a network device.
    #[error(
        "--net {0}: expected tap=NAME of 1 to 15 ASCII characters, and at most \
         mac=XX:XX:XX:XX:XX:XX and queues=N from 1 to {MAX_NET_QUEUES}, each once, between commas"
    )]
    Net(String),
    /// Not an address that a station can have.
    #[error(
        "--net mac={0}: expected the address of one station: six pairs of hexadecimal digits \
         between colons, the first pair even, as that of a group is not, and not all 0"
    )]
    Mac(String),
    /// A tap has one other end.
    #[error("--net tap={0}: expected each tap to be there for one device, found it named twice")]
    TapTwice(String),
    /// Not a description of an option ROM.
    #[error(
        "--option-rom {0}: expected path=FILE, and at most bootindex=N, between commas; a comma in a \
         value is doubled"
    )]
    OptionRom(String),
    /// Two that are to be tried first, say.
    #[error("bootindex={0}: expected a number that nothing else has, found it twice")]
    BootIndex(u32),
    /// More devices than places for them.
    #[error(
        "--disk, --net, --rng, --console: expected at most {most} virtio devices, as many as there \
         are interrupts for (24 with --machine acpi=on,irqchip=split,ioapic2=on), found {found}"
    )]
    Virtio {
        /// Places.
        most: u8,
        /// Devices.
        found: usize,
    },
    /// Not a description of a machine.
    #[error(
        "--smbios {0}: expected type=1 with manufacturer, product, version, serial, uuid, sku and \
         family, or type=11 with values, between commas; a comma in a value is doubled"
    )]
    Smbios(String),
    /// Not a description of a file.
    #[error("--fw-cfg {0}: expected name=NAME,string=TEXT or name=NAME,file=PATH")]
    FwCfg(String),
    /// Counts that nobody writes down.
    #[error("--single-step on: expected a --measure to go with it, found none")]
    SingleStepAlone,
    /// What only firmware makes use of.
    #[error("{0}: expected firmware that makes use of it, found --bios none")]
    Firmware(&'static str),
    /// The initrd is the kernel's; without a kernel it means nothing.
    #[error("--initrd: expected a --kernel to go with it, found none")]
    InitrdAlone,
    /// The command line is the kernel's; without a kernel it means nothing.
    #[error("--append: expected a --kernel to go with it, found none")]
    AppendAlone,
}

impl Config {
    /// The virtio devices in the order in which they take slots.
    pub fn virtio(&self) -> impl Iterator<Item = Virtio<'_>> {
        let disks = self.disks.iter().map(Virtio::Disk);
        let nets = self.nets.iter().map(Virtio::Net);
        let consoles = self.consoles.iter().map(Virtio::Console);
        disks
            .chain(nets)
            .chain(self.rng.then_some(Virtio::Rng))
            .chain(consoles)
    }

    /// Number of virtio devices.
    #[must_use]
    pub fn virtio_devices(&self) -> usize {
        self.virtio().count()
    }

    /// The option ROMs that firmware finds.
    pub fn option_roms(&self) -> impl Iterator<Item = &OptionRom> {
        let offered = self.machine.x_option_roms;
        self.option_roms.iter().filter(move |_| offered)
    }

    /// How its virtio devices are wired.
    #[must_use]
    pub fn wiring(&self) -> Wiring {
        let Machine {
            acpi,
            ioapic2,
            irqchip,
            ..
        } = self.machine;
        let many = self.virtio_devices() > usize::from(Wiring::One.slots());
        match irqchip {
            _ if !acpi => Wiring::Isa,
            IrqChip::Split if ioapic2.unwrap_or(many) => Wiring::Two,
            IrqChip::Split | IrqChip::Kernel => Wiring::One,
        }
    }

    /// Refuses what no machine can be built from.
    pub fn validate(&self) -> Result<(), Error> {
        let Memory {
            size: found,
            backing,
        } = self.memory;
        if !(MIN_MEMORY..=MAX_MEMORY).contains(&found) || !found.is_multiple_of(PAGE_SIZE) {
            return Err(Error::MemorySize { found });
        }
        if backing.hugepages && (backing.thp || !found.is_multiple_of(HUGE_PAGE)) {
            let thp = backing.thp;
            return Err(Error::HugePages { found, thp });
        }
        if !(1..=MAX_CPUS).contains(&self.cpus) {
            return Err(Error::Cpus(self.cpus.to_string()));
        }
        if self.kernel.is_none() && self.initrd.is_some() {
            return Err(Error::InitrdAlone);
        }
        if self.kernel.is_none() && !self.append.is_empty() {
            return Err(Error::AppendAlone);
        }
        if self.single_step && self.measure.is_none() {
            return Err(Error::SingleStepAlone);
        }
        if self.bios.is_none() && self.smbios.is_some() {
            return Err(Error::Firmware("--smbios"));
        }
        if self.bios.is_none() && !self.option_roms.is_empty() {
            return Err(Error::Firmware("--option-rom"));
        }
        if !self.machine.isa_serial && self.serial != Target::None {
            return Err(Error::SerialAlone);
        }
        for (index, net) in self.nets.iter().enumerate() {
            let mut others = self.nets.iter().skip(index + 1);
            if others.any(|other| other.tap == net.tap) {
                return Err(Error::TapTwice(net.tap.clone()));
            }
        }
        target::check(
            [&self.serial, &self.debugcon]
                .into_iter()
                .chain(&self.consoles),
        )?;
        let (most, found) = (self.wiring().slots(), self.virtio_devices());
        if found > usize::from(most) {
            return Err(Error::Virtio { most, found });
        }
        let disks = self.disks.iter().filter_map(|disk| disk.boot_index);
        let roms = self.option_roms().filter_map(|rom| rom.boot_index);
        let mut order: Vec<_> = disks.chain(roms).collect();
        order.sort_unstable();
        if let Some(pair) = order.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::BootIndex(pair[0]));
        }
        Ok(())
    }
}

/// Reads a processor count.
pub fn parse_cpus(text: &str) -> Result<u32, Error> {
    text.parse().map_err(|_| Error::Cpus(text.into()))
}
