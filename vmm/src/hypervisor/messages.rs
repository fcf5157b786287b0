// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts as messages to the local APICs of one virtual machine.
//!
//! Spec: Linux `Documentation/virt/kvm/api.rst`, `KVM_SIGNAL_MSI` and `KVM_SET_GSI_ROUTING`.

use super::kick::Kick;
use super::{Error, lacks};
use crate::devices::interrupts::Output;
use crate::devices::ioapic::Message;
use crate::memory::Memory;
use kvm_bindings::{
    KVM_IRQ_ROUTING_MSI, KvmIrqRouting, kvm_irq_routing_entry, kvm_irq_routing_msi, kvm_msi,
};
use kvm_ioctls::VmFd;
use std::io;
use std::sync::Arc;
use vmm_sys_util::errno;

/// The way to a machine's local APICs.
#[derive(Debug)]
pub struct Messages {
    fd: Arc<VmFd>,
    /// The guest's memory, which must stay as long as this descriptor keeps the machine alive.
    _memory: Memory,
    /// The processor to which the 8259 pair leads, if there is one.
    first: Option<Kick>,
}

impl Messages {
    pub(super) fn new(fd: Arc<VmFd>, memory: Memory, first: Option<Kick>) -> Self {
        Self {
            fd,
            _memory: memory,
            first,
        }
    }
}

impl Output for Messages {
    fn send(&self, message: Message) -> io::Result<()> {
        let sent = self.fd.signal_msi(kvm_msi {
            address_lo: message.address,
            data: message.data,
            ..Default::default()
        });
        match sent {
            Ok(_) => Ok(()),
            // No local APIC has the destination that the guest chose: on a bus, nobody answers.
            Err(error) if error.errno() == libc::EPERM => Ok(()),
            Err(error) => Err(io::Error::other(lacks(
                "KVM_CAP_SIGNAL_MSI",
                "KVM_SIGNAL_MSI",
            )(error))),
        }
    }

    fn route(&self, routes: &[(u32, Message)]) -> io::Result<()> {
        let entries: Vec<_> = routes.iter().map(entry).collect();
        let table = KvmIrqRouting::from_entries(&entries).map_err(|_| Error::Capability {
            capability: "KVM_CAP_IRQ_ROUTING",
            step: "building the interrupt routes",
            source: errno::Error::new(libc::E2BIG),
        });
        table
            .and_then(|table| {
                self.fd
                    .set_gsi_routing(&table)
                    .map_err(lacks("KVM_CAP_IRQ_ROUTING", "KVM_SET_GSI_ROUTING"))
            })
            .map_err(io::Error::other)
    }

    fn ask(&self) {
        if let Some(first) = &self.first {
            first.kick();
        }
    }
}

fn entry((gsi, message): &(u32, Message)) -> kvm_irq_routing_entry {
    let mut entry = kvm_irq_routing_entry {
        gsi: *gsi,
        type_: KVM_IRQ_ROUTING_MSI,
        ..Default::default()
    };
    entry.u.msi = kvm_irq_routing_msi {
        address_lo: message.address,
        data: message.data,
        ..Default::default()
    };
    entry
}
