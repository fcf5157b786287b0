// SPDX-License-Identifier: MIT OR Apache-2.0
//! One file for each command of the script.

mod add_checksum;
mod add_pointer;
mod allocate;
mod write_pointer;

pub use add_checksum::add_checksum;
pub use add_pointer::add_pointer;
pub use allocate::allocate;
pub use write_pointer::write_pointer;

use super::Problem;
use abi::table_loader::{BODY_SIZE, Command};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The operands of a command. All kinds fill the body, so this cannot fail.
pub fn operands<T>(command: &Command) -> Result<&T, Problem>
where
    T: FromBytes + Immutable + KnownLayout + Unaligned,
{
    const { assert!(size_of::<T>() == BODY_SIZE) };
    T::ref_from_bytes(&command.body).map_err(|_| Problem::Unterminated)
}

/// Accepts the size of a number.
fn checked_size(size: u8) -> Result<u32, Problem> {
    match size {
        1 | 2 | 4 | 8 => Ok(size.into()),
        _ => Err(Problem::PointerSize(size)),
    }
}

/// `length` bytes at `offset` of a loaded file; `None` if they pass its end.
fn part(bytes: &mut [u8], offset: u32, length: u32) -> Option<&mut [u8]> {
    bytes
        .get_mut(offset as usize..)
        .and_then(|bytes| bytes.get_mut(..length as usize))
}
