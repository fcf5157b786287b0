// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a measurement says, as it is written: JSON.
//!
//! `phases`, `counts`, `accesses` and `costs` have the names and meanings of the values of the same
//! names of `cargo xtask bench`, which reads them. What was not measured is absent, never zero.

use serde::Serialize;
use std::collections::BTreeMap;

/// The version of this format.
pub const VERSION: u32 = 1;

/// A whole measurement.
#[derive(Debug, Serialize)]
pub struct Record {
    pub version: u32,
    pub program: &'static str,
    /// How the run ended, in words.
    pub ending: String,
    /// How often the machine was started. Only the first time is measured.
    pub boots: u64,
    /// Absent where nothing told of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_entry: Option<KernelEntry>,
    /// What became of the breakpoints at the kernel's entry points, in words.
    pub breakpoints: String,
    /// Moments, in their order.
    pub events: Vec<Event>,
    /// Intervals between some of them, without a gap.
    pub phases: Vec<Phase>,
    /// From reset to kernel entry.
    pub counts: Counts,
    /// How many of the instructions from reset to kernel entry were string instructions that have repeated,
    /// each of them counted once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeated_strings: Option<u64>,
    /// From kernel entry to the end.
    pub after: After,
    /// Other exits than accesses, by kind.
    pub other_exits: Sides<BTreeMap<&'static str, u64>>,
    /// Items of `fw_cfg` that were used from reset to kernel entry, in the order of their keys.
    pub fw_cfg: Vec<Item>,
    /// Bytes that the DMA of `fw_cfg` has copied from reset to kernel entry.
    pub dma_bytes: u64,
    pub costs: Costs,
    /// Every access from reset to kernel entry that left the guest, in order.
    pub accesses: Vec<Access>,
    /// How many more there were.
    pub accesses_left_out: u64,
    /// The last exits, where no kernel was entered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last_exits: Vec<Access>,
    /// Where the processors were at the end.
    pub processors: Vec<Processor>,
}

/// Where and how the kernel was entered.
#[derive(Clone, Debug, Serialize)]
pub struct KernelEntry {
    /// How it is known: `hardware breakpoint` or `trace point`.
    pub found: &'static str,
    /// Which way in: `pvh`, `multiboot`, `linux16`, `linux32`, `linux64` or `linux`.
    pub way: &'static str,
    /// Guest-physical, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<u64>,
}

/// A moment.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    pub name: String,
    /// Microseconds since the process started.
    pub time: f64,
    /// How it is known.
    pub found: String,
    /// Accesses that had left the guest before it.
    pub accesses: u64,
    /// Guest instructions before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u64>,
}

/// An interval, from the end of the one before.
#[derive(Debug, Serialize)]
pub struct Phase {
    pub name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u64>,
    pub accesses: u64,
    /// Microseconds.
    pub time: Spread,
}

/// What happened from reset to kernel entry, counted.
#[derive(Debug, Serialize)]
pub struct Counts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u64>,
    pub port_reads: u64,
    pub port_writes: u64,
    pub mmio_reads: u64,
    pub mmio_writes: u64,
    /// Times that `KVM_RUN` came back for an access; a string of them comes back once a piece.
    pub exits: u64,
    pub fw_cfg_items: u64,
    /// Bytes that `fw_cfg` handed over.
    pub fw_cfg_bytes: u64,
    /// KiB of RAM that the host has provided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_touched: Option<u64>,
    pub places: Vec<PlaceCount>,
}

/// What happened after kernel entry.
#[derive(Debug, Serialize)]
pub struct After {
    pub exits: u64,
    pub places: Vec<PlaceCount>,
}

/// Something before and after kernel entry.
#[derive(Debug, Default, Serialize)]
pub struct Sides<T> {
    pub before: T,
    pub after: T,
}

/// How often one register was accessed.
#[derive(Debug, Serialize)]
pub struct PlaceCount {
    pub kind: AccessKind,
    /// Port number or guest-physical address.
    pub address: u64,
    pub device: &'static str,
    pub count: u64,
}

/// An item of `fw_cfg` and its use.
#[derive(Clone, Debug, Serialize)]
pub struct Item {
    pub name: String,
    /// Selections through the register, and DMA operations.
    pub operations: u64,
    /// Bytes that were handed over.
    pub bytes: u64,
}

/// An access that left the guest.
#[derive(Clone, Debug, Serialize)]
pub struct Access {
    /// Guest instructions before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instruction: Option<u64>,
    pub kind: AccessKind,
    /// Port number or guest-physical address.
    pub address: u64,
    /// Bytes.
    pub width: u8,
    pub value: u64,
    pub device: &'static str,
    /// What it was for: an item of `fw_cfg`, a string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
}

/// Which way an access goes, and where.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessKind {
    /// The guest reads a port.
    PortRead,
    /// The guest writes a port.
    PortWrite,
    /// The guest reads an address without memory.
    MmioRead,
    /// The guest writes one.
    MmioWrite,
}

/// What differs from run to run.
#[derive(Debug, Serialize)]
pub struct Costs {
    /// Microseconds from the start of the process to the end.
    pub wall: Spread,
    /// Microseconds of processor time of the whole process.
    pub processor_time: Spread,
    /// KiB of memory of the process beyond the guest's: at kernel entry or at the end, whichever is
    /// more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Spread>,
}

/// A number of which there is one run.
#[derive(Debug, Serialize)]
pub struct Spread {
    pub median: f64,
    pub low: f64,
    pub high: f64,
    pub runs: u32,
}

impl Spread {
    pub fn of(value: f64) -> Self {
        Self {
            median: value,
            low: value,
            high: value,
            runs: 1,
        }
    }
}

/// Where a processor was.
#[derive(Clone, Debug, Serialize)]
pub struct Processor {
    /// Its number.
    pub index: u32,
    /// Instruction pointer.
    pub rip: u64,
    /// With the base of its segment.
    pub linear: u64,
    /// `real`, `protected 16`, `protected 32`, `compatible` or `64`.
    pub mode: &'static str,
}

impl Record {
    /// As a text that ends with a line.
    pub fn written(&self) -> String {
        // Nothing in it can fail: the keys of its maps are texts.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}
