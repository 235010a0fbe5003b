//! Where the connections of a run come from whose transactions have one each: a listener, or an address to
//! connect to.
//!
//! Opens one at a time and keeps none: that is for the backend. What it does not wait for is its caller's to
//! wait for.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{SockAddr, Socket};

use crate::plan::PlanOptions;
use crate::socket;
use crate::sys;

/// One end's source of connections.
pub(crate) enum Origin {
    Listener(Listener),
    Target(Target),
}

/// Who has connected; all but the welcome are closed.
pub(crate) enum Guest {
    Welcome(Socket),
    Stranger,
    /// It has reset its connection before anybody has looked at it.
    Gone,
}

/// A listening socket, and who may connect to it.
pub(crate) struct Listener {
    pub(crate) socket: Socket,
    peers: Vec<IpAddr>,
}

impl Listener {
    pub(crate) fn new(socket: Socket, peers: Vec<IpAddr>) -> Self {
        Self { socket, peers }
    }

    /// The next connection, as the socket waits for one or not. `None`: a stranger's, which is closed.
    ///
    /// # Errors
    /// The kernel's; those of [`socket::is_passing`] say nothing of the listener.
    pub(crate) fn accept(&self) -> io::Result<Option<Socket>> {
        #[expect(
            clippy::disallowed_methods,
            reason = "its callers poll first, or the socket has a time limit"
        )]
        let (socket, address) = self.socket.accept()?;
        Ok(Some(socket).filter(|_| self.admits(&address)))
    }

    /// Who a connection is from that was accepted elsewhere.
    pub(crate) fn admit(&self, socket: Socket) -> Guest {
        if self.peers.is_empty() {
            return Guest::Welcome(socket);
        }
        match socket.peer_addr() {
            Ok(address) if self.admits(&address) => Guest::Welcome(socket),
            Ok(_) => Guest::Stranger,
            Err(_) => Guest::Gone,
        }
    }

    fn admits(&self, address: &SockAddr) -> bool {
        address.as_socket().is_some_and(|address| socket::admits(&self.peers, address.ip()))
    }
}

/// Where to connect to, and from where.
pub(crate) struct Target {
    local: SocketAddr,
    remote: Box<SockAddr>,
    options: Box<PlanOptions>,
}

impl Target {
    /// To `remote` from the address that `local` has, port aside.
    pub(crate) fn new(local: SocketAddr, remote: SocketAddr, options: PlanOptions) -> Self {
        Self { local, remote: Box::new(remote.into()), options: Box::new(options) }
    }

    /// A socket bound to a port, 0 for one of the kernel's choice, whose calls wait.
    ///
    /// # Errors
    /// When there is no socket to be had, or not with this port. Options that are refused were told of before
    /// the run.
    pub(crate) fn open(&self, port: u16) -> io::Result<Socket> {
        socket::fresh(SocketAddr::new(self.local.ip(), port), &self.options, true)
    }

    /// A socket whose calls do not wait and that has begun to connect. Whether it has come through, the first
    /// send or receive says.
    ///
    /// # Errors
    /// As [`Self::open`], and where the kernel knows at once that nothing comes of it.
    pub(crate) fn dial(&self, port: u16) -> io::Result<Socket> {
        let socket = socket::fresh(SocketAddr::new(self.local.ip(), port), &self.options, false)?;
        #[expect(clippy::disallowed_methods, reason = "the socket does not block")]
        match socket.connect(&self.remote) {
            Err(error) if error.raw_os_error() != Some(sys::IN_PROGRESS) => Err(error),
            _ => Ok(socket),
        }
    }

    /// Where to connect to.
    pub(crate) fn remote(&self) -> &SockAddr {
        &self.remote
    }
}
