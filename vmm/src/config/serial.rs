// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--serial`: where COM1 leads.

use super::Error;
use std::path::PathBuf;

/// The far end of COM1.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SerialTarget {
    /// Standard input and output.
    Stdio,
    /// Output to a file, which is created or emptied; no input.
    File(PathBuf),
    /// Nowhere.
    None,
}

/// Reads `stdio`, `none` or `file:PATH`.
pub fn parse_serial(text: &str) -> Result<SerialTarget, Error> {
    match text.split_once(':') {
        Some(("file", path)) if !path.is_empty() => Ok(SerialTarget::File(path.into())),
        None if text == "stdio" => Ok(SerialTarget::Stdio),
        None if text == "none" => Ok(SerialTarget::None),
        _ => Err(Error::Serial(text.into())),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn serial_targets() {
        assert_eq!(parse_serial("stdio").unwrap(), SerialTarget::Stdio);
        assert_eq!(parse_serial("none").unwrap(), SerialTarget::None);
        assert_eq!(
            parse_serial("file:a:b").unwrap(),
            SerialTarget::File("a:b".into())
        );
        for text in ["", "file:", "file", "pty", "stdio:x"] {
            assert!(parse_serial(text).is_err(), "{text:?}");
        }
    }
}
