//! The control connection: a blocking socket that carries whole frames, with a deadline on every wait.
//!
//! Knows nothing of what a frame means. Waits are cut into slices, so that a signal is noticed within one.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use ringperf_engine::Stop;
use ringperf_proto::{Fault, Frame, FrameReader};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::args::Family;
use super::deadline::Deadlines;
use super::interrupt::Interrupt;
use crate::error::{Class, Failure};

/// The longest that a signal goes unnoticed while we wait for the netserver.
const SLICE: Duration = Duration::from_millis(100);

/// Unacknowledged data on the control connection ends it after this long, and keepalive probes find a dead
/// host in about the same time, so that a netserver that vanished during a long test is missed before its
/// end.
const DEAD_PEER: Duration = Duration::from_secs(15);

/// Bytes of an answer that are kept to show what it was.
const HEAD_BYTES: usize = 64;

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

/// Why no frame came.
#[derive(Debug)]
pub(crate) enum NoFrame {
    /// The netserver closed the connection.
    Closed,
    /// The connection failed.
    Failed(io::Error),
    /// A signal came while we waited.
    Interrupted(Failure),
    /// Nothing, or not enough, came in time.
    Silence,
}

/// An open control connection.
pub(crate) struct Control {
    stream: TcpStream,
    local: SocketAddr,
    peer: SocketAddr,
    frames: FrameReader,
    /// The first bytes since the last whole frame.
    head: Vec<u8>,
    deadlines: Deadlines,
    /// Whose signals end a wait; nobody's once the test has begun.
    interrupt: Option<Interrupt>,
}

impl Control {
    /// Resolves the host and connects to the first of its addresses that answers. Both happen on a thread of
    /// their own: a resolver has its own idea of patience.
    ///
    /// # Errors
    /// PEER when nobody answers there in time, USAGE when the host or our own address cannot be used, SIGNAL.
    pub(crate) fn connect(
        place: &Place,
        deadlines: Deadlines,
        interrupt: &Interrupt,
    ) -> Result<Self, Failure> {
        let by = Instant::now() + deadlines.connect;
        let tried = place.tried();
        let (sender, receiver) = channel();
        let there = place.clone();
        std::thread::Builder::new()
            .name("connect".to_owned())
            // Nobody listens any more once the deadline has passed.
            .spawn(move || drop(sender.send(resolve_and_connect(&there, by))))
            .map_err(|error| Failure::io(Class::Environment, "start a thread", &error))?;
        let (stream, peer) = loop {
            match receiver.recv_timeout(SLICE) {
                Ok(connected) => break connected?,
                Err(RecvTimeoutError::Timeout) if Instant::now() < by + SLICE => interrupt.check(&tried)?,
                Err(_) => return Err(place.unreached(None, "no answer in time")),
            }
        };
        let local =
            stream.local_addr().map_err(|error| Failure::io(Class::Environment, tried.as_str(), &error))?;
        let mut control = Self {
            stream,
            local,
            peer,
            frames: FrameReader::default(),
            head: Vec::new(),
            deadlines,
            interrupt: Some(interrupt.clone()),
        };
        control.set_up().map_err(|error| Failure::io(Class::Environment, tried, &error))?;
        Ok(control)
    }

    fn set_up(&mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        self.stream.set_write_timeout(Some(self.deadlines.write))?;
        let socket = socket2::SockRef::from(&self.stream);
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(5))
            .with_interval(Duration::from_secs(3))
            .with_retries(3);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(DEAD_PEER))
    }

    /// Our address.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// The netserver's address.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// The kernel's, a full send buffer past the write deadline included.
    pub(crate) fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.stream.write_all(frame.as_bytes())
    }

    /// The next whole frame, if it is complete by then.
    ///
    /// # Errors
    /// See [`NoFrame`].
    pub(crate) fn receive(&mut self, by: Instant) -> Result<Frame, NoFrame> {
        let mut bytes = [0; 2048];
        loop {
            if let Some(frame) = self.frames.next() {
                return Ok(frame);
            }
            let left = by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NoFrame::Silence);
            }
            if let Some(interrupt) = &self.interrupt {
                interrupt.check("wait for the netserver").map_err(NoFrame::Interrupted)?;
            }
            self.stream.set_read_timeout(Some(left.min(SLICE))).map_err(NoFrame::Failed)?;
            // No more than the reader has room for, so that it always takes all of it.
            let room = self.frames.room().min(bytes.len());
            match self.stream.read(&mut bytes[..room]) {
                Ok(0) => return Err(NoFrame::Closed),
                Ok(read) => self.take(&bytes[..read]),
                Err(error) if is_timeout(&error) || error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(NoFrame::Failed(error)),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.frames.pending() == 0 {
            self.head.clear();
        }
        let room = HEAD_BYTES - self.head.len().min(HEAD_BYTES);
        self.head.extend(bytes.iter().take(room));
        let taken = self.frames.push(bytes);
        debug_assert_eq!(taken, bytes.len(), "no more is read than there is room for");
    }

    /// The first bytes of what came last, if they are text: a web server, a mail server.
    pub(crate) fn text_head(&self) -> Option<String> {
        let text: String = self
            .head
            .iter()
            .take_while(|byte| byte.is_ascii_graphic() || **byte == b' ')
            .map(|byte| char::from(*byte))
            .collect();
        (text.len() >= 4).then_some(text)
    }

    /// What a frame that stopped in the middle tells about the peer.
    pub(crate) fn cut_short(&self) -> Option<Fault> {
        self.frames.cut_short()
    }

    /// Bytes of the frame that stopped in the middle.
    pub(crate) fn pending(&self) -> usize {
        self.frames.pending()
    }

    /// From now on a signal does not end a wait.
    pub(crate) fn ignore_signals(&mut self) {
        self.interrupt = None;
    }

    /// Ends the run when the netserver closes the control connection or its host is found dead, for as long
    /// as the connection is silent. The thread ends with the first byte, and with the connection.
    ///
    /// # Errors
    /// The kernel's, when no thread or descriptor is left for it.
    pub(crate) fn watch(&self, stop: Stop) -> io::Result<()> {
        let stream = self.stream.try_clone()?;
        stream.set_read_timeout(None)?;
        std::thread::Builder::new().name("control watch".to_owned()).spawn(move || {
            // A read that is not interrupted by data ends only with the connection.
            if !matches!(stream.peek(&mut [0]), Ok(1)) {
                stop.stop();
            }
        })?;
        Ok(())
    }

    /// Ends the connection in netperf's way: our end of stream first, then the netserver's, within a bound.
    /// There is nothing to report: the results are in, whatever happens here.
    pub(crate) fn close(mut self) {
        let by = Instant::now() + self.deadlines.close;
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        while self.receive(by).is_ok() {}
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Wakes the watching thread, whose clone would otherwise keep the connection open.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
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

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn resolve_and_connect(place: &Place, by: Instant) -> Result<(TcpStream, SocketAddr), Failure> {
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
            Ok(stream) => return Ok((stream, *address)),
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
