// SPDX-License-Identifier: MIT OR Apache-2.0
//! Multiboot 1 kernels: where they go, and the blob in which firmware finds them with their modules.
//!
//! Spec: Multiboot Specification 0.6.96, section 3.1; QEMU's `load_multiboot` for which kernels are
//! taken and for the order of the blob: kernel, list of modules, strings, modules. In: a kernel and
//! its modules as files. Out: `fw_cfg` items, for which the files stay where they are.

#[cfg(test)]
mod test;

use super::elf::{self, Segment};
use super::input::{self, Input};
use crate::config::{self, Config};
use crate::devices::fw_cfg::{Content, Items, Joined};
use crate::memory::Layout;
use abi::fw_cfg::Key;
use abi::layout::{PAGE_SIZE, SUGGESTED_MULTIBOOT_INFO_ADDR, SUGGESTED_MULTIBOOT_MAP_ADDR};
use abi::multiboot::{
    BOOT_DEVICE_DISK, HEADER_ALIGN, HEADER_MAGIC, HEADER_REACH, Header, HeaderFlags, Info,
    InfoFlags, Module,
};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use zerocopy::little_endian::U32;
use zerocopy::{FromZeros, IntoBytes};

/// What error messages call a module.
pub(super) const MODULE: &str = "module";

/// Who says that it has loaded the kernel, until firmware says that it was itself.
const LOADER_NAME: &str = "microvm";
/// The part of a header that is always there.
const FIXED: usize = 12;

/// What is wrong with a multiboot kernel or its modules.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It asks for something nobody knows.
    #[error(
        "multiboot header: expected no other requirements than those of flags 0x7, found flags \
         {found:#x}"
    )]
    Flags {
        /// All its flags.
        found: u32,
    },
    /// The header is cut off.
    #[error(
        "multiboot header at {offset:#x}: expected 32 bytes of it in the first 8192 of the file, \
         found {found}"
    )]
    Header {
        /// Its position in the file.
        offset: usize,
        /// Bytes of it.
        found: usize,
    },
    /// The addresses contradict each other.
    #[error(
        "multiboot header at {offset:#x}: expected load_addr, header_addr, load_end_addr and \
         bss_end_addr in this order, and as much of the file before the header, found \
         {load:#x}, {header:#x}, {load_end:#x} and {bss_end:#x}"
    )]
    Addresses {
        /// Its position in the file.
        offset: usize,
        /// Where the first byte goes.
        load: u32,
        /// Where the header goes.
        header: u32,
        /// End of what is loaded, or 0.
        load_end: u32,
        /// End of what is zero, or 0.
        bss_end: u32,
    },
    /// The file is shorter than its header says.
    #[error(
        "multiboot kernel is truncated: expected {length:#x} bytes at offset {offset:#x}, found a \
         file of {size:#x}"
    )]
    Truncated {
        /// Where its bytes begin in the file.
        offset: u64,
        /// How many there are.
        length: u64,
        /// The file's size.
        size: u64,
    },
    /// Neither way to say where it goes.
    #[error(
        "multiboot kernel: expected addresses in its header (flag 16) or a 32-bit ELF file, found \
         neither"
    )]
    Nowhere,
    /// As an ELF file it is broken.
    #[error(transparent)]
    Elf(#[from] elf::Problem),
    /// The entry point is not in the kernel.
    #[error(
        "multiboot entry point {entry:#x}: expected an address in the kernel at \
         {start:#x}..{end:#x}"
    )]
    Entry {
        /// Where it is.
        entry: u64,
        /// First address of the kernel.
        start: u64,
        /// First address behind it.
        end: u64,
    },
    /// It does not fit.
    #[error(
        "multiboot kernel at {start:#x}: expected that it ends with its modules within RAM, which \
         ends at {ram:#x} below 4 GiB (see --memory), found {size:#x} bytes"
    )]
    Room {
        /// First address of the kernel.
        start: u64,
        /// Bytes of everything.
        size: u64,
        /// End of RAM below 4 GiB.
        ram: u64,
    },
}

/// A file failed us, or what is in it, or the user's words.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Input(#[from] input::Error),
    #[error(transparent)]
    Problem(#[from] Problem),
    /// No list of modules.
    #[error("{0}")]
    Modules(String),
}

impl From<elf::Failure> for Failure {
    fn from(failure: elf::Failure) -> Self {
        match failure {
            elf::Failure::Input(error) => Self::Input(error),
            elf::Failure::Problem(problem) => Self::Problem(problem.into()),
        }
    }
}

/// A header, and where in the file it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    offset: usize,
    header: Header,
}

/// The header that adds up, if there is one.
pub(super) fn find(head: &[u8]) -> Option<Found> {
    let reach = head.get(..HEADER_REACH.min(head.len())).unwrap_or(head);
    (0..reach.len()).step_by(HEADER_ALIGN).find_map(|offset| {
        let rest = reach.get(offset..).filter(|rest| rest.len() >= FIXED)?;
        let mut header = Header::new_zeroed();
        let length = rest.len().min(size_of::<Header>());
        header.as_mut_bytes()[..length].copy_from_slice(&rest[..length]);
        let sum = (header.magic.get())
            .wrapping_add(header.flags.get())
            .wrapping_add(header.checksum.get());
        (header.magic == HEADER_MAGIC && sum == 0).then_some(Found { offset, header })
    })
}

impl Found {
    fn flags(&self) -> HeaderFlags {
        HeaderFlags::from_bits_retain(self.header.flags.get())
    }

    /// Whether the header leaves it to an ELF file to say where the kernel goes.
    pub(super) fn needs_elf(&self) -> bool {
        !self.flags().contains(HeaderFlags::ADDRESSES)
    }
}

/// A kernel whose parts are in the file.
#[derive(Debug)]
struct Kernel {
    /// Sorted by address and disjoint; at least one, none of them empty.
    segments: Vec<Segment>,
    entry: u64,
}

impl Kernel {
    fn parse(file: &Input, found: &Found, layout: &Layout) -> Result<Self, Failure> {
        let required = found.flags().bits() & 0xffff;
        let known = HeaderFlags::PAGE_ALIGN | HeaderFlags::MEMORY_INFO | HeaderFlags::VIDEO_MODE;
        if required & !known.bits() != 0 {
            let found = found.flags().bits();
            return Err(Problem::Flags { found }.into());
        }
        let kernel = if !found.needs_elf() {
            Self::flat(file, found)?
        } else if elf::is_elf(&file.head(FIXED)?) {
            let (segments, entry) = elf::loaded(file, layout)?;
            Self { segments, entry }
        } else {
            return Err(Problem::Nowhere.into());
        };
        let (start, end, entry) = (kernel.start(), kernel.end(), kernel.entry);
        if (start..end).contains(&entry) {
            Ok(kernel)
        } else {
            Err(Problem::Entry { entry, start, end }.into())
        }
    }

    /// As the header says.
    fn flat(file: &Input, found: &Found) -> Result<Self, Problem> {
        let Found { offset, header } = *found;
        let in_reach = HEADER_REACH.min(usize::try_from(file.size()).unwrap_or(HEADER_REACH));
        if offset + size_of::<Header>() > in_reach {
            return Err(Problem::Header {
                offset,
                found: in_reach - offset,
            });
        }
        let (load, at) = (header.load_addr.get(), header.header_addr.get());
        let (load_end, bss_end) = (header.load_end_addr.get(), header.bss_end_addr.get());
        let contradiction = || Problem::Addresses {
            offset,
            load,
            header: at,
            load_end,
            bss_end,
        };
        let before = at.checked_sub(load).map(u64::from);
        let first = before.and_then(|before| (offset as u64).checked_sub(before));
        let first = first.ok_or_else(contradiction)?;
        let length = if load_end == 0 {
            file.size() - first
        } else {
            let length = load_end.checked_sub(at).map(|_| load_end - load);
            length.ok_or_else(contradiction)?.into()
        };
        let size = if bss_end == 0 {
            length
        } else {
            let size = u64::from(bss_end).checked_sub(load.into());
            let size = size.filter(|size| *size >= length);
            size.ok_or_else(contradiction)?
        };
        if first + length > file.size() {
            return Err(Problem::Truncated {
                offset: first,
                length,
                size: file.size(),
            });
        }
        Ok(Self {
            segments: vec![Segment {
                address: load.into(),
                file_offset: first,
                file_size: length,
                memory_size: size,
            }],
            entry: header.entry_addr.get().into(),
        })
    }

    fn start(&self) -> u64 {
        self.segments.first().map_or(0, |segment| segment.address)
    }

    fn end(&self) -> u64 {
        self.segments.last().map_or(0, Segment::end)
    }
}

/// A module: its file, and its string, which begins with the file's name.
struct Text {
    path: PathBuf,
    string: String,
}

/// Reads `FILE[ ARGUMENTS],…`.
fn texts(initrd: Option<&Path>) -> Result<Vec<Text>, Failure> {
    let Some(initrd) = initrd else {
        return Ok(Vec::new());
    };
    let refuse = || Failure::Modules(initrd.to_string_lossy().into_owned());
    let text = |string: String| {
        let path = string.split(' ').find(|word| !word.is_empty())?.into();
        Some(Text { path, string })
    };
    let strings = config::list(initrd.to_str().ok_or_else(refuse)?);
    let texts = strings.into_iter().map(text);
    texts.collect::<Option<_>>().ok_or_else(refuse)
}

/// The blob for firmware while it grows, from guest-physical `start` on.
struct Blob {
    start: u64,
    ram: u64,
    joined: Joined,
}

impl Blob {
    /// Adds `content` at guest-physical `address`, which is not before the end, and goes on to
    /// `end`, which is not before its own.
    fn put(&mut self, address: u64, content: Content, end: u64) -> Result<(), Problem> {
        // RAM ends below 4 GiB.
        let position = u32::try_from(address - self.start).ok();
        let size = u32::try_from(end - self.start).ok();
        let fits = position.zip(size).filter(|_| end <= self.ram);
        let put = fits.and_then(|(position, size)| {
            self.joined.put(position, content)?;
            self.joined.pad(size);
            Some(())
        });
        put.ok_or(Problem::Room {
            start: self.start,
            size: end - self.start,
            ram: self.ram,
        })
    }
}

/// The list of modules and all strings.
struct Extras {
    start: u64,
    /// The list, and behind it the strings.
    bytes: Vec<u8>,
}

impl Extras {
    /// At guest-physical `start`, for so many modules.
    fn new(start: u64, modules: usize) -> Self {
        Self {
            start,
            bytes: vec![0; modules * size_of::<Module>()],
        }
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Adds a string. Gives its address.
    fn string(&mut self, text: &[u8]) -> U32 {
        let address = word(self.end());
        self.bytes.extend_from_slice(text);
        self.bytes.push(0);
        address
    }

    fn list(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.bytes.chunks_exact_mut(size_of::<Module>())
    }
}

/// Adds the items of a kernel. Gives the files that its modules are made of.
pub(super) fn load(
    file: &Input,
    found: &Found,
    config: &Config,
    layout: &Layout,
    items: &mut Items,
) -> Result<Vec<PathBuf>, Failure> {
    let kernel = Kernel::parse(file, found, layout)?;
    let texts = texts(config.initrd.as_deref())?;
    let start = kernel.start();
    let mut blob = Blob {
        start,
        ram: layout.below_4g(),
        joined: Joined::default(),
    };
    for segment in &kernel.segments {
        // What is in RAM below 4 GiB has as few bytes.
        let size = u32::try_from(segment.file_size).unwrap_or(u32::MAX);
        let content = file.part(segment.file_offset, size);
        blob.put(segment.address, content, segment.end())?;
    }
    let mut extras = Extras::new(page(kernel.end()), texts.len());
    let strings: Vec<_> = (texts.iter())
        .map(|text| extras.string(text.string.as_bytes()))
        .collect();
    let mut line = file.path().as_os_str().as_bytes().to_vec();
    if !config.append.is_empty() {
        line.push(b' ');
        line.extend_from_slice(config.append.as_bytes());
    }
    let cmdline = extras.string(&line);
    let boot_loader_name = extras.string(LOADER_NAME.as_bytes());

    let mut behind = page(extras.end());
    let mut modules = Vec::new();
    for ((text, string), place) in texts.iter().zip(strings).zip(extras.list()) {
        let content = Input::open(MODULE, &text.path)?.into_content(0)?;
        let end = behind + u64::from(content.size());
        let module = Module {
            mod_start: word(behind),
            mod_end: word(end),
            string,
            reserved: U32::ZERO,
        };
        place.copy_from_slice(module.as_bytes());
        modules.push((behind, content, page(end)));
        behind = page(end);
    }
    let mods_addr = word(extras.start);
    let end = page(extras.end());
    blob.put(extras.start, extras.bytes.into(), end)?;
    for (address, content, end) in modules {
        blob.put(address, content, end)?;
    }

    let flags = InfoFlags::MEMORY
        | InfoFlags::BOOT_DEVICE
        | InfoFlags::CMDLINE
        | InfoFlags::MODULES
        | InfoFlags::MEMORY_MAP
        | InfoFlags::LOADER_NAME;
    let info = Info {
        flags: flags.bits().into(),
        boot_device: BOOT_DEVICE_DISK.into(),
        cmdline,
        mods_count: word(texts.len() as u64),
        mods_addr,
        // Whoever enters the kernel writes it, and sizes.
        mmap_addr: SUGGESTED_MULTIBOOT_MAP_ADDR.into(),
        boot_loader_name,
        ..Info::new_zeroed()
    };
    items.set(Key::KERNEL_ADDR, Content::u32(word(start).get()));
    items.set(Key::KERNEL_ENTRY, Content::u32(word(kernel.entry).get()));
    items.set(Key::KERNEL_SIZE, Content::u32(blob.joined.size()));
    items.set(Key::KERNEL_DATA, blob.joined);
    items.set(
        Key::INITRD_ADDR,
        Content::u32(SUGGESTED_MULTIBOOT_INFO_ADDR),
    );
    items.set(
        Key::INITRD_SIZE,
        Content::u32(word(size_of::<Info>() as u64).get()),
    );
    items.set(Key::INITRD_DATA, info.as_bytes().to_vec());
    Ok(texts.into_iter().map(|text| text.path).collect())
}

/// The next page boundary. Addresses here are sums of a few numbers of 32 bits.
fn page(address: u64) -> u64 {
    address.next_multiple_of(PAGE_SIZE)
}

/// An address within RAM below 4 GiB; what is beyond is refused when it is put there.
fn word(address: u64) -> U32 {
    u32::try_from(address).unwrap_or(u32::MAX).into()
}
