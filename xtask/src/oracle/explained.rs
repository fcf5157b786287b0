// SPDX-License-Identifier: MIT OR Apache-2.0
//! The differences that have a reason.
//!
//! A line names a firmware, a field, a condition, and the reason in one sentence; whatever no line
//! matches is a failure, and a line that matches nothing in a run of the whole matrix is stale.

use super::cell::{Board, Cell, Extra, Format};
use super::facts::Difference;
use super::{Reference, UNSAID};
use Reference::{Qboot, SeaBios};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A reason for a difference.
struct Explained {
    /// Whose result ours differs from.
    against: &'static [Reference],
    what: What,
    /// On which machines.
    when: fn(&Cell) -> bool,
    why: &'static str,
}

/// A machine on which a reference says nothing, and why.
struct Hang {
    reference: Reference,
    when: fn(&Cell) -> bool,
    why: &'static str,
}

/// Which differences.
enum What {
    /// What the map says of any part of this range: ours, theirs.
    Memory(fn(&Cell) -> Range<u64>, Kinds, Kinds),
    /// A field, or with `*` for anything all that are named so, whatever the values.
    Field(&'static str),
    /// The same, when the values are as they should be: ours, theirs.
    Values(&'static str, fn(&Cell, &[String], &[String]) -> bool),
}

type Kinds = &'static [u32];
type Values<'a> = &'a [String];

const RAM: Kinds = &[1];
const RESERVED: Kinds = &[2];
const NVS: Kinds = &[4];
const NOTHING: Kinds = &[UNSAID];

const BOTH: &[Reference] = &[Qboot, SeaBios];
const QBOOT: &[Reference] = &[Qboot];
const SEABIOS: &[Reference] = &[SeaBios];

const fn line(
    against: &'static [Reference],
    what: What,
    when: fn(&Cell) -> bool,
    why: &'static str,
) -> Explained {
    Explained {
        against,
        what,
        when,
        why,
    }
}

fn always(_: &Cell) -> bool {
    true
}

fn microvm(cell: &Cell) -> bool {
    cell.board == Board::Microvm
}

/// A machine with a PCI bus behind ports.
fn pc(cell: &Cell) -> bool {
    cell.board != Board::Microvm
}

fn q35(cell: &Cell) -> bool {
    cell.board == Board::Q35
}

fn multiboot(cell: &Cell) -> bool {
    cell.format == Format::Multiboot
}

/// We enter it in 32 or 64 bits, the others in 16.
fn entered_higher(cell: &Cell) -> bool {
    matches!(cell.format, Format::Bzimage64 | Format::Bzimage32)
}

/// With the 16-bit entry point alone, and the BIOS behind it.
fn sixteen(cell: &Cell) -> bool {
    matches!(cell.format, Format::Bzimage16 | Format::Zimage)
}

fn bzimage(cell: &Cell) -> bool {
    entered_higher(cell) || sixteen(cell)
}

/// All that they have, we have, too.
fn ours_has_more(_: &Cell, ours: Values, theirs: Values) -> bool {
    theirs.iter().all(|value| ours.contains(value))
}

fn ours_has_none(_: &Cell, ours: Values, _: Values) -> bool {
    ours.is_empty()
}

/// They are not booted.
const HANGS: &[Hang] = &[Hang {
    reference: Qboot,
    when: |cell| cell.extra == Extra::Generation,
    why: "qboot halts at the loader command that writes a pointer back to QEMU",
}];

/// Every explained difference.
const EXPLAINED: &[Explained] = &[
    // ---- the memory map ----
    line(
        BOTH,
        What::Memory(|_| 0x8_0000..0xa_0000, RESERVED, RAM),
        always,
        "our hand-off block with parameters and MP table is reserved as far as it reaches down",
    ),
    line(
        QBOOT,
        What::Memory(|_| 0xd_0000..0xf_0000, &[UNSAID, 2], NVS),
        always,
        "qboot calls 0xD0000 to 0xEFFFF NVS, whatever it has put there",
    ),
    line(
        BOTH,
        What::Memory(|_| 0xc_0000..0xf_0000, RESERVED, NOTHING),
        |cell| cell.acpi || pc(cell),
        "our ACPI and SMBIOS tables lie below the image and are reserved; theirs lie elsewhere",
    ),
    line(
        SEABIOS,
        What::Memory(
            |cell| cell.low_ram() - 0x4_0000..cell.low_ram(),
            RAM,
            RESERVED,
        ),
        always,
        "SeaBIOS keeps its tables at the top of RAM below 4 GiB",
    ),
    line(
        QBOOT,
        What::Memory(
            |cell| cell.low_ram() - 0x4_0000..cell.low_ram(),
            RESERVED,
            RAM,
        ),
        |cell| cell.extra == Extra::Nvdimm,
        "what does not fit below the image goes to the top of RAM; qboot lets it grow down into \
         what it does not reserve",
    ),
    line(
        QBOOT,
        What::Values("smbios.*", |_, _, theirs| theirs.is_empty()),
        |cell| cell.extra == Extra::Smbios3,
        "qboot knows only the first SMBIOS entry point, and drops the tables behind the other",
    ),
    line(
        SEABIOS,
        What::Memory(|_| 0xfffc_0000..0x1_0000_0000, NOTHING, RESERVED),
        always,
        "SeaBIOS lists its own image at the top of 4 GiB, where no RAM is said to be",
    ),
    line(
        QBOOT,
        What::Memory(|_| 0xfed1_c000..0xfed2_0000, RESERVED, NOTHING),
        q35,
        "qboot does not switch the chipset's register block on, which SeaBIOS and we do",
    ),
    line(
        QBOOT,
        What::Field("e820.sorted"),
        always,
        "qboot leaves the records in QEMU's order",
    ),
    line(
        QBOOT,
        What::Field("e820.empty entries"),
        always,
        "qboot counts a record that it has not filled",
    ),
    // ---- the processor ----
    line(
        BOTH,
        What::Field("mtrr.*"),
        always,
        "MTRRs: qboot leaves them off, SeaBIOS switches the fixed ones on, too, and both it and we \
         make everything write-back from RAM to the hole below 4 GiB",
    ),
    line(
        BOTH,
        What::Field("apic.*"),
        always,
        "the local APIC is in virtual wire mode: LINT0 is edge-triggered, as the MP specification \
         has it; SeaBIOS says level, and qboot leaves it as after reset",
    ),
    line(
        SEABIOS,
        What::Field("pic.*"),
        always,
        "SeaBIOS goes on to use timer, keyboard, clock and disks; we leave all of them masked",
    ),
    // ---- PCI ----
    line(
        BOTH,
        What::Field("pci.*.command"),
        pc,
        "we let those functions decode that have something to decode, SeaBIOS all, qboot none",
    ),
    line(
        QBOOT,
        What::Values("pci.*.bar*", |_, ours, _| {
            ours.iter().all(|value| value.ends_with("assigned"))
        }),
        pc,
        "qboot assigns no BARs but the IDE controller's",
    ),
    line(
        QBOOT,
        What::Field("pci.*"),
        |cell| cell.extra == Extra::Devices,
        "qboot routes interrupts one slot off and numbers buses in its own order",
    ),
    line(
        QBOOT,
        What::Field("pci.0x0:0x1.0x3.interrupt"),
        |cell| cell.board == Board::Pc,
        "the PM function interrupts at 9, whatever the routing of its pin; qboot says 10",
    ),
    // ---- how a kernel is entered ----
    line(
        BOTH,
        What::Field("entry.task"),
        |cell| matches!(cell.format, Format::Pvh | Format::Multiboot),
        "PVH asks for a 32-bit TSS with limit 0x67 in TR; they leave there what is there after reset",
    ),
    line(
        BOTH,
        What::Field("mode"),
        entered_higher,
        "we enter a bzImage at the highest entry point that it has; they know but the 16-bit one",
    ),
    line(
        BOTH,
        What::Field("boot_params.type_of_loader"),
        bzimage,
        "the loader is our firmware, which has no number of its own; theirs pass on QEMU's",
    ),
    line(
        BOTH,
        What::Field("boot_params.vid_mode"),
        entered_higher,
        "without real mode there is no mode to set: we say `normal`",
    ),
    line(
        BOTH,
        What::Field("boot_params.heap_end"),
        bzimage,
        "without real mode there is no heap, and with it ours ends where the stack begins",
    ),
    line(
        BOTH,
        What::Field("boot_params.rsdp"),
        entered_higher,
        "we say where the RSDP is; a 16-bit kernel has to scan for it",
    ),
    line(
        QBOOT,
        What::Values("module.cmdline", |_, ours, _| ours == ["0x0"]),
        |cell| cell.format == Format::Pvh,
        "qboot leaves the module's own command line as it finds its stack",
    ),
    line(
        QBOOT,
        What::Values("module.text", |_, ours, _| ours.is_empty()),
        |cell| cell.format == Format::Pvh,
        "qboot leaves the module's own command line as it finds its stack",
    ),
    line(
        BOTH,
        What::Field("entry.sp"),
        |cell| cell.format == Format::Zimage,
        "the old protocol leaves the stack's place to the loader",
    ),
    // ---- the BIOS of a 16-bit kernel ----
    line(
        QBOOT,
        What::Values("entry.bios.*", |_, _, theirs| {
            theirs.is_empty() || theirs == ["1"]
        }),
        sixteen,
        "qboot answers E820 and no other question",
    ),
    line(
        QBOOT,
        What::Field("entry.bios.15.e820*"),
        sixteen,
        "qboot answers E820 without SMAP, too, and we do not",
    ),
    line(
        QBOOT,
        What::Field("entry.bda.*"),
        sixteen,
        "qboot leaves the BIOS data area as it is",
    ),
    line(
        BOTH,
        What::Field("entry.bios.10.*"),
        sixteen,
        "there is no display: we say that its mode is text and do nothing, and VESA is refused",
    ),
    line(
        SEABIOS,
        What::Field("entry.bios.11.0"),
        sixteen,
        "we list a display as most programs expect one, and no pointing device",
    ),
    line(
        SEABIOS,
        What::Field("entry.bios*.12.0"),
        sixteen,
        "our hand-off block is the EBDA, and longer than one KiB",
    ),
    line(
        SEABIOS,
        What::Field("entry.bda.*"),
        sixteen,
        "our hand-off block is the EBDA, and longer than one KiB",
    ),
    line(
        SEABIOS,
        What::Field("entry.bios.13.1500*"),
        sixteen,
        "asked for its type, a disk that is not there is answered for: type 0; SeaBIOS says error",
    ),
    line(
        SEABIOS,
        What::Field("entry.bios.15.2403"),
        sixteen,
        "the ways to switch A20 that there are: port 92 but on microvm, and no keyboard controller",
    ),
    line(
        SEABIOS,
        What::Field("entry.bios.15.5300*"),
        sixteen,
        "SeaBIOS has APM, and we have not",
    ),
    line(
        SEABIOS,
        What::Field("entry.bios.15.c000"),
        sixteen,
        "the configuration table is at its own place",
    ),
    line(
        SEABIOS,
        What::Field("entry.bios*.15.8800"),
        |cell| sixteen(cell) && cell.memory_mib == 64,
        "SeaBIOS keeps its tables at the top of RAM below 4 GiB",
    ),
    line(
        SEABIOS,
        What::Field("entry.bios*.15.e801"),
        sixteen,
        "SeaBIOS keeps its tables at the top of RAM below 4 GiB",
    ),
    line(
        SEABIOS,
        What::Field("entry.bios.15.ec00*"),
        sixteen,
        "told which mode the kernel will run in we take note, as its author wishes",
    ),
    line(
        SEABIOS,
        What::Field("entry.bios.17.200*"),
        sixteen,
        "there is no printer: we say so in its status, SeaBIOS with an error",
    ),
    line(
        SEABIOS,
        What::Field("entry.bios*.1a.b1*"),
        |cell| sixteen(cell) && microvm(cell),
        "without configuration ports there is no PCI BIOS, but SeaBIOS offers one",
    ),
    line(
        SEABIOS,
        What::Field("entry.bios*.1a.b101"),
        |cell| sixteen(cell) && pc(cell),
        "its entry point for 32 bits is at its own place",
    ),
    line(
        SEABIOS,
        What::Field("entry.bios32.*"),
        |cell| (sixteen(cell) || multiboot(cell)) && microvm(cell),
        "without configuration ports there is no PCI BIOS, but SeaBIOS offers one",
    ),
    line(
        QBOOT,
        What::Field("entry.bios32.*"),
        |cell| sixteen(cell) || multiboot(cell),
        "qboot's PCI BIOS is for 16 bits alone",
    ),
    line(
        QBOOT,
        What::Field("pic.*"),
        |cell| sixteen(cell) || multiboot(cell),
        "for kernels that may call a BIOS we have the timer tick; qboot leaves the PIC as reset does \
         on microvm, and the timer masked elsewhere",
    ),
    // ---- multiboot ----
    line(
        BOTH,
        What::Field("multiboot.loader"),
        multiboot,
        "the loader is not QEMU but our firmware",
    ),
    line(
        BOTH,
        What::Values("multiboot.flags", |_, ours, theirs| {
            ours == ["0x24d"] && theirs == ["0x24f"]
        }),
        multiboot,
        "there is no boot device, and we do not say that there is one",
    ),
    line(
        BOTH,
        What::Field("multiboot.boot_device"),
        multiboot,
        "there is no boot device, and we leave its field zero",
    ),
    line(
        BOTH,
        What::Field("multiboot.memory"),
        multiboot,
        "lower memory ends at our hand-off block; upper memory ends before SeaBIOS's tables",
    ),
    // ---- MP tables ----
    line(
        BOTH,
        What::Field("mp.ioapic.id"),
        always,
        "which ID an I/O APIC gets is the firmware's choice: we take one that no processor has",
    ),
    line(
        QBOOT,
        What::Field("mp.ioapic"),
        always,
        "qboot gives the I/O APIC a local APIC's version, 0x14; the register says 0x11 or 0x20",
    ),
    line(
        QBOOT,
        What::Field("mp.count"),
        always,
        "qboot leaves the number of entries at 0",
    ),
    line(
        QBOOT,
        What::Field("mp.cpu"),
        |cell| cell.extra == Extra::Topology,
        "qboot numbers processors from 0 on; their IDs have a gap where a package is not full",
    ),
    line(
        SEABIOS,
        What::Values("mp.cpu", ours_has_more),
        always,
        "SeaBIOS lists only the first processor of each package",
    ),
    line(
        SEABIOS,
        What::Values("mp.interrupt.ISA.*", |_, _, theirs| theirs.is_empty()),
        always,
        "SeaBIOS leaves out ISA interrupts 5, 9, 10 and 11, which it takes for PCI's",
    ),
    line(
        QBOOT,
        What::Values("mp.bus", |_, ours, theirs| {
            ours == ["PCI", "ISA"] && theirs == ["ISA"]
        }),
        pc,
        "qboot's MP tables do not list PCI interrupts",
    ),
    line(
        QBOOT,
        What::Field("mp.interrupt.ISA.*"),
        pc,
        "qboot does not say that PCI's lines, 10 and 11, are level-triggered",
    ),
    line(
        BOTH,
        What::Values("mp.interrupt.PCI.*", |_, _, theirs| theirs.is_empty()),
        pc,
        "we list the pins of every device that can be; SeaBIOS those that there are, qboot none",
    ),
    line(
        SEABIOS,
        What::Values("mp.interrupt.PCI.*", |_, ours, theirs| {
            let pin = |value: &str| value.rsplit(' ').next().map(str::to_owned);
            let (ours, theirs): (Vec<_>, Vec<_>) = (
                ours.iter().map(|value| pin(value)).collect(),
                theirs.iter().map(|value| pin(value)).collect(),
            );
            ours == theirs
        }),
        pc,
        "SeaBIOS says that PCI's interrupts are active high; PCI's are active low",
    ),
    // ---- ACPI ----
    line(
        SEABIOS,
        What::Field("acpi.*"),
        |cell| microvm(cell) && cell.format == Format::Pvh && cell.initrd && cell.cpus >= 64,
        "QEMU suggests an initrd up to the end of RAM, where SeaBIOS has its tables, and the option \
         ROM loads it there: the tables are overwritten",
    ),
    line(
        SEABIOS,
        What::Values("acpi.*", ours_has_none),
        |cell| q35(cell) && !cell.acpi,
        "where QEMU has no ACPI tables SeaBIOS makes up its own, if it knows the chipset",
    ),
    line(
        SEABIOS,
        What::Field("start_info.rsdp"),
        |cell| q35(cell) && !cell.acpi,
        "where QEMU has no ACPI tables SeaBIOS makes up its own, if it knows the chipset",
    ),
    // ---- SMBIOS ----
    line(
        BOTH,
        What::Field("smbios.0x0.0x0"),
        pc,
        "type 0 tells of the firmware",
    ),
    line(
        SEABIOS,
        What::Values("smbios.*", ours_has_none),
        microvm,
        "where QEMU has no SMBIOS tables SeaBIOS makes up its own",
    ),
];

static USED: [AtomicBool; EXPLAINED.len()] = [const { AtomicBool::new(false) }; EXPLAINED.len()];
static BOOTS: AtomicUsize = AtomicUsize::new(0);

/// Counts a boot.
pub fn booted() {
    BOOTS.fetch_add(1, Ordering::Relaxed);
}

/// How many boots there were.
pub fn boots() -> usize {
    BOOTS.load(Ordering::Relaxed)
}

/// Why a machine is not booted under a reference.
pub fn hangs(reference: Reference, cell: &Cell) -> Option<&'static str> {
    HANGS
        .iter()
        .find(|hang| hang.reference == reference && (hang.when)(cell))
        .map(|hang| hang.why)
}

/// Whether a difference has a reason.
pub fn explain(reference: Reference, cell: &Cell, difference: &Difference) -> bool {
    let mut explained = false;
    for (line, used) in EXPLAINED.iter().zip(&USED) {
        if line.against.contains(&reference)
            && (line.when)(cell)
            && line.what.covers(cell, difference)
        {
            used.store(true, Ordering::Relaxed);
            explained = true;
        }
    }
    explained
}

/// The reasons that have explained nothing.
pub fn stale() -> impl Iterator<Item = &'static str> {
    EXPLAINED
        .iter()
        .zip(&USED)
        .filter(|(_, used)| !used.load(Ordering::Relaxed))
        .map(|(line, _)| line.why)
}

/// Whether a field has a name like this.
fn named(pattern: &str, field: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, "")) => field.starts_with(start),
        Some((start, rest)) => field.strip_prefix(start).is_some_and(|behind| {
            let mut tails = (0..=behind.len()).filter_map(|at| behind.get(at..));
            tails.any(|tail| named(rest, tail))
        }),
        None => field == pattern,
    }
}

impl What {
    fn covers(&self, cell: &Cell, difference: &Difference) -> bool {
        match (self, difference) {
            (
                Self::Memory(place, our_kinds, their_kinds),
                Difference::Memory {
                    range,
                    ours,
                    theirs,
                },
            ) => {
                let place = place(cell);
                place.start <= range.start
                    && range.end <= place.end
                    && our_kinds.contains(ours)
                    && their_kinds.contains(theirs)
            }
            (Self::Field(pattern), Difference::Value { field, .. }) => named(pattern, field),
            (
                Self::Values(pattern, are),
                Difference::Value {
                    field,
                    ours,
                    theirs,
                },
            ) => named(pattern, field) && are(cell, ours, theirs),
            _ => false,
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        assert!(named("mode", "mode"));
        assert!(!named("mode", "modes"));
        assert!(named("pci.*.command", "pci.0x0:0x1.0x0.command"));
        assert!(!named("pci.*.command", "pci.0x0:0x1.0x0.class"));
        assert!(named("smbios.*", "smbios.0x1.0x100"));
        assert!(named("pci.*.bar*", "pci.0x0:0x1.0x0.bar0x4"));
        assert!(!named("pci.*.bar*", "pci.0x0:0x1.0x0.class"));
    }

    #[test]
    fn a_range_is_explained_only_as_far_as_the_line_goes() {
        let line = What::Memory(|_| 0x1000..0x3000, RESERVED, RAM);
        let cell = super::super::cell::all()[0];
        let memory = |range, ours| Difference::Memory {
            range,
            ours,
            theirs: 1,
        };

        assert!(line.covers(&cell, &memory(0x1000..0x2000, 2)));
        assert!(!line.covers(&cell, &memory(0x1000..0x4000, 2)));
        assert!(!line.covers(&cell, &memory(0x1000..0x2000, UNSAID)));
    }

    #[test]
    fn every_line_has_a_sentence() {
        for line in EXPLAINED {
            assert!(line.why.len() > 20, "{}", line.why);
        }
    }
}
