// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every compression that a kernel or a package is shipped in, told apart by its first bytes.

use std::io::{self, Read};

/// A format that stock kernels and Debian packages use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Bzip2,
    Gzip,
    Lz4,
    Lzma,
    Xz,
    Zstd,
}

impl Compression {
    /// The compression that begins with these bytes. LZ4 is the legacy frame that Linux writes.
    pub fn detect(bytes: &[u8]) -> Option<Self> {
        const MAGIC: [(&[u8], Compression); 6] = [
            (b"\x1f\x8b", Compression::Gzip),
            (b"\xfd7zXZ\0", Compression::Xz),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
            (b"\x02\x21\x4c\x18", Compression::Lz4),
            (b"BZh", Compression::Bzip2),
            (b"\x5d\0\0", Compression::Lzma),
        ];
        MAGIC
            .iter()
            .find(|(magic, _)| bytes.starts_with(magic))
            .map(|&(_, compression)| compression)
    }

    /// A reader of what `compressed` holds.
    pub fn reader<'a, R: Read + 'a>(self, compressed: R) -> io::Result<Box<dyn Read + 'a>> {
        /// More than any kernel's LZMA dictionary.
        const LZMA_MEMORY_KIB: u32 = 256 * 1024;
        Ok(match self {
            Self::Bzip2 => Box::new(bzip2::read::BzDecoder::new(compressed)),
            Self::Gzip => Box::new(flate2::read::GzDecoder::new(compressed)),
            Self::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(compressed)),
            Self::Lzma => Box::new(lzma_rust2::LzmaReader::new_mem_limit(
                compressed,
                LZMA_MEMORY_KIB,
                None,
            )?),
            Self::Xz => Box::new(lzma_rust2::XzReader::new(compressed, false)),
            Self::Zstd => Box::new(
                ruzstd::decoding::StreamingDecoder::new(compressed).map_err(io::Error::other)?,
            ),
        })
    }
}

/// The bytes as they are, or decompressed when they begin like a compressed file.
pub fn decompressed(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let Some(compression) = Compression::detect(&bytes) else {
        return Ok(bytes);
    };
    let mut plain = Vec::new();
    compression
        .reader(bytes.as_slice())?
        .read_to_end(&mut plain)?;
    Ok(plain)
}

#[cfg(test)]
mod test {
    use std::io::Write;

    use super::*;

    const TEXT: &[u8] = b"abcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabc";

    #[test]
    fn gzip_is_recognised_and_read() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(TEXT).unwrap();

        assert_eq!(decompressed(encoder.finish().unwrap()).unwrap(), TEXT);
    }

    #[test]
    fn bzip2_is_recognised_and_read() {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(TEXT).unwrap();

        assert_eq!(decompressed(encoder.finish().unwrap()).unwrap(), TEXT);
    }

    #[test]
    fn the_legacy_lz4_frame_is_recognised_and_read() {
        let block = lz4_flex::block::compress(TEXT);
        let mut frame = b"\x02\x21\x4c\x18".to_vec();
        frame.extend_from_slice(&u32::try_from(block.len()).unwrap().to_le_bytes());
        frame.extend_from_slice(&block);

        assert_eq!(decompressed(frame).unwrap(), TEXT);
    }

    #[test]
    fn other_bytes_stay_as_they_are() {
        assert_eq!(decompressed(b"\x7fELF".to_vec()).unwrap(), b"\x7fELF");
    }
}
