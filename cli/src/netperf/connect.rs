//! netperf's control connection: which address it goes to, from where, and what is said when nobody is there.
//!
//! Sends nothing.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use dns_lookup::SockType;
use socket2::{Domain, Protocol, Socket, Type};

use super::options::Family;
use super::resolve::{ResolvedHost, family_word, look_up};
use super::say::{Ending, REFUSED};

/// One end of a control connection to be, in the words of its messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End<'a> {
    /// Name or address.
    pub(crate) host: &'a str,
    /// Number of the port, or name of the service.
    pub(crate) port: &'a str,
    /// The family that its address has to be of.
    pub(crate) family: Family,
}

/// Both of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends<'a> {
    /// Our own.
    pub(crate) local: End<'a>,
    /// The netserver's.
    pub(crate) remote: End<'a>,
}

impl Ends<'_> {
    /// Connects to the first address that answers, of a family that our side has an address of.
    ///
    /// # Errors
    /// netperf's lines on standard output.
    pub(crate) fn connect(&self, within: Duration) -> Result<TcpStream, Ending> {
        let by = Instant::now() + within;
        let remote = self.find(self.remote)?;
        let local = self.find(self.local)?;
        for address in remote.addresses() {
            let left = by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let ours = local.addresses().find(|local| local.is_ipv4() == address.is_ipv4());
            if let Some(stream) = ours.and_then(|ours| connect(ours, address, left).ok()) {
                return Ok(stream);
            }
        }
        let End { host, port, .. } = self.remote;
        Err(self.failed(&format!(
            "establish control: are you sure there is a netserver listening on {host} at port {port}?"
        )))
    }

    fn find(&self, end: End<'_>) -> Result<ResolvedHost, Ending> {
        let End { host, port, family } = end;
        look_up(host, Some(port), family, SockType::Stream).map_err(|cause| {
            self.failed(&format!(
                "resolve_host: could not resolve host '{host}' port '{port}' af {}\n\
                 \tgetaddrinfo returned {cause}",
                family_word(family)
            ))
        })
    }

    fn failed(&self, cause: &str) -> Ending {
        let place = |end: End<'_>| {
            format!("{} port {} address family {}", end.host, end.port, family_word(end.family))
        };
        Ending::new(REFUSED).output(format!(
            "{cause}\nestablish_control could not establish the control connection from {} to {}\n",
            place(self.local),
            place(self.remote)
        ))
    }
}

fn connect(local: SocketAddr, remote: SocketAddr, within: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(remote), Type::STREAM, Some(Protocol::TCP))?;
    if !local.ip().is_unspecified() || local.port() != 0 {
        socket.set_reuse_address(true)?;
        socket.bind(&local.into())?;
    }
    socket.connect_timeout(&remote.into(), within)?;
    Ok(socket.into())
}
