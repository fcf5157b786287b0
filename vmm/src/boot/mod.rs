// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a [`Config`] to what firmware will find: `fw_cfg` items, and what lies in RAM already.
//!
//! Spec: QEMU `x86_load_linux`, `x86_bios_rom_init` and `fw_cfg_arch_create`, and their results
//! on `microvm`. In: options and files. Out: a [`Boot`]. Never: knows KVM; trusts a file.

mod acpi;
mod bzimage;
mod direct;
mod e820;
mod elf;
mod input;
mod kernel;
mod multiboot;
mod order;
mod smbios;
mod table_loader;
#[cfg(test)]
mod test;

pub use direct::{CODE_32_SELECTOR, CODE_64_SELECTOR, DATA_SELECTOR, Direct, Start, TASK_SELECTOR};
pub use elf::Segment;
pub use input::Input;

use crate::config::{CONSOLE, Config, DEBUGCON, MEASURE, SERIAL, Target, UserSource};
use crate::devices::fw_cfg::{self, Items};
use crate::devices::map::Map;
use crate::devices::pvpanic::PVPANIC_PORT;
use crate::devices::virtio::Slot;
use crate::memory::Layout;
use abi::fw_cfg::{Key, file};
use abi::layout::{ROM_GRANULE, ROM_MAX_SIZE};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What error messages call the firmware image.
const FIRMWARE_IMAGE: &str = "firmware image";
const DISK_IMAGE: &str = "disk image";
/// What error messages call a file behind a `fw_cfg` file.
const FW_CFG_FILE: &str = "fw_cfg file";

/// Why something given to boot is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be used at all.
    #[error(transparent)]
    Input(#[from] input::Error),
    /// A kernel of none of the formats.
    #[error(
        "kernel {path}: expected a bzImage (\"HdrS\" at offset 0x202), an ELF file or a multiboot \
         header in the first 8192 bytes, found {found}"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        found: String,
    },
    /// A broken bzImage.
    #[error("kernel {path}: {problem}")]
    BzImage {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: bzimage::Problem,
    },
    /// A broken ELF file, or one without a PVH entry point.
    #[error("kernel {path}: {problem}")]
    Elf {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: elf::Problem,
    },
    /// A broken multiboot kernel.
    #[error("kernel {path}: {problem}")]
    Multiboot {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: multiboot::Problem,
    },
    /// No list of modules.
    #[error(
        "--initrd {0}: expected FILE or FILE ARGUMENTS between commas for a multiboot kernel; a comma \
         in a value is doubled"
    )]
    Modules(String),
    /// The initrd and the kernel do not fit into RAM together.
    #[error(
        "initrd {path}: {size} bytes do not fit between the kernel's end at {floor:#x} and \
         {ceiling:#x}, the end of what the kernel can reach; expected at most {room} bytes"
    )]
    Initrd {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// End of the kernel.
        floor: u64,
        /// End of usable RAM.
        ceiling: u64,
        /// What would fit.
        room: u64,
    },
    /// More to say than there is room for.
    #[error("--smbios: expected at most {most} bytes of structures, found {found}")]
    Smbios {
        /// Bytes there is room for.
        most: usize,
        /// Bytes of all structures.
        found: usize,
    },
    /// A firmware image of an impossible size.
    #[error(
        "firmware image {path}: expected a non-zero multiple of 64 KiB up to 16 MiB, found \
         {size} bytes"
    )]
    RomSize {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// A file for output would be emptied before it is read.
    #[error("{output}: expected a file of its own, found the {role} {input}")]
    OutputIsInput {
        /// The option and the file.
        output: String,
        /// What it is used as, too.
        role: &'static str,
        /// Under which path.
        input: PathBuf,
    },
    /// No firmware, and nothing that can do without.
    #[error("--bios none: {0}")]
    Direct(#[from] direct::Problem),
    /// Items that cannot be offered.
    #[error(transparent)]
    Items(#[from] fw_cfg::Error),
}

/// Everything that is decided before the machine is built.
#[derive(Debug)]
pub struct Boot {
    /// The memory map.
    pub layout: Layout,
    /// The firmware image, of [`Layout::rom_size`] bytes, if there is one.
    pub rom: Option<Input>,
    /// What takes its place, if there is none.
    pub direct: Option<Direct>,
    /// What `fw_cfg` offers.
    pub items: Items,
    /// Where the virtio devices are, in the order of [`Config`].
    pub slots: Vec<Slot>,
    /// Where every device is.
    pub map: Map,
    /// What the VMM itself puts into RAM, at every reset.
    pub preload: Option<Preload>,
    /// Where firmware may enter the kernel, at most four places.
    pub entries: Vec<Entry>,
}

/// A place where a kernel may be entered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Which way in: `pvh`, `multiboot`, `linux16`, `linux32` or `linux64`.
    pub way: &'static str,
    /// Guest-physical address of the first instruction.
    pub address: u64,
}

/// A PVH kernel, which firmware expects in RAM already.
#[derive(Debug)]
pub struct Preload {
    /// The kernel file.
    pub file: Input,
    /// Where its parts go.
    pub segments: Vec<Segment>,
}

/// Reads and checks everything `config` names.
pub fn prepare(config: &Config) -> Result<Boot, Error> {
    let rom = config.bios.as_deref().map(firmware).transpose()?;
    let rom_size = rom.as_ref().map_or(0, Input::size);
    let layout = Layout::new(config.memory.size, rom_size);
    let slots: Vec<_> = Slot::all(config.wiring())
        .take(config.virtio_devices())
        .collect();
    let mut items = machine_items(config, &layout, &slots)?;
    order::add(config, &slots, &mut items)?;
    let kernel::Loaded {
        preload,
        files,
        mut entries,
    } = kernel::load(config, &layout, &slots, &mut items)?;
    items.check()?;
    let direct = match rom {
        Some(_) => None,
        None => Some(direct(preload.as_ref(), &entries, &items, &layout)?),
    };
    if let Some(direct) = &direct {
        let address = direct.start.entry;
        let way = match preload {
            Some(_) => "pvh",
            None => "linux64",
        };
        entries = vec![Entry { way, address }];
    }
    spare_the_inputs(config, &files)?;
    let mut map = Map::new(&config.machine, config.wiring(), &slots);
    if config.debugcon != Target::None {
        map = map.with_debugcon();
    }
    Ok(Boot {
        layout,
        rom,
        direct,
        items,
        map: map.with(config.trace, config.fw_cfg_dma),
        slots,
        preload,
        entries,
    })
}

/// A firmware image.
fn firmware(path: &Path) -> Result<Input, Error> {
    let rom = Input::open(FIRMWARE_IMAGE, path)?;
    let size = rom.size();
    if size == 0 || !size.is_multiple_of(ROM_GRANULE) || size > ROM_MAX_SIZE {
        let path = path.into();
        return Err(Error::RomSize { path, size });
    }
    Ok(rom)
}

/// What takes the place of firmware, for a kernel whose items these are.
fn direct(
    preload: Option<&Preload>,
    entries: &[Entry],
    items: &Items,
    layout: &Layout,
) -> Result<Direct, direct::Problem> {
    let way = match (preload, entries) {
        (Some(preload), _) => direct::Way::Pvh(&preload.segments),
        (None, []) => return Err(direct::Problem::Nothing),
        (None, [it]) if it.way == "multiboot" => {
            return Err(direct::Problem::Kernel("a multiboot kernel"));
        }
        (None, _) => direct::Way::Linux,
    };
    direct::place(&way, items, layout)
}

/// Refuses a port that leads into a file which is read, by whatever path.
fn spare_the_inputs(config: &Config, files: &[(&'static str, PathBuf)]) -> Result<(), Error> {
    let consoles = config.consoles.iter().map(|target| (CONSOLE, target));
    let others = [(SERIAL, &config.serial), (DEBUGCON, &config.debugcon)];
    for (option, target) in others.into_iter().chain(consoles) {
        if let Target::File(path) = target {
            spare_the_inputs_of(config, files, &format!("{option} file:"), path)?;
        }
    }
    config.measure.as_ref().map_or(Ok(()), |path| {
        spare_the_inputs_of(config, files, &format!("{MEASURE} "), path)
    })
}

fn spare_the_inputs_of(
    config: &Config,
    files: &[(&'static str, PathBuf)],
    output: &str,
    path: &Path,
) -> Result<(), Error> {
    // Where there is no file yet, there is none to lose.
    let identity = |path: &Path| std::fs::metadata(path).map(|it| (it.dev(), it.ino())).ok();
    let Some(theirs) = identity(path) else {
        return Ok(());
    };
    let users = config.fw_cfg.iter().filter_map(|user| match &user.source {
        UserSource::File(path) => Some((FW_CFG_FILE, path)),
        UserSource::String(_) => None,
    });
    let bios = config.bios.iter();
    let mut inputs = bios
        .map(|path| (FIRMWARE_IMAGE, path))
        .chain(config.kernel.iter().map(|path| (kernel::KERNEL, path)))
        .chain(files.iter().map(|(role, path)| (*role, path)))
        .chain(config.disks.iter().map(|disk| (DISK_IMAGE, &disk.path)))
        .chain(
            config
                .option_roms()
                .map(|rom| (order::OPTION_ROM, &rom.path)),
        )
        .chain(users);
    match inputs.find(|(_, input)| identity(input) == Some(theirs)) {
        None => Ok(()),
        Some((role, input)) => Err(Error::OutputIsInput {
            output: format!("{output}{}", path.display()),
            role,
            input: input.clone(),
        }),
    }
}

/// The items every machine has, and the user's own.
fn machine_items(config: &Config, layout: &Layout, slots: &[Slot]) -> Result<Items, Error> {
    let mut items = Items::new();
    let cpus = config.cpus.to_le_bytes();
    items.set(Key::UUID, vec![0; 16]);
    items.set(Key::RAM_SIZE, layout.ram_size().to_le_bytes().to_vec());
    items.set(Key::NOGRAPHIC, 1u16.to_le_bytes().to_vec());
    // Validated to at most 255; the items have 16 bits.
    items.set(Key::NB_CPUS, vec![cpus[0], cpus[1]]);
    items.set(Key::MAX_CPUS, vec![cpus[0], cpus[1]]);
    items.set(Key::BOOT_MENU, 0u16.to_le_bytes().to_vec());
    items.set(Key::IRQ0_OVERRIDE, 1u32.to_le_bytes().to_vec());
    items.add_file(file::E820, e820::table(layout))?;
    if config.machine.acpi {
        let acpi = acpi::files(&config.machine, config.wiring(), config.cpus, slots);
        items.add_file(file::ACPI_RSDP, acpi.rsdp)?;
        items.add_file(file::ACPI_TABLES, acpi.tables)?;
        items.add_file(file::TABLE_LOADER, acpi.script)?;
    }
    if let Some(smbios) = &config.smbios {
        let smbios = smbios::files(smbios, config.cpus, layout)?;
        items.add_file(file::SMBIOS_ANCHOR, smbios.anchor)?;
        items.add_file(file::SMBIOS_TABLES, smbios.tables)?;
    }
    if config.machine.pvpanic {
        items.add_file(file::PVPANIC_PORT, PVPANIC_PORT.to_le_bytes().to_vec())?;
    }
    if config.trace {
        items.add_file(file::TRACE, b"1".to_vec())?;
    }
    for user in &config.fw_cfg {
        match &user.source {
            UserSource::String(text) => items.add_file(&user.name, text.clone().into_bytes())?,
            UserSource::File(path) => {
                let input = Input::open(FW_CFG_FILE, path)?;
                items.add_file(&user.name, input.into_content(0)?)?;
            }
        }
    }
    Ok(items)
}
