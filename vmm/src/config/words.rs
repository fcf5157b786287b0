// SPDX-License-Identifier: MIT OR Apache-2.0
//! `KEY=VALUE,…`, of which several options are made.

/// Cuts a text at its commas. As with QEMU, two commas are one that does not cut.
pub fn list(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        if letter == ',' && rest.next_if_eq(&',').is_none() {
            words.push(String::new());
        } else if let Some(word) = words.last_mut() {
            word.push(letter);
        }
    }
    words
}

/// Cuts `KEY=VALUE,…` into its pairs. `None` if a word is no pair.
pub fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |word: &String| {
        let (key, value) = word.split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    };
    list(text).iter().map(pair).collect()
}

/// The same where each key comes once: `None` also if one comes twice.
pub fn settings(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = pairs(text)?;
    let alone = |(index, (key, _)): (usize, &(String, _))| {
        pairs[..index].iter().all(|(other, _)| other != key)
    };
    pairs.iter().enumerate().all(alone).then_some(pairs)
}

/// Reads `on` or `off`.
pub fn switch(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

/// Reads a number from 1 to `most`.
pub fn count(text: &str, most: u16) -> Option<u16> {
    text.parse().ok().filter(|count| (1..=most).contains(count))
}
