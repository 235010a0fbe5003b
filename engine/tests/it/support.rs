//! Two ends on loopback, and the list of ways to run them.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use ringperf_engine::plan::{Endpoint, Length, Role, SendPath, Without};
use ringperf_engine::{EngineChoice, Error, Outcome, Plan, PlanOptions, prepare};

/// One way to run a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) engine: EngineChoice,
    pub(crate) without: Without,
    pub(crate) send_path: SendPath,
}

/// Longer than anything takes that does not fail.
pub(crate) const SOON: Duration = Duration::from_secs(20);

const EVERYTHING: Without = Without {
    bundles: false,
    multishot: false,
    buffer_ring: false,
    deferred_task_run: false,
    registered_files: false,
    registered_buffers: false,
    minimum_wait: false,
    shared_segments: false,
    low_water: false,
};

const fn uring(name: &'static str, without: Without) -> Way {
    Way { name, engine: EngineChoice::Uring, without, send_path: SendPath::Auto }
}

const fn sending(name: &'static str, send_path: SendPath) -> Way {
    Way { send_path, ..uring(name, EVERYTHING) }
}

pub(crate) const CLASSIC: Way = Way { engine: EngineChoice::Classic, ..uring("classic", EVERYTHING) };
pub(crate) const EPOLL: Way = Way { engine: EngineChoice::Epoll, ..uring("epoll", EVERYTHING) };
pub(crate) const URING: Way = uring("uring", EVERYTHING);

/// io_uring in full, with each of its parts left out, and by each way of sending.
pub(crate) const URING_WAYS: [Way; 13] = [
    URING,
    uring("uring without bundles", Without { bundles: true, ..EVERYTHING }),
    uring("uring without multishot", Without { multishot: true, ..EVERYTHING }),
    uring("uring without buffer ring", Without { buffer_ring: true, ..EVERYTHING }),
    uring("uring without deferred task run", Without { deferred_task_run: true, ..EVERYTHING }),
    uring("uring without registered files", Without { registered_files: true, ..EVERYTHING }),
    uring("uring without shortest sleep", Without { minimum_wait: true, ..EVERYTHING }),
    uring("uring without low-water mark", Without { low_water: true, ..EVERYTHING }),
    sending("uring, sends in chains", SendPath::Chain),
    sending("uring, sends from registered memory", SendPath::Registered),
    sending("uring, sends in bundles", SendPath::Bundle),
    sending("uring, zero-copy sends", SendPath::ZeroCopy),
    ZERO_COPY_FROM_PLAIN_MEMORY,
];

const ZERO_COPY_FROM_PLAIN_MEMORY: Way = Way {
    send_path: SendPath::ZeroCopy,
    ..uring("uring, zero-copy sends from plain memory", Without { registered_buffers: true, ..EVERYTHING })
};

/// The ways that this machine can go: all of them, or those without a ring, with a word of why. On an
/// emulated one, which is there for its kernel's io_uring and is slow, those of the ring if it has one.
pub(crate) fn ways(test: &str) -> Vec<Way> {
    let mut ways = vec![CLASSIC, EPOLL];
    if uring_or_skip(test) {
        if emulated() {
            ways.clear();
        }
        ways.extend(URING_WAYS);
    }
    ways
}

/// Each engine in full.
pub(crate) fn engines(test: &str) -> Vec<Way> {
    ways(test).into_iter().filter(|way| [CLASSIC, EPOLL, URING].contains(way)).collect()
}

/// The same for datagrams, which have one way of being sent.
pub(crate) fn datagram_ways(test: &str) -> Vec<Way> {
    ways(test).into_iter().filter(|way| way.send_path == SendPath::Auto).collect()
}

/// Runs a test by all ways at the same time: for tests that mostly wait.
pub(crate) fn each_way(test: &str, run: impl Fn(Way) + Sync) {
    by_each(ways(test), run);
}

/// The same for datagrams.
pub(crate) fn each_datagram_way(test: &str, run: impl Fn(Way) + Sync) {
    by_each(datagram_ways(test), run);
}

/// The same by those ways that name how to send a stream.
pub(crate) fn each_way_of_sending(test: &str, run: impl Fn(Way) + Sync) {
    by_each(ways(test).into_iter().filter(|way| way.send_path != SendPath::Auto).collect(), run);
}

fn by_each(ways: Vec<Way>, run: impl Fn(Way) + Sync) {
    let run = &run;
    std::thread::scope(|scope| {
        for way in ways {
            scope.spawn(move || run(way));
        }
    });
}

/// Whether io_uring can be had. Where it cannot, says so, or fails if it is required.
pub(crate) fn uring_or_skip(test: &str) -> bool {
    let plan = Plan::new(URING.options(Role::Receive, listen())).unwrap();
    let Err(error) = prepare(&plan) else { return true };
    assert!(matches!(error, Error::UringRefused { .. }), "{error}");
    skip(&format!("{test} on io_uring"), "uring", &error.to_string());
    false
}

/// Says that `test` is left out because `what` is missing, or fails where `RINGPERF_REQUIRE` names it.
pub(crate) fn skip(test: &str, what: &str, reason: &str) {
    let required = std::env::var("RINGPERF_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|word| word == what), "{test} needs {what}: {reason}");
    // Past the test harness, which would keep the line to itself because the test passes.
    let _ = writeln!(std::io::stdout(), "SKIP {test}: {reason}");
}

pub(crate) fn listen() -> Endpoint {
    Endpoint::Listen { local: loopback(), peers: Vec::new() }
}

pub(crate) fn connect() -> Endpoint {
    Endpoint::Connect { local: loopback() }
}

pub(crate) fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

impl Way {
    /// A short run by this way. Deadlines are long: only a failure reaches them, and an emulated machine is
    /// slow.
    pub(crate) fn options(&self, role: Role, endpoint: Endpoint) -> PlanOptions {
        PlanOptions {
            engine: self.engine,
            without: self.without,
            send_path: self.send_path,
            length: if role == Role::Send {
                Length::Time(Duration::from_millis(100))
            } else {
                Length::Endless
            },
            message_bytes: 128 << 10,
            connect_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(60),
            ..PlanOptions::new(role, endpoint)
        }
    }
}

/// Whether this machine is emulated, as `scripts/kernel-guest` says of its guest: it may be a hundred times
/// as slow as a real one, and slower for seconds.
fn emulated() -> bool {
    std::env::var_os("RINGPERF_EMULATED").is_some()
}

/// What must end within this time on any machine, however busy, as a limit for this one.
pub(crate) fn at_most(time: Duration) -> Duration {
    if emulated() { 10 * time } else { time }
}

/// Has something go well at least once: a machine that is busy with something else spoils what has to be in
/// time, but not twenty runs of it. An emulated one may spoil them all; whatever else a run asserts holds
/// there too.
#[track_caller]
pub(crate) fn assert_some_run(run: impl FnMut() -> bool, name: &str) {
    let tries = if emulated() { 3 } else { 20 };
    let well = std::iter::repeat_with(run).take(tries).any(|well| well);
    if !well && emulated() {
        let place = std::panic::Location::caller();
        return skip(&format!("{name} at {place}"), "times", "an emulated machine does not keep such times");
    }
    assert!(well, "{name}: none of {tries} runs in time");
}

/// Runs a sender against a receiver, whichever of them listens; both outcomes.
pub(crate) fn run_pair(sender: PlanOptions, receiver: PlanOptions) -> (Outcome, Outcome) {
    let sender_listens = matches!(sender.endpoint, Endpoint::Listen { .. });
    let receiver = prepare(&Plan::new(receiver).unwrap()).unwrap();
    let sender = prepare(&Plan::new(sender).unwrap()).unwrap();
    let (to_sender, to_receiver) = (sender.local(), receiver.local());
    let receiving = std::thread::spawn(move || receiver.run(sender_listens.then_some(to_sender)).unwrap());
    let sent = sender.run((!sender_listens).then_some(to_receiver)).unwrap();
    (sent, receiving.join().unwrap())
}
