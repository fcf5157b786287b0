// SPDX-License-Identifier: MIT OR Apache-2.0
//! The I/O ports: how devices answer there, and what the run must know about it.
//!
//! Spec: which device has which ports is in [`super::map`].
//! In: an access of `width` bytes, repeated or not. Out: data, and an [`Event`] if the access was
//! one that the run loop acts upon. A port without a device reads as ones.

use super::alarm::Alarm;
use super::cmos::Cmos;
use super::debug::{self, Message};
use super::debugcon::{self, Debugcon};
use super::fw_cfg::{FwCfg, Usage};
use super::interrupts::Interrupts;
use super::line::Line;
use super::map::{self, AtPorts, Range};
use super::pit::Pit;
use super::pvpanic;
use super::reset;
use super::serial::Com1;
use abi::fw_cfg::PORT_BASE;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a port without a device reads as.
const NOBODY: u8 = 0xff;

/// What the run loop must know about an access.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// The guest asked `fw_cfg`; the last such access comes shortly before the kernel.
    FwCfg,
    /// Firmware said something.
    Message(Message),
    /// The guest reset the machine.
    Reset,
    /// The guest turned the machine off.
    PowerOff,
    /// The guest's kernel has panicked.
    Panicked,
}

/// All ports of the machine. Shared by all processors.
#[derive(Debug)]
pub struct Ports {
    map: Vec<Range<u16, AtPorts>>,
    com1: Option<Arc<Com1>>,
    debugcon: Option<Arc<Debugcon>>,
    cmos: Option<Clocked<Cmos>>,
    fw_cfg: Mutex<FwCfg>,
    /// The 8259 pair.
    interrupts: Option<Arc<Interrupts>>,
    pit: Option<Clocked<Pit>>,
    alarm: Option<Mutex<Alarm>>,
}

/// A device that interrupts by itself.
#[derive(Debug)]
struct Clocked<T> {
    device: Mutex<T>,
    /// None where nobody listens.
    line: Option<Line>,
}

impl<T> Clocked<T> {
    fn new(device: T) -> Self {
        Self {
            device: Mutex::new(device),
            line: None,
        }
    }
}

impl Ports {
    /// The ports that `map` names, in ascending order, with these devices. One that is not in the
    /// map cannot be reached.
    #[must_use]
    pub fn new(
        map: Vec<Range<u16, AtPorts>>,
        com1: Option<Arc<Com1>>,
        cmos: Option<Cmos>,
        fw_cfg: FwCfg,
    ) -> Self {
        Self {
            map,
            com1,
            debugcon: None,
            cmos: cmos.map(Clocked::new),
            fw_cfg: Mutex::new(fw_cfg),
            interrupts: None,
            pit: None,
            alarm: None,
        }
    }

    /// With a debug console, if there is one.
    #[must_use]
    pub fn with_debugcon(self, debugcon: Option<Arc<Debugcon>>) -> Self {
        Self { debugcon, ..self }
    }

    /// With an 8259 pair that is not KVM's, if there is one.
    #[must_use]
    pub fn with_interrupts(self, interrupts: Option<Arc<Interrupts>>) -> Self {
        Self { interrupts, ..self }
    }

    /// With an 8254 that is not KVM's, which interrupts through `line`. An alarm is needed, too.
    #[must_use]
    pub fn with_pit(self, pit: Pit, line: Line) -> Self {
        let pit = Clocked {
            line: Some(line),
            ..Clocked::new(pit)
        };
        Self {
            pit: Some(pit),
            ..self
        }
    }

    /// With a real-time clock, if there is one, that interrupts through `line`. An alarm is needed,
    /// too.
    #[must_use]
    pub fn with_clock_line(mut self, line: Line) -> Self {
        if let Some(cmos) = &mut self.cmos {
            cmos.line = Some(line);
        }
        self
    }

    /// With an alarm for devices that interrupt by themselves. It has to be watched.
    #[must_use]
    pub fn with_alarm(self, alarm: Alarm) -> Self {
        Self {
            alarm: Some(Mutex::new(alarm)),
            ..self
        }
    }

    /// The line of the real-time clock.
    #[must_use]
    pub fn clock_line(&self) -> Option<&Line> {
        self.cmos.as_ref()?.line.as_ref()
    }

    /// Becomes readable when [`Self::ring`] has to be called.
    #[must_use]
    pub fn alarm(&self) -> Option<RawFd> {
        self.alarm.as_ref().map(|alarm| lock(alarm).descriptor())
    }

    /// Some time that a device waits for has come. Fails if the host refuses its interrupt.
    pub fn ring(&self) -> io::Result<()> {
        if let Some(pit) = &self.pit
            && lock(&pit.device).has_risen()
            && let Some(line) = &pit.line
        {
            line.pulse()?;
        }
        if let Some(cmos) = &self.cmos {
            settle(cmos, &mut lock(&cmos.device))?;
        }
        self.set_alarm()
    }

    /// Sets the alarm to what is next.
    fn set_alarm(&self) -> io::Result<()> {
        let Some(alarm) = &self.alarm else {
            return Ok(());
        };
        // Taken first: who comes last knows best.
        let mut alarm = lock(alarm);
        let pit = self.pit.as_ref();
        let pit = pit.and_then(|pit| lock(&pit.device).until_rise());
        let cmos = self.cmos.as_ref();
        let cmos = cmos.and_then(|cmos| lock(&cmos.device).until_interrupt());
        alarm.set(pit.into_iter().chain(cmos).min())
    }

    /// An access to the real-time clock, and what follows from it.
    fn with_cmos<T>(
        &self,
        cmos: &Clocked<Cmos>,
        access: impl FnOnce(&mut Cmos) -> T,
    ) -> io::Result<T> {
        let mut device = lock(&cmos.device);
        let result = access(&mut device);
        if cmos.line.is_some() {
            settle(cmos, &mut device)?;
            let waits = device.until_interrupt().is_some();
            drop(device);
            if waits {
                self.set_alarm()?;
            }
        }
        Ok(result)
    }

    /// All devices back to power-on.
    pub fn reset(&self) -> io::Result<()> {
        if let Some(cmos) = &self.cmos {
            lock(&cmos.device).reset();
            if let Some(line) = &cmos.line {
                line.reset()?;
            }
        }
        lock(&self.fw_cfg).reset();
        if let Some(pit) = &self.pit {
            lock(&pit.device).reset();
            if let Some(line) = &pit.line {
                line.reset()?;
            }
        }
        self.set_alarm()?;
        self.com1.as_ref().map_or(Ok(()), |com1| com1.reset())
    }

    /// What went wrong on the host while serving `fw_cfg`, if anything did.
    pub fn fw_cfg_error(&self) -> Option<String> {
        lock(&self.fw_cfg).host_error().map(Into::into)
    }

    /// What `fw_cfg` was used for so far, if that is counted.
    pub fn fw_cfg_usage(&self) -> Vec<Usage> {
        lock(&self.fw_cfg).usage()
    }

    /// What the last access to `fw_cfg` was for, once, if that is counted.
    pub fn fw_cfg_purpose(&self) -> Option<String> {
        lock(&self.fw_cfg).purpose()
    }

    /// Reads of `width` bytes each into `data`: one, or as many as a string instruction makes.
    pub fn read(&self, port: u16, width: usize, data: &mut [u8]) -> io::Result<Option<Event>> {
        match self.find(port) {
            Some((AtPorts::FwCfg | AtPorts::FwCfgDma, _)) => {
                lock(&self.fw_cfg).read_string(port - PORT_BASE, width, data);
                Ok(Some(Event::FwCfg))
            }
            _ => {
                for access in data.chunks_mut(width.max(1)) {
                    // Devices with 8-bit registers see a wider access as one per port.
                    access.fill(NOBODY);
                    for (port, byte) in (port..=u16::MAX).zip(access) {
                        *byte = self.read_byte(port)?;
                    }
                }
                Ok(None)
            }
        }
    }

    /// Writes of `width` bytes each from `data`. An event ends a string early.
    pub fn write(&self, port: u16, width: usize, data: &[u8]) -> io::Result<Option<Event>> {
        let mut event = None;
        for access in data.chunks(width.max(1)) {
            event = self.write_once(port, access)?;
            if matches!(
                event,
                Some(Event::Reset | Event::Panicked | Event::Message(Message::Failure(_)))
            ) {
                break;
            }
        }
        Ok(event)
    }

    /// What answers at `port`, and which of its ports that is.
    fn find(&self, port: u16) -> Option<(AtPorts, u16)> {
        map::find(&self.map, port)
    }

    fn read_byte(&self, port: u16) -> io::Result<u8> {
        let Some((device, offset)) = self.find(port) else {
            return Ok(NOBODY);
        };
        let value = match device {
            AtPorts::Pic => self.interrupts.as_ref().and_then(|it| it.read_port(port)),
            AtPorts::Pit => self.pit.as_ref().map(|pit| lock(&pit.device).read(port)),
            AtPorts::Keyboard => Some(reset::KEYBOARD_STATUS),
            AtPorts::Pvpanic => Some(pvpanic::EVENTS),
            AtPorts::Debugcon => Some(debugcon::ANSWER),
            AtPorts::Rtc => match &self.cmos {
                Some(cmos) => Some(self.with_cmos(cmos, |cmos| cmos.read(port))?),
                None => None,
            },
            AtPorts::Com1 => match &self.com1 {
                Some(com1) => Some(com1.read(offset.to_le_bytes()[0])?),
                None => None,
            },
            AtPorts::FwCfg | AtPorts::FwCfgDma => {
                let mut data = [NOBODY];
                lock(&self.fw_cfg).read(port - PORT_BASE, &mut data);
                Some(data[0])
            }
            AtPorts::Trace | AtPorts::Failure | AtPorts::ResetControl => None,
        };
        Ok(value.unwrap_or(NOBODY))
    }

    fn write_once(&self, port: u16, data: &[u8]) -> io::Result<Option<Event>> {
        match self.find(port) {
            Some((AtPorts::FwCfg | AtPorts::FwCfgDma, _)) => {
                lock(&self.fw_cfg).write(port - PORT_BASE, data);
                return Ok(Some(Event::FwCfg));
            }
            Some((AtPorts::Trace | AtPorts::Failure, _)) => {
                return Ok(debug::decode(port, data).map(Event::Message));
            }
            Some((AtPorts::Keyboard | AtPorts::ResetControl, _)) => {
                let resets = matches!(*data, [value] if reset::is_reset(port, value));
                return Ok(resets.then_some(Event::Reset));
            }
            Some((AtPorts::Pvpanic, _)) => {
                return Ok(match *data {
                    [value] => pvpanic::decode(value),
                    _ => None,
                });
            }
            _ => {}
        }
        for (port, value) in (port..=u16::MAX).zip(data) {
            self.write_byte(port, *value)?;
        }
        Ok(None)
    }

    fn write_byte(&self, port: u16, value: u8) -> io::Result<()> {
        let Some((device, offset)) = self.find(port) else {
            return Ok(());
        };
        match device {
            AtPorts::Pic => {
                if let Some(interrupts) = &self.interrupts {
                    interrupts.write_port(port, value);
                }
            }
            AtPorts::Pit => {
                if let Some(pit) = &self.pit {
                    lock(&pit.device).write(port, value);
                    self.set_alarm()?;
                }
            }
            AtPorts::Rtc => {
                if let Some(cmos) = &self.cmos {
                    self.with_cmos(cmos, |cmos| cmos.write(port, value))?;
                }
            }
            AtPorts::Com1 => {
                if let Some(com1) = &self.com1 {
                    com1.write(offset.to_le_bytes()[0], value)?;
                }
            }
            AtPorts::Debugcon => {
                if let Some(debugcon) = &self.debugcon {
                    debugcon.print(value)?;
                }
            }
            // Registers that take no part of an access that begins before them.
            AtPorts::Keyboard
            | AtPorts::Pvpanic
            | AtPorts::Trace
            | AtPorts::FwCfg
            | AtPorts::FwCfgDma
            | AtPorts::Failure
            | AtPorts::ResetControl => {}
        }
        Ok(())
    }
}

/// Has the line of the real-time clock follow what `device` says.
fn settle(cmos: &Clocked<Cmos>, device: &mut Cmos) -> io::Result<()> {
    match (device.line_changes(), &cmos.line) {
        (Some(high), Some(line)) => line.set(high),
        _ => Ok(()),
    }
}

/// A device's registers.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere ends the machine; until then the registers are still registers.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::config::Machine;
    use crate::devices::fw_cfg::Items;
    use crate::devices::map::Map;
    use crate::devices::serial::test::Screen;
    use crate::devices::virtio::Wiring;
    use crate::memory::Layout;
    use abi::debug::FailureCode;
    use std::time::Duration;
    use vmm_sys_util::eventfd::EventFd;

    fn map() -> Vec<Range<u16, AtPorts>> {
        let machine = Machine {
            rtc: true,
            ..Machine::default()
        };
        Map::new(&machine, Wiring::One, &[]).ports
    }

    fn ports() -> (Ports, Screen) {
        let screen = Screen::default();
        let com1 = Com1::new(EventFd::new(0).unwrap(), Box::new(screen.clone()));
        let cmos = Cmos::new(&Layout::new(256 << 20, 0x1_0000), || Duration::ZERO);
        let fw_cfg = FwCfg::new(Items::new(), None).unwrap();
        let ports = Ports::new(map(), Some(Arc::new(com1)), Some(cmos), fw_cfg);
        (ports, screen)
    }

    fn read(ports: &Ports, port: u16, width: usize) -> Vec<u8> {
        let mut data = vec![0xaa; width];
        ports.read(port, width, &mut data).unwrap();
        data
    }

    #[test]
    fn ports_of_nobody_read_as_ones_at_every_width() {
        let (ports, _) = ports();
        for port in [
            0, 0x20, 0x65, 0x80, 0x92, 0x402, 0xcf8, 0xcfc, 0x51c, 0x50b, 0xffff,
        ] {
            for width in [1, 2, 4] {
                assert_eq!(read(&ports, port, width), vec![0xff; width], "{port:#x}");
            }
        }
    }

    #[test]
    fn devices_that_are_left_out_read_as_ones() {
        let fw_cfg = FwCfg::new(Items::new(), None).unwrap();
        let ports = Ports::new(map(), None, None, fw_cfg);
        for port in [0x70, 0x71, 0x3f8, 0x3fd, 0x3ff] {
            ports.write(port, 1, &[0]).unwrap();
            assert_eq!(read(&ports, port, 1), [0xff], "{port:#x}");
        }
        ports.reset().unwrap();
        assert_eq!(read(&ports, 0x511, 1), [b'Q']);
    }

    #[test]
    fn a_device_that_is_not_in_the_map_cannot_be_reached() {
        let screen = Screen::default();
        let com1 = Com1::new(EventFd::new(0).unwrap(), Box::new(screen.clone()));
        let fw_cfg = FwCfg::new(Items::new(), None).unwrap();
        let mut map = map();
        map.retain(|range| range.device == AtPorts::Rtc);
        let ports = Ports::new(map, Some(Arc::new(com1)), None, fw_cfg);
        for port in 0..=u16::MAX {
            assert_eq!(read(&ports, port, 1), [0xff], "{port:#x}");
            assert_eq!(ports.write(port, 1, &[0xfe]).unwrap(), None, "{port:#x}");
        }
        assert!(screen.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_debug_console_says_that_it_is_there_and_prints() {
        let machine = Machine::default();
        let map = Map::new(&machine, Wiring::One, &[]).with_debugcon();
        assert!(map.ports.is_sorted_by(|a, b| a.last < b.first));
        let screen = Screen::default();
        let debugcon = Debugcon::new(Box::new(screen.clone()));
        let fw_cfg = FwCfg::new(Items::new(), None).unwrap();
        let ports = Ports::new(map.ports, None, None, fw_cfg);
        let ports = ports.with_debugcon(Some(Arc::new(debugcon)));
        assert_eq!(read(&ports, 0x402, 1), [0xe9]);
        assert_eq!(read(&ports, 0x402, 2), [0xe9, 0xff]);
        assert_eq!(read(&ports, 0x401, 4), [0xff, 0xe9, 0xff, 0xff]);
        ports.write(0x402, 1, b"one ").unwrap();
        ports.write(0x402, 2, b"t-w-").unwrap();
        ports.write(0x401, 4, b"-o--").unwrap();
        ports.reset().unwrap();
        ports.write(0x403, 1, b"-").unwrap();
        assert_eq!(*screen.0.lock().unwrap(), b"one two");
    }

    #[test]
    fn a_host_that_takes_no_more_of_a_debug_console_is_an_error() {
        let map = Map::new(&Machine::default(), Wiring::One, &[]).with_debugcon();
        let full = std::fs::File::options().write(true).open("/dev/full");
        let debugcon = Debugcon::new(Box::new(full.unwrap()));
        let fw_cfg = FwCfg::new(Items::new(), None).unwrap();
        let ports = Ports::new(map.ports, None, None, fw_cfg);
        let ports = ports.with_debugcon(Some(Arc::new(debugcon)));
        assert!(ports.write(0x402, 1, b"x").is_err());
    }

    #[test]
    fn no_port_panics_at_any_width() {
        let (ports, _) = ports();
        for port in 0..=u16::MAX {
            for width in [1, 2, 4] {
                read(&ports, port, width);
                ports.write(port, width, &[0; 4][..width]).unwrap();
            }
        }
    }

    #[test]
    fn a_string_of_bytes_goes_to_one_port() {
        let (ports, screen) = ports();
        ports.write(0x3f8, 1, b"hello").unwrap();
        assert_eq!(*screen.0.lock().unwrap(), b"hello");
        let mut signature = [0; 6];
        assert_eq!(
            ports.read(0x511, 1, &mut signature).unwrap(),
            Some(Event::FwCfg)
        );
        assert_eq!(&signature, b"QEMU\0\0");
    }

    #[test]
    fn a_wide_access_to_8_bit_registers_is_one_per_port() {
        let (ports, _) = ports();
        // Index and data of the RTC in one 16-bit write.
        ports.write(0x70, 2, &[0x40, 0x5a]).unwrap();
        ports.write(0x70, 1, &[0x40]).unwrap();
        assert_eq!(read(&ports, 0x71, 1), [0x5a]);
        assert_eq!(read(&ports, 0x70, 2), [0xff, 0x5a]);
    }

    #[test]
    fn the_keyboard_controller_looks_absent_but_ready() {
        let (ports, _) = ports();
        assert_eq!(read(&ports, 0x64, 1), [0xfd]);
        assert_eq!(read(&ports, 0x60, 1), [0xff]);
    }

    #[test]
    fn resets_are_events_and_pci_addresses_are_not() {
        let (ports, _) = ports();
        assert_eq!(ports.write(0x64, 1, &[0xfe]).unwrap(), Some(Event::Reset));
        assert_eq!(ports.write(0xcf9, 1, &[0x06]).unwrap(), Some(Event::Reset));
        // Byte 1 of the PCI address register is port 0xCF9, but this is one access to 0xCF8.
        assert_eq!(ports.write(0xcf8, 4, &[0, 0xff, 0, 0x80]).unwrap(), None);
        assert_eq!(ports.write(0x64, 2, &[0xfe, 0xfe]).unwrap(), None);
    }

    #[test]
    fn a_panic_is_told_at_a_port_of_its_own() {
        let (ports, _) = ports();
        assert_eq!(read(&ports, 0x505, 1), [3]);
        assert_eq!(ports.write(0x505, 1, &[2]).unwrap(), None);
        assert_eq!(ports.write(0x505, 2, &[1, 0]).unwrap(), None);
        assert_eq!(ports.write(0x504, 2, &[0, 1]).unwrap(), None);
        let event = ports.write(0x505, 1, &[1]).unwrap();
        assert_eq!(event, Some(Event::Panicked));
    }

    #[test]
    fn a_failure_ends_a_string_of_writes() {
        let (ports, _) = ports();
        let mut data = FailureCode::Memory.to_port_value().to_le_bytes().to_vec();
        data.extend([0; 4]);
        assert_eq!(
            ports.write(0x51c, 4, &data).unwrap(),
            Some(Event::Message(Message::Failure(FailureCode::Memory)))
        );
    }

    #[test]
    fn a_reset_reaches_every_device() {
        let (ports, _) = ports();
        ports.write(0x3ff, 1, &[0x55]).unwrap();
        ports.write(0x70, 1, &[0x0d]).unwrap();
        ports.write(0x510, 2, &[0x19, 0]).unwrap();
        ports.reset().unwrap();
        assert_eq!(read(&ports, 0x3ff, 1), [0]);
        assert_eq!(read(&ports, 0x71, 1), [0], "index 0: seconds");
        assert_eq!(read(&ports, 0x511, 1), [b'Q']);
    }
}
