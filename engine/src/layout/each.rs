//! The memory of a worker whose transactions have a connection each.

use super::{ADDRESS_BYTES, Layout, PAGE_BYTES};
use crate::arena::Span;
use crate::plan::{EngineChoice, PlanOptions, Role, SendPath};

/// Connections that a responder serves at once. Others wait until one of these is closed.
const SERVED_AT_ONCE: u32 = 512;
/// Bounds of the memory that one connection receives into: a line of the processor's cache, and what one
/// receive of a larger message takes.
const ROOM_BYTES: std::ops::RangeInclusive<u32> = 64..=(16 << 10);

impl Layout {
    /// One message to be sent by all connections, and for each of them room to receive into.
    pub(super) fn each(options: &PlanOptions) -> Self {
        let transaction = &options.transaction;
        let (flows, sent, received) = match (options.role, options.engine) {
            (Role::Respond, EngineChoice::Classic) => {
                (1, transaction.response_bytes, transaction.request_bytes)
            }
            (Role::Respond, _) => (SERVED_AT_ONCE, transaction.response_bytes, transaction.request_bytes),
            _ => (transaction.in_flight, transaction.request_bytes, transaction.response_bytes),
        };
        // A requester asks for a byte more than there is, to see the end of the stream.
        let room = (received + 1).next_multiple_of(*ROOM_BYTES.start()).min(*ROOM_BYTES.end());
        let send = Span { offset: 0, length: sent };
        let receive = Span { offset: sent.next_multiple_of(PAGE_BYTES), length: flows * room };
        let end = (receive.offset + receive.length).next_multiple_of(PAGE_BYTES);
        let address = Span { offset: end, length: ADDRESS_BYTES };
        Self {
            flows,
            send,
            slots: 1,
            from_file: false,
            batch: 1,
            send_path: SendPath::Chain,
            per_send: 1,
            receive,
            single: receive,
            buffer_bytes: room,
            buffers: 1,
            buffer_ring: address.first(0),
            address,
            arena_bytes: (address.offset + address.length) as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Connections, Endpoint, MESSAGE_BYTES_MAX, Transaction};

    #[test]
    fn every_connection_has_room_and_parts_do_not_overlap() {
        let endpoint = Endpoint::Connect { local: "127.0.0.1:0".parse().unwrap() };
        for (role, request_bytes, response_bytes, in_flight) in [
            (Role::Request, 0, 0, 1),
            (Role::Request, 1, 1, 64),
            (Role::Request, 100, 10_000, 1024),
            (Role::Respond, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX, 1),
        ] {
            let connections = Connections::Each;
            let transaction = Transaction {
                connections,
                request_bytes,
                response_bytes,
                in_flight,
                ..Transaction::default()
            };
            let options = PlanOptions { transaction, ..PlanOptions::new(role, endpoint.clone()) };
            let layout = Layout::each(&options);
            let (sent, received) = match role {
                Role::Request => (request_bytes, response_bytes),
                _ => (response_bytes, request_bytes),
            };
            assert_eq!(layout.send.length, sent);
            assert!(layout.send.length <= layout.receive.offset);
            assert!(layout.receive.length == layout.flows * layout.buffer_bytes);
            assert!(layout.buffer_bytes > received.min(16_000));
            assert!(layout.receive.offset + layout.receive.length <= layout.address.offset);
        }
    }
}
