//! Finding a netserver: the host's addresses, and the first of them that answers.
//!
//! Says no word to it; that is for whoever holds the connection.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::args::Family;
use crate::client::control::{Control, SLICE};
use crate::client::deadline::Deadlines;
use crate::client::interrupt::Interrupt;
use crate::error::{Class, Failure};

/// Where a netserver is looked for.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Host name or address, as the user wrote it.
    pub(crate) host: String,
    /// Control port.
    pub(crate) port: u16,
    /// Our own address, if one was asked for.
    pub(crate) local: Option<IpAddr>,
    /// The only IP version to use, if there is one.
    pub(crate) family: Option<Family>,
    /// It is a netserver of our own, on loopback.
    pub(crate) embedded: bool,
}

/// Resolves the host and connects to the first of its addresses that answers. Both happen on a thread of
/// their own: a resolver has its own idea of patience.
///
/// # Errors
/// PEER when nobody answers there in time, USAGE when the host or our own address cannot be used, SIGNAL.
pub(crate) fn connect(
    place: &Place,
    deadlines: Deadlines,
    interrupt: &Interrupt,
) -> Result<Control, Failure> {
    let by = Instant::now() + deadlines.connect;
    let tried = place.tried();
    let (sender, receiver) = channel();
    let there = place.clone();
    std::thread::Builder::new()
        .name("connect".to_owned())
        // Nobody listens any more once the deadline has passed.
        .spawn(move || drop(sender.send(resolve_and_connect(&there, by))))
        .map_err(|error| Failure::io(Class::Environment, "start a thread", &error))?;
    let stream = loop {
        match receiver.recv_timeout(SLICE) {
            Ok(connected) => break connected?,
            Err(RecvTimeoutError::Timeout) if Instant::now() < by + SLICE => interrupt.check(&tried)?,
            Err(_) => return Err(place.unreached(None, "no answer in time")),
        }
    };
    Control::new(stream, deadlines, Some(interrupt.clone()))
        .map_err(|error| Failure::io(Class::Environment, tried, &error))
}

impl Place {
    fn tried(&self) -> String {
        let whose = if self.embedded { "our own" } else { "the" };
        format!("connect to {whose} netserver on {} port {}", self.host, self.port)
    }

    /// Nobody there.
    fn unreached(&self, error: Option<&io::Error>, cause: &str) -> Failure {
        let class = if self.embedded { Class::Environment } else { Class::Peer };
        let failure = match error {
            Some(error) if error.raw_os_error().is_some() => Failure::io(class, self.tried(), error),
            _ => Failure::new(class, self.tried(), cause).errno(Some(ETIMEDOUT)),
        };
        if self.embedded {
            return failure
                .setting("the loopback interface, and packet filters on it")
                .next("ip address show lo; if it is down: ip link set lo up");
        }
        failure
            .setting("-H and --port; the netserver's -L and -p; firewalls between")
            .next(format!("start one on that host: ringperf netserver -D -p {}", self.port))
    }
}

/// The errno of a wait that was given up (asm-generic/errno.h); std tells it by kind only.
pub(crate) const ETIMEDOUT: i32 = 110;

fn resolve_and_connect(place: &Place, by: Instant) -> Result<TcpStream, Failure> {
    let addresses = resolve(place)?;
    let mut last = place.unreached(None, "no answer in time");
    for (tried, address) in addresses.iter().enumerate() {
        // The time left is shared out, so that a dead first address leaves some for the second.
        let others = u32::try_from(addresses.len() - tried).unwrap_or(1);
        let share = by.saturating_duration_since(Instant::now()) / others;
        if share.is_zero() {
            break;
        }
        match connect_one(place, *address, share) {
            Ok(stream) => return Ok(stream),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

fn resolve(place: &Place) -> Result<Vec<SocketAddr>, Failure> {
    let tried = format!("find the address of {}", place.host);
    let found = (place.host.as_str(), place.port).to_socket_addrs().map_err(|error| {
        Failure::new(Class::Peer, tried.as_str(), error.to_string())
            .setting("-H, /etc/hosts and the resolver's configuration")
            .next(format!("getent hosts {}", place.host))
    })?;
    let mut addresses: Vec<SocketAddr> = found
        .filter(|address| match place.family {
            None => true,
            Some(Family::V4) => address.is_ipv4(),
            Some(Family::V6) => address.is_ipv6(),
        })
        .collect();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(Failure::new(Class::Usage, tried, "it has no address of the IP version asked for")
            .setting("-4, -6 and --local")
            .next(format!("see what it has: getent ahosts {}", place.host)));
    }
    Ok(addresses)
}

fn connect_one(place: &Place, address: SocketAddr, within: Duration) -> Result<TcpStream, Failure> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))
        .map_err(|error| Failure::io(Class::Environment, "open a socket", &error))?;
    if let Some(local) = place.local {
        socket.bind(&SocketAddr::new(local, 0).into()).map_err(|error| {
            Failure::io(Class::Usage, format!("use {local} as our own address"), &error)
                .setting("--local: it has to be an address of this host")
                .next("list them: ip address")
        })?;
    }
    socket
        .connect_timeout(&address.into(), within)
        .map_err(|error| place.unreached(Some(&error), "no answer in time"))?;
    Ok(socket.into())
}
