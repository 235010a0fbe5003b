//! What signals do to a netperf: before the traffic, in the middle of it, and one after another.
//!
//! Ours and stock netperf with stock netserver, as in [`behaviour`](super::behaviour).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::behaviour::assert_positive;
use super::{Ended, Maker, Netperf, Pair, Server, figures};
use crate::support::signal;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

behaviours! {
    an_interrupt_ends_with_the_result
    a_signal_before_the_traffic_ends_without_a_result
}

fn a_signal_before_the_traffic_ends_without_a_result(pair: Pair) {
    let server = Server::start(pair.server, LOOPBACK, &[]);
    let port = server.port().to_string();
    // Not SIGINT, which whoever runs the tests may have us ignore.
    let words = ["-H", "127.0.0.1", "-p", &port, "-l", "1", "-s", "60"];
    let measuring = Netperf::new(pair.client, words).start();
    std::thread::sleep(Duration::from_millis(800));
    measuring.signal("ALRM");
    let ended = measuring.ended();
    assert_eq!((ended.status, ended.out.as_str(), ended.err.as_str()), (128 + 14, "", ""), "{ended:?}");
}

fn an_interrupt_ends_with_the_result(pair: Pair) {
    let server = Server::start(pair.server, LOOPBACK, &[]);
    let port = server.port().to_string();
    // Where the netserver sends, netperf has its result at once but waits for the netserver's own timer.
    let runs = [("TCP_MAERTS", "INT", "4"), ("UDP_STREAM", "INT", "60"), ("TCP_STREAM", "ALRM", "60")];
    for (test, name, length) in runs {
        let interrupt = || {
            let words = ["-H", "127.0.0.1", "-p", &port, "-l", length, "-t", test];
            let measuring = Netperf::new(pair.client, words).start();
            std::thread::sleep(Duration::from_secs(1));
            measuring.signal(name);
            measuring.ended()
        };
        // The stock client's own timer goes on, and ends its wait for the results where they come no earlier.
        let cut_short = |ended: &Ended| pair.client == Maker::Stock && ended.out.contains(". errno 4 ");
        let mut ended = interrupt();
        for _ in 0..3 {
            if cut_short(&ended) {
                ended = interrupt();
            }
        }
        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
        assert!(ended.took < Duration::from_secs(15), "{ended:?}");
        assert_positive(test, &ended.out);
        let elapsed = figures(&ended.out, usize::from(test == "UDP_STREAM"));
        let elapsed = elapsed[if test == "UDP_STREAM" { 2 } else { 3 }];
        assert!(elapsed > 0.1 && elapsed < 3.5, "{ended:?}");
    }
}

/// Stock netperf gives up where the second one comes while it waits for the results.
#[test]
fn signals_after_the_first_do_no_harm() {
    std::thread::scope(|scope| {
        for (first, second) in [("ALRM", "ALRM"), ("INT", "INT"), ("INT", "ALRM")] {
            scope.spawn(move || {
                let server = Server::start(Maker::Ours, LOOPBACK, &[]);
                let port = server.port().to_string();
                let words = ["-H", "127.0.0.1", "-p", &port, "-l", "30", "-t", "TCP_MAERTS"];
                let mut measuring = Netperf::new(Maker::Ours, words).start();
                std::thread::sleep(Duration::from_secs(1));
                // There are no results while the netserver stands still.
                signal(server.id(), "STOP");
                measuring.signal(first);
                std::thread::sleep(Duration::from_millis(1500));
                let waits = measuring.child.as_mut().expect("not waited for yet").try_wait();
                assert!(matches!(waits, Ok(None)), "{first}: {waits:?}");
                measuring.signal(second);
                std::thread::sleep(Duration::from_millis(300));
                signal(server.id(), "CONT");
                let ended = measuring.ended();
                assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{first}, {second}: {ended:?}");
                let elapsed = figures(&ended.out, 0)[3];
                assert!(elapsed > 0.1 && elapsed < 2.4, "{first}, {second}: {ended:?}");
            });
        }
    });
}
