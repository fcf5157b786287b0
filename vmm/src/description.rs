// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the machine of a [`Config`] is made of, for people and for programs.
//!
//! In: the same maps and items of which the machine is built. Out: text in the manner of QEMU's
//! `info mtree`, or JSON. Never: opens KVM, takes memory for the guest, or opens a disk image. With
//! [`crate::measure`] the only room that knows `serde`.

use crate::boot::Boot;
use crate::config::{Config, Disk, Virtio};
use crate::devices::fw_cfg::{self, FwCfg};
use crate::devices::map::{InMemory, Interrupting, Map, Range};
use crate::devices::pic;
use crate::devices::virtio::blk;
use crate::memory::Kind;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};

/// How a description is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// A machine, described. As JSON all numbers are decimal.
#[derive(Debug, Serialize)]
pub struct Description {
    /// Processors.
    pub cpus: u32,
    /// RAM and ROM.
    pub memory: Vec<Place<u64>>,
    /// Registers in memory space.
    pub mmio: Vec<Place<u64>>,
    /// Ports.
    pub ports: Vec<Place<u16>>,
    /// Interrupts.
    pub interrupts: Vec<Interrupt>,
    /// Disks, in the order in which the guest finds them.
    pub disks: Vec<Image>,
    /// Items of `fw_cfg`.
    pub fw_cfg: Vec<Item>,
    /// How much of it a guest can reach: each a place where something might be wrong.
    pub exposed: Exposed,
}

/// Addresses, and what answers there.
#[derive(Debug, Serialize)]
pub struct Place<A> {
    /// First address.
    pub first: A,
    /// Last address.
    pub last: A,
    /// What answers.
    pub device: &'static str,
    /// Whether it is in KVM.
    pub in_kvm: bool,
}

/// An interrupt and where it arrives.
#[derive(Debug, Serialize)]
pub struct Interrupt {
    /// Its number.
    pub number: u32,
    /// Who raises it.
    pub device: &'static str,
    /// The I/O APIC.
    pub io_apic: u32,
    /// The pin of that.
    pub pin: u32,
    /// The input of the 8259 pair, if there is one and it is connected.
    pub pic: Option<u32>,
}

/// What a disk is made of.
#[derive(Debug, Serialize)]
pub struct Image {
    /// The image.
    pub path: String,
    /// How its data would go to and from this host: what `aio=auto` means here.
    pub aio: &'static str,
}

/// An item of `fw_cfg`.
#[derive(Debug, Serialize)]
pub struct Item {
    /// What selects it.
    pub key: u16,
    /// Its name: that of a file, or else of the key.
    pub name: String,
    /// Bytes.
    pub size: u32,
}

/// How much a guest can reach.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Exposed {
    /// Ports.
    pub ports: u32,
    /// Entries of [`Description::ports`].
    pub port_ranges: usize,
    /// Entries of [`Description::mmio`].
    pub mmio_regions: usize,
}

impl Description {
    /// Describes the machine that `boot` was prepared for. Refuses items that no machine can offer.
    pub fn new(config: &Config, boot: Boot) -> Result<Self, fw_cfg::Error> {
        let virtio = |index: usize| config.virtio().nth(index).map_or("virtio", name_of);
        let map = &boot.map;
        let memory = boot.layout.pieces().into_iter().map(|piece| Place {
            first: piece.guest,
            last: piece.guest + (piece.size - 1),
            device: match piece.kind {
                Kind::Ram => "ram",
                Kind::Rom => "rom",
            },
            in_kvm: false,
        });
        let interrupts = map.interrupts.iter().map(|interrupt| {
            let (io_apic, pin) = interrupt.pin();
            let number = interrupt.number;
            Interrupt {
                number,
                device: match interrupt.device {
                    Interrupting::Pit => "pit",
                    Interrupting::Com1 => "com1",
                    Interrupting::Rtc => "rtc",
                    Interrupting::Ged => "ged",
                    Interrupting::Virtio(index) => virtio(index),
                },
                io_apic,
                pin,
                pic: (config.machine.pic && number < pic::INPUTS).then_some(number),
            }
        });
        let exposed = Exposed {
            ports: map.port_count(),
            port_ranges: map.ports.len(),
            mmio_regions: map.regions.len(),
        };
        Ok(Self {
            cpus: config.cpus,
            memory: memory.collect(),
            mmio: mmio(config, map),
            ports: ports(map),
            interrupts: interrupts.collect(),
            exposed,
            disks: config.disks.iter().map(image).collect(),
            fw_cfg: items(&FwCfg::new(boot.items, None)?),
        })
    }

    /// As a text that ends with a line.
    #[must_use]
    pub fn written(&self, format: Format) -> String {
        match format {
            Format::Text => self.to_string(),
            // Nothing in it can fail: there are no maps, and no floating-point numbers.
            Format::Json => serde_json::to_string_pretty(self).unwrap_or_default() + "\n",
        }
    }
}

/// Registers in memory space.
pub(crate) fn mmio(config: &Config, map: &Map) -> Vec<Place<u64>> {
    places(&map.regions, |device| match device {
        InMemory::GedEvents => "ged-events",
        InMemory::GedRegisters => "ged-registers",
        InMemory::Virtio(index) => config.virtio().nth(index).map_or("virtio", name_of),
        InMemory::IoApic(0) => "io-apic-0",
        InMemory::IoApic(_) => "io-apic-1",
        InMemory::LocalApics => "local-apics",
    })
}

/// Ports.
pub(crate) fn ports(map: &Map) -> Vec<Place<u16>> {
    places(&map.ports, |device| device.name())
}

fn name_of(device: Virtio<'_>) -> &'static str {
    match device {
        Virtio::Disk(_) => "virtio-blk",
        Virtio::Net(_) => "virtio-net",
        Virtio::Rng => "virtio-rng",
        Virtio::Console(_) => "virtio-console",
    }
}

fn image(disk: &Disk) -> Image {
    Image {
        path: disk.path.display().to_string(),
        aio: if blk::uses_io_uring(disk) {
            "io_uring"
        } else {
            "threads"
        },
    }
}

fn places<A: Copy, D: Copy>(
    table: &[Range<A, D>],
    name: impl Fn(D) -> &'static str,
) -> Vec<Place<A>> {
    let place = |range: &Range<A, D>| Place {
        first: range.first,
        last: range.last,
        device: name(range.device),
        in_kvm: range.in_kvm,
    };
    table.iter().map(place).collect()
}

fn items(device: &FwCfg) -> Vec<Item> {
    let item = |(key, name, size): (abi::fw_cfg::Key, Option<&str>, u32)| Item {
        key: key.0,
        name: name.or(key.name()).unwrap_or("?").into(),
        size,
    };
    device.items().map(item).collect()
}

impl Display for Description {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kvm = |in_kvm: bool| if in_kvm { " (in KVM)" } else { "" };
        writeln!(f, "processors: {}", self.cpus)?;
        writeln!(f, "memory:")?;
        let mut all: Vec<_> = self.memory.iter().chain(&self.mmio).collect();
        all.sort_by_key(|place| place.first);
        for place in all {
            let (first, last) = (place.first, place.last);
            writeln!(
                f,
                "  {first:016x}-{last:016x} {}{}",
                place.device,
                kvm(place.in_kvm)
            )?;
        }
        writeln!(f, "ports:")?;
        for place in &self.ports {
            let (first, last) = (place.first, place.last);
            writeln!(
                f,
                "  {first:04x}-{last:04x} {}{}",
                place.device,
                kvm(place.in_kvm)
            )?;
        }
        writeln!(f, "interrupts:")?;
        for it in &self.interrupts {
            write!(
                f,
                "  {:2} {}: I/O APIC {} pin {}",
                it.number, it.device, it.io_apic, it.pin
            )?;
            match it.pic {
                Some(input) => writeln!(f, ", 8259 input {input}")?,
                None => writeln!(f)?,
            }
        }
        if !self.disks.is_empty() {
            writeln!(f, "disks:")?;
        }
        for disk in &self.disks {
            writeln!(f, "  {} aio={}", disk.path, disk.aio)?;
        }
        writeln!(f, "fw_cfg:")?;
        for item in &self.fw_cfg {
            writeln!(f, "  {:04x} {} {} bytes", item.key, item.name, item.size)?;
        }
        let Exposed {
            ports,
            port_ranges,
            mmio_regions,
        } = self.exposed;
        writeln!(
            f,
            "exposed: {ports} ports in {port_ranges} ranges, {mmio_regions} MMIO regions"
        )
    }
}
