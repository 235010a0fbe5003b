//! The versioned result of one run: what was asked, what came of it, and the facts that qualify it.
//!
//! Plain data and the arithmetic between its numbers. It is all that a renderer sees; it opens nothing. What
//! an engine's outcome and a netserver's results amount to is worked out in [`mod@build`], what has to be
//! said about it in [`rules`].
//!
//! Every number is finite: a ratio whose divisor is zero is absent, not infinite.

pub(crate) mod ablation;
mod build;
pub(crate) mod rate_search;
mod rules;
mod transactions;
mod warning;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringperf_engine::Facts;
use ringperf_engine::outcome::{FlowSpread, Sample};
use ringperf_proto::native::VERSION_OF_WISHES;
use serde::Serialize;

use crate::error::FailureJson;
pub(crate) use build::{Contact, Measured, build, test_name};
pub(crate) use transactions::{AskedTransaction, LatencyFigures, Transactions};
pub(crate) use warning::{Note, Warning};

/// Version of the JSON shape. It grows when a field changes its meaning or goes; new fields do not change it.
///
/// 2: either end may be this one, so that what was told of sender and receiver by their place is told of the
/// local and the remote end, and what was asked for is told of each end.
///
/// 3: an end may have several workers, so that cores are lists where they are asked for and among the facts.
/// What a worker does not count is null and not 0.
pub(crate) const RECORD_VERSION: u32 = 3;

/// Share of its core above which a worker is called the limit of the result, in percent.
pub(crate) const CORE_BUSY_PERCENT: f64 = 95.0;

/// A run that has a result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Record {
    /// [`RECORD_VERSION`].
    pub(crate) record: u32,
    /// What made it.
    pub(crate) tool: Tool,
    /// The command line, program name included.
    pub(crate) command: Vec<String>,
    /// When, and for how long.
    pub(crate) time: Times,
    /// Name of the test.
    pub(crate) test: &'static str,
    /// Which end of the data connection this process was; the netserver was the other one.
    pub(crate) local: End,
    /// The other end.
    pub(crate) target: Target,
    /// What was asked for.
    pub(crate) asked: Asked,
    /// What was measured.
    pub(crate) result: StreamResult,
    /// The sending end; of transactions, the one that requests.
    pub(crate) sender: Side,
    /// The receiving end; of transactions, the one that responds.
    pub(crate) receiver: Side,
    /// Facts behind the numbers of this end.
    pub(crate) local_facts: Facts,
    /// Facts behind those of the netserver; only a ringperf netserver tells them.
    pub(crate) remote_facts: Option<RemoteFacts>,
    /// What the reader of the numbers has to know.
    pub(crate) warnings: Vec<Note>,
    /// Name of the signal that ended the test early.
    pub(crate) interrupted: Option<&'static str>,
}

/// An end of the data connection, by its part in the test. Whoever requests counts as the sender, and whoever
/// responds as the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum End {
    /// Takes the payload.
    Receiver,
    /// Sends it.
    Sender,
}

impl End {
    /// The one at the other side.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Receiver => Self::Sender,
            Self::Sender => Self::Receiver,
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Receiver => "receiver",
            Self::Sender => "sender",
        })
    }
}

/// The program that made a record.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Tool {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its version.
    pub(crate) version: &'static str,
}

impl Tool {
    /// This program.
    pub(crate) fn this() -> Self {
        Self { name: "ringperf", version: env!("CARGO_PKG_VERSION") }
    }
}

/// When a run was, and for how long.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Times {
    /// Wall clock at the start of the data transfer: UTC, RFC 3339.
    pub(crate) started: String,
    /// By this end's monotonic clock, from just before the data connection was made: a TCP sender's runs
    /// until the netserver had closed the connection, a UDP sender's until its last datagram, a
    /// receiver's until the end of the stream or of the time asked for.
    pub(crate) elapsed_ns: u64,
    /// The part of it until the data connection was there.
    pub(crate) connected_after_ns: Option<u64>,
    /// The whole command up to its result, control connection included.
    pub(crate) command_ns: u64,
}

/// The other end.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Target {
    /// As the user named it; absent when the netserver was our own.
    pub(crate) host: Option<String>,
    /// A netserver process of our own, on this machine.
    pub(crate) embedded: bool,
    /// Address of the control connection.
    pub(crate) control: SocketAddr,
    /// Our address of the data connection.
    pub(crate) data_local: SocketAddr,
    /// Its address of the data connection.
    pub(crate) data_peer: Option<SocketAddr>,
    /// What answers there.
    pub(crate) netserver: Netserver,
}

/// What answers on the control port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Netserver {
    /// netperf's, which tells only what netperf's results frame has room for.
    Netperf,
    /// ringperf's.
    Ringperf {
        /// Version of the extension it speaks.
        version: u32,
    },
    /// Not asked: the drop-in says nothing on the control connection that netperf does not say.
    Unknown,
}

impl Netserver {
    /// Whether it can be asked for what netperf's request cannot say.
    pub(crate) fn takes_wishes(self) -> bool {
        matches!(self, Self::Ringperf { version } if version >= VERSION_OF_WISHES)
    }
}

/// What was asked for. `None` left the default alone.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Asked {
    /// Length of the test in seconds. A test with neither seconds nor bytes runs until a signal.
    pub(crate) seconds: Option<u32>,
    /// Length of the test in bytes, before it was rounded up to whole messages.
    pub(crate) bytes: Option<u64>,
    /// Length of the test in transactions.
    pub(crate) transactions: Option<u64>,
    /// What a transaction is; only of a test that consists of them.
    pub(crate) transaction: Option<AskedTransaction>,
    /// Of the sending end.
    pub(crate) sender: AskedEnd,
    /// Of the receiving end.
    pub(crate) receiver: AskedEnd,
    /// Data connections at the same time.
    pub(crate) flows: u32,
    /// Length of the intervals whose bytes are told, in nanoseconds.
    pub(crate) interval_ns: Option<u64>,
    /// Backend of our workers.
    pub(crate) engine: &'static str,
    /// What our worker was told to do without, and that of a netserver of our own; by the words of
    /// `--without`.
    pub(crate) without: Vec<&'static str>,
    /// Payload bits a second that the sender was to keep to; `None`: as fast as it goes.
    pub(crate) rate_bits_per_second: Option<u64>,
    /// How messages go out, by the word of `--send`; `None` left that to the engine.
    pub(crate) send: Option<&'static str>,
    /// The sender was to hand many datagrams to the kernel as one (UDP_SEGMENT).
    pub(crate) gso: bool,
    /// The receiver was to take many datagrams as one (UDP_GRO).
    pub(crate) gro: bool,
}

impl Asked {
    /// What was asked of one end.
    pub(crate) fn of(&self, end: End) -> &AskedEnd {
        match end {
            End::Receiver => &self.receiver,
            End::Sender => &self.sender,
        }
    }
}

/// What was asked of one end. `None` left the default alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct AskedEnd {
    /// Bytes of one send of the sender, or of one receive of the receiver.
    pub(crate) message_bytes: Option<u32>,
    /// SO_SNDBUF in bytes.
    pub(crate) send_buffer: Option<u32>,
    /// SO_RCVBUF in bytes.
    pub(crate) receive_buffer: Option<u32>,
    /// Port of its data socket.
    pub(crate) data_port: Option<u16>,
    /// Cores of its workers; empty where none were asked for.
    pub(crate) cores: Vec<usize>,
}

impl AskedEnd {
    /// The socket buffer that its payload passes.
    pub(crate) fn socket_buffer(&self, end: End) -> Option<u32> {
        match end {
            End::Receiver => self.receive_buffer,
            End::Sender => self.send_buffer,
        }
    }
}

/// What was measured. A message of UDP is a datagram.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StreamResult {
    /// Bytes the receiver counted, in bits, over this end's elapsed time. Bits a second.
    pub(crate) goodput_bits_per_second: f64,
    /// Bytes the sender counted, in bits, over the sender's own elapsed time, which may be longer than ours.
    /// Bits a second.
    pub(crate) sent_bits_per_second: Option<f64>,
    /// Bytes the receiver counted.
    pub(crate) bytes_received: u64,
    /// Bytes the sender's kernel took. A netserver that sends leaves out the message that the end of the
    /// test cut short.
    pub(crate) bytes_sent: u64,
    /// Whole messages sent.
    pub(crate) messages_sent: u64,
    /// Receive calls or completions that returned data, of a TCP stream that a netserver receives modulo
    /// 2^32; over UDP, datagrams received.
    pub(crate) receives: u64,
    /// Sends that were completed in part and continued, where the sender is this end.
    pub(crate) short_sends: u64,
    /// Datagrams that the sender's kernel had no room for; they count neither as sent nor as lost.
    pub(crate) failed_sends: u64,
    /// Share of the datagrams sent that the receiver did not count, 0 to 1; UDP only.
    pub(crate) loss: Option<f64>,
    /// Datagrams that the receiver's socket dropped, nearly all because its buffer was full; those that mark
    /// the end may be among them. Of a receiver that takes many as one, what it would have taken at once
    /// counts once. Absent where the receiver does not tell.
    pub(crate) lost_in_socket: Option<u64>,
    /// How much the count of full receive buffers at the receiver's machine grew meanwhile, for all UDP
    /// sockets there together (RcvbufErrors).
    pub(crate) receive_buffer_errors: Option<u64>,
    /// Datagrams lost that the receiver's socket did not drop. Absent where that is not known.
    pub(crate) unexplained: Option<u64>,
    /// Sends that carried several datagrams (UDP_SEGMENT), where the sender is this end or tells.
    pub(crate) segmented_sends: u64,
    /// Receives that brought several datagrams (UDP_GRO), where the receiver is this end or tells.
    pub(crate) coalesced_receives: u64,
    /// What came of transactions; only of a test that consists of them. The bytes of such a test are those of
    /// its requests.
    pub(crate) transactions: Option<Transactions>,
    /// What came of zero-copy sends; only where there were some.
    pub(crate) zero_copy: Option<ZeroCopyUse>,
    /// How the bytes were spread over the flows, as the receiver counted them where it tells, else as the
    /// sender did; only where there was more than one.
    pub(crate) flows: Option<FlowSpread>,
    /// What this end had counted by the end of each interval; empty where that was not asked for.
    pub(crate) samples: Vec<Sample>,
    /// How this end's run ended.
    pub(crate) end: ringperf_engine::End,
    /// The TCP connection's own figures at this end (TCP_INFO).
    pub(crate) transport: Option<ringperf_engine::outcome::Transport>,
    /// Congestion control at the netserver.
    pub(crate) remote_congestion_control: Option<String>,
    /// Segments that the netserver's end retransmitted.
    pub(crate) remote_retransmits: Option<u32>,
}

/// Zero-copy sends of a run, and what the kernel made of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct ZeroCopyUse {
    /// How many there were.
    pub(crate) sends: u64,
    /// Share of them that the kernel copied all the same, as its notifications said, in percent.
    pub(crate) copied_percent: f64,
}

/// Share of copied zero-copy sends above which a run is no zero-copy run, in percent.
pub(crate) const ZERO_COPY_COPIED_PERCENT: f64 = 1.0;

/// One end of the connection.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Side {
    /// Backend in use; absent when a netperf netserver does not tell.
    pub(crate) engine: Option<&'static str>,
    /// Core its worker was pinned to, of several the first one.
    pub(crate) core: Option<usize>,
    /// Each worker was seen on its core at the start and at the end.
    pub(crate) core_verified: bool,
    /// How many workers it had; absent when a netserver does not tell.
    pub(crate) workers: Option<u32>,
    /// Cost of its workers' threads together.
    pub(crate) worker: Option<WorkerCost>,
    /// The whole machine, as netperf computes it.
    pub(crate) machine: Option<MachineCost>,
    /// Bytes of one send of the sender, or of one receive of the receiver, in force.
    pub(crate) message_bytes: Option<u32>,
    /// The socket buffer that matters at this end: SO_SNDBUF of the sender, SO_RCVBUF of the receiver.
    pub(crate) socket_buffer: BufferSizes,
    /// The highest low-water mark (SO_RCVLOWAT) of a TCP receiver, in bytes: so much had to be there before
    /// it was woken. 1 where none was of use; absent where none was to be set. It makes the kernel
    /// enlarge a receive buffer whose size was not asked for.
    pub(crate) low_water_bytes: Option<u32>,
    /// By how many bytes setting it made the kernel enlarge receive buffers at once, beside what its own
    /// tuning did; absent where that is not told.
    pub(crate) low_water_enlarged_bytes: Option<u64>,
    /// Receives that came out of the provided-buffer ring, in percent of all; a receiver's only.
    pub(crate) buffer_ring_percent: Option<f64>,
}

/// CPU cost of the workers of one end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct WorkerCost {
    /// CPU time in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// The part in user mode.
    pub(crate) user_ns: u64,
    /// The part in the kernel.
    pub(crate) system_ns: u64,
    /// CPU time over elapsed time and workers: 100 is a whole core of each.
    pub(crate) core_percent: f64,
    /// CPU nanoseconds per 1024 payload bytes.
    pub(crate) ns_per_kb: Option<f64>,
    /// Times it slept and was woken; `None` for the classic engine, which sleeps in the calls that move the
    /// bytes and does not see it.
    pub(crate) wakeups: Option<u64>,
    /// The same for each second.
    pub(crate) wakeups_per_second: Option<f64>,
    /// Completions, or events for epoll.
    pub(crate) completions: u64,
}

impl WorkerCost {
    /// The cost of workers that moved `bytes` in `elapsed`; `None` when no time passed.
    pub(crate) fn new(cpu: WorkerCpu, workers: u32, bytes: u64, elapsed: Duration) -> Option<Self> {
        let seconds = elapsed.as_secs_f64();
        Some(Self {
            cpu_ns: cpu.total_ns,
            user_ns: cpu.user_ns,
            system_ns: cpu.system_ns,
            core_percent: ratio(cpu.total_ns as f64 / 1e7, seconds * f64::from(workers))?,
            ns_per_kb: ratio(cpu.total_ns as f64, bytes as f64 / 1024.0),
            wakeups: cpu.wakeups,
            wakeups_per_second: cpu.wakeups.and_then(|wakeups| ratio(wakeups as f64, seconds)),
            completions: cpu.completions,
        })
    }

    /// The workers had no core time left.
    pub(crate) fn is_core_bound(&self) -> bool {
        self.core_percent >= CORE_BUSY_PERCENT
    }
}

/// What the workers of one end used, before it is set against bytes and time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkerCpu {
    /// CPU time in nanoseconds.
    pub(crate) total_ns: u64,
    /// The part in user mode.
    pub(crate) user_ns: u64,
    /// The part in the kernel.
    pub(crate) system_ns: u64,
    /// Times it slept and was woken, where that is seen.
    pub(crate) wakeups: Option<u64>,
    /// Completions, or events for epoll.
    pub(crate) completions: u64,
}

/// CPU of a whole machine, as netperf 2.7 computes it from /proc/stat: everything but idle time is busy,
/// guest time counts twice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct MachineCost {
    /// Percent of all CPUs; one busy CPU of four is 25.
    pub(crate) utilisation_percent: f64,
    /// CPUs online; 0 when a netserver does not say.
    pub(crate) cpus: u32,
    /// Service demand: microseconds of CPU time, all CPUs added, per 1024 bytes.
    pub(crate) service_demand_us_per_kb: Option<f64>,
}

impl MachineCost {
    /// netperf's service demand: utilisation x 10 000 x CPUs over the rate in KB/s. Bytes are the client's
    /// own count and elapsed is the client's time, for either end.
    pub(crate) fn new(
        utilisation_percent: f64,
        cpus: u32,
        client_bytes: u64,
        elapsed: Duration,
    ) -> Option<Self> {
        if !utilisation_percent.is_finite() || utilisation_percent < 0.0 {
            return None;
        }
        let kb_per_second = ratio(client_bytes as f64 / 1024.0, elapsed.as_secs_f64());
        let demand = kb_per_second
            .filter(|_| cpus > 0)
            .and_then(|rate| ratio(utilisation_percent * 1e4 * f64::from(cpus), rate));
        Some(Self { utilisation_percent, cpus, service_demand_us_per_kb: demand })
    }
}

/// Sizes of one socket buffer in bytes. Linux reports twice what it was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct BufferSizes {
    /// Asked for; `None` left the system's default and its auto-tuning alone.
    pub(crate) asked: Option<u32>,
    /// What getsockopt reported before any data.
    pub(crate) granted: Option<u32>,
    /// What it reported at the end.
    pub(crate) end: Option<u32>,
}

/// What a ringperf netserver tells about its worker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RemoteFacts {
    /// Flags of io_uring_setup, as the kernel's bit mask; 0 without io_uring.
    pub(crate) setup_bits: u32,
    /// Parts of io_uring in use.
    pub(crate) features: Vec<&'static str>,
    /// Its own elapsed time in nanoseconds.
    pub(crate) elapsed_ns: u64,
    /// Times the buffer ring was found empty.
    pub(crate) no_buffers: u64,
    /// Which memory backs its buffers; absent where its word for it is not known here.
    pub(crate) arena_backing: Option<ringperf_engine::facts::Backing>,
    /// Wishes that it went on without; `netserver -d` logs why.
    pub(crate) degraded: Vec<&'static str>,
}

impl RemoteFacts {
    /// Whether its buffers are registered with its ring; `None` without a ring.
    pub(crate) fn registers_buffers(&self) -> Option<bool> {
        (self.setup_bits != 0).then(|| self.features.contains(&REGISTERED_BUFFERS))
    }
}

/// The name of the backend that blocks in each call.
pub(crate) const CLASSIC: &str = "classic";

/// The name under which [`RemoteFacts::features`] lists registered buffers.
pub(crate) const REGISTERED_BUFFERS: &str = "registered_buffers";

/// A run that has no result, in the same envelope.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FailureRecord {
    /// [`RECORD_VERSION`].
    pub(crate) record: u32,
    /// What made it.
    pub(crate) tool: Tool,
    /// The command line, program name included.
    pub(crate) command: Vec<String>,
    /// Why there is no result.
    pub(crate) error: FailureJson,
}

/// `a / b` where that is a finite number.
pub(crate) fn ratio(a: f64, b: f64) -> Option<f64> {
    let quotient = a / b;
    quotient.is_finite().then_some(quotient)
}

/// Nanoseconds of a duration; 584 years and more count as 584 years.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A point of wall-clock time in UTC, to the millisecond, as RFC 3339 writes it.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{:03}Z",
        second % 60,
        since.subsec_millis()
    )
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_clock_is_written_in_utc() {
        let at = |seconds: u64| rfc3339(UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 7));
        assert_eq!(at(0), "1970-01-01T00:00:00.007Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(4_107_542_399), "2100-02-28T23:59:59.007Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.007Z");
        assert_eq!(at(1_798_761_599), "2026-12-31T23:59:59.007Z");
    }

    #[test]
    fn service_demand_is_netperfs() {
        // Golden 011: 13594.34 x 10^6 bit/s at 93.68 % of two CPUs is printed as 1.129.
        let elapsed = Duration::from_secs(10);
        let bytes = (13_594.34e6 / 8.0 * 10.0) as u64;
        let cost = MachineCost::new(93.68, 2, bytes, elapsed).expect("figures are finite");
        let demand = cost.service_demand_us_per_kb.expect("bytes were sent");
        assert_eq!(format!("{demand:.3}"), "1.129");
    }

    #[test]
    fn numbers_that_are_not_finite_are_absent() {
        assert_eq!(ratio(1.0, 0.0), None);
        assert_eq!(ratio(0.0, 0.0), None);
        assert_eq!(MachineCost::new(f64::NAN, 2, 1, Duration::from_secs(1)), None);
        assert_eq!(MachineCost::new(-1.0, 2, 1, Duration::from_secs(1)), None);
        assert_eq!(WorkerCost::new(WorkerCpu::default(), 1, 1, Duration::ZERO), None);
        let idle = MachineCost::new(50.0, 2, 0, Duration::from_secs(1)).expect("utilisation is finite");
        assert_eq!(idle.service_demand_us_per_kb, None);
    }

    #[test]
    fn cost_is_set_against_bytes_and_time() {
        let cpu = WorkerCpu { total_ns: 960_000_000, wakeups: Some(50), ..WorkerCpu::default() };
        let of = |workers| WorkerCost::new(cpu, workers, 1024 * 1_000_000, Duration::from_secs(1));
        assert_eq!(of(2).map(|cost| cost.core_percent), Some(48.0));
        let cost = of(1).expect("time passed");
        assert_eq!(cost.core_percent, 96.0);
        assert_eq!(cost.ns_per_kb, Some(960.0));
        assert_eq!(cost.wakeups_per_second, Some(50.0));
        assert!(cost.is_core_bound());
    }
}
