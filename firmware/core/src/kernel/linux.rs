// SPDX-License-Identifier: MIT OR Apache-2.0
//! The setup header of a bzImage, and which of its entry points to take.
//!
//! Spec: Linux `Documentation/arch/x86/boot.rst`.

use super::{KernelError, Multiboot};
use abi::linux::{
    BOOT_FLAG, DEFAULT_CMDLINE_SIZE, DEFAULT_INITRD_ADDR_MAX, DEFAULT_SETUP_SECTS, HEADER_MAGIC,
    JUMP_BASE, JUMP_SHORT, LoadFlags, MAX_SETUP_SECTORS, SECTOR_SIZE, SETUP_HEADER_OFFSET,
    SetupHeader, VERSION_2_00, VERSION_2_01, VERSION_2_03, VERSION_2_04, VERSION_2_05,
    VERSION_2_06, VERSION_2_10, VERSION_2_12, XLoadFlags,
};
use core::mem::offset_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Room for the start of a bzImage's real-mode part, through the setup header.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SetupBuffer {
    pub(super) multiboot: Multiboot, // which has no setup part
    pub(super) before: [u8; SETUP_HEADER_OFFSET - size_of::<Multiboot>()],
    pub(super) header: SetupHeader,
}

/// The mode of the entry point to take: the widest that the header promises.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Width {
    /// Real mode, at the start of the setup part.
    Bits16,
    /// Protected mode, at the load address.
    Bits32,
    /// Long mode, behind the load address.
    Bits64,
}

const SECTOR: u32 = 512;
const _: () = assert!(SECTOR as usize == SECTOR_SIZE);

/// Offset in the kernel file behind `init_size`.
const INIT_SIZE_END: usize = SETUP_HEADER_OFFSET + offset_of!(SetupHeader, init_size) + 4;

/// Checks a header, gives the fields that its protocol does not have the values that boot.rst
/// tells boot loaders to assume, and says which entry point to take.
pub fn check_header(header: &mut SetupHeader) -> Result<Width, KernelError> {
    if header.boot_flag.get() != BOOT_FLAG || header.header != HEADER_MAGIC {
        return Err(KernelError::NotLinux {
            boot_flag: header.boot_flag.get(),
            magic: u32::from_le_bytes(header.header),
        });
    }
    let version = header.version.get();
    if version < VERSION_2_00 {
        return Err(KernelError::ProtocolTooOld { found: version });
    }
    // "0xEB followed by a signed offset relative to byte 0x202."
    let [opcode, distance] = header.jump;
    if opcode != JUMP_SHORT || distance > i8::MAX.unsigned_abs() {
        return Err(KernelError::Jump { found: header.jump });
    }
    complete(header, version);
    let alignment = header.kernel_alignment.get();
    if header.relocatable_kernel != 0 && !alignment.is_power_of_two() {
        return Err(KernelError::Alignment { found: alignment });
    }
    Ok(widest_entry(header))
}

fn complete(header: &mut SetupHeader, version: u16) {
    if version < VERSION_2_03 {
        header.initrd_addr_max = DEFAULT_INITRD_ADDR_MAX.into();
    }
    if version < VERSION_2_04 {
        header.syssize = 0.into(); // "the size of a bzImage kernel cannot be determined"
    }
    if version < VERSION_2_05 {
        header.kernel_alignment = 0.into();
        header.relocatable_kernel = 0;
    }
    if version < VERSION_2_06 {
        header.cmdline_size = DEFAULT_CMDLINE_SIZE.into();
    }
    if version < VERSION_2_10 {
        header.pref_address = 0.into();
        header.init_size = 0.into();
    }
    if version < VERSION_2_12 {
        header.xloadflags = 0.into();
    }
}

/// Size in bytes of the real-mode part of a kernel that is entered there; `found` is what the VMM
/// has of it.
pub fn setup_size(header: &SetupHeader, found: u32) -> Result<u32, KernelError> {
    // The last field that `plan::RealMode` writes has to be in the header.
    let last = match header.version.get() {
        VERSION_2_00 => offset_of!(SetupHeader, heap_end_ptr),
        VERSION_2_01 => offset_of!(SetupHeader, ext_loader_ver),
        _ => offset_of!(SetupHeader, initrd_addr_max),
    };
    if header_end(header) < SETUP_HEADER_OFFSET.saturating_add(last) {
        return Err(KernelError::Jump { found: header.jump });
    }
    let sectors = match header.setup_sects {
        0 => DEFAULT_SETUP_SECTS,
        sectors => sectors,
    };
    let sectors = u32::from(sectors).saturating_add(1); // and the boot sector
    if sectors > MAX_SETUP_SECTORS {
        return Err(KernelError::SetupTooLong { sectors });
    }
    let declared = sectors.saturating_mul(SECTOR);
    if found < declared {
        return Err(KernelError::SetupTruncated {
            declared,
            size: found,
        });
    }
    Ok(declared)
}

/// Offset in the kernel file behind the header.
fn header_end(header: &SetupHeader) -> usize {
    JUMP_BASE.saturating_add(header.jump[1].into())
}

/// A 64-bit entry point is promised by its flag. The 32-bit one has no flag: it is part of every
/// kernel that is loaded high, but only a header with `init_size` lets a boot loader that skips
/// the setup part keep that memory free. Programs that only borrow the header (network boot
/// loaders, disk emulators) do all their work in the setup part, and none has the field.
fn widest_entry(header: &SetupHeader) -> Width {
    let xloadflags = XLoadFlags::from_bits_retain(header.xloadflags.get());
    let loadflags = LoadFlags::from_bits_retain(header.loadflags);
    if xloadflags.contains(XLoadFlags::KERNEL_64) {
        Width::Bits64
    } else if loadflags.contains(LoadFlags::LOADED_HIGH)
        && header_end(header) >= INIT_SIZE_END
        && header.init_size.get() != 0
    {
        Width::Bits32
    } else {
        Width::Bits16
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;
    use zerocopy::FromZeros;

    /// A header of `version` in which every field holds something.
    fn header(version: u16) -> SetupHeader {
        let mut header = SetupHeader::new_zeroed();
        header.boot_flag = BOOT_FLAG.into();
        header.jump = [JUMP_SHORT, 0x6a];
        header.header = HEADER_MAGIC;
        header.version = version.into();
        header.loadflags = LoadFlags::LOADED_HIGH.bits();
        header.syssize = 0x1234_5678.into();
        header.initrd_addr_max = 0x7fff_ffff.into();
        header.kernel_alignment = 0x20_0000.into();
        header.relocatable_kernel = 1;
        header.cmdline_size = 2047.into();
        header.pref_address = 0x100_0000.into();
        header.init_size = 0x100_0000.into();
        header
    }

    #[test]
    fn the_widest_promised_entry_is_taken() {
        let cases = [(0x0200, Width::Bits16), (0x0209, Width::Bits16)];
        for (version, width) in cases {
            assert_eq!(check_header(&mut header(version)), Ok(width));
        }
        for version in [0x020a, 0x020b, 0x020f, 0x0a11] {
            assert_eq!(check_header(&mut header(version)), Ok(Width::Bits32));
            let mut long = header(version);
            long.xloadflags = XLoadFlags::KERNEL_64.bits().into();
            let width = if version < VERSION_2_12 {
                Width::Bits32 // what stands there is no flag yet
            } else {
                Width::Bits64
            };
            assert_eq!(check_header(&mut long), Ok(width));
        }
    }

    #[test]
    fn without_init_size_or_high_load_only_the_setup_part_knows_the_way() {
        let mut low = header(0x020f);
        low.loadflags = 0;
        let mut short = header(0x020f);
        short.jump[1] = 0x61; // the header ends in the middle of init_size
        let mut empty = header(0x020f);
        empty.init_size = 0.into();
        for mut header in [low, short, empty] {
            assert_eq!(check_header(&mut header), Ok(Width::Bits16));
        }
    }

    #[test]
    fn fields_that_a_protocol_lacks_get_the_values_of_its_time() {
        let mut old = header(0x0200);
        check_header(&mut old).unwrap();
        assert_eq!(old.initrd_addr_max.get(), 0x37ff_ffff);
        assert_eq!(old.cmdline_size.get(), 255);
        assert_eq!((old.syssize.get(), old.init_size.get()), (0, 0));
        assert_eq!(old.relocatable_kernel, 0);

        let mut new = header(0x020a);
        check_header(&mut new).unwrap();
        assert_eq!(new, header(0x020a));
    }

    #[test]
    fn a_jump_that_does_not_lead_behind_the_header_is_refused() {
        for jump in [[0xeb, 0x80], [0xeb, 0xff], [0xe9, 0x6a], [0, 0]] {
            let mut header = header(0x020f);
            header.jump = jump;
            assert_eq!(
                check_header(&mut header),
                Err(KernelError::Jump { found: jump })
            );
        }
    }

    proptest! {
        /// Any bytes behind the magic numbers, and any version: either refused for one of the
        /// three reasons there are, or complete as boot.rst tells boot loaders to read it.
        #[test]
        fn a_header_is_read_as_its_version_allows(
            bytes in proptest::collection::vec(any::<u8>(), size_of::<SetupHeader>()),
            version in prop_oneof![0x1f0u16..0x210, any::<u16>()],
            distance in any::<u8>(), opcode in prop_oneof![9 => Just(JUMP_SHORT), 1 => any::<u8>()],
            shift in 0u32..40, found in 0u32..0x9000,
        ) {
            let mut header = SetupHeader::read_from_bytes(&bytes).unwrap();
            header.boot_flag = BOOT_FLAG.into();
            header.header = HEADER_MAGIC;
            header.version = version.into();
            header.jump = [opcode, distance];
            if shift < 32 {
                header.kernel_alignment = (1 << shift).into();
            }
            let given = header;
            let width = match check_header(&mut header) {
                Ok(width) => width,
                Err(KernelError::ProtocolTooOld { .. }) => {
                    prop_assert!(version < 0x200);
                    return Ok(());
                }
                Err(KernelError::Jump { .. }) => {
                    prop_assert!(opcode != 0xeb || distance > 127);
                    return Ok(());
                }
                Err(error) => {
                    let alignment = given.kernel_alignment.get();
                    prop_assert!(version >= 0x205 && given.relocatable_kernel != 0);
                    prop_assert_eq!(error, KernelError::Alignment { found: alignment });
                    prop_assert_ne!(alignment.count_ones(), 1);
                    return Ok(());
                }
            };
            let since = |from: u16, value: u32, before: u32| {
                if version < from { before } else { value }
            };
            prop_assert_eq!(header.initrd_addr_max.get(),
                since(0x203, given.initrd_addr_max.get(), 0x37ff_ffff));
            prop_assert_eq!(header.syssize.get(), since(0x204, given.syssize.get(), 0));
            prop_assert_eq!(u32::from(header.relocatable_kernel),
                since(0x205, given.relocatable_kernel.into(), 0));
            prop_assert_eq!(header.cmdline_size.get(), since(0x206, given.cmdline_size.get(), 255));
            let init_size = since(0x20a, given.init_size.get(), 0);
            prop_assert_eq!(header.init_size.get(), init_size);
            let long = since(0x20c, given.xloadflags.get().into(), 0) & 1 != 0;
            let high = given.loadflags & 1 != 0;
            let expected = if long {
                Width::Bits64
            } else if high && init_size != 0 && 0x202 + u32::from(distance) >= 0x264 {
                Width::Bits32
            } else {
                Width::Bits16
            };
            prop_assert_eq!(width, expected);

            let sectors = 1 + match given.setup_sects {
                0 => 4,
                sectors => u32::from(sectors),
            };
            match setup_size(&header, found) {
                Ok(size) => {
                    prop_assert_eq!(size, sectors * 512);
                    prop_assert!(size <= found && sectors <= 64);
                }
                Err(KernelError::SetupTooLong { .. }) => prop_assert!(sectors > 64),
                Err(KernelError::SetupTruncated { .. }) => prop_assert!(found < sectors * 512),
                Err(error) => {
                    // heap_end_ptr, cmd_line_ptr: what the boot loader writes is no header.
                    prop_assert_eq!(error, KernelError::Jump { found: given.jump });
                    prop_assert!(distance < 0x2a);
                }
            }
        }
    }
}
