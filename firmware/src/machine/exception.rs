// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an exception left on the stack.
//!
//! Spec: Intel SDM volume 3, section 7.14.2 (64-bit mode stack frame).

use abi::debug::FailureCode;
use abi::layout::{ROM_ALIAS_END, ROM_ALIAS_START};
use firmware_core::words::{Speaker, Words, say};

/// Vectors whose frame starts with an error code (SDM volume 3, table 7-1).
const WITH_ERROR_CODE: u64 =
    1 << 8 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 17 | 1 << 21;

/// An exception and where it happened.
pub struct ExceptionFrame {
    vector: u64,
    error_code: Option<u64>,
    rip: u64,
}

impl ExceptionFrame {
    /// Reads the frame.
    ///
    /// # Safety
    /// `stack` must be what the processor pushed for `vector`, as `exceptions.s` passes it.
    pub unsafe fn read(vector: u64, stack: *const u64) -> Self {
        // SAFETY: the processor pushed at least five words there, six with an error code.
        let [first, second] = unsafe { stack.cast::<[u64; 2]>().read() };
        if WITH_ERROR_CODE >> vector & 1 == 1 {
            Self {
                vector,
                error_code: Some(first),
                rip: second,
            }
        } else {
            Self {
                vector,
                error_code: None,
                rip: first,
            }
        }
    }
}

impl ExceptionFrame {
    /// Whose fault it is: the firmware's inside its image, else that of the kernel it has entered,
    /// which has not taken exceptions into its own hands yet.
    pub fn code(&self) -> FailureCode {
        if (ROM_ALIAS_START..ROM_ALIAS_END).contains(&self.rip) {
            FailureCode::Panic
        } else {
            FailureCode::KernelEntry
        }
    }
}

impl Words for ExceptionFrame {
    fn say(&self, to: &mut Speaker<'_>) {
        let (vector, rip) = (self.vector, self.rip);
        match self.code() {
            FailureCode::Panic => say!(to, "firmware bug: exception % at #", vector, rip),
            _ => say!(
                to,
                "kernel: expected it to take over, found exception % at #",
                vector,
                rip
            ),
        }
        if let Some(code) = self.error_code {
            say!(to, ", error code #", code);
        }
    }
}
