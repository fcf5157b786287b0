// SPDX-License-Identifier: MIT OR Apache-2.0
//! The I/O ports: which device answers, and what the run must know about it.
//!
//! Spec: the port map of QEMU `microvm`, and the additions named in [`crate::devices`].
//! In: an access of `width` bytes, repeated or not. Out: data, and an [`Event`] if the access was
//! one that the run loop acts upon. A port without a device reads as ones.

use super::cmos::{self, Cmos};
use super::debug::{self, Message};
use super::fw_cfg::FwCfg;
use super::reset;
use super::serial::{COM1_PORT, COM1_PORTS, Com1};
use abi::fw_cfg::{PORT_BASE, PORT_COUNT};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const FW_CFG_LAST: u16 = PORT_BASE + PORT_COUNT - 1;
const COM1_LAST: u16 = COM1_PORT + COM1_PORTS - 1;

/// What the run loop must know about an access.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// The guest asked `fw_cfg`; the last such access comes shortly before the kernel.
    FwCfg,
    /// Firmware said something.
    Message(Message),
    /// The guest reset the machine.
    Reset,
}

/// All ports of the machine. Shared by all processors.
#[derive(Debug)]
pub struct Ports {
    com1: Arc<Com1>,
    cmos: Mutex<Cmos>,
    fw_cfg: Mutex<FwCfg>,
}

impl Ports {
    /// The ports of a machine with these devices.
    #[must_use]
    pub fn new(com1: Arc<Com1>, cmos: Cmos, fw_cfg: FwCfg) -> Self {
        Self {
            com1,
            cmos: Mutex::new(cmos),
            fw_cfg: Mutex::new(fw_cfg),
        }
    }

    /// All devices back to power-on.
    pub fn reset(&self) -> io::Result<()> {
        lock(&self.cmos).reset();
        lock(&self.fw_cfg).reset();
        self.com1.reset()
    }

    /// What went wrong on the host while serving `fw_cfg`, if anything did.
    pub fn fw_cfg_error(&self) -> Option<String> {
        lock(&self.fw_cfg).host_error().map(Into::into)
    }

    /// Reads of `width` bytes each into `data`: one, or as many as a string instruction makes.
    pub fn read(&self, port: u16, width: usize, data: &mut [u8]) -> io::Result<Option<Event>> {
        match port {
            PORT_BASE..=FW_CFG_LAST => {
                lock(&self.fw_cfg).read_string(port - PORT_BASE, width, data);
                Ok(Some(Event::FwCfg))
            }
            _ => {
                for access in data.chunks_mut(width.max(1)) {
                    // Devices with 8-bit registers see a wider access as one per port.
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
                Some(Event::Reset | Event::Message(Message::Failure(_)))
            ) {
                break;
            }
        }
        Ok(event)
    }

    fn read_byte(&self, port: u16) -> io::Result<u8> {
        Ok(match port {
            COM1_PORT..=COM1_LAST => self.com1.read((port - COM1_PORT).to_le_bytes()[0])?,
            cmos::INDEX_PORT | cmos::DATA_PORT => lock(&self.cmos).read(port),
            reset::KEYBOARD_STATUS_PORT => reset::KEYBOARD_STATUS,
            _ => 0xff,
        })
    }

    fn write_once(&self, port: u16, data: &[u8]) -> io::Result<Option<Event>> {
        if let PORT_BASE..=FW_CFG_LAST = port {
            lock(&self.fw_cfg).write(port - PORT_BASE, data);
            return Ok(Some(Event::FwCfg));
        }
        if let Some(message) = debug::decode(port, data) {
            return Ok(Some(Event::Message(message)));
        }
        if let [value] = *data
            && reset::is_reset(port, value)
        {
            return Ok(Some(Event::Reset));
        }
        for (port, value) in (port..=u16::MAX).zip(data) {
            match port {
                COM1_PORT..=COM1_LAST => {
                    self.com1
                        .write((port - COM1_PORT).to_le_bytes()[0], *value)?;
                }
                cmos::INDEX_PORT | cmos::DATA_PORT => lock(&self.cmos).write(port, *value),
                _ => {}
            }
        }
        Ok(None)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere ends the machine; until then the registers are still registers.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
