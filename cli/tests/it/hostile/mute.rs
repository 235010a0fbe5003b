//! Clients that connect and say nothing, or stop in the middle of a frame.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{connect_from, loopback, tell};
use crate::support::{Control, Netserver, await_that, baseline, golden, serves};

/// Mute clients, and the addresses they come from.
const MUTE: usize = 56;
const ADDRESSES: usize = 7;

/// What they may cost the next client.
const COST: Duration = Duration::from_millis(100);

/// How often each is measured.
const ROUNDS: usize = 25;

/// From the beginning of a connection to the whole first answer, which comes with a prepared test: the
/// median.
fn first_answer(netserver: &Netserver) -> Duration {
    let request = &golden("two_tests_one_connection")[0];
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            let mut control = Control::open(netserver.address());
            control.ask(request);
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}

#[test]
fn mute_clients_cost_the_next_one_less_than_a_tenth_of_a_second() {
    for engine in ["auto", "epoll"] {
        let netserver = Netserver::start(&["-L", "127.0.0.1", "--engine", engine]);
        let before = baseline(&netserver);
        let without = first_answer(&netserver);
        await_that("the measured sessions' end", || netserver.resources().within(before));
        let crowd = || -> Vec<TcpStream> {
            (0..MUTE)
                .map(|number| {
                    let address = loopback(0, 1 + number % ADDRESSES);
                    let mut stream = connect_from(address, netserver.address()).expect("netserver accepts");
                    if number % 2 == 0 {
                        stream.write_all(&[0; 300]).expect("netserver reads");
                    }
                    stream
                })
                .collect()
        };
        let mute = crowd();
        await_that("all of them", || netserver.resources().descriptors >= before.descriptors + MUTE);
        let with = first_answer(&netserver);
        // They were there all the time: none had been sent away by then.
        assert!(netserver.resources().descriptors >= before.descriptors + MUTE, "{}", netserver.log());
        serves(&netserver);
        tell(&format!(
            "{MUTE} mute clients from {ADDRESSES} addresses, {engine}: first answer after {:.1} ms, \
             {:.1} ms without them (median of {ROUNDS})",
            with.as_secs_f64() * 1e3,
            without.as_secs_f64() * 1e3
        ));
        assert!(with < without + COST, "{engine}: {with:?} with them, {without:?} without");
        drop(mute);
        await_that("the mute sessions' end", || netserver.resources().within(before));
    }
}
