// SPDX-License-Identifier: MIT OR Apache-2.0
//! What our ROM says on QEMU at each level of its log, and that the kernel is entered all the same.

use super::case::{Case, Context, Run, Trial, expect};
use super::report::Report;
use super::stock;
use crate::qemu::{Boot, Qemu};
use crate::workspace::write_atomically;
use abi::table_loader::COMMAND_SIZE;

/// A machine, the level that it is asked for, and what has to be said and what not.
struct Log {
    name: &'static str,
    machine: &'static str,
    level: &'static str,
    devices: &'static [&'static str],
    /// The VMM's script is one of a command that nobody knows.
    unknown_command: bool,
    said: &'static [&'static str],
    unsaid: &'static [&'static str],
}

const PHASES: [&str; 4] = [
    "qboot-rs: start: ",
    "qboot-rs: facts: ",
    "qboot-rs: plan: ",
    "qboot-rs: enter: ",
];

const LOGS: [Log; 5] = [
    Log {
        name: "trace-microvm",
        machine: "microvm",
        level: "trace",
        devices: &[],
        unknown_command: false,
        said: &[
            "  fw_cfg item 0x2",
            " bytes: opt/org.qboot-rs/log\r\n",
            "  etc/e820: 0x20000000 bytes at 0x0, type 1\r\n",
            "  map: 0x0..0x9",
            "  command line at 0x9",
            "  etc/acpi/tables: ",
            "  etc/acpi/tables at 9: checksum of ",
            " bytes from 0, DSDT\r\n",
            ", APIC\r\n",
            "  etc/acpi/rsdp at ",
            ": pointer into etc/acpi/tables\r\n",
        ],
        unsaid: &["  PCI ", "skipped"],
    },
    Log {
        name: "trace-pc",
        machine: "pc",
        level: "trace",
        devices: &["virtio-rng-pci,addr=7", "vmgenid"],
        unknown_command: false,
        said: &[
            "  PCI 0:7.0, register 0x10: 0x20 bytes at 0xc0",
            "  PCI 0:7.0, register 0x20: 0x4000 bytes at 0xc0",
            "  etc/smbios/smbios-anchor: 31 bytes at 0xe",
            "  fw_cfg file etc/vmgenid_addr at 0: address of etc/vmgenid_guid at 40\r\n",
        ],
        unsaid: &["skipped"],
    },
    Log {
        name: "info-microvm",
        machine: "microvm",
        level: "info",
        devices: &[],
        unknown_command: false,
        said: &PHASES,
        unsaid: &["  fw_cfg", "  map", "  etc/", "skipped"],
    },
    Log {
        name: "unknown-command",
        machine: "microvm,acpi=off",
        level: "info",
        devices: &[],
        unknown_command: true,
        said: &["qboot-rs: ACPI loader: expected command 0 to 4, found 77, skipped\r\n"],
        unsaid: &["  fw_cfg"],
    },
    Log {
        name: "unknown-level",
        machine: "microvm",
        level: "loud",
        devices: &[],
        unknown_command: false,
        said: &[
            "qboot-rs: fw_cfg file opt/org.qboot-rs/log: expected error, info or trace, \
                 found loud\r\n",
        ],
        unsaid: &PHASES,
    },
];

/// Every level.
pub fn cases() -> Vec<Case> {
    LOGS.iter()
        .map(|log| {
            Case::new(format!("qemu/log-{}", log.name), move |context, trial| {
                boot(context, trial, log)
            })
        })
        .collect()
}

fn boot(context: &Context<'_>, trial: &Trial, log: &Log) -> Run {
    context.qemu()?;
    let qemu = Qemu::plain(
        log.machine,
        Boot {
            bios: context.rom()?,
            kernel: context.guest("report.elf")?,
            initrd: None,
            append: "console=ttyS0".into(),
            memory: "512M".into(),
            cpus: 1,
        },
    );
    let mut command = qemu.command();
    let level = format!("name=opt/org.qboot-rs/log,string={}", log.level);
    command.args(["-fw_cfg", &level]);
    for device in log.devices {
        command.args(["-device", device]);
    }
    if log.unknown_command {
        let mut script = [0; COMMAND_SIZE];
        script[0] = 77;
        let inputs = context.workspace.target.join("test-inputs");
        let path = inputs.join("unknown-command");
        write_atomically(&path, &script)?;
        let file = format!("name=etc/table-loader,file={}", path.display());
        command.args(["-fw_cfg", &file]);
    }
    let output = stock::watched_command(trial, &mut command)?;
    for words in log.said {
        expect(output.contains(words), || {
            format!("expected {words:?}, found no such words")
        })?;
    }
    for words in log.unsaid {
        expect(!output.contains(words), || {
            format!("expected no {words:?}, found these words")
        })?;
    }
    Report::parse(&output)?.expect("mode", "pvh")
}
