// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is behind the PCI configuration ports: every function, its BARs and a bridge's windows.
//!
//! Spec: PCI Local Bus 3.0, sections 3.2.2.3.2 (configuration ports) and 6.1; PCI-to-PCI Bridge
//! Architecture 1.2, section 3.2.

use crate::ports;
use crate::serial::line;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;

/// Where a function is: bus, device and function in the address port's own places.
#[derive(Clone, Copy)]
struct Function(u32);

impl Function {
    fn read(self, offset: u8) -> u32 {
        ports::select(ADDRESS, ENABLE | self.0 | u32::from(offset));
        ports::doubleword(DATA)
    }
}

/// Reports the functions of all buses that bridges lead to, depth first from bus 0.
pub fn devices() {
    bus(0, 0);
}

fn bus(number: u32, depth: u32) {
    for device in 0..32 {
        for function in 0..8 {
            let place = Function(number << 16 | device << 11 | function << 8);
            let id = place.read(0);
            if id == u32::MAX || id == 0 {
                if function == 0 {
                    break;
                }
                continue;
            }
            let header = place.read(0xc) >> 16 & 0xff;
            line!(
                "pci={number:#x}:{device:#x}.{function:#x} {id:#x} {:#x} {:#x} {:#x} {:#x}",
                place.read(8) >> 8,
                place.read(4) & 0xffff,
                header,
                place.read(0x3c) & 0xffff
            );
            let bridge = header & 0x7f == 1;
            for bar in 0..if bridge { 2 } else { 6 } {
                let value = place.read(0x10 + bar * 4);
                if value != 0 {
                    line!("pci.bar={number:#x}:{device:#x}.{function:#x} {bar:#x} {value:#x}");
                }
            }
            if bridge {
                let buses = place.read(0x18);
                line!(
                    "pci.bridge={number:#x}:{device:#x}.{function:#x} {:#x} {:#x} {:#x} {:#x} {:#x} {:#x}",
                    buses & 0xff_ffff,
                    place.read(0x1c) & 0xffff,
                    place.read(0x20),
                    place.read(0x24),
                    place.read(0x28),
                    place.read(0x2c)
                );
                let behind = buses >> 8 & 0xff;
                if behind > number && depth < 8 {
                    bus(behind, depth + 1);
                }
            }
            if function == 0 && header & 0x80 == 0 {
                break;
            }
        }
    }
}
