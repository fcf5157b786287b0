// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a measurement is: the values that the runners fill in and the reports print.
//!
//! Serialized as it stands here, this is the JSON that `cargo xtask bench` writes and reads. An
//! interval or a count that was not measured is absent, never zero.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The version of this format; a file with another one is refused.
pub const VERSION: u32 = 1;

/// All that one `cargo xtask bench` has found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    pub version: u32,
    /// The command that does it again.
    pub command: String,
    /// The commit that was measured, with `+` behind it where the tree had changes.
    pub revision: String,
    pub host: Host,
    pub rows: Vec<Row>,
}

/// The machine that measured. Times of two results compare only where this is the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    pub processor: String,
    /// Logical processors.
    pub processors: u32,
    pub kernel: String,
    /// What is behind `/dev/kvm`, in words.
    pub kvm: String,
    /// The version of QEMU, where there is one.
    pub qemu: Option<String>,
}

/// One combination and what it cost, or why it could not be measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub combination: Combination,
    pub outcome: Outcome,
}

/// What was booted, by whom, where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Combination {
    /// `qboot-rs`, `qboot`, `seabios`, `none` or the name of a file.
    pub firmware: String,
    pub vmm: Vmm,
    pub place: Place,
    /// As QEMU's `-M` or our `--machine` take it: `microvm`, `microvm,acpi=off`, `pc`, `q35`.
    pub machine: String,
    /// What was booted, for example `report`, `debian` or the name of a file.
    pub kernel: String,
    /// How it was handed over: `pvh` or `bzimage`.
    pub format: String,
    pub cpus: u32,
    /// Bytes of the initial RAM disk; 0 without one.
    pub initrd: u64,
}

/// Who makes the machine.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Vmm {
    /// Our monitor.
    Microvm,
    Qemu,
}

/// Who runs the guest's instructions.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// QEMU's emulator with a clock that counts instructions.
    Tcg,
    /// This machine's `/dev/kvm`.
    Kvm,
    /// KVM inside QEMU's emulator.
    Lab,
}

/// How a measurement ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Measured(Box<Measured>),
    /// One sentence that says why not.
    Unable(String),
}

/// What one combination cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// In the order in which they happened, without a gap.
    pub phases: Vec<Phase>,
    pub counts: Counts,
    /// What the guest asked the VMM for from reset to kernel entry, in order; the first 10,000.
    pub accesses: Vec<Access>,
    pub costs: Costs,
}

/// An interval of the boot, from the end of the one before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    pub name: String,
    /// Guest instructions; a repeated string instruction counts as often as it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u64>,
    /// Port and MMIO accesses that left the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accesses: Option<u64>,
    /// Microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Spread>,
}

/// Counts from reset to kernel entry: the same on every run and on every machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_reads: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_writes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mmio_reads: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mmio_writes: Option<u64>,
    /// Accesses of the local APIC's registers, which none of the four above counts: KVM and the
    /// processor answer them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_apic: Option<u64>,
    /// Instructions of the processors that do not boot, which `instructions` does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_processors: Option<u64>,
    /// Times that `KVM_RUN` came back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exits: Option<u64>,
    /// `fw_cfg` items that were read or written, one read twice counted twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fw_cfg_items: Option<u64>,
    /// Bytes that `fw_cfg` handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fw_cfg_bytes: Option<u64>,
    /// Occupied bytes of the ROM image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rom_bytes: Option<u64>,
    /// KiB of guest memory that have been touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_touched: Option<u64>,
    /// Accesses by device register, the most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<PlaceCount>,
    /// Instructions by function, the largest first; only of a firmware whose symbols are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<SymbolCount>,
}

/// How often one register was accessed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceCount {
    pub kind: AccessKind,
    /// Port number or guest-physical address.
    pub address: u64,
    /// The device, where it is known.
    pub device: String,
    pub count: u64,
}

/// How many instructions one function executed in one phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SymbolCount {
    pub phase: String,
    pub symbol: String,
    pub count: u64,
    /// Accesses that left the guest, made by these instructions.
    #[serde(default)]
    pub accesses: u64,
}

/// One access that left the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Guest instructions since reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<u64>,
    pub kind: AccessKind,
    /// Port number or guest-physical address.
    pub address: u64,
    /// Bytes.
    pub width: u8,
    pub value: u64,
    /// The device, where it is known.
    pub device: String,
    /// What it was for, where that is known: an item of `fw_cfg`, a symbol of the firmware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
}

/// How many of the last words of a boot that led nowhere are told.
pub const LAST: usize = 4;

/// The last few of `accesses`, in words.
pub fn last_accesses(accesses: &[Access]) -> String {
    let few = accesses[accesses.len().saturating_sub(LAST)..].iter();
    let few: Vec<_> = few.map(Access::to_string).collect();
    match few[..] {
        [] => "it had accessed no device".into(),
        _ => format!("its last accesses: {}", few.join(", ")),
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            AccessKind::PortRead => "read of port",
            AccessKind::PortWrite => "write to port",
            AccessKind::MmioRead => "read of",
            AccessKind::MmioWrite => "write to",
        };
        let Self {
            address,
            device,
            value,
            ..
        } = self;
        write!(f, "{what} {address:#x} ({device}): {value:#x}")
    }
}

/// Which way an access goes, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessKind {
    PortRead,
    PortWrite,
    MmioRead,
    MmioWrite,
}

/// What differs from run to run, and from machine to machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// Microseconds from the start of the process to init, or to the first output of a kernel without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall: Option<Spread>,
    /// Microseconds of processor time of the whole process, user and system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor_time: Option<Spread>,
    /// KiB of memory of the process beyond the guest's, at its peak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Spread>,
    /// Bytes of the VMM's program, without libraries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<u64>,
    /// The time to kernel entry, or to the first output where the kernel does not say when it was
    /// entered, divided by that of the first row that differs only in its firmware; in turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Ratio>,
}

/// Several runs of one number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    pub median: f64,
    pub low: f64,
    pub high: f64,
    pub runs: u32,
}

/// A ratio with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratio {
    pub ratio: f64,
    pub low: f64,
    pub high: f64,
}

impl Measured {
    /// All accesses to ports.
    pub fn ports(&self) -> Option<u64> {
        self.counts
            .port_reads?
            .checked_add(self.counts.port_writes?)
    }

    /// All accesses to registers in memory.
    pub fn mmio(&self) -> Option<u64> {
        self.counts
            .mmio_reads?
            .checked_add(self.counts.mmio_writes?)
    }
}
