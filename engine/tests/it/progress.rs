//! Progress told while the run goes on.

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use ringperf_engine::outcome::{End, Sample};
use ringperf_engine::plan::{Every, Length, Progress, Protocol, Role, WorkUnit};
use ringperf_engine::{Outcome, Plan, PlanOptions, prepare};

use crate::support::{CLASSIC, assert_some_run, connect, datagram_ways, engines, listen, loopback, run_pair};

const INTERVAL: Duration = Duration::from_millis(50);
/// More than any of these runs tells.
const ROOM: usize = 10_000;

fn by_work(units: u64) -> Every {
    Every::Work { interval: INTERVAL, units, unit: WorkUnit::Bytes }
}

/// A run over loopback of which both ends tell: what the sender told and what came of it, then the
/// receiver's.
fn told_by_both(every: Every, sender: PlanOptions, receiver: PlanOptions) -> [(Vec<Sample>, Outcome); 2] {
    let (from_sender, sender_told) = sync_channel(ROOM);
    let (from_receiver, receiver_told) = sync_channel(ROOM);
    let (sent, received) = run_pair(
        PlanOptions { progress: Some(Progress { every, to: from_sender }), ..sender },
        PlanOptions { progress: Some(Progress { every, to: from_receiver }), ..receiver },
    );
    [(sender_told.try_iter().collect(), sent), (receiver_told.try_iter().collect(), received)]
}

/// They are in order, an interval apart, and lead to the outcome.
fn assert_lead_to(told: &[Sample], outcome: &Outcome, name: &str) {
    let mut before = Sample::default();
    for sample in told {
        assert!(sample.at >= before.at + INTERVAL, "{name}: {before:?}, then {sample:?}");
        assert!(sample.bytes_sent >= before.bytes_sent, "{name}: {before:?}, then {sample:?}");
        assert!(sample.bytes_received >= before.bytes_received, "{name}: {before:?}, then {sample:?}");
        before = *sample;
    }
    let tally = outcome.tally;
    assert!(before.at <= outcome.elapsed, "{name}: {before:?} of {:?}", outcome.elapsed);
    assert!(before.bytes_sent <= tally.bytes_sent, "{name}: {before:?} of {tally:?}");
    assert!(before.bytes_received <= tally.bytes_received, "{name}: {before:?} of {tally:?}");
}

#[test]
fn both_ends_of_a_stream_tell_while_it_goes_on() {
    for way in engines("both_ends_of_a_stream_tell_while_it_goes_on") {
        let run = || {
            let mut sender = way.options(Role::Send, connect());
            sender.length = Length::Time(10 * INTERVAL);
            let ends = told_by_both(Every::Time(INTERVAL), sender, way.options(Role::Receive, listen()));
            for (told, outcome) in &ends {
                assert_eq!((outcome.end, outcome.progress_units), (End::PeerClosed, None), "{}", way.name);
                assert_lead_to(told, outcome, way.name);
            }
            let moved = |told: &[Sample]| {
                told.len() >= 8 && told.iter().all(|sample| sample.bytes_sent + sample.bytes_received > 0)
            };
            ends.iter().all(|(told, _)| moved(told))
        };
        assert_some_run(run, way.name);
    }
}

#[test]
fn several_flows_of_a_worker_are_told_of_together() {
    let several = engines("several_flows_of_a_worker_are_told_of_together").into_iter();
    for way in several.filter(|way| *way != CLASSIC) {
        let run = || {
            let mut sender = way.options(Role::Send, connect());
            sender.length = Length::Time(10 * INTERVAL);
            let mut receiver = way.options(Role::Receive, listen());
            (sender.flows, receiver.flows) = (3, 3);
            let ends = told_by_both(Every::Time(INTERVAL), sender, receiver);
            ends.iter().for_each(|(told, outcome)| assert_lead_to(told, outcome, way.name));
            // Not of the first or the last one alone.
            ends.iter().all(|(told, outcome)| {
                let moved = told.last().map_or(0, |last| last.bytes_sent + last.bytes_received);
                moved > outcome.spread.bytes_max
            })
        };
        assert_some_run(run, way.name);
    }
}

#[test]
fn told_by_work_the_units_are_adapted_and_handed_back() {
    for way in engines("told_by_work_the_units_are_adapted_and_handed_back") {
        let run = || {
            let mut sender = way.options(Role::Send, connect());
            sender.length = Length::Time(10 * INTERVAL);
            let ends = told_by_both(by_work(100), sender, way.options(Role::Receive, listen()));
            ends.iter().all(|(told, outcome)| {
                assert_lead_to(told, outcome, way.name);
                let moved = outcome.tally.bytes_sent + outcome.tally.bytes_received;
                let units = outcome.progress_units.expect("told by work");
                // About what goes in one of the ten intervals.
                told.len() >= 5 && (moved / 100..=moved / 2).contains(&units)
            })
        };
        assert_some_run(run, way.name);
    }
}

#[test]
fn told_by_work_a_first_guess_that_is_never_reached_keeps_it_silent() {
    for way in engines("told_by_work_a_first_guess_that_is_never_reached_keeps_it_silent") {
        let mut sender = way.options(Role::Send, connect());
        sender.length = Length::Time(2 * INTERVAL);
        let receiver = way.options(Role::Receive, listen());
        for (told, outcome) in told_by_both(by_work(1 << 60), sender, receiver) {
            assert!(told.is_empty(), "{}: {told:?}", way.name);
            assert_eq!(outcome.progress_units, Some(1 << 60), "{}", way.name);
        }
    }
}

#[test]
fn nobody_waits_for_who_does_not_listen() {
    for way in engines("nobody_waits_for_who_does_not_listen") {
        let (to, unheard) = sync_channel(1);
        let (to_nobody, _) = sync_channel(1);
        let mut sender = way.options(Role::Send, connect());
        sender.length = Length::Time(5 * INTERVAL);
        sender.progress = Some(Progress { every: Every::Time(INTERVAL), to });
        let mut receiver = way.options(Role::Receive, listen());
        receiver.progress = Some(Progress { every: Every::Time(INTERVAL), to: to_nobody });
        let (sent, received) = run_pair(sender, receiver);
        assert_eq!((sent.end, received.end), (End::PeerClosed, End::PeerClosed), "{}", way.name);
        assert!(unheard.try_iter().count() <= 1, "{}", way.name);
    }
}

/// Nothing comes that would wake it.
#[test]
fn a_receiver_that_hears_nothing_tells_that_on_time() {
    for way in datagram_ways("a_receiver_that_hears_nothing_tells_that_on_time") {
        let run = || {
            let (to, told) = sync_channel(ROOM);
            let options = PlanOptions {
                protocol: Protocol::Udp,
                length: Length::Time(10 * INTERVAL + INTERVAL / 2),
                receive_grace: Duration::ZERO,
                progress: Some(Progress { every: Every::Time(INTERVAL), to }),
                ..way.options(Role::Receive, listen())
            };
            let prepared = prepare(&Plan::new(options).unwrap()).unwrap();
            let peer = UdpSocket::bind(loopback()).unwrap();
            peer.send_to(&[7; 100], prepared.local()).unwrap();
            let outcome = prepared.run(None).unwrap();
            let told: Vec<_> = told.try_iter().collect();
            assert_lead_to(&told, &outcome, way.name);
            assert!(told.iter().all(|sample| sample.bytes_received == 100), "{}: {told:?}", way.name);
            told.len() >= 9
        };
        assert_some_run(run, way.name);
    }
}

/// A low-water mark keeps up to 25 ms of the stream unread; what is told leaves none of it out, nor do
/// samples.
#[test]
fn what_lies_below_a_low_water_mark_is_told_of() {
    const PIECE: [u8; 5000] = [7; 5000];
    const LATE: Duration = Duration::from_millis(5);
    let marked = engines("what_lies_below_a_low_water_mark_is_told_of").into_iter();
    let ways: Vec<_> = marked.filter(|way| *way != CLASSIC).collect();
    for (way, sampled) in ways.into_iter().flat_map(|way| [(way, false), (way, true)]) {
        let run = || {
            let (to, told) = sync_channel(ROOM);
            let mut options = way.options(Role::Receive, listen());
            options.interval = sampled.then_some(INTERVAL);
            options.progress = (!sampled).then_some(Progress { every: Every::Time(INTERVAL), to });
            let prepared = prepare(&Plan::new(options).unwrap()).unwrap();
            let target = prepared.local();
            let start = Instant::now();
            // About 50 Mbit/s; when each piece had been written.
            let sending = std::thread::spawn(move || {
                let mut stream = TcpStream::connect(target).unwrap();
                stream.set_nodelay(true).unwrap();
                let mut written = Vec::new();
                while start.elapsed() < 20 * INTERVAL {
                    stream.write_all(&PIECE).unwrap();
                    written.push(start.elapsed());
                    let due = start + Duration::from_micros(800) * written.len() as u32;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                }
                written
            });
            let outcome = prepared.run(None).unwrap();
            let written = sending.join().unwrap();
            let used = outcome.low_water.expect("the receiver may set a mark");
            let told = if sampled { outcome.samples } else { told.try_iter().collect() };
            let complete = |sample: &&Sample| {
                let pieces = written.partition_point(|at| *at + LATE < sample.at);
                sample.bytes_received >= (pieces * PIECE.len()) as u64
            };
            let complete = told.iter().filter(complete).count();
            used.mark_bytes > 100_000 && told.len() >= 10 && 10 * complete >= 9 * told.len()
        };
        assert_some_run(run, way.name);
    }
}
