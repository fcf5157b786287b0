// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guest asked the monitor for, access by access, in order.
//!
//! One run in full view, others to be opened. What is too long for a page is cut, and says so.

use maud::{Markup, html};

use super::figure::Figure;
use super::{name, place, setup};
use crate::bench::model::{Access, AccessKind, Results, Vmm};
use crate::bench::report::groups::{Group, Numbered};
use crate::bench::report::spreadsheet::kind;

/// Accesses of one run that a page shows.
const LONGEST: usize = 400;
/// Accesses of one run that are shown at once; more scroll in a frame.
const TALL: usize = 40;
/// Accesses of all runs that a page shows: a page is read, the JSON is for the rest.
const ALL: usize = 1_500;

/// The accesses of a run of our firmware on `microvm`, and those of the others.
pub fn section(results: &Results, shown: Option<&Group<'_>>) -> Markup {
    let rows = results.rows.iter().enumerate();
    let rows = rows.map(|(index, row)| Numbered { index, row });
    let runs: Vec<_> = rows
        .filter_map(|row| Some((row, row.measured()?.accesses.as_slice())))
        .filter(|(_, accesses)| !accesses.is_empty())
        .collect();
    let best = |ours: &dyn Fn(Numbered<'_>) -> bool| runs.iter().position(|(row, _)| ours(*row));
    let is_ours = |row: Numbered<'_>| row.row.combination.firmware == "qboot-rs";
    let first = best(&|row| is_ours(row) && row.row.combination.vmm == Vmm::Microvm)
        .or_else(|| best(&is_ours))
        .or_else(|| best(&|_| true));
    let Some(first) = first else {
        return html! {};
    };
    let (row, accesses) = runs[first];
    // Those that are side by side on the page come first.
    let in_view = |row: &Numbered<'_>| {
        shown.is_some_and(|group| group.rows.iter().any(|other| other.index == row.index))
    };
    let mut others: Vec<_> = runs
        .iter()
        .filter(|(other, _)| other.index != row.index)
        .collect();
    others.sort_by_key(|(row, _)| !in_view(row));
    let mut left = ALL.saturating_sub(accesses.len().min(LONGEST));
    let shares: Vec<_> = others
        .into_iter()
        .map(|&(row, accesses)| {
            let most = left.min(LONGEST).min(accesses.len());
            left -= most;
            (row, accesses, most)
        })
        .collect();
    html! {
        section {
            h2 { "Every access, in order" }
            p.setup { (name(row.firmware())) ": " (setup(row)) }
            p.note { "Each of these leaves the guest, and the monitor answers it." }
            (table(row, accesses, LONGEST))
            @for (row, accesses, most) in &shares {
                @if *most > 0 {
                    details {
                        summary { (name(row.firmware())) span.setup { ": " (setup(*row)) } }
                        (table(*row, accesses, *most))
                    }
                }
            }
            @if shares.iter().any(|(_, _, most)| *most == 0) {
                details {
                    summary { "Others" span.setup { ", in the JSON only" } }
                    @for (row, accesses, most) in &shares { @if *most == 0 {
                        p { (name(row.firmware())) span.setup { ": " (setup(*row)) } }
                        (table(*row, accesses, 0))
                    } }
                }
            }
        }
    }
}

fn table(row: Numbered<'_>, accesses: &[Access], most: usize) -> Markup {
    let path = format!("{}/accesses", place(row));
    let shown = accesses.len().min(most);
    let has = |of: fn(&Access) -> bool| accesses.iter().take(shown).any(of);
    let counted = has(|access| access.instruction.is_some());
    let devices = has(|access| !access.device.is_empty());
    let purposes = has(|access| access.purpose.is_some());
    html! {
        @if shown > 0 {
            div.scroll.long[shown > TALL] tabindex="0" role="region" aria-label="Accesses in order" {
                table {
                    caption { span { "Accesses of " (name(row.firmware())) " from reset to the kernel" } }
                    thead {
                        tr {
                            th.r scope="col" { "#" }
                            @if counted { th.r scope="col" { "After instructions" } }
                            th scope="col" { "Access" }
                            th.r scope="col" { "Address" }
                            @if devices { th scope="col" { "Device" } }
                            th.r scope="col" { "Bytes" }
                            th.r scope="col" { "Value" }
                            @if purposes { th scope="col" { "For" } }
                        }
                    }
                    tbody {
                        @for (index, access) in accesses.iter().take(shown).enumerate() {
                            tr data-base={ (path) "/" (index) } {
                                th.r scope="row" data-index { (index + 1) }
                                @if counted {
                                    td.r { @if let Some(number) = access.instruction {
                                        (Figure::count("instruction".into(), number).html())
                                    } }
                                }
                                td { (kind(access.kind)) }
                                td.r { code { (address(access).html()) } }
                                @if devices { td { (name(&access.device)) } }
                                td.r { (Figure::count("width".into(), access.width.into()).html()) }
                                td.r { code {
                                    (Figure::hexadecimal("value".into(), access.value, access.width).html())
                                } }
                                @if purposes {
                                    td { (name(access.purpose.as_deref().unwrap_or_default())) }
                                }
                            }
                        }
                    }
                }
            }
        }
        @if shown < accesses.len() {
            p.note data-rest={ (path) " " (shown) } {
                @let length = Figure::length(&path, accesses.len());
                @if shown == 0 {
                    "Its " (length.html()) " accesses are in the JSON."
                } @else {
                    "These are the first; all " (length.html()) " are in the JSON."
                }
            }
        }
    }
}

fn address(access: &Access) -> Figure {
    let bytes = match access.kind {
        AccessKind::PortRead | AccessKind::PortWrite => 2,
        AccessKind::MmioRead | AccessKind::MmioWrite => 4,
    };
    Figure::hexadecimal("address".into(), access.address, bytes)
}
