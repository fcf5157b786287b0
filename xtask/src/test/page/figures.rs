// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether the figures of a page are those of the JSON: each says what it is, reads like that, and
//! none is missing.
//!
//! This knows nothing of how the page was made: a number is read as people read it.

use std::collections::BTreeSet;

use serde_json::Value;

/// What is wrong with the figures. `cut` names arrays of which only the first are on the page.
pub fn complaints(figures: &Value, cut: &Value, json: &Value) -> Vec<String> {
    let (Some(figures), Some(cut)) = (figures.as_array(), cut.as_array()) else {
        return vec![format!("expected lists, found {figures} and {cut}")];
    };
    let mut complaints: Vec<_> = figures
        .iter()
        .filter_map(|figure| complaint(figure, json))
        .collect();
    let on_page: BTreeSet<_> = figures
        .iter()
        .filter(|figure| figure["kind"] == "path")
        .filter_map(|figure| figure["places"].as_str())
        .collect();
    let mut leaves = Vec::new();
    numbers(json, String::new(), &mut leaves);
    for leaf in leaves {
        if !on_page.contains(leaf.as_str()) && !is_cut(&leaf, cut) {
            complaints.push(format!("{leaf} is not on the page"));
        }
    }
    complaints
}

/// Whether a place is in the rest of an array that the page says it does not show.
fn is_cut(leaf: &str, cut: &[Value]) -> bool {
    cut.iter().filter_map(Value::as_str).any(|cut| {
        let found = cut.split_once(' ').and_then(|(array, shown)| {
            let rest = leaf.strip_prefix(array)?.strip_prefix('/')?;
            let index: usize = rest.split('/').next()?.parse().ok()?;
            Some(index >= shown.parse().ok()?)
        });
        found.unwrap_or(false)
    })
}

/// The places of all numbers.
fn numbers(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Number(_) => found.push(at),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                numbers(item, format!("{at}/{index}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                numbers(field, format!("{at}/{name}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// What is wrong with one figure.
fn complaint(figure: &Value, json: &Value) -> Option<String> {
    let [kind, places, value, text] =
        ["kind", "places", "value", "text"].map(|field| figure[field].as_str().unwrap_or_default());
    let exact = if kind == "path" {
        match place(places, json) {
            Some(exact) => exact,
            None => return Some(format!("{places} is not in the JSON")),
        }
    } else {
        match derived(kind, places, json) {
            Some(exact) => exact,
            None => return Some(format!("no {kind} of {places} can be made of the JSON")),
        }
    };
    if !same(value, &exact) {
        return Some(format!(
            "{places}: the {kind} {exact} of the JSON is {value} on the page"
        ));
    }
    if !reads_like(text, &exact, places.contains("/memory")) {
        return Some(format!("{places}: the {kind} {exact} reads {text}"));
    }
    None
}

/// The number at a place, as the JSON writes it; the length of an array is one, too.
fn place(path: &str, json: &Value) -> Option<String> {
    match json.pointer(path) {
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(_) => None,
        None => {
            let array = json.pointer(path.strip_suffix("/length")?)?.as_array()?;
            Some(array.len().to_string())
        }
    }
}

/// A number that is made of two others; each may be a sum.
fn derived(kind: &str, places: &str, json: &Value) -> Option<String> {
    let (a, b) = places.split_once(' ')?;
    if kind == "sum" {
        let whole = |path| place(path, json)?.parse::<u64>().ok();
        return Some(whole(a)?.checked_add(whole(b)?)?.to_string());
    }
    let number = |paths: &str| {
        let parts = paths.split('+');
        parts
            .map(|path| place(path, json)?.parse::<f64>().ok())
            .sum::<Option<f64>>()
    };
    let (a, b) = (number(a)?, number(b)?);
    match kind {
        "difference" => Some((a - b).to_string()),
        "quotient" => Some((a / b).to_string()),
        _ => None,
    }
}

/// Whether two texts are one number. Whole ones are compared by their digits: a floating-point
/// number does not have them all.
fn same(a: &str, b: &str) -> bool {
    let whole = |text: &str| text.parse::<u64>();
    match (whole(a), whole(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => matches!((a.parse::<f64>(), b.parse::<f64>()), (Ok(a), Ok(b)) if a == b),
    }
}

/// Whether what is read is the number, as far as its last digit says.
fn reads_like(text: &str, exact: &str, in_kibibytes: bool) -> bool {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).is_ok_and(|number| exact == number.to_string());
    }
    let (digits, unit) = text.split_once(' ').unwrap_or((text, ""));
    let digits = digits.strip_suffix('×').unwrap_or(digits);
    let kibi = if in_kibibytes { 1.0 } else { 1024.0 };
    let unit = match unit {
        "" | "µs" | "B" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "KiB" => kibi,
        "MiB" => kibi * 1024.0,
        "GiB" => kibi * 1024.0 * 1024.0,
        _ => return false,
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    if !grouped(whole) || decimals.contains(',') {
        return false;
    }
    let plain = digits.replace(',', "");
    if unit == 1.0 && decimals.is_empty() && exact.parse::<u64>().is_ok() {
        return plain == exact;
    }
    let (Ok(read), Ok(exact)) = (plain.parse::<f64>(), exact.parse::<f64>()) else {
        return false;
    };
    let last = decimals.chars().fold(1.0, |digit, _| digit / 10.0) * unit;
    // Half of the last digit, and what arithmetic loses.
    (read * unit - exact).abs() <= last / 2.0 + exact.abs() * 1e-9
}

/// Whether the digits before the point are in threes.
fn grouped(whole: &str) -> bool {
    let mut groups = whole.trim_start_matches('-').split(',');
    let first = groups.next().unwrap_or_default();
    (1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3)
}

#[cfg(test)]
mod test {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_is_read_as_people_do() {
        let good = [
            ("14,802", "14802"),
            ("7.74 ms", "7739.2"),
            ("2.65 s", "2651095"),
            ("-1.20 ms", "-1197.5"),
            ("64 MiB", "67108864"),
            ("0x0510", "1296"),
            ("18,446,744,073,709,551,615", "18446744073709551615"),
            ("403×", "403.4"),
        ];
        for (text, exact) in good {
            assert!(reads_like(text, exact, false), "{text} {exact}");
        }
        let bad = [
            ("14,803", "14802"),
            ("14802", "14802"),
            ("7.75 ms", "7739.2"),
            ("7.74 s", "7739.2"),
            ("7.74 miles", "7739.2"),
            ("0x0511", "1296"),
            ("18,446,744,073,709,551,614", "18446744073709551615"),
            ("", "0"),
            ("about 5", "5"),
        ];
        for (text, exact) in bad {
            assert!(!reads_like(text, exact, false), "{text} {exact}");
        }
    }

    #[test]
    fn memory_is_counted_in_kibibytes() {
        assert!(reads_like("12.1 MiB", "12400", true));
        assert!(!reads_like("12.1 MiB", "12400", false));
    }

    #[test]
    fn each_number_of_the_json_is_looked_for() {
        let json = json!({"a": [1, {"b": 2.5}], "c": "3"});
        let figures = json!([{"kind": "path", "places": "/a/0", "value": "1", "text": "1"}]);

        assert_eq!(
            complaints(&figures, &json!([]), &json),
            ["/a/1/b is not on the page"]
        );
        assert!(complaints(&figures, &json!(["/a 1"]), &json).is_empty());
        assert!(!complaints(&figures, &json!(["/a 2"]), &json).is_empty());
    }

    #[test]
    fn what_is_made_of_numbers_is_made_again() {
        let json = json!({"a": 6, "b": 4, "c": [0, 0, 0]});

        let made = |kind, places| derived(kind, places, &json);
        assert_eq!(made("sum", "/a /b").as_deref(), Some("10"));
        assert_eq!(made("difference", "/b /a").as_deref(), Some("-2"));
        assert_eq!(made("quotient", "/a+/b /b").as_deref(), Some("2.5"));
        assert_eq!(made("quotient", "/a /d"), None);
        assert_eq!(place("/c/length", &json).as_deref(), Some("3"));
    }
}
