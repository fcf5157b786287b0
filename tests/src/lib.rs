// SPDX-License-Identifier: MIT OR Apache-2.0
//! Proof that the rooms fit: what the tests of more than one room share.

pub mod harness;
pub mod kernels;
pub mod loopback;
pub mod multiboot;
