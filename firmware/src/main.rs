// SPDX-License-Identifier: MIT OR Apache-2.0
//! qboot-rs: from the reset vector to the kernel.
//!
//! This file is the table of contents. The processor arrives here in 64-bit mode ([`boot`]); the
//! head, `firmware-core`, asks and decides; the hands do what it says.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod boot;
mod console;
#[allow(unsafe_code)]
mod handoff;
#[allow(unsafe_code)]
mod machine;
mod report;
#[allow(unsafe_code)]
mod resident;

use core::panic::PanicInfo;
use firmware_core::acpi::{Loader, Moments};
use firmware_core::aftermath::Aftermath;
use firmware_core::error::BootError;
use firmware_core::facts::Facts;
use firmware_core::fw_cfg::Directory;
use firmware_core::plan::{Entry, Plan, RealMode};
use firmware_core::tables::pvh;
use firmware_core::{smbios, tables};
use machine::{Machine, timestamp};
use report::Log;

/// Everything between the first question and the last preparation; `boot` calls it and enters.
fn find_kernel(machine: &mut Machine) -> Result<Entry, BootError> {
    let mut fw_cfg = machine.open_fw_cfg()?;
    let mut chipset = machine.initialise_chipset();
    let scratch = &mut machine.scratch;
    let mut files = Directory::read(&mut fw_cfg, &mut scratch.directory)?;
    let mut log = Log::new(&mut fw_cfg, &files.known, &machine.processor);
    log.firmware_started(&mut fw_cfg, &mut files);

    let identify = |count| machine.processor.identify(count);
    let facts = Facts::gather(
        &mut fw_cfg,
        &files,
        chipset.board,
        identify,
        &mut scratch.facts,
    )?;
    chipset.assign_addresses(&mut fw_cfg, &mut files, &facts, &mut machine.handoff)?;
    let mut loader = Loader::gather(
        &mut fw_cfg,
        &mut files,
        &mut scratch.commands,
        &mut scratch.blobs,
    )?;
    smbios::gather(&files.known, &mut loader)?;
    let mut moments = Moments::default();
    if loader.has_tables() {
        moments.khz = machine.processor.khz();
        if moments.khz != 0 {
            loader.want_performance();
        }
    }
    log.gathered(&facts, &mut machine.handoff);

    let plan = Plan::new(&facts, fw_cfg.means(), &mut loader.blobs, &mut scratch.map)?;
    log.planned(&plan, &loader.blobs);

    let block = machine.handoff.window(plan.handoff.block);
    machine.paging.extend(&plan.handoff, block);
    moments.load = timestamp();
    plan.load(&mut fw_cfg, block)?;
    loader.load(&mut fw_cfg)?;
    loader.link(&mut fw_cfg, &mut files, &mut machine.tables)?;
    let rsdp = loader.rsdp(&mut machine.tables);
    if let Some(anchor) = smbios::link(&files.known, &loader, &mut machine.tables)? {
        machine::show(chipset.board, anchor);
    }
    tables::write(&plan, &facts, rsdp, block);
    if facts.modules.count() > 0 {
        pvh::add_modules(&mut fw_cfg, &plan, facts.modules, block)?;
    }
    if let Some(rsdp) = rsdp
        && moments.khz != 0
    {
        moments.reset = machine.processor.reset;
        moments.enter = timestamp();
        // Without it the kernel only does not know.
        let _ = loader.add_performance(rsdp, &moments, &mut machine.tables);
    }
    machine::set_memory_types(facts.processors.identity(), &plan.memory);
    log.kernel_entered(&plan.entry, &mut fw_cfg, &mut loader, &mut machine.tables);
    let (entry, block) = (plan.entry, plan.handoff.block);
    match entry {
        Entry::Linux16 { .. } => {
            let real_mode = RealMode::new(&facts, &plan);
            resident::prepare(machine, block);
            if let Some(real_mode) = real_mode {
                real_mode.load(&mut fw_cfg, machine.conventional_memory().1)?;
            }
        }
        Entry::Multiboot { .. } => resident::prepare(machine, block),
        _ => {}
    }
    Ok(entry)
}

/// What happens instead.
fn give_up(machine: &mut Machine, error: &BootError) -> ! {
    let aftermath = machine.open_fw_cfg().map_or_else(
        |_| Aftermath::default(),
        |mut fw_cfg| Aftermath::gather(&mut fw_cfg, &mut machine.scratch.directory, error),
    );
    report::give_up(error, &aftermath)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    match info.location() {
        Some(place) => report::panicked(place.file(), place.line()),
        None => report::panicked("unknown", 0),
    }
}
