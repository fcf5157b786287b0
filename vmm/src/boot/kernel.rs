// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which kernel format it is, what its items are, and where the initrd goes.
//!
//! Spec: QEMU `x86_load_linux`: the bzImage header is looked for before a multiboot header, and that
//! before the ELF magic.

use super::{Entry, Error, Input, Preload, bzimage, elf, multiboot};
use crate::config::Config;
use crate::devices::fw_cfg::{Content, Items};
use crate::devices::virtio::Slot;
use crate::memory::Layout;
use abi::fw_cfg::Key;
use abi::layout::{PAGE_SIZE, VIRTIO_MMIO_SIZE};
use std::path::{Path, PathBuf};

/// What error messages call the kernel.
pub(super) const KERNEL: &str = "kernel";
/// What error messages call the initrd.
pub(super) const INITRD: &str = "initrd";

/// How much of a kernel file decides about its format; also the size of SETUP_DATA for an ELF.
const HEAD_SIZE: u32 = 8192;

/// What comes of a kernel beside its items.
#[derive(Default)]
pub(super) struct Loaded {
    /// What must be put into RAM.
    pub preload: Option<Preload>,
    /// Further files that are read: modules, or the initrd.
    pub files: Vec<(&'static str, PathBuf)>,
    /// Where firmware may enter it.
    pub entries: Vec<Entry>,
}

/// Adds the kernel's items.
pub(super) fn load(
    config: &Config,
    layout: &Layout,
    slots: &[Slot],
    items: &mut Items,
) -> Result<Loaded, Error> {
    let Some(path) = &config.kernel else {
        return Ok(Loaded::default());
    };
    let kernel = Input::open(KERNEL, path)?;
    let head = kernel.head(HEAD_SIZE as usize)?;
    let is_bzimage = bzimage::is_bzimage(&head);
    // One may also be there for boot loaders that know of 64-bit ELF files.
    let for_others = |found: &multiboot::Found| found.needs_elf() && elf::is_64_bit(&head);
    if !is_bzimage
        && let Some(header) = multiboot::find(&head)
        && !for_others(&header)
    {
        return multiboot(&kernel, &header, config, layout, items);
    }
    // QEMU gives both formats their command line with its NUL.
    let mut cmdline = command_line(config, slots).into_bytes();
    cmdline.push(0);

    let initrd = match &config.initrd {
        Some(path) => Some(Input::open(INITRD, path)?),
        None => None,
    };
    let (preload, entries) = if is_bzimage {
        let entries = bzimage(kernel, &head, &cmdline, initrd, layout, items)?;
        (None, entries)
    } else if elf::is_elf(&head) {
        let preload = pvh(kernel, head, cmdline, initrd, layout, items)?;
        (Some(preload), the_entry("pvh", items))
    } else {
        return Err(Error::Format {
            path: path.clone(),
            found: describe(&head),
        });
    };
    let initrd = config.initrd.clone().map(|path| (INITRD, path));
    Ok(Loaded {
        preload,
        files: initrd.into_iter().collect(),
        entries,
    })
}

/// The one place that the items name.
fn the_entry(way: &'static str, items: &Items) -> Vec<Entry> {
    let mut address = [0; 4];
    let content = items.get(Key::KERNEL_ENTRY);
    let read = content.and_then(|content| content.copy(0, &mut address).ok());
    let entry = read.map(|()| Entry {
        way,
        address: u32::from_le_bytes(address).into(),
    });
    entry.into_iter().collect()
}

/// What the user wrote, and with `auto-kernel-cmdline` what only the machine knows.
///
/// Spec: Linux, `Documentation/admin-guide/kernel-parameters.txt`: `pci=`, `virtio_mmio.device=`.
fn command_line(config: &Config, slots: &[Slot]) -> String {
    let mut words = vec![config.append.clone()];
    if config.machine.auto_kernel_cmdline {
        if !config.machine.acpi {
            // Nothing else announces them.
            words.extend(slots.iter().map(|slot| {
                let (address, interrupt) = (slot.address(), slot.interrupt());
                format!("virtio_mmio.device={VIRTIO_MMIO_SIZE}@{address:#x}:{interrupt}")
            }));
        }
        // There is no PCI here. A kernel that looks for it takes exits to find none.
        if !config
            .append
            .split_whitespace()
            .any(|word| word.starts_with("pci="))
        {
            words.push("pci=off".to_owned());
        }
    }
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

fn multiboot(
    kernel: &Input,
    header: &multiboot::Found,
    config: &Config,
    layout: &Layout,
    items: &mut Items,
) -> Result<Loaded, Error> {
    let modules = multiboot::load(kernel, header, config, layout, items);
    let modules = modules.map_err(|failure| match failure {
        multiboot::Failure::Input(error) => Error::Input(error),
        multiboot::Failure::Modules(text) => Error::Modules(text),
        multiboot::Failure::Problem(problem) => Error::Multiboot {
            path: kernel.path().into(),
            problem,
        },
    })?;
    let module = |path| (multiboot::MODULE, path);
    Ok(Loaded {
        preload: None,
        files: modules.into_iter().map(module).collect(),
        entries: the_entry("multiboot", items),
    })
}

fn bzimage(
    kernel: Input,
    head: &[u8],
    cmdline: &[u8],
    initrd: Option<Input>,
    layout: &Layout,
    items: &mut Items,
) -> Result<Vec<Entry>, Error> {
    let path = kernel.path().to_path_buf();
    let refuse = |problem| Error::BzImage {
        path: path.clone(),
        problem,
    };
    let image = bzimage::Image::parse(head, kernel.size(), layout).map_err(refuse)?;
    let mut setup = kernel.bytes(0, image.setup_size())?;
    let ramdisk = match initrd {
        Some(initrd) => {
            let size = initrd.size();
            let ceiling = image.initrd_ceiling(layout);
            let address = place_initrd(initrd.path(), size, image.kernel_end(), ceiling)?;
            initrd_items(initrd, address, items)?;
            Some((address, u32::try_from(size).unwrap_or(0)))
        }
        None => None,
    };
    let placed = image.placement(cmdline.len());
    bzimage::patch(&mut setup, &image, &placed, cmdline, ramdisk);
    items.set(Key::SETUP_ADDR, Content::u32(placed.setup));
    items.set(
        Key::SETUP_SIZE,
        Content::u32(u32::try_from(setup.len()).unwrap_or(0)),
    );
    items.set(Key::SETUP_DATA, setup);
    let data = kernel.into_content(image.setup_size() as u64)?;
    items.set(Key::KERNEL_ADDR, Content::u32(placed.kernel));
    items.set(Key::KERNEL_SIZE, Content::u32(data.size()));
    items.set(Key::KERNEL_DATA, data);
    items.set(Key::CMDLINE_ADDR, Content::u32(placed.cmdline));
    cmdline_items(cmdline.to_vec(), items);
    Ok(image.entries(&placed))
}

fn pvh(
    kernel: Input,
    mut head: Vec<u8>,
    cmdline: Vec<u8>,
    initrd: Option<Input>,
    layout: &Layout,
    items: &mut Items,
) -> Result<Preload, Error> {
    let image = elf::Image::parse(&kernel, layout).map_err(|error| match error {
        elf::Failure::Input(error) => Error::Input(error),
        elf::Failure::Problem(problem) => Error::Elf {
            path: kernel.path().into(),
            problem,
        },
    })?;
    if let Some(initrd) = initrd {
        let address = place_initrd(
            initrd.path(),
            initrd.size(),
            image.end(),
            layout.below_4g() - 1,
        )?;
        initrd_items(initrd, address, items)?;
    }
    items.set(Key::KERNEL_ADDR, Content::u32(image.start()));
    items.set(Key::KERNEL_SIZE, Content::u32(image.size()));
    items.set(Key::KERNEL_ENTRY, Content::u32(image.entry()));
    // An ELF has no setup part. QEMU puts its first bytes there, by whose magic stock firmware
    // tells this kind of kernel; a shorter file is padded to the size QEMU declares.
    head.resize(HEAD_SIZE as usize, 0);
    items.set(Key::SETUP_SIZE, Content::u32(HEAD_SIZE));
    items.set(Key::SETUP_DATA, head);
    cmdline_items(cmdline, items);
    Ok(Preload {
        segments: image.into_segments(),
        file: kernel,
    })
}

fn cmdline_items(cmdline: Vec<u8>, items: &mut Items) {
    items.set(
        Key::CMDLINE_SIZE,
        Content::u32(u32::try_from(cmdline.len()).unwrap_or(u32::MAX)),
    );
    items.set(Key::CMDLINE_DATA, cmdline);
}

fn initrd_items(initrd: Input, address: u32, items: &mut Items) -> Result<(), Error> {
    let data = initrd.into_content(0)?;
    items.set(Key::INITRD_ADDR, Content::u32(address));
    items.set(Key::INITRD_SIZE, Content::u32(data.size()));
    items.set(Key::INITRD_DATA, data);
    Ok(())
}

/// As high as it can be, on a page boundary, as QEMU places it: `(ceiling - size) & !4095`.
///
/// `floor` is the end of the kernel in memory, `ceiling` the last address the initrd may touch.
fn place_initrd(path: &Path, size: u64, floor: u64, ceiling: u64) -> Result<u32, Error> {
    ceiling
        .checked_sub(size)
        .map(|start| start & !(PAGE_SIZE - 1))
        .filter(|start| *start >= floor)
        .and_then(|start| u32::try_from(start).ok())
        .ok_or_else(|| Error::Initrd {
            path: path.into(),
            size,
            floor,
            ceiling,
            room: ceiling.saturating_sub(floor.next_multiple_of(PAGE_SIZE)),
        })
}

/// What a file that is no kernel looks like.
fn describe(head: &[u8]) -> String {
    match head {
        [] => "an empty file".into(),
        [0x1f, 0x8b, ..] => "gzip data".into(),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd data".into(),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz data".into(),
        [b'M', b'Z', ..] => "an EFI executable without a Linux boot header".into(),
        [first, ..] if head.len() < bzimage::HEADER_END => {
            format!(
                "{} bytes, too short for any of them, the first {first:#04x}",
                head.len()
            )
        }
        [a, b, c, d, ..] => format!("{a:02x} {b:02x} {c:02x} {d:02x} at its start"),
        _ => "something else".into(),
    }
}
