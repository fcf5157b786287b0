// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--serial`, `--console` and `--debugcon`: where COM1, the virtio consoles and the debug console
//! lead.

use super::{Error, Machine};
use std::path::PathBuf;

/// The option about COM1.
pub const SERIAL: &str = "--serial";

/// The option about virtio consoles.
pub const CONSOLE: &str = "--console";

/// The option about the debug console.
pub const DEBUGCON: &str = "--debugcon";

/// A far end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// Standard input and output.
    Stdio,
    /// Output to a file, which is created or emptied; no input.
    File(PathBuf),
    /// A new pseudo-terminal.
    Pty,
    /// A new Unix socket at this path.
    Unix(PathBuf),
    /// Nowhere.
    None,
}

/// Reads what follows `option`: `stdio`, `none`, `pty`, `file:PATH` or `unix:PATH`.
pub fn parse_target(option: &'static str, text: &str) -> Result<Target, Error> {
    match text.split_once(':') {
        Some(("file", path)) if !path.is_empty() => Ok(Target::File(path.into())),
        Some(("unix", path)) if !path.is_empty() => Ok(Target::Unix(path.into())),
        None if text == "stdio" => Ok(Target::Stdio),
        None if text == "none" => Ok(Target::None),
        None if text == "pty" => Ok(Target::Pty),
        _ => Err(Error::Target(option, text.into())),
    }
}

/// Where COM1 and the virtio consoles lead, if the user has said this about them and `debugcon` of
/// the debug console. Standard input and output are COM1's, or a virtio console's where there is no
/// COM1, unless an option says where they lead.
#[must_use]
pub fn far_ends(
    machine: &Machine,
    serial: Option<Target>,
    mut consoles: Vec<Target>,
    debugcon: &Target,
) -> (Target, Vec<Target>) {
    let taken = *debugcon == Target::Stdio || consoles.contains(&Target::Stdio);
    let serial = match serial {
        Some(target) => target,
        None if machine.isa_serial && !taken => Target::Stdio,
        None => {
            if consoles.is_empty() && !taken {
                consoles.push(Target::Stdio);
            }
            Target::None
        }
    };
    (serial, consoles)
}

/// Refuses what two ports cannot share, whatever each has to say.
pub(super) fn check<'a>(targets: impl IntoIterator<Item = &'a Target>) -> Result<(), Error> {
    let mut seen = Vec::new();
    for target in targets {
        let twice = match target {
            Target::Stdio => "stdio".into(),
            Target::File(path) => format!("file:{}", path.display()),
            Target::Unix(path) => format!("unix:{}", path.display()),
            Target::Pty | Target::None => continue,
        };
        if seen.contains(&target) {
            return Err(Error::TargetTwice(twice));
        }
        seen.push(target);
    }
    Ok(())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn targets() {
        let parse = |text| parse_target(CONSOLE, text);
        assert_eq!(parse("stdio").unwrap(), Target::Stdio);
        assert_eq!(parse("none").unwrap(), Target::None);
        assert_eq!(parse("pty").unwrap(), Target::Pty);
        assert_eq!(parse("file:a:b").unwrap(), Target::File("a:b".into()));
        assert_eq!(parse("unix:/a").unwrap(), Target::Unix("/a".into()));
        for text in ["", "file:", "file", "unix:", "unix", "pty:1", "stdio:x"] {
            let sentence = parse(text).unwrap_err().to_string();
            assert!(
                sentence.starts_with(&format!("--console {text}: expected stdio,")),
                "{sentence}"
            );
        }
    }

    #[test]
    fn stdio_belongs_to_com1_unless_somebody_else_gets_it() {
        let (with, without) = (
            Machine::default(),
            Machine {
                isa_serial: false,
                ..Machine::default()
            },
        );
        let (stdio, pty, none) = (Target::Stdio, Target::Pty, Target::None);
        let cases = [
            (&with, None, vec![], (stdio.clone(), vec![])),
            (&with, None, vec![&pty], (stdio.clone(), vec![pty.clone()])),
            (
                &with,
                None,
                vec![&stdio],
                (none.clone(), vec![stdio.clone()]),
            ),
            (&with, Some(&none), vec![], (none.clone(), vec![])),
            (&without, None, vec![], (none.clone(), vec![stdio.clone()])),
            (
                &without,
                None,
                vec![&pty],
                (none.clone(), vec![pty.clone()]),
            ),
            (&without, Some(&none), vec![], (none.clone(), vec![])),
        ];
        for (machine, serial, consoles, expected) in cases {
            let consoles = consoles.into_iter().cloned().collect();
            let found = far_ends(machine, serial.cloned(), consoles, &none);
            assert_eq!(found, expected);
        }
        for machine in [&with, &without] {
            let found = far_ends(machine, None, Vec::new(), &stdio);
            assert_eq!(found, (none.clone(), Vec::new()));
        }
    }

    #[test]
    fn what_is_one_thing_leads_to_one_port() {
        let file = || Target::File("a".into());
        let shared = [Target::Pty, Target::None];
        assert!(check(shared.iter().chain(&shared)).is_ok());
        let apart = [file(), Target::Unix("a".into()), Target::Stdio];
        assert!(check(&apart).is_ok());
        for target in [file(), Target::Stdio, Target::Unix("a".into())] {
            let twice = check(&[target.clone(), Target::None, target]);
            let sentence = twice.unwrap_err().to_string();
            assert!(sentence.contains("found it twice"), "{sentence}");
        }
    }
}
