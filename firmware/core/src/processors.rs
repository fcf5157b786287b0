// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many processors there are and which local APIC IDs they have.
//!
//! Spec: Intel SDM volume 3, section 9.9 (APIC IDs are made of package, core and thread fields of
//! CPUID-defined width); `fw_cfg` gives only the number.

use crate::words::{Speaker, Words, display, say};

/// The most processors a machine with 8-bit APIC IDs can have: ID 0xff means all of them.
pub const MAX_PROCESSORS: u16 = 255;

/// What CPUID says about the bootstrap processor.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Identity {
    /// Leaf 1, EAX: stepping, model, family.
    pub signature: u32,
    /// Leaf 1, EDX: feature flags.
    pub features: u32,
    /// Whether 1 GiB pages exist (leaf 0x8000_0001, EDX bit 26).
    pub gigabyte_pages: bool,
    /// How APIC IDs are composed.
    pub topology: Topology,
}

/// How APIC IDs are composed (CPUID leaf 0xb): a thread field below a core field below a package
/// field. A field is as wide as a power of two needs, so IDs have gaps unless every count is one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Topology {
    /// Logical processors in a core (at least 1).
    pub threads_per_core: u16,
    /// Logical processors in a package (at least 1).
    pub threads_per_package: u16,
    /// Width in bits of the thread field.
    pub core_shift: u8,
    /// Width in bits of the thread and core fields.
    pub package_shift: u8,
}

impl Default for Topology {
    /// Nothing known: IDs count up from 0.
    fn default() -> Self {
        Self {
            threads_per_core: 1,
            threads_per_package: 1,
            core_shift: 0,
            package_shift: 0,
        }
    }
}

/// The machine's processors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Processors {
    count: u16,
    identity: Identity,
}

impl Processors {
    /// Joins the number from `fw_cfg` with what CPUID says.
    ///
    /// # Errors
    /// There is no processor, or more than MP tables can name.
    pub const fn new(count: u16, identity: Identity) -> Result<Self, CountError> {
        if count == 0 || count > MAX_PROCESSORS {
            return Err(CountError { found: count });
        }
        Ok(Self { count, identity })
    }

    /// How many there are: 1 to [`MAX_PROCESSORS`].
    #[must_use]
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// What they are.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How many of their APIC IDs fit 8 bits.
    #[must_use]
    pub fn named(&self) -> u64 {
        if self.count == 1 || self.identity.topology == Topology::default() {
            return self.count.into(); // IDs count up
        }
        self.apic_ids().flatten().count() as u64
    }

    /// Their APIC IDs, bootstrap processor first. IDs past 8 bits, which gaps in the numbering can
    /// cause, come out as `None`: MP tables cannot name those processors.
    pub fn apic_ids(&self) -> impl Iterator<Item = Option<u8>> + use<> {
        let topology = self.identity.topology;
        let mut next = ApicId {
            package: 0,
            core: 0,
            thread: 0,
        };
        (0..self.count).map(move |_| {
            let id = next.value(topology);
            next.advance(topology);
            u8::try_from(id).ok().filter(|id| *id != 0xff)
        })
    }
}

/// A position in the topology; counting up avoids a division for each processor.
struct ApicId {
    package: u32,
    core: u32,
    thread: u32,
}

impl ApicId {
    fn value(&self, topology: Topology) -> u32 {
        self.package.wrapping_shl(topology.package_shift.into())
            | self.core.wrapping_shl(topology.core_shift.into())
            | self.thread
    }

    fn advance(&mut self, topology: Topology) {
        self.thread = self.thread.saturating_add(1);
        if self.thread >= u32::from(topology.threads_per_core) {
            self.thread = 0;
            self.core = self.core.saturating_add(1);
            let before = self.core.saturating_mul(topology.threads_per_core.into());
            if before >= u32::from(topology.threads_per_package) {
                self.core = 0;
                self.package = self.package.saturating_add(1);
            }
        }
    }
}

/// The number of processors makes no sense.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CountError {
    /// What `fw_cfg` says.
    pub found: u16,
}

impl Words for CountError {
    fn say(&self, to: &mut Speaker<'_>) {
        say!(
            to,
            "processors: expected 1 to %, found %",
            MAX_PROCESSORS,
            self.found
        );
    }
}

display!(CountError);

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    fn ids(count: u16, topology: Topology) -> Vec<Option<u8>> {
        let identity = Identity {
            topology,
            ..Identity::default()
        };
        Processors::new(count, identity)
            .unwrap()
            .apic_ids()
            .collect()
    }

    #[test]
    fn without_a_topology_ids_count_up() {
        assert_eq!(ids(4, Topology::default()), [0, 1, 2, 3].map(Some));
        assert_eq!(ids(255, Topology::default()).last(), Some(&Some(254)));
    }

    #[test]
    fn two_packages_of_three_cores_leave_a_gap() {
        let topology = Topology {
            threads_per_core: 1,
            threads_per_package: 3,
            core_shift: 0,
            package_shift: 2,
        };
        assert_eq!(ids(6, topology), [0, 1, 2, 4, 5, 6].map(Some));
    }

    #[test]
    fn threads_cores_and_packages_each_have_their_field() {
        let topology = Topology {
            threads_per_core: 2,
            threads_per_package: 6,
            core_shift: 1,
            package_shift: 3,
        };
        assert_eq!(ids(8, topology), [0, 1, 2, 3, 4, 5, 8, 9].map(Some));
    }

    #[test]
    fn an_id_past_eight_bits_is_not_named() {
        let topology = Topology {
            threads_per_core: 1,
            threads_per_package: 1,
            core_shift: 0,
            package_shift: 7,
        };
        assert_eq!(ids(3, topology), [Some(0), Some(128), None]);
    }

    #[test]
    fn counts_that_make_no_sense_are_refused() {
        for count in [0, 256, u16::MAX] {
            assert_eq!(
                Processors::new(count, Identity::default()),
                Err(CountError { found: count })
            );
        }
    }

    proptest! {
        /// Against the division that the sequence does without.
        #[test]
        fn ids_are_made_of_package_core_and_thread(
            count in 1u16..=255, threads in 1u16..5, cores in 1u16..9, wider in 0u8..2,
        ) {
            let bits = |count: u16| count.next_power_of_two().trailing_zeros().to_le_bytes()[0];
            let core_shift = bits(threads);
            let package_shift = core_shift + bits(cores) + wider;
            let topology = Topology {
                threads_per_core: threads,
                threads_per_package: threads * cores,
                core_shift,
                package_shift,
            };
            let expected: Vec<_> = (0..u32::from(count))
                .map(|index| {
                    let (threads, cores) = (u32::from(threads), u32::from(cores));
                    let package = index / (threads * cores);
                    let core = index / threads % cores;
                    let id = (package << package_shift) + (core << core_shift) + index % threads;
                    u8::try_from(id).ok().filter(|id| *id < 0xff)
                })
                .collect();
            let identity = Identity { topology, ..Identity::default() };
            let processors = Processors::new(count, identity).unwrap();
            prop_assert_eq!(processors.named(), expected.iter().flatten().count() as u64);
            prop_assert_eq!(ids(count, topology), expected);
        }
    }
}
