// SPDX-License-Identifier: MIT OR Apache-2.0
//! What filters permit: by their programs, and by the kernel, in processes of their own.

#![allow(unsafe_code)] // calls that are to be denied

use super::program::{Limit, program};
use super::{Confinement, Needs, ROLES, Role, calls, limits};
use libc::c_long;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

/// More than there are calls.
const NUMBERS: u32 = 600;

/// `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_I386`.
const NATIVE: u32 = 0xc000_003e;
const FOREIGN: u32 = 0x4000_0003;

/// What `filter` says of a call: the packet filter machine, as far as filters here use it.
fn verdict(filter: &[seccompiler::sock_filter], arch: u32, call: u32, args: [u64; 6]) -> u32 {
    let (mut next, mut loaded) = (0, 0);
    loop {
        let seccompiler::sock_filter { code, jt, jf, k } = &filter[next];
        next += 1;
        match u32::from(*code) {
            0x20 => {
                loaded = match *k {
                    0 => call,
                    4 => arch,
                    offset => {
                        let bytes: Vec<u8> = args.iter().flat_map(|it| it.to_le_bytes()).collect();
                        let start = offset as usize - size_of::<u64>() * 2;
                        u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap())
                    }
                }
            }
            0x54 => loaded &= k,
            0x15 => next += usize::from(if loaded == *k { *jt } else { *jf }),
            0x06 => return *k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn permits(role: Role, call: c_long, args: [u64; 6]) -> bool {
    let filter = program(
        &calls(role, Needs::default()),
        &limits(role, Needs::default()),
    )
    .unwrap();
    verdict(&filter, NATIVE, u32::try_from(call).unwrap(), args) == libc::SECCOMP_RET_ALLOW
}

#[test]
fn a_program_permits_what_it_is_made_of_and_nothing_else() {
    let limit = |call, index, mask, values: &[u32]| Limit {
        call,
        index,
        mask,
        values: values.into(),
    };
    let limits = [limit(7, 1, 0xff, &[3, 5]), limit(9, 5, 4, &[0])];
    let filter = program(&[1, 2, 500], &limits).unwrap();
    for call in 0..NUMBERS {
        for value in [0, 3, 4, 5, 0x103, 0x7_0000_0005] {
            let low = value & 0xff;
            let permitted = match call {
                1 | 2 | 500 => true,
                7 => low == 3 || low == 5,
                9 => low & 4 == 0,
                _ => false,
            };
            let args = [1, value, 1, 1, 1, value];
            let expected = if permitted {
                libc::SECCOMP_RET_ALLOW
            } else {
                libc::SECCOMP_RET_TRAP
            };
            assert_eq!(
                verdict(&filter, NATIVE, call, args),
                expected,
                "{call} {value}"
            );
            let killed = libc::SECCOMP_RET_KILL_PROCESS;
            assert_eq!(verdict(&filter, FOREIGN, call, args), killed);
        }
    }
}

#[test]
fn a_list_that_is_too_long_to_jump_over_is_refused() {
    let calls: Vec<_> = (0..300).collect();
    assert!(program(&calls, &[]).is_err());
    assert!(program(&calls[..200], &[]).is_ok());
}

/// The main thread's filter stays with all threads, so what it denies nobody can be permitted.
#[test]
fn the_main_thread_may_do_what_any_thread_may() {
    for role in ROLES {
        for call in calls(role, Needs::default()) {
            assert!(permits(Role::Main, call.into(), [0; 6]), "{role:?} {call}");
        }
        for limit in limits(role, Needs::default()) {
            for value in &limit.values {
                let mut args = [0; 6];
                args[limit.index] = (*value).into();
                let call = limit.call.into();
                assert!(permits(role, call, args), "{role:?} {call} {value:#x}");
                assert!(permits(Role::Main, call, args), "{call} {value:#x}");
            }
        }
    }
}

#[test]
fn nobody_opens_connects_or_executes() {
    let denied = [
        libc::SYS_open,
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_creat,
        libc::SYS_socket,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_fork,
        libc::SYS_vfork,
        libc::SYS_kill,
        libc::SYS_ptrace,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        libc::SYS_mount,
        libc::SYS_chmod,
        libc::SYS_rename,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_memfd_create,
        libc::SYS_pkey_mprotect,
        libc::SYS_shmat,
        libc::SYS_setuid,
        libc::SYS_unshare,
    ];
    for role in ROLES {
        for call in denied {
            assert!(!permits(role, call, [0; 6]), "{role:?} {call}");
        }
        let mine = u64::from(std::process::id());
        let kill = |call, args| permits(role, call, args);
        assert!(kill(libc::SYS_tgkill, [mine, 1, 9, 0, 0, 0]));
        assert!(!kill(libc::SYS_tgkill, [mine + 1, 1, 9, 0, 0, 0]));
        assert!(!kill(libc::SYS_tkill, [1, 9, 0, 0, 0, 0]));
    }
}

#[test]
fn who_a_guest_can_drive_starts_no_thread_and_makes_no_machine() {
    let thread = [libc::CLONE_THREAD as u64, 0, 0, 0, 0, 0];
    let process = [0; 6];
    for (role, starts) in [
        (Role::Main, true),
        (Role::Processor, false),
        (Role::Device, false),
        (Role::Console, true),
    ] {
        assert_eq!(permits(role, libc::SYS_clone, thread), starts);
        assert!(!permits(role, libc::SYS_clone, process));
        let makes = permits(role, libc::SYS_ioctl, [0, 0xae01, 0, 0, 0, 0]);
        assert_eq!(makes, role == Role::Main);
        let runs = permits(role, libc::SYS_ioctl, [0, 0xae80, 0, 0, 0, 0]);
        assert_eq!(runs, matches!(role, Role::Main | Role::Processor));
    }
}

/// Names the role that a test, started once more, is to play.
const PLAY: &str = "QBOOT_RS_TEST_CONFINED_AS";

/// The status of a process whose thread has panicked.
const PANICKED: i32 = 1;

/// Runs `test` once more, in a process that confines itself as `role` is, works, and makes `call`.
fn denied(test: &str, role: Role, call: impl FnOnce() + Send) -> Option<Output> {
    if std::env::var_os(PLAY).is_none() {
        let again = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "--test-threads=1"])
            .arg(format!("confine::test::{test}"))
            .env(PLAY, "")
            .env_remove("RUST_BACKTRACE")
            .output();
        return Some(again.unwrap());
    }
    // As in a machine: first as the main thread is, then in a thread of its own as `role` is.
    let (mut far, mut near) = std::io::pipe().unwrap();
    let confinement = Confinement::new(Needs::default()).unwrap();
    let thread = std::thread::Builder::new().name("confined".into());
    let ends = std::thread::scope(|scope| {
        confinement.enter(Role::Main).unwrap();
        let run = || {
            if role != Role::Main {
                confinement.enter(role).unwrap();
            }
            // A large block is a mapping of its own.
            let block = vec![1; 4 << 20];
            near.write_all(&block[..1]).unwrap();
            far.read_exact(&mut [0]).unwrap();
            eprintln!("works");
            call();
            eprintln!("goes on");
        };
        thread.spawn_scoped(scope, run).unwrap().join().is_ok()
    });
    // The test harness is not confined to what a machine does.
    std::process::exit(if ends { 0 } else { PANICKED });
}

fn expect(output: Option<Output>, sentence: &str) {
    let Some(output) = output else { return };
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let (before, after) = errors.split_once("works\n").expect(&errors);
    assert!(!before.contains("denied"), "{errors}");
    let said = format!("microvm: seccomp: thread confined is denied {sentence}");
    assert!(after.starts_with(&said), "{errors}");
    assert_eq!(after.lines().count(), 1, "{errors}");
    let status = output.status;
    assert_eq!((status.code(), status.signal()), (Some(159), None));
}

/// Makes a call with these arguments.
fn ask(call: c_long, args: [c_long; 3]) -> impl FnOnce() + Send {
    move || {
        // SAFETY: the filter denies the call, which therefore does nothing; if it did not, the
        // arguments are such that it fails, or changes nothing of this process's memory.
        unsafe { libc::syscall(call, args[0], args[1], args[2]) };
    }
}

#[test]
fn a_main_thread_that_opens_is_named() {
    let open = || drop(std::fs::File::open("/dev/null"));
    let output = denied("a_main_thread_that_opens_is_named", Role::Main, open);
    expect(output, "open");
}

#[test]
fn a_processor_that_starts_a_process_is_named() {
    let test = "a_processor_that_starts_a_process_is_named";
    let output = denied(test, Role::Processor, ask(libc::SYS_clone, [0, 0, 0]));
    expect(output, "clone(0x0, 0x0, 0x0)\n");
}

/// The library has all signals blocked then: the kernel ends the process, and nobody can say why.
#[test]
fn a_processor_that_starts_a_thread_is_ended() {
    let test = "a_processor_that_starts_a_thread_is_ended";
    let spawn = || drop(std::thread::spawn(|| {}));
    if let Some(output) = denied(test, Role::Processor, spawn) {
        assert_eq!(output.status.signal(), Some(libc::SIGSYS));
        assert!(output.stderr.ends_with(b"works\n"));
    }
}

#[test]
fn a_processor_that_makes_a_virtual_machine_is_named() {
    let test = "a_processor_that_makes_a_virtual_machine_is_named";
    let create = ask(libc::SYS_ioctl, [-1, 0xae01, 0x55]);
    let output = denied(test, Role::Processor, create);
    expect(output, "ioctl(0xffffffffffffffff, 0xae01, 0x55)\n");
}

#[test]
fn a_device_that_makes_memory_executable_is_named() {
    let test = "a_device_that_makes_memory_executable_is_named";
    let protection = libc::PROT_READ | libc::PROT_EXEC;
    let protect = ask(libc::SYS_mprotect, [0, 0, protection.into()]);
    expect(
        denied(test, Role::Device, protect),
        "mprotect(0x0, 0x0, 0x5)\n",
    );
}

#[test]
fn a_console_that_types_for_the_user_is_named() {
    let test = "a_console_that_types_for_the_user_is_named";
    let request = c_long::try_from(libc::TIOCSTI).unwrap();
    let output = denied(test, Role::Console, ask(libc::SYS_ioctl, [-1, request, 0]));
    expect(output, "ioctl(0xffffffffffffffff, 0x5412, 0x0)\n");
}

#[test]
fn a_call_that_nobody_has_named_yet_is_told_by_its_number() {
    let test = "a_call_that_nobody_has_named_yet_is_told_by_its_number";
    expect(
        denied(test, Role::Console, ask(999, [1, 2, 3])),
        "system call 999(0x1, 0x2, 0x3)\n",
    );
}

#[test]
fn a_panic_has_its_message() {
    let test = "a_panic_has_its_message";
    let Some(output) = denied(test, Role::Device, || panic!("for once")) else {
        return;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("for once"), "{errors}");
    assert!(!errors.contains("denied"), "{errors}");
    assert_eq!(output.status.code(), Some(PANICKED), "{errors}");
}
