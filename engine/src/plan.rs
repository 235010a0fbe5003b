//! What to run: a checked, immutable description from which every size is derived.
//!
//! Opens nothing and knows nothing of rings; [`crate::prepare`] turns a plan into sockets, threads and
//! memory.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Serialize;

use crate::arena::Span;
use crate::error::Error;

/// Largest message of a stream, in bytes. The arena is sized from it before the clock starts.
pub const MESSAGE_BYTES_MAX: u32 = 16 << 20;

/// Longest time of a plan. The clock can count this far, several times over.
const TIME_MAX: Duration = Duration::from_secs(u32::MAX as u64);

/// Which backend moves the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// io_uring where the kernel grants it and its self-test passes, else epoll; which one is a fact of the
    /// run.
    #[default]
    Auto,
    /// Non-blocking system calls driven by epoll.
    Epoll,
    /// io_uring; an error where it is refused.
    Uring,
}

/// What this end of the stream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read until the peer ends the stream, the count is reached or the time is over.
    Receive,
    /// Write whole messages until the time is over or the count is reached, then end the stream and wait
    /// until the peer has read it all and closed its side.
    Send,
}

/// How the data connection comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Bind here, and connect to the address given to [`crate::Prepared::run`].
    Connect {
        /// Address to bind before connecting; port 0 lets the kernel choose.
        local: SocketAddr,
    },
    /// Listen here and serve the first connection.
    Listen {
        /// Address to bind; port 0 lets the kernel choose. Where it cannot be bound the wildcard address
        /// with a port of the kernel's choice is taken instead, and that is recorded as degraded.
        local: SocketAddr,
        /// Connections from any other address are closed and counted. `None` takes anybody.
        peer: Option<IpAddr>,
    },
}

/// Options of the data socket. `None` leaves the system's default alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// SO_SNDBUF to ask for, in bytes; Linux grants the double within its limits.
    pub send_buffer: Option<u32>,
    /// SO_RCVBUF to ask for, in bytes.
    pub receive_buffer: Option<u32>,
    /// TCP_NODELAY.
    pub no_delay: bool,
    /// SO_KEEPALIVE.
    pub keepalive: bool,
    /// SO_DONTROUTE: reach directly attached networks only.
    pub dont_route: bool,
    /// SO_PRIORITY.
    pub priority: Option<i32>,
    /// IP_TOS or IPV6_TCLASS.
    pub type_of_service: Option<i32>,
    /// TCP_CONGESTION, by the kernel's name of the algorithm.
    pub congestion_control: Option<String>,
}

/// When the run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// After this many payload bytes: a sender rounds up to whole messages, a receiver stops at the first
    /// receive that reaches it.
    Bytes(u64),
    /// Until the peer ends the stream or [`crate::Stop::stop`] is called.
    Endless,
    /// After this long, from the start of [`crate::Prepared::run`].
    Time(Duration),
}

/// Parts of io_uring that a run may be told to do without: to measure what one buys, and to walk the degraded
/// paths on a kernel that has everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// No receive bundles (several buffers in one completion, Linux 6.10).
    pub bundles: bool,
    /// No multishot receive (Linux 6.0).
    pub multishot: bool,
    /// No provided-buffer ring (Linux 5.19); implies no multishot.
    pub buffer_ring: bool,
    /// No DEFER_TASKRUN (Linux 6.1).
    pub deferred_task_run: bool,
    /// No registered files.
    pub registered_files: bool,
    /// No registered buffers.
    pub registered_buffers: bool,
}

/// Everything a [`Plan`] is made from. Start from [`PlanOptions::new`] and change fields.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// This end's part.
    pub role: Role,
    /// How the connection comes about.
    pub endpoint: Endpoint,
    /// Socket options.
    pub socket: SocketOptions,
    /// Bytes of one message: what one send carries. A receiver sizes its buffers after it, within 4 to 64
    /// KiB for the provided buffers of a ring; the stream itself has no message boundaries.
    pub message_bytes: u32,
    /// When it is over.
    pub length: Length,
    /// A receiver's patience past a [`Length::Time`] for the sender to end the stream first. A run that ends
    /// this way says [`crate::End::Timer`]. netperf uses four seconds.
    pub receive_grace: Duration,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a sender waits, after its last byte, for the peer to have read everything and closed.
    pub drain_timeout: Duration,
    /// Which backend.
    pub engine: EngineChoice,
    /// Core to pin the worker to; `None` takes the allowed core with the fewest workers of this process, the
    /// first of them for a sender and the last for a receiver. A core outside the process's affinity mask is
    /// not used, and that is recorded as degraded.
    pub core: Option<usize>,
    /// What to do without.
    pub without: Without,
    /// A receiver compares every byte with what a sender with the same message size sends. For tests: the
    /// result is [`crate::outcome::Tally::wrong_bytes`], and the cost is in the measured path.
    pub check_payload: bool,
}

impl PlanOptions {
    /// The options of a ten-second run with messages of 1 MiB and everything else at its default.
    pub fn new(role: Role, endpoint: Endpoint) -> Self {
        Self {
            role,
            endpoint,
            socket: SocketOptions::default(),
            message_bytes: 1 << 20,
            length: Length::Time(Duration::from_secs(10)),
            receive_grace: Duration::from_secs(4),
            connect_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(20),
            engine: EngineChoice::Auto,
            core: None,
            without: Without::default(),
            check_payload: false,
        }
    }
}

/// A checked [`PlanOptions`], with every size that follows from it.
#[derive(Clone, Debug)]
pub struct Plan {
    options: PlanOptions,
    layout: Layout,
}

/// How the arena is cut, and how much may be under way at once. All of it follows from role and message size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Message slots, one behind the other; a sender goes around them.
    pub(crate) send: Span,
    /// How many there are.
    pub(crate) slots: u32,
    /// Most messages in one chain; 1 where each goes by itself, and 0 at a receiver.
    pub(crate) batch: u32,
    /// Memory to receive into: the provided buffers, or one slot.
    pub(crate) receive: Span,
    /// Bytes of one provided buffer.
    pub(crate) buffer_bytes: u32,
    /// How many there are; a power of two.
    pub(crate) buffers: u16,
    /// Where the ring of provided buffers itself lies, on a page of its own.
    pub(crate) buffer_ring: Span,
    /// Bytes of the whole arena.
    pub(crate) arena_bytes: usize,
}

/// Payload kept ready or under way per direction. Two slots of 1 MiB sent and received fastest of all sizes
/// tried (docs/performance.md), and it is one huge page.
const REGION_BYTES: u32 = 2 << 20;
/// Most sends in one chain, so that chain and cancel fit the submission queue.
const BATCH_MAX: u32 = 64;
/// From this message size on, messages are sent one at a time from registered memory: they are large enough
/// that a chain gains nothing, and a write from registered memory, which may fall short, must not be part of
/// one.
const REGISTERED_MESSAGE_BYTES: u32 = 512 << 10;
/// Bounds of a provided buffer. Below a page the bookkeeping costs more than the copy, above 64 KiB a
/// completion rarely fills it.
const BUFFER_BYTES: std::ops::RangeInclusive<u32> = (4 << 10)..=(64 << 10);
/// Page size the buffer ring is aligned to.
const PAGE_BYTES: u32 = 4096;
/// Bytes of one entry of the kernel's buffer ring (struct io_uring_buf).
const BUFFER_ENTRY_BYTES: u32 = 16;

impl Layout {
    fn new(role: Role, message_bytes: u32) -> Self {
        // A sender receives nothing but the peer's end of stream, for which the least will do.
        let (send_bytes, slots, batch, receive_bytes) = match role {
            Role::Receive => (0, 0, 0, REGION_BYTES.max(message_bytes.next_multiple_of(*BUFFER_BYTES.end()))),
            Role::Send => {
                let slots = (REGION_BYTES / message_bytes).max(2);
                let batch = match message_bytes {
                    REGISTERED_MESSAGE_BYTES.. => 1,
                    _ => (REGION_BYTES / message_bytes).min(BATCH_MAX),
                };
                (slots * message_bytes, slots, batch, 4 * BUFFER_BYTES.start())
            }
        };
        let buffer_bytes = match role {
            Role::Receive => {
                message_bytes.clamp(*BUFFER_BYTES.start(), *BUFFER_BYTES.end()).next_power_of_two()
            }
            Role::Send => *BUFFER_BYTES.start(),
        };
        // The kernel takes a power of two.
        let buffers = (1 << (receive_bytes / buffer_bytes).ilog2()).min(512);
        let send = Span { offset: 0, length: send_bytes };
        let receive = Span { offset: send_bytes.next_multiple_of(PAGE_BYTES), length: receive_bytes };
        let ring_offset = (receive.offset + receive.length).next_multiple_of(PAGE_BYTES);
        let buffer_ring = Span { offset: ring_offset, length: buffers * BUFFER_ENTRY_BYTES };
        Self {
            send,
            slots,
            batch,
            receive,
            buffer_bytes,
            buffers: buffers as u16,
            buffer_ring,
            arena_bytes: (buffer_ring.offset + buffer_ring.length) as usize,
        }
    }

    /// Whether messages go out one at a time from registered memory, where the kernel registers it.
    pub(crate) fn sends_registered(&self) -> bool {
        self.batch == 1
    }

    /// A message slot.
    pub(crate) fn slot(&self, slot: u32, message_bytes: u32) -> Span {
        Span { offset: self.send.offset + slot * message_bytes, length: message_bytes }
    }
}

impl Plan {
    /// Checks the options.
    ///
    /// # Errors
    /// [`Error::Plan`] names the option that is out of range and the range.
    pub fn new(options: PlanOptions) -> Result<Self, Error> {
        if !(1..=MESSAGE_BYTES_MAX).contains(&options.message_bytes) {
            return Err(Error::Plan { option: "message size", range: "1 to 16777216 bytes" });
        }
        if options.length == Length::Bytes(0) {
            return Err(Error::Plan { option: "byte count", range: "at least 1" });
        }
        if options.length == Length::Time(Duration::ZERO) {
            return Err(Error::Plan { option: "test length", range: "above zero" });
        }
        let PlanOptions { receive_grace, connect_timeout, drain_timeout, .. } = options;
        let length = if let Length::Time(length) = options.length { length } else { Duration::ZERO };
        for (option, time) in [
            ("test length", length),
            ("receiver's grace", receive_grace),
            ("connect timeout", connect_timeout),
            ("drain timeout", drain_timeout),
        ] {
            if time > TIME_MAX {
                return Err(Error::Plan { option, range: "at most 4294967295 seconds" });
            }
        }
        let layout = Layout::new(options.role, options.message_bytes);
        Ok(Self { options, layout })
    }

    /// Bytes after which a sender with this message size repeats its payload.
    pub(crate) fn payload_period(&self) -> usize {
        Layout::new(Role::Send, self.options.message_bytes).send.length as usize
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What it was made from.
    pub fn options(&self) -> &PlanOptions {
        &self.options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_arena_never_overlap_and_lie_inside() {
        for role in [Role::Receive, Role::Send] {
            for message in [1, 2, 100, 4096, 65535, 65536, 131_072, 1 << 20, (1 << 20) + 1, MESSAGE_BYTES_MAX]
            {
                let layout = Layout::new(role, message);
                let end = |span: Span| span.offset + span.length;
                assert!(end(layout.send) <= layout.receive.offset, "{role:?} {message}");
                assert!(end(layout.receive) <= layout.buffer_ring.offset, "{role:?} {message}");
                assert!(end(layout.buffer_ring) as usize <= layout.arena_bytes, "{role:?} {message}");
                assert_eq!(layout.buffer_ring.offset % PAGE_BYTES, 0);
                assert!(layout.buffers.is_power_of_two());
                let provided = u32::from(layout.buffers) * layout.buffer_bytes;
                assert!(provided <= layout.receive.length, "{role:?} {message}");
                assert_eq!(layout.send.length, layout.slots * if role == Role::Send { message } else { 0 });
                assert!(role == Role::Receive || layout.batch <= layout.slots && layout.batch >= 1);
            }
        }
    }

    #[test]
    fn options_out_of_range_are_named() {
        let endpoint = Endpoint::Connect { local: "127.0.0.1:0".parse().unwrap() };
        let good = PlanOptions::new(Role::Send, endpoint);
        assert!(Plan::new(good.clone()).is_ok());
        for (bad, name) in [
            (PlanOptions { message_bytes: 0, ..good.clone() }, "message size"),
            (PlanOptions { message_bytes: MESSAGE_BYTES_MAX + 1, ..good.clone() }, "message size"),
            (PlanOptions { length: Length::Bytes(0), ..good.clone() }, "byte count"),
            (PlanOptions { length: Length::Time(Duration::ZERO), ..good.clone() }, "test length"),
            (PlanOptions { length: Length::Time(Duration::MAX), ..good.clone() }, "test length"),
            (PlanOptions { receive_grace: Duration::MAX, ..good.clone() }, "receiver's grace"),
            (PlanOptions { connect_timeout: Duration::MAX, ..good.clone() }, "connect timeout"),
            (PlanOptions { drain_timeout: Duration::MAX, ..good.clone() }, "drain timeout"),
        ] {
            assert!(Plan::new(bad).unwrap_err().to_string().contains(name));
        }
    }
}
