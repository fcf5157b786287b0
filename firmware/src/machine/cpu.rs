// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the bootstrap processor says about itself.
//!
//! Spec: Intel SDM volume 2, CPUID. Each leaf costs an exit under a hypervisor, so none is asked
//! twice and the topology only where there is one.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, _rdtsc};
use firmware_core::processors::{Identity, Topology};

/// Leaf 0x8000_0001, EDX: 1 GiB pages.
const PAGE1GB: u32 = 1 << 26;

/// The bootstrap processor.
pub struct Processor {
    extended_features: u32,
    /// The time stamp counter at the first instruction.
    pub reset: u64,
}

impl Processor {
    /// `extended_features` is leaf 0x8000_0001, EDX, which the way in has read; `reset` is the
    /// time stamp counter at the first instruction.
    pub const fn new(extended_features: u32, reset: u64) -> Self {
        Self {
            extended_features,
            reset,
        }
    }

    /// The frequency in kHz of the time stamp counter, where a hypervisor or the processor says it;
    /// else 0. The hypervisor's word comes first: VMware's leaf 0x4000_0010, which others follow. A
    /// processor that does not know its crystal counts at its base frequency (SDM volume 3, section
    /// 19.7.3).
    #[cold]
    pub fn khz(&self) -> u32 {
        const HYPERVISOR: u32 = 1 << 31;
        const HYPERVISOR_FIRST: u32 = 0x4000_0000;
        const FREQUENCIES: u32 = 0x4000_0010;
        const CRYSTAL: u32 = 0x15;
        const BASE: u32 = 0x16;
        if __cpuid(1).ecx & HYPERVISOR != 0 && __cpuid(HYPERVISOR_FIRST).eax >= FREQUENCIES {
            return __cpuid(FREQUENCIES).eax;
        }
        let highest = __cpuid(0).eax;
        if highest >= CRYSTAL {
            let ratio = __cpuid(CRYSTAL);
            let (denominator, numerator) = (u64::from(ratio.eax), u64::from(ratio.ebx));
            let ticks = u64::from(ratio.ecx) * numerator;
            if let Some(hz) = ticks.checked_div(denominator)
                && hz != 0
            {
                return u32::try_from(hz / 1000).unwrap_or(0);
            }
        }
        if highest >= BASE {
            return (__cpuid(BASE).eax & 0xffff) * 1000; // MHz
        }
        0
    }

    /// Answers for a machine with `count` processors.
    pub fn identify(&self, count: u16) -> Identity {
        let version = __cpuid(1);
        Identity {
            signature: version.eax,
            features: version.edx,
            gigabyte_pages: self.extended_features & PAGE1GB != 0,
            topology: if count > 1 {
                topology()
            } else {
                Topology::default()
            },
        }
    }
}

/// Leaf 0xb; without it, or with levels it does not describe, APIC IDs count up.
fn topology() -> Topology {
    const LEAF: u32 = 0xb;
    const LEVEL_THREAD: u32 = 1;
    const LEVEL_CORE: u32 = 2;
    if __cpuid(0).eax < LEAF {
        return Topology::default();
    }
    let thread = __cpuid_count(LEAF, 0);
    let core = __cpuid_count(LEAF, 1);
    let level = |ecx: u32| ecx >> 8 & 0xff;
    let (threads, in_package) = (thread.ebx & 0xffff, core.ebx & 0xffff);
    if level(thread.ecx) != LEVEL_THREAD
        || level(core.ecx) != LEVEL_CORE
        || threads == 0
        || in_package == 0
    {
        return Topology::default();
    }
    Topology {
        threads_per_core: u16::try_from(threads).unwrap_or(1),
        threads_per_package: u16::try_from(in_package).unwrap_or(1),
        core_shift: thread.eax.to_le_bytes()[0] & 0x1f,
        package_shift: core.eax.to_le_bytes()[0] & 0x1f,
    }
}

/// The time stamp counter.
pub fn timestamp() -> u64 {
    // SAFETY: RDTSC has no memory effect and exists on every processor with long mode; CR4.TSD is
    // 0 and we run at privilege level 0.
    unsafe { _rdtsc() }
}

/// Stops for good.
pub fn halt() -> ! {
    loop {
        // SAFETY: interrupts are off; HLT waits and changes nothing.
        unsafe { asm!("hlt", options(nomem, nostack, preserves_flags)) }
    }
}
