// SPDX-License-Identifier: MIT OR Apache-2.0
//! A device's interrupt line, wherever the controllers are.

use super::interrupts::Interrupts;
use std::io;
use std::sync::Arc;
use vmm_sys_util::eventfd::EventFd;

/// A line. Who raises it need not know what is at its other end.
#[derive(Debug)]
pub enum Line {
    /// An event counter of KVM's, which knows edges only: each write is one. It does not block.
    Counter(EventFd),
    /// An input of our own controllers.
    Input(Arc<Interrupts>, u32),
}

impl Line {
    /// Raises or lowers the line, which was the other way before. Fails if the host refuses the
    /// interrupt.
    pub fn set(&self, high: bool) -> io::Result<()> {
        match self {
            Self::Counter(counter) if high => counter.write(1),
            Self::Counter(_) => Ok(()),
            Self::Input(interrupts, irq) => interrupts.set(*irq, high),
        }
    }

    /// Raises the line for a moment.
    pub fn pulse(&self) -> io::Result<()> {
        self.set(true)?;
        self.set(false)
    }

    /// A machine reset: the line is low, and an interrupt of the old machine is not one of the new.
    pub fn reset(&self) -> io::Result<()> {
        match self {
            Self::Counter(counter) => {
                // Often there is none.
                let _ = counter.read();
                Ok(())
            }
            Self::Input(interrupts, irq) => interrupts.set(*irq, false),
        }
    }

    /// The event counter, if it is one.
    #[must_use]
    pub fn counter(&self) -> Option<&EventFd> {
        match self {
            Self::Counter(counter) => Some(counter),
            Self::Input(..) => None,
        }
    }

    /// Another end of the same line.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Counter(counter) => Self::Counter(counter.try_clone()?),
            Self::Input(interrupts, irq) => Self::Input(Arc::clone(interrupts), *irq),
        })
    }
}

impl From<EventFd> for Line {
    fn from(counter: EventFd) -> Self {
        Self::Counter(counter)
    }
}
