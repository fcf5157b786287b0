// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the instructions and the accesses of one boot come to.
//!
//! In: events in their order. Out: counts by phase, by function and by register. Pure.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::entry::Entry;
use super::phases;
use super::stream::{Event, Register};
use super::symbols::{Place, Resolver};
use crate::bench::model::{
    Access, AccessKind, Counts, LAST, Measured, Phase, PlaceCount, SymbolCount, last_accesses,
};

/// The only phase of a firmware whose symbols are not known.
const WHOLE: &str = "firmware";

/// The local APIC, which is the processor's own in hardware and KVM's in a virtual machine.
const LOCAL_APIC: &str = "apic-msi";

/// The registers of `fw_cfg`, as QEMU names them.
const FW_CFG: &str = "fwcfg";

/// The first key of `fw_cfg`'s files.
const FIRST_FILE: u16 = 0x20;

/// One processor's last instruction.
#[derive(Clone, Copy, Debug, Default)]
struct Fetched {
    address: u64,
    bits: u8,
    phase: usize,
    symbol: usize,
}

/// Instructions and accesses.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    instructions: u64,
    accesses: u64,
}

/// A place whose symbols are numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    symbol: usize,
    asker: Option<usize>,
    phase: Option<usize>,
}

/// A boot so far.
pub struct Tally<'s> {
    entry: Entry,
    resolver: Option<Resolver<'s>>,
    /// What addresses belong to.
    places: HashMap<u64, Known>,
    names: Vec<String>,
    numbers: HashMap<String, usize>,
    sums: BTreeMap<(usize, usize), Sum>,
    last: Fetched,
    /// The function that asks, whichever asks the device.
    asker: Option<usize>,
    instructions: u64,
    others: u64,
    last_processor: u32,
    local_apic: u64,
    accesses: Vec<Access>,
    registers: BTreeMap<(AccessKind, u64, String), u64>,
    files: Vec<String>,
    item: Option<String>,
    items: u64,
    complaints: VecDeque<String>,
}

impl<'s> Tally<'s> {
    pub fn new(entry: Entry, resolver: Option<Resolver<'s>>) -> Self {
        Self {
            entry,
            resolver,
            places: HashMap::new(),
            names: Vec::new(),
            numbers: HashMap::new(),
            sums: BTreeMap::new(),
            last: Fetched::default(),
            asker: None,
            instructions: 0,
            others: 0,
            last_processor: 0,
            local_apic: 0,
            accesses: Vec::new(),
            registers: BTreeMap::new(),
            files: Vec::new(),
            item: None,
            items: 0,
            complaints: VecDeque::new(),
        }
    }

    /// Takes one line of the log: whether the kernel has been entered.
    pub fn take(&mut self, line: &str) -> bool {
        match Event::read(line) {
            Event::Fetch {
                processor: 0,
                address,
                bits,
            } => {
                if self.entry.contains(address) {
                    return true;
                }
                self.last_processor = 0;
                self.fetched(address, bits);
            }
            Event::Fetch { processor, .. } => {
                self.last_processor = processor;
                self.others += 1;
            }
            Event::Undone if self.last_processor == 0 => {
                self.instructions = self.instructions.saturating_sub(1);
                let sum = self.sum();
                sum.instructions = sum.instructions.saturating_sub(1);
            }
            Event::Undone => self.others = self.others.saturating_sub(1),
            Event::Access(register) => self.accessed(&register),
            Event::Select { key, name } => self.selected(key, name),
            Event::File { index, name } => {
                let index = index.min(self.files.len());
                self.files.insert(index, name.to_owned());
            }
            Event::Other => {
                if self.complaints.len() == LAST {
                    self.complaints.pop_front();
                }
                self.complaints.push_back(line.to_owned());
            }
        }
        false
    }

    /// Instructions of all processors.
    pub fn instructions(&self) -> u64 {
        self.instructions + self.others
    }

    fn sum(&mut self) -> &mut Sum {
        let key = (self.last.phase, self.last.symbol);
        self.sums.entry(key).or_default()
    }

    fn fetched(&mut self, address: u64, bits: u8) {
        self.instructions += 1;
        self.last.address = address;
        self.last.bits = bits;
        if self.resolver.is_some() {
            let known = match self.places.get(&address) {
                Some(known) => *known,
                None => self.resolve(address),
            };
            self.last.symbol = known.symbol;
            self.last.phase = known.phase.unwrap_or(self.last.phase);
            self.asker = known.asker.or(self.asker);
        }
        self.sum().instructions += 1;
    }

    fn resolve(&mut self, address: u64) -> Known {
        let Some(resolver) = &self.resolver else {
            return Known::default();
        };
        let Place {
            symbol,
            asker,
            phase,
        } = resolver.place(address);
        let known = Known {
            symbol: self.number(symbol),
            asker: asker.map(|asker| self.number(asker)),
            phase,
        };
        self.places.insert(address, known);
        known
    }

    fn number(&mut self, name: String) -> usize {
        let next = self.names.len();
        let number = *self.numbers.entry(name.clone()).or_insert(next);
        if number == next {
            self.names.push(name);
        }
        number
    }

    fn accessed(&mut self, register: &Register<'_>) {
        if register.device == LOCAL_APIC {
            self.local_apic += 1;
            return;
        }
        if register.processor == 0 {
            self.sum().accesses += 1;
        }
        let key = (register.kind, register.address, register.device.to_owned());
        *self.registers.entry(key).or_default() += 1;
        let item = self.item.clone();
        let item = item.filter(|_| register.device.starts_with(FW_CFG));
        self.accesses.push(Access {
            instruction: Some(self.instructions),
            kind: register.kind,
            address: register.address,
            width: register.width,
            value: register.value,
            device: register.device.to_owned(),
            purpose: self.purpose(item.as_deref()),
        });
    }

    /// What an access is for: an item of `fw_cfg`, and who asks for it.
    fn purpose(&self, item: Option<&str>) -> Option<String> {
        let asker = self.asker.and_then(|asker| self.names.get(asker));
        match (item, asker) {
            (Some(item), Some(asker)) => Some(format!("{item}, {asker}")),
            (Some(only), None) => Some(only.to_owned()),
            (None, asker) => asker.cloned(),
        }
    }

    /// The access just before has asked for this item.
    fn selected(&mut self, key: u16, name: &str) {
        let file = key
            .checked_sub(FIRST_FILE)
            .and_then(|index| self.files.get(usize::from(index)));
        let item = file.map_or_else(|| name.to_owned(), String::clone);
        let purpose = self.purpose(Some(&item));
        // QEMU resets the device before there is an instruction.
        if let Some(access) = self.accesses.last_mut() {
            access.purpose = purpose;
            self.items += 1;
            self.item = Some(item);
        }
    }

    /// What is known of a boot that did not arrive: the last instruction, the last accesses, and
    /// what QEMU said.
    pub fn state(&self) -> String {
        let Fetched { address, bits, .. } = self.last;
        let symbol = self.names.get(self.last.symbol);
        let symbol = symbol.map_or_else(String::new, |symbol| format!(" ({symbol})"));
        let mut state = if self.instructions == 0 {
            "no instruction was executed".to_owned()
        } else {
            let count = self.instructions;
            format!("instruction {count} was at {address:#x}{symbol} in {bits}-bit mode")
        };
        state += &format!("; {}", last_accesses(&self.accesses));
        if !self.complaints.is_empty() {
            let said: Vec<_> = self.complaints.iter().map(String::as_str).collect();
            state += &format!("; QEMU said: {}", said.join(" "));
        }
        state
    }

    /// The sums. Without symbols there is one phase.
    pub fn measured(self) -> Measured {
        let known = self.resolver.is_some();
        let phases: Vec<_> = (0..if known { phases::names().len() } else { 1 })
            .map(|phase| {
                let sums = || self.sums.range((phase, 0)..(phase + 1, 0));
                Phase {
                    name: if known { phases::name(phase) } else { WHOLE }.to_owned(),
                    instructions: Some(sums().map(|(_, sum)| sum.instructions).sum()),
                    accesses: Some(sums().map(|(_, sum)| sum.accesses).sum()),
                    time: None,
                }
            })
            .filter(|phase| phase.instructions != Some(0))
            .collect();
        let mut symbols: Vec<_> = self
            .sums
            .iter()
            .filter_map(|(&(phase, symbol), sum)| {
                Some(SymbolCount {
                    phase: phases::name(phase).to_owned(),
                    symbol: self.names.get(symbol)?.clone(),
                    count: sum.instructions,
                    accesses: sum.accesses,
                })
            })
            .collect();
        symbols.sort_by(|a, b| (b.count, &a.phase, &a.symbol).cmp(&(a.count, &b.phase, &b.symbol)));
        let of_kind = |kind| {
            let of_kind = self.registers.iter().filter(|((k, ..), _)| *k == kind);
            Some(of_kind.map(|(_, count)| count).sum())
        };
        let mut places: Vec<_> = self
            .registers
            .iter()
            .map(|((kind, address, device), &count)| PlaceCount {
                kind: *kind,
                address: *address,
                device: device.clone(),
                count,
            })
            .collect();
        places.sort_by(|a, b| (b.count, a.address, a.kind).cmp(&(a.count, b.address, b.kind)));
        let counts = Counts {
            instructions: Some(self.instructions),
            port_reads: of_kind(AccessKind::PortRead),
            port_writes: of_kind(AccessKind::PortWrite),
            mmio_reads: of_kind(AccessKind::MmioRead),
            mmio_writes: of_kind(AccessKind::MmioWrite),
            local_apic: Some(self.local_apic),
            other_processors: Some(self.others),
            fw_cfg_items: Some(self.items),
            places,
            symbols,
            ..Counts::default()
        };
        Measured {
            phases,
            counts,
            accesses: self.accesses,
            ..Measured::default()
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const KERNEL: u64 = 0x10_0000;

    fn tally() -> Tally<'static> {
        Tally::new(Entry::at(KERNEL), None)
    }

    fn fetch(processor: u32, address: u64) -> String {
        format!("Trace {processor}: 0x7f [0000000000000000/{address:016x}/000000b0/ff020201] ")
    }

    fn access(processor: u32, what: &str, address: u64, device: &str) -> String {
        format!(
            "memory_region_ops_{what} cpu {processor} mr 0x5 addr {address:#x} value 0x5 size 1 \
             name '{device}'"
        )
    }

    #[test]
    fn what_comes_before_the_kernel_is_counted() {
        let mut tally = tally();

        assert!(!tally.take(&fetch(0, 0xffff_fff0)));
        assert!(!tally.take(&access(0, "read", 0x61, "pcspk")));
        assert!(!tally.take(&fetch(0, 0xffff_fff1)));
        assert!(!tally.take(&access(0, "write", 0xfec0_0000, "ioapic")));
        assert!(tally.take(&fetch(0, KERNEL)));

        let measured = tally.measured();
        let counts = &measured.counts;
        assert_eq!(counts.instructions, Some(2));
        assert_eq!((counts.port_reads, counts.port_writes), (Some(1), Some(0)));
        assert_eq!((counts.mmio_reads, counts.mmio_writes), (Some(0), Some(1)));
        assert_eq!(measured.phases.len(), 1);
        assert_eq!(measured.phases[0].accesses, Some(2));
        assert_eq!(measured.accesses[1].instruction, Some(2));
    }

    #[test]
    fn an_instruction_that_is_begun_again_counts_once() {
        let mut tally = tally();

        tally.take(&fetch(0, 0xf_fde6));
        tally.take("cpu_io_recompile: rewound execution of TB to 00000000000ffde6");
        tally.take(&fetch(0, 0xf_fde6));

        assert_eq!(tally.measured().counts.instructions, Some(1));
    }

    #[test]
    fn other_processors_and_the_local_apic_are_counted_apart() {
        let mut tally = tally();

        tally.take(&fetch(0, 0xf_0000));
        tally.take(&fetch(1, 0x9_f000));
        tally.take("Stopped execution of TB chain before 0x7f [000000000009f000] f");
        tally.take(&fetch(1, KERNEL));
        tally.take(&access(0, "write", 0xfee0_00f0, "apic-msi"));

        let counts = tally.measured().counts;
        assert_eq!(counts.instructions, Some(1));
        assert_eq!(counts.other_processors, Some(1));
        assert_eq!(counts.local_apic, Some(1));
        assert!(counts.places.is_empty());
    }

    #[test]
    fn an_access_of_fw_cfg_has_the_name_of_the_item() {
        let mut tally = tally();
        tally.take("fw_cfg_add_file 0x5 #0: etc/e820 (20 bytes)");
        tally.take("fw_cfg_add_file 0x5 #0: bootorder (0 bytes)");
        tally.take("fw_cfg_select 0x5 key 0x0000 'signature', ret: 1");

        tally.take(&fetch(0, 0xf_0000));
        tally.take(&access(0, "write", 0x518, "fwcfg.dma"));
        tally.take("fw_cfg_select 0x5 key 0x0021 'unknown', ret: 1");
        tally.take(&access(0, "write", 0x518, "fwcfg.dma"));
        tally.take(&access(0, "read", 0x61, "pcspk"));

        let measured = tally.measured();
        let purpose = |index: usize| measured.accesses[index].purpose.as_deref();
        assert_eq!(purpose(0), Some("etc/e820"));
        assert_eq!(purpose(1), Some("etc/e820"));
        assert_eq!(purpose(2), None);
        assert_eq!(measured.counts.fw_cfg_items, Some(1));
    }

    #[test]
    fn a_boot_that_does_not_arrive_tells_where_it_is() {
        let mut tally = tally();
        assert_eq!(
            tally.state(),
            "no instruction was executed; it had accessed no device"
        );

        tally.take(&fetch(0, 0xf_1234));
        tally.take(&access(0, "read", 0x64, "i8042-cmd"));
        tally.take("qemu-system-x86_64: terminating");

        assert_eq!(
            tally.state(),
            "instruction 1 was at 0xf1234 in 32-bit mode; its last accesses: read of port 0x64 \
             (i8042-cmd): 0x5; QEMU said: qemu-system-x86_64: terminating"
        );
    }
}
