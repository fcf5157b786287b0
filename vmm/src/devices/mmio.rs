// SPDX-License-Identifier: MIT OR Apache-2.0
//! Registers in memory space: how devices answer where there is neither RAM nor ROM.
//!
//! Spec: which device has which addresses is in [`super::map`]. In: an access of 1 to 8 bytes, as KVM reports it. Out:
//! data, and an [`Event`] if the access was one that the run loop acts upon. An address without a
//! device reads as zero, as QEMU's does. Local APICs are KVM's and never come here.

use super::bus::{Event, lock};
use super::ged::Ged;
use super::interrupts::Interrupts;
use super::map::{self, InMemory, Range};
use super::virtio::Slot;
use super::virtio::mmio::Transport;
use std::io;
use std::sync::{Arc, Mutex};

/// All such devices of the machine. Shared by all processors.
#[derive(Debug)]
pub struct Mmio {
    map: Vec<Range<u64, InMemory>>,
    ged: Option<Mutex<Ged>>,
    virtio: Vec<(Slot, Arc<Transport>)>,
    interrupts: Option<Arc<Interrupts>>,
}

impl Mmio {
    /// The addresses that `map` names, in ascending order, with these devices. One that is not in
    /// the map cannot be reached.
    #[must_use]
    pub fn new(
        map: Vec<Range<u64, InMemory>>,
        ged: Option<Ged>,
        virtio: Vec<(Slot, Arc<Transport>)>,
    ) -> Self {
        Self {
            map,
            ged: ged.map(Mutex::new),
            virtio,
            interrupts: None,
        }
    }

    /// With an I/O APIC that is not KVM's.
    #[must_use]
    pub fn with_interrupts(self, interrupts: Option<Arc<Interrupts>>) -> Self {
        Self { interrupts, ..self }
    }

    /// The virtio devices, and where they are.
    #[must_use]
    pub fn virtio(&self) -> &[(Slot, Arc<Transport>)] {
        &self.virtio
    }

    /// All devices back to power-on.
    pub fn reset(&self) {
        if let Some(ged) = &self.ged {
            lock(ged).reset();
        }
        for (_, transport) in &self.virtio {
            transport.reset();
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
        match self.find(address) {
            Some(Place::IoApic(interrupts, index, offset)) => interrupts.read(index, offset, data),
            Some(Place::Virtio(transport, offset)) => transport.read(offset, data),
            Some(Place::Ged(ged)) => lock(ged).read(address, data),
            None => data.fill(0),
        }
    }

    /// A guest write. Fails if the host refuses what follows from it.
    pub fn write(&self, address: u64, data: &[u8]) -> io::Result<Option<Event>> {
        match self.find(address) {
            Some(Place::IoApic(interrupts, index, offset)) => {
                interrupts.write(index, offset, data).map(|()| None)
            }
            Some(Place::Virtio(transport, offset)) => transport.write(offset, data).map(|()| None),
            Some(Place::Ged(ged)) => Ok(lock(ged).write(address, data)),
            None => Ok(None),
        }
    }

    /// What answers at `address`.
    fn find(&self, address: u64) -> Option<Place<'_>> {
        let (device, offset) = map::find(&self.map, address)?;
        match device {
            InMemory::GedEvents | InMemory::GedRegisters => self.ged.as_ref().map(Place::Ged),
            InMemory::Virtio(index) => {
                let (_, transport) = self.virtio.get(index)?;
                Some(Place::Virtio(transport, u32::try_from(offset).ok()?))
            }
            InMemory::IoApic(index) => {
                let interrupts = self.interrupts.as_deref()?;
                Some(Place::IoApic(interrupts, index, offset))
            }
            InMemory::LocalApics => None,
        }
    }
}

/// A device, and the offset in its registers.
enum Place<'a> {
    Ged(&'a Mutex<Ged>),
    Virtio(&'a Transport, u32),
    IoApic(&'a Interrupts, usize, u64),
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::config::Machine;
    use crate::devices::map::Map;
    use crate::devices::virtio::Wiring;

    fn machine(acpi: bool) -> Mmio {
        let parts = Machine {
            acpi,
            ..Machine::default()
        };
        let map = Map::new(&parts, Wiring::One, &[]);
        Mmio::new(map.regions, acpi.then(Ged::default), Vec::new())
    }

    fn write(mmio: &Mmio, address: u64, data: &[u8]) -> Option<Event> {
        mmio.write(address, data).unwrap()
    }

    fn read(mmio: &Mmio, address: u64, width: usize) -> Vec<u8> {
        let mut data = vec![0xaa; width];
        mmio.read(address, &mut data);
        data
    }

    #[test]
    fn addresses_of_nobody_read_as_zero_at_every_width() {
        for mmio in [machine(false), machine(true)] {
            for address in [0xc000_0000, 0xfe9f_ffff, 0xfea0_0100, 0xfed0_0000, u64::MAX] {
                for width in [1, 2, 4, 8] {
                    assert_eq!(read(&mmio, address, width), vec![0; width]);
                    assert_eq!(write(&mmio, address, &[0x42; 8][..width]), None);
                }
            }
        }
    }

    #[test]
    fn the_power_button_is_heard_where_there_is_one() {
        assert!(!machine(false).press_power_button());
        let mmio = machine(true);
        assert!(mmio.press_power_button());
        assert_eq!(read(&mmio, 0xfea0_0000, 4), [2, 0, 0, 0]);
        assert!(mmio.press_power_button());
        mmio.reset();
        assert_eq!(read(&mmio, 0xfea0_0000, 4), [0; 4]);
    }

    #[test]
    fn sleep_and_reset_are_events_where_there_is_acpi() {
        let mmio = machine(true);
        assert_eq!(write(&mmio, 0xfea0_0200, &[0x34]), Some(Event::PowerOff));
        assert_eq!(write(&mmio, 0xfea0_0202, &[0x42]), Some(Event::Reset));
        assert_eq!(write(&machine(false), 0xfea0_0202, &[0x42]), None);
    }
}
