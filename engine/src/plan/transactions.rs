//! What a transaction is, and what a plan of them has to keep to.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Serialize;

use super::{DATAGRAM_BYTES_MAX, Endpoint, Length, MESSAGE_BYTES_MAX, PlanOptions, Protocol, Role, each};
use crate::error::Error;

/// What a transaction is; both ends have to agree on the sizes. It means nothing but at [`Role::Request`] and
/// [`Role::Respond`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Bytes of a request; 0 together with no response only, where a connection by itself is the
    /// transaction.
    pub request_bytes: u32,
    /// Bytes of a response.
    pub response_bytes: u32,
    /// What a transaction goes over.
    pub connections: Connections,
    /// Transactions of a flow under way at once: netperf's burst plus one. The responder does not know.
    pub in_flight: u32,
    /// Local ports of [`Connections::Each`], used in turn from a random one on; ones that cannot be bound are
    /// passed over. `None`: that of the local address, or where it has none the kernel chooses.
    pub local_ports: Option<RangeInclusive<u16>>,
    /// A connection of [`Connections::Each`] that does not come about is tried again for as long as the run
    /// lasts; otherwise it ends the run.
    pub retry_connect: bool,
    /// Over UDP, how long a response may take before its request is taken for lost and sent again; `None`:
    /// for ever.
    pub resend_after: Option<Duration>,
}

impl Default for Transaction {
    /// One byte each way over one connection, one at a time.
    fn default() -> Self {
        Self {
            request_bytes: 1,
            response_bytes: 1,
            connections: Connections::Kept,
            in_flight: 1,
            local_ports: None,
            retry_connect: false,
            resend_after: None,
        }
    }
}

/// What the transactions of a flow go over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Connections {
    /// A TCP connection for each: made, used and closed in order, by the responder first.
    Each,
    /// One for all, or one pair of UDP sockets.
    Kept,
}

/// Most transactions of a flow under way at once: more than fit into any socket's buffers.
const IN_FLIGHT_MAX: u32 = 1 << 16;

/// Checks the sizes, who connects, and when it is over.
pub(super) fn check(options: &PlanOptions) -> Result<(), Error> {
    if !matches!(options.role, Role::Request | Role::Respond) {
        return match options.length {
            Length::Transactions(_) => {
                Err(Error::Plan { option: "length", range: "bytes or time, for there are no transactions" })
            }
            Length::Bytes(_) | Length::Endless | Length::Time(_) => Ok(()),
        };
    }
    let connects = matches!(options.endpoint, Endpoint::Connect { .. });
    if connects != (options.role == Role::Request) {
        let range = "a requester that connects or a responder that listens";
        return Err(Error::Plan { option: "role", range });
    }
    match options.length {
        Length::Bytes(_) => {
            return Err(Error::Plan { option: "length", range: "transactions or time, not bytes" });
        }
        Length::Transactions(0) => {
            return Err(Error::Plan { option: "number of transactions", range: "at least 1" });
        }
        Length::Endless | Length::Time(_) | Length::Transactions(_) => {}
    }
    if options.connects_each() {
        return each::check(options);
    }
    let transaction = &options.transaction;
    let (most, range) = match options.protocol {
        Protocol::Tcp => (MESSAGE_BYTES_MAX, "1 to 16777216 bytes"),
        Protocol::Udp => (DATAGRAM_BYTES_MAX, "1 to 65507 bytes over UDP"),
    };
    for (option, bytes) in
        [("request size", transaction.request_bytes), ("response size", transaction.response_bytes)]
    {
        if !(1..=most).contains(&bytes) {
            return Err(Error::Plan { option, range });
        }
    }
    if !(1..=IN_FLIGHT_MAX).contains(&transaction.in_flight) {
        return Err(Error::Plan { option: "transactions in flight", range: "1 to 65536" });
    }
    if transaction.resend_after.is_some_and(|after| after.is_zero()) {
        return Err(Error::Plan { option: "time after which a request is sent again", range: "above zero" });
    }
    Ok(())
}
