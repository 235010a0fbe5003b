//! What a run produced: counters, CPU time, and how it ended.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use crate::cpu::{MachineCpu, ThreadCpu};
use crate::facts::{Facts, SocketBuffers};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The byte count was reached.
    Count,
    /// The sender ended the stream, but the peer did not close its side within the drain timeout.
    DrainTimeout,
    /// The connection failed with this errno.
    Failed(i32),
    /// Nobody connected in time.
    NoConnection,
    /// The peer ended the stream, over UDP by an empty datagram. For a sender: everything was read and the
    /// peer closed after us, or it ended its side before our time was over.
    PeerClosed,
    /// [`crate::Stop::stop`] was called.
    Stopped,
    /// A receiver's own time, grace included, was over; for a UDP sender, the time to send.
    Timer,
}

/// Counters of one worker over the whole run, connection set-up excluded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Payload bytes the kernel took from us.
    pub bytes_sent: u64,
    /// Payload bytes received.
    pub bytes_received: u64,
    /// Whole messages sent; one cut short by the end of the test is not counted.
    pub messages_sent: u64,
    /// Completions or calls that returned received data.
    pub receives: u64,
    /// Sends that the kernel completed only in part and that were continued.
    pub short_sends: u64,
    /// UDP sends that the kernel refused because a queue on the way to the device was full (ENOBUFS): they
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

/// Operations counted by the path they took, and what the loop did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Operations {
    /// io_uring sends from plain (unregistered) memory.
    pub sends_plain: u64,
    /// io_uring writes from registered memory.
    pub sends_registered: u64,
    /// send system calls.
    pub sends_syscall: u64,
    /// Receive completions whose data lies in the provided-buffer ring.
    pub receives_buffer_ring: u64,
    /// Receive completions of single io_uring receives into a slot of their own.
    pub receives_single: u64,
    /// recv system calls that returned data.
    pub receives_syscall: u64,
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
}

/// What a run produced.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// From the start of [`crate::Prepared::run`] to the end of the stream, wait for the connection
    /// included.
    pub elapsed: Duration,
    /// From the start of [`crate::Prepared::run`] until the connection was there; `None` if it never was.
    pub connected_after: Option<Duration>,
    /// Counters.
    pub tally: Tally,
    /// The low-water mark of a TCP receiver; `None` where none was to be set.
    pub low_water: Option<LowWaterUse>,
    /// CPU time of the worker's thread, between connection and end.
    pub worker_cpu: ThreadCpu,
    /// CPU time of the whole machine over `elapsed`.
    pub machine_cpu: MachineCpu,
    /// The TCP connection's own figures; `None` when there was none.
    pub transport: Option<Transport>,
    /// Socket buffers just before the close.
    pub buffers_at_end: SocketBuffers,
    /// Our address of the data connection.
    pub local: SocketAddr,
    /// The peer's address of the data connection.
    pub peer: Option<SocketAddr>,
    /// What qualifies the numbers above.
    pub facts: Facts,
}

impl Outcome {
    /// What there is to say of a run before its first byte.
    pub(crate) fn never_ran(local: SocketAddr, facts: Facts) -> Self {
        Self {
            end: End::Stopped,
            elapsed: Duration::ZERO,
            connected_after: None,
            low_water: None,
            tally: Tally::default(),
            worker_cpu: ThreadCpu::default(),
            machine_cpu: MachineCpu::default(),
            transport: None,
            buffers_at_end: facts.buffers_granted,
            local,
            peer: None,
            facts,
        }
    }
}
