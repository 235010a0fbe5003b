//! Many sessions, one after the other and at the same time: what they leave behind, and that each has its own
//! figures.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use ringperf_proto::Frame;
use ringperf_proto::omni::OmniRequest;

use crate::support::{Control, Netserver, Resources, await_that, connect_data, golden_request, words};

/// Sessions one after the other.
const IN_TURN: u32 = 200;

/// Sessions at the same time.
const AT_ONCE: u32 = 64;

/// By how much memory may grow over all of them. A test that kept its memory would take 2 MiB and more each
/// time; what the allocator keeps, and its arenas for so many threads, is less than this in all.
const GROWTH_KIB: u64 = 32 << 10;

fn counted(name: &str, transactions: u32) -> Frame {
    let (mut frame, request) = golden_request(name);
    let transactions = i32::try_from(transactions).expect("a few");
    let address = words(std::net::Ipv4Addr::UNSPECIFIED.into());
    OmniRequest { data_port: 0, netperf_ip: address, test_length: -transactions, ..request }
        .encode(&mut frame);
    frame
}

/// A whole session of so many transactions over one connection, or over one each.
fn session(netserver: &Netserver, transactions: u32, each: bool) {
    let mut control = Control::open(netserver.address());
    let name = if each { "tcp_crr" } else { "tcp_rr" };
    let response = control.ask(counted(name, transactions).as_bytes());
    let mut data = connect_data(&response);
    for number in 0..transactions {
        if each && number > 0 {
            data = connect_data(&response);
        }
        data.write_all(b"?").expect("the request is taken");
        data.read_exact(&mut [0; 1]).expect("a response comes");
        if each || number + 1 == transactions {
            assert_eq!(data.read(&mut [0; 1]).expect("an orderly close"), 0);
        }
    }
    assert_eq!(control.results().trans_received, transactions, "its own figure");
    control.0.shutdown(Shutdown::Write).expect("the connection is there");
    control.await_close();
}

/// What it holds once a session has come and gone: what is only made then is no leak.
fn baseline(netserver: &Netserver) -> Resources {
    let before = netserver.resources();
    session(netserver, 3, false);
    session(netserver, 3, true);
    await_that("the first sessions' end", || netserver.resources().within(before));
    netserver.resources()
}

fn back_at(netserver: &Netserver, before: Resources) {
    await_that("the sessions' end", || netserver.resources().within(before));
    let grown = netserver.resources().resident_kib.saturating_sub(before.resident_kib);
    assert!(grown < GROWTH_KIB, "{grown} KiB more than before");
}

#[test]
fn many_sessions_in_turn_leave_nothing_behind() {
    let netserver = Netserver::start(&["-L", "127.0.0.1"]);
    let before = baseline(&netserver);
    for number in 1..=IN_TURN {
        session(&netserver, 1 + number % 7, number % 2 == 0);
    }
    back_at(&netserver, before);
}

#[test]
fn many_sessions_at_once_share_nothing_and_leave_nothing_behind() {
    let netserver = Netserver::start(&["-L", "127.0.0.1"]);
    let before = baseline(&netserver);
    thread::scope(|scope| {
        for number in 1..=AT_ONCE {
            let netserver = &netserver;
            scope.spawn(move || session(netserver, 10 + number, number % 2 == 0));
        }
    });
    back_at(&netserver, before);
}

/// Each connection of a scan of the port ends in a session that did not end in order.
#[test]
fn of_sessions_that_do_not_end_in_order_ten_a_second_are_told_and_the_rest_is_counted() {
    const SCAN: u64 = 300;
    let netserver = Netserver::start(&["-L", "127.0.0.1"]);
    let begun = Instant::now();
    let half_a_request = || {
        let mut control = Control::open(netserver.address());
        control.send(&[0; 100]);
        control.finish();
        control.await_close();
    };
    (0..SCAN).for_each(|_| half_a_request());
    let periods = begun.elapsed().as_secs() + 2;
    thread::sleep(Duration::from_secs(1));
    half_a_request();
    let told = || netserver.log().lines().filter(|line| line.contains("session broken off")).count() as u64;
    let held_back = || {
        let log = netserver.log();
        let counts = log.split("held_back=").skip(1).filter_map(|rest| rest.split_whitespace().next());
        counts.map(|count| count.parse::<u64>().expect("a number")).sum::<u64>()
    };
    await_that("the count of the others", || told() + held_back() == SCAN + 1);
    assert!(told() <= 10 * periods + 1, "{} in {periods} s", told());
    assert!(held_back() > 0, "the machine is too slow for a scan: {periods} s");
}
