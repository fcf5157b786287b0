// SPDX-License-Identifier: MIT OR Apache-2.0
//! Registers in memory space: which device answers where there is neither RAM nor ROM.
//!
//! Spec: the memory map of QEMU `microvm`. In: an access of 1 to 8 bytes, as KVM reports it. Out:
//! data, and an [`Event`] if the access was one that the run loop acts upon. An address without a
//! device reads as zero, as QEMU's does. Local APICs and I/O APIC are KVM's and never come here.

use super::bus::{Event, lock};
use super::ged::Ged;
use std::sync::Mutex;

/// All such devices of the machine. Shared by all processors.
#[derive(Debug)]
pub struct Mmio {
    ged: Option<Mutex<Ged>>,
}

impl Mmio {
    /// The addresses of a machine with these devices.
    #[must_use]
    pub fn new(ged: Option<Ged>) -> Self {
        Self {
            ged: ged.map(Mutex::new),
        }
    }

    /// All devices back to power-on.
    pub fn reset(&self) {
        if let Some(ged) = &self.ged {
            lock(ged).reset();
        }
    }

    /// Presses the power button. Gives whether there is one; its interrupt must follow.
    #[must_use]
    pub fn press_power_button(&self) -> bool {
        self.ged.as_ref().is_some_and(|ged| {
            lock(ged).press_power_button();
            true
        })
    }

    /// A guest read.
    pub fn read(&self, address: u64, data: &mut [u8]) {
        match &self.ged {
            Some(ged) => lock(ged).read(address, data),
            None => data.fill(0),
        }
    }

    /// A guest write.
    #[must_use]
    pub fn write(&self, address: u64, data: &[u8]) -> Option<Event> {
        lock(self.ged.as_ref()?).write(address, data)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn read(mmio: &Mmio, address: u64, width: usize) -> Vec<u8> {
        let mut data = vec![0xaa; width];
        mmio.read(address, &mut data);
        data
    }

    #[test]
    fn addresses_of_nobody_read_as_zero_at_every_width() {
        for mmio in [Mmio::new(None), Mmio::new(Some(Ged::default()))] {
            for address in [0xc000_0000, 0xfe9f_ffff, 0xfea0_0100, 0xfed0_0000, u64::MAX] {
                for width in [1, 2, 4, 8] {
                    assert_eq!(read(&mmio, address, width), vec![0; width]);
                    assert_eq!(mmio.write(address, &[0x42; 8][..width]), None);
                }
            }
        }
    }

    #[test]
    fn the_power_button_is_heard_where_there_is_one() {
        assert!(!Mmio::new(None).press_power_button());
        let mmio = Mmio::new(Some(Ged::default()));
        assert!(mmio.press_power_button());
        assert_eq!(read(&mmio, 0xfea0_0000, 4), [2, 0, 0, 0]);
        assert!(mmio.press_power_button());
        mmio.reset();
        assert_eq!(read(&mmio, 0xfea0_0000, 4), [0; 4]);
    }

    #[test]
    fn sleep_and_reset_are_events_where_there_is_acpi() {
        let mmio = Mmio::new(Some(Ged::default()));
        assert_eq!(mmio.write(0xfea0_0200, &[0x34]), Some(Event::PowerOff));
        assert_eq!(mmio.write(0xfea0_0202, &[0x42]), Some(Event::Reset));
        assert_eq!(Mmio::new(None).write(0xfea0_0202, &[0x42]), None);
    }
}
