// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signals: those that end the run, the one that tells of the terminal's size, and the one that gets
//! a processor out of the guest.
//!
//! Spec: POSIX signal concepts, async-signal-safe functions. The handlers store a number and
//! write to an event counter, nothing more.

use crate::Error;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::FromRawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::signal::{self, Killable, SIGRTMIN, SignalHandler, register_signal_handler};

/// The signals that end a run in good order.
const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// How long a processor gets to leave the guest before it is signalled again.
const PATIENCE: Duration = Duration::from_micros(200);

static ARRIVED: AtomicU8 = AtomicU8::new(0);
static WAKE: OnceLock<EventFd> = OnceLock::new();

extern "C" fn on_ending(number: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    ARRIVED.store(u8::try_from(number).unwrap_or(0), Ordering::SeqCst);
    if let Some(wake) = WAKE.get() {
        // Nobody to tell if it fails; the number is stored.
        let _ = wake.write(1);
    }
}

extern "C" fn on_kick(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// From now on the ending signals are noted, and written to `wake`. Those that whoever started us
/// ignores, as `nohup` does, stay ignored.
pub fn install(wake: &EventFd) -> Result<(), Error> {
    let host = |source| Error::Host {
        what: "installing signal handlers".into(),
        source,
    };
    let _ = WAKE.set(wake.try_clone().map_err(host)?);
    for number in ENDING {
        note(number).map_err(host)?;
    }
    register(SIGRTMIN(), on_kick).map_err(host)
}

/// Calls `handler` at each signal `number` from now on.
pub fn register(number: i32, handler: SignalHandler) -> io::Result<()> {
    register_signal_handler(number, handler)
        .map_err(|error| io::Error::from_raw_os_error(error.errno()))
}

/// What is readable when the terminal has another size, until it is read. The signal that says so
/// interrupts neither this thread nor those that it starts from now on.
pub fn resizes() -> io::Result<File> {
    match signal::block_signal(libc::SIGWINCH) {
        // Whoever started us may have done it.
        Ok(()) | Err(signal::Error::SignalAlreadyBlocked(_)) => {}
        Err(error) => return Err(io::Error::other(error.to_string())),
    }
    let set = signal::create_sigset(&[libc::SIGWINCH])?;
    // SAFETY: the pointer is to a valid set of signals for the duration of the call.
    let descriptor = unsafe { libc::signalfd(-1, &set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else has it.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

/// Notes signal `number` from now on, unless it is ignored.
fn note(number: i32) -> io::Result<()> {
    if is_ignored(number)? {
        return Ok(());
    }
    register(number, on_ending)
}

fn is_ignored(number: i32) -> io::Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action the call changes nothing; the last pointer is to writable
    // memory of the size of a `sigaction`.
    let result = unsafe { libc::sigaction(number, std::ptr::null(), action.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call filled it, since it reported success.
    Ok(unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN)
}

/// The ending signal that has arrived, if one has.
pub fn arrived() -> Option<u8> {
    match ARRIVED.load(Ordering::SeqCst) {
        0 => None,
        number => Some(number),
    }
}

/// Takes signal `number` back if it is the last that has arrived, as if it had not. Gives whether
/// it was.
pub fn take(number: u8) -> bool {
    ARRIVED
        .compare_exchange(number, 0, Ordering::SeqCst, Ordering::SeqCst)
        .is_ok()
}

/// Interrupts the threads' system calls until all of them have ended, or until `give_up` says so.
/// Gives back whether they have.
///
/// The threads must check a stop flag, set before, each time they are interrupted. A signal that
/// arrives just before KVM_RUN has no effect, so it is repeated.
pub fn kick_until_ended<T>(threads: &[JoinHandle<T>], give_up: impl Fn() -> bool) -> bool {
    loop {
        let mut running = false;
        for thread in threads.iter().filter(|thread| !thread.is_finished()) {
            running = true;
            // It can fail only for a thread that has ended meanwhile.
            let _ = thread.kill(SIGRTMIN());
        }
        if !running {
            return true;
        }
        if give_up() {
            return false;
        }
        std::thread::sleep(PATIENCE);
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::io::Read;

    #[test]
    fn another_size_of_the_terminal_is_told_once() {
        let resizes = resizes().unwrap();
        let told = || (&resizes).read(&mut [0; 256]).is_ok();
        assert!(!told());
        for _ in 0..2 {
            // SAFETY: takes a number, and the signal is blocked in this thread.
            unsafe { libc::raise(libc::SIGWINCH) };
        }
        assert!(told() && !told());
    }

    #[test]
    fn a_signal_that_is_ignored_stays_so() {
        // SAFETY: no handler of ours is involved, and no other test uses this signal.
        unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) };
        note(libc::SIGUSR2).unwrap();
        assert!(is_ignored(libc::SIGUSR2).unwrap());
        assert!(!is_ignored(libc::SIGUSR1).unwrap());
    }
}
