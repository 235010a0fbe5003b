//! What a plan has to keep to whose transactions have a connection each.

use super::{EngineChoice, MESSAGE_BYTES_MAX, PlanOptions, Protocol, Role};
use crate::error::Error;

/// Most connections of a requester under way at once.
const IN_FLIGHT_MAX: u32 = 1024;

/// Checks what is special about them.
pub(super) fn check(options: &PlanOptions) -> Result<(), Error> {
    let transaction = &options.transaction;
    let refused = |option, range| Err(Error::Plan { option, range });
    if options.protocol == Protocol::Udp {
        return refused("connections", "kept over UDP, which has none");
    }
    let sizes = [transaction.request_bytes, transaction.response_bytes];
    if sizes.contains(&0) && sizes != [0, 0] {
        return refused("request and response size", "above zero, or zero both: a connection by itself");
    }
    if sizes.iter().any(|bytes| *bytes > MESSAGE_BYTES_MAX) {
        return refused("request and response size", "at most 16777216 bytes");
    }
    // A responder serves whatever comes.
    let in_flight = if options.role == Role::Request { transaction.in_flight } else { 1 };
    if !(1..=IN_FLIGHT_MAX).contains(&in_flight) {
        return refused("transactions in flight", "1 to 1024 with a connection for each");
    }
    if options.engine == EngineChoice::Classic && in_flight > 1 {
        return refused(
            "transactions in flight",
            "1 with the classic engine, whose calls wait one for the other; the others can do more",
        );
    }
    if options.flows > 1 || options.workers > 1 {
        return refused(
            "number of flows and workers",
            "1 with a connection for each transaction; have more of them in flight instead",
        );
    }
    if transaction.local_ports.as_ref().is_some_and(|ports| ports.is_empty() || *ports.start() == 0) {
        return refused("local ports", "a range within 1 to 65535 that is not empty");
    }
    if options.bursts.is_some() || options.rate.is_some() {
        return refused("bursts and rate", "off with a connection for each transaction");
    }
    if options.check_payload {
        return refused("check of the payload", "off with a connection for each transaction");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Bursts, Connections, Endpoint, Plan, Transaction};
    use std::ops::RangeInclusive;

    use super::*;

    #[test]
    fn options_that_a_connection_for_each_cannot_have_are_named() {
        let endpoint = Endpoint::Connect { local: "127.0.0.1:0".parse().unwrap() };
        let each = |transaction| PlanOptions {
            transaction: Transaction { connections: Connections::Each, ..transaction },
            ..PlanOptions::new(Role::Request, endpoint.clone())
        };
        let one = Transaction::default;
        let good = each(one());
        assert!(Plan::new(good.clone()).is_ok());
        let empty = Transaction { request_bytes: 0, response_bytes: 0, ..one() };
        assert!(Plan::new(each(empty)).is_ok());
        let classic =
            PlanOptions { engine: EngineChoice::Classic, ..each(Transaction { in_flight: 2, ..one() }) };
        let bursts = Bursts { messages: 1, every: std::time::Duration::from_millis(1) };
        for (bad, name) in [
            (PlanOptions { protocol: Protocol::Udp, ..good.clone() }, "connections"),
            (each(Transaction { request_bytes: 0, ..one() }), "request and response size"),
            (each(Transaction { response_bytes: MESSAGE_BYTES_MAX + 1, ..one() }), "16777216 bytes"),
            (each(Transaction { in_flight: 0, ..one() }), "in flight"),
            (each(Transaction { in_flight: 1025, ..one() }), "in flight"),
            (classic, "classic"),
            (PlanOptions { flows: 2, ..good.clone() }, "flows and workers"),
            (each(Transaction { local_ports: Some(0..=5), ..one() }), "local ports"),
            (each(Transaction { local_ports: Some(RangeInclusive::new(6, 5)), ..one() }), "local ports"),
            (PlanOptions { rate: Some(1), ..good.clone() }, "rate"),
            (PlanOptions { bursts: Some(bursts), ..good.clone() }, "bursts"),
            (PlanOptions { check_payload: true, ..good.clone() }, "check of the payload"),
        ] {
            let error = Plan::new(bad).unwrap_err().to_string();
            assert!(error.contains(name), "{error} does not name {name}");
        }
    }
}
