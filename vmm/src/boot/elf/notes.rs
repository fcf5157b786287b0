// SPDX-License-Identifier: MIT OR Apache-2.0
//! Walking a note segment, of which nothing is believed.
//!
//! Spec: System V ABI, "Note Section": name size, descriptor size, type, then both, each padded.

/// One entry of a note segment.
pub(super) struct Note<'a> {
    pub(super) name: &'a [u8],
    pub(super) kind: u32,
    pub(super) desc: &'a [u8],
}

/// The entries of a note segment; ends at the first that is cut off.
pub(super) struct Notes<'a> {
    pub(super) rest: &'a [u8],
    pub(super) align: usize,
}

impl<'a> Iterator for Notes<'a> {
    type Item = Note<'a>;

    fn next(&mut self) -> Option<Note<'a>> {
        let field = |index: usize| {
            let bytes = self.rest.get(index * 4..index * 4 + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let (name_size, desc_size, kind) = (field(0)? as usize, field(1)? as usize, field(2)?);
        let desc_start = name_size
            .checked_add(12)?
            .checked_next_multiple_of(self.align)?;
        let desc_end = desc_start.checked_add(desc_size)?;
        let name = self.rest.get(12..12 + name_size)?;
        let desc = self.rest.get(desc_start..desc_end)?;
        // The last entry's padding may be missing.
        let next = desc_end.checked_next_multiple_of(self.align)?;
        self.rest = self.rest.get(next..).unwrap_or(&[]);
        Some(Note {
            name: name.strip_suffix(&[0]).unwrap_or(name),
            kind,
            desc,
        })
    }
}
