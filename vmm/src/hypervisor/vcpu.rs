// SPDX-License-Identifier: MIT OR Apache-2.0
//! One virtual processor: run it until it needs us.
//!
//! Spec: Linux `Documentation/virt/kvm/api.rst`, sections `KVM_RUN` and "The kvm_run structure".

use super::kick::Kick;
use super::steps::{Executed, Steps, Stop};
use super::{Error, lacks};
use crate::boot::{CODE_32_SELECTOR, CODE_64_SELECTOR, DATA_SELECTOR, Start, TASK_SELECTOR};
use crate::memory::Memory;
use kvm_bindings::{
    KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_HW_BP,
    KVM_INTERNAL_ERROR_EMULATION, KVMIO, Msrs, kvm_guest_debug, kvm_interrupt, kvm_msr_entry,
    kvm_regs, kvm_segment, kvm_sregs,
};
use kvm_ioctls::{VcpuExit, VcpuFd};
use std::sync::{Arc, Mutex, PoisonError};
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::{errno, ioctl_iow_nr};

ioctl_iow_nr!(KVM_INTERRUPT, KVMIO, 0x86, kvm_interrupt);

/// A processor. It belongs to one thread.
#[derive(Debug)]
pub struct Vcpu {
    fd: VcpuFd,
    /// The guest's memory, which must stay as long as this descriptor keeps the machine alive.
    memory: Memory,
    /// Taken while writes are read that KVM has collected from all processors, if it does.
    collected: Option<Arc<Mutex<()>>>,
    /// The way to get it out of the guest, if it takes interrupts of the 8259 pair.
    kick: Option<Kick>,
    /// A vector that was acknowledged but not taken by KVM yet.
    vector: Option<u8>,
    /// The count of instructions, if they are counted.
    steps: Option<Steps>,
}

/// One or more accesses of the same kind to the same place.
#[derive(Debug)]
pub enum Access<'a> {
    /// The guest reads; the answer goes here.
    Read(&'a mut [u8]),
    /// The guest writes this.
    Write(&'a [u8]),
}

/// Why the guest stopped running.
#[derive(Debug)]
pub enum Exit<'a> {
    /// It accessed a port that KVM does not serve.
    Port {
        /// The port.
        port: u16,
        /// Bytes per access; string instructions make several accesses at once.
        width: usize,
        /// All accesses, one after the other.
        access: Access<'a>,
    },
    /// It accessed an address without memory.
    Mmio {
        /// The address.
        address: u64,
        /// 1 to 8 bytes.
        access: Access<'a>,
    },
    /// It shut down: a triple fault, or what amounts to one.
    Shutdown,
    /// It has come to this linear address, where it was to stop, or by an instruction that counts.
    Debug(u64),
    /// Its local APIC is done with a level-triggered interrupt of this vector.
    EndOfInterrupt(u8),
    /// A signal came, or KVM asks to be called again.
    Interrupted,
    /// KVM gave up. The words say what it said.
    Broken(String),
}

/// Where a processor is.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// Instruction pointer.
    pub rip: u64,
    /// With the base of its segment.
    pub linear: u64,
    /// What its instructions mean.
    pub mode: &'static str,
}

/// Intel SDM volume 3, 2.5 and 3.4.5: control registers, and types of segments that have been used.
const CR0_PROTECTION: u64 = 1;
const CR0_EXTENSION_TYPE: u64 = 1 << 4;
const CR0_PAGING: u64 = 1 << 31;
const CR4_PHYSICAL_ADDRESS_EXTENSION: u64 = 1 << 5;
const EFER_LONG_MODE: u64 = 1 << 8;
const EFER_LONG_MODE_ACTIVE: u64 = 1 << 10;
const CODE_TYPE: u8 = 0xb;
const DATA_TYPE: u8 = 0x3;
const TASK_TYPE: u8 = 0xb;
const TASK_LIMIT: u32 = 0x67;
/// RFLAGS: always one.
const FLAGS_FIXED: u64 = 1 << 1;

/// DR7: breakpoint 0 is on in all tasks; those of the others follow, two bits each. A breakpoint
/// without further bits is one on execution.
const GLOBAL_ENABLE: u64 = 0b10;
/// DR7: always one.
const DR7_FIXED: u64 = 1 << 10;
/// Breakpoints that a processor has.
const BREAKPOINTS: usize = 4;

/// Where an access went.
enum Place {
    Port(u16),
    Address(u64),
}

impl Vcpu {
    pub(super) fn new(
        mut fd: VcpuFd,
        memory: Memory,
        collected: Option<Arc<Mutex<()>>>,
    ) -> Result<Self, Error> {
        if collected.is_some() {
            fd.map_coalesced_mmio_ring()
                .map_err(lacks("KVM_CAP_COALESCED_MMIO", "mapping its ring"))?;
        }
        Ok(Self {
            fd,
            memory,
            collected,
            kick: None,
            vector: None,
            steps: None,
        })
    }

    /// Lets it take interrupts of an 8259 pair: the way to tell it of them.
    pub fn take_interrupts(&mut self) -> Result<Kick, Error> {
        let kick = Kick::new(&self.fd)?;
        self.kick = Some(kick.clone());
        Ok(kick)
    }

    /// The calling thread is the one that runs it from now on.
    pub fn runs_here(&self) {
        if let Some(kick) = &self.kick {
            kick.here();
        }
    }

    /// Gives it an interrupt if one asks and it takes one now, else has it leave the guest as soon
    /// as it does. `asks` says whether one asks, `acknowledge` which.
    pub fn offer(
        &mut self,
        asks: impl Fn() -> bool,
        acknowledge: impl FnOnce() -> Option<u8>,
    ) -> Result<(), Error> {
        if let Some(kick) = &self.kick {
            kick.taken();
        }
        let takes = self.fd.get_kvm_run().ready_for_interrupt_injection != 0;
        if takes && self.vector.is_none() && asks() {
            self.vector = acknowledge();
        }
        if let (true, Some(vector)) = (takes, self.vector)
            && self.interrupt(vector)?
        {
            self.vector = None;
        }
        let wants = self.vector.is_some() || asks();
        self.fd.get_kvm_run().request_interrupt_window = wants.into();
        Ok(())
    }

    /// Hands an interrupt of the 8259 pair to KVM. Gives whether KVM took it: it has no room for a
    /// second one.
    fn interrupt(&self, vector: u8) -> Result<bool, Error> {
        let interrupt = kvm_interrupt { irq: vector.into() };
        // SAFETY: the request reads a `kvm_interrupt`, which is what it is given.
        if unsafe { ioctl_with_ref(&self.fd, KVM_INTERRUPT(), &interrupt) } == 0 {
            return Ok(true);
        }
        match errno::Error::last() {
            error if error.errno() == libc::EEXIST => Ok(false),
            error => Err(lacks("KVM_CAP_SPLIT_IRQCHIP", "KVM_INTERRUPT")(error)),
        }
    }

    /// Sets model-specific registers, each by its number.
    pub fn set_msrs(&self, registers: &[(u32, u64)]) -> Result<(), Error> {
        let entry = |&(index, data): &(u32, u64)| kvm_msr_entry {
            index,
            data,
            ..Default::default()
        };
        let entries: Vec<_> = registers.iter().map(entry).collect();
        let refused =
            |code| lacks("KVM_CAP_GET_MSR_FEATURES", "KVM_SET_MSRS")(errno::Error::new(code));
        let list = Msrs::from_entries(&entries).map_err(|_| refused(libc::E2BIG))?;
        match self.fd.set_msrs(&list) {
            Ok(count) if count == entries.len() => Ok(()),
            Ok(_) => Err(refused(libc::EINVAL)),
            Err(error) => Err(refused(error.errno())),
        }
    }

    /// Has it begin with the kernel instead of at the reset vector.
    pub fn begin(&self, start: &Start) -> Result<(), Error> {
        let step = |step| lacks("KVM_CAP_USER_MEMORY", step);
        let mut sregs = self.fd.get_sregs().map_err(step("KVM_GET_SREGS"))?;
        let long = start.page_tables.is_some();
        let data = segment(DATA_SELECTOR, DATA_TYPE);
        sregs.cs = match long {
            true => kvm_segment {
                l: 1,
                db: 0,
                ..segment(CODE_64_SELECTOR, CODE_TYPE)
            },
            false => segment(CODE_32_SELECTOR, CODE_TYPE),
        };
        (sregs.ds, sregs.es, sregs.ss) = (data, data, data);
        (sregs.fs, sregs.gs) = (data, data);
        sregs.tr = kvm_segment {
            limit: TASK_LIMIT,
            s: 0,
            g: 0,
            db: 0,
            ..segment(TASK_SELECTOR, TASK_TYPE)
        };
        (sregs.gdt.base, sregs.gdt.limit) = start.descriptors;
        (sregs.idt.base, sregs.idt.limit) = (0, 0);
        sregs.cr0 = CR0_PROTECTION | CR0_EXTENSION_TYPE;
        (sregs.cr4, sregs.efer) = (0, 0);
        if let Some(tables) = start.page_tables {
            sregs.cr3 = tables;
            sregs.cr4 = CR4_PHYSICAL_ADDRESS_EXTENSION;
            sregs.efer = EFER_LONG_MODE | EFER_LONG_MODE_ACTIVE;
            sregs.cr0 |= CR0_PAGING;
        }
        self.fd.set_sregs(&sregs).map_err(step("KVM_SET_SREGS"))?;
        let (rbx, rsi) = match long {
            true => (0, start.parameters),
            false => (start.parameters, 0),
        };
        let regs = kvm_regs {
            rip: start.entry,
            rflags: FLAGS_FIXED,
            rbx,
            rsi,
            ..Default::default()
        };
        self.fd.set_regs(&regs).map_err(step("KVM_SET_REGS"))
    }

    /// Has it stop before the instruction at any of these linear addresses, of which the first four
    /// count.
    pub fn watch(&self, addresses: &[u64]) -> Result<(), Error> {
        let mut debug = kvm_guest_debug {
            control: KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP,
            ..Default::default()
        };
        let registers = &mut debug.arch.debugreg;
        let mut enabled = DR7_FIXED;
        for (index, address) in addresses.iter().take(BREAKPOINTS).enumerate() {
            registers[index] = *address;
            enabled |= GLOBAL_ENABLE << (2 * index);
        }
        registers[7] = enabled;
        self.fd
            .set_guest_debug(&debug)
            .map_err(lacks("KVM_CAP_SET_GUEST_DEBUG", "KVM_SET_GUEST_DEBUG"))
    }

    /// Has it stop after each instruction, and counts them.
    pub fn count(&mut self, executed: Arc<Executed>) -> Result<(), Error> {
        let debug = kvm_guest_debug {
            control: KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP,
            ..Default::default()
        };
        let lacks = |step| lacks("KVM_CAP_SET_GUEST_DEBUG", step);
        let set = self.fd.set_guest_debug(&debug);
        set.map_err(lacks("KVM_SET_GUEST_DEBUG"))?;
        let regs = self.fd.get_regs().map_err(lacks("KVM_GET_REGS"))?;
        let sregs = self.fd.get_sregs().map_err(lacks("KVM_GET_SREGS"))?;
        let stop = Stop {
            linear: sregs.cs.base.wrapping_add(regs.rip),
            rcx: regs.rcx,
            traced: true,
        };
        self.steps = Some(Steps::new(stop, executed));
        Ok(())
    }

    /// Whether its instructions are counted.
    pub fn is_counted(&self) -> bool {
        self.steps.is_some()
    }

    /// Counts what was executed since the last stop: up to linear address `traced`, or up to an access.
    fn follow(&mut self, traced: Option<u64>) {
        let Some(mut steps) = self.steps.take() else {
            return;
        };
        if let (Ok(regs), Ok(sregs)) = (self.fd.get_regs(), self.fd.get_sregs()) {
            let stop = Stop {
                linear: traced.unwrap_or(sregs.cs.base.wrapping_add(regs.rip)),
                rcx: regs.rcx,
                traced: traced.is_some(),
            };
            steps.follow(stop, |linear| self.code(linear));
        }
        self.steps = Some(steps);
    }

    /// The bytes at a linear address, if there is memory.
    fn code(&self, linear: u64) -> Option<[u8; 15]> {
        let mut bytes = [0; 15];
        let page = self.fd.translate_gva(linear).ok()?;
        let read = page.valid != 0 && self.memory.read(page.physical_address, &mut bytes).is_ok();
        read.then_some(bytes)
    }

    /// Has it stop nowhere any more.
    pub fn unwatch(&mut self) -> Result<(), Error> {
        self.steps = None;
        let nothing = kvm_guest_debug::default();
        self.fd
            .set_guest_debug(&nothing)
            .map_err(lacks("KVM_CAP_SET_GUEST_DEBUG", "KVM_SET_GUEST_DEBUG"))
    }

    /// Where it is, if KVM can tell.
    pub fn state(&self) -> Option<State> {
        let (regs, sregs) = (self.fd.get_regs().ok()?, self.fd.get_sregs().ok()?);
        Some(State {
            rip: regs.rip,
            linear: sregs.cs.base.wrapping_add(regs.rip),
            mode: mode(&regs, &sregs),
        })
    }

    /// Runs the guest until it needs something. Writes to memory space that KVM has collected, from
    /// all processors, go to `earlier` before an access to memory space is told.
    pub fn run(&mut self, earlier: impl FnMut(u64, &[u8])) -> Result<Exit<'_>, Error> {
        let (place, writing, start, length) = match self.fd.run() {
            Ok(VcpuExit::IoIn(port, data)) => {
                (Place::Port(port), false, data.as_mut_ptr(), data.len())
            }
            Ok(VcpuExit::IoOut(port, data)) => (
                Place::Port(port),
                true,
                data.as_ptr().cast_mut(),
                data.len(),
            ),
            Ok(VcpuExit::MmioRead(address, data)) => (
                Place::Address(address),
                false,
                data.as_mut_ptr(),
                data.len(),
            ),
            Ok(VcpuExit::MmioWrite(address, data)) => (
                Place::Address(address),
                true,
                data.as_ptr().cast_mut(),
                data.len(),
            ),
            Ok(VcpuExit::IoapicEoi(vector)) => return Ok(Exit::EndOfInterrupt(vector)),
            Ok(VcpuExit::Debug(stop)) => {
                let linear = stop.pc;
                self.follow(Some(linear));
                return Ok(Exit::Debug(linear));
            }
            Ok(VcpuExit::Shutdown) => return Ok(Exit::Shutdown),
            Ok(VcpuExit::InternalError) => return Ok(Exit::Broken(self.internal_error())),
            Ok(VcpuExit::FailEntry(reason, cpu)) => {
                return Ok(Exit::Broken(format!(
                    "KVM_EXIT_FAIL_ENTRY, hardware reason {reason:#x} on host processor {cpu}"
                )));
            }
            Ok(VcpuExit::Intr | VcpuExit::IrqWindowOpen) => return Ok(Exit::Interrupted),
            Ok(other) => return Ok(Exit::Broken(format!("unexpected exit {other:?}"))),
            Err(error) if [libc::EINTR, libc::EAGAIN].contains(&error.errno()) => {
                return Ok(Exit::Interrupted);
            }
            Err(source) => return Err(Error::Run { source }),
        };
        if let Place::Address(_) = place {
            self.catch_up(earlier);
        }
        self.follow(None);
        // SAFETY: after KVM_EXIT_IO, the only exit after which the width is used, the kernel has
        // filled this member of the union; all its fields are integers, so any bytes are a value.
        let io = unsafe { self.fd.get_kvm_run().__bindgen_anon_1.io };
        let access = if writing {
            // SAFETY: `start..start + length` is the data area in or behind this processor's
            // `kvm_run`, mapped as long as `self`; the borrow that gave it has ended, and this one
            // lasts as long as the borrow of `self`, during which nothing else reaches that area.
            Access::Write(unsafe { std::slice::from_raw_parts(start, length) })
        } else {
            // SAFETY: as above, and exclusive because `self` is borrowed mutably.
            Access::Read(unsafe { std::slice::from_raw_parts_mut(start, length) })
        };
        Ok(match place {
            Place::Port(port) => Exit::Port {
                port,
                width: io.size.into(),
                access,
            },
            Place::Address(address) => Exit::Mmio { address, access },
        })
    }

    /// Gives the writes that KVM has collected, in their order. Who comes second finds those given
    /// that its own access follows.
    fn catch_up(&mut self, mut earlier: impl FnMut(u64, &[u8])) {
        let Some(collected) = &self.collected else {
            return;
        };
        let _turn = collected.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok(Some(write)) = self.fd.coalesced_mmio_read() {
            let length = usize::try_from(write.len).unwrap_or(usize::MAX);
            if let Some(data) = write.data.get(..length) {
                earlier(write.phys_addr, data);
            }
        }
    }

    /// Where the guest is, for an error message: instruction pointer and the bytes there.
    pub fn whereabouts(&self) -> String {
        let (Ok(regs), Ok(sregs)) = (self.fd.get_regs(), self.fd.get_sregs()) else {
            return "at an unknown place".into();
        };
        let linear = sregs.cs.base.wrapping_add(regs.rip);
        let code = match self.code(linear) {
            Some(bytes) => bytes.map(|byte| format!("{byte:02x}")).join(" "),
            None => "not readable".into(),
        };
        format!(
            "at RIP {:#x} (linear {linear:#x}), instruction bytes {code}",
            regs.rip
        )
    }

    fn internal_error(&mut self) -> String {
        // SAFETY: the exit reason was KVM_EXIT_INTERNAL_ERROR, for which the kernel fills this
        // member of the union; all its fields are integers, so any bytes are a value.
        let internal = unsafe { self.fd.get_kvm_run().__bindgen_anon_1.internal };
        let meaning = match internal.suberror {
            KVM_INTERNAL_ERROR_EMULATION => "it cannot emulate an instruction",
            2 => "an interrupt could not be delivered",
            3 => "the host delivered an unexpected event",
            4 => "unexpected exit reason",
            _ => "unknown",
        };
        format!(
            "KVM_EXIT_INTERNAL_ERROR, suberror {} ({meaning})",
            internal.suberror
        )
    }
}

/// A flat segment of 32 bits.
fn segment(selector: u16, kind: u8) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        type_: kind,
        present: 1,
        dpl: 0,
        db: 1,
        s: 1,
        l: 0,
        g: 1,
        ..Default::default()
    }
}

/// What the processor's instructions mean.
fn mode(regs: &kvm_regs, sregs: &kvm_sregs) -> &'static str {
    const VIRTUAL_8086: u64 = 1 << 17;
    match (sregs.cs.l != 0, sregs.cs.db != 0) {
        _ if sregs.cr0 & CR0_PROTECTION == 0 => "real",
        _ if regs.rflags & VIRTUAL_8086 != 0 => "virtual 8086",
        (true, _) if sregs.efer & EFER_LONG_MODE_ACTIVE != 0 => "64",
        _ if sregs.efer & EFER_LONG_MODE_ACTIVE != 0 => "compatible",
        (_, true) => "protected 32",
        (_, false) => "protected 16",
    }
}
