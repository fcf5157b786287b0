// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--machine`: what the machine consists of.

use super::{Error, words};
use crate::devices::virtio::Interface;

/// What the machine consists of; the names are those of QEMU's `microvm`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Machine {
    /// ACPI tables, and the device with power button, power-off and reset.
    pub acpi: bool,
    /// Whether virtio devices that nothing else announces go onto the kernel's command line.
    pub auto_kernel_cmdline: bool,
    /// Virtio devices for drivers from before version 1 of the specification; `virtio-mmio`'s
    /// property in QEMU.
    pub force_legacy: bool,
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
    /// The port at which a kernel tells that it has panicked.
    pub pvpanic: bool,
    /// Whether firmware finds the option ROMs that there are.
    pub x_option_roms: bool,
}

impl Default for Machine {
    /// What `auto` means: everything but the real-time clock, unless nothing but ACPI could say
    /// that it is not there. KVM has a clock of its own, and a guest that asks both pays for it
    /// with 154 exits.
    fn default() -> Self {
        Self {
            acpi: true,
            auto_kernel_cmdline: true,
            force_legacy: false,
            ioapic2: None,
            irqchip: IrqChip::Split,
            pic: true,
            pit: true,
            rtc: false,
            isa_serial: true,
            pvpanic: true,
            x_option_roms: true,
        }
    }
}

impl Machine {
    /// Which interface its virtio devices have.
    #[must_use]
    pub fn interface(&self) -> Interface {
        if self.force_legacy {
            Interface::Legacy
        } else {
            Interface::Modern
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

/// Reads `KEY=VALUE,…`, one text after the other. Of a key that comes twice the last one counts.
pub fn parse_machine<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Machine, Error> {
    let mut machine = Machine::default();
    let auto = machine;
    let mut pvpanic = None;
    let mut rtc = None;
    for pair in texts.into_iter().flat_map(|text| text.split(',')) {
        let refuse = || Error::Machine(pair.into());
        let (key, value) = pair.split_once('=').ok_or_else(refuse)?;
        let choice = || match value {
            "auto" => Ok(None),
            _ => words::switch(value).map(Some).ok_or_else(refuse),
        };
        let pick = |auto| choice().map(|choice| choice.unwrap_or(auto));
        match key {
            "acpi" => machine.acpi = pick(auto.acpi)?,
            "auto-kernel-cmdline" => machine.auto_kernel_cmdline = pick(auto.auto_kernel_cmdline)?,
            "force-legacy" => machine.force_legacy = pick(auto.force_legacy)?,
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
            "rtc" => rtc = choice()?,
            "isa-serial" => machine.isa_serial = pick(auto.isa_serial)?,
            "pvpanic" => pvpanic = choice()?,
            "x-option-roms" => machine.x_option_roms = pick(auto.x_option_roms)?,
            _ => return Err(refuse()),
        }
    }
    // Nothing else tells a kernel of it.
    machine.pvpanic = pvpanic.unwrap_or(machine.acpi);
    machine.rtc = rtc.unwrap_or(!machine.acpi);
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

#[cfg(test)]
mod test {
    use super::*;

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
                force_legacy: false,
                ioapic2: None,
                irqchip: IrqChip::Split,
                pic: true,
                pit: false,
                rtc: false,
                isa_serial: true,
                pvpanic: true,
                x_option_roms: true,
            }
        );
        assert_eq!(parse(&["force-legacy=on"]).interface(), Interface::Legacy);
        assert!(!parse(&["force-legacy=on,force-legacy=auto"]).force_legacy);
        assert!(!parse(&["isa-serial=on,isa-serial=off"]).isa_serial);
        assert!(!parse(&["acpi=off"]).pvpanic && parse(&["pvpanic=on,acpi=off"]).pvpanic);
        assert!(!parse(&["pvpanic=off"]).pvpanic && parse(&["pvpanic=off,pvpanic=auto"]).pvpanic);
        assert!(parse(&["acpi=off"]).rtc && parse(&["rtc=on"]).rtc);
        assert!(!parse(&["acpi=off,rtc=off"]).rtc && !parse(&["rtc=on,rtc=auto"]).rtc);
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
                sentence.contains(
                    "cmdline, force-legacy, ioapic2, pic, pit, rtc, isa-serial, pvpanic and x-option-roms"
                ) && sentence.contains("on, off and auto; or irqchip=split or kernel"),
                "{sentence}"
            );
        }
    }

    #[test]
    fn parts_that_do_not_go_together_are_refused() {
        let refusal = |text: &str| parse_machine([text]).unwrap_err().to_string();
        let sentence = refusal("irqchip=kernel,pic=off");
        assert!(sentence.starts_with("--machine pic=off: expected irqchip=split"));
        for found in ["irqchip=kernel", "irqchip=split,acpi=off"] {
            let sentence = refusal(&format!("ioapic2=on,{found}"));
            let expected = "--machine ioapic2=on: expected irqchip=split and acpi=on";
            assert!(sentence.starts_with(expected), "{sentence}");
        }
        parse_machine(["ioapic2=on,irqchip=split", "ioapic2=off,irqchip=kernel"]).unwrap();
    }
}
