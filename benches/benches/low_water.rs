//! What the low-water mark of a TCP receiver saves, by the rate of what arrives.
//!
//! A paced sender writes segment after segment over loopback, and a receiver takes them with and without the
//! mark, in turns. What counts is the ratio within a pair of turns: of the receiving worker's CPU time per
//! byte, and of its wake-ups. Sender and receiver share the machine, so the rate is what the sender manages.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ringperf_engine::plan::{Endpoint, Role, Without};
use ringperf_engine::{Outcome, Plan, PlanOptions, prepare};

/// Payload of a segment on an Ethernet, with timestamps.
const SEGMENT_BYTES: usize = 1448;
/// What the sender writes at once where the rate leaves no time to sleep between segments.
const PAUSE_MIN: Duration = Duration::from_micros(200);

/// One turn: so many Mbit/s for so long, or as much as there is with 0.
fn turn(megabits: u64, time: Duration, without: Without) -> Outcome {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let endpoint = Endpoint::Listen { local, peers: Vec::new() };
    let length = ringperf_engine::plan::Length::Endless;
    let options = PlanOptions { without, length, ..PlanOptions::new(Role::Receive, endpoint) };
    let receiver = prepare(&Plan::new(options).expect("the options are in range")).expect("a receiver");
    let port = receiver.local();
    let sending = std::thread::spawn(move || send(port, megabits, time));
    let outcome = receiver.run(None).expect("it receives");
    let sent = sending.join().expect("the sender ends");
    assert_eq!(outcome.tally.bytes_received, sent);
    outcome
}

/// The bytes that were sent.
fn send(port: SocketAddr, megabits: u64, time: Duration) -> u64 {
    let mut stream = TcpStream::connect(port).expect("it listens");
    stream.set_nodelay(true).expect("TCP knows it");
    let segment = vec![7; if megabits == 0 { 1 << 20 } else { SEGMENT_BYTES }];
    let (start, mut sent) = (Instant::now(), 0_u64);
    while start.elapsed() < time {
        stream.write_all(&segment).expect("the receiver is there");
        sent += segment.len() as u64;
        let due = Duration::from_micros((sent * 8).checked_div(megabits).unwrap_or(0));
        let early = due.saturating_sub(start.elapsed());
        if early >= PAUSE_MIN {
            std::thread::sleep(early);
        }
    }
    sent
}

/// Nanoseconds of CPU per 1024 bytes, and wake-ups a second.
fn cost(outcome: &Outcome) -> [f64; 2] {
    let kilobytes = outcome.tally.bytes_received as f64 / 1024.0;
    let wakeups = outcome.tally.operations.wakeups as f64 / outcome.elapsed.as_secs_f64();
    [outcome.worker_cpu.total.as_nanos() as f64 / kilobytes, wakeups]
}

/// "median (lowest - highest)".
fn spread(figures: &mut [f64]) -> String {
    figures.sort_by(f64::total_cmp);
    let (first, last) = (figures[0], figures[figures.len() - 1]);
    format!("{:.2} ({first:.2} - {last:.2})", figures[figures.len() / 2])
}

fn main() {
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let (rounds, time) =
        if measuring { (10, Duration::from_secs(2)) } else { (1, Duration::from_millis(100)) };
    let mut out = std::io::stdout().lock();
    let mut say = |line: String| writeln!(out, "{line}").expect("standard output is open");
    say("Mbit/s | ns/KB with, without | wake-ups/s with, without | ratio of ns/KB | of wake-ups".to_owned());
    for megabits in [1, 10, 100, 1000, 0] {
        let (mut cpu, mut wakeups) = (Vec::new(), Vec::new());
        let mut last = [[0.0; 2]; 2];
        for _ in 0..rounds {
            let with = cost(&turn(megabits, time, Without::default()));
            let without = cost(&turn(megabits, time, Without { low_water: true, ..Without::default() }));
            cpu.push(with[0] / without[0]);
            wakeups.push(with[1] / without[1]);
            last = [with, without];
        }
        let rate = if megabits == 0 { "all".to_owned() } else { megabits.to_string() };
        let [with, without] = last;
        let (cpu, wakeups) = (spread(&mut cpu), spread(&mut wakeups));
        say(format!(
            "{rate} | {:.0}, {:.0} | {:.0}, {:.0} | {cpu} | {wakeups}",
            with[0], without[0], with[1], without[1]
        ));
    }
}
