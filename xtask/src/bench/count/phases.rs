// SPDX-License-Identifier: MIT OR Apache-2.0
//! The steps of our firmware's boot, which are those of `find_kernel` in `firmware/src/main.rs`.
//!
//! In: the functions that an instruction is in. Out: the phase that they begin.
//! Pure.
//!
//! A phase begins with the first instruction of a function that `find_kernel` calls, inlined or
//! not, and everything that it calls belongs to it. A line more in `find_kernel` moves nothing; a
//! function that is not listed here belongs to the phase before.

use super::symbols::Frame;

/// A phase and the functions that begin it, by file and name.
type Phase = (&'static str, &'static [(&'static str, &'static str)]);

/// In the order of the narrative; the first begins at the reset vector.
const PHASES: [Phase; 15] = [
    ("way in", &[("firmware/src/machine/mod.rs", "take")]),
    (
        "fw_cfg and chipset",
        &[
            ("firmware/src/machine/mod.rs", "open_fw_cfg"),
            ("firmware/src/machine/mod.rs", "initialise_chipset"),
        ],
    ),
    (
        "directory",
        &[("firmware/core/src/fw_cfg/directory.rs", "read")],
    ),
    (
        "log",
        &[
            ("firmware/src/report.rs", "new"),
            ("firmware/src/report.rs", "firmware_started"),
            ("firmware/src/report.rs", "gathered"),
            ("firmware/src/report.rs", "planned"),
            ("firmware/src/report.rs", "kernel_entered"),
        ],
    ),
    ("facts", &[("firmware/core/src/facts.rs", "gather")]),
    (
        "addresses",
        &[("firmware/src/machine/board.rs", "assign_addresses")],
    ),
    (
        "loader script",
        &[("firmware/core/src/acpi/mod.rs", "gather")],
    ),
    (
        "smbios",
        &[
            ("firmware/core/src/smbios/mod.rs", "gather"),
            ("firmware/core/src/smbios/mod.rs", "link"),
            ("firmware/src/machine/shadow.rs", "show"),
        ],
    ),
    (
        "performance table",
        &[
            ("firmware/src/machine/cpu.rs", "khz"),
            ("firmware/core/src/acpi/performance.rs", "add_performance"),
        ],
    ),
    ("plan", &[("firmware/core/src/plan/mod.rs", "new")]),
    (
        "kernel and initrd",
        &[
            ("firmware/src/machine/memory.rs", "window"),
            ("firmware/src/machine/paging.rs", "extend"),
            ("firmware/core/src/plan/mod.rs", "load"),
        ],
    ),
    (
        "acpi tables",
        &[
            ("firmware/core/src/acpi/mod.rs", "load"),
            ("firmware/core/src/acpi/mod.rs", "link"),
            ("firmware/core/src/acpi/mod.rs", "rsdp"),
        ],
    ),
    (
        "tables",
        &[
            ("firmware/core/src/tables/mod.rs", "write"),
            ("firmware/core/src/tables/pvh.rs", "add_modules"),
        ],
    ),
    (
        "memory types",
        &[("firmware/src/machine/mtrr.rs", "set_memory_types")],
    ),
    (
        "hand-off",
        &[
            ("firmware/core/src/plan/real_mode.rs", "new"),
            ("firmware/core/src/plan/real_mode.rs", "load"),
            ("firmware/src/resident/mod.rs", "prepare"),
            ("firmware/src/handoff/mod.rs", "enter"),
        ],
    ),
];

/// The function that tells the story, and the one that calls it.
const NARRATORS: [&str; 2] = ["find_kernel", "firmware_main"];

/// The phase that an instruction begins, or goes on with, if the functions that it is in say so; the
/// innermost comes first.
///
/// The function that the narrator has inlined says it, or else the one that was not inlined.
pub fn begun(frames: &[Frame]) -> Option<usize> {
    let narrator = NARRATORS
        .iter()
        .find_map(|name| frames.iter().position(|frame| frame.function == *name));
    let callee = match narrator {
        Some(index) => frames.get(index.checked_sub(1)?)?,
        None => frames.last()?,
    };
    PHASES.iter().position(|(_, functions)| {
        functions.contains(&(callee.file.as_str(), callee.function.as_str()))
    })
}

/// The name of a phase.
pub fn name(phase: usize) -> &'static str {
    PHASES.get(phase).map_or("unknown", |(name, _)| name)
}

/// All names, in the order of the narrative.
pub fn names() -> [&'static str; PHASES.len()] {
    PHASES.map(|(name, _)| name)
}

#[cfg(test)]
mod test {
    use super::*;

    fn frames(list: &[(&str, &str)]) -> Vec<Frame> {
        list.iter()
            .map(|(file, function)| Frame {
                function: (*function).into(),
                file: (*file).into(),
            })
            .collect()
    }

    fn phase(name: &str) -> usize {
        PHASES.iter().position(|phase| phase.0 == name).unwrap()
    }

    const GATHER: (&str, &str) = ("firmware/core/src/facts.rs", "gather");
    const RING: (&str, &str) = ("firmware/src/machine/fw_cfg.rs", "ring");
    const STORY: (&str, &str) = ("firmware/src/main.rs", "find_kernel");
    const MAIN: (&str, &str) = ("firmware/src/boot/mod.rs", "firmware_main");

    #[test]
    fn what_the_narrator_calls_begins_a_phase_inlined_or_not() {
        let inlined = begun(&frames(&[RING, GATHER, STORY, MAIN]));
        let called = begun(&frames(&[RING, GATHER]));

        assert_eq!(inlined, Some(phase("facts")));
        assert_eq!(called, Some(phase("facts")));
    }

    #[test]
    fn everything_else_goes_on_with_the_phase_before() {
        let unlisted = ("firmware/src/new.rs", "new");

        assert_eq!(begun(&frames(&[STORY, MAIN])), None);
        assert_eq!(begun(&frames(&[unlisted, STORY, MAIN])), None);
        assert_eq!(begun(&frames(&[GATHER, unlisted, STORY, MAIN])), None);
        assert_eq!(begun(&frames(&[RING])), None);
        assert_eq!(begun(&[]), None);
    }

    #[test]
    fn every_function_that_begins_a_phase_is_in_the_tree() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (file, function) in PHASES.iter().flat_map(|(_, functions)| *functions) {
            let source = std::fs::read_to_string(root.join(file)).unwrap_or_default();
            assert!(
                source.contains(&format!("fn {function}")),
                "{file}: {function}"
            );
        }
    }
}
