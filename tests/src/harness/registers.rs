// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine's ports and the generic event device under any sequence of accesses: each one is
//! answered, and a reset brings back what power-on has.

use super::input::Input;
use abi::fw_cfg::Key;
use abi::layout::{GED_EVENTS_ADDR, GED_REGISTERS_ADDR};
use std::sync::Arc;
use std::time::Duration;
use vmm::config::Machine;
use vmm::devices::bus::{Event, Ports};
use vmm::devices::cmos::Cmos;
use vmm::devices::fw_cfg::{FwCfg, Items};
use vmm::devices::ged::Ged;
use vmm::devices::map::Map;
use vmm::devices::mmio::Mmio;
use vmm::devices::serial::Com1;
use vmm::devices::virtio::Wiring;
use vmm::memory::{Layout, Memory};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

const SIZE: usize = 0x1_0000;
const PORTS: [u64; 12] = [
    0x60, 0x64, 0x70, 0x71, 0xf4, 0x3f8, 0x402, 0x510, 0x514, 0x518, 0x51c, 0xcf9,
];
const ADDRESSES: [u64; 4] = [GED_EVENTS_ADDR, GED_REGISTERS_ADDR, 0xfed0_0000, u64::MAX];

/// Accesses to ports and addresses, and DMA descriptors in memory.
pub fn registers(data: &[u8]) {
    let memory = Memory::from_ranges(&[(0, SIZE)]).expect("64 KiB");
    let line = EventFd::new(EFD_NONBLOCK).expect("an event counter");
    let com1 = Com1::new(line, Box::new(std::io::sink()));
    let cmos = Cmos::new(&Layout::new(64 << 20, 0x1_0000), || Duration::from_secs(1));
    let mut items = Items::new();
    items.set(Key::KERNEL_DATA, vec![0x77; 300]);
    items.add_file("opt/a", vec![1, 2, 3]).expect("a name");
    let map = Map::new(&Machine::default(), Wiring::One, &[]);
    let fw_cfg = FwCfg::new(items, Some(memory.clone())).expect("items");
    let ports = Ports::new(map.ports, Some(Arc::new(com1)), Some(cmos), fw_cfg);
    let mmio = Mmio::new(map.regions, Some(Ged::default()), Vec::new());

    let mut input = Input(data);
    while !input.is_empty() {
        let kind = input.u8();
        let width = 1 << (kind >> 4 & 3);
        let port = u16::try_from(input.near(&PORTS) & 0xffff).unwrap_or_default();
        match kind % 6 {
            0 => {
                let mut bytes = [0; 16];
                let length = width * (1 + usize::from(input.u8() % 2));
                let read = ports.read(port, width.min(4), &mut bytes[..length]);
                read.expect("nothing behind the ports fails");
            }
            1 => {
                let bytes = input.array::<8>();
                let written = ports.write(port, width.min(4), &bytes[..width]);
                written.expect("nothing behind the ports fails");
            }
            2 => {
                let address = input.near(&ADDRESSES);
                let mut bytes = [0; 8];
                mmio.read(address, &mut bytes[..width]);
                let bytes = input.array::<8>();
                let event = mmio.write(address, &bytes[..width]);
                let event = event.expect("nothing behind the addresses fails");
                let known = [None, Some(Event::PowerOff), Some(Event::Reset)];
                assert!(known.contains(&event));
            }
            3 => {
                // A DMA descriptor, and the doorbell.
                let mut descriptor = input.array::<16>();
                if input.u8() % 4 != 0 {
                    // An address below 64 KiB, and a length below 512 bytes.
                    descriptor[4..6].fill(0);
                    descriptor[6] &= 1;
                    descriptor[8..14].fill(0);
                }
                let at = u64::from(port) & 0xff00;
                memory.write(at, &descriptor).expect("memory");
                let doorbell = u32::try_from(at).unwrap_or_default().to_be_bytes();
                ports.write(0x518, 4, &doorbell).expect("fw_cfg");
            }
            4 => assert!(mmio.press_power_button()),
            _ => {
                mmio.reset();
                ports.reset().expect("COM1's interrupt");
            }
        }
    }

    mmio.reset();
    ports.reset().expect("COM1's interrupt");
    let mut bytes = [0; 4];
    ports.read(0x511, 1, &mut bytes).expect("fw_cfg");
    assert_eq!(&bytes, b"QEMU");
    mmio.read(GED_EVENTS_ADDR, &mut bytes);
    assert_eq!(bytes, [0; 4]);
}
