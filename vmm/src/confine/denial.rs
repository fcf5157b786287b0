// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of a call that a filter denies.
//!
//! Spec: seccomp(2), `SECCOMP_RET_TRAP`; signal-safety(7). The thread gets SIGSYS before anything
//! has happened, with its registers as they were. It may be anywhere, with any lock held, so that
//! nothing here allocates or takes a lock.

#![allow(unsafe_code)] // the registers of the call, the thread's name, and the end have no safe wrapper

use crate::{signals, terminal};
use libc::{c_int, c_void, siginfo_t, ucontext_t};
use std::ffi::CStr;
use std::fmt::Write;
use std::io;

/// The exit status: SIGSYS has ended the process, as a shell says it.
const STATUS: c_int = 128 + libc::SIGSYS;

/// `si_code` of a SIGSYS that comes from a filter.
const SYS_SECCOMP: c_int = 1;

/// From now on a denied call is named on standard error, and ends the process.
pub fn announce() -> io::Result<()> {
    signals::register(libc::SIGSYS, on_denial)
}

extern "C" fn on_denial(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands a valid `siginfo_t` to a handler that wants one, as ours does.
    let code = unsafe { (*info).si_code };
    // SAFETY: the third argument of such a handler points to a valid `ucontext_t`.
    let registers = unsafe { (*context.cast::<ucontext_t>()).uc_mcontext.gregs };
    terminal::give_back_at_once();
    if code == SYS_SECCOMP {
        say(&registers);
    }
    // SAFETY: ends the process at once, and runs nothing of ours before that.
    unsafe { libc::_exit(STATUS) }
}

/// Says which thread has made which call.
fn say(registers: &[libc::greg_t; 23]) {
    // How a program makes a call: its number in RAX, and the first arguments in these.
    let [number, first, second, third] =
        [libc::REG_RAX, libc::REG_RDI, libc::REG_RSI, libc::REG_RDX]
            .map(|register| usize::try_from(register).ok())
            .map(|index| index.and_then(|it| registers.get(it)).copied())
            .map(Option::unwrap_or_default);
    let mut sentence = Sentence::default();
    let mut name = [0; 16];
    // SAFETY: the call writes at most the 16 bytes that there are, with an end.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    let thread = CStr::from_bytes_until_nul(&name).unwrap_or_default();
    let thread = thread.to_str().unwrap_or("?");
    let known = usize::try_from(number).ok().and_then(syscalls::Sysno::new);
    // It fails where there is no more room; then what there is must do.
    let _ = write!(sentence, "microvm: seccomp: thread {thread} is denied ");
    let _ = match known {
        Some(call) => sentence.write_str(call.name()),
        None => write!(sentence, "system call {number}"),
    };
    let _ = writeln!(sentence, "({first:#x}, {second:#x}, {third:#x})");
    let _ = rustix::io::write(rustix::stdio::stderr(), sentence.as_bytes());
}

/// Text of limited length, in memory of its own.
struct Sentence {
    bytes: [u8; 256],
    length: usize,
}

impl Default for Sentence {
    fn default() -> Self {
        Self {
            bytes: [0; 256],
            length: 0,
        }
    }
}

impl Sentence {
    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Write for Sentence {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        let place = self.bytes.get_mut(self.length..end);
        place
            .ok_or(std::fmt::Error)?
            .copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}
