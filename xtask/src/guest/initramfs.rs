// SPDX-License-Identifier: MIT OR Apache-2.0
//! An initramfs in memory: the newc cpio archive that Linux unpacks.
//!
//! Spec: Linux `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::collections::BTreeSet;
use std::io;

use cpio::newc::{Builder, ModeFileType, trailer};

const EXECUTABLE: u32 = 0o755;
const READABLE: u32 = 0o644;
/// Linux `Documentation/admin-guide/devices.txt`: 5 char, 1 = /dev/console.
const CONSOLE: (u32, u32) = (5, 1);

/// An archive that grows entry by entry; parent directories come by themselves.
#[derive(Debug)]
pub struct Initramfs {
    archive: Vec<u8>,
    directories: BTreeSet<String>,
    entries: u32,
}

impl Initramfs {
    /// An archive with a console, so that the first process has somewhere to write.
    pub fn new() -> io::Result<Self> {
        let mut initramfs = Self {
            archive: Vec::new(),
            directories: BTreeSet::new(),
            entries: 0,
        };
        initramfs.parents("dev/console")?;
        let console = initramfs
            .entry("dev/console", ModeFileType::Char, 0o600)
            .rdev_major(CONSOLE.0)
            .rdev_minor(CONSOLE.1);
        initramfs.write(console, &[])?;
        Ok(initramfs)
    }

    /// Adds a program.
    pub fn program(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.parents(path)?;
        let entry = self.entry(path, ModeFileType::Regular, EXECUTABLE);
        self.write(entry, bytes)
    }

    /// Adds a file that is only read.
    pub fn file(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.parents(path)?;
        let entry = self.entry(path, ModeFileType::Regular, READABLE);
        self.write(entry, bytes)
    }

    /// The finished archive.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        trailer(self.archive)
    }

    fn parents(&mut self, path: &str) -> io::Result<()> {
        for (end, _) in path.match_indices('/') {
            let directory = &path[..end];
            if self.directories.insert(directory.to_owned()) {
                let entry = self.entry(directory, ModeFileType::Directory, EXECUTABLE);
                self.write(entry, &[])?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &str, kind: ModeFileType, permissions: u32) -> Builder {
        self.entries += 1;
        Builder::new(path)
            .ino(self.entries)
            .mode(permissions)
            .set_mode_file_type(kind)
    }

    fn write(&mut self, entry: Builder, bytes: &[u8]) -> io::Result<()> {
        let size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut writer = entry.write(&mut self.archive, size);
        io::Write::write_all(&mut writer, bytes)?;
        writer.finish().map(drop)
    }
}

#[cfg(test)]
mod test {
    use cpio::newc::Reader;

    use super::*;

    /// Name, mode and size of every entry.
    fn listing(archive: &[u8]) -> Vec<(String, u32, u32)> {
        let mut rest = archive;
        let mut entries = Vec::new();
        loop {
            let reader = Reader::new(rest).unwrap();
            let entry = reader.entry();
            if entry.is_trailer() {
                return entries;
            }
            entries.push((entry.name().to_owned(), entry.mode(), entry.file_size()));
            rest = reader.finish().unwrap();
        }
    }

    #[test]
    fn directories_come_once_and_before_their_files() {
        let mut initramfs = Initramfs::new().unwrap();
        initramfs.program("bin/a/x", b"12345").unwrap();
        initramfs.file("bin/a/y", b"").unwrap();

        let archive = initramfs.finish().unwrap();

        let expected = [
            ("dev", 0o040_755, 0),
            ("dev/console", 0o020_600, 0),
            ("bin", 0o040_755, 0),
            ("bin/a", 0o040_755, 0),
            ("bin/a/x", 0o100_755, 5),
            ("bin/a/y", 0o100_644, 0),
        ]
        .map(|(name, mode, size)| (name.to_owned(), mode, size));
        assert_eq!(listing(&archive), expected);
    }
}
