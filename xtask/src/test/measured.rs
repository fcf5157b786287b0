// SPDX-License-Identifier: MIT OR Apache-2.0
//! What our monitor says that a boot has cost: with any firmware, the same every time, and also of a
//! boot that leads nowhere.

use super::case::{Case, Context, Outcome, Run, Trial, expect};
use super::handed::{COMMAND_LINE, LINUX_LOADER, PVH_LOADER, monitor, run, stock_monitor};
use super::stock;
use super::ticks::rom;
use crate::guest::Format;
use crate::lab;
use crate::oracle::Reference;
use crate::process::{Bounds, End};
use crate::qemu::Boot;
use crate::workspace::read;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Port accesses of our firmware from reset to a kernel's first instruction, with ACPI tables, as the
/// README promises; trace points are two more.
const OURS: u64 = 17;

/// Reads a port for ever, in real mode.
const ASKS: [u8; 4] = [
    0xe4, 0x80, // in $0x80, %al
    0xeb, 0xfc, // jmp 0
];

/// A known number of instructions, of which some repeat and some access ports.
#[rustfmt::skip]
const KNOWN: [u8; 27] = [
    0x31, 0xc0,                         // xor %ax, %ax
    0x8e, 0xc0,                         // mov %ax, %es
    0xbf, 0x00, 0x05,                   // mov $0x500, %di
    0xb9, 0x05, 0x00,                   // mov $5, %cx
    0xf3, 0xaa,                         // rep stos %al, %es:(%di)
    0xb9, 0x03, 0x00,                   // mov $3, %cx
    0xe2, 0xfe,                         // loop to itself
    0xe4, 0x80,                         // in $0x80, %al
    0xe6, 0x80,                         // out %al, $0x80
    0x90,                               // nop
    0xb0, 0xfe,                         // mov $0xfe, %al
    0xe6, 0x64,                         // out %al, $0x64
    0xf4,                               // hlt
];

/// Instructions before each of its three accesses, the jump at the reset vector included: a string
/// instruction counts as often as it repeats.
const KNOWN_COUNTS: [u64; 3] = [14, 15, 18];

/// Runs the monitor in the background and ends it as an impatient user does.
const INTERRUPT: &str = r#"
"$@" < /dev/null &
sleep 2
kill -TERM $!
wait $!
echo "status $?"
"#;

/// Every case.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, kernel, way) in [
        ("pvh", "report.elf", "pvh"),
        ("bzimage", "report.bz", "linux64"),
        ("bzimage-32", "report32.bz", "linux32"),
        ("bzimage-16", "report16.bz", "linux16"),
        ("multiboot", "report.multiboot", "multiboot"),
    ] {
        let name = format!("vmm/measured-{name}");
        cases.push(Case::new(name, move |context, trial| {
            ours(context, trial, kernel, way)
        }));
    }
    for (name, firmware) in [("qboot", Reference::Qboot), ("seabios", Reference::SeaBios)] {
        for (format, kernel, way, loader) in [
            ("pvh", "report.elf", "pvh", PVH_LOADER),
            ("bzimage", "report.bz", "linux16", LINUX_LOADER),
        ] {
            let name = format!("vmm/measured-{name}-{format}");
            cases.push(Case::new(name, move |context, trial| {
                context.usable_kvm()?;
                let command = stock_monitor(context, firmware, boot(context, kernel)?, loader)?;
                let record = measured(context, trial, command)?;
                entered(&record, "hardware breakpoint", way)
            }));
        }
    }
    cases.push(Case::new("vmm/measured-nowhere", nowhere));
    cases.push(Case::new("vmm/measured-steps", steps));
    for (name, kernel) in [("pvh", "report.elf"), ("bzimage", "report.bz")] {
        let name = format!("vmm/measured-steps-{name}");
        cases.push(Case::new(name, move |context, trial| {
            stepped(context, trial, kernel)
        }));
    }
    cases.push(Case::new("lab/measured-steps", stepped_in_lab));
    for (format, way) in [(Format::Pvh, "pvh"), (Format::Bzimage, "linux")] {
        let name = format!("lab/measured-debian-{format}");
        cases.push(Case::new(name, move |context, trial| {
            debian(context, trial, format, way)
        }));
    }
    cases
}

/// Runs the monitor and says what it has measured, in one line.
const SAY_RECORD: &str = r#"
    "$@" --measure record </dev/null || exit
    echo "LAB: record $(tr -d '\n' <record)"
"#;

fn record_of(said: &str) -> Result<Value, Outcome> {
    let record = said
        .lines()
        .find_map(|line| line.split_once("LAB: record "));
    record
        .and_then(|(_, record)| serde_json::from_str(record).ok())
        .ok_or_else(|| Outcome::Failed("expected a measurement, found none".into()))
}

/// A processor with virtualization of its own, and a stock kernel. QEMU's emulated processor takes no
/// hardware breakpoint in a guest, so that the trace point has to do.
fn debian(context: &Context<'_>, trial: &Trial, format: Format, way: &str) -> Run {
    let bios = context.lab()?.rom;
    let boot = stock::boot(context, bios, format, 1, &[])?;
    let script = ["sh", "-c", SAY_RECORD, "sh"].map(String::from).to_vec();
    let words = [script, lab::microvm(&boot)].concat();
    let said = stock::command_in_lab(context, trial, &words, &boot.memory)?;
    stock::reached(&said, 1)?;
    let record = record_of(&said)?;
    entered(&record, "trace point", way)?;
    let list = |name: &str| record[name].as_array().cloned().unwrap_or_default();
    let phases: Vec<_> = list("phases").iter().map(|it| it["name"].clone()).collect();
    let expected = ["vmm", "reset", "firmware", "kernel", "run"];
    expect(phases == expected, || {
        format!("expected the phases {expected:?}, found {phases:?}")
    })?;
    // The initial RAM disk, and two trace points.
    let exits = &record["counts"]["exits"];
    expect(*exits == OURS + 3, || {
        format!("expected {} exits, found {exits}", OURS + 3)
    })
}

fn boot(context: &Context<'_>, kernel: &str) -> Result<Boot, Outcome> {
    Ok(Boot {
        bios: context.rom()?,
        kernel: context.guest(kernel)?,
        initrd: None,
        append: COMMAND_LINE.into(),
        memory: "256M".into(),
        cpus: 1,
    })
}

/// Runs our monitor, which has to end with status 0: what it has measured.
fn measured(context: &Context<'_>, trial: &Trial, mut command: Command) -> Result<Value, Outcome> {
    let path = output(context, trial);
    run(trial, command.arg("--measure").arg(&path))?;
    parsed(&path)
}

fn output(context: &Context<'_>, trial: &Trial) -> PathBuf {
    let path = format!("test-inputs/{}.json", trial.file_name());
    context.workspace.target.join(path)
}

fn parsed(path: &Path) -> Result<Value, Outcome> {
    serde_json::from_slice(&read(path)?)
        .map_err(|error| Outcome::Failed(format!("{}: {error}", path.display())))
}

fn entered(record: &Value, found: &str, way: &str) -> Run {
    let entry = &record["kernel_entry"];
    expect(entry["found"] == found && entry["way"] == way, || {
        format!("expected an entry by {way}, found by a {found}, found {entry}")
    })
}

/// All that is counted is the same twice, and as much as is promised.
fn ours(context: &Context<'_>, trial: &Trial, kernel: &str, way: &str) -> Run {
    const COUNTED: [&str; 6] = [
        "kernel_entry",
        "counts",
        "accesses",
        "fw_cfg",
        "dma_bytes",
        "breakpoints",
    ];
    context.usable_kvm()?;
    let once = || {
        let mut command = monitor(context, &boot(context, kernel)?)?;
        command.args(["--trace", "off"]);
        measured(context, trial, command)
    };
    let (record, again) = (once()?, once()?);
    entered(&record, "hardware breakpoint", way)?;
    for part in COUNTED {
        expect(record[part] == again[part], || {
            format!(
                "expected the same {part} twice, found {} and {}",
                record[part], again[part]
            )
        })?;
    }
    let list = record["accesses"].as_array().map_or(0, Vec::len);
    let exits = &record["counts"]["exits"];
    expect(*exits == list, || {
        format!("expected a list of {exits} accesses, found one of {list}")
    })?;
    // What a BIOS leaves behind takes more.
    if ["pvh", "linux64", "linux32"].contains(&way) {
        expect(*exits == OURS, || {
            format!("expected {OURS} exits, found {exits}")
        })?;
    }
    trial.remark(format!(
        "{exits} exits, {} bytes by DMA, {} KiB touched",
        record["dma_bytes"], record["counts"]["memory_touched"]
    ));
    let marked = measured(context, trial, monitor(context, &boot(context, kernel)?)?)?;
    let more = marked["counts"]["exits"].as_u64().unwrap_or(0);
    expect(Some(more) == exits.as_u64().map(|exits| exits + 2), || {
        format!("expected two exits more than {exits} with trace points, found {more}")
    })?;
    entered(&marked, "hardware breakpoint", way)
}

/// Counts what can be counted by hand.
fn steps(context: &Context<'_>, trial: &Trial) -> Run {
    context.usable_kvm()?;
    let rom = rom(context, &trial.file_name(), &KNOWN)?;
    let mut command = Command::new(context.host()?.vmm);
    command.args(["--single-step", "on", "--serial", "none", "--bios"]);
    command.arg(&rom);
    let record = measured(context, trial, command)?;
    let list = record["accesses"].as_array().cloned().unwrap_or_default();
    let counts = list.iter().filter_map(|it| it["instruction"].as_u64());
    let counts: Vec<_> = counts.collect();
    expect(counts == KNOWN_COUNTS, || {
        format!("expected accesses after {KNOWN_COUNTS:?} instructions, found {counts:?}")
    })?;
    let strings = &record["repeated_strings"];
    expect(*strings == 1, || {
        format!("expected one string that repeats, found {strings}")
    })
}

/// The same number of instructions every time, before every access.
fn stepped(context: &Context<'_>, trial: &Trial, kernel: &str) -> Run {
    context.usable_kvm()?;
    let once = || {
        let mut command = monitor(context, &boot(context, kernel)?)?;
        command.args(["--trace", "off", "--single-step", "on"]);
        measured(context, trial, command)
    };
    let (record, again) = (once()?, once()?);
    for part in ["kernel_entry", "counts", "accesses", "repeated_strings"] {
        expect(record[part] == again[part], || {
            format!(
                "expected the same {part} twice, found {} and {}",
                record[part], again[part]
            )
        })?;
    }
    counted(trial, &record)
}

/// QEMU's emulated processor does not stop after each instruction of a guest either; then there is no
/// count, and the trace point has to do.
fn stepped_in_lab(context: &Context<'_>, trial: &Trial) -> Run {
    let bios = context.lab()?.rom;
    let boot = Boot {
        bios,
        ..boot(context, "report.elf")?
    };
    let script = ["sh", "-c", SAY_RECORD, "sh"].map(String::from).to_vec();
    let options = ["--single-step", "on"].map(String::from);
    let words = [script, lab::microvm(&boot), options.to_vec()].concat();
    let said = stock::command_in_lab(context, trial, &words, &boot.memory)?;
    let record = record_of(&said)?;
    entered(&record, "trace point", "pvh")?;
    let (words, counts) = (&record["breakpoints"], &record["counts"]);
    let none = counts.get("instructions").is_none();
    expect(
        none && *words == "none: KVM does not stop after each instruction",
        || format!("expected no count of instructions and a word of it, found {words}, {counts}"),
    )
}

fn counted(trial: &Trial, record: &Value) -> Run {
    let found = &record["kernel_entry"]["found"];
    expect(found == "single step", || {
        format!("expected an entry found by a single step, found {found}")
    })?;
    let exits = &record["counts"]["exits"];
    expect(*exits == OURS, || {
        format!("expected {OURS} exits, found {exits}")
    })?;
    let instructions = record["counts"]["instructions"].as_u64().unwrap_or(0);
    let phases = record["phases"].as_array().cloned().unwrap_or_default();
    let phases = phases.iter().filter_map(|it| it["instructions"].as_u64());
    let sum: u64 = phases.sum();
    expect(instructions > 0 && sum == instructions, || {
        format!("expected phases that add up to {instructions} instructions, found {sum}")
    })?;
    trial.remark(format!(
        "{instructions} instructions, {} of them strings that repeat",
        record["repeated_strings"]
    ));
    Ok(())
}

/// Firmware that never comes to a kernel: where it was, and what it did last.
fn nowhere(context: &Context<'_>, trial: &Trial) -> Run {
    context.usable_kvm()?;
    let rom = rom(context, &trial.file_name(), &ASKS)?;
    let path = output(context, trial);
    let mut command = Command::new("sh");
    command
        .args(["-c", INTERRUPT, "sh"])
        .arg(context.host()?.vmm)
        .args(["--cpus", "2", "--bios"])
        .arg(&rom)
        .arg("--measure")
        .arg(&path);
    let bounds = Bounds {
        silence: Duration::from_secs(20),
        total: Duration::from_secs(20),
    };
    let watched = trial.watch(&mut command, bounds)?;
    let End::Exited(_) = watched.end else {
        return Err(Outcome::Failed(format!("our monitor {}", watched.end)));
    };
    expect(watched.output.contains("status 143"), || {
        format!("expected an end by signal 15, found {}", watched.output)
    })?;
    let record = parsed(&path)?;
    let last = record["last_exits"].as_array();
    let asks = |it: &Value| it["address"] == 0x80 && it["kind"] == "port_read";
    expect(
        last.is_some_and(|last| last.len() == 32 && last.iter().all(asks)),
        || format!("expected the last 32 exits, found {last:?}"),
    )?;
    let processors = &record["processors"];
    let there = |it: &Value| it["linear"].as_u64().is_some_and(|it| it >> 4 == 0xf000);
    expect(
        there(&processors[0]) && processors[0]["mode"] == "real" && processors[1]["index"] == 1,
        || format!("expected two processors, the first in its loop, found {processors}"),
    )
}
