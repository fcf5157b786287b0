// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the firmware says: nothing on a good boot unless asked, one sentence on a bad one.

use crate::console::Console;
use crate::machine::{
    FwCfg, HandoffMemory, Processor, ReportPort, halt, report, report_failure, reset, timestamp,
    wait,
};
use abi::debug::{
    FailureCode, TRACE_FIRMWARE_START, TRACE_KERNEL_LINUX, TRACE_KERNEL_MULTIBOOT, TRACE_KERNEL_PVH,
};
use firmware_core::acpi::{BlobMemory, Blobs, Loader, nanoseconds};
use firmware_core::aftermath::Aftermath;
use firmware_core::error::BootError;
use firmware_core::facts::{Facts, LogLevel};
use firmware_core::fw_cfg::{Directory, File, KnownFiles};
use firmware_core::plan::{Entry, Plan};
use firmware_core::trace;
use firmware_core::words::{Speaker, Words, say};

/// The log and the trace points, as the user has switched them on.
pub struct Log {
    trace_points: bool,
    voice: Option<Voice>,
}

/// Who says it, when somebody listens.
struct Voice {
    console: Console,
    start: u64,
    /// Frequency in kHz of the time-stamp counter; 0 where it is not known.
    khz: u32,
    /// Whether every detail is to be said.
    trace: bool,
}

impl Log {
    /// Nothing is opened, read or written for what is off.
    pub fn new(fw_cfg: &mut FwCfg, files: &KnownFiles, processor: &Processor) -> Self {
        let mut log = Self {
            trace_points: files.trace.is_some(),
            voice: None,
        };
        if let Some(file) = files.log {
            log.voice = Voice::open(fw_cfg, file, processor);
        }
        log
    }

    /// The first moment at which we know whether anybody wants to know.
    pub fn firmware_started(&mut self, fw_cfg: &mut FwCfg, files: &mut Directory<'_>) {
        if self.trace_points {
            report(ReportPort::TraceFirmware, TRACE_FIRMWARE_START);
        }
        self.phase("start", &"firmware started", |to| {
            trace::files(fw_cfg, files, to);
        });
    }

    /// All questions are asked.
    pub fn gathered(&mut self, facts: &Facts<'_>, memory: &mut HandoffMemory) {
        self.phase("facts", facts, |to| {
            trace::found(facts, memory.borrow(), to);
        });
    }

    /// All decisions are taken.
    pub fn planned(&mut self, plan: &Plan<'_>, blobs: &Blobs<'_>) {
        self.phase("plan", plan, |to| trace::decided(plan, blobs, to));
    }

    /// The last moment before the kernel; all tables are connected.
    pub fn kernel_entered(
        &mut self,
        entry: &Entry,
        fw_cfg: &mut FwCfg,
        loader: &mut Loader<'_>,
        memory: &mut impl BlobMemory,
    ) {
        if let Some(voice) = &mut self.voice {
            let to = &mut Speaker::new(&mut voice.console);
            loader.trace(fw_cfg, memory, voice.trace, to);
            voice.tell("enter", entry);
        }
        if self.trace_points {
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
    fn phase(&mut self, name: &str, what: &dyn Words, details: impl FnOnce(&mut Speaker<'_>)) {
        if let Some(voice) = &mut self.voice {
            voice.tell(name, what);
            if voice.trace {
                details(&mut Speaker::new(&mut voice.console));
            }
        }
    }
}

impl Voice {
    /// None for a level that asks for nothing, or that is none, which is said.
    #[cold]
    #[inline(never)]
    fn open(fw_cfg: &mut FwCfg, file: File, processor: &Processor) -> Option<Self> {
        let trace = match LogLevel::read(fw_cfg, file) {
            LogLevel::Error => return None,
            LogLevel::Info => false,
            LogLevel::Trace => true,
            LogLevel::Unknown(name) => {
                warn(&name);
                return None;
            }
        };
        Some(Self {
            console: Console::open(),
            start: processor.reset,
            khz: processor.khz(),
            trace,
        })
    }

    #[cold]
    #[inline(never)]
    fn tell(&mut self, name: &str, what: &dyn Words) {
        let cycles = timestamp().wrapping_sub(self.start);
        let to = &mut Speaker::new(&mut self.console);
        say!(to, "qboot-rs: ");
        to.text(name);
        say!(to, ": ");
        what.say(to);
        if self.khz != 0 {
            say!(to, " (+% us, ", nanoseconds(cycles, self.khz) / 1000);
        } else {
            say!(to, " (+");
        }
        say!(to, "% cycles)\n", cycles);
    }
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
    warn(error);
    report_failure(code);
    halt()
}

/// Says a sentence.
#[cold]
#[inline(never)]
fn warn(words: &dyn Words) {
    let mut console = Console::open();
    let console = &mut Speaker::new(&mut console);
    say!(console, "qboot-rs: ");
    words.say(console);
    say!(console, "\n");
}
