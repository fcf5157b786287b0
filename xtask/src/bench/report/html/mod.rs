// SPDX-License-Identifier: MIT OR Apache-2.0
//! The results as one page that needs nothing but itself: no script, no request, day and night,
//! from a phone to a desk.
//!
//! What the page says is in the JSON: every number has its place there beside it (see [`figure`]),
//! and what comes from outside is in an element of the class `n`. The check in a browser holds the
//! page to both.

mod chart;
mod everything;
mod figure;
mod finding;
mod order;
mod words;

use std::collections::BTreeSet;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use plotters::style::RGBColor;

use super::groups::{self, Group, Numbered, groups};
use super::numbers;
use crate::bench::model::{Costs, Counts, Measured, Outcome, Results};
use chart::{Bar, Chart};
use figure::Figure;

const STYLE: &str = include_str!("style.css");
const TITLE: &str = "What does firmware cost?";

/// The page.
pub fn html(results: &Results) -> String {
    let groups = groups(results);
    let shown = finding::most_telling(&groups);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (TITLE) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.kicker { (TITLE) }
                    (finding::heading(&groups, &shown))
                }
                main {
                    @for group in &shown { (side_by_side(group)) }
                    (order::section(results, shown.first().copied()))
                    (all(&groups))
                    (everything::section(&groups, &shown))
                    (how_to_read(results))
                    (where_and_how(results))
                }
            }
        }
    }
    .into_string()
}

/// The place of a row's figures in the JSON.
fn place(row: Numbered<'_>) -> String {
    format!("/rows/{}/outcome/measured", row.index)
}

/// A text from outside.
fn name(text: &str) -> Markup {
    html! { span.n { (text) } }
}

/// All of a combination but the firmware.
fn setup(row: Numbered<'_>) -> Markup {
    let combination = &row.row.combination;
    let path = format!("/rows/{}/combination", row.index);
    let cpus = Figure::count(format!("{path}/cpus"), combination.cpus.into());
    let initrd = Figure::bytes(format!("{path}/initrd"), combination.initrd);
    html! {
        (groups::vmm_name(combination.vmm)) " " (groups::place_name(combination.place)) " · "
        (name(&combination.machine)) " · " (name(&combination.kernel)) " as "
        (name(groups::format_name(&combination.format))) " · "
        (cpus.html()) (if combination.cpus == 1 { " CPU" } else { " CPUs" })
        @if combination.initrd > 0 { " · initrd of " (initrd.html()) }
    }
}

/// What all rows of a group have in common.
fn group_setup(group: &Group<'_>) -> Markup {
    html! { @if let Some(&first) = group.rows.first() { (setup(first)) } }
}

/// A number that rows are compared by.
struct Metric {
    id: &'static str,
    title: &'static str,
    note: &'static str,
    figure: fn(&str, &Measured) -> Option<Figure>,
    tick: fn(f64) -> String,
}

const METRICS: [Metric; 10] = [
    Metric {
        id: "instructions",
        title: "Instructions",
        note: "from reset to the kernel",
        figure: |path, measured| counted(path, "instructions", measured.counts.instructions),
        tick: chart::count_tick,
    },
    Metric {
        id: "ports",
        title: "Port accesses",
        note: "from reset to the kernel",
        figure: ports,
        tick: chart::count_tick,
    },
    Metric {
        id: "mmio",
        title: "MMIO accesses",
        note: "from reset to the kernel",
        figure: mmio,
        tick: chart::count_tick,
    },
    Metric {
        id: "exits",
        title: "Exits",
        note: "times that the guest was left",
        figure: |path, measured| counted(path, "exits", measured.counts.exits),
        tick: chart::count_tick,
    },
    Metric {
        id: "entry",
        title: "Time in firmware",
        note: "from the first instruction to the kernel's first, median",
        figure: |path, measured| {
            let mut phases = measured.phases.iter().enumerate();
            let (index, phase) = phases.find(|(_, phase)| phase.name == words::FIRMWARE)?;
            let path = format!("{path}/phases/{index}/time");
            Some(Figure::median(&path, phase.time?, numbers::time))
        },
        tick: chart::time_tick,
    },
    Metric {
        id: "wall",
        title: "Time",
        note: "from the start of the monitor to init or the first output, median",
        figure: |path, measured| wall(path, &measured.costs),
        tick: chart::time_tick,
    },
    Metric {
        id: "rom",
        title: "ROM",
        note: "occupied bytes of the image",
        figure: |path, measured| counted(path, "rom_bytes", measured.counts.rom_bytes),
        tick: chart::count_tick,
    },
    Metric {
        id: "fw-cfg",
        title: "fw_cfg bytes",
        note: "that the monitor handed over",
        figure: |path, measured| counted(path, "fw_cfg_bytes", measured.counts.fw_cfg_bytes),
        tick: chart::count_tick,
    },
    Metric {
        id: "touched",
        title: "Memory touched",
        note: "of the guest, before the kernel",
        figure: |path, measured| {
            let path = format!("{path}/counts/memory_touched");
            Some(Figure::kibibytes(path, measured.counts.memory_touched?))
        },
        tick: chart::kibibyte_tick,
    },
    Metric {
        id: "memory",
        title: "Monitor's memory",
        note: "beyond the guest's, at its peak, median",
        figure: |path, measured| {
            let path = format!("{path}/costs/memory");
            Some(Figure::median(
                &path,
                measured.costs.memory?,
                numbers::kibibytes,
            ))
        },
        tick: chart::kibibyte_tick,
    },
];

fn counted(path: &str, field: &str, number: Option<u64>) -> Option<Figure> {
    Some(Figure::count(format!("{path}/counts/{field}"), number?))
}

fn ports(path: &str, measured: &Measured) -> Option<Figure> {
    let Counts {
        port_reads,
        port_writes,
        ..
    } = measured.counts;
    let paths = ["port_reads", "port_writes"].map(|field| format!("{path}/counts/{field}"));
    Figure::sum(&paths, [port_reads?, port_writes?])
}

fn mmio(path: &str, measured: &Measured) -> Option<Figure> {
    let Counts {
        mmio_reads,
        mmio_writes,
        ..
    } = measured.counts;
    let paths = ["mmio_reads", "mmio_writes"].map(|field| format!("{path}/counts/{field}"));
    Figure::sum(&paths, [mmio_reads?, mmio_writes?])
}

fn wall(path: &str, costs: &Costs) -> Option<Figure> {
    Some(Figure::median(
        &format!("{path}/costs/wall"),
        costs.wall?,
        numbers::time,
    ))
}

/// The bars and the waterfalls of a group.
fn side_by_side(group: &Group<'_>) -> Markup {
    let counted = |(_, measured): (_, &Measured)| measured.counts.instructions.is_some();
    let timed = |(_, measured): (_, &Measured)| measured.costs.wall.is_some();
    let heading = match (group.measured().any(counted), group.measured().any(timed)) {
        (true, false) => "Counted, side by side",
        (false, true) => "Timed, side by side",
        _ => "Side by side",
    };
    html! {
        section {
            h2 { (heading) }
            p.setup { (group_setup(group)) }
            (bars(group))
            (waterfalls(group))
        }
    }
}

/// A chart for every metric in which rows of the group can be compared.
fn bars(group: &Group<'_>) -> Markup {
    let charts: Vec<_> = METRICS
        .iter()
        .filter_map(|metric| comparison(group, metric))
        .collect();
    html! { @if !charts.is_empty() { div.cards { @for chart in charts { (chart) } } } }
}

fn comparison(group: &Group<'_>, metric: &Metric) -> Option<Markup> {
    let index = group.rows.first()?.index;
    let figures: Vec<_> = group
        .measured()
        .filter_map(|(row, measured)| Some((row, (metric.figure)(&place(row), measured)?)))
        .collect();
    if figures.len() < 2 || figures.iter().all(|(_, figure)| figure.number <= 0.0) {
        return None;
    }
    let (reference, first) = figures.first()?;
    let bars = figures
        .iter()
        .map(|(row, figure)| {
            let is_first = row.index == reference.index;
            Bar {
                label: row.firmware().to_owned(),
                value: figure.clone(),
                aside: if is_first || figure.number <= 0.0 {
                    None
                } else {
                    figure.over(first)
                },
                colour: if is_first { chart::OURS } else { chart::OTHER },
            }
        })
        .collect();
    let chart = Chart {
        id: format!("{}-{index}", metric.id),
        // Lengths that are not in proportion are for what could not be seen otherwise.
        may_be_logarithmic: metric.id == "instructions",
        title: metric.title,
        bars,
        tick: metric.tick,
    };
    Some(html! {
        figure {
            figcaption {
                strong { (metric.title) }
                " " span { (metric.note)
                    @if chart.is_logarithmic() { "; each line is ten times the one before" } }
            }
            (chart.side_by_side())
        }
    })
}

/// A waterfall for each row of a group whose phases are known.
fn waterfalls(group: &Group<'_>) -> Markup {
    let names = phase_names(group);
    let charts: Vec<_> = group
        .measured()
        .filter_map(|(row, measured)| waterfall(row, measured, &names))
        .collect();
    html! {
        @if !charts.is_empty() {
            h3 { "Phase by phase" }
            p.note { "Each phase begins where the one before has ended. "
                "Every chart has a scale of its own." }
            div.cards.apart { @for chart in charts { (chart) } }
        }
    }
}

fn phase_names<'a>(group: &Group<'a>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for (_, measured) in group.measured() {
        for phase in &measured.phases {
            if !names.contains(&phase.name.as_str()) {
                names.push(phase.name.as_str());
            }
        }
    }
    names
}

fn waterfall(row: Numbered<'_>, measured: &Measured, names: &[&str]) -> Option<Markup> {
    let timed = measured.phases.iter().any(|phase| phase.time.is_some());
    let bars: Vec<_> = measured
        .phases
        .iter()
        .enumerate()
        .filter_map(|(index, phase)| {
            let path = format!("{}/phases/{index}", place(row));
            let value = if timed {
                Figure::median(&format!("{path}/time"), phase.time?, numbers::time)
            } else {
                Figure::count(format!("{path}/instructions"), phase.instructions?)
            };
            Some(Bar {
                label: phase.name.clone(),
                value,
                aside: None,
                colour: phase_colour(&phase.name, names),
            })
        })
        .collect();
    if bars.is_empty() {
        return None;
    }
    let firmware = row.firmware();
    let title = format!(
        "{firmware}: {}",
        if timed {
            "time by phase"
        } else {
            "instructions by phase"
        }
    );
    let chart = Chart {
        id: format!("phases-{}", row.index),
        may_be_logarithmic: false,
        title: &title,
        bars,
        tick: if timed {
            chart::time_tick
        } else {
            chart::count_tick
        },
    };
    let what = if timed {
        "time, medians"
    } else {
        "instructions"
    };
    Some(html! {
        figure {
            figcaption { strong { (name(firmware)) } " " span { (what) } }
            (chart.waterfall())
        }
    })
}

/// The colour of a phase: that of our bars for those of the firmware, for others by their turn.
fn phase_colour(name: &str, names: &[&str]) -> RGBColor {
    let of_firmware = |name: &str| name.contains("firmware") || name.contains("entry");
    if of_firmware(name) {
        return chart::OURS;
    }
    let mut others = names.iter().filter(|other| !of_firmware(other));
    let turn = others.position(|other| *other == name).unwrap_or(0);
    chart::PHASES[turn % chart::PHASES.len()]
}

/// Every combination in one table, and why some have no figures.
fn all(groups: &[Group<'_>]) -> Markup {
    html! {
        section {
            h2 { "All combinations" }
            div.scroll tabindex="0" role="region" aria-label="All combinations" {
                table {
                    caption { span { "Counts from reset to the kernel, times from the start of \
                                      the monitor. Ratios are to the first firmware of the same \
                                      machine and kernel." } }
                    thead {
                        tr {
                            th scope="col" { "Firmware" }
                            @for heading in ["Instructions", "Ratio", "Ports", "MMIO", "Exits", "ROM", "Time", "Ratio"] {
                                th.r scope="col" { (heading) }
                            }
                        }
                    }
                    @for group in groups {
                        tbody {
                            tr.group { th scope="rowgroup" colspan="9" { span.w { (group_setup(group)) } } }
                            @for &row in &group.rows { (one_of_all(group, row)) }
                        }
                    }
                }
            }
        }
    }
}

fn one_of_all(group: &Group<'_>, row: Numbered<'_>) -> Markup {
    let path = place(row);
    let measured = match &row.row.outcome {
        Outcome::Measured(measured) => measured,
        Outcome::Unable(why) => {
            return html! {
                tr.unable {
                    th colspan="9" {
                        span.w { (name(row.firmware())) " was not measured: " (name(why)) }
                    }
                }
            };
        }
    };
    let instructions = |row: Numbered<'_>, measured: &Measured| {
        counted(&place(row), "instructions", measured.counts.instructions)
    };
    let number = instructions(row, measured);
    let ratio = group.measured().next().and_then(|(first, its)| {
        let other = first.index != row.index;
        let first = other.then(|| instructions(first, its))??;
        number.as_ref()?.over(&first)
    });
    let counts = &measured.counts;
    let cells = [
        number,
        ratio,
        ports(&path, measured),
        mmio(&path, measured),
        counted(&path, "exits", counts.exits),
        counted(&path, "rom_bytes", counts.rom_bytes),
        wall(&path, &measured.costs),
        measured.costs.ratio.map(|ratio| {
            Figure::measured(
                format!("{path}/costs/ratio/ratio"),
                ratio.ratio,
                numbers::times(ratio.ratio),
            )
        }),
    ];
    html! {
        tr {
            th scope="row" { (name(row.firmware())) }
            @for cell in cells { td.r { (or_dash(cell.as_ref())) } }
        }
    }
}

fn or_dash(figure: Option<&Figure>) -> Markup {
    html! {
        @match figure {
            Some(figure) => (figure.html()),
            None => span.none { "–" },
        }
    }
}

/// The definitions of what the page shows.
fn how_to_read(results: &Results) -> Markup {
    let names: BTreeSet<&str> = results
        .rows
        .iter()
        .filter_map(|row| match &row.outcome {
            Outcome::Measured(measured) => Some(measured.phases.iter()),
            Outcome::Unable(_) => None,
        })
        .flatten()
        .map(|phase| phase.name.as_str())
        .collect();
    let phases = words::PHASES
        .iter()
        .filter(|(name, _)| names.contains(name));
    html! {
        section.words {
            h2 { "How to read it" }
            p { "Counts are the same on every run and on every machine; times are not, and compare \
                 only within one run on one machine." }
            h3 { "Phases" }
            dl { @for (name, words) in phases { div { dt { (name) } dd { (words) } } } }
            h3 { "Counts and costs" }
            dl { @for (name, words) in words::COUNTS { div { dt { (name) } dd { (words) } } } }
        }
    }
}

/// The machine that measured, and the command that does it again.
fn where_and_how(results: &Results) -> Markup {
    let host = &results.host;
    let processors = Figure::count("/host/processors".into(), host.processors.into());
    let version = Figure::count("/version".into(), results.version.into());
    html! {
        section {
            h2 { "Measured where, and how again" }
            dl.host {
                div { dt { "Processor" } dd { (name(&host.processor)) } }
                div { dt { "Logical processors" } dd { (processors.html()) } }
                div { dt { "Linux" } dd { (name(&host.kernel)) } }
                div { dt { "KVM" } dd { (name(&host.kvm)) } }
                div { dt { "QEMU" } dd { (name(host.qemu.as_deref().unwrap_or("none"))) } }
                div { dt { "Revision" } dd { code { (name(&results.revision)) } } }
                div { dt { "Format of the JSON" } dd { "version " (version.html()) } }
            }
            pre tabindex="0" aria-label="The command that measures it again" {
                code { (name(&results.command)) }
            }
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::bench::report::sample;

    #[test]
    fn a_name_stays_a_name() {
        let page = html(&sample::results());

        let text =
            "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;'&lt;img src=x onerror=alert(2)";
        assert!(page.contains(text));
        for element in ["<script", "<img", "<em>", "<b>", "<i>"] {
            assert!(!page.contains(element), "{element}");
        }
    }

    #[test]
    fn the_page_needs_nothing_else() {
        let page = html(&sample::small());

        for reference in [
            "http", "url(", "@import", "src=", "href=", "<link", "<script",
        ] {
            assert!(!page.contains(reference), "{reference}");
        }
    }

    #[test]
    fn no_character_that_stands_for_a_word_is_left() {
        let page = html(&sample::results());

        let private = |c: char| ('\u{e000}'..='\u{f8ff}').contains(&c);
        assert_eq!(page.chars().find(|&c| private(c)), None);
    }

    #[test]
    fn a_name_of_such_characters_is_not_replaced() {
        let mut results = sample::small();
        results.rows[0].combination.firmware = "\u{e000}\u{e001}".into();

        let page = html(&results);

        assert!(page.contains("<tspan class=\"n\">\u{e000}\u{e001}</tspan>"));
    }

    #[test]
    fn the_finding_is_that_of_our_monitor() {
        let page = html(&sample::results());

        let heading = page
            .split("<h1>")
            .nth(1)
            .and_then(|rest| rest.split("</h1>").next());
        let mut inside = false;
        let text: String = heading
            .expect("there is one")
            .chars()
            .filter(|&c| {
                let tag = inside || c == '<';
                inside = tag && c != '>';
                !tag
            })
            .collect();
        assert_eq!(
            text,
            "qboot-rs reaches the kernel in 2,293 instructions. qboot takes 6.46 times as many, \
             SeaBIOS 2,604 times."
        );
    }

    #[test]
    fn results_without_a_row_or_a_figure_have_a_page() {
        let mut results = sample::results();
        results
            .rows
            .retain(|row| matches!(row.outcome, Outcome::Unable(_)));
        assert!(html(&results).contains("No two firmwares could be compared."));

        results.rows.clear();
        assert!(html(&results).contains("Nothing was measured."));
    }
}
