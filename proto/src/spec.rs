//! What a peer may ask for.
//!
//! [`TestSpec::parse`] and [`TestSpec::parse_classic`] are the only ways from the words of a request to a
//! test: whoever holds a [`TestSpec`] holds sizes within the [`Limits`] and values that make sense. It does
//! not know what this machine can grant; that is found out when the test is prepared.

use alloc::string::String;
use core::net::IpAddr;

use crate::address;
use crate::classic::ClassicRequest;
use crate::errno::{E2BIG, EAFNOSUPPORT, EINVAL, EMSGSIZE, EOPNOTSUPP};
use crate::omni::{
    FAMILY_V4, FAMILY_V6, OmniRequest, PROTOCOL_TCP, PROTOCOL_UDP, SOCKET_DATAGRAM, SOCKET_STREAM, direction,
    flag::{
        CONNECT_TEST, DEFER_ACCEPT, FAST_OPEN, KEEPALIVE, MEASURE_CPU, NO_DELAY, PACKET_INFO,
        ROUTED_AND_CONGESTION_CONTROL,
    },
};
use crate::wishes::Wishes;

/// The most a peer may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one receive or send. A request for more is refused with `E2BIG`, because memory is set aside
    /// for it.
    pub message_bytes_max: u32,
    /// Bytes of a socket buffer. A request for more is clamped, as the kernel would do.
    pub socket_buffer_max: u32,
    /// Width: how many buffers of message size a peer may name. More is clamped; we choose our own number
    /// anyway.
    pub width_max: u32,
    /// TCP data connections of one test. [`Wishes`] for more are refused with `E2BIG`.
    pub flows_max: u32,
    /// Workers of one test, which is what they can do side by side: CPUs this process may use. Wishes for
    /// more get as many as there are.
    pub workers_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 16 << 20,
            socket_buffer_max: 512 << 20,
            width_max: 1 << 16,
            flows_max: 1 << 14,
            workers_max: 64,
        }
    }
}

/// How long a test lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Until this many bytes have been received or sent; of a stream.
    Bytes(u64),
    /// Until the client stops.
    Endless,
    /// This many seconds.
    Seconds(u32),
    /// Until so many requests have been answered, or so many connections made.
    Transactions(u64),
}

/// The version of IP under the data connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A test by its name at the client. Under each variant stands what the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Accept TCP connections and close each at once.
    TcpCc,
    /// Accept TCP connections; on each read a request, send the response, and close.
    TcpCrr,
    /// Send one TCP stream.
    TcpMaerts,
    /// Read requests from one TCP connection and answer each with a response.
    TcpRr,
    /// Receive one TCP stream and count it.
    TcpStream,
    /// Send UDP datagrams to the client. netperf has no name for it but OMNI with `-d recv -T udp`.
    UdpMaerts,
    /// Answer each UDP datagram with one.
    UdpRr,
    /// Receive UDP datagrams and count them.
    UdpStream,
}

impl Test {
    /// Every test.
    pub const ALL: [Self; 8] = [
        Self::TcpCc,
        Self::TcpCrr,
        Self::TcpMaerts,
        Self::TcpRr,
        Self::TcpStream,
        Self::UdpMaerts,
        Self::UdpRr,
        Self::UdpStream,
    ];

    /// Whether its data goes over UDP; if not, over TCP.
    pub const fn over_udp(self) -> bool {
        matches!(self, Self::UdpMaerts | Self::UdpRr | Self::UdpStream)
    }

    /// Whether it is counted in transactions.
    pub const fn has_transactions(self) -> bool {
        matches!(self, Self::TcpCc | Self::TcpCrr | Self::TcpRr | Self::UdpRr)
    }

    /// Whether each transaction has a connection of its own. A server cannot see the end of such a test.
    pub const fn connects_each_time(self) -> bool {
        matches!(self, Self::TcpCc | Self::TcpCrr)
    }

    /// Whether the server sends without being asked each time.
    pub const fn server_streams(self) -> bool {
        matches!(self, Self::TcpMaerts | Self::UdpMaerts)
    }

    /// Whether the server receives payload.
    pub const fn server_receives(self) -> bool {
        matches!(self, Self::TcpCrr | Self::TcpRr | Self::TcpStream | Self::UdpRr | Self::UdpStream)
    }

    /// Whether the server sends payload.
    pub const fn server_sends(self) -> bool {
        matches!(self, Self::TcpCrr | Self::TcpMaerts | Self::TcpRr | Self::UdpMaerts | Self::UdpRr)
    }
}

/// The messages by which a test was asked for, and by which it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// One family of messages for each test, as of clients without omni.
    Classic,
    /// The messages of [`crate::omni`].
    Omni,
}

/// How a server that streams shall pace itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pacing {
    /// Sends of a burst. Never 0.
    pub sends: u32,
    /// From the beginning of one burst to that of the next, in microseconds. Never 0.
    pub every_us: u32,
}

/// Largest datagram, in bytes: 65535 less the headers of IPv4 and UDP.
const DATAGRAM_BYTES_MAX: u32 = 65_507;

/// Why a request is not served; the connection stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The errno to answer with, in Linux numbers.
    pub errno: i32,
    /// The reason, for the log.
    pub reason: &'static str,
}

/// A test a server is asked to run, checked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TestSpec {
    /// The CPU to run on, if the peer asks for one. It need not exist.
    pub cpu: Option<u32>,
    /// What to do.
    pub test: Test,
    /// The messages that ask for it. What they mean for its course stands in the other fields.
    pub family: Family,
    /// IP version of the data socket.
    pub ip_version: IpVersion,
    /// Address to bind the data socket to; `None`: any. It need not be ours.
    pub data_address: Option<IpAddr>,
    /// Port to bind the data socket to; 0: any.
    pub data_port: u16,
    /// Where the client says its own data socket is bound: the address if it has one, and the port (0:
    /// none).
    pub client_data: (Option<IpAddr>, u16),
    /// SO_SNDBUF in bytes; `None`: leave it alone. 0 is a value the kernel raises to its least.
    pub send_buffer: Option<u32>,
    /// SO_RCVBUF in bytes; `None`: leave it alone.
    pub receive_buffer: Option<u32>,
    /// Bytes of one receive of a stream; `None`: our choice, or no stream is received. Never 0.
    pub receive_bytes: Option<u32>,
    /// Number of receive buffers the client has in mind; 0: our choice.
    pub receive_width: u32,
    /// Bytes of one send of a stream; `None`: our choice, or we send none. Never 0.
    pub send_bytes: Option<u32>,
    /// Bytes of a request. 0 in [`Test::TcpCc`] and where there are no transactions, never else.
    pub request_bytes: u32,
    /// Bytes of a response, likewise.
    pub response_bytes: u32,
    /// Pacing of what we stream; `None`: as fast as it goes.
    pub pacing: Option<Pacing>,
    /// Bytes that every datagram has to have; `None`: all count, and an empty one ends the test. Only classic
    /// tests have one. Of a [`Test::UdpStream`] it is also [`Self::receive_bytes`]: a shorter datagram ends
    /// the test, and a longer one is cut to this many and counts. Of a [`Test::UdpRr`] it is also
    /// [`Self::request_bytes`], and any other size fails the test.
    pub exact_message: Option<u32>,
    /// How long the test lasts. A classic stream that is limited by bytes gives them as seconds, and nothing
    /// tells the two apart: a stream we receive ends with the stream, one we send when the client leaves.
    pub length: Length,
    /// Whether CPU is to be measured and reported.
    pub measure_cpu: bool,
    /// TCP_NODELAY on the data socket.
    pub no_delay: bool,
    /// SO_KEEPALIVE on the data socket.
    pub keepalive: bool,
    /// SO_DONTROUTE on the data socket. It is asked for by a bit that is *clear*.
    pub dont_route: bool,
    /// TCP_DEFER_ACCEPT on the listener.
    pub defer_accept: bool,
    /// TCP_FASTOPEN on the listener.
    pub fast_open: bool,
    /// Responses over UDP shall come from the address that the requests go to.
    pub packet_info: bool,
    /// Whether the results shall name the congestion control in force; TCP only.
    pub want_congestion_control: bool,
    /// SO_PRIORITY of the data socket; `None`: leave it alone.
    pub priority: Option<i32>,
    /// IP_TOS or traffic class of the data socket; `None`: leave it alone.
    pub type_of_service: Option<i32>,
    /// Congestion control wanted; printable ASCII, at most 16 bytes.
    pub congestion_control: Option<String>,
    /// Whether the peer named a file to send from. It is not opened.
    pub ignored_fill_file: bool,
    /// What was wished for ahead of the request; of clients other than ours the default.
    pub wishes: Wishes,
    /// Whether the client has spoken our own messages before, and so knows what a ringperf does otherwise
    /// than netperf.
    pub for_ringperf: bool,
    /// What the response repeats.
    pub(crate) echo: Echo,
}

/// Values of a request that its response repeats although they change nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Echo {
    /// CPU calibration rate known to the client; 0 if it knows none.
    pub(crate) cpu_rate: f32,
    /// Receive size, of a server that does not receive.
    pub(crate) receive_size: i32,
    /// Send size, of a server that does not send.
    pub(crate) send_size: i32,
    pub(crate) send_width: u32,
    pub(crate) test_length: i32,
    /// Bytes of a request and a response together as a classic request names them, by which the results count
    /// bytes; they need not have been moved.
    pub(crate) transaction_bytes: u32,
    /// Copy avoidance. netperf's server says that it is in force once asked, so ours says so too.
    pub(crate) avoids_receive_copies: bool,
    pub(crate) avoids_send_copies: bool,
}

impl TestSpec {
    /// The test that `request` asks for.
    ///
    /// `header_cpu` is the second header word of its frame. Unknown flag bits, alignments, dirty counts and
    /// pacing of what we do not stream are ignored: they change nothing that is measured.
    ///
    /// # Errors
    /// [`Refusal`] with `EOPNOTSUPP` for a test that is known and not served, `EAFNOSUPPORT` for an address
    /// family other than IP, `E2BIG` for a message over the limit, `EMSGSIZE` for one that no datagram holds,
    /// `EINVAL` for a value that makes no sense.
    pub fn parse(header_cpu: i32, request: &OmniRequest, limits: &Limits) -> Result<Self, Refusal> {
        let flags = |bit: u32| request.flags & bit != 0;
        let test = parse_test(request)?;
        let ip_version = parse_ip_version(request.ipfamily)?;
        let routed = flags(ROUTED_AND_CONGESTION_CONTROL);
        // netperf's server takes a positive request size for its receive size, and a positive response size
        // for its send size, in every kind of test.
        let in_place = |size: i32, of: i32| if size > 0 { size } else { of };
        let receive = in_place(request.request_size, request.receive_size);
        let send = in_place(request.response_size, request.send_size);
        // Such a size needs one buffer, if nobody says how many.
        let width = |told: u32, in_place: i32| {
            if told == 0 && in_place > 0 { 1 } else { told.min(limits.width_max) }
        };
        let spec = Self {
            cpu: u32::try_from(header_cpu).ok(),
            data_address: address::decode(request.netserver_ip, ip_version),
            data_port: parse_port(request.data_port, "the data port is over 65535")?,
            client_data: (
                address::decode(request.netperf_ip, ip_version),
                parse_port(request.netperf_port, "the client's data port is over 65535")?,
            ),
            send_buffer: parse_socket_buffer(request.send_buf_size, limits),
            receive_buffer: parse_socket_buffer(request.recv_buf_size, limits),
            receive_width: width(request.recv_width, request.request_size),
            pacing: parse_pacing(test, request),
            measure_cpu: flags(MEASURE_CPU),
            no_delay: flags(NO_DELAY),
            keepalive: flags(KEEPALIVE),
            dont_route: !routed,
            defer_accept: flags(DEFER_ACCEPT),
            fast_open: flags(FAST_OPEN),
            packet_info: flags(PACKET_INFO),
            want_congestion_control: routed && !test.over_udp(),
            priority: not_negative(request.socket_prio),
            type_of_service: not_negative(request.socket_tos),
            congestion_control: request
                .cong_control
                .name()
                .map_err(|_| refusal(EINVAL, "the congestion control is not a name"))?,
            ignored_fill_file: !request.fill_file.content().is_empty(),
            echo: Echo {
                cpu_rate: calibration(request.cpu_rate),
                receive_size: request.receive_size,
                send_size: request.send_size,
                send_width: width(request.send_width, request.response_size),
                test_length: request.test_length,
                transaction_bytes: 0,
                avoids_receive_copies: request.so_rcvavoid != 0,
                avoids_send_copies: request.so_sndavoid != 0,
            },
            ..Self::bare(test, Family::Omni, ip_version, parse_length(test, request.test_length))
        };
        spec.sized(receive, send, limits)?.endable()
    }

    /// The test that the classic `request` asks for. `header_cpu` is as for [`Self::parse`].
    ///
    /// # Errors
    /// As [`Self::parse`]; `EINVAL` also for a stream of a length below zero, for datagrams without a time
    /// limit, and for no transaction at all.
    pub fn parse_classic(
        header_cpu: i32,
        request: &ClassicRequest,
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        let test = request.test;
        let family = match request.ipfamily {
            // Unlike in an omni test netperf's server does not mind, and takes IPv4.
            0 => FAMILY_V4,
            family => u32::try_from(family).unwrap_or(u32::MAX),
        };
        let port = u32::try_from(request.port).unwrap_or(u32::MAX);
        let (receive, send) = if test.has_transactions() {
            (request.request_size, request.response_size)
        } else {
            (request.message_size, request.message_size)
        };
        let length = parse_classic_length(test, request.test_length)?;
        let bytes = |size: i32| u32::try_from(size).unwrap_or(0);
        let spec = Self {
            cpu: u32::try_from(header_cpu).ok(),
            data_port: parse_port(port, "the data port is negative or over 65535")?,
            send_buffer: parse_socket_buffer(request.send_buf_size, limits),
            receive_buffer: parse_socket_buffer(request.recv_buf_size, limits),
            measure_cpu: request.measure_cpu != 0,
            no_delay: request.no_delay != 0,
            echo: Echo {
                cpu_rate: calibration(request.cpu_rate),
                receive_size: 0,
                send_size: 0,
                send_width: 0,
                test_length: request.test_length,
                transaction_bytes: bytes(request.request_size).wrapping_add(bytes(request.response_size)),
                avoids_receive_copies: request.so_rcvavoid != 0,
                avoids_send_copies: request.so_sndavoid != 0,
            },
            ..Self::bare(test, Family::Classic, parse_ip_version(family)?, length)
        };
        let sized = spec.sized(receive, send, limits)?;
        let exact_message = match test {
            Test::UdpRr => Some(sized.request_bytes),
            Test::UdpStream => sized.receive_bytes,
            Test::TcpCc
            | Test::TcpCrr
            | Test::TcpMaerts
            | Test::TcpRr
            | Test::TcpStream
            | Test::UdpMaerts => None,
        };
        Ok(Self { exact_message, ..sized })
    }

    /// A test of which no more is said than which it is.
    fn bare(test: Test, family: Family, ip_version: IpVersion, length: Length) -> Self {
        Self {
            cpu: None,
            test,
            family,
            ip_version,
            data_address: None,
            data_port: 0,
            client_data: (None, 0),
            send_buffer: None,
            receive_buffer: None,
            receive_bytes: None,
            receive_width: 0,
            send_bytes: None,
            request_bytes: 0,
            response_bytes: 0,
            pacing: None,
            exact_message: None,
            length,
            measure_cpu: false,
            no_delay: false,
            keepalive: false,
            dont_route: false,
            defer_accept: false,
            fast_open: false,
            packet_info: false,
            want_congestion_control: false,
            priority: None,
            type_of_service: None,
            congestion_control: None,
            ignored_fill_file: false,
            wishes: Wishes::default(),
            for_ringperf: false,
            echo: Echo::default(),
        }
    }

    /// The same test with these sizes of what we receive and send.
    fn sized(self, receive: i32, send: i32, limits: &Limits) -> Result<Self, Refusal> {
        let (receives, sends) = (self.test.server_receives(), self.test.server_sends());
        let receive = if receives { parse_message(receive, RECEIVE, limits)? } else { None };
        let send = if sends { parse_message(send, SEND, limits)? } else { None };
        let has_room = |bytes: &Option<u32>| bytes.is_none_or(|bytes| bytes <= DATAGRAM_BYTES_MAX);
        // A stream of datagrams that we receive may be cut: how large they are is the client's business.
        let fits = has_room(&send) && (self.test == Test::UdpStream || has_room(&receive));
        if self.test.over_udp() && !fits {
            return Err(refusal(EMSGSIZE, "no datagram has room for a message of this size"));
        }
        if !self.test.has_transactions() {
            return Ok(Self { receive_bytes: receive, send_bytes: send, ..self });
        }
        let untold = refusal(EINVAL, "the size of a request or a response is not given");
        let told = |wanted: bool, size: Option<u32>| if wanted { size.ok_or(untold) } else { Ok(0) };
        Ok(Self { request_bytes: told(receives, receive)?, response_bytes: told(sends, send)?, ..self })
    }

    /// The same test, if something ends it. A client that receives datagrams has no way to say that it has
    /// had enough.
    fn endable(self) -> Result<Self, Refusal> {
        match (self.test, self.length, self.client_data.1) {
            (Test::UdpMaerts, Length::Endless, _) => {
                Err(refusal(EINVAL, "datagrams to the client without an end"))
            }
            (Test::UdpMaerts, _, 0) => Err(refusal(EINVAL, "the client does not say where it receives")),
            _ => Ok(self),
        }
    }

    /// The same test, run as `wishes` say.
    ///
    /// # Errors
    /// [`Refusal`] with `EINVAL` for wishes that mean nothing to this test, many flows of datagrams among
    /// them.
    pub fn wishing(self, wishes: Wishes) -> Result<Self, Refusal> {
        wishes.suit(self.test, self.family)?;
        Ok(Self { wishes, ..self })
    }
}

pub(crate) const fn refusal(errno: i32, reason: &'static str) -> Refusal {
    Refusal { errno, reason }
}

fn parse_test(request: &OmniRequest) -> Result<Test, Refusal> {
    let unserved = |reason| Err(refusal(EOPNOTSUPP, reason));
    // A client may leave the socket type or the protocol open, not both: the other one then decides.
    let udp = match (request.socket_type, request.protocol) {
        (SOCKET_STREAM, PROTOCOL_TCP | 0) | (-1, PROTOCOL_TCP) => false,
        (SOCKET_DATAGRAM, PROTOCOL_UDP | 0) | (-1, PROTOCOL_UDP) => true,
        _ => return unserved("only TCP and UDP are served"),
    };
    match (request.direction, request.flags & CONNECT_TEST != 0, udp) {
        (direction::CONNECT, true, false) => Ok(Test::TcpCc),
        (direction::RECEIVE, false, false) => Ok(Test::TcpStream),
        (direction::RECEIVE, false, true) => Ok(Test::UdpStream),
        (direction::REQUEST_RESPONSE, false, false) => Ok(Test::TcpRr),
        (direction::REQUEST_RESPONSE, false, true) => Ok(Test::UdpRr),
        (direction::REQUEST_RESPONSE, true, false) => Ok(Test::TcpCrr),
        (direction::TRANSMIT, false, false) => Ok(Test::TcpMaerts),
        (direction::TRANSMIT, false, true) => Ok(Test::UdpMaerts),
        (_, true, true) => unserved("there are no connections over UDP"),
        (direction::CONNECT, false, _) => unserved("a test that does nothing"),
        _ => unserved("streams of a connection each are not served"),
    }
}

fn parse_ip_version(family: u32) -> Result<IpVersion, Refusal> {
    match family {
        FAMILY_V4 => Ok(IpVersion::V4),
        FAMILY_V6 => Ok(IpVersion::V6),
        _ => Err(refusal(EAFNOSUPPORT, "the address family is neither IPv4 nor IPv6")),
    }
}

fn parse_port(port: u32, reason: &'static str) -> Result<u16, Refusal> {
    u16::try_from(port).map_err(|_| refusal(EINVAL, reason))
}

fn parse_socket_buffer(bytes: i32, limits: &Limits) -> Option<u32> {
    u32::try_from(bytes).ok().map(|bytes| bytes.min(limits.socket_buffer_max))
}

/// What to say of a message size that is over the limit, and of one that is negative.
type Complaints = (&'static str, &'static str);
const RECEIVE: Complaints = ("the receive size is over the limit", "the receive size is negative");
const SEND: Complaints = ("the send size is over the limit", "the send size is negative");

fn parse_message(
    asked: i32,
    (too_large, negative): Complaints,
    limits: &Limits,
) -> Result<Option<u32>, Refusal> {
    match u32::try_from(asked) {
        // Of an omni size of 0 netperf's server divides by it and dies; we choose, as for -1 and as it does
        // itself in classic tests.
        Ok(0) => Ok(None),
        Ok(bytes) if bytes <= limits.message_bytes_max => Ok(Some(bytes)),
        Ok(_) => Err(refusal(E2BIG, too_large)),
        Err(_) if asked == -1 => Ok(None),
        Err(_) => Err(refusal(EINVAL, negative)),
    }
}

fn parse_length(test: Test, test_length: i32) -> Length {
    let count = u64::from(test_length.unsigned_abs());
    match u32::try_from(test_length) {
        Ok(0) => Length::Endless,
        Ok(seconds) => Length::Seconds(seconds),
        Err(_) if test.has_transactions() => Length::Transactions(count),
        Err(_) => Length::Bytes(count),
    }
}

/// The length of a classic test. Nothing marks the end of its datagrams but the clock, and none of its
/// transactions go on without a limit.
fn parse_classic_length(test: Test, test_length: i32) -> Result<Length, Refusal> {
    match parse_length(test, test_length) {
        Length::Bytes(_) => Err(refusal(EINVAL, "the test length is negative")),
        Length::Endless if test == Test::UdpStream => {
            Err(refusal(EINVAL, "datagrams without a time limit would never end"))
        }
        Length::Endless if test.has_transactions() => Err(refusal(EINVAL, "a test of no transaction")),
        length => Ok(length),
    }
}

/// Pacing of what we stream. netperf's server paces responses too where it is built for it.
fn parse_pacing(test: Test, request: &OmniRequest) -> Option<Pacing> {
    let pacing = Pacing { sends: request.interval_burst, every_us: request.interval_usecs };
    (test.server_streams() && pacing.sends > 0 && pacing.every_us > 0).then_some(pacing)
}

/// A CPU calibration rate that the client knows already; 0 if it knows none.
fn calibration(rate: f32) -> f32 {
    if rate.is_finite() { rate.max(0.0) } else { 0.0 }
}

fn not_negative(value: i32) -> Option<i32> {
    (value >= 0).then_some(value)
}
