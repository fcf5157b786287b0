// SPDX-License-Identifier: MIT OR Apache-2.0
//! `KEY=VALUE,…`, of which several options are made.

/// Cuts `KEY=VALUE,…` into its pairs. As with QEMU, two commas are one that does not cut. `None` if
/// a word is no pair, or a key comes twice.
pub fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut words = vec![String::new()];
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        if letter == ',' && rest.next_if_eq(&',').is_none() {
            words.push(String::new());
        } else if let Some(word) = words.last_mut() {
            word.push(letter);
        }
    }
    let pair = |word: &String| {
        let (key, value) = word.split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    };
    let pairs: Vec<_> = words.iter().map(pair).collect::<Option<_>>()?;
    let alone = |(index, (key, _)): (usize, &(String, _))| {
        pairs[..index].iter().all(|(other, _)| other != key)
    };
    pairs.iter().enumerate().all(alone).then_some(pairs)
}
