//! What no recorded output shows: counts and costs that must fit together, netservers that die, sinks without
//! a netserver, our programs with stock ones.
//!
//! A behaviour is a function of whose client and whose server. Each is tested for ours, and for stock netperf
//! with stock netserver, which shows that it is expected rightly.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::mask::rows;
use super::{Ended, Maker, Netperf, Pair, Server, figures};
use crate::support::{Netserver, RINGPERF, await_that, free_port, signal, skip};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const TESTS: [&str; 3] = ["TCP_STREAM", "TCP_MAERTS", "UDP_STREAM"];

behaviours! {
    a_byte_count_is_rounded_up_to_whole_messages
    messages_are_of_one_byte_to_sixteen_mebibytes
    a_datagram_is_of_65507_bytes_at_most
    an_unknown_test_is_found_out_after_connecting
    what_cannot_be_found_is_told
    a_socket_buffer_of_0_is_the_kernels_least
    service_demand_follows_from_utilisation_and_rate
    confidence_runs_as_often_as_needed
    a_sink_without_netserver_gets_what_is_counted
    a_source_without_netserver_is_received_from
    datagrams_go_to_a_socket_without_netserver
    one_data_port_for_both_ends_carries_datagrams
    every_address_of_the_server_can_be_measured
    a_port_that_is_taken_is_left_to_the_kernel
    a_netserver_killed_mid_run_is_told
    a_netserver_of_one_session_at_a_time_serves_one_after_another
}

/// The banner shows what was asked for.
fn a_port_that_is_taken_is_left_to_the_kernel(pair: Pair) {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let port = taken.local_addr().expect("it is bound").port();
    let out = measured(pair, &["-l", "1", "--", "-P", &format!("{port},"), "-L", "127.0.0.1"]);
    assert!(out.contains(&format!(" from 127.0.0.1 () port {port} AF_INET to ")), "{out}");
    assert_positive("TCP_STREAM", &out);
}

/// Runs netperf against a server of its own on IPv4 loopback.
fn measure(pair: Pair, words: &[&str]) -> Ended {
    let server = Server::start(pair.server, LOOPBACK, &[]);
    let port = server.port().to_string();
    Netperf::new(pair.client, [&["-H", "127.0.0.1", "-p", &port], words].concat()).ended()
}

/// The same, and it must end well.
fn measured(pair: Pair, words: &[&str]) -> String {
    let ended = measure(pair, words);
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{words:?}: {ended:?}");
    ended.out
}

/// Rate and counts of a result are positive, at both ends where both are told.
pub(super) fn assert_positive(test: &str, out: &str) {
    let positive = if test == "UDP_STREAM" {
        let (sent, received) = (figures(out, 1), figures(out, 0));
        assert_eq!((sent.len(), received.len()), (6, 4), "{out}");
        // Loopback loses only what the receiver is too slow for; next to everything is lost by a mistake.
        assert!(received[2] > sent[3] / 200.0, "{out}");
        vec![sent[3], sent[5], received[2], received[3]]
    } else {
        let row = figures(out, 0);
        assert_eq!(row.len(), 5, "{out}");
        vec![row[4]]
    };
    assert!(positive.iter().all(|figure| *figure > 0.0), "{out}");
}

fn a_byte_count_is_rounded_up_to_whole_messages(pair: Pair) {
    // Alignments and offsets, then bytes, bytes per call and calls of this end, and the same per call of the
    // other.
    let block = |words: &[&str]| figures(&measured(pair, &[&["-v", "3"], words].concat()), 4);
    let row = block(&["-l", "-10000001", "--", "-m", "1000"]);
    assert_eq!(row[4..7], [10_001_000.0, 1000.0, 10_001.0], "{row:?}");
    assert!((row[7] * row[8] / row[4] - 1.0).abs() < 0.01, "{row:?}");
    // The receiver stops at the first receive that reaches the count; the sender has sent whole messages.
    let row = block(&["-t", "TCP_MAERTS", "-l", "-10000001", "--", "-m", ",1000"]);
    assert!((10_000_001.0..=10_001_000.0).contains(&row[4]), "{row:?}");
    assert!((row[5] * row[6] / row[4] - 1.0).abs() < 0.01, "{row:?}");
    assert_eq!(row[7..9], [1000.0, 10_001.0], "{row:?}");
}

fn messages_are_of_one_byte_to_sixteen_mebibytes(pair: Pair) {
    for (size, printed, length) in [("1", 1.0, "-100000"), ("16M", 16_777_216.0, "-100000000")] {
        let out = measured(pair, &["-l", length, "--", "-m", size]);
        assert_eq!(figures(&out, 0)[2], printed, "{out}");
        assert_positive("TCP_STREAM", &out);
        let both = format!(",{size}");
        let out = measured(pair, &["-t", "TCP_MAERTS", "-l", length, "--", "-m", &both, "-M", &both]);
        assert_eq!(figures(&out, 0)[2], printed, "{out}");
        assert_positive("TCP_MAERTS", &out);
    }
    let out = measured(pair, &["-t", "UDP_STREAM", "-l", "1", "--", "-m", "1"]);
    assert_eq!(figures(&out, 1)[1], 1.0, "{out}");
    assert_positive("UDP_STREAM", &out);
}

fn a_datagram_is_of_65507_bytes_at_most(pair: Pair) {
    let out = measured(pair, &["-t", "UDP_STREAM", "-l", "1", "--", "-m", "65507"]);
    assert_eq!(figures(&out, 1)[1], 65_507.0, "{out}");
    assert_positive("UDP_STREAM", &out);
    // -r is what is sent, -m what is printed.
    for words in [["-m", "65508"], ["-r", "65508"]] {
        let ended = measure(pair, &[&["-t", "UDP_STREAM", "-l", "1", "--"], &words[..]].concat());
        assert_eq!(ended.status, 1, "{ended:?}");
        let last = ended.out.lines().last().unwrap_or_default();
        assert_eq!(last, "send_data: data send error: Message too long (errno 90)", "{ended:?}");
        assert_eq!(ended.err, "netperf: send_omni: send_data failed: Message too long\n");
    }
}

fn an_unknown_test_is_found_out_after_connecting(pair: Pair) {
    let port = free_port().to_string();
    let ended = Netperf::new(pair.client, ["-t", "NO_SUCH_TEST", "-H", "127.0.0.1", "-p", &port]).ended();
    assert_eq!(ended.status, 255, "{ended:?}");
    assert!(ended.out.starts_with("establish control: are you sure"), "{ended:?}");
    assert_eq!(ended.err, "");
    let ended = measure(pair, &["-t", "no_such_test"]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(ended.out.starts_with("The test you requested (NO_SUCH_TEST) is unknown"), "{ended:?}");
}

/// In the order in which it is looked for, and in words that tell which of the ends it was for.
fn what_cannot_be_found_is_told(pair: Pair) {
    let server = Server::start(pair.server, LOOPBACK, &[]);
    let port = server.port().to_string();
    let no_service = "\tgetaddrinfo returned -8 Servname not supported for ai_socktype\n";
    let no_address = "\tgetaddrinfo returned -9 Address family for hostname not supported\n";
    let from = "establish_control could not establish the control connection from";
    let to = "to 127.0.0.1 port";
    let data = "complete_addrinfo: could not resolve";
    let cases = [
        (
            vec!["-p", "1x"],
            format!(
                "resolve_host: could not resolve host '127.0.0.1' port '1x' af AF_INET\n{no_service}\
                 {from} 0.0.0.0 port 0 address family AF_UNSPEC {to} 1x address family AF_INET\n"
            ),
        ),
        (
            vec!["-p", &port, "-L", "127.0.0.1,6"],
            format!(
                "resolve_host: could not resolve host '127.0.0.1' port '0' af AF_INET6\n{no_address}\
                 {from} 127.0.0.1 port 0 address family AF_INET6 {to} {port} address family AF_INET\n"
            ),
        ),
        (
            vec!["-p", &port, "-L", "::1"],
            format!(
                "establish control: are you sure there is a netserver listening on 127.0.0.1 at port \
                 {port}?\n{from} ::1 port 0 address family AF_UNSPEC {to} {port} address family AF_INET\n"
            ),
        ),
        (vec!["-p", &port, "--", "-P", "1x"], format!("{data} '127.0.0.1' port '1x' af 2\n{no_service}")),
        (vec!["-p", &port, "--", "-P", "1x,"], format!("{data} '0.0.0.0' port '1x' af 0\n{no_service}")),
        (vec!["-p", &port, "--", "-6"], format!("{data} '127.0.0.1' port '0' af 10\n{no_address}")),
        (vec!["-p", &port, "--", "-L", ",6"], format!("{data} '0.0.0.0' port '0' af 10\n{no_address}")),
    ];
    for (words, expected) in cases {
        let ended = Netperf::new(pair.client, [vec!["-H", "127.0.0.1"], words].concat()).ended();
        assert_eq!((ended.status, &ended.out, ended.err.as_str()), (255, &expected, ""), "{ended:?}");
    }
    let ended = measure(pair, &["-P", "0", "--", "-L", "::1"]);
    assert_eq!(ended.out, "get_sockaddr_family_addr_port family mismatch 10 vs 2\n");
    assert_eq!(ended.err, "netperf: send_omni: connect_data_socket failed: Invalid argument\n");
    assert_eq!(ended.status, 1);
}

fn a_socket_buffer_of_0_is_the_kernels_least(pair: Pair) {
    let least = |words: &[&str]| {
        let out = measured(pair, &[&["-l", "1", "-P", "0", "--"], words].concat());
        figures(&out, 0).into_iter().take(3).collect::<Vec<_>>()
    };
    // What the kernel grants for 1 byte it grants for none.
    assert_eq!(least(&["-s", "0", "-S", "0"]), least(&["-s", "1", "-S", "1"]));
}

/// By section 4.2 of what is known of netperf: utilisation of all cores, in microseconds per KB (1024 bytes).
fn service_demand_follows_from_utilisation_and_rate(pair: Pair) {
    let stat = std::fs::read_to_string("/proc/stat").expect("the kernel has it");
    let is_core = |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| !rest.starts_with(' '));
    let cores = stat.lines().filter(is_core).count() as f64;
    for test in TESTS {
        let out = measured(pair, &["-c", "-C", "-t", test, "-l", "1"]);
        let (rate, ends) = if test == "UDP_STREAM" {
            // Both rows have utilisation and demand; the demand of both ends is per KB sent.
            let (sent, received) = (figures(&out, 1), figures(&out, 0));
            (sent[5], [(sent[6], sent[7]), (received[4], received[5])])
        } else {
            let row = figures(&out, 0);
            (row[4], [(row[5], row[7]), (row[6], row[8])])
        };
        let kib_per_second = rate * 1e6 / 8.0 / 1024.0;
        for (utilisation, demand) in ends {
            assert!(utilisation > 0.0 && utilisation <= 100.0, "{out}");
            let expected = utilisation * 10_000.0 * cores / kib_per_second;
            // Three decimals are printed; what the peer had not received at the end is sent all the same.
            let tolerance = 0.001 + expected * 0.01;
            assert!((demand - expected).abs() <= tolerance, "{demand} is not {expected}:\n{out}");
        }
    }
}

fn confidence_runs_as_often_as_needed(pair: Pair) {
    // A width that any three runs keep, and ten would take longer than they may.
    let ended = measure(pair, &["-i", "10,3", "-I", "95,2000", "-P", "0", "-l", "1"]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert_eq!(ended.out.lines().count(), 1, "{ended:?}");
    assert!((3.0..9.0).contains(&ended.took.as_secs_f64()), "{ended:?}");
    // One that no four do: the given number of runs, and the warning even where nothing else is printed.
    let ended = measure(pair, &["-i", "4", "-I", "99,0.001", "-P", "0", "-v", "0", "-l", "1"]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!((4.0..9.0).contains(&ended.took.as_secs_f64()), "{ended:?}");
    let width =
        ended.out.lines().find_map(|line| line.strip_prefix("!!! Confidence intervals: Throughput      : "));
    let width: f64 = width.and_then(|text| text.strip_suffix('%')?.parse().ok()).expect("a width");
    assert!(width > 0.001, "{ended:?}");
}

fn a_sink_without_netserver_gets_what_is_counted(pair: Pair) {
    let sink = TcpListener::bind((LOOPBACK, 0)).expect("loopback has free ports");
    let port = format!(",{}", sink.local_addr().expect("it is bound").port());
    let taken = std::thread::spawn(move || {
        let (mut connection, _) = sink.accept().expect("netperf comes");
        std::io::copy(&mut connection, &mut std::io::sink()).expect("an orderly end")
    });
    let words = ["-N", "-v", "2", "-H", "127.0.0.1", "-l", "-10000000", "--", "-m", "1000", "-P", &port];
    let ended = Netperf::new(pair.client, words).ended();
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
    assert_eq!(taken.join().expect("the sink does not panic"), 10_000_000);
    assert!(ended.out.contains(" : no control : demo\n"), "{ended:?}");
    // Nobody told the receiver's socket buffer.
    let row = ended.out.lines().skip_while(|line| !line.is_empty()).nth(1).unwrap_or_default();
    assert!(row.starts_with("     0 "), "{ended:?}");
    assert!(row.trim_end().ends_with(|letter: char| letter.is_ascii_digit()) && !row.contains(" 0.00 "));
    // Nor what it received, which the last two columns of the block are about.
    let block = ended.out.lines().find(|line| line.contains(" 10000000 ")).expect("the bytes");
    let block: Vec<&str> = block.split_whitespace().collect();
    assert_eq!(block[4..7], ["10000000", "1000.00", "10000"], "{ended:?}");
}

fn a_source_without_netserver_is_received_from(pair: Pair) {
    let source = TcpListener::bind((LOOPBACK, 0)).expect("loopback has free ports");
    let port = format!(",{}", source.local_addr().expect("it is bound").port());
    std::thread::spawn(move || {
        let (mut connection, _) = source.accept().expect("netperf comes");
        let message = vec![b'x'; 1 << 16];
        while connection.write_all(&message).is_ok() {}
    });
    let words = ["-N", "-t", "TCP_MAERTS", "-H", "127.0.0.1", "-l", "1", "--", "-P", &port];
    let ended = Netperf::new(pair.client, words).ended();
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
    assert!(ended.out.contains(" : no control : demo\n"), "{ended:?}");
    assert_positive("TCP_MAERTS", &ended.out);
    assert!(ended.took < Duration::from_millis(3500), "nobody's results are waited for: {ended:?}");
    // Nobody told the sender's socket buffer and message size.
    assert_eq!(figures(&ended.out, 0)[1..3], [0.0, -1.0], "{ended:?}");
}

fn datagrams_go_to_a_socket_without_netserver(pair: Pair) {
    let socket = UdpSocket::bind((LOOPBACK, 0)).expect("loopback has free ports");
    let port = format!(",{}", socket.local_addr().expect("it is bound").port());
    let words = ["-N", "-t", "UDP_STREAM", "-H", "127.0.0.1", "-l", "1", "--", "-m", "1000", "-P", &port];
    let ended = Netperf::new(pair.client, words).ended();
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
    let row = figures(&ended.out, 1);
    assert!(row[3] > 0.0 && row[5] > 0.0, "{ended:?}");
    // The netserver's row is empty, and yet the result is what was sent.
    let row = figures(&ended.out, 0);
    assert_eq!((row[0], &row[2..]), (0.0, &[0.0, 0.0][..]), "{ended:?}");
    let selectors = ["-k", "THROUGHPUT,LOCAL_SEND_THROUGHPUT,REMOTE_RECV_THROUGHPUT"];
    let ended = Netperf::new(pair.client, [&words[..], &selectors].concat()).ended();
    let rate = |name: &str| {
        let line = ended.out.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.and_then(|text| text.parse::<f64>().ok()).unwrap_or_else(|| panic!("no {name}: {ended:?}"))
    };
    assert!(rate("THROUGHPUT") > 0.0, "{ended:?}");
    assert_eq!(rate("THROUGHPUT"), rate("LOCAL_SEND_THROUGHPUT"), "{ended:?}");
    assert_eq!(rate("REMOTE_RECV_THROUGHPUT"), 0.0, "{ended:?}");
    let mut datagram = [0; 2000];
    assert_eq!(socket.recv(&mut datagram).expect("the first is there"), 1000);
}

fn one_data_port_for_both_ends_carries_datagrams(pair: Pair) {
    let port = free_port().to_string();
    let out = measured(pair, &["-t", "UDP_STREAM", "-l", "1", "--", "-P", &port, "-r", "150", "-m", "3100"]);
    assert_positive("UDP_STREAM", &out);
    // -r is what is sent, -m what is printed.
    let sent = figures(&out, 1);
    let rate = sent[3] * 150.0 * 8.0 / sent[2] / 1e6;
    assert!(sent[1] == 3100.0 && (sent[5] / rate - 1.0).abs() < 0.02, "{out}");
}

/// The address that a client names need not be the one that the server's kernel would answer from.
fn every_address_of_the_server_can_be_measured(pair: Pair) {
    let server = Server::start(pair.server, IpAddr::V4(Ipv4Addr::UNSPECIFIED), &[]);
    let port = server.port().to_string();
    for test in TESTS {
        let words = ["-H", "127.0.0.2", "-p", &port, "-t", test, "-l", "1"];
        let ended = Netperf::new(pair.client, words).ended();
        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
        assert_positive(test, &ended.out);
    }
}

fn a_netserver_killed_mid_run_is_told(pair: Pair) {
    for test in ["TCP_STREAM", "TCP_MAERTS"] {
        let server = Server::start(pair.server, LOOPBACK, &[]);
        let port = server.port().to_string();
        let measuring =
            Netperf::new(pair.client, ["-H", "127.0.0.1", "-p", &port, "-l", "20", "-t", test]).start();
        std::thread::sleep(Duration::from_secs(1));
        // Stock netserver has a process for each client.
        let children = format!("/proc/{0}/task/{0}/children", server.id());
        let children = std::fs::read_to_string(children).unwrap_or_default();
        for id in children.split_whitespace().map(str::to_owned).chain([server.id().to_string()]) {
            signal(id.parse().expect("a process id"), "KILL");
        }
        let ended = measuring.ended();
        assert_eq!(ended.status, 1, "{ended:?}");
        assert!(ended.took < Duration::from_secs(15), "{ended:?}");
        let ends = ["partial response received: 0 bytes", "Connection reset by peer"];
        let told =
            ended.err.strip_prefix("recv_response: ").is_some_and(|text| ends.contains(&text.trim_end()));
        let alone = ended.out.lines().count() == 1;
        // Stock netperf on a busy machine may see the data connection die first, and say that.
        let busy = pair.client == Maker::Stock && !ended.err.is_empty() && rows(&ended.out) == 0;
        assert!(told && alone || busy, "{ended:?}");
    }
}

fn a_netserver_of_one_session_at_a_time_serves_one_after_another(pair: Pair) {
    let server = Server::start(pair.server, LOOPBACK, &["-f"]);
    let port = server.port().to_string();
    let netperf =
        |test, length| Netperf::new(pair.client, ["-H", "127.0.0.1", "-p", &port, "-t", test, "-l", length]);
    for test in TESTS {
        let ended = netperf(test, "1").ended();
        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
        assert_positive(test, &ended.out);
    }
    let first = netperf("TCP_STREAM", "3").start();
    std::thread::sleep(Duration::from_millis(500));
    // It waits for the first one's end, and only then measures for as long as it was asked to.
    let second = netperf("TCP_MAERTS", "1").ended();
    let first = first.ended();
    for (test, ended) in [("TCP_STREAM", &first), ("TCP_MAERTS", &second)] {
        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
        assert_positive(test, &ended.out);
    }
    assert!(second.took > Duration::from_millis(3200), "{second:?}");
    assert!(figures(&second.out, 0)[3] < 2.0, "{second:?}");
}

/// Every test over IPv4, over IPv6, with CPU figures, and through one data port: all at a time, as each is
/// mostly a second of waiting.
fn measure_with_each_other(pair: Pair, test: &str) {
    if !pair.is_here(test) {
        return;
    }
    let mut hosts = vec![LOOPBACK];
    if TcpListener::bind("[::1]:0").is_ok() {
        hosts.push(IpAddr::V6(Ipv6Addr::LOCALHOST));
    } else {
        skip(test, "ipv6", "there is no ::1 here");
    }
    for host in hosts {
        let server = Server::start(pair.server, host, &[]);
        let (host, port, data) = (host.to_string(), server.port().to_string(), free_port().to_string());
        std::thread::scope(|scope| {
            for test in TESTS {
                let base = ["-H", &host, "-p", &port, "-t", test, "-l", "1"].map(str::to_owned);
                let data = data.clone();
                scope.spawn(move || {
                    let ended = Netperf::new(pair.client, &base).ended();
                    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{base:?}: {ended:?}");
                    assert_positive(test, &ended.out);
                    let ended = Netperf::new(
                        pair.client,
                        ["-C", "-v", "0", "-P", "0"].map(str::to_owned).iter().chain(&base),
                    )
                    .ended();
                    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{base:?}: {ended:?}");
                    let demand =
                        ended.out.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
                    assert!(demand.is_some_and(|demand| demand > 0.0), "{base:?}: {ended:?}");
                    if test == "UDP_STREAM" {
                        let ports = ["--", "-P", &data, "-r", "150"].map(str::to_owned);
                        let ended = Netperf::new(pair.client, base.iter().chain(&ports)).ended();
                        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{base:?}: {ended:?}");
                        assert_positive(test, &ended.out);
                    }
                });
            }
        });
    }
}

#[test]
fn our_netperf_measures_against_stock_netserver() {
    let pair = Pair { client: Maker::Ours, server: Maker::Stock };
    measure_with_each_other(pair, "our_netperf_measures_against_stock_netserver");
}

#[test]
fn stock_netperf_measures_against_our_netserver() {
    let pair = Pair { client: Maker::Stock, server: Maker::Ours };
    measure_with_each_other(pair, "stock_netperf_measures_against_our_netserver");
}

/// The kernel's own figure, which changes in the course of a connection and with the loopback device.
#[test]
fn the_segment_size_is_what_stock_netperf_tells() {
    if !Pair::STOCK.is_here("the_segment_size_is_what_stock_netperf_tells") {
        return;
    }
    for test in ["TCP_STREAM", "TCP_MAERTS"] {
        let size = |pair| figures(&measured(pair, &["-t", test, "-v", "3", "-l", "1"]), 0);
        assert_eq!(size(Pair::OURS), size(Pair::STOCK), "{test}");
    }
}

#[test]
fn the_name_netperf_is_enough() {
    let server = Server::start(Maker::Ours, LOOPBACK, &[]);
    let port = server.port().to_string();
    let run =
        |options: &[&str]| Command::new(RINGPERF).arg0("netperf").args(options).output().expect("it starts");
    let output = run(&["-H", "127.0.0.1", "-p", &port, "-P", "0", "-l", "-1000000"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_positive("TCP_STREAM", &String::from_utf8_lossy(&output.stdout));
    let output = run(&["-q"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stderr.starts_with(b"netperf: invalid option -- 'q'\n"), "{output:?}");
    // A script's complaint names the path that it called.
    let output = Command::new(RINGPERF).arg0("/nowhere/netperf").arg("-q").output().expect("it starts");
    assert!(output.stderr.starts_with(b"/nowhere/netperf: invalid option -- 'q'\n"), "{output:?}");
}

#[test]
fn netserver_logs_one_line_for_each_test() {
    let netserver = Netserver::start(&[]);
    let port = netserver.port.to_string();
    for (index, test) in TESTS.iter().enumerate() {
        let words = ["-H", "127.0.0.1", "-p", &port, "-t", test, "-l", "1"];
        let ended = Netperf::new(Maker::Ours, words).ended();
        assert_eq!(ended.status, 0, "{ended:?}");
        let told = || netserver.log().lines().filter(|line| line.contains("Mbit/s")).count();
        await_that("a line in the log", || told() > index);
        assert_eq!(told(), index + 1, "{}", netserver.log());
    }
    let log = netserver.log();
    let last = log.lines().rfind(|line| line.contains("Mbit/s")).unwrap_or_default();
    assert!(last.contains("datagrams"), "{log}");
}

/// A folder that no other test writes to; gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the build's folder can be written to");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs ours with its records going to `place`; what it printed.
fn recorded(server: &Server, place: &Path, words: &[&str]) -> String {
    let port = server.port().to_string();
    let mut netperf = Netperf::new(Maker::Ours, [&["-H", "127.0.0.1", "-p", &port], words].concat());
    netperf.command.env("RINGPERF_RECORD", place);
    let ended = netperf.ended();
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
    ended.out
}

#[test]
fn records_stand_beside_the_output_and_agree_with_it() {
    let folder = Folder::new("records-file");
    let file = folder.0.join("runs.jsonl");
    let server = Server::start(Maker::Ours, LOOPBACK, &[]);
    let printed: Vec<String> = TESTS
        .iter()
        .map(|test| {
            recorded(
                &server,
                &file,
                &["-t", test, "-l", "1", "--", "-s", "64K", "-S", "32K", "-m", "1000,2000"],
            )
        })
        .collect();
    let text = std::fs::read_to_string(&file).expect("the file was made");
    let records: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    assert_eq!(records.len(), TESTS.len(), "{text}");
    for ((test, out), record) in TESTS.iter().zip(&printed).zip(&records) {
        assert_eq!(record["test"].as_str(), Some(test.to_lowercase().as_str()), "{record}");
        assert_eq!(record["asked"]["seconds"], 1, "{record}");
        let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("no number: {record}"));
        let sender = &record["sender"];
        let sizes = |receiver: usize, sender_column: usize, message: usize, row: &[f64]| {
            let granted = |end: &str| number(&record[end]["socket_buffer"]["granted"]);
            assert_eq!(row[sender_column], granted("sender"), "{out}{record}");
            assert_eq!(row[message], number(&sender["message_bytes"]), "{out}{record}");
            (receiver, granted("receiver"))
        };
        let rate = number(&record["result"]["goodput_bits_per_second"]) / 1e6;
        let printed_rate = if *test == "UDP_STREAM" {
            let (sent, received) = (figures(out, 1), figures(out, 0));
            let (column, granted) = sizes(0, 0, 1, &sent);
            assert_eq!(received[column], granted, "{out}{record}");
            assert_eq!(sent[3], number(&record["result"]["messages_sent"]), "{out}{record}");
            assert_eq!(received[2], number(&record["result"]["receives"]), "{out}{record}");
            received[3]
        } else {
            let row = figures(out, 0);
            let (column, granted) = sizes(0, 1, 2, &row);
            assert_eq!(row[column], granted, "{out}{record}");
            row[4]
        };
        assert!((printed_rate - rate).abs() <= 0.01, "{out}{record}");
    }
}

#[test]
fn a_folder_of_records_gets_a_file_for_each_run() {
    let folder = Folder::new("records-folder");
    let server = Server::start(Maker::Ours, LOOPBACK, &[]);
    for length in ["-1000000", "-2000000"] {
        recorded(&server, &folder.0, &["-l", length]);
    }
    let mut asked: Vec<u64> = std::fs::read_dir(&folder.0)
        .expect("the folder is there")
        .map(|entry| {
            let text = std::fs::read_to_string(entry.expect("it can be read").path()).expect("a record");
            let record: Value = serde_json::from_str(&text).expect("one object");
            assert!(
                record["result"]["bytes_received"].as_u64() >= record["asked"]["bytes"].as_u64(),
                "{record}"
            );
            record["asked"]["bytes"].as_u64().expect("a count")
        })
        .collect();
    asked.sort_unstable();
    assert_eq!(asked, [1_000_000, 2_000_000]);
}
