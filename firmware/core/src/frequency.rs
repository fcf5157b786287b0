// SPDX-License-Identifier: MIT OR Apache-2.0
//! How fast the time-stamp counter counts.
//!
//! Spec: Intel SDM volume 2, CPUID; volume 3, section 19.7.3; VMware's leaf 0x4000_0010, which
//! KVM-based monitors follow.

use core::arch::x86_64::CpuidResult;

/// The frequency in kHz of the time-stamp counter, where a hypervisor or the processor says it;
/// else 0. The hypervisor's word comes first: it may scale the counter. A processor that does not
/// know its crystal counts at its base frequency. `leaf` answers CPUID with subleaf 0; it is asked
/// only for leaves that there are.
#[inline]
pub fn khz(leaf: impl Fn(u32) -> CpuidResult) -> u32 {
    const HYPERVISOR: u32 = 1 << 31;
    const HYPERVISOR_FIRST: u32 = 0x4000_0000;
    const FREQUENCIES: u32 = 0x4000_0010;
    const CRYSTAL: u32 = 0x15;
    const BASE: u32 = 0x16;
    if leaf(1).ecx & HYPERVISOR != 0 && leaf(HYPERVISOR_FIRST).eax >= FREQUENCIES {
        let khz = leaf(FREQUENCIES).eax;
        if khz != 0 {
            return khz;
        }
    }
    let highest = leaf(0).eax;
    if highest >= CRYSTAL {
        let ratio = leaf(CRYSTAL);
        // At most 2^64 - 2^33 + 1: no overflow.
        let ticks = u64::from(ratio.ecx).wrapping_mul(u64::from(ratio.ebx));
        if let Some(hz) = ticks.checked_div(u64::from(ratio.eax))
            && hz != 0
        {
            return u32::try_from(hz / 1000).unwrap_or(0);
        }
    }
    if highest >= BASE {
        return (leaf(BASE).eax & 0xffff).wrapping_mul(1000); // MHz
    }
    0
}

#[cfg(test)]
mod test {
    use super::*;

    const HYPERVISOR_BIT: [u32; 4] = [0, 0, 1 << 31, 0];

    /// What a processor with these leaves says.
    fn asked(leaves: &[(u32, [u32; 4])]) -> u32 {
        khz(|leaf| {
            let (_, [eax, ebx, ecx, edx]) = *leaves
                .iter()
                .find(|(number, _)| *number == leaf)
                .unwrap_or_else(|| panic!("leaf {leaf:#x} does not exist"));
            CpuidResult { eax, ebx, ecx, edx }
        })
    }

    #[test]
    fn the_hypervisor_is_believed_first() {
        let says = |khz| {
            asked(&[
                (1, HYPERVISOR_BIT),
                (0x4000_0000, [0x4000_0010, 0, 0, 0]),
                (0x4000_0010, [khz, 0, 0, 0]),
                (0, [0x16, 0, 0, 0]),
                (0x15, [2, 200, 25_000_000, 0]),
                (0x16, [3_000, 4_000, 100, 0]),
            ])
        };

        assert_eq!(says(2_100_000), 2_100_000);
        assert_eq!(says(0), 2_500_000, "it has the leaf, and does not know");
    }

    #[test]
    fn a_hypervisor_without_the_leaf_is_not_asked_for_it() {
        let leaves = [
            (1, HYPERVISOR_BIT),
            (0x4000_0000, [0x4000_0001, 0, 0, 0]),
            (0, [0x15, 0, 0, 0]),
            (0x15, [2, 166, 24_000_000, 0]),
        ];

        assert_eq!(asked(&leaves), 1_992_000);
    }

    #[test]
    fn a_processor_that_does_not_know_its_crystal_counts_at_its_base_frequency() {
        for ratio in [[0, 0, 0, 0], [2, 216, 0, 0], [0, 216, 24_000_000, 0]] {
            let leaves = [
                (1, [0; 4]),
                (0, [0x16, 0, 0, 0]),
                (0x15, ratio),
                (0x16, [0xabcd_0000 | 2_600, 3_900, 100, 0]),
            ];

            assert_eq!(asked(&leaves), 2_600_000, "{ratio:?}");
        }
    }

    #[test]
    fn who_says_nothing_gets_none() {
        assert_eq!(asked(&[(1, [0; 4]), (0, [0x14, 0, 0, 0])]), 0);
        let silent = [(1, [0; 4]), (0, [0x15, 0, 0, 0]), (0x15, [0; 4])];
        assert_eq!(asked(&silent), 0);
    }

    #[test]
    fn a_frequency_beyond_32_bits_is_none() {
        let wild = [
            (1, [0; 4]),
            (0, [0x16, 0, 0, 0]),
            (0x15, [1, u32::MAX, u32::MAX, 0]),
        ];

        assert_eq!(asked(&wild), 0);
    }
}
