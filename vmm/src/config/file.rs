// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--fw-cfg`: a file of the user's.

use super::Error;
use std::path::PathBuf;

/// A `fw_cfg` file from the command line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserFile {
    /// Its name in the directory.
    pub name: String,
    /// Its bytes.
    pub source: UserSource,
}

/// Where the bytes of a [`UserFile`] come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum UserSource {
    /// The option itself.
    String(String),
    /// A host file.
    File(PathBuf),
}

/// Reads `[name=]NAME,string=TEXT` or `[name=]NAME,file=PATH`; the text or path is everything
/// up to the end, commas included.
pub fn parse_user_file(text: &str) -> Result<UserFile, Error> {
    let refuse = || Error::FwCfg(text.into());
    let (name, source) = text.split_once(',').ok_or_else(refuse)?;
    let name = name.strip_prefix("name=").unwrap_or(name);
    let source = match source.split_once('=') {
        Some(("string", value)) => UserSource::String(value.into()),
        Some(("file", path)) if !path.is_empty() => UserSource::File(path.into()),
        _ => return Err(refuse()),
    };
    Ok(UserFile {
        name: name.into(),
        source,
    })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_user_file_keeps_commas_and_equal_signs_of_its_text() {
        let file = parse_user_file("name=opt/a,string=x=1,y=2").unwrap();
        assert_eq!(file.name, "opt/a");
        assert_eq!(file.source, UserSource::String("x=1,y=2".into()));
        let file = parse_user_file("opt/b,file=/some/where").unwrap();
        assert_eq!(file.source, UserSource::File("/some/where".into()));
        for text in ["", "opt/a", "opt/a,", "opt/a,file=", "opt/a,text=x"] {
            assert!(parse_user_file(text).is_err(), "{text:?}");
        }
    }
}
