// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every other figure, by group and by row, to be opened.

use maud::{Markup, html};

use super::figure::Figure;
use super::{bars, group_setup, name, place, waterfalls};
use crate::bench::model::{AccessKind, Measured, Outcome, Phase, Spread};
use crate::bench::report::groups::{Group, Numbered};
use crate::bench::report::numbers;
use crate::bench::report::spreadsheet::kind;

/// Functions of one row that a page shows, the largest first.
const LARGEST: usize = 25;

/// Charts of the groups that have not been shown, and tables of all rows.
pub fn section(groups: &[Group<'_>], shown: &[&Group<'_>]) -> Markup {
    html! {
        section {
            h2 { "Every figure" }
            @for group in groups {
                @let is_shown = shown.iter().any(|other| std::ptr::eq(*other, group));
                details {
                    summary { (group_setup(group)) }
                    @if !is_shown { (bars(group)) (waterfalls(group)) }
                    @for &row in &group.rows { (tables(row)) }
                }
            }
        }
    }
}

fn tables(row: Numbered<'_>) -> Markup {
    let combination = &row.row.combination;
    let path = format!("/rows/{}/combination", row.index);
    let cpus = Figure::count(format!("{path}/cpus"), combination.cpus.into());
    let initrd = Figure::bytes(format!("{path}/initrd"), combination.initrd);
    html! {
        h3 { (name(row.firmware())) }
        p.note { "CPUs: " (cpus.html()) ", initrd: " (initrd.html()) }
        @match &row.row.outcome {
            Outcome::Unable(why) => p.note { "Not measured: " (name(why)) },
            Outcome::Measured(measured) => {
                (phases(row, measured))
                (costs(row, measured))
                (counts(row, measured))
                (registers(row, measured))
                (symbols(row, measured))
            }
        }
    }
}

/// A table that scrolls in itself where it is too wide.
fn table(firmware: &str, title: &str, headings: &[(&str, bool)], rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(title) {
            table {
                caption { span { (title) ": " (name(firmware)) } }
                thead { tr { @for (heading, number) in headings {
                    th.r[*number] scope="col" { (heading) }
                } } }
                tbody { (rows) }
            }
        }
    }
}

fn phases(row: Numbered<'_>, measured: &Measured) -> Markup {
    if measured.phases.is_empty() {
        return html! {};
    }
    let one = |(index, phase): (usize, &Phase)| {
        let path = format!("{}/phases/{index}", place(row));
        let count = |field: &str, number: Option<u64>| {
            html! { td.r { @if let Some(number) = number {
                (Figure::count(format!("{path}/{field}"), number).html())
            } } }
        };
        html! {
            tr {
                th scope="row" { (name(&phase.name)) }
                (count("instructions", phase.instructions))
                (count("accesses", phase.accesses))
                (spread(&format!("{path}/time"), phase.time, numbers::time))
            }
        }
    };
    let headings = [
        ("Phase", false),
        ("Instructions", true),
        ("Accesses", true),
        ("Median", true),
        ("Low", true),
        ("High", true),
        ("Runs", true),
    ];
    let rows = html! { @for phase in measured.phases.iter().enumerate().map(one) { (phase) } };
    table(row.firmware(), "Phases", &headings, &rows)
}

/// Four cells, empty where nothing was measured.
fn spread(path: &str, spread: Option<Spread>, show: fn(f64) -> String) -> Markup {
    let Some(spread) = spread else {
        return html! { td {} td {} td {} td {} };
    };
    let cell = |field: &str, number| {
        let figure = Figure::measured(format!("{path}/{field}"), number, show(number));
        html! { td.r { (figure.html()) } }
    };
    let runs = Figure::count(format!("{path}/runs"), spread.runs.into());
    html! {
        (cell("median", spread.median))
        (cell("low", spread.low))
        (cell("high", spread.high))
        td.r { (runs.html()) }
    }
}

fn costs(row: Numbered<'_>, measured: &Measured) -> Markup {
    let costs = &measured.costs;
    let path = format!("{}/costs", place(row));
    type Cost = (
        &'static str,
        &'static str,
        Option<Spread>,
        fn(f64) -> String,
    );
    let spreads: [Cost; 3] = [
        ("Time", "wall", costs.wall, numbers::time),
        (
            "Processor time",
            "processor_time",
            costs.processor_time,
            numbers::time,
        ),
        (
            "Monitor's memory",
            "memory",
            costs.memory,
            numbers::kibibytes,
        ),
    ];
    let ratio = costs.ratio.map(|ratio| {
        let cell = |field: &str, number| {
            let path = format!("{path}/ratio/{field}");
            let figure = Figure::measured(path, number, numbers::times(number));
            html! { td.r { (figure.html()) } }
        };
        html! {
            tr {
                th scope="row" { "Time, ratio to the first" }
                (cell("ratio", ratio.ratio)) (cell("low", ratio.low)) (cell("high", ratio.high))
                td {}
            }
        }
    });
    let program = costs
        .program
        .map(|bytes| Figure::bytes(format!("{path}/program"), bytes));
    let known = spreads.iter().any(|(_, _, cost, _)| cost.is_some());
    if !known && ratio.is_none() && program.is_none() {
        return html! {};
    }
    let rows = html! {
        @for (title, field, cost, show) in spreads { @if cost.is_some() {
            tr { th scope="row" { (title) } (spread(&format!("{path}/{field}"), cost, show)) }
        } }
        @if let Some(ratio) = ratio { (ratio) }
        @if let Some(program) = program {
            tr { th scope="row" { "Program of the monitor" } td.r { (program.html()) } td {} td {} td {} }
        }
    };
    let headings = [
        ("Cost", false),
        ("Median", true),
        ("Low", true),
        ("High", true),
        ("Runs", true),
    ];
    table(row.firmware(), "Costs", &headings, &rows)
}

fn counts(row: Numbered<'_>, measured: &Measured) -> Markup {
    let counts = &measured.counts;
    let path = |field: &str| format!("{}/counts/{field}", place(row));
    let count = |title, field, number: Option<u64>| {
        number.map(|number| (title, Figure::count(path(field), number)))
    };
    let touched = counts.memory_touched.map(|number| {
        (
            "Memory touched",
            Figure::kibibytes(path("memory_touched"), number),
        )
    });
    let known: Vec<_> = [
        count("Instructions", "instructions", counts.instructions),
        count("Port reads", "port_reads", counts.port_reads),
        count("Port writes", "port_writes", counts.port_writes),
        count("MMIO reads", "mmio_reads", counts.mmio_reads),
        count("MMIO writes", "mmio_writes", counts.mmio_writes),
        count("Local APIC accesses", "local_apic", counts.local_apic),
        count(
            "Instructions of other processors",
            "other_processors",
            counts.other_processors,
        ),
        count("Exits", "exits", counts.exits),
        count("fw_cfg items", "fw_cfg_items", counts.fw_cfg_items),
        count("fw_cfg bytes", "fw_cfg_bytes", counts.fw_cfg_bytes),
        count("ROM bytes", "rom_bytes", counts.rom_bytes),
        touched,
    ]
    .into_iter()
    .flatten()
    .collect();
    if known.is_empty() {
        return html! {};
    }
    let rows = html! {
        @for (title, figure) in known {
            tr { th scope="row" { (title) } td.r { (figure.html()) } }
        }
    };
    table(
        row.firmware(),
        "Counts from reset to the kernel",
        &[("Count", false), ("Number", true)],
        &rows,
    )
}

fn registers(row: Numbered<'_>, measured: &Measured) -> Markup {
    let registers = &measured.counts.places;
    if registers.is_empty() {
        return html! {};
    }
    let rows = html! {
        @for (index, register) in registers.iter().enumerate() {
            @let path = format!("{}/counts/places/{index}", place(row));
            @let bytes = match register.kind {
                AccessKind::PortRead | AccessKind::PortWrite => 2,
                AccessKind::MmioRead | AccessKind::MmioWrite => 4,
            };
            @let address = Figure::hexadecimal(format!("{path}/address"), register.address, bytes);
            tr {
                th scope="row" { (kind(register.kind)) }
                td.r { code { (address.html()) } }
                td { (name(&register.device)) }
                td.r { (Figure::count(format!("{path}/count"), register.count).html()) }
            }
        }
    };
    let headings = [
        ("Access", false),
        ("Address", true),
        ("Device", false),
        ("Times", true),
    ];
    table(row.firmware(), "Registers by accesses", &headings, &rows)
}

fn symbols(row: Numbered<'_>, measured: &Measured) -> Markup {
    let symbols = &measured.counts.symbols;
    if symbols.is_empty() {
        return html! {};
    }
    let rows = html! {
        @for (index, symbol) in symbols.iter().take(LARGEST).enumerate() {
            @let path = format!("{}/counts/symbols/{index}", place(row));
            tr {
                th scope="row" { code { (name(&symbol.symbol)) } }
                td { (name(&symbol.phase)) }
                td.r { (Figure::count(format!("{path}/count"), symbol.count).html()) }
                td.r { (Figure::count(format!("{path}/accesses"), symbol.accesses).html()) }
            }
        }
    };
    let headings = [
        ("Function", false),
        ("Phase", false),
        ("Instructions", true),
        ("Accesses", true),
    ];
    let path = format!("{}/counts/symbols", place(row));
    html! {
        (table(row.firmware(), "Functions by instructions", &headings, &rows))
        @if symbols.len() > LARGEST {
            p.note data-rest={ (path) " " (LARGEST) } {
                "These are the largest; all "
                (Figure::length(&path, symbols.len()).html()) " are in the JSON."
            }
        }
    }
}
