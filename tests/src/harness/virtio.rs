// SPDX-License-Identifier: MIT OR Apache-2.0
//! A virtio device and a driver without manners: whatever it does, a reset brings the device back.

use super::input::Input;
use vmm::devices::virtio::mmio::Transport;
use vmm::devices::virtio::rng::Rng;
use vmm::memory::Memory;

const SIZE: usize = 0x1_0000;
const TABLE: u64 = 0x1000;
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;
const BUFFER: u64 = 0x8000;
/// Addresses that a driver may mean, or may not.
const PLACES: [u64; 8] = [
    0,
    TABLE,
    AVAILABLE,
    USED,
    BUFFER,
    SIZE as u64,
    1 << 32,
    u64::MAX,
];
const LENGTHS: [u64; 6] = [0, 1, 16, 0x1000, SIZE as u64, u32::MAX as u64];

/// The registers that a driver writes.
const REGISTERS: [u8; 18] = [
    0x14, 0x20, 0x24, 0x30, 0x38, 0x44, 0x50, 0x64, 0x70, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4, 0xb0,
    0xc0, 0xfc,
];

struct Driver {
    transport: Transport,
    memory: Memory,
}

impl Driver {
    fn new() -> Self {
        let memory = Memory::from_ranges(&[(0, SIZE)]).expect("64 KiB");
        let device = Rng::new(Box::new(std::io::repeat(0x5a)));
        let transport = Transport::new(Box::new(device), memory.clone(), false);
        Self {
            transport: transport.expect("event counters"),
            memory,
        }
    }

    fn read(&self, offset: u32) -> u32 {
        let mut data = [0; 4];
        self.transport.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    fn write(&self, offset: u32, value: u32) {
        let written = self.transport.write(offset, &value.to_le_bytes());
        written.expect("event counters do not fail");
    }

    /// As the specification has it, with a queue of 8.
    fn start(&self) {
        for (register, value) in [
            (0x70, 0),
            (0x70, 3),
            (0x24, 1),
            (0x20, 1),
            (0x70, 0xb),
            (0x30, 0),
            (0x38, 8),
            (0x80, 0x1000),
            (0x84, 0),
            (0x90, 0x2000),
            (0x94, 0),
            (0xa0, 0x3000),
            (0xa4, 0),
            (0x44, 1),
            (0x70, 0xf),
        ] {
            self.write(register, value);
        }
    }

    fn describe(&self, index: u64, address: u64, length: u32, flags: u16, next: u16) {
        let bytes = [
            &address.to_le_bytes()[..],
            &length.to_le_bytes(),
            &flags.to_le_bytes(),
            &next.to_le_bytes(),
        ];
        self.put(TABLE + 16 * index, &bytes.concat());
    }

    fn put(&self, address: u64, bytes: &[u8]) {
        self.memory.write(address, bytes).expect("memory");
    }

    fn serve(&self) {
        // Where nothing was notified there is nothing to wait for.
        let _ = self.transport.serve(0);
    }
}

/// Steps of a driver: registers, descriptors, the available ring, notifications, machine resets.
pub fn virtio(data: &[u8]) {
    let driver = Driver::new();
    let mut input = Input(data);
    while !input.is_empty() {
        match input.u8() % 8 {
            0 => {
                let value = input.near(&PLACES) & 0xffff_ffff;
                let register = input.pick(&REGISTERS);
                driver.write(register.into(), u32::try_from(value).unwrap_or_default());
            }
            1 => driver.write(input.pick(&REGISTERS).into(), input.u8().into()),
            2 => driver.start(),
            3 => {
                let index = u64::from(input.u8() % 16);
                let address = input.near(&PLACES);
                let length = u32::try_from(input.near(&LENGTHS) & 0xffff_ffff);
                let length = length.unwrap_or_default();
                driver.describe(index, address, length, input.u8().into(), input.u8().into());
            }
            4 => {
                let slot = u64::from(input.u8() % 8);
                driver.put(AVAILABLE + 4 + 2 * slot, &[input.u8() % 10, 0]);
                driver.put(AVAILABLE + 2, &input.u16().to_le_bytes());
            }
            5 => {
                driver.write(0x50, 0);
                driver.serve();
            }
            6 => {
                let offset = input.u16().into();
                let mut wide = [0; 8];
                let width = 1 << (input.u8() % 4);
                driver.transport.read(offset, &mut wide[..width]);
                let written = driver.transport.write(offset, &wide[..width]);
                written.expect("event counters do not fail");
            }
            _ => driver.transport.reset(),
        }
        assert_eq!(driver.read(0), 0x7472_6976);
        assert_eq!(driver.read(0x70) & !0xcf, 0);
    }

    // However broken, a new start works.
    driver.put(AVAILABLE, &[0; 0x20]);
    driver.put(USED, &[0; 0x60]);
    driver.start();
    assert_eq!(driver.read(0x70), 0xf);
    driver.describe(0, BUFFER, 4, 2, 0);
    driver.put(AVAILABLE + 2, &[1, 0]);
    driver.write(0x50, 0);
    driver.serve();
    let mut used = [0; 10];
    driver.memory.read(USED + 2, &mut used).expect("memory");
    assert_eq!(used, [1, 0, 0, 0, 0, 0, 4, 0, 0, 0]);
    let mut bytes = [0; 4];
    driver.memory.read(BUFFER, &mut bytes).expect("memory");
    assert_eq!(bytes, [0x5a; 4]);
}
