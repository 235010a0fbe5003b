//! netserver's options about who may do what, and how much of it.
//!
//! Turns their values into networks and numbers. Nothing is enforced here.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::NetserverOptions;
use crate::trial::values::{parse_rate, parse_seconds};

/// Most sessions at once that can be asked for: each has a port of its own for its data.
const SESSIONS_MAX: u32 = 65_535;

/// Sessions at once unless told otherwise. There is no smaller limit for one address: test suites open a
/// dozen from one host.
const SESSIONS_DEFAULT: u32 = 256;

/// Prefix of the IPv6 addresses that stand for IPv4 addresses, in bits.
const MAPPED_BITS: u8 = 96;

/// What is open to whom, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// `--loopback`: nothing but this host.
    pub loopback: bool,
    /// `--allow`: the networks that sessions may come from; empty: all.
    pub allow: Vec<IpNet>,
    /// `--max-sessions`.
    pub sessions_max: u32,
    /// `--max-duration`: the longest test, in seconds.
    pub seconds_max: Option<u32>,
    /// `--max-rate`: payload bits a second of one session.
    pub rate_max: Option<u64>,
    /// `--no-busy-poll`: no client has workers look for completions without sleeping.
    pub no_busy_poll: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            loopback: false,
            allow: Vec::new(),
            sessions_max: SESSIONS_DEFAULT,
            seconds_max: None,
            rate_max: None,
            no_busy_poll: false,
        }
    }
}

impl Policy {
    /// Whether sessions may come from this address.
    pub(crate) fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allow.is_empty() || self.allow.iter().any(|network| network.contains(&address))
    }

    /// Takes the option of this name. `None`: it is none of ours. `value` is for those that have one.
    pub(super) fn take(
        &mut self,
        name: &str,
        value: &mut dyn FnMut() -> Result<String, String>,
    ) -> Option<Result<(), String>> {
        let complain = |complaint: String| format!("netserver: --{name}: {complaint}");
        Some(match name {
            "allow" => value().and_then(|list| self.allow(&list).map_err(complain)),
            "loopback" => {
                self.loopback = true;
                Ok(())
            }
            "max-duration" => value().and_then(|text| {
                self.seconds_max = Some(parse_seconds(&text).map_err(complain)?);
                Ok(())
            }),
            "max-rate" => value().and_then(|text| {
                self.rate_max = Some(parse_rate(&text).map_err(complain)?);
                Ok(())
            }),
            "max-sessions" => value().and_then(|text| {
                let number = text.parse().ok().filter(|number| (1..=SESSIONS_MAX).contains(number));
                self.sessions_max =
                    number.ok_or_else(|| complain(format!("it may be 1 to {SESSIONS_MAX}, not '{text}'")))?;
                Ok(())
            }),
            "no-busy-poll" => {
                self.no_busy_poll = true;
                Ok(())
            }
            _ => return None,
        })
    }

    fn allow(&mut self, list: &str) -> Result<(), String> {
        for word in list.split(',') {
            self.allow.push(network(word)?);
        }
        Ok(())
    }
}

/// What options say together that none of them says by itself.
pub(super) fn check(options: &NetserverOptions) -> Result<(), String> {
    if options.policy.loopback && options.host.is_some() {
        return Err("netserver: --loopback and -L name different addresses; leave one out".to_owned());
    }
    Ok(())
}

/// A network, or the one of a single address. One of IPv4 in IPv6's clothes is one of IPv4, as the addresses
/// that are compared with it are.
fn network(word: &str) -> Result<IpNet, String> {
    let network = word.parse::<IpNet>().or_else(|_| word.parse::<IpAddr>().map(IpNet::from));
    let network = network
        .map_err(|_| format!("'{word}' is no network; write 192.0.2.0/24, 2001:db8::/32 or an address"))?;
    let mapped = match network {
        IpNet::V6(network) if network.prefix_len() >= MAPPED_BITS => network
            .addr()
            .to_ipv4_mapped()
            .and_then(|address| Ipv4Net::new(address, network.prefix_len() - MAPPED_BITS).ok()),
        IpNet::V4(_) | IpNet::V6(_) => None,
    };
    Ok(mapped.map_or(network, IpNet::V4).trunc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Netserver;

    fn policy(words: &[&str]) -> Result<Policy, String> {
        match Netserver::parse(words.iter().map(Into::into)) {
            Netserver::Serve(options) => Ok(options.policy),
            Netserver::Usage(complaint) => Err(complaint.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn networks_add_up_and_mapped_ones_are_ipv4() {
        let words = ["--allow", "10.1.2.3/8,192.0.2.7", "--allow=2001:db8::/32,::ffff:198.51.100.0/120"];
        let policy = policy(&words).expect("they are networks");
        let shown: Vec<String> = policy.allow.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "198.51.100.0/24"]);
        for (address, admitted) in [
            ("10.255.0.1", true),
            ("::ffff:10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
            ("::ffff:198.51.100.9", true),
            ("198.51.100.9", true),
            ("::1", false),
        ] {
            assert_eq!(policy.admits(address.parse().expect("an address")), admitted, "{address}");
        }
        assert!(Policy::default().admits(IpAddr::from([192, 0, 2, 1])), "no list is no limit");
        // All of IPv6 is no address of IPv4.
        let six = network("::/0").expect("a network");
        let policy = Policy { allow: vec![six], ..Policy::default() };
        assert!(policy.admits("::1".parse().expect("one")) && !policy.admits([127, 0, 0, 1].into()));
    }

    #[test]
    fn limits_are_read_and_what_is_none_is_named() {
        let words = [
            "--max-sessions",
            "7",
            "--max-duration",
            "1h",
            "--max-rate",
            "2.5G",
            "--loopback",
            "--no-busy-poll",
        ];
        let read = policy(&words).expect("they are limits");
        let expected = Policy {
            loopback: true,
            allow: Vec::new(),
            sessions_max: 7,
            seconds_max: Some(3600),
            rate_max: Some(2_500_000_000),
            no_busy_poll: true,
        };
        assert_eq!(read, expected);
        for (words, complaint) in [
            (&["--allow", "10.0.0.0/33"][..], "'10.0.0.0/33' is no network"),
            (&["--allow", "10.0.0.1,,::1"], "'' is no network"),
            (&["--allow", "fe80::1%lo"], "is no network"),
            (&["--max-sessions", "0"], "1 to 65535, not '0'"),
            (&["--max-sessions", "65536"], "1 to 65535"),
            (&["--max-sessions", "-1"], "1 to 65535"),
            (&["--max-duration", "0"], "1 second to"),
            (&["--max-duration", "4294967296"], "1 second to"),
            (&["--max-rate", "0"], "1 bit a second"),
            (&["--max-rate", "fast"], "bits a second"),
            (&["--max-rate"], "requires an argument"),
            (&["--loopback", "-L", "192.0.2.1"], "--loopback and -L"),
            (&["-L", "192.0.2.1", "--loopback"], "--loopback and -L"),
        ] {
            let said = policy(words).expect_err("it is refused");
            assert!(said.starts_with("netserver: ") && said.contains(complaint), "{words:?}: {said}");
        }
    }
}
