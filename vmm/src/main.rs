// SPDX-License-Identifier: MIT OR Apache-2.0
//! `microvm`: boots a kernel through firmware, as QEMU's machine of that name does.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;
use vmm::status::Status;

fn main() -> ExitCode {
    let started = Instant::now();
    let done = match vmm::cli::parse() {
        Ok((config, None)) => vmm::run(&config, started),
        Ok((config, Some(format))) => match vmm::describe(&config, format) {
            Ok(description) => return print(&description),
            Err(error) => Err(error),
        },
        Err(error) => Err(error.into()),
    };
    let (status, sentence) = match done {
        Ok(report) => (report.status(), report.to_string()),
        Err(error) => (error.status(), error.to_string()),
    };
    end(status, &sentence)
}

/// What was asked for, on standard output.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Status::Ended.into(),
        Err(error) => end(Status::HostIo, &format!("standard output: {error}")),
    }
}

/// The last words, on standard error.
fn end(status: Status, sentence: &str) -> ExitCode {
    // Standard error may be full or closed. There is nobody left to tell, and the status holds.
    let _ = writeln!(std::io::stderr(), "microvm: {sentence}");
    status.into()
}
