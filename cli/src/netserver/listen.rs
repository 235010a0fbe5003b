//! The control port: which addresses to listen on, and with which options.
//!
//! Binds and listens; accepting is the control plane's.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::log::reason;
use crate::args::{Family, NetserverOptions};

/// netperf's control port.
const CONTROL_PORT: &str = "12865";

/// Ports of the kernel's choice that are tried where one has to do for both loopback addresses.
const PORT_CHOICES: u32 = 8;

/// Clients that connect back to back must not meet a full queue; netserver's own figure.
const BACKLOG: i32 = 1024;

/// A peer that the network lost is found out after [`KEEPALIVE_IDLE`] + 4 x [`KEEPALIVE_INTERVAL`], or where
/// data is on its way after [`USER_TIMEOUT`]. Shorter would end tests that drown their own control connection
/// in data.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 4;
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// What to listen on, as netserver words it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    host: Option<String>,
    port: String,
    family: Family,
    loopback: bool,
}

impl Target {
    /// From the command line.
    pub(super) fn new(options: &NetserverOptions) -> Self {
        Self {
            host: options.host.clone(),
            port: options.port.clone().unwrap_or_else(|| CONTROL_PORT.to_owned()),
            family: options.family,
            loopback: options.policy.loopback,
        }
    }

    /// netserver's line on standard output; `port` is the one in force.
    pub(super) fn start_line(&self, port: u16) -> String {
        let Words { host, family, .. } = self.words();
        format!("Starting netserver with host '{host}' port '{port}' and family {family}")
    }

    /// netserver's line on standard error where nothing could be bound.
    pub(super) fn failure_line(&self) -> String {
        let Words { host, port, family } = self.words();
        format!("Unable to start netserver with  '{host}' port '{port}' and family {family}")
    }

    fn words(&self) -> Words<'_> {
        Words {
            host: match &self.host {
                Some(host) => host,
                None if self.loopback => "IN(6)ADDR_LOOPBACK",
                None => "IN(6)ADDR_ANY",
            },
            port: &self.port,
            family: match self.family {
                Family::Any => "AF_UNSPEC",
                Family::V4 => "AF_INET",
                Family::V6 => "AF_INET6",
            },
        }
    }

    /// Addresses to try, port included.
    fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let port: u16 = self
            .port
            .parse()
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a port is a number up to 65535"))?;
        let wanted = |address: &SocketAddr| match self.family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        };
        let all: Vec<SocketAddr> = match &self.host {
            None if self.loopback => [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)]
                .map(|address| SocketAddr::new(address, port))
                .into(),
            // The order matters: the IPv6 wildcard normally takes IPv4 along.
            None => [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)]
                .map(|address| SocketAddr::new(address, port))
                .into(),
            Some(host) => (host.as_str(), port).to_socket_addrs()?.collect(),
        };
        Ok(all.into_iter().filter(wanted).collect())
    }
}

struct Words<'a> {
    host: &'a str,
    port: &'a str,
    family: &'static str,
}

/// Listening sockets, all on one port.
pub(super) struct Bound {
    /// At least one, in blocking mode.
    pub listeners: Vec<TcpListener>,
    /// The port in force.
    pub port: u16,
}

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for listener in &self.listeners {
            let address = listener.local_addr().map_err(|_| fmt::Error)?;
            let dual = address.is_ipv6() && matches!(SockRef::from(listener).only_v6(), Ok(false));
            let both = if dual && address.ip().is_unspecified() { " (IPv6 and IPv4)" } else { "" };
            write!(formatter, "{separator}{address}{both}")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// Listens on every address of `target` that can be had.
///
/// # Errors
/// Where none can be had: each address with what the kernel, or the resolver, said of it.
pub(super) fn bind(target: &Target) -> Result<Bound, String> {
    let addresses = target.addresses().map_err(|error| reason(&error))?;
    // The kernel's choice for the first loopback address may be somebody's port on the other. Of wildcards
    // the first one may have taken the second along.
    let choices = if target.loopback && addresses.iter().all(|to| to.port() == 0) { PORT_CHOICES } else { 1 };
    for _ in 1..choices {
        let (bound, refusals) = listen_on(&addresses);
        let taken = |(_, error): &(SocketAddr, io::Error)| error.kind() == io::ErrorKind::AddrInUse;
        if !refusals.iter().any(taken) {
            return told(bound, &refusals);
        }
    }
    let (bound, refusals) = listen_on(&addresses);
    told(bound, &refusals)
}

fn told(bound: Bound, refusals: &[(SocketAddr, io::Error)]) -> Result<Bound, String> {
    if !bound.listeners.is_empty() {
        return Ok(bound);
    }
    if refusals.is_empty() {
        return Err("the host has no address of this family".to_owned());
    }
    let line = |(address, error): &(SocketAddr, io::Error)| refusal(*address, error);
    Err(refusals.iter().map(line).collect::<Vec<_>>().join("; "))
}

/// Listens on those that can be had, all on one port; and which cannot, and why.
fn listen_on(addresses: &[SocketAddr]) -> (Bound, Vec<(SocketAddr, io::Error)>) {
    let mut bound = Bound { listeners: Vec::new(), port: 0 };
    let mut refusals = Vec::new();
    for mut address in addresses.iter().copied() {
        if address.port() == 0 {
            address.set_port(bound.port);
        }
        match listen(address).and_then(|listener| Ok((listener.local_addr()?.port(), listener))) {
            Ok((port, listener)) => {
                bound.port = port;
                bound.listeners.push(listener);
            }
            Err(error) => refusals.push((address, error)),
        }
    }
    (bound, refusals)
}

/// What a refused address means, who decides it, and what to do.
pub(crate) fn refusal(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "another process has the port, ss -ltnp 'sport = :{port}' shows which; -p chooses another"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            "this host does not have the address, ip address show lists those it has; -L chooses one"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => format!(
            "ports below net.ipv4.ip_unprivileged_port_start take CAP_NET_BIND_SERVICE: \
             sysctl net.ipv4.ip_unprivileged_port_start={port} gives it to all; -p chooses another"
        ),
        // EMFILE and ENFILE, which have no kind.
        _ if matches!(error.raw_os_error(), Some(23 | 24)) => {
            "no descriptor is left: ulimit -n and LimitNOFILE= limit them, fs.file-max all of the system"
                .to_owned()
        }
        _ => "-p and -L choose another".to_owned(),
    };
    format!("bind {address}: {}: {remedy}", reason(error))
}

/// Has the kernel end a control connection whose other host is dead, which no deadline of a session need find
/// out.
///
/// # Errors
/// The kernel's.
pub(super) fn find_dead_hosts(socket: &Socket) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}

/// Accepted sockets inherit the options set here, so a session starts without a system call of its own.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    find_dead_hosts(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
