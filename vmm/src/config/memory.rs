// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--memory`: how much RAM, and what it is made of on the host.

use super::{Error, words};
use crate::memory::Backing;

/// RAM.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Memory {
    /// Bytes.
    pub size: u64,
    /// What they are on the host.
    pub backing: Backing,
}

impl Memory {
    /// So many bytes of nothing special.
    #[must_use]
    pub fn plain(size: u64) -> Self {
        let backing = Backing::default();
        Self { size, backing }
    }
}

/// Reads a size, or `size=SIZE` and what else there is to say.
pub fn parse_memory(text: &str) -> Result<Memory, Error> {
    if !text.contains('=') {
        let size = parse_size(text).ok_or_else(|| Error::MemorySyntax(text.into()))?;
        return Ok(Memory::plain(size));
    }
    let mut backing = Backing::default();
    let refuse = || Error::Memory(text.into());
    let mut size = None;
    for (key, value) in words::settings(text).ok_or_else(refuse)? {
        let switch = || words::switch(&value).ok_or_else(refuse);
        match key.as_str() {
            "size" => size = Some(parse_size(&value).ok_or_else(refuse)?),
            "hugepages" => backing.hugepages = switch()?,
            "shared" => backing.shared = switch()?,
            "prefault" => backing.prefault = switch()?,
            "thp" => backing.thp = switch()?,
            _ => return Err(refuse()),
        }
    }
    let size = size.ok_or_else(refuse)?;
    Ok(Memory { size, backing })
}

/// Reads a size in bytes, from `512M`, `1G` or, as QEMU does, `512` for MiB.
fn parse_size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 10),
        b'm' | b'M' => (&text[..text.len() - 1], 20),
        b'g' | b'G' => (&text[..text.len() - 1], 30),
        b't' | b'T' => (&text[..text.len() - 1], 40),
        _ => (text, 20),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn memory_is_read_as_qemu_reads_it() {
        for (text, size) in [
            ("512", 512 << 20),
            ("512M", 512 << 20),
            ("5g", 5 << 30),
            ("2048K", 2 << 20),
            ("1T", 1 << 40),
            ("size=2G", 2 << 30),
        ] {
            assert_eq!(parse_memory(text).unwrap(), Memory::plain(size));
        }
    }

    #[test]
    fn what_it_is_made_of_comes_in_any_order() {
        let memory = parse_memory("thp=off,hugepages=on,size=64M,shared=on,prefault=on").unwrap();
        let backing = Backing {
            hugepages: true,
            shared: true,
            prefault: true,
            thp: false,
        };
        let size = 64 << 20;
        assert_eq!(memory, Memory { size, backing });
        assert!(parse_memory("size=64M,thp=on").unwrap().backing.thp);
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

    #[test]
    fn words_that_nobody_knows_or_that_come_twice_are_refused_with_those_that_are_known() {
        for text in [
            "size=",
            "size=M",
            "shared=on",
            "64M,shared=on",
            "size=64M,",
            "size=64M,size=64M",
            "size=64M,shared=yes",
            "size=64M,huge=on",
            "size=64M,thp",
        ] {
            let sentence = parse_memory(text).unwrap_err().to_string();
            let known = "hugepages, shared, prefault and thp";
            assert!(sentence.contains(known), "{sentence}");
        }
    }
}
