// SPDX-License-Identifier: MIT OR Apache-2.0
//! The linker-loader script: how firmware is to place tables and connect them.
//!
//! Spec: `abi::table_loader`. In: what belongs where. Out: a script of the three commands that
//! every firmware knows; `qboot.rom` gives up at any other.

use abi::table_loader::{
    AddChecksum, AddPointer, Allocate, COMMAND_ADD_CHECKSUM, COMMAND_ADD_POINTER, COMMAND_ALLOCATE,
    FileName,
};
use std::ops::Range;
use zerocopy::{FromZeros, Immutable, IntoBytes};

/// A script, in the order in which it is executed.
#[derive(Debug, Default)]
pub(super) struct Script(Vec<u8>);

impl Script {
    /// Has `file` loaded into `zone`, at a multiple of `align` bytes. Comes before any other
    /// mention of the file.
    pub fn allocate(&mut self, file: &str, align: u32, zone: u8) {
        let mut body = Allocate::new_zeroed();
        body.file = name(file);
        body.align = align.into();
        body.zone = zone;
        self.push(COMMAND_ALLOCATE, &body);
    }

    /// Has the address of `src` added to the `size` bytes at `offset` of `dest`, which hold an
    /// offset in `src`.
    pub fn add_pointer(&mut self, dest: &str, offset: u32, size: u8, src: &str) {
        let mut body = AddPointer::new_zeroed();
        body.dest = name(dest);
        body.src = name(src);
        body.offset = offset.into();
        body.size = size;
        self.push(COMMAND_ADD_POINTER, &body);
    }

    /// Has the byte at `offset` of `file` make up for what `range` of the same file adds up to.
    pub fn add_checksum(&mut self, file: &str, offset: u32, range: Range<u32>) {
        let mut body = AddChecksum::new_zeroed();
        body.file = name(file);
        body.offset = offset.into();
        body.start = range.start.into();
        body.length = (range.end - range.start).into();
        self.push(COMMAND_ADD_CHECKSUM, &body);
    }

    /// The file that firmware reads.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn push(&mut self, number: u32, body: &(impl IntoBytes + Immutable)) {
        self.0.extend_from_slice(&number.to_le_bytes());
        self.0.extend_from_slice(body.as_bytes());
    }
}

/// A file's name in a command. All of ours are short.
fn name(text: &str) -> FileName {
    let mut name = FileName::new_zeroed();
    for (to, from) in name.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    name
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_command_is_a_record_of_128_bytes() {
        let mut script = Script::default();
        script.allocate("etc/a", 16, 2);
        script.add_pointer("etc/a", 24, 8, "etc/b");
        script.add_checksum("etc/a", 32, 4..36);
        let bytes = script.into_bytes();
        assert_eq!(bytes.len(), 3 * 128);

        let at = |command: usize, offset: usize, length: usize| {
            &bytes[command * 128 + offset..][..length]
        };
        assert_eq!(at(0, 0, 10), b"\x01\0\0\0etc/a\0");
        assert_eq!((at(0, 60, 4), at(0, 64, 1)), (&[16, 0, 0, 0][..], &[2][..]));
        assert_eq!(at(1, 0, 10), b"\x02\0\0\0etc/a\0");
        assert_eq!(at(1, 60, 6), b"etc/b\0");
        assert_eq!(
            (at(1, 116, 4), at(1, 120, 1)),
            (&[24, 0, 0, 0][..], &[8][..])
        );
        assert_eq!(at(2, 0, 4), [3, 0, 0, 0]);
        assert_eq!(at(2, 60, 12), [32, 0, 0, 0, 4, 0, 0, 0, 32, 0, 0, 0]);
    }
}
