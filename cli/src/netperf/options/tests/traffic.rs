//! What is moved, what is told of it meanwhile, and in which form the result is.

use std::time::Duration;

use ringperf_engine::plan::Protocol;
use ringperf_proto::Length;

use super::super::{Family, Interim, Options, Selectors};
use super::{at, means, of, options, pair};
use crate::netperf::selectors::Style;
use crate::netperf::traffic::{TestName, Traffic};

#[test]
fn interim_results_by_time_or_by_work() {
    let every = |seconds, after_each, units| {
        let interval = Duration::try_from_secs_f64(seconds).expect("not too long");
        Some(Interim { interval, after_each, units })
    };
    means("-D 0.25", |o| o.interim = every(0.25, false, None));
    means("-D -0.20", |o| o.interim = every(0.2, true, None));
    means("-D 1,4K", |o| o.interim = every(1.0, false, Some(4096)));
    means("-D 1 -D ,5", |o| o.interim = every(1.0, false, Some(5)));
    // The argument is required.
    means("-D -H", |o| o.interim = every(0.0, false, None));
    means("-D 1e99", |o| o.interim = every(f64::from(u32::MAX), false, None));
}

#[test]
fn transactions_have_sizes_bursts_and_patience() {
    let rr = |o: &mut Options, name| {
        of(o, name);
        (o.request_bytes, o.response_bytes) = (Some(1), Some(1));
    };
    means("-t tcp_rr", |o| rr(o, TestName::TcpRr));
    means("-t UDP_RR -l -300 -- -r 5, -e 2 -b 9", |o| {
        rr(o, TestName::UdpRr);
        o.length = Length::Transactions(300);
        (o.request_bytes, o.first_burst) = (Some(5), 9);
        o.response_timeout = Some(Duration::from_secs(2));
    });
    means("-t TCP_RR -- -e 0 -b -3 -r 0", |o| rr(o, TestName::TcpRr));
    means("-t TCP_CRR -- -p 6000,7000 -U -u abc", |o| {
        rr(o, TestName::TcpCrr);
        (o.port_range, o.retry_connect, o.uuid) = (Some((6000, 7000)), true, Some("abc".into()));
    });
    means("-t TCP_CC -- -p 6000 -r 3", |o| {
        of(o, TestName::TcpCc);
        (o.request_bytes, o.response_bytes) = (Some(3), Some(3));
        o.port_range = Some((6000, 6000));
    });
    means("-t TCP_CRR -- -p 7000,6000", |o| rr(o, TestName::TcpCrr));
    means("-t TCP_CRR -- -p ,9", |o| rr(o, TestName::TcpCrr));
    means("-t TCP_RR -- -c", |o| {
        rr(o, TestName::TcpRr);
        o.traffic.each = true;
    });
    // An echo service answers as much as it is asked.
    let echoed = options("-N -t TCP_RR -- -r 5,6");
    assert_eq!((echoed.request_bytes, echoed.response_bytes), (Some(5), Some(5)));
    let elsewhere = options("-N -t TCP_RR -- -r 5,6 -P ,1234");
    assert_eq!((elsewhere.request_bytes, elsewhere.response_bytes), (Some(5), Some(6)));
    let long = options(&format!("-- -u {}", "x".repeat(40))).uuid.expect("it was given");
    assert_eq!(long.len(), 37);
}

#[test]
fn omni_goes_where_it_is_told_or_where_sizes_imply() {
    let traffic = |line: &str| {
        let Traffic { protocol, sends, receives, each } = options(&format!("-t omni -- {line}")).traffic;
        (protocol == Protocol::Udp, sends, receives, each)
    };
    for (line, expected) in [
        ("", (false, true, false, false)),
        ("-d send", (false, true, false, false)),
        ("-d Maerts", (false, false, true, false)),
        ("-d RR", (false, true, true, false)),
        ("-d recv|XMIT", (false, true, true, false)),
        ("-d 4", (false, false, true, false)),
        ("-d 0x6", (false, true, true, false)),
        ("-d 0", (false, true, false, false)),
        ("-d bogus", (false, true, false, false)),
        ("-m 5", (false, true, false, false)),
        ("-m ,5", (false, false, true, false)),
        ("-M 5", (false, true, false, false)),
        ("-M ,5", (false, false, true, false)),
        ("-m 5 -M ,7", (false, true, true, false)),
        ("-r 5", (false, true, true, false)),
        ("-M 5 -d recv", (false, false, true, false)),
        ("-d recv -M 5", (false, false, true, false)),
        ("-c", (false, false, false, true)),
        ("-c -r 1", (false, true, true, true)),
        ("-T udp", (true, true, false, false)),
        ("-t dgram", (true, true, false, false)),
        ("-T tcp -t dgram", (false, true, false, false)),
        ("-T udp -r 1 -b 3", (true, true, true, false)),
    ] {
        assert_eq!(traffic(line), expected, "{line}");
    }
    // Other names say the direction themselves, and a protocol is taken from any.
    assert_eq!(options("-- -d recv").traffic, TestName::TcpStream.traffic());
    assert_eq!(options("-t TCP_RR -- -T udp").traffic, TestName::UdpRr.traffic());
    assert_eq!(options("-t omni -- -T sctp").lacking_protocol, Some("SCTP"));
    let request = |line: &str| options(&format!("-t omni -- {line}")).request_bytes;
    assert_eq!((request("-d rr"), request("-c"), request("")), (Some(1), None, None));
}

#[test]
fn results_by_selectors() {
    let selected = |line: &str| options(line).selectors;
    let list =
        |style, list: &str| Some(Selectors { style, list: (!list.is_empty()).then(|| list.to_owned()) });
    assert_eq!(selected(""), None);
    assert_eq!(selected("-t omni"), list(Style::Human, ""));
    assert_eq!(selected("-- -k"), list(Style::KeyValue, ""));
    assert_eq!(selected("-- -k -m 5"), list(Style::KeyValue, ""));
    assert_eq!(selected("-- -o THROUGHPUT,PROTOCOL"), list(Style::Csv, "THROUGHPUT,PROTOCOL"));
    assert_eq!(selected("-t omni -- -k all"), list(Style::KeyValue, "all"));
    // The last one counts, and an attached word is none.
    assert_eq!(selected("-- -k THROUGHPUT -O"), list(Style::Human, ""));
    assert_eq!(selected("-- -kTHROUGHPUT"), list(Style::KeyValue, ""));
}

#[test]
fn hosts_of_data_may_keep_some_of_their_bits() {
    means("-- -H 10.0.0.0/8,4 -L ,6", |o| {
        o.data = pair(at("", Family::V6), at("10.0.0.0", Family::V4));
        o.kept_bits.remote = Some(8);
    });
    means("-- -L 10.0.0.0/8 -L l", |o| o.data.local = at("l", Family::Unspecified));
}
