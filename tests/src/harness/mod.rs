// SPDX-License-Identifier: MIT OR Apache-2.0
//! The bodies of the fuzz targets: what holds for every input, as ordinary functions.
//!
//! Each takes bytes, makes of them what a VMM might say or a guest might do, and panics when a promise is broken. The
//! fuzzer (`cargo xtask fuzz`) looks for such bytes; `cargo test` replays its seeds and some
//! thousand descendants of them.

mod bzimage;
mod cmos;
mod directory;
mod e820;
mod input;
mod ioapic;
mod kernel;
mod loader;
mod machine;
mod multiboot;
pub mod mutate;
mod net;
mod pci;
mod pic;
mod pit;
mod registers;
mod sentence;
mod smbios;
mod virtio;

pub use bzimage::bzimage;
pub use cmos::cmos;
pub use directory::directory;
pub use e820::e820;
pub use ioapic::ioapic;
pub use kernel::kernel;
pub use loader::loader;
pub use multiboot::multiboot;
pub use net::net;
pub use pci::pci;
pub use pic::pic;
pub use pit::pit;
pub use registers::registers;
pub use smbios::smbios;
pub use virtio::virtio;

/// A body, and the name of its target and its seeds.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 15] = [
    ("bzimage", bzimage),
    ("cmos", cmos),
    ("directory", directory),
    ("e820", e820),
    ("ioapic", ioapic),
    ("kernel", kernel),
    ("loader", loader),
    ("multiboot", multiboot),
    ("net", net),
    ("pci", pci),
    ("pic", pic),
    ("pit", pit),
    ("registers", registers),
    ("smbios", smbios),
    ("virtio", virtio),
];
