//! What a plan of transactions has to keep to.

use super::{DATAGRAM_BYTES_MAX, Endpoint, Length, MESSAGE_BYTES_MAX, PlanOptions, Protocol, Role, each};
use crate::error::Error;

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
