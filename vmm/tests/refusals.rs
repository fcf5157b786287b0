// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the program refuses, with which sentence and which exit status.
//!
//! None of these reaches a guest: everything the user gave is checked before KVM is opened.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use vmm_sys_util::tempdir::TempDir;

struct Bench {
    directory: TempDir,
}

impl Bench {
    fn new() -> Self {
        let directory = TempDir::new_with_prefix(std::env::temp_dir().join("refuse-")).unwrap();
        std::fs::write(directory.as_path().join("rom"), vec![0; 0x1_0000]).unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.as_path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name).to_str().unwrap().into()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        // A machine that should have been refused would run for ever.
        Command::new("timeout")
            .args(["60", env!("CARGO_BIN_EXE_microvm")])
            .args(["--bios", self.path("rom").to_str().unwrap()])
            .args(if arguments.contains(&"--serial") {
                &[][..]
            } else {
                &["--serial", "none"]
            })
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs, expects status 2 and one line on standard error, and gives the line.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {line}");
        assert!(output.stdout.is_empty());
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.starts_with("microvm: "), "{line}");
        line
    }
}

#[test]
fn values_without_sense_are_refused_in_one_sentence_that_names_the_option() {
    let bench = Bench::new();
    for (option, value) in [
        ("--memory", "lots"),
        ("--cpus", "two"),
        ("--fw-cfg", "x"),
        ("--machine", "usb=on"),
        ("--machine", "pic=none"),
        ("--memory", "99999999999999999999"),
    ] {
        let line = bench.refused(&[option, value]);
        assert!(
            line.contains(&format!("{option} {value}: expected")),
            "{line}"
        );
    }
}

#[test]
fn unknown_options_are_status_2() {
    let bench = Bench::new();
    for arguments in [
        &["--nonsense"][..],
        &["--trace", "maybe"],
        &["extra"],
        &["--kernel"],
    ] {
        let output = bench.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            String::from_utf8(output.stderr)
                .unwrap()
                .contains(arguments[0])
        );
    }
}

#[test]
fn the_status_does_not_depend_on_who_reads_the_sentence() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_microvm"))
        .args(["--cpus", "0"])
        .stdin(Stdio::null())
        .stderr(full)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn help_is_status_0_and_documents_the_exit_statuses() {
    let output = Bench::new().run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("128+n") && text.contains("Ctrl-a x"),
        "{text}"
    );
}

#[test]
fn memory_that_no_machine_has_is_refused() {
    let bench = Bench::new();
    for size in ["0", "1", "1M", "2049K", "2047K", "100T"] {
        assert!(
            bench.refused(&["--memory", size]).contains("--memory"),
            "{size}"
        );
    }
}

#[test]
fn memory_that_the_host_does_not_have_is_refused() {
    let bench = Bench::new();
    let line = bench.refused(&["--memory", "60T"]);
    assert!(line.contains("the memory and swap of this host"), "{line}");
    let line = bench.refused(&["--memory", "size=65M,hugepages=on"]);
    assert!(line.contains("expected a multiple of 2 MiB"), "{line}");
    let line = bench.refused(&["--memory", "size=64M,hugepages=on,thp=on"]);
    assert!(line.contains("thp=off to go with it"), "{line}");
}

#[test]
fn processor_counts_that_no_machine_has_are_refused() {
    let bench = Bench::new();
    for count in ["0", "256", "300"] {
        let line = bench.refused(&["--cpus", count]);
        assert!(line.contains(count) && line.contains("1 to 255"), "{line}");
    }
}

#[test]
fn a_missing_file_is_named_with_its_role() {
    let bench = Bench::new();
    let kernel = bench.put("kernel", b"no kernel");
    for (arguments, role) in [
        (&["--kernel", "/nonexistent"][..], "kernel /nonexistent"),
        (
            &["--kernel", &kernel, "--initrd", "/nonexistent"],
            "initrd /nonexistent",
        ),
        (&["--bios", "/nonexistent"], "firmware image /nonexistent"),
        (
            &["--fw-cfg", "opt/x,file=/nonexistent"],
            "fw_cfg file /nonexistent",
        ),
    ] {
        // The later --bios is an error of its own, so it replaces the bench's.
        let arguments: Vec<_> = arguments.to_vec();
        let output = Command::new(env!("CARGO_BIN_EXE_microvm"))
            .args(if arguments[0] == "--bios" {
                vec![]
            } else {
                vec!["--bios".into(), bench.path("rom").into_os_string()]
            })
            .args(&arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(line.contains(role), "{line}");
    }
}

#[test]
fn kernels_that_are_none_are_refused() {
    let bench = Bench::new();
    for (bytes, words) in [
        (&b""[..], "an empty file"),
        (b"x", "too short"),
        (&[0; 9000], "expected a bzImage"),
        (b"\x7fELF", "ELF header"),
    ] {
        let kernel = bench.put("kernel", bytes);
        let line = bench.refused(&["--kernel", &kernel]);
        assert!(line.contains(words) && line.contains(&kernel), "{line}");
    }
}

#[test]
fn firmware_images_of_wrong_sizes_are_refused() {
    let bench = Bench::new();
    for size in [0, 100, 0x1_0001] {
        bench.put("rom", &vec![0; size]);
        let line = bench.refused(&[]);
        assert!(line.contains("multiple of 64 KiB") && line.contains(&format!("{size} bytes")));
    }
}

#[test]
fn options_that_mean_nothing_without_a_kernel_are_refused() {
    let bench = Bench::new();
    assert!(bench.refused(&["--append", "x"]).contains("--append"));
    assert!(bench.refused(&["--initrd", "x"]).contains("--initrd"));
}

#[test]
fn a_disk_that_cannot_be_one_is_refused() {
    let bench = Bench::new();
    let odd = bench.put("odd", &[0; 1000]);
    let program = env!("CARGO_BIN_EXE_microvm");
    for (path, words) in [
        ("/nonexistent", "No such file or directory"),
        ("/", "expected a file or a block device, found a directory"),
        (
            &odd,
            "expected a multiple of 512 bytes that is not 0, found 1000 bytes",
        ),
        // Whatever the user's rights, a running program cannot be written.
        (program, "opening it for reading and writing: "),
    ] {
        let line = bench.refused(&["--disk", &format!("path={path}")]);
        let begin = format!("microvm: disk image {path}: ");
        assert!(line.starts_with(&begin) && line.contains(words), "{line}");
    }
}

#[test]
fn one_image_is_not_two_writable_disks() {
    let bench = Bench::new();
    let image = bench.put("image", &[7; 4096]);
    let link = bench.path("link");
    std::fs::hard_link(&image, &link).unwrap();
    let one = format!("path={image}");
    let other = format!("path={}", link.display());
    let line = bench.refused(&["--disk", &one, "--disk", &other]);
    assert!(line.contains("expected nobody else to use it, found it in use"));
    let symbolic = bench.path("symbolic");
    std::os::unix::fs::symlink(&image, &symbolic).unwrap();
    let third = format!("path={},aio=threads", symbolic.display());
    let line = bench.refused(&["--disk", &one, "--disk", &third]);
    assert!(line.contains("expected nobody else to use it, found it in use"));
    let read_only = format!("{other},readonly=on");
    let line = bench.refused(&["--disk", &one, "--disk", &read_only]);
    assert!(line.contains("expected nobody else to write to it, found it in use"));
    // The same between processes.
    let file = std::fs::File::open(&image).unwrap();
    file.lock_shared().unwrap();
    assert!(bench.refused(&["--disk", &one]).contains("another program"));
    assert_eq!(std::fs::read(&image).unwrap(), [7; 4096]);
}

#[test]
fn a_serial_file_that_is_a_disk_is_refused_and_keeps_its_bytes() {
    let bench = Bench::new();
    let image = bench.put("image", &[7; 4096]);
    let (disk, serial) = (format!("path={image}"), format!("file:{image}"));
    let line = bench.refused(&["--disk", &disk, "--serial", &serial]);
    assert!(line.contains(&format!("found the disk image {image}")));
    assert_eq!(std::fs::read(&image).unwrap(), [7; 4096]);
}

#[test]
fn taps_that_are_none_are_refused() {
    let bench = Bench::new();
    let line = bench.refused(&["--net", "tap=qb-nowhere"]);
    assert!(
        line.starts_with("microvm: tap qb-nowhere: expected a tap interface of the host, found")
    );
    // Whatever the user's rights, this interface has no other end.
    let line = bench.refused(&["--net", "tap=lo"]);
    assert!(line.starts_with("microvm: tap lo: "), "{line}");
    let line = bench.refused(&["--net", "tap=lo,mac=01:00:5e:00:00:01"]);
    assert!(line.starts_with("microvm: --net mac=01:00:5e:00:00:01: expected"));
    let line = bench.refused(&["--net", "tap=lo", "--net", "tap=lo,queues=2"]);
    assert!(line.contains("--net tap=lo: expected each tap to be there for one device"));
}

#[test]
fn parts_that_do_not_go_together_are_refused() {
    let line = Bench::new().refused(&["--machine", "irqchip=kernel,pic=off"]);
    assert!(
        line.contains("--machine pic=off: expected irqchip=split"),
        "{line}"
    );
}

#[test]
fn more_devices_than_slots_are_refused() {
    let bench = Bench::new();
    let taps: Vec<_> = (0..6).map(|index| format!("tap=tap{index}")).collect();
    let mut arguments = vec!["--rng"];
    for _ in 0..2 {
        arguments.extend(["--disk", "path=/nonexistent"]);
    }
    for tap in &taps {
        arguments.extend(["--net", tap]);
    }
    for parts in ["ioapic2=off", "irqchip=kernel", "acpi=off"] {
        let line = bench.refused(&[&arguments[..], &["--machine", parts]].concat());
        assert!(line.contains("expected at most 8 virtio devices") && line.contains(", found 9"));
    }
}

#[test]
fn user_files_with_bad_or_taken_names_are_refused() {
    let bench = Bench::new();
    let long = format!("{},string=", "x".repeat(56));
    for file in [
        "etc/e820,string=",
        "a b,string=",
        "opt/org.qboot-rs/trace,string=1",
        &long,
    ] {
        assert!(
            bench.refused(&["--fw-cfg", file]).contains("fw_cfg file"),
            "{file}"
        );
    }
}

#[test]
fn a_serial_file_that_is_an_input_is_refused_and_keeps_its_bytes() {
    let bench = Bench::new();
    let file = bench.put("file", b"precious");
    let link = bench.path("link").to_str().unwrap().to_string();
    std::fs::hard_link(&file, &link).unwrap();
    let (serial, user) = (format!("file:{link}"), format!("opt/x,file={file}"));
    let line = bench.refused(&["--fw-cfg", &user, "--serial", &serial]);
    assert!(line.contains(&format!("found the fw_cfg file {file}")));
    let rom = format!("file:{}", bench.path("rom").display());
    assert!(
        bench
            .refused(&["--serial", &rom])
            .contains("firmware image")
    );
    let line = bench.refused(&["--fw-cfg", &user, "--console", &serial]);
    assert!(line.contains(&format!("--console {serial}: expected a file of its own")));
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
}

#[test]
fn far_ends_that_cannot_be_had_are_refused() {
    let bench = Bench::new();
    let place = bench.directory.as_path().display().to_string();
    let log = bench.put("log", b"of the last run");
    let long = format!("unix:{place}/{}", "x".repeat(108));
    for (target, found) in [
        (format!("file:{place}"), "Is a directory"),
        (format!("file:{place}/none/log"), "No such file"),
        (format!("unix:{log}"), "in use"),
        (format!("unix:{place}/none/socket"), "No such file"),
        (long, "SUN_LEN"),
    ] {
        for option in ["--serial", "--console"] {
            let line = bench.refused(&[option, &target]);
            let named = line.contains(&format!("{option} {target}: expected a "));
            assert!(named && line.contains(found), "{line}");
        }
    }
    assert_eq!(std::fs::read(&log).unwrap(), b"of the last run");
}

#[test]
fn a_far_end_of_two_ports_is_refused() {
    let bench = Bench::new();
    for arguments in [
        &["--serial", "stdio", "--console", "stdio"][..],
        &["--console", "stdio", "--console", "stdio"],
        &["--serial", "stdio", "--debugcon", "stdio"],
        &[
            "--machine",
            "isa-serial=off",
            "--console",
            "stdio",
            "--console",
            "stdio",
        ],
    ] {
        let line = bench.refused(arguments);
        assert!(
            line.contains("expected stdio at most once, found it twice"),
            "{line}"
        );
    }
    let line = bench.refused(&["--console", "file:/a", "--console", "file:/a"]);
    assert!(line.contains("expected file:/a at most once"), "{line}");
}

#[test]
fn a_machine_that_cannot_be_built_leaves_no_socket_behind() {
    let bench = Bench::new();
    let socket = bench.path("socket").to_str().unwrap().to_string();
    let kernel = [
        "--console",
        &format!("unix:{socket}"),
        "--console",
        "file:/",
    ];
    bench.refused(&kernel);
    assert!(!bench.path("socket").exists());
}

#[test]
fn a_machine_that_cannot_be_built_leaves_the_serial_file_alone() {
    let bench = Bench::new();
    let file = bench.put("log", b"of the last run");
    // Two descriptors beyond the standard ones: the firmware image and the serial file take them,
    // and there is none for KVM.
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 5; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_microvm"))
        .args(["--bios", bench.path("rom").to_str().unwrap()])
        .args(["--serial", &format!("file:{file}")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!([Some(1), Some(4)].contains(&output.status.code()));
    assert_eq!(std::fs::read(&file).unwrap(), b"of the last run");
}

#[test]
fn a_measurement_needs_a_file_of_its_own_that_can_be_written() {
    let bench = Bench::new();
    let line = bench.refused(&["--measure", "/nonexistent/m.json"]);
    assert!(
        line.contains("--measure /nonexistent/m.json: expected a file to write to, found: "),
        "{line}"
    );
    let kernel = bench.put("kernel", b"precious");
    let line = bench.refused(&[
        "--fw-cfg",
        &format!("name=a,file={kernel}"),
        "--measure",
        &kernel,
    ]);
    assert!(
        line.contains("expected a file of its own, found the fw_cfg file"),
        "{line}"
    );
    assert_eq!(std::fs::read(&kernel).unwrap(), b"precious");
}
