// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--net`: a virtio network device.

use super::{Error, words};

/// Most queue pairs of a network device. Each queue has a thread.
pub const MAX_NET_QUEUES: u16 = 64;

/// Most bytes of the name of an interface (`IFNAMSIZ` without the end).
const MAX_NAME: usize = 15;

/// Bit of the first byte of an address: of a group, not of a station.
const GROUP: u8 = 1;
/// First byte of our own addresses: of a station, administered locally.
const LOCAL: u8 = 2;

/// A virtio network device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Net {
    /// The tap interface of the host that it is connected to.
    pub tap: String,
    /// Its address, if not one of ours.
    pub mac: Option<[u8; 6]>,
    /// Queue pairs: at least one.
    pub queues: u16,
}

impl Net {
    /// The address that it has as network device `index` of its machine. Where the user gave none, it
    /// differs from those of the machine's others, and hardly equals one behind another tap.
    #[must_use]
    pub fn address(&self, index: usize) -> [u8; 6] {
        self.mac.unwrap_or_else(|| {
            let [a, b, c, d] = hash(&self.tap).to_be_bytes();
            // There are not as many devices.
            [LOCAL, a, b, c, d, u8::try_from(index).unwrap_or(u8::MAX)]
        })
    }
}

/// FNV-1a, 32 bits.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// Reads `tap=NAME` and the other words about a network device.
pub fn parse_net(text: &str) -> Result<Net, Error> {
    let refuse = || Error::Net(text.into());
    let mut net = Net {
        tap: String::new(),
        mac: None,
        queues: 1,
    };
    for (key, value) in words::settings(text).ok_or_else(refuse)? {
        match key.as_str() {
            "tap" if is_name(&value) => net.tap = value,
            "mac" => net.mac = Some(parse_mac(&value)?),
            "queues" => net.queues = words::count(&value, MAX_NET_QUEUES).ok_or_else(refuse)?,
            _ => return Err(refuse()),
        }
    }
    if net.tap.is_empty() {
        return Err(refuse());
    }
    Ok(net)
}

/// Whether an interface can have this name.
fn is_name(text: &str) -> bool {
    let is_possible = |byte: u8| byte.is_ascii_graphic() && !b"/:".contains(&byte);
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_possible)
}

/// Reads the address of one station.
fn parse_mac(text: &str) -> Result<[u8; 6], Error> {
    let refuse = || Error::Mac(text.into());
    let mut mac = [0; 6];
    let mut pairs = text.split(':');
    for byte in &mut mac {
        let pair = pairs.next().filter(|pair| pair.len() == 2);
        let pair = pair.filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let pair = pair.ok_or_else(refuse)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| refuse())?;
    }
    if pairs.next().is_some() || mac[0] & GROUP != 0 || mac == [0; 6] {
        return Err(refuse());
    }
    Ok(mac)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_network_device_is_what_its_words_say() {
        let net = parse_net("tap=tap-0.1").unwrap();
        assert_eq!(
            (net.tap.as_str(), net.mac, net.queues),
            ("tap-0.1", None, 1)
        );
        let net = parse_net("queues=64,mac=52:54:00:Ab:cD:ef,tap=x").unwrap();
        assert_eq!(net.mac, Some([0x52, 0x54, 0, 0xab, 0xcd, 0xef]));
        assert_eq!((net.queues, net.address(3)), (64, net.mac.unwrap()));
    }

    #[test]
    fn addresses_of_ours_are_local_and_differ() {
        let address = |name: &str, index| parse_net(&format!("tap={name}")).unwrap().address(index);
        assert_eq!(address("tap0", 1), address("tap0", 1));
        assert_eq!(address("tap0", 7)[0] & 3, 2);
        assert_ne!(address("tap0", 0), address("tap0", 1));
        assert_ne!(address("tap0", 0), address("tap1", 0));
    }

    #[test]
    fn words_about_a_network_device_that_nobody_knows_are_refused_with_those_that_are() {
        for text in [
            "",
            "x",
            "tap=",
            "tap=a/b",
            "tap=a:b",
            "tap=a b",
            "tap=sixteen-letters-",
            "tap=\u{e9}",
            "queues=2",
            "tap=x,",
            "tap=x,mac",
            "tap=x,queues=0",
            "tap=x,queues=65",
            "tap=x,queues=many",
            "tap=x,tap=y",
            "tap=x,vhost=on",
        ] {
            let sentence = parse_net(text).unwrap_err().to_string();
            assert!(
                sentence.starts_with(&format!("--net {text}: expected tap=NAME"))
                    && sentence.contains("1 to 64"),
                "{sentence}"
            );
        }
    }

    #[test]
    fn what_is_no_address_of_a_station_is_refused() {
        for mac in [
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:56:78",
            "52:54:00:12:34:5",
            "52-54-00-12-34-56",
            "52:54:00:12:34:+6",
            "52:54:00:12:34:g6",
            "01:00:5e:00:00:01",
            "ff:ff:ff:ff:ff:ff",
            "00:00:00:00:00:00",
        ] {
            let sentence = parse_net(&format!("tap=x,mac={mac}"))
                .unwrap_err()
                .to_string();
            let expected = format!("--net mac={mac}: expected the address of one station");
            assert!(sentence.starts_with(&expected), "{sentence}");
        }
    }
}
