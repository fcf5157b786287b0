// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boards on a configuration space that is a map.

use super::*;
use crate::pci::test::{Node, Simulated};

fn initialised(id: u32) -> (Board, Simulated) {
    let mut config = Simulated::default();
    config.put(HOST_BRIDGE, Node::device(id));
    for device in [Function::new(0, 1, 0), Function::new(0, 0x1f, 0)] {
        config.put(device, Node::device(0x7000_8086));
    }
    config.put(Function::new(0, 1, 1), Node::device(0x7010_8086));
    config.put(Function::new(0, 1, 3), Node::device(0x7113_8086));
    let board = Board::identify(&mut config);
    board.initialise(&mut config);
    (board, config)
}

#[test]
fn pc_has_its_memory_open_and_its_ports_named() {
    let (board, config) = initialised(0x1237_8086);
    assert_eq!(board, Board::I440fx);
    let power = Function::new(0, 1, 3);
    // The image stays: PAM0, at 0x59, is not touched.
    assert_eq!(config.get(HOST_BRIDGE, 0x58), 0x3333_0000);
    assert_eq!(config.get(HOST_BRIDGE, 0x5c), 0x3333_3333);
    assert_eq!(config.get(Function::new(0, 1, 0), 0x60), 0x0b0b_0a0a);
    assert_eq!(config.get(power, 0x40), 0x601);
    assert_eq!(config.get(power, 0x80), 1);
    assert_eq!(config.get(power, 0x3c), 9);
    assert!(board.registers().is_empty());
    assert_eq!(board.image_attributes().unwrap().register, 0x59);
}

#[test]
fn q35_has_its_memory_open_and_its_configuration_space_mapped() {
    let (board, config) = initialised(0x29c0_8086);
    assert_eq!(board, Board::Q35);
    let lpc = Function::new(0, 0x1f, 0);
    assert_eq!(config.get(HOST_BRIDGE, 0x90), 0x3333_3300);
    assert_eq!(config.get(HOST_BRIDGE, 0x94), 0x0033_3333);
    assert_eq!(config.get(HOST_BRIDGE, 0x60), 0xb000_0001);
    assert_eq!(config.get(lpc, 0x40), 0x601);
    assert_eq!(config.get(lpc, 0x44), 0x80);
    assert_eq!(config.get(lpc, 0x60), 0x0b0b_0a0a);
    assert_eq!(config.get(lpc, 0x68), 0x0b0b_0a0a);
    let [config_space, _] = board.registers() else {
        panic!("expected two ranges")
    };
    assert_eq!(
        (config_space.start(), config_space.end()),
        (0xb000_0000, 0xc000_0000)
    );
}

#[test]
fn an_unknown_host_bridge_is_left_alone() {
    for id in [0, u32::MAX, 0x1237_1237] {
        let (board, config) = initialised(id);
        assert_eq!(board, Board::Microvm);
        assert_eq!(config.writes, 0);
    }
}
