// SPDX-License-Identifier: MIT OR Apache-2.0
//! What outlives the firmware: the services of a BIOS, for kernels that are entered in real mode,
//! or, as multiboot kernels do, go back there.
//!
//! Spec: IBM PS/2 and PC BIOS Interface Technical Reference; Ralf Brown's Interrupt List; PCI BIOS
//! Specification 2.1.
//! The code runs in the image, at F000, which is never written; what changes lies in the BIOS data
//! area and the extended one. None of it is set up, and none of it costs anything, for kernels
//! that are entered otherwise.

use crate::boot::{CODE16, DATA, DATA16};
use crate::console;
use crate::machine::Machine;
use abi::bios::{BDA_SEGMENT, Ebda, TICKS_A_DAY};
use abi::debug::{FAILURE_PORT, FailureCode};
use abi::linux::ENTRY_16_PARAGRAPHS;
use core::arch::global_asm;
use core::mem::offset_of;
use firmware_core::memory::Range;
use firmware_core::tables::bios_data;

global_asm!(
    include_str!("install.s"),
    include_str!("start.s"),
    include_str!("services.s"),
    include_str!("video.s"),
    include_str!("system.s"),
    include_str!("keyboard.s"),
    include_str!("time.s"),
    include_str!("pci.s"),
    image = const abi::layout::ROM_ALIAS_START,
    local_apic = const abi::layout::LOCAL_APIC_ADDR,
    bda_segment = const BDA_SEGMENT,
    ticks_a_day = const TICKS_A_DAY,
    entry_paragraphs = const ENTRY_16_PARAGRAPHS,
    failure_port = const FAILURE_PORT,
    real_mode_failure = const FailureCode::RealMode.to_port_value(),
    smap = const SMAP,
    e820_entries = const offset_of!(Ebda, e820_entries),
    e820 = const offset_of!(Ebda, e820),
    extended_kib = const offset_of!(Ebda, extended_kib),
    below_16m_kib = const offset_of!(Ebda, below_16m_kib),
    above_16m_64k = const offset_of!(Ebda, above_16m_64k),
    code16 = const CODE16,
    data16 = const DATA16,
    data = const DATA,
    options(att_syntax),
);

/// `SMAP`, which int 15h, AX=E820h asks for and answers.
const SMAP: u32 = 0x534d_4150;

/// Fills the BIOS data area; the vectors follow when paging is off.
///
/// `block` is the hand-off block, at whose start the extended BIOS data area stands already.
#[cold] // in favour of size: few kernels come here
pub fn prepare(machine: &mut Machine, block: Range) {
    let com1 = console::com1().map(|_| console::COM1);
    let (bda, _) = machine.conventional_memory();
    bios_data::write_bda(bda, block, com1);
}
