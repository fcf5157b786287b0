// SPDX-License-Identifier: MIT OR Apache-2.0
//! An I/O APIC: pins that become messages to local APICs.
//!
//! Spec: Intel 82093AA data sheet, section 3; version 0x20 and its EOI register as in the Intel
//! ICH data sheets and QEMU. In: register accesses, levels of pins, ends of interrupts. Out:
//! messages to send now, and what an edge on each pin means, for those edges that KVM takes.
//!
//! | offset | bits | register |
//! |-------:|-----:|----------|
//! | 0x00 | 8 | select: which register the window shows |
//! | 0x10 | 32 | window |
//! | 0x40 | 32 | end of interrupt: a vector; write only |
//!
//! An edge on a masked pin is "ignored (i.e., not delivered or held pending)". Polarity changes
//! nothing: a pin is high when its device asserts it.

use abi::layout::LOCAL_APIC_ADDR;

/// Pins.
pub const PINS: u32 = 24;
const PIN_COUNT: usize = PINS as usize;

const SELECT: u64 = 0x00;
const WINDOW: u64 = 0x10;
const END_OF_INTERRUPT: u64 = 0x40;

const ID: u8 = 0;
const VERSION: u8 = 1;
const ARBITRATION: u8 = 2;
/// The redirection table: two registers a pin.
const TABLE: u8 = 0x10;

/// Bits 27:24 of the ID and arbitration registers.
const ID_MASK: u32 = 0x0f00_0000;
/// Version 0x20, and the number of the last pin.
const VERSION_VALUE: u32 = 0x20 | (PINS - 1) << 16;

/// Redirection entry: vector, delivery mode and destination mode.
const DELIVERY: u64 = 0xfff;
/// Redirection entry: the destination is logical.
const LOGICAL: u64 = 1 << 11;
/// Redirection entry: a level was accepted and has not ended. Read only.
const REMOTE_IRR: u64 = 1 << 14;
/// Redirection entry: the pin is level-triggered.
const LEVEL: u64 = 1 << 15;
/// Redirection entry: the pin is closed.
const MASKED: u64 = 1 << 16;
/// Redirection entry: what software can set.
const WRITABLE: u64 = 0xff00_0000_0001_afff;
/// Redirection entry: where the destination begins.
const DESTINATION_SHIFT: u32 = 56;

/// Message address: the destination is logical.
const ADDRESS_LOGICAL: u32 = 1 << 2;
/// Message address: where the destination begins.
const ADDRESS_DESTINATION_SHIFT: u32 = 12;
/// Message data: vector and delivery mode.
const DATA_DELIVERY: u64 = 0x7ff;
/// Message data: assert.
const DATA_ASSERT: u32 = 1 << 14;
/// Message data: the interrupt is level-triggered.
const DATA_LEVEL: u32 = 1 << 15;

/// A message-signalled interrupt (Intel SDM, volume 3, section 11.11).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Message {
    /// Where it is written: below 4 GiB.
    pub address: u32,
    /// What is written.
    pub data: u32,
}

impl Message {
    /// Whether the local APIC will tell of the end of this interrupt.
    #[must_use]
    pub const fn is_level(self) -> bool {
        self.data & DATA_LEVEL != 0
    }
}

/// The device.
#[derive(Debug)]
pub struct IoApic {
    select: u8,
    id: u32,
    table: [u64; PIN_COUNT],
    /// Which pins are high, a bit each.
    high: u32,
}

impl Default for IoApic {
    fn default() -> Self {
        Self {
            select: 0,
            id: 0,
            table: [MASKED; PIN_COUNT],
            high: 0,
        }
    }
}

impl IoApic {
    /// What a machine reset does. The pins are as high as they were.
    pub fn reset(&mut self) {
        *self = Self {
            high: self.high,
            ..Self::default()
        };
    }

    /// A guest read. What is no register, or narrower than one, is zero.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        let value = match offset {
            SELECT => self.select.into(),
            WINDOW => self.register(self.select),
            _ => 0,
        };
        if let Ok(word) = <&mut [u8; 4]>::try_from(data) {
            *word = value.to_le_bytes();
        }
    }

    /// A guest write. What is no register, or narrower than one, takes nothing. The messages that
    /// follow go to `send`.
    pub fn write(&mut self, offset: u64, data: &[u8], send: &mut dyn FnMut(Message)) {
        let Ok(word) = <[u8; 4]>::try_from(data) else {
            return;
        };
        match offset {
            SELECT => self.select = word[0],
            WINDOW => self.set_register(self.select, u32::from_le_bytes(word), send),
            END_OF_INTERRUPT => self.end_of_interrupt(word[0], send),
            _ => {}
        }
    }

    /// A device raises or lowers pin `pin`.
    pub fn set_pin(&mut self, pin: u32, high: bool, send: &mut dyn FnMut(Message)) {
        let bit = 1u32.checked_shl(pin).unwrap_or(0);
        let rises = high && self.high & bit == 0;
        self.high = if high {
            self.high | bit
        } else {
            self.high & !bit
        };
        let Some(entry) = self.entry(pin) else { return };
        if entry & LEVEL != 0 {
            self.serve_level(pin, send);
        } else if let (true, Some(message)) = (rises, message(entry)) {
            send(message);
        }
    }

    /// A local APIC is done with `vector`, or software says so. Pins that are still high
    /// interrupt again.
    pub fn end_of_interrupt(&mut self, vector: u8, send: &mut dyn FnMut(Message)) {
        for pin in 0..PINS {
            let Some(entry) = self.entry_mut(pin) else {
                continue;
            };
            if *entry & LEVEL != 0 && entry.to_le_bytes()[0] == vector {
                *entry &= !REMOTE_IRR;
                self.serve_level(pin, send);
            }
        }
    }

    /// Whether software has opened pin `pin`.
    #[must_use]
    pub fn is_open(&self, pin: u32) -> bool {
        self.entry(pin).is_some_and(|entry| entry & MASKED == 0)
    }

    /// What an edge on pin `pin` means, if anything.
    #[must_use]
    pub fn message(&self, pin: u32) -> Option<Message> {
        self.entry(pin).and_then(message)
    }

    fn entry(&self, pin: u32) -> Option<u64> {
        self.table.get(usize::try_from(pin).ok()?).copied()
    }

    fn entry_mut(&mut self, pin: u32) -> Option<&mut u64> {
        self.table.get_mut(usize::try_from(pin).ok()?)
    }

    fn register(&self, index: u8) -> u32 {
        match index {
            // Arbitration "is loaded when the IOAPICID register is written".
            ID | ARBITRATION => self.id,
            VERSION => VERSION_VALUE,
            _ => {
                let (pin, high) = place(index);
                let entry = pin.and_then(|pin| self.entry(pin)).unwrap_or(0);
                half(entry, high)
            }
        }
    }

    fn set_register(&mut self, index: u8, value: u32, send: &mut dyn FnMut(Message)) {
        if index == ID {
            self.id = value & ID_MASK;
        }
        let (Some(pin), high) = place(index) else {
            return;
        };
        let Some(entry) = self.entry_mut(pin) else {
            return;
        };
        let mut new = if high {
            *entry & 0xffff_ffff | u64::from(value) << 32
        } else {
            *entry & !0xffff_ffff | u64::from(value)
        };
        new = new & WRITABLE | *entry & REMOTE_IRR;
        if new & LEVEL == 0 {
            // Software for versions without the EOI register ends an interrupt by making its pin
            // edge-triggered and level-triggered again.
            new &= !REMOTE_IRR;
        }
        *entry = new;
        self.serve_level(pin, send);
    }

    /// Sends the message of a level-triggered pin that is high, open and not in service.
    fn serve_level(&mut self, pin: u32, send: &mut dyn FnMut(Message)) {
        let bit = 1u32.checked_shl(pin).unwrap_or(0);
        if self.high & bit == 0 {
            return;
        }
        let Some(entry) = self.entry_mut(pin) else {
            return;
        };
        if *entry & (LEVEL | REMOTE_IRR) == LEVEL
            && let Some(message) = message(*entry)
        {
            *entry |= REMOTE_IRR;
            send(message);
        }
    }
}

/// The pin to which redirection register `index` belongs, and whether it is the upper half.
fn place(index: u8) -> (Option<u32>, bool) {
    let offset = index.checked_sub(TABLE);
    (offset.map(|offset| u32::from(offset / 2)), index & 1 != 0)
}

fn half(entry: u64, high: bool) -> u32 {
    let [a, b, c, d, e, f, g, h] = entry.to_le_bytes();
    u32::from_le_bytes(if high { [e, f, g, h] } else { [a, b, c, d] })
}

/// The message of an entry that is not masked.
fn message(entry: u64) -> Option<Message> {
    if entry & MASKED != 0 {
        return None;
    }
    let local_apics = u32::try_from(LOCAL_APIC_ADDR).unwrap_or(u32::MAX);
    let destination = half(entry >> DESTINATION_SHIFT, false);
    let mut address = local_apics | destination << ADDRESS_DESTINATION_SHIFT;
    if entry & LOGICAL != 0 {
        address |= ADDRESS_LOGICAL;
    }
    let mut data = half(entry & DELIVERY & DATA_DELIVERY, false) | DATA_ASSERT;
    if entry & LEVEL != 0 {
        data |= DATA_LEVEL;
    }
    Some(Message { address, data })
}

#[cfg(test)]
mod test {
    use super::*;

    /// An I/O APIC as the guest sees it, and what it has sent.
    #[derive(Default)]
    struct Bench {
        chip: IoApic,
        sent: Vec<Message>,
    }

    impl Bench {
        fn write(&mut self, offset: u64, value: u32) {
            let sent = &mut self.sent;
            let send = &mut |message| sent.push(message);
            self.chip.write(offset, &value.to_le_bytes(), send);
        }

        fn set(&mut self, index: u32, value: u32) {
            self.write(0, index);
            self.write(0x10, value);
        }

        fn get(&mut self, index: u32) -> u32 {
            self.write(0, index);
            let mut word = [0xaa; 4];
            self.chip.read(0x10, &mut word);
            u32::from_le_bytes(word)
        }

        fn pin(&mut self, pin: u32, high: bool) {
            let sent = &mut self.sent;
            self.chip
                .set_pin(pin, high, &mut |message| sent.push(message));
        }

        fn end(&mut self, vector: u8) {
            let sent = &mut self.sent;
            let send = &mut |message| sent.push(message);
            self.chip.end_of_interrupt(vector, send);
        }

        fn sent(&mut self) -> Vec<(u32, u32)> {
            let sent = std::mem::take(&mut self.sent).into_iter();
            sent.map(|message| (message.address, message.data))
                .collect()
        }
    }

    #[test]
    fn it_says_what_it_is() {
        let mut bench = Bench::default();
        assert_eq!(bench.get(1), 0x0017_0020);
        assert_eq!((bench.get(0), bench.get(2)), (0, 0));
        bench.set(0, u32::MAX);
        bench.set(1, u32::MAX);
        bench.set(2, 0);
        assert_eq!((bench.get(0), bench.get(2)), (0x0f00_0000, 0x0f00_0000));
        assert_eq!(bench.get(1), 0x0017_0020);
    }

    #[test]
    fn every_pin_begins_masked_and_keeps_what_it_may() {
        let mut bench = Bench::default();
        for index in (0x10..0x40).step_by(2) {
            assert_eq!((bench.get(index), bench.get(index + 1)), (0x1_0000, 0));
            bench.set(index, u32::MAX);
            bench.set(index + 1, u32::MAX);
            assert_eq!(bench.get(index), 0x1_afff);
            assert_eq!(bench.get(index + 1), 0xff00_0000);
        }
        for index in [0x03, 0x0f, 0x40, 0xff] {
            bench.set(index, u32::MAX);
            assert_eq!(bench.get(index), 0);
        }
        bench.chip.reset();
        assert_eq!((bench.get(0x10), bench.get(0x11)), (0x1_0000, 0));
    }

    #[test]
    fn accesses_that_are_not_32_bits_wide_do_nothing() {
        let mut bench = Bench::default();
        let sent = &mut bench.sent;
        bench.chip.write(0, &[1], &mut |message| sent.push(message));
        let mut data = [0xaa; 8];
        bench.chip.read(0x10, &mut data);
        assert_eq!(data, [0; 8]);
        let mut word = [0xaa; 4];
        bench.chip.read(0x40, &mut word);
        assert_eq!(word, [0; 4]);
    }

    #[test]
    fn an_edge_is_sent_once_and_only_while_the_pin_is_open() {
        let mut bench = Bench::default();
        bench.pin(4, true);
        assert_eq!(bench.sent(), []);
        // Physical destination 3, fixed, vector 0x31.
        bench.set(0x19, 0x0300_0000);
        bench.set(0x18, 0x31);
        assert_eq!(bench.sent(), [], "the edge was before");
        bench.pin(4, true);
        assert_eq!(bench.sent(), []);
        bench.pin(4, false);
        bench.pin(4, true);
        assert_eq!(bench.sent(), [(0xfee0_3000, 0x4031)]);
        bench.end(0x31);
        assert_eq!(bench.sent(), []);
    }

    #[test]
    fn destination_and_delivery_mode_are_passed_on() {
        let mut bench = Bench::default();
        // Logical destination 0xff, lowest priority, active low.
        bench.set(0x21, 0xff00_0000);
        bench.set(0x20, 0x2942);
        bench.pin(8, true);
        assert_eq!(bench.sent(), [(0xfeef_f004, 0x4142)]);
    }

    #[test]
    fn a_level_is_sent_until_it_falls() {
        let mut bench = Bench::default();
        bench.set(0x20, 0x8055);
        bench.pin(8, true);
        assert_eq!(bench.sent(), [(0xfee0_0000, 0xc055)]);
        assert_eq!(bench.get(0x20), 0xc055);
        bench.pin(8, false);
        bench.pin(8, true);
        assert_eq!(bench.sent(), [], "it is still in service");
        bench.end(0x54);
        assert_eq!(bench.sent(), []);
        bench.end(0x55);
        assert_eq!(bench.sent(), [(0xfee0_0000, 0xc055)]);
        bench.pin(8, false);
        bench.write(0x40, 0x55);
        assert_eq!((bench.sent(), bench.get(0x20)), (vec![], 0x8055));
    }

    #[test]
    fn a_level_waits_behind_a_mask() {
        let mut bench = Bench::default();
        bench.set(0x20, 0x1_8055);
        bench.pin(8, true);
        assert_eq!(bench.sent(), []);
        bench.set(0x20, 0x8055);
        assert_eq!(bench.sent(), [(0xfee0_0000, 0xc055)]);
        bench.set(0x20, 0x1_8055);
        bench.end(0x55);
        assert_eq!((bench.sent(), bench.get(0x20)), (vec![], 0x1_8055));
    }

    #[test]
    fn a_pin_that_becomes_edge_triggered_is_no_longer_in_service() {
        let mut bench = Bench::default();
        bench.set(0x20, 0x8055);
        bench.pin(8, true);
        bench.set(0x20, 0x1_0055);
        bench.set(0x20, 0x8055);
        assert_eq!(bench.sent().len(), 2);
    }

    #[test]
    fn pins_that_do_not_exist_do_nothing() {
        let mut bench = Bench::default();
        for pin in [24, 31, 32, u32::MAX] {
            bench.pin(pin, true);
            assert!(!bench.chip.is_open(pin));
            assert_eq!(bench.chip.message(pin), None);
        }
        assert_eq!(bench.sent(), []);
    }
}
