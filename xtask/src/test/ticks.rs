// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interrupts of a PC before APICs, on our monitor: a ROM of a few instructions that starts the
//! timer, waits for it in real mode, and resets the machine.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use crate::host::Kvm;
use crate::process::{Bounds, End};
use crate::workspace::write_atomically;
use std::process::Command;
use std::time::{Duration, Instant};

const ROM_SIZE: usize = 0x1_0000;
const RESET_VECTOR: usize = 0xfff0;
/// `ljmp $0xf000, $0`: to the start of the image.
const JUMP: [u8; 5] = [0xea, 0x00, 0x00, 0x00, 0xf0];

#[rustfmt::skip]
const PROGRAM: [u8; 74] = [
    0xfa,                               // cli
    0x31, 0xc0,                         // xor  %ax, %ax
    0x8e, 0xd8,                         // mov  %ax, %ds
    0x8e, 0xd0,                         // mov  %ax, %ss
    0xbc, 0x00, 0x70,                   // mov  $0x7000, %sp
    // Vector 0x20 leads to `tick`.
    0xc7, 0x06, 0x80, 0x00, 0x42, 0x00, // movw $tick, 0x80
    0x8c, 0x0e, 0x82, 0x00,             // mov  %cs, 0x82
    // First 8259: vectors from 0x20, the second at input 2, only the timer open.
    0xb0, 0x11, 0xe6, 0x20,             // ICW1
    0xb0, 0x20, 0xe6, 0x21,             // ICW2
    0xb0, 0x04, 0xe6, 0x21,             // ICW3
    0xb0, 0x01, 0xe6, 0x21,             // ICW4
    0xb0, 0xfe, 0xe6, 0x21,             // OCW1
    // 8254: counter 0, mode 2, a period of 11932: 10 ms.
    0xb0, 0x34, 0xe6, 0x43,
    0xb0, 0x9c, 0xe6, 0x40,
    0xb0, 0x2e, 0xe6, 0x40,
    0x31, 0xc9,                         // xor  %cx, %cx
    0xfb,                               // sti
    // wait:
    0xf4,                               // hlt
    0x83, 0xf9, 0x14,                   // cmp  $20, %cx
    0x72, 0xfa,                         // jb   wait
    // Reset by the keyboard controller.
    0xb0, 0xfe, 0xe6, 0x64,
    0xf4,                               // hlt
    // tick:
    0x41,                               // inc  %cx
    0x50,                               // push %ax
    0xb0, 0x20, 0xe6, 0x20,             // OCW2: end of interrupt
    0x58,                               // pop  %ax
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

fn ticks(context: &Context<'_>, trial: &Trial, irqchip: &str) -> Run {
    if let Kvm::Unusable(why) = &context.kvm {
        return Err(Outcome::Skipped(why.to_string()));
    }
    let mut rom = vec![0; ROM_SIZE];
    rom[..PROGRAM.len()].copy_from_slice(&PROGRAM);
    rom[RESET_VECTOR..][..JUMP.len()].copy_from_slice(&JUMP);
    let path = context.workspace.target.join("test-inputs/ticks.rom");
    write_atomically(&path, &rom)?;
    let mut command = Command::new(context.host()?.vmm);
    let machine = format!("irqchip={irqchip}");
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
        format!("expected 20 ticks of 10 ms, found them in {elapsed:?}")
    })
}
