// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the user wants, as plain data, and the checks that need nothing but that data.
//!
//! In: strings and paths from [`crate::cli`] or from a library user. Out: a [`Config`] that
//! [`Config::validate`] has approved. Never: opens a file.

use crate::devices::virtio::Wiring;
use abi::layout::{PAGE_SIZE, RAM_ABOVE_4G_START};
use abi::virtio::blk::ID_BYTES;
use std::path::PathBuf;

/// Most processors: one 8-bit APIC ID each, of which 255 is the broadcast.
pub const MAX_CPUS: u32 = 255;

/// Least RAM: 1 MiB that the firmware and its hand-off live in, and 1 MiB for something to boot.
pub const MIN_MEMORY: u64 = 2 << 20;

/// Most RAM: what a processor with 46 physical address bits can reach above 4 GiB.
pub const MAX_MEMORY: u64 = (1 << 46) - RAM_ABOVE_4G_START;

/// Most queues of a disk. Each has a thread.
pub const MAX_DISK_QUEUES: u16 = 64;

/// A machine to build and run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Kernel image: bzImage or PVH ELF.
    pub kernel: Option<PathBuf>,
    /// Initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// Kernel command line.
    pub append: String,
    /// RAM in bytes.
    pub memory: u64,
    /// Processors.
    pub cpus: u32,
    /// Firmware image.
    pub bios: PathBuf,
    /// What the machine consists of.
    pub machine: Machine,
    /// Disks, in the order in which the guest finds them.
    pub disks: Vec<Disk>,
    /// Whether there is a virtio entropy device, behind the disks.
    pub rng: bool,
    /// Where COM1 leads.
    pub serial: SerialTarget,
    /// Whether a guest reset restarts the machine instead of ending the run.
    pub reboot: bool,
    /// Whether the firmware is asked to mark its trace points.
    pub trace: bool,
    /// Whether `fw_cfg` offers DMA.
    pub fw_cfg_dma: bool,
    /// Further `fw_cfg` files.
    pub fw_cfg: Vec<UserFile>,
}

/// What the machine consists of; the names are those of QEMU's `microvm`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Machine {
    /// ACPI tables, and the device with power button, power-off and reset.
    pub acpi: bool,
    /// Whether virtio devices that nothing else announces go onto the kernel's command line.
    pub auto_kernel_cmdline: bool,
    /// A second I/O APIC, which gives 24 virtio devices an interrupt each. `None`: if there are
    /// more devices than the first has pins for.
    pub ioapic2: Option<bool>,
    /// Where the interrupt controllers are.
    pub irqchip: IrqChip,
    /// The 8259 pair of interrupt controllers.
    pub pic: bool,
    /// The 8254 timer, and port 0x61.
    pub pit: bool,
    /// The real-time clock.
    pub rtc: bool,
    /// COM1.
    pub isa_serial: bool,
}

impl Default for Machine {
    /// What `auto` means: everything.
    fn default() -> Self {
        Self {
            acpi: true,
            auto_kernel_cmdline: true,
            ioapic2: None,
            irqchip: IrqChip::Kernel,
            pic: true,
            pit: true,
            rtc: true,
            isa_serial: true,
        }
    }
}

/// Where the interrupt controllers other than the local APICs are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IrqChip {
    /// In KVM.
    Kernel,
    /// In this process.
    Split,
}

/// A virtio block device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Disk {
    /// Its image: a file or a block device.
    pub path: PathBuf,
    /// Whether the guest can only read it.
    pub read_only: bool,
    /// Whether the host's page cache is left out.
    pub direct: bool,
    /// What it says who it is: at most 20 bytes.
    pub serial: String,
    /// Queues: at least one.
    pub queues: u16,
}

/// The far end of COM1.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SerialTarget {
    /// Standard input and output.
    Stdio,
    /// Output to a file, which is created or emptied; no input.
    File(PathBuf),
    /// Nowhere.
    None,
}

/// A `fw_cfg` file from the command line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserFile {
    /// Its name in the directory.
    pub name: String,
    /// Its bytes.
    pub source: UserSource,
}

/// Where the bytes of a [`UserFile`] come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum UserSource {
    /// The option itself.
    String(String),
    /// A host file.
    File(PathBuf),
}

/// What is wrong with an option.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a size.
    #[error(
        "--memory {0}: expected a whole number of MiB, or one with the suffix K, M, G or T, \
         such as 512M"
    )]
    MemorySyntax(String),
    /// A size no machine has.
    #[error(
        "--memory {found}: expected a multiple of 4 KiB from {MIN_MEMORY} to {MAX_MEMORY} bytes, found {found} bytes"
    )]
    MemorySize {
        /// Bytes asked for.
        found: u64,
    },
    /// A processor count no machine has.
    #[error("--cpus {0}: expected 1 to {MAX_CPUS} processors")]
    Cpus(String),
    /// Not a serial target.
    #[error("--serial {0}: expected stdio, none or file:PATH")]
    Serial(String),
    /// Not a choice of parts.
    #[error(
        "--machine {0}: expected KEY=VALUE with a key out of acpi, auto-kernel-cmdline, ioapic2, \
         pic, pit, rtc and isa-serial, and a value out of on, off and auto; or irqchip=split or kernel"
    )]
    Machine(String),
    /// A part that no machine of ours is without.
    #[error(
        "--machine pic=off: expected irqchip=split to go with it, found irqchip=kernel, and KVM's own \
         interrupt controllers come with a PIC"
    )]
    Pic,
    /// A second I/O APIC that nobody has, or nobody would know of.
    #[error(
        "--machine ioapic2=on: expected irqchip=split and acpi=on to go with it, found {0}, and \
         {1}"
    )]
    IoApic2(&'static str, &'static str),
    /// COM1 leads somewhere, but is not there.
    #[error("--serial: expected a machine with a serial port, found --machine isa-serial=off")]
    SerialAlone,
    /// Not a description of a disk.
    #[error(
        "--disk {0}: expected path=FILE, and at most readonly=on|off, direct=on|off, serial=TEXT \
         of up to {ID_BYTES} ASCII characters and queues=N from 1 to {MAX_DISK_QUEUES}, each once, \
         between commas; a comma in a value is doubled"
    )]
    Disk(String),
    /// More devices than places for them.
    #[error(
        "--disk, --rng: expected at most {most} virtio devices, as many as there are interrupts \
         for (24 with --machine acpi=on,irqchip=split,ioapic2=on), found {found}"
    )]
    Virtio {
        /// Places.
        most: u8,
        /// Devices.
        found: usize,
    },
    /// Not a description of a file.
    #[error("--fw-cfg {0}: expected name=NAME,string=TEXT or name=NAME,file=PATH")]
    FwCfg(String),
    /// The initrd is the kernel's; without a kernel it means nothing.
    #[error("--initrd: expected a --kernel to go with it, found none")]
    InitrdAlone,
    /// The command line is the kernel's; without a kernel it means nothing.
    #[error("--append: expected a --kernel to go with it, found none")]
    AppendAlone,
}

impl Config {
    /// Number of virtio devices.
    #[must_use]
    pub fn virtio_devices(&self) -> usize {
        self.disks.len() + usize::from(self.rng)
    }

    /// How its virtio devices are wired.
    #[must_use]
    pub fn wiring(&self) -> Wiring {
        let Machine {
            acpi,
            ioapic2,
            irqchip,
            ..
        } = self.machine;
        let many = self.virtio_devices() > usize::from(Wiring::One.slots());
        match irqchip {
            _ if !acpi => Wiring::Isa,
            IrqChip::Split if ioapic2.unwrap_or(many) => Wiring::Two,
            IrqChip::Split | IrqChip::Kernel => Wiring::One,
        }
    }

    /// Refuses what no machine can be built from.
    pub fn validate(&self) -> Result<(), Error> {
        if !(MIN_MEMORY..=MAX_MEMORY).contains(&self.memory)
            || !self.memory.is_multiple_of(PAGE_SIZE)
        {
            return Err(Error::MemorySize { found: self.memory });
        }
        if !(1..=MAX_CPUS).contains(&self.cpus) {
            return Err(Error::Cpus(self.cpus.to_string()));
        }
        if self.kernel.is_none() && self.initrd.is_some() {
            return Err(Error::InitrdAlone);
        }
        if self.kernel.is_none() && !self.append.is_empty() {
            return Err(Error::AppendAlone);
        }
        if !self.machine.isa_serial && self.serial != SerialTarget::None {
            return Err(Error::SerialAlone);
        }
        let (most, found) = (self.wiring().slots(), self.virtio_devices());
        if found > usize::from(most) {
            return Err(Error::Virtio { most, found });
        }
        Ok(())
    }
}

/// Reads a memory size: bytes, from `512M`, `1G` or, as QEMU does, `512` for MiB.
pub fn parse_memory(text: &str) -> Result<u64, Error> {
    let refuse = || Error::MemorySyntax(text.into());
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        Some(b't' | b'T') => (&text[..text.len() - 1], 40),
        _ => (text, 20),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refuse());
    }
    let number: u64 = digits.parse().map_err(|_| refuse())?;
    number.checked_mul(1 << shift).ok_or_else(refuse)
}

/// Reads a processor count.
pub fn parse_cpus(text: &str) -> Result<u32, Error> {
    text.parse().map_err(|_| Error::Cpus(text.into()))
}

/// Reads `KEY=VALUE,…`, one text after the other. Of a key that comes twice the last one counts.
pub fn parse_machine<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Machine, Error> {
    let mut machine = Machine::default();
    let auto = machine;
    for pair in texts.into_iter().flat_map(|text| text.split(',')) {
        let refuse = || Error::Machine(pair.into());
        let (key, value) = pair.split_once('=').ok_or_else(refuse)?;
        let choice = || match value {
            "on" => Ok(Some(true)),
            "off" => Ok(Some(false)),
            "auto" => Ok(None),
            _ => Err(refuse()),
        };
        let pick = |auto| choice().map(|choice| choice.unwrap_or(auto));
        match key {
            "acpi" => machine.acpi = pick(auto.acpi)?,
            "auto-kernel-cmdline" => machine.auto_kernel_cmdline = pick(auto.auto_kernel_cmdline)?,
            "ioapic2" => machine.ioapic2 = choice()?,
            "irqchip" => {
                machine.irqchip = match value {
                    "kernel" => IrqChip::Kernel,
                    "split" => IrqChip::Split,
                    _ => return Err(refuse()),
                }
            }
            "pic" => machine.pic = pick(auto.pic)?,
            "pit" => machine.pit = pick(auto.pit)?,
            "rtc" => machine.rtc = pick(auto.rtc)?,
            "isa-serial" => machine.isa_serial = pick(auto.isa_serial)?,
            _ => return Err(refuse()),
        }
    }
    if machine.irqchip == IrqChip::Kernel && !machine.pic {
        return Err(Error::Pic);
    }
    if machine.ioapic2 == Some(true) {
        if machine.irqchip == IrqChip::Kernel {
            return Err(Error::IoApic2("irqchip=kernel", "KVM has only one"));
        }
        if !machine.acpi {
            return Err(Error::IoApic2("acpi=off", "MP tables tell of one"));
        }
    }
    Ok(machine)
}

/// Reads `path=FILE` and the other words about a disk.
pub fn parse_disk(text: &str) -> Result<Disk, Error> {
    let refuse = || Error::Disk(text.into());
    let mut disk = Disk {
        path: PathBuf::new(),
        read_only: false,
        direct: false,
        serial: String::new(),
        queues: 1,
    };
    let mut seen = Vec::new();
    for (key, value) in pairs(text).ok_or_else(refuse)? {
        let switch = || match value.as_str() {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(refuse()),
        };
        match key.as_str() {
            "path" if !value.is_empty() => disk.path = PathBuf::from(&value),
            "readonly" => disk.read_only = switch()?,
            "direct" => disk.direct = switch()?,
            "serial" if value.len() <= ID_BYTES && value.bytes().all(|b| b.is_ascii_graphic()) => {
                disk.serial.clone_from(&value);
            }
            "queues" => {
                let count = value.parse().map_err(|_| refuse())?;
                if !(1..=MAX_DISK_QUEUES).contains(&count) {
                    return Err(refuse());
                }
                disk.queues = count;
            }
            _ => return Err(refuse()),
        }
        if seen.contains(&key) {
            return Err(refuse());
        }
        seen.push(key);
    }
    if disk.path.as_os_str().is_empty() {
        return Err(refuse());
    }
    Ok(disk)
}

/// Cuts `KEY=VALUE,…` into its pairs. As with QEMU, two commas are one that does not cut.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut words = vec![String::new()];
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        if letter == ',' && rest.next_if_eq(&',').is_none() {
            words.push(String::new());
        } else if let Some(word) = words.last_mut() {
            word.push(letter);
        }
    }
    let pair = |word: &String| {
        let (key, value) = word.split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    };
    words.iter().map(pair).collect()
}

/// Reads `stdio`, `none` or `file:PATH`.
pub fn parse_serial(text: &str) -> Result<SerialTarget, Error> {
    match text.split_once(':') {
        Some(("file", path)) if !path.is_empty() => Ok(SerialTarget::File(path.into())),
        None if text == "stdio" => Ok(SerialTarget::Stdio),
        None if text == "none" => Ok(SerialTarget::None),
        _ => Err(Error::Serial(text.into())),
    }
}

/// Reads `[name=]NAME,string=TEXT` or `[name=]NAME,file=PATH`; the text or path is everything
/// up to the end, commas included.
pub fn parse_user_file(text: &str) -> Result<UserFile, Error> {
    let refuse = || Error::FwCfg(text.into());
    let (name, source) = text.split_once(',').ok_or_else(refuse)?;
    let name = name.strip_prefix("name=").unwrap_or(name);
    let source = match source.split_once('=') {
        Some(("string", value)) => UserSource::String(value.into()),
        Some(("file", path)) if !path.is_empty() => UserSource::File(path.into()),
        _ => return Err(refuse()),
    };
    Ok(UserFile {
        name: name.into(),
        source,
    })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn memory_is_read_as_qemu_reads_it() {
        assert_eq!(parse_memory("512").unwrap(), 512 << 20);
        assert_eq!(parse_memory("512M").unwrap(), 512 << 20);
        assert_eq!(parse_memory("5g").unwrap(), 5 << 30);
        assert_eq!(parse_memory("2048K").unwrap(), 2 << 20);
        assert_eq!(parse_memory("1T").unwrap(), 1 << 40);
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "M",
            "-1",
            "+5",
            "1.5G",
            "0x10",
            "12Q",
            "99999999999999999999",
            "17592186044416T",
            "5 M",
            "é",
        ] {
            assert!(
                matches!(parse_memory(text), Err(Error::MemorySyntax(_))),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_machine_has_everything_but_what_is_taken_away() {
        let parse = |texts: &[&str]| parse_machine(texts.iter().copied()).unwrap();
        assert_eq!(parse(&[]), Machine::default());
        assert_eq!(
            parse(&[
                "acpi=off,rtc=off,auto-kernel-cmdline=off",
                "pit=off,pic=on",
                "acpi=auto"
            ]),
            Machine {
                acpi: true,
                auto_kernel_cmdline: false,
                ioapic2: None,
                irqchip: IrqChip::Kernel,
                pic: true,
                pit: false,
                rtc: false,
                isa_serial: true,
            }
        );
        assert!(!parse(&["isa-serial=on,isa-serial=off"]).isa_serial);
        let split = parse(&["pit=auto,irqchip=kernel,irqchip=split,pic=off"]);
        assert_eq!(split.irqchip, IrqChip::Split);
        assert!(!split.pic && split.pit);
    }

    #[test]
    fn parts_and_values_that_nobody_knows_are_refused_with_those_that_are() {
        for text in [
            "",
            "acpi",
            "acpi=",
            "acpi=yes",
            "usb=on",
            "ACPI=on",
            "microvm",
            "pit=on,",
            "pic=no",
            "irqchip=auto",
            "irqchip=",
        ] {
            let sentence = parse_machine([text]).unwrap_err().to_string();
            assert!(
                sentence.contains("cmdline, ioapic2, pic, pit, rtc and isa-serial")
                    && sentence.contains("on, off and auto; or irqchip=split or kernel"),
                "{sentence}"
            );
        }
    }

    #[test]
    fn parts_that_do_not_go_together_are_refused() {
        let refusal = |text: &str| parse_machine([text]).unwrap_err().to_string();
        let sentence = refusal("rtc=on,pic=off");
        assert!(sentence.starts_with("--machine pic=off: expected irqchip=split"));
        for found in ["irqchip=kernel", "irqchip=split,acpi=off"] {
            let sentence = refusal(&format!("ioapic2=on,{found}"));
            let expected = "--machine ioapic2=on: expected irqchip=split and acpi=on";
            assert!(sentence.starts_with(expected), "{sentence}");
        }
        parse_machine(["ioapic2=on,irqchip=split", "ioapic2=off,irqchip=kernel"]).unwrap();
    }

    #[test]
    fn a_disk_is_what_its_words_say() {
        let disk = parse_disk("path=a,,b=c").unwrap();
        assert_eq!(disk.path, PathBuf::from("a,b=c"));
        assert_eq!(
            (disk.read_only, disk.direct, disk.queues),
            (false, false, 1)
        );
        let disk = parse_disk("serial=12345678901234567890,queues=64,direct=on,path=x,readonly=on")
            .unwrap();
        assert_eq!(disk.serial.len(), 20);
        assert!(disk.read_only && disk.direct && disk.queues == 64);
    }

    #[test]
    fn words_about_a_disk_that_nobody_knows_are_refused_with_those_that_are() {
        for text in [
            "",
            "x",
            "path=",
            "readonly=on",
            "path=x,",
            "path=x,readonly",
            "path=x,readonly=yes",
            "path=x,queues=0",
            "path=x,queues=65",
            "path=x,queues=many",
            "path=x,serial=123456789012345678901",
            "path=x,serial=\u{e9}",
            "path=x,path=y",
            "path=x,cache=none",
        ] {
            let sentence = parse_disk(text).unwrap_err().to_string();
            assert!(
                sentence.starts_with(&format!("--disk {text}: expected path=FILE"))
                    && sentence.contains("1 to 64"),
                "{sentence}"
            );
        }
    }

    #[test]
    fn a_user_file_keeps_commas_and_equal_signs_of_its_text() {
        let file = parse_user_file("name=opt/a,string=x=1,y=2").unwrap();
        assert_eq!(file.name, "opt/a");
        assert_eq!(file.source, UserSource::String("x=1,y=2".into()));
        let file = parse_user_file("opt/b,file=/some/where").unwrap();
        assert_eq!(file.source, UserSource::File("/some/where".into()));
        for text in ["", "opt/a", "opt/a,", "opt/a,file=", "opt/a,text=x"] {
            assert!(parse_user_file(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn serial_targets() {
        assert_eq!(parse_serial("stdio").unwrap(), SerialTarget::Stdio);
        assert_eq!(parse_serial("none").unwrap(), SerialTarget::None);
        assert_eq!(
            parse_serial("file:a:b").unwrap(),
            SerialTarget::File("a:b".into())
        );
        for text in ["", "file:", "file", "pty", "stdio:x"] {
            assert!(parse_serial(text).is_err(), "{text:?}");
        }
    }
}
