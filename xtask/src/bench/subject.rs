// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is measured: a combination with its files, and the command line that boots it.

use std::fs;
use std::path::{Path, PathBuf};

use super::model::{Combination, Place, Vmm};
use crate::image;
use crate::qemu::Boot;

/// A combination and what it is made of.
#[derive(Clone, Debug)]
pub struct Subject {
    pub combination: Combination,
    /// Without one our monitor enters the kernel itself.
    pub bios: Option<PathBuf>,
    pub kernel: PathBuf,
    pub initrd: Option<PathBuf>,
    pub append: String,
    /// What SeaBIOS boots a kernel with; QEMU has it by itself.
    pub option_rom: Option<PathBuf>,
}

/// How programs and files are called where a subject is booted.
#[derive(Clone, Debug)]
pub struct Names {
    pub microvm: Vec<String>,
    pub qemu: Vec<String>,
    /// What comes before the name of a file.
    pub files: fn(&Path) -> String,
}

/// Memory of every guest.
pub const MEMORY: &str = "512M";

/// What the guest's memory is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// As usual.
    Plain,
    /// A memory file, so that what is anonymous is the monitor's own.
    Shared,
}

impl Subject {
    /// The program and its arguments. The guest's COM1 is standard output.
    pub fn command(&self, names: &Names, memory: Memory) -> Vec<String> {
        match self.combination.vmm {
            Vmm::Microvm => self.microvm(names, memory),
            Vmm::Qemu => self.qemu(names, memory),
        }
    }

    fn microvm(&self, names: &Names, memory: Memory) -> Vec<String> {
        let shared = match memory {
            Memory::Plain => "",
            Memory::Shared => ",shared=on",
        };
        let bios = match &self.bios {
            Some(path) => (names.files)(path),
            None => "none".into(),
        };
        let size = format!("size={MEMORY}{shared}");
        let cpus = self.combination.cpus.to_string();
        let mut words = names.microvm.clone();
        // The lab's KVM does not deliver breakpoints, so that our firmware has to tell.
        let trace = if self.combination.place == Place::Lab {
            "on"
        } else {
            "off"
        };
        words.extend(["--bios".into(), bios, "--trace".into(), trace.into()]);
        words.extend(["--memory".into(), size, "--cpus".into(), cpus]);
        if let Some((_, parts)) = self.combination.machine.split_once(',') {
            words.extend(["--machine".into(), parts.into()]);
        }
        if let Some(rom) = &self.option_rom {
            let path = (names.files)(rom);
            words.extend(["--option-rom".into(), format!("path={path},bootindex=0")]);
        }
        self.boots(names, "--", words)
    }

    fn qemu(&self, names: &Names, memory: Memory) -> Vec<String> {
        let mut machine = self.combination.machine.clone();
        let mut words = names.qemu.clone();
        words.extend(["-no-user-config", "-nodefaults", "-display", "none"].map(String::from));
        words.extend(["-no-reboot", "-m", MEMORY, "-serial", "stdio"].map(String::from));
        words.extend(["-smp".into(), self.combination.cpus.to_string()]);
        if memory == Memory::Shared {
            machine += ",memory-backend=ram";
            let backend = format!("memory-backend-memfd,id=ram,size={MEMORY},share=on");
            words.extend(["-object".into(), backend]);
        }
        words.extend(["-M".into(), machine]);
        let (accelerator, cpu) = match self.combination.place {
            Place::Tcg => ("tcg", "max"),
            // The software KVM of some hosts does not know this register, which QEMU insists on.
            Place::Kvm | Place::Lab => ("kvm", "host,-arch-capabilities"),
        };
        words.extend(["-accel", accelerator, "-cpu", cpu].map(String::from));
        if let Some(bios) = &self.bios {
            words.extend(["-bios".into(), (names.files)(bios)]);
        }
        self.boots(names, "-", words)
    }

    fn boots(&self, names: &Names, dash: &str, mut words: Vec<String>) -> Vec<String> {
        words.extend([format!("{dash}kernel"), (names.files)(&self.kernel)]);
        if let Some(initrd) = &self.initrd {
            words.extend([format!("{dash}initrd"), (names.files)(initrd)]);
        }
        words.extend([format!("{dash}append"), self.append.clone()]);
        words
    }

    /// What QEMU boots of it.
    pub fn boot(&self) -> Boot {
        Boot {
            bios: self.bios.clone().unwrap_or_default(),
            kernel: self.kernel.clone(),
            initrd: self.initrd.clone(),
            append: self.append.clone(),
            memory: MEMORY.into(),
            cpus: self.combination.cpus,
        }
    }

    /// Occupied bytes of its ROM image.
    pub fn rom_bytes(&self) -> Option<u64> {
        let rom = fs::read(self.bios.as_ref()?).ok()?;
        Some(image::occupied(&rom) as u64)
    }

    /// The files that it needs.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let named = [&self.bios, &self.initrd, &self.option_rom];
        named.into_iter().flatten().chain([&self.kernel])
    }

    /// Whether both differ only in their firmware.
    pub fn compares_with(&self, other: &Self) -> bool {
        let of = |subject: &Self| Combination {
            firmware: String::new(),
            ..subject.combination.clone()
        };
        of(self) == of(other)
    }
}
