// SPDX-License-Identifier: MIT OR Apache-2.0
//! The monitor as an instrument: what the first boot of a run costs.
//!
//! In: what the processors' threads see, if the user has asked for a measurement. Out: a file. With one
//! processor and a firmware that looks at no clock, all that is counted up to kernel entry is the
//! same at every run. Never: changes what the guest sees.
//!
//! The kernel's first instruction is found by hardware breakpoints on the first processor, at the
//! entry points that there may be; the first that is hit counts, and then there are none. Where KVM
//! does not deliver them, it is where the firmware says that it is about to enter the kernel. What
//! the monitor does there to look at memory is not counted as time of the guest's.

mod record;
#[cfg(test)]
mod test;

pub use record::{AccessKind, Processor};

use crate::boot::{Boot, Entry};
use crate::config::{Config, MEASURE};
use crate::description::{self, Place};
use crate::devices::bus::lock;
use crate::devices::fw_cfg::Usage;
use crate::devices::serial::COM1_PORT;
use crate::hypervisor::Executed;
use crate::memory::{Kind, Memory, Range};
use crate::report::Report;
use abi::debug::{
    TRACE_FIRMWARE_BOOT, TRACE_FIRMWARE_PORT, TRACE_FIRMWARE_START, TRACE_KERNEL_LINUX,
    TRACE_KERNEL_MULTIBOOT, TRACE_KERNEL_PORT, TRACE_KERNEL_PVH, TRACE_KERNEL_START,
    TRACE_USER_START,
};
use record::{
    Access, After, Costs, Counts, Event, Item, KernelEntry, Phase, PlaceCount, Record, Sides,
    Spread,
};
use rustix::time::{ClockId, clock_gettime};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Most accesses that are kept one by one.
const MOST_ACCESSES: usize = 1 << 16;
/// Accesses that are kept of a boot that leads nowhere.
const LAST_ACCESSES: usize = 32;
/// Most moments that a guest can add by writing to the ports of trace points.
const MOST_MARKS: usize = 256;
/// Instructions after a trace point for a kernel's entry that are counted to find it.
const MOST_BEYOND_MARK: u64 = 1 << 16;
/// What a place without a device is called.
const NOBODY: &str = "none";
/// Offset of COM1's line control register, and its bit that shows other registers in place of the
/// first two.
const LINE_CONTROL: u16 = 3;
const DIVISOR_LATCH: u8 = 0x80;

/// Names of moments that begin or end a phase.
const MAIN: &str = "main";
const GUEST: &str = "first_guest_instruction";
const FIRMWARE: &str = "firmware_start";
const KERNEL: &str = "kernel_entry";
const OUTPUT: &str = "first_output";
const INIT: &str = "init";
const END: &str = "end";

/// Each phase, and the moment that it ends with.
const PHASES: [(&str, &str); 6] = [
    ("vmm", GUEST),
    ("reset", FIRMWARE),
    ("firmware", KERNEL),
    ("kernel", OUTPUT),
    ("user", INIT),
    ("run", END),
];

/// Why there can be no measurement.
#[derive(Debug, thiserror::Error)]
#[error("{MEASURE} {path}: expected a file to write to, found: {source}")]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// Where a measurement goes, opened: it keeps its bytes until the machine is complete.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    file: File,
    /// Processor time that the process had used before `main`.
    before_main: Duration,
}

impl Output {
    /// Opens the file at `path` for a process whose `main` was entered at `started`.
    pub fn open(path: &Path, started: Instant) -> Result<Self, Error> {
        let before_main = processor_time().saturating_sub(started.elapsed());
        let mut how = File::options();
        let how = how.write(true).create(true).truncate(false);
        let file = how.custom_flags(libc::O_NOCTTY).open(path);
        let file = file.map_err(|source| Error {
            path: path.into(),
            source,
        })?;
        Ok(Self {
            path: path.into(),
            file,
            before_main,
        })
    }
}

/// A measurement under way. Shared by all threads.
#[derive(Debug)]
pub struct Measure {
    output: Output,
    started: Instant,
    /// What the process has mapped.
    maps: Option<File>,
    memory: Memory,
    ram: Vec<Range>,
    mmio: Vec<Place<u64>>,
    ports: Vec<Place<u16>>,
    entries: Vec<Entry>,
    /// The count of the first processor's instructions, if they are counted.
    executed: Option<Arc<Executed>>,
    /// When a virtio console first had something to print.
    printed: Arc<OnceLock<Instant>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What measuring has taken so far.
    paused: Duration,
    events: Vec<Event>,
    marks: usize,
    /// What became of the breakpoints.
    breakpoints: String,
    /// Whether they are on, so that trace points do not have the last word.
    armed: bool,
    accesses: Vec<Access>,
    last: VecDeque<Access>,
    /// Before kernel entry and after it.
    tally: [Tally; 2],
    /// Set when the kernel was entered, as far as is known.
    entered: Option<Entered>,
    /// Set when that is certain, or the first boot is over.
    settled: bool,
    first_fw_cfg: bool,
    first_output: bool,
    line_control: u8,
    processors: Vec<Processor>,
}

#[derive(Clone, Debug, Default)]
struct Tally {
    places: BTreeMap<(AccessKind, u64), u64>,
    others: BTreeMap<&'static str, u64>,
    exits: u64,
    accesses: u64,
}

/// What there was when the kernel was entered.
#[derive(Debug)]
struct Entered {
    how: KernelEntry,
    event: Event,
    accesses: usize,
    tally: Tally,
    found: Found,
}

/// What the monitor finds out when it looks around.
#[derive(Debug, Default)]
struct Found {
    fw_cfg: Vec<Usage>,
    /// Bytes of RAM.
    touched: Option<u64>,
    /// KiB of the process's own memory.
    private: Option<u64>,
    instructions: Option<u64>,
    /// Instructions that repeated.
    strings: Option<u64>,
}

/// Where the first processor is to stop.
#[derive(Debug)]
pub enum Watch {
    /// After each instruction, which counts here.
    Steps(Arc<Executed>),
    /// At these guest-physical addresses, once.
    Entries(Vec<u64>),
}

/// What a stop means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stopped {
    /// The kernel's first instruction is next.
    Kernel,
    /// It is still to come.
    Underway,
    /// Stops mean nothing any more.
    Nowhere,
}

/// What a thread has seen of an access.
#[derive(Debug)]
pub struct Seen<'a> {
    /// Which way, and where.
    pub kind: AccessKind,
    /// Port number or guest-physical address.
    pub address: u64,
    /// Bytes of each.
    pub width: usize,
    /// All of a string's, one after the other.
    pub data: &'a [u8],
    /// What it was for.
    pub purpose: Option<String>,
}

impl Measure {
    /// A measurement of the machine of `config` and `boot`, whose memory is `memory`.
    pub fn new(
        output: Output,
        config: &Config,
        boot: &Boot,
        memory: Memory,
        started: Instant,
    ) -> Self {
        let pieces = boot.layout.pieces().into_iter();
        let pieces = pieces.filter(|piece| piece.kind == Kind::Ram);
        let ram = pieces.map(|piece| Range {
            address: piece.guest,
            length: piece.size,
        });
        let measure = Self {
            started,
            maps: File::open("/proc/self/smaps").ok(),
            memory,
            ram: ram.collect(),
            mmio: description::mmio(config, &boot.map),
            ports: description::ports(&boot.map),
            entries: boot.entries.clone(),
            executed: config.single_step.then(Arc::default),
            printed: Arc::default(),
            state: Mutex::default(),
            output,
        };
        let mut state = lock(&measure.state);
        state.breakpoints = "none: no kernel whose entry points are known".into();
        let found = "processor time used before it";
        let main = measure.event(&state, MAIN, found, started);
        state.events.push(main);
        drop(state);
        measure
    }

    /// Empties the file, now that the machine is complete.
    pub fn begin(&self) -> io::Result<()> {
        // A pipe has no length.
        let emptied = self.output.file.set_len(0);
        emptied.or_else(|error| match error.kind() {
            io::ErrorKind::InvalidInput => Ok(()),
            _ => Err(error),
        })
    }

    /// What error messages call its file.
    pub fn name(&self) -> String {
        format!("{MEASURE} {}", self.output.path.display())
    }

    /// Where virtio consoles tell when they have something to print.
    pub fn printed(&self) -> Arc<OnceLock<Instant>> {
        Arc::clone(&self.printed)
    }

    /// Has the first processor stop where that matters, by `set`, if this boot is measured.
    pub fn watch(&self, set: impl FnOnce(Watch) -> Result<(), String>) {
        let mut state = lock(&self.state);
        let watch = match &self.executed {
            _ if state.settled => return,
            Some(executed) => Watch::Steps(Arc::clone(executed)),
            None if self.entries.is_empty() => return,
            None => Watch::Entries(self.entries.iter().map(|entry| entry.address).collect()),
        };
        let result = set(watch);
        state.armed = result.is_ok();
        state.breakpoints = match result {
            Ok(()) if self.executed.is_some() => "none: the first processor stops at each \
                instruction"
                .into(),
            Ok(()) => {
                let places = self.entries.iter();
                let places = places.map(|it| format!("{} at {:#x}", it.way, it.address));
                format!("set: {}", places.collect::<Vec<_>>().join(", "))
            }
            Err(words) => format!("refused: {words}"),
        };
    }

    /// The first processor is about to run its first instruction.
    pub fn guest_starts(&self) {
        let mut state = lock(&self.state);
        let event = self.event(&state, GUEST, "before the first KVM_RUN", Instant::now());
        state.events.push(event);
    }

    /// An access of the guest's, which has been served. `usage` tells what `fw_cfg` was used for.
    pub fn access(&self, seen: &Seen<'_>, usage: impl FnOnce() -> Vec<Usage>) {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let side = usize::from(state.settled);
        let count = (seen.data.len() / seen.width.max(1)) as u64;
        let tally = &mut state.tally[side];
        tally.exits += 1;
        *tally.places.entry((seen.kind, seen.address)).or_default() += count;
        let device = self.device(seen.kind, seen.address);
        if !state.settled {
            let access = self.described(&state, seen, device, count);
            if state.last.len() == LAST_ACCESSES {
                state.last.pop_front();
            }
            state.last.push_back(access.clone());
            if state.accesses.len() < MOST_ACCESSES {
                state.accesses.push(access);
            }
        }
        if !state.first_fw_cfg && device.starts_with("fw_cfg") {
            state.first_fw_cfg = true;
            let event = self.event(&state, "first_fw_cfg_access", "fw_cfg", now);
            state.events.push(event);
        }
        self.look_at_com1(&mut state, seen, now);
        if let (AccessKind::PortWrite, &[value]) = (seen.kind, seen.data) {
            self.look_at_mark(&mut state, seen.address, value, now, usage);
        }
        state.tally[side].accesses += count;
    }

    fn described(
        &self,
        state: &State,
        seen: &Seen<'_>,
        device: &'static str,
        count: u64,
    ) -> Access {
        let first = seen.data.iter().take(seen.width.min(8)).rev();
        let value = first.fold(0, |value: u64, byte| value << 8 | u64::from(*byte));
        let string = (count > 1).then(|| format!("a string of {count}"));
        let purpose = match (&seen.purpose, string) {
            (Some(purpose), Some(string)) => Some(format!("{purpose}, {string}")),
            (purpose, string) => purpose.clone().or(string),
        };
        Access {
            instruction: self.instructions().filter(|_| !state.settled),
            kind: seen.kind,
            address: seen.address,
            width: u8::try_from(seen.width).unwrap_or(u8::MAX),
            value,
            device,
            purpose,
        }
    }

    /// The kernel's first output is the first character that goes to COM1 after its entry.
    fn look_at_com1(&self, state: &mut State, seen: &Seen<'_>, now: Instant) {
        const CONTROL: u64 = (COM1_PORT + LINE_CONTROL) as u64;
        let (AccessKind::PortWrite, Some(value)) = (seen.kind, seen.data.first()) else {
            return;
        };
        if seen.address == CONTROL {
            state.line_control = *value;
        }
        let prints =
            seen.address == u64::from(COM1_PORT) && state.line_control & DIVISOR_LATCH == 0;
        if prints && state.entered.is_some() && !state.first_output && self.has_com1() {
            state.first_output = true;
            let event = self.event(state, OUTPUT, "a character to COM1", now);
            state.events.push(event);
        }
    }

    fn has_com1(&self) -> bool {
        self.ports.iter().any(|place| place.first == COM1_PORT)
    }

    /// Trace points of qboot, of qemu-boot-time and of others.
    fn look_at_mark(
        &self,
        state: &mut State,
        address: u64,
        value: u8,
        now: Instant,
        usage: impl FnOnce() -> Vec<Usage>,
    ) {
        let port = u16::try_from(address).unwrap_or(0);
        if ![TRACE_FIRMWARE_PORT, TRACE_KERNEL_PORT].contains(&port) || state.marks == MOST_MARKS {
            return;
        }
        state.marks += 1;
        let found = format!("trace point {value} on port {port:#x}");
        let way = match (port, value) {
            (TRACE_KERNEL_PORT, TRACE_KERNEL_MULTIBOOT) => Some("multiboot"),
            (TRACE_KERNEL_PORT, TRACE_KERNEL_LINUX) => Some("linux"),
            (TRACE_KERNEL_PORT, TRACE_KERNEL_PVH) => Some("pvh"),
            _ => None,
        };
        let name = match (port, value) {
            (TRACE_FIRMWARE_PORT, TRACE_FIRMWARE_START) => "fw_start".into(),
            (TRACE_FIRMWARE_PORT, TRACE_FIRMWARE_BOOT) => "fw_do_boot".into(),
            (TRACE_KERNEL_PORT, TRACE_KERNEL_START) => "linux_start_kernel".into(),
            (TRACE_KERNEL_PORT, TRACE_USER_START) => INIT.into(),
            _ => way.map_or(format!("mark_{value}"), |way| format!("{way}_start")),
        };
        let event = self.event(state, &name, &found, now);
        state.events.push(event);
        if let Some(way) = way
            && !state.settled
            && state.entered.is_none()
        {
            let how = KernelEntry {
                found: "trace point",
                way,
                address: None,
            };
            // It counts as an access before the kernel.
            state.tally[0].accesses += 1;
            self.enter(state, how, now, usage());
            state.tally[0].accesses -= 1;
            state.settled = !state.armed;
        }
    }

    /// The first processor has stopped at `address`.
    pub fn stopped(&self, address: u64, usage: impl FnOnce() -> Vec<Usage>) -> Stopped {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let Some(entry) = self.entries.iter().find(|it| it.address == address) else {
            // Where a kernel is that is none of ours, nobody wants to wait for it.
            let since = state.entered.as_ref().and_then(|it| it.found.instructions);
            let beyond = |since| {
                self.instructions()
                    .is_some_and(|it| it > since + MOST_BEYOND_MARK)
            };
            if since.is_some_and(beyond) {
                state.settled = true;
            }
            return if state.settled {
                Stopped::Nowhere
            } else {
                Stopped::Underway
            };
        };
        if !state.settled {
            let how = KernelEntry {
                found: match self.executed {
                    Some(_) => "single step",
                    None => "hardware breakpoint",
                },
                way: entry.way,
                address: Some(address),
            };
            self.enter(&mut state, how, now, usage());
            state.settled = true;
        }
        Stopped::Kernel
    }

    /// Instructions so far, if they are counted.
    fn instructions(&self) -> Option<u64> {
        self.executed.as_ref().and_then(|it| it.instructions())
    }

    /// Looks around. The time that this takes is not the guest's.
    fn enter(&self, state: &mut State, how: KernelEntry, now: Instant, fw_cfg: Vec<Usage>) {
        let event = self.event(state, KERNEL, how.found, now);
        state.entered = Some(Entered {
            how,
            event,
            accesses: state.accesses.len(),
            tally: state.tally[0].clone(),
            found: Found {
                fw_cfg,
                touched: self.memory.resident(&self.ram).ok(),
                private: self.maps.as_ref().and_then(|maps| private(maps).ok()),
                instructions: self.instructions(),
                strings: self.executed.as_ref().and_then(|it| it.strings()),
            },
        });
        state.paused += now.elapsed();
    }

    /// An exit that is no access.
    pub fn other(&self, kind: &'static str) {
        let mut state = lock(&self.state);
        let side = usize::from(state.settled);
        *state.tally[side].others.entry(kind).or_default() += 1;
    }

    /// The first boot is over; what comes later is not measured.
    pub fn boot_over(&self) {
        lock(&self.state).settled = true;
    }

    /// Where a processor was when it stopped for good.
    pub fn left(&self, processor: Processor) {
        let mut state = lock(&self.state);
        state.processors.retain(|it| it.index != processor.index);
        state.processors.push(processor);
    }

    fn device(&self, kind: AccessKind, address: u64) -> &'static str {
        match kind {
            AccessKind::PortRead | AccessKind::PortWrite => {
                u16::try_from(address).map_or(NOBODY, |port| name(&self.ports, port))
            }
            AccessKind::MmioRead | AccessKind::MmioWrite => name(&self.mmio, address),
        }
    }

    fn event(&self, state: &State, name: &str, found: &str, when: Instant) -> Event {
        Event {
            name: name.into(),
            time: self.since_start(when, state.paused),
            found: found.into(),
            accesses: state.tally.iter().map(|it| it.accesses).sum(),
            instructions: self.instructions().filter(|_| !state.settled),
        }
    }

    /// Microseconds from the start of the process to `when`, without those of measuring.
    fn since_start(&self, when: Instant, paused: Duration) -> f64 {
        let since_main = when.saturating_duration_since(self.started);
        microseconds((self.output.before_main + since_main).saturating_sub(paused))
    }

    /// Writes the file. `usage` is what `fw_cfg` was used for until now.
    pub fn finish(&self, report: &Report, usage: Vec<Usage>) -> io::Result<()> {
        let now = Instant::now();
        let mut state = std::mem::take(&mut *lock(&self.state));
        if let Some(printed) = self.printed.get()
            && !state.first_output
        {
            let event = self.event(&state, OUTPUT, "a virtio console", *printed);
            state.events.push(event);
        }
        if self.executed.is_some() && state.armed && self.instructions().is_none() {
            state.breakpoints = "none: KVM does not stop after each instruction".into();
        }
        let end = self.event(&state, END, "the processors have stopped", now);
        let private = self.maps.as_ref().and_then(|maps| private(maps).ok());
        let found = Found {
            fw_cfg: usage,
            touched: self.memory.resident(&self.ram).ok(),
            private,
            instructions: self.instructions(),
            strings: self.executed.as_ref().and_then(|it| it.strings()),
        };
        let record = self.record(state, end, found, report);
        let mut file = &self.output.file;
        file.write_all(record.written().as_bytes())
    }

    fn record(&self, mut state: State, end: Event, found: Found, report: &Report) -> Record {
        let [mut before, mut after] = state.tally;
        let mut kept = std::mem::take(&mut state.accesses);
        let mut kernel_entry = None;
        let mut at_entry = None;
        if let Some(entered) = state.entered {
            // What came behind a trace point that no breakpoint has followed is the kernel's.
            after.add(&before.without(&entered.tally));
            before = entered.tally;
            kept.truncate(entered.accesses);
            kernel_entry = Some(entered.how);
            state.events.push(entered.event);
            at_entry = Some(entered.found);
        }
        let private_then = at_entry.as_ref().and_then(|it| it.private);
        let memory = found.private.max(private_then);
        let time = end.time;
        state.events.push(end);
        add_firmware_start(&mut state.events);
        state.events.sort_by(|a, b| a.time.total_cmp(&b.time));
        let then = at_entry.unwrap_or(found);
        let of = |kind| {
            let places = before.places.iter();
            let places = places.filter(|((it, _), _)| *it == kind);
            places.map(|(_, count)| count).sum()
        };
        let used = then.fw_cfg.iter().filter(|it| it.operations > 0);
        let items: Vec<_> = used.map(item).collect();
        state.processors.sort_by_key(|it| it.index);
        Record {
            version: record::VERSION,
            program: concat!("microvm ", env!("CARGO_PKG_VERSION")),
            ending: report.ending.to_string(),
            boots: report.boots,
            last_exits: match kernel_entry {
                None => state.last.into(),
                Some(_) => Vec::new(),
            },
            kernel_entry,
            breakpoints: state.breakpoints,
            phases: phases(&state.events),
            events: state.events,
            counts: Counts {
                instructions: then.instructions,
                port_reads: of(AccessKind::PortRead),
                port_writes: of(AccessKind::PortWrite),
                mmio_reads: of(AccessKind::MmioRead),
                mmio_writes: of(AccessKind::MmioWrite),
                exits: before.exits,
                fw_cfg_items: items.iter().map(|it| it.operations).sum(),
                fw_cfg_bytes: items.iter().map(|it| it.bytes).sum(),
                memory_touched: then.touched.map(|bytes| bytes >> 10),
                places: self.places(&before),
            },
            repeated_strings: then.strings,
            after: After {
                exits: after.exits,
                places: self.places(&after),
            },
            dma_bytes: then.fw_cfg.iter().map(|it| it.dma_bytes).sum(),
            fw_cfg: items,
            costs: Costs {
                wall: Spread::of(time),
                processor_time: Spread::of(microseconds(processor_time())),
                #[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 KiB")]
                memory: memory.map(|kibibytes| Spread::of(kibibytes as f64)),
            },
            accesses_left_out: before.exits.saturating_sub(kept.len() as u64),
            accesses: kept,
            other_exits: Sides {
                before: before.others,
                after: after.others,
            },
            processors: state.processors,
        }
    }

    /// The most frequent ones first.
    fn places(&self, tally: &Tally) -> Vec<PlaceCount> {
        let place = |(&(kind, address), &count): (&_, &_)| PlaceCount {
            kind,
            address,
            device: self.device(kind, address),
            count,
        };
        let mut places: Vec<_> = tally.places.iter().map(place).collect();
        places.sort_by_key(|place| std::cmp::Reverse(place.count));
        places
    }
}

impl Tally {
    fn add(&mut self, more: &Self) {
        for (place, count) in &more.places {
            *self.places.entry(*place).or_default() += count;
        }
        for (kind, count) in &more.others {
            *self.others.entry(kind).or_default() += count;
        }
        self.exits += more.exits;
        self.accesses += more.accesses;
    }

    /// What is in it beyond `part`, which was once all of it.
    fn without(&self, part: &Self) -> Self {
        let mut rest = self.clone();
        for (place, count) in &mut rest.places {
            *count -= part.places.get(place).copied().unwrap_or(0);
        }
        rest.places.retain(|_, count| *count > 0);
        for (kind, count) in &mut rest.others {
            *count -= part.others.get(kind).copied().unwrap_or(0);
        }
        rest.others.retain(|_, count| *count > 0);
        rest.exits -= part.exits;
        rest.accesses -= part.accesses;
        rest
    }
}

fn item(usage: &Usage) -> Item {
    Item {
        name: usage.name.clone(),
        operations: usage.operations,
        bytes: usage.bytes,
    }
}

/// The firmware has started when it says so or when it first asks `fw_cfg`, whichever comes first.
fn add_firmware_start(events: &mut Vec<Event>) {
    let starts = events
        .iter()
        .filter(|event| event.name == "first_fw_cfg_access" || event.name == "fw_start");
    let first = starts.min_by(|a, b| a.time.total_cmp(&b.time)).cloned();
    events.extend(first.map(|event| Event {
        found: event.name,
        name: FIRMWARE.into(),
        ..event
    }));
}

/// The phases that end with something that has happened, in the order of these moments.
fn phases(events: &[Event]) -> Vec<Phase> {
    let mut phases = Vec::new();
    let mut done = Vec::new();
    let mut last: Option<&Event> = None;
    for event in events {
        let Some((name, _)) = PHASES.iter().find(|(_, end)| *end == event.name) else {
            continue;
        };
        // A guest may mark something twice.
        if done.contains(name) {
            continue;
        }
        done.push(name);
        let since = |now: Option<u64>, then: Option<u64>| Some(now? - then.unwrap_or(0).min(now?));
        phases.push(Phase {
            name,
            instructions: since(event.instructions, last.and_then(|it| it.instructions)),
            accesses: event
                .accesses
                .saturating_sub(last.map_or(0, |it| it.accesses)),
            time: Spread::of(event.time - last.map_or(0.0, |it| it.time)),
        });
        last = Some(event);
    }
    phases
}

/// What the table has at `address`.
fn name<A: Copy + Ord>(table: &[Place<A>], address: A) -> &'static str {
    let next = table.partition_point(|place| place.last < address);
    let place = table.get(next).filter(|place| place.first <= address);
    place.map_or(NOBODY, |place| place.device)
}

/// Processor time of this process since it was made.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// KiB of this process's memory that no file has and that is not the guest's, which is mapped without
/// a reserve.
///
/// Spec: proc(5), `/proc/pid/smaps`: of each mapping `Anonymous` comes before `VmFlags`.
fn private(maps: &File) -> io::Result<u64> {
    let mut text = Vec::new();
    let mut piece = [0; 1 << 12];
    loop {
        match maps.read_at(&mut piece, text.len() as u64)? {
            0 => break,
            count => text.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
    Ok(private_of(&String::from_utf8_lossy(&text)))
}

fn private_of(maps: &str) -> u64 {
    let (mut sum, mut anonymous) = (0, 0);
    for line in maps.lines() {
        if let Some(rest) = line.strip_prefix("Anonymous:") {
            let number = rest.split_whitespace().next();
            anonymous = number.and_then(|it| it.parse().ok()).unwrap_or(0);
        } else if let Some(flags) = line.strip_prefix("VmFlags:")
            && !flags.split_whitespace().any(|flag| flag == "nr")
        {
            sum += anonymous;
        }
    }
    sum
}
