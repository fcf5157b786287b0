// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `setup.s` found in real mode: the processor at its entry, and the BIOS's answers.

use crate::handed::{at, list};
use crate::serial::line;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Carry flag and zero flag.
const CARRY: u32 = 1;
const ZERO: u32 = 1 << 6;
/// The question that is a trip to protected mode and back.
const THERE_AND_BACK: u32 = 0xff;

/// `record` in `setup.s`.
#[derive(Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Record {
    tsc: U64,
    cr0: U32,
    flags: U32,
    cs: U16,
    ds: U16,
    es: U16,
    fs: U16,
    gs: U16,
    ss: U16,
    sp: U16,
    unused: U16,
    params: U32,
    questions: U32,
    answers: U32,
    count: U32,
    first_word: U32,
}

/// An element of `questions`.
#[derive(Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Question {
    interrupt: U32,
    eax: U32,
    ebx: U32,
    ecx: U32,
    edx: U32,
    edi: U32,
}

/// What was on the stack after an answer.
#[derive(Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Answer {
    ds: U16,
    es: U16,
    edi: U32,
    esi: U32,
    ebp: U32,
    esp: U32,
    ebx: U32,
    edx: U32,
    ecx: U32,
    eax: U32,
    flags: U32,
}

/// The state at the 16-bit entry.
pub fn processor(record: u64, speaks: u64) {
    let record = at::<Record>(record);
    line!("tsc={:#x}", record.tsc);
    line!("speaks={speaks:#x}");
    line!("mode=linux16");
    line!("cr0={:#x}", record.cr0);
    line!("flags={:#x}", record.flags);
    for (name, value) in [
        ("cs", record.cs),
        ("ds", record.ds),
        ("es", record.es),
        ("fs", record.fs),
        ("gs", record.gs),
        ("ss", record.ss),
        ("sp", record.sp),
    ] {
        line!("{name}={value:#x}");
    }
    line!("kernel.first={:#x}", record.first_word);
}

/// Every question with its answer: interrupt and EAX; EAX, EBX, ECX, EDX, EDI, carry and zero.
pub fn answers(record: u64) {
    let record = at::<Record>(record);
    let count = record.count.get();
    let answers = list::<Answer>(record.answers.get().into(), count as usize);
    // One of the questions has no answer.
    let questions = list::<Question>(record.questions.get().into(), count as usize + 1);
    let mut place = "bios";
    let mut answers = answers.iter();
    for question in questions {
        if question.interrupt.get() == THERE_AND_BACK {
            place = "bios.again";
            continue;
        }
        let Some(answer) = answers.next() else { break };
        let flag = |bit| u8::from(answer.flags.get() & bit != 0);
        line!(
            "{place}={:#x}.{:#x} {:#x} {:#x} {:#x} {:#x} {:#x} {} {}",
            question.interrupt,
            question.eax,
            answer.eax,
            answer.ebx,
            answer.ecx,
            answer.edx,
            answer.edi,
            flag(CARRY),
            flag(ZERO)
        );
    }
}
