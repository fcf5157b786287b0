// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a monitor says of a run from inside: ours by `--measure`, QEMU by its trace.
//!
//! In: a file that the monitor has written. Out: when the guest began, and what it asked for until its
//! kernel was entered. Pure, but for the words that make a monitor write such a file.

use serde::Deserialize;

use super::count::stream::{self, Register};
use super::model::{Access, AccessKind, Counts, Vmm, last_accesses};
use crate::error::{Error, Result};

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Microseconds from the start of the process to the first guest instruction.
    pub guest_starts: Option<f64>,
    /// Up to kernel entry, where that is known.
    pub counts: Counts,
    pub accesses: Vec<Access>,
    /// Where the processor was, as far as the monitor says so, and what it had accessed, unless a
    /// kernel was seen entered.
    pub stuck: Option<String>,
}

/// What QEMU is to tell: each call of KVM for a processor; and each return of it and each access.
const CALLS: [&str; 1] = ["kvm_vcpu_ioctl"];
const ACCESSES: [&str; 3] = [
    "kvm_run_exit",
    "memory_region_ops_read",
    "memory_region_ops_write",
];
/// The number of the ioctl `KVM_RUN`, in QEMU's words.
pub const RUN: &str = "type 0xae80,";
/// Registers of the first serial port, which is the kernel's.
const COM1: std::ops::Range<u64> = 0x3f8..0x400;

/// What makes a monitor write such a file. QEMU does not know when a kernel is entered; so `accesses`
/// are for kernels whose own are told from the firmware's.
pub fn words(vmm: Vmm, file: &str, accesses: bool) -> Vec<String> {
    let mut words: Vec<String> = match vmm {
        Vmm::Microvm => return vec!["--measure".into(), file.into()],
        Vmm::Qemu => ["-msg", "timestamp=on", "-D", file]
            .map(String::from)
            .into(),
    };
    let accesses = if accesses { &ACCESSES[..] } else { &[] };
    for event in CALLS.iter().chain(accesses) {
        words.extend(["-trace".into(), (*event).into()]);
    }
    words
}

/// The contents of the file, which was written by a process started at `started`, microseconds since
/// 1970.
pub fn read(vmm: Vmm, text: &str, started: u64) -> Result<Found> {
    match vmm {
        Vmm::Microvm => measurement(text),
        Vmm::Qemu => Ok(trace(text, started)),
    }
}

/// The parts of a measurement of ours that are of interest here.
#[derive(Debug, Deserialize)]
struct Measurement {
    events: Vec<Moment>,
    counts: Counts,
    accesses: Vec<Access>,
    #[serde(default)]
    last_exits: Vec<Access>,
    processors: Vec<Processor>,
}

#[derive(Debug, Deserialize)]
struct Moment {
    name: String,
    time: f64,
}

#[derive(Debug, Deserialize)]
struct Processor {
    rip: u64,
    mode: String,
}

const GUEST: &str = "first_guest_instruction";
const KERNEL: &str = "kernel_entry";

fn measurement(text: &str) -> Result<Found> {
    // In the lab its last words follow.
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Measurement>();
    let refused = |why: String| Error::Guest(format!("our monitor's measurement: {why}"));
    let found = values
        .next()
        .ok_or_else(|| refused("nothing was written".into()))?
        .map_err(|error| refused(error.to_string()))?;
    let moment = |name: &str| found.events.iter().find(|event| event.name == name);
    let guest_starts = moment(GUEST).map(|event| event.time);
    if moment(KERNEL).is_none() {
        // Not every KVM tells when a kernel is entered, and not every firmware.
        return Ok(Found {
            guest_starts,
            stuck: Some(stuck(&found)),
            ..Found::default()
        });
    }
    Ok(Found {
        guest_starts,
        counts: found.counts,
        accesses: found.accesses,
        stuck: None,
    })
}

/// Where a boot ended that led nowhere.
fn stuck(found: &Measurement) -> String {
    let places: Vec<_> = found
        .processors
        .iter()
        .map(|it| format!("{:#x} in {} mode", it.rip, it.mode))
        .collect();
    let places = places.join(", ");
    format!(
        "the processor was at {places}; {}",
        last_accesses(&found.last_exits)
    )
}

fn trace(text: &str, started: u64) -> Found {
    let mut found = Found::default();
    let mut exits: u64 = 0;
    // Accesses of the kernel's serial port at the end are the kernel's.
    let (mut firmware_accesses, mut firmware_exits) = (0, 0);
    for line in text.lines() {
        let Some((stamp, event)) = line.split_once(':') else {
            continue;
        };
        if event.starts_with("kvm_vcpu_ioctl") && event.contains(RUN) {
            if found.guest_starts.is_none() {
                let moment = stamp.split_once('@').and_then(|(_, time)| micros(time));
                // A difference of minutes at most.
                let since = moment.and_then(|it| u32::try_from(it.checked_sub(started)?).ok());
                found.guest_starts = since.map(f64::from);
            }
        } else if event.starts_with("kvm_run_exit") {
            exits += 1;
        } else if let stream::Event::Access(register) = stream::Event::read(event) {
            found.accesses.push(access(&register));
            if !COM1.contains(&register.address) {
                (firmware_accesses, firmware_exits) = (found.accesses.len(), exits);
            }
        }
    }
    if exits == 0 {
        // They were not asked for.
        return found;
    }
    found.stuck = Some(last_accesses(&found.accesses));
    found.accesses.truncate(firmware_accesses);
    let of_kind = |kind| {
        let of_kind = found.accesses.iter().filter(|access| access.kind == kind);
        Some(of_kind.count() as u64)
    };
    found.counts = Counts {
        port_reads: of_kind(AccessKind::PortRead),
        port_writes: of_kind(AccessKind::PortWrite),
        mmio_reads: of_kind(AccessKind::MmioRead),
        mmio_writes: of_kind(AccessKind::MmioWrite),
        exits: Some(firmware_exits),
        ..Counts::default()
    };
    found
}

/// `SECONDS.MICROSECONDS`
fn micros(time: &str) -> Option<u64> {
    let (seconds, micros) = time.split_once('.')?;
    Some(seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?)
}

fn access(register: &Register<'_>) -> Access {
    Access {
        instruction: None,
        kind: register.kind,
        address: register.address,
        width: register.width,
        value: register.value,
        device: register.device.to_owned(),
        purpose: None,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const TRACE: &str = "\
7@1795299280.938971:kvm_vcpu_ioctl cpu_index 0, type 0xaea3, arg (nil)\n\
7@1795299280.953381:kvm_vcpu_ioctl cpu_index 0, type 0xae80, arg (nil)\n\
7@1795299280.954983:kvm_run_exit cpu_index 0, reason 2\n\
7@1795299280.954995:memory_region_ops_read cpu 0 mr 0x55 addr 0x514 value 0x51454d55 size 4 \
name 'fwcfg.dma'\n\
7@1795299280.978761:kvm_run_exit cpu_index 0, reason 2\n\
7@1795299280.978805:memory_region_ops_read cpu 0 mr 0x55 addr 0x3fd value 0x60 size 1 \
name 'serial'\n";

    #[test]
    fn the_kernels_own_accesses_are_not_the_firmwares() {
        let found = read(Vmm::Qemu, TRACE, 1_795_299_280_900_000).unwrap();

        assert_eq!(found.guest_starts, Some(53_381.0));
        let counts = &found.counts;
        assert_eq!(counts.exits, Some(1));
        assert_eq!((counts.port_reads, counts.port_writes), (Some(1), Some(0)));
        assert_eq!(found.accesses.len(), 1);
        // Of a boot that led nowhere, whoever asked last is of interest.
        assert_eq!(
            found.stuck.unwrap(),
            "its last accesses: read of port 0x514 (fwcfg.dma): 0x51454d55, \
             read of port 0x3fd (serial): 0x60"
        );
    }

    #[test]
    fn what_was_not_asked_for_is_not_zero() {
        let calls: Vec<_> = TRACE
            .lines()
            .filter(|line| line.contains("ioctl"))
            .collect();

        let found = read(Vmm::Qemu, &calls.join("\n"), 1_795_299_280_900_000).unwrap();

        assert_eq!(found.guest_starts, Some(53_381.0));
        assert_eq!((found.counts.exits, found.counts.port_reads), (None, None));
    }

    #[test]
    fn a_boot_that_led_nowhere_is_told_with_its_place() {
        let text = r#"{"events": [{"name": "main", "time": 1.0}], "counts": {}, "accesses": [],
            "last_exits": [{"kind": "port_write", "address": 128, "width": 1, "value": 7,
            "device": "none"}], "processors": [{"rip": 65520, "mode": "real"}]}"#;

        let found = read(Vmm::Microvm, &format!("{text}\nLAB: exit=0\n"), 0).unwrap();

        assert_eq!(
            found.stuck.unwrap(),
            "the processor was at 0xfff0 in real mode; its last accesses: write to port 0x80 (none): 0x7"
        );
    }
}
