//! How messages go out: together, apart, from where, and when.

use std::time::Duration;

use serde::Serialize;

use super::{EngineChoice, PlanOptions, Protocol, Role};
use crate::error::Error;

/// Sends in bursts: netperf's `-b` and `-w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bursts {
    /// Messages, or requests, of a burst.
    pub messages: u32,
    /// From the beginning of one burst to that of the next. One that takes longer is followed at once.
    pub every: Duration,
}

/// How a TCP sender hands its messages to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SendPath {
    /// Whichever is fastest for the size of the messages, of those with one send a message and a copy into
    /// the socket buffer.
    #[default]
    Auto,
    /// Chains of linked sends.
    Chain,
    /// One message at a time, from registered memory.
    Registered,
    /// As many messages as there are slots for in one send.
    Bundle,
    /// Chains of sends without a copy into the socket buffer, where the kernel manages that;
    /// [`crate::outcome::Operations::zero_copy_copied`] counts where it did not.
    ZeroCopy,
}

impl SendPath {
    /// What a run that cannot have it is said to lack.
    pub(crate) fn feature(self) -> &'static str {
        match self {
            Self::Auto | Self::Chain => "linked sends",
            Self::Bundle => "send bundles",
            Self::Registered => "registered send buffers",
            Self::ZeroCopy => "zero-copy send",
        }
    }
}

/// Checks what is asked of the way that messages go out, and of coalescing, its other end.
pub(super) fn check(options: &PlanOptions) -> Result<(), Error> {
    check_offloads(options)?;
    check_send_path(options)?;
    check_file(options)?;
    check_bursts(options)
}

/// Segmentation is for who sends datagrams, coalescing for who receives them and need not tell them apart.
fn check_offloads(options: &PlanOptions) -> Result<(), Error> {
    let part = (options.role, options.protocol);
    if options.gso && part != (Role::Send, Protocol::Udp) {
        return Err(Error::Plan { option: "segmentation of sends (gso)", range: "on at UDP senders only" });
    }
    if options.gro && part != (Role::Receive, Protocol::Udp) {
        return Err(Error::Plan {
            option: "coalescing of receives (gro)",
            range: "on at UDP receivers only",
        });
    }
    if options.gro && options.exact_message {
        let range = "off where a datagram of another size is the end (exact message)";
        return Err(Error::Plan { option: "coalescing of receives (gro)", range });
    }
    Ok(())
}

/// The other ways than a send for each message are io_uring's, and of streams.
fn check_send_path(options: &PlanOptions) -> Result<(), Error> {
    let may = matches!(options.engine, EngineChoice::Auto | EngineChoice::Uring)
        && options.protocol == Protocol::Tcp;
    if options.role == Role::Send && options.has_special_send_path() && !may {
        let range = "auto or chain over UDP and with the epoll and classic engines";
        return Err(Error::Plan { option: "send path", range });
    }
    Ok(())
}

/// To send from a file is a call of its own.
fn check_file(options: &PlanOptions) -> Result<(), Error> {
    let range = if options.file.is_none() {
        return Ok(());
    } else if (options.role, options.protocol) != (Role::Send, Protocol::Tcp) {
        "none but at TCP senders"
    } else if options.engine == EngineChoice::Uring {
        "none with the uring engine: sendfile is no operation of io_uring"
    } else if options.has_special_send_path() {
        "none where a send path is given"
    } else {
        return Ok(());
    };
    Err(Error::Plan { option: "file", range })
}

/// A worker keeps one time for the next burst.
fn check_bursts(options: &PlanOptions) -> Result<(), Error> {
    let Some(bursts) = options.bursts else { return Ok(()) };
    let range = if bursts.messages == 0 || bursts.every.is_zero() {
        "of one message at least, and a time above zero from one to the next"
    } else if !matches!(options.role, Role::Request | Role::Send) {
        "off where nothing is sent but answers"
    } else if options.flows > 1 {
        "off with more than one flow"
    } else if options.rate.is_some() && options.protocol == Protocol::Udp {
        "off where a rate is given"
    } else {
        return Ok(());
    };
    Err(Error::Plan { option: "bursts", range })
}

#[cfg(test)]
mod tests {
    use super::super::{Endpoint, Plan};
    use super::*;

    #[test]
    fn a_file_is_for_a_tcp_sender_that_makes_calls() {
        let endpoint = Endpoint::Connect { local: "127.0.0.1:0".parse().unwrap() };
        let this = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let device = std::fs::File::open("/dev/zero").unwrap();
        let good = PlanOptions {
            file: Some(this.into()),
            message_bytes: 10,
            ..PlanOptions::new(Role::Send, endpoint.clone())
        };
        for engine in [EngineChoice::Auto, EngineChoice::Classic, EngineChoice::Epoll] {
            assert!(Plan::new(PlanOptions { engine, ..good.clone() }).is_ok());
        }
        for (bad, name) in [
            (PlanOptions { role: Role::Receive, ..good.clone() }, "TCP senders"),
            (PlanOptions { protocol: Protocol::Udp, ..good.clone() }, "TCP senders"),
            (PlanOptions { engine: EngineChoice::Uring, ..good.clone() }, "no operation of io_uring"),
            (PlanOptions { send_path: SendPath::Bundle, ..good.clone() }, "send path"),
            (PlanOptions { file: Some(device.into()), ..good }, "one message at least"),
        ] {
            assert!(Plan::new(bad).unwrap_err().to_string().contains(name), "{name}");
        }
    }

    #[test]
    fn bursts_are_of_who_sends_and_set_the_pace_alone() {
        let endpoint = Endpoint::Connect { local: "127.0.0.1:0".parse().unwrap() };
        let options = |messages, every| PlanOptions {
            bursts: Some(Bursts { messages, every }),
            ..PlanOptions::new(Role::Send, endpoint.clone())
        };
        let second = Duration::from_secs(1);
        let good = options(1, second);
        assert!(Plan::new(good.clone()).is_ok());
        assert!(Plan::new(PlanOptions { rate: Some(1), ..good.clone() }).is_ok());
        let udp = PlanOptions { protocol: Protocol::Udp, message_bytes: 100, ..good.clone() };
        assert!(Plan::new(udp.clone()).is_ok());
        for (bad, name) in [
            (options(0, second), "one message at least"),
            (options(1, Duration::ZERO), "above zero"),
            (options(1, Duration::MAX), "time between bursts"),
            (PlanOptions { role: Role::Receive, ..good.clone() }, "nothing is sent"),
            (PlanOptions { flows: 2, ..good }, "more than one flow"),
            (PlanOptions { rate: Some(1), ..udp }, "a rate is given"),
        ] {
            assert!(Plan::new(bad).unwrap_err().to_string().contains(name), "{name}");
        }
    }
}
