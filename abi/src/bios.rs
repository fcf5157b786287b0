// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a PC BIOS keeps in low memory for its real-mode services: the BIOS data area and the
//! extended one.
//!
//! Spec: IBM PS/2 and PC BIOS Interface Technical Reference, section 3 (data areas). The extended
//! area is the BIOS's own business; only its first byte is agreed upon.

use crate::e820::{E820Entry, MAX_ENTRIES};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Segment of the BIOS data area.
pub const BDA_SEGMENT: u16 = 0x40;

/// Offset in the BIOS data area of the keyboard buffer.
pub const KEY_BUFFER_START: u16 = 0x1e;
/// Offset in the BIOS data area behind the keyboard buffer.
pub const KEY_BUFFER_END: u16 = 0x3e;

/// Timer interrupts in a day: 1,193,182 Hz / 65,536, for 24 hours.
pub const TICKS_A_DAY: u32 = 0x18_00b0;

/// The BIOS data area: the fields our services use or programs look at, zeros between them.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Bda {
    /// 0x00: I/O ports of COM1 to COM4, or 0.
    pub com_ports: [U16; 4],
    /// 0x08: I/O ports of LPT1 to LPT3, or 0.
    pub lpt_ports: [U16; 3],
    /// 0x0e: segment of the extended BIOS data area.
    pub ebda_segment: U16,
    /// 0x10: equipment word, the answer of int 11h.
    pub equipment: U16,
    /// 0x12: manufacturing test.
    pub unused_12: u8,
    /// 0x13: conventional memory in KiB, the answer of int 12h.
    pub base_memory_kib: U16,
    /// 0x15: unused here.
    pub unused_15: [u8; 2],
    /// 0x17: keyboard shift flags.
    pub shift_flags: U16,
    /// 0x19: digits typed with Alt.
    pub alt_digits: u8,
    /// 0x1a: offset of the next key in the keyboard buffer.
    pub key_head: U16,
    /// 0x1c: offset of the next free place in the keyboard buffer.
    pub key_tail: U16,
    /// 0x1e: the keyboard buffer; each key is a scan code in the high byte, a character in the low.
    pub keys: [U16; 16],
    /// 0x3e: diskette data.
    pub unused_3e: [u8; 0x49 - 0x3e],
    /// 0x49: video mode.
    pub video_mode: u8,
    /// 0x4a: columns on the screen.
    pub columns: U16,
    /// 0x4c: size of a page in bytes.
    pub page_size: U16,
    /// 0x4e: offset of the page shown.
    pub page_offset: U16,
    /// 0x50: cursor of the only page: column in the low byte, row in the high.
    pub cursor: U16,
    /// 0x52: cursors of pages we do not have.
    pub unused_52: [U16; 5],
    /// 0x5c: a character that stands at the cursor and has not been sent yet, or 0; others keep the
    /// cursor of page 6 there.
    pub pending: U16,
    /// 0x5e: where the terminal's own cursor stands; others keep the cursor of page 7 there.
    pub terminal: U16,
    /// 0x60: shape of the cursor.
    pub cursor_shape: U16,
    /// 0x62: page shown.
    pub page: u8,
    /// 0x63: I/O port of the CRT controller.
    pub crt_port: U16,
    /// 0x65: CRT mode register and palette.
    pub crt_mode: [u8; 2],
    /// 0x67: unused here.
    pub unused_67: [u8; 0x6c - 0x67],
    /// 0x6c: timer interrupts since midnight.
    pub ticks: U32,
    /// 0x70: nonzero once the ticks have passed midnight.
    pub midnight: u8,
    /// 0x71: break, reset and disk flags.
    pub unused_71: [u8; 0x78 - 0x71],
    /// 0x78: time-outs of LPT1 to LPT4.
    pub lpt_timeouts: [u8; 4],
    /// 0x7c: time-outs of COM1 to COM4.
    pub com_timeouts: [u8; 4],
    /// 0x80: offset of the keyboard buffer.
    pub key_buffer_start: U16,
    /// 0x82: offset behind the keyboard buffer.
    pub key_buffer_end: U16,
    /// 0x84: rows on the screen less one.
    pub last_row: u8,
    /// 0x85: height of a character.
    pub character_height: U16,
    /// 0x87: unused here.
    pub unused_87: [u8; 0x96 - 0x87],
    /// 0x96: keyboard type; 0x10: with 101 keys.
    pub keyboard_type: u8,
    /// 0x97: unused here.
    pub unused_97: [u8; 0x100 - 0x97],
}

const _: () = assert!(size_of::<Bda>() == 0x100);
const _: () = assert!(core::mem::offset_of!(Bda, ebda_segment) == 0x0e);
const _: () = assert!(core::mem::offset_of!(Bda, keys) == KEY_BUFFER_START as usize);
const _: () = assert!(core::mem::offset_of!(Bda, video_mode) == 0x49);
const _: () = assert!(core::mem::offset_of!(Bda, terminal) == 0x5e);
const _: () = assert!(core::mem::offset_of!(Bda, crt_port) == 0x63);
const _: () = assert!(core::mem::offset_of!(Bda, ticks) == 0x6c);
const _: () = assert!(core::mem::offset_of!(Bda, key_buffer_start) == 0x80);
const _: () = assert!(core::mem::offset_of!(Bda, keyboard_type) == 0x96);

/// The extended BIOS data area: what the resident services know and keep.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ebda {
    /// 0x00: size of the area in KiB.
    pub size_kib: u8,
    /// 0x01: where other BIOSes keep mouse and disk data.
    pub unused_01: [u8; 0x3f],
    /// 0x40: entries of `e820`.
    pub e820_entries: U16,
    /// 0x42: RAM from 1 MiB on in KiB, at most 63 MiB: the answer of int 15h, AH=88h.
    pub extended_kib: U16,
    /// 0x44: RAM from 1 MiB to 16 MiB in KiB (int 15h, AX=E801h).
    pub below_16m_kib: U16,
    /// 0x46: RAM from 16 MiB on in units of 64 KiB (int 15h, AX=E801h).
    pub above_16m_64k: U16,
    /// 0x48: unused.
    pub unused_48: [u8; 8],
    /// 0x50: the memory map (int 15h, AX=E820h).
    pub e820: [E820Entry; MAX_ENTRIES],
}

const _: () = assert!(core::mem::offset_of!(Ebda, e820_entries) == 0x40);
const _: () = assert!(core::mem::offset_of!(Ebda, e820) == 0x50);
