// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ports on which firmware tells how far it got, or that it gave up.
//!
//! Spec: `abi::debug`.

use abi::debug::{
    FAILURE_PORT, FailureCode, TRACE_FIRMWARE_PORT, TRACE_FIRMWARE_START, TRACE_KERNEL_LINUX,
    TRACE_KERNEL_MULTIBOOT, TRACE_KERNEL_PORT, TRACE_KERNEL_PVH,
};

/// What a write to one of the ports says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Message {
    /// The firmware runs.
    FirmwareStarted,
    /// The firmware is about to enter the kernel.
    KernelEntry,
    /// The firmware has given up.
    Failure(FailureCode),
}

/// Reads a port write; `None` if it is not one of ours, in port, width or value.
#[must_use]
pub fn decode(port: u16, data: &[u8]) -> Option<Message> {
    match (port, data) {
        (TRACE_FIRMWARE_PORT, [TRACE_FIRMWARE_START]) => Some(Message::FirmwareStarted),
        (TRACE_KERNEL_PORT, [TRACE_KERNEL_MULTIBOOT | TRACE_KERNEL_LINUX | TRACE_KERNEL_PVH]) => {
            Some(Message::KernelEntry)
        }
        (FAILURE_PORT, &[a, b, c, d]) => {
            FailureCode::from_port_value(u32::from_le_bytes([a, b, c, d])).map(Message::Failure)
        }
        _ => None,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn only_the_agreed_width_and_values_count() {
        assert_eq!(decode(0xf4, &[4]), Some(Message::KernelEntry));
        assert_eq!(decode(0xf4, &[3]), Some(Message::KernelEntry));
        assert_eq!(decode(0xf5, &[1]), Some(Message::FirmwareStarted));
        assert_eq!(decode(0xf4, &[4, 0, 0, 0]), None);
        assert_eq!(decode(0xf4, &[0x10]), None);
        assert_eq!(decode(0xf5, &[4]), None);
        assert_eq!(
            decode(0x51c, &[9, 0x52, 0x42, 0x51]),
            Some(Message::Failure(FailureCode::KernelAbsent))
        );
        assert_eq!(decode(0x51c, &[9]), None);
        assert_eq!(decode(0x51c, &[9, 0, 0, 0]), None);
    }
}
