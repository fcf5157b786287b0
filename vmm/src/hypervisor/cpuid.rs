// SPDX-License-Identifier: MIT OR Apache-2.0
//! What each processor says about itself.
//!
//! Spec: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E; Linux
//! `Documentation/virt/kvm/x86/cpuid.rst` and, for the frequencies, VMware's leaf 0x4000_0010, which
//! firmware and kernels of any hypervisor look for. KVM's list of what it supports
//! is passed on, except for the leaves that name the processor and the topology: one package,
//! one core per processor, no threads, APIC ID = index.

use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};
use std::num::NonZeroU32;

/// Leaf 1, ECX: the TSC deadline mode of the local APIC's timer.
pub(super) const TSC_DEADLINE: u32 = 1 << 24;
/// Leaf 1, ECX: running under a hypervisor.
const HYPERVISOR: u32 = 1 << 31;
/// Leaf 1, EDX: the package has more than one logical processor.
const MULTI: u32 = 1 << 28;
/// Leaf 0x8000_0001, ECX: AMD's own multi-core and topology leaves count.
const CMP_LEGACY: u32 = 1 << 1;

/// The first of the hypervisor's leaves: EAX is the last.
const HYPERVISOR_FIRST: u32 = 0x4000_0000;
/// EAX: frequency of the TSC in kHz; EBX: that of the local APICs' timers.
const FREQUENCIES: u32 = 0x4000_0010;
/// KVM's local APIC timers count nanoseconds.
const APIC_KHZ: u32 = 1_000_000;

/// Level types of leaf 0xB, in ECX bits 8–15.
const LEVEL_THREAD: u32 = 1 << 8;
const LEVEL_CORE: u32 = 2 << 8;

/// The table of processor `index` of `count`. `tsc_khz` is the frequency of its TSC, if known.
pub(super) fn for_processor(
    supported: &CpuId,
    index: u32,
    count: u32,
    tsc_khz: Option<NonZeroU32>,
) -> Vec<kvm_cpuid_entry2> {
    // The number of APIC ID bits that tell processors of the package apart.
    let bits = count.next_power_of_two().trailing_zeros();
    let mut table = Vec::with_capacity(supported.as_slice().len() + 3);
    for entry in supported.as_slice() {
        let mut entry = *entry;
        match entry.function {
            0x1 => {
                entry.ebx = (entry.ebx & 0xff00) | (index << 24) | (count.min(255) << 16);
                entry.ecx |= HYPERVISOR;
                set(&mut entry.edx, MULTI, count > 1);
            }
            // Cache levels: number of processors that share one, and of cores in the package.
            0x4 | 0x8000_001d => {
                let level = (entry.eax >> 5) & 7;
                let sharing = if level >= 3 { (1 << bits) - 1 } else { 0 };
                let cores = if entry.function == 0x4 {
                    ((1 << bits) - 1u32).min(63)
                } else {
                    0
                };
                if entry.eax & 0x1f != 0 {
                    entry.eax = (entry.eax & 0x3fff) | (sharing << 14) | (cores << 26);
                }
            }
            // Replaced below, or not offered.
            0xb | 0x1f => continue,
            // Replaced below.
            FREQUENCIES if tsc_khz.is_some() => continue,
            HYPERVISOR_FIRST if tsc_khz.is_some() => entry.eax = entry.eax.max(FREQUENCIES),
            0x8000_0001 => set(&mut entry.ecx, CMP_LEGACY, count > 1 && is_amd(supported)),
            0x8000_0008 if is_amd(supported) => {
                entry.ecx = (entry.ecx & !0xf0ff) | (bits << 12) | (count - 1);
            }
            0x8000_001e => {
                entry.eax = index;
                entry.ebx = index & 0xff;
                entry.ecx = 0;
            }
            _ => {}
        }
        table.push(entry);
    }
    let offers = |function, last| {
        let mut entries = supported.as_slice().iter();
        entries.any(|entry| entry.function == function && entry.eax >= last)
    };
    if offers(0, 0xb) {
        table.push(level(0, 0, 1, LEVEL_THREAD, index));
        table.push(level(1, bits, count, LEVEL_CORE | 1, index));
    }
    if let Some(khz) = tsc_khz.filter(|_| offers(HYPERVISOR_FIRST, 0)) {
        table.push(kvm_cpuid_entry2 {
            function: FREQUENCIES,
            eax: khz.get(),
            ebx: APIC_KHZ,
            ..Default::default()
        });
    }
    table
}

fn set(register: &mut u32, bit: u32, on: bool) {
    *register = if on {
        *register | bit
    } else {
        *register & !bit
    };
}

fn is_amd(supported: &CpuId) -> bool {
    // EBX of leaf 0 begins the vendor's name: "Auth" and "Hygo".
    let names = [u32::from_le_bytes(*b"Auth"), u32::from_le_bytes(*b"Hygo")];
    supported
        .as_slice()
        .iter()
        .any(|entry| entry.function == 0 && names.contains(&entry.ebx))
}

/// One level of leaf 0xB: `shift` APIC ID bits to the next level, `count` processors below it.
fn level(sub: u32, shift: u32, count: u32, kind: u32, apic_id: u32) -> kvm_cpuid_entry2 {
    kvm_cpuid_entry2 {
        function: 0xb,
        index: sub,
        flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
        eax: shift,
        ebx: count,
        ecx: kind,
        edx: apic_id,
        ..Default::default()
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn supported() -> CpuId {
        let entry = |function, index, eax, ebx, ecx| kvm_cpuid_entry2 {
            function,
            index,
            eax,
            ebx,
            ecx,
            ..Default::default()
        };
        CpuId::from_entries(&[
            entry(0, 0, 0x1f, u32::from_le_bytes(*b"Genu"), 0),
            entry(1, 0, 0x606a6, 0xaabb_0800, TSC_DEADLINE),
            entry(4, 1, 0x7c00_4121, 0, 0),
            entry(4, 3, 0x7c0f_c163, 0, 0),
            entry(4, 4, 0, 0, 0),
            entry(0xb, 0, 1, 2, 0x100),
            entry(0x1f, 0, 1, 2, 0x100),
        ])
        .unwrap()
    }

    fn find(table: &[kvm_cpuid_entry2], function: u32, index: u32) -> kvm_cpuid_entry2 {
        *table
            .iter()
            .find(|entry| (entry.function, entry.index) == (function, index))
            .unwrap()
    }

    #[test]
    fn every_leaf_that_names_the_processor_names_the_same() {
        for count in [1, 2, 3, 8, 255] {
            for index in [0, count / 2, count - 1] {
                let table = for_processor(&supported(), index, count, None);
                assert_eq!(find(&table, 1, 0).ebx >> 24, index);
                assert_eq!(find(&table, 0xb, 0).edx, index);
                assert_eq!(find(&table, 0xb, 1).edx, index);
                // No two processors may share all bits below the package's.
                assert!(index >> find(&table, 0xb, 1).eax == 0);
                assert_eq!(find(&table, 0xb, 1).ebx, count);
            }
        }
    }

    #[test]
    fn features_pass_through_and_the_hypervisor_shows() {
        let table = for_processor(&supported(), 0, 1, None);
        let leaf = find(&table, 1, 0);
        assert_eq!(leaf.ecx, TSC_DEADLINE | HYPERVISOR);
        assert_eq!((leaf.ebx >> 8) & 0xff, 8);
        assert_eq!(leaf.edx & MULTI, 0);
        assert!(!table.iter().any(|entry| entry.function == 0x1f));
    }

    #[test]
    fn the_frequencies_are_told_where_they_are_known() {
        let mut entries = supported().as_slice().to_vec();
        entries.push(kvm_cpuid_entry2 {
            function: 0x4000_0000,
            eax: 0x4000_0001,
            ebx: u32::from_le_bytes(*b"KVMK"),
            ..Default::default()
        });
        let with_kvm = CpuId::from_entries(&entries).unwrap();
        let leaves = |supported: &CpuId, khz| {
            let table = for_processor(supported, 1, 2, NonZeroU32::new(khz));
            let frequencies = table.iter().filter(|it| it.function == 0x4000_0010);
            let frequencies: Vec<_> = frequencies.map(|it| (it.eax, it.ebx, it.ecx)).collect();
            let first = table.iter().find(|it| it.function == 0x4000_0000);
            (first.map(|it| it.eax), frequencies)
        };
        assert_eq!(
            leaves(&with_kvm, 2_600_000),
            (Some(0x4000_0010), vec![(2_600_000, 1_000_000, 0)])
        );
        assert_eq!(leaves(&with_kvm, 0), (Some(0x4000_0001), vec![]));
        // Without leaves of a hypervisor nobody would look for them.
        assert_eq!(leaves(&supported(), 2_600_000), (None, vec![]));
    }

    #[test]
    fn only_the_last_cache_level_is_shared() {
        let table = for_processor(&supported(), 1, 4, None);
        assert_eq!(find(&table, 4, 1).eax, 3 << 26 | 0x121 & 0x3fff);
        assert_eq!(find(&table, 4, 3).eax, 3 << 26 | 3 << 14 | 0x163);
        assert_eq!(find(&table, 4, 4).eax, 0);
    }
}
