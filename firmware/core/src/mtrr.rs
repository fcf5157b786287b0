// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory type range registers: all memory is write-back, but the hole below 4 GiB.
//!
//! Spec: Intel SDM volume 3, section 12.11 (MTRRs). Linux takes PAT and write combining into use
//! only on a processor whose firmware has switched the MTRRs on.
//! In: the memory map. Out: register numbers and values. Never: a register access.

use crate::memory::{MemoryMap, hole_below_4g};

/// CPUID leaf 1, EDX: the processor has MTRRs.
pub const FEATURE_MTRR: u32 = 1 << 12;

/// `IA32_MTRR_DEF_TYPE`.
const DEF_TYPE: u32 = 0x2ff;
/// `IA32_MTRR_PHYSBASE0`.
const PHYS_BASE_0: u32 = 0x200;
/// `IA32_MTRR_PHYSMASK0`.
const PHYS_MASK_0: u32 = 0x201;

/// Memory type: uncacheable.
const UNCACHEABLE: u64 = 0;
/// Memory type: write-back.
const WRITE_BACK: u64 = 6;
/// `IA32_MTRR_DEF_TYPE`: MTRRs are on.
const ENABLE: u64 = 1 << 11;
/// `IA32_MTRR_PHYSMASKn`: this range is in use.
const VALID: u64 = 1 << 11;

/// A model-specific register and the value for it.
pub type Setting = (u32, u64);

/// The registers to write, in this order; the last one switches the MTRRs on.
///
/// The hole is that of [`hole_below_4g`]; there always is one, because the image at its end is no RAM
/// in the map of any plan. `address_bits` is the width of a guest-physical address.
#[must_use]
pub fn settings(memory: &MemoryMap<'_>, address_bits: u8) -> [Setting; 3] {
    let hole = hole_below_4g(|range| memory.has_ram(range));
    let (start, size) = (hole.start(), hole.size());
    let addresses = 1u64.wrapping_shl(address_bits.into()).wrapping_sub(1);
    [
        (PHYS_BASE_0, start | UNCACHEABLE),
        (PHYS_MASK_0, size.wrapping_neg() & addresses | VALID),
        (DEF_TYPE, ENABLE | WRITE_BACK),
    ]
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::memory::{Range, Region};
    use abi::e820::{MAX_ENTRIES, TYPE_RAM, TYPE_RESERVED};
    use abi::layout::{ROM_SIZE, ROM_TOP};
    use proptest::prelude::*;

    fn of(low_ram: u64, address_bits: u8) -> [Setting; 3] {
        let mut storage = [Region {
            start: 0,
            end: 0,
            kind: 0,
        }; MAX_ENTRIES];
        let mut memory = MemoryMap::new(&mut storage);
        memory.set(Range::between(0, low_ram), TYPE_RAM).unwrap();
        memory
            .set(Range::between(0x1_0000_0000, 0x2_0000_0000), TYPE_RAM)
            .unwrap();
        memory
            .set(Range::between(0xfeff_c000, 0xff00_0000), TYPE_RESERVED)
            .unwrap();
        settings(&memory, address_bits)
    }

    #[test]
    fn microvm_has_its_last_gib_below_4_gib_uncached() {
        for low_ram in [64 << 20, 0xc000_0000] {
            assert_eq!(
                of(low_ram, 40),
                [
                    (0x200, 0xc000_0000),
                    (0x201, 0xff_c000_0800),
                    (0x2ff, 0x806)
                ]
            );
        }
    }

    #[test]
    fn ram_up_to_3_5_gib_leaves_half_a_gib() {
        assert_eq!(
            of(0xe000_0000, 46)[..2],
            [(0x200, 0xe000_0000), (0x201, 0x3fff_e000_0800)]
        );
    }

    #[test]
    fn ram_up_to_the_image_leaves_that() {
        assert_eq!(
            of(ROM_TOP - ROM_SIZE, 40)[..2],
            [(0x200, 0xffff_0000), (0x201, 0xff_ffff_0800)]
        );
    }

    /// The type of an address by Intel SDM volume 3, section 12.11.2.3.
    fn type_of([(_, base), (_, mask), (_, default)]: [Setting; 3], address: u64) -> u64 {
        const ADDRESS: u64 = !0xfff;
        if mask & VALID != 0 && address & mask & ADDRESS == base & mask & ADDRESS {
            return base & 0xff;
        }
        default & 0xff
    }

    proptest! {
        #[test]
        fn ram_is_write_back_and_the_hole_is_not(
            pages in 1u64..=0xf_fff0, address_bits in 36u8..=52, at in any::<u64>(),
        ) {
            let low_ram = pages << 12;
            let settings = of(low_ram, address_bits);
            let above = 0x1_0000_0000 + at % 0x1_0000_0000;
            for address in [0, at % low_ram, low_ram - 1, above, (1 << address_bits) - 1] {
                prop_assert_eq!(type_of(settings, address), WRITE_BACK, "{:#x}", address);
            }
            // The local APIC, behind up to 3 GiB of RAM; and the page before 4 GiB.
            prop_assert!(low_ram > 3 << 30 || type_of(settings, 0xfee0_0000) == UNCACHEABLE);
            prop_assert_eq!(type_of(settings, 0xffff_f000), UNCACHEABLE);
        }
    }
}
