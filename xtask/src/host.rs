// SPDX-License-Identifier: MIT OR Apache-2.0
//! What this machine can do for a virtual machine.

use std::fmt;
use std::fs::{self, OpenOptions};

/// What is behind `/dev/kvm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kvm {
    /// The CPU's own virtualization.
    Hardware,
    /// A usable device on a CPU that does not say that it can: guest code is emulated.
    Software,
    /// No usable device, and why.
    Unusable(String),
}

impl Kvm {
    pub fn probe() -> Self {
        if let Err(error) = OpenOptions::new().read(true).write(true).open("/dev/kvm") {
            return Self::Unusable(format!("/dev/kvm cannot be opened: {error}"));
        }
        match fs::read_to_string("/proc/cpuinfo") {
            Ok(cpuinfo) if has_virtualization(&cpuinfo) => Self::Hardware,
            _ => Self::Software,
        }
    }
}

impl fmt::Display for Kvm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hardware => formatter.write_str("this CPU runs virtual machines itself"),
            Self::Software => formatter.write_str(
                "/dev/kvm is there but the CPU has neither svm nor vmx, so a stock kernel would \
                 be emulated instruction by instruction",
            ),
            Self::Unusable(why) => formatter.write_str(why),
        }
    }
}

/// The frequency of this machine's time-stamp counter as the kernel tells it, in kHz.
///
/// Plain TCG shows its guest this machine's counter.
pub fn tsc_khz() -> Option<u64> {
    mhz(&fs::read_to_string("/proc/cpuinfo").ok()?)
}

fn has_virtualization(cpuinfo: &str) -> bool {
    field(cpuinfo, "flags").is_some_and(|flags| {
        flags
            .split_whitespace()
            .any(|flag| flag == "svm" || flag == "vmx")
    })
}

fn mhz(cpuinfo: &str) -> Option<u64> {
    let (whole, fraction) = field(cpuinfo, "cpu MHz")?.split_once('.')?;
    let thousandths: u64 = fraction.get(..3)?.parse().ok()?;
    Some(whole.parse::<u64>().ok()? * 1000 + thousandths)
}

fn field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn virtualization_is_a_whole_word_among_the_flags() {
        assert!(has_virtualization("flags\t\t: fpu svm npt\n"));
        assert!(has_virtualization("flags\t\t: fpu vmx\n"));
        assert!(!has_virtualization("flags\t\t: fpu svm_lock\nbugs: svm\n"));
    }

    #[test]
    fn the_frequency_is_read_in_khz() {
        assert_eq!(mhz("cpu MHz\t\t: 2600.125\n"), Some(2_600_125));
        assert_eq!(mhz("model : x\n"), None);
    }
}
