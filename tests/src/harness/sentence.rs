// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a refusal sounds like.

use std::fmt::Display;

/// Holds an error to the form "item: expected …, found …", in one line.
pub fn assert_sentence(error: &impl Display) {
    let sentence = error.to_string();
    let (item, rest) = sentence
        .split_once(": expected ")
        .unwrap_or_else(|| panic!("no item and expectation: {sentence}"));
    assert!(!item.is_empty(), "no item: {sentence}");
    assert!(rest.contains(", found "), "nothing found: {sentence}");
    assert!(!sentence.contains('\n'), "two lines: {sentence}");
    assert!(sentence.len() < 200, "too long: {sentence}");
}
