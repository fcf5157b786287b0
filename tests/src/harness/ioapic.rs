// SPDX-License-Identifier: MIT OR Apache-2.0
//! The I/O APICs under any sequence of accesses and lines: what it sends are interrupts, KVM is
//! told only of what it serves, and a level is not sent again before it has ended.

use super::input::Input;
use std::io;
use std::sync::{Arc, Mutex};
use vmm::devices::interrupts::{Interrupts, Output};
use vmm::devices::ioapic::Message;

/// Offsets of the registers.
const OFFSETS: [u64; 3] = [0, 0x10, 0x40];
/// Interrupts whose edges come by event counter.
const COUNTED: [u32; 2] = [4, 47];

/// What the local APICs and KVM are told.
#[derive(Clone, Debug, Default)]
struct Wire(Arc<Mutex<Vec<Message>>>);

impl Output for Wire {
    fn send(&self, message: Message) -> io::Result<()> {
        check(message);
        self.0.lock().expect("no panic").push(message);
        Ok(())
    }

    fn route(&self, routes: &[(u32, Message)]) -> io::Result<()> {
        assert!(routes.is_sorted_by(|one, next| one.0 < next.0));
        for (irq, message) in routes {
            check(*message);
            assert!(*irq < 48);
            assert!(COUNTED.contains(irq) || message.is_level());
        }
        Ok(())
    }

    fn ask(&self) {}
}

/// A message is a write to a local APIC, and its data has no reserved bits.
fn check(message: Message) {
    assert_eq!(message.address >> 20, 0xfee);
    assert_eq!(message.address & 0xffb, 0);
    assert_eq!(message.data & !0x87ff, 0x4000);
}

/// Accesses to registers, levels of lines, and ends of interrupts.
pub fn ioapic(data: &[u8]) {
    let (interrupts, wire) = (Interrupts::new(2, true), Wire::default());
    interrupts.connect(Box::new(wire.clone()), &COUNTED);
    let sent = || std::mem::take(&mut *wire.0.lock().expect("no panic"));
    let mut input = Input(data);
    while !input.is_empty() {
        let kind = input.u8();
        // Two, and one that is not there.
        let chip = usize::from(kind >> 6) % 3;
        match kind % 6 {
            0 => {
                let mut data = [0xaa; 8];
                let width = 1 << (kind >> 4 & 3);
                interrupts.read(chip, input.near(&OFFSETS), &mut data[..width]);
                assert!(width == 4 || data[..width].iter().all(|byte| *byte == 0));
            }
            1 => {
                let width = 1 << (kind >> 4 & 3);
                let offset = input.near(&OFFSETS);
                let data = input.array::<8>();
                interrupts
                    .write(chip, offset, &data[..width])
                    .expect("a wire");
            }
            2 => {
                // A register of a pin that exists.
                let index = 0x10 + input.u8() % 48;
                interrupts
                    .write(chip, 0, &[index, 0, 0, 0])
                    .expect("a wire");
                let value = input.array::<4>();
                interrupts.write(chip, 0x10, &value).expect("a wire");
            }
            3 => {
                let irq = u32::from(input.u8() % 52);
                sent();
                interrupts.set(irq, kind & 0x80 != 0).expect("a wire");
                interrupts.set(irq, kind & 0x80 != 0).expect("a wire");
                assert!(sent().len() <= 1, "nothing changes the second time");
            }
            4 => {
                let vector = input.u8();
                sent();
                interrupts.end_of_interrupt(vector).expect("a wire");
                let again = sent();
                assert!(again.iter().all(|message| message.is_level()));
                assert!(
                    again
                        .iter()
                        .all(|message| message.data & 0xff == u32::from(vector))
                );
            }
            _ => interrupts.reset(),
        }
    }
    interrupts.reset();
    sent();
    for irq in 0..52 {
        interrupts.pulse(irq).expect("a wire");
        assert!(!interrupts.is_heard(irq));
    }
    assert_eq!(sent(), [], "after a reset every pin is closed");
}
