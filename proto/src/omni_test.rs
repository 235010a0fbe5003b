//! What a client asks of a netserver by the omni messages, for whichever test.
//!
//! An [`OmniTest`] holds everything a netperf 2.7.0 command line can put on the wire, and
//! [`OmniTest::new`] is what netperf sends without options. It does not say what the client does itself:
//! local sizes and options stay local, and how many requests are under way at once (`-- -b`) is nobody's
//! business but the client's.

use alloc::string::String;
use core::net::IpAddr;

use crate::address;
use crate::code::RequestCode;
use crate::fault::Fault;
use crate::frame::Frame;
use crate::layout::Text;
use crate::omni::{
    FAMILY_V4, FAMILY_V6, OmniRequest, PROTOCOL_TCP, PROTOCOL_UDP, SOCKET_DATAGRAM, SOCKET_STREAM, direction,
    flag,
};
use crate::remote::RemoteOffer;
use crate::spec::{IpVersion, Length, Test};

/// A test as asked of a netserver by DO_OMNI. Option names are those of netperf.
#[derive(Clone, Debug, PartialEq)]
pub struct OmniTest {
    /// The test (`-t`, and in OMNI `-- -d`, `-- -T` and `-- -c`).
    pub test: Test,
    /// The CPU the server shall run on (`-T`).
    pub cpu: Option<u32>,
    /// SO_SNDBUF wanted at the server, in bytes (`-- -S`, first half).
    pub send_buffer: Option<u32>,
    /// SO_RCVBUF wanted at the server, in bytes (`-- -S`, second half).
    pub receive_buffer: Option<u32>,
    /// Bytes of each receive of the server (`-- -M`, first half); not 0, which kills real servers.
    pub receive_bytes: Option<u32>,
    /// Bytes of each send of a server that streams (`-- -m`, second half); not 0.
    pub send_bytes: Option<u32>,
    /// Bytes of a request (`-- -r`, first half); the server takes them for its receive size in any test.
    pub request_bytes: Option<u32>,
    /// Bytes of a response (`-- -r`, second half); the server takes them for its send size in any test.
    pub response_bytes: Option<u32>,
    /// Alignment of the server's send buffers, in bytes (`-A`, first half).
    pub send_alignment: u32,
    /// Alignment of the server's receive buffers, in bytes (`-A`, second half).
    pub receive_alignment: u32,
    /// Offset from the alignment of the server's send buffers, in bytes (`-O`, first half).
    pub send_offset: u32,
    /// Offset from the alignment of the server's receive buffers, in bytes (`-O`, second half).
    pub receive_offset: u32,
    /// Number of the client's send buffers, which netperf sends for the server's (`-W`). By default it is
    /// the client's socket buffer divided by its message size, plus 1, and 0 if the client does not
    /// send.
    pub send_width: u32,
    /// Number of the client's receive buffers, likewise; 0 if it does not receive.
    pub receive_width: u32,
    /// TCP_NODELAY at both ends (`-- -D`).
    pub no_delay: bool,
    /// SO_KEEPALIVE on the data socket (`-S`).
    pub keepalive: bool,
    /// TCP_DEFER_ACCEPT on the server's listener (`-- -a`).
    pub defer_accept: bool,
    /// TCP_FASTOPEN on the server's listener (`-- -F`).
    pub fast_open: bool,
    /// IP_PKTINFO, of use to UDP only (`-- -B`).
    pub packet_info: bool,
    /// Copies shall be avoided (`-- -V`).
    pub avoid_copies: bool,
    /// SO_DONTROUTE on the server's data socket. netperf asks for it of datagrams in one direction unless
    /// told otherwise (`-- -R 1`). It also keeps the server from naming its congestion control: one bit
    /// carries both.
    pub dont_route: bool,
    /// The server shall measure CPU (`-C`).
    pub measure_cpu: bool,
    /// CPU calibration rate of the server if it is known (`-C rate`), else 0.
    pub cpu_rate: f32,
    /// How long the test lasts (`-l`): bytes or transactions up to 2^31, seconds below it.
    pub length: Length,
    /// Port the server shall bind (`-- -P`, second half); 0: any.
    pub data_port: u16,
    /// IP version of the data connection.
    pub ip_version: IpVersion,
    /// Address and port of the client's data socket as bound; `None` and 0 if not bound to any. In
    /// [`Test::UdpMaerts`] that is where netperf's server sends to: without an address it reaches nobody
    /// but on its own host.
    pub local: (Option<IpAddr>, u16),
    /// Address the server shall bind (`-- -H`); `None`: any.
    pub server_address: Option<IpAddr>,
    /// SO_PRIORITY wanted at the server (`-y`).
    pub priority: Option<i32>,
    /// IP_TOS wanted at the server (`-Y`).
    pub type_of_service: Option<i32>,
    /// Congestion control wanted at the server (`-- -K`): at most 15 bytes of printable ASCII.
    pub congestion_control: Option<String>,
    /// File on the server's host to send from (`-F`): at most 31 bytes. A real server exits if it is not
    /// there.
    pub fill_file: Option<String>,
    /// Sends an interval (`-b`); 0: not paced.
    pub interval_burst: u32,
    /// Length of an interval in microseconds (`-w`).
    pub interval_us: u32,
}

impl Default for OmniTest {
    /// TCP_STREAM without options.
    fn default() -> Self {
        Self::new(Test::TcpStream)
    }
}

impl OmniTest {
    /// What netperf 2.7.0 asks for without options. The widths of a stream are those of messages as large as
    /// the socket buffer, which is the default of TCP.
    pub const fn new(test: Test) -> Self {
        // The client sends what the server receives.
        let (send_width, receive_width) = match test {
            Test::TcpCc => (0, 0),
            Test::TcpCrr | Test::TcpRr | Test::UdpRr => (1, 1),
            Test::TcpMaerts | Test::UdpMaerts => (0, 2),
            Test::TcpStream | Test::UdpStream => (2, 0),
        };
        let of_a_transaction = match test {
            Test::TcpCrr | Test::TcpRr | Test::UdpRr => Some(1),
            Test::TcpCc | Test::TcpMaerts | Test::TcpStream | Test::UdpMaerts | Test::UdpStream => None,
        };
        Self {
            test,
            cpu: None,
            send_buffer: None,
            receive_buffer: None,
            receive_bytes: None,
            send_bytes: None,
            request_bytes: of_a_transaction,
            response_bytes: of_a_transaction,
            send_alignment: 8,
            receive_alignment: 8,
            send_offset: 0,
            receive_offset: 0,
            send_width,
            receive_width,
            no_delay: false,
            keepalive: false,
            defer_accept: false,
            fast_open: false,
            packet_info: false,
            avoid_copies: false,
            dont_route: matches!(test, Test::UdpMaerts | Test::UdpStream),
            measure_cpu: false,
            cpu_rate: 0.0,
            length: Length::Seconds(10),
            data_port: 0,
            ip_version: IpVersion::V4,
            local: (None, 0),
            server_address: None,
            priority: None,
            type_of_service: None,
            congestion_control: None,
            fill_file: None,
            interval_burst: 0,
            interval_us: 0,
        }
    }

    /// The same test once more on the same connection, as netperf repeats it: on the port the server bound,
    /// with the calibration, the priority and the type of service it answered. Whatever changes at the
    /// client, such as [`Self::local`], is for the caller to set.
    pub fn next_iteration(&self, offer: &RemoteOffer) -> Self {
        Self {
            data_port: offer.port,
            cpu_rate: offer.cpu_rate,
            priority: offer.priority,
            type_of_service: offer.type_of_service,
            no_delay: offer.no_delay,
            ..self.clone()
        }
    }

    /// The request.
    ///
    /// # Errors
    /// [`Fault::Misuse`] for what the wire cannot hold, and for sizes of 0 that kill real servers.
    pub(crate) fn request(&self) -> Result<Frame, Fault> {
        let mut frame = Frame::request(RequestCode::Omni, cpu_word(self.cpu)?);
        let (socket_type, protocol) = if self.test.over_udp() {
            (SOCKET_DATAGRAM, PROTOCOL_UDP)
        } else {
            (SOCKET_STREAM, PROTOCOL_TCP)
        };
        OmniRequest {
            send_buf_size: size_or_default(self.send_buffer)?,
            send_size: size_or_default(not_zero(self.send_bytes)?)?,
            send_alignment: self.send_alignment,
            send_offset: self.send_offset,
            send_width: self.send_width,
            request_size: size_or_default(not_zero(self.request_bytes)?)?,
            recv_buf_size: size_or_default(self.receive_buffer)?,
            receive_size: size_or_default(not_zero(self.receive_bytes)?)?,
            recv_alignment: self.receive_alignment,
            recv_offset: self.receive_offset,
            recv_width: self.receive_width,
            response_size: size_or_default(not_zero(self.response_bytes)?)?,
            flags: self.flags(),
            cpu_rate: self.cpu_rate,
            test_length: length_word(self.test, self.length)?,
            so_rcvavoid: u32::from(self.avoid_copies),
            so_sndavoid: u32::from(self.avoid_copies),
            send_dirty_count: -1,
            recv_dirty_count: -1,
            recv_clean_count: -1,
            data_port: u32::from(self.data_port),
            ipfamily: match self.ip_version {
                IpVersion::V4 => FAMILY_V4,
                IpVersion::V6 => FAMILY_V6,
            },
            socket_type,
            protocol,
            direction: match self.test {
                Test::TcpCc => direction::CONNECT,
                Test::TcpCrr | Test::TcpRr | Test::UdpRr => direction::REQUEST_RESPONSE,
                Test::TcpMaerts | Test::UdpMaerts => direction::TRANSMIT,
                Test::TcpStream | Test::UdpStream => direction::RECEIVE,
            },
            netperf_port: u32::from(self.local.1),
            interval_burst: self.interval_burst,
            interval_usecs: self.interval_us,
            netperf_ip: address::encode(self.of_our_version(self.local.0)?),
            netserver_ip: address::encode(self.of_our_version(self.server_address)?),
            socket_prio: self.priority.unwrap_or(-1),
            socket_tos: self.type_of_service.unwrap_or(-1),
            cong_control: text(
                self.congestion_control.as_deref(),
                "the congestion control is over 15 bytes",
            )?,
            fill_file: text(self.fill_file.as_deref(), "the fill file's name is over 31 bytes")?,
        }
        .encode(&mut frame);
        Ok(frame)
    }

    fn flags(&self) -> u32 {
        [
            (self.no_delay, flag::NO_DELAY),
            (self.test.connects_each_time(), flag::CONNECT_TEST),
            (self.measure_cpu, flag::MEASURE_CPU),
            (!self.dont_route, flag::ROUTED_AND_CONGESTION_CONTROL),
            (self.fast_open, flag::FAST_OPEN),
            (self.packet_info, flag::PACKET_INFO),
            (self.defer_accept, flag::DEFER_ACCEPT),
            (self.keepalive, flag::KEEPALIVE),
        ]
        .iter()
        .filter(|(set, _)| *set)
        .fold(0, |flags, (_, bit)| flags | bit)
    }

    fn of_our_version(&self, address: Option<IpAddr>) -> Result<Option<IpAddr>, Fault> {
        match (address, self.ip_version) {
            (None, _) | (Some(IpAddr::V4(_)), IpVersion::V4) | (Some(IpAddr::V6(_)), IpVersion::V6) => {
                Ok(address)
            }
            _ => Err(misuse("an address is not of the test's IP version")),
        }
    }
}

const fn misuse(what: &'static str) -> Fault {
    Fault::Misuse { what }
}

fn not_zero(size: Option<u32>) -> Result<Option<u32>, Fault> {
    if size == Some(0) { Err(misuse("a message size of 0")) } else { Ok(size) }
}

/// The word for a size; -1 if none is given.
pub(crate) fn size_or_default(size: Option<u32>) -> Result<i32, Fault> {
    size.map_or(Ok(-1), |size| i32::try_from(size).map_err(|_| misuse("a size of 2^31 bytes or more")))
}

/// The CPU word of a header; -1 if none is asked for.
pub(crate) fn cpu_word(cpu: Option<u32>) -> Result<i32, Fault> {
    cpu.map_or(Ok(-1), |cpu| i32::try_from(cpu).map_err(|_| misuse("the CPU number is over 2^31")))
}

/// The word for a length of `test`: seconds, or minus what is counted.
pub(crate) fn length_word(test: Test, length: Length) -> Result<i32, Fault> {
    let word = match (length, test.has_transactions()) {
        (Length::Endless, _) => return Ok(0),
        (Length::Seconds(seconds), _) => i32::try_from(seconds).ok(),
        (Length::Bytes(count), false) | (Length::Transactions(count), true) => {
            0_i64.checked_sub_unsigned(count).and_then(|word| i32::try_from(word).ok())
        }
        (Length::Bytes(_), true) => return Err(misuse("a length in bytes of a test of transactions")),
        (Length::Transactions(_), false) => return Err(misuse("a length in transactions of a stream")),
    };
    // Zero seconds or bytes would be taken for a test without end.
    word.filter(|word| *word != 0).ok_or(misuse("a test length of 0 or over 2^31"))
}

fn text<const N: usize>(content: Option<&str>, too_long: &'static str) -> Result<Text<N>, Fault> {
    Text::new(content.unwrap_or_default().as_bytes()).ok_or(misuse(too_long))
}
