//! netperf as other programs call it: their command lines, and their ways of reading what comes back.
//!
//! Each module stands for one harness. The reading is done as that harness does it, not better: where it
//! takes the tenth word of a line, so does the test. Every behaviour is asked of our programs, of our netperf
//! with a stock netserver, and, to show that it is expected rightly, of stock netperf with a stock netserver.

use std::net::{IpAddr, Ipv4Addr};

use crate::interop::Alone;
use crate::netperf::{Ended, Measuring, Netperf, Pair, Server};

/// Makes tests of functions of whose client and whose server.
macro_rules! harnesses {
    ($($name:ident)*) => {
        mod ours {
            $(#[test] fn $name() { super::$name(crate::netperf::Pair::OURS); })*
        }
        mod stock_netserver {
            use crate::netperf::{Maker, Pair};
            $(#[test] fn $name() {
                let pair = Pair { client: Maker::Ours, server: Maker::Stock };
                if pair.is_here(concat!(module_path!(), "::", stringify!($name))) {
                    super::$name(pair);
                }
            })*
        }
        mod stock {
            use crate::netperf::Pair;
            $(#[test] fn $name() {
                if Pair::STOCK.is_here(concat!(module_path!(), "::", stringify!($name))) {
                    super::$name(Pair::STOCK);
                }
            })*
        }
    };
}

mod arceos;
mod cilium;
mod examples;
mod flent;
mod k8s;
mod mmtests;
mod perfkit;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A netserver on IPv4 loopback, and whose netperf measures against it.
struct Bench {
    pair: Pair,
    server: Server,
    /// Left last.
    _alone: Option<Alone>,
}

impl Bench {
    fn new(pair: Pair) -> Self {
        let alone = Alone::enter();
        Self { pair, server: Server::start(pair.server, LOOPBACK, &[]), _alone: alone }
    }

    /// Starts netperf with the words of `line`, divided at blanks. What stands for a host and a control port
    /// in it is replaced: `HOST` and `PORT`.
    fn start(&self, line: &str) -> Measuring {
        let port = self.server.port().to_string();
        let word = |word: &str| match word {
            "HOST" => "127.0.0.1".to_owned(),
            "PORT" => port.clone(),
            other => other.to_owned(),
        };
        Netperf::new(self.pair.client, line.split_whitespace().map(word)).start()
    }

    /// Runs netperf with the words of `line`, which must end well and say nothing on standard error; its
    /// standard output.
    fn run(&self, line: &str) -> String {
        ended_well(line, self.start(line).ended())
    }
}

/// The standard output of a netperf that has ended well.
fn ended_well(line: &str, ended: Ended) -> String {
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "netperf {line}: {ended:?}");
    ended.out
}

/// `text` as a figure.
fn figure(text: &str) -> f64 {
    text.trim().parse().unwrap_or_else(|_| panic!("`{text}` is no figure"))
}

/// `text` as a figure above zero.
fn positive(text: &str) -> f64 {
    let figure = figure(text);
    assert!(figure > 0.0 && figure.is_finite(), "{text} is not above zero");
    figure
}

/// A line of comma-separated values, of which some may be quoted.
fn csv(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            _ => cells.last_mut().expect("there is always one").push(letter),
        }
    }
    cells
}
