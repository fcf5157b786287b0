// SPDX-License-Identifier: MIT OR Apache-2.0
//! A frame from the wire that is not in the driver's buffers yet.
//!
//! In: what a read of the wire gives. Out: a frame that the driver takes, behind its header.

use super::{HEADER, MOST_FRAME, header};
use abi::virtio::net::{
    F_GUEST_CSUM, F_GUEST_ECN, F_GUEST_TSO4, F_GUEST_TSO6, HDR_F_NEEDS_CSUM, HDR_GSO_ECN,
    HDR_GSO_NONE, HDR_GSO_TCPV4, HDR_GSO_TCPV6, Header,
};
use std::fs::File;
use std::io::Read;
use zerocopy::FromBytes;

/// Room for one frame behind its header.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// Bytes of the frame and its header; 0 without one.
    length: usize,
    /// Bytes of its header.
    header: usize,
}

impl Inbox {
    /// Has a frame: the one it has, or else the next one of `end` that a driver takes which has
    /// agreed to `features`. Gives whether it has one.
    pub fn fill(&mut self, mut end: &File, features: u64) -> bool {
        // Not before it is needed: many an end never is.
        self.bytes.resize(HEADER + MOST_FRAME, 0);
        self.header = header(features);
        while self.length == 0 {
            match end.read(&mut self.bytes) {
                // Nothing there, or nobody any more.
                Ok(0) | Err(_) => return false,
                Ok(length) if length > self.header && self.is_taken(features) => {
                    self.length = length;
                }
                Ok(_) => {}
            }
        }
        true
    }

    /// The frame behind its header; empty without one.
    pub fn frame(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Bytes of the header.
    pub fn header(&self) -> usize {
        self.header
    }

    /// Says how many buffers the frame fills, where the header has that.
    pub fn set_buffers(&mut self, count: u16) {
        let whole = self.header == HEADER;
        if let Some(header) = self.fields().filter(|_| whole) {
            header.num_buffers = count.into();
        }
    }

    /// Forgets the frame.
    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// The header, the end of which may be frame already.
    fn fields(&mut self) -> Option<&mut Header> {
        let (header, _) = Header::mut_from_prefix(&mut self.bytes).ok()?;
        Some(header)
    }

    /// Whether a driver with these features takes the frame. One that the host made for a driver
    /// before may be left over.
    fn is_taken(&mut self, features: u64) -> bool {
        let Some(header) = self.fields() else {
            return false;
        };
        let mut needed = match header.gso_type & !HDR_GSO_ECN {
            HDR_GSO_NONE => 0,
            HDR_GSO_TCPV4 => F_GUEST_TSO4,
            HDR_GSO_TCPV6 => F_GUEST_TSO6,
            _ => return false,
        };
        if header.gso_type & HDR_GSO_ECN != 0 {
            needed |= F_GUEST_ECN;
        }
        if header.flags & HDR_F_NEEDS_CSUM != 0 {
            needed |= F_GUEST_CSUM;
        }
        if features & F_GUEST_CSUM == 0 {
            // Not even that a checksum is right may be said.
            header.flags = 0;
        }
        features & needed == needed
    }
}
