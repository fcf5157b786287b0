// SPDX-License-Identifier: MIT OR Apache-2.0
//! What each interval and each count means, in a line.

/// A name and what it stands for.
pub type Definition = (&'static str, &'static str);

/// The phase between the first instruction and the kernel's first, where it is one.
pub const FIRMWARE: &str = "firmware";

/// Intervals, by the names that the measurements give them, in the order of a boot.
pub const PHASES: [Definition; 21] = [
    (
        "VMM start",
        "From just before the monitor's process is started to the first guest instruction.",
    ),
    (
        "firmware, kernel to first output",
        "From the first guest instruction to the first byte that the kernel writes to the serial \
         port, where the kernel does not say when it was entered.",
    ),
    (
        FIRMWARE,
        "From the first instruction, at the reset vector, to the first of the kernel: the whole of \
         a firmware whose functions are not known.",
    ),
    ("way in", "From the reset vector to 64-bit mode."),
    (
        "fw_cfg and chipset",
        "The monitor's device is found, and the chipset is set up as far as it needs to be.",
    ),
    (
        "directory",
        "The list of what the monitor has to tell is read and searched.",
    ),
    (
        "log",
        "What a log would take, where nobody has asked for one.",
    ),
    (
        "facts",
        "The machine and the kernel to boot are asked for, item by item.",
    ),
    (
        "addresses",
        "PCI functions get their addresses, where there is PCI.",
    ),
    (
        "loader script",
        "The script that connects the ACPI tables is read and checked.",
    ),
    (
        "smbios",
        "The structures that describe the machine are read and made whole.",
    ),
    (
        "performance table",
        "The table that tells the kernel what the boot has cost.",
    ),
    (
        "plan",
        "Where everything goes, decided before anything is written.",
    ),
    (
        "kernel and initrd",
        "The kernel, its initial RAM disk and its command line are loaded.",
    ),
    ("acpi tables", "The ACPI tables are loaded and connected."),
    (
        "tables",
        "What the kernel is handed: memory map, processors, command line.",
    ),
    (
        "memory types",
        "The processor is told which memory it may cache.",
    ),
    (
        "hand-off",
        "The way out, to the first instruction of the kernel.",
    ),
    (
        "kernel to first output",
        "From the first instruction of the kernel to its first byte on the serial port.",
    ),
    (
        "kernel to init",
        "From the first output to the first program of the initial RAM disk.",
    ),
    (
        "init to the end",
        "From the start of that program to the end of the monitor's process.",
    ),
];

/// Counts and costs, by the headings that the page gives them.
pub const COUNTS: [Definition; 11] = [
    (
        "Instructions",
        "Guest instructions from reset to the first of the kernel. A repeated string instruction \
         counts as often as it repeats. The same on every run.",
    ),
    (
        "Port accesses",
        "Reads and writes of I/O ports from reset to kernel entry. Each leaves the guest, which \
         costs more than a thousand instructions.",
    ),
    (
        "MMIO accesses",
        "Reads and writes of device registers in memory that leave the guest, in the same interval.",
    ),
    (
        "Local APIC accesses",
        "Those of the registers of the interrupt controller that every processor has; KVM and the \
         processor answer them.",
    ),
    (
        "Exits",
        "How often the guest was left for the monitor, for whatever reason.",
    ),
    (
        "fw_cfg",
        "The device by which the monitor tells the firmware what to boot: items that were read or \
         written, and bytes that it handed over.",
    ),
    (
        "ROM",
        "Bytes of the image that are occupied; the padding is not.",
    ),
    (
        "Memory touched",
        "Guest memory that was read or written at all before the kernel was entered.",
    ),
    (
        "Time",
        "From the start of the monitor's process to init, or to the kernel's first output where \
         there is no init. The median of the runs, which take turns between the firmwares so that a \
         slow minute of the machine falls on all; low and high are the extremes.",
    ),
    (
        "Ratio",
        "Of counts, the count divided by that of the first row. Of times, the time to kernel entry \
         divided by that of the first row, with the interval in which the true ratio lies with a \
         confidence of 95 %.",
    ),
    (
        "Monitor's memory",
        "Memory of the monitor's process beyond that of the guest, at its peak.",
    ),
];
