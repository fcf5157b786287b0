// SPDX-License-Identifier: MIT OR Apache-2.0
//! Least privilege: what a thread may still ask of the host once the machine is complete.
//!
//! Spec: Linux `Documentation/userspace-api/seccomp_filter.rst` and `no_new_privs.rst`. In: what a
//! thread is for. Out: a filter that stays with it, and with the threads that it starts. A call
//! that the filter denies is named, and ends the process: a machine that is no longer what it was
//! built to be has no business going on.
//!
//! Nobody opens, connects or executes anything any more, starts a process, or makes memory
//! executable. The main thread, which no guest can drive, has its filter before there is another
//! thread: it permits what any of them needs, and each of them takes what it does not need away from
//! itself. The lists are made of what our own code asks for, and of what glibc and musl do on the
//! way.
//!
//! What this does not do: musl's way to signal a thread does not say whose it is, so that SIGABRT
//! (and from the main thread the kick) could go to another process of the user's. A Rust backtrace
//! is not on the lists: a panic that is to have one ends here, after its message, unless the user
//! takes the filters away. What is denied while the C library has all signals blocked, for a moment
//! at the start and the end of a thread, ends the process without a sentence.

mod denial;
mod program;
#[cfg(test)]
mod test;

use crate::Error;
use libc::c_long;
use program::{Limit, program};
use seccompiler::BpfProgram;
use std::io;
use std::sync::Arc;
use vmm_sys_util::signal::SIGRTMIN;

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Makes virtual machines and waits for their end; starts the others.
    Main,
    /// Runs a processor.
    Processor,
    /// Serves a queue of a virtio device.
    Device,
    /// Connects COM1 or a console with its far end.
    Console,
}

const ROLES: [Role; 4] = [Role::Main, Role::Processor, Role::Device, Role::Console];

/// What not every run needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Needs {
    /// It is measured.
    pub measured: bool,
    /// There is no firmware, and a processor begins, at each reset, where the monitor says.
    pub direct: bool,
}

/// Filters for the threads of a run, or none.
#[derive(Clone, Debug, Default)]
pub struct Confinement(Option<Arc<[BpfProgram; ROLES.len()]>>);

impl Confinement {
    /// One filter for each role, of a run with these needs. From now on a denied call is named, and ends
    /// the process.
    pub fn new(needs: Needs) -> Result<Self, Error> {
        let mut filters = [const { BpfProgram::new() }; ROLES.len()];
        for (filter, role) in filters.iter_mut().zip(ROLES) {
            let made = program(&calls(role, needs), &limits(role, needs)).map_err(io::Error::other);
            *filter = made.map_err(Error::host("making a seccomp filter"))?;
        }
        denial::announce().map_err(Error::host("installing a signal handler"))?;
        share_one_heap();
        Ok(Self(Some(Arc::new(filters))))
    }

    /// Confines the calling thread, and those that it starts, if there are filters.
    pub fn enter(&self, role: Role) -> io::Result<()> {
        let filter = self.0.as_ref().map(|filters| &filters[role as usize]);
        filter.map_or(Ok(()), |filter| {
            seccompiler::apply_filter(filter).map_err(io::Error::other)
        })
    }
}

/// glibc gives threads heaps of their own. For the ninth it wants to know how many processors the host
/// has, and before it makes one smaller whether the host overcommits memory, and opens files for that.
/// The threads here allocate so little that one heap does.
fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code)]
    {
        const MOST: libc::c_int = 1;
        // SAFETY: takes two numbers. glibc changes what it does next under a lock of its own.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, MOST) };
    }
}

/// What the memory allocator, locks, time, event counters, signals and the life of a thread take, and
/// its last words.
const ALL: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_read,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
];

/// What the main thread needs beside what the others do: a next virtual machine; the events that it
/// waits for; filters for others; and the path of a socket goes with the machine.
const MAIN: &[c_long] = &[
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd2,
    libc::SYS_lseek,
    libc::SYS_seccomp,
    libc::SYS_timerfd_settime,
    libc::SYS_unlink,
];

/// Files of `fw_cfg`; the far end of COM1; the clocks; a disk that its driver resets has to finish.
const PROCESSOR: &[c_long] = &[
    libc::SYS_io_uring_enter,
    libc::SYS_lseek,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_sendto,
    libc::SYS_timerfd_settime,
];

/// What wakes a queue; images. Rings are made before, and restricted to what a disk does.
const DEVICE: &[c_long] = &[
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_wait,
    libc::SYS_fallocate,
    libc::SYS_fdatasync,
    libc::SYS_io_uring_enter,
    libc::SYS_lseek,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
];

/// What is in guest memory. What the process has mapped is in a file that is open by then.
const MEASURING: &[c_long] = &[libc::SYS_mincore];

/// Far ends; the thread between a terminal and its guest.
const CONSOLE: &[c_long] = &[
    libc::SYS_accept4,
    #[cfg(target_env = "gnu")]
    libc::SYS_clone3, // what `SYS_clone` is to musl, but its flags are out of a filter's sight
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
];

/// An `ioctl` by the 16 bits that name it: its type and its number (`asm-generic/ioctl.h`).
type Request = u16;

const TCGETS: Request = 0x5401;
const TCSETS: Request = 0x5402;
const TIOCGWINSZ: Request = 0x5413;
const TCGETS2: Request = 0x542a;
const TCSETS2: Request = 0x542b;
const TUNSETOFFLOAD: Request = 0x54d0;
const TUNSETVNETHDRSZ: Request = 0x54d8;
const TUNSETQUEUE: Request = 0x54d9;
const KVM_CREATE_VM: Request = 0xae01;
const KVM_CHECK_EXTENSION: Request = 0xae03;
const KVM_GET_VCPU_MMAP_SIZE: Request = 0xae04;
const KVM_GET_SUPPORTED_CPUID: Request = 0xae05;
const KVM_CREATE_VCPU: Request = 0xae41;
const KVM_SET_USER_MEMORY_REGION: Request = 0xae46;
const KVM_SET_TSS_ADDR: Request = 0xae47;
const KVM_SET_IDENTITY_MAP_ADDR: Request = 0xae48;
const KVM_CREATE_IRQCHIP: Request = 0xae60;
const KVM_IRQ_LINE: Request = 0xae61;
const KVM_GET_IRQCHIP: Request = 0xae62;
const KVM_REGISTER_COALESCED_MMIO: Request = 0xae67;
const KVM_SET_GSI_ROUTING: Request = 0xae6a;
const KVM_IRQFD: Request = 0xae76;
const KVM_CREATE_PIT2: Request = 0xae77;
const KVM_IOEVENTFD: Request = 0xae79;
const KVM_RUN: Request = 0xae80;
const KVM_GET_REGS: Request = 0xae81;
const KVM_SET_REGS: Request = 0xae82;
const KVM_GET_SREGS: Request = 0xae83;
const KVM_SET_SREGS: Request = 0xae84;
const KVM_TRANSLATE: Request = 0xae85;
const KVM_INTERRUPT: Request = 0xae86;
const KVM_SET_MSRS: Request = 0xae89;
const KVM_SET_CPUID2: Request = 0xae90;
const KVM_SET_GUEST_DEBUG: Request = 0xae9b;
/// Of a processor KVM_GET_TSC_KHZ.
const KVM_ENABLE_CAP: Request = 0xaea3;
const KVM_SIGNAL_MSI: Request = 0xaea5;

/// Whoever panics, or is denied something, gives the terminal back.
const ALL_REQUESTS: &[Request] = &[TCSETS, TCSETS2];

/// A virtual machine.
const MAIN_REQUESTS: &[Request] = &[
    KVM_CHECK_EXTENSION,
    KVM_CREATE_IRQCHIP,
    KVM_CREATE_PIT2,
    KVM_CREATE_VCPU,
    KVM_CREATE_VM,
    KVM_ENABLE_CAP,
    KVM_GET_IRQCHIP,
    KVM_GET_SUPPORTED_CPUID,
    KVM_GET_VCPU_MMAP_SIZE,
    KVM_IOEVENTFD,
    KVM_IRQFD,
    KVM_IRQ_LINE,
    KVM_REGISTER_COALESCED_MMIO,
    KVM_SET_CPUID2,
    KVM_SET_IDENTITY_MAP_ADDR,
    KVM_SET_TSS_ADDR,
    KVM_SET_USER_MEMORY_REGION,
];

/// The most frequent one first; where a processor is that cannot go on; a device that its driver
/// resets or sets up.
const PROCESSOR_REQUESTS: &[Request] = &[
    KVM_RUN,
    KVM_SIGNAL_MSI,
    KVM_INTERRUPT,
    KVM_SET_GSI_ROUTING,
    KVM_GET_REGS,
    KVM_GET_SREGS,
    KVM_TRANSLATE,
    TUNSETOFFLOAD,
    TUNSETVNETHDRSZ,
    TUNSETQUEUE,
];

/// An interrupt; what the driver of a network device uses of it, which before version 1 may be told by
/// its first access to a queue.
const DEVICE_REQUESTS: &[Request] = &[KVM_SIGNAL_MSI, TUNSETOFFLOAD, TUNSETVNETHDRSZ, TUNSETQUEUE];

/// An interrupt; whether something is a terminal, and how large. Not TIOCSTI, which types for the
/// user.
const CONSOLE_REQUESTS: &[Request] = &[KVM_SIGNAL_MSI, TCGETS, TCGETS2, TIOCGWINSZ];

/// A breakpoint that has been hit is taken off.
const MEASURING_REQUESTS: &[Request] = &[KVM_SET_GUEST_DEBUG];

/// A processor that begins with the kernel.
const BEGINNING_REQUESTS: &[Request] = &[KVM_SET_MSRS, KVM_SET_REGS, KVM_SET_SREGS];

/// The calls that `role` may make, whatever their arguments.
fn calls(role: Role, needs: Needs) -> Vec<u32> {
    let own: &[&[c_long]] = match role {
        Role::Main => &[MAIN, PROCESSOR, DEVICE, CONSOLE],
        Role::Processor => &[PROCESSOR],
        Role::Device => &[DEVICE],
        Role::Console => &[CONSOLE],
    };
    let looks = needs.measured && matches!(role, Role::Main | Role::Processor);
    let measuring: &[_] = if looks { MEASURING } else { &[] };
    let calls = ALL.iter().chain(own.iter().copied().flatten());
    let calls = calls.chain(measuring);
    // Numbers of calls are small.
    distinct(calls.filter_map(|call| u32::try_from(*call).ok()))
}

/// The requests that it may make.
fn requests(role: Role, needs: Needs) -> Vec<u32> {
    let own: &[&[Request]] = match role {
        Role::Main => &[
            PROCESSOR_REQUESTS,
            MAIN_REQUESTS,
            DEVICE_REQUESTS,
            CONSOLE_REQUESTS,
        ],
        Role::Processor => &[PROCESSOR_REQUESTS],
        Role::Device => &[DEVICE_REQUESTS],
        Role::Console => &[CONSOLE_REQUESTS],
    };
    let looks = needs.measured && matches!(role, Role::Main | Role::Processor);
    let measuring: &[_] = if looks { MEASURING_REQUESTS } else { &[] };
    let requests = own.iter().copied().flatten().chain(ALL_REQUESTS);
    let begins = needs.direct && role == Role::Main;
    let beginning: &[_] = if begins { BEGINNING_REQUESTS } else { &[] };
    let requests = requests.chain(measuring).chain(beginning);
    distinct(requests.map(|request| (*request).into()))
}

/// Each of them once.
fn distinct(all: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut seen = Vec::with_capacity(64);
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}

/// The calls that `role` may make with some arguments only.
fn limits(role: Role, needs: Needs) -> Vec<Limit> {
    const WHOLE: u32 = u32::MAX;
    let limit = |call: c_long, index, mask, values| Limit {
        call: u32::try_from(call).unwrap_or(u32::MAX),
        index,
        mask,
        values,
    };
    let executable = libc::PROT_EXEC.cast_unsigned();
    let mut limits = vec![
        limit(
            libc::SYS_ioctl,
            1,
            Request::MAX.into(),
            requests(role, needs),
        ),
        limit(libc::SYS_mmap, 2, executable, vec![0]),
        limit(libc::SYS_mprotect, 2, executable, vec![0]),
        limit(libc::SYS_tgkill, 0, WHOLE, vec![std::process::id()]),
    ];
    let mut names = vec![libc::PR_SET_NAME, libc::PR_GET_NAME];
    let mut signals = vec![libc::SIGABRT];
    if role == Role::Main {
        // Gets processors out of the guest.
        signals.push(SIGRTMIN());
        // A thread that it starts confines itself further.
        names.push(libc::PR_SET_NO_NEW_PRIVS);
        // musl does both for the first.
        let duplicate = [libc::F_DUPFD_CLOEXEC, libc::F_SETFD].map(i32::cast_unsigned);
        limits.push(limit(libc::SYS_fcntl, 1, WHOLE, duplicate.into()));
    }
    let names = names.into_iter().map(i32::cast_unsigned).collect();
    limits.push(limit(libc::SYS_prctl, 0, WHOLE, names));
    // musl signals threads without saying whose they are.
    let signals = signals.into_iter().map(i32::cast_unsigned).collect();
    limits.push(limit(libc::SYS_tkill, 1, WHOLE, signals));
    if matches!(role, Role::Main | Role::Console) {
        let thread = libc::CLONE_THREAD.cast_unsigned();
        limits.push(limit(libc::SYS_clone, 0, thread, vec![thread]));
    }
    limits
}
