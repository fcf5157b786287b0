// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of a virtio device in memory space, and how its driver brings it up.
//!
//! Spec: VIRTIO 1.2, sections 2.1 (status), 3.1 (initialization) and 4.2 (virtio over MMIO), version
//! 2. Registers are 32 bits wide and take no other access; behind them is what the device itself has
//! to say, at any width. A driver that breaks the rules finds
//! DEVICE_NEEDS_RESET in the status, and the device does nothing until it has been reset.

use super::Device;
use super::queue::{Broken, Place, Queue};
use crate::devices::bus::lock;
use crate::memory::Memory;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

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

/// First byte of the device's own configuration.
const CONFIG: u32 = 0x100;
/// Grows when the configuration changes.
const CONFIG_GENERATION: u32 = 0xfc;

/// A device with its registers. Shared by all processors and the threads that serve its queues.
///
/// A processor never waits for data: registers have a lock of their own, and each queue has
/// another, which its thread holds while it works. Only a reset, and the set-up of a queue that is
/// in use, wait for that thread. Locks are taken in this order: registers, then queue.
#[derive(Debug)]
pub struct Transport {
    device: Box<dyn Device>,
    memory: Memory,
    registers: Mutex<Registers>,
    queues: Vec<Served>,
    /// Changed by the driver with the registers locked, and by [`Self::break_down`].
    status: AtomicU32,
    interrupt_status: AtomicU32,
    generation: AtomicU32,
    /// The queues have nothing to give until the driver is ready.
    closed: Arc<AtomicBool>,
    line: EventFd,
}

/// A queue and what wakes its thread.
#[derive(Debug)]
struct Served {
    queue: Mutex<Queue>,
    most: u16,
    notified: EventFd,
    /// What its thread waits for, if not for notifications alone.
    events: Option<Events>,
}

/// A notification, or something new outside.
#[derive(Debug)]
struct Events {
    epoll: Epoll,
    /// In milliseconds, or -1 for ever.
    patience: i32,
}

impl Events {
    const NOTIFIED: u64 = 0;
    const OUTSIDE: u64 = 1;

    fn new(notified: &EventFd, outside: &impl AsRawFd, blocking: bool) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let add = |descriptor, events, data| {
            let event = EpollEvent::new(events, data);
            epoll.ctl(ControlOperation::Add, descriptor, event)
        };
        add(notified.as_raw_fd(), EventSet::IN, Self::NOTIFIED)?;
        // Told once of each: what is left outside for want of buffers wakes nobody by itself.
        let once = EventSet::IN | EventSet::EDGE_TRIGGERED;
        add(outside.as_raw_fd(), once, Self::OUTSIDE)?;
        let patience = if blocking { -1 } else { 0 };
        Ok(Self { epoll, patience })
    }
}

impl Served {
    /// Waits for something to do. Without blocking, nothing to do is an error.
    fn wait(&self) -> io::Result<()> {
        let Some(events) = &self.events else {
            loop {
                match self.notified.read() {
                    // A signal is the main thread's, but may come to any.
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => return result.map(drop),
                }
            }
        };
        let mut found = [EpollEvent::default(); 2];
        let count = loop {
            match events.epoll.wait(events.patience, &mut found) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut found = found.iter().take(count);
        if found.any(|event| event.data() == Events::NOTIFIED) {
            self.notified.read()?;
        }
        Ok(())
    }
}

/// What the driver has written.
#[derive(Debug, Default)]
struct Registers {
    places: Vec<Place>,
    device_features_select: u32,
    driver_features_select: u32,
    driver_features: u64,
    queue_select: usize,
}

impl Transport {
    /// Registers of `device`, whose queues are in `memory`. Each queue has an event counter that
    /// is written to for each notification; with `blocking`, whoever reads it waits for that.
    pub fn new(device: Box<dyn Device>, memory: Memory, blocking: bool) -> io::Result<Self> {
        let closed = Arc::new(AtomicBool::new(true));
        let flags = if blocking { 0 } else { EFD_NONBLOCK };
        let mut queues = Vec::new();
        for (index, most) in device.queue_sizes().into_iter().enumerate() {
            let notified = EventFd::new(flags)?;
            let outside = device.outside(index);
            let events = outside.map(|outside| Events::new(&notified, &outside, blocking));
            queues.push(Served {
                queue: Mutex::new(Queue::new(most, Arc::clone(&closed))),
                most,
                events: events.transpose()?,
                notified,
            });
        }
        let registers = Registers {
            places: vec![Place::default(); queues.len()],
            ..Registers::default()
        };
        Ok(Self {
            device,
            memory,
            registers: Mutex::new(registers),
            queues,
            status: AtomicU32::new(0),
            interrupt_status: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            closed,
            line: EventFd::new(EFD_NONBLOCK)?,
        })
    }

    /// What is written to for each notification, queue after queue.
    pub fn notified(&self) -> impl ExactSizeIterator<Item = &EventFd> {
        self.queues.iter().map(|served| &served.notified)
    }

    /// The interrupt. It never blocks, and each write is an edge.
    #[must_use]
    pub fn line(&self) -> &EventFd {
        &self.line
    }

    /// What a machine reset does. It waits until nothing is under way.
    pub fn reset(&self) {
        self.power_on(&mut lock(&self.registers));
        // An interrupt of the old machine is not one of the new; often there is none.
        let _ = self.line.read();
    }

    /// Everything back to power-on. When it returns, nothing of a queue is under way.
    fn power_on(&self, registers: &mut Registers) {
        self.closed.store(true, Ordering::SeqCst);
        for served in &self.queues {
            lock(&served.queue).reset();
        }
        self.device.reset();
        registers.places.fill(Place::default());
        registers.device_features_select = 0;
        registers.driver_features_select = 0;
        registers.driver_features = 0;
        registers.queue_select = 0;
        self.status.store(0, Ordering::SeqCst);
        self.interrupt_status.store(0, Ordering::SeqCst);
    }

    /// A guest read at `offset` from the first register. What is no register is zero.
    pub fn read(&self, offset: u32, data: &mut [u8]) {
        data.fill(0);
        if let Some(offset) = offset.checked_sub(CONFIG) {
            self.device.read_config(offset, data);
        } else if let Ok(word) = <&mut [u8; 4]>::try_from(data) {
            *word = self.register(offset).to_le_bytes();
        }
    }

    fn register(&self, offset: u32) -> u32 {
        let registers = lock(&self.registers);
        let queue = self.queues.get(registers.queue_select);
        match offset {
            MAGIC => MAGIC_VALUE,
            VERSION => VERSION_VALUE,
            DEVICE_ID => self.device.kind(),
            VENDOR_ID => VENDOR_VALUE,
            DEVICE_FEATURES => half(self.features(), registers.device_features_select),
            QUEUE_SIZE_MAX => queue.map_or(0, |served| served.most.into()),
            QUEUE_READY => queue.map_or(0, |served| lock(&served.queue).is_ready().into()),
            INTERRUPT_STATUS => self.interrupt_status.load(Ordering::SeqCst),
            STATUS => self.status.load(Ordering::SeqCst),
            // There is none.
            SHARED_MEMORY..SHARED_MEMORY_END => u32::MAX,
            CONFIG_GENERATION => self.generation.load(Ordering::SeqCst),
            _ => 0,
        }
    }

    /// A guest write. Fails only if the host refuses an interrupt.
    pub fn write(&self, offset: u32, data: &[u8]) -> io::Result<()> {
        if let Some(offset) = offset.checked_sub(CONFIG) {
            self.device.write_config(offset, data);
            return Ok(());
        }
        let Ok(word) = <&[u8; 4]>::try_from(data) else {
            return Ok(());
        };
        let value = u32::from_le_bytes(*word);
        if offset == QUEUE_NOTIFY {
            // KVM keeps these for itself; this is what is left when it cannot.
            return self.notify(usize::try_from(value).unwrap_or(usize::MAX));
        }
        let mut registers = lock(&self.registers);
        match offset {
            DEVICE_FEATURES_SELECT => registers.device_features_select = value,
            DRIVER_FEATURES_SELECT => registers.driver_features_select = value,
            DRIVER_FEATURES if !self.has(FEATURES_OK) => {
                let select = registers.driver_features_select;
                set_half(&mut registers.driver_features, select, value);
            }
            QUEUE_SELECT => registers.queue_select = usize::try_from(value).unwrap_or(usize::MAX),
            INTERRUPT_ACKNOWLEDGE => {
                self.interrupt_status.fetch_and(!value, Ordering::SeqCst);
            }
            STATUS if value == 0 => self.power_on(&mut registers),
            STATUS => return self.advance(value, &registers),
            _ if !self.has(FEATURES_OK) || self.has(NEEDS_RESET) => {}
            _ => {
                let set_up = self.set_up_queue(offset, value, &mut registers);
                return set_up.or_else(|_| self.break_down());
            }
        }
        Ok(())
    }

    /// Queue `index`, if there is one, is to be served: by its driver's notification, or because
    /// the device has something for it.
    pub fn notify(&self, index: usize) -> io::Result<()> {
        let queue = self.queues.get(index);
        queue.map_or(Ok(()), |served| served.notified.write(1))
    }

    fn features(&self) -> u64 {
        FEATURES | self.device.features()
    }

    fn has(&self, status: u32) -> bool {
        self.status.load(Ordering::SeqCst) & status != 0
    }

    /// The selected queue's registers. A queue in use does not change.
    fn set_up_queue(
        &self,
        offset: u32,
        value: u32,
        registers: &mut Registers,
    ) -> Result<(), Broken> {
        let index = registers.queue_select;
        let places = registers.places.get_mut(index);
        let (Some(served), Some(place)) = (self.queues.get(index), places) else {
            return Ok(());
        };
        let mut queue = lock(&served.queue);
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
                    let events = registers.driver_features & EVENT_INDEX != 0;
                    return queue.start(place, events, &self.memory);
                }
                _ => {}
            },
        }
        Ok(())
    }

    /// Takes the steps of the initialization that the driver may take. It cannot take one back.
    fn advance(&self, value: u32, registers: &Registers) -> io::Result<()> {
        let features = registers.driver_features;
        let agreed = features & !self.features() == 0 && features & VERSION_1 != 0;
        let mut allowed = ACKNOWLEDGE | DRIVER | FAILED;
        if agreed {
            allowed |= FEATURES_OK;
        }
        let status = self.status.load(Ordering::SeqCst);
        if (status | value & allowed) & FEATURES_OK != 0 {
            allowed |= DRIVER_OK;
        }
        let taken = value & allowed;
        let ready = taken & DRIVER_OK != 0 && status & (DRIVER_OK | NEEDS_RESET) == 0;
        if ready {
            self.device.start(features);
        }
        self.status.fetch_or(taken, Ordering::SeqCst);
        if ready {
            // Last, because from now on its threads work.
            self.closed.store(false, Ordering::SeqCst);
            if self.device.announces_config() {
                self.interrupt(CHANGED)?;
            }
        }
        Ok(())
    }

    /// Waits for a notification of queue `index`, or for something new outside, and serves it.
    pub fn serve(&self, index: usize) -> io::Result<()> {
        let Some(served) = self.queues.get(index) else {
            return Ok(());
        };
        served.wait()?;
        let mut queue = lock(&served.queue);
        if !queue.is_open() {
            return Ok(());
        }
        // What follows is done with the queue locked, so that nothing of it comes after a reset.
        match self.device.serve(index, &mut queue, &self.memory) {
            Ok(outcome) => {
                if outcome.more && queue.is_open() {
                    served.notified.write(1)?;
                }
                if outcome.interrupt {
                    self.interrupt(USED)?;
                }
                Ok(())
            }
            Err(_) => self.break_down(),
        }
    }

    /// Tells the driver that the device's configuration is no longer what it was.
    pub fn config_changed(&self) -> io::Result<()> {
        self.generation.fetch_add(1, Ordering::SeqCst);
        let _registers = lock(&self.registers);
        if self.has(DRIVER_OK) {
            self.interrupt(CHANGED)?;
        }
        Ok(())
    }

    /// From now on only a reset helps.
    fn break_down(&self) -> io::Result<()> {
        self.closed.store(true, Ordering::SeqCst);
        let before = self.status.fetch_or(NEEDS_RESET, Ordering::SeqCst);
        if before & DRIVER_OK != 0 {
            self.interrupt(CHANGED)?;
        }
        Ok(())
    }

    fn interrupt(&self, why: u32) -> io::Result<()> {
        self.interrupt_status.fetch_or(why, Ordering::SeqCst);
        self.line.write(1)
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
