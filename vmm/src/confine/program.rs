// SPDX-License-Identifier: MIT OR Apache-2.0
//! A filter as the kernel takes it: a program for its packet filter machine.
//!
//! Spec: Linux `Documentation/networking/filter.rst` and `struct seccomp_data`. In: what is permitted.
//! Out: instructions. When a filter is installed, the kernel checks and translates each of them,
//! and runs the program for each system call that there is. Those of seccompiler's own compiler
//! come to three times as many, and a start to two million host instructions more, a fifth of it.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW,
    SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_TRAP, seccomp_data,
};
use seccompiler::{BpfProgram, sock_filter};
use std::mem::offset_of;
use std::num::TryFromIntError;

/// `linux/audit.h`: the calls of 64-bit programs. Numbers mean something else to others.
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

/// Few programs have more instructions.
const USUAL: usize = 160;

/// A call of which not every use is permitted: the lower half of argument `index` has one of
/// `values` in the bits of `mask`.
#[derive(Clone, Debug)]
pub struct Limit {
    pub call: u32,
    pub index: usize,
    pub mask: u32,
    pub values: Vec<u32>,
}

/// The program that permits `calls`, and those of `limits`, of which each call has at most one. What
/// is not permitted is trapped. Fails if a list is too long to jump over.
pub fn program(calls: &[u32], limits: &[Limit]) -> Result<BpfProgram, TryFromIntError> {
    let mut program = Vec::with_capacity(USUAL);
    program.extend([
        load(offset_of!(seccomp_data, arch))?,
        jump_if(AUDIT_ARCH_X86_64, 1, 0)?,
        end(SECCOMP_RET_KILL_PROCESS),
        load(offset_of!(seccomp_data, nr))?,
    ]);
    for limit in limits {
        let count = limit.values.len();
        // Over this: the argument, its bits, the values, and two ends.
        program.push(jump_if(limit.call, 0, count + 4)?);
        program.push(load(
            offset_of!(seccomp_data, args) + limit.index * size_of::<u64>(),
        )?);
        program.push(instruction(BPF_ALU | BPF_AND | BPF_K, limit.mask));
        choose(&mut program, &limit.values)?;
    }
    choose(&mut program, calls)?;
    Ok(program)
}

/// Permits what is one of `values`, and traps the rest.
fn choose(program: &mut BpfProgram, values: &[u32]) -> Result<(), TryFromIntError> {
    for (value, after) in values.iter().zip((0..values.len()).rev()) {
        program.push(jump_if(*value, after + 1, 0)?);
    }
    program.extend([end(SECCOMP_RET_TRAP), end(SECCOMP_RET_ALLOW)]);
    Ok(())
}

/// Loads 32 bits of what is known about the call. On this processor the lower half comes first.
fn load(offset: usize) -> Result<sock_filter, TryFromIntError> {
    Ok(instruction(BPF_LD | BPF_W | BPF_ABS, offset.try_into()?))
}

/// Skips `so` many instructions if what is loaded is `value`, and `otherwise` so many.
fn jump_if(value: u32, so: usize, otherwise: usize) -> Result<sock_filter, TryFromIntError> {
    Ok(sock_filter {
        jt: so.try_into()?,
        jf: otherwise.try_into()?,
        ..instruction(BPF_JMP | BPF_JEQ | BPF_K, value)
    })
}

fn end(action: u32) -> sock_filter {
    instruction(BPF_RET | BPF_K, action)
}

fn instruction(code: u32, operand: u32) -> sock_filter {
    // All codes have 16 bits.
    let [low, high, ..] = code.to_le_bytes();
    sock_filter {
        code: u16::from_le_bytes([low, high]),
        jt: 0,
        jf: 0,
        k: operand,
    }
}
