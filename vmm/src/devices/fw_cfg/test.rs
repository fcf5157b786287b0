// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device as a guest sees it: every port, every width, every DMA control word.

#![allow(clippy::cast_possible_truncation)] // the values are the test's own, and fit

use super::*;
use abi::fw_cfg::{DmaControl, DmaDescriptor};
use std::io::Write;
use vmm_sys_util::tempfile::TempFile;
use zerocopy::IntoBytes;

/// An item of ten bytes, and one behind a host file.
const TEN: Key = Key(0x42);
const FILE: Key = Key(0x43);
const RAM: u64 = 0x1_0000;
const TOP: u64 = 0xffff_0000;
const HIGH: u64 = 0x1_0000_0000;
const BUFFER: u64 = 0x4000;
const DESCRIPTOR: u64 = 0x2000;

struct Bench {
    device: FwCfg,
    memory: Memory,
}

/// RAM from 0, a ROM right below 4 GiB, and RAM right above it.
fn bench() -> Bench {
    let memory =
        Memory::from_ranges(&[(0, RAM as usize), (TOP, 0x1_0000), (HIGH, 0x1_0000)]).unwrap();
    let temp = TempFile::new().unwrap();
    temp.as_file().write_all(b"header:file content").unwrap();
    let mut items = Items::new();
    items.set(TEN, b"0123456789".to_vec());
    items.set(
        FILE,
        Content::File {
            file: temp.into_file().into(),
            offset: 7,
            size: 12,
        },
    );
    items.set(Key::NB_CPUS, Content::u16(3));
    items.set(Key::IRQ0_OVERRIDE, Content::u32(1));
    items.add_file("etc/e820", vec![1, 2, 3]).unwrap();
    let device = FwCfg::new(items, Some(memory.clone())).unwrap();
    Bench { device, memory }
}

impl Bench {
    fn select(&mut self, key: Key) {
        self.device.write(SELECTOR, &key.0.to_le_bytes());
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count)
            .map(|_| {
                let mut byte = [0xaa];
                self.device.read(DATA, &mut byte);
                byte[0]
            })
            .collect()
    }

    fn read(&mut self, offset: u16, width: usize) -> Vec<u8> {
        let mut data = vec![0xaa; width];
        self.device.read(offset, &mut data);
        data
    }

    /// Puts a descriptor into memory and starts it; gives the control word the device left.
    fn dma_at(&mut self, at: u64, control: u32, length: u32, address: u64) -> u32 {
        let descriptor = DmaDescriptor {
            control: control.into(),
            length: length.into(),
            address: address.into(),
        };
        self.memory.write(at, descriptor.as_bytes()).unwrap();
        self.device
            .write(DMA_HIGH, &((at >> 32) as u32).to_be_bytes());
        self.device.write(DMA_LOW, &(at as u32).to_be_bytes());
        let mut word = [0; 4];
        self.memory.read(at, &mut word).unwrap();
        u32::from_be_bytes(word)
    }

    fn dma(&mut self, control: u32, length: u32, address: u64) -> u32 {
        self.dma_at(DESCRIPTOR, control, length, address)
    }

    fn memory(&self, address: u64, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.memory.read(address, &mut bytes).unwrap();
        bytes
    }
}

const OK: u32 = 0;
const ERROR: u32 = 1;
const READ: DmaControl = DmaControl::READ;
const SKIP: DmaControl = DmaControl::SKIP;
const WRITE: DmaControl = DmaControl::WRITE;

#[test]
fn power_on_selects_the_signature() {
    assert_eq!(bench().bytes(4), b"QEMU");
}

#[test]
fn features_tell_whether_there_is_dma() {
    let mut with = bench();
    with.select(Key::ID);
    assert_eq!(with.bytes(4), [3, 0, 0, 0]);
    let mut without = FwCfg::new(Items::new(), None).unwrap();
    without.write(SELECTOR, &Key::ID.0.to_le_bytes());
    let mut id = [0xaa; 4];
    without.read_string(DATA, 1, &mut id);
    assert_eq!(id, [1, 0, 0, 0]);
    let mut signature = [0; 8];
    without.read(DMA_HIGH, &mut signature);
    assert_eq!(signature, [0xff; 8]);
    without.write(DMA_LOW, &[0; 4]);
}

#[test]
fn the_dma_register_reads_as_its_signature_at_every_width() {
    let mut bench = bench();
    for width in [1, 2, 4, 8] {
        for start in (0..8).step_by(width) {
            assert_eq!(
                bench.read(DMA_HIGH + start as u16, width),
                b"QEMU CFG"[start..start + width]
            );
        }
    }
    assert_eq!(
        u32::from_le_bytes(bench.read(DMA_HIGH, 4).try_into().unwrap()),
        0x554d_4551
    );
    assert_eq!(
        u32::from_le_bytes(bench.read(DMA_LOW, 4).try_into().unwrap()),
        0x4746_4320
    );
}

#[test]
fn past_the_end_come_zeros_for_ever() {
    let mut bench = bench();
    bench.select(TEN);
    assert_eq!(bench.bytes(14), b"0123456789\0\0\0\0");
    bench.select(TEN);
    assert_eq!(bench.bytes(2), b"01");
}

#[test]
fn both_byte_ports_give_the_next_byte() {
    let mut bench = bench();
    bench.select(TEN);
    assert_eq!(bench.read(SELECTOR, 1), b"0");
    assert_eq!(bench.read(DATA, 1), b"1");
}

#[test]
fn unknown_keys_read_as_zeros_and_the_write_channel_bit_is_ignored() {
    let mut bench = bench();
    for key in [0x06, 0x21, 0x3fff, 0x8003, 0xffff] {
        bench.select(Key(key));
        assert_eq!(bench.bytes(3), [0; 3], "{key:#x}");
    }
    bench.select(Key(TEN.0 | Key::WRITE_CHANNEL));
    assert_eq!(bench.bytes(2), b"01");
    bench.select(Key::IRQ0_OVERRIDE);
    assert_eq!(bench.bytes(4), [1, 0, 0, 0]);
}

#[test]
fn every_width_on_every_port_reads_something_defined() {
    // What the whole register block reads as while `TEN` is selected, a byte at a time.
    for offset in 0..PORT_COUNT {
        for width in [1usize, 2, 4, 8] {
            let mut bench = bench();
            bench.select(TEN);
            let expected: Vec<u8> = (offset..)
                .take(width)
                .map(|port| match port {
                    _ if offset == 0 && width > 1 => 0,
                    0 | 1 => b'0',
                    4..=11 => b"QEMU CFG"[usize::from(port - 4)],
                    _ => 0xff,
                })
                .collect();
            assert_eq!(
                bench.read(offset, width),
                expected,
                "offset {offset} width {width}"
            );
        }
    }
}

#[test]
fn a_wide_read_of_the_first_register_does_not_advance() {
    let mut bench = bench();
    bench.select(TEN);
    assert_eq!(bench.read(SELECTOR, 2), [0, 0]);
    assert_eq!(bench.read(DATA, 2), [b'0', 0xff]);
    assert_eq!(bench.bytes(1), b"1");
}

#[test]
fn only_a_16_bit_write_at_the_selector_selects() {
    for offset in 0..PORT_COUNT {
        for width in [1usize, 2, 4, 8] {
            let mut bench = bench();
            bench.select(TEN);
            bench.bytes(1);
            let mut data = [0; 8];
            data[..2].copy_from_slice(&Key::SIGNATURE.0.to_le_bytes());
            bench.device.write(offset, &data[..width]);
            let selects = offset == SELECTOR && width == 2;
            let expected = if selects { b"QE" } else { b"12" };
            assert_eq!(bench.bytes(2), expected, "offset {offset} width {width}");
        }
    }
    bench().device.write(SELECTOR, &[]);
}

#[test]
fn only_the_three_defined_writes_start_dma() {
    for offset in 0..PORT_COUNT {
        for width in [1usize, 2, 4, 8] {
            let mut bench = bench();
            // A descriptor at address 0, and zeros as its address in whatever width.
            let select_ten = DmaDescriptor {
                control: DmaControl::empty().with_key(TEN).into(),
                length: 0.into(),
                address: 0.into(),
            };
            bench.memory.write(0, select_ten.as_bytes()).unwrap();
            bench.device.write(offset, &[0; 8][..width]);
            let ran = bench.memory(0, 4) == [0; 4];
            let expected = (offset, width) == (DMA_LOW, 4) || (offset, width) == (DMA_HIGH, 8);
            assert_eq!(ran, expected, "offset {offset} width {width}");
        }
    }
}

#[test]
fn a_string_read_is_as_many_single_reads() {
    for key in [TEN, FILE] {
        let mut one = bench();
        let mut many = bench();
        one.select(key);
        many.select(key);
        let mut data = [0xaa; 17];
        many.device.read_string(DATA, 1, &mut data[..4]);
        many.device.read_string(DATA, 1, &mut data[4..]);
        assert_eq!(one.bytes(17), data);
    }
    let mut wide = bench();
    let mut data = [0; 6];
    wide.device.read_string(DATA, 2, &mut data);
    assert_eq!(data, [b'Q', 0xff, b'E', 0xff, b'M', 0xff]);
}

#[test]
fn an_item_behind_a_file_reads_as_its_part_of_the_file() {
    let mut bench = bench();
    bench.select(FILE);
    assert_eq!(bench.bytes(14), b"file content\0\0");
    assert_eq!(bench.dma(READ.with_key(FILE), 14, BUFFER), OK);
    assert_eq!(bench.memory(BUFFER, 14), b"file content\0\0");
    assert!(bench.device.host_error().is_none());
}

#[test]
fn an_item_of_several_parts_has_zeros_between_them() {
    let temp = TempFile::new().unwrap();
    temp.as_file().write_all(b"header:file").unwrap();
    let file = || Content::File {
        file: temp.as_file().try_clone().unwrap().into(),
        offset: 7,
        size: 4,
    };
    let joined = || {
        let mut joined = Joined::default();
        joined.put(1, b"one".to_vec()).unwrap();
        joined.put(4, Vec::new()).unwrap();
        joined.put(4, file()).unwrap();
        joined.put(10, b"three".to_vec()).unwrap();
        joined.pad(17);
        joined.pad(3);
        joined
    };
    const WHOLE: &[u8; 20] = b"\0onefile\0\0three\0\0\0\0\0";
    for start in 0..18 {
        for length in [0, 1, 2, 3, 5, 9, 20] {
            let memory = Memory::from_ranges(&[(0, 0x1_0000)]).unwrap();
            let mut items = Items::new();
            items.set(TEN, joined());
            let device = FwCfg::new(items, Some(memory.clone())).unwrap();
            let mut bench = Bench { device, memory };
            let mut expected = [0; 20];
            let rest = &WHOLE[start..];
            let there = rest.len().min(length);
            expected[..there].copy_from_slice(&rest[..there]);
            bench.select(TEN);
            bench.bytes(start);
            assert_eq!(bench.bytes(length), expected[..length], "{start} {length}");
            bench.select(TEN);
            bench.dma(SKIP.bits(), start as u32, 0);
            let mut bytes = vec![0xaa; length];
            bench.device.read_string(DATA, 1, &mut bytes);
            assert_eq!(bytes, expected[..length], "{start} {length}");
            bench.select(TEN);
            bench.dma(SKIP.bits(), start as u32, 0);
            bench.memory.write(BUFFER, &[0xaa; 24]).unwrap();
            assert_eq!(bench.dma(READ.bits(), length as u32, BUFFER), OK);
            assert_eq!(bench.memory(BUFFER, length), expected[..length]);
            assert_eq!(bench.memory(BUFFER + length as u64, 1), [0xaa]);
        }
    }
}

#[test]
fn parts_are_joined_in_their_order_and_below_4_gib() {
    let mut joined = Joined::default();
    joined.put(4, vec![1; 4]).unwrap();
    assert!(joined.put(7, vec![1]).is_none());
    assert!(joined.put(u32::MAX, vec![1]).is_none());
    assert_eq!(joined.size(), 8);
    joined.put(u32::MAX - 1, vec![1]).unwrap();
    assert_eq!(joined.size(), u32::MAX);
}

#[test]
fn a_file_that_shrank_is_an_error_on_both_paths_and_is_remembered() {
    let temp = TempFile::new().unwrap();
    temp.as_file().write_all(b"short").unwrap();
    let memory = Memory::from_ranges(&[(0, 0x1_0000)]).unwrap();
    let mut items = Items::new();
    items.set(
        FILE,
        Content::File {
            file: temp.into_file().into(),
            offset: 0,
            size: 50,
        },
    );
    let device = FwCfg::new(items, Some(memory.clone())).unwrap();
    let mut bench = Bench { device, memory };
    bench.select(FILE);
    assert_eq!(bench.bytes(1), [0]);
    assert!(bench.device.host_error().is_some());
    assert_eq!(bench.dma(READ.with_key(FILE), 50, BUFFER), ERROR);
}

#[test]
fn every_control_word_does_what_the_priorities_say() {
    for bits in 0..32u32 {
        let mut bench = bench();
        bench.select(TEN);
        bench.bytes(1);
        bench.memory.write(BUFFER, b"....").unwrap();
        let key = Key::NB_CPUS;
        let control = bits | u32::from(key.0) << 16;
        let flags = DmaControl::from_bits_truncate(bits);
        let status = bench.dma(control, 2, BUFFER);

        let selected = flags.contains(DmaControl::SELECT);
        let (reads, writes) = (flags.contains(READ), flags.contains(WRITE));
        let skips = flags.contains(SKIP) && !reads && !writes;
        assert_eq!(
            status,
            if writes && !reads { ERROR } else { OK },
            "control {bits:#x}"
        );
        let item: &[u8] = if selected { &[3, 0] } else { b"123456789" };
        let expected = if reads {
            [item[0], item[1], b'.', b'.']
        } else {
            *b"...."
        };
        assert_eq!(bench.memory(BUFFER, 4), expected, "control {bits:#x}");
        let moved = if reads || skips { 2 } else { 0 };
        let next = item.get(moved).copied().unwrap_or(0);
        assert_eq!(bench.bytes(1), [next], "control {bits:#x}");
    }
}

#[test]
fn bits_without_a_meaning_are_ignored() {
    let mut bench = bench();
    assert_eq!(bench.dma(READ.with_key(TEN) | 0xffe0, 2, BUFFER), OK);
    assert_eq!(bench.memory(BUFFER, 2), b"01");
}

#[test]
fn dma_and_the_data_register_share_one_position() {
    let mut bench = bench();
    bench.select(TEN);
    assert_eq!(bench.bytes(2), b"01");
    assert_eq!(bench.dma(READ.bits(), 3, BUFFER), OK);
    assert_eq!(bench.memory(BUFFER, 3), b"234");
    assert_eq!(bench.dma(SKIP.bits(), 2, 0), OK);
    assert_eq!(bench.bytes(2), b"78");
    assert_eq!(bench.dma(SKIP.bits(), u32::MAX, 0), OK);
    assert_eq!(bench.bytes(1), [0]);
}

#[test]
fn a_read_past_the_end_fills_with_zeros() {
    let mut bench = bench();
    bench.memory.write(BUFFER, &[0xee; 16]).unwrap();
    assert_eq!(bench.dma(READ.with_key(TEN), 14, BUFFER), OK);
    assert_eq!(bench.memory(BUFFER, 16), b"0123456789\0\0\0\0\xee\xee");
    assert_eq!(bench.dma(READ.with_key(Key(0x3000)), 4, BUFFER), OK);
    assert_eq!(bench.memory(BUFFER, 4), [0; 4]);
}

#[test]
fn a_write_of_nothing_succeeds_and_any_other_is_refused() {
    let mut bench = bench();
    assert_eq!(bench.dma(WRITE.with_key(TEN), 0, BUFFER), OK);
    assert_eq!(bench.dma(WRITE.with_key(TEN), 1, BUFFER), ERROR);
    assert_eq!(bench.dma(WRITE.with_key(Key(0x3000)), 10, BUFFER), ERROR);
    bench.select(TEN);
    assert_eq!(bench.bytes(10), b"0123456789");
}

#[test]
fn a_buffer_that_is_not_all_memory_is_an_error_and_nothing_is_written() {
    for (length, address) in [
        (4, RAM - 2),
        (1, RAM),
        (u32::MAX, 0),
        (16, HIGH + 0x1_0000 - 8),
        (8, u64::MAX - 3),
        (1, u64::MAX),
        (4, 0x8000_0000_0000_0000),
    ] {
        let mut bench = bench();
        let before = bench.memory(RAM - 16, 16);
        assert_eq!(
            bench.dma(READ.with_key(TEN), length, address),
            ERROR,
            "{address:#x}"
        );
        assert_eq!(bench.memory(RAM - 16, 16), before);
        // The selection took place; the position did not move.
        assert_eq!(bench.bytes(1), b"0");
    }
}

#[test]
fn a_read_of_nothing_needs_no_memory() {
    assert_eq!(bench().dma(READ.with_key(TEN), 0, u64::MAX), OK);
}

#[test]
fn a_buffer_may_cross_from_the_rom_into_ram_above_4_gib() {
    let mut bench = bench();
    assert_eq!(bench.dma(READ.with_key(TEN), 10, HIGH - 5), OK);
    assert_eq!(bench.memory(HIGH - 5, 10), b"0123456789");
}

#[test]
fn descriptors_work_at_odd_addresses_at_the_end_of_ram_in_the_rom_and_above_4_gib() {
    for at in [
        0,
        1,
        0x2003,
        RAM - 16,
        TOP,
        HIGH - 16,
        HIGH - 7,
        HIGH,
        HIGH + 0xfff0,
    ] {
        let mut bench = bench();
        assert_eq!(
            bench.dma_at(at, READ.with_key(TEN), 3, BUFFER),
            OK,
            "{at:#x}"
        );
        assert_eq!(bench.memory(BUFFER, 3), b"012", "{at:#x}");
    }
}

#[test]
fn a_descriptor_cut_off_by_the_end_of_ram_gets_its_error_where_there_is_room() {
    let mut bench = bench();
    for at in [RAM - 15, RAM - 4] {
        bench.device.write(DMA_LOW, &(at as u32).to_be_bytes());
        assert_eq!(bench.memory(at, 4), [0, 0, 0, 1], "{at:#x}");
    }
    for at in [RAM - 3, RAM - 1, RAM, 0x8000_0000] {
        bench.device.write(DMA_LOW, &(at as u32).to_be_bytes());
    }
    bench.device.write(DMA_HIGH, &[0xff; 4]);
    bench.device.write(DMA_LOW, &[0xff; 4]);
    assert_eq!(bench.bytes(4), b"QEMU");
}

#[test]
fn the_descriptor_may_overwrite_itself() {
    let mut bench = bench();
    // The data lands on the descriptor; the status is written last.
    assert_eq!(bench.dma(READ.with_key(TEN), 10, DESCRIPTOR), OK);
    assert_eq!(bench.memory(DESCRIPTOR, 10), b"\0\0\0\x00456789");
}

#[test]
fn the_address_is_forgotten_after_every_operation() {
    let mut bench = bench();
    assert_eq!(bench.dma_at(HIGH, READ.with_key(TEN), 1, BUFFER), OK);
    let select_id = DmaDescriptor {
        control: DmaControl::empty().with_key(Key::ID).into(),
        length: 0.into(),
        address: 0.into(),
    };
    bench
        .memory
        .write(DESCRIPTOR, select_id.as_bytes())
        .unwrap();
    bench
        .device
        .write(DMA_LOW, &(DESCRIPTOR as u32).to_be_bytes());
    assert_eq!(bench.bytes(4), [3, 0, 0, 0]);
    // Also after one that failed.
    bench.device.write(DMA_HIGH, &[0xff; 4]);
    bench.device.write(DMA_LOW, &[0; 4]);
    bench
        .memory
        .write(DESCRIPTOR, select_id.as_bytes())
        .unwrap();
    bench
        .device
        .write(DMA_LOW, &(DESCRIPTOR as u32).to_be_bytes());
    assert_eq!(bench.bytes(1), [3]);
}

#[test]
fn a_reset_forgets_selection_position_and_address() {
    let mut bench = bench();
    bench.select(TEN);
    bench.bytes(3);
    bench.device.write(DMA_HIGH, &[0xff; 4]);
    bench.device.reset();
    assert_eq!(bench.bytes(2), b"QE");
    let select_id = DmaDescriptor {
        control: DmaControl::empty().with_key(Key::ID).into(),
        length: 0.into(),
        address: 0.into(),
    };
    bench
        .memory
        .write(DESCRIPTOR, select_id.as_bytes())
        .unwrap();
    bench
        .device
        .write(DMA_LOW, &(DESCRIPTOR as u32).to_be_bytes());
    assert_eq!(bench.bytes(1), [3]);
}

#[test]
fn random_accesses_never_panic() {
    // A linear congruential generator: the same accesses every time.
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let mut bench = bench();
    for _ in 0..200_000 {
        let (kind, offset, width) = (next() % 8, (next() % 12) as u16, 1 << (next() % 4));
        let mut data = [0; 8];
        data[..4].copy_from_slice(&next().to_le_bytes());
        data[4..].copy_from_slice(&next().to_be_bytes());
        match kind {
            0 => bench.device.read(offset, &mut data[..width]),
            1 => bench.device.write(offset, &data[..width]),
            2 => bench.device.read_string(offset, width, &mut data),
            _ => {
                let at = [0, DESCRIPTOR, RAM - 16, HIGH][next() as usize % 4];
                let address =
                    [0, BUFFER, RAM - 4, TOP, HIGH - 2, u64::MAX - 8][next() as usize % 6];
                let length = [0, 1, 5, 100, u32::MAX][next() as usize % 5];
                let status = bench.dma_at(at, next() & 0x0043_001f, length, address);
                assert!(status <= ERROR || address < RAM, "{status:#x}");
            }
        }
    }
}
