// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interrupts of a PC before APICs, on our monitor: a ROM of a few instructions that starts the
//! timer and the clock, waits for both in real mode, and resets the machine.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use crate::process::{Bounds, End};
use crate::workspace::write_atomically;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

const ROM_SIZE: usize = 0x1_0000;
const RESET_VECTOR: usize = 0xfff0;
/// `ljmp $0xf000, $0`: to the start of the image.
const JUMP: [u8; 5] = [0xea, 0x00, 0x00, 0x00, 0xf0];

#[rustfmt::skip]
const PROGRAM: [u8; 139] = [
    0xfa,                               // cli
    0x31, 0xc0,                         // xor %ax, %ax
    0x8e, 0xd8,                         // mov %ax, %ds
    0x8e, 0xd0,                         // mov %ax, %ss
    0xbc, 0x00, 0x70,                   // mov $0x7000, %sp
    // Vectors 0x20 and 0x28 lead to `tick` and `beat`.
    0xc7, 0x06, 0x80, 0x00, 0x73, 0x00, // movw $0x73, 0x80
    0x8c, 0x0e, 0x82, 0x00,             // mov %cs, 0x82
    0xc7, 0x06, 0xa0, 0x00, 0x7b, 0x00, // movw $0x7b, 0xa0
    0x8c, 0x0e, 0xa2, 0x00,             // mov %cs, 0xa2
    // 8259 pair: vectors from 0x20 and 0x28, only timer, cascade and clock open.
    0xb0, 0x11,                         // mov $0x11, %al
    0xe6, 0x20,                         // out %al, $0x20
    0xe6, 0xa0,                         // out %al, $0xa0
    0xb0, 0x20,                         // mov $0x20, %al
    0xe6, 0x21,                         // out %al, $0x21
    0xb0, 0x28,                         // mov $0x28, %al
    0xe6, 0xa1,                         // out %al, $0xa1
    0xb0, 0x04,                         // mov $0x4, %al
    0xe6, 0x21,                         // out %al, $0x21
    0xb0, 0x02,                         // mov $0x2, %al
    0xe6, 0xa1,                         // out %al, $0xa1
    0xb0, 0x01,                         // mov $0x1, %al
    0xe6, 0x21,                         // out %al, $0x21
    0xe6, 0xa1,                         // out %al, $0xa1
    0xb0, 0xfa,                         // mov $0xfa, %al
    0xe6, 0x21,                         // out %al, $0x21
    0xb0, 0xfe,                         // mov $0xfe, %al
    0xe6, 0xa1,                         // out %al, $0xa1
    // Clock: periodic interrupts, 64 a second.
    0xb0, 0x0a,                         // mov $0xa, %al
    0xe6, 0x70,                         // out %al, $0x70
    0xb0, 0x2a,                         // mov $0x2a, %al
    0xe6, 0x71,                         // out %al, $0x71
    0xb0, 0x0b,                         // mov $0xb, %al
    0xe6, 0x70,                         // out %al, $0x70
    0xb0, 0x42,                         // mov $0x42, %al
    0xe6, 0x71,                         // out %al, $0x71
    // 8254: counter 0, mode 2, a period of 11932: 10 ms.
    0xb0, 0x34,                         // mov $0x34, %al
    0xe6, 0x43,                         // out %al, $0x43
    0xb0, 0x9c,                         // mov $0x9c, %al
    0xe6, 0x40,                         // out %al, $0x40
    0xb0, 0x2e,                         // mov $0x2e, %al
    0xe6, 0x40,                         // out %al, $0x40
    0x31, 0xc9,                         // xor %cx, %cx
    0x31, 0xd2,                         // xor %dx, %dx
    0xfb,                               // sti
    // wait:
    0xf4,                               // hlt
    0x83, 0xf9, 0x14,                   // cmp $0x14, %cx
    0x72, 0xfa,                         // jb 63 <wait>
    0x83, 0xfa, 0x0c,                   // cmp $0xc, %dx
    0x72, 0xf5,                         // jb 63 <wait>
    0xb0, 0xfe,                         // mov $0xfe, %al
    0xe6, 0x64,                         // out %al, $0x64
    0xf4,                               // hlt
    // tick:
    0x41,                               // inc %cx
    0x50,                               // push %ax
    0xb0, 0x20,                         // mov $0x20, %al
    0xe6, 0x20,                         // out %al, $0x20
    0x58,                               // pop %ax
    0xcf,                               // iret
    // beat:
    0x42,                               // inc %dx
    0x50,                               // push %ax
    0xb0, 0x0c,                         // mov $0xc, %al
    0xe6, 0x70,                         // out %al, $0x70
    0xe4, 0x71,                         // in $0x71, %al
    0xb0, 0x20,                         // mov $0x20, %al
    0xe6, 0xa0,                         // out %al, $0xa0
    0xe6, 0x20,                         // out %al, $0x20
    0x58,                               // pop %ax
    0xcf,                               // iret
];

/// The same with KVM's controllers and with ours.
pub fn cases() -> Vec<Case> {
    ["kernel", "split"]
        .map(|irqchip| {
            Case::new(format!("vmm/ticks-{irqchip}"), move |context, trial| {
                ticks(context, trial, irqchip)
            })
        })
        .into()
}

/// A ROM in a file of that name, made of `program`.
pub fn rom(context: &Context<'_>, name: &str, program: &[u8]) -> Result<PathBuf, Outcome> {
    let mut rom = vec![0; ROM_SIZE];
    rom[..program.len()].copy_from_slice(program);
    rom[RESET_VECTOR..][..JUMP.len()].copy_from_slice(&JUMP);
    let path = format!("test-inputs/{name}.rom");
    let path = context.workspace.target.join(path);
    write_atomically(&path, &rom)?;
    Ok(path)
}

fn ticks(context: &Context<'_>, trial: &Trial, irqchip: &str) -> Run {
    context.usable_kvm()?;
    let path = rom(context, &trial.file_name(), &PROGRAM)?;
    let mut command = Command::new(context.host()?.vmm);
    let machine = format!("irqchip={irqchip},rtc=on");
    command.args(["--machine", &machine, "--bios"]).arg(&path);
    let bounds = Bounds {
        silence: Duration::from_secs(20),
        total: Duration::from_secs(20),
    };
    let begin = Instant::now();
    let watched = trial.watch(&mut command, bounds)?;
    let elapsed = begin.elapsed();
    match watched.end {
        End::Exited(status) if status.success() => {}
        end => return Err(Outcome::Failed(format!("our monitor {end}"))),
    }
    expect(elapsed >= Duration::from_millis(199), || {
        format!("expected 20 ticks of 10 ms and 12 beats of 15.6 ms, found them in {elapsed:?}")
    })
}
