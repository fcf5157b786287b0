// SPDX-License-Identifier: MIT OR Apache-2.0
//! A browser without a window, by its DevTools protocol over a pipe.
//!
//! Spec: the Chrome DevTools Protocol, domains Target, Page, Runtime, Log, Network and Emulation;
//! `--remote-debugging-pipe`: JSON with a zero byte behind each message, read from descriptor 3 and
//! written to descriptor 4.
//! In: a page and how to look at it. Out: what the browser says of it. Never: leaves a browser or
//! its profile behind, nor waits without end.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::packages;

/// What the browser is called, the smallest first.
const PROGRAMS: [&str; 5] = [
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];
/// How many colours a picture has, of every seventh point of it.
const COLOURS: &str = r#"async (picture) => {
    const image = new Image();
    image.src = `data:image/png;base64,${picture}`;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
    canvas.drawImage(image, 0, 0);
    const points = new Uint32Array(canvas.getImageData(0, 0, image.width, image.height).data.buffer);
    return new Set(points.filter((_, index) => index % 7 === 0)).size;
}"#;
/// The longest time until an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Finds a browser, installs one, or says how to.
pub fn require() -> Result<PathBuf> {
    match PROGRAMS
        .into_iter()
        .find(|program| packages::found(program))
    {
        Some(program) => packages::require(program, &[program]),
        None => packages::require(PROGRAMS[0], &[PROGRAMS[0]]),
    }
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Pixels.
    pub width: u32,
    pub dark: bool,
}

/// What the browser said of a page while it was open.
#[derive(Debug)]
pub struct Visit {
    /// What the script that looked at the page found.
    pub found: Value,
    /// Errors and warnings of the console.
    pub console: Vec<String>,
    /// Addresses other than its own that the page asked for.
    pub requests: Vec<String>,
    /// A picture of the whole page, as PNG.
    pub picture: Vec<u8>,
    /// How many colours it has.
    pub colours: u64,
}

/// A running browser.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    /// Directory of its own, removed at the end.
    profile: PathBuf,
    calls: u64,
    /// What came while an answer was waited for.
    events: Vec<Value>,
}

impl Browser {
    /// Starts a browser with an empty profile in a directory that is made for it.
    pub fn start(program: &Path, profile: &Path) -> Result<Self> {
        fs::create_dir_all(profile).map_err(Error::file("create", profile))?;
        // The shell gives the descriptors their numbers, which no safe call of ours can.
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#])
            .arg(program)
            .args(["--headless", "--remote-debugging-pipe", "--disable-gpu"])
            .args(["--no-first-run", "--disable-extensions", "--disable-sync"])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
            ])
            // Containers have little of that memory.
            .arg("--disable-dev-shm-usage")
            .arg(format!("--user-data-dir={}", profile.display()));
        if packages::is_root() {
            // The sandbox cannot be set up by root.
            command.arg("--no-sandbox");
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let failed = |source| Error::Start {
            program: program.as_os_str().to_owned(),
            source,
        };
        let mut child = command.spawn().map_err(failed)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Guest("the browser has no pipe".into()));
        };
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            for message in parsed(output) {
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            child,
            input,
            messages,
            profile: profile.to_path_buf(),
            calls: 0,
            events: Vec::new(),
        })
    }

    /// Opens a page, takes its picture and runs a script in it, whose value is what was found.
    pub fn visit(&mut self, page: &Path, view: View, script: &str) -> Result<Visit> {
        let target = self.call(None, "Target.createTarget", &json!({"url": "about:blank"}))?;
        let target = &target["targetId"];
        let attached = self.call(
            None,
            "Target.attachToTarget",
            &json!({"targetId": target, "flatten": true}),
        )?;
        let session = attached["sessionId"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let visit = self.look(&session, page, view, script);
        self.call(None, "Target.closeTarget", &json!({"targetId": target}))?;
        visit
    }

    fn look(&mut self, session: &str, page: &Path, view: View, script: &str) -> Result<Visit> {
        let none = json!({});
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(Some(session), &format!("{domain}.enable"), &none)?;
        }
        let size = json!({
            "width": view.width, "height": 900, "deviceScaleFactor": 1,
            "mobile": view.width < 600,
        });
        self.call(Some(session), "Emulation.setDeviceMetricsOverride", &size)?;
        let scheme = if view.dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call(Some(session), "Emulation.setEmulatedMedia", &media)?;

        self.events.clear();
        let url = format!("file://{}", page.display());
        self.call(Some(session), "Page.navigate", &json!({"url": url}))?;
        self.wait_for(session, "Page.loadEventFired")?;

        let size = self.call(Some(session), "Page.getLayoutMetrics", &none)?;
        let height = size["cssContentSize"]["height"].as_f64().unwrap_or(900.0);
        let picture = self.call(
            Some(session),
            "Page.captureScreenshot",
            &json!({
                "captureBeyondViewport": true,
                // Longer ones are more than a browser draws.
                "clip": {"x": 0, "y": 0, "width": view.width, "height": height.min(16_000.0), "scale": 1},
            }),
        )?;
        let picture = picture["data"].as_str().unwrap_or_default().to_owned();
        let found = self.evaluate(session, script)?;

        let mut visit = Visit {
            found,
            console: Vec::new(),
            requests: Vec::new(),
            picture: BASE64_STANDARD
                .decode(&picture)
                .map_err(|error| Error::Guest(format!("the picture is not in base 64: {error}")))?,
            colours: 0,
        };
        for event in self.events.drain(..) {
            if event["sessionId"] == session {
                visit.hear(&event, &url);
            }
        }
        // Browsers read pictures; we need not.
        let count = format!("({COLOURS})({})", Value::from(picture));
        visit.colours = self.evaluate(session, &count)?.as_u64().unwrap_or(0);
        Ok(visit)
    }

    /// The value of a script, once it is settled.
    fn evaluate(&mut self, session: &str, script: &str) -> Result<Value> {
        let how = json!({"expression": script, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call(Some(session), "Runtime.evaluate", &how)?;
        match answer.get("exceptionDetails") {
            Some(thrown) => Err(Error::Guest(format!("the script failed: {thrown}"))),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    fn call(&mut self, session: Option<&str>, method: &str, params: &Value) -> Result<Value> {
        self.calls += 1;
        let id = self.calls;
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        let sent = self
            .input
            .write_all(&bytes)
            .and_then(|()| self.input.flush());
        sent.map_err(|error| Error::Guest(format!("the browser does not listen: {error}")))?;

        let mut answer = self.next(method, |message| message["id"] == id)?;
        match answer.get("error") {
            Some(error) => Err(Error::Guest(format!(
                "the browser refused {method}: {error}"
            ))),
            None => Ok(answer["result"].take()),
        }
    }

    fn wait_for(&mut self, session: &str, event: &str) -> Result<()> {
        let is_it = |message: &Value| message["method"] == event && message["sessionId"] == session;
        if self.events.iter().any(is_it) {
            return Ok(());
        }
        self.next(event, is_it).map(drop)
    }

    /// The next message that is the one; all before it are kept as events.
    fn next(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(left).map_err(|_| {
                Error::Guest(format!(
                    "the browser did not say {what} within {} s",
                    PATIENCE.as_secs()
                ))
            })?;
            if is_it(&message) {
                return Ok(message);
            }
            self.events.push(message);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // All fail only where there is nothing left to end or to remove.
        let _ = self.call(None, "Browser.close", &json!({}));
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.profile);
    }
}

impl Visit {
    /// Keeps what an event has to say against the page.
    fn hear(&mut self, event: &Value, url: &str) {
        let params = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Runtime.consoleAPICalled" => {
                let kind = params["type"].as_str().unwrap_or_default();
                if ["error", "warning", "assert"].contains(&kind) {
                    self.console.push(format!("{kind}: {}", params["args"]));
                }
            }
            "Runtime.exceptionThrown" => self.console.push(params["exceptionDetails"].to_string()),
            "Log.entryAdded" => {
                let level = params["entry"]["level"].as_str().unwrap_or_default();
                if ["error", "warning"].contains(&level) {
                    self.console
                        .push(format!("{level}: {}", params["entry"]["text"]));
                }
            }
            "Network.requestWillBeSent" => {
                let asked = params["request"]["url"].as_str().unwrap_or_default();
                if asked != url {
                    self.requests.push(asked.to_owned());
                }
            }
            _ => {}
        }
    }
}

/// The messages that come out of a pipe.
fn parsed(output: ChildStdout) -> impl Iterator<Item = Value> {
    BufReader::new(output)
        .split(0)
        .map_while(|bytes| serde_json::from_slice(&bytes.ok()?).ok())
}
