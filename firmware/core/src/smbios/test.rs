// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use proptest::prelude::*;

fn anchor_21(length: u16) -> Vec<u8> {
    let mut bytes = vec![0; 31];
    bytes[..4].copy_from_slice(b"_SM_");
    bytes[5..8].copy_from_slice(&[31, 2, 8]);
    bytes[16..21].copy_from_slice(b"_DMI_");
    bytes[22..24].copy_from_slice(&length.to_le_bytes());
    bytes
}

fn anchor_30(length: u32) -> Vec<u8> {
    let mut bytes = vec![0; 24];
    bytes[..5].copy_from_slice(b"_SM3_");
    bytes[6..9].copy_from_slice(&[24, 3, 0]);
    bytes[10] = 1;
    bytes[12..16].copy_from_slice(&length.to_le_bytes());
    bytes
}

fn structure(kind: u8, handle: u16, formatted: u8, strings: &str) -> Vec<u8> {
    let mut bytes = vec![kind, formatted];
    bytes.extend(handle.to_le_bytes());
    bytes.resize(formatted.into(), 0xaa);
    bytes.extend(strings.bytes());
    bytes.extend(if strings.is_empty() {
        &[0, 0][..]
    } else {
        &[0]
    });
    bytes
}

/// What QEMU offers on `pc`, more or less.
fn table() -> Vec<u8> {
    [
        structure(1, 0x100, 27, "QEMU\0Standard PC\0"),
        structure(3, 0x300, 22, "QEMU\0"),
        structure(32, 0x2000, 11, ""),
        structure(127, 0x7f00, 4, ""),
    ]
    .concat()
}

/// A structure: kind, handle, all bytes.
type Part = (u8, u16, Vec<u8>);

/// What became of the table, and its parts by an own walk.
fn completed(table: &[u8]) -> (Table, Vec<Part>) {
    let mut bytes = table.to_vec();
    bytes.resize(table.len() + ROOM as usize, 0);
    let length = u32::try_from(table.len()).unwrap();
    let result = complete(&mut bytes, length, 0xe_2000).unwrap();
    let mut parts = Vec::new();
    let mut at = 0;
    while at < result.length as usize {
        let mut end = at + usize::from(bytes[at + 1]);
        while bytes[end..end + 2] != [0, 0] {
            end += 1;
        }
        let handle = u16::from_le_bytes([bytes[at + 2], bytes[at + 3]]);
        parts.push((bytes[at], handle, bytes[at..end + 2].to_vec()));
        at = end + 2;
    }
    assert_eq!(at, result.length as usize);
    (result, parts)
}

#[test]
fn bios_information_is_added_before_the_end() {
    let (result, parts) = completed(&table());
    let kinds: Vec<u8> = parts.iter().map(|part| part.0).collect();
    assert_eq!(kinds, [1, 3, 32, 0, 127]);
    assert_eq!(result.count, 5);
    let (_, handle, own) = &parts[3];
    assert_eq!(*handle, 0);
    assert_eq!(usize::from(result.largest), own.len());
    assert_eq!(own[6..10], [0x00, 0xf0, 3, 0]);
    let strings: Vec<&[u8]> = own[0x18..].split(|byte| *byte == 0).collect();
    assert_eq!(strings[0], b"qboot-rs");
    assert_eq!(strings[1], env!("CARGO_PKG_VERSION").as_bytes());
    assert_eq!(strings[2].len(), 10);
}

#[test]
fn bios_information_of_the_vmm_stays_alone() {
    let table = [structure(0, 0, 24, "VMM\0"), structure(127, 1, 4, "")].concat();
    let (result, parts) = completed(&table);
    assert_eq!(result.count, 2);
    assert_eq!(parts[0].2, table[..table.len() - 6]);
}

#[test]
fn a_taken_handle_is_not_taken_twice() {
    let table = [structure(1, 0, 8, ""), structure(2, 0x7f05, 8, "")].concat();
    let (_, parts) = completed(&table);
    let handles: Vec<u16> = parts.iter().map(|part| part.1).collect();
    assert_eq!(handles, [0, 0x7f05, 0x7f06, 0x7f07]);
}

#[test]
fn an_empty_table_gets_both() {
    let (result, parts) = completed(&[]);
    assert_eq!(result.count, 2);
    assert_eq!((parts[0].0, parts[1].0), (0, 127));
}

#[test]
fn both_anchors_point_and_add_up() {
    let table = Table {
        address: 0xe_2000,
        length: 0x345,
        count: 9,
        largest: 0x50,
    };
    let mut old = anchor_21(7);
    point(&mut old, &table).unwrap();
    assert_eq!(old[22..30], [0x45, 3, 0x00, 0x20, 0x0e, 0, 9, 0]);
    assert_eq!(old[8..10], [0x50, 0]);
    assert_eq!((checksum::sum(&old), checksum::sum(&old[16..])), (0, 0));
    let mut new = anchor_30(7);
    point(&mut new, &table).unwrap();
    assert_eq!(
        new[12..24],
        [0x45, 3, 0, 0, 0x00, 0x20, 0x0e, 0, 0, 0, 0, 0]
    );
    assert_eq!(checksum::sum(&new), 0);
}

#[test]
fn anchors_that_are_none_have_their_sentence() {
    let mut magic = anchor_21(7);
    magic[3] = b'x';
    let mut length = anchor_21(7);
    length[5] = 30;
    let mut intermediate = anchor_21(7);
    intermediate[16] = 0;
    let mut new = anchor_30(7);
    new[6] = 31;
    for (anchor, found) in [
        (magic, "0x784d535f in 31"),
        (length, "0x5f4d535f in 31"),
        (intermediate, "0x5f4d535f in 31"),
        (new, "0x334d535f in 24"),
        (anchor_21(7)[..30].to_vec(), "0x5f4d535f in 30"),
        (vec![], "0x0 in 0"),
    ] {
        assert_eq!(
            declared_length(&anchor).unwrap_err().to_string(),
            format!(
                "SMBIOS anchor: expected _SM_ and _DMI_ in 31 bytes or _SM3_ in 24, found {found}"
            )
        );
    }
    assert_eq!(declared_length(&anchor_21(0x1234)), Ok(0x1234));
    assert_eq!(declared_length(&anchor_30(0x12_3456)), Ok(0x12_3456));
}

#[test]
fn structures_that_lie_have_their_sentence() {
    let whole = table();
    for (bytes, offset) in [
        (&whole[..3], 0),
        (&whole[..40], 0),
        (&[1, 3, 0, 0, 0, 0][..], 0),
        (&[1, 0xff, 0, 0, 0, 0][..], 0),
        (&whole[..whole.len() - 1], whole.len() - 6),
    ] {
        let error = walk(bytes).unwrap_err();
        assert_eq!(error, SmbiosError::Structure { offset });
    }
    assert_eq!(
        SmbiosError::Structure { offset: 64 }.to_string(),
        "SMBIOS structure at 0x40: expected its end in the table, found none"
    );
}

#[test]
fn a_table_too_long_for_a_21_anchor_is_refused() {
    let table = Table {
        address: 0xe_2000,
        length: 0x1_0000,
        count: 9,
        largest: 0x50,
    };
    let error = point(&mut anchor_21(7), &table).unwrap_err();
    assert_eq!(
        error.to_string(),
        "SMBIOS table: expected at most 65535 bytes, found 65536"
    );
    assert!(point(&mut anchor_30(7), &table).is_ok());
}

proptest! {
    /// Whatever structures the VMM gives, they stay as they are, and type 0 and the end are there.
    #[test]
    fn every_table_is_completed(
        structures in proptest::collection::vec(
            (1u8..127, 1u16..0x7000, 4u8..60, "([a-z]{1,9}\0){0,4}"), 0..12)
    ) {
        let given: Vec<Vec<u8>> = structures
            .iter()
            .map(|(kind, handle, length, strings)| structure(*kind, *handle, *length, strings))
            .collect();
        let (result, parts) = completed(&given.concat());
        let found: Vec<Vec<u8>> = parts.iter().map(|part| part.2.clone()).collect();
        prop_assert_eq!(&found[..given.len()], &given[..]);
        prop_assert_eq!(parts.len(), given.len() + 2);
        prop_assert_eq!(usize::from(result.count), parts.len());
        prop_assert_eq!(
            usize::from(result.largest),
            found.iter().map(Vec::len).max().unwrap()
        );
    }

    #[test]
    fn no_bytes_are_a_table_that_panics(
        bytes in proptest::collection::vec(prop_oneof![0u8..6, any::<u8>()], 0..200),
        declared in 0u32..300,
    ) {
        let mut bytes = bytes;
        let _ = complete(&mut bytes, declared, 0xe_0000);
        let _ = declared_length(&bytes[..bytes.len().min(31)]);
    }
}
