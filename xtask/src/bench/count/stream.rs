// SPDX-License-Identifier: MIT OR Apache-2.0
//! What QEMU's emulator writes with `-d`: every instruction and every access, in their order.
//!
//! In: a line of the log. Out: an [`Event`]. Pure.

use crate::bench::model::AccessKind;

/// For `-d`: each executed block, which `-singlestep` makes one instruction; each access of a
/// device's register; and what `fw_cfg` was asked for.
pub const WANTED: &str = "exec,nochain,trace:memory_region_ops_read,trace:memory_region_ops_write,\
                          trace:fw_cfg_select,trace:fw_cfg_add_file";

/// What one line tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A processor begins an instruction.
    Fetch {
        processor: u32,
        /// Linear address.
        address: u64,
        /// Which kind of code the segment holds: 16, 32 or 64.
        bits: u8,
    },
    /// It has not been executed; it will be begun again.
    Undone,
    /// A register of a device is read or written.
    Access(Register<'a>),
    /// `fw_cfg` was asked for an item.
    Select { key: u16, name: &'a str },
    /// QEMU puts a file in the directory of `fw_cfg`, at this place, and moves those behind it.
    File { index: usize, name: &'a str },
    /// Something else, which may be QEMU's own complaint.
    Other,
}

/// An access of a device's register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register<'a> {
    pub processor: u32,
    pub kind: AccessKind,
    pub address: u64,
    pub width: u8,
    pub value: u64,
    pub device: &'a str,
}

/// `HF_CS32_MASK` and `HF_CS64_MASK` in the flags of a block.
const CODE_32: u64 = 1 << 4;
const CODE_64: u64 = 1 << 15;

/// Nothing but ports is below this address: memory begins there with RAM.
const PORTS_END: u64 = 0x1_0000;

impl<'a> Event<'a> {
    pub fn read(line: &'a str) -> Self {
        Self::parse(line).unwrap_or(Self::Other)
    }

    fn parse(line: &'a str) -> Option<Self> {
        // By far the most frequent first.
        if let Some(rest) = line.strip_prefix("Trace ") {
            return fetch(rest);
        }
        if let Some(rest) = line.strip_prefix("memory_region_ops_read ") {
            return access(rest, AccessKind::PortRead, AccessKind::MmioRead);
        }
        if let Some(rest) = line.strip_prefix("memory_region_ops_write ") {
            return access(rest, AccessKind::PortWrite, AccessKind::MmioWrite);
        }
        if line.starts_with("cpu_io_recompile: rewound")
            || line.starts_with("Stopped execution of TB chain before")
        {
            return Some(Self::Undone);
        }
        if let Some(rest) = line.strip_prefix("fw_cfg_select ") {
            return select(rest);
        }
        line.strip_prefix("fw_cfg_add_file ").and_then(file)
    }
}

/// `0: 0x7f27d4000100 [00000000ffff0000/00000000fffffff0/00000040/ff020201] symbol`: processor,
/// block, then base of the code segment, linear address, flags of the processor and of the block.
fn fetch(rest: &str) -> Option<Event<'_>> {
    let (processor, rest) = rest.split_once(": ")?;
    let (_, rest) = rest.split_once('[')?;
    let mut fields = rest.split('/').skip(1);
    let address = hexadecimal(fields.next()?)?;
    let flags = hexadecimal(fields.next()?)?;
    Some(Event::Fetch {
        processor: processor.parse().ok()?,
        address,
        bits: match (flags & CODE_64, flags & CODE_32) {
            (0, 0) => 16,
            (0, _) => 32,
            _ => 64,
        },
    })
}

/// `cpu 0 mr 0x… addr 0x518 value 0xfbb0 size 4 name 'fwcfg.dma'`
fn access(rest: &str, port: AccessKind, mmio: AccessKind) -> Option<Event<'_>> {
    let (fields, device) = rest.split_once(" name '")?;
    let words: Vec<_> = fields.split(' ').collect();
    let [
        "cpu",
        processor,
        "mr",
        _,
        "addr",
        address,
        "value",
        value,
        "size",
        width,
    ] = words[..]
    else {
        return None;
    };
    let address = prefixed(address)?;
    let width: u8 = width.parse().ok()?;
    Some(Event::Access(Register {
        processor: processor.parse().ok()?,
        kind: if address < PORTS_END { port } else { mmio },
        address,
        width,
        // A read of nothing has all 64 bits set, whatever its width.
        value: prefixed(value)? & u64::MAX.checked_shr(64 - 8 * u32::from(width.min(8)))?,
        device: device.trim_end_matches('\''),
    }))
}

/// `0x… key 0x0019 'file_dir', ret: 1`
fn select(rest: &str) -> Option<Event<'_>> {
    let (_, rest) = rest.split_once(" key ")?;
    let (key, rest) = rest.split_once(" '")?;
    let (name, _) = rest.split_once('\'')?;
    let key = u16::try_from(prefixed(key)?).ok()?;
    Some(Event::Select { key, name })
}

/// `0x… #5: etc/acpi/rsdp (20 bytes)`
fn file(rest: &str) -> Option<Event<'_>> {
    let (_, rest) = rest.split_once(" #")?;
    let (index, rest) = rest.split_once(": ")?;
    let (name, _) = rest.rsplit_once(" (")?;
    let index = index.parse().ok()?;
    Some(Event::File { index, name })
}

fn prefixed(text: &str) -> Option<u64> {
    hexadecimal(text.strip_prefix("0x")?)
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_instruction_has_its_address_and_its_mode() {
        let mode = |flags| {
            let line = format!(
                "Trace 1: 0x7f27d4000100 [00000000ffff0000/00000000fffffff0/{flags}/ff020201] "
            );
            match Event::read(&line) {
                Event::Fetch {
                    processor: 1,
                    address: 0xffff_fff0,
                    bits,
                } => bits,
                other => panic!("{other:?}"),
            }
        };

        assert_eq!(mode("00000040"), 16);
        assert_eq!(mode("000000b0"), 32);
        assert_eq!(mode("0040c0b4"), 64);
    }

    #[test]
    fn a_port_is_told_from_memory_and_its_value_is_as_wide_as_the_access() {
        let line = "memory_region_ops_read cpu 0 mr 0x55 addr 0xcf8 value 0xffffffffffffffff size 4 name 'io'";
        let expected = Register {
            processor: 0,
            kind: AccessKind::PortRead,
            address: 0xcf8,
            width: 4,
            value: 0xffff_ffff,
            device: "io",
        };
        assert_eq!(Event::read(line), Event::Access(expected));

        let line = "memory_region_ops_write cpu 2 mr 0x55 addr 0xfee00360 value 0x400 size 4 name 'apic-msi'";
        assert!(matches!(
            Event::read(line),
            Event::Access(Register {
                kind: AccessKind::MmioWrite,
                processor: 2,
                ..
            })
        ));
    }

    #[test]
    fn what_fw_cfg_was_asked_for_has_its_name() {
        assert_eq!(
            Event::read("fw_cfg_select 0x55 key 0x0019 'file_dir', ret: 1"),
            Event::Select {
                key: 0x19,
                name: "file_dir"
            }
        );
        assert_eq!(
            Event::read("fw_cfg_add_file 0x55 #5: etc/acpi/rsdp (20 bytes)"),
            Event::File {
                index: 5,
                name: "etc/acpi/rsdp"
            }
        );
    }

    #[test]
    fn an_instruction_that_is_begun_again_is_told() {
        let rewound = "cpu_io_recompile: rewound execution of TB to 00000000000ffde6";
        let stopped = "Stopped execution of TB chain before 0x7f7a340dd1c0 [0000000000100f3e] f";

        assert_eq!(Event::read(rewound), Event::Undone);
        assert_eq!(Event::read(stopped), Event::Undone);
    }

    #[test]
    fn what_is_none_of_these_is_something_else() {
        for line in [
            "",
            "Trace ",
            "Trace 0: 0x1 [0/g/0/0]",
            "memory_region_ops_read cpu 0 mr 0x55 addr 0xcf8 value 0x0 size 0 name 'io'",
            "fw_cfg_select 0x55 key 0x10000 'x', ret: 1",
            "qemu-system-x86_64: could not load kernel 'x'",
        ] {
            assert_eq!(Event::read(line), Event::Other, "{line}");
        }
    }
}
