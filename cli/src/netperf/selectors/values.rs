//! Everything about a finished test that a selector can show.
//!
//! A plain record: whoever ran the test fills it, and nothing is computed from it but sums and averages of
//! its counts. What is absent is `None` here and -1 on paper; some of netperf's conventions are values of
//! their own, which the fields name.

use std::time::Duration;

use crate::netperf::confidence::Widths;
use crate::netperf::histogram::Figures;

/// Which way the data of a test goes, as this end sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Connections are opened and closed, and nothing is sent over them.
    Connect,
    /// Requests and responses, each pair over a connection of its own.
    ConnectSendReceive,
    /// To here.
    Receive,
    /// From here.
    #[default]
    Send,
    /// Requests from here, responses to here.
    SendReceive,
}

impl Direction {
    /// netperf's words for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Connect => "Connection",
            Self::ConnectSendReceive => "Connect|Send|Recv",
            Self::Receive => "Receive",
            Self::Send => "Send",
            Self::SendReceive => "Send|Recv",
        }
    }
}

/// One socket buffer over the life of a data connection, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BufferSizes {
    /// What was asked for; `None`: the system's choice.
    pub(crate) requested: Option<u32>,
    /// What the kernel reported before any data.
    pub(crate) initial: u32,
    /// What it reported at the end; `None` where nobody was asked.
    pub(crate) at_end: Option<u32>,
}

/// CPU of one end's machine: shares of all its CPUs, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cpu {
    /// Everything but idle, the mean over the iterations.
    pub(crate) utilisation: f64,
    /// User mode; this and the other classes are of the last iteration.
    pub(crate) user: f64,
    /// In the kernel.
    pub(crate) system: f64,
    /// Waiting for input or output.
    pub(crate) iowait: f64,
    /// In interrupts.
    pub(crate) irq: f64,
    /// In soft interrupts.
    pub(crate) softirq: f64,
    /// netperf's letter for how it was measured: `S` from `/proc/stat`, `U` not at all; `None` where there
    /// is no netserver to have measured.
    pub(crate) method: Option<char>,
    /// Microseconds of CPU time for each KB or transaction, the mean over the iterations; `None` where
    /// nothing was moved.
    pub(crate) service_demand: Option<f64>,
    /// Number of CPUs.
    pub(crate) cpus: u32,
    /// Share of the busiest CPU that was busy.
    pub(crate) peak: f64,
    /// Number of that CPU.
    pub(crate) peak_cpu: i32,
}

impl Cpu {
    /// What netperf shows for its own machine where it did not measure.
    pub(crate) const UNMEASURED_HERE: Self = Self {
        utilisation: -1.0,
        user: 0.0,
        system: 0.0,
        iowait: 0.0,
        irq: 0.0,
        softirq: 0.0,
        method: Some('U'),
        service_demand: None,
        cpus: 0,
        peak: -1.0,
        peak_cpu: -1,
    };

    /// The same for the netserver's, whose busiest CPU comes as zeroes.
    pub(crate) const UNMEASURED_THERE: Self = Self { peak: 0.0, peak_cpu: 0, ..Self::UNMEASURED_HERE };

    /// The same where there is no netserver.
    pub(crate) const WITHOUT_NETSERVER: Self = Self { method: None, ..Self::UNMEASURED_HERE };
}

/// One end of the data connection. Counts and rates are of the last iteration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct End {
    /// Port as written, `0` for any: not the one in use.
    pub(crate) port: String,
    /// Host as written, or the wildcard address.
    pub(crate) host: String,
    /// Address family as asked for, by the system's number; 0 where it was left open.
    pub(crate) family: i32,
    /// SO_SNDBUF.
    pub(crate) send_buffer: BufferSizes,
    /// SO_RCVBUF.
    pub(crate) receive_buffer: BufferSizes,
    /// Bytes of a send. At this end 0 if it sends no stream; `None` if the other end does not send.
    pub(crate) send_bytes: Option<u32>,
    /// Bytes of a receive, likewise.
    pub(crate) receive_bytes: Option<u32>,
    /// CPU of the machine.
    pub(crate) cpu: Cpu,
    /// The CPU that the program was to run on.
    pub(crate) cpu_bind: Option<u32>,
    /// Segments sent again; -1: nothing counts them, -2: there is no netserver to tell.
    pub(crate) retransmits: i64,
    /// Payload sent, in the unit of the rates.
    pub(crate) send_rate: f64,
    /// Payload received, in the unit of the rates.
    pub(crate) receive_rate: f64,
    /// Sends that succeeded.
    pub(crate) sends: u64,
    /// Receives that returned data.
    pub(crate) receives: u64,
    /// Payload bytes sent.
    pub(crate) bytes_sent: u64,
    /// Payload bytes received.
    pub(crate) bytes_received: u64,
    /// Payload bytes that are taken to have arrived where there is no netserver to count them.
    pub(crate) bytes_assumed: u64,
    /// Alignment of the send buffers, in bytes.
    pub(crate) send_alignment: i32,
    /// Alignment of the receive buffers, in bytes.
    pub(crate) receive_alignment: i32,
    /// Offset of the send buffers from that alignment, in bytes.
    pub(crate) send_offset: i32,
    /// Offset of the receive buffers from that alignment, in bytes.
    pub(crate) receive_offset: i32,
    /// Number of send buffers.
    pub(crate) send_width: u32,
    /// Number of receive buffers.
    pub(crate) receive_width: u32,
    /// TCP_NODELAY is set; `None` where there is no netserver to tell.
    pub(crate) no_delay: Option<bool>,
    /// TCP_CORK was asked for.
    pub(crate) cork: bool,
    /// Length of a pacing interval, in microseconds; 0: not paced.
    pub(crate) interval_us: u32,
    /// Sends in such an interval; 0: not paced.
    pub(crate) interval_burst: u32,
    /// SO_PRIORITY in force; -1: not asked for, -2: refused.
    pub(crate) priority: i32,
    /// IP_TOS or traffic class in force; -1: not asked for, -2: refused.
    pub(crate) type_of_service: i32,
    /// Name of the congestion control in force; empty where there is none or nobody asked.
    pub(crate) congestion_control: String,
    /// File that the payload came from; empty for none.
    pub(crate) fill_file: String,
}

impl End {
    /// An end of which nothing was asked and nothing came.
    pub(crate) fn new(cpu: Cpu) -> Self {
        Self {
            port: "0".to_owned(),
            host: String::new(),
            family: 0,
            send_buffer: BufferSizes::default(),
            receive_buffer: BufferSizes::default(),
            send_bytes: None,
            receive_bytes: None,
            cpu,
            cpu_bind: None,
            retransmits: -1,
            send_rate: 0.0,
            receive_rate: 0.0,
            sends: 0,
            receives: 0,
            bytes_sent: 0,
            bytes_received: 0,
            bytes_assumed: 0,
            send_alignment: 8,
            receive_alignment: 8,
            send_offset: 0,
            receive_offset: 0,
            send_width: 0,
            receive_width: 0,
            no_delay: Some(false),
            cork: false,
            interval_us: 0,
            interval_burst: 0,
            priority: -1,
            type_of_service: -1,
            congestion_control: String::new(),
            fill_file: String::new(),
        }
    }

    /// Payload bytes that passed this end.
    pub(super) fn bytes_moved(&self) -> u64 {
        self.bytes_sent.saturating_add(self.bytes_received).saturating_add(self.bytes_assumed)
    }

    /// The mean of its sends, in bytes; 0 where there was none.
    pub(super) fn bytes_per_send(&self) -> f64 {
        self.bytes_sent as f64 / self.sends.max(1) as f64
    }

    /// The mean of its receives, in bytes; 0 where there was none.
    pub(super) fn bytes_per_receive(&self) -> f64 {
        self.bytes_received as f64 / self.receives.max(1) as f64
    }
}

/// How sure the result was to be, and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Confidence {
    /// Level in percent; 0 where none was asked for.
    pub(crate) level_percent: u32,
    /// Width asked for, both halves, in percent of the mean; `None` where none was.
    pub(crate) width_percent: Option<f64>,
    /// Iterations made.
    pub(crate) iterations: u32,
    /// Widths reached; `None` where none was asked for.
    pub(crate) achieved: Option<Widths>,
}

impl Default for Confidence {
    /// One iteration, and nothing asked.
    fn default() -> Self {
        Self { level_percent: 0, width_percent: None, iterations: 1, achieved: None }
    }
}

/// A finished test.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Values {
    /// `Stream` or `Datagram`: what the test's name implies, whatever its options say.
    pub(crate) socket_type: &'static str,
    /// `TCP` or `UDP`: what carried the data.
    pub(crate) protocol: &'static str,
    /// Which way it went.
    pub(crate) direction: Direction,
    /// By the clock of this end, the mean over the iterations.
    pub(crate) elapsed: Duration,
    /// The result, the mean over the iterations.
    pub(crate) throughput: f64,
    /// Its unit, without `/s`.
    pub(crate) throughput_unit: &'static str,
    /// Unit of the service demands.
    pub(crate) demand_unit: &'static str,
    /// Bytes of a request; `None`: there was none, and none was asked for.
    pub(crate) request_bytes: Option<u32>,
    /// Bytes of a response, likewise.
    pub(crate) response_bytes: Option<u32>,
    /// How sure the result is.
    pub(crate) confidence: Confidence,
    /// Transactions a second in the last iteration; netperf shows 1 for a stream.
    pub(crate) transaction_rate: f64,
    /// Microseconds for each transaction, times those in flight; `None` for a stream.
    pub(crate) round_trip_us: Option<f64>,
    /// Requests in flight beside the first.
    pub(crate) burst: u32,
    /// Maximum segment size of our data socket, in bytes; `None` where the transport has none.
    pub(crate) segment_bytes: Option<u32>,
    /// How long operations took; `None`: nobody looked.
    pub(crate) latency: Option<Figures>,
    /// Global option `-B`.
    pub(crate) brand: Option<String>,
    /// What identifies the test.
    pub(crate) uuid: String,
    /// All words of the command line, joined by blanks.
    pub(crate) command_line: String,
    /// netperf's end.
    pub(crate) local: End,
    /// The netserver's.
    pub(crate) remote: End,
}

impl Default for Values {
    /// A TCP stream of nothing.
    fn default() -> Self {
        Self {
            socket_type: "Stream",
            protocol: "TCP",
            direction: Direction::default(),
            elapsed: Duration::ZERO,
            throughput: 0.0,
            throughput_unit: "10^6bits",
            demand_unit: "usec/KB",
            request_bytes: None,
            response_bytes: None,
            confidence: Confidence::default(),
            transaction_rate: 1.0,
            round_trip_us: None,
            burst: 0,
            segment_bytes: None,
            latency: None,
            brand: None,
            uuid: String::new(),
            command_line: String::new(),
            local: End::new(Cpu::UNMEASURED_HERE),
            remote: End::new(Cpu::UNMEASURED_THERE),
        }
    }
}
