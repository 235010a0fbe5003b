//! Tests that a signal ends long before their time, as the aggregate scripts of netperf do it: the result
//! comes soon all the same.
//!
//! Stock netperf waits two minutes for the results of a netserver that sends, and then gives up, so it is not
//! held to this. What it does alike is in [`behaviour`](super::behaviour).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::{Ended, Maker, Netperf, Pair, Server};

/// Of the tests, hours ahead.
const LENGTH: &str = "7200";

/// Signals our netperf after a second of such a test.
fn signalled(server: Maker, engine: &str, words: &[&str]) -> Ended {
    let server = Server::start(server, IpAddr::V4(Ipv4Addr::LOCALHOST), &[]);
    let port = server.port().to_string();
    let names = ["-k", "ELAPSED_TIME,THROUGHPUT"];
    let words = [&["-H", "127.0.0.1", "-p", &port, "-P", "0", "-l", LENGTH], words, &names].concat();
    let mut netperf = Netperf::new(Maker::Ours, words);
    netperf.command.env("RINGPERF_ENGINE", engine);
    let measuring = netperf.start();
    std::thread::sleep(Duration::from_secs(1));
    measuring.signal("ALRM");
    measuring.ended()
}

/// How long it took, and that it ended with a result.
fn has_a_result(server: Maker, engine: &str, words: &[&str]) -> Duration {
    let ended = signalled(server, engine, words);
    let context = format!("{server:?} {engine} {words:?}: {ended:?}");
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{context}");
    let figure = |line: &str| line.split_once('=').and_then(|(_, text)| text.parse::<f64>().ok());
    let figures: Vec<f64> = ended.out.lines().filter_map(figure).collect();
    assert_eq!(figures.len(), 2, "{context}");
    assert!(figures[0] > 0.1 && figures[0] < 3.5 && figures[1] > 0.0, "{context}");
    ended.took
}

/// The receiving tests, as those scripts and the loops of flent's examples ask for them.
const RECEIVING: [&[&str]; 3] = [
    &["-t", "omni", "--", "-m", ",64K", "-d", "recv"],
    &["-t", "TCP_MAERTS", "--"],
    &["-t", "TCP_MAERTS", "-f", "m", "--", "-m", ",1K"],
];

/// Such a netserver learns of nothing before its own time is over. It takes a send that is cut short for
/// the end.
#[test]
fn a_stock_netserver_that_sends_gives_its_results_soon_after_a_signal() {
    let pair = Pair { client: Maker::Ours, server: Maker::Stock };
    if !pair.is_here("a_stock_netserver_that_sends_gives_its_results_soon_after_a_signal") {
        return;
    }
    std::thread::scope(|scope| {
        for (engine, words) in ["auto", "epoll", "classic"].into_iter().zip(RECEIVING) {
            scope.spawn(move || {
                let took = has_a_result(Maker::Stock, engine, words);
                assert!(took < Duration::from_secs(15), "{engine} {words:?}: {took:?}");
            });
        }
    });
}

#[test]
fn a_netserver_of_ours_that_sends_ends_with_the_signal() {
    std::thread::scope(|scope| {
        for (engine, words) in ["auto", "epoll", "classic"].into_iter().zip(RECEIVING) {
            scope.spawn(move || {
                let took = has_a_result(Maker::Ours, engine, words);
                assert!(took < Duration::from_secs(5), "{engine} {words:?}: {took:?}");
            });
        }
    });
}
