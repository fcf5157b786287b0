// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--print-machine`: what the program says of a machine that it does not run.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use vmm_sys_util::tempdir::TempDir;

fn directory() -> TempDir {
    let directory = TempDir::new_with_prefix(std::env::temp_dir().join("describe-")).unwrap();
    std::fs::write(directory.as_path().join("rom"), vec![0; 0x2_0000]).unwrap();
    directory
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_microvm"))
        .current_dir(directory)
        .args(["--bios", "rom"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn described(arguments: &[&str]) -> Value {
    let directory = directory();
    let output = run(directory.as_path(), arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    assert!(output.stderr.is_empty());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The first and last address of everything that is called `device`.
fn places(list: &Value, device: &str) -> Vec<(u64, u64)> {
    let places = list.as_array().unwrap().iter();
    places
        .filter(|place| place["device"] == device)
        .map(|place| {
            let address = |key: &str| place[key].as_u64().unwrap();
            (address("first"), address("last"))
        })
        .collect()
}

#[test]
fn memory_is_where_qemu_has_it() {
    let machine = described(&["--print-machine=json", "--memory", "4G", "--cpus", "3"]);
    assert_eq!(machine["cpus"], 3);
    assert_eq!(
        places(&machine["memory"], "ram"),
        [
            (0, 0xd_ffff),
            (0x10_0000, 0xbfff_ffff),
            (0x1_0000_0000, 0x1_3fff_ffff)
        ]
    );
    assert_eq!(
        places(&machine["memory"], "rom"),
        [(0xe_0000, 0xf_ffff), (0xfffe_0000, 0xffff_ffff)]
    );
}

#[test]
fn options_change_what_is_there() {
    let json = "--print-machine=json";
    let most = described(&[json, "--rng", "--disk", "path=a", "--disk", "path=b"]);
    let mmio = &most["mmio"];
    assert_eq!(
        places(mmio, "virtio-blk"),
        [(0xfeb0_0c00, 0xfeb0_0dff), (0xfeb0_0e00, 0xfeb0_0fff)]
    );
    assert_eq!(
        places(mmio, "virtio-rng"),
        [(0xfeb0_0a00, 0xfeb0_0bff)],
        "devices take slots from the top"
    );
    assert_eq!(places(&most["ports"], "com1"), [(0x3f8, 0x3ff)]);
    assert_eq!(places(mmio, "virtio-console"), []);
    let without = described(&[json, "--machine", "isa-serial=off"]);
    assert_eq!(places(&without["mmio"], "virtio-console").len(), 1);

    let none = "acpi=off,irqchip=split,pic=off,pit=off,rtc=off,isa-serial=off";
    let bare = ["--trace=off", "--fw-cfg-dma=off", "--serial=none"];
    let least = described(&[&[json, "--machine", none], &bare[..]].concat());
    let ports = least["ports"].as_array().unwrap().iter();
    let ports: Vec<_> = ports
        .map(|place| place["device"].as_str().unwrap())
        .collect();
    assert_eq!(
        ports,
        ["keyboard-reset", "fw_cfg", "failure", "reset-control"]
    );
    assert_eq!(least["exposed"]["ports"], 1 + 2 + 4 + 1);
    assert_eq!(least["exposed"]["port_ranges"], 4);
    assert_eq!(least["exposed"]["mmio_regions"], 2);
    assert_eq!(least["interrupts"].as_array().unwrap().len(), 0);
}

#[test]
fn a_debug_console_is_there_when_it_leads_somewhere() {
    let json = "--print-machine=json";
    let without = described(&[json, "--debugcon", "none"]);
    assert_eq!(places(&without["ports"], "debugcon"), []);
    let with = described(&[json, "--debugcon", "file:log"]);
    assert_eq!(places(&with["ports"], "debugcon"), [(0x402, 0x402)]);
    let exposed = |machine: &Value| machine["exposed"]["ports"].as_u64().unwrap();
    assert_eq!(exposed(&with), exposed(&without) + 1);
}

#[test]
fn every_item_has_its_key_name_and_size() {
    let machine = described(&[
        "--print-machine=json",
        "--fw-cfg",
        "name=opt/\"quoted\\,string=12345",
    ]);
    let items = machine["fw_cfg"].as_array().unwrap();
    let find = |name: &str| items.iter().find(|item| item["name"] == name).unwrap();
    assert_eq!(find("signature")["key"], 0);
    assert_eq!(find("ram-size")["size"], 8);
    assert_eq!(find("irq0-override")["key"], 0x8002);
    assert_eq!(find("opt/\"quoted\\")["size"], 5);
    assert!(items.iter().all(|item| item["name"] != "?"));
}

#[test]
fn text_and_json_say_the_same() {
    let directory = directory();
    let disks = [
        "--disk",
        "path=a,aio=threads",
        "--disk",
        "path=b,aio=io_uring",
    ];
    let text = run(
        directory.as_path(),
        &[&["--print-machine"], &disks[..]].concat(),
    );
    let text = String::from_utf8(text.stdout).unwrap();
    let machine = described(&[&["--print-machine=json"], &disks[..]].concat());
    assert!(text.contains("disks:\n  a aio=threads\n  b aio=io_uring\n"));
    assert_eq!(machine["disks"][0]["aio"], "threads");
    assert_eq!(machine["disks"][1]["path"], "b");
    let exposed = &machine["exposed"];
    let sentence = format!(
        "exposed: {} ports in {} ranges, {} MMIO regions\n",
        exposed["ports"], exposed["port_ranges"], exposed["mmio_regions"]
    );
    assert!(text.ends_with(&sentence), "{text}");
    let lists = ["memory", "mmio", "ports", "interrupts", "disks", "fw_cfg"];
    let entries = lists.map(|list| machine[list].as_array().unwrap().len());
    let lines = text.lines().filter(|line| line.starts_with("  ")).count();
    assert_eq!(lines, entries.iter().sum::<usize>());
}

#[test]
fn nothing_is_opened_for_writing_and_what_is_refused_stays_refused() {
    let directory = directory();
    let missing = ["--print-machine", "--disk", "path=missing"];
    assert!(run(directory.as_path(), &missing).status.success());
    let serial = ["--print-machine", "--serial", "file:new"];
    assert!(run(directory.as_path(), &serial).status.success());
    assert!(!directory.as_path().join("new").exists());
    let refused = run(directory.as_path(), &["--print-machine", "--cpus", "0"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stdout.is_empty());
}
