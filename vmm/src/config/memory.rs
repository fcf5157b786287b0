// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--memory`: how much RAM.

use super::Error;

/// Reads a memory size: bytes, from `512M`, `1G` or, as QEMU does, `512` for MiB.
pub fn parse_memory(text: &str) -> Result<u64, Error> {
    let refuse = || Error::MemorySyntax(text.into());
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        Some(b't' | b'T') => (&text[..text.len() - 1], 40),
        _ => (text, 20),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refuse());
    }
    let number: u64 = digits.parse().map_err(|_| refuse())?;
    number.checked_mul(1 << shift).ok_or_else(refuse)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn memory_is_read_as_qemu_reads_it() {
        assert_eq!(parse_memory("512").unwrap(), 512 << 20);
        assert_eq!(parse_memory("512M").unwrap(), 512 << 20);
        assert_eq!(parse_memory("5g").unwrap(), 5 << 30);
        assert_eq!(parse_memory("2048K").unwrap(), 2 << 20);
        assert_eq!(parse_memory("1T").unwrap(), 1 << 40);
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "M",
            "-1",
            "+5",
            "1.5G",
            "0x10",
            "12Q",
            "99999999999999999999",
            "17592186044416T",
            "5 M",
            "é",
        ] {
            assert!(
                matches!(parse_memory(text), Err(Error::MemorySyntax(_))),
                "{text:?}"
            );
        }
    }
}
