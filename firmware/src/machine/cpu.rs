// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the bootstrap processor says about itself.
//!
//! Spec: Intel SDM volume 2, CPUID. Each leaf costs an exit under a hypervisor, so none is asked
//! twice and the topology only where there is one.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, _rdtsc};
use firmware_core::frequency;
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

    /// The frequency in kHz of the time stamp counter; 0 where nobody says it.
    #[cold]
    pub fn khz(&self) -> u32 {
        frequency::khz(__cpuid)
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
