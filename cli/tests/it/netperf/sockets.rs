//! What is told of the options of data sockets: what the kernel made of them, at either end.
//!
//! Ours and stock netperf with stock netserver, as in [`behaviour`](super::behaviour), and both ways with
//! each other.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::process::{Command, Stdio};

use super::{Maker, Netperf, Pair, Server};

behaviours! {
    types_of_service_and_priorities_are_those_in_force
    a_priority_that_the_kernel_refuses_is_told
}

const NAMES: &str = "LOCAL_SOCKET_PRIO,REMOTE_SOCKET_PRIO,LOCAL_SOCKET_TOS,REMOTE_SOCKET_TOS";

/// Values of [`NAMES`] from lines of names and values, in that order.
fn values(out: &str) -> Vec<&str> {
    out.lines().filter_map(|line| Some(line.split_once('=')?.1)).collect()
}

/// The kernel keeps the ECN bits of TCP to itself, and no others.
fn types_of_service_and_priorities_are_those_in_force(pair: Pair) {
    let mut hosts = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    hosts.extend(TcpListener::bind("[::1]:0").ok().map(|_| IpAddr::V6(Ipv6Addr::LOCALHOST)));
    std::thread::scope(|scope| {
        for host in hosts {
            scope.spawn(move || told_of(pair, host));
        }
    });
}

fn told_of(pair: Pair, host: IpAddr) {
    let server = Server::start(pair.server, host, &[]);
    let (host, port) = (host.to_string(), server.port().to_string());
    let told = |test, asked: &[&str], expected: [&str; 4]| {
        let to = ["-H", &host, "-p", &port, "-P", "0", "-l", "1", "-t", test];
        let words = [&to[..], asked, &["--", "-k", NAMES]].concat();
        let ended = Netperf::new(pair.client, &words).ended();
        assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{words:?}: {ended:?}");
        assert_eq!(values(&ended.out), expected, "{pair:?} {words:?}");
    };
    told("TCP_STREAM", &["-Y", "0xfe,0xfd"], ["-1", "-1", "0xfc", "0xfc"]);
    told("TCP_RR", &["-Y", "0x03,0x43"], ["-1", "-1", "0x00", "0x40"]);
    told("TCP_CRR", &["-Y", "0x03,0xfe"], ["-1", "-1", "0x00", "0xfc"]);
    told("UDP_STREAM", &["-Y", "0xfe,0x03"], ["-1", "-1", "0xfe", "0x03"]);
    // A type of service brings a priority along, which is not told.
    told("TCP_MAERTS", &["-y", "3,2", "-Y", "0x10,0x12"], ["3", "2", "0x10", "0x10"]);
    // Each further test asks for what the one before was granted.
    told("TCP_STREAM", &["-i", "2", "-Y", "0xfe,0xfe"], ["-1", "-1", "0xfc", "0xfc"]);
    told("TCP_STREAM", &["-Y", "0,0"], ["-1", "-1", "0x00", "0x00"]);
}

#[test]
fn our_netperf_tells_what_stock_netserver_has_in_force() {
    let pair = Pair { client: Maker::Ours, server: Maker::Stock };
    if pair.is_here("our_netperf_tells_what_stock_netserver_has_in_force") {
        types_of_service_and_priorities_are_those_in_force(pair);
    }
}

#[test]
fn stock_netperf_tells_what_our_netserver_has_in_force() {
    let pair = Pair { client: Maker::Stock, server: Maker::Ours };
    if pair.is_here("stock_netperf_tells_what_our_netserver_has_in_force") {
        types_of_service_and_priorities_are_those_in_force(pair);
    }
}

/// Above 6 it takes privileges, which root has to give away.
fn a_priority_that_the_kernel_refuses_is_told(pair: Pair) {
    let server = Server::start(pair.server, IpAddr::V4(Ipv4Addr::LOCALHOST), &[]);
    let port = server.port().to_string();
    let words = ["-H", "127.0.0.1", "-p", &port, "-P", "0", "-l", "1", "-y", "77", "--", "-k", NAMES];
    let netperf = Netperf::new(pair.client, words).command;
    let program = [netperf.get_program()].into_iter().chain(netperf.get_args()).map(OsString::from);
    let unprivileged =
        "[ $(id -u) != 0 ] || exec setpriv --bounding-set=-net_admin,-net_raw \"$@\"; exec \"$@\"";
    let out = Command::new("sh")
        .args(["-c", unprivileged, "sh"])
        .args(program)
        .stdin(Stdio::null())
        .output()
        .expect("a shell starts");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{out:?}");
    // The netserver was asked for the same, and may have the privileges.
    assert_eq!(values(&text)[0], "-2", "{out:?}");
}
