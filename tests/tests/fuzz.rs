// SPDX-License-Identifier: MIT OR Apache-2.0
//! The bodies of the fuzz targets over their seeds and the descendants of these.

use std::fs;
use std::path::Path;

use system_tests::harness::TARGETS;
use system_tests::harness::mutate::{Numbers, mutate};

/// How many inputs each target gets besides its seeds.
const DESCENDANTS: usize = 2000;

fn replay(name: &str) {
    let (_, body) = TARGETS
        .iter()
        .find(|(target, _)| *target == name)
        .expect("a target");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(name);
    let mut paths: Vec<_> = fs::read_dir(&directory)
        .expect("seeds")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let mut seeds: Vec<_> = paths
        .iter()
        .map(|path| fs::read(path).expect("a seed"))
        .collect();
    for seed in &seeds {
        body(seed);
    }
    seeds.push(Vec::new());
    let mut numbers = Numbers::new(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::new();
    for round in 0..DESCENDANTS {
        // A line of descent of eight, then the next seed.
        if round % 8 == 0 {
            bytes.clone_from(&seeds[round / 8 % seeds.len()]);
        }
        mutate(&mut bytes, &mut numbers);
        body(&bytes);
    }
}

macro_rules! targets {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$(stringify!($name)),*];
            assert_eq!(TARGETS.map(|(name, _)| name), replayed);
        }
    };
}

targets!(
    bzimage, cmos, directory, e820, ioapic, kernel, loader, multiboot, net, pci, pic, pit,
    registers, smbios, virtio
);
