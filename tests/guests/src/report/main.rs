// SPDX-License-Identifier: MIT OR Apache-2.0
//! `report`: a kernel that prints what it was handed and ends by triple fault.
//!
//! Built in every format that QEMU hands over: a PVH ELF, bzImages with a 64-bit, a 32-bit and
//! only a 16-bit entry, and multiboot 1. Each fact is one `key=value` line on COM1, between
//! `report=begin` and `report=end`; numbers are hexadecimal. It trusts what it is handed, as
//! kernels do; the tests that read the report do not.
//!
//! Words of its command line ask for more: `report=bytes` for the bytes of every table,
//! `report=pci` for the devices behind the PCI configuration ports, `report=digest,START,LENGTH`
//! for a digest of memory, which may be asked for several times; `report=scribble,PLACES` for random
//! accesses to the registers there, without end, instead of the rest.

#![no_std]
#![no_main]

mod acpi;
mod bios32;
mod handed;
mod mp;
mod multiboot;
mod pci;
mod platform;
mod ports;
mod real;
mod scribble;
mod serial;
mod smbios;

use bios32::Bios32;
use core::arch::global_asm;
use core::arch::x86_64::_rdtsc;
use core::panic::PanicInfo;
use handed::Handed;
use serial::line;

global_asm!(
    include_str!("entry.s"),
    main = sym main,
    pvh_note = const abi::pvh::ELF_NOTE_PHYS32_ENTRY,
    options(att_syntax),
);
global_asm!(include_str!("bios32.s"), options(att_syntax));
global_asm!(
    include_str!("setup.s"),
    load_address = const abi::layout::HIGH_RAM_START,
    options(att_syntax),
);

/// The processor as the firmware left it; written by `entry.s`.
#[derive(Debug)]
#[repr(C)]
struct State {
    mode: u64,
    pointer: u64,
    cr0: u64,
    cr3: u64,
    cr4: u64,
    flags: u64,
    efer: u64,
    cs: u16,
    ds: u16,
    es: u16,
    ss: u16,
    tsc: u64,
    task: u16,
    local_descriptors: u16,
    unused: [u32; 3],
    global_descriptors: [u16; 8],
    interrupt_descriptors: [u16; 8],
    record: u64,
    ebx: u32,
    ebp: u32,
    edi: u32,
}

/// `State::mode`.
const MODE_PVH: u64 = 1;
const MODE_LINUX_64: u64 = 2;
const MODE_LINUX_32: u64 = 3;
const MODE_LINUX_16: u64 = 4;
const MODE_MULTIBOOT: u64 = 5;

unsafe extern "C" {
    static state: State;
    static bios32: Bios32;
    fn triple_fault() -> !;
}

extern "C" fn main() -> ! {
    // SAFETY: `entry.s` has written it and does not run again.
    let cpu = unsafe { &state };
    // SAFETY: reading the time-stamp counter changes nothing.
    let speaks = unsafe { _rdtsc() };
    line!("report=begin");
    if cpu.mode == MODE_LINUX_16 {
        real::processor(cpu.record, speaks);
    } else {
        line!("tsc={:#x}", cpu.tsc);
        line!("speaks={speaks:#x}");
        processor(cpu);
    }
    platform::report();
    line!("pointer={:#x}", cpu.pointer);
    let Handed { rsdp, command_line } = match cpu.mode {
        MODE_PVH => handed::start_info(cpu.pointer),
        MODE_LINUX_64 | MODE_LINUX_32 => handed::boot_params(cpu.pointer),
        MODE_LINUX_16 => {
            let handed = handed::boot_params(cpu.pointer);
            real::answers(cpu.record);
            handed
        }
        _ => multiboot::info(cpu.pointer),
    };
    for word in command_line.split(' ') {
        if let Some(places) = word.strip_prefix("report=scribble,") {
            scribble::at(places, cpu.tsc);
        }
    }
    if let MODE_LINUX_16 | MODE_MULTIBOOT = cpu.mode {
        // SAFETY: as `state`.
        bios32::answers(unsafe { &bios32 });
    }
    let asked = |what| command_line.split(' ').any(|word| word == what);
    acpi::tables(rsdp, asked("report=bytes"));
    smbios::tables(asked("report=bytes"));
    mp::tables();
    if asked("report=pci") {
        pci::devices();
    }
    for place in command_line.split(' ') {
        if let Some(place) = place.strip_prefix("report=digest,") {
            handed::digest_of(place);
        }
    }
    line!("report=end");
    // SAFETY: nothing is left to be done.
    unsafe { triple_fault() }
}

/// The state at a 32-bit or 64-bit entry.
fn processor(cpu: &State) {
    let name = match cpu.mode {
        MODE_PVH => "pvh",
        MODE_LINUX_64 => "linux64",
        MODE_LINUX_32 => "linux32",
        _ => "multiboot",
    };
    line!("mode={name}");
    line!("cr0={:#x}", cpu.cr0);
    line!("cr3={:#x}", cpu.cr3);
    line!("cr4={:#x}", cpu.cr4);
    line!("flags={:#x}", cpu.flags);
    line!("efer={:#x}", cpu.efer);
    line!("cs={:#x}", cpu.cs);
    line!("ds={:#x}", cpu.ds);
    line!("es={:#x}", cpu.es);
    line!("ss={:#x}", cpu.ss);
    if cpu.mode != MODE_LINUX_64 {
        line!("registers={:#x} {:#x} {:#x}", cpu.ebx, cpu.ebp, cpu.edi);
    }
    task(cpu);
    line!(
        "descriptors={:#x} {:#x} {:#x}",
        cpu.global_descriptors[0],
        cpu.interrupt_descriptors[0],
        cpu.local_descriptors
    );
}

/// The task register: selector, and as its descriptor in memory says access rights and limit.
/// Read there, since LAR and LSL are more than a hypervisor's emulator knows.
fn task(cpu: &State) {
    let table = cpu.global_descriptors;
    let base = u64::from(table[1]) | u64::from(table[2]) << 16;
    let mut descriptor = 0;
    if cpu.task >= 8 && cpu.task <= table[0] {
        descriptor = handed::number(handed::bytes(base + u64::from(cpu.task & !7), 8), 0, 8);
    }
    line!(
        "task={:#x} {:#x} {:#x}",
        cpu.task,
        descriptor >> 40 & 0xf0ff,
        descriptor & 0xffff | descriptor >> 32 & 0xf_0000
    );
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    line!("panic={info}");
    // SAFETY: as in `main`.
    unsafe { triple_fault() }
}
