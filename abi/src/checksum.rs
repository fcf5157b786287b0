// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one checksum: all bytes of a table add up to zero modulo 256.
//!
//! Spec: MultiProcessor Specification 1.4, section 4.1; the same rule serves ACPI and SMBIOS.

/// Sum of `bytes` modulo 256.
///
/// Adds eight bytes a step: in each 64-bit word the even and the odd bytes are summed as four
/// 16-bit lanes, whose low bytes are exact modulo 256 whatever carries out of them is cut off by
/// the final mask. Firmware runs this on every boot, so it counts in instructions.
#[must_use]
pub fn sum(bytes: &[u8]) -> u8 {
    const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut lanes = 0u64;
    for word in words {
        let word = u64::from_le_bytes(*word);
        // A lane gains at most 2 * 255 and is cut back to 8 bits before the next step, so it
        // never carries into its neighbour.
        lanes = (lanes & EVEN) + (word & EVEN) + ((word >> 8) & EVEN);
    }
    lanes &= EVEN;
    lanes += lanes >> 32;
    lanes += lanes >> 16;
    let whole = lanes.to_le_bytes()[0];
    rest.iter()
        .fold(whole, |total, byte| total.wrapping_add(*byte))
}

/// The byte that makes `bytes` add up to zero when it replaces a zero byte among them.
#[must_use]
pub fn complement(bytes: &[u8]) -> u8 {
    sum(bytes).wrapping_neg()
}

#[cfg(test)]
mod test {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn plain(bytes: &[u8]) -> u8 {
        bytes
            .iter()
            .fold(0, |total, byte| total.wrapping_add(*byte))
    }

    #[test]
    fn sum_equals_the_plain_loop_for_every_length_and_extreme_bytes() {
        for length in 0..600usize {
            let ones: Vec<u8> = std::iter::repeat_n(0xff, length).collect();
            let mixed: Vec<u8> = (0..length)
                .map(|i| (i.wrapping_mul(0x9e37_79b9) >> 11).to_le_bytes()[0])
                .collect();
            assert_eq!(sum(&ones), plain(&ones), "length {length}");
            assert_eq!(sum(&mixed), plain(&mixed), "length {length}");
        }
    }

    #[test]
    fn complement_brings_a_table_to_zero() {
        let mut table = *b"PCMP\x2c\x00\x04\x00QBOOT-RS";
        table[7] = complement(&table);
        assert_eq!(sum(&table), 0);
    }
}
