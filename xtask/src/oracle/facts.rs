// SPDX-License-Identifier: MIT OR Apache-2.0
//! What of a report can be compared between firmwares: not where things are, but what they are.
//!
//! In: a report. Out: the memory map, and named values. Pure.

use crate::test::report::{Report, hexadecimal};
use abi::e820::TYPE_RAM;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A kind that no entry of a map has: nothing is said of the range.
pub const UNSAID: u32 = 0;

/// VM, IF, TF and DF: the flags that the entry protocols speak of.
const FLAGS: u64 = 1 << 17 | 1 << 9 | 1 << 8 | 1 << 10;

/// What two firmwares may agree on.
#[derive(Debug, Default)]
pub struct Facts {
    /// What the memory map says, in the order in which it says it.
    map: Vec<(Range<u64>, u32)>,
    /// Every other fact, by its name.
    values: BTreeMap<String, Vec<String>>,
}

/// Something that two firmwares do not agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// What a range is. Kinds are those of the map.
    Memory {
        range: Range<u64>,
        ours: u32,
        theirs: u32,
    },
    /// A fact; one that a firmware does not have at all has no values.
    Value {
        field: String,
        ours: Vec<String>,
        theirs: Vec<String>,
    },
}

impl Difference {
    /// The ACPI table that both have and in whose bytes it is.
    pub fn table(&self) -> Option<&str> {
        let Self::Value {
            field,
            ours,
            theirs,
        } = self
        else {
            return None;
        };
        let name = field.strip_prefix("acpi.")?.strip_suffix(".digest")?;
        let both = !ours.is_empty() && !theirs.is_empty();
        both.then(|| name.split('#').next().unwrap_or(name))
    }
}

/// Where the bytes of tables with these names differ, said in sentences.
pub fn different_bytes(names: &[String], ours: &Report, theirs: &Report) -> Vec<String> {
    let tables = |report: &Report| -> Vec<(String, Vec<String>)> {
        report
            .all("acpi.bytes")
            .filter_map(|line| {
                let (name, hexadecimal) = line.rsplit_once(' ')?;
                let (bytes, _) = hexadecimal.as_bytes().as_chunks::<2>();
                let bytes = bytes
                    .iter()
                    .map(|pair| String::from_utf8_lossy(pair).into());
                Some((name.to_owned(), bytes.collect()))
            })
            .collect()
    };
    let mut sentences = Vec::new();
    for ((name, ours), (_, theirs)) in tables(ours).iter().zip(&tables(theirs)) {
        let unlike = |&at: &usize| ours.get(at) != theirs.get(at);
        let places: Vec<_> = (0..ours.len().max(theirs.len())).filter(unlike).collect();
        let asked = names.iter().any(|asked| name.starts_with(asked.as_str()));
        let Some(first) = places.first().filter(|_| asked) else {
            continue;
        };
        let part = |bytes: &[String]| {
            bytes
                .iter()
                .skip(*first)
                .take(8)
                .cloned()
                .collect::<String>()
        };
        sentences.push(format!(
            "{name}: {} of {} and {} bytes differ, first at {first:#x}: ours {}, theirs {}",
            places.len(),
            ours.len(),
            theirs.len(),
            part(ours),
            part(theirs)
        ));
    }
    sentences
}

impl Facts {
    /// Takes them out of a report.
    pub fn of(report: &Report) -> Self {
        let mut facts = Self::default();
        facts.memory(report);
        facts.processors(report);
        let mode = report.all("mode").next().unwrap_or_default().to_owned();
        let mut tables: BTreeMap<String, usize> = BTreeMap::new();
        for (key, value) in report.lines() {
            let words: Vec<_> = value.split(' ').collect();
            let name_first = |prefix: &str| format!("{prefix}.{}", words[0]);
            let rest = || words[1..].join(" ");
            match key {
                // Where, and when; and what has been dealt with.
                "tsc" | "speaks" | "pointer" | "cmdline.address" | "memory" | "acpi.scanned"
                | "start_info.modlist" | "start_info.memmap" | "multiboot.mmap"
                | "multiboot.modules" | "smbios.table" | "descriptors" | "cr3" => {}
                _ if key.starts_with("mp.") => {}
                // Left to the firmware by every protocol of 32 and 64 bits.
                "cs" | "ds" | "es" | "fs" | "gs" | "ss" | "sp" if mode != "linux16" => {}
                _ if key.starts_with("bda.") && mode != "linux16" => {}
                "ivt" if mode != "linux16" => {}
                "registers" if mode == "pvh" => {}
                "registers" if mode == "multiboot" => facts.add("entry.magic", words[1]),
                "flags" => {
                    let flags = hexadecimal(value).unwrap_or_default() & FLAGS;
                    facts.add("entry.flags", &format!("{flags:#x}"));
                }
                "cr0" | "cr4" | "efer" | "cs" | "ds" | "es" | "fs" | "gs" | "ss" | "sp"
                | "registers" | "task" | "kernel.first" | "bda.com1" | "bda.ebda" | "bda.base"
                | "bda.disks" | "bios32.directories" | "bios32.service" | "bios32.check"
                | "bios32.first" | "bios32.unknown" => facts.add(&format!("entry.{key}"), value),
                "ivt" => facts.add(&name_first("entry.ivt"), set(words[2] != "0x0")),
                "mtrr" | "apic" | "pic" => facts.add(&name_first(key), &rest()),
                "start_info.rsdp" | "boot_params.rsdp" => facts.add(key, set(value != "0x0")),
                "module" => facts.add("module", &rest()),
                "bios" | "bios.again" => facts.bios(&format!("entry.{key}"), &words),
                "acpi.rsdp" => facts.add("acpi.rsdp.sum", words[1]),
                "acpi.table" => {
                    let turn = tables.entry(words[0].to_owned()).or_default();
                    *turn += 1;
                    let field = format!("acpi.{}{}", words[0], nth(*turn));
                    let numbers: Vec<_> = words[1..].iter().copied().map(hexadecimal).collect();
                    let [Some(address), Some(length), Some(sum)] = numbers[..] else {
                        facts.add(&field, "unreadable");
                        continue;
                    };
                    let kept = facts.kept(address..address + length);
                    facts.add(
                        &format!("{field}.memory"),
                        if kept { "kept" } else { "RAM" },
                    );
                    if words[0] != "FACS" {
                        facts.add(&format!("{field}.sum"), &format!("{sum:#x}"));
                    }
                }
                "acpi.digest" => {
                    let turn = tables.get(words[0]).copied().unwrap_or_default();
                    facts.add(&format!("acpi.{}{}.digest", words[0], nth(turn)), &rest());
                }
                "acpi.broken" => facts.add("acpi.broken", "broken"),
                // How long the longest structure and all of them are depends on the names in them.
                "smbios.2" => {
                    let [_, length, sum, version, .., count] = words[..] else {
                        continue;
                    };
                    facts.add(key, &format!("{length} {sum} {version} {count}"));
                }
                "smbios.3" => facts.add(key, &words[1..words.len() - 1].join(" ")),
                "smbios.structure" => {
                    let [kind, handle, ..] = words[..] else {
                        continue;
                    };
                    facts.add(&format!("smbios.{kind}.{handle}"), &words[2..].join(" "));
                }
                "pci" => {
                    let names = ["id", "class", "command", "header", "interrupt"];
                    for (name, word) in names.into_iter().zip(&words[1..]) {
                        facts.add(&format!("pci.{}.{name}", words[0]), word);
                    }
                }
                "pci.bar" => {
                    let value = hexadecimal(words[2]).unwrap_or_default();
                    // The bits that say what it is stay; where it is is the firmware's choice.
                    let kind = if value & 1 == 1 { 3 } else { 15 };
                    let place = if value & !kind == 0 {
                        "nowhere"
                    } else {
                        "assigned"
                    };
                    let field = format!("pci.{}.bar{}", words[0], words[1]);
                    facts.add(&field, &format!("{:#x} {place}", value & kind));
                }
                "pci.bridge" => facts.add(&format!("pci.{}.buses", words[0]), words[1]),
                _ => facts.add(key, value),
            }
        }
        facts
    }

    /// The values of a fact.
    pub fn get(&self, field: &str) -> &[String] {
        self.values.get(field).map_or(&[], Vec::as_slice)
    }

    /// Everything that differs.
    pub fn differences(&self, theirs: &Self) -> Vec<Difference> {
        let edges: BTreeSet<u64> = self
            .map
            .iter()
            .chain(&theirs.map)
            .flat_map(|(range, _)| [range.start, range.end])
            .collect();
        let edges: Vec<_> = edges.into_iter().collect();
        let mut found = Vec::new();
        for range in edges.windows(2).map(|pair| pair[0]..pair[1]) {
            let (our, their) = (self.kind(range.start), theirs.kind(range.start));
            if our != their {
                found.push(Difference::Memory {
                    range,
                    ours: our,
                    theirs: their,
                });
            }
        }
        let fields: BTreeSet<_> = self.values.keys().chain(theirs.values.keys()).collect();
        // Another way in is one difference, and not as many as it has consequences.
        let same_entry = self.get("mode") == theirs.get("mode");
        for field in fields {
            if !same_entry && field.starts_with("entry.") {
                continue;
            }
            let (our, their) = (self.get(field), theirs.get(field));
            if our != their {
                found.push(Difference::Value {
                    field: field.clone(),
                    ours: our.to_vec(),
                    theirs: their.to_vec(),
                });
            }
        }
        found
    }

    fn add(&mut self, field: &str, value: &str) {
        self.values
            .entry(field.to_owned())
            .or_default()
            .push(value.to_owned());
    }

    fn memory(&mut self, report: &Report) {
        let mut empty = 0;
        for value in report.all("memory") {
            let numbers: Vec<_> = value.split(' ').filter_map(hexadecimal).collect();
            let [start, size, kind] = numbers[..] else {
                continue;
            };
            if size == 0 {
                empty += 1;
                continue;
            }
            let kind = u32::try_from(kind).unwrap_or(u32::MAX);
            self.map.push((start..start.saturating_add(size), kind));
        }
        self.add("e820.empty entries", &empty.to_string());
        let ordered = |pair: &[(Range<u64>, u32)]| pair[0].0.end <= pair[1].0.start;
        let sorted = self.map.windows(2).all(ordered);
        self.add("e820.sorted", if sorted { "yes" } else { "no" });
    }

    /// What the map says of an address: the highest kind where entries overlap, as Linux takes it.
    fn kind(&self, address: u64) -> u32 {
        self.map
            .iter()
            .filter(|(range, _)| range.contains(&address))
            .map(|(_, kind)| *kind)
            .max()
            .unwrap_or(UNSAID)
    }

    /// Whether a kernel leaves a range alone: nothing says that it is RAM, and it is below 1 MiB,
    /// where nobody looks for RAM that is not said to be there, or said to be something else.
    fn kept(&self, range: Range<u64>) -> bool {
        let ram = self.map.iter().any(|(other, kind)| {
            *kind == TYPE_RAM && range.start < other.end && other.start < range.end
        });
        !ram && (range.end <= 0x10_0000 || self.kind(range.start) != UNSAID)
    }

    /// The MP tables, without the numbers that buses and I/O APICs are given.
    fn processors(&mut self, report: &Report) {
        let mut names: BTreeMap<&str, &str> = BTreeMap::new();
        let mut apics = BTreeSet::new();
        let mut listed = 0;
        for (key, value) in report.lines() {
            let words: Vec<_> = value.split(' ').collect();
            match (key, &words[..]) {
                ("mp.pointer", ["none"]) => self.add("mp", "none"),
                ("mp.lapic" | "mp.checksum", _) => self.add(key, value),
                ("mp.cpu", _) => self.add(key, value),
                ("mp.bus", [id, name, ..]) => {
                    names.insert(id, name);
                    self.add(key, name);
                }
                ("mp.ioapic", [id, rest @ ..]) => {
                    apics.insert(*id);
                    self.add("mp.ioapic.id", id);
                    self.add(key, &rest.join(" "));
                }
                ("mp.interrupt", [kind, what, bus, irq, apic, pin, flags]) => {
                    let bus = names.get(bus).unwrap_or(bus);
                    let apic = if *kind == "0x3" && apics.contains(apic) {
                        "io"
                    } else {
                        apic
                    };
                    self.add(
                        &format!("{key}.{bus}.{irq}.{what}"),
                        &format!("{kind} {flags} {apic} {pin}"),
                    );
                }
                _ => continue,
            }
            listed += usize::from(!matches!(key, "mp.pointer" | "mp.lapic" | "mp.checksum"));
        }
        for count in report.all("mp.entries") {
            let right = hexadecimal(count) == Some(listed as u64);
            self.add("mp.count", if right { "right" } else { count });
        }
    }

    /// An answer of the BIOS. The time is no fact; that it was told is.
    fn bios(&mut self, key: &str, words: &[&str]) {
        let field = format!("{key}.{}", words[0].replace("0x", ""));
        let timely = ["0x1a.0x0", "0x1a.0x200", "0x1a.0x400"].contains(&words[0]);
        let [.., carry, _zero] = words else { return };
        self.add(&format!("{field}.carry"), carry);
        if !timely && *carry == "0" {
            let registers = words.get(1..6).unwrap_or_default().join(" ");
            self.add(&field, &registers);
        }
    }
}

fn set(set: bool) -> &'static str {
    if set { "set" } else { "unset" }
}

/// The second and later of a name.
fn nth(turn: usize) -> String {
    if turn < 2 {
        String::new()
    } else {
        format!("#{turn}")
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn facts(lines: &str) -> Facts {
        let report = Report::parse(&format!("report=begin\n{lines}\nreport=end\n")).unwrap();
        Facts::of(&report)
    }

    #[test]
    fn a_map_differs_where_it_says_something_else() {
        let ours = facts("memory=0x0 0xa0000 0x1\nmemory=0x100000 0x100000 0x1");
        let theirs =
            facts("memory=0x0 0x9fc00 0x1\nmemory=0x9fc00 0x400 0x2\nmemory=0x100000 0x100000 0x1");

        let expected = Difference::Memory {
            range: 0x9_fc00..0xa_0000,
            ours: 1,
            theirs: 2,
        };
        assert_eq!(ours.differences(&theirs), [expected]);
    }

    #[test]
    fn where_a_table_is_makes_no_difference_but_its_digest_does() {
        let table = |address, digest| {
            facts(&format!(
                "memory=0x200000 0x100000 0x2\nacpi.table=FACP {address} 0x74 0x0\n\
                 acpi.digest=FACP BXPC {digest}"
            ))
        };

        let here = table("0x200000", "0x1");
        assert_eq!(here.differences(&table("0x210000", "0x1")), []);
        assert_eq!(here.differences(&table("0x200000", "0x2")).len(), 1);
    }

    #[test]
    fn bytes_that_differ_are_told_with_their_place() {
        let report = |bytes| {
            Report::parse(&format!(
                "report=begin\nacpi.bytes=DSDT X {bytes}\nreport=end\n"
            ))
        };
        let found = different_bytes(
            &["DSDT".to_owned()],
            &report("0011ff").unwrap(),
            &report("0012ff33").unwrap(),
        );

        assert_eq!(
            found,
            ["DSDT X: 2 of 3 and 4 bytes differ, first at 0x1: ours 11ff, theirs 12ff33"]
        );
    }

    #[test]
    fn a_table_in_ram_is_not_kept() {
        let map = "memory=0x100000 0x100000 0x1\n";
        let table = "acpi.table=SSDT 0x180000 0x74 0x0";

        assert_eq!(
            facts(&format!("{map}{table}")).get("acpi.SSDT.memory"),
            ["RAM"]
        );
        assert_eq!(facts(table).get("acpi.SSDT.memory"), ["RAM"]);
    }

    #[test]
    fn tables_of_one_name_are_told_apart() {
        let found = facts(
            "acpi.table=SSDT 0xe0000 0x10 0x0\nacpi.digest=SSDT A 0x1\n\
             acpi.table=SSDT 0xe0010 0x10 0x0\nacpi.digest=SSDT B 0x2",
        );

        assert_eq!(found.get("acpi.SSDT.digest"), ["A 0x1"]);
        assert_eq!(found.get("acpi.SSDT#2.digest"), ["B 0x2"]);
    }
}
