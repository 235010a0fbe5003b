//! How a worker's memory is cut, and how much may be under way at once: every size that follows from a plan.
//!
//! Pure arithmetic; the memory itself is the arena's.

mod each;

use crate::arena::Span;
use crate::plan::{DATAGRAM_BYTES_MAX, EngineChoice, PlanOptions, Protocol, Role, SendPath};

/// How the arena is cut, and how much may be under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Most flows of a worker. All of them share the memory: what is sent is only read, and what is received
    /// is given back at once.
    pub(crate) flows: u32,
    /// Message slots, one behind the other; a sender goes around them.
    pub(crate) send: Span,
    /// How many there are; of messages out of a file, how many it holds.
    pub(crate) slots: u32,
    /// Messages come out of the plan's file, and [`Self::send`] is empty.
    pub(crate) from_file: bool,
    /// Most sends of a flow under way together; 0 at a receiver.
    pub(crate) batch: u32,
    /// How messages of this size go out if everything is granted, never [`SendPath::Auto`].
    pub(crate) send_path: SendPath,
    /// Most datagrams that one send carries, for which their slots have to lie side by side; the number of
    /// slots is a multiple of it. 1 for all but datagrams that the kernel takes apart.
    pub(crate) per_send: u32,
    /// Memory to receive into: the provided buffers, or what a single receive may fill.
    pub(crate) receive: Span,
    /// The part of it that a single receive may fill.
    pub(crate) single: Span,
    /// Bytes of one provided buffer.
    pub(crate) buffer_bytes: u32,
    /// How many there are; a power of two.
    pub(crate) buffers: u16,
    /// Where the ring of provided buffers itself lies, on a page of its own.
    pub(crate) buffer_ring: Span,
    /// Room for the address of a socket that sends by address.
    pub(crate) address: Span,
    /// Bytes of the whole arena.
    pub(crate) arena_bytes: usize,
}

/// Payload kept ready or under way per direction: two slots of 1 MiB. Larger ones bought nothing
/// (docs/decisions/0011-streams-go-out-in-chains.md), and it is one huge page.
const REGION_BYTES: u32 = 2 << 20;
/// From so many flows on, there is more memory to receive into: many of them have something at once.
const MANY_FLOWS: u32 = 16;
/// How much more. So it is for datagrams that come together, each of whose receives has the largest buffer.
const MANY_FLOWS_REGIONS: u32 = 4;
/// Most datagrams of one send (UDP_MAX_SEGMENTS before Linux 6.9, which doubled it).
const SEGMENTS_MAX: u32 = 64;
/// Most sends of a flow together, so that chain and cancel fit the submission queue.
const BATCH_MAX: u32 = 64;
/// Most sends of all flows together, as far as each has one: more of them wait in the kernel for nothing.
const SENDS_MAX: u32 = 1024;
/// Bounds of a provided buffer. Below a page the bookkeeping costs more than the copy, above 64 KiB a
/// completion rarely fills it.
const BUFFER_BYTES: std::ops::RangeInclusive<u32> = (4 << 10)..=(64 << 10);
/// Requests or responses that may come together: of a peer that has so many under way, one buffer takes them.
const TOGETHER: u32 = 16;
/// Most message slots of transactions: enough for what may go in one send, without walking through megabytes
/// a few bytes at a time.
const TRANSACTION_SLOTS_MAX: u32 = 4096;
/// Most provided buffers.
const BUFFERS_MAX: u32 = 512;
/// Smallest provided buffer for them: small ones stay in the processor's cache, of which each message takes
/// another one.
const TRANSACTION_BUFFER_BYTES: u32 = 256;
/// Most bytes of a batch whose progress is read off at intervals: what a chain has sent is known when it is
/// through.
const READ_OFF_BYTES: u32 = 256 << 10;
/// Page size the buffer ring is aligned to.
const PAGE_BYTES: u32 = 4096;
/// Largest datagram there is, rounded up: no receive of one fills more.
const DATAGRAM_BUFFER_BYTES: u32 = 64 << 10;
/// Bytes of the largest socket address (struct sockaddr_storage).
const ADDRESS_BYTES: u32 = 128;
/// Bytes of one entry of the kernel's buffer ring (struct io_uring_buf).
const BUFFER_ENTRY_BYTES: u32 = 16;

impl Layout {
    pub(crate) fn new(options: &PlanOptions) -> Self {
        if options.connects_each() {
            return Self::each(options);
        }
        let PlanOptions { role, protocol, engine, message_bytes, .. } = *options;
        let (sent_bytes, received_bytes) = options.message_sizes();
        let flows = options.flows.div_ceil(options.worker_count());
        let many = flows >= MANY_FLOWS || options.gro;
        let region = if many { MANY_FLOWS_REGIONS * REGION_BYTES } else { REGION_BYTES };
        let per_send = datagrams_per_send(options);
        let buffer_bytes = provided_buffer_bytes(options);
        // A sender receives nothing but the peer's end of stream, for which the least will do.
        let (send_bytes, slots, batch, receive_bytes) = match (role, protocol) {
            (Role::Receive, Protocol::Udp) => (0, 0, 0, region),
            (Role::Receive, Protocol::Tcp) => {
                (0, 0, 0, region.max(message_bytes.next_multiple_of(*BUFFER_BYTES.end())))
            }
            (Role::Request | Role::Respond, _) => {
                let slots = (REGION_BYTES / sent_bytes).clamp(2, TRANSACTION_SLOTS_MAX);
                // Those of a stream go as one.
                let batch = if protocol == Protocol::Udp { slots.min(BATCH_MAX) } else { 1 };
                // A call takes one message, so that memory for more would lie idle in every thread.
                let together = if engine == EngineChoice::Classic { 0 } else { region };
                let receive = together
                    .min(BUFFERS_MAX * buffer_bytes)
                    .max(received_bytes.next_multiple_of(*BUFFER_BYTES.end()));
                (slots * sent_bytes, slots, batch, receive)
            }
            (Role::Send, _) => {
                // One to be sent while the next one waits.
                let sends = (REGION_BYTES / message_bytes / per_send).max(2);
                let slots = sends * per_send;
                let together = match (engine, protocol, options.interval) {
                    (EngineChoice::Classic, ..) => 1,
                    (_, Protocol::Tcp, Some(_)) => (READ_OFF_BYTES / message_bytes).clamp(1, BATCH_MAX),
                    _ => BATCH_MAX,
                };
                let batch = sends.min(together).min((SENDS_MAX / flows).max(1));
                (slots * message_bytes, slots, batch, 4 * BUFFER_BYTES.start())
            }
        };
        // The kernel takes a power of two.
        let buffers = (1 << (receive_bytes / buffer_bytes).ilog2()).min(BUFFERS_MAX);
        let send = Span { offset: 0, length: send_bytes };
        let receive = Span { offset: send_bytes.next_multiple_of(PAGE_BYTES), length: receive_bytes };
        let single = single_receive(options, receive, buffer_bytes);
        let ring_offset = (receive.offset + receive.length).next_multiple_of(PAGE_BYTES);
        let buffer_ring = Span { offset: ring_offset, length: buffers * BUFFER_ENTRY_BYTES };
        let address = Span { offset: buffer_ring.offset + buffer_ring.length, length: ADDRESS_BYTES };
        Self {
            flows,
            send,
            slots,
            from_file: false,
            batch,
            per_send,
            send_path: match (role, options.send_path) {
                (Role::Receive | Role::Request | Role::Respond, _) | (Role::Send, SendPath::Auto) => {
                    SendPath::Chain
                }
                (Role::Send, asked) => asked,
            },
            receive,
            single,
            buffer_bytes,
            buffers: buffers as u16,
            buffer_ring,
            address,
            arena_bytes: (address.offset + address.length) as usize,
        }
    }

    /// The same for messages out of a file that holds so many.
    pub(crate) fn with_file(self, messages: u32) -> Self {
        Self { send: self.send.first(0), slots: messages, from_file: true, ..self }
    }

    /// Most messages that go out together by a path.
    pub(crate) fn messages_together(&self, path: SendPath) -> u32 {
        match path {
            // A write from registered memory may fall short and must not be part of a chain.
            SendPath::Registered => 1,
            SendPath::Bundle => self.slots,
            SendPath::Auto | SendPath::Chain | SendPath::ZeroCopy => self.batch,
        }
    }

    /// So many message slots, side by side; they must not go around the end.
    pub(crate) fn slots_from(&self, slot: u32, messages: u32, message_bytes: u32) -> Span {
        Span { offset: self.send.offset + slot * message_bytes, length: messages * message_bytes }
    }
}

/// The part of the memory to receive into that a single receive may fill.
fn single_receive(options: &PlanOptions, receive: Span, buffer_bytes: u32) -> Span {
    let received_bytes = options.message_sizes().1;
    match (options.role, options.protocol, options.engine) {
        (Role::Receive, Protocol::Udp, _) => receive.first(buffer_bytes),
        (Role::Receive, Protocol::Tcp, EngineChoice::Classic) => receive.first(received_bytes),
        (Role::Request | Role::Respond, Protocol::Udp, _)
        | (Role::Request | Role::Respond, Protocol::Tcp, EngineChoice::Classic) => {
            receive.first(received_bytes)
        }
        _ => receive,
    }
}

/// Bytes of one provided buffer.
fn provided_buffer_bytes(options: &PlanOptions) -> u32 {
    let received_bytes = options.message_sizes().1;
    match (options.role, options.protocol) {
        (Role::Receive, Protocol::Udp) if options.gro => DATAGRAM_BUFFER_BYTES,
        (Role::Receive | Role::Request | Role::Respond, Protocol::Udp) => {
            received_bytes.min(DATAGRAM_BUFFER_BYTES)
        }
        (Role::Receive, Protocol::Tcp) => {
            received_bytes.clamp(*BUFFER_BYTES.start(), *BUFFER_BYTES.end()).next_power_of_two()
        }
        (Role::Request | Role::Respond, Protocol::Tcp) => received_bytes
            .saturating_mul(TOGETHER)
            .clamp(TRANSACTION_BUFFER_BYTES, *BUFFER_BYTES.end())
            .next_power_of_two(),
        (Role::Send, _) => *BUFFER_BYTES.start(),
    }
}

/// Most messages that one send carries, where the kernel takes it apart.
pub(crate) fn datagrams_per_send(options: &PlanOptions) -> u32 {
    if options.gso { (DATAGRAM_BYTES_MAX / options.message_bytes).clamp(1, SEGMENTS_MAX) } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Endpoint, MESSAGE_BYTES_MAX, Transaction};

    fn layouts() -> Vec<(PlanOptions, Layout)> {
        let endpoint = Endpoint::Connect { local: "127.0.0.1:0".parse().unwrap() };
        let sizes =
            [1, 2, 100, 4096, 65_507, 65_535, 65_536, 131_072, 1 << 20, (1 << 20) + 1, MESSAGE_BYTES_MAX];
        let mut layouts = Vec::new();
        for message_bytes in sizes {
            for role in [Role::Receive, Role::Send] {
                for protocol in [Protocol::Tcp, Protocol::Udp] {
                    for engine in [EngineChoice::Auto, EngineChoice::Classic] {
                        let options = PlanOptions::new(role, endpoint.clone());
                        let options = PlanOptions { protocol, engine, message_bytes, ..options };
                        layouts.push((options.clone(), Layout::new(&options)));
                        if protocol == Protocol::Udp {
                            let (gso, gro) = (role == Role::Send, role == Role::Receive);
                            let options = PlanOptions { gso, gro, ..options };
                            layouts.push((options.clone(), Layout::new(&options)));
                        }
                    }
                }
            }
        }
        layouts
    }

    #[test]
    fn parts_of_the_arena_never_overlap_and_lie_inside() {
        for (PlanOptions { role, message_bytes, .. }, layout) in layouts() {
            let end = |span: Span| span.offset + span.length;
            assert!(end(layout.send) <= layout.receive.offset, "{role:?} {message_bytes}");
            assert!(end(layout.receive) <= layout.buffer_ring.offset, "{role:?} {message_bytes}");
            assert!(end(layout.buffer_ring) <= layout.address.offset, "{role:?} {message_bytes}");
            assert!(end(layout.address) as usize <= layout.arena_bytes, "{role:?} {message_bytes}");
            assert!(end(layout.single) <= end(layout.receive) && layout.single.length > 0);
            assert_eq!(layout.buffer_ring.offset % PAGE_BYTES, 0);
            assert!(layout.buffers.is_power_of_two());
            let provided = u32::from(layout.buffers) * layout.buffer_bytes;
            assert!(provided <= layout.receive.length, "{role:?} {message_bytes}");
            let message = if role == Role::Send { message_bytes } else { 0 };
            assert_eq!(layout.send.length, layout.slots * message);
            assert!(role == Role::Receive || layout.batch <= layout.slots && layout.batch >= 1);
            assert_eq!(layout.slots % layout.per_send, 0);
            assert!(layout.per_send == 1 || layout.per_send * message_bytes <= DATAGRAM_BYTES_MAX);
        }
    }

    #[test]
    fn transactions_have_room_for_what_goes_either_way() {
        let listen = Endpoint::Listen { local: "127.0.0.1:0".parse().unwrap(), peers: Vec::new() };
        for (request_bytes, response_bytes) in [(1, 1), (1, MESSAGE_BYTES_MAX), (100_000, 64), (65_507, 7)] {
            for role in [Role::Request, Role::Respond] {
                for engine in [EngineChoice::Auto, EngineChoice::Classic] {
                    let transaction = Transaction { request_bytes, response_bytes, ..Transaction::default() };
                    let options =
                        PlanOptions { engine, transaction, ..PlanOptions::new(role, listen.clone()) };
                    let (sent, received) = options.message_sizes();
                    let layout = Layout::new(&options);
                    assert_eq!(layout.send.length, layout.slots * sent);
                    assert!(layout.slots >= 2 && layout.send.length <= layout.receive.offset);
                    assert!(
                        layout.single.length >= received && layout.single.length <= layout.receive.length
                    );
                    assert!(engine == EngineChoice::Auto || layout.single.length == received);
                    assert!(layout.buffer_bytes >= received.min(64 << 10));
                    assert!(u32::from(layout.buffers) * layout.buffer_bytes <= layout.receive.length);
                    assert!((layout.address.offset + ADDRESS_BYTES) as usize <= layout.arena_bytes);
                }
            }
        }
    }

    /// What a datagram has beyond the message size is lost in the kernel, as netperf's receiver counts it,
    /// and a message size that no datagram reaches costs no memory.
    #[test]
    fn a_receive_of_a_datagram_has_room_for_one_message_and_no_more() {
        for (options, layout) in layouts() {
            if (options.role, options.protocol, options.gro) == (Role::Receive, Protocol::Udp, false) {
                let room = options.message_bytes.min(64 << 10);
                assert_eq!((layout.buffer_bytes, layout.single.length), (room, room));
                assert!(layout.arena_bytes < 3 << 20, "{}", options.message_bytes);
            }
        }
    }

    #[test]
    fn one_send_carries_as_many_datagrams_as_the_largest_has_room_for() {
        let endpoint = Endpoint::Connect { local: "127.0.0.1:0".parse().unwrap() };
        let udp = PlanOptions { protocol: Protocol::Udp, ..PlanOptions::new(Role::Send, endpoint) };
        for (message_bytes, wanted) in
            [(1, 64), (1023, 64), (1472, 44), (32_753, 2), (32_754, 1), (65_507, 1)]
        {
            assert_eq!(datagrams_per_send(&PlanOptions { message_bytes, gso: true, ..udp.clone() }), wanted);
            assert_eq!(datagrams_per_send(&PlanOptions { message_bytes, ..udp.clone() }), 1);
        }
    }

    #[test]
    fn streams_go_out_in_chains_that_are_shorter_where_progress_is_read_off() {
        let endpoint = Endpoint::Connect { local: "127.0.0.1:0".parse().unwrap() };
        let options = PlanOptions::new(Role::Send, endpoint);
        let often = PlanOptions { interval: Some(std::time::Duration::from_secs(1)), ..options.clone() };
        for (message_bytes, chain, read_off) in
            [(64, 64, 64), (16 << 10, 64, 16), (128 << 10, 16, 2), (1 << 20, 2, 1), (16 << 20, 2, 1)]
        {
            let batch =
                |options: &PlanOptions| Layout::new(&PlanOptions { message_bytes, ..options.clone() }).batch;
            assert_eq!((batch(&options), batch(&often)), (chain, read_off), "{message_bytes}");
        }
    }

    #[test]
    fn the_classic_engine_takes_one_message_a_call() {
        for (options, layout) in layouts() {
            match (options.engine, options.role, options.protocol) {
                (EngineChoice::Classic, Role::Send, _) => assert_eq!(layout.batch, 1),
                (EngineChoice::Classic, Role::Receive, Protocol::Tcp) => {
                    assert_eq!(layout.single.length, options.message_bytes);
                }
                _ => {}
            }
        }
    }
}
