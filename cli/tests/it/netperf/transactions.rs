//! Transactions, pacing and interim results: what must hold of them that no recorded output shows.
//!
//! Ours and stock netperf with stock netserver, as in [`behaviour`](super::behaviour).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Maker, Netperf, Pair, Server, figures};
use crate::support::free_port;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

behaviours! {
    a_count_of_transactions_is_exact
    an_echo_service_is_asked_without_netserver
    a_lost_datagram_is_asked_for_again
    a_connection_for_each_comes_from_the_ports_asked_for
    a_signal_ends_transactions_with_their_result
    interim_results_are_seen_while_the_test_goes_on
    interim_results_add_up_to_the_result
    part_of_an_address_may_be_left_to_chance
    another_protocol_than_the_name_says_is_used
    pacing_is_without_effect_where_this_end_has_no_pace
    segments_of_connections_that_are_gone_are_not_known
    a_pause_is_of_the_tests_that_run_on_omni
}

/// The values of these selectors, in their order.
fn selected(pair: Pair, words: &[&str], of_test: &[&str], names: &str) -> Vec<f64> {
    let server = Server::start(pair.server, LOOPBACK, &[]);
    let port = server.port().to_string();
    let words =
        [&["-H", "127.0.0.1", "-p", &port, "-P", "0"], words, &["--"], of_test, &["-k", names]].concat();
    let ended = Netperf::new(pair.client, &words).ended();
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{words:?}: {ended:?}");
    let value = |name: &str| {
        let line = ended.out.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no {name} in {}", ended.out))
    };
    names.split(',').map(value).collect()
}

fn a_count_of_transactions_is_exact(pair: Pair) {
    for test in ["TCP_RR", "UDP_RR"] {
        let names = "LOCAL_BYTES_SENT,LOCAL_BYTES_RECVD,REMOTE_BYTES_RECVD,REMOTE_BYTES_SENT";
        let counts = selected(pair, &["-t", test, "-l", "-1000"], &["-r", "10,20"], names);
        assert_eq!(counts, [10_000.0, 20_000.0, 10_000.0, 20_000.0], "{test}");
    }
}

/// Echoes what one connection after the other sends.
fn echo(service: &TcpListener) {
    for connection in service.incoming() {
        let Ok(mut connection) = connection else { return };
        let mut buffer = [0; 4096];
        while let Ok(bytes @ 1..) = connection.read(&mut buffer) {
            if connection.write_all(&buffer[..bytes]).is_err() {
                break;
            }
        }
    }
}

fn an_echo_service_is_asked_without_netserver(pair: Pair) {
    let service = TcpListener::bind((LOOPBACK, 0)).expect("loopback has free ports");
    let port = format!(",{}", service.local_addr().expect("it is bound").port());
    std::thread::spawn(move || echo(&service));
    let words = ["-N", "-t", "TCP_RR", "-H", "127.0.0.1", "-l", "1", "--", "-r", "100", "-P", &port];
    let ended = Netperf::new(pair.client, words).ended();
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
    let row = figures(&ended.out, 1);
    assert_eq!(row[2..4], [100.0, 100.0], "{ended:?}");
    assert!(row[5] > 0.0, "{ended:?}");
    // Nobody told the other end's socket buffers.
    assert_eq!(figures(&ended.out, 0), [0.0, 0.0], "{ended:?}");
}

fn a_lost_datagram_is_asked_for_again(pair: Pair) {
    let service = UdpSocket::bind((LOOPBACK, 0)).expect("loopback has free ports");
    let port = format!(",{}", service.local_addr().expect("it is bound").port());
    std::thread::spawn(move || {
        let mut datagram = [0; 100];
        // The fifth is lost.
        for number in 1.. {
            let Ok((bytes, peer)) = service.recv_from(&mut datagram) else { return };
            if number != 5 && service.send_to(&datagram[..bytes], peer).is_err() {
                return;
            }
        }
    });
    let words = ["-N", "-t", "UDP_RR", "-H", "127.0.0.1", "-l", "3", "-P", "0", "--", "-e", "1", "-P", &port];
    let ended = Netperf::new(pair.client, words).ended();
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
    // Four transactions were made before the loss.
    let row = figures(&ended.out, 1);
    assert!(row[4] * row[5] > 10.0, "{ended:?}");
}

fn a_connection_for_each_comes_from_the_ports_asked_for(pair: Pair) {
    static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
    static ELSEWHERE: AtomicU64 = AtomicU64::new(0);
    let service = TcpListener::bind((LOOPBACK, 0)).expect("loopback has free ports");
    let port = format!(",{}", service.local_addr().expect("it is bound").port());
    std::thread::spawn(move || {
        answer_each(&service, |port| {
            CONNECTIONS.fetch_add(1, Ordering::Relaxed);
            ELSEWHERE.fetch_add((!(21_000..=21_399).contains(&port)).into(), Ordering::Relaxed);
        });
    });
    let words = ["-N", "-t", "TCP_CRR", "-H", "127.0.0.1", "-l", "1", "--", "-p", "21000,21399", "-P", &port];
    let ended = Netperf::new(pair.client, words).ended();
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
    assert!(CONNECTIONS.load(Ordering::Relaxed) > 1, "{ended:?}");
    // netperf takes a port of the kernel's choice where it cannot have the next one.
    let elsewhere = ELSEWHERE.load(Ordering::Relaxed);
    assert!(elsewhere == 0 || pair.client == Maker::Stock, "{elsewhere}: {ended:?}");
}

fn a_signal_ends_transactions_with_their_result(pair: Pair) {
    let server = Server::start(pair.server, LOOPBACK, &[]);
    let port = server.port().to_string();
    for (test, name) in [("TCP_RR", "ALRM"), ("UDP_RR", "INT")] {
        let words = ["-H", "127.0.0.1", "-p", &port, "-l", "60", "-t", test];
        let measuring = Netperf::new(pair.client, words).start();
        std::thread::sleep(Duration::from_secs(1));
        measuring.signal(name);
        let ended = measuring.ended();
        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
        let row = figures(&ended.out, 1);
        assert!(row[4] > 0.1 && row[4] < 3.5 && row[5] > 0.0, "{ended:?}");
    }
}

fn interim_results_are_seen_while_the_test_goes_on(pair: Pair) {
    let server = Server::start(pair.server, LOOPBACK, &[]);
    let port = server.port().to_string();
    let words = ["-H", "127.0.0.1", "-p", &port, "-l", "3", "-D", "-0.2", "-t", "TCP_RR"];
    let began = Instant::now();
    let mut measuring = Netperf::new(pair.client, words).start();
    let out = measuring.child.as_mut().and_then(|child| child.stdout.take()).expect("it is piped");
    let mut lines = BufReader::new(out).lines().map(|line| line.expect("netperf prints text"));
    let banner = lines.next().expect("a banner");
    assert!(banner.contains(" TEST from "), "{banner}");
    let first = lines.next().expect("an interim result");
    assert!(first.starts_with("Interim result: "), "{first}");
    assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
    assert!(lines.any(|line| line.starts_with("Local /Remote")), "the table follows");
}

/// The interim results of a run, in the unit given, times the seconds that each covers.
fn interim_results_add_up_to_the_result(pair: Pair) {
    let server = Server::start(pair.server, LOOPBACK, &[]);
    let port = server.port().to_string();
    for (test, column) in [("TCP_RR", 5), ("UDP_RR", 5), ("TCP_MAERTS", 4)] {
        let words = ["-H", "127.0.0.1", "-p", &port, "-l", "1", "-D", "-0.1", "-P", "0", "-t", test];
        let ended = Netperf::new(pair.client, words).ended();
        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
        let interim = ended.out.lines().filter_map(|line| {
            let words: Vec<&str> = line.strip_prefix("Interim result: ")?.split_whitespace().collect();
            let [rate, _, _, seconds, ..] = words[..] else { return None };
            Some((rate.parse::<f64>().ok()?, seconds.parse::<f64>().ok()?))
        });
        let interim: Vec<(f64, f64)> = interim.collect();
        assert!((5..=12).contains(&interim.len()), "{ended:?}");
        let row = figures(&ended.out, usize::from(test.ends_with("RR")));
        let whole = row[column] * row[column - 1];
        let sum: f64 = interim.iter().map(|(rate, seconds)| rate * seconds).sum();
        assert!((sum / whole - 1.0).abs() < 0.1, "{sum} is not {whole}: {ended:?}");
    }
}

fn part_of_an_address_may_be_left_to_chance(pair: Pair) {
    let values = selected(pair, &["-l", "1"], &["-H", "127.1.0.0/16"], "THROUGHPUT,REMOTE_BYTES_RECVD");
    assert!(values.iter().all(|value| *value > 0.0), "{values:?}");
}

fn another_protocol_than_the_name_says_is_used(pair: Pair) {
    let values = selected(pair, &["-l", "1", "-t", "TCP_RR"], &["-T", "udp"], "THROUGHPUT,TRANSPORT_MSS");
    assert!(values[0] > 0.0, "{values:?}");
    assert_eq!(values[1], -1.0);
}

fn segments_of_connections_that_are_gone_are_not_known(pair: Pair) {
    let names = "LOCAL_TRANSPORT_RETRANS,REMOTE_TRANSPORT_RETRANS";
    // By count: where the time ends a test of stock netperf, a connection may be open yet.
    assert_eq!(selected(pair, &["-l", "-50", "-t", "TCP_CRR"], &[], names), [-1.0, -1.0]);
    assert_eq!(selected(pair, &["-l", "-50", "-t", "OMNI"], &["-c"], names), [-1.0, -1.0]);
    assert!(selected(pair, &["-l", "-50", "-t", "TCP_RR"], &[], names).iter().all(|count| *count >= 0.0));
}

fn a_pause_is_of_the_tests_that_run_on_omni(pair: Pair) {
    let server = Server::start(pair.server, LOOPBACK, &[]);
    let port = server.port().to_string();
    let took = |test, length| {
        let words = ["-H", "127.0.0.1", "-p", &port, "-s", "5", "-t", test, "-l", length];
        let ended = Netperf::new(pair.client, words).ended();
        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
        ended.took
    };
    assert!(took("TCP_MSS", "1") < Duration::from_secs(4));
    assert!(took("TCP_SENDFILE", "1") < Duration::from_secs(4));
    assert!(took("TCP_RR", "-10") >= Duration::from_secs(5));
}

/// Answers one byte with one on each connection, and closes it first.
fn answer_each(service: &TcpListener, came_from: impl Fn(u16)) {
    for connection in service.incoming() {
        let Ok(mut connection) = connection else { return };
        came_from(connection.peer_addr().map_or(0, |peer| peer.port()));
        let mut byte = [0];
        let _ = connection.read_exact(&mut byte).and_then(|()| connection.write_all(&byte));
    }
}

#[test]
fn a_connection_that_fails_is_tried_again_where_that_is_asked_for() {
    for engine in ["uring", "epoll", "classic"] {
        let port = free_port();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(700));
            let service = TcpListener::bind((LOOPBACK, port)).expect("nobody else takes it");
            answer_each(&service, |_| ());
        });
        let at = format!(",{port}");
        let run = |of_test: &[&str]| {
            let words = ["-N", "-t", "TCP_CRR", "-H", "127.0.0.1", "-l", "2", "-P", "0", "--", "-P", &at];
            let mut netperf = Netperf::new(Maker::Ours, [&words, of_test].concat());
            netperf.command.env("RINGPERF_ENGINE", engine);
            netperf.ended()
        };
        let refused = run(&[]);
        let sentence = "netperf: send_omni: connect_data_socket failed: Connection refused\n";
        assert_eq!((refused.status, refused.err.as_str()), (1, sentence), "{engine}: {refused:?}");
        let ended = run(&["-U"]);
        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{engine}: {ended:?}");
        assert!(figures(&ended.out, 1)[5] > 0.0, "{engine}: {ended:?}");
    }
}

fn pacing_is_without_effect_where_this_end_has_no_pace(pair: Pair) {
    let server = Server::start(pair.server, LOOPBACK, &[]);
    let port = server.port().to_string();
    let sentences = "Packet burst size is not compiled in. \nPacket rate control is not compiled in.\n";
    let cases: [&[&str]; 5] = [
        &["-t", "TCP_MAERTS", "-l", "1"],
        &["-t", "TCP_CRR", "-l", "-50"],
        &["-t", "TCP_CC", "-l", "-50"],
        &["-t", "OMNI", "-l", "1", "--", "-d", "recv"],
        &["-t", "OMNI", "-l", "-50", "--", "-c"],
    ];
    for words in cases {
        let words = [&["-H", "127.0.0.1", "-p", &port, "-b", "3", "-w", "100"], words].concat();
        let ended = Netperf::new(pair.client, &words).ended();
        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{words:?}: {ended:?}");
        assert!(ended.out.starts_with(sentences), "{words:?}: {ended:?}");
        assert!(!ended.out.contains(" : interval"), "{words:?}: {ended:?}");
    }
}

/// As a netperf that has intervals built in; Debian's has not.
#[test]
fn both_halves_of_pacing_pace() {
    let sent = |test, of_test: &[&str], name, least| {
        let words = ["-l", "1", "-t", test, "-w", "100", "-b", "3"];
        // A busy machine may miss a burst, and never makes one more.
        let mut runs = (0..3).map(|_| selected(Pair::OURS, &words, of_test, name)[0]);
        runs.find(|bytes| *bytes >= least)
    };
    let stream = sent("TCP_STREAM", &["-m", "1000"], "LOCAL_BYTES_SENT", 24_000.0);
    assert!(stream.is_some_and(|bytes| (24_000.0..=33_000.0).contains(&bytes)), "{stream:?}");
    let requests = sent("UDP_RR", &[], "LOCAL_BYTES_RECVD", 24.0);
    assert!(requests.is_some_and(|bytes| (24.0..=33.0).contains(&bytes)), "{requests:?}");
    let server = Server::start(Maker::Ours, LOOPBACK, &[]);
    let port = server.port().to_string();
    let words = ["-H", "127.0.0.1", "-p", &port, "-l", "1", "-w", "100"];
    let ended = Netperf::new(Maker::Ours, words).ended();
    assert!(ended.out.starts_with("Packet rate control is not compiled in.\n"), "{ended:?}");
    assert!(figures(&ended.out, 0)[4] > 100.0, "{ended:?}");
}

/// As a netperf that has histograms built in; Debian's has not.
#[test]
fn timings_are_counted_in_a_histogram() {
    let server = Server::start(Maker::Ours, LOOPBACK, &[]);
    let port = server.port().to_string();
    for test in ["TCP_STREAM", "TCP_MAERTS", "UDP_STREAM", "TCP_RR", "UDP_RR", "TCP_CRR"] {
        let words = ["-H", "127.0.0.1", "-p", &port, "-l", "1", "-t", test, "-j", "-v", "2"];
        let ended = Netperf::new(Maker::Ours, words).ended();
        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
        assert!(
            ended.out.lines().next().is_some_and(|line| line.contains(" : histogram : demo")),
            "{ended:?}"
        );
        let (total, rest) =
            ended.out.rsplit_once("HIST_TOTAL:").map(|(rest, total)| (total, rest)).expect("it ends it");
        let total: u64 = total.trim().parse().expect("a count");
        let cells = rest
            .lines()
            .filter(|line| line.contains("USEC ") || line.contains("SEC   ") || line.contains("MSEC "));
        let cells = cells.flat_map(|line| line.split(':').skip(1));
        let sum: u64 = cells.filter_map(|cell| cell.trim().parse::<u64>().ok()).sum();
        assert!(total > 0 && sum == total, "{sum} of {total}: {}", ended.out);
    }
}

/// netperf fails at the second iteration.
#[test]
fn a_file_is_sent_as_often_as_confidence_wants() {
    let server = Server::start(Maker::Ours, LOOPBACK, &[]);
    let port = server.port().to_string();
    let words = ["-H", "127.0.0.1", "-p", &port, "-l", "1", "-t", "TCP_SENDFILE", "-i", "3", "-I", "99,2000"];
    let ended = Netperf::new(Maker::Ours, words).ended();
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
    assert!(ended.took > Duration::from_secs(3) && figures(&ended.out, 0)[4] > 0.0, "{ended:?}");
}
