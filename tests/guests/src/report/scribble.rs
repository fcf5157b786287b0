// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random accesses to the registers of devices, for as long as the machine goes on.
//!
//! In: places, as words of the command line: `p20-21` for ports, `m<first>-<last>` for memory. A
//! device may reset the machine, or write over this program; then the machine starts again, and the
//! time-stamp counter makes it another sequence.

// Numbers are cut to what an access or an index takes.
#![allow(clippy::cast_possible_truncation)]

use core::arch::asm;

const MOST_PLACES: usize = 64;

/// Where a string instruction reads from and writes to.
static mut BUFFER: [u8; 64] = [0; 64];

/// The registers of a device.
#[derive(Clone, Copy, Default)]
struct Place {
    memory: bool,
    first: u64,
    last: u64,
}

impl Place {
    fn parse(word: &str) -> Option<Self> {
        let (first, last) = word.get(1..)?.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some(Self {
            memory: word.starts_with('m'),
            first: number(first)?,
            last: number(last)?,
        })
    }
}

/// Marsaglia's xorshift: every state but 0 comes before it comes again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// What registers take more often than most numbers.
    fn value(&mut self) -> u64 {
        match self.next() % 4 {
            0 => self.next() % 16,
            1 => 1 << (self.next() % 64),
            2 => u64::MAX,
            _ => self.next(),
        }
    }
}

/// Accesses the places of `words`, which are separated by commas, and does not return.
pub fn at(words: &str, seed: u64) -> ! {
    let mut places = [Place::default(); MOST_PLACES];
    let mut count = 0;
    for (place, word) in places
        .iter_mut()
        .zip(words.split(',').filter_map(Place::parse))
    {
        *place = word;
        count += 1;
    }
    let mut random = Random(seed | 1);
    loop {
        let place = places[random.next() as usize % count.max(1)];
        let address = place.first + random.next() % (place.last - place.first + 1);
        let width = random.next() % 4;
        let write = !random.next().is_multiple_of(4);
        let value = random.value();
        if place.memory {
            memory(address, width, write, value);
        } else {
            port(address as u16, width, write, value);
        }
    }
}

/// One access of 1, 2, 4 or 8 bytes.
#[allow(clippy::multiple_unsafe_ops_per_block)] // of which one runs
fn memory(address: u64, width: u64, write: bool, value: u64) {
    // SAFETY: the address is a device's, which the guest owns.
    unsafe {
        match (width, write) {
            (0, true) => asm!("mov [{}], {:l}", in(reg) address, in(reg_abcd) value),
            (1, true) => asm!("mov [{}], {:x}", in(reg) address, in(reg) value),
            (2, true) => asm!("mov [{}], {:e}", in(reg) address, in(reg) value),
            (_, true) => asm!("mov [{}], {}", in(reg) address, in(reg) value),
            (0, false) => asm!("mov {:l}, [{}]", out(reg_abcd) _, in(reg) address),
            (1, false) => asm!("mov {:x}, [{}]", out(reg) _, in(reg) address),
            (2, false) => asm!("mov {:e}, [{}]", out(reg) _, in(reg) address),
            (_, false) => asm!("mov {}, [{}]", out(reg) _, in(reg) address),
        }
    }
}

/// One access of 1, 2 or 4 bytes, or of several bytes one after the other.
#[allow(clippy::multiple_unsafe_ops_per_block)] // of which one runs
fn port(port: u16, width: u64, write: bool, value: u64) {
    let buffer = &raw mut BUFFER;
    // SAFETY: the port is a device's; the buffer has room for the count.
    unsafe {
        match (width, write) {
            (0, true) => asm!("out dx, al", in("dx") port, in("rax") value),
            (1, true) => asm!("out dx, ax", in("dx") port, in("rax") value),
            (2, true) => asm!("out dx, eax", in("dx") port, in("rax") value),
            (_, true) => asm!(
                "rep outsb", in("dx") port, inout("rcx") value % 64 => _, inout("rsi") buffer => _
            ),
            (0, false) => asm!("in al, dx", in("dx") port, out("rax") _),
            (1, false) => asm!("in ax, dx", in("dx") port, out("rax") _),
            (2, false) => asm!("in eax, dx", in("dx") port, out("rax") _),
            (_, false) => asm!(
                "rep insb", in("dx") port, inout("rcx") value % 64 => _, inout("rdi") buffer => _
            ),
        }
    }
}
