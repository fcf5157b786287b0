// SPDX-License-Identifier: MIT OR Apache-2.0
//! Floor `host`: every test that Cargo knows of in the default members, under its own name.

use crate::error::Result;
use crate::process::{capture, shown};
use crate::progress::Progress;
use crate::workspace::Workspace;

use super::case::{Outcome, Trial};

/// The names of all tests. Compiles them.
pub fn list(workspace: &Workspace) -> Result<std::result::Result<Vec<String>, String>> {
    let _progress = Progress::start("compiling the tests");
    let arguments = [
        "test",
        "--no-fail-fast",
        "--",
        "--list",
        "--format",
        "terse",
    ];
    let (status, output) = capture(&mut workspace.cargo(&arguments))?;
    Ok(if status.success() {
        let names = parse(&output, |line| {
            line.strip_suffix(": test").map(|name| (name, ()))
        });
        Ok(names.into_iter().map(|(name, ())| name).collect())
    } else {
        Err(output)
    })
}

/// Runs all tests: each with its outcome, in Cargo's order.
pub fn run(workspace: &Workspace, trial: &Trial) -> Result<Vec<(String, Outcome)>> {
    let _progress = Progress::start("running the tests of the host");
    let mut command = workspace.cargo(&["test", "--no-fail-fast"]);
    let (status, output) = capture(&mut command)?;
    let mut outcomes = parse(&output, outcome);
    let told = outcomes
        .iter()
        .any(|(_, outcome)| matches!(outcome, Outcome::Failed(_)));
    if !status.success() {
        trial.keep(&output)?;
        if !told {
            let why = format!("`{}` ended with {status}", shown(&command));
            outcomes.push(("host/cargo-test".to_owned(), Outcome::Failed(why)));
        }
    }
    Ok(outcomes)
}

/// What libtest says of one test.
fn outcome(line: &str) -> Option<(&str, Outcome)> {
    let (name, said) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let outcome = match said.trim() {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed("see its log".to_owned()),
        ignored => Outcome::Skipped(ignored.replacen("ignored, ", "", 1)),
    };
    Some((name.trim_end_matches(" - should panic"), outcome))
}

/// Every line that `take` understands, with the crate that Cargo said it was running.
fn parse<'o, T>(
    output: &'o str,
    take: impl Fn(&'o str) -> Option<(&'o str, T)>,
) -> Vec<(String, T)> {
    let mut package = String::new();
    let mut found = Vec::new();
    for line in output.lines().map(str::trim_end) {
        if let Some(name) = heading(line) {
            package = name;
        } else if let Some((name, value)) = take(line) {
            found.push((format!("host/{package}/{}", name.replace(' ', "")), value));
        }
    }
    found
}

/// The crate in a line like `Running tests/a.rs (target/debug/deps/a-0123)` or `Doc-tests a`.
fn heading(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{name}/doc"));
    }
    let (_, path) = line.strip_prefix("Running ")?.rsplit_once('(')?;
    let file = path.trim_end_matches(')').rsplit('/').next()?;
    let (name, _hash) = file.rsplit_once('-')?;
    Some(name.to_owned())
}

#[cfg(test)]
mod test {
    use super::*;

    const OUTPUT: &str = "\
     Running unittests src/lib.rs (target/debug/deps/abi-0a1b)

running 3 tests
test checksum::sum ... ok
test e820::order ... FAILED
test slow::one ... ignored, needs an hour
   Doc-tests vmm
test src/lib.rs - (line 3) ... ok
test result: ok. 1 passed; 0 failed
";

    #[test]
    fn every_test_has_its_crate_and_outcome() {
        let outcomes = parse(OUTPUT, outcome);

        let expected = [
            ("host/abi/checksum::sum", Outcome::Passed),
            (
                "host/abi/e820::order",
                Outcome::Failed("see its log".into()),
            ),
            (
                "host/abi/slow::one",
                Outcome::Skipped("needs an hour".into()),
            ),
            ("host/vmm/doc/src/lib.rs-(line3)", Outcome::Passed),
        ]
        .map(|(name, outcome)| (name.to_owned(), outcome));
        assert_eq!(outcomes, expected);
    }
}
