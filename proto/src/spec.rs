//! What a peer may ask for.
//!
//! [`TestSpec::parse`] is the only way from the words of a request to a test: whoever holds a [`TestSpec`]
//! holds sizes within the [`Limits`] and values that make sense. It does not know what this machine can
//! grant; that is found out when the test is prepared.

use alloc::string::String;
use core::net::IpAddr;

use crate::address;
use crate::errno::{E2BIG, EAFNOSUPPORT, EINVAL, EOPNOTSUPP};
use crate::omni::{
    FAMILY_V4, FAMILY_V6, OmniRequest, PROTOCOL_TCP, SOCKET_STREAM, direction,
    flag::{
        CONNECT_TEST, DEFER_ACCEPT, FAST_OPEN, KEEPALIVE, MEASURE_CPU, NO_DELAY,
        ROUTED_AND_CONGESTION_CONTROL,
    },
};

/// The most a peer may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one receive. A request for more is refused with `E2BIG`, because memory is set aside for it.
    pub message_bytes_max: u32,
    /// Bytes of a socket buffer. A request for more is clamped, as the kernel would do.
    pub socket_buffer_max: u32,
    /// Width: how many buffers of message size a peer may name. More is clamped; we choose our own number
    /// anyway.
    pub width_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes_max: 16 << 20, socket_buffer_max: 512 << 20, width_max: 1 << 16 }
    }
}

/// How long a test lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Until this many bytes have been received.
    Bytes(u64),
    /// Until the sender stops.
    Endless,
    /// This many seconds.
    Seconds(u32),
}

/// The version of IP under the data connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What a server is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Test {
    /// Receive one TCP stream and count it.
    TcpStream,
}

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
    /// Bytes of one receive; `None`: our choice. Never 0.
    pub receive_bytes: Option<u32>,
    /// Number of receive buffers the client has in mind; 0: our choice.
    pub receive_width: u32,
    /// How long the test lasts.
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
    /// Whether the results shall name the congestion control in force.
    pub want_congestion_control: bool,
    /// SO_PRIORITY of the data socket; `None`: leave it alone.
    pub priority: Option<i32>,
    /// IP_TOS or traffic class of the data socket; `None`: leave it alone.
    pub type_of_service: Option<i32>,
    /// Congestion control wanted; printable ASCII, at most 16 bytes.
    pub congestion_control: Option<String>,
    /// Whether the peer named a file to send from. It is not opened.
    pub ignored_fill_file: bool,
    /// What the response repeats.
    pub(crate) echo: Echo,
}

/// Values of a request that its response repeats although they change nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Echo {
    /// CPU calibration rate known to the client; 0 if it knows none.
    pub(crate) cpu_rate: f32,
    /// Send size, of a server that does not send.
    pub(crate) send_bytes: i32,
    pub(crate) send_width: u32,
    /// Copy avoidance. netperf's server says that it is in force once asked, so ours says so too.
    pub(crate) avoids_receive_copies: bool,
    pub(crate) avoids_send_copies: bool,
}

impl TestSpec {
    /// The test that `request` asks for.
    ///
    /// `header_cpu` is the second header word of its frame. Unknown flag bits, alignments, pacing and dirty
    /// counts are ignored, as they change nothing in a receiving test.
    ///
    /// # Errors
    /// [`Refusal`] with `EOPNOTSUPP` for a test that is known and not served, `EAFNOSUPPORT` for an address
    /// family other than IP, `E2BIG` for a message over the limit, `EINVAL` for a value that makes no
    /// sense.
    pub fn parse(header_cpu: i32, request: &OmniRequest, limits: &Limits) -> Result<Self, Refusal> {
        let flags = |bit: u32| request.flags & bit != 0;
        let test = parse_test(request)?;
        let ip_version = parse_ip_version(request.ipfamily)?;
        let routed = flags(ROUTED_AND_CONGESTION_CONTROL);
        let client_port = parse_port(request.netperf_port, "the client's data port is over 65535")?;
        Ok(Self {
            cpu: u32::try_from(header_cpu).ok(),
            test,
            ip_version,
            data_address: address::decode(request.netserver_ip, ip_version),
            data_port: parse_port(request.data_port, "the data port is over 65535")?,
            client_data: (address::decode(request.netperf_ip, ip_version), client_port),
            send_buffer: parse_socket_buffer(request.send_buf_size, limits),
            receive_buffer: parse_socket_buffer(request.recv_buf_size, limits),
            receive_bytes: parse_receive_bytes(request, limits)?,
            receive_width: request.recv_width.min(limits.width_max),
            length: parse_length(request.test_length),
            measure_cpu: flags(MEASURE_CPU),
            no_delay: flags(NO_DELAY),
            keepalive: flags(KEEPALIVE),
            dont_route: !routed,
            defer_accept: flags(DEFER_ACCEPT),
            fast_open: flags(FAST_OPEN),
            want_congestion_control: routed,
            priority: not_negative(request.socket_prio),
            type_of_service: not_negative(request.socket_tos),
            congestion_control: request
                .cong_control
                .name()
                .map_err(|_| refusal(EINVAL, "the congestion control is not a name"))?,
            ignored_fill_file: !request.fill_file.content().is_empty(),
            echo: Echo {
                cpu_rate: if request.cpu_rate.is_finite() { request.cpu_rate.max(0.0) } else { 0.0 },
                send_bytes: if request.response_size > 0 { request.response_size } else { request.send_size },
                send_width: request.send_width.min(limits.width_max),
                avoids_receive_copies: request.so_rcvavoid != 0,
                avoids_send_copies: request.so_sndavoid != 0,
            },
        })
    }
}

const fn refusal(errno: i32, reason: &'static str) -> Refusal {
    Refusal { errno, reason }
}

fn parse_test(request: &OmniRequest) -> Result<Test, Refusal> {
    // A client may leave the socket type or the protocol open, not both: the other one then decides.
    let tcp = matches!(
        (request.socket_type, request.protocol),
        (SOCKET_STREAM, PROTOCOL_TCP | 0) | (-1, PROTOCOL_TCP)
    );
    if !tcp {
        return Err(refusal(EOPNOTSUPP, "only TCP is served"));
    }
    if request.direction != direction::RECEIVE || request.flags & CONNECT_TEST != 0 {
        return Err(refusal(EOPNOTSUPP, "only streams towards the server are served"));
    }
    Ok(Test::TcpStream)
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

fn parse_receive_bytes(request: &OmniRequest, limits: &Limits) -> Result<Option<u32>, Refusal> {
    // netperf's server takes a positive request size for its receive size in every kind of test.
    let asked = if request.request_size > 0 { request.request_size } else { request.receive_size };
    match u32::try_from(asked) {
        // netperf's server divides by a size of 0 and dies; we choose, as for -1.
        Ok(0) => Ok(None),
        Ok(bytes) if bytes <= limits.message_bytes_max => Ok(Some(bytes)),
        Ok(_) => Err(refusal(E2BIG, "the receive size is over the limit")),
        Err(_) if asked == -1 => Ok(None),
        Err(_) => Err(refusal(EINVAL, "the receive size is negative")),
    }
}

fn parse_length(test_length: i32) -> Length {
    match u32::try_from(test_length) {
        Ok(0) => Length::Endless,
        Ok(seconds) => Length::Seconds(seconds),
        Err(_) => Length::Bytes(u64::from(test_length.unsigned_abs())),
    }
}

fn not_negative(value: i32) -> Option<i32> {
    (value >= 0).then_some(value)
}
