//! The data socket before and after the measured window: options, bind, listen, connect, accept.
//!
//! Moves no payload. Every wait has a deadline and ends at once when the run is stopped.

mod options;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::classic;
use crate::error::Error;
use crate::facts::{Degraded, PacketClass, SocketBuffers};
use crate::filter;
use crate::layout::datagrams_per_send;
use crate::outcome::Transport;
use crate::plan::{Endpoint, PlanOptions, Protocol, Role, SocketOptions};
use crate::sys::{self, Errno, Readiness, Ready, errno_name, error_name, option};

use options::{note, set_options, set_tcp_options};

/// Connections that may wait to be taken beside those of the test: strangers that are turned away.
const BACKLOG: u32 = 128;

/// The same where connections come back to back and nobody knows how many of them at once; the kernel takes
/// as many as net.core.somaxconn says.
const BACKLOG_EACH: u32 = 4096;

/// A socket that is bound, and listening where the plan says so.
pub(crate) struct Bound {
    socket: Socket,
    pub(crate) local: SocketAddr,
    /// What became of the options that say how its packets are treated.
    pub(crate) class: PacketClass,
    /// It sends to whoever it hears of.
    answers: bool,
}

/// How waiting for the connection ended.
pub(crate) enum Meeting {
    Met(Connection),
    Nobody,
    Stopped,
}

/// A data socket with its peer.
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    pub(crate) peer: SocketAddr,
    /// The socket is not connected, so each send has to name the peer.
    pub(crate) by_address: bool,
}

impl Connection {
    fn new(socket: Socket, peer: SocketAddr) -> Self {
        Self { socket, peer, by_address: false }
    }
}

impl Bound {
    /// The listener, or a socket for each flow that connects.
    ///
    /// # Errors
    /// When there is no socket, or no address that it can be bound to.
    pub(crate) fn open(options: &PlanOptions, degraded: &mut Vec<Degraded>) -> Result<Vec<Self>, Error> {
        match options.endpoint {
            Endpoint::Connect { local } => {
                let mut all = Vec::with_capacity(options.flows as usize);
                for _ in 0..options.flows {
                    // All are refused the same options, which is told once.
                    degraded.clear();
                    let (socket, class) = new_socket(local, options, degraded)?;
                    if options.flows > 1 || options.connects_each() {
                        // To find a free port for each of many takes the kernel milliseconds; when it
                        // connects it has less to look at. Where it does not know that, it takes them.
                        let _ = sys::set_option(socket.as_raw_fd(), option::BIND_ADDRESS_NO_PORT, 1);
                    }
                    bind(&socket, local).map_err(|source| Error::Bind { address: local, source })?;
                    all.push(Self::named(socket, class, local, options.role)?);
                }
                Ok(all)
            }
            Endpoint::Listen { local, .. } => match listen(local, options, degraded) {
                Ok(bound) => Ok(vec![bound]),
                // The second socket is refused the same options as the first, so these are not told twice.
                Err(Error::Bind { source, .. }) => {
                    degraded.clear();
                    // Who asked for this host alone gets no more than that, in IPv6's clothes either.
                    let (any, instead) = if local.ip().to_canonical().is_loopback() {
                        (SocketAddr::new(local.ip(), 0), "a port of the kernel's choice")
                    } else {
                        (wildcard(local), "the wildcard address and a port of the kernel's choice")
                    };
                    degraded.push(Degraded {
                        feature: "requested data address",
                        reason: format!("{local}: {}", error_name(&source)),
                        instead,
                    });
                    listen(any, options, degraded).map(|bound| vec![bound])
                }
                Err(error) => Err(error),
            },
        }
    }

    fn named(socket: Socket, class: PacketClass, wanted: SocketAddr, role: Role) -> Result<Self, Error> {
        let address = socket.local_addr().and_then(to_std);
        let local = address.map_err(|source| Error::Bind { address: wanted, source })?;
        Ok(Self { socket, local, class, answers: role == Role::Respond })
    }

    /// Socket buffers in force.
    pub(crate) fn buffers(&self) -> SocketBuffers {
        buffers(&self.socket)
    }

    /// Whether its sends are taken apart into datagrams.
    pub(crate) fn segments(&self) -> bool {
        segments(&self.socket)
    }

    /// Whether its receives may bring many datagrams.
    pub(crate) fn coalesces(&self) -> bool {
        sys::get_option(self.socket.as_raw_fd(), option::UDP_GRO).is_ok_and(|on| on != 0)
    }

    /// The socket itself.
    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Connects, within the timeout.
    ///
    /// # Errors
    /// [`Error::Connect`] with the kernel's reason, [`Error::SelfConnected`] when both ends are this socket.
    pub(crate) fn connect(
        self,
        remote: SocketAddr,
        timeout: Duration,
        stop: BorrowedFd<'_>,
    ) -> Result<Meeting, Error> {
        let failed = |source| Error::Connect { remote, source };
        self.socket.set_nonblocking(true).map_err(failed)?;
        #[expect(clippy::disallowed_methods, reason = "the socket does not block")]
        match self.socket.connect(&SockAddr::from(remote)) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(sys::IN_PROGRESS) => {
                match wait(&self.socket, Readiness::Writable, stop, timeout).map_err(failed)? {
                    Ready::Socket => {}
                    Ready::Stop => return Ok(Meeting::Stopped),
                    Ready::TimedOut => return Err(failed(io::Error::from_raw_os_error(sys::TIMED_OUT))),
                }
                if let Some(error) = self.socket.take_error().map_err(failed)? {
                    return Err(failed(error));
                }
            }
            Err(error) => return Err(failed(error)),
        }
        let local = self.socket.local_addr().and_then(to_std).map_err(failed)?;
        // Not by `remote`, which may be the wildcard address and then means this machine.
        let peer = self.socket.peer_addr().and_then(to_std).map_err(failed)?;
        if local == peer {
            return Err(Error::SelfConnected(local));
        }
        // A ring completes operations of blocking sockets only; the epoll backend asks for no waiting per
        // call.
        self.socket.set_nonblocking(false).map_err(failed)?;
        Ok(Meeting::Met(Connection::new(self.socket, remote)))
    }

    /// Takes the first connection from one of `peers`, within the timeout; turns others away and counts them.
    ///
    /// # Errors
    /// When accepting fails for another reason than a connection that was gone again.
    pub(crate) fn accept(
        &self,
        peers: &[IpAddr],
        timeout: Duration,
        stop: BorrowedFd<'_>,
        strangers: &mut u64,
    ) -> Result<Meeting, Error> {
        let failed = |source| Error::System {
            call: "accept4",
            doing: "waiting for the data connection",
            source,
            hint: "raise the limit on open files (ulimit -n) if it is EMFILE",
        };
        self.socket.set_nonblocking(true).map_err(failed)?;
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match wait(&self.socket, Readiness::Readable, stop, left).map_err(failed)? {
                Ready::Socket => {}
                Ready::Stop => return Ok(Meeting::Stopped),
                Ready::TimedOut => return Ok(Meeting::Nobody),
            }
            #[expect(clippy::disallowed_methods, reason = "the socket does not block")]
            let (socket, address) = match self.socket.accept() {
                Ok(accepted) => accepted,
                Err(error) if is_passing(&error) => continue,
                Err(error) => return Err(failed(error)),
            };
            let address = to_std(address).map_err(failed)?;
            if !admits(peers, address.ip()) {
                *strangers += 1;
                // However many there are, they do not lengthen the wait.
                if deadline <= Instant::now() {
                    return Ok(Meeting::Nobody);
                }
                continue;
            }
            socket.set_nonblocking(false).map_err(failed)?;
            return Ok(Meeting::Met(Connection::new(socket, address)));
        }
    }

    /// Fixes where datagrams go: by connecting, so that the route is looked up once and ICMP errors come
    /// back, unless the socket would then take its own datagrams for the peer's.
    ///
    /// # Errors
    /// [`Error::Connect`] with the kernel's reason.
    pub(crate) fn aim(self, remote: SocketAddr) -> Result<Meeting, Error> {
        let failed = |source| Error::Connect { remote, source };
        let by_address = self.is_itself(remote).map_err(failed)?;
        if !by_address {
            #[expect(clippy::disallowed_methods, reason = "over UDP it only sets an address")]
            self.socket.connect(&SockAddr::from(remote)).map_err(failed)?;
        }
        Ok(Meeting::Met(Connection { by_address, ..Connection::new(self.socket, remote) }))
    }

    /// Whether a datagram to `remote` would have the same address and port at both ends. Found out with
    /// another socket: this one would move to the head of its port's list by connecting, before a
    /// receiver that was bound to the same port after it.
    fn is_itself(&self, remote: SocketAddr) -> io::Result<bool> {
        if self.local.port() != remote.port() {
            return Ok(false);
        }
        let probe = Socket::new(Domain::for_address(self.local), Type::DGRAM, Some(socket2::Protocol::UDP))?;
        // With its scope, which an address of one interface needs.
        let mut local = self.local;
        local.set_port(0);
        bind(&probe, local)?;
        #[expect(clippy::disallowed_methods, reason = "over UDP it only sets an address")]
        probe.connect(&remote.into())?;
        // Not `remote` itself, which may be the wildcard address and then means this machine.
        let (source, target) = (to_std(probe.local_addr()?)?, to_std(probe.peer_addr()?)?);
        Ok(source.ip().to_canonical() == target.ip().to_canonical())
    }

    /// Waits for the first datagram from one of `peers`, within the timeout, and has the kernel let nobody
    /// else's through from then on. Others are dropped and counted. The datagram stays to be received.
    /// What strangers had queued behind it by then is received, too.
    ///
    /// # Errors
    /// When receiving fails, or the kernel takes no filter.
    pub(crate) fn await_datagram(
        &self,
        peers: &[IpAddr],
        timeout: Duration,
        stop: BorrowedFd<'_>,
        strangers: &mut u64,
    ) -> Result<Meeting, Error> {
        let failed = |source| Error::System {
            call: "recvfrom or setsockopt(SO_ATTACH_FILTER)",
            doing: "waiting for the first datagram",
            source,
            hint: "raise net.core.optmem_max if it is ENOMEM",
        };
        self.socket.set_nonblocking(true).map_err(failed)?;
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match wait(&self.socket, Readiness::Readable, stop, left).map_err(failed)? {
                Ready::Socket => {}
                Ready::Stop => return Ok(Meeting::Stopped),
                Ready::TimedOut => return Ok(Meeting::Nobody),
            }
            let source = match self.socket.peek_from(&mut []) {
                Ok((_, source)) => to_std(source).map_err(failed)?,
                Err(error) if is_passing(&error) => continue,
                Err(error) => return Err(failed(error)),
            };
            if admits(peers, source.ip()) {
                filter::admit_only(&self.socket, source).map_err(failed)?;
                self.socket.set_nonblocking(false).map_err(failed)?;
                let socket = self.socket.try_clone().map_err(failed)?;
                let by_address = self.answers;
                return Ok(Meeting::Met(Connection { by_address, ..Connection::new(socket, source) }));
            }
            *strangers += 1;
            // What is dropped is what was looked at: nobody else reads here.
            let _ = self.socket.recv(&mut []);
            if deadline <= Instant::now() {
                return Ok(Meeting::Nobody);
            }
        }
    }
}

/// Whether `address` is among the peers, of which an empty list names everybody.
pub(crate) fn admits(peers: &[IpAddr], address: IpAddr) -> bool {
    peers.is_empty() || peers.iter().any(|peer| peer.to_canonical() == address.to_canonical())
}

/// Waits in full: an interrupted poll is repeated until the time is really over.
fn wait(socket: &Socket, readiness: Readiness, stop: BorrowedFd<'_>, timeout: Duration) -> io::Result<Ready> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let ready = sys::wait_for(socket.as_fd(), readiness, stop, left)?;
        if ready != Ready::TimedOut || left.is_zero() {
            return Ok(ready);
        }
    }
}

/// A connection that was gone again before it was taken, or a signal: accept(2) says to treat these as
/// nothing.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | WouldBlock)
}

/// Of what a paced connection sends in a second, the part that may wait in the kernel: 20 ms.
const UNSENT_SHARE: u64 = 50;
/// Bounds of it in bytes: a few segments, and what no connection needs more of to be kept busy.
const UNSENT_MIN: u64 = 4 << 10;
const UNSENT_MAX: u64 = 4 << 20;

fn new_socket(
    local: SocketAddr,
    options: &PlanOptions,
    degraded: &mut Vec<Degraded>,
) -> Result<(Socket, PacketClass), Error> {
    let socket = open(options.protocol, local.is_ipv4())?;
    if options.protocol == Protocol::Tcp || shares_port(local, &options.endpoint) {
        note("SO_REUSEADDR", socket.set_reuse_address(true), degraded);
    }
    let mut told = |feature, result| note(feature, result, degraded);
    let class = set_options(&socket, local.is_ipv4(), &options.socket, &mut told);
    match (options.protocol, options.role) {
        (Protocol::Tcp, role) => {
            set_tcp_options(&socket, role, &options.socket, &mut told);
            if let (Role::Send | Role::Respond, Some(rate)) = (role, options.rate) {
                let bytes = (rate / 8 / u64::from(options.flows)).max(1);
                let result = sys::set_long_option(socket.as_raw_fd(), option::MAX_PACING_RATE, bytes);
                note("SO_MAX_PACING_RATE", result, degraded);
                // What lies in the send buffer when the time is over still goes out, at this rate: a buffer
                // of megabytes would take many times as long as the run.
                let unsent = (bytes / UNSENT_SHARE).clamp(UNSENT_MIN, UNSENT_MAX);
                let unsent = i32::try_from(unsent).unwrap_or(i32::MAX);
                let result = sys::set_option(socket.as_raw_fd(), option::UNSENT_LOW_WATER, unsent);
                note("TCP_NOTSENT_LOWAT", result, degraded);
            }
        }
        (Protocol::Udp, Role::Send) => {
            let errors = if local.is_ipv4() { option::IP_ERRORS } else { option::IPV6_ERRORS };
            // Without it a datagram that a full queue drops counts as sent.
            note("report of full queues", sys::set_option(socket.as_raw_fd(), errors, 1), degraded);
            if options.gso {
                segment(&socket, options, degraded);
            }
        }
        (Protocol::Udp, Role::Receive) if options.gro => {
            if let Err(error) = sys::set_option(socket.as_raw_fd(), option::UDP_GRO, 1) {
                degraded.push(Degraded {
                    feature: "UDP coalescing (GRO)",
                    reason: error_name(&error),
                    instead: "a receive for each datagram",
                });
            }
        }
        (Protocol::Udp, Role::Receive | Role::Request | Role::Respond) => {}
    }
    Ok((socket, class))
}

/// A socket of TCP like the one that was opened before the run, for one connection more. What was refused
/// then is so again, and not told again. `waits` says whether its calls block.
pub(crate) fn fresh(local: SocketAddr, options: &PlanOptions, waits: bool) -> io::Result<Socket> {
    let kind = if waits { Type::STREAM } else { Type::STREAM.nonblocking() };
    let socket = Socket::new(Domain::for_address(local), kind, Some(socket2::Protocol::TCP))?;
    let mut silent = |_, _| {};
    set_options(&socket, local.is_ipv4(), &options.socket, &mut silent);
    set_tcp_options(&socket, options.role, &options.socket, &mut silent);
    if options.shares_segments() {
        delay_acknowledgements(&socket);
    }
    if local.port() != 0 {
        socket.set_reuse_address(true)?;
    } else if !local.ip().is_unspecified() {
        let _ = sys::set_option(socket.as_raw_fd(), option::BIND_ADDRESS_NO_PORT, 1);
    } else {
        return Ok(socket);
    }
    socket.bind(&SockAddr::from(local))?;
    Ok(socket)
}

/// Has the kernel take sends apart into datagrams of the message size, where one can carry more than one.
fn segment(socket: &Socket, options: &PlanOptions, degraded: &mut Vec<Degraded>) {
    let bytes = options.message_bytes;
    let result = if datagrams_per_send(options) > 1 {
        sys::set_option(socket.as_raw_fd(), option::UDP_SEGMENT, bytes.cast_signed())
            .map_err(|error| error_name(&error))
    } else {
        Err(format!("no send can carry two datagrams of {bytes} bytes"))
    };
    degraded.extend(result.err().map(unsegmented));
}

/// What is said where the kernel does not take sends apart.
fn unsegmented(reason: String) -> Degraded {
    Degraded { feature: "UDP segmentation (GSO)", reason, instead: "a send for each datagram" }
}

/// Whether a socket's sends are taken apart into datagrams.
pub(crate) fn segments(socket: &Socket) -> bool {
    sys::get_option(socket.as_raw_fd(), option::UDP_SEGMENT).is_ok_and(|bytes| bytes > 0)
}

/// Takes no send apart any more, after one was refused.
pub(crate) fn stop_segmenting(socket: &Socket, refused: Errno) -> Degraded {
    // A kernel that takes the size takes zero, too; where it did not, the next sends would say so.
    let _ = sys::set_option(socket.as_raw_fd(), option::UDP_SEGMENT, 0);
    unsegmented(format!("the first send was refused: {}", errno_name(refused.0)))
}

fn open(protocol: Protocol, v4: bool) -> Result<Socket, Error> {
    let domain = if v4 { Domain::IPV4 } else { Domain::IPV6 };
    let (kind, protocol) = match protocol {
        Protocol::Tcp => (Type::STREAM, socket2::Protocol::TCP),
        Protocol::Udp => (Type::DGRAM, socket2::Protocol::UDP),
    };
    Socket::new(domain, kind, Some(protocol)).map_err(|source| Error::System {
        call: "socket",
        doing: "opening the data socket",
        source,
        hint: "raise the limit on open files (ulimit -n) if it is EMFILE",
    })
}

/// The socket buffers that a data socket with these options gets, in bytes as getsockopt reports them: for
/// callers whose other sizes follow from them. Opens a socket to find out, and closes it.
///
/// # Errors
/// [`Error::System`] when there is no socket to be had. Sizes that the kernel clamps are no error.
pub fn granted_buffers(
    protocol: Protocol,
    v4: bool,
    options: &SocketOptions,
) -> Result<SocketBuffers, Error> {
    let socket = open(protocol, v4)?;
    // A data socket of the same options will say what was refused.
    set_options(&socket, v4, options, &mut |_, _| {});
    Ok(buffers(&socket))
}

/// Sets how many bytes have to be there before a receiver is woken (SO_RCVLOWAT).
///
/// # Errors
/// The kernel's. A mark above half of the receive buffer's limit is lowered, which is no error.
pub fn set_low_water(socket: &impl AsRawFd, bytes: u32) -> io::Result<()> {
    sys::set_option(socket.as_raw_fd(), option::RECEIVE_LOW_WATER, bytes.cast_signed())
}

/// The mark in force; one byte where the kernel does not tell.
pub(crate) fn low_water(socket: &impl AsRawFd) -> u32 {
    sys::get_option(socket.as_raw_fd(), option::RECEIVE_LOW_WATER)
        .ok()
        .and_then(|bytes| u32::try_from(bytes).ok())
        .unwrap_or(1)
}

/// Has acknowledgements wait for data to go with, which is there in a moment (TCP_QUICKACK off). Connections
/// of a listener inherit it. Where it is refused they go by themselves, no more than that.
fn delay_acknowledgements(socket: &Socket) {
    let _ = sys::set_option(socket.as_raw_fd(), option::QUICK_ACK, 0);
}

fn listen(local: SocketAddr, options: &PlanOptions, degraded: &mut Vec<Degraded>) -> Result<Bound, Error> {
    let (socket, class) = new_socket(local, options, degraded)?;
    if options.shares_segments() {
        delay_acknowledgements(&socket);
    }
    socket
        .bind(&SockAddr::from(local))
        .and_then(|()| classic::limit_calls(&socket, options))
        .and_then(|()| match options.protocol {
            Protocol::Tcp => socket.listen(backlog(options).cast_signed()),
            Protocol::Udp => Ok(()),
        })
        .map_err(|source| Error::Bind { address: local, source })?;
    Bound::named(socket, class, local, options.role)
}

/// Connections that may wait to be taken.
fn backlog(options: &PlanOptions) -> u32 {
    if options.connects_each() { BACKLOG_EACH } else { BACKLOG + options.flows }
}

/// Of a socket that connects.
fn bind(socket: &Socket, local: SocketAddr) -> io::Result<()> {
    socket.bind(&SockAddr::from(local))?;
    if local.port() == 0 && socket.r#type()? == Type::DGRAM {
        // From here on the other end may have the same address and port.
        socket.set_reuse_address(true)?;
    }
    Ok(())
}

/// Whether a socket of UDP shares its port (SO_REUSEADDR) from the start.
///
/// One that sends to where it is told may, with the other end of its test. One that waits for datagrams never
/// does: the kernel gives them to the socket that was bound last, so whoever names its port would take them.
/// And where the kernel is to choose the port, it would choose one that another such socket has.
fn shares_port(local: SocketAddr, endpoint: &Endpoint) -> bool {
    matches!(endpoint, Endpoint::Connect { .. }) && local.port() != 0
}

fn wildcard(like: SocketAddr) -> SocketAddr {
    match like {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

fn to_std(address: SockAddr) -> io::Result<SocketAddr> {
    address.as_socket().ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Our address of a connection; that of a wildcard socket is known only now.
pub(crate) fn local(socket: &Socket) -> Option<SocketAddr> {
    socket.local_addr().ok()?.as_socket()
}

/// Both socket buffers as the kernel reports them; 0 where it does not.
pub(crate) fn buffers(socket: &Socket) -> SocketBuffers {
    let bytes = |size: io::Result<usize>| size.map_or(0, |s| u32::try_from(s).unwrap_or(u32::MAX));
    SocketBuffers { send: bytes(socket.send_buffer_size()), receive: bytes(socket.recv_buffer_size()) }
}

/// Segments retransmitted over the life of a connection.
pub(crate) fn retransmits(socket: &Socket) -> Option<u32> {
    sys::tcp_info(socket.as_raw_fd()).ok().map(|transport| transport.retransmits)
}

/// The connection's own figures.
pub(crate) fn transport(socket: &Socket) -> Option<Transport> {
    let mut transport = sys::tcp_info(socket.as_raw_fd()).ok()?;
    transport.segment_bytes = socket.tcp_mss().unwrap_or_default();
    let name = socket.tcp_congestion().unwrap_or_default();
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    transport.congestion_control = String::from_utf8_lossy(&name[..end]).into_owned();
    Some(transport)
}

#[cfg(test)]
mod tests;
