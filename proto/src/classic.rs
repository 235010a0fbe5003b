//! The messages of the classic families, one family a test.
//!
//! Clients up to 2.4.5 use them for everything, later ones for TCP_SENDFILE, TCP_CC and TCP_MSS, and those
//! built without omni for every test. [`ClassicRequest`] is what all their requests have in common.

use crate::code::RequestCode;
use crate::frame::Frame;
use crate::layout::{Wire, layout};
use crate::spec::Test;

layout! {
    /// The server shall receive a TCP stream.
    TcpStreamRequest = "TCP_STREAM_REQUEST" {
        /// SO_SNDBUF wanted at the server, in bytes; negative: leave it alone.
        send_buf_size: i32 = 8,
        /// SO_RCVBUF wanted at the server, in bytes; negative: leave it alone.
        recv_buf_size: i32 = 12,
        /// Bytes a receive of the server; -1 (classic: 0): its choice.
        receive_size: i32 = 16,
        /// Alignment of the server's receive buffers, in bytes.
        recv_alignment: i32 = 20,
        /// Offset from that alignment, in bytes.
        recv_offset: i32 = 24,
        /// Whether TCP_NODELAY is wanted.
        no_delay: i32 = 28,
        /// Whether the server shall measure CPU.
        measure_cpu: i32 = 32,
        /// CPU calibration rate the client knows already; 0: the server shall calibrate.
        cpu_rate: f32 = 36,
        /// Seconds if positive, minus the bytes or transactions if negative, without end if 0.
        test_length: i32 = 40,
        /// Whether copies are avoided on receive.
        so_rcvavoid: i32 = 44,
        /// Whether copies are avoided on send.
        so_sndavoid: i32 = 48,
        /// Bytes to write into each buffer; only some builds send it.
        dirty_count: i32 = 52,
        /// Bytes to read from each buffer; only some builds send it.
        clean_count: i32 = 56,
        /// Port the server shall bind for the data; 0: any.
        port: i32 = 60,
        /// 0 unspecified, 4 IPv4, 6 IPv6, 7 RDS.
        ipfamily: i32 = 64,
    }

    /// Its data socket is ready.
    TcpStreamResponse = "TCP_STREAM_RESPONSE" {
        /// SO_RCVBUF as the server's kernel reports it, in bytes.
        recv_buf_size: i32 = 8,
        /// Bytes a receive of the server; the request's value if it does not receive.
        receive_size: i32 = 12,
        /// Whether TCP_NODELAY is in force.
        no_delay: i32 = 16,
        /// Whether CPU will be measured.
        measure_cpu: i32 = 20,
        /// Not written by netperf's server, or an echo.
        test_length: i32 = 24,
        /// SO_SNDBUF as the server's kernel reports it, in bytes.
        send_buf_size: i32 = 28,
        /// Port the server has bound for the data.
        data_port_number: i32 = 32,
        /// CPU calibration rate; 0 if CPU is not measured.
        cpu_rate: f32 = 36,
        /// Whether copies are avoided on receive.
        so_rcvavoid: i32 = 40,
        /// Whether copies are avoided on send.
        so_sndavoid: i32 = 44,
    }

    /// What it received.
    TcpStreamResults = "TCP_STREAM_RESULTS" {
        /// Bytes the server received; as a word, modulo 2^32.
        bytes_received: f64 = 8,
        /// Receives that returned data, modulo 2^32.
        recv_calls: u32 = 16,
        /// Seconds by the server's clock, grace at the end not counted.
        elapsed_time: f32 = 20,
        /// Percent of all CPUs in use; only written if CPU was to be measured.
        cpu_util: f32 = 24,
        /// Not written by any release; the client computes it.
        serv_dem: f32 = 28,
        /// How CPU was measured: 0 not at all, 8 from /proc/stat.
        cpu_method: i32 = 32,
        /// CPUs of the server.
        num_cpus: i32 = 36,
        /// SO_RCVBUF at the end of the test, in bytes.
        recv_buf_size: i32 = 40,
        /// SO_SNDBUF at the end of the test, in bytes.
        send_buf_size: i32 = 44,
    }

    /// The server shall send a TCP stream.
    TcpMaertsRequest = "TCP_MAERTS_REQUEST" {
        /// SO_SNDBUF wanted at the server, in bytes; negative: leave it alone.
        send_buf_size: i32 = 8,
        /// SO_RCVBUF wanted at the server, in bytes; negative: leave it alone.
        recv_buf_size: i32 = 12,
        /// Bytes a send of the server; -1: its choice.
        send_size: i32 = 16,
        /// Alignment of the server's send buffers, in bytes.
        send_alignment: i32 = 20,
        /// Offset from that alignment, in bytes.
        send_offset: i32 = 24,
        /// Whether TCP_NODELAY is wanted.
        no_delay: i32 = 28,
        /// Whether the server shall measure CPU.
        measure_cpu: i32 = 32,
        /// CPU calibration rate the client knows already; 0: the server shall calibrate.
        cpu_rate: f32 = 36,
        /// Seconds if positive, minus the bytes or transactions if negative, without end if 0.
        test_length: i32 = 40,
        /// Whether copies are avoided on receive.
        so_rcvavoid: i32 = 44,
        /// Whether copies are avoided on send.
        so_sndavoid: i32 = 48,
        /// Bytes to write into each buffer; only some builds send it.
        dirty_count: i32 = 52,
        /// Bytes to read from each buffer; only some builds send it.
        clean_count: i32 = 56,
        /// Port the server shall bind for the data; 0: any.
        port: i32 = 60,
        /// 0 unspecified, 4 IPv4, 6 IPv6, 7 RDS.
        ipfamily: i32 = 64,
    }

    /// Its data socket is ready.
    TcpMaertsResponse = "TCP_MAERTS_RESPONSE" {
        /// SO_RCVBUF as the server's kernel reports it, in bytes.
        recv_buf_size: i32 = 8,
        /// Bytes a send of the server; the request's value if it does not send.
        send_size: i32 = 12,
        /// Whether TCP_NODELAY is in force.
        no_delay: i32 = 16,
        /// Whether CPU will be measured.
        measure_cpu: i32 = 20,
        /// Not written by netperf's server, or an echo.
        test_length: i32 = 24,
        /// SO_SNDBUF as the server's kernel reports it, in bytes.
        send_buf_size: i32 = 28,
        /// Port the server has bound for the data.
        data_port_number: i32 = 32,
        /// CPU calibration rate; 0 if CPU is not measured.
        cpu_rate: f32 = 36,
        /// Whether copies are avoided on receive.
        so_rcvavoid: i32 = 40,
        /// Whether copies are avoided on send.
        so_sndavoid: i32 = 44,
    }

    /// What it sent.
    TcpMaertsResults = "TCP_MAERTS_RESULTS" {
        /// Bytes the server sent.
        bytes_sent: f64 = 8,
        /// Sends that succeeded, modulo 2^32.
        send_calls: u32 = 16,
        /// Seconds by the server's clock, grace at the end not counted.
        elapsed_time: f32 = 20,
        /// Percent of all CPUs in use; only written if CPU was to be measured.
        cpu_util: f32 = 24,
        /// Not written by any release; the client computes it.
        serv_dem: f32 = 28,
        /// How CPU was measured: 0 not at all, 8 from /proc/stat.
        cpu_method: i32 = 32,
        /// CPUs of the server.
        num_cpus: i32 = 36,
    }

    /// The server shall answer requests: TCP_RR, TCP_CRR, TCP_CC and UDP_RR.
    RrRequest = "RR_REQUEST" {
        /// SO_RCVBUF wanted at the server, in bytes; negative: leave it alone.
        recv_buf_size: i32 = 8,
        /// SO_SNDBUF wanted at the server, in bytes; negative: leave it alone.
        send_buf_size: i32 = 12,
        /// Alignment of the server's receive buffers, in bytes.
        recv_alignment: i32 = 16,
        /// Offset from that alignment, in bytes.
        recv_offset: i32 = 20,
        /// Alignment of the server's send buffers, in bytes.
        send_alignment: i32 = 24,
        /// Offset from that alignment, in bytes.
        send_offset: i32 = 28,
        /// Bytes of a request; positive values are also the server's receive size in any test.
        request_size: i32 = 32,
        /// Bytes of a response; positive values are also the server's send size in any test.
        response_size: i32 = 36,
        /// Whether TCP_NODELAY is wanted.
        no_delay: i32 = 40,
        /// Whether the server shall measure CPU.
        measure_cpu: i32 = 44,
        /// CPU calibration rate the client knows already; 0: the server shall calibrate.
        cpu_rate: f32 = 48,
        /// Seconds if positive, minus the bytes or transactions if negative, without end if 0.
        test_length: i32 = 52,
        /// Whether copies are avoided on receive.
        so_rcvavoid: i32 = 56,
        /// Whether copies are avoided on send.
        so_sndavoid: i32 = 60,
        /// Port the server shall bind for the data; 0: any.
        port: i32 = 64,
        /// 0 unspecified, 4 IPv4, 6 IPv6, 7 RDS.
        ipfamily: i32 = 68,
    }

    /// Its data socket is ready.
    RrResponse = "RR_RESPONSE" {
        /// SO_RCVBUF as the server's kernel reports it, in bytes.
        recv_buf_size: i32 = 8,
        /// Whether TCP_NODELAY is in force.
        no_delay: i32 = 12,
        /// Whether CPU will be measured.
        measure_cpu: i32 = 16,
        /// Not written by netperf's server, or an echo.
        test_length: i32 = 20,
        /// SO_SNDBUF as the server's kernel reports it, in bytes.
        send_buf_size: i32 = 24,
        /// Port the server has bound for the data.
        data_port_number: i32 = 28,
        /// CPU calibration rate; 0 if CPU is not measured.
        cpu_rate: f32 = 32,
        /// Whether copies are avoided on receive.
        so_rcvavoid: i32 = 36,
        /// Whether copies are avoided on send.
        so_sndavoid: i32 = 40,
    }

    /// What it answered.
    RrResults = "RR_RESULTS" {
        /// Bytes the server received; as a word, modulo 2^32.
        bytes_received: u32 = 8,
        /// Receives that returned data, modulo 2^32.
        recv_calls: u32 = 12,
        /// Transactions completed, modulo 2^32; 0 in a stream.
        trans_received: u32 = 16,
        /// Seconds by the server's clock, grace at the end not counted.
        elapsed_time: f32 = 20,
        /// Percent of all CPUs in use; only written if CPU was to be measured.
        cpu_util: f32 = 24,
        /// Not written by any release; the client computes it.
        serv_dem: f32 = 28,
        /// How CPU was measured: 0 not at all, 8 from /proc/stat.
        cpu_method: i32 = 32,
        /// CPUs of the server.
        num_cpus: i32 = 36,
    }

    /// The server shall receive datagrams.
    UdpStreamRequest = "UDP_STREAM_REQUEST" {
        /// SO_RCVBUF wanted at the server, in bytes; negative: leave it alone.
        recv_buf_size: i32 = 8,
        /// Bytes a datagram; a shorter one ends the test.
        message_size: i32 = 12,
        /// Whether the server connects its socket to the first sender. Absent before 2.4.3.
        recv_connected: i32 = 16,
        /// Alignment of the server's receive buffers, in bytes.
        recv_alignment: i32 = 20,
        /// Offset from that alignment, in bytes.
        recv_offset: i32 = 24,
        /// Not used.
        checksum_off: i32 = 28,
        /// Whether the server shall measure CPU.
        measure_cpu: i32 = 32,
        /// CPU calibration rate the client knows already; 0: the server shall calibrate.
        cpu_rate: f32 = 36,
        /// Seconds if positive, minus the bytes or transactions if negative, without end if 0.
        test_length: i32 = 40,
        /// Whether copies are avoided on receive.
        so_rcvavoid: i32 = 44,
        /// Whether copies are avoided on send.
        so_sndavoid: i32 = 48,
        /// Port the server shall bind for the data; 0: any.
        port: i32 = 52,
        /// 0 unspecified, 4 IPv4, 6 IPv6, 7 RDS.
        ipfamily: i32 = 56,
    }

    /// Its data socket is ready.
    UdpStreamResponse = "UDP_STREAM_RESPONSE" {
        /// SO_RCVBUF as the server's kernel reports it, in bytes.
        recv_buf_size: i32 = 8,
        /// SO_SNDBUF as the server's kernel reports it, in bytes.
        send_buf_size: i32 = 12,
        /// Whether CPU will be measured.
        measure_cpu: i32 = 16,
        /// Not written by netperf's server, or an echo.
        test_length: i32 = 20,
        /// Port the server has bound for the data.
        data_port_number: i32 = 24,
        /// CPU calibration rate; 0 if CPU is not measured.
        cpu_rate: f32 = 28,
        /// Whether copies are avoided on receive.
        so_rcvavoid: i32 = 32,
        /// Whether copies are avoided on send.
        so_sndavoid: i32 = 36,
    }

    /// What it received.
    UdpStreamResults = "UDP_STREAM_RESULTS" {
        /// Datagrams of full size received, modulo 2^32.
        messages_recvd: u32 = 8,
        /// Bytes the server received; as a word, modulo 2^32.
        bytes_received: u32 = 12,
        /// Seconds by the server's clock, grace at the end not counted.
        elapsed_time: f32 = 16,
        /// Percent of all CPUs in use; only written if CPU was to be measured.
        cpu_util: f32 = 20,
        /// How CPU was measured: 0 not at all, 8 from /proc/stat.
        cpu_method: i32 = 24,
        /// CPUs of the server.
        num_cpus: i32 = 28,
    }
}

/// A classic request, whichever its test. What a test's message lacks is 0, or -1 where that asks for
/// nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassicRequest {
    /// The test.
    pub test: Test,
    /// SO_SNDBUF wanted at the server, in bytes; negative: leave it alone.
    pub send_buf_size: i32,
    /// SO_RCVBUF wanted at the server, in bytes; negative: leave it alone.
    pub recv_buf_size: i32,
    /// Bytes of a send or receive of a stream's server; 0: its choice. Of UDP, the bytes of each datagram.
    pub message_size: i32,
    /// Bytes of a request.
    pub request_size: i32,
    /// Bytes of a response.
    pub response_size: i32,
    /// Whether TCP_NODELAY is wanted.
    pub no_delay: i32,
    /// Whether the server shall measure CPU.
    pub measure_cpu: i32,
    /// CPU calibration rate the client knows already; 0: the server shall calibrate.
    pub cpu_rate: f32,
    /// Seconds; minus the transactions if negative. A TCP stream limited by bytes gives those here
    /// instead, as a positive number too.
    pub test_length: i32,
    /// Whether copies are avoided on receive.
    pub so_rcvavoid: i32,
    /// Whether copies are avoided on send.
    pub so_sndavoid: i32,
    /// Port the server shall bind for the data; 0: any.
    pub port: i32,
    /// 0 unspecified, 4 IPv4, 6 IPv6, 7 RDS.
    pub ipfamily: i32,
}

impl ClassicRequest {
    /// Reads the request by the type in its header; `None` if that is not one of these families.
    pub fn decode(frame: &Frame) -> Option<Self> {
        let transactions = |test| Self::of_transactions(test, &RrRequest::decode(frame));
        match frame.request_type() {
            RequestCode::TcpCc => Some(transactions(Test::TcpCc)),
            RequestCode::TcpCrr => Some(transactions(Test::TcpCrr)),
            RequestCode::TcpMaerts => Some(TcpMaertsRequest::decode(frame).into()),
            RequestCode::TcpRr => Some(transactions(Test::TcpRr)),
            RequestCode::TcpStream => Some(TcpStreamRequest::decode(frame).into()),
            RequestCode::UdpRr => Some(transactions(Test::UdpRr)),
            RequestCode::UdpStream => Some(UdpStreamRequest::of_any_release(frame).into()),
            _ => None,
        }
    }

    fn of_transactions(test: Test, wire: &RrRequest) -> Self {
        Self {
            test,
            send_buf_size: wire.send_buf_size,
            recv_buf_size: wire.recv_buf_size,
            message_size: 0,
            request_size: wire.request_size,
            response_size: wire.response_size,
            no_delay: wire.no_delay,
            measure_cpu: wire.measure_cpu,
            cpu_rate: wire.cpu_rate,
            test_length: wire.test_length,
            so_rcvavoid: wire.so_rcvavoid,
            so_sndavoid: wire.so_sndavoid,
            port: wire.port,
            ipfamily: wire.ipfamily,
        }
    }
}

impl From<TcpMaertsRequest> for ClassicRequest {
    fn from(wire: TcpMaertsRequest) -> Self {
        Self {
            test: Test::TcpMaerts,
            send_buf_size: wire.send_buf_size,
            recv_buf_size: wire.recv_buf_size,
            message_size: wire.send_size,
            request_size: 0,
            response_size: 0,
            no_delay: wire.no_delay,
            measure_cpu: wire.measure_cpu,
            cpu_rate: wire.cpu_rate,
            test_length: wire.test_length,
            so_rcvavoid: wire.so_rcvavoid,
            so_sndavoid: wire.so_sndavoid,
            port: wire.port,
            ipfamily: wire.ipfamily,
        }
    }
}

impl From<TcpStreamRequest> for ClassicRequest {
    fn from(wire: TcpStreamRequest) -> Self {
        Self {
            test: Test::TcpStream,
            send_buf_size: wire.send_buf_size,
            recv_buf_size: wire.recv_buf_size,
            message_size: wire.receive_size,
            request_size: 0,
            response_size: 0,
            no_delay: wire.no_delay,
            measure_cpu: wire.measure_cpu,
            cpu_rate: wire.cpu_rate,
            test_length: wire.test_length,
            so_rcvavoid: wire.so_rcvavoid,
            so_sndavoid: wire.so_sndavoid,
            port: wire.port,
            ipfamily: wire.ipfamily,
        }
    }
}

impl From<UdpStreamRequest> for ClassicRequest {
    fn from(wire: UdpStreamRequest) -> Self {
        Self {
            test: Test::UdpStream,
            send_buf_size: -1,
            recv_buf_size: wire.recv_buf_size,
            message_size: wire.message_size,
            request_size: 0,
            response_size: 0,
            no_delay: 0,
            measure_cpu: wire.measure_cpu,
            cpu_rate: wire.cpu_rate,
            test_length: wire.test_length,
            so_rcvavoid: wire.so_rcvavoid,
            so_sndavoid: wire.so_sndavoid,
            port: wire.port,
            ipfamily: wire.ipfamily,
        }
    }
}

impl UdpStreamRequest {
    /// Reads the request as its release wrote it. Before 2.4.3 there was no `recv_connected`, and everything
    /// behind it sat one word earlier: read by the later layout the address family is then 0, which no client
    /// sends, and the word before it, where later clients have their port, is the family.
    fn of_any_release(frame: &Frame) -> Self {
        let read = Self::decode(frame);
        if read.ipfamily != 0 || !matches!(read.port, 4 | 6) {
            return read;
        }
        let mut moved = frame.clone();
        moved.put::<20, 40>(frame.take::<16, 40>());
        0_i32.write::<16>(&mut moved);
        Self::decode(&moved)
    }
}
