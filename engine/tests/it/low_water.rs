//! The low-water mark of TCP receivers: woken seldom, nothing late, nothing lost.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ringperf_engine::outcome::End;
use ringperf_engine::plan::{Length, Role, Without};
use ringperf_engine::{EngineChoice, Outcome, Plan, PlanOptions, prepare};

use crate::support::{CLASSIC, EPOLL, URING, Way, assert_some_run, listen, uring_or_skip};

/// The ways that have a mark.
fn marked(test: &str) -> Vec<Way> {
    let mut ways = vec![EPOLL];
    if uring_or_skip(test) {
        ways.push(URING);
    }
    ways
}

/// A receiver on which `send` is let loose, with a time that is just before the receiver's begins.
fn received(way: Way, length: Length, send: impl FnOnce(TcpStream, Instant) + Send) -> Outcome {
    let options =
        PlanOptions { length, receive_grace: Duration::ZERO, ..way.options(Role::Receive, listen()) };
    let prepared = prepare(&Plan::new(options).unwrap()).unwrap();
    let target = prepared.local();
    // The receiver's time begins later than this.
    let ready = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let stream = TcpStream::connect(target).unwrap();
            // What is written is there at once, and not when an acknowledgement comes.
            stream.set_nodelay(true).unwrap();
            send(stream, ready);
        });
        prepared.run(None).unwrap()
    })
}

/// About 50 Mbit/s in pieces of 5 KB, for this long; the bytes sent.
fn paced(stream: &mut TcpStream, time: Duration) -> u64 {
    let start = Instant::now();
    let piece = [7; 5000];
    let mut pieces = 0;
    while start.elapsed() < time {
        stream.write_all(&piece).unwrap();
        pieces += 1;
        // Catches up after a pause that was not ours.
        let due = start + Duration::from_micros(800) * pieces;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    u64::from(pieces) * piece.len() as u64
}

#[test]
fn a_paced_stream_wakes_its_receiver_seldom() {
    for way in marked("a_paced_stream_wakes_its_receiver_seldom") {
        let run = |way| {
            let mut sent = 0;
            let outcome = received(way, Length::Endless, |mut stream, _| {
                sent = paced(&mut stream, Duration::from_secs(1));
            });
            assert_eq!((outcome.end, outcome.tally.bytes_received), (End::PeerClosed, sent), "{}", way.name);
            outcome
        };
        let with = run(way);
        let without = run(Way { without: Without { low_water: true, ..way.without }, ..way });
        let used = with.low_water.expect("the receiver may set a mark");
        assert!(used.mark_bytes > 4096, "{}: {used:?}", way.name);
        assert_eq!(without.low_water, None);
        let (with, without) = (with.tally.operations.wakeups, without.tally.operations.wakeups);
        assert!(3 * with < without, "{}: {with} wake-ups with a mark, {without} without", way.name);
    }
}

#[test]
fn a_pause_does_not_keep_the_last_bytes() {
    for way in marked("a_pause_does_not_keep_the_last_bytes") {
        let mut sent = 0;
        let outcome = received(way, Length::Time(Duration::from_secs(2)), |mut stream, _| {
            sent = paced(&mut stream, Duration::from_millis(500));
            stream.write_all(&[7; 100]).unwrap();
            sent += 100;
            // Stays open and silent, past the end of the receiver's time.
            std::thread::sleep(Duration::from_millis(2500));
        });
        let used = outcome.low_water.expect("the receiver may set a mark");
        assert!(used.expired >= 1, "{}: {used:?}", way.name);
        assert_eq!((outcome.end, outcome.tally.bytes_received), (End::Timer, sent), "{}", way.name);
    }
}

/// The end comes while bytes lie below the mark: they came in time, and are counted.
#[test]
fn the_end_of_the_time_lets_go() {
    for way in marked("the_end_of_the_time_lets_go") {
        let time = Duration::from_millis(600);
        // One that was sent too late says nothing.
        let run = || {
            let mut sent = None;
            let outcome = received(way, Length::Time(time), |mut stream, ready| {
                let left = (time - Duration::from_millis(20)).saturating_sub(ready.elapsed());
                let bytes = paced(&mut stream, left);
                stream.write_all(&[7; 100]).unwrap();
                if ready.elapsed() < time - Duration::from_millis(5) {
                    sent = Some(bytes + 100);
                }
                std::thread::sleep(Duration::from_millis(300));
            });
            let held = outcome.low_water.is_some_and(|used| used.mark_bytes > 1 && used.expired == 0);
            if let Some(sent) = sent.filter(|_| held) {
                assert_eq!(outcome.tally.bytes_received, sent, "{}", way.name);
                return true;
            }
            false
        };
        assert_some_run(run, way.name);
    }
}

#[test]
fn a_short_transfer_never_has_a_mark() {
    for way in marked("a_short_transfer_never_has_a_mark") {
        let run = || {
            let outcome =
                received(way, Length::Endless, |mut stream, _| stream.write_all(&[7; 100_000]).unwrap());
            assert_eq!(outcome.tally.bytes_received, 100_000, "{}", way.name);
            let used = outcome.low_water.expect("the receiver may set a mark");
            assert_eq!(used.expired, 0, "{}", way.name);
            // On a machine that is busy elsewhere it may take its time, and then is not short.
            (used.mark_bytes, used.changes) == (1, 0)
        };
        assert_some_run(run, way.name);
    }
}

#[test]
fn the_classic_engine_and_small_buffers_have_none() {
    let outcome = received(CLASSIC, Length::Endless, |mut stream, _| {
        paced(&mut stream, Duration::from_millis(100));
    });
    assert_eq!((outcome.facts.engine_asked, outcome.low_water), (EngineChoice::Classic, None));
    for way in marked("the_classic_engine_and_small_buffers_have_none") {
        let mut options = way.options(Role::Receive, listen());
        options.socket.receive_buffer = Some(2304);
        let prepared = prepare(&Plan::new(options).unwrap()).unwrap();
        let target = prepared.local();
        let outcome = std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut stream = TcpStream::connect(target).unwrap();
                paced(&mut stream, Duration::from_millis(200))
            });
            prepared.run(None).unwrap()
        });
        let used = outcome.low_water.expect("the receiver may set a mark");
        assert_eq!((used.mark_bytes, used.changes), (1, 0), "{}", way.name);
    }
}
