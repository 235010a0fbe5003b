//! What the low-water mark of a TCP receiver saves, and what it must not cost; of many flows, which have no
//! mark, the same of the shortest sleep.
//!
//! A paced sender writes segment after segment over loopback, and a receiver takes them with and without the
//! mark, in turns. What counts is the ratio within a pair of turns: of the receiving worker's CPU time per
//! byte, and of its wake-ups. The other columns are what a constant mark fails at: how much the bytes of one
//! interim result of 0.2 s differ from those of another, and how late the end of a short transfer is seen.
//! Sender and receiver share the machine, so the rate is what the sender manages.
#![allow(clippy::disallowed_methods, reason = "a benchmark ends with whoever runs it")]

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ringperf_benches::{in_turn, spread};
use ringperf_engine::plan::{Endpoint, Length, Role, SocketOptions, Without};
use ringperf_engine::{Outcome, Plan, PlanOptions, prepare};

/// Payload of a segment on an Ethernet, with timestamps.
const SEGMENT_BYTES: usize = 1448;
/// What the sender writes at once where the rate leaves no time to sleep between segments.
const PAUSE_MIN: Duration = Duration::from_micros(200);
/// Between two interim results, as users who watch a test have them.
const INTERVAL: Duration = Duration::from_millis(200);
/// A transfer that is over before there is a mark.
const SHORT_BYTES: usize = 100_000;

/// What a row of the table is about.
struct Case {
    name: &'static str,
    /// 0: as much as there is.
    megabits: u64,
    receive_buffer: Option<u32>,
    /// Segments go to each of them in turn.
    flows: u32,
}

impl Case {
    /// With and without what wakes the receiver seldom.
    fn ways(&self) -> [Without; 2] {
        let many = self.flows > 1;
        [Without::default(), Without { low_water: !many, minimum_wait: many, ..Without::default() }]
    }
}

const fn rate(name: &'static str, megabits: u64) -> Case {
    Case { name, megabits, receive_buffer: None, flows: 1 }
}

/// 2304 is the least that Linux grants (SOCK_MIN_RCVBUF).
const CASES: [Case; 9] = [
    rate("1 Mbit/s", 1),
    rate("10 Mbit/s", 10),
    rate("100 Mbit/s", 100),
    rate("1000 Mbit/s", 1000),
    rate("all there is", 0),
    Case { receive_buffer: Some(2304), ..rate("10 Mbit/s, SO_RCVBUF 2304", 10) },
    Case { receive_buffer: Some(65_536), ..rate("100 Mbit/s, SO_RCVBUF 65536", 100) },
    Case { flows: 64, ..rate("100 Mbit/s over 64 flows", 100) },
    Case { flows: 64, ..rate("1000 Mbit/s over 64 flows", 1000) },
];

/// One turn of a receiver whose sender is `send`, which returns the bytes it sent.
fn turn(case: &Case, without: Without, send: impl FnOnce(Vec<TcpStream>) -> u64 + Send) -> Outcome {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let endpoint = Endpoint::Listen { local, peers: Vec::new() };
    let options = PlanOptions {
        without,
        flows: case.flows,
        length: Length::Endless,
        interval: Some(INTERVAL),
        socket: SocketOptions { receive_buffer: case.receive_buffer, ..SocketOptions::default() },
        ..PlanOptions::new(Role::Receive, endpoint)
    };
    let receiver = prepare(&Plan::new(options).expect("the options are in range")).expect("a receiver");
    let port = receiver.local();
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || {
            let connected = |_| {
                let stream = TcpStream::connect(port).expect("it listens");
                stream.set_nodelay(true).expect("TCP knows it");
                stream
            };
            send((0..case.flows).map(connected).collect())
        });
        let outcome = receiver.run(None).expect("it receives");
        assert_eq!(outcome.tally.bytes_received, sending.join().expect("the sender ends"));
        outcome
    })
}

/// Writes at a rate, for so long.
fn paced(mut streams: Vec<TcpStream>, megabits: u64, time: Duration) -> u64 {
    let segment = vec![7; if megabits == 0 { 1 << 20 } else { SEGMENT_BYTES }];
    let (start, mut sent, mut turn) = (Instant::now(), 0_u64, 0);
    while start.elapsed() < time {
        turn = (turn + 1) % streams.len();
        streams[turn].write_all(&segment).expect("the receiver is there");
        sent += segment.len() as u64;
        let due = Duration::from_micros((sent * 8).checked_div(megabits).unwrap_or(0));
        let early = due.saturating_sub(start.elapsed());
        if early >= PAUSE_MIN {
            std::thread::sleep(early);
        }
    }
    sent
}

/// What the table tells of a turn: nanoseconds of CPU per 1024 bytes, wake-ups a second, and the least that
/// an interim result had of their mean.
fn figures(outcome: &Outcome) -> [f64; 3] {
    let kilobytes = outcome.tally.bytes_received as f64 / 1024.0;
    let wakeups = outcome.tally.operations.wakeups as f64 / outcome.elapsed.as_secs_f64();
    [outcome.worker_cpu.total.as_nanos() as f64 / kilobytes, wakeups, evenness(outcome)]
}

/// The lowest rate of an interval over the mean; the first is left out, in which the connection starts. Not a
/// number where there are none.
fn evenness(outcome: &Outcome) -> f64 {
    let rates: Vec<f64> = outcome
        .samples
        .windows(2)
        .map(|pair| {
            let bytes = pair[1].bytes_received - pair[0].bytes_received;
            bytes as f64 / (pair[1].at - pair[0].at).as_secs_f64()
        })
        .collect();
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    rates.iter().copied().reduce(f64::min).unwrap_or(f64::NAN) / mean
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Microseconds from the start of a short transfer until the receiver has seen its end.
fn short(without: Without) -> f64 {
    let outcome = turn(&CASES[4], without, |mut streams| {
        streams[0].write_all(&[7; SHORT_BYTES]).expect("the receiver is there");
        SHORT_BYTES as u64
    });
    outcome.connected_for().as_secs_f64() * 1e6
}

fn main() {
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let (rounds, time) =
        if measuring { (10, Duration::from_secs(2)) } else { (1, Duration::from_millis(100)) };
    let mut out = std::io::stdout().lock();
    let mut say = |line: String| writeln!(out, "{line}").expect("standard output is open");
    say("| rate | ns/KB, with / without | wake-ups, with / without | wake-ups/s, with and without \
         | least of an interval of 0.2 s, with and without |\n|---|---|---|---|---|"
        .to_owned());
    for case in &CASES {
        let mut turns = [Vec::new(), Vec::new()];
        for round in 0..rounds {
            for (without, figured) in in_turn(round, &case.ways(), &mut turns) {
                figured.push(figures(&turn(case, without, |streams| paced(streams, case.megabits, time))));
            }
        }
        let column = |way: usize, figure: usize| -> Vec<f64> {
            turns[way].iter().map(|figures| figures[figure]).collect()
        };
        let ratio = |figure: usize| -> Vec<f64> {
            column(0, figure).iter().zip(column(1, figure)).map(|(with, without)| with / without).collect()
        };
        say(format!(
            "| {} | {} | {} | {:.0}, {:.0} | {:.2}, {:.2} |",
            case.name,
            spread(ratio(0).into_iter(), 2),
            spread(ratio(1).into_iter(), 2),
            median(&mut column(0, 1)),
            median(&mut column(1, 1)),
            median(&mut column(0, 2)),
            median(&mut column(1, 2))
        ));
    }
    let turns = 10 * rounds;
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..turns {
        for (without, times) in in_turn(round, &CASES[4].ways(), &mut times) {
            times.push(short(without));
        }
    }
    let [mut with, mut without] = times;
    say(format!(
        "\n{SHORT_BYTES} bytes and the end, {turns} pairs: median {:.0} us with, {:.0} us without",
        median(&mut with),
        median(&mut without)
    ));
}
