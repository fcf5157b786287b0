// SPDX-License-Identifier: MIT OR Apache-2.0
//! The results as CSV: a line for each combination and each of its figures, from which a
//! spreadsheet makes any table.
//!
//! Spec: RFC 4180. The order of single accesses is in the JSON only.

use crate::bench::model::{
    AccessKind, Combination, Counts, Measured, Outcome, Results, Row, Spread,
};

const HEADINGS: [&str; 16] = [
    "firmware",
    "vmm",
    "place",
    "machine",
    "kernel",
    "format",
    "cpus",
    "initrd_bytes",
    "metric",
    "detail",
    "unit",
    "value",
    "low",
    "high",
    "runs",
    "unable",
];

/// One figure.
#[derive(Debug, Default)]
struct Figure {
    metric: &'static str,
    /// The phase, the register or the function that it is of.
    detail: String,
    unit: &'static str,
    value: String,
    low: String,
    high: String,
    runs: String,
}

/// The results as a spreadsheet reads them.
pub fn csv(results: &Results) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let written = write(&mut writer, &results.rows);
    written.expect("memory takes what is written to it");
    let bytes = writer
        .into_inner()
        .expect("memory takes what is written to it");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn write(writer: &mut csv::Writer<Vec<u8>>, rows: &[Row]) -> csv::Result<()> {
    writer.write_record(HEADINGS)?;
    for row in rows {
        let combination = combination(&row.combination);
        match &row.outcome {
            Outcome::Measured(measured) => {
                let mut figures = figures(measured);
                if figures.is_empty() {
                    // A combination that was booted has a line, whatever is known of it.
                    figures.push(Figure::default());
                }
                for figure in figures {
                    writer.write_record(combination.iter().map(String::as_str).chain([
                        figure.metric,
                        &plain(&figure.detail),
                        figure.unit,
                        &figure.value,
                        &figure.low,
                        &figure.high,
                        &figure.runs,
                        "",
                    ]))?;
                }
            }
            Outcome::Unable(why) => {
                let empty = std::iter::repeat_n("", 7);
                let combination = combination.iter().map(String::as_str);
                writer.write_record(combination.chain(empty).chain([plain(why).as_str()]))?;
            }
        }
    }
    Ok(())
}

fn combination(combination: &Combination) -> [String; 8] {
    let Combination {
        firmware,
        vmm,
        place,
        machine,
        kernel,
        format,
        cpus,
        initrd,
    } = combination;
    [
        plain(firmware),
        word(vmm),
        word(place),
        plain(machine),
        plain(kernel),
        plain(format),
        cpus.to_string(),
        initrd.to_string(),
    ]
}

/// The word that the JSON has for it.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// A text that no spreadsheet takes for a formula: those begin with one of these characters.
fn plain(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

fn figures(measured: &Measured) -> Vec<Figure> {
    let Measured {
        phases,
        counts,
        accesses: _,
        costs,
    } = measured;
    let mut figures = Vec::new();
    let mut count = |metric, detail: &str, unit, value: Option<u64>| {
        figures.extend(value.map(|value| Figure {
            metric,
            detail: detail.to_owned(),
            unit,
            value: value.to_string(),
            ..Figure::default()
        }));
    };
    for phase in phases {
        count("phase instructions", &phase.name, "", phase.instructions);
        count("phase accesses", &phase.name, "", phase.accesses);
    }
    let Counts {
        instructions,
        port_reads,
        port_writes,
        mmio_reads,
        mmio_writes,
        local_apic,
        other_processors,
        exits,
        fw_cfg_items,
        fw_cfg_bytes,
        rom_bytes,
        memory_touched,
        places,
        symbols,
    } = counts;
    count("instructions", "", "", *instructions);
    count("instructions", "other processors", "", *other_processors);
    count("port reads", "", "", *port_reads);
    count("port writes", "", "", *port_writes);
    count("MMIO reads", "", "", *mmio_reads);
    count("MMIO writes", "", "", *mmio_writes);
    count("local APIC accesses", "", "", *local_apic);
    count("exits", "", "", *exits);
    count("fw_cfg items", "", "", *fw_cfg_items);
    count("fw_cfg bytes", "", "B", *fw_cfg_bytes);
    count("ROM bytes", "", "B", *rom_bytes);
    count("memory touched", "", "KiB", *memory_touched);
    for place in places {
        let kind = kind(place.kind);
        let detail = format!("{kind} {:#x} {}", place.address, place.device);
        count(
            "register accesses",
            detail.trim_end(),
            "",
            Some(place.count),
        );
    }
    for symbol in symbols {
        let detail = format!("{}: {}", symbol.phase, symbol.symbol);
        count("symbol instructions", &detail, "", Some(symbol.count));
        count("symbol accesses", &detail, "", Some(symbol.accesses));
    }
    count("VMM program", "", "B", costs.program);

    for phase in phases {
        figures.extend(spread("phase time", &phase.name, "µs", phase.time));
    }
    figures.extend(spread("wall time", "", "µs", costs.wall));
    figures.extend(spread("processor time", "", "µs", costs.processor_time));
    figures.extend(spread("VMM memory", "", "KiB", costs.memory));
    figures.extend(costs.ratio.map(|ratio| Figure {
        metric: "wall time ratio",
        value: ratio.ratio.to_string(),
        low: ratio.low.to_string(),
        high: ratio.high.to_string(),
        ..Figure::default()
    }));
    figures
}

fn spread(
    metric: &'static str,
    detail: &str,
    unit: &'static str,
    spread: Option<Spread>,
) -> Option<Figure> {
    spread.map(|spread| Figure {
        metric,
        detail: detail.to_owned(),
        unit,
        value: spread.median.to_string(),
        low: spread.low.to_string(),
        high: spread.high.to_string(),
        runs: spread.runs.to_string(),
    })
}

/// An access in words.
pub fn kind(kind: AccessKind) -> &'static str {
    match kind {
        AccessKind::PortRead => "port read",
        AccessKind::PortWrite => "port write",
        AccessKind::MmioRead => "MMIO read",
        AccessKind::MmioWrite => "MMIO write",
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::bench::report::sample;

    /// The records as a reader that we did not write finds them.
    fn records(results: &Results) -> Vec<csv::StringRecord> {
        let text = csv(results);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let headings = reader.headers().expect("there is a first line").clone();
        assert_eq!(headings.iter().collect::<Vec<_>>(), HEADINGS);
        reader
            .records()
            .collect::<csv::Result<_>>()
            .expect("every line has as many fields as the first")
    }

    #[test]
    fn every_combination_has_its_lines() {
        let results = sample::results();

        let records = records(&results);

        for row in &results.rows {
            let expected = combination(&row.combination);
            assert!(
                records
                    .iter()
                    .any(|record| record.iter().take(8).eq(&expected)),
                "{expected:?}"
            );
        }
    }

    #[test]
    fn a_spread_is_one_line_with_its_bounds() {
        let records = records(&sample::results());

        let wall = records
            .iter()
            .find(|record| record.get(8) == Some("wall time"))
            .expect("a wall time is among the figures");

        let fields: Vec<_> = wall.iter().skip(8).collect();
        assert_eq!(
            fields,
            [
                "wall time",
                "",
                "µs",
                "24310.5",
                "23980",
                "26112.25",
                "20",
                ""
            ]
        );
    }

    #[test]
    fn a_combination_that_could_not_be_measured_says_why() {
        let records = records(&sample::results());

        let unable: Vec<_> = records
            .iter()
            .filter_map(|record| record.get(15).filter(|why| !why.is_empty()))
            .collect();

        assert_eq!(unable, sample::REASONS);
    }

    #[test]
    fn no_name_becomes_a_formula() {
        let mut results = sample::results();
        results.rows[0].combination.firmware = "=HYPERLINK(\"x\")".into();

        let records = records(&results);

        assert_eq!(
            records.first().and_then(|record| record.get(0)),
            Some("'=HYPERLINK(\"x\")")
        );
    }
}
