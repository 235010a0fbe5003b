//! Which way a connection of ours goes into a container: by the packet filter's NAT, or through docker-proxy.
//!
//! Found out by the kernel's lists of sockets while such a connection is open. NAT leaves our port as it is,
//! so the container has a connection from it. A proxy has a connection of its own, and it is on this host.
//! Where neither is seen, nothing is claimed.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Longest wait for the connection, and for its other half to appear: a proxy accepts before it connects.
const CONNECT: Duration = Duration::from_secs(2);
const APPEAR: Duration = Duration::from_millis(500);

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// ESTABLISHED in /proc/net/tcp (include/net/tcp_states.h).
const ESTABLISHED: &str = "01";

/// A way into a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Way {
    /// Rewritten by the packet filter.
    Nat,
    /// Copied by a process.
    Proxy,
    /// The lists of sockets tell neither, or cannot be read.
    Unknown,
}

/// A forward of a port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forward {
    /// Where it begins, on this host.
    pub(super) from: SocketAddrV4,
    /// Port in the container.
    pub(super) port: u16,
    /// Address of the container, where it is known.
    pub(super) container: Option<Ipv4Addr>,
    /// A process in the container.
    pub(super) pid: u32,
}

impl Forward {
    /// The way of a connection that is made for this, says nothing, and is closed.
    pub(super) fn way(self) -> Way {
        let Ok(stream) = TcpStream::connect_timeout(&self.from.into(), CONNECT) else { return Way::Unknown };
        let Ok(SocketAddr::V4(ours)) = stream.local_addr() else { return Way::Unknown };
        let until = Instant::now() + APPEAR;
        loop {
            let read = |file: String| std::fs::read_to_string(file).unwrap_or_default();
            // Two lists: a socket that takes both IP versions is in that of the later.
            let inside =
                [read(format!("/proc/{}/net/tcp", self.pid)), read(format!("/proc/{}/net/tcp6", self.pid))];
            let way = self.judge(ours.port(), &inside.concat(), &read("/proc/self/net/tcp".to_owned()));
            if way != Way::Unknown || Instant::now() > until {
                return way;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// By the sockets in the container and those of this host.
    fn judge(self, our_port: u16, inside: &str, outside: &str) -> Way {
        let to_container = |(local, remote): &(End, End)| {
            self.container.is_some_and(|address| remote.is(address, self.port)) && local.port != our_port
        };
        if connections(outside).any(|both| to_container(&both)) {
            return Way::Proxy;
        }
        // Only our own connection can have our port and our address there.
        let ours =
            |(local, remote): (End, End)| local.port == self.port && remote.is(*self.from.ip(), our_port);
        if connections(inside).any(ours) { Way::Nat } else { Way::Unknown }
    }
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    /// The last 32 bits of the address, as the kernel has them in memory.
    address: u32,
    port: u16,
}

impl End {
    fn is(self, address: Ipv4Addr, port: u16) -> bool {
        self.port == port && self.address.to_ne_bytes() == address.octets()
    }
}

/// Established connections in a list of the form of /proc/net/tcp, local end first.
fn connections(list: &str) -> impl Iterator<Item = (End, End)> {
    list.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, remote) = (end(words.next()?)?, end(words.next()?)?);
        (words.next()? == ESTABLISHED).then_some((local, remote))
    })
}

/// `0100007F:3241`, with IPv6 three times as much before the last 32 bits.
fn end(text: &str) -> Option<End> {
    let (address, port) = text.split_once(':')?;
    let last = address.get(address.len().checked_sub(8)?..)?;
    Some(End { address: u32::from_str_radix(last, 16).ok()?, port: u16::from_str_radix(port, 16).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);
    const CONTAINER: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);

    fn line(local: (Ipv4Addr, u16), remote: (Ipv4Addr, u16), state: &str) -> String {
        let end = |(address, port): (Ipv4Addr, u16)| {
            format!("{:08X}:{port:04X}", u32::from_ne_bytes(address.octets()))
        };
        format!("   0: {} {} {state} 00000000:00000000 00:00000000 00000000 0\n", end(local), end(remote))
    }

    #[test]
    fn the_way_is_told_by_the_sockets() {
        let forward = Forward {
            from: SocketAddrV4::new(GATEWAY, 32768),
            port: 12865,
            container: Some(CONTAINER),
            pid: 1,
        };
        let judge = |inside: &str, outside: &str| forward.judge(40000, inside, outside);
        let ours_outside = line((GATEWAY, 40000), (GATEWAY, 32768), ESTABLISHED);
        let ours_inside = line((CONTAINER, 12865), (GATEWAY, 40000), ESTABLISHED);
        assert_eq!(judge(&ours_inside, &ours_outside), Way::Nat);
        let proxy_outside = line((GATEWAY, 50000), (CONTAINER, 12865), ESTABLISHED);
        let proxy_inside = line((CONTAINER, 12865), (GATEWAY, 50000), ESTABLISHED);
        assert_eq!(judge(&proxy_inside, &(ours_outside.clone() + &proxy_outside)), Way::Proxy);
        assert_eq!(judge(&proxy_inside, &ours_outside), Way::Unknown);
        assert_eq!(judge("", ""), Way::Unknown);
        // Listening is no connection.
        assert_eq!(judge(&line((CONTAINER, 12865), (GATEWAY, 40000), "0A"), ""), Way::Unknown);
        // Nobody's connection to the same port of another container.
        let other = line((GATEWAY, 50000), (Ipv4Addr::new(172, 17, 0, 3), 12865), ESTABLISHED);
        assert_eq!(judge(&ours_inside, &other), Way::Nat);
    }

    #[test]
    fn both_ip_versions_are_read() {
        let mapped = end("0000000000000000FFFF0000010011AC:9C40").expect("the form is the kernel's");
        assert!(mapped.port == 40000 && (cfg!(target_endian = "big") || mapped.is(GATEWAY, 40000)));
        assert_eq!(end("short:1"), None);
        assert_eq!(end("local_address"), None);
    }

    #[test]
    fn the_kernels_own_list_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let Ok(SocketAddr::V4(from)) = listener.local_addr() else { panic!("it is bound to IPv4") };
        // A connection without anything between is one whose port arrives as it was.
        let direct = Forward { from, port: from.port(), container: None, pid: std::process::id() };
        assert_eq!(direct.way(), Way::Nat);
        drop(listener);
        assert_eq!(direct.way(), Way::Unknown);
    }
}
