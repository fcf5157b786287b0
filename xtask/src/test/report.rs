// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guest `report` says, and what of it has to be so on every machine.
//!
//! It prints `key=value` lines between `report=begin` and `report=end`, numbers in hexadecimal.

use super::case::{Outcome, Run, expect};
use crate::guest::Format;
use abi::e820::{TYPE_RAM, TYPE_RESERVED};
use abi::layout::{HIGH_RAM_START, LOW_RAM_END, PAGE_SIZE, RAM_ABOVE_4G_START};
use std::ops::Range;

/// What the machine was given.
#[derive(Clone, Debug)]
pub struct Given {
    pub format: Format,
    /// Bytes of RAM.
    pub memory: u64,
    /// The local APIC IDs of the processors.
    pub cpus: Vec<u32>,
    pub cmdline: String,
    pub initrd: Option<Vec<u8>>,
    /// Whether the machine has ACPI tables.
    pub acpi: bool,
}

/// What the guest said.
#[derive(Debug, PartialEq)]
pub struct Report(Vec<(String, String)>);

/// One line of the memory map.
#[derive(Clone, Debug)]
struct Region {
    range: Range<u64>,
    kind: u32,
}

impl Report {
    /// The lines between the marks.
    pub fn parse(output: &str) -> Result<Self, Outcome> {
        let missing = |mark| Outcome::Failed(format!("expected `{mark}`, found no such line"));
        let begin = "report=begin";
        let end = "report=end";
        let (_, rest) = output.split_once(begin).ok_or_else(|| missing(begin))?;
        let (body, _) = rest.split_once(end).ok_or_else(|| missing(end))?;
        let pairs = body.lines().filter_map(|line| {
            let (key, value) = line.trim_end_matches('\r').split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        });
        Ok(Self(pairs.collect()))
    }

    /// Every value of a key, in their order.
    pub fn all<'r>(&'r self, key: &'r str) -> impl Iterator<Item = &'r str> {
        self.0
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// Every line as key and value, in their order.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The one number under a key.
    pub fn number(&self, key: &str) -> Result<u64, Outcome> {
        match self.numbers(key)?.as_slice() {
            [line] if line.len() == 1 => Ok(line[0]),
            found => Err(Outcome::Failed(format!(
                "expected one number {key}, found {found:x?}"
            ))),
        }
    }

    /// Every line of numbers under a key.
    pub fn numbers(&self, key: &str) -> Result<Vec<Vec<u64>>, Outcome> {
        self.all(key)
            .map(|line| {
                line.split(' ')
                    .map(hexadecimal)
                    .collect::<Option<_>>()
                    .ok_or_else(|| {
                        Outcome::Failed(format!("expected numbers under {key}, found {line:?}"))
                    })
            })
            .collect()
    }

    /// A key has this one value.
    pub fn expect(&self, key: &str, value: &str) -> Run {
        let found: Vec<_> = self.all(key).collect();
        expect(found == [value], || {
            format!("expected {key}={value}, found {found:?}")
        })
    }

    fn expect_number(&self, key: &str, value: u64) -> Run {
        self.expect(key, &format!("{value:#x}"))
    }

    /// Everything but the moments.
    pub fn without_time(mut self) -> Self {
        self.0.retain(|(key, _)| key != "tsc" && key != "speaks");
        self
    }

    /// All that has to be so, whatever the machine.
    pub fn verify(&self, given: &Given) -> Run {
        self.processor(given.format)?;
        let map = self.map(given)?;
        self.expect("cmdline", &given.cmdline)?;
        self.parameters(given.format, &map)?;
        self.initrd(given, &map)?;
        self.acpi_tables(given, &map)?;
        self.mp_tables(&given.cpus, &map)
    }

    /// What has to be so on every board: the command line is there, the map covers the memory, and
    /// parameters and initial RAM disk are where it says that they may be.
    pub fn verify_places(&self, given: &Given) -> Run {
        let map = self.map(given)?;
        self.expect("cmdline", &given.cmdline)?;
        self.parameters(given.format, &map)?;
        self.initrd(given, &map)
    }

    /// Xen `pvh.pandoc` and Linux `boot.rst` say how the kernel is entered.
    fn processor(&self, format: Format) -> Run {
        let (mode, cr0, cr4, efer, cs) = match format {
            Format::Pvh => ("pvh", 0x11, 0, 0, 0x20),
            Format::Bzimage => ("linux64", 0x8000_0011, 0x20, 0x500, 0x10),
        };
        self.expect("mode", mode)?;
        self.expect_number("cr0", cr0)?;
        self.expect_number("cr4", cr4)?;
        self.expect_number("efer", efer)?;
        self.expect_number("cs", cs)?;
        if format == Format::Pvh {
            self.expect("task", "0x30 0x8b 0x67")?;
        }
        for data in ["ds", "es", "ss"] {
            self.expect_number(data, 0x18)?;
        }
        let mtrrs = self.numbers("mtrr")?;
        let on = |line: &Vec<u64>| line[..] == [0x2ff, 0x806];
        let hole = |line: &Vec<u64>| line[..] == [0x200, 0xc000_0000];
        expect(mtrrs.iter().any(on) && mtrrs.iter().any(hole), || {
            format!("expected write-back memory and an uncached last GiB, found {mtrrs:x?}")
        })?;
        let flags = self.number("flags")?;
        expect(flags & 0x2_0300 == 0, || {
            format!("expected VM, IF and TF clear, found {flags:#x}")
        })
    }

    fn map(&self, given: &Given) -> Result<Vec<Region>, Outcome> {
        let mut map = Vec::new();
        for line in self.numbers("memory")? {
            let [addr, size, kind] = line[..] else {
                return Err(Outcome::Failed(format!(
                    "expected a memory range, found {line:x?}"
                )));
            };
            let kind = u32::try_from(kind).unwrap_or(u32::MAX);
            map.push(Region {
                range: addr..addr.saturating_add(size),
                kind,
            });
        }
        let neat = map
            .iter()
            .all(|region| !region.range.is_empty() && region.kind != 0)
            && map
                .windows(2)
                .all(|pair| pair[0].range.end <= pair[1].range.start);
        expect(neat, || {
            format!("expected a sorted map without empty ranges, found {map:x?}")
        })?;
        let ram = ram(&map).map(|range| range.end - range.start).sum::<u64>();
        // All but what lies between 640 KiB and 1 MiB, and the hand-off block.
        let least = given.memory - (HIGH_RAM_START - LOW_RAM_END) - 0x8_0000;
        expect((least..=given.memory).contains(&ram), || {
            format!(
                "expected {least:#x} to {:#x} bytes of RAM, found {ram:#x}",
                given.memory
            )
        })?;
        Ok(map)
    }

    /// The parameters themselves lie in memory that the map protects.
    fn parameters(&self, format: Format, map: &[Region]) -> Run {
        let mut places = vec!["pointer", "cmdline.address", "mp.pointer", "mp.table"];
        match format {
            Format::Pvh => {
                self.expect_number("start_info.magic", 0x336e_c578)?;
                self.expect_number("start_info.version", 1)?;
                self.expect_number("start_info.flags", 0)?;
                places.push("start_info.memmap");
                if self.all("module").count() > 0 {
                    places.push("start_info.modlist");
                }
            }
            Format::Bzimage => {
                self.expect_number("boot_params.sentinel", 0)?;
                self.expect_number("boot_params.type_of_loader", 0xff)?;
            }
        }
        for place in places {
            let address = self.number(place)?;
            let protected = map
                .iter()
                .any(|region| region.kind == TYPE_RESERVED && region.range.contains(&address));
            expect(protected, || {
                format!("expected {place} {address:#x} in reserved memory, found {map:x?}")
            })?;
        }
        Ok(())
    }

    /// The initial RAM disk is there whole, in RAM, on a page, and off the kernel.
    fn initrd(&self, given: &Given, map: &[Region]) -> Run {
        let found = self.numbers("module")?;
        let Some(initrd) = &given.initrd else {
            return expect(found.is_empty(), || {
                format!("expected no module, found {found:x?}")
            });
        };
        let [line] = &found[..] else {
            return Err(Outcome::Failed(format!(
                "expected one module, found {found:x?}"
            )));
        };
        let (size, digest) = (initrd.len() as u64, guests::digest(initrd));
        let &[addr, ..] = &line[..] else {
            return Err(Outcome::Failed(format!(
                "expected a module, found {line:x?}"
            )));
        };
        expect(line[1..] == [size, digest], || {
            format!("expected a module of {size:#x} bytes, digest {digest:#x}, found {line:x?}")
        })?;
        let end = addr + size;
        let in_ram = ram(map).any(|range| range.start <= addr && end <= range.end);
        let low_enough = given.format == Format::Bzimage || end <= RAM_ABOVE_4G_START;
        expect(
            in_ram && low_enough && addr.is_multiple_of(PAGE_SIZE) && addr > HIGH_RAM_START,
            || {
                format!(
                    "expected the module on a page in RAM, found {addr:#x}..{end:#x} in {map:x?}"
                )
            },
        )
    }

    /// The RSDP is handed over, is the one that a scan finds, and leads to tables that add up to
    /// zero and that the map protects.
    fn acpi_tables(&self, given: &Given, map: &[Region]) -> Run {
        let key = match given.format {
            Format::Pvh => "start_info.rsdp",
            Format::Bzimage => "boot_params.rsdp",
        };
        self.expect_number(key, self.number("acpi.scanned")?)?;
        for (name, range) in self.expect_tables(given.acpi)? {
            let protected = map.iter().any(|region| {
                region.kind == TYPE_RESERVED
                    && region.range.start <= range.start
                    && range.end <= region.range.end
            });
            expect(protected, || {
                format!("expected {name} in reserved memory, found {range:x?} in {map:x?}")
            })?;
        }
        Ok(())
    }

    /// A scan finds the RSDP, which leads to tables that add up to zero: names and places. Without
    /// ACPI it finds nothing.
    pub fn expect_tables(&self, acpi: bool) -> Result<Vec<(&str, Range<u64>)>, Outcome> {
        if !acpi {
            self.expect_number("acpi.scanned", 0)?;
            return Ok(Vec::new());
        }
        let rsdp = self.number("acpi.scanned")?;
        self.expect("acpi.rsdp", &format!("{rsdp:#x} 0x0"))?;
        let mut tables = Vec::new();
        for line in self.all("acpi.table") {
            let (name, numbers) = line.split_once(' ').unwrap_or_default();
            let numbers: Vec<_> = numbers.split(' ').map(hexadecimal).collect();
            let [Some(address), Some(length), Some(0)] = numbers[..] else {
                return Err(Outcome::Failed(format!(
                    "expected a table that adds up, found {line}"
                )));
            };
            tables.push((name, address..address.saturating_add(length)));
        }
        let mut names: Vec<_> = tables.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.retain(|name| *name != "FPDT"); // ours, where the processor's clock is known
        expect(names == ["APIC", "DSDT", "FACP", "XSDT"], || {
            format!("expected the tables of microvm, found {names:?}")
        })?;
        Ok(tables)
    }

    /// MultiProcessor Specification 1.4, chapter 4.
    fn mp_tables(&self, ids: &[u32], map: &[Region]) -> Run {
        let cpus = ids.len() as u64;
        self.expect("mp.checksum", "ok")?;
        self.expect_number("mp.lapic", 0xfee0_0000)?;
        let kinds = ["mp.cpu", "mp.bus", "mp.ioapic", "mp.interrupt"];
        let lines: Vec<_> = kinds.iter().map(|kind| self.all(kind).count()).collect();
        expect(lines == [ids.len(), 1, 1, 17], || {
            format!("expected {cpus} CPUs, 1 bus, 1 I/O APIC, 17 interrupts, found {lines:?}")
        })?;
        self.expect_number("mp.entries", lines.iter().sum::<usize>() as u64)?;
        let length = self.number("mp.length")?;
        expect(length == 44 + 20 * cpus + 8 * 19, || {
            format!("expected a table of {cpus} CPUs, found {length:#x} bytes")
        })?;
        let end = self.number("mp.table")? + length;
        expect(end <= LOW_RAM_END, || {
            format!("expected the table in RAM, found its end {end:#x}")
        })?;
        let expected = |id: u32| [u64::from(id), 0x14, if id == 0 { 3 } else { 1 }];
        let found = self.numbers("mp.cpu")?;
        let right = found
            .iter()
            .zip(ids)
            .all(|(line, id)| line[..] == expected(*id));
        expect(right, || {
            format!("expected CPUs in the order of their IDs, found {found:x?}")
        })?;
        let unique = self.numbers("mp.ioapic")?;
        let [io_apic] = &unique[..] else {
            return Ok(());
        };
        let taken = cpus < 255 && ids.iter().any(|id| io_apic[0] == u64::from(*id));
        expect(!taken && !map.is_empty(), || {
            format!("expected an ID of its own, found {io_apic:x?}")
        })?;
        let timer = self.all("mp.interrupt").next().unwrap_or_default();
        expect(
            timer.starts_with("0x3 0x0 0x0 0x0") && timer.ends_with(" 0x2 0x0"),
            || format!("expected ISA interrupt 0 at pin 2, found {timer:?}"),
        )
    }
}

pub fn hexadecimal(word: &str) -> Option<u64> {
    u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

fn ram(map: &[Region]) -> impl Iterator<Item = Range<u64>> {
    map.iter()
        .filter(|region| region.kind == TYPE_RAM)
        .map(|region| region.range.clone())
}

#[cfg(test)]
mod test {
    use super::*;

    const OUTPUT: &str = "noise=1\r\nreport=begin\r\nmode=pvh\r\nmp.cpu=0x0 0x14\r\n\
                          mp.cpu=0x1 0x14\r\nreport=end\r\nmode=late\r\n";

    #[test]
    fn only_what_is_between_the_marks_counts() {
        let report = Report::parse(OUTPUT).unwrap();

        assert_eq!(report.expect("mode", "pvh"), Ok(()));
        assert_eq!(report.all("mp.cpu").count(), 2);
        assert_eq!(report.all("noise").count(), 0);
    }

    #[test]
    fn a_report_that_breaks_off_is_a_failure() {
        let error = Report::parse("report=begin\r\nmode=pvh\r\n").unwrap_err();

        assert_eq!(
            error,
            Outcome::Failed("expected `report=end`, found no such line".into())
        );
    }

    #[test]
    fn numbers_that_are_none_are_a_failure() {
        let report = Report::parse("report=begin\na=0x1f\nb=12\nc=0x1\nc=0x2\nreport=end").unwrap();

        assert_eq!(report.number("a"), Ok(0x1f));
        assert!(report.number("b").is_err());
        assert!(report.number("c").is_err());
        assert!(report.number("d").is_err());
    }

    #[test]
    fn a_map_that_overlaps_is_a_failure() {
        let given = Given {
            format: Format::Pvh,
            memory: 1 << 28,
            cpus: vec![0],
            cmdline: String::new(),
            initrd: None,
            acpi: false,
        };
        let report = |lines: &str| Report::parse(&format!("report=begin\n{lines}\nreport=end"));
        let whole = report("memory=0x0 0xa0000 0x1\nmemory=0x100000 0xff00000 0x1").unwrap();
        assert!(whole.map(&given).is_ok());
        for lines in [
            "memory=0x0 0xa0000 0x1\nmemory=0x80000 0xff00000 0x1",
            "memory=0x0 0xa0000 0x1\nmemory=0x100000 0xff00000 0x1\nmemory=0x0 0x0 0x0",
            "memory=0x100000 0xff00000 0x1\nmemory=0x0 0xa0000 0x1",
            "memory=0x0 0xa0000 0x1",
        ] {
            assert!(report(lines).unwrap().map(&given).is_err(), "{lines}");
        }
    }
}
