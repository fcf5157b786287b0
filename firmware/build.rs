// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hands the linker its script and the addresses it needs from `abi::layout`.

use abi::layout;

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../linker/firmware.ld");
    println!("cargo:rerun-if-changed={script}");
    let symbols = [
        ("ROM_SIZE", layout::ROM_SIZE),
        ("ROM_ALIAS_START", layout::ROM_ALIAS_START),
        ("STACK_TOP", layout::STACK_TOP),
    ];
    println!("cargo:rustc-link-arg-bins=-T{script}");
    println!("cargo:rustc-link-arg-bins=--gc-sections");
    for (name, value) in symbols {
        println!("cargo:rustc-link-arg-bins=--defsym={name}={value:#x}");
    }
}
