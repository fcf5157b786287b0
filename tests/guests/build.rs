// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hands the linker its script and the guest's load address.

use abi::layout;

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../linker/guest.ld");
    println!("cargo:rerun-if-changed={script}");
    println!("cargo:rustc-link-arg-bins=-T{script}");
    println!("cargo:rustc-link-arg-bins=--gc-sections");
    println!(
        "cargo:rustc-link-arg-bins=--defsym=LOAD_ADDRESS={:#x}",
        layout::HIGH_RAM_START
    );
}
