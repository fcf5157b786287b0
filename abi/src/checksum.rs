// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one checksum: all bytes of a table add up to zero modulo 256.
//!
//! Spec: MultiProcessor Specification 1.4, section 4.1; the same rule serves ACPI and SMBIOS.

/// Words after which the 16-bit lanes of [`sum`] are emptied: 257 bytes of 255 still fit.
const BLOCK: usize = 256;

/// The even bytes of a word, each in a lane of 16 bits.
const EVEN: u64 = 0x00ff_00ff_00ff_00ff;

/// Sum of `bytes` modulo 256.
///
/// Firmware runs this on every boot, so it counts in instructions: four for eight bytes. The even
/// bytes of each 64-bit word are added up in lanes of 16 bits. The whole words are added up, too;
/// what they hold more than the even bytes are the odd bytes, in lanes of their own.
#[must_use]
pub fn sum(bytes: &[u8]) -> u8 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut total = 0u8;
    // The last bytes are the upper ones of a word that ends where they end.
    let mut tail = 0;
    match bytes.last_chunk::<8>() {
        None => total = rest.iter().fold(0, |total, byte| total.wrapping_add(*byte)),
        Some(_) if rest.is_empty() => {}
        Some(end) => tail = u64::from_le_bytes(*end) >> (64 - 8 * rest.len()),
    }
    for block in words.chunks(BLOCK) {
        let (mut all, mut even) = (tail, tail & EVEN);
        tail = 0;
        let mut add = |word: &[u8; 8]| {
            let word = u64::from_le_bytes(*word);
            all = all.wrapping_add(word);
            even = even.wrapping_add(word & EVEN);
        };
        let (fours, last) = block.as_chunks::<4>();
        for [a, b, c, d] in fours {
            add(a);
            add(b);
            add(c);
            add(d);
        }
        last.iter().for_each(add);
        // Of each lane only the low byte counts; what leaves the top lane does not.
        let odd = all.wrapping_sub(even) >> 8;
        total = total.wrapping_add(fold((even & EVEN).wrapping_add(odd & EVEN)));
    }
    total
}

/// Sum modulo 256 of the eight bytes of `word`.
#[must_use]
#[inline(never)] // in favour of size: its two masks alone are 20 bytes
pub const fn sum_word(word: u64) -> u8 {
    fold((word & EVEN).wrapping_add((word >> 8) & EVEN))
}

/// Sum modulo 256 of four lanes of 16 bits, none of which holds more than two bytes' sum: a product
/// adds them all up in its top lane.
const fn fold(lanes: u64) -> u8 {
    lanes.wrapping_mul(0x0001_0001_0001_0001).to_be_bytes()[1]
}

/// As [`sum`], a byte at a time: for constants and for a few bytes.
#[must_use]
#[inline]
pub const fn sum_const(bytes: &[u8]) -> u8 {
    let (mut total, mut rest) = (0u8, bytes);
    while let [first, others @ ..] = rest {
        total = total.wrapping_add(*first);
        rest = others;
    }
    total
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
        for length in (0..600).chain([1_023, 1_024, 1_025, 4_096, 70_000]) {
            let ones: Vec<u8> = std::iter::repeat_n(0xff, length).collect();
            let mixed: Vec<u8> = (0usize..length)
                .map(|i| (i.wrapping_mul(0x9e37_79b9) >> 11).to_le_bytes()[0])
                .collect();
            assert_eq!(sum(&ones), plain(&ones), "length {length}");
            assert_eq!(sum(&mixed), plain(&mixed), "length {length}");
        }
    }

    #[test]
    fn sum_word_equals_the_plain_loop() {
        for word in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef, 0xff00_0000_0000_00ff] {
            assert_eq!(sum_word(word), plain(&word.to_le_bytes()), "{word:#x}");
        }
    }

    #[test]
    fn complement_brings_a_table_to_zero() {
        let mut table = *b"PCMP\x2c\x00\x04\x00QBOOT-RS";
        table[7] = complement(&table);
        assert_eq!(sum(&table), 0);
    }
}
