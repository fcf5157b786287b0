// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of a virtio device in memory space, and how its driver brings it up.
//!
//! Spec: VIRTIO 1.2, sections 2.1 (status), 3.1 (initialization) and 4.2 (virtio over MMIO), version
//! 2. Registers are 32 bits wide and take no other access. A driver that breaks the rules finds
//! DEVICE_NEEDS_RESET in the status, and the device does nothing until it has been reset.

use super::Device;
use super::queue::{Broken, Place, Queue};
use crate::devices::bus::lock;
use crate::memory::Memory;
use std::io;
use std::sync::Mutex;
use vmm_sys_util::eventfd::EventFd;

const MAGIC: u32 = 0x00;
const VERSION: u32 = 0x04;
const DEVICE_ID: u32 = 0x08;
const VENDOR_ID: u32 = 0x0c;
const DEVICE_FEATURES: u32 = 0x10;
const DEVICE_FEATURES_SELECT: u32 = 0x14;
const DRIVER_FEATURES: u32 = 0x20;
const DRIVER_FEATURES_SELECT: u32 = 0x24;
const QUEUE_SELECT: u32 = 0x30;
const QUEUE_SIZE_MAX: u32 = 0x34;
const QUEUE_SIZE: u32 = 0x38;
const QUEUE_READY: u32 = 0x44;
/// Queue notify: the number of a queue that has something new.
pub const QUEUE_NOTIFY: u32 = 0x50;
const INTERRUPT_STATUS: u32 = 0x60;
const INTERRUPT_ACKNOWLEDGE: u32 = 0x64;
const STATUS: u32 = 0x70;
const QUEUE_DESCRIPTORS: u32 = 0x80;
const QUEUE_AVAILABLE: u32 = 0x90;
const QUEUE_USED: u32 = 0xa0;
/// Length and address of the selected shared memory region: four registers.
const SHARED_MEMORY: u32 = 0xb0;
const SHARED_MEMORY_END: u32 = 0xc0;

const MAGIC_VALUE: u32 = u32::from_le_bytes(*b"virt");
const VERSION_VALUE: u32 = 2;
const VENDOR_VALUE: u32 = u32::from_le_bytes(*b"QBRS");

/// Status: the driver has noticed the device.
const ACKNOWLEDGE: u32 = 1 << 0;
/// Status: it knows how to drive it.
const DRIVER: u32 = 1 << 1;
/// Status: it is set up.
const DRIVER_OK: u32 = 1 << 2;
/// Status: both sides agree about features.
const FEATURES_OK: u32 = 1 << 3;
/// Status: the device is broken.
const NEEDS_RESET: u32 = 1 << 6;
/// Status: the driver has given up.
const FAILED: u32 = 1 << 7;

/// Feature: a descriptor may lead to a table of descriptors.
const INDIRECT: u64 = 1 << 28;
/// Feature: the rings say when to notify.
const EVENT_INDEX: u64 = 1 << 29;
/// Feature: this is version 1 or later.
const VERSION_1: u64 = 1 << 32;
const FEATURES: u64 = INDIRECT | EVENT_INDEX | VERSION_1;

/// Interrupt status: a buffer was used.
const USED: u32 = 1 << 0;
/// Interrupt status: the configuration, or DEVICE_NEEDS_RESET, has changed.
const CHANGED: u32 = 1 << 1;

/// A device with its registers. Shared by all processors and the thread that serves its queues.
#[derive(Debug)]
pub struct Transport {
    state: Mutex<State>,
    memory: Memory,
    notified: EventFd,
    line: EventFd,
}

#[derive(Debug)]
struct State {
    device: Box<dyn Device>,
    queues: Vec<(Place, Queue)>,
    status: u32,
    device_features_select: u32,
    driver_features_select: u32,
    driver_features: u64,
    queue_select: usize,
    interrupt_status: u32,
}

impl Transport {
    /// Registers of `device`, whose queues are in `memory`. `notified` is written to for each
    /// notification and blocks when it is read; `line` does not, and each write is an interrupt.
    #[must_use]
    pub fn new(device: Box<dyn Device>, memory: Memory, notified: EventFd, line: EventFd) -> Self {
        let sizes = device.queue_sizes().iter();
        let queues = sizes.map(|most| (Place::default(), Queue::new(*most)));
        let state = State {
            queues: queues.collect(),
            device,
            status: 0,
            device_features_select: 0,
            driver_features_select: 0,
            driver_features: 0,
            queue_select: 0,
            interrupt_status: 0,
        };
        Self {
            state: Mutex::new(state),
            memory,
            notified,
            line,
        }
    }

    /// What is written to for each notification.
    #[must_use]
    pub fn notified(&self) -> &EventFd {
        &self.notified
    }

    /// The interrupt.
    #[must_use]
    pub fn line(&self) -> &EventFd {
        &self.line
    }

    /// Number of queues.
    #[must_use]
    pub fn queues(&self) -> usize {
        lock(&self.state).queues.len()
    }

    /// What a machine reset does.
    pub fn reset(&self) {
        lock(&self.state).reset();
        // An interrupt of the old machine is not one of the new; often there is none.
        let _ = self.line.read();
    }

    /// A guest read at `offset` from the first register. What is no register is zero.
    pub fn read(&self, offset: u32, data: &mut [u8]) {
        data.fill(0);
        if let Ok(word) = <&mut [u8; 4]>::try_from(data) {
            *word = lock(&self.state).read(offset).to_le_bytes();
        }
    }

    /// A guest write. Fails only if the host refuses an interrupt.
    pub fn write(&self, offset: u32, data: &[u8]) -> io::Result<()> {
        let Ok(word) = <&[u8; 4]>::try_from(data) else {
            return Ok(());
        };
        let value = u32::from_le_bytes(*word);
        if offset == QUEUE_NOTIFY {
            // KVM keeps these for itself; this is what is left when it cannot.
            return self.notified.write(1);
        }
        let result = lock(&self.state).write(offset, value, &self.memory);
        self.settle(result)
    }

    /// Waits for a notification and serves all queues.
    pub fn serve(&self) -> io::Result<()> {
        self.notified.read()?;
        let result = lock(&self.state).serve(&self.memory);
        match result {
            Ok(served) => {
                if served.more {
                    self.notified.write(1)?;
                }
                if served.interrupt {
                    self.line.write(1)?;
                }
                Ok(())
            }
            Err(broken) => self.settle(Err(broken)),
        }
    }

    fn settle(&self, result: Result<(), Broken>) -> io::Result<()> {
        if result.is_err() && lock(&self.state).break_down() {
            self.line.write(1)?;
        }
        Ok(())
    }
}

impl State {
    fn reset(&mut self) {
        for (place, queue) in &mut self.queues {
            *place = Place::default();
            queue.reset();
        }
        self.status = 0;
        self.device_features_select = 0;
        self.driver_features_select = 0;
        self.driver_features = 0;
        self.queue_select = 0;
        self.interrupt_status = 0;
    }

    fn read(&self, offset: u32) -> u32 {
        let queue = self.queues.get(self.queue_select);
        match offset {
            MAGIC => MAGIC_VALUE,
            VERSION => VERSION_VALUE,
            DEVICE_ID => self.device.kind(),
            VENDOR_ID => VENDOR_VALUE,
            DEVICE_FEATURES => half(FEATURES, self.device_features_select),
            QUEUE_SIZE_MAX => queue.map_or(0, |(_, queue)| queue.most().into()),
            QUEUE_READY => queue.map_or(0, |(_, queue)| queue.is_ready().into()),
            INTERRUPT_STATUS => self.interrupt_status,
            STATUS => self.status,
            // There is none.
            SHARED_MEMORY..SHARED_MEMORY_END => u32::MAX,
            _ => 0,
        }
    }

    fn write(&mut self, offset: u32, value: u32, memory: &Memory) -> Result<(), Broken> {
        match offset {
            DEVICE_FEATURES_SELECT => self.device_features_select = value,
            DRIVER_FEATURES_SELECT => self.driver_features_select = value,
            DRIVER_FEATURES if self.status & FEATURES_OK == 0 => {
                set_half(
                    &mut self.driver_features,
                    self.driver_features_select,
                    value,
                );
            }
            QUEUE_SELECT => self.queue_select = usize::try_from(value).unwrap_or(usize::MAX),
            INTERRUPT_ACKNOWLEDGE => self.interrupt_status &= !value,
            STATUS if value == 0 => self.reset(),
            STATUS => self.advance(value),
            _ if self.status & FEATURES_OK != 0 && self.status & NEEDS_RESET == 0 => {
                return self.set_up_queue(offset, value, memory);
            }
            _ => {}
        }
        Ok(())
    }

    /// The selected queue's registers. A queue in use does not change.
    fn set_up_queue(&mut self, offset: u32, value: u32, memory: &Memory) -> Result<(), Broken> {
        let Some((place, queue)) = self.queues.get_mut(self.queue_select) else {
            return Ok(());
        };
        if queue.is_ready() {
            if offset == QUEUE_READY && value == 0 {
                queue.reset();
            }
            return Ok(());
        }
        let high = (offset >> 2) & 1;
        match offset & !4 {
            QUEUE_DESCRIPTORS => set_half(&mut place.descriptors, high, value),
            QUEUE_AVAILABLE => set_half(&mut place.available, high, value),
            QUEUE_USED => set_half(&mut place.used, high, value),
            _ => match offset {
                QUEUE_SIZE => place.size = value,
                QUEUE_READY if value == 1 => {
                    let events = self.driver_features & EVENT_INDEX != 0;
                    return queue.start(place, events, memory);
                }
                _ => {}
            },
        }
        Ok(())
    }

    /// Takes the steps of the initialization that the driver may take. It cannot take one back.
    fn advance(&mut self, value: u32) {
        let agreed = self.driver_features & !FEATURES == 0 && self.driver_features & VERSION_1 != 0;
        let mut allowed = ACKNOWLEDGE | DRIVER | FAILED;
        if agreed {
            allowed |= FEATURES_OK;
        }
        if (self.status | value & allowed) & FEATURES_OK != 0 {
            allowed |= DRIVER_OK;
        }
        self.status |= value & allowed;
    }

    fn serve(&mut self, memory: &Memory) -> Result<super::Served, Broken> {
        let mut all = super::Served {
            interrupt: false,
            more: false,
        };
        if self.status & (DRIVER_OK | NEEDS_RESET) != DRIVER_OK {
            return Ok(all);
        }
        for (_, queue) in &mut self.queues {
            if queue.is_ready() {
                let served = self.device.serve(queue, memory)?;
                all.interrupt |= served.interrupt;
                all.more |= served.more;
            }
        }
        if all.interrupt {
            self.interrupt_status |= USED;
        }
        Ok(all)
    }

    /// From now on only a reset helps. Gives whether the driver is to be interrupted.
    fn break_down(&mut self) -> bool {
        self.status |= NEEDS_RESET;
        let tell = self.status & DRIVER_OK != 0;
        if tell {
            self.interrupt_status |= CHANGED;
        }
        tell
    }
}

/// Half `select` of `value`; there are only two.
fn half(value: u64, select: u32) -> u32 {
    let bytes = value.to_le_bytes();
    let [a, b, c, d, e, f, g, h] = bytes;
    match select {
        0 => u32::from_le_bytes([a, b, c, d]),
        1 => u32::from_le_bytes([e, f, g, h]),
        _ => 0,
    }
}

fn set_half(value: &mut u64, select: u32, half: u32) {
    match select {
        0 => *value = *value & !0xffff_ffff | u64::from(half),
        1 => *value = *value & 0xffff_ffff | u64::from(half) << 32,
        _ => {}
    }
}
