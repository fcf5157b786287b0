// SPDX-License-Identifier: MIT OR Apache-2.0
//! A tap: a network interface of the host whose wire ends in this process.
//!
//! Spec: Linux `Documentation/networking/tuntap.rst` and `linux/if_tun.h`. The interface has to
//! exist; who made it says whom it belongs to, and has given it its addresses.

use super::{HEADER, Wire};
use crate::config::Net;
use crate::devices::bus::lock;
use abi::virtio::net::{F_GUEST_CSUM, F_GUEST_ECN, F_GUEST_TSO4, F_GUEST_TSO6};
use libc::{
    IFF_ATTACH_QUEUE, IFF_DETACH_QUEUE, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_TAP, IFF_VNET_HDR,
    IFNAMSIZ, TUN_F_CSUM, TUN_F_TSO_ECN, TUN_F_TSO4, TUN_F_TSO6, c_int, c_short, c_uint, c_ulong,
    ifreq,
};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Mutex;
use vmm_sys_util::ioctl::{ioctl_with_mut_ref, ioctl_with_ref, ioctl_with_val};
use vmm_sys_util::ioctl_iow_nr;

/// Where taps come from.
const DEVICE: &str = "/dev/net/tun";

const TUN: c_uint = b'T' as c_uint;
ioctl_iow_nr!(TUNSETIFF, TUN, 202, c_int);
ioctl_iow_nr!(TUNSETOFFLOAD, TUN, 208, c_uint);
ioctl_iow_nr!(TUNSETVNETHDRSZ, TUN, 216, c_int);
ioctl_iow_nr!(TUNSETQUEUE, TUN, 217, c_int);

/// Why there is no wire.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host has no taps, or not for this user.
    #[error("tap {name}: opening {DEVICE}: {source}")]
    Open {
        /// The interface.
        name: String,
        /// The host's words.
        source: io::Error,
    },
    /// Nothing of this name.
    #[error("tap {0}: expected a tap interface of the host, found no interface of this name")]
    Missing(String),
    /// Another kind of interface, or one that has not as many queues.
    #[error("tap {name}: expected a tap interface{with}, found an interface that is none")]
    Kind {
        /// The interface.
        name: String,
        /// What it needs.
        with: &'static str,
    },
    /// Not this user's.
    #[error(
        "tap {0}: expected an interface that belongs to this user or group, found that the host \
         does not permit its use"
    )]
    Forbidden(String),
    /// Somebody else has it.
    #[error("tap {0}: expected nobody else to use it, found it in use by another program")]
    Taken(String),
    /// The host refuses something else.
    #[error("tap {name}: {step}: {source}")]
    Refused {
        /// The interface.
        name: String,
        /// What was asked of the host.
        step: &'static str,
        /// The host's words.
        source: io::Error,
    },
}

/// What the host wants to know of an interface: `struct ifreq` with flags.
#[repr(C)]
struct Request {
    name: [u8; IFNAMSIZ],
    flags: c_short,
    rest: [u8; 22],
}

const _: () = assert!(size_of::<Request>() == size_of::<ifreq>());

impl Request {
    fn new(name: &str, flags: c_int) -> Self {
        let mut request = Self {
            name: [0; IFNAMSIZ],
            // The host has no flags above these 16 bits there.
            flags: c_short::from_le_bytes([flags.to_le_bytes()[0], flags.to_le_bytes()[1]]),
            rest: [0; 22],
        };
        // With an end: the last byte stays 0.
        let place = request.name.iter_mut().take(IFNAMSIZ - 1);
        for (place, byte) in place.zip(name.bytes()) {
            *place = byte;
        }
        request
    }
}

/// An open tap.
#[derive(Debug)]
pub struct Tap {
    /// One for each queue.
    ends: Vec<File>,
    /// How many of them the host gives frames to.
    connected: Mutex<usize>,
    /// Bytes of the header before each frame.
    header: Mutex<usize>,
}

impl Tap {
    /// Opens the tap of `net`.
    pub fn open(net: &Net) -> Result<Self, Error> {
        let name = &net.tap;
        if !exists(name) {
            return Err(Error::Missing(name.clone()));
        }
        let mut ends = Vec::new();
        for _ in 0..net.queues {
            let end = open().map_err(|source| Error::Open {
                name: name.clone(),
                source,
            })?;
            attach(&end, name, net.queues > 1).map_err(|source| refusal(net, source))?;
            ends.push(end);
        }
        if let Some(first) = ends.first() {
            let refused = |step| {
                let name = name.clone();
                move |source| Error::Refused { name, step, source }
            };
            set_header_size(first, HEADER).map_err(refused("setting the size of its headers"))?;
            set_offload(first, 0).map_err(refused("setting what it leaves to the guest"))?;
        }
        let connected = Mutex::new(ends.len());
        Ok(Self {
            ends,
            connected,
            header: Mutex::new(HEADER),
        })
    }
}

impl Wire for Tap {
    fn ends(&self) -> &[File] {
        &self.ends
    }

    fn offload(&self, features: u64) -> io::Result<()> {
        self.ends
            .first()
            .map_or(Ok(()), |first| set_offload(first, offload(features)))
    }

    fn cut(&self, header: usize) -> io::Result<()> {
        let mut now = lock(&self.header);
        if let Some(first) = self.ends.first().filter(|_| *now != header) {
            set_header_size(first, header)?;
            *now = header;
        }
        Ok(())
    }

    fn connect(&self, pairs: u16) -> io::Result<()> {
        let mut connected = lock(&self.connected);
        let wanted = usize::from(pairs).clamp(1, self.ends.len().max(1));
        while *connected != wanted {
            let more = *connected < wanted;
            let index = if more { *connected } else { *connected - 1 };
            if let Some(end) = self.ends.get(index) {
                set_queue(end, more)?;
            }
            *connected = if more { index + 1 } else { index };
        }
        Ok(())
    }
}

/// What the host may leave to a driver with these features. One needs another (section 5.1.3.1).
fn offload(features: u64) -> c_uint {
    let has = |feature, flag| if features & feature == 0 { 0 } else { flag };
    let checksum = has(F_GUEST_CSUM, TUN_F_CSUM);
    if checksum == 0 {
        return 0;
    }
    let segments = has(F_GUEST_TSO4, TUN_F_TSO4) | has(F_GUEST_TSO6, TUN_F_TSO6);
    if segments == 0 {
        return checksum;
    }
    checksum | segments | has(F_GUEST_ECN, TUN_F_TSO_ECN)
}

/// Why an end of the tap of `net` cannot be had.
fn refusal(net: &Net, source: io::Error) -> Error {
    let name = net.tap.clone();
    match source.raw_os_error() {
        Some(libc::EINVAL) => Error::Kind {
            name,
            with: if net.queues > 1 {
                " made with multi_queue"
            } else {
                ""
            },
        },
        Some(libc::EPERM) => Error::Forbidden(name),
        Some(libc::EBUSY) => Error::Taken(name),
        _ => Error::Refused {
            name,
            step: "connecting to it",
            source,
        },
    }
}

fn open() -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(DEVICE)
}

/// Whether there is an interface of this name. Without one the host would make it.
fn exists(name: &str) -> bool {
    let Ok(name) = CString::new(name) else {
        return false;
    };
    // SAFETY: the name is a string with an end that outlives the call, which keeps nothing of it.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    index != 0
}

/// Makes `end` a queue of the tap, if `several` one of many. One of many may be the only one.
fn attach(end: &File, name: &str, several: bool) -> io::Result<()> {
    let one = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    let request = |flags| {
        let mut request = Request::new(name, flags);
        // SAFETY: the kernel reads a `struct ifreq` and writes it back, which is laid out as
        // `Request` is and as large; any bytes are one.
        ask(unsafe { ioctl_with_mut_ref(end, TUNSETIFF(), &mut request) })
    };
    match request(if several { one | IFF_MULTI_QUEUE } else { one }) {
        Err(error) if !several && error.raw_os_error() == Some(libc::EINVAL) => {
            request(one | IFF_MULTI_QUEUE)
        }
        result => result,
    }
}

fn set_header_size(end: &File, bytes: usize) -> io::Result<()> {
    let size = c_int::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: the request reads an `int`, which outlives the call.
    ask(unsafe { ioctl_with_ref(end, TUNSETVNETHDRSZ(), &size) })
}

fn set_offload(end: &File, flags: c_uint) -> io::Result<()> {
    // SAFETY: the request takes a number and no pointer.
    ask(unsafe { ioctl_with_val(end, TUNSETOFFLOAD(), c_ulong::from(flags)) })
}

/// Has the host give frames to this end, or not any more.
fn set_queue(end: &File, attached: bool) -> io::Result<()> {
    let flag = if attached {
        IFF_ATTACH_QUEUE
    } else {
        IFF_DETACH_QUEUE
    };
    let request = Request::new("", flag);
    // SAFETY: the request reads a `struct ifreq`, as which `Request` is laid out and as large.
    ask(unsafe { ioctl_with_ref(end, TUNSETQUEUE(), &request) })
}

fn ask(result: c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn net(queues: u16) -> Net {
        Net {
            tap: "tap0".into(),
            mac: None,
            queues,
        }
    }

    #[test]
    fn an_interface_that_is_not_there_is_not_made() {
        let name = "qb-nowhere".to_owned();
        let sentence = Tap::open(&Net {
            tap: name,
            ..net(1)
        })
        .unwrap_err()
        .to_string();
        let expected = "tap qb-nowhere: expected a tap interface of the host, found no";
        assert!(sentence.starts_with(expected), "{sentence}");
        assert!(!exists("qb-nowhere") && !exists("a\0b") && exists("lo"));
    }

    #[test]
    fn what_the_host_refuses_has_its_sentence() {
        for (queues, code, words) in [
            (1, libc::EINVAL, "expected a tap interface, found an"),
            (
                2,
                libc::EINVAL,
                "expected a tap interface made with multi_queue, found an",
            ),
            (
                1,
                libc::EPERM,
                "belongs to this user or group, found that the host does not permit",
            ),
            (1, libc::EBUSY, "found it in use by another program"),
            (1, libc::EBADFD, "connecting to it: "),
        ] {
            let sentence = refusal(&net(queues), io::Error::from_raw_os_error(code)).to_string();
            assert!(
                sentence.starts_with("tap tap0: ") && sentence.contains(words),
                "{sentence}"
            );
        }
    }

    #[test]
    fn what_a_driver_did_not_agree_to_or_lacks_the_base_for_is_not_left_to_it() {
        let all = F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6 | F_GUEST_ECN;
        assert_eq!(offload(all), 0xf);
        assert_eq!(offload(all & !F_GUEST_CSUM), 0);
        assert_eq!(offload(F_GUEST_CSUM | F_GUEST_ECN), 1);
        assert_eq!(offload(F_GUEST_CSUM | F_GUEST_TSO6), 5);
        assert_eq!(offload(0), 0);
    }

    #[test]
    fn a_request_holds_a_name_and_flags() {
        let request = Request::new("a-name-of-sixteen", IFF_TAP | IFF_VNET_HDR);
        assert_eq!(&request.name, b"a-name-of-sixte\0");
        assert_eq!(request.flags, 0x4002);
        assert_eq!(request.rest, [0; 22]);
    }
}
