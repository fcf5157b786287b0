// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the page says first: the finding in a sentence.

use maud::{Markup, html};

use super::figure::Figure;
use super::{counted, group_setup, name, place, wall};
use crate::bench::model::Measured;
use crate::bench::report::groups::{Group, Numbered};
use crate::bench::report::numbers;

/// The groups that say most: one by its counts, and one by its times where that is another.
pub fn most_telling<'g, 'a>(groups: &'g [Group<'a>]) -> Vec<&'g Group<'a>> {
    let counted = |measured: &Measured| measured.counts.instructions.is_some();
    let timed = |measured: &Measured| measured.costs.wall.is_some();
    let mut chosen: Vec<&Group<'a>> = Vec::new();
    for group in [best(groups, counted), best(groups, timed)]
        .into_iter()
        .flatten()
    {
        if !chosen.iter().any(|other| std::ptr::eq(*other, group)) {
            chosen.push(group);
        }
    }
    if chosen.is_empty() {
        chosen.extend(
            groups
                .iter()
                .find(|group| group.measured().next().is_some()),
        );
    }
    chosen
}

/// The first of the groups with most rows that are `told`, our firmware and `microvm` before
/// others; none where there is nothing to compare.
fn best<'g, 'a>(
    groups: &'g [Group<'a>],
    told: impl Fn(&Measured) -> bool,
) -> Option<&'g Group<'a>> {
    let score = |group: &Group<'_>| {
        let rows = group
            .measured()
            .filter(|(_, measured)| told(measured))
            .count();
        let (first, _) = group.measured().next()?;
        let combination = &first.row.combination;
        (rows > 1).then(|| {
            (
                combination.firmware == "qboot-rs",
                combination.machine == "microvm",
                rows,
            )
        })
    };
    let scored = groups
        .iter()
        .filter_map(|group| Some((score(group)?, group)));
    // Of equals `max_by_key` takes the last.
    let best = scored.rev().max_by_key(|(score, _)| *score);
    best.map(|(_, group)| group)
}

/// The heading and what stands below it.
pub fn heading(groups: &[Group<'_>], chosen: &[&Group<'_>]) -> Markup {
    let sentences = chosen.iter().find_map(|group| {
        by_instructions(group)
            .or_else(|| by_time(group))
            .map(|sentence| (sentence, group))
    });
    let Some((sentence, group)) = sentences else {
        let all: usize = groups.iter().map(|group| group.rows.len()).sum();
        let sentence = if all == 0 {
            "Nothing was measured."
        } else {
            "No two firmwares could be compared."
        };
        return html! { h1 { (sentence) } };
    };
    html! {
        h1 { (sentence) }
        p.lead { "Measured: " (group_setup(group)) "." }
        @for other in chosen {
            @if let Some(floor) = above_the_floor(other) {
                p.lead {
                    (floor) @if !std::ptr::eq(*other, *group) { " (" (group_setup(other)) ")" } "."
                }
            }
        }
    }
}

fn by_instructions(group: &Group<'_>) -> Option<Markup> {
    let figures = figures(group, |path, measured| {
        counted(path, "instructions", measured.counts.instructions)
    });
    let ((row, ours), others) = split(&figures)?;
    Some(html! {
        (name(row.firmware())) " reaches the kernel in " (ours.html()) " instructions. "
        (comparisons(ours, &others, "as many"))
    })
}

fn by_time(group: &Group<'_>) -> Option<Markup> {
    let figures = figures(group, |path, measured| wall(path, &measured.costs));
    let ((row, ours), others) = split(&figures)?;
    Some(html! {
        "With " (name(row.firmware())) " it takes " (ours.html()) ". "
        (comparisons(ours, &others, "as long"))
    })
}

type Told<'a> = (Numbered<'a>, Figure);

fn figures<'a>(
    group: &Group<'a>,
    figure: impl Fn(&str, &Measured) -> Option<Figure>,
) -> Vec<Told<'a>> {
    let rows = group.measured();
    rows.filter_map(|(row, measured)| Some((row, figure(&place(row), measured)?)))
        .collect()
}

/// The first figure and those of other firmware; none where there is nothing to compare.
fn split<'f, 'a>(figures: &'f [Told<'a>]) -> Option<(&'f Told<'a>, Vec<&'f Told<'a>>)> {
    let (first, others) = figures.split_first()?;
    let is_firmware = |(row, _): &&Told<'_>| row.row.combination.firmware != "none";
    let others: Vec<_> = others.iter().filter(is_firmware).collect();
    let comparable = !others.is_empty() && is_firmware(&first) && first.1.number > 0.0;
    comparable.then_some((first, others))
}

/// How the others compare with the first: `A takes 6.46 times as many, B 2,604 times.`
fn comparisons(first: &Figure, others: &[&Told<'_>], as_what: &str) -> Markup {
    let ratios = others
        .iter()
        .filter_map(|(row, other)| Some((row, other.ratio_to(first, numbers::short)?)));
    html! {
        @for (turn, (row, ratio)) in ratios.enumerate() {
            @if turn > 0 { ", " }
            (name(row.firmware()))
            @if turn == 0 { " takes " (ratio.html()) " times " (as_what) }
            @else { " " (ratio.html()) " times" }
        }
        "."
    }
}

/// What the first firmware costs above entering the kernel without any.
fn above_the_floor(group: &Group<'_>) -> Option<Markup> {
    let mut rows = group.measured();
    let (row, ours) = rows.next()?;
    let (floor, its) = rows.find(|(row, _)| row.row.combination.firmware == "none")?;
    let whole = |number: f64| format!("{number:.0}");
    let exits = |row, measured: &Measured| counted(&place(row), "exits", measured.counts.exits);
    let time = |row, measured: &Measured| wall(&place(row), &measured.costs);
    let exits = exits(row, ours).and_then(|ours| ours.above(&exits(floor, its)?, whole));
    let time = time(row, ours).and_then(|ours| ours.above(&time(floor, its)?, numbers::time));
    let told: Vec<_> = [(exits, " exits"), (time, "")]
        .into_iter()
        .filter_map(|(figure, unit)| Some((figure?, unit)))
        .collect();
    (!told.is_empty()).then(|| {
        html! {
            "Against entering the kernel without any firmware, " (name(row.firmware())) " costs "
            @for (turn, (figure, unit)) in told.iter().enumerate() {
                @if turn > 0 { " and " }
                (figure.html()) (unit)
            }
            " more"
        }
    })
}
