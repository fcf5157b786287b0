// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes a tap interface of several queues that stays when this program has ended and belongs to root,
//! as `ip tuntap add NAME mode tap user root multi_queue` does where there is an `ip` that knows
//! taps. In the lab there is none.

use std::ffi::c_int;
use std::fs::File;
use std::io::{Error, Result};
use std::process::ExitCode;
use vmm_sys_util::ioctl::{ioctl_with_mut_ref, ioctl_with_val};
use vmm_sys_util::ioctl_iow_nr;

ioctl_iow_nr!(TUNSETIFF, b'T' as u32, 202, c_int);
ioctl_iow_nr!(TUNSETPERSIST, b'T' as u32, 203, c_int);
ioctl_iow_nr!(TUNSETOWNER, b'T' as u32, 204, c_int);

/// `struct ifreq` with flags.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: [u8; 2],
    rest: [u8; 22],
}

const _: () = assert!(size_of::<Request>() == size_of::<libc::ifreq>());

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        eprintln!("expected the name of an interface, found none");
        return ExitCode::from(2);
    };
    match make(&name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make(name: &str) -> Result<()> {
    let tun = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    let [low, high, ..] = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_MULTI_QUEUE).to_ne_bytes();
    let mut request = Request {
        name: [0; libc::IFNAMSIZ],
        flags: [low, high],
        rest: [0; 22],
    };
    for (place, byte) in request.name.iter_mut().zip(name.bytes()) {
        *place = byte;
    }
    // SAFETY: the kernel reads a `struct ifreq` and writes it back, which is laid out as `Request`
    // is and as large; any bytes are one.
    if unsafe { ioctl_with_mut_ref(&tun, TUNSETIFF(), &mut request) } < 0 {
        return Err(Error::last_os_error());
    }
    for (what, number) in [(TUNSETOWNER(), 0), (TUNSETPERSIST(), 1)] {
        // SAFETY: the requests take a number and no pointer.
        if unsafe { ioctl_with_val(&tun, what, number) } < 0 {
            return Err(Error::last_os_error());
        }
    }
    Ok(())
}
