// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the firmware says: nothing on a good boot unless asked, one sentence on a bad one.

use crate::console::Console;
use crate::machine::{Processor, ReportPort, halt, report, report_failure, reset, timestamp, wait};
use abi::debug::{
    FailureCode, TRACE_FIRMWARE_START, TRACE_KERNEL_LINUX, TRACE_KERNEL_MULTIBOOT, TRACE_KERNEL_PVH,
};
use firmware_core::acpi::nanoseconds;
use firmware_core::aftermath::Aftermath;
use firmware_core::error::BootError;
use firmware_core::facts::{Facts, LogLevel, Options};
use firmware_core::plan::{Entry, Plan};
use firmware_core::words::{Speaker, Words, say};

/// The log and the trace points, as the user has switched them on.
pub struct Log {
    options: Options,
    console: Option<Console>,
    start: u64,
    /// Frequency in kHz of the time-stamp counter; 0 where it is not known.
    khz: u32,
}

impl Log {
    /// Nothing is opened, read or written for what is off.
    pub fn new(options: Options, processor: &Processor) -> Self {
        match options.log {
            LogLevel::Error => Self {
                options,
                console: None,
                start: 0,
                khz: 0,
            },
            LogLevel::Info => Self {
                options,
                console: Some(Console::open()),
                start: processor.reset,
                khz: processor.khz(),
            },
        }
    }

    /// The first moment at which we know whether anybody wants to know.
    pub fn firmware_started(&mut self) {
        if self.options.trace {
            report(ReportPort::TraceFirmware, TRACE_FIRMWARE_START);
        }
        self.phase("start", &"firmware started");
    }

    /// All questions are asked.
    pub fn gathered(&mut self, facts: &Facts<'_>) {
        self.phase("facts", facts);
    }

    /// All decisions are taken.
    pub fn planned(&mut self, plan: &Plan<'_>) {
        self.phase("plan", plan);
    }

    /// The last moment before the kernel.
    pub fn kernel_entered(&mut self, entry: &Entry) {
        self.phase("enter", entry);
        if self.options.trace {
            let kernel = match entry {
                Entry::Linux64 { .. } | Entry::Linux32 { .. } | Entry::Linux16 { .. } => {
                    TRACE_KERNEL_LINUX
                }
                Entry::Pvh { .. } => TRACE_KERNEL_PVH,
                Entry::Multiboot { .. } => TRACE_KERNEL_MULTIBOOT,
            };
            report(ReportPort::TraceKernel, kernel);
        }
    }

    #[inline(always)] // a test where nobody listens
    fn phase(&mut self, name: &str, what: &dyn Words) {
        if let Some(console) = &mut self.console {
            tell(console, self.start, self.khz, name, what);
        }
    }
}

#[cold]
#[inline(never)]
fn tell(console: &mut Console, start: u64, khz: u32, name: &str, what: &dyn Words) {
    let cycles = timestamp().wrapping_sub(start);
    let console = &mut Speaker::new(console);
    say!(console, "qboot-rs: ");
    console.text(name);
    say!(console, ": ");
    what.say(console);
    if khz != 0 {
        say!(console, " (+% us, ", nanoseconds(cycles, khz) / 1000);
    } else {
        say!(console, " (+");
    }
    say!(console, "% cycles)\n", cycles);
}

/// A bug, at a line of a file.
struct Bug<'a> {
    file: &'a str,
    line: u32,
}

impl Words for Bug<'_> {
    fn say(&self, to: &mut Speaker<'_>) {
        say!(to, "firmware bug: panic in ");
        to.text(self.file);
        say!(to, " line %", self.line);
    }
}

/// Says where.
pub fn panicked(file: &str, line: u32) -> ! {
    fail(&Bug { file, line }, FailureCode::Panic)
}

/// Says why and what else there is to say, tells the VMM, and stops or, after a while, starts again.
pub fn give_up(error: &BootError, aftermath: &Aftermath) -> ! {
    let mut console = Console::open();
    let console = &mut Speaker::new(&mut console);
    say!(console, "qboot-rs: ");
    error.say(console);
    aftermath.say(console);
    say!(console, "\n");
    report_failure(error.code());
    let Some(milliseconds) = aftermath.wait else {
        halt()
    };
    if wait(milliseconds) {
        reset()
    }
    say!(
        console,
        "qboot-rs: clock: expected a timer or a real-time clock that runs, found none\n"
    );
    halt()
}

/// Says why, tells the VMM, and stops.
pub fn fail(error: &dyn Words, code: FailureCode) -> ! {
    let mut console = Console::open();
    let console = &mut Speaker::new(&mut console);
    say!(console, "qboot-rs: ");
    error.say(console);
    say!(console, "\n");
    report_failure(code);
    halt()
}
