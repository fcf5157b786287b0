// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guests and the tests that read their reports share.

#![no_std]
#![forbid(unsafe_code)]

/// Digest of a module's bytes: FNV-1a with 64-bit little-endian words for bytes, the last one
/// padded with zeros. Words, because the guest may run on an emulator.
#[must_use]
pub fn digest(bytes: &[u8]) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let step = |digest: u64, word: u64| (digest ^ word).wrapping_mul(PRIME);
    let (words, rest) = bytes.as_chunks::<8>();
    let digest = words.iter().fold(OFFSET_BASIS, |digest, word| {
        step(digest, u64::from_le_bytes(*word))
    });
    if rest.is_empty() {
        return digest;
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    step(digest, u64::from_le_bytes(last))
}
