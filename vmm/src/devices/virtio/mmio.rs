// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of a virtio device in memory space, and how its driver brings it up.
//!
//! Spec: VIRTIO 1.2, sections 2.1 (status), 3.1 (initialization) and 4.2 (virtio over MMIO), version
//! 2, or version 1, which is the [legacy interface](Interface::Legacy). Registers are 32 bits wide
//! and take no other access; behind them is what the device itself has to say, at any width. A driver
//! that breaks the rules finds DEVICE_NEEDS_RESET in the status, and the device does nothing until it
//! has been reset. A legacy driver has no bit for that and just finds that nothing is done.

use super::legacy::{GUEST_PAGE_SIZE, Pages, QUEUE_ALIGN, QUEUE_PFN};
use super::queue::{Broken, Place, Queue};
use super::{Device, Interface, VERSION_1};
use crate::devices::bus::lock;
use crate::memory::Memory;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
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
const VERSION_MODERN: u32 = 2;
const VERSION_LEGACY: u32 = 1;
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
const FEATURES: u64 = INDIRECT | EVENT_INDEX | VERSION_1;
/// Feature of the legacy interface: a request may be cut into buffers anywhere.
const ANY_LAYOUT: u64 = 1 << 27;
const LEGACY_FEATURES: u64 = INDIRECT | EVENT_INDEX | ANY_LAYOUT;
/// All features that the legacy interface has bits for.
const LEGACY_BITS: u64 = 0xffff_ffff;

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
    interface: Interface,
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
        // Told once of each: what is left outside for want of buffers wakes nobody by itself, and
        // nobody has to read a counter.
        let once = EventSet::IN | EventSet::EDGE_TRIGGERED;
        add(notified.as_raw_fd(), once, Self::NOTIFIED)?;
        add(outside.as_raw_fd(), once, Self::OUTSIDE)?;
        let patience = if blocking { -1 } else { 0 };
        Ok(Self { epoll, patience })
    }
}

impl Served {
    /// Waits for something to do, and gives whether that is a notification. Without blocking, nothing
    /// to do is an error.
    fn wait(&self) -> io::Result<bool> {
        let Some(events) = &self.events else {
            loop {
                match self.notified.read() {
                    // A signal is the main thread's, but may come to any.
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => return result.map(|_| true),
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
        Ok(found.any(|event| event.data() == Events::NOTIFIED))
    }
}

/// What the driver has written.
#[derive(Debug, Default)]
struct Registers {
    places: Vec<Place>,
    /// Instead of places, from a legacy driver.
    pages: Vec<Pages>,
    /// It stays when the driver resets the device, as Linux relies on.
    page_size: u32,
    device_features_select: u32,
    driver_features_select: u32,
    driver_features: u64,
    queue_select: usize,
}

impl Transport {
    /// Registers of `device`, as `interface` has them, whose queues are in `memory`. Each queue has
    /// an event counter that is written to for each notification; with `blocking`, whoever reads it
    /// waits for that.
    pub fn new(
        interface: Interface,
        device: Box<dyn Device>,
        memory: Memory,
        blocking: bool,
    ) -> io::Result<Self> {
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
            pages: queues.iter().map(|it| Pages::new(it.most)).collect(),
            ..Registers::default()
        };
        Ok(Self {
            interface,
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
        let mut registers = lock(&self.registers);
        self.power_on(&mut registers);
        registers.page_size = 0;
        drop(registers);
        // An interrupt of the old machine is not one of the new; often there is none.
        let _ = self.line.read();
    }

    /// Everything but the size of pages back to power-on. When it returns, nothing of a queue is
    /// under way.
    fn power_on(&self, registers: &mut Registers) {
        self.closed.store(true, Ordering::SeqCst);
        for index in 0..self.queues.len() {
            self.stop_queue(index);
        }
        self.device.reset();
        registers.places.fill(Place::default());
        for (pages, served) in registers.pages.iter_mut().zip(&self.queues) {
            *pages = Pages::new(served.most);
        }
        registers.device_features_select = 0;
        registers.driver_features_select = 0;
        registers.driver_features = 0;
        registers.queue_select = 0;
        self.status.store(0, Ordering::SeqCst);
        self.interrupt_status.store(0, Ordering::SeqCst);
    }

    /// Takes a queue out of use. When it returns, nothing of it is under way: what the driver had
    /// made available gets no answer, and its memory is no longer touched.
    fn stop_queue(&self, index: usize) {
        /// How long the host gets until it is asked again.
        const PAUSE: Duration = Duration::from_micros(100);
        if let Some(served) = self.queues.get(index) {
            let mut queue = lock(&served.queue);
            queue.reset();
            while !self.device.settle(index) {
                std::thread::sleep(PAUSE);
            }
        }
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
            VERSION => match self.interface {
                Interface::Modern => VERSION_MODERN,
                Interface::Legacy => VERSION_LEGACY,
            },
            DEVICE_ID => self.device.kind(),
            VENDOR_ID => VENDOR_VALUE,
            DEVICE_FEATURES => half(self.features(), registers.device_features_select),
            QUEUE_SIZE_MAX => queue.map_or(0, |served| served.most.into()),
            INTERRUPT_STATUS => self.interrupt_status.load(Ordering::SeqCst),
            STATUS => self.status.load(Ordering::SeqCst) & self.visible(),
            _ if self.interface == Interface::Legacy => match offset {
                QUEUE_PFN => (registers.pages.get(registers.queue_select)).map_or(0, |it| it.first),
                _ => 0,
            },
            QUEUE_READY => queue.map_or(0, |served| lock(&served.queue).is_ready().into()),
            // There is none.
            SHARED_MEMORY..SHARED_MEMORY_END => u32::MAX,
            CONFIG_GENERATION => self.generation.load(Ordering::SeqCst),
            _ => 0,
        }
    }

    /// A guest write. Fails only if the host refuses an interrupt.
    pub fn write(&self, offset: u32, data: &[u8]) -> io::Result<()> {
        if let Some(offset) = offset.checked_sub(CONFIG) {
            match self.interface {
                Interface::Modern => self.device.write_config(offset, data),
                Interface::Legacy => self.device.write_legacy_config(offset, data),
            }
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
            DRIVER_FEATURES if !self.is_agreed() => {
                let select = registers.driver_features_select;
                set_half(&mut registers.driver_features, select, value);
            }
            QUEUE_SELECT => registers.queue_select = usize::try_from(value).unwrap_or(usize::MAX),
            INTERRUPT_ACKNOWLEDGE => {
                self.interrupt_status.fetch_and(!value, Ordering::SeqCst);
            }
            STATUS if value == 0 => self.power_on(&mut registers),
            STATUS => return self.advance(value, &registers),
            // Linux writes it before the reset that brings a broken device back.
            GUEST_PAGE_SIZE if self.interface == Interface::Legacy => registers.page_size = value,
            _ if self.has(NEEDS_RESET) => {}
            _ => {
                let set_up = match self.interface {
                    Interface::Modern if !self.is_agreed() => Ok(()),
                    Interface::Modern => self.set_up_queue(offset, value, &mut registers),
                    Interface::Legacy => self.set_up_pages(offset, value, &mut registers),
                };
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
        match self.interface {
            Interface::Modern => FEATURES | self.device.features(),
            Interface::Legacy => LEGACY_FEATURES | self.device.features() & LEGACY_BITS,
        }
    }

    /// Whether the driver's features are settled: those of a legacy driver are when it uses the
    /// device (section 3.1.2).
    fn is_agreed(&self) -> bool {
        match self.interface {
            Interface::Modern => self.has(FEATURES_OK),
            Interface::Legacy => !self.closed.load(Ordering::SeqCst),
        }
    }

    /// What the driver can see of the status.
    fn visible(&self) -> u32 {
        match self.interface {
            Interface::Modern => u32::MAX,
            Interface::Legacy => !NEEDS_RESET,
        }
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
        if offset == QUEUE_READY && value == 0 {
            self.stop_queue(index);
            return Ok(());
        }
        let mut queue = lock(&served.queue);
        if queue.is_ready() {
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

    /// The same for a legacy driver.
    fn set_up_pages(
        &self,
        offset: u32,
        value: u32,
        registers: &mut Registers,
    ) -> Result<(), Broken> {
        let index = registers.queue_select;
        let pages = registers.pages.get_mut(index);
        let (Some(served), Some(pages)) = (self.queues.get(index), pages) else {
            return Ok(());
        };
        match offset {
            QUEUE_PFN if value == 0 => {
                self.stop_queue(index);
                pages.first = 0;
            }
            _ if pages.first != 0 => {}
            QUEUE_SIZE => pages.size = value,
            QUEUE_ALIGN => pages.align = value,
            QUEUE_PFN => {
                let place = Pages {
                    first: value,
                    ..*pages
                };
                let place = place.place(registers.page_size)?;
                let events = registers.driver_features & EVENT_INDEX != 0;
                lock(&served.queue).start(&place, events, &self.memory)?;
                pages.first = value;
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes the steps of the initialization that the driver may take. It cannot take one back.
    fn advance(&self, value: u32, registers: &Registers) -> io::Result<()> {
        let mut allowed = ACKNOWLEDGE | DRIVER | FAILED;
        let status = self.status.load(Ordering::SeqCst);
        match self.interface {
            Interface::Modern => {
                let features = registers.driver_features;
                if features & !self.features() == 0 && features & VERSION_1 != 0 {
                    allowed |= FEATURES_OK;
                }
                if (status | value & allowed) & FEATURES_OK != 0 {
                    allowed |= DRIVER_OK;
                }
            }
            // There is no such step, but SeaBIOS takes it and wants to read that it has.
            Interface::Legacy => allowed |= FEATURES_OK | DRIVER_OK,
        }
        let taken = value & allowed;
        let ready = taken & DRIVER_OK != 0 && status & (DRIVER_OK | NEEDS_RESET) == 0;
        if ready {
            self.start(registers);
        }
        self.status.fetch_or(taken, Ordering::SeqCst);
        if ready {
            // Last, because from now on its threads work.
            self.open();
            if self.device.announces_config() {
                self.interrupt(CHANGED)?;
            }
        }
        Ok(())
    }

    /// The features are settled. Does nothing where they have been.
    fn start(&self, registers: &Registers) {
        if !self.closed.load(Ordering::SeqCst) {
            return;
        }
        // A legacy driver is not told that it asks for too much.
        let features = registers.driver_features & self.features();
        if self.interface == Interface::Legacy {
            // It may have set its queues up before it wrote them.
            for served in &self.queues {
                lock(&served.queue).set_events(features & EVENT_INDEX != 0);
            }
        }
        self.device.start(features);
    }

    /// "The transitional device MUST support the driver using the device before" it says that it is
    /// ready (section 3.1.2, legacy interface).
    fn start_early(&self, served: &Served) {
        let registers = lock(&self.registers);
        // A notification from before a reset finds no queue.
        if !self.has(NEEDS_RESET) && lock(&served.queue).is_ready() {
            self.start(&registers);
            self.open();
        }
    }

    /// The queues have something to give, unless the device is broken or breaks just now.
    fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
        if self.has(NEEDS_RESET) {
            self.closed.store(true, Ordering::SeqCst);
        }
    }

    /// Waits for a notification of queue `index`, or for something new outside, and serves it.
    pub fn serve(&self, index: usize) -> io::Result<()> {
        let Some(served) = self.queues.get(index) else {
            return Ok(());
        };
        let notified = served.wait()?;
        if notified && self.interface == Interface::Legacy && !self.is_agreed() {
            self.start_early(served);
        }
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
        // In this order, which `open` relies on.
        let before = self.status.fetch_or(NEEDS_RESET, Ordering::SeqCst);
        self.closed.store(true, Ordering::SeqCst);
        if before & DRIVER_OK != 0 && self.interface == Interface::Modern {
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
