// SPDX-License-Identifier: MIT OR Apache-2.0
//! `report`: a kernel that prints what it was handed and ends by triple fault.
//!
//! Built as a PVH ELF and as a bzImage with a 64-bit entry. Each fact is one `key=value` line on
//! COM1, between `report=begin` and `report=end`; numbers are hexadecimal. It trusts what it is
//! handed, as kernels do; the tests that read the report do not.

#![no_std]
#![no_main]

mod acpi;
mod handed;
mod mp;
mod serial;

use core::arch::{asm, global_asm};
use core::panic::PanicInfo;
use serial::line;

global_asm!(
    include_str!("entry.s"),
    main = sym main,
    pvh_note = const abi::pvh::ELF_NOTE_PHYS32_ENTRY,
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
}

/// IA32_MTRR_PHYSBASE0, IA32_MTRR_PHYSMASK0 and IA32_MTRR_DEF_TYPE: the ones firmware writes.
const MTRRS: [u32; 3] = [0x200, 0x201, 0x2ff];

fn read_msr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading an MTRR, which every processor that this guest meets has, changes nothing.
    unsafe { asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high) };
    u64::from(high) << 32 | u64::from(low)
}

/// `State::mode` of the PVH entry.
const MODE_PVH: u64 = 1;

unsafe extern "C" {
    static state: State;
    fn triple_fault() -> !;
}

extern "C" fn main() -> ! {
    // SAFETY: `entry.s` has written it and does not run again.
    let cpu = unsafe { &state };
    line!("report=begin");
    line!("tsc={:#x}", cpu.tsc);
    line!(
        "mode={}",
        if cpu.mode == MODE_PVH {
            "pvh"
        } else {
            "linux64"
        }
    );
    line!("cr0={:#x}", cpu.cr0);
    line!("cr3={:#x}", cpu.cr3);
    line!("cr4={:#x}", cpu.cr4);
    line!("flags={:#x}", cpu.flags);
    line!("efer={:#x}", cpu.efer);
    line!("cs={:#x}", cpu.cs);
    line!("ds={:#x}", cpu.ds);
    line!("es={:#x}", cpu.es);
    line!("ss={:#x}", cpu.ss);
    for register in MTRRS {
        line!("mtrr={register:#x} {:#x}", read_msr(register));
    }
    line!("pointer={:#x}", cpu.pointer);
    if cpu.mode == MODE_PVH {
        handed::start_info(cpu.pointer);
    } else {
        handed::boot_params(cpu.pointer);
    }
    mp::tables();
    line!("report=end");
    // SAFETY: nothing is left to be done.
    unsafe { triple_fault() }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    line!("panic={info}");
    // SAFETY: as in `main`.
    unsafe { triple_fault() }
}
