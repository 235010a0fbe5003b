//! What a netserver says of a test, as far as it can be believed.
//!
//! netperf's servers send whole words and texts that they did not write for the message at hand. Nothing is
//! read here that is not written by the release at the other end, and no figure leaves this module that is
//! not a finite number.

use alloc::string::String;

use crate::classic::{RrResponse, RrResults, TcpStreamResponse, TcpStreamResults};
use crate::fault::Fault;
use crate::frame::Frame;
use crate::layout::{Text, Wire};
use crate::omni::{OmniResponse, OmniResults, OmniResults260, flag};
use crate::request::TestRequest;

/// The release at the other end, as far as it changes what its frames mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerRelease {
    /// 2.6.0: 22 words of results, which end before the parts of the CPU figure.
    V260,
    /// 2.7.0, later ones, and our own server: 27 words of results.
    V270,
}

/// CPU use of one end over a test, in netperf's terms.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpuReport {
    /// Percent of all CPUs in use. After a test that a timer had to end it may exceed 100.
    pub utilisation: f32,
    /// Percent of all CPUs in user mode. A 2.6.0 server does not say this and the next four: they are then
    /// 0.
    pub user: f32,
    /// Percent of all CPUs in the kernel.
    pub system: f32,
    /// Percent of all CPUs waiting for input or output.
    pub iowait: f32,
    /// Percent of all CPUs in interrupts.
    pub irq: f32,
    /// Percent of all CPUs in soft interrupts.
    pub softirq: f32,
    /// How it was measured; 8: from /proc/stat.
    pub method: u32,
    /// Number of CPUs; 0: not said.
    pub cpus: u32,
    /// The busiest CPU; -1: not said.
    pub peak_cpu: i32,
    /// Percent of that CPU in use.
    pub peak_utilisation: f32,
}

impl CpuReport {
    /// What classic results tell of it.
    fn total(utilisation: f32, method: i32, cpus: i32) -> Self {
        let (method, cpus) = (u32::try_from(method).unwrap_or(0), u32::try_from(cpus).unwrap_or(0));
        Self { utilisation, method, cpus, peak_cpu: -1, ..Self::default() }
    }

    /// The report, if every figure in it is a finite number and the sum is not negative, which it is where
    /// nothing was measured. A part may be: the kernel's counts of waiting run backwards at times. It is
    /// then none.
    fn believable(self) -> Option<Self> {
        let parts = [self.user, self.system, self.iowait, self.irq, self.softirq, self.peak_utilisation];
        // Method 0 is "not measured", and the zeroes beside it are no figures.
        let measured = self.method != 0;
        let sound = parts.iter().all(|part| part.is_finite()) && not_negative(self.utilisation).is_some();
        let sound = sound && measured;
        sound.then(|| Self {
            user: self.user.max(0.0),
            system: self.system.max(0.0),
            iowait: self.iowait.max(0.0),
            irq: self.irq.max(0.0),
            softirq: self.softirq.max(0.0),
            peak_utilisation: self.peak_utilisation.max(0.0),
            ..self
        })
    }
}

/// A netserver is ready for the data connection.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteOffer {
    /// Port to connect or send to. A server that cannot bind the port it was asked for offers another and
    /// does not say so: compare.
    pub port: u16,
    /// Its SO_SNDBUF in bytes, as its kernel reports it.
    pub send_buffer: Option<u32>,
    /// Its SO_RCVBUF in bytes, as its kernel reports it.
    pub receive_buffer: Option<u32>,
    /// Bytes of each of its receives. If it does not receive, this is what it was asked for.
    pub receive_bytes: Option<u32>,
    /// Bytes of each of its sends. If it does not send, this is what it was asked for.
    pub send_bytes: Option<u32>,
    /// Number of its send buffers; 0: not told.
    pub send_width: u32,
    /// Number of its receive buffers; 0: not told.
    pub receive_width: u32,
    /// Whether TCP_NODELAY is set on its socket.
    pub no_delay: bool,
    /// Whether it will report CPU; only if it was asked to.
    pub measures_cpu: bool,
    /// Its CPU calibration rate; 0 if it measures none.
    pub cpu_rate: f32,
    /// SO_PRIORITY in force; `None`: untouched; negative: refused by its kernel.
    pub priority: Option<i32>,
    /// IP_TOS in force; `None`: untouched; negative: refused by its kernel.
    pub type_of_service: Option<i32>,
    /// What it is, told by the texts that only 2.6.0 fills.
    pub release: PeerRelease,
}

impl RemoteOffer {
    /// Reads the response to `test`. `release` is what the connection has shown already: only in its first
    /// omni response are the texts free of left-overs from results.
    pub(crate) fn decode(
        frame: &Frame,
        test: &TestRequest,
        release: Option<PeerRelease>,
    ) -> Result<Self, Fault> {
        let asked = test.measures_cpu();
        let mut offer = match test {
            TestRequest::Classic(classic) if classic.test.has_transactions() => {
                Self::from_transactions(&RrResponse::decode(frame), asked)?
            }
            TestRequest::Classic(_) => Self::from_stream(&TcpStreamResponse::decode(frame), asked)?,
            TestRequest::Omni(_) => Self::from_omni(&OmniResponse::decode(frame), asked)?,
        };
        offer.release = release.unwrap_or(offer.release);
        Ok(offer)
    }

    fn from_omni(response: &OmniResponse, asked: bool) -> Result<Self, Fault> {
        let filled = |text: &[u8]| !text.is_empty();
        let measures_cpu = asked && response.flags & flag::MEASURE_CPU != 0;
        Ok(Self {
            port: data_port(response.data_port)?,
            send_buffer: u32::try_from(response.send_buf_size).ok(),
            receive_buffer: u32::try_from(response.recv_buf_size).ok(),
            receive_bytes: u32::try_from(response.receive_size).ok(),
            send_bytes: u32::try_from(response.send_size).ok(),
            send_width: u32::try_from(response.send_width).unwrap_or(0),
            receive_width: u32::try_from(response.recv_width).unwrap_or(0),
            no_delay: response.flags & flag::NO_DELAY != 0,
            measures_cpu,
            cpu_rate: rate(response.cpu_rate, measures_cpu),
            priority: (response.socket_prio != -1).then_some(response.socket_prio),
            type_of_service: (response.socket_tos != -1).then_some(response.socket_tos),
            release: if filled(response.system_model.content()) || filled(response.cpu_model.content()) {
                PeerRelease::V260
            } else {
                PeerRelease::V270
            },
        })
    }

    fn from_stream(response: &TcpStreamResponse, asked: bool) -> Result<Self, Fault> {
        let measures_cpu = asked && response.measure_cpu != 0;
        Ok(Self {
            port: data_port(u32::try_from(response.data_port_number).unwrap_or(0))?,
            send_buffer: u32::try_from(response.send_buf_size).ok(),
            receive_buffer: u32::try_from(response.recv_buf_size).ok(),
            receive_bytes: u32::try_from(response.receive_size).ok(),
            send_bytes: None,
            send_width: 0,
            receive_width: 0,
            no_delay: response.no_delay != 0,
            measures_cpu,
            cpu_rate: rate(response.cpu_rate, measures_cpu),
            priority: None,
            type_of_service: None,
            release: PeerRelease::V270,
        })
    }

    fn from_transactions(response: &RrResponse, asked: bool) -> Result<Self, Fault> {
        let measures_cpu = asked && response.measure_cpu != 0;
        Ok(Self {
            port: data_port(u32::try_from(response.data_port_number).unwrap_or(0))?,
            send_buffer: u32::try_from(response.send_buf_size).ok(),
            receive_buffer: u32::try_from(response.recv_buf_size).ok(),
            receive_bytes: None,
            send_bytes: None,
            send_width: 0,
            receive_width: 0,
            no_delay: response.no_delay != 0,
            measures_cpu,
            cpu_rate: rate(response.cpu_rate, measures_cpu),
            priority: None,
            type_of_service: None,
            release: PeerRelease::V270,
        })
    }
}

fn data_port(word: u32) -> Result<u16, Fault> {
    let port = u16::try_from(word).ok().filter(|port| *port != 0);
    port.ok_or(Fault::Malformed { what: "a data port that is not one" })
}

fn rate(word: f32, measures_cpu: bool) -> f32 {
    not_negative(word).filter(|_| measures_cpu).unwrap_or(0.0)
}

/// What a netserver counted.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteResults {
    /// Bytes it received.
    pub bytes_received: u64,
    /// Receives that returned data, modulo 2^32; over UDP the datagrams.
    pub receives: u64,
    /// Bytes it sent. A stream's last send is not among them if its timer cut it short, so that the client
    /// may have received more.
    pub bytes_sent: u64,
    /// Sends that succeeded, modulo 2^32.
    pub sends: u64,
    /// Requests it answered, or connections it took, modulo 2^32; a few more than the client completed may be
    /// among them. 0 in a stream.
    pub transactions: u64,
    /// Its SO_SNDBUF at the end, in bytes.
    pub send_buffer: Option<u32>,
    /// Its SO_RCVBUF at the end, in bytes.
    pub receive_buffer: Option<u32>,
    /// Seconds by its clock; `None` if what it sent is not a time.
    pub elapsed_seconds: Option<f32>,
    /// Segments its TCP sent again; `None` if it does not know.
    pub retransmits: Option<i32>,
    /// Congestion control in force at the end; `None` if it was not asked for or not told, and for UDP.
    pub congestion_control: Option<String>,
    /// CPU use, if it was asked for and offered, and every figure is a number.
    pub cpu: Option<CpuReport>,
    /// The layout these were read by.
    pub release: PeerRelease,
}

impl RemoteResults {
    /// Reads the results of `test`; omni results by the layout of the release at the other end.
    pub(crate) fn decode(frame: &Frame, test: &TestRequest, offer: &RemoteOffer) -> Self {
        let mut results = match test {
            TestRequest::Classic(classic) if classic.test.has_transactions() => {
                Self::from_transactions(&RrResults::decode(frame))
            }
            TestRequest::Classic(_) => Self::from_stream(&TcpStreamResults::decode(frame)),
            TestRequest::Omni(omni) => {
                let release = if filler_of_260(frame) { PeerRelease::V260 } else { offer.release };
                let mut results = match release {
                    PeerRelease::V260 => Self::from_260(&OmniResults260::decode(frame)),
                    PeerRelease::V270 => Self::from_270(&OmniResults::decode(frame)),
                };
                let named = !omni.dont_route && !omni.test.over_udp();
                results.congestion_control = results.congestion_control.filter(|_| named);
                results
            }
        };
        results.cpu = results.cpu.filter(|_| offer.measures_cpu);
        results
    }

    fn from_stream(wire: &TcpStreamResults) -> Self {
        let cpu = CpuReport::total(wire.cpu_util, wire.cpu_method, wire.num_cpus);
        Self {
            bytes_received: whole(wire.bytes_received),
            receives: u64::from(wire.recv_calls),
            ..Self::classic(wire.elapsed_time, cpu)
        }
    }

    /// The words for bytes and receives are not read: netperf's server makes the former up from the
    /// sizes, and does not write the latter.
    fn from_transactions(wire: &RrResults) -> Self {
        let cpu = CpuReport::total(wire.cpu_util, wire.cpu_method, wire.num_cpus);
        Self { transactions: u64::from(wire.trans_received), ..Self::classic(wire.elapsed_time, cpu) }
    }

    /// Classic results say less: neither the socket buffers nor anything of the connection.
    fn classic(elapsed_time: f32, cpu: CpuReport) -> Self {
        Self {
            bytes_received: 0,
            receives: 0,
            bytes_sent: 0,
            sends: 0,
            transactions: 0,
            send_buffer: None,
            receive_buffer: None,
            elapsed_seconds: not_negative(elapsed_time),
            retransmits: None,
            congestion_control: None,
            cpu: cpu.believable(),
            release: PeerRelease::V270,
        }
    }

    fn from_270(wire: &OmniResults) -> Self {
        let cpu = CpuReport {
            utilisation: wire.cpu_util,
            user: wire.cpu_percent_user,
            system: wire.cpu_percent_system,
            iowait: wire.cpu_percent_iowait,
            irq: wire.cpu_percent_irq,
            softirq: wire.cpu_percent_swintr,
            method: wire.cpu_method,
            cpus: wire.num_cpus,
            peak_cpu: wire.peak_cpu_id,
            peak_utilisation: wire.peak_cpu_util,
        };
        Self {
            bytes_received: joined(wire.bytes_received_hi, wire.bytes_received_lo),
            receives: u64::from(wire.recv_calls),
            bytes_sent: joined(wire.bytes_sent_hi, wire.bytes_sent_lo),
            sends: u64::from(wire.send_calls),
            transactions: u64::from(wire.trans_received),
            send_buffer: u32::try_from(wire.send_buf_size).ok(),
            receive_buffer: u32::try_from(wire.recv_buf_size).ok(),
            elapsed_seconds: not_negative(wire.elapsed_time),
            retransmits: Some(wire.transport_retrans).filter(|count| *count >= 0),
            congestion_control: wire.cong_control.name().unwrap_or_default(),
            cpu: cpu.believable(),
            release: PeerRelease::V270,
        }
    }

    fn from_260(wire: &OmniResults260) -> Self {
        let cpu = CpuReport {
            utilisation: wire.cpu_util,
            method: wire.cpu_method,
            cpus: wire.num_cpus,
            peak_cpu: wire.peak_cpu_id,
            peak_utilisation: wire.peak_cpu_util,
            ..CpuReport::default()
        };
        Self {
            bytes_received: joined(wire.bytes_received_hi, wire.bytes_received_lo),
            receives: u64::from(wire.recv_calls),
            bytes_sent: joined(wire.bytes_sent_hi, wire.bytes_sent_lo),
            sends: u64::from(wire.send_calls),
            transactions: u64::from(wire.trans_received),
            send_buffer: u32::try_from(wire.send_buf_size).ok(),
            receive_buffer: u32::try_from(wire.recv_buf_size).ok(),
            elapsed_seconds: not_negative(wire.elapsed_time),
            retransmits: Some(wire.transport_retrans).filter(|count| *count >= 0),
            congestion_control: wire.cong_control.name().unwrap_or_default(),
            cpu: cpu.believable(),
            release: PeerRelease::V260,
        }
    }
}

/// What 2.6.0 writes into the texts of its results when the client did not ask for them. 2.7.0 writes
/// nothing there.
const FILLER: &[u8] = b"Bug If Seen";

fn filler_of_260(frame: &Frame) -> bool {
    let at_interface: Text<16> = Text::read::<96>(frame);
    let at_driver: Text<32> = Text::read::<112>(frame);
    at_interface.content().starts_with(FILLER) || at_driver.content().starts_with(FILLER)
}

fn joined(high: u32, low: u32) -> u64 {
    (u64::from(high) << 32) | u64::from(low)
}

/// A count that came as a double: what it is of whole numbers, 0 of what is no count.
fn whole(count: f64) -> u64 {
    // As it stands in memory: a sign, eleven bits of exponent, and a mantissa without its leading one.
    let bits = count.to_bits();
    let exponent = (bits >> 52) & 0x7ff;
    let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
    let negative = bits >> 63 != 0;
    let shifted = match (exponent.checked_sub(1075), 1075_u64.checked_sub(exponent)) {
        (Some(up), _) => {
            u32::try_from(up).ok().filter(|up| *up <= mantissa.leading_zeros()).map(|up| mantissa << up)
        }
        (None, Some(down)) => u32::try_from(down).ok().and_then(|down| mantissa.checked_shr(down)),
        (None, None) => None,
    };
    shifted.filter(|_| !negative).unwrap_or(0)
}

/// A figure that makes no sense below zero, without end, or as no number at all.
fn not_negative(figure: f32) -> Option<f32> {
    (figure.is_finite() && figure >= 0.0).then_some(figure)
}
