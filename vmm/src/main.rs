// SPDX-License-Identifier: MIT OR Apache-2.0
//! `microvm`: boots a kernel through firmware, as QEMU's machine of that name does.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let started = Instant::now();
    let config = vmm::cli::parse().map_err(vmm::Error::from);
    let (status, sentence) = match config.and_then(|config| vmm::run(&config, started)) {
        Ok(report) => (report.status(), report.to_string()),
        Err(error) => (error.status(), error.to_string()),
    };
    // Standard error may be full or closed. There is nobody left to tell, and the status holds.
    let _ = writeln!(std::io::stderr(), "microvm: {sentence}");
    status.into()
}
