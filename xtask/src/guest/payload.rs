// SPDX-License-Identifier: MIT OR Apache-2.0
//! The uncompressed kernel inside a bzImage.
//!
//! Spec: Linux `Documentation/arch/x86/boot.rst`, fields `payload_offset` and `payload_length`.
//! In: a bzImage. Out: the `vmlinux` ELF file, which carries the PVH entry point.

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use abi::linux::{
    DEFAULT_SETUP_SECTS, HEADER_MAGIC, SECTOR_SIZE, SETUP_HEADER_OFFSET, SetupHeader,
};
use zerocopy::FromBytes;

use super::compression::Compression;
use crate::error::{Error, Result};

/// The protocol version from which on the payload is described.
const VERSION_2_08: u16 = 0x0208;
/// Every compression but gzip is followed by the uncompressed size.
const SIZE_SUFFIX: usize = 4;

/// The ELF file inside the bzImage that was read from `path`.
pub fn vmlinux(path: &Path, image: &[u8]) -> Result<Vec<u8>> {
    let wrong = |expected, found| Error::Format {
        path: path.to_path_buf(),
        expected,
        found,
    };
    let range = locate(image).map_err(|found| wrong("a bzImage with a payload", found))?;
    let payload = &image[range];
    let Some(compression) = Compression::detect(payload) else {
        // An uncompressed payload is the ELF file itself.
        return elf(payload.to_vec())
            .map_err(|found| wrong("a bzImage with a known compression", found));
    };
    let stream = match compression {
        Compression::Gzip => payload,
        _ => &payload[..payload.len().saturating_sub(SIZE_SUFFIX)],
    };
    let mut plain = Vec::new();
    compression
        .reader(stream)
        .and_then(|mut reader| reader.read_to_end(&mut plain))
        .map_err(Error::file("decompress", path))?;
    elf(plain).map_err(|found| wrong("a bzImage that holds an ELF file", found))
}

fn elf(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    if bytes.starts_with(b"\x7fELF") {
        Ok(bytes)
    } else {
        Err(format!("the payload begins with {:02x?}", bytes.get(..4)))
    }
}

/// Where the compressed kernel lies in the file.
fn locate(image: &[u8]) -> Result<Range<usize>, String> {
    let header = image
        .get(SETUP_HEADER_OFFSET..)
        .and_then(|bytes| SetupHeader::ref_from_prefix(bytes).ok())
        .map(|(header, _)| header)
        .ok_or_else(|| format!("only {} bytes", image.len()))?;
    if header.header != HEADER_MAGIC {
        return Err(format!("no HdrS but {:02x?}", header.header));
    }
    let version = header.version.get();
    if version < VERSION_2_08 {
        return Err(format!("boot protocol {version:#06x}, older than 2.08"));
    }
    let setup_sects = match header.setup_sects {
        0 => DEFAULT_SETUP_SECTS,
        sectors => sectors,
    };
    let kernel = (usize::from(setup_sects) + 1) * SECTOR_SIZE;
    let offset = header.payload_offset.get() as usize;
    let length = header.payload_length.get() as usize;
    kernel
        .checked_add(offset)
        .and_then(|start| Some(start..start.checked_add(length)?))
        .filter(|range| range.end <= image.len() && !range.is_empty())
        .ok_or_else(|| {
            format!(
                "a payload of {length} bytes at {offset} after {kernel} in a file of {}",
                image.len()
            )
        })
}

#[cfg(test)]
mod test {
    use super::*;

    /// A bzImage of two set-up sectors whose payload is at 16 and has these bytes.
    fn bzimage(payload: &[u8], claimed: u32) -> Vec<u8> {
        let mut image = vec![0; 3 * SECTOR_SIZE];
        image[0x1f1] = 2;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
        image[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&claimed.to_le_bytes());
        image.extend_from_slice(&[0; 16]);
        image.extend_from_slice(payload);
        image
    }

    #[test]
    fn the_payload_follows_the_setup_sectors() {
        let range = locate(&bzimage(b"\x7fELF....", 8));

        assert_eq!(range, Ok(3 * 512 + 16..3 * 512 + 24));
    }

    #[test]
    fn an_uncompressed_payload_is_the_kernel() {
        let image = bzimage(b"\x7fELF....", 8);

        assert_eq!(vmlinux(Path::new("k"), &image).unwrap(), b"\x7fELF....");
    }

    #[test]
    fn a_payload_past_the_end_is_refused() {
        assert!(locate(&bzimage(b"\x7fELF", 5)).is_err());
        assert!(locate(&bzimage(b"\x7fELF", u32::MAX)).is_err());
    }

    #[test]
    fn a_file_without_the_magic_is_refused() {
        assert!(locate(&[0; 4096]).unwrap_err().contains("HdrS"));
        assert!(locate(b"short").unwrap_err().contains("5 bytes"));
    }

    #[test]
    fn an_unknown_compression_is_refused() {
        let error = vmlinux(Path::new("k"), &bzimage(b"????????", 8)).unwrap_err();

        assert!(error.to_string().contains("known compression"));
    }
}
