// SPDX-License-Identifier: MIT OR Apache-2.0
//! The results as JSON, the form that is read again.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::bench::model::{Results, VERSION};
use crate::error::{Error, Result};
use crate::workspace::read;

/// Bytes of the largest file that is read.
const LARGEST: u64 = 1 << 30;

/// The one field that every version has.
#[derive(Debug, Deserialize)]
struct Version {
    version: u32,
}

/// The results as [`read_json`] reads them.
pub fn json(results: &Results) -> String {
    let mut text = serde_json::to_string_pretty(results)
        .expect("numbers, strings and lists under names always have a form in JSON");
    text.push('\n');
    text
}

/// Reads results that were written by [`json`], of this version and without a field too many.
pub fn read_json(path: &Path) -> Result<Results> {
    let length = fs::metadata(path).map_err(Error::file("read", path))?.len();
    let parsed = if length <= LARGEST {
        parse(&read(path)?)
    } else {
        Err(("a file of at most 1 GiB", format!("it has {length} bytes")))
    };
    parsed.map_err(|(expected, found)| Error::Format {
        path: path.to_path_buf(),
        expected,
        found,
    })
}

/// The results, or what was expected and what was found.
fn parse(bytes: &[u8]) -> std::result::Result<Results, (&'static str, String)> {
    const EXPECTED: &str = "a file of measurements of version 1";
    const _: () = assert!(VERSION == 1, "say it in the sentence above");
    let refused = |error: serde_json::Error| (EXPECTED, error.to_string());
    // The version first: a file of another one has other fields, which say nothing.
    let Version { version } = serde_json::from_slice(bytes).map_err(refused)?;
    if version != VERSION {
        return Err((EXPECTED, format!("its version is {version}")));
    }
    serde_json::from_slice(bytes).map_err(refused)
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::bench::model::Outcome;
    use crate::bench::report::sample;

    #[test]
    fn what_is_written_is_read_again() {
        let results = sample::results();

        assert_eq!(parse(json(&results).as_bytes()), Ok(results));
    }

    #[test]
    fn every_measurement_is_written_to_the_last_bit() {
        let mut results = sample::results();
        let first = sample::measured_mut(&mut results, 0);
        first.costs.ratio.as_mut().expect("it has one").ratio = 0.1 + 0.2;

        assert_eq!(parse(json(&results).as_bytes()), Ok(results));
    }

    #[test]
    fn another_version_is_refused_before_its_fields() {
        let text = r#"{"version": 2, "runs": []}"#;

        let (expected, found) = parse(text.as_bytes()).expect_err("it is refused");

        assert_eq!(expected, "a file of measurements of version 1");
        assert_eq!(found, "its version is 2");
    }

    #[test]
    fn a_field_too_many_is_named() {
        let text = json(&sample::results()).replacen("\"processors\"", "\"cores\"", 1);

        let (_, found) = parse(text.as_bytes()).expect_err("it is refused");

        assert!(
            found.starts_with("unknown field `cores`, expected one of `processor`, `processors`"),
            "{found}"
        );
    }

    #[test]
    fn every_field_too_many_is_refused_wherever_it_is() {
        let whole: serde_json::Value = serde_json::from_str(&json(&small())).expect("it is JSON");
        let mut refused = 0;
        for place in objects(&whole, String::new()) {
            let mut changed = whole.clone();
            changed
                .pointer_mut(&place)
                .and_then(serde_json::Value::as_object_mut)
                .expect("it is an object")
                .insert("surprise".into(), 1.into());
            assert!(parse(changed.to_string().as_bytes()).is_err(), "{place}");
            refused += 1;
        }
        assert!(refused > 20, "{refused}");
    }

    /// The sample with one access a row, which is quicker to read a thousand times.
    fn small() -> Results {
        let mut results = sample::results();
        for row in &mut results.rows {
            if let Outcome::Measured(measured) = &mut row.outcome {
                measured.accesses.truncate(1);
            }
        }
        results
    }

    /// The pointers to all objects in a value.
    fn objects(value: &serde_json::Value, at: String) -> Vec<String> {
        let mut found = Vec::new();
        match value {
            serde_json::Value::Object(fields) => {
                for (name, field) in fields {
                    found.extend(objects(field, format!("{at}/{name}")));
                }
                found.push(at);
            }
            serde_json::Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    found.extend(objects(item, format!("{at}/{index}")));
                }
            }
            _ => {}
        }
        found
    }

    #[test]
    fn a_refusal_is_one_sentence_that_names_the_file() {
        let path = std::env::temp_dir().join(format!("qboot-rs-json-{}", std::process::id()));
        fs::write(&path, "{\"version\": 1}").expect("a file can be written");

        let error = read_json(&path).expect_err("it is refused").to_string();

        fs::remove_file(&path).expect("it is there");
        assert_eq!(
            error,
            format!(
                "{} is not a file of measurements of version 1: missing field `command` at line 1 \
                 column 14",
                path.display()
            )
        );
    }

    #[test]
    fn no_beginning_of_a_file_is_taken_for_one() {
        let text = json(&small());

        for end in (0..text.trim_end().len()).step_by(97) {
            assert!(parse(&text.as_bytes()[..end]).is_err(), "{end}");
        }
    }
}
