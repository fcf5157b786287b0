// SPDX-License-Identifier: MIT OR Apache-2.0
//! Floor `page`: the page of measurements in a real browser.
//!
//! Spec: WCAG 2.2, 1.4.3 (contrast of text) and 1.4.10 (no scrolling in two directions).

mod figures;

use std::path::PathBuf;

use serde_json::Value;

use crate::bench::count::gate::{self, Firmware};
use crate::bench::model::Results;
use crate::bench::report::{self, sample};
use crate::browser::{Browser, View, Visit};
use crate::oracle::{Board, Reference};
use crate::workspace::write_atomically;

use super::case::{Case, Context, Outcome, Run, Trial, expect};

/// A phone and a desk, by day and by night.
const VIEWS: [View; 4] = [
    View {
        width: 360,
        dark: false,
    },
    View {
        width: 360,
        dark: true,
    },
    View {
        width: 1280,
        dark: false,
    },
    View {
        width: 1280,
        dark: true,
    },
];

const LOOK: &str = include_str!("look.js");

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("page/what-is-measured", |context, trial| {
            sound(context, trial, &sample::results())
        }),
        Case::new("page/a-real-boot", |context, trial| {
            sound(context, trial, &counted(context)?)
        }),
        Case::new("page/nothing-measured", |context, trial| {
            let nothing = Results {
                rows: Vec::new(),
                ..sample::results()
            };
            sound(context, trial, &nothing)
        }),
        Case::new("page/faults-are-seen", faults),
    ]
}

/// Our firmware and qboot, counted on QEMU's `microvm`.
fn counted(context: &Context<'_>) -> Result<Results, Outcome> {
    context.qemu()?;
    context.rom()?;
    context.guest("report.elf")?;
    let workspace = context.workspace;
    let firmwares = [
        ("qboot-rs", Firmware::built(workspace)?),
        (
            "qboot",
            Firmware {
                rom: Reference::Qboot.rom(Board::Microvm),
                symbols: None,
            },
        ),
    ];
    let mut rows = Vec::new();
    for (name, firmware) in firmwares {
        let boots = gate::subjects().into_iter();
        for boot in boots.filter(|boot| boot.name == "microvm-pvh") {
            let measured = boot.measure(workspace, &firmware)?;
            rows.push(sample::emulated(name, measured));
        }
    }
    expect(rows.len() == 2, || {
        "expected a boot `microvm-pvh` among those that have budgets, found none".into()
    })?;
    Ok(Results {
        rows,
        ..sample::results()
    })
}

/// The page of these results is as it should be, however it is looked at.
fn sound(context: &Context<'_>, trial: &Trial, results: &Results) -> Run {
    let mut checker = Checker::start(context, trial)?;
    let page = report::html(results);
    let json = report::json(results);
    for view in VIEWS {
        let complaints = checker.complaints(&page, &json, view)?;
        expect(complaints.is_empty(), || {
            let list = complaints.join("\n  ");
            format!("at {view:?} expected a sound page, found\n  {list}")
        })?;
    }
    Ok(())
}

/// A page with something wrong, and what is to be said of it.
struct Fault {
    what: &'static str,
    instead_of: &'static str,
    put: &'static str,
    complaint: &'static str,
}

const FAULTS: [Fault; 14] = [
    Fault {
        what: "a message",
        instead_of: "</body>",
        put: "<script>console.error('broken')</script></body>",
        complaint: "the console says",
    },
    Fault {
        what: "an exception",
        instead_of: "</body>",
        put: "<script>undefined.length</script></body>",
        complaint: "the console says",
    },
    Fault {
        what: "a picture from elsewhere",
        instead_of: "</body>",
        put: "<img alt='' src='http://127.0.0.1:9/a.png'></body>",
        complaint: "it asks for http://127.0.0.1:9/a.png",
    },
    Fault {
        what: "a style from elsewhere",
        instead_of: "</style>",
        put: "</style><link rel='stylesheet' href='http://127.0.0.1:9/a.css'>",
        complaint: "it asks for http://127.0.0.1:9/a.css",
    },
    Fault {
        what: "a number that reads otherwise",
        instead_of: ">2,293<",
        put: ">2,294<",
        complaint: "reads 2,294",
    },
    Fault {
        what: "a number that is otherwise",
        instead_of: "value=\"2293\"",
        put: "value=\"2294\"",
        complaint: "is 2294",
    },
    Fault {
        what: "a number less",
        instead_of: "data-path=\"/rows/0/outcome/measured/costs/program\"",
        put: "",
        complaint: "/rows/0/outcome/measured/costs/program is not on the page",
    },
    Fault {
        what: "a number too many",
        instead_of: "</h1>",
        put: " 42 times.</h1>",
        complaint: "a number from nowhere",
    },
    Fault {
        what: "a place that is not there",
        instead_of: "/rows/0/outcome/measured/counts/exits\"",
        put: "/rows/0/outcome/measured/counts/visits\"",
        complaint: "/rows/0/outcome/measured/counts/visits is not in the JSON",
    },
    Fault {
        what: "a wrong ratio",
        instead_of: ">2,604×<",
        put: ">2,605×<",
        complaint: "reads 2,605×",
    },
    Fault {
        what: "something wide",
        instead_of: "</body>",
        put: "<div style='width:2000px;height:1px'></div></body>",
        complaint: "too wide",
    },
    Fault {
        what: "something faint",
        instead_of: "</body>",
        put: "<p style='color:#8a8a8a'>faint</p></body>",
        complaint: "faint: contrast",
    },
    Fault {
        what: "words on top of one another",
        instead_of: "</svg>",
        put: "<text x='0' y='150' fill='#101001' font-size='100'>over it</text></svg>",
        complaint: "on top of one another",
    },
    Fault {
        what: "an empty page",
        instead_of: "<body>",
        put: "<body hidden>",
        complaint: "nothing is to be seen",
    },
];

/// Each fault is found: what cannot fail proves nothing.
fn faults(context: &Context<'_>, trial: &Trial) -> Run {
    let mut checker = Checker::start(context, trial)?;
    let results = sample::small();
    let page = report::html(&results);
    let json = report::json(&results);
    let complaints = checker.complaints(&page, &json, VIEWS[0])?;
    expect(complaints.is_empty(), || {
        format!("expected a sound page to begin with, found {complaints:?}")
    })?;
    for fault in &FAULTS {
        let broken = page.replacen(fault.instead_of, fault.put, 1);
        expect(broken != page, || {
            format!("expected {:?} in the page, found none", fault.instead_of)
        })?;
        let complaints = checker.complaints(&broken, &json, VIEWS[0])?;
        let found = complaints
            .iter()
            .any(|complaint| complaint.contains(fault.complaint));
        expect(found, || {
            format!(
                "for {} expected the complaint `{}`, found {complaints:?}",
                fault.what, fault.complaint
            )
        })?;
    }
    Ok(())
}

/// A browser, and where the page that it looks at lies.
struct Checker {
    browser: Browser,
    directory: PathBuf,
}

impl Checker {
    fn start(context: &Context<'_>, trial: &Trial) -> Result<Self, Outcome> {
        let program = context.browser()?;
        let directory = context
            .workspace
            .target
            .join("pages")
            .join(trial.file_name());
        let profile = directory.join("profile");
        let browser = Browser::start(&program, &profile)?;
        Ok(Self { browser, directory })
    }

    /// What is wrong with a page. It and its picture are kept, to be looked at.
    fn complaints(&mut self, page: &str, json: &str, view: View) -> Result<Vec<String>, Outcome> {
        let path = self.directory.join("page.html");
        write_atomically(&path, page.as_bytes())?;
        let visit = self.browser.visit(&path, view, LOOK)?;
        let scheme = if view.dark { "dark" } else { "light" };
        let picture = self.directory.join(format!("{}-{scheme}.png", view.width));
        write_atomically(&picture, &visit.picture)?;
        let json = serde_json::from_str(json)
            .map_err(|error| Outcome::Failed(format!("the JSON is none: {error}")))?;
        Ok(complaints(&visit, &json))
    }
}

/// Everything that the browser and its script have against a page.
fn complaints(visit: &Visit, json: &Value) -> Vec<String> {
    /// Of a page with a heading and nothing to compare; edges of letters alone make more.
    const COLOURS: u64 = 16;
    let mut complaints = Vec::new();
    let mut complain = |about: &str, things: &[String]| {
        complaints.extend(things.iter().map(|thing| format!("{about}: {thing}")));
    };
    complain("the console says", &visit.console);
    let requests: Vec<_> = visit
        .requests
        .iter()
        .map(|address| format!("it asks for {address}"))
        .collect();
    complain("not by itself", &requests);
    let found = &visit.found;
    complain("a number from nowhere", &strings(&found["loose"]));
    complain("hard to read", &strings(&found["faint"]));
    complain("too wide", &strings(&found["outside"]));
    complain("on top of one another", &strings(&found["overlaps"]));
    complain("not in a chart's description", &strings(&found["unsaid"]));
    complain("two elements of one name", &strings(&found["twice"]));
    complain(
        "figures",
        &figures::complaints(&found["figures"], &found["cut"], json),
    );
    if found["title"] != "What does firmware cost?" {
        complaints.push(format!("its title is {}", found["title"]));
    }
    if found["uncaptioned"] != 0 {
        complaints.push(format!("{} tables without a caption", found["uncaptioned"]));
    }
    if visit.colours < COLOURS || found["texts"].as_u64().is_none_or(|texts| texts < 20) {
        complaints.push(format!(
            "nothing is to be seen: {} colours, {} texts",
            visit.colours, found["texts"]
        ));
    }
    complaints
}

/// The strings of a list; what is none is told as it is.
fn strings(list: &Value) -> Vec<String> {
    let Some(list) = list.as_array() else {
        return vec![format!("expected a list, found {list}")];
    };
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    list.iter().map(text).collect()
}
