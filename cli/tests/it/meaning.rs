//! That our figures mean what netperf's mean: the same window, the same counts of the same ends, the same
//! scale of CPU figures.
//!
//! Our netperf and stock netperf measure in turns against one netserver. Ours makes one blocking call a
//! message here, as netperf does, so that what is left between them is noise. What has to be equal is
//! compared exactly; what is noisy is allowed the spread of the stock runs and a margin that its comment
//! gives a reason for.

use std::collections::HashMap;
use std::path::Path;

use crate::interop::{Alone, Link, SERVER};
use crate::netperf::{Maker, Netperf, Pair, Server, netperf_words, netserver_words};
use crate::support::{online_cpus, stock};

const SELECTORS: &str = "THROUGHPUT,ELAPSED_TIME,LOCAL_BYTES_SENT,LOCAL_BYTES_RECVD,REMOTE_BYTES_SENT,\
    REMOTE_BYTES_RECVD,LOCAL_SEND_CALLS,LOCAL_RECV_CALLS,REMOTE_SEND_CALLS,REMOTE_RECV_CALLS,\
    LOCAL_CPU_UTIL,REMOTE_CPU_UTIL,LOCAL_SD,REMOTE_SD,LOCAL_CPU_METHOD,REMOTE_CPU_METHOD,SD_UNITS";

/// Two decimals of a rate, and of an elapsed time of about a second.
const ROUNDING: f64 = 0.015;

/// How many runs each side has, in turns.
const TURNS: usize = 3;

/// A test, its options, and the count that its rate is made of.
struct Case {
    test: &'static str,
    options: &'static str,
    shown: &'static str,
    /// Bytes that a unit of the rate has, if it is of transactions.
    transaction: Option<f64>,
}

const CASES: [Case; 6] = [
    Case { test: "TCP_STREAM", options: "-m 16K", shown: "REMOTE_BYTES_RECVD", transaction: None },
    Case { test: "TCP_MAERTS", options: "-m ,16K", shown: "LOCAL_BYTES_RECVD", transaction: None },
    // A receive buffer that overflows: what is sent and what arrives are far apart.
    Case { test: "UDP_STREAM", options: "-m 1024 -S 1", shown: "REMOTE_BYTES_RECVD", transaction: None },
    Case { test: "TCP_RR", options: "-r 1,100", shown: "LOCAL_BYTES_RECVD", transaction: Some(100.0) },
    Case { test: "UDP_RR", options: "-r 1,100", shown: "LOCAL_BYTES_RECVD", transaction: Some(100.0) },
    Case { test: "TCP_CRR", options: "-r 1,100", shown: "LOCAL_BYTES_RECVD", transaction: Some(100.0) },
];

/// What one run printed, by name.
#[derive(Clone, Debug)]
struct Reading(HashMap<String, String>);

impl Reading {
    fn of(out: &str) -> Self {
        let pairs = out.lines().filter_map(|line| line.split_once('='));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.0))
    }

    fn figure(&self, name: &str) -> f64 {
        self.text(name).parse().unwrap_or_else(|_| panic!("{name} is no figure in {:?}", self.0))
    }

    /// Bytes that the rate stands for.
    fn headline(&self, transaction: Option<f64>) -> f64 {
        self.figure("THROUGHPUT") * self.figure("ELAPSED_TIME") * transaction.unwrap_or(1e6 / 8.0)
    }
}

fn agree(one: f64, other: f64) -> bool {
    (one - other).abs() <= other.abs() * ROUNDING
}

/// Least, middle and most of the runs' figures.
fn spread(readings: &[Reading], name: &str) -> [f64; 3] {
    let mut figures: Vec<f64> = readings.iter().map(|reading| reading.figure(name)).collect();
    figures.sort_by(f64::total_cmp);
    [figures[0], figures[figures.len() / 2], figures[figures.len() - 1]]
}

fn run(client: Maker, server: &Server, case: &Case) -> Reading {
    let port = server.port().to_string();
    // On one core, where the kernel puts stock netperf's ends of its own accord while ours have one each.
    let words = ["-P", "0", "-H", "127.0.0.1", "-p", &port, "-t", case.test, "-l", "1", "-c", "-C"];
    let options = ["-T", "0,0", "--"].into_iter().chain(case.options.split(' ')).chain(["-k", SELECTORS]);
    let mut netperf = Netperf::new(client, words.into_iter().chain(options));
    netperf.command.env("RINGPERF_ENGINE", "classic");
    let ended = netperf.ended();
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{}: {ended:?}", case.test);
    Reading::of(&ended.out)
}

/// What holds for a single run, whoever made it.
fn hold_within_a_run(case: &Case, reading: &Reading) {
    let headline = reading.headline(case.transaction);
    assert!(agree(headline, reading.figure(case.shown)), "{}: not {}: {reading:?}", case.test, case.shown);
    if case.test == "UDP_STREAM" {
        // So much is lost that nothing else can be meant by the rate.
        assert!(reading.figure("LOCAL_BYTES_SENT") > headline * 1.1, "{reading:?}");
    }
    // Of netperf's own count, at both ends: of a lossy stream of datagrams, per KB sent.
    let bytes = reading.figure("LOCAL_BYTES_SENT") + reading.figure("LOCAL_BYTES_RECVD");
    let units = if case.transaction.is_some() {
        reading.figure("THROUGHPUT")
    } else {
        bytes / 1024.0 / reading.figure("ELAPSED_TIME")
    };
    for end in ["LOCAL", "REMOTE"] {
        assert_eq!(reading.text(&format!("{end}_CPU_METHOD")), "S", "{reading:?}");
        let utilisation = reading.figure(&format!("{end}_CPU_UTIL"));
        let demand = reading.figure(&format!("{end}_SD"));
        let expected = utilisation * 10_000.0 * online_cpus() / units;
        let tolerance = 0.001 + expected * ROUNDING;
        assert!((demand - expected).abs() <= tolerance, "{end}: {demand}, not {expected}: {reading:?}");
    }
}

/// What our runs have to have in common with those of stock netperf.
fn hold_between(case: &Case, ours: &[Reading], stock: &[Reading]) {
    let [least, middle, most] = spread(stock, "ELAPSED_TIME");
    let elapsed = spread(ours, "ELAPSED_TIME")[1];
    // A stream's end waits for the other side, which is late by tens of milliseconds on a busy machine.
    // netserver's padding of 4 s, a set-up within the window, or a drain outside of it would be more.
    let margin = most - least + 0.15;
    assert!((elapsed - middle).abs() <= margin, "{}: {elapsed} s, not {middle} s", case.test);
    assert_eq!(ours[0].text("SD_UNITS"), stock[0].text("SD_UNITS"), "{}", case.test);
    // Whole messages by every call that sends; what a call receives of a stream is the kernel's business.
    let per_call = |readings: &[Reading], end: &str, what: &str, bytes: &str| {
        let calls = readings[0].figure(&format!("{end}_{what}_CALLS"));
        (calls > 0.0).then(|| (readings[0].figure(&format!("{end}_BYTES_{bytes}")) / calls * 1e3).round())
    };
    for end in ["LOCAL", "REMOTE"] {
        let sent = |readings: &[Reading]| per_call(readings, end, "SEND", "SENT");
        assert_eq!(sent(ours), sent(stock), "{}: bytes of a send, {end}", case.test);
        if case.test.starts_with("UDP") {
            let received = |readings: &[Reading]| per_call(readings, end, "RECV", "RECVD");
            assert_eq!(received(ours), received(stock), "{}: bytes of a receive, {end}", case.test);
        }
    }
    // Between runs of a second on a shared machine, rates differ by half and more, and ours is not meant to
    // be as slow. Bits for bytes, KB for bytes or one core for all of them are factors of 8, 1024 and 2; the
    // last is held to by the rule within a run.
    for name in ["THROUGHPUT", "LOCAL_SD", "REMOTE_SD"] {
        let ([least, _, most], [our_least, _, our_most]) = (spread(stock, name), spread(ours, name));
        let near = our_most >= least / 4.0 && our_least <= most * 4.0;
        assert!(near, "{}: {name} is {our_least} to {our_most}, and stock's {least} to {most}", case.test);
    }
}

fn measure_in_turns(server: Maker, test: &str) {
    if !Pair::STOCK.is_here(test) {
        return;
    }
    let _alone = Alone::enter();
    let server = Server::start(server, std::net::Ipv4Addr::LOCALHOST.into(), &[]);
    for case in &CASES {
        let (mut ours, mut stock) = (Vec::new(), Vec::new());
        // A stock netserver is four seconds behind with connections.
        for _ in 0..if case.test == "TCP_CRR" { 1 } else { TURNS } {
            for (client, readings) in [(Maker::Stock, &mut stock), (Maker::Ours, &mut ours)] {
                let reading = run(client, &server, case);
                hold_within_a_run(case, &reading);
                readings.push(reading);
            }
        }
        hold_between(case, &ours, &stock);
    }
}

#[test]
fn figures_mean_the_same_against_a_stock_netserver() {
    measure_in_turns(Maker::Stock, "figures_mean_the_same_against_a_stock_netserver");
}

#[test]
fn figures_mean_the_same_against_our_netserver() {
    measure_in_turns(Maker::Ours, "figures_mean_the_same_against_our_netserver");
}

/// A send that the timer cuts short is not counted by who sends; its bytes are counted by who receives, and
/// the rate is made of those.
#[test]
fn a_send_cut_short_counts_where_it_arrives() {
    const MESSAGE: f64 = 16.0 * 1024.0 * 1024.0;
    let test = "cut-short";
    if stock("netperf", test).is_none() {
        return;
    }
    let Some(link) = Link::new(test) else { return };
    let netserver = netserver_words(Maker::Stock);
    let words: Vec<&str> = netserver[1..].iter().map(String::as_str).collect();
    let _netserver = link.serve(Path::new(&netserver[0]), &words);
    // A message takes 1.3 s, so that the second one is under way at the end.
    link.shape("100mbit");
    for client in [Maker::Stock, Maker::Ours] {
        let netperf = netperf_words(client);
        let options =
            ["-P", "0", "-H", SERVER, "-t", "TCP_STREAM", "-l", "2", "--", "-m", "16M", "-k", SELECTORS];
        let words: Vec<&str> = netperf[1..].iter().map(String::as_str).chain(options).collect();
        let reading = Reading::of(&link.run_client(Path::new(&netperf[0]), &words));
        let (sent, received) = (reading.figure("LOCAL_BYTES_SENT"), reading.figure("REMOTE_BYTES_RECVD"));
        assert_eq!(sent % MESSAGE, 0.0, "{client:?}: whole messages only: {reading:?}");
        assert!(received > sent + 1e6, "{client:?}: {received} received of {sent}: {reading:?}");
        assert!(agree(reading.headline(None), received), "{client:?}: {reading:?}");
    }
}
