// SPDX-License-Identifier: MIT OR Apache-2.0
//! Getting one processor out of the guest, once and without losing it.
//!
//! Spec: Linux `Documentation/virt/kvm/api.rst`, `immediate_exit` in "The kvm_run structure".

use super::Error;
use kvm_bindings::kvm_run;
use std::mem::offset_of;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use vmm_sys_util::errno;
use vmm_sys_util::signal::SIGRTMIN;

/// Large enough for the fixed part of `kvm_run`, of which it is the start.
const SIZE: usize = 4096;
const _: () = assert!(offset_of!(kvm_run, immediate_exit) < SIZE);

/// A view of a processor's `kvm_run`, and the thread that runs it.
#[derive(Debug)]
struct View {
    start: *mut libc::c_void,
    /// 0 while there is none.
    thread: AtomicI32,
}

// SAFETY: `start` is used in `immediate_exit` only, which gives an atomic; the mapping belongs to no
// thread.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    fn immediate_exit(&self) -> &AtomicU8 {
        let byte = self.start.cast::<u8>();
        let byte = byte.wrapping_add(offset_of!(kvm_run, immediate_exit));
        // SAFETY: the mapping is `SIZE` bytes of readable and writable memory until `self` is
        // dropped, which the lifetime of the result does not outlive; the byte lies inside, as
        // asserted above, and has no alignment. All of Rust accesses it through this atomic, or,
        // for the same page mapped elsewhere, the kernel does.
        unsafe { AtomicU8::from_ptr(byte) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `Kick::new` made, to which no reference is left.
        unsafe { libc::munmap(self.start, SIZE) };
    }
}

/// The way to kick a processor.
#[derive(Clone, Debug)]
pub struct Kick(Arc<View>);

impl Kick {
    /// For the processor with this descriptor.
    pub(super) fn new(processor: &impl AsRawFd) -> Result<Self, Error> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                processor.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(Error::Capability {
                capability: "KVM_CAP_IMMEDIATE_EXIT",
                step: "mapping a processor's kvm_run",
                source: errno::Error::last(),
            });
        }
        Ok(Self(Arc::new(View {
            start,
            thread: AtomicI32::new(0),
        })))
    }

    /// The calling thread is the one that runs the processor.
    pub(super) fn here(&self) {
        // SAFETY: the call has no arguments and always succeeds.
        let thread = unsafe { libc::gettid() };
        self.0.thread.store(thread, Ordering::SeqCst);
    }

    /// Kicks from before have had their effect. What the kicker wanted must be looked up after.
    pub(super) fn taken(&self) {
        self.0.immediate_exit().store(0, Ordering::SeqCst);
    }

    /// The processor leaves the guest, or does not enter it the next time.
    pub fn kick(&self) {
        self.0.immediate_exit().store(1, Ordering::SeqCst);
        let thread = self.0.thread.load(Ordering::SeqCst);
        if thread != 0 {
            let process = std::process::id();
            // SAFETY: the call takes numbers. If the thread has ended, the number is nobody's, or
            // that of another thread of this process, whose handler does nothing.
            unsafe { libc::syscall(libc::SYS_tgkill, process, thread, SIGRTMIN()) };
        }
    }
}
