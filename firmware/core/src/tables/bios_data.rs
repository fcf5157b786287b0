// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a BIOS keeps in low memory, for kernels that are entered in real mode.
//!
//! Spec: IBM PS/2 and PC BIOS Interface Technical Reference, section 3.
//! In: the plan. Out: the BIOS data area and the extended one.

use crate::memory::Range;
use crate::plan::Plan;
use abi::bios::{Bda, Ebda, KEY_BUFFER_END, KEY_BUFFER_START};
use abi::e820::{E820Entry, TYPE_RAM};
use abi::layout::{HIGH_RAM_START, RAM_ABOVE_4G_START};
use zerocopy::{FromBytes, FromZeros};

const KIB: u64 = 1 << 10;
/// From 1 MiB to 16 MiB.
const BELOW_16M_KIB: u64 = 15 << 10;

/// A mathematics coprocessor: every processor with long mode has one.
const EQUIPMENT_COPROCESSOR: u16 = 1 << 1;
/// Initial video mode: 80 columns in colour.
const EQUIPMENT_80_COLOUR: u16 = 0b10 << 4;
/// Lowest bit of the number of serial ports.
const EQUIPMENT_SERIAL: u16 = 1 << 9;

/// The most that int 15h, AH=88h tells of: 63 MiB. Programs of its time add 1 MiB to the answer.
const MAX_EXTENDED_KIB: u64 = 63 << 10;

/// Writes the BIOS data area; `block` is the hand-off block, `com1` the I/O port of the first serial
/// port.
#[cold] // in favour of size: few kernels come here
pub fn write_bda(bda: &mut Bda, block: Range, com1: Option<u16>) {
    bda.zero();
    bda.com_ports[0] = com1.unwrap_or_default().into();
    bda.ebda_segment = narrow(block.start() >> 4).into();
    bda.base_memory_kib = narrow(block.start().wrapping_div(KIB)).into();
    let serial = com1.map_or(0, |_| EQUIPMENT_SERIAL);
    bda.equipment = (EQUIPMENT_COPROCESSOR | EQUIPMENT_80_COLOUR | serial).into();
    for offset in [
        &mut bda.key_head,
        &mut bda.key_tail,
        &mut bda.key_buffer_start,
    ] {
        *offset = KEY_BUFFER_START.into();
    }
    bda.key_buffer_end = KEY_BUFFER_END.into();
    bda.video_mode = 3;
    bda.columns = 80.into();
    bda.page_size = 0x1000.into();
    bda.cursor_shape = 0x0607.into();
    bda.crt_port = 0x3d4.into();
    bda.last_row = 24;
    bda.character_height = 16.into();
    bda.keyboard_type = 0x10;
}

/// Writes the extended BIOS data area into `bytes`, which stands for `plan.handoff.ebda`.
#[cold] // in favour of size: few kernels come here
pub fn write_ebda(bytes: &mut [u8], plan: &Plan<'_>) {
    let Ok(ebda) = Ebda::mut_from_bytes(bytes) else {
        return;
    };
    ebda.zero();
    let kib = plan.handoff.block.size().wrapping_div(KIB);
    ebda.size_kib = u8::try_from(kib).unwrap_or(u8::MAX);
    let regions = plan.memory.regions();
    ebda.e820_entries = narrow(regions.len() as u64).into();
    for (entry, region) in ebda.e820.iter_mut().zip(regions) {
        *entry = E820Entry {
            addr: region.start.into(),
            size: region.range().size().into(),
            kind: u32::try_from(region.kind).unwrap_or_default().into(),
        };
    }
    let ram = regions
        .iter()
        .find(|region| region.start <= HIGH_RAM_START && HIGH_RAM_START < region.end)
        .filter(|region| region.kind == u64::from(TYPE_RAM));
    let end = ram.map_or(HIGH_RAM_START, |region| region.end.min(RAM_ABOVE_4G_START));
    let kib = end.wrapping_sub(HIGH_RAM_START).wrapping_div(KIB);
    ebda.extended_kib = narrow(kib.min(MAX_EXTENDED_KIB)).into();
    let below_16m = kib.min(BELOW_16M_KIB);
    ebda.below_16m_kib = narrow(below_16m).into();
    ebda.above_16m_64k = narrow(kib.wrapping_sub(below_16m).wrapping_div(64)).into();
}

/// A number that fits by construction.
fn narrow(value: u64) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::memory::{MemoryMap, Region};
    use crate::plan::{Entry, Handoff};
    use abi::e820::MAX_ENTRIES;

    const BLOCK: Range = Range::between(0x9_e000, 0xa_0000);

    /// The area for RAM up to `end`.
    fn ebda(end: u64) -> Ebda {
        let mut storage = [Region::new(Range::between(0, 0), TYPE_RAM); MAX_ENTRIES];
        let mut memory = MemoryMap::new(&mut storage);
        memory
            .set(Range::between(0, BLOCK.start()), TYPE_RAM)
            .unwrap();
        memory
            .set(Range::between(HIGH_RAM_START, end), TYPE_RAM)
            .unwrap();
        let nowhere = Range::between(0, 0);
        let plan = Plan {
            modules: 0,
            memory,
            handoff: Handoff {
                block: BLOCK,
                mp_pointer: nowhere,
                mp_table: nowhere,
                parameters: nowhere,
                ebda: nowhere,
                cmdline: nowhere,
                map: crate::plan::Map::Start,
            },
            kernel: None,
            initrd: None,
            entry: Entry::Pvh {
                entry: 0,
                start_info: 0,
            },
        };
        let mut bytes = [0xcc; size_of::<Ebda>()];
        write_ebda(&mut bytes, &plan);
        Ebda::read_from_bytes(&bytes).unwrap()
    }

    #[test]
    fn every_service_tells_of_the_same_memory() {
        let sizes = |end| {
            let ebda = ebda(end);
            (
                ebda.extended_kib.get(),
                ebda.below_16m_kib.get(),
                ebda.above_16m_64k.get(),
            )
        };
        assert_eq!(sizes(8 << 20), (7 << 10, 7 << 10, 0));
        assert_eq!(sizes(64 << 20), (63 << 10, 15 << 10, 48 << 4));
        assert_eq!(sizes(3 << 30), (63 << 10, 15 << 10, 0xbf00));
        assert_eq!(sizes(1 << 32), (63 << 10, 15 << 10, 0xff00));
        assert_eq!(sizes(5 << 30), (63 << 10, 15 << 10, 0xff00));
    }

    #[test]
    fn the_extended_area_holds_the_map_and_its_own_size() {
        let ebda = ebda(64 << 20);
        assert_eq!((ebda.size_kib, ebda.e820_entries.get()), (8, 2));
        assert_eq!(ebda.e820[1].addr.get(), 1 << 20);
        assert_eq!(ebda.e820[1].size.get(), 63 << 20);
    }

    #[test]
    fn the_data_area_points_to_the_extended_one_and_tells_what_is_there() {
        let mut bda = Bda::new_zeroed();
        write_bda(&mut bda, BLOCK, Some(0x3f8));
        assert_eq!(bda.ebda_segment.get(), 0x9e00);
        assert_eq!(bda.base_memory_kib.get(), 632);
        assert_eq!((bda.com_ports[0].get(), bda.com_ports[1].get()), (0x3f8, 0));
        assert_eq!(bda.equipment.get(), 0x0222);
        assert_eq!(bda.key_head, bda.key_tail);
        write_bda(&mut bda, BLOCK, None);
        assert_eq!((bda.com_ports[0].get(), bda.equipment.get()), (0, 0x0022));
    }
}
