// SPDX-License-Identifier: MIT OR Apache-2.0
//! The user's terminal: raw while the guest has it, and given back as it was.
//!
//! Spec: POSIX General Terminal Interface. It is given back when the guard is dropped, which
//! covers errors and signals (they end the run in good order), by a hook when a thread
//! panics, and before a denied system call ends the process. Output processing stays on, so that a guest's bare newline still starts a new line.

use std::mem::MaybeUninit;
use std::sync::{Mutex, Once, PoisonError};

static SAVED: Mutex<Option<libc::termios>> = Mutex::new(None);
static HOOK: Once = Once::new();

/// While it lives, standard input is raw, if it is a terminal of ours.
#[derive(Debug)]
pub struct RawTerminal(());

impl RawTerminal {
    /// Makes standard input raw. Does nothing if it is no terminal, or if another job has it.
    pub fn enter() -> Self {
        if let Some(before) = attributes() {
            let mut raw = before;
            raw.c_iflag &= !(libc::IGNBRK
                | libc::BRKINT
                | libc::PARMRK
                | libc::ISTRIP
                | libc::INLCR
                | libc::IGNCR
                | libc::ICRNL
                | libc::IXON);
            raw.c_lflag &= !(libc::ECHO | libc::ECHONL | libc::ICANON | libc::ISIG | libc::IEXTEN);
            raw.c_cc[libc::VMIN] = 1;
            raw.c_cc[libc::VTIME] = 0;
            *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
            HOOK.call_once(|| {
                let previous = std::panic::take_hook();
                std::panic::set_hook(Box::new(move |information| {
                    restore();
                    previous(information);
                }));
            });
            apply(&raw);
        }
        Self(())
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back without waiting for anybody, as a signal handler must.
pub fn give_back_at_once() {
    let saved = SAVED.try_lock().ok().and_then(|mut saved| saved.take());
    if let Some(before) = saved {
        apply(&before);
    }
}

fn restore() {
    let saved = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = saved {
        apply(&before);
    }
}

/// How standard input behaves, if it is a terminal whose foreground job we are.
fn attributes() -> Option<libc::termios> {
    // SAFETY: takes a descriptor number and touches no memory of ours.
    let foreground = unsafe { libc::tcgetpgrp(libc::STDIN_FILENO) };
    // SAFETY: takes nothing and touches no memory of ours.
    if foreground != unsafe { libc::getpgrp() } {
        return None;
    }
    let mut attributes = MaybeUninit::<libc::termios>::uninit();
    // SAFETY: the pointer is to writable memory of the size of a `termios`.
    let result = unsafe { libc::tcgetattr(libc::STDIN_FILENO, attributes.as_mut_ptr()) };
    // SAFETY: tcgetattr filled it, since it reported success.
    (result == 0).then(|| unsafe { attributes.assume_init() })
}

fn apply(attributes: &libc::termios) {
    // SAFETY: the pointer is to a valid `termios` for the duration of the call. Failure leaves
    // the terminal as it is, about which nothing can be done.
    unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, attributes) };
}
