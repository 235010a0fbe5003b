//! The options of one measurement, as every command that measures takes them.
//!
//! Checks what can be checked without a socket, of options together; how each value is written is in
//! [`super::values`]. What the kernel or the netserver has to say about a value
//! comes later, from them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use ringperf_engine::plan::{DATAGRAM_BYTES_MAX, FLOWS_MAX, SendPath, Without};

use super::values::{
    parse_host, parse_interval, parse_message, parse_rate, parse_seconds, parse_size, parse_socket_buffer,
};
use crate::cores;
use crate::error::{Class, Failure};
use crate::without;

/// netserver's port unless told otherwise, as IANA registers it for netperf.
pub(crate) const CONTROL_PORT: u16 = 12865;

/// Seconds of a test when neither `--time` nor `--bytes` is given, as netperf's.
const SECONDS_DEFAULT: u32 = 10;

/// Bytes of a TCP message unless told otherwise: what was fastest (docs/performance.md).
const TCP_MESSAGE_BYTES: u32 = 1 << 20;

/// Payload of an Ethernet frame in bytes (IEEE 802.3).
const ETHERNET_BYTES: u32 = 1500;

/// Header of UDP in bytes (RFC 768).
const UDP_HEADER_BYTES: u32 = 8;

/// Most transactions of a test that is limited by them: the control channel carries them as a signed 32-bit
/// word.
const TRANSACTIONS_MAX: u64 = 1 << 31;

/// Most transactions of a flow under way at once.
const IN_FLIGHT_MAX: i64 = 65_536;

/// What to measure, and against whom.
#[derive(Clone, Debug, clap::Args)]
// Other options are put around these, and clap names a group after each such struct.
#[group(skip)]
pub(crate) struct Args {
    /// Which test to run.
    #[arg(value_enum, value_name = "TEST", default_value_t = Test::TcpStream)]
    pub(crate) test: Test,

    /// Host that runs a netserver (ringperf's, or netperf 2.6 and later): a name or an address.
    #[arg(short = 'H', long = "host", value_name = "HOST", value_parser = parse_host)]
    pub(crate) host: Option<String>,

    /// Control port of that netserver [default: 12865].
    #[arg(long, value_name = "PORT", requires = "host", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,

    /// How long a test lasts, in whole seconds: 10, 10s, 2m or 1h [default: 10s; 2s for each test of run
    /// --ablate and --find-rate].
    #[arg(long, value_name = "TIME", value_parser = parse_seconds, conflicts_with = "bytes")]
    pub(crate) time: Option<u32>,

    /// Move this many bytes instead, rounded up to whole messages: 500M, 10GiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) bytes: Option<u64>,

    /// Make this many transactions instead, of all flows together.
    #[arg(long, value_name = "N", conflicts_with_all = ["bytes", "time"],
        value_parser = clap::value_parser!(u64).range(1..=TRANSACTIONS_MAX))]
    pub(crate) transactions: Option<u64>,

    /// Bytes of one message, which is what one send carries, over UDP one datagram. K, M and G count in
    /// 1024s; k, m and g in 1000s [default: 1MiB; over UDP the most that one Ethernet frame carries: 1472,
    /// with IPv6 1452].
    #[arg(long, value_name = "SIZE", value_parser = parse_message)]
    pub(crate) message: Option<u32>,

    /// Bytes of a request [default: 1].
    #[arg(long, value_name = "SIZE", value_parser = parse_message)]
    pub(crate) request: Option<u32>,

    /// Bytes of a response [default: 1].
    #[arg(long, value_name = "SIZE", value_parser = parse_message)]
    pub(crate) response: Option<u32>,

    /// Transactions of a flow under way at once. netperf's burst is one less [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=IN_FLIGHT_MAX))]
    pub(crate) in_flight: Option<u32>,

    /// Look for what comes without ever sleeping, at both ends, at the cost of a core each. Needs a ringperf
    /// netserver, and another engine than classic.
    #[arg(long)]
    pub(crate) busy_poll: bool,

    /// Socket buffers: SO_SNDBUF of the sender and SO_RCVBUF of the receiver; of transactions both at both
    /// ends. Left alone unless given.
    #[arg(long, value_name = "SIZE", value_parser = parse_socket_buffer)]
    pub(crate) socket_buffer: Option<u32>,

    /// Which end --socket-buffer is for. netperf's -s is that of its own end, in a stream the sender's.
    #[arg(long, value_enum, value_name = "END", default_value_t = BufferOf::Both, requires = "socket_buffer")]
    pub(crate) socket_buffer_of: BufferOf,

    /// Data connections of a TCP test, all at the same time, spread over the workers. More than one needs a
    /// ringperf netserver.
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(FLOWS_MAX)))]
    pub(crate) flows: u32,

    /// Cores of our workers, one worker on each: 0 or 0,2-3. A ringperf netserver is asked for as many
    /// workers. None is without a flow [default: the first one this process may use].
    #[arg(long, value_name = "LIST", value_parser = parse_cores)]
    pub(crate) cores: Option<Cores>,

    /// Also tell what was moved in each interval of this length: 200ms, 0.5s or 1.
    #[arg(long, value_name = "TIME", value_parser = parse_interval)]
    pub(crate) interval: Option<Duration>,

    /// What moves the bytes.
    #[arg(long, value_enum, default_value_t = EngineArg::Auto)]
    pub(crate) engine: EngineArg,

    /// Move data without these, with commas between: low-water (the mark SO_RCVLOWAT: without it the kernel
    /// wakes a TCP receiver for every segment, and leaves its receive buffer alone), shared-segments (of
    /// connections that are a transaction's), and of io_uring bundles, multishot, buffer-ring,
    /// deferred-task-run, registered-files, registered-buffers, minimum-wait. A ringperf netserver elsewhere
    /// is asked to do the same; of one that is older than this the same option of its
    /// own decides.
    #[arg(long, value_name = "LIST", value_parser = without::parse)]
    pub(crate) without: Option<Without>,

    /// Payload bits a second of the sender, all flows together: 250M, 2.5G; K, M and G count in 1000s
    /// [default: as fast as it goes].
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) rate: Option<u64>,

    /// How the sender of a TCP test, here or at the netserver, hands its messages to the kernel.
    #[arg(long, value_enum, value_name = "PATH", default_value_t = SendArg::Auto)]
    pub(crate) send: SendArg,

    /// Hand many datagrams to the kernel as one send (UDP_SEGMENT).
    #[arg(long)]
    pub(crate) gso: bool,

    /// Have the receiver take many datagrams in one receive (UDP_GRO).
    #[arg(long)]
    pub(crate) gro: bool,

    /// Port of the data connection on both ends, as netperf's -P. Over TCP the two ends then need different
    /// addresses.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) data_port: Option<u16>,

    /// Port of the data connection at the netserver alone: what a firewall or a container publishes. Ours is
    /// then any that is free, so the two ends may share an address.
    #[arg(long, value_name = "PORT", conflicts_with = "data_port",
        value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) remote_data_port: Option<u16>,

    /// Our own address, for the control and the data connection.
    #[arg(long, value_name = "ADDR")]
    pub(crate) local: Option<IpAddr>,

    /// IPv4 only.
    #[arg(short = '4', long = "ipv4", conflicts_with = "ipv6")]
    pub(crate) ipv4: bool,

    /// IPv6 only.
    #[arg(short = '6', long = "ipv6")]
    pub(crate) ipv6: bool,

    /// File whose first line is the passphrase of a netserver started with -Z or --passphrase-file. It is
    /// proven to a ringperf netserver, and never sent.
    #[arg(long, value_name = "FILE", requires = "host")]
    pub(crate) passphrase_file: Option<PathBuf>,

    /// Send the passphrase as it is, for netperf's netserver and for one of an older ringperf. Whoever
    /// listens on the way can use it.
    #[arg(long, requires = "passphrase_file")]
    pub(crate) passphrase_in_clear: bool,

    /// No wait for the netserver is longer than this many milliseconds; for tests of those waits.
    #[arg(long, hide = true, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) deadline_ms: Option<u64>,
}

impl Args {
    /// When the test is over.
    pub(crate) fn length(&self) -> TestLength {
        match (self.bytes, self.transactions) {
            (Some(bytes), _) => TestLength::Bytes(bytes),
            (None, Some(transactions)) => TestLength::Transactions(transactions),
            (None, None) => TestLength::Seconds(self.seconds()),
        }
    }

    /// Seconds of a test that ends by time.
    pub(crate) fn seconds(&self) -> u32 {
        self.time.unwrap_or(SECONDS_DEFAULT)
    }

    /// Bytes of one message, with IPv4 or IPv6 under the data connection; of transactions those of a request.
    pub(crate) fn message_bytes(&self, v4: bool) -> u32 {
        self.message.unwrap_or(match self.test {
            Test::TcpCrr | Test::TcpRr | Test::UdpRr => self.request_bytes(),
            Test::TcpMaerts | Test::TcpStream => TCP_MESSAGE_BYTES,
            Test::UdpStream => ETHERNET_BYTES - UDP_HEADER_BYTES - if v4 { 20 } else { 40 },
        })
    }

    /// Bytes of a request.
    pub(crate) fn request_bytes(&self) -> u32 {
        self.request.unwrap_or(1)
    }

    /// Bytes of a response.
    pub(crate) fn response_bytes(&self) -> u32 {
        self.response.unwrap_or(1)
    }

    /// Transactions of a flow under way at once.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.unwrap_or(1)
    }

    /// Checks what options ask for together.
    ///
    /// # Errors
    /// USAGE for a message that no datagram can carry, and for options that mean nothing to the test.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.test.has_transactions() { self.check_transactions() } else { self.check_stream() }
    }

    fn check_transactions(&self) -> Result<(), Failure> {
        let udp = self.test == Test::UdpRr;
        let largest = self.request_bytes().max(self.response_bytes());
        if self.message.is_some() || self.bytes.is_some() {
            return refused(
                "a transaction is a request and a response, each of a size of its own",
                "--message and --bytes",
                "ringperf run tcp-rr --request 64 --response 1K --transactions 10000",
            );
        }
        if self.rate.is_some() || self.send != SendArg::Auto || self.gso || self.gro {
            return refused(
                "the next request goes when a response has come, each by a send of its own",
                "--rate, --send, --gso and --gro",
                "leave them out: they are of streams",
            );
        }
        if self.socket_buffer_of != BufferOf::Both {
            return refused(
                "in a transaction both ends send and receive",
                "--socket-buffer-of",
                "leave it out: --socket-buffer is then of both",
            );
        }
        if udp && largest > DATAGRAM_BYTES_MAX {
            return refused(
                &format!("a datagram carries {DATAGRAM_BYTES_MAX} bytes at most, not {largest}"),
                "--request and --response",
                "ringperf run tcp-rr, or smaller sizes",
            );
        }
        if self.flows > 1 && self.test != Test::TcpRr {
            return refused(
                "datagrams go from one socket to one other, and a connection for each transaction is no flow",
                "--flows",
                "--in-flight N, for many at once",
            );
        }
        if self.engine == EngineArg::Classic
            && (self.busy_poll || self.test == Test::TcpCrr && self.in_flight() > 1)
        {
            return refused(
                "the classic engine sleeps in one call after the other, as netperf does",
                "--engine, --busy-poll and --in-flight",
                "leave --engine out",
            );
        }
        Ok(())
    }

    fn check_stream(&self) -> Result<(), Failure> {
        let udp = self.test == Test::UdpStream;
        if self.request.is_some()
            || self.response.is_some()
            || self.in_flight.is_some()
            || self.transactions.is_some()
            || self.busy_poll
        {
            return refused(
                "a stream has no transactions, and nobody in it waits for an answer",
                "--request, --response, --in-flight, --transactions and --busy-poll",
                "ringperf run tcp-rr, tcp-crr or udp-rr",
            );
        }
        match self.message {
            Some(bytes) if udp && bytes > DATAGRAM_BYTES_MAX => refused(
                &format!("a datagram carries {DATAGRAM_BYTES_MAX} bytes at most, not {bytes}"),
                "--message",
                &format!("ringperf run udp-stream --message {DATAGRAM_BYTES_MAX}"),
            ),
            _ if (self.gso || self.gro) && !udp => refused(
                "segments are made and gathered of datagrams (UDP_SEGMENT, UDP_GRO); TCP has its own",
                "--gso and --gro",
                "ringperf run udp-stream --gso --gro",
            ),
            _ if self.send != SendArg::Auto && udp => refused(
                "the path of sends is one of TCP streams; every datagram is a send of its own",
                "--send",
                "ringperf run udp-stream --gso, which hands over many at once",
            ),
            _ if !self.engine_sends_by_path() => refused(
                "these engines know one send call for each message; the other paths are those of io_uring",
                "--send and --engine",
                "leave --engine out, or take --send chain",
            ),
            _ if self.flows > 1 && udp => refused(
                "datagrams go from one socket to one other",
                "--flows",
                "ringperf run udp-stream, without --flows",
            ),
            _ => Ok(()),
        }
    }

    /// Whether the engine of the sender has the path that is asked for, as far as it is chosen here.
    fn engine_sends_by_path(&self) -> bool {
        let chosen = self.test == Test::TcpStream || self.host.is_none();
        let has_paths = matches!(self.engine, EngineArg::Auto | EngineArg::Uring);
        matches!(self.send, SendArg::Auto | SendArg::Chain) || has_paths || !chosen
    }

    /// SO_SNDBUF to ask for at the sender.
    pub(crate) fn send_buffer(&self) -> Option<u32> {
        self.socket_buffer.filter(|_| self.socket_buffer_of != BufferOf::Receiver)
    }

    /// SO_RCVBUF to ask for at the receiver.
    pub(crate) fn receive_buffer(&self) -> Option<u32> {
        self.socket_buffer.filter(|_| self.socket_buffer_of != BufferOf::Sender)
    }

    /// Port of the netserver's data socket, where it is not its own choice.
    pub(crate) fn netserver_data_port(&self) -> Option<u16> {
        self.data_port.or(self.remote_data_port)
    }

    /// What to do without.
    pub(crate) fn left_out(&self) -> Without {
        self.without.unwrap_or_default()
    }

    /// Cores asked for; empty where none were.
    pub(crate) fn asked_cores(&self) -> &[usize] {
        self.cores.as_ref().map_or(&[], |cores| &cores.0)
    }

    /// Asks for these cores, unless others were asked for; for none where there are none.
    pub(crate) fn use_cores(&mut self, cores: &[usize]) {
        if self.cores.is_none() && !cores.is_empty() {
            self.cores = Some(Cores(cores.to_vec()));
        }
    }

    /// Control port of the netserver.
    pub(crate) fn control_port(&self) -> u16 {
        self.port.unwrap_or(CONTROL_PORT)
    }

    /// The IP version that the options leave, if they leave only one.
    ///
    /// # Errors
    /// USAGE when `--local` contradicts `-4` or `-6`.
    pub(crate) fn family(&self) -> Result<Option<Family>, Failure> {
        let asked = match (self.ipv4, self.ipv6) {
            (true, _) => Some(Family::V4),
            (false, true) => Some(Family::V6),
            (false, false) => None,
        };
        let ours = self.local.map(|local| if local.is_ipv4() { Family::V4 } else { Family::V6 });
        match (asked, ours) {
            (Some(asked), Some(ours)) if asked != ours => Err(Failure::new(
                Class::Usage,
                "choose an IP version",
                "--local is an address of the other version than the one asked for",
            )
            .setting("-4, -6 and --local")
            .next("leave -4 or -6 out, or give a --local address of that version")),
            (asked, ours) => Ok(asked.or(ours)),
        }
    }
}

/// What options ask for together cannot be.
fn refused(cause: &str, setting: &str, next: &str) -> Result<(), Failure> {
    Err(Failure::new(Class::Usage, "plan the test", cause).setting(setting).next(next))
}

/// A list of cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cores(pub(crate) Vec<usize>);

pub(crate) fn parse_cores(text: &str) -> Result<Cores, String> {
    cores::parse(text).map(Cores)
}

/// Tests there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Test {
    /// One TCP connection, from here to the netserver.
    TcpStream,
    /// One TCP connection, from the netserver to here.
    TcpMaerts,
    /// UDP datagrams, from here to the netserver, as fast as they can be sent.
    UdpStream,
    /// Requests and responses over one TCP connection.
    TcpRr,
    /// A request and a response over a TCP connection of their own, made and closed for them.
    TcpCrr,
    /// A UDP datagram each way.
    UdpRr,
}

impl Test {
    /// Whether it consists of requests and responses.
    pub(crate) fn has_transactions(self) -> bool {
        matches!(self, Self::TcpCrr | Self::TcpRr | Self::UdpRr)
    }

    /// The same as the control channel knows it.
    pub(crate) fn wire(self) -> ringperf_proto::Test {
        match self {
            Self::TcpCrr => ringperf_proto::Test::TcpCrr,
            Self::TcpRr => ringperf_proto::Test::TcpRr,
            Self::UdpRr => ringperf_proto::Test::UdpRr,
            Self::TcpMaerts => ringperf_proto::Test::TcpMaerts,
            Self::TcpStream => ringperf_proto::Test::TcpStream,
            Self::UdpStream => ringperf_proto::Test::UdpStream,
        }
    }
}

/// Ends whose socket buffer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BufferOf {
    /// Both.
    Both,
    /// The one that receives.
    Receiver,
    /// The one that sends.
    Sender,
}

/// What moves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineArg {
    /// io_uring where the kernel grants it, else epoll; blocking calls for one transaction at a time.
    Auto,
    /// io_uring, or an error.
    Uring,
    /// Non-blocking system calls driven by epoll.
    Epoll,
    /// One blocking system call a message, as netperf does it.
    Classic,
}

impl EngineArg {
    /// The word that the option takes.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Classic => "classic",
            Self::Epoll => "epoll",
            Self::Uring => "uring",
        }
    }
}

/// How TCP messages are handed to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SendArg {
    /// What is fastest for the size of the messages.
    Auto,
    /// Chains of linked sends.
    Chain,
    /// One message at a time, from registered memory.
    Registered,
    /// As many messages as 2 MiB hold in one send.
    Bundle,
    /// Chains of sends without a copy into the socket buffer, where the kernel manages that: not over
    /// loopback and veth, and the result says so.
    ZeroCopy,
}

impl SendArg {
    /// The word that the option takes.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Bundle => "bundle",
            Self::Chain => "chain",
            Self::Registered => "registered",
            Self::ZeroCopy => "zero-copy",
        }
    }

    /// The same as the engine knows it.
    pub(crate) fn path(self) -> SendPath {
        match self {
            Self::Auto => SendPath::Auto,
            Self::Bundle => SendPath::Bundle,
            Self::Chain => SendPath::Chain,
            Self::Registered => SendPath::Registered,
            Self::ZeroCopy => SendPath::ZeroCopy,
        }
    }
}

/// IP versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// When a test is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TestLength {
    /// After at least this many bytes.
    Bytes(u64),
    /// After this many seconds.
    Seconds(u32),
    /// After this many transactions.
    Transactions(u64),
}

impl TestLength {
    /// The time it takes, where that is known beforehand.
    pub(crate) fn duration(self) -> Option<Duration> {
        match self {
            Self::Bytes(_) | Self::Transactions(_) => None,
            Self::Seconds(seconds) => Some(Duration::from_secs(u64::from(seconds))),
        }
    }
}
