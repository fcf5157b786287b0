// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is asked of the real `fw_cfg` device once a boot has failed.

use abi::fw_cfg::file;
use firmware_core::aftermath::Aftermath;
use firmware_core::error::BootError;
use firmware_core::fw_cfg::{Directory, DirectoryBuffer};
use firmware_core::kernel::KernelError;
use system_tests::loopback::Loopback;
use vmm::devices::fw_cfg::Items;
use vmm::memory::Memory;
use zerocopy::FromZeros;

const ABSENT: BootError = BootError::Kernel(KernelError::Absent);

fn after(error: BootError, files: &[(&str, &[u8])]) -> (String, Option<u32>) {
    let mut items = Items::new();
    for (name, bytes) in files {
        items.add_file(name, bytes.to_vec()).unwrap();
    }
    let memory = Memory::from_ranges(&[(0, 1 << 20)]).unwrap();
    let mut loopback = Loopback::new(items, memory, true);
    let mut buffer = DirectoryBuffer::new_zeroed();
    let _ = Directory::read(&mut loopback, &mut buffer);
    let aftermath = Aftermath::gather(&mut loopback, &mut buffer, &error);
    (aftermath.to_string(), aftermath.wait)
}

#[test]
fn without_files_there_is_no_more_to_say_and_no_reset() {
    assert_eq!(after(ABSENT, &[]), (String::new(), None));
}

#[test]
fn a_wait_is_taken_and_a_negative_one_is_for_ever() {
    for (bytes, wait) in [
        (5000u32.to_le_bytes(), Some(5000)),
        ([0; 4], Some(0)),
        ([0xff, 0xff, 0xff, 0x7f], Some(i32::MAX.unsigned_abs())),
        ([0xff; 4], None),
        ([0, 0, 0, 0x80], None),
    ] {
        assert_eq!(after(ABSENT, &[(file::BOOT_FAIL_WAIT, &bytes)]).1, wait);
    }
    // One that is too short is filled up with zeros by the device.
    assert_eq!(after(ABSENT, &[(file::BOOT_FAIL_WAIT, &[7])]).1, Some(7));
}

#[test]
fn the_first_device_is_named_and_nothing_else() {
    let head = ", and first in the boot order, but neither disk nor option ROM is booted here, ";
    for (order, path) in [
        (
            "/pci@i0cf8/scsi@3/disk@0,0\n/rom@x\0",
            "/pci@i0cf8/scsi@3/disk@0,0",
        ),
        ("/rom@genroms/x.bin\0", "/rom@genroms/x.bin"),
        ("/a\nHALT\0", "/a"),
        ("a\x1bb\u{7f}", "a?b?"),
    ] {
        let said = after(ABSENT, &[(file::BOOT_ORDER, order.as_bytes())]).0;
        assert_eq!(said, format!("{head}{path}"));
    }
    for empty in ["", "HALT", "HALT\0", "\n", "\0"] {
        assert_eq!(after(ABSENT, &[(file::BOOT_ORDER, empty.as_bytes())]).0, "");
    }
    let said = after(ABSENT, &[(file::BOOT_ORDER, &[b'x'; 4000])]).0;
    assert_eq!(said, format!("{head}{}", "x".repeat(96)));
}

#[test]
fn the_boot_order_is_no_matter_of_another_failure() {
    let error = BootError::Kernel(KernelError::TooShort { size: 1 });
    let order: (&str, &[u8]) = (file::BOOT_ORDER, b"/a\0");
    let wait: (&str, &[u8]) = (file::BOOT_FAIL_WAIT, &[1, 0, 0, 0]);
    assert_eq!(
        after(error, &[order, wait]),
        ("; the machine is reset after 1 ms".into(), Some(1))
    );
}
