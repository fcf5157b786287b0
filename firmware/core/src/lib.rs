// SPDX-License-Identifier: MIT OR Apache-2.0
//! The firmware's head: everything it decides and everything it builds.
//!
//! Nothing here touches a port, a model-specific register or an address. The hands (the `firmware`
//! crate) implement [`fw_cfg::Transport`] and lend byte slices; this crate asks its questions
//! through the trait ([`facts::Facts`]), takes the one decision ([`plan::Plan`]) and writes tables
//! into the slices ([`tables`]). The same code therefore runs in host tests against the VMM's real
//! device model.
//!
//! There is no allocator: what has no fixed size lives in memory that the caller lends.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod acpi;
pub mod aftermath;
pub mod board;
mod describe;
pub mod error;
pub mod facts;
pub mod frequency;
pub mod fw_cfg;
pub mod kernel;
pub mod memory;
pub mod mtrr;
pub mod pci;
pub mod plan;
pub mod processors;
pub mod smbios;
pub mod tables;
pub mod trace;
pub mod words;
