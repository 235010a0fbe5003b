//! What to run: a checked, immutable description from which every size is derived.
//!
//! Opens nothing and knows nothing of rings; [`crate::prepare`] turns a plan into sockets, threads and
//! memory.

mod each;
mod progress;
mod sending;
mod transactions;

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::error::Error;
use crate::file;
use crate::layout::Layout;

pub use progress::{Every, Progress, WorkUnit};
pub use sending::{Bursts, SendPath};
pub use transactions::{Connections, Transaction};

/// Largest message of a stream, in bytes. The arena is sized from it before the clock starts.
pub const MESSAGE_BYTES_MAX: u32 = 16 << 20;

/// Most flows of a run: there are no more ports to connect from.
pub const FLOWS_MAX: u32 = 65_536;

/// Most workers of a run.
pub const WORKERS_MAX: u32 = 1024;

/// Shortest interval between two samples: each is a sleep cut short.
pub const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Longest time of a plan. The clock can count this far, several times over.
const TIME_MAX: Duration = Duration::from_secs(u32::MAX as u64);

/// What carries the messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// A stream of bytes, delivered whole and in order.
    #[default]
    Tcp,
    /// Datagrams: one message each, which may be lost. The sender connects, the receiver listens.
    Udp,
}

/// Largest datagram of a sender, in bytes: 65535 less the headers of IPv4 and UDP.
pub const DATAGRAM_BYTES_MAX: u32 = 65_535 - 20 - 8;

/// Which backend moves the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// io_uring where the kernel grants it and its self-test passes, else epoll; where a worker has one
    /// transaction at a time, blocking calls. Which one it is, is a fact of the run.
    #[default]
    Auto,
    /// One blocking system call a message, as netperf itself does.
    Classic,
    /// Non-blocking system calls driven by epoll.
    Epoll,
    /// io_uring; an error where it is refused.
    Uring,
}

/// What this end does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read until the peer ends the stream, the count is reached or the time is over. An empty datagram is
    /// the end of a stream over UDP.
    Receive,
    /// Write whole messages until the time is over or the count is reached, then end the stream and wait
    /// until the peer has read it all and closed its side. A sender that listens stops early when the peer
    /// ends its side. Over UDP the end are empty datagrams, and nothing is waited for.
    Send,
    /// Send requests and take the responses: a [`Transaction`] each. Whoever requests connects, and ends the
    /// run as a sender does.
    Request,
    /// Answer each request with a response until the peer ends the run, the count is reached or the time is
    /// over. Whoever responds listens.
    Respond,
}

/// How the data connection comes about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Bind here, and connect to the address given to [`crate::Prepared::run`]. A UDP socket that would be
    /// its own peer (both ends share one address and port) stays unconnected and sends by address
    /// instead.
    Connect {
        /// Address to bind before connecting; port 0 lets the kernel choose.
        local: SocketAddr,
    },
    /// Listen here and serve the first connection, or over UDP the source of the first datagram.
    Listen {
        /// Address to bind; port 0 lets the kernel choose. Where it cannot be bound the wildcard address
        /// with a port of the kernel's choice is taken instead, and that is recorded as degraded.
        local: SocketAddr,
        /// Connections and datagrams from any other address are turned away and counted. Empty: anybody is
        /// taken.
        peers: Vec<IpAddr>,
    },
}

/// Options of the data socket. `None` leaves the system's default alone. Those of TCP mean nothing over UDP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// SO_SNDBUF to ask for, in bytes; Linux grants the double within its limits.
    pub send_buffer: Option<u32>,
    /// SO_RCVBUF to ask for, in bytes.
    pub receive_buffer: Option<u32>,
    /// TCP_NODELAY.
    pub no_delay: bool,
    /// TCP_CORK on a sender's socket: no segment that is not full, until the end of the stream.
    pub cork: bool,
    /// TCP_MAXSEG: the largest segment, in bytes.
    pub max_segment: Option<u32>,
    /// SO_KEEPALIVE.
    pub keepalive: bool,
    /// SO_DONTROUTE: reach directly attached networks only.
    pub dont_route: bool,
    /// SO_PRIORITY.
    pub priority: Option<i32>,
    /// IP_TOS or IPV6_TCLASS.
    pub type_of_service: Option<i32>,
    /// TCP_CONGESTION, by the kernel's name of the algorithm.
    pub congestion_control: Option<String>,
}

/// When the run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// After this many payload bytes: a sender rounds up to whole messages, a receiver stops at the first
    /// receive that reaches it.
    Bytes(u64),
    /// After this many transactions, of all flows together. For [`Role::Request`] and [`Role::Respond`] only.
    Transactions(u64),
    /// Until the peer ends the stream or [`crate::Stop::stop`] is called.
    Endless,
    /// After this long, from the start of [`crate::Prepared::run`].
    Time(Duration),
}

/// What a run may be told to do without, most of it parts of io_uring: to measure what one buys, and to walk
/// the degraded paths on a kernel that has everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// No receive bundles (several buffers in one completion, Linux 6.10).
    pub bundles: bool,
    /// No multishot receive (Linux 6.0).
    pub multishot: bool,
    /// No provided-buffer ring (Linux 5.19); implies no multishot.
    pub buffer_ring: bool,
    /// No DEFER_TASKRUN (Linux 6.1).
    pub deferred_task_run: bool,
    /// No registered files.
    pub registered_files: bool,
    /// No registered buffers.
    pub registered_buffers: bool,
    /// No shortest sleep (min_wait_usec, Linux 6.12).
    pub minimum_wait: bool,
    /// No segments shared at the ends of a connection that is one transaction's: its acknowledgements and its
    /// end have segments of their own again, as with the classic engine and netperf.
    pub shared_segments: bool,
    /// No low-water mark on the socket of a TCP receiver (SO_RCVLOWAT), which also leaves its receive buffer
    /// and window as they would be for any other program. The classic engine never sets one.
    pub low_water: bool,
}

impl Without {
    /// Something of io_uring is to be left out, so that it is wanted for the rest.
    fn names_parts_of_a_ring(self) -> bool {
        Self { shared_segments: false, low_water: false, minimum_wait: false, ..self } != Self::default()
    }
}

/// Largest message of transactions that are made by blocking calls unless an engine is named: larger ones may
/// not fit a socket's buffer, and have to be read while others are sent.
const TURN_BYTES_MAX: u32 = 64 << 10;

/// Everything a [`Plan`] is made from. Start from [`PlanOptions::new`] and change fields.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// This end's part.
    pub role: Role,
    /// What carries the messages.
    pub protocol: Protocol,
    /// How the connection comes about.
    pub endpoint: Endpoint,
    /// Socket options.
    pub socket: SocketOptions,
    /// Bytes of one message: what one send carries. A TCP receiver sizes its buffers after it, within 4 to
    /// 64 KiB for the provided buffers of a ring; the stream itself has no message boundaries. A UDP
    /// receiver takes up to so many bytes of a datagram, and the rest of a longer one is lost uncounted.
    pub message_bytes: u32,
    /// At a UDP receiver a datagram of any other size ends the run as an empty one does, uncounted. At a UDP
    /// responder a request of another size fails the run (EMSGSIZE), but for an empty one. It means nothing
    /// elsewhere.
    pub exact_message: bool,
    /// When it is over.
    pub length: Length,
    /// A receiver's patience past a [`Length::Time`] for the sender to end the stream first. A run that ends
    /// this way says [`crate::End::Timer`]. netperf uses four seconds.
    pub receive_grace: Duration,
    /// How long a TCP receiver that connected goes on reading once its own run has ended, past the end of a
    /// [`Length::Time`] that is not over yet, for the sender to close first: a connection closed with data
    /// under way is reset, and that the sender would take for a failure. What comes then is not counted.
    /// Zero closes at once.
    pub receive_linger: Duration,
    /// How long a responder whose transactions have a connection each goes on waiting for one after the end
    /// of a [`Length::Time`]; then it ends as [`crate::End::PeerClosed`]. A requester whose time is over just
    /// stops connecting, which nobody can see, and it waits for this end to get its results. `None`: as long
    /// as [`Self::receive_grace`] says, as netperf does.
    pub respond_linger: Option<Duration>,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a sender waits, after its last byte, for the peer to have read everything and closed.
    pub drain_timeout: Duration,
    /// Which backend.
    pub engine: EngineChoice,
    /// Connections of the test, dealt out to the workers in turn; more than one of TCP only. A length in
    /// bytes is shared out among them. With more than one the time begins when all of them are there.
    pub flows: u32,
    /// Threads that move the bytes, each on a core of its own; none has less than one flow. The classic
    /// engine has one for each flow whatever is asked.
    pub workers: u32,
    /// Cores to pin the workers to, in their order. A worker without one takes the allowed core with the
    /// fewest workers of this process, the first of them for a sender and the last for a receiver. A core
    /// outside the process's affinity mask is not used, and that is recorded as degraded.
    pub cores: Vec<usize>,
    /// Reads off the progress of the run this often: [`crate::outcome::Outcome::samples`].
    pub interval: Option<Duration>,
    /// Payload bits a second of all flows together; `None`: as fast as it goes. The kernel of a TCP sender,
    /// and of a responder on kept connections, keeps to it (SO_MAX_PACING_RATE), a UDP sender's batches are
    /// timed. It means nothing at other ends.
    pub rate: Option<u64>,
    /// What to do without.
    pub without: Without,
    /// How a TCP sender hands its messages to the kernel. Other engines than io_uring know no more than a
    /// send for each message; where io_uring is refused, what was asked for is recorded as degraded.
    pub send_path: SendPath,
    /// A UDP sender hands many datagrams to the kernel as one send (UDP_SEGMENT): as many as fit one datagram
    /// of the largest size, 64 at most, and no more than a rate has room for.
    pub gso: bool,
    /// A UDP receiver takes many datagrams in one receive (UDP_GRO). What one receive brings is counted as
    /// datagrams of the message size, the last one maybe shorter, for the kernel does not say how many they
    /// were: it is for a sender whose message size is the same.
    pub gro: bool,
    /// What a sender's messages carry: repeated, from its start, over the message slots of
    /// [`Plan::message_slots_bytes`]. `None` is a pseudo-random sequence, which no link compresses.
    pub payload: Option<Arc<[u8]>>,
    /// A TCP sender takes its messages out of this file, by sendfile and without a copy through memory of
    /// ours: from its start, and from its start again where the next one would not be whole. It holds one
    /// message at least; one that becomes shorter ends the run with ENODATA. It is for calls, so the engine
    /// is not io_uring then. What [`Self::payload`] says has no meaning then.
    pub file: Option<Arc<File>>,
    /// What a transaction is.
    pub transaction: Transaction,
    /// A TCP or UDP sender's messages, or a requester's requests, go out in bursts; of one flow only. Over
    /// UDP there is no rate beside them.
    pub bursts: Option<Bursts>,
    /// The worker looks for completions without ever sleeping, at the cost of its core. It wins where one
    /// waits for the other, and nowhere else. The classic engine cannot.
    pub busy_poll: bool,
    /// The time of each operation is measured: [`Outcome::latency`](crate::Outcome::latency). What that is of
    /// is said there.
    pub latency: bool,
    /// Who is told of the progress as it is made, and when; of runs with one worker only.
    pub progress: Option<Progress>,
    /// A receiver, or either end of transactions, compares every byte with what a peer of the same sizes and
    /// no payload of its own sends: its stream, or, of datagrams, which may be lost, any of them. For tests:
    /// the result is [`crate::outcome::Tally::wrong_bytes`], and the cost is in the measured path.
    pub check_payload: bool,
}

impl PlanOptions {
    /// The options of a ten-second run with messages of 1 MiB and everything else at its default.
    pub fn new(role: Role, endpoint: Endpoint) -> Self {
        Self {
            role,
            protocol: Protocol::Tcp,
            endpoint,
            socket: SocketOptions::default(),
            message_bytes: 1 << 20,
            exact_message: false,
            length: Length::Time(Duration::from_secs(10)),
            receive_grace: Duration::from_secs(4),
            receive_linger: Duration::from_secs(4),
            respond_linger: Some(Duration::from_millis(300)),
            connect_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(20),
            engine: EngineChoice::Auto,
            flows: 1,
            workers: 1,
            cores: Vec::new(),
            interval: None,
            rate: None,
            without: Without::default(),
            send_path: SendPath::Auto,
            gso: false,
            gro: false,
            payload: None,
            file: None,
            transaction: Transaction::default(),
            bursts: None,
            busy_poll: false,
            latency: false,
            progress: None,
            check_payload: false,
        }
    }

    /// Bytes of a message that this end sends, and of one that it receives.
    pub(crate) fn message_sizes(&self) -> (u32, u32) {
        let Transaction { request_bytes, response_bytes, .. } = self.transaction;
        match self.role {
            Role::Receive | Role::Send => (self.message_bytes, self.message_bytes),
            Role::Request => (request_bytes, response_bytes),
            Role::Respond => (response_bytes, request_bytes),
        }
    }

    /// Another way of sending is asked for than a send for each message.
    pub(crate) fn has_special_send_path(&self) -> bool {
        !matches!(self.send_path, SendPath::Auto | SendPath::Chain)
    }

    /// Each transaction has a connection of its own.
    pub(crate) fn connects_each(&self) -> bool {
        matches!(self.role, Role::Request | Role::Respond)
            && self.transaction.connections == Connections::Each
    }

    /// What would be a segment of its own goes with data that is about to go anyway: the last acknowledgement
    /// of the handshake with the request, that of the request with the response, and the end of the stream
    /// with the response, too. Where there is no data there is nothing to go with.
    pub(crate) fn shares_segments(&self) -> bool {
        self.connects_each()
            && self.engine != EngineChoice::Classic
            && self.transaction.request_bytes > 0
            && !self.without.shared_segments
    }

    /// Each worker has one connection, over which one small transaction at a time goes: then nothing is to be
    /// gathered, and a blocking call is the shortest way from one message to the next (decision 0017). A
    /// responder is not told how many transactions its peer has under way, and takes whatever a call brings.
    pub(crate) fn takes_turns(&self) -> bool {
        let (sent_bytes, received_bytes) = self.message_sizes();
        matches!(self.role, Role::Request | Role::Respond)
            && self.protocol == Protocol::Tcp
            && !self.connects_each()
            && self.transaction.in_flight == 1
            && sent_bytes.max(received_bytes) <= TURN_BYTES_MAX
            && self.flows == self.worker_count()
            && !self.busy_poll
            && self.bursts.is_none()
            && !self.without.names_parts_of_a_ring()
    }

    /// Threads that the run has.
    pub(crate) fn worker_count(&self) -> u32 {
        match self.engine {
            EngineChoice::Classic => self.flows.max(1),
            EngineChoice::Auto | EngineChoice::Epoll | EngineChoice::Uring => {
                self.workers.clamp(1, self.flows.max(1))
            }
        }
    }
}

/// A checked [`PlanOptions`], with every size that follows from it.
#[derive(Clone, Debug)]
pub struct Plan {
    options: PlanOptions,
    layout: Layout,
}

impl Plan {
    /// Checks the options.
    ///
    /// # Errors
    /// [`Error::Plan`] names the option that is out of range and the range.
    pub fn new(options: PlanOptions) -> Result<Self, Error> {
        if !(1..=MESSAGE_BYTES_MAX).contains(&options.message_bytes) {
            return Err(Error::Plan { option: "message size", range: "1 to 16777216 bytes" });
        }
        if options.protocol == Protocol::Udp {
            check_datagrams(&options)?;
        }
        if options.payload.as_ref().is_some_and(|payload| payload.is_empty()) {
            return Err(Error::Plan { option: "payload", range: "at least 1 byte" });
        }
        if options.length == Length::Bytes(0) {
            return Err(Error::Plan { option: "byte count", range: "at least 1" });
        }
        if options.length == Length::Time(Duration::ZERO) {
            return Err(Error::Plan { option: "test length", range: "above zero" });
        }
        transactions::check(&options)?;
        check_flows(&options)?;
        check_latency(&options)?;
        sending::check(&options)?;
        let told_every = progress::check(&options)?;
        let PlanOptions { receive_grace, receive_linger, connect_timeout, drain_timeout, .. } = options;
        let length = if let Length::Time(length) = options.length { length } else { Duration::ZERO };
        for (option, time) in [
            ("test length", length),
            ("receiver's grace", receive_grace),
            ("receiver's linger", receive_linger),
            ("responder's linger", options.respond_linger.unwrap_or_default()),
            ("connect timeout", connect_timeout),
            ("drain timeout", drain_timeout),
            ("interval", options.interval.unwrap_or_default()),
            ("interval of progress", told_every),
            ("time between bursts", options.bursts.map_or(Duration::ZERO, |bursts| bursts.every)),
        ] {
            if time > TIME_MAX {
                return Err(Error::Plan { option, range: "at most 4294967295 seconds" });
            }
        }
        let layout = Layout::new(&options);
        let layout = match &options.file {
            Some(file) => layout.with_file(file::messages(file, options.message_bytes)?),
            None => layout,
        };
        Ok(Self { options, layout })
    }

    /// Bytes of all message slots of a sender with this message size: after so many it sends the same again.
    pub fn message_slots_bytes(&self) -> usize {
        let sender = PlanOptions { role: Role::Send, ..self.options.clone() };
        Layout::new(&sender).send.length as usize
    }

    /// The same of the peer of this plan, whose messages are received.
    pub(crate) fn received_slots_bytes(&self) -> usize {
        let peer = match self.options.role {
            Role::Receive | Role::Send => Role::Send,
            Role::Request => Role::Respond,
            Role::Respond => Role::Request,
        };
        let peer = PlanOptions { role: peer, ..self.options.clone() };
        Layout::new(&peer).send.length as usize
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What it was made from.
    pub fn options(&self) -> &PlanOptions {
        &self.options
    }
}

/// How many there are of what.
fn check_flows(options: &PlanOptions) -> Result<(), Error> {
    if !(1..=FLOWS_MAX).contains(&options.flows) {
        return Err(Error::Plan { option: "number of flows", range: "1 to 65536" });
    }
    if options.flows > 1 && options.protocol == Protocol::Udp {
        return Err(Error::Plan { option: "number of flows", range: "1 over UDP" });
    }
    if !(1..=WORKERS_MAX).contains(&options.worker_count()) {
        let range = "1 to 1024; the classic engine has one for each flow";
        return Err(Error::Plan { option: "number of workers", range });
    }
    if let (Endpoint::Connect { local }, 2..) = (&options.endpoint, options.flows)
        && local.port() != 0
    {
        let range = "left to the kernel with more than one flow that connects";
        return Err(Error::Plan { option: "local data port", range });
    }
    if options.busy_poll && options.engine == EngineChoice::Classic {
        return Err(Error::Plan {
            option: "busy poll",
            range: "off with the classic engine, whose calls block",
        });
    }
    if options.rate == Some(0) {
        return Err(Error::Plan { option: "rate", range: "above zero" });
    }
    if options.interval.is_some_and(|interval| interval < INTERVAL_MIN) {
        return Err(Error::Plan { option: "interval", range: "10 milliseconds and longer" });
    }
    Ok(())
}

/// Whether what is to be measured has a time of its own.
fn check_latency(options: &PlanOptions) -> Result<(), Error> {
    let range = match options.role {
        _ if !options.latency => return Ok(()),
        Role::Request => return Ok(()),
        Role::Receive | Role::Send if options.engine == EngineChoice::Classic => return Ok(()),
        Role::Receive | Role::Send => {
            "off but with the classic engine: others move many messages together, and none has a time of \
             its own"
        }
        Role::Respond => "off at a responder, which does not see when a transaction begins",
    };
    Err(Error::Plan { option: "latency", range })
}

/// What is special about UDP.
fn check_datagrams(options: &PlanOptions) -> Result<(), Error> {
    match (options.role, &options.endpoint) {
        (Role::Request | Role::Send, Endpoint::Connect { .. })
        | (Role::Receive | Role::Respond, Endpoint::Listen { .. }) => {}
        _ => {
            let range = "one that sends first and connects, or one that receives first and listens";
            return Err(Error::Plan { option: "role over UDP", range });
        }
    }
    if options.role == Role::Send && options.message_bytes > DATAGRAM_BYTES_MAX {
        return Err(Error::Plan { option: "message size", range: "1 to 65507 bytes over UDP" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_range_are_named() {
        let endpoint = Endpoint::Connect { local: "127.0.0.1:0".parse().unwrap() };
        let good = PlanOptions::new(Role::Send, endpoint);
        assert!(Plan::new(good.clone()).is_ok());
        for (bad, name) in [
            (PlanOptions { message_bytes: 0, ..good.clone() }, "message size"),
            (PlanOptions { message_bytes: MESSAGE_BYTES_MAX + 1, ..good.clone() }, "message size"),
            (PlanOptions { payload: Some(Arc::default()), ..good.clone() }, "payload"),
            (PlanOptions { length: Length::Bytes(0), ..good.clone() }, "byte count"),
            (PlanOptions { rate: Some(0), ..good.clone() }, "rate"),
            (PlanOptions { latency: true, ..good.clone() }, "latency"),
            (PlanOptions { length: Length::Time(Duration::ZERO), ..good.clone() }, "test length"),
            (PlanOptions { length: Length::Time(Duration::MAX), ..good.clone() }, "test length"),
            (PlanOptions { receive_grace: Duration::MAX, ..good.clone() }, "receiver's grace"),
            (PlanOptions { receive_linger: Duration::MAX, ..good.clone() }, "receiver's linger"),
            (PlanOptions { connect_timeout: Duration::MAX, ..good.clone() }, "connect timeout"),
            (PlanOptions { drain_timeout: Duration::MAX, ..good.clone() }, "drain timeout"),
        ] {
            assert!(Plan::new(bad).unwrap_err().to_string().contains(name));
        }
    }

    #[test]
    fn datagrams_have_their_own_limits() {
        let local = "127.0.0.1:0".parse().unwrap();
        let udp = |role, endpoint| PlanOptions {
            protocol: Protocol::Udp,
            message_bytes: DATAGRAM_BYTES_MAX,
            ..PlanOptions::new(role, endpoint)
        };
        let (connect, listen) = (Endpoint::Connect { local }, Endpoint::Listen { local, peers: Vec::new() });
        let sender = udp(Role::Send, connect.clone());
        let receiver = udp(Role::Receive, listen.clone());
        assert!(Plan::new(sender.clone()).is_ok());
        assert!(Plan::new(PlanOptions { gso: true, ..sender.clone() }).is_ok());
        assert!(Plan::new(PlanOptions { gro: true, ..receiver.clone() }).is_ok());
        assert!(Plan::new(PlanOptions { message_bytes: MESSAGE_BYTES_MAX, ..receiver.clone() }).is_ok());
        for (bad, name) in [
            (udp(Role::Send, listen), "role over UDP"),
            (udp(Role::Receive, connect), "role over UDP"),
            (PlanOptions { message_bytes: DATAGRAM_BYTES_MAX + 1, ..sender.clone() }, "65507 bytes over UDP"),
            (PlanOptions { gso: true, ..receiver.clone() }, "gso"),
            (PlanOptions { gro: true, ..sender.clone() }, "gro"),
            (PlanOptions { gso: true, protocol: Protocol::Tcp, ..sender.clone() }, "gso"),
            (PlanOptions { gro: true, protocol: Protocol::Tcp, ..receiver.clone() }, "gro"),
            (PlanOptions { gro: true, exact_message: true, ..receiver.clone() }, "exact message"),
        ] {
            assert!(Plan::new(bad).unwrap_err().to_string().contains(name), "{name}");
        }
    }
}
