// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--option-rom`: code that firmware may run before it boots.

use super::{Error, words};
use std::path::PathBuf;

/// An option ROM, which firmware finds in `fw_cfg`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OptionRom {
    /// Its image.
    pub path: PathBuf,
    /// Its place in the boot order.
    pub boot_index: Option<u32>,
}

/// Reads `path=FILE` and its place in the boot order.
pub fn parse_option_rom(text: &str) -> Result<OptionRom, Error> {
    let refuse = || Error::OptionRom(text.into());
    let mut rom = OptionRom {
        path: PathBuf::new(),
        boot_index: None,
    };
    for (key, value) in words::settings(text).ok_or_else(refuse)? {
        match key.as_str() {
            "path" if !value.is_empty() => rom.path = PathBuf::from(value),
            "bootindex" => rom.boot_index = Some(value.parse().map_err(|_| refuse())?),
            _ => return Err(refuse()),
        }
    }
    if rom.path.as_os_str().is_empty() {
        return Err(refuse());
    }
    Ok(rom)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_option_rom_has_a_place_in_the_boot_order_or_none() {
        let rom = parse_option_rom("bootindex=3,path=a,,b").unwrap();
        assert_eq!(rom.path, PathBuf::from("a,b"));
        assert_eq!(rom.boot_index, Some(3));
        assert_eq!(parse_option_rom("path=x").unwrap().boot_index, None);
    }

    #[test]
    fn words_about_an_option_rom_that_nobody_knows_are_refused_with_those_that_are() {
        for text in [
            "",
            "x",
            "path=",
            "bootindex=1",
            "path=x,bootindex=",
            "path=x,bootindex=-1",
            "path=x,path=y",
            "path=x,readonly=on",
        ] {
            let sentence = parse_option_rom(text).unwrap_err().to_string();
            let expected = format!("--option-rom {text}: expected path=FILE");
            assert!(sentence.starts_with(&expected), "{sentence}");
        }
    }
}
