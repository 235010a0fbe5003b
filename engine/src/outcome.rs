//! What a run produced: counters, CPU time, and how it ended.

use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cpu::{MachineCpu, ThreadCpu};
use crate::facts::{Facts, SocketBuffers};
use crate::sampler;
use crate::serve::Share;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The count of bytes or transactions was reached.
    Count,
    /// The sender ended the stream, but the peer did not close its side within the drain timeout. Of
    /// transactions over a connection each: none ended for so long.
    DrainTimeout,
    /// The connection failed with this errno.
    Failed(i32),
    /// Nobody connected in time.
    NoConnection,
    /// The peer ended the stream, over UDP by an empty datagram. For a sender: everything was read and the
    /// peer closed after us, or it ended its side before our time was over. Of transactions over a connection
    /// each: at a requester, that one was closed without a whole response; at a responder, that none came for
    /// a while after the time was over.
    PeerClosed,
    /// [`crate::Stop::stop`] was called.
    Stopped,
    /// A receiver's or responder's own time, grace included, was over; for a UDP sender, or a requester over
    /// a connection each, the time to send.
    Timer,
}

impl End {
    /// The one of two flows' ends that says more of the whole run.
    fn graver(self, other: Self) -> Self {
        let rank = |end: &Self| match end {
            Self::PeerClosed => 0,
            Self::Count => 1,
            Self::Timer => 2,
            Self::Stopped => 3,
            Self::DrainTimeout => 4,
            Self::NoConnection => 5,
            Self::Failed(_) => 6,
        };
        std::cmp::max_by_key(other, self, rank)
    }
}

/// Counters over the whole run, connection set-up excluded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Payload bytes the kernel took from us.
    pub bytes_sent: u64,
    /// Payload bytes received.
    pub bytes_received: u64,
    /// Whole messages sent; one cut short by the end of the test is not counted.
    pub messages_sent: u64,
    /// Transactions whose whole response arrived, or was sent at the responder.
    pub transactions: u64,
    /// Completions or calls that returned received data; over UDP, datagrams received.
    pub receives: u64,
    /// Sends that the kernel completed only in part and that were continued.
    pub short_sends: u64,
    /// Datagrams that the kernel refused because a queue on the way to the device was full (ENOBUFS): they
    /// are no messages, and nothing was sent.
    pub failed_sends: u64,
    /// Received bytes that were not what the sender sends, when the plan asked to check.
    pub wrong_bytes: u64,
    /// Connections closed, and datagrams dropped before the first one that counts, because they did not come
    /// from the peer.
    pub strangers: u64,
    /// The backend's own counters.
    pub operations: Operations,
}

impl Tally {
    /// The counts of both.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            bytes_sent: self.bytes_sent + other.bytes_sent,
            bytes_received: self.bytes_received + other.bytes_received,
            messages_sent: self.messages_sent + other.messages_sent,
            transactions: self.transactions + other.transactions,
            receives: self.receives + other.receives,
            short_sends: self.short_sends + other.short_sends,
            failed_sends: self.failed_sends + other.failed_sends,
            wrong_bytes: self.wrong_bytes + other.wrong_bytes,
            strangers: self.strangers + other.strangers,
            operations: self.operations.plus(other.operations),
        }
    }
}

/// Operations counted by the path they took, and what the loop did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Operations {
    /// io_uring sends from plain (unregistered) memory.
    pub sends_plain: u64,
    /// io_uring writes from registered memory.
    pub sends_registered: u64,
    /// io_uring zero-copy sends whose memory the kernel has given back.
    pub zero_copy_sends: u64,
    /// Those of them that it copied all the same.
    pub zero_copy_copied: u64,
    /// send system calls.
    pub sends_syscall: u64,
    /// sendfile system calls.
    pub sends_file: u64,
    /// Receive completions whose data lies in the provided-buffer ring.
    pub receives_buffer_ring: u64,
    /// Receive completions of single io_uring receives into a slot of their own.
    pub receives_single: u64,
    /// recv system calls that returned data.
    pub receives_syscall: u64,
    /// Sends that carried several datagrams (UDP_SEGMENT).
    pub segmented_sends: u64,
    /// Receives that brought several datagrams (UDP_GRO).
    pub coalesced_receives: u64,
    /// Times a receive ended and another was armed: seldom for multishot, each time for single receives.
    pub rearmed: u64,
    /// Times the buffer ring was found empty (ENOBUFS).
    pub no_buffers: u64,
    /// Provided buffers that the kernel went past without saying so: their data lies elsewhere than the
    /// completion says. Always zero unless the kernel has a defect.
    pub skipped_buffers: u64,
    /// Times the worker went to sleep and was woken: io_uring_enter with waiting, or epoll_wait.
    pub wakeups: u64,
    /// Completions, or events for epoll.
    pub completions: u64,
    /// Completions that named an operation which was no longer there. Always zero unless there is a bug.
    pub stale: u64,
    /// Completions the kernel dropped for want of room. Always zero unless there is a bug.
    pub overflows: u64,
}

impl Operations {
    /// The counts of both.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            sends_plain: self.sends_plain + other.sends_plain,
            sends_registered: self.sends_registered + other.sends_registered,
            zero_copy_sends: self.zero_copy_sends + other.zero_copy_sends,
            zero_copy_copied: self.zero_copy_copied + other.zero_copy_copied,
            sends_syscall: self.sends_syscall + other.sends_syscall,
            sends_file: self.sends_file + other.sends_file,
            receives_buffer_ring: self.receives_buffer_ring + other.receives_buffer_ring,
            receives_single: self.receives_single + other.receives_single,
            receives_syscall: self.receives_syscall + other.receives_syscall,
            segmented_sends: self.segmented_sends + other.segmented_sends,
            coalesced_receives: self.coalesced_receives + other.coalesced_receives,
            rearmed: self.rearmed + other.rearmed,
            no_buffers: self.no_buffers + other.no_buffers,
            skipped_buffers: self.skipped_buffers + other.skipped_buffers,
            wakeups: self.wakeups + other.wakeups,
            completions: self.completions + other.completions,
            stale: self.stale + other.stale,
            overflows: self.overflows + other.overflows,
        }
    }
}

/// State of the TCP connection, read just before it was closed (TCP_INFO).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Transport {
    /// Segments retransmitted over the life of the connection.
    pub retransmits: u32,
    /// Smoothed round-trip time in microseconds.
    pub rtt_us: u32,
    /// Maximum segment size for sending, in bytes (TCP_MAXSEG), as netperf reports it.
    pub segment_bytes: u32,
    /// Name of the congestion control in force.
    pub congestion_control: String,
    /// More of it. A serialized outcome leaves it out.
    #[serde(skip)]
    pub info: TransportInfo,
}

/// Figures of TCP_INFO that nothing here is computed from, under the kernel's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransportInfo {
    /// Retransmission timeout in microseconds.
    pub rto: u32,
    /// Timeout of delayed acknowledgements in microseconds.
    pub ato: u32,
    /// Path MTU in bytes.
    pub pmtu: u32,
    /// Limit of the receive window in bytes.
    pub rcv_ssthresh: u32,
    /// Variation of the round-trip time in microseconds.
    pub rttvar: u32,
    /// Slow-start threshold in segments.
    pub snd_ssthresh: u32,
    /// Congestion window in segments.
    pub snd_cwnd: u32,
    /// Segments that may come out of order before one is taken for lost.
    pub reordering: u32,
}

/// What reached a receiver of datagrams and was dropped there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Drops {
    /// What the socket dropped over its life, because its buffer was full or, seldom, because a checksum was
    /// wrong or the sender a stranger. Without UDP_GRO these are datagrams; with it the kernel counts what
    /// one receive would have brought, which may be many of them. Modulo 2^32.
    pub socket: u64,
    /// How much the machine's count of full receive buffers (RcvbufErrors) grew from the time that the socket
    /// was ready until the end, for all UDP sockets of the network namespace together. `None`: not to be
    /// read.
    pub receive_buffer_errors: Option<u64>,
}

/// The low-water mark (SO_RCVLOWAT) over a run: how many bytes had to be there before the receiver was woken.
/// Setting it makes the kernel enlarge a receive buffer whose size was not asked for, and the window with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LowWaterUse {
    /// The highest mark that was in force, in bytes; 1 is none.
    pub mark_bytes: u32,
    /// Times it was changed.
    pub changes: u64,
    /// Times it had to be let go because bytes below it lay unread for too long.
    pub expired: u64,
    /// By how much setting it made the kernel enlarge the receive buffer (SO_RCVBUF), in bytes: at once, and
    /// so beside what the kernel's own tuning did over the run.
    pub enlarged_bytes: u64,
}

impl LowWaterUse {
    /// That of several flows: the highest mark, and all the rest.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            mark_bytes: self.mark_bytes.max(other.mark_bytes),
            changes: self.changes + other.changes,
            expired: self.expired + other.expired,
            enlarged_bytes: self.enlarged_bytes + other.enlarged_bytes,
        }
    }
}

/// How the payload was spread over the flows of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct FlowSpread {
    /// Flows that had a connection.
    pub flows: u32,
    /// Payload bytes of the flow that moved least.
    pub bytes_min: u64,
    /// Payload bytes of the flow that moved most.
    pub bytes_max: u64,
    /// Jain's index of fairness over the flows' bytes: 1 where all moved the same, 1/n where one of n moved
    /// everything; 0 where nothing was moved (Jain, Chiu and Hawe, DEC-TR-301, 1984).
    pub fairness: f64,
}

impl FlowSpread {
    /// Of the bytes of each flow.
    pub(crate) fn of(bytes: &[u64]) -> Self {
        let sum: f64 = bytes.iter().map(|bytes| *bytes as f64).sum();
        let squares: f64 = bytes.iter().map(|bytes| (*bytes as f64).powi(2)).sum();
        Self {
            flows: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            bytes_min: bytes.iter().copied().min().unwrap_or(0),
            bytes_max: bytes.iter().copied().max().unwrap_or(0),
            fairness: if squares > 0.0 { sum * sum / (squares * bytes.len() as f64) } else { 0.0 },
        }
    }
}

/// What one worker of a run used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WorkerUse {
    /// The core it was pinned to.
    pub core: Option<usize>,
    /// CPU time of its thread, between connection and end.
    pub cpu: ThreadCpu,
    /// Payload bytes that it moved, sent and received.
    pub bytes: u64,
}

/// Payload counted up to a point of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// From the start of the run's time.
    pub at: Duration,
    /// Payload bytes that the kernel had taken from us by then; a message that is still being taken is not
    /// among them. But where progress is told, a response over a connection of its own counts whole as soon
    /// as it is begun, and once it is cut off, as far as it went.
    pub bytes_sent: u64,
    /// Payload bytes received by then.
    pub bytes_received: u64,
    /// Transactions completed by then.
    pub transactions: u64,
}

impl Sample {
    /// What flows had counted at a time.
    pub(crate) fn of(at: Duration, tallies: impl Iterator<Item = Tally>) -> Self {
        let mut sample = Self { at, ..Self::default() };
        for tally in tallies {
            sample.bytes_sent += tally.bytes_sent;
            sample.bytes_received += tally.bytes_received;
            sample.transactions += tally.transactions;
        }
        sample
    }
}

/// How long operations took. What one is follows from the role, as netperf has it: at [`Role::Request`] a
/// transaction, from before its request is sent to its whole response, connection and close included where
/// each has its own; at [`Role::Send`] the sending of a message and at [`Role::Receive`] a receive that
/// brings something, which only the classic engine measures: elsewhere many go together, and none has a time
/// of its own. Other than netperf's, the first of these does not include the making of the connection.
///
/// Of several transactions under way the oldest is the one that a response ends. A worker reads the clock
/// once for all that a turn of its loop has brought to their end, just before it sends what follows them; so
/// the time of one is also what the turn took for the others.
///
/// [`Role::Request`]: crate::plan::Role::Request
/// [`Role::Send`]: crate::plan::Role::Send
/// [`Role::Receive`]: crate::plan::Role::Receive
#[derive(Clone, Debug)]
pub struct Latency {
    /// Nanoseconds, to three significant digits.
    pub histogram: Histogram<u64>,
    /// Sum of all of them in nanoseconds, exact.
    pub sum_ns: u128,
    /// Sum of their squares in square microseconds.
    pub sum_squares_us: f64,
    /// The shortest, in nanoseconds, exact.
    pub min_ns: u64,
    /// The longest, in nanoseconds, exact.
    pub max_ns: u64,
}

/// What a run produced.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// From the start of [`crate::Prepared::run`] to the end of the stream, wait for the connection
    /// included; with more than one flow, from the time that all of them were there to the end of the last,
    /// and where messages come out of a file, from the connection on.
    pub elapsed: Duration,
    /// From the start of [`crate::Prepared::run`] until the connections were there; `None`: they never
    /// were. Zero where messages come out of a file.
    pub connected_after: Option<Duration>,
    /// Counters.
    pub tally: Tally,
    /// How evenly the flows had their share.
    pub spread: FlowSpread,
    /// Progress at the plan's intervals; empty where none was asked for.
    pub samples: Vec<Sample>,
    /// The units of work that an interval of [`Every::Work`] was last found to take: the first guess for a
    /// run that is to follow; `None` where progress was not told by the work.
    ///
    /// [`Every::Work`]: crate::plan::Every::Work
    pub progress_units: Option<u64>,
    /// How long operations took; `None` where that was not asked for. In a serialized outcome it is left to
    /// whoever knows which figures of it are wanted.
    #[serde(skip)]
    pub latency: Option<Latency>,
    /// The low-water marks of a TCP receiver; `None` where none was to be set.
    pub low_water: Option<LowWaterUse>,
    /// The longest that a receiver's sleeps were made to last so that a wake-up finds more than one datagram,
    /// or something of several streams; zero where none was.
    pub longest_gather: Duration,
    /// What a receiver of datagrams did not get; `None` where the socket does not tell, and elsewhere.
    pub drops: Option<Drops>,
    /// CPU time of the workers' threads together, between connection and end.
    pub worker_cpu: ThreadCpu,
    /// The same by worker.
    pub workers: Vec<WorkerUse>,
    /// CPU time of the whole machine over `elapsed`.
    pub machine_cpu: MachineCpu,
    /// The TCP connection's own figures; `None` when there was none. Of several: all retransmits, and the
    /// rest of the first; with a connection for each transaction, that of the first alone.
    pub transport: Option<Transport>,
    /// Socket buffers just before the close, of the first flow.
    pub buffers_at_end: SocketBuffers,
    /// Our address of the data connection, of the first one if there are more.
    pub local: SocketAddr,
    /// The peer's address of the data connection.
    pub peer: Option<SocketAddr>,
    /// What qualifies the numbers above.
    pub facts: Facts,
}

impl Outcome {
    /// The time that the workers' cost refers to: that of the connections, their set-up left out.
    pub fn connected_for(&self) -> Duration {
        match self.spread.flows {
            // Their set-up is no part of it.
            2.. => self.elapsed,
            _ => self.elapsed.saturating_sub(self.connected_after.unwrap_or(self.elapsed)),
        }
    }

    /// Puts together what the workers found.
    pub(crate) fn gather(&mut self, shares: Vec<Share>, interval: Option<Duration>) {
        let ends = shares.iter().flat_map(|share| &share.ends).copied();
        self.end = ends.reduce(End::graver).unwrap_or(self.end);
        self.spread =
            FlowSpread::of(&shares.iter().flat_map(|share| &share.flow_bytes).copied().collect::<Vec<_>>());
        for (number, share) in shares.iter().enumerate() {
            // The window is that of the flow that ended last.
            if share.elapsed >= self.elapsed {
                (self.elapsed, self.machine_cpu) = (share.elapsed, share.machine_cpu.clone());
            }
            self.tally = self.tally.plus(share.tally);
            self.worker_cpu = self.worker_cpu.plus(share.cpu);
            self.workers.push(WorkerUse {
                core: share.core.pinned,
                cpu: share.cpu,
                bytes: share.tally.bytes_sent + share.tally.bytes_received,
            });
            self.progress_units = self.progress_units.or(share.progress_units);
            match (&mut self.latency, &share.latency) {
                (Some(all), Some(one)) => all.add(one),
                (all, one) => *all = all.take().or_else(|| one.clone()),
            }
            self.longest_gather = self.longest_gather.max(share.longest_gather);
            self.drops = self.drops.or(share.drops);
            self.low_water = match (self.low_water, share.low_water) {
                (Some(all), Some(one)) => Some(all.plus(one)),
                (all, one) => all.or(one),
            };
            self.transport = match (self.transport.take(), &share.transport) {
                (Some(all), Some(one)) => {
                    Some(Transport { retransmits: all.retransmits + one.retransmits, ..all })
                }
                (all, one) => all.or_else(|| one.clone()),
            };
            if let Some(core) = self.facts.cores.get_mut(number) {
                core.clone_from(&share.core);
            }
            self.facts.degraded.extend_from_slice(&share.degraded);
        }
        if let Some(first) = shares.first() {
            self.buffers_at_end = first.buffers_at_end;
            self.local = first.local.unwrap_or(self.local);
            self.peer = first.peer;
        }
        if let Some(interval) = interval {
            let rows = shares.into_iter().map(|share| share.samples).collect();
            self.samples = sampler::merge(rows, interval);
        }
    }

    /// What there is to say of a run before its first byte.
    pub(crate) fn never_ran(local: SocketAddr, facts: Facts) -> Self {
        Self {
            end: End::Stopped,
            elapsed: Duration::ZERO,
            connected_after: None,
            tally: Tally::default(),
            spread: FlowSpread::default(),
            samples: Vec::new(),
            progress_units: None,
            latency: None,
            low_water: None,
            longest_gather: Duration::ZERO,
            drops: None,
            worker_cpu: ThreadCpu::default(),
            workers: Vec::new(),
            machine_cpu: MachineCpu::default(),
            transport: None,
            buffers_at_end: facts.buffers_granted,
            local,
            peer: None,
            facts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_is_one_where_all_flows_move_the_same() {
        let fairness = |bytes: &[u64]| (FlowSpread::of(bytes).fairness * 1e6).round();
        assert_eq!(fairness(&[]), 0.0);
        assert_eq!(fairness(&[0, 0]), 0.0);
        assert_eq!(fairness(&[5]), 1e6);
        assert_eq!(fairness(&[u64::MAX; 1000]), 1e6);
        assert_eq!(fairness(&[7, 0, 0, 0]), 250_000.0);
        assert_eq!(fairness(&[1, 2, 3]), 857_143.0);
        let spread = FlowSpread::of(&[3, 1, 2]);
        assert_eq!((spread.flows, spread.bytes_min, spread.bytes_max), (3, 1, 3));
    }

    #[test]
    fn the_gravest_end_is_that_of_the_run() {
        assert_eq!(End::PeerClosed.graver(End::Count), End::Count);
        assert_eq!(End::Failed(104).graver(End::Timer), End::Failed(104));
        assert_eq!(End::Timer.graver(End::Failed(104)), End::Failed(104));
        assert_eq!(End::DrainTimeout.graver(End::Stopped), End::DrainTimeout);
        assert_eq!(End::Failed(104).graver(End::Failed(32)), End::Failed(104));
    }
}
