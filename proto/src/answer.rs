//! What a server answers about a test: the responses and results of every family it serves.
//!
//! Pure translation: a spec, an offer or results become words at their places. What the numbers mean is said
//! where they are declared, in [`crate::omni`] and [`crate::classic`]; which frame names its type is the
//! machine's business.

use crate::classic::{
    RrResponse, RrResults, TcpMaertsResponse, TcpMaertsResults, TcpStreamResponse, TcpStreamResults,
    UdpStreamResponse, UdpStreamResults,
};
use crate::code::ResponseCode;
use crate::frame::Frame;
use crate::layout::Text;
use crate::omni::{OmniResponse, OmniResults, OmniResults260, flag};
use crate::remote::{CpuReport, PeerRelease};
use crate::server::{Offer, Results};
use crate::spec::{Family, Test, TestSpec};

/// The type of the response to the request for `spec`.
pub(crate) const fn response_code(spec: &TestSpec) -> ResponseCode {
    match spec.family {
        Family::Classic => classic_response_code(spec.test),
        Family::Omni => ResponseCode::OmniResponse,
    }
}

/// The type of the response to the classic request for `test`.
pub(crate) const fn classic_response_code(test: Test) -> ResponseCode {
    match test {
        Test::TcpCc => ResponseCode::TcpCcResponse,
        Test::TcpCrr => ResponseCode::TcpCrrResponse,
        Test::TcpMaerts => ResponseCode::TcpMaertsResponse,
        Test::TcpRr => ResponseCode::TcpRrResponse,
        Test::TcpStream => ResponseCode::TcpStreamResponse,
        Test::UdpRr => ResponseCode::UdpRrResponse,
        // No classic message asks for datagrams to the client.
        Test::UdpMaerts | Test::UdpStream => ResponseCode::UdpStreamResponse,
    }
}

/// Writes the response for `spec` behind the header of `frame`. `own_rate` is the calibration that a client
/// is told who knows none.
pub(crate) fn write_response(spec: &TestSpec, offer: &Offer, own_rate: f32, frame: &mut Frame) {
    let known = spec.echo.cpu_rate;
    let rate = if known > 0.0 { known } else { own_rate };
    let cpu_rate = if spec.measure_cpu { rate } else { 0.0 };
    match (spec.family, spec.test) {
        (Family::Omni, _) => omni_response(spec, offer, cpu_rate).encode(frame),
        (Family::Classic, Test::TcpMaerts) => TcpMaertsResponse {
            recv_buf_size: saturated(offer.receive_buffer),
            send_size: saturated(offer.send_bytes),
            no_delay: i32::from(offer.no_delay),
            measure_cpu: i32::from(spec.measure_cpu),
            send_buf_size: saturated(offer.send_buffer),
            data_port_number: i32::from(offer.port),
            cpu_rate,
            so_rcvavoid: i32::from(spec.echo.avoids_receive_copies),
            so_sndavoid: i32::from(spec.echo.avoids_send_copies),
            ..TcpMaertsResponse::default()
        }
        .encode(frame),
        (Family::Classic, Test::TcpStream) => TcpStreamResponse {
            recv_buf_size: saturated(offer.receive_buffer),
            receive_size: saturated(offer.receive_bytes),
            no_delay: i32::from(offer.no_delay),
            measure_cpu: i32::from(spec.measure_cpu),
            send_buf_size: saturated(offer.send_buffer),
            data_port_number: i32::from(offer.port),
            cpu_rate,
            so_rcvavoid: i32::from(spec.echo.avoids_receive_copies),
            so_sndavoid: i32::from(spec.echo.avoids_send_copies),
            ..TcpStreamResponse::default()
        }
        .encode(frame),
        (Family::Classic, Test::TcpCc | Test::TcpCrr | Test::TcpRr | Test::UdpRr) => RrResponse {
            recv_buf_size: saturated(offer.receive_buffer),
            no_delay: i32::from(offer.no_delay && !spec.test.over_udp()),
            measure_cpu: i32::from(spec.measure_cpu),
            test_length: if spec.test == Test::TcpRr { spec.echo.test_length } else { 0 },
            send_buf_size: saturated(offer.send_buffer),
            data_port_number: i32::from(offer.port),
            cpu_rate,
            so_rcvavoid: i32::from(spec.echo.avoids_receive_copies),
            so_sndavoid: i32::from(spec.echo.avoids_send_copies),
        }
        .encode(frame),
        (Family::Classic, Test::UdpMaerts | Test::UdpStream) => UdpStreamResponse {
            recv_buf_size: saturated(offer.receive_buffer),
            send_buf_size: saturated(offer.send_buffer),
            measure_cpu: i32::from(spec.measure_cpu),
            test_length: spec.echo.test_length,
            data_port_number: i32::from(offer.port),
            cpu_rate,
            so_rcvavoid: i32::from(spec.echo.avoids_receive_copies),
            so_sndavoid: i32::from(spec.echo.avoids_send_copies),
        }
        .encode(frame),
    }
}

/// Writes the results of `spec` behind the header of `frame`, for an omni client of the release `client`.
pub(crate) fn write_results(spec: &TestSpec, results: &Results, client: PeerRelease, frame: &mut Frame) {
    let cpu = results.cpu.clone().filter(|_| spec.measure_cpu);
    match (spec.family, spec.test, client) {
        (Family::Omni, _, PeerRelease::V260) => results_260(spec, results).encode(frame),
        (Family::Omni, _, PeerRelease::V270) => results_270(spec, results).encode(frame),
        (Family::Classic, Test::TcpMaerts, _) => classic_maerts(results, cpu).encode(frame),
        (Family::Classic, Test::TcpStream, _) => classic_stream(results, cpu).encode(frame),
        (Family::Classic, Test::TcpCc | Test::TcpCrr | Test::TcpRr | Test::UdpRr, _) => {
            classic_transactions(spec, results, cpu).encode(frame);
        }
        (Family::Classic, Test::UdpMaerts | Test::UdpStream, _) => classic_udp(results, cpu).encode(frame),
    }
}

fn omni_response(spec: &TestSpec, offer: &Offer, cpu_rate: f32) -> OmniResponse {
    let flags = [(offer.no_delay, flag::NO_DELAY), (spec.measure_cpu, flag::MEASURE_CPU)];
    let (receives, sends) = (spec.test.server_receives(), spec.test.server_sends());
    let receive_width = width(spec.receive_width, offer.receive_buffer, offer.receive_bytes);
    let send_width = width(spec.echo.send_width, offer.send_buffer, offer.send_bytes);
    OmniResponse {
        recv_buf_size: saturated(offer.receive_buffer),
        receive_size: if receives { saturated(offer.receive_bytes) } else { spec.echo.receive_size },
        recv_width: if receives { receive_width } else { saturated(spec.receive_width) },
        send_buf_size: saturated(offer.send_buffer),
        send_size: if sends { saturated(offer.send_bytes) } else { spec.echo.send_size },
        send_width: if sends { send_width } else { saturated(spec.echo.send_width) },
        flags: flags.iter().filter(|(set, _)| *set).fold(0, |flags, (_, bit)| flags | bit),
        cpu_rate,
        so_rcvavoid: u32::from(spec.echo.avoids_receive_copies),
        so_sndavoid: u32::from(spec.echo.avoids_send_copies),
        data_port: u32::from(offer.port),
        interval_burst: spec.pacing.map_or(0, |pacing| pacing.sends),
        interval_usecs: spec.pacing.map_or(0, |pacing| pacing.every_us),
        socket_prio: in_force(spec.priority, offer.priority),
        socket_tos: in_force(spec.type_of_service, offer.type_of_service),
        ..OmniResponse::default()
    }
}

/// The number of message buffers that netperf's server has: as many as it is told, else what fills the socket
/// buffer, and one more. Nothing of ours is as many.
fn width(told: u32, buffer: u32, bytes: u32) -> i32 {
    let chosen = buffer.checked_div(bytes).unwrap_or(0).saturating_add(1);
    saturated(if told > 0 { told } else { chosen })
}

fn results_270(spec: &TestSpec, results: &Results) -> OmniResults {
    let cpu = results.cpu.clone().filter(|_| spec.measure_cpu).unwrap_or_default();
    OmniResults {
        bytes_received_hi: high(results.bytes_received),
        bytes_received_lo: low(results.bytes_received),
        recv_calls: low(results.receives),
        recv_buf_size: saturated(results.receive_buffer),
        bytes_sent_hi: high(results.bytes_sent),
        bytes_sent_lo: low(results.bytes_sent),
        send_calls: low(results.sends),
        send_buf_size: saturated(results.send_buffer),
        trans_received: low(results.transactions),
        elapsed_time: results.elapsed_seconds,
        cpu_util: cpu.utilisation,
        cpu_percent_user: cpu.user,
        cpu_percent_system: cpu.system,
        cpu_percent_iowait: cpu.iowait,
        cpu_percent_irq: cpu.irq,
        cpu_percent_swintr: cpu.softirq,
        cpu_method: cpu.method,
        num_cpus: cpu.cpus,
        peak_cpu_id: cpu.peak_cpu,
        peak_cpu_util: cpu.peak_utilisation,
        transport_retrans: results.retransmits,
        cong_control: congestion_control(spec, results),
        ..OmniResults::default()
    }
}

/// The results for a 2.6.0 client, which would misread those of 2.7.0. Its interface words say that they
/// were not asked for, in the words of 2.6.0, by which this layout can also be told from the other.
fn results_260(spec: &TestSpec, results: &Results) -> OmniResults260 {
    const NOT_ASKED: i32 = -2;
    let wide = results_270(spec, results);
    let measured = wide.cpu_method != 0;
    OmniResults260 {
        bytes_received_hi: wide.bytes_received_hi,
        bytes_received_lo: wide.bytes_received_lo,
        recv_calls: wide.recv_calls,
        recv_buf_size: wide.recv_buf_size,
        bytes_sent_hi: wide.bytes_sent_hi,
        bytes_sent_lo: wide.bytes_sent_lo,
        send_calls: wide.send_calls,
        send_buf_size: wide.send_buf_size,
        trans_received: wide.trans_received,
        elapsed_time: wide.elapsed_time,
        cpu_util: wide.cpu_util,
        cpu_method: wide.cpu_method,
        num_cpus: wide.num_cpus,
        peak_cpu_id: if measured { wide.peak_cpu_id } else { -1 },
        peak_cpu_util: if measured { wide.peak_cpu_util } else { -1.0 },
        vendor: NOT_ASKED,
        device: NOT_ASKED,
        subvendor: NOT_ASKED,
        subdevice: NOT_ASKED,
        transport_retrans: wide.transport_retrans,
        ifname: Text(*b"Bug If Seen IFNA"),
        driver: driver_filler(),
        version: driver_filler(),
        firmware: driver_filler(),
        bus: driver_filler(),
        ifslot: Text(*b"Bug If Seen IFSL"),
        cong_control: wide.cong_control,
        ..OmniResults260::default()
    }
}

fn driver_filler() -> Text<32> {
    Text::new(b"Bug If Seen DRVINFO").unwrap_or_default()
}

// netperf's server does not write the socket buffers at the end of a classic stream, though its layout has
// words for them: they stay 0 here too.

fn classic_stream(results: &Results, cpu: Option<CpuReport>) -> TcpStreamResults {
    let cpu = cpu.unwrap_or_default();
    TcpStreamResults {
        bytes_received: double(results.bytes_received),
        recv_calls: low(results.receives),
        elapsed_time: results.elapsed_seconds,
        cpu_util: cpu.utilisation,
        cpu_method: saturated(cpu.method),
        num_cpus: saturated(cpu.cpus),
        ..TcpStreamResults::default()
    }
}

fn classic_maerts(results: &Results, cpu: Option<CpuReport>) -> TcpMaertsResults {
    let cpu = cpu.unwrap_or_default();
    TcpMaertsResults {
        bytes_sent: double(results.bytes_sent),
        send_calls: low(results.sends),
        elapsed_time: results.elapsed_seconds,
        cpu_util: cpu.utilisation,
        cpu_method: saturated(cpu.method),
        num_cpus: saturated(cpu.cpus),
        ..TcpMaertsResults::default()
    }
}

/// The bytes are made up from the transactions, as netperf's server does it: also where a connection was all
/// there was to one.
fn classic_transactions(spec: &TestSpec, results: &Results, cpu: Option<CpuReport>) -> RrResults {
    let cpu = cpu.unwrap_or_default();
    let each = u64::from(spec.echo.transaction_bytes);
    RrResults {
        bytes_received: low(results.transactions.wrapping_mul(each)),
        trans_received: low(results.transactions),
        elapsed_time: results.elapsed_seconds,
        cpu_util: cpu.utilisation,
        cpu_method: saturated(cpu.method),
        num_cpus: saturated(cpu.cpus),
        ..RrResults::default()
    }
}

/// The one classic message with a figure for CPU that was not measured: -1.
///
/// The bytes are those of the datagrams that count, modulo 2^32. netperf's server adds what its last receive
/// returned, the length of the odd datagram or the -1 of the timer; no client reads the word.
fn classic_udp(results: &Results, cpu: Option<CpuReport>) -> UdpStreamResults {
    UdpStreamResults {
        messages_recvd: low(results.receives),
        bytes_received: low(results.bytes_received),
        elapsed_time: results.elapsed_seconds,
        cpu_util: cpu.as_ref().map_or(-1.0, |cpu| cpu.utilisation),
        cpu_method: saturated(cpu.as_ref().map_or(0, |cpu| cpu.method)),
        num_cpus: saturated(cpu.as_ref().map_or(0, |cpu| cpu.cpus)),
    }
}

fn congestion_control(spec: &TestSpec, results: &Results) -> Text<16> {
    let name = results.congestion_control.as_deref().filter(|_| spec.want_congestion_control);
    Text::new(name.unwrap_or_default().as_bytes()).unwrap_or_default()
}

/// What a response says of a socket option: -1 if it was left alone, -2 if the kernel refused it.
fn in_force(asked: Option<i32>, granted: Option<i32>) -> i32 {
    asked.map_or(-1, |_| granted.unwrap_or(-2))
}

/// The wire has signed words for sizes that are never negative.
pub(crate) fn saturated(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn high(value: u64) -> u32 {
    u32::try_from(value >> 32).unwrap_or(0)
}

fn low(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0)
}

/// A counter as a double, exact up to 2^53 and rounded to the nearest above.
fn double(value: u64) -> f64 {
    f64::from(high(value)) * 4_294_967_296.0 + f64::from(low(value))
}
