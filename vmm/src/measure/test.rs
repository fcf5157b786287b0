// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of accesses, marks and breakpoints, and what is written.

use super::*;
use crate::report::{Ending, Exits, Marks};
use vmm_sys_util::tempfile::TempFile;

const ENTRY: u64 = 0x10_0200;

struct Bench {
    file: TempFile,
    measure: Measure,
}

impl Bench {
    fn new(breakpoints: bool) -> Self {
        let file = TempFile::new().unwrap();
        let started = Instant::now();
        let place = |first, last, device| Place {
            first,
            last,
            device,
            in_kvm: false,
        };
        let measure = Measure {
            output: Output::open(file.as_path(), started).unwrap(),
            started,
            maps: None,
            memory: Memory::from_ranges(&[(0, 0x4000)]).unwrap(),
            ram: vec![Range {
                address: 0,
                length: 0x4000,
            }],
            mmio: Vec::new(),
            ports: vec![
                place(0x3f8, 0x3ff, "com1"),
                place(0x510, 0x511, "fw_cfg"),
                place(0x514, 0x51b, "fw_cfg-dma"),
            ],
            entries: vec![Entry {
                way: "linux64",
                address: ENTRY,
            }],
            executed: None,
            printed: Arc::default(),
            state: Mutex::default(),
        };
        measure.watch(|watch| {
            assert!(matches!(watch, Watch::Entries(places) if places == [ENTRY]));
            breakpoints.then_some(()).ok_or_else(|| "no".into())
        });
        measure.begin().unwrap();
        Self { file, measure }
    }

    fn port(&self, kind: AccessKind, address: u64, width: usize, data: &[u8]) {
        let seen = Seen {
            kind,
            address,
            width,
            data,
            purpose: None,
        };
        self.measure.access(&seen, Vec::new);
    }

    fn write(&self, address: u64, value: u8) {
        self.port(AccessKind::PortWrite, address, 1, &[value]);
    }

    fn written(self) -> serde_json::Value {
        let report = Report {
            stopped: None,
            ending: Ending::Reset,
            marks: Arc::new(Marks::new(Instant::now())),
            total: Duration::ZERO,
            exits: Exits::default(),
            boots: 1,
            fw_cfg_error: None,
        };
        self.measure.finish(&report, Vec::new()).unwrap();
        serde_json::from_slice(&std::fs::read(self.file.as_path()).unwrap()).unwrap()
    }
}

fn names(record: &serde_json::Value, list: &str) -> Vec<String> {
    let list = record[list].as_array().unwrap().iter();
    list.map(|it| it["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_breakpoint_divides_the_run_and_names_its_entry() {
    let bench = Bench::new(true);
    bench.measure.guest_starts();
    bench.port(AccessKind::PortRead, 0x514, 4, b"QEMU");
    bench.write(0x80, 7);
    let elsewhere = bench.measure.stopped(0x10_0000, Vec::new);
    assert_eq!(elsewhere, Stopped::Underway);
    assert_eq!(bench.measure.stopped(ENTRY, Vec::new), Stopped::Kernel);
    assert_eq!(bench.measure.stopped(0x10_0000, Vec::new), Stopped::Nowhere);
    bench.write(0x80, 8);
    bench.write(0x3f8, b'x');

    let record = bench.written();
    assert_eq!(record["kernel_entry"]["found"], "hardware breakpoint");
    assert_eq!(record["kernel_entry"]["way"], "linux64");
    assert_eq!(record["counts"]["port_reads"], 1);
    assert_eq!(record["counts"]["port_writes"], 1);
    assert_eq!(record["counts"]["exits"], 2);
    assert_eq!(record["after"]["exits"], 2);
    assert_eq!(record["accesses"][0]["value"], 0x554d_4551);
    assert_eq!(record["accesses"][0]["device"], "fw_cfg-dma");
    assert_eq!(record["accesses"][1]["device"], "none");
    assert_eq!(record["accesses"].as_array().unwrap().len(), 2);
    let phases = ["vmm", "reset", "firmware", "kernel", "run"];
    assert_eq!(names(&record, "phases"), phases);
    assert_eq!(record["phases"][2]["accesses"], 2);
    assert!(record.get("last_exits").is_none());
}

#[test]
fn without_breakpoints_the_trace_point_divides_it() {
    for armed in [false, true] {
        let bench = Bench::new(armed);
        bench.write(0xf5, 1);
        bench.write(0xf4, 4);
        bench.write(0x80, 1);
        bench.write(0xf4, 6);
        bench.write(0xf4, 7);
        bench.write(0xf4, 99);

        let record = bench.written();
        assert_eq!(record["kernel_entry"]["found"], "trace point");
        assert_eq!(record["kernel_entry"]["way"], "pvh");
        assert_eq!(record["counts"]["port_writes"], 2, "{armed}");
        assert_eq!(record["accesses"].as_array().unwrap().len(), 2);
        assert_eq!(record["after"]["exits"], 4);
        let events = names(&record, "events");
        for name in ["fw_start", "linux_start_kernel", "init", "mark_99", "end"] {
            assert!(events.iter().any(|event| event == name), "{events:?}");
        }
        assert_eq!(
            names(&record, "phases"),
            ["reset", "firmware", "user", "run"]
        );
    }
}

#[test]
fn what_sets_the_speed_of_com1_is_no_output() {
    let bench = Bench::new(true);
    bench.write(0x3f8, b'f');
    assert_eq!(bench.measure.stopped(ENTRY, Vec::new), Stopped::Kernel);
    bench.write(0x3fb, 0x83);
    bench.write(0x3f8, 1);
    let speed = names(&Bench::new(true).written(), "events");
    assert!(!speed.contains(&OUTPUT.to_owned()));
    assert!(!lock(&bench.measure.state).first_output);
    bench.write(0x3fb, 0x03);
    bench.write(0x3f8, b'k');
    assert!(names(&bench.written(), "events").contains(&OUTPUT.to_owned()));
}

#[test]
fn a_string_is_one_exit_and_many_accesses() {
    let bench = Bench::new(true);
    bench.port(AccessKind::PortRead, 0x511, 2, &[1, 2, 3, 4, 5, 6]);
    let record = bench.written();
    assert_eq!(record["counts"]["port_reads"], 3);
    assert_eq!(record["counts"]["exits"], 1);
    assert_eq!(record["accesses"][0]["value"], 0x201);
    assert_eq!(record["accesses"][0]["purpose"], "a string of 3");
}

#[test]
fn a_boot_that_leads_nowhere_leaves_its_last_exits_and_its_processors() {
    let bench = Bench::new(true);
    for number in 0..100 {
        bench.write(0x80, number);
    }
    bench.measure.left(Processor {
        index: 0,
        rip: 0xfff0,
        linear: 0xffff_fff0,
        mode: "real",
    });
    let record = bench.written();
    assert!(record.get("kernel_entry").is_none());
    assert_eq!(record["last_exits"].as_array().unwrap().len(), 32);
    assert_eq!(record["last_exits"][31]["value"], 99);
    assert_eq!(record["processors"][0]["linear"], 0xffff_fff0_u32);
    assert_eq!(record["counts"]["port_writes"], 100);
}

#[test]
fn a_guest_cannot_fill_memory_with_accesses_and_marks() {
    let bench = Bench::new(false);
    let most = u64::try_from(MOST_ACCESSES).unwrap();
    for _ in 0..most + 5 {
        bench.write(0xf4, 50);
    }
    let record = bench.written();
    assert_eq!(record["accesses_left_out"], 5);
    assert_eq!(record["counts"]["port_writes"], most + 5);
    assert!(names(&record, "events").len() <= MOST_MARKS + 4);
}

#[test]
fn guest_memory_is_not_the_processes_own() {
    let maps = "\
        7f00-7f01 rw-p 0 00:00 0\nRss: 9 kB\nAnonymous:       128 kB\nVmFlags: rd wr mr nr \n\
        7f02-7f03 rw-p 0 00:00 0\nRss: 9 kB\nAnonymous:        12 kB\nVmFlags: rd wr mr \n\
        7f04-7f05 r-xp 0 08:01 7 /bin/x\nAnonymous:         0 kB\nVmFlags: rd ex\n";
    assert_eq!(private_of(maps), 12);
}
