// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--smbios`: what the machine says it is.

use super::{Error, words};

/// Most bytes of one string.
const MOST: usize = 0x4000;
/// Most OEM strings: a byte counts them.
const MOST_OEM: usize = 255;

/// What the user wants the machine to say. What is `None` has a default.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Smbios {
    /// Who makes it.
    pub manufacturer: Option<String>,
    /// What it is.
    pub product: Option<String>,
    /// Which one.
    pub version: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Its number, in the order in which it is written; zeros if it has none.
    pub uuid: [u8; 16],
    /// What it is called by who sells it.
    pub sku: Option<String>,
    /// What it belongs to.
    pub family: Option<String>,
    /// Anything else.
    pub oem: Vec<String>,
}

/// Reads `type=1,KEY=TEXT,…` and `type=11,value=TEXT,…`, one text after the other; nothing of none.
/// Of a key that comes twice the last one counts, but each value of type 11 does.
pub fn parse_smbios<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Option<Smbios>, Error> {
    let mut smbios = None;
    for text in texts {
        let refuse = || Error::Smbios(text.into());
        let smbios: &mut Smbios = smbios.get_or_insert_default();
        let pairs = words::pairs(text).ok_or_else(refuse)?;
        let Some(((key, kind), rest)) = pairs.split_first() else {
            return Err(refuse());
        };
        if key != "type" {
            return Err(refuse());
        }
        for (key, value) in rest {
            if value.len() > MOST || value.bytes().any(|byte| byte < b' ') {
                return Err(refuse());
            }
            let some = || Some(value.clone());
            match (kind.as_str(), key.as_str()) {
                ("1", "manufacturer") => smbios.manufacturer = some(),
                ("1", "product") => smbios.product = some(),
                ("1", "version") => smbios.version = some(),
                ("1", "serial") => smbios.serial = some(),
                ("1", "sku") => smbios.sku = some(),
                ("1", "family") => smbios.family = some(),
                ("1", "uuid") => smbios.uuid = parse_uuid(value).ok_or_else(refuse)?,
                ("11", "value") if !value.is_empty() && smbios.oem.len() < MOST_OEM => {
                    smbios.oem.push(value.clone());
                }
                _ => return Err(refuse()),
            }
        }
        if !["1", "11"].contains(&kind.as_str()) {
            return Err(refuse());
        }
    }
    Ok(smbios)
}

/// Reads 32 hexadecimal digits, with a hyphen behind the 8th, 12th, 16th and 20th.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let groups: Vec<_> = text.split('-').collect();
    let lengths: Vec<_> = groups.iter().map(|group| group.len()).collect();
    let digits = groups.concat();
    if lengths != [8, 4, 4, 4, 12] || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some(u128::from_str_radix(&digits, 16).ok()?.to_be_bytes())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_is_said_is_kept_and_nothing_said_is_nothing() {
        assert_eq!(parse_smbios([]).unwrap(), None);
        let smbios = parse_smbios([
            "type=1,manufacturer=Me,,and you,product=p,product=q,version=1,serial=s,sku=k,family=f",
            "type=11,value=io.systemd.credential:a=b,value=c",
            "type=1,uuid=00112233-4455-6677-8899-aabbccddeeFF",
            "type=11,value=d",
        ]);
        let some = |text: &str| Some(text.to_owned());
        let expected = Smbios {
            manufacturer: some("Me,and you"),
            product: some("q"),
            version: some("1"),
            serial: some("s"),
            uuid: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128.to_be_bytes(),
            sku: some("k"),
            family: some("f"),
            oem: ["io.systemd.credential:a=b", "c", "d"]
                .map(Into::into)
                .into(),
        };
        assert_eq!(smbios.unwrap(), Some(expected));
        assert_eq!(parse_smbios(["type=1"]).unwrap(), Some(Smbios::default()));
    }

    #[test]
    fn types_keys_and_values_that_nobody_knows_are_refused() {
        for text in [
            "",
            "type",
            "type=0,vendor=x",
            "type=2",
            "product=x",
            "product=x,type=1",
            "type=1,value=x",
            "type=11,product=x",
            "type=11,value=",
            "type=1,color=red",
            "type=1,serial=a\nb",
            "type=1,uuid=00112233445566778899aabbccddeeff",
            "type=1,uuid=+0112233-4455-6677-8899-aabbccddeeff",
            "type=1,uuid=00112233-4455-6677-8899-aabbccddeef",
        ] {
            let sentence = parse_smbios([text]).unwrap_err().to_string();
            assert!(sentence.starts_with("--smbios "), "{sentence}");
            assert!(sentence.contains("expected type=1 with"), "{sentence}");
        }
        let long = format!("type=11,value={}", "x".repeat(MOST + 1));
        assert!(parse_smbios([long.as_str()]).is_err());
        let many = "type=11,value=x".to_owned() + &",value=x".repeat(MOST_OEM);
        assert!(parse_smbios([many.as_str()]).is_err());
    }
}
