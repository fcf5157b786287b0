// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guest-physical memory as values: ranges, the map of what is RAM, and where things may go.

mod arena;
mod hole;
mod map;
mod range;

pub use arena::Arena;
pub use hole::hole_below_4g;
pub use map::{MapFull, MemoryMap, Region};
pub use range::Range;
