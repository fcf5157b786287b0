// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs that are entered in real mode: the stock kernel through its 16-bit setup, and others
//! that only look like Linux. All come from the distribution's packages.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use super::stock;
use crate::guest::{self, Flavour, Format};
use crate::process::{Bounds, End};
use crate::qemu::{Accelerator, Boot, Qemu};
use crate::workspace::{read, write_atomically};
use abi::debug::FailureCode;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Bytes of the stock kernel's header that take promises back: offset and value.
type Patch = &'static [(usize, u16)];

/// Protocol 2.09: no `init_size`, so nothing but the 16-bit entry.
const BITS_16: Patch = &[(0x206, 0x0209)];
/// No flag for the 64-bit entry.
const BITS_32: Patch = &[(0x236, 0)];

/// Every case.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for machine in ["microvm", "pc", "q35"] {
        for (name, patch) in [("16-bit", BITS_16), ("32-bit", BITS_32)] {
            cases.push(Case::new(
                format!("qemu/stock-{name}-entry-{machine}"),
                move |context, trial| kernel(context, trial, machine, patch),
            ));
        }
        cases.push(Case::new(
            format!("qemu/memdisk-{machine}"),
            move |context, trial| memdisk(context, trial, machine),
        ));
        cases.push(Case::new(
            format!("qemu/ipxe-{machine}"),
            move |context, trial| ipxe(context, trial, machine),
        ));
    }
    cases
}

fn command(
    context: &Context<'_>,
    machine: &str,
    kernel: PathBuf,
    initrd: Option<PathBuf>,
    append: String,
) -> Result<Command, Outcome> {
    context.qemu()?;
    let qemu = Qemu::plain(
        machine,
        Boot {
            bios: context.rom()?,
            kernel,
            initrd,
            append,
            memory: "512M".into(),
            cpus: 1,
        },
    );
    Ok(qemu.command())
}

fn input(context: &Context<'_>, trial: &Trial, bytes: &[u8]) -> Result<PathBuf, Outcome> {
    let directory = context.workspace.target.join("test-inputs");
    let path = directory.join(trial.file_name());
    write_atomically(&path, bytes)?;
    Ok(path)
}

/// The stock kernel reaches its first process by the entry that is left to it.
fn kernel(context: &Context<'_>, trial: &Trial, machine: &str, patch: Patch) -> Run {
    let mut image = read(&context.kernel(Flavour::Cloud, Format::Bzimage)?)?;
    for (offset, value) in patch {
        image[*offset..][..2].copy_from_slice(&value.to_le_bytes());
    }
    let path = input(context, trial, &image)?;
    let words = Accelerator::Tcg.time_words();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let append = guest::append(&words, false);
    let initrd = Some(context.initrd()?);
    let mut command = command(context, machine, path, initrd, append)?;
    stock::reached(&stock::watched_command(trial, &mut command)?, 1)
}

/// memdisk makes a disk of the initrd, hooks int 13h and 15h over ours, and starts its boot sector.
fn memdisk(context: &Context<'_>, trial: &Trial, machine: &str) -> Run {
    let program = guest::program(context.workspace, "syslinux-common", "memdisk")
        .map_err(|error| Outcome::Skipped(error.to_string()))?;
    let disk = input(context, trial, &floppy())?;
    let mut command = command(context, machine, program, Some(disk), "floppy".into())?;
    let output = stock::watched_command(trial, &mut command)?;
    expect(output.contains(TEXT), || {
        format!("expected `{TEXT}`, found `{}`", output.trim_end())
    })
}

/// What the second sector of the disk says.
const TEXT: &str = "read by int 13h, said by int 10h, after a tick";

/// A diskette whose boot sector reads the second sector, waits for a tick of the timer, says what
/// it has read and ends by a triple fault.
fn floppy() -> Vec<u8> {
    const CODE: &[u8] = &[
        0x31, 0xc0, //             xor %ax, %ax
        0x8e, 0xd8, 0x8e, 0xc0, // mov %ax, %ds; mov %ax, %es
        0x8e, 0xd0, //             mov %ax, %ss
        0xbc, 0x00, 0x7c, //       mov $0x7c00, %sp
        0xfb, //                   sti
        0xb8, 0x01, 0x02, //       mov $0x0201, %ax
        0xb9, 0x02, 0x00, //       mov $2, %cx
        0x31, 0xd2, //             xor %dx, %dx
        0xbb, 0x00, 0x7e, //       mov $0x7e00, %bx
        0xcd, 0x13, //             int $0x13
        0xb4, 0x00, 0xcd, 0x1a, // mov $0, %ah; int $0x1a
        0x89, 0xd5, //             mov %dx, %bp
        0xb4, 0x00, 0xcd, 0x1a, // 1: mov $0, %ah; int $0x1a
        0x39, 0xea, 0x74, 0xf8, // cmp %bp, %dx; je 1b
        0xbe, 0x00, 0x7e, //       mov $0x7e00, %si
        0xac, 0x84, 0xc0, //       2: lodsb; test %al, %al
        0x74, 0x06, //             jz 3f
        0xb4, 0x0e, 0xcd, 0x10, // mov $0xe, %ah; int $0x10
        0xeb, 0xf5, //             jmp 2b
        0x0f, 0x01, 0x1e, 0x00, 0x7d, // 3: lidt 0x7d00, which is zeros
        0xcc, //                   int3
    ];
    let mut disk = vec![0; 2880 * 512];
    disk[..CODE.len()].copy_from_slice(CODE);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk[512..][..TEXT.len()].copy_from_slice(TEXT.as_bytes());
    disk
}

/// iPXE runs the command on its command line, and asks for the next boot device when it has no
/// other, of which our firmware tells the port for that.
fn ipxe(context: &Context<'_>, trial: &Trial, machine: &str) -> Run {
    const WORDS: &str = "iPXE speaks";
    let program = guest::program(context.workspace, "ipxe", "ipxe.lkrn")
        .map_err(|error| Outcome::Skipped(error.to_string()))?;
    let mut command = command(context, machine, program, None, format!("echo {WORDS}"))?;
    command.args(["-device", "isa-debug-exit,iobase=0x51c,iosize=4"]);
    let bounds = Bounds {
        silence: Duration::from_secs(60),
        total: Duration::from_secs(150),
    };
    let watched = trial.watch(&mut command, bounds)?;
    for sentence in [
        "iPXE initialising devices...ok",
        WORDS,
        "qboot-rs: boot: the program asks for the next boot device, found none",
    ] {
        expect(watched.output.contains(sentence), || {
            format!(
                "expected `{sentence}`, found `{}`",
                watched.output.trim_end()
            )
        })?;
    }
    // What the device makes of the last byte of the code.
    let status = i32::from(FailureCode::RealMode as u8) << 1 | 1;
    match watched.end {
        End::Exited(found) if found.code() == Some(status) => Ok(()),
        end => Err(Outcome::Failed(format!(
            "expected QEMU to end with status {status}, but it {end}"
        ))),
    }
}
