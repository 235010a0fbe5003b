//! What a client asks of a netserver by the classic messages.
//!
//! A netperf 2.7.0 still uses two of these families: DO_TCP_STREAM, by which TCP_SENDFILE and TCP_MSS ask for
//! a stream as any other, and DO_TCP_CC. For everything else it has [`crate::OmniTest`].

use crate::classic::{RrRequest, TcpStreamRequest};
use crate::code::RequestCode;
use crate::fault::Fault;
use crate::frame::Frame;
use crate::omni_test::{cpu_word, length_word, size_or_default};
use crate::remote::RemoteOffer;
use crate::spec::{IpVersion, Length, Test};

/// A test as asked of a netserver by a classic message. Option names are those of netperf.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassicTest {
    /// [`Test::TcpStream`], which is what TCP_SENDFILE and TCP_MSS are to a server, or [`Test::TcpCc`].
    pub test: Test,
    /// The CPU the server shall run on (`-T`).
    pub cpu: Option<u32>,
    /// SO_SNDBUF wanted at the server, in bytes (`-- -S`, first half).
    pub send_buffer: Option<u32>,
    /// SO_RCVBUF wanted at the server, in bytes (`-- -S`, second half).
    pub receive_buffer: Option<u32>,
    /// Bytes of each receive of a stream's server (`-- -M`); `None`: its choice.
    pub receive_bytes: Option<u32>,
    /// Bytes of a request of TCP_CC (`-- -r`, first half). None is sent; the server counts it all the same.
    pub request_bytes: u32,
    /// Bytes of a response of TCP_CC (`-- -r`, second half), likewise.
    pub response_bytes: u32,
    /// Alignment of the server's send buffers, in bytes (`-A`, first half); not in a stream.
    pub send_alignment: u32,
    /// Alignment of the server's receive buffers, in bytes (`-A`, second half).
    pub receive_alignment: u32,
    /// Offset from the alignment of the server's send buffers, in bytes (`-O`, first half); not in a stream.
    pub send_offset: u32,
    /// Offset from the alignment of the server's receive buffers, in bytes (`-O`, second half).
    pub receive_offset: u32,
    /// TCP_NODELAY at the server (`-- -D`).
    pub no_delay: bool,
    /// How often the server was told to measure CPU (`-C`), which is what netperf sends; 0: not at all.
    pub measure_cpu: u32,
    /// CPU calibration rate of the server if it is known (`-C rate`), else 0.
    pub cpu_rate: f32,
    /// How long the test lasts (`-l`). The bytes of a stream are sent as if they were seconds, which does no
    /// harm: its server ends with the stream.
    pub length: Length,
    /// Copies shall be avoided (`-- -V`).
    pub avoid_copies: bool,
    /// Port the server shall bind (`-- -P`, second half); 0: any.
    pub data_port: u16,
    /// IP version of the data connection.
    pub ip_version: IpVersion,
}

impl ClassicTest {
    /// What netperf 2.7.0 asks for without options.
    pub const fn new(test: Test) -> Self {
        Self {
            test,
            cpu: None,
            send_buffer: None,
            receive_buffer: None,
            receive_bytes: None,
            request_bytes: 1,
            response_bytes: 1,
            send_alignment: 8,
            receive_alignment: 8,
            send_offset: 0,
            receive_offset: 0,
            no_delay: false,
            measure_cpu: 0,
            cpu_rate: 0.0,
            length: Length::Seconds(10),
            avoid_copies: false,
            data_port: 0,
            ip_version: IpVersion::V4,
        }
    }

    /// The same test once more on the same connection, as netperf repeats it: with the calibration that the
    /// server answered.
    pub fn next_iteration(&self, offer: &RemoteOffer) -> Self {
        Self { cpu_rate: offer.cpu_rate, ..self.clone() }
    }

    /// The name of the request in netperf's tables.
    pub(crate) const fn request_name(&self) -> &'static str {
        if self.test.has_transactions() { "DO_TCP_CC" } else { "DO_TCP_STREAM" }
    }

    /// The request.
    ///
    /// # Errors
    /// [`Fault::Misuse`] for a test that netperf asks for by DO_OMNI, and for what the wire cannot hold.
    pub(crate) fn request(&self) -> Result<Frame, Fault> {
        match self.test {
            Test::TcpStream => self.stream(),
            Test::TcpCc => self.connections(),
            Test::TcpCrr
            | Test::TcpMaerts
            | Test::TcpRr
            | Test::UdpMaerts
            | Test::UdpRr
            | Test::UdpStream => Err(Fault::Misuse { what: "a test that is asked for by DO_OMNI" }),
        }
    }

    fn stream(&self) -> Result<Frame, Fault> {
        let mut frame = Frame::request(RequestCode::TcpStream, cpu_word(self.cpu)?);
        let test_length = match self.length {
            Length::Bytes(_) => length_word(self.test, self.length)?.saturating_neg(),
            Length::Endless | Length::Seconds(_) | Length::Transactions(_) => {
                length_word(self.test, self.length)?
            }
        };
        TcpStreamRequest {
            send_buf_size: size_or_default(self.send_buffer)?,
            recv_buf_size: size_or_default(self.receive_buffer)?,
            receive_size: size_or_default(Some(self.receive_bytes.unwrap_or(0)))?,
            recv_alignment: size_or_default(Some(self.receive_alignment))?,
            recv_offset: size_or_default(Some(self.receive_offset))?,
            no_delay: i32::from(self.no_delay),
            measure_cpu: size_or_default(Some(self.measure_cpu))?,
            cpu_rate: self.cpu_rate,
            test_length,
            so_rcvavoid: i32::from(self.avoid_copies),
            so_sndavoid: i32::from(self.avoid_copies),
            port: i32::from(self.data_port),
            ipfamily: self.family(),
            ..TcpStreamRequest::default()
        }
        .encode(&mut frame);
        Ok(frame)
    }

    fn connections(&self) -> Result<Frame, Fault> {
        if self.length == Length::Endless {
            return Err(Fault::Misuse { what: "connections without end" });
        }
        let mut frame = Frame::request(RequestCode::TcpCc, cpu_word(self.cpu)?);
        RrRequest {
            recv_buf_size: size_or_default(self.receive_buffer)?,
            send_buf_size: size_or_default(self.send_buffer)?,
            recv_alignment: size_or_default(Some(self.receive_alignment))?,
            recv_offset: size_or_default(Some(self.receive_offset))?,
            send_alignment: size_or_default(Some(self.send_alignment))?,
            send_offset: size_or_default(Some(self.send_offset))?,
            request_size: size_or_default(Some(self.request_bytes))?,
            response_size: size_or_default(Some(self.response_bytes))?,
            no_delay: i32::from(self.no_delay),
            measure_cpu: size_or_default(Some(self.measure_cpu))?,
            cpu_rate: self.cpu_rate,
            test_length: length_word(self.test, self.length)?,
            so_rcvavoid: i32::from(self.avoid_copies),
            so_sndavoid: i32::from(self.avoid_copies),
            port: i32::from(self.data_port),
            ipfamily: self.family(),
        }
        .encode(&mut frame);
        Ok(frame)
    }

    const fn family(&self) -> i32 {
        match self.ip_version {
            IpVersion::V4 => 4,
            IpVersion::V6 => 6,
        }
    }
}
