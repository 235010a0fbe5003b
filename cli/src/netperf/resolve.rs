//! Host names as netperf resolves and shows them.
//!
//! Looks names up and says what netperf says when there is nothing to be found; connects nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};

use dns_lookup::{AddrInfoHints, SockType};
use ringperf_engine::plan::Protocol;

use super::options::Family;
use super::say::{Ending, REFUSED};

/// AI_CANONNAME of getaddrinfo(3): tell the host's canonical name.
const CANONICAL_NAME: i32 = 2;

/// What the library puts before getaddrinfo's own words.
const LOOKUP_FAILED: &str = "failed to lookup address information: ";

/// AF_* of Linux; 0 leaves it open to getaddrinfo.
pub(crate) fn number(family: Family) -> i32 {
    match family {
        Family::Unspecified => 0,
        Family::V4 => 2,
        Family::V6 => 10,
        Family::Rds => 21,
    }
}

/// A family as the banner and the messages write it.
pub(crate) fn family_word(family: Family) -> &'static str {
    match family {
        Family::Unspecified => "AF_UNSPEC",
        Family::V4 => "AF_INET",
        Family::V6 => "AF_INET6",
        Family::Rds => "AF_RDS",
    }
}

/// The family of an address.
pub(crate) fn family_of(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::V4 } else { Family::V6 }
}

/// The wildcard address of a family, as netperf writes it.
pub(crate) fn wildcard(family: Family) -> &'static str {
    if family == Family::V6 { "::0" } else { "0.0.0.0" }
}

/// One end of a connection, as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedHost {
    /// The canonical name, which for an address is the address as it was written.
    pub(crate) name: String,
    /// The addresses in the resolver's order, the first of which is the one netperf uses for data.
    first: SocketAddr,
    others: Vec<SocketAddr>,
}

impl ResolvedHost {
    /// The first address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.first
    }

    /// All of them.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }

    /// The family of the first address.
    pub(crate) fn family(&self) -> Family {
        family_of(self.first.ip())
    }
}

/// Finds a host, and the port that a number or the name of a service means. As the resolver has it, a number
/// counts modulo 65536.
///
/// # Errors
/// What getaddrinfo returned: its number and its words.
pub(crate) fn look_up(
    name: &str,
    port: Option<&str>,
    family: Family,
    socket: SockType,
) -> Result<ResolvedHost, String> {
    let hints = AddrInfoHints {
        address: number(family),
        socktype: socket.into(),
        flags: CANONICAL_NAME,
        ..AddrInfoHints::default()
    };
    let found = dns_lookup::getaddrinfo(Some(name), port, Some(hints)).map_err(|error| {
        let number = error.error_num();
        let text = io::Error::from(error).to_string();
        format!("{number} {}", text.strip_prefix(LOOKUP_FAILED).unwrap_or(&text))
    })?;
    let mut found = found.flatten();
    let first = found.next().ok_or("no address of that family")?;
    Ok(ResolvedHost {
        name: first.canonname.unwrap_or_else(|| name.to_owned()),
        first: first.sockaddr,
        others: found.map(|one| one.sockaddr).collect(),
    })
}

/// Finds the netserver's host before anything is connected.
///
/// # Errors
/// netperf's three lines on standard output. The port is null because none is looked up with the host.
pub(crate) fn netserver(name: &str, family: Family) -> Result<ResolvedHost, Ending> {
    look_up(name, None, family, SockType::Stream).map_err(|cause| {
        Ending::new(REFUSED).output(format!(
            "resolve_host: could not resolve host '{name}' port '(null)' af {}\n\
             \tgetaddrinfo returned {cause}\nNetperf could not resolve {name} as a host name\n",
            family_word(family)
        ))
    })
}

/// Finds an end of the data connection.
///
/// # Errors
/// netperf's two lines on standard output.
pub(crate) fn data_end(
    name: &str,
    port: &str,
    family: Family,
    protocol: Protocol,
) -> Result<ResolvedHost, Ending> {
    let socket = match protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::DGram,
    };
    look_up(name, Some(port), family, socket).map_err(|cause| {
        Ending::new(REFUSED).output(format!(
            "complete_addrinfo: could not resolve '{name}' port '{port}' af {}\n\
             \tgetaddrinfo returned {cause}\n",
            number(family)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, port: &str, family: Family) -> Result<SocketAddr, String> {
        look_up(name, Some(port), family, SockType::Stream).map(|host| host.address())
    }

    #[test]
    fn an_address_keeps_its_port_and_its_scope() {
        assert_eq!(found("127.0.0.1", "70000", Family::Unspecified), Ok(([127, 0, 0, 1], 4464).into()));
        assert_eq!(found("::0", "0", Family::V6), Ok((std::net::Ipv6Addr::UNSPECIFIED, 0).into()));
        let SocketAddr::V6(scoped) = found("fe80::1%lo", "7", Family::V6).expect("every machine has lo")
        else {
            panic!("an address of IPv6 was asked for");
        };
        assert_ne!(scoped.scope_id(), 0);
    }

    #[test]
    fn what_is_not_found_has_the_resolvers_number() {
        let service = found("127.0.0.1", "1x", Family::V4).expect_err("no such service");
        assert!(service.starts_with("-8 Serv"), "{service}");
        let family = found("::1", "0", Family::V4).expect_err("not of that family");
        assert!(family.starts_with("-9 "), "{family}");
    }
}
