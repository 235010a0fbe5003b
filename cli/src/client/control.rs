//! The control connection: a blocking socket that carries whole frames, with a deadline on every wait.
//!
//! Knows nothing of what a frame means. Waits are cut into slices, so that a signal is noticed within one.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ringperf_engine::Stop;
use ringperf_proto::{Fault, Frame, FrameReader};
use socket2::{SockRef, TcpKeepalive};

use super::deadline::Deadlines;
use super::interrupt::Interrupt;

/// The longest that a signal goes unnoticed while we wait for the netserver.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

/// Unacknowledged data on the control connection ends it after this long, and keepalive probes find a dead
/// host in about the same time, so that a netserver that vanished during a long test is missed before its
/// end.
const DEAD_PEER: Duration = Duration::from_secs(15);

/// Bytes of an answer that are kept to show what it was.
const HEAD_BYTES: usize = 64;

/// Why no frame came.
#[derive(Debug)]
pub(crate) enum NoFrame {
    /// The netserver closed the connection.
    Closed,
    /// The connection failed.
    Failed(io::Error),
    /// A signal came while we waited.
    Interrupted,
    /// Nothing, or not enough, came in time.
    Silence,
}

/// An open control connection.
pub(crate) struct Control {
    stream: TcpStream,
    peer: SocketAddr,
    frames: FrameReader,
    /// The first bytes since the last whole frame.
    head: Vec<u8>,
    deadlines: Deadlines,
    /// Whose signals end a wait; nobody's once the test has begun.
    interrupt: Option<Interrupt>,
}

impl Control {
    /// Takes a connection into use. Signals that `interrupt` hears end a wait.
    ///
    /// # Errors
    /// The kernel's, for an option of the socket.
    pub(crate) fn new(
        stream: TcpStream,
        deadlines: Deadlines,
        interrupt: Option<Interrupt>,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(deadlines.write))?;
        let socket = SockRef::from(&stream);
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(5))
            .with_interval(Duration::from_secs(3))
            .with_retries(3);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(DEAD_PEER))?;
        let peer = stream.peer_addr()?;
        let frames = FrameReader::default();
        Ok(Self { stream, peer, frames, head: Vec::new(), deadlines, interrupt })
    }

    /// The netserver's address.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Our own address, if the kernel tells it.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
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
            if self.interrupt.as_ref().is_some_and(|interrupt| interrupt.signal().is_some()) {
                return Err(NoFrame::Interrupted);
            }
            self.stream.set_read_timeout(Some(left.min(SLICE))).map_err(NoFrame::Failed)?;
            // No more than the reader has room for, so that it always takes all of it.
            let length = bytes.len();
            let room = bytes.get_mut(..self.frames.room().min(length)).unwrap_or_default();
            match self.stream.read(room) {
                Ok(0) => return Err(NoFrame::Closed),
                Ok(read) => self.take(bytes.get(..read).unwrap_or_default()),
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

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
