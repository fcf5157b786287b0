// SPDX-License-Identifier: MIT OR Apache-2.0
//! SeaBIOS boots a disk of our monitor, as it boots one of QEMU's `microvm`: it finds the device by
//! the DSDT and drives it itself. What it says meanwhile is on the debug console.

use super::case::{Case, Context, Run, Trial, expect};
use super::handed::run;
use super::scene::in_order;
use crate::oracle::{Board, Reference};
use crate::workspace::{read, write_atomically};
use std::process::{Command, Stdio};

const SECTOR: usize = 512;
const SECTORS: usize = 2048;
/// What the boot sector finds in the next one and says.
const TEXT: &[u8] = b"QBOOT-RS: sector one\0";
/// At the end of a boot sector.
const SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// Reads sector 1 to 0x8000 (int 13h, function 42h, from the drive in DL), sends what is there up to
/// NUL to COM1, and resets the machine.
const CODE: [u8; 0x36] = [
    0xfa, // cli
    0x31, 0xc0, // xor ax, ax
    0x8e, 0xd8, // mov ds, ax
    0x8e, 0xd0, // mov ss, ax
    0xbc, 0x00, 0x7c, // mov sp, 0x7c00
    0xb4, 0x42, // mov ah, 0x42
    0xbe, 0x26, 0x7c, // mov si, packet
    0xcd, 0x13, // int 0x13
    0x72, 0x0e, // jc end
    0xbe, 0x00, 0x80, // mov si, 0x8000
    0xba, 0xf8, 0x03, // mov dx, 0x3f8
    0xac, // next: lodsb
    0x84, 0xc0, // test al, al
    0x74, 0x03, // jz end
    0xee, // out dx, al
    0xeb, 0xf8, // jmp next
    0xb0, 0xfe, // end: mov al, 0xfe
    0xe6, 0x64, // out 0x64, al
    0xf4, // hlt
    0x10, 0x00, // packet: its size
    0x01, 0x00, // sectors
    0x00, 0x80, 0x00, 0x00, // to 0000:8000
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // from sector 1
];

pub fn cases() -> Vec<Case> {
    [
        ("split", "irqchip=split"),
        ("kernel", "irqchip=kernel"),
        ("legacy", "force-legacy=on"),
    ]
    .into_iter()
    .map(|(what, parts)| {
        let name = format!("vmm/disk-by-seabios-{what}");
        Case::new(name, move |context, trial| boots(context, trial, parts))
    })
    .collect()
}

/// What SeaBIOS says to itself, at the port where it does.
const LOG: [&str; 3] = [
    "SeaBIOS (version ",
    "Found QEMU fw_cfg",
    "Booting from 0000:7c00",
];

fn boots(context: &Context<'_>, trial: &Trial, parts: &str) -> Run {
    context.usable_kvm()?;
    context.qemu()?; // which brings SeaBIOS
    let image = context.workspace.target.join("test-inputs/boot-sector");
    write_atomically(&image, &disk())?;
    let disk = format!("path={},readonly=on,bootindex=0", image.display());
    let log = image.with_file_name(trial.file_name());
    let mut command = Command::new(context.host()?.vmm);
    command
        .arg("--bios")
        .arg(Reference::SeaBios.rom(Board::Microvm))
        .args(["--disk", &disk])
        .args(["--machine", parts])
        .arg(format!("--debugcon=file:{}", log.display()))
        .stdin(Stdio::null());
    let output = run(trial, &mut command)?;
    let said = String::from_utf8_lossy(TEXT);
    let said = said.trim_end_matches('\0');
    expect(output.contains(said), || {
        format!("expected `{said}`, found no such words")
    })?;
    let log = read(&log)?;
    in_order(&String::from_utf8_lossy(&log), &LOG)
}

/// A disk of 1 MiB.
fn disk() -> Vec<u8> {
    let mut bytes = vec![0; SECTOR * SECTORS];
    let parts: [(usize, &[u8]); 3] = [
        (0, &CODE),
        (SECTOR - SIGNATURE.len(), &SIGNATURE),
        (SECTOR, TEXT),
    ];
    for (start, part) in parts {
        bytes[start..start + part.len()].copy_from_slice(part);
    }
    bytes
}
