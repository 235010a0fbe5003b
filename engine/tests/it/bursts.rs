//! Messages that go out in bursts at regular times.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use ringperf_engine::outcome::End;
use ringperf_engine::plan::{Bursts, Length, Protocol, Role, Transaction};
use ringperf_engine::{Outcome, Plan, PlanOptions, prepare};

use crate::support::{
    Way, assert_some_run, connect, each_datagram_way, each_way, engines, listen, loopback, run_pair,
};

const MESSAGE: u32 = 1000;
const EVERY: Duration = Duration::from_millis(20);
/// Time between bursts that is longer than any of these runs.
const FOR_EVER: Duration = Duration::from_secs(600);

fn sender(way: Way, messages: u32, every: Duration, length: Length) -> PlanOptions {
    PlanOptions {
        message_bytes: MESSAGE,
        bursts: Some(Bursts { messages, every }),
        length,
        ..way.options(Role::Send, connect())
    }
}

/// Runs a sender against a peer, which is let loose on its own thread and gives back what it saw.
fn against<T: Send>(
    options: PlanOptions,
    remote: SocketAddr,
    peer: impl FnOnce() -> T + Send,
) -> (Outcome, T) {
    std::thread::scope(|scope| {
        let seeing = scope.spawn(peer);
        let prepared = prepare(&Plan::new(options).unwrap()).unwrap();
        (prepared.run(Some(remote)).unwrap(), seeing.join().unwrap())
    })
}

/// What had arrived by when: never more than the bursts that had begun by then, of which the first was not
/// before `start`.
fn assert_in_bursts(arrived: &[(Instant, u64)], start: Instant, messages: u32, name: &str) {
    for (at, bytes) in arrived {
        let begun = (*at - start).as_nanos() / EVERY.as_nanos() + 1;
        let most = begun * u128::from(messages * MESSAGE);
        assert!(u128::from(*bytes) <= most, "{name}: {bytes} bytes after {:?}", *at - start);
    }
}

/// Whether these are nearly all of the bursts of three messages that a run of 20 periods has room for, and in
/// no case more. The first is at once, and the last may be cut off.
fn are_nearly_all(messages: u64, name: &str) -> bool {
    assert!(messages <= 3 * 21, "{name}: {messages} messages");
    messages >= 3 * 18
}

#[test]
fn a_stream_goes_out_in_bursts() {
    each_way("a_stream_goes_out_in_bursts", |way| {
        let listener = TcpListener::bind(loopback()).unwrap();
        let remote = listener.local_addr().unwrap();
        let arrivals = || {
            let mut stream = listener.accept().unwrap().0;
            let (mut buffer, mut bytes, mut arrived) = ([0; 65_536], 0, Vec::new());
            loop {
                match stream.read(&mut buffer).unwrap() {
                    0 => return arrived,
                    more => bytes += more as u64,
                }
                arrived.push((Instant::now(), bytes));
            }
        };
        let run = || {
            let start = Instant::now();
            let options = sender(way, 3, EVERY, Length::Time(20 * EVERY));
            let (outcome, arrived) = against(options, remote, arrivals);
            assert_eq!(outcome.end, End::PeerClosed, "{}", way.name);
            assert_in_bursts(&arrived, start, 3, way.name);
            assert_eq!(arrived.last().unwrap().1, outcome.tally.bytes_sent, "{}", way.name);
            are_nearly_all(outcome.tally.messages_sent, way.name)
        };
        assert_some_run(run, way.name);
    });
}

#[test]
fn datagrams_go_out_in_bursts() {
    each_datagram_way("datagrams_go_out_in_bursts", |way| {
        let run = || {
            let receiver = UdpSocket::bind(loopback()).unwrap();
            let remote = receiver.local_addr().unwrap();
            let start = Instant::now();
            let options =
                PlanOptions { protocol: Protocol::Udp, ..sender(way, 3, EVERY, Length::Time(20 * EVERY)) };
            let (outcome, arrived) = against(options, remote, || {
                let (mut buffer, mut bytes, mut arrived) = ([0; 2000], 0, Vec::new());
                loop {
                    // An empty one is the end.
                    match receiver.recv(&mut buffer).unwrap() {
                        0 => return arrived,
                        more => bytes += more as u64,
                    }
                    arrived.push((Instant::now(), bytes));
                }
            });
            assert_eq!(outcome.end, End::Timer, "{}", way.name);
            assert_in_bursts(&arrived, start, 3, way.name);
            are_nearly_all(outcome.tally.messages_sent, way.name)
        };
        assert_some_run(run, way.name);
    });
}

/// One that takes longer than its period, too.
#[test]
fn a_burst_may_be_more_than_goes_together() {
    each_way("a_burst_may_be_more_than_goes_together", |way| {
        let listener = TcpListener::bind(loopback()).unwrap();
        let remote = listener.local_addr().unwrap();
        let bytes = u64::from(MESSAGE) * 1500;
        let options = sender(way, 700, EVERY, Length::Bytes(bytes));
        let (outcome, arrived) = against(options, remote, || {
            let mut all = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut all).unwrap();
            all.len() as u64
        });
        assert_eq!(
            (outcome.end, outcome.tally.messages_sent, arrived),
            (End::Count, 1500, bytes),
            "{}",
            way.name
        );
        // The third burst begins in the third period.
        assert!(outcome.elapsed >= 2 * EVERY, "{}: {:?}", way.name, outcome.elapsed);
    });
}

/// A requester in bursts of three and its responder. Whether nearly all bursts went, and nearly all
/// transactions took much less than the wait for one.
fn asks_in_bursts(way: Way, protocol: Protocol, in_flight: u32, every: Duration) -> bool {
    let options = |role, endpoint| PlanOptions {
        protocol,
        // What waits for its time is not lost.
        transaction: Transaction { in_flight, resend_after: Some(10 * EVERY), ..Transaction::default() },
        length: Length::Time(20 * EVERY),
        ..way.options(role, endpoint)
    };
    let requester = PlanOptions {
        bursts: Some(Bursts { messages: 3, every }),
        latency: true,
        ..options(Role::Request, connect())
    };
    let (asked, answered) = run_pair(requester, options(Role::Respond, listen()));
    let name = format!("{} over {protocol:?}, {in_flight} in flight", way.name);
    let ended = if protocol == Protocol::Tcp { End::PeerClosed } else { End::Timer };
    assert_eq!((asked.end, answered.end), (ended, End::PeerClosed), "{name}");
    let transactions = asked.tally.transactions;
    // Some may be answered after the requester's time.
    assert!(answered.tally.transactions >= transactions, "{name}: {transactions} of {answered:?}");
    if every == FOR_EVER {
        assert!(asked.tally.messages_sent <= 3, "{name}: {asked:?}");
    }
    let latency = asked.latency.expect("it was asked for");
    // Over UDP one that had to be sent again is not measured.
    assert!(latency.histogram.len() <= transactions, "{name}: {latency:?}");
    let at_most = Duration::from_nanos(latency.histogram.value_at_quantile(0.8));
    at_most < EVERY / 4 && (every == FOR_EVER && transactions == 3 || are_nearly_all(transactions, &name))
}

#[test]
fn requests_go_out_in_bursts_and_take_no_longer_for_it() {
    for way in engines("requests_go_out_in_bursts_and_take_no_longer_for_it") {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for (in_flight, every) in [(2, FOR_EVER), (1, EVERY), (2, EVERY)] {
                let run = || asks_in_bursts(way, protocol, in_flight, every);
                assert_some_run(run, &format!("{} over {protocol:?}", way.name));
            }
        }
    }
}

#[test]
fn whoever_ends_a_run_between_two_bursts_does_not_wait_for_the_next() {
    each_way("whoever_ends_a_run_between_two_bursts_does_not_wait_for_the_next", |way| {
        // The clock.
        let listener = TcpListener::bind(loopback()).unwrap();
        let remote = listener.local_addr().unwrap();
        let drain = || {
            let mut all = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut all).unwrap();
            all.len()
        };
        let options = sender(way, 5, FOR_EVER, Length::Time(10 * EVERY));
        let (outcome, arrived) = against(options, remote, drain);
        assert_eq!(
            (outcome.end, outcome.tally.messages_sent, arrived),
            (End::PeerClosed, 5, 5000),
            "{}",
            way.name
        );
        // We.
        let prepared = prepare(&Plan::new(sender(way, 5, FOR_EVER, Length::Endless)).unwrap()).unwrap();
        let stop = prepared.stop();
        let outcome = std::thread::scope(|scope| {
            let seeing = scope.spawn(drain);
            scope.spawn(move || {
                std::thread::sleep(5 * EVERY);
                stop.stop();
            });
            let outcome = prepared.run(Some(remote)).unwrap();
            assert_eq!(seeing.join().unwrap() as u64, outcome.tally.bytes_sent, "{}", way.name);
            outcome
        });
        // On a busy machine it may not have begun.
        assert!(outcome.end == End::Stopped && outcome.tally.messages_sent <= 5, "{}: {outcome:?}", way.name);
        // The peer.
        let options = PlanOptions { endpoint: listen(), ..sender(way, 5, FOR_EVER, Length::Endless) };
        let prepared = prepare(&Plan::new(options).unwrap()).unwrap();
        let target = prepared.local();
        let outcome = std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut stream = TcpStream::connect(target).unwrap();
                stream.read_exact(&mut [0; 5000]).unwrap();
            });
            prepared.run(None).unwrap()
        });
        assert_eq!((outcome.end, outcome.tally.messages_sent), (End::PeerClosed, 5), "{}", way.name);
        let operations = outcome.tally.operations;
        assert!(operations.completions < 100, "{} spins: {operations:?}", way.name);
    });
}

#[test]
fn datagrams_between_two_bursts_end_with_their_time() {
    each_datagram_way("datagrams_between_two_bursts_end_with_their_time", |way| {
        let receiver = UdpSocket::bind(loopback()).unwrap();
        let options =
            PlanOptions { protocol: Protocol::Udp, ..sender(way, 5, FOR_EVER, Length::Time(10 * EVERY)) };
        let prepared = prepare(&Plan::new(options).unwrap()).unwrap();
        let outcome = prepared.run(Some(receiver.local_addr().unwrap())).unwrap();
        assert_eq!((outcome.end, outcome.tally.messages_sent), (End::Timer, 5), "{}", way.name);
        assert!(outcome.elapsed < Duration::from_secs(30), "{}: {:?}", way.name, outcome.elapsed);
    });
}

/// Neither the epoll set's nor a socket's own time limit is as fine as that.
#[test]
fn bursts_may_follow_each_other_faster_than_the_clock_ticks() {
    const SHORT: Duration = Duration::from_micros(500);
    each_way("bursts_may_follow_each_other_faster_than_the_clock_ticks", |way| {
        // One that listens, and so waits for the peer as well.
        let options = PlanOptions { endpoint: listen(), ..sender(way, 1, SHORT, Length::Bytes(200_000)) };
        let plan = Plan::new(options).unwrap();
        let run = || {
            let prepared = prepare(&plan).unwrap();
            let target = prepared.local();
            let outcome = std::thread::scope(|scope| {
                let drain = move || TcpStream::connect(target).unwrap().read_to_end(&mut Vec::new()).unwrap();
                scope.spawn(drain);
                prepared.run(None).unwrap()
            });
            assert_eq!((outcome.end, outcome.tally.messages_sent), (End::Count, 200), "{}", way.name);
            let (took, wakeups) = (outcome.elapsed, outcome.tally.operations.wakeups);
            assert!(took >= 199 * SHORT, "{}: {took:?}", way.name);
            assert!(wakeups < 2000, "{} spins: {wakeups} wake-ups", way.name);
            took
        };
        assert_some_run(|| run() < 199 * Duration::from_micros(900), way.name);
    });
}
