// SPDX-License-Identifier: MIT OR Apache-2.0
//! From linked ELF files to the images that machines load.
//!
//! In: the bytes of an ELF file. Out: the bytes of a ROM or of a kernel in any format. Pure.

use abi::layout;
use abi::linux::{
    BOOT_FLAG, DEFAULT_SETUP_SECTS, ENTRY_64_OFFSET, HEADER_MAGIC, LoadFlags, PARAGRAPH_SIZE,
    SECTOR_SIZE, SETUP_HEADER_OFFSET, SetupHeader, XLoadFlags,
};
use abi::pvh::ELF_NOTE_PHYS32_ENTRY;
use goblin::elf::Elf;
use goblin::elf::program_header::{PT_DYNAMIC, PT_LOAD};
use std::ops::Range;
use thiserror::Error;
use zerocopy::{FromZeros, IntoBytes};

/// Why an ELF file does not make an image.
#[derive(Debug, Error)]
pub enum ImageError {
    /// Not an ELF file.
    #[error("linked image: {0}")]
    Elf(#[from] goblin::error::Error),
    /// Something would have to relocate it.
    #[error("linked image: expected no dynamic section, found one")]
    Dynamic,
    /// Its segments are not where the image is.
    #[error("linked image: expected segments inside {expected:#x?}, found {found:#x?}")]
    Outside {
        expected: Range<u64>,
        found: Range<u64>,
    },
    /// Its reset vector is not where the processor starts.
    #[error("ROM: expected the entry point at {expected:#x}, found {found:#x}")]
    ResetVector { expected: u64, found: u64 },
    /// An instruction that a hypervisor's emulator does not run.
    #[error("ROM: expected integer instructions only, found {what} at {address:#x}")]
    Instruction { what: String, address: u64 },
    /// Its line tables, by which its bytes are told apart.
    #[error("linked image: expected DWARF line tables, found {0}")]
    Lines(String),
}

/// The bytes of all loadable segments from `base` on, and the end of the memory they want.
fn flatten(elf: &Elf<'_>, bytes: &[u8], base: u64) -> Result<(Vec<u8>, u64), ImageError> {
    if elf
        .program_headers
        .iter()
        .any(|header| header.p_type == PT_DYNAMIC)
    {
        return Err(ImageError::Dynamic);
    }
    let mut image = Vec::new();
    let mut memory_end = base;
    for header in elf
        .program_headers
        .iter()
        .filter(|header| header.p_type == PT_LOAD)
    {
        let found = header.p_paddr..header.p_paddr.saturating_add(header.p_memsz);
        let outside = || ImageError::Outside {
            expected: base..u64::MAX,
            found: found.clone(),
        };
        let offset = header.p_paddr.checked_sub(base).ok_or_else(outside)?;
        let offset = usize::try_from(offset).map_err(|_| outside())?;
        let data = bytes.get(header.file_range()).ok_or_else(outside)?;
        if image.len() < offset + data.len() {
            image.resize(offset + data.len(), 0);
        }
        image[offset..offset + data.len()].copy_from_slice(data);
        memory_end = memory_end.max(found.end);
    }
    Ok((image, memory_end))
}

/// The 64 KiB ROM image of the linked firmware.
pub fn rom(bytes: &[u8]) -> Result<Vec<u8>, ImageError> {
    let elf = Elf::parse(bytes)?;
    let (image, end) = flatten(&elf, bytes, layout::ROM_ALIAS_START)?;
    let expected = layout::ROM_ALIAS_START..layout::ROM_ALIAS_END;
    if end != expected.end || image.len() as u64 != layout::ROM_SIZE {
        return Err(ImageError::Outside {
            expected,
            found: layout::ROM_ALIAS_START..end,
        });
    }
    let reset_vector = layout::ROM_ALIAS_END - 16;
    if elf.entry != reset_vector {
        return Err(ImageError::ResetVector {
            expected: reset_vector,
            found: elf.entry,
        });
    }
    check_instructions(&elf, bytes)?;
    Ok(image)
}

/// The firmware also runs where KVM emulates every instruction: without x87, MMX, SSE and IRET.
///
/// Looks at the functions that the compiler made; `boot/` and `handoff/` are assembly in three
/// modes, and short.
fn check_instructions(elf: &Elf<'_>, bytes: &[u8]) -> Result<(), ImageError> {
    use iced_x86::{Code, CpuidFeature, Decoder, DecoderOptions};
    const UNWANTED: [CpuidFeature; 9] = [
        CpuidFeature::FPU,
        CpuidFeature::MMX,
        CpuidFeature::SSE,
        CpuidFeature::SSE2,
        CpuidFeature::SSE3,
        CpuidFeature::SSSE3,
        CpuidFeature::SSE4_1,
        CpuidFeature::SSE4_2,
        CpuidFeature::AVX,
    ];
    const IRET: [Code; 3] = [Code::Iretw, Code::Iretd, Code::Iretq];

    let text = elf
        .section_headers
        .iter()
        .find(|header| elf.shdr_strtab.get_at(header.sh_name) == Some(".text"))
        .and_then(|header| Some((header.sh_addr, bytes.get(header.file_range()?)?)));
    let Some((start, text)) = text else {
        return Err(ImageError::Elf(goblin::error::Error::Malformed(
            "no .text section".into(),
        )));
    };
    let functions = elf
        .syms
        .iter()
        .filter(|symbol| symbol.is_function() && symbol.st_size > 0 && symbol.st_value >= start);
    for function in functions {
        let from = usize::try_from(function.st_value - start).unwrap_or(usize::MAX);
        let size = usize::try_from(function.st_size).unwrap_or(usize::MAX);
        let Some(code) = text.get(from..from.saturating_add(size)) else {
            continue;
        };
        for instruction in Decoder::with_ip(64, code, function.st_value, DecoderOptions::NONE) {
            let unwanted = IRET.contains(&instruction.code())
                || instruction
                    .cpuid_features()
                    .iter()
                    .any(|feature| UNWANTED.contains(feature));
            if unwanted {
                let what = format!("{:?}", instruction.mnemonic());
                return Err(ImageError::Instruction {
                    what,
                    address: instruction.ip(),
                });
            }
        }
    }
    Ok(())
}

/// What a bzImage says of itself.
#[derive(Clone, Copy, Debug)]
pub struct BootProtocol {
    version: u16,
    loadflags: LoadFlags,
    xloadflags: XLoadFlags,
}

impl BootProtocol {
    /// The newest, with the 64-bit entry point.
    pub const ENTRY_64: Self = Self {
        version: 0x020f,
        loadflags: LoadFlags::LOADED_HIGH,
        xloadflags: XLoadFlags::KERNEL_64,
    };
    /// As a 32-bit kernel has it: without the 64-bit entry point.
    pub const ENTRY_32: Self = Self {
        version: 0x020c,
        xloadflags: XLoadFlags::empty(),
        ..Self::ENTRY_64
    };
    /// Before a kernel could say how much memory it needs.
    pub const OLD_ENTRY_32: Self = Self {
        version: 0x0206,
        ..Self::ENTRY_32
    };
    /// Before the header said enough for any entry point but the 16-bit one.
    pub const ENTRY_16: Self = Self {
        version: 0x0203,
        ..Self::ENTRY_32
    };
    /// The oldest, loaded below 640 KiB.
    pub const LOADED_LOW: Self = Self {
        version: 0x0200,
        loadflags: LoadFlags::empty(),
        ..Self::ENTRY_32
    };

    /// Where the header of this version ends in the file; Linux `boot.rst`, "Details of header
    /// fields".
    fn header_end(self) -> usize {
        match self.version {
            ..=0x0200 => 0x224,
            0x0201..=0x0202 => 0x22c,
            0x0203..=0x0204 => 0x230,
            0x0205 => 0x238,
            0x0206 => 0x23c,
            0x0207..=0x0208 => 0x250,
            0x0209 => 0x258,
            0x020a => 0x264,
            0x020b..=0x020e => 0x268,
            0x020f.. => SETUP_HEADER_OFFSET + size_of::<SetupHeader>(),
        }
    }
}

/// A bzImage around the linked guest and its real-mode part.
pub fn bzimage(bytes: &[u8], protocol: BootProtocol) -> Result<Vec<u8>, ImageError> {
    /// Where the real-mode part begins that is linked with the guest.
    const SETUP_CODE: usize = 0x270;
    const _: () = assert!(SETUP_HEADER_OFFSET + size_of::<SetupHeader>() + 3 <= SETUP_CODE);

    let base = layout::HIGH_RAM_START;
    let elf = Elf::parse(bytes)?;
    let (mut image, end) = flatten(&elf, bytes, base)?;
    image.resize(image.len().next_multiple_of(PARAGRAPH_SIZE), 0);
    if (image.len() as u64) <= ENTRY_64_OFFSET {
        return Err(ImageError::Outside {
            expected: base..base + ENTRY_64_OFFSET,
            found: base..end,
        });
    }
    let base = u32::try_from(base).unwrap_or_default();
    let header_end = protocol.header_end();

    let mut file = section(&elf, bytes, ".setup")?.to_vec();
    file.resize(file.len().next_multiple_of(SECTOR_SIZE), 0);
    let setup_sects = u8::try_from(file.len() / SECTOR_SIZE - 1).unwrap_or(DEFAULT_SETUP_SECTS);

    let mut header = SetupHeader::new_zeroed();
    header.setup_sects = setup_sects;
    header.syssize = u32::try_from(image.len() / PARAGRAPH_SIZE)
        .unwrap_or(u32::MAX)
        .into();
    header.boot_flag = BOOT_FLAG.into();
    header.jump = [0xeb, u8::try_from(header_end - 0x202).unwrap_or(u8::MAX)];
    header.header = HEADER_MAGIC;
    header.version = protocol.version.into();
    header.loadflags = protocol.loadflags.bits();
    header.code32_start = if protocol.loadflags.contains(LoadFlags::LOADED_HIGH) {
        base
    } else {
        layout::SUGGESTED_SETUP_ADDR
    }
    .into();
    header.initrd_addr_max = 0x7fff_ffff.into();
    header.kernel_alignment = 0x1000.into();
    header.xloadflags = protocol.xloadflags.bits().into();
    header.cmdline_size = 2047.into();
    header.pref_address = u64::from(base).into();
    header.init_size = u32::try_from(end - u64::from(base))
        .unwrap_or(u32::MAX)
        .into();

    // What its version does not have, the file has not either: code, as in kernels of that age.
    let known = header_end - SETUP_HEADER_OFFSET;
    file[SETUP_HEADER_OFFSET..header_end].copy_from_slice(&header.as_bytes()[..known]);
    let distance = u16::try_from(SETUP_CODE - header_end - 3).unwrap_or_default();
    file[header_end] = 0xe9; // jmp
    file[header_end + 1..header_end + 3].copy_from_slice(&distance.to_le_bytes());
    file.extend_from_slice(&image);
    Ok(file)
}

/// The linked guest as a multiboot kernel: a 32-bit ELF file, or a flat one whose header says
/// where it belongs.
pub fn multiboot(bytes: &[u8], flat: bool) -> Result<Vec<u8>, ImageError> {
    const MAGIC: u32 = 0x1bad_b002;
    /// Modules on pages, memory information; and the addresses in the header count.
    const PAGE_ALIGN: u32 = 1 << 0;
    const MEMORY_INFO: u32 = 1 << 1;
    const ADDRESSES: u32 = 1 << 16;

    let elf = Elf::parse(bytes)?;
    let base = layout::HIGH_RAM_START;
    let (mut image, end) = flatten(&elf, bytes, base)?;
    let low = |address: u64| u32::try_from(address).unwrap_or(u32::MAX);
    let entry = symbol(&elf, "multiboot_entry")?;
    let header = symbol(&elf, "multiboot_header")?;
    let flags = PAGE_ALIGN | MEMORY_INFO | if flat { ADDRESSES } else { 0 };
    let checksum = MAGIC.wrapping_add(flags).wrapping_neg();
    let load_end = base + image.len() as u64;
    let words = [
        MAGIC,
        flags,
        checksum,
        low(header),
        low(base),
        low(load_end),
        low(end),
        low(entry),
    ];
    let at = usize::try_from(header - base).unwrap_or(usize::MAX);
    for (place, word) in image[at..].chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    if flat {
        Ok(image)
    } else {
        let whole = Segment {
            memory: base..end,
            bytes: &image,
        };
        elf32_of(&[whole], entry, None)
    }
}

/// The bytes of a section.
fn section<'b>(elf: &Elf<'_>, bytes: &'b [u8], name: &str) -> Result<&'b [u8], ImageError> {
    elf.section_headers
        .iter()
        .find(|header| elf.shdr_strtab.get_at(header.sh_name) == Some(name))
        .and_then(|header| bytes.get(header.file_range()?))
        .ok_or_else(|| missing(name))
}

/// The value of a symbol.
fn symbol(elf: &Elf<'_>, name: &str) -> Result<u64, ImageError> {
    elf.syms
        .iter()
        .find(|symbol| elf.strtab.get_at(symbol.st_name) == Some(name))
        .map(|symbol| symbol.st_value)
        .ok_or_else(|| missing(name))
}

fn missing(name: &str) -> ImageError {
    ImageError::Elf(goblin::error::Error::Malformed(format!("no {name}")))
}

/// A part of a kernel: where it goes, how much memory it wants there, and its first bytes.
#[derive(Clone, Debug)]
pub struct Segment<'a> {
    pub memory: Range<u64>,
    pub bytes: &'a [u8],
}

/// The linked guest as a 32-bit ELF file with the same PVH entry point, and with more to be loaded.
pub fn elf32(bytes: &[u8], more: &[Segment<'_>]) -> Result<Vec<u8>, ImageError> {
    let elf = Elf::parse(bytes)?;
    let base = layout::HIGH_RAM_START;
    let (image, end) = flatten(&elf, bytes, base)?;
    let mut segments = vec![Segment {
        memory: base..end,
        bytes: &image,
    }];
    segments.extend_from_slice(more);
    elf32_of(&segments, elf.entry, Some(ELF_NOTE_PHYS32_ENTRY))
}

/// A 32-bit ELF file of segments, with its entry point also as a note of Xen.
fn elf32_of(
    segments: &[Segment<'_>],
    entry: u64,
    note: Option<u32>,
) -> Result<Vec<u8>, ImageError> {
    const HEADER_SIZE: u32 = 52;
    const NOTE_OFFSET: u32 = 0x800;
    const NOTE_SIZE: u32 = 20;
    const ALIGNMENT: usize = 0x1000;

    let low = |number: u64| {
        u32::try_from(number).map_err(|_| ImageError::Outside {
            expected: 0..u64::from(u32::MAX),
            found: number..number,
        })
    };
    let entry = low(entry)?;
    let headers = segments.len() + usize::from(note.is_some());

    let mut file = vec![0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let halves = |file: &mut Vec<u8>, values: &[u16]| {
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    };
    let words = |file: &mut Vec<u8>, values: &[u32]| {
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    };
    // System V gABI, "ELF Header": type EXEC, machine 386, version; entry, program headers,
    // section headers, flags; sizes and counts.
    halves(&mut file, &[2, 3]);
    words(&mut file, &[1, entry, HEADER_SIZE, 0, 0]);
    let count = u16::try_from(headers).unwrap_or(u16::MAX);
    halves(&mut file, &[52, 32, count, 40, 0, 0]);
    // "Program Header": type, offset, virtual and physical address, sizes, flags, alignment.
    let mut offset = ALIGNMENT;
    for Segment { memory, bytes } in segments {
        let address = low(memory.start)?;
        let place = low(offset as u64)?;
        let size = low(bytes.len() as u64)?;
        let memory_size = low(memory.end.saturating_sub(memory.start))?;
        words(
            &mut file,
            &[1, place, address, address, size, memory_size, 7, 0x1000],
        );
        offset = (offset + bytes.len()).next_multiple_of(ALIGNMENT);
    }
    if let Some(note) = note {
        words(
            &mut file,
            &[4, NOTE_OFFSET, 0, 0, NOTE_SIZE, NOTE_SIZE, 4, 4],
        );
        file.resize(NOTE_OFFSET as usize, 0);
        words(
            &mut file,
            &[4, 4, note, u32::from_le_bytes(*b"Xen\0"), entry],
        );
    }
    for Segment { bytes, .. } in segments {
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file.extend_from_slice(bytes);
    }
    Ok(file)
}

/// How many bytes of an image are occupied.
pub fn occupied(image: &[u8]) -> usize {
    let bytes = occupancy(image);
    bytes.into_iter().filter(|&occupied| occupied).count()
}

/// Which bytes of an image are occupied: all but runs of 16 and more that are all 0x00 or 0xff.
pub fn occupancy(image: &[u8]) -> Vec<bool> {
    let padding = |byte: u8| byte == 0 || byte == 0xff;
    image
        .chunk_by(|a, b| a == b)
        .flat_map(|run| {
            let occupied = run.len() < 16 || !padding(run[0]);
            std::iter::repeat_n(occupied, run.len())
        })
        .collect()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn occupied_leaves_out_long_runs_of_padding_only() {
        let mut image = vec![0x90; 100];
        image.extend([0; 15]);
        image.extend([0xff; 16]);
        image.extend([0; 4096]);
        image.extend([1]);
        assert_eq!(occupied(&image), 100 + 15 + 1);
    }

    #[test]
    fn a_header_ends_where_its_version_says() {
        let end = |version| {
            let protocol = BootProtocol {
                version,
                ..BootProtocol::ENTRY_16
            };
            protocol.header_end()
        };

        // Linux boot.rst: each field with the version that brought it.
        assert_eq!(end(0x0200), 0x224);
        assert_eq!(end(0x0202), 0x22c); // cmd_line_ptr
        assert_eq!(end(0x0203), 0x230); // initrd_addr_max
        assert_eq!(end(0x0206), 0x23c); // cmdline_size
        assert_eq!(end(0x020a), 0x264); // pref_address, init_size
        assert_eq!(end(0x020f), 0x26c); // kernel_info_offset
    }

    #[test]
    fn an_elf_file_of_segments_is_read_back() {
        let segments = [
            Segment {
                memory: 0x10_0000..0x10_3000,
                bytes: &[1; 0x1234],
            },
            Segment {
                memory: 0x100_0000..0x200_0000,
                bytes: &[2; 5],
            },
        ];
        let file = elf32_of(&segments, 0x10_0040, Some(ELF_NOTE_PHYS32_ENTRY)).unwrap();

        let elf = Elf::parse(&file).unwrap();
        let loaded: Vec<_> = elf
            .program_headers
            .iter()
            .filter(|header| header.p_type == PT_LOAD)
            .map(|header| (header.p_paddr, header.p_memsz, &file[header.file_range()]))
            .collect();
        assert_eq!(loaded[0], (0x10_0000, 0x3000, &[1; 0x1234][..]));
        assert_eq!(loaded[1], (0x100_0000, 0x100_0000, &[2; 5][..]));
        let mut notes = elf.iter_note_headers(&file).unwrap();
        let note = notes.next().unwrap().unwrap();
        assert_eq!((note.name, note.n_type), ("Xen", ELF_NOTE_PHYS32_ENTRY));
        assert_eq!(note.desc, 0x10_0040_u32.to_le_bytes());
    }

    #[test]
    fn an_sse_instruction_is_found() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let elf = Elf::parse(&own).unwrap();
        let found = check_instructions(&elf, &own);
        assert!(
            matches!(found, Err(ImageError::Instruction { .. })),
            "{found:?}"
        );
    }

    #[test]
    fn what_is_not_an_elf_is_refused() {
        for bytes in [&b""[..], &b"\x7fELF"[..], &[0; 64][..]] {
            assert!(matches!(rom(bytes), Err(ImageError::Elf(_))));
        }
    }
}
