// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest `report` on our monitor and on QEMU: what firmware hands over, over all machines.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use super::report::{Given, Report};
use super::stock;
use crate::guest::Format;
use crate::host::Kvm;
use crate::lab;
use crate::oracle::{Board, Reference};
use crate::process::{Bounds, End};
use crate::qemu::{Boot, Qemu};
use crate::workspace::write_atomically;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

/// With a word about PCI, which our monitor adds where there is none.
pub const COMMAND_LINE: &str = "report console=ttyS0 pci=off";
const MIB: u64 = 1 << 20;

/// The option ROMs by which SeaBIOS boots a PVH kernel, a multiboot kernel and a bzImage.
pub const PVH_LOADER: &str = "pvh.bin";
pub const MULTIBOOT_LOADER: &str = "multiboot_dma.bin";
pub const LINUX_LOADER: &str = "linuxboot_dma.bin";

/// A machine and what it boots.
#[derive(Clone, Debug)]
struct Machine {
    /// File name of the guest.
    kernel: &'static str,
    memory_mib: u64,
    cpus: u32,
    initrd: bool,
    /// Whether `fw_cfg` offers DMA.
    dma: bool,
    /// `--machine` of our monitor.
    parts: &'static str,
}

/// The machine that most cases change in one respect.
const PLAIN: Machine = Machine {
    kernel: "report.elf",
    memory_mib: 256,
    cpus: 1,
    initrd: false,
    dma: true,
    parts: "acpi=on",
};

/// What a QEMU has besides.
const QEMU_PLAIN: (&str, &str) = ("microvm", "max");

/// Every machine that the guest reports from.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, kernel) in [("pvh", "report.elf"), ("bzimage", "report.bz")] {
        let plain = Machine { kernel, ..PLAIN };
        let initrd = Machine {
            initrd: true,
            ..plain.clone()
        };
        let varied = [
            ("plain", plain.clone()),
            (
                "2cpus",
                Machine {
                    cpus: 2,
                    ..plain.clone()
                },
            ),
            (
                "255cpus",
                Machine {
                    cpus: 255,
                    ..plain.clone()
                },
            ),
            ("initrd", initrd.clone()),
            (
                "initrd-8MiB",
                Machine {
                    memory_mib: 8,
                    ..initrd.clone()
                },
            ),
            (
                "initrd-5GiB",
                Machine {
                    memory_mib: 5 * 1024,
                    ..initrd.clone()
                },
            ),
            (
                "initrd-no-dma",
                Machine {
                    dma: false,
                    ..initrd.clone()
                },
            ),
        ];
        for (what, parts) in [
            ("no-acpi", "acpi=off"),
            ("least", "pit=off,rtc=off"),
            ("least-no-acpi", "acpi=off,pit=off,rtc=off"),
        ] {
            let machine = Machine {
                cpus: 2,
                parts,
                ..initrd.clone()
            };
            cases.push(Case::new(
                format!("vmm/report-{name}-{what}"),
                move |context, trial| on_monitor(context, trial, &machine),
            ));
        }
        for (what, machine) in varied {
            let other = machine.clone();
            cases.push(Case::new(
                format!("vmm/report-{name}-{what}"),
                move |context, trial| on_monitor(context, trial, &machine),
            ));
            cases.push(Case::new(
                format!("qemu/report-{name}-{what}"),
                move |context, trial| on_qemu(context, trial, &other, QEMU_PLAIN),
            ));
        }
        for (what, board) in [
            ("no-acpi", ("microvm,acpi=off", "max")),
            ("no-legacy", ("microvm,pit=off,pic=off,rtc=off", "max")),
            ("2MiB-pages", ("microvm", "qemu64")),
        ] {
            let machine = Machine {
                initrd: true,
                cpus: 2,
                ..plain.clone()
            };
            cases.push(Case::new(
                format!("qemu/report-{name}-{what}"),
                move |context, trial| on_qemu(context, trial, &machine, board),
            ));
        }
    }
    let elf32 = Machine {
        kernel: "report32.elf",
        initrd: true,
        ..PLAIN
    };
    let other = elf32.clone();
    cases.push(Case::new("vmm/report-pvh-32-bit", move |context, trial| {
        on_monitor(context, trial, &elf32)
    }));
    cases.push(Case::new(
        "qemu/report-pvh-32-bit",
        move |context, trial| on_qemu(context, trial, &other, QEMU_PLAIN),
    ));
    cases.push(Case::new("vmm/report-three-boots-are-alike", three_boots));
    cases.push(Case::new("vmm/report-boot-performance", boot_performance));
    cases.push(Case::new("vmm/report-smbios", smbios));
    cases
}

impl Machine {
    fn boot(&self, context: &Context<'_>) -> Result<Boot, Outcome> {
        let initrd = if self.initrd {
            let path = context.workspace.target.join("test-inputs/initrd");
            write_atomically(&path, &initrd())?;
            Some(path)
        } else {
            None
        };
        Ok(Boot {
            bios: context.rom()?,
            kernel: context.guest(self.kernel)?,
            initrd,
            append: COMMAND_LINE.into(),
            memory: format!("{}M", self.memory_mib),
            cpus: self.cpus,
        })
    }

    /// What our monitor is told besides.
    fn options(&self) -> Vec<String> {
        let mut words = vec!["--machine".into(), self.parts.into()];
        if !self.dma {
            words.extend(["--fw-cfg-dma".into(), "off".into()]);
        }
        words
    }

    /// Whether our monitor gives it ACPI tables.
    fn has_acpi(&self) -> bool {
        !self.parts.contains("acpi=off")
    }

    fn given(&self, acpi: bool) -> Given {
        Given {
            format: if self.kernel == "report.bz" {
                Format::Bzimage
            } else {
                Format::Pvh
            },
            memory: self.memory_mib * MIB,
            cpus: (0..self.cpus).collect(),
            cmdline: COMMAND_LINE.into(),
            initrd: self.initrd.then(initrd),
            acpi,
        }
    }
}

/// An initial RAM disk whose length is no whole number of anything.
pub fn initrd() -> Vec<u8> {
    (0..300_001u32)
        .map(|index| (index.wrapping_mul(0x9e37_79b9) >> 13).to_le_bytes()[0])
        .collect()
}

fn on_qemu(context: &Context<'_>, trial: &Trial, machine: &Machine, board: (&str, &str)) -> Run {
    context.qemu()?;
    let qemu = Qemu::plain(board.0, machine.boot(context)?);
    let mut command = qemu.command();
    command.args(["-cpu", board.1]);
    if !machine.dma {
        command.args(["-global", "fw_cfg_io.dma_enabled=off"]);
    }
    let output = stock::watched_command(trial, &mut command)?;
    Report::parse(&output)?.verify(&machine.given(!board.0.contains("acpi=off")))
}

/// On this machine's KVM, of whatever kind; without one in the lab.
fn on_monitor(context: &Context<'_>, trial: &Trial, machine: &Machine) -> Run {
    let boot = machine.boot(context)?;
    let output = if let Kvm::Unusable(why) = &context.kvm {
        trial.remark(format!("in the lab, since {why}"));
        let words = [lab::microvm(&boot), machine.options()].concat();
        stock::command_in_lab(context, trial, &words, &boot.memory)?
    } else {
        let mut command = monitor(context, &boot)?;
        run(trial, command.args(machine.options()))?
    };
    Report::parse(&output)?.verify(&machine.given(machine.has_acpi()))
}

/// Our monitor with firmware that comes with QEMU. SeaBIOS boots what an option ROM loads, which
/// QEMU's `microvm` brings by itself.
pub fn stock_monitor(
    context: &Context<'_>,
    firmware: Reference,
    boot: Boot,
    option_rom: &str,
) -> Result<Command, Outcome> {
    context.qemu()?;
    let boot = Boot {
        bios: firmware.rom(Board::Microvm),
        ..boot
    };
    let mut command = monitor(context, &boot)?;
    if firmware == Reference::SeaBios {
        let rom = format!("path=/usr/share/qemu/{option_rom},bootindex=0");
        command.args(["--option-rom", &rom]);
    }
    Ok(command)
}

/// What our monitor says of itself reaches the guest under any firmware, unchanged; BIOS Information
/// and the end are the firmware's own.
fn smbios(context: &Context<'_>, trial: &Trial) -> Run {
    const KINDS: [&str; 8] = ["0x1", "0x3", "0x4", "0xb", "0x10", "0x11", "0x13", "0x20"];
    const WORDS: [&str; 4] = [
        "--smbios",
        "type=1,product=thing,uuid=00112233-4455-6677-8899-aabbccddeeff",
        "--smbios",
        "type=11,value=one,value=two",
    ];
    context.usable_kvm()?;
    let mut ours = monitor(context, &PLAIN.boot(context)?)?;
    ours.args(PLAIN.options());
    let mut first = None;
    let mut commands = vec![ours];
    for firmware in Reference::ALL {
        let mut command = stock_monitor(context, firmware, PLAIN.boot(context)?, PVH_LOADER)?;
        command.args(PLAIN.options());
        commands.push(command);
    }
    for mut command in commands {
        let output = run(trial, command.args(WORDS))?;
        let report = Report::parse(&output)?;
        let found = report
            .all("smbios.2")
            .chain(report.all("smbios.3"))
            .filter_map(|line| super::report::hexadecimal(line.split(' ').next()?))
            .min();
        expect(found.is_some_and(|start| start >= 0xf_0000), || {
            format!("expected an entry point where Linux looks, found it at {found:x?}")
        })?;
        let structures: Vec<_> = report
            .all("smbios.structure")
            .filter(|line| !line.starts_with("0x0 ") && !line.starts_with("0x7f "))
            .map(str::to_owned)
            .collect();
        let kinds = structures.iter().filter_map(|line| line.split(' ').next());
        expect(kinds.eq(KINDS), || {
            format!("expected structures of kinds {KINDS:?}, found {structures:?}")
        })?;
        let expected = first.get_or_insert_with(|| structures.clone());
        expect(*expected == structures, || {
            format!("expected {expected:?} under all firmware, found {structures:?}")
        })?;
    }
    Ok(())
}

/// Our monitor says what the processors' clock is, so the kernel is told what the boot cost.
fn boot_performance(context: &Context<'_>, trial: &Trial) -> Run {
    context.usable_kvm()?;
    let mut command = monitor(context, &PLAIN.boot(context)?)?;
    command.args(PLAIN.options());
    let log = "name=opt/org.qboot-rs/log,string=info";
    let output = run(trial, command.args(["--fw-cfg", log]))?;
    let says = " us, ";
    expect(output.contains(says), || {
        format!("expected a log with `{says}`")
    })?;
    let report = Report::parse(&output)?;
    let found = report
        .all("acpi.table")
        .any(|line| line.starts_with("FPDT "));
    expect(found, || "expected an FPDT, found none".to_owned())
}

/// Our monitor with what it boots.
pub fn monitor(context: &Context<'_>, boot: &Boot) -> Result<Command, Outcome> {
    let mut command = Command::new(context.host()?.vmm);
    command.args(&lab::microvm(boot)[1..]).stdin(Stdio::null());
    Ok(command)
}

/// Runs our monitor, which has to end with status 0: what was said.
pub fn run(trial: &Trial, command: &mut Command) -> Result<String, Outcome> {
    let bounds = Bounds {
        silence: Duration::from_secs(30),
        total: Duration::from_secs(90),
    };
    let watched = trial.watch(command, bounds)?;
    match watched.end {
        End::Exited(status) if status.success() => Ok(watched.output),
        end => Err(Outcome::Failed(format!("our monitor {end}"))),
    }
}

/// With `--reboot` a triple fault starts the machine again, and it is the same machine again.
fn three_boots(context: &Context<'_>, trial: &Trial) -> Run {
    context.usable_kvm()?;
    let machine = Machine {
        cpus: 2,
        initrd: true,
        ..PLAIN
    };
    let mut command = monitor(context, &machine.boot(context)?)?;
    command
        .arg("--reboot")
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let failed = |what: &str, error: std::io::Error| Outcome::Failed(format!("{what}: {error}"));
    let mut child = command
        .spawn()
        .map_err(|error| failed("our monitor", error))?;
    let mut reports = Vec::new();
    let mut text = String::new();
    for line in child
        .stdout
        .take()
        .map(BufReader::new)
        .into_iter()
        .flat_map(BufRead::lines)
    {
        text += &line.map_err(|error| failed("its output", error))?;
        text.push('\n');
        if text.ends_with("report=end\n") {
            reports.push(Report::parse(&std::mem::take(&mut text)));
        }
        if reports.len() == 3 {
            break;
        }
    }
    child
        .kill()
        .map_err(|error| failed("stopping our monitor", error))?;
    child.wait().map_err(|error| failed("our monitor", error))?;
    trial.keep(&text)?;
    let reports = reports.into_iter().collect::<Result<Vec<_>, _>>()?;
    expect(reports.len() == 3, || {
        format!("expected three boots, found {}", reports.len())
    })?;
    let reports: Vec<_> = reports.into_iter().map(Report::without_time).collect();
    reports[0].verify(&machine.given(true))?;
    expect(reports.windows(2).all(|pair| pair[0] == pair[1]), || {
        format!("expected three equal boots, found {reports:#?}")
    })
}
