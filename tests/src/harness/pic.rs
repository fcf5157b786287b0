// SPDX-License-Identifier: MIT OR Apache-2.0
//! The 8259 pair under any sequence of accesses, lines and acknowledge cycles: what is masked is
//! silent, and initialization brings back what software expects.

use super::input::Input;
use vmm::devices::pic::Pic;

const PORTS: [u16; 6] = [0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1];

/// Accesses to ports, levels of lines, and acknowledge cycles.
pub fn pic(data: &[u8]) {
    let mut pic = Pic::default();
    let mut input = Input(data);
    while !input.is_empty() {
        let kind = input.u8();
        match kind % 5 {
            0 => {
                pic.read(input.pick(&PORTS));
            }
            1 => pic.write(input.pick(&PORTS), input.u8()),
            2 => pic.set(u32::from(input.u8() % 20), kind & 0x80 != 0),
            3 => {
                let asked = pic.asks();
                let vector = pic.acknowledge();
                assert!(asked || vector & 7 == 7, "nobody asked: input 7 is named");
            }
            _ => pic.reset(),
        }
    }

    for irq in 0..16 {
        pic.set(irq, false);
    }
    for (port, base) in [(0x20, 0x30), (0xa0, 0x38)] {
        pic.write(port, 0x11);
        for value in [base, 0, 1, 0xff] {
            pic.write(port + 1, value);
        }
        pic.write(0x4d0 + (port >> 7), 0);
    }
    for irq in (0..16u8).filter(|irq| *irq != 2) {
        pic.set(irq.into(), true);
        pic.set(irq.into(), false);
        assert!(!pic.asks(), "all is masked");
    }
    pic.write(0x21, 0);
    pic.write(0xa1, 0);
    for irq in [0, 1, 8, 9, 10, 11, 12, 13, 14, 15, 3, 4, 5, 6, 7] {
        assert!(pic.asks());
        assert_eq!(pic.acknowledge(), 0x30 + irq);
        pic.write(0xa0, 0x20);
        pic.write(0x20, 0x20);
    }
    assert!(!pic.asks());
}
