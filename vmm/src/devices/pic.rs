// SPDX-License-Identifier: MIT OR Apache-2.0
//! The 8259A pair: interrupt controllers of a PC before APICs.
//!
//! Spec: Intel 8259A data sheet (initialization and operation command words); edge/level registers
//! as in the Intel ICH data sheets. In: port accesses, levels of lines, acknowledge cycles. Out: the
//! level of the line to the processor, and vectors.
//!
//! | port | chip | write | read |
//! |------|------|-------|------|
//! | 0x20, 0xa0 | first, second | ICW1, OCW2, OCW3 | requests or services, or a poll |
//! | 0x21, 0xa1 | first, second | ICW2–ICW4, OCW1 | mask |
//! | 0x4d0, 0x4d1 | first, second | which inputs are levels | the same |
//!
//! The second chip's output is input 2 of the first. Processors other than the 8086's kind, buffered
//! mode and other wirings are not modelled. An edge that goes away before it is acknowledged is
//! still delivered, as on other models: devices here raise lines for a moment.

/// First port of the first chip.
pub const FIRST_PORT: u16 = 0x20;
/// First port of the second chip.
pub const SECOND_PORT: u16 = 0xa0;
/// First of the two edge/level registers.
pub const LEVEL_PORT: u16 = 0x4d0;

/// Inputs of both.
pub const INPUTS: u32 = 16;
/// Inputs of each.
const HALF: u32 = 8;
/// Input of the first to which the second is connected.
const CASCADE: u8 = 2;
/// Which input a chip names when none asks: "default IR7".
const SPURIOUS: u8 = 7;
/// Inputs that can be levels: not timer, keyboard and cascade, nor clock and coprocessor.
const LEVELS_ALLOWED: [u8; 2] = [0xf8, 0xde];

/// Command port: this is ICW1.
const ICW1: u8 = 1 << 4;
/// ICW1: ICW4 comes, too.
const ICW1_ICW4: u8 = 1 << 0;
/// ICW1: there is only one chip, and no ICW3.
const ICW1_SINGLE: u8 = 1 << 1;
/// ICW1: all inputs are levels.
const ICW1_LEVEL: u8 = 1 << 3;
/// ICW2: the upper bits of all vectors.
const ICW2_BASE: u8 = 0xf8;
/// ICW4: acknowledging ends the interrupt.
const ICW4_AUTO_END: u8 = 1 << 1;
/// ICW4: the cascade stays open while it is in service.
const ICW4_NESTED: u8 = 1 << 4;
/// Command port: this is OCW3.
const OCW3: u8 = 1 << 3;
/// OCW3: the next reads tell the services (1) or the requests (0), if [`OCW3_READ`].
const OCW3_SERVICES: u8 = 1 << 0;
/// OCW3: the bit below counts.
const OCW3_READ: u8 = 1 << 1;
/// OCW3: the next read is an acknowledge cycle.
const OCW3_POLL: u8 = 1 << 2;
/// OCW3: special mask mode, if [`OCW3_SET_SPECIAL`].
const OCW3_SPECIAL: u8 = 1 << 5;
/// OCW3: the bit above counts.
const OCW3_SET_SPECIAL: u8 = 1 << 6;
/// What a poll says besides the input.
const POLLED: u8 = 1 << 7;

/// Which command word the data port expects.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Expect {
    #[default]
    Ocw1,
    Icw2,
    Icw3,
    Icw4,
}

#[derive(Clone, Copy, Debug, Default)]
struct Chip {
    /// Interrupt requests: edges that have come, and levels that are there.
    requests: u8,
    /// Interrupts in service.
    services: u8,
    mask: u8,
    /// Which inputs are high.
    high: u8,
    /// Which inputs are levels, by its register and by ICW1.
    levels: u8,
    all_levels: bool,
    base: u8,
    expect: Expect,
    single: bool,
    icw4: bool,
    auto_end: bool,
    rotate_at_auto_end: bool,
    nested: bool,
    special_mask: bool,
    tell_services: bool,
    poll: bool,
    /// The input of the highest priority.
    first: u8,
}

impl Chip {
    fn levels(&self) -> u8 {
        if self.all_levels {
            u8::MAX
        } else {
            self.levels
        }
    }

    fn set(&mut self, input: u32, high: bool) {
        let bit = 1u8.checked_shl(input).unwrap_or(0);
        let level = self.levels() & bit != 0;
        if high && (level || self.high & bit == 0) {
            self.requests |= bit;
        } else if !high && level {
            self.requests &= !bit;
        }
        self.high = if high {
            self.high | bit
        } else {
            self.high & !bit
        };
    }

    /// The place of the first of these inputs in the order of priority.
    fn priority(&self, inputs: u8) -> u32 {
        inputs.rotate_right(self.first.into()).trailing_zeros()
    }

    /// The input that asks, if one does that may.
    fn pending(&self) -> Option<u8> {
        let asking = self.priority(self.requests & !self.mask);
        let mut in_the_way = self.services;
        if self.special_mask {
            in_the_way &= !self.mask;
        }
        if self.nested {
            in_the_way &= !(1 << CASCADE);
        }
        (asking < self.priority(in_the_way)).then(|| self.input(asking))
    }

    /// The input at this place in the order of priority.
    fn input(&self, place: u32) -> u8 {
        self.first.wrapping_add(place.to_le_bytes()[0]) & 7
    }

    /// An acknowledge cycle: the input that is served from now on.
    fn acknowledge(&mut self) -> Option<u8> {
        let input = self.pending()?;
        let bit = 1 << input;
        if self.levels() & bit == 0 {
            self.requests &= !bit;
        }
        if !self.auto_end {
            self.services |= bit;
        } else if self.rotate_at_auto_end {
            self.first = (input + 1) & 7;
        }
        Some(input)
    }

    fn read_command(&mut self) -> u8 {
        if std::mem::take(&mut self.poll) {
            return self.acknowledge().map_or(0, |input| POLLED | input);
        }
        if self.tell_services {
            self.services
        } else {
            self.requests
        }
    }

    fn write_command(&mut self, value: u8) {
        if value & ICW1 != 0 {
            // "The edge sense circuit is reset, the interrupt mask register is cleared, IR7 input is
            // assigned priority 7, special mask mode is cleared and status read is set to IRR."
            *self = Self {
                high: self.high,
                levels: self.levels,
                base: self.base,
                all_levels: value & ICW1_LEVEL != 0,
                single: value & ICW1_SINGLE != 0,
                icw4: value & ICW1_ICW4 != 0,
                expect: Expect::Icw2,
                ..Self::default()
            };
            self.requests = self.high & self.levels();
        } else if value & OCW3 != 0 {
            if value & OCW3_SET_SPECIAL != 0 {
                self.special_mask = value & OCW3_SPECIAL != 0;
            }
            if value & OCW3_READ != 0 {
                self.tell_services = value & OCW3_SERVICES != 0;
            }
            if value & OCW3_POLL != 0 {
                self.poll = true;
            }
        } else {
            self.ocw2(value >> 5, value & 7);
        }
    }

    /// Ends of interrupts and rotation of priorities.
    fn ocw2(&mut self, command: u8, input: u8) {
        match command {
            0 | 4 => self.rotate_at_auto_end = command == 4,
            // End the interrupt of the highest priority; but in special mask mode one that is
            // masked "will not be cleared".
            1 | 5 => {
                let masked = if self.special_mask { self.mask } else { 0 };
                let services = self.services & !masked;
                if services != 0 {
                    let input = self.input(self.priority(services));
                    self.end(input, command == 5);
                }
            }
            3 | 7 => self.end(input, command == 7),
            6 => self.first = (input + 1) & 7,
            _ => {}
        }
    }

    fn end(&mut self, input: u8, rotate: bool) {
        self.services &= !(1 << input);
        if rotate {
            self.first = (input + 1) & 7;
        }
    }

    fn write_data(&mut self, value: u8) {
        let after_icw3 = if self.icw4 {
            Expect::Icw4
        } else {
            Expect::Ocw1
        };
        self.expect = match self.expect {
            Expect::Ocw1 => {
                self.mask = value;
                Expect::Ocw1
            }
            Expect::Icw2 => {
                self.base = value & ICW2_BASE;
                if self.single {
                    after_icw3
                } else {
                    Expect::Icw3
                }
            }
            // It says what is connected where; that is fixed.
            Expect::Icw3 => after_icw3,
            Expect::Icw4 => {
                self.auto_end = value & ICW4_AUTO_END != 0;
                self.nested = value & ICW4_NESTED != 0;
                Expect::Ocw1
            }
        };
    }

    fn set_levels(&mut self, levels: u8) {
        self.levels = levels;
        let levels = self.levels();
        self.requests = self.requests & !levels | self.high & levels;
    }
}

/// Both chips.
#[derive(Debug, Default)]
pub struct Pic {
    first: Chip,
    second: Chip,
}

impl Pic {
    /// What a machine reset does. The inputs are as high as they were.
    pub fn reset(&mut self) {
        for chip in [&mut self.first, &mut self.second] {
            *chip = Chip {
                high: chip.high,
                ..Chip::default()
            };
        }
    }

    /// Whether `port` is one of its ports.
    #[must_use]
    pub const fn has(port: u16) -> bool {
        matches!(port & !1, FIRST_PORT | SECOND_PORT | LEVEL_PORT)
    }

    /// An 8-bit read of one of its ports.
    pub fn read(&mut self, port: u16) -> u8 {
        let data = port & 1 != 0;
        let value = match (port & !1, data) {
            (FIRST_PORT, false) => self.first.read_command(),
            (FIRST_PORT, true) => self.first.mask,
            (SECOND_PORT, false) => self.second.read_command(),
            (SECOND_PORT, true) => self.second.mask,
            (LEVEL_PORT, false) => self.first.levels,
            (LEVEL_PORT, true) => self.second.levels,
            _ => u8::MAX,
        };
        self.cascade();
        value
    }

    /// An 8-bit write of one of its ports.
    pub fn write(&mut self, port: u16, value: u8) {
        let data = port & 1 != 0;
        match (port & !1, data) {
            (FIRST_PORT, false) => self.first.write_command(value),
            (FIRST_PORT, true) => self.first.write_data(value),
            (SECOND_PORT, false) => self.second.write_command(value),
            (SECOND_PORT, true) => self.second.write_data(value),
            (LEVEL_PORT, false) => self.first.set_levels(value & LEVELS_ALLOWED[0]),
            (LEVEL_PORT, true) => self.second.set_levels(value & LEVELS_ALLOWED[1]),
            _ => {}
        }
        self.cascade();
    }

    /// A device raises or lowers its line. The cascade is nobody's.
    pub fn set(&mut self, irq: u32, high: bool) {
        match irq {
            0..HALF if irq != u32::from(CASCADE) => self.first.set(irq, high),
            HALF..INPUTS => self.second.set(irq - HALF, high),
            _ => {}
        }
        self.cascade();
    }

    /// Whether the processor is asked for an acknowledge cycle.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.first.pending().is_some()
    }

    /// The processor's acknowledge cycle: the vector.
    pub fn acknowledge(&mut self) -> u8 {
        let input = self.first.acknowledge().unwrap_or(SPURIOUS);
        let vector = if input == CASCADE {
            self.second.base | self.second.acknowledge().unwrap_or(SPURIOUS)
        } else {
            self.first.base | input
        };
        self.cascade();
        vector
    }

    /// The second chip's output is a level at the first: it may have another interrupt as soon as
    /// one is acknowledged.
    fn cascade(&mut self) {
        let bit = 1 << CASCADE;
        if self.second.pending().is_some() {
            self.first.requests |= bit;
        } else {
            self.first.requests &= !bit;
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    /// As a PC's firmware and kernels initialize it: vectors from 0x30 and 0x38, all open.
    fn pair() -> Pic {
        let mut pic = Pic::default();
        for (port, base, wiring) in [(0x20, 0x30, 4), (0xa0, 0x38, 2)] {
            for (port, value) in [(port, 0x11), (port + 1, base), (port + 1, wiring)] {
                pic.write(port, value);
            }
            pic.write(port + 1, 1);
        }
        pic
    }

    fn pulse(pic: &mut Pic, irq: u32) {
        pic.set(irq, true);
        pic.set(irq, false);
    }

    fn served(pic: &mut Pic) -> Vec<u8> {
        let mut vectors = Vec::new();
        while pic.asks() {
            vectors.push(pic.acknowledge());
        }
        vectors
    }

    /// What a chip says after OCW3 asked for requests (2) or services (3).
    fn told(pic: &mut Pic, port: u16, what: u8) -> u8 {
        pic.write(port, 8 | what);
        pic.read(port)
    }

    #[test]
    fn an_edge_is_delivered_once_with_the_vector_of_its_input() {
        let mut pic = pair();
        assert!(!pic.asks());
        pic.set(4, true);
        assert!(pic.asks());
        assert_eq!(pic.acknowledge(), 0x34);
        assert_eq!(told(&mut pic, 0x20, 3), 0x10);
        pic.write(0x20, 0x20);
        assert!(!pic.asks(), "it is still high, but that is no edge");
        pic.set(4, false);
        pic.set(4, true);
        assert_eq!(served(&mut pic), [0x34]);
    }

    #[test]
    fn a_higher_priority_interrupts_and_a_lower_one_waits() {
        let mut pic = pair();
        pulse(&mut pic, 4);
        assert_eq!(served(&mut pic), [0x34]);
        pulse(&mut pic, 6);
        assert!(!pic.asks());
        pulse(&mut pic, 1);
        assert_eq!(served(&mut pic), [0x31]);
        assert_eq!(told(&mut pic, 0x20, 3), 0x12);
        pic.write(0x20, 0x20);
        assert!(!pic.asks(), "input 4 is still in service");
        pic.write(0x20, 0x20);
        assert_eq!(served(&mut pic), [0x36]);
    }

    #[test]
    fn the_second_chip_comes_through_input_2() {
        let mut pic = pair();
        pulse(&mut pic, 12);
        pulse(&mut pic, 3);
        assert_eq!(told(&mut pic, 0x20, 2), 0x0c);
        assert_eq!(served(&mut pic), [0x3c]);
        assert_eq!(told(&mut pic, 0xa0, 3), 0x10);
        // A higher one of the second chip waits for the end of input 2.
        pulse(&mut pic, 8);
        assert!(!pic.asks());
        pic.write(0x20, 0x62);
        assert_eq!(served(&mut pic), [0x38]);
        pulse(&mut pic, 2);
        assert_eq!(told(&mut pic, 0x20, 2) & 4, 0, "the cascade is nobody's");
    }

    #[test]
    fn in_special_fully_nested_mode_the_second_chip_nests() {
        let mut pic = pair();
        for (port, value) in [(0x20, 0x11), (0x21, 0x30), (0x21, 4), (0x21, 0x11)] {
            pic.write(port, value);
        }
        pulse(&mut pic, 12);
        assert_eq!(served(&mut pic), [0x3c]);
        pulse(&mut pic, 8);
        assert_eq!(served(&mut pic), [0x38]);
    }

    #[test]
    fn masks_hold_back_and_can_be_read() {
        let mut pic = pair();
        pic.write(0x21, 0xef);
        pic.write(0xa1, 0xff);
        assert_eq!((pic.read(0x21), pic.read(0xa1)), (0xef, 0xff));
        pulse(&mut pic, 3);
        pulse(&mut pic, 4);
        pulse(&mut pic, 9);
        assert_eq!(served(&mut pic), [0x34]);
        pic.write(0x20, 0x20);
        pic.write(0x21, 0);
        assert_eq!(served(&mut pic), [0x33]);
    }

    #[test]
    fn a_level_asks_until_it_falls() {
        let mut pic = pair();
        pic.write(0x4d0, 0xff);
        pic.write(0x4d1, 0xff);
        assert_eq!((pic.read(0x4d0), pic.read(0x4d1)), (0xf8, 0xde));
        pic.set(9, true);
        assert_eq!(served(&mut pic), [0x39]);
        pic.write(0xa0, 0x20);
        pic.write(0x20, 0x20);
        assert_eq!(served(&mut pic), [0x39]);
        pic.set(9, false);
        pic.write(0xa0, 0x20);
        pic.write(0x20, 0x20);
        assert!(!pic.asks());
    }

    #[test]
    fn a_level_that_falls_too_early_is_spurious() {
        let mut pic = pair();
        pic.write(0x4d0, 0x20);
        pic.set(5, true);
        pic.set(5, false);
        assert!(!pic.asks());
        assert_eq!(pic.acknowledge(), 0x37);
        assert_eq!(told(&mut pic, 0x20, 3), 0, "and is not in service");
    }

    #[test]
    fn rotation_gives_the_served_input_the_lowest_priority() {
        let mut pic = pair();
        pulse(&mut pic, 3);
        assert_eq!(served(&mut pic), [0x33]);
        // Rotate on non-specific end.
        pic.write(0x20, 0xa0);
        pulse(&mut pic, 3);
        pulse(&mut pic, 4);
        assert_eq!(pic.acknowledge(), 0x34);
        // Rotate on specific end, then set the lowest priority to 2.
        pic.write(0x20, 0xe4);
        assert_eq!(pic.acknowledge(), 0x33);
        pic.write(0x20, 0x20);
        pic.write(0x20, 0xc2);
        pulse(&mut pic, 1);
        pulse(&mut pic, 5);
        assert_eq!(pic.acknowledge(), 0x35);
    }

    #[test]
    fn with_automatic_end_nothing_stays_in_service() {
        let mut pic = pair();
        for (port, value) in [(0x20, 0x11), (0x21, 0x30), (0x21, 4), (0x21, 3)] {
            pic.write(port, value);
        }
        pulse(&mut pic, 1);
        pulse(&mut pic, 3);
        assert_eq!(served(&mut pic), [0x31, 0x33]);
        // Rotating: the input after the served one comes first.
        pic.write(0x20, 0x80);
        pulse(&mut pic, 3);
        assert_eq!(served(&mut pic), [0x33]);
        pulse(&mut pic, 3);
        pulse(&mut pic, 6);
        assert_eq!(served(&mut pic), [0x36, 0x33]);
    }

    #[test]
    fn special_mask_mode_lets_lower_priorities_in() {
        let mut pic = pair();
        pulse(&mut pic, 1);
        assert_eq!(served(&mut pic), [0x31]);
        pulse(&mut pic, 5);
        assert!(!pic.asks());
        pic.write(0x21, 0x02);
        pic.write(0x20, 0x68);
        assert_eq!(served(&mut pic), [0x35]);
        // A non-specific end is that of input 5, because input 1 is masked.
        pic.write(0x20, 0x20);
        assert_eq!(told(&mut pic, 0x20, 3), 0x02);
        pic.write(0x20, 0x48);
        pulse(&mut pic, 5);
        assert!(!pic.asks());
    }

    #[test]
    fn a_poll_is_an_acknowledge_cycle() {
        let mut pic = pair();
        pic.write(0x20, 0x0c);
        assert_eq!(pic.read(0x20), 0);
        pulse(&mut pic, 6);
        pic.write(0x20, 0x0c);
        assert_eq!(pic.read(0x20), 0x86);
        assert!(!pic.asks());
        assert_eq!(told(&mut pic, 0x20, 3), 0x40);
    }

    #[test]
    fn initialization_forgets_requests_masks_and_services() {
        let mut pic = pair();
        pulse(&mut pic, 1);
        pic.acknowledge();
        pulse(&mut pic, 3);
        pic.write(0x21, 0xfb);
        // Single, no ICW4: one more word is expected.
        pic.write(0x20, 0x12);
        pic.write(0x21, 0x47);
        assert_eq!(pic.read(0x21), 0);
        assert_eq!((told(&mut pic, 0x20, 2), told(&mut pic, 0x20, 3)), (0, 0));
        pulse(&mut pic, 3);
        assert_eq!(served(&mut pic), [0x43]);
    }
}
