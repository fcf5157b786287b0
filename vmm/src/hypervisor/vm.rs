// SPDX-License-Identifier: MIT OR Apache-2.0
//! One virtual machine: memory slots, interrupt controllers, processors.
//!
//! Spec: Linux `Documentation/virt/kvm/api.rst`. A machine reset makes a new one: every register,
//! controller and clock is then in the state its creation defines, and nothing can be forgotten.

use super::kick::Kick;
use super::messages::Messages;
use super::vcpu::Vcpu;
use super::{Error, cpuid, lacks};
use crate::memory::Memory;
use abi::layout::{
    IO_APIC_ADDR, KVM_IDENTITY_MAP_ADDR, KVM_TSS_ADDR, PAGE_SIZE, RAM_ABOVE_4G_START,
    RAM_BELOW_4G_END,
};
use kvm_bindings::{
    CpuId, KVM_CAP_SPLIT_IRQCHIP, KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQCHIP_IOAPIC,
    KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_MAX_CPUID_ENTRIES, KVM_PIT_SPEAKER_DUMMY,
    KvmIrqRouting, kvm_enable_cap, kvm_irq_routing_entry, kvm_irqchip, kvm_pit_config,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, IoEventAddress, Kvm, NoDatamatch, VmFd};
use std::cell::OnceCell;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use vmm_sys_util::errno;
use vmm_sys_util::eventfd::EventFd;

/// Pins of KVM's I/O APIC.
const IO_APIC_PINS: u32 = 24;
/// Inputs of each 8259.
const PIC_PINS: u32 = 8;
/// Where the timer arrives at the I/O APIC, as `fw_cfg` item `IRQ0_OVERRIDE` promises.
const TIMER_PIN: u32 = 2;
/// The input of the first 8259 to which the second is connected. No interrupt of its own.
const CASCADE: u32 = 2;
/// I/O APIC redirection entry: the pin is closed.
const PIN_MASKED: u64 = 1 << 16;
/// Size of the I/O APIC's select register, its first.
const SELECT_SIZE: u32 = 4;
/// Where a PC with PCI has the address of what it wants of its configuration space.
const PCI_ADDRESS_PORT: u64 = 0xcf8;
/// Largest memory slot: KVM_MEM_MAX_NR_PAGES, one less than 2^31 pages.
pub(super) const MAX_SLOT_SIZE: u64 = ((1 << 31) - 1) * PAGE_SIZE;
/// CPUID leaf whose EAX begins with the number of physical address bits.
const ADDRESS_SIZES: u32 = 0x8000_0008;

/// Physical address bits of a processor that does not say.
const DEFAULT_ADDRESS_BITS: u32 = 36;

/// Intel SDM volume 3, 12.11, "Memory type range registers".
const MTRR_BASE_0: u32 = 0x200;
const MTRR_MASK_0: u32 = 0x201;
const MTRR_DEFAULT: u32 = 0x2ff;
const MTRR_VALID: u64 = 1 << 11;
const MTRR_ENABLED: u64 = 1 << 11;
const MTRR_WRITE_BACK: u64 = 6;

/// Which interrupt controllers are KVM's. The local APICs always are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Controllers {
    /// All of them, and with `pit` the timer.
    Kernel {
        /// Whether there is a timer.
        pit: bool,
    },
    /// No others.
    Split {
        /// Pins of all I/O APICs: for level-triggered interrupts with smaller numbers KVM tells
        /// when they end.
        pins: u32,
    },
}

/// A machine without processors.
#[derive(Debug)]
pub struct Vm {
    fd: Arc<VmFd>,
    memory: Memory,
    cpuid: CpuId,
    cpus: u32,
    /// Where writes to the I/O APIC's select register are collected, if they are; taken by who reads
    /// them.
    collected: Option<Arc<Mutex<()>>>,
    /// The frequency of the processors' TSC, asked for once.
    tsc_khz: OnceCell<Option<NonZeroU32>>,
}

impl Vm {
    /// A machine with `memory` and `controllers`, and `cpus` processors to come.
    pub fn new(
        kvm: &Kvm,
        memory: &Memory,
        cpus: u32,
        controllers: Controllers,
    ) -> Result<Self, Error> {
        let fd = kvm
            .create_vm()
            .map_err(lacks("KVM_CAP_USER_MEMORY", "KVM_CREATE_VM"))?;
        let tss = usize::try_from(KVM_TSS_ADDR).unwrap_or(usize::MAX);
        fd.set_tss_address(tss)
            .map_err(lacks("KVM_CAP_SET_TSS_ADDR", "KVM_SET_TSS_ADDR"))?;
        fd.set_identity_map_address(KVM_IDENTITY_MAP_ADDR)
            .map_err(lacks(
                "KVM_CAP_SET_IDENTITY_MAP_ADDR",
                "KVM_SET_IDENTITY_MAP_ADDR",
            ))?;
        // Memory comes before the interrupt controllers: the first slot took 6.6 ms after them
        // and takes 0.1 ms before them (Linux 6.18). Creating them starts an ordinary SRCU grace
        // period, and a change of slots waits for one.
        for (slot, piece) in (0..).zip(memory.slots()) {
            let region = kvm_userspace_memory_region {
                slot,
                flags: 0,
                guest_phys_addr: piece.guest,
                memory_size: piece.size,
                userspace_addr: piece.host,
            };
            // SAFETY: `host..host + size` is mapped as long as `memory` or a clone of it lives. This
            // machine, the way to its local APICs and each of its processors, whose descriptors
            // are what keeps it alive, own a clone and drop it after the descriptor, so KVM never reaches unmapped or reused
            // host memory through the slot. Guest ranges do not overlap, because `Memory` is made
            // of disjoint regions. Rust code touches that memory through `Memory` only, whose
            // accesses are volatile.
            unsafe { fd.set_user_memory_region(region) }.map_err(|source| {
                let (size, end) = (piece.size, piece.guest.saturating_add(piece.size));
                memory_error(address_bits(kvm), size, end, source)
            })?;
        }
        let collected = match controllers {
            Controllers::Kernel { pit } => {
                create_controllers(&fd, pit)?;
                None
            }
            Controllers::Split { pins } => {
                let capability = kvm_enable_cap {
                    cap: KVM_CAP_SPLIT_IRQCHIP,
                    args: [pins.into(), 0, 0, 0],
                    ..Default::default()
                };
                fd.enable_cap(&capability)
                    .map_err(lacks("KVM_CAP_SPLIT_IRQCHIP", "KVM_ENABLE_CAP"))?;
                // Selecting a register does nothing yet. A KVM that cannot collect that has the
                // guest exit each time.
                let select = IoEventAddress::Mmio(IO_APIC_ADDR);
                let collects = fd.register_coalesced_mmio(select, SELECT_SIZE);
                collects.ok().map(|()| Arc::default())
            }
        };
        ignore_pci_addresses(&fd);
        let mut cpuid = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(lacks("KVM_CAP_EXT_CPUID", "KVM_GET_SUPPORTED_CPUID"))?;
        // Older kernels leave this feature out of their list, although the in-kernel APIC has it.
        for entry in cpuid.as_mut_slice() {
            if entry.function == 1 && entry.ecx & cpuid::TSC_DEADLINE == 0 {
                let offered = fd.check_extension(Cap::TscDeadlineTimer);
                entry.ecx |= if offered { cpuid::TSC_DEADLINE } else { 0 };
            }
        }
        let memory = memory.clone();
        Ok(Self {
            fd: Arc::new(fd),
            memory,
            cpuid,
            cpus,
            collected,
            tsc_khz: OnceCell::new(),
        })
    }

    /// Has `vcpus` cache RAM and nothing else, as firmware leaves them: the last GiB below 4 GiB has no
    /// RAM.
    pub fn set_memory_types(&self, vcpus: &[Vcpu]) -> Result<(), Error> {
        let leaves = self.cpuid.as_slice().iter();
        let sizes = leaves.filter(|leaf| leaf.function == ADDRESS_SIZES);
        let bits = sizes.map(|leaf| leaf.eax & 0xff).next();
        let all = (1 << bits.unwrap_or(DEFAULT_ADDRESS_BITS).min(63)) - 1;
        let size = RAM_ABOVE_4G_START - RAM_BELOW_4G_END;
        let registers = [
            (MTRR_BASE_0, RAM_BELOW_4G_END),
            (MTRR_MASK_0, all & !(size - 1) | MTRR_VALID),
            (MTRR_DEFAULT, MTRR_ENABLED | MTRR_WRITE_BACK),
        ];
        vcpus.iter().try_for_each(|vcpu| vcpu.set_msrs(&registers))
    }

    /// Lets `line` raise interrupt `irq`: each write is an edge.
    pub fn connect(&self, line: &EventFd, irq: u32) -> Result<(), Error> {
        self.fd
            .register_irqfd(line, irq)
            .map_err(lacks("KVM_CAP_IRQFD", "KVM_IRQFD"))
    }

    /// Has the guest's 32-bit writes of `value` to `address` written to `event`, without an exit.
    pub fn listen(&self, event: &EventFd, address: u64, value: u32) -> Result<(), Error> {
        self.fd
            .register_ioevent(event, &IoEventAddress::Mmio(address), value)
            .map_err(lacks("KVM_CAP_IOEVENTFD", "KVM_IOEVENTFD"))
    }

    /// The way to its local APICs, and for an 8259 pair the way to its first processor.
    pub fn messages(&self, first: Option<Kick>) -> Messages {
        Messages::new(Arc::clone(&self.fd), self.memory.clone(), first)
    }

    /// Sends one edge on interrupt `irq` of KVM's controllers.
    pub fn pulse(&self, irq: u32) -> Result<(), Error> {
        for level in [true, false] {
            self.fd
                .set_irq_line(irq, level)
                .map_err(lacks("KVM_CAP_IRQCHIP", "KVM_IRQ_LINE"))?;
        }
        Ok(())
    }

    /// Whether the guest has opened the pin of KVM's I/O APIC for interrupt `irq`, which is neither the
    /// timer's nor the cascade's.
    pub fn is_heard(&self, irq: u32) -> bool {
        let mut chip = kvm_irqchip {
            chip_id: KVM_IRQCHIP_IOAPIC,
            ..Default::default()
        };
        if self.fd.get_irqchip(&mut chip).is_err() {
            return false;
        }
        // SAFETY: this is the member of the union for the chip that was asked for, which the
        // kernel has filled; it is made of integers, so any bytes are a value.
        let pins = unsafe { chip.chip.ioapic.redirtbl };
        let Some(pin) = pins.get(irq as usize) else {
            return false;
        };
        // SAFETY: both members of this union are the same eight bytes of integers.
        let bits = unsafe { pin.bits };
        bits & PIN_MASKED == 0
    }

    /// Processor `index`, in the state the architecture defines for power-on: number 0 at the
    /// reset vector, the others waiting to be started.
    pub fn vcpu(&self, index: u32) -> Result<Vcpu, Error> {
        let fd = self.fd.create_vcpu(index.into()).map_err(|source| {
            let most = self.fd.check_extension_int(Cap::MaxVcpus);
            cpu_error(index, self.cpus, most, source)
        })?;
        // A KVM that cannot tell does without the leaf.
        let ask = || NonZeroU32::new(fd.get_tsc_khz().unwrap_or(0));
        let tsc_khz = *self.tsc_khz.get_or_init(ask);
        let leaves = cpuid::for_processor(&self.cpuid, index, self.cpus, tsc_khz);
        let table = CpuId::from_entries(&leaves).map_err(|_| Error::Capability {
            capability: "KVM_CAP_EXT_CPUID",
            step: "building the CPUID table",
            source: errno::Error::new(libc::E2BIG),
        })?;
        fd.set_cpuid2(&table)
            .map_err(lacks("KVM_CAP_EXT_CPUID", "KVM_SET_CPUID2"))?;
        Vcpu::new(fd, self.memory.clone(), self.collected.clone())
    }
}

/// Has KVM drop what guests write to the port for PCI addresses, by which Linux looks for a bus 44
/// times. There is none, and an event counter that nobody reads is as good as a port that nobody
/// listens at, but takes no exit. Byte accesses to the ports behind it are not meant: one of them
/// resets the machine.
fn ignore_pci_addresses(fd: &VmFd) {
    let address = IoEventAddress::Pio(PCI_ADDRESS_PORT);
    if let Ok(unread) = EventFd::new(libc::EFD_NONBLOCK) {
        // A KVM that cannot has the guest exit each time.
        let _ = fd.register_ioevent(&unread, &address, NoDatamatch);
    }
}

/// Makes KVM's own controllers, and with `pit` its timer.
fn create_controllers(fd: &VmFd, pit: bool) -> Result<(), Error> {
    fd.create_irq_chip()
        .map_err(lacks("KVM_CAP_IRQCHIP", "KVM_CREATE_IRQCHIP"))?;
    if pit {
        let config = kvm_pit_config {
            flags: KVM_PIT_SPEAKER_DUMMY,
            ..Default::default()
        };
        fd.create_pit2(config)
            .map_err(lacks("KVM_CAP_PIT2", "KVM_CREATE_PIT2"))?;
    }
    let routing = KvmIrqRouting::from_entries(&routes()).map_err(|_| Error::Capability {
        capability: "KVM_CAP_IRQ_ROUTING",
        step: "building the interrupt routes",
        source: errno::Error::new(libc::E2BIG),
    })?;
    fd.set_gsi_routing(&routing)
        .map_err(lacks("KVM_CAP_IRQ_ROUTING", "KVM_SET_GSI_ROUTING"))
}

/// Why processor `index` of `cpus` cannot be had from a KVM that allows `most`.
fn cpu_error(index: u32, cpus: u32, most: i32, source: errno::Error) -> Error {
    if u32::try_from(most).is_ok_and(|most| (1..=index).contains(&most)) {
        Error::Cpus { found: cpus, most }
    } else {
        lacks("KVM_CAP_MAX_VCPUS", "KVM_CREATE_VCPU")(source)
    }
}

/// Why a piece of memory cannot be shown to a guest on a host with `bits` physical address bits.
fn memory_error(bits: Option<u8>, size: u64, end: u64, source: errno::Error) -> Error {
    match bits {
        Some(bits) if size > MAX_SLOT_SIZE || u128::from(end) > 1 << bits => {
            Error::Memory { bits, size, end }
        }
        _ => lacks("KVM_CAP_USER_MEMORY", "KVM_SET_USER_MEMORY_REGION")(source),
    }
}

/// The physical address bits that KVM offers to a guest.
fn address_bits(kvm: &Kvm) -> Option<u8> {
    let supported = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).ok()?;
    let leaf = supported
        .as_slice()
        .iter()
        .find(|entry| entry.function == ADDRESS_SIZES)?;
    let bits = leaf.eax.to_le_bytes()[0];
    (1..=64).contains(&bits).then_some(bits)
}

/// ISA interrupts reach the 8259 pair and the I/O APIC pin of the same number, except that the
/// timer is at pin 2 of the I/O APIC and the cascade nowhere.
fn routes() -> Vec<kvm_irq_routing_entry> {
    let mut table = Vec::new();
    let mut add = |gsi: u32, irqchip: u32, pin: u32| {
        let mut entry = kvm_irq_routing_entry {
            gsi,
            type_: KVM_IRQ_ROUTING_IRQCHIP,
            ..Default::default()
        };
        entry.u.irqchip = kvm_bindings::kvm_irq_routing_irqchip { irqchip, pin };
        table.push(entry);
    };
    for gsi in 0..IO_APIC_PINS {
        match gsi {
            CASCADE => {}
            0..PIC_PINS => add(gsi, KVM_IRQCHIP_PIC_MASTER, gsi),
            _ if gsi < 2 * PIC_PINS => add(gsi, KVM_IRQCHIP_PIC_SLAVE, gsi - PIC_PINS),
            _ => {}
        }
        match gsi {
            0 => add(gsi, KVM_IRQCHIP_IOAPIC, TIMER_PIN),
            TIMER_PIN => {}
            _ => add(gsi, KVM_IRQCHIP_IOAPIC, gsi),
        }
    }
    table
}

#[cfg(test)]
mod test {
    use super::*;

    fn pins(gsi: u32) -> Vec<(u32, u32)> {
        routes()
            .into_iter()
            .filter(|route| route.gsi == gsi)
            .map(|route| {
                // SAFETY: all routes are of the type to which this member belongs, and its fields
                // are integers, so any bytes are a value.
                let target = unsafe { route.u.irqchip };
                (target.irqchip, target.pin)
            })
            .collect()
    }

    #[test]
    fn the_timer_is_moved_and_the_cascade_connected_to_nothing() {
        let (pic, io_apic) = (KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_IOAPIC);
        assert_eq!(pins(0), [(pic, 0), (io_apic, 2)]);
        assert_eq!(pins(2), []);
        assert_eq!(pins(4), [(pic, 4), (io_apic, 4)]);
        assert_eq!(pins(9), [(KVM_IRQCHIP_PIC_SLAVE, 1), (io_apic, 9)]);
        assert_eq!(pins(23), [(io_apic, 23)]);
    }

    #[test]
    fn a_limit_of_the_host_that_an_option_exceeds_is_named() {
        let invalid = || errno::Error::new(libc::EINVAL);
        assert_eq!(
            cpu_error(8, 9, 8, invalid()).to_string(),
            "--cpus 9: expected at most 8 processors, KVM's limit on this host"
        );
        let beyond = memory_error(Some(39), 1 << 39, (1 << 39) + (4 << 30), invalid()).to_string();
        assert!(beyond.contains("39 physical address bits"), "{beyond}");
        let large = memory_error(Some(52), 1 << 43, 1 << 44, invalid());
        assert!(matches!(large, Error::Memory { .. }));
    }

    #[test]
    fn other_failures_are_still_those_of_kvm() {
        let nothing = || errno::Error::new(libc::ENOMEM);
        let errors = [
            cpu_error(7, 8, 8, nothing()),
            memory_error(Some(46), 1 << 30, 5 << 30, nothing()),
            memory_error(None, 1 << 43, 1 << 44, nothing()),
        ];
        let expected = |error: &Error| matches!(error, Error::Capability { .. });
        assert!(errors.iter().all(expected));
    }
}
