// SPDX-License-Identifier: MIT OR Apache-2.0
//! SMBIOS: what the machine says it is.
//!
//! Spec: DMTF DSP0134, System Management BIOS 3.6; the version claimed is 2.8, as QEMU's, whose
//! handles these are, too. In: what the user wants it to say, processors and memory. Out: the two
//! `fw_cfg` files of it; firmware places them, adds BIOS Information, and fills in the checksums.

use super::Error;
use crate::config::Smbios;
use crate::memory::Layout;
use abi::layout::RAM_ABOVE_4G_START;
use abi::smbios::{
    ANCHOR_21, Chassis, EntryPoint21, Header, INTERMEDIATE_ANCHOR, MemoryArray, MemoryDevice,
    MemoryRange, OemStrings, Processor, SystemBoot, SystemInformation, TYPE_CHASSIS,
    TYPE_END_OF_TABLE, TYPE_MEMORY_ARRAY, TYPE_MEMORY_DEVICE, TYPE_MEMORY_RANGE, TYPE_OEM_STRINGS,
    TYPE_PROCESSOR, TYPE_SYSTEM_BOOT, TYPE_SYSTEM_INFORMATION,
};
use zerocopy::{FromZeros, Immutable, IntoBytes};

/// Most bytes of all structures: an anchor of this version counts them in 16 bits, and firmware adds
/// some of its own.
const MOST: usize = 0xf000;

/// Who makes it, where the user does not say.
const MANUFACTURER: &str = "qboot-rs";
const PRODUCT: &str = "microvm";

/// No handle at all, or none where there could be one (sections 7.5 and 7.17).
const NO_CACHE: u16 = 0xffff;
const NO_ERROR_HANDLE: u16 = 0xfffe;
/// In fields for a kind: another one.
const OTHER: u8 = 1;
/// In fields for a state: unknown.
const UNKNOWN: u8 = 2;
/// In fields for a state: all is well (section 7.4.2).
const SAFE: u8 = 3;

/// The two files.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) anchor: Vec<u8>,
    pub(super) tables: Vec<u8>,
}

/// The files of a machine with so many processors.
pub(super) fn files(smbios: &Smbios, cpus: u32, layout: &Layout) -> Result<Files, Error> {
    let mut table = Table::default();
    table.system(smbios);
    table.chassis(smbios);
    table.processor(cpus);
    if !smbios.oem.is_empty() {
        table.oem(&smbios.oem);
    }
    table.memory(layout);
    table.add(TYPE_SYSTEM_BOOT, 0x2000, &SystemBoot::new_zeroed(), &[]);
    table.structure(TYPE_END_OF_TABLE, 0x7f00, &[], &[]);
    let found = table.bytes.len();
    let length = u16::try_from(found).ok().filter(|_| found <= MOST);
    let length = length.ok_or(Error::Smbios { most: MOST, found })?;
    let mut anchor = EntryPoint21::new_zeroed();
    anchor.anchor = ANCHOR_21;
    anchor.length = size_of_byte::<EntryPoint21>();
    anchor.major_version = 2;
    anchor.minor_version = 8;
    anchor.max_structure_size = table.largest.into();
    anchor.intermediate_anchor = INTERMEDIATE_ANCHOR;
    anchor.table_length = length.into();
    anchor.structure_count = table.count.into();
    anchor.bcd_revision = 0x28;
    Ok(Files {
        anchor: anchor.as_bytes().to_vec(),
        tables: table.bytes,
    })
}

/// Structures, one after the other.
#[derive(Debug, Default)]
struct Table {
    bytes: Vec<u8>,
    count: u16,
    /// Bytes of the largest.
    largest: u16,
}

impl Table {
    /// Adds a structure with what follows the header, and its strings, which are numbered from 1.
    fn add(
        &mut self,
        kind: u8,
        handle: u16,
        rest: &(impl IntoBytes + Immutable),
        strings: &[&str],
    ) {
        self.structure(kind, handle, rest.as_bytes(), strings);
    }

    fn structure(&mut self, kind: u8, handle: u16, rest: &[u8], strings: &[&str]) {
        let start = self.bytes.len();
        let length = size_of::<Header>() + rest.len();
        let header = Header {
            kind,
            length: u8::try_from(length).unwrap_or(u8::MAX),
            handle: handle.into(),
        };
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(rest);
        for string in strings {
            self.bytes.extend_from_slice(string.as_bytes());
            self.bytes.push(0);
        }
        if strings.is_empty() {
            self.bytes.push(0);
        }
        self.bytes.push(0);
        self.count += 1;
        let size = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.largest = self.largest.max(size);
    }

    fn system(&mut self, smbios: &Smbios) {
        let mut strings = Strings::default();
        let rest = SystemInformation {
            manufacturer: strings.add(smbios.manufacturer.as_deref().unwrap_or(MANUFACTURER)),
            product: strings.add(smbios.product.as_deref().unwrap_or(PRODUCT)),
            version: strings.add(
                smbios
                    .version
                    .as_deref()
                    .unwrap_or(env!("CARGO_PKG_VERSION")),
            ),
            serial: strings.add(smbios.serial.as_deref().unwrap_or_default()),
            uuid: encoded(smbios.uuid),
            wake_up: SystemInformation::WAKE_UP_POWER_SWITCH,
            sku: strings.add(smbios.sku.as_deref().unwrap_or_default()),
            family: strings.add(smbios.family.as_deref().unwrap_or_default()),
        };
        self.add(TYPE_SYSTEM_INFORMATION, 0x100, &rest, &strings.0);
    }

    fn chassis(&mut self, smbios: &Smbios) {
        let mut strings = Strings::default();
        let mut rest = Chassis::new_zeroed();
        rest.manufacturer = strings.add(smbios.manufacturer.as_deref().unwrap_or(MANUFACTURER));
        rest.kind = OTHER;
        rest.boot_up_state = SAFE;
        rest.power_supply_state = SAFE;
        rest.thermal_state = SAFE;
        rest.security_status = UNKNOWN;
        self.add(TYPE_CHASSIS, 0x300, &rest, &strings.0);
    }

    /// All processors are one in a socket, as CPUID has it.
    fn processor(&mut self, cpus: u32) {
        let mut strings = Strings::default();
        let cores = u16::try_from(cpus).unwrap_or(u16::MAX);
        let few = u8::try_from(cpus).unwrap_or(u8::MAX);
        let mut rest = Processor::new_zeroed();
        rest.socket = strings.add("CPU 0");
        rest.kind = Processor::CENTRAL;
        rest.family = OTHER;
        rest.status = Processor::POPULATED_AND_ENABLED;
        rest.upgrade = OTHER;
        rest.l1_cache = NO_CACHE.into();
        rest.l2_cache = NO_CACHE.into();
        rest.l3_cache = NO_CACHE.into();
        rest.core_count = few;
        rest.core_enabled = few;
        rest.thread_count = few;
        rest.characteristics = Processor::CHARACTERISTICS_UNKNOWN.into();
        rest.family_2 = u16::from(OTHER).into();
        rest.core_count_2 = cores.into();
        rest.core_enabled_2 = cores.into();
        rest.thread_count_2 = cores.into();
        self.add(TYPE_PROCESSOR, 0x400, &rest, &strings.0);
    }

    fn oem(&mut self, strings: &[String]) {
        let count = u8::try_from(strings.len()).unwrap_or(u8::MAX);
        let strings: Vec<_> = strings.iter().map(String::as_str).collect();
        self.add(TYPE_OEM_STRINGS, 0xe00, &OemStrings { count }, &strings);
    }

    fn memory(&mut self, layout: &Layout) {
        const ARRAY: u16 = 0x1000;
        let size = layout.ram_size();
        let kib = size >> 10;
        let (short, extended) = MemoryArray::capacity(kib);
        let array = MemoryArray {
            location: OTHER,
            purpose: MemoryArray::SYSTEM_MEMORY,
            error_correction: MemoryArray::NO_CORRECTION,
            capacity_kib: short.into(),
            error_handle: NO_ERROR_HANDLE.into(),
            devices: 1.into(),
            extended_capacity: extended.into(),
        };
        self.add(TYPE_MEMORY_ARRAY, ARRAY, &array, &[]);

        let mut strings = Strings::default();
        let (short, extended) = MemoryDevice::size_fields(kib);
        let mut device = MemoryDevice::new_zeroed();
        device.array = ARRAY.into();
        device.error_handle = NO_ERROR_HANDLE.into();
        device.total_width = u16::MAX.into();
        device.data_width = u16::MAX.into();
        device.size = short.into();
        device.form_factor = MemoryDevice::DIMM;
        device.locator = strings.add("DIMM 0");
        device.kind = MemoryDevice::RAM;
        device.detail = MemoryDevice::DETAIL_OTHER.into();
        device.extended_size_mib = extended.into();
        self.add(TYPE_MEMORY_DEVICE, 0x1100, &device, &strings.0);

        let pieces = [
            (0, layout.below_4g()),
            (RAM_ABOVE_4G_START, layout.above_4g()),
        ];
        let present = pieces.into_iter().filter(|(_, size)| *size > 0);
        for (handle, (start, size)) in (0x1300..).zip(present) {
            let range = MemoryRange::new(start, start + (size - 1), ARRAY);
            self.add(TYPE_MEMORY_RANGE, handle, &range, &[]);
        }
    }
}

/// The strings of a structure.
#[derive(Default)]
struct Strings<'a>(Vec<&'a str>);

impl<'a> Strings<'a> {
    /// The number of a string; 0 for one that is empty, which there cannot be.
    fn add(&mut self, text: &'a str) -> u8 {
        if text.is_empty() {
            return 0;
        }
        self.0.push(text);
        u8::try_from(self.0.len()).unwrap_or(u8::MAX)
    }
}

/// A UUID as it travels: its first three numbers are little-endian (section 7.2.1).
fn encoded(uuid: [u8; 16]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = uuid;
    let [i, j, k, l, m, n, o, p] = rest;
    [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]
}

fn size_of_byte<T>() -> u8 {
    u8::try_from(size_of::<T>()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod test {
    use super::*;
    use zerocopy::FromBytes;

    fn smbios() -> Smbios {
        Smbios {
            product: Some("thing".into()),
            uuid: *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff",
            oem: vec!["one".into(), "two".into()],
            ..Smbios::default()
        }
    }

    /// Every structure: its kind, what follows its header, and its strings.
    fn structures(table: &[u8]) -> Vec<(u8, Vec<u8>, Vec<String>)> {
        let mut all = Vec::new();
        let mut rest = table;
        while let Ok((header, behind)) = Header::read_from_prefix(rest) {
            let (formatted, behind) = behind.split_at(usize::from(header.length) - 4);
            let end = behind.windows(2).position(|pair| pair == [0, 0]).unwrap();
            let strings = behind[..end].split(|byte| *byte == 0);
            let strings = strings.map(|text| String::from_utf8(text.to_vec()).unwrap());
            let strings = strings.filter(|text| !text.is_empty()).collect();
            all.push((header.kind, formatted.to_vec(), strings));
            rest = &behind[end + 2..];
        }
        assert!(rest.is_empty());
        all
    }

    #[test]
    fn all_structures_are_there_and_the_anchor_counts_them() {
        let layout = Layout::new(5 << 30, 0x1_0000);
        let files = files(&smbios(), 3, &layout).unwrap();
        let all = structures(&files.tables);
        let kinds: Vec<_> = all.iter().map(|(kind, ..)| *kind).collect();
        assert_eq!(kinds, [1, 3, 4, 11, 16, 17, 19, 19, 32, 127]);
        let anchor = EntryPoint21::read_from_bytes(&files.anchor).unwrap();
        assert_eq!(usize::from(anchor.structure_count.get()), all.len());
        assert_eq!(usize::from(anchor.table_length.get()), files.tables.len());
        let size = |(_, formatted, strings): &(u8, Vec<u8>, Vec<String>)| {
            let text: usize = strings.iter().map(|text| text.len() + 1).sum();
            4 + formatted.len() + text.max(1) + 1
        };
        let largest = all.iter().map(size).max().unwrap();
        assert_eq!(usize::from(anchor.max_structure_size.get()), largest);
    }

    #[test]
    fn the_user_is_believed_and_the_rest_has_defaults() {
        let layout = Layout::new(64 << 20, 0x1_0000);
        let files = files(&smbios(), 255, &layout).unwrap();
        let all = structures(&files.tables);
        let (_, formatted, strings) = &all[0];
        assert_eq!(strings[..2], ["qboot-rs", "thing"]);
        let system = SystemInformation::read_from_bytes(formatted).unwrap();
        assert_eq!(
            (system.manufacturer, system.product, system.serial),
            (1, 2, 0)
        );
        assert_eq!(
            system.uuid[..8],
            [0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66]
        );
        let processor = Processor::read_from_bytes(&all[2].1).unwrap();
        assert_eq!(processor.core_count, 255);
        assert_eq!(processor.core_count_2.get(), 255);
        assert_eq!(all[3].2, ["one", "two"]);
        assert_eq!(all[3].1, [2]);
    }

    #[test]
    fn memory_is_told_in_the_units_that_it_needs() {
        assert_eq!(MemoryDevice::size_fields(64 << 10), (64, 0));
        assert_eq!(MemoryDevice::size_fields(2052), (0x8000 | 2052, 0));
        let large = MemoryDevice::size_fields(64 << 20);
        assert_eq!(large, (0x7fff, 64 << 10));
        assert_eq!(MemoryArray::capacity(4), (4, 0));
        assert_eq!(MemoryArray::capacity(1 << 31), (1 << 31, 1 << 41));
        let range = MemoryRange::new(1 << 32, (5 << 30) - 1, 7);
        assert_eq!(range.start_kib.get(), 4 << 20);
        assert_eq!(range.end_kib.get(), (5 << 20) - 1);
        let range = MemoryRange::new(1 << 32, (1 << 43) - 1, 7);
        assert_eq!(
            (range.start_kib.get(), range.end_kib.get()),
            (u32::MAX, u32::MAX)
        );
        assert_eq!(range.extended_end.get(), (1 << 43) - 1);
    }

    #[test]
    fn more_strings_than_an_anchor_can_count_are_refused() {
        let layout = Layout::new(64 << 20, 0x1_0000);
        let smbios = Smbios {
            oem: vec!["x".repeat(0x1000); 16],
            ..Smbios::default()
        };
        let error = files(&smbios, 1, &layout).unwrap_err();
        assert!(matches!(error, Error::Smbios { .. }));
    }
}
