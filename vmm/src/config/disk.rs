// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--disk`: a virtio block device.

use super::{Error, words};
use abi::virtio::blk::ID_BYTES;
use std::path::PathBuf;

/// Most queues of a disk. Each has a thread.
pub const MAX_DISK_QUEUES: u16 = 64;

/// How a disk's data goes to and from the host.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Aio {
    /// By io_uring where the kernel has it, and otherwise by the threads of the queues.
    #[default]
    Auto,
    /// By io_uring: the host does many requests of a queue at once.
    IoUring,
    /// By the thread of each queue, one request after the other.
    Threads,
}

/// A virtio block device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Disk {
    /// Its image: a file or a block device.
    pub path: PathBuf,
    /// Whether the guest can only read it.
    pub read_only: bool,
    /// Whether the host's page cache is left out.
    pub direct: bool,
    /// How its data goes to and from the host.
    pub aio: Aio,
    /// What it says who it is: at most 20 bytes.
    pub serial: String,
    /// Queues: at least one.
    pub queues: u16,
    /// Its place in the order in which firmware tries what it could boot.
    pub boot_index: Option<u32>,
}

/// Reads `path=FILE` and the other words about a disk.
pub fn parse_disk(text: &str) -> Result<Disk, Error> {
    let refuse = || Error::Disk(text.into());
    let mut disk = Disk {
        path: PathBuf::new(),
        read_only: false,
        direct: false,
        aio: Aio::Auto,
        serial: String::new(),
        queues: 1,
        boot_index: None,
    };
    for (key, value) in words::settings(text).ok_or_else(refuse)? {
        let switch = || words::switch(&value).ok_or_else(refuse);
        match key.as_str() {
            "path" if !value.is_empty() => disk.path = PathBuf::from(&value),
            "readonly" => disk.read_only = switch()?,
            "direct" => disk.direct = switch()?,
            "aio" => {
                disk.aio = match value.as_str() {
                    "auto" => Aio::Auto,
                    "io_uring" => Aio::IoUring,
                    "threads" => Aio::Threads,
                    _ => return Err(refuse()),
                }
            }
            "serial" if value.len() <= ID_BYTES && value.bytes().all(|b| b.is_ascii_graphic()) => {
                disk.serial.clone_from(&value);
            }
            "queues" => disk.queues = words::count(&value, MAX_DISK_QUEUES).ok_or_else(refuse)?,
            "bootindex" => disk.boot_index = Some(value.parse().map_err(|_| refuse())?),
            _ => return Err(refuse()),
        }
    }
    if disk.path.as_os_str().is_empty() {
        return Err(refuse());
    }
    Ok(disk)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_disk_is_what_its_words_say() {
        let disk = parse_disk("path=a,,b=c").unwrap();
        assert_eq!(disk.path, PathBuf::from("a,b=c"));
        assert_eq!(
            (disk.read_only, disk.direct, disk.queues, disk.aio),
            (false, false, 1, Aio::Auto)
        );
        for (word, aio) in [
            ("auto", Aio::Auto),
            ("io_uring", Aio::IoUring),
            ("threads", Aio::Threads),
        ] {
            assert_eq!(parse_disk(&format!("path=x,aio={word}")).unwrap().aio, aio);
        }
        let disk = parse_disk(
            "serial=12345678901234567890,queues=64,bootindex=7,direct=on,path=x,readonly=on",
        )
        .unwrap();
        assert_eq!(disk.boot_index, Some(7));
        assert_eq!(disk.serial.len(), 20);
        assert!(disk.read_only && disk.direct && disk.queues == 64);
    }

    #[test]
    fn words_about_a_disk_that_nobody_knows_are_refused_with_those_that_are() {
        for text in [
            "",
            "x",
            "path=",
            "readonly=on",
            "path=x,",
            "path=x,readonly",
            "path=x,readonly=yes",
            "path=x,queues=0",
            "path=x,queues=65",
            "path=x,queues=many",
            "path=x,bootindex=first",
            "path=x,serial=123456789012345678901",
            "path=x,serial=\u{e9}",
            "path=x,path=y",
            "path=x,aio=native",
            "path=x,cache=none",
        ] {
            let sentence = parse_disk(text).unwrap_err().to_string();
            assert!(
                sentence.starts_with(&format!("--disk {text}: expected path=FILE"))
                    && sentence.contains("1 to 64"),
                "{sentence}"
            );
        }
    }
}
