//! No wait without a deadline: the session against peers that stop at any point, in simulated time.
//!
//! The clock stands still while anything can go on and jumps to the next timer when nothing can. So a state
//! without a timer shows at once, as a session that is still there when a day has passed, and a state with
//! one ends at its documented deadline to the millisecond. Engine and sockets are scripts; that the real ones
//! keep their deadlines is for the tests over sockets.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;

use ringperf_proto::{Client, ClientConfig, ClientInput, ClientOutput, FRAME_BYTES, OmniTest};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::super::testrun::scripted::Script;
use super::*;
use crate::args::NetserverOptions;

/// Longer than any deadline.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What closing may take: a peer that does not close its side, and a read that does not return.
const CLOSING: Duration = Duration::from_secs(2);

/// Seconds of the test that is asked for.
const TEST_SECONDS: u32 = 10;

/// What a peer does when it has sent all it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Closes,
    Resets,
    SaysNothing,
}

const ENDINGS: [Then; 3] = [Then::Closes, Then::Resets, Then::SaysNothing];

/// A control connection to a scripted peer.
struct Wire {
    sends: RefCell<VecDeque<u8>>,
    then: Then,
    /// Frames of ours that the peer takes.
    takes: Cell<usize>,
    /// The kernel never lets go of a read, not even when the socket is shut down.
    reads_hang: bool,
    /// Nothing goes on any more on our side.
    shut: Cell<bool>,
    changed: Notify,
}

impl Wire {
    fn new(sends: &[u8], then: Then) -> Self {
        Self {
            sends: RefCell::new(sends.iter().copied().collect()),
            then,
            takes: Cell::new(usize::MAX),
            reads_hang: false,
            shut: Cell::new(false),
            changed: Notify::new(),
        }
    }
}

impl Wire {
    /// What of the peer's bytes fits.
    fn send_into(&self, buffer: &mut [u8]) -> usize {
        let mut sends = self.sends.borrow_mut();
        let count = buffer.len().min(sends.len());
        sends.drain(..count).zip(buffer).for_each(|(byte, to)| *to = byte);
        count
    }
}

impl Transport for Wire {
    fn adopt(_: TcpStream) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn read(&self, mut buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        loop {
            let count = self.send_into(&mut buffer);
            if count > 0 {
                return (Ok(count), buffer);
            }
            match self.then {
                _ if self.reads_hang => std::future::pending().await,
                _ if self.shut.get() => return (Ok(0), buffer),
                Then::Closes => return (Ok(0), buffer),
                Then::Resets => return (Err(io::ErrorKind::ConnectionReset.into()), buffer),
                Then::SaysNothing => self.changed.notified().await,
            }
        }
    }

    async fn write_all(&self, _: Vec<u8>) -> io::Result<()> {
        if let Some(left) = self.takes.get().checked_sub(1) {
            self.takes.set(left);
            return Ok(());
        }
        std::future::pending().await
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if how == Shutdown::Both {
            self.shut.set(true);
            self.changed.notify_waiters();
        }
        Ok(())
    }
}

/// A request for a stream of [`TEST_SECONDS`].
fn request() -> Vec<u8> {
    let test = OmniTest { length: Length::Seconds(TEST_SECONDS), ..OmniTest::default() };
    match Client::new(ClientConfig::default()).on(ClientInput::Start(test.into())) {
        Ok((_, ClientOutput::Send(frame))) => frame.as_bytes().to_vec(),
        _ => panic!("a test is asked for by one frame"),
    }
}

fn debug_on() -> Vec<u8> {
    Frame::request(RequestCode::DebugOn, -1).as_bytes().to_vec()
}

fn settings(script: Script) -> Settings {
    let settings = super::super::settings(&NetserverOptions::default(), None);
    Settings { runner: Runner::Scripted(script), ..settings }
}

/// Serves the peer to the end. How it ended, and after how long; netserver is told to end at `stopped`.
fn serve_until(wire: Wire, settings: &Settings, stopped: Option<Duration>) -> (Over, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without sockets needs nothing");
    LocalSet::new().block_on(&runtime, async move {
        let (tell, stop) = watch::channel(false);
        let started = Instant::now();
        let ends = Ends::new(([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into());
        let teller = tokio::task::spawn_local(async move {
            sleep(stopped.unwrap_or(2 * DAY)).await;
            tell.send_replace(true);
            sleep(DAY).await;
        });
        let over = timeout(DAY, serve(Rc::new(wire), ends, 1, settings, stop)).await;
        teller.abort();
        (over.expect("a wait has no deadline: the session is still there after a day"), started.elapsed())
    })
}

fn serve_all(wire: Wire, settings: &Settings) -> (Over, Duration) {
    serve_until(wire, settings, None)
}

/// One state of a session, with a peer that stops there, and how long it may last.
struct State {
    name: &'static str,
    sends: Vec<u8>,
    then: Then,
    takes: usize,
    script: Script,
    passphrase: bool,
    /// Seconds until the session begins to close.
    within: u64,
}

/// Where a session can stand, with the deadlines that docs/design.md tells of.
fn states() -> Vec<State> {
    let silent = |name, sends: Vec<u8>, within| State {
        name,
        sends,
        then: Then::SaysNothing,
        takes: usize::MAX,
        script: Script::NeverEnds,
        passphrase: false,
        within,
    };
    let half = |frame: Vec<u8>| frame[..FRAME_BYTES / 2].to_vec();
    let closing = |state: State| State { then: Then::Closes, ..state };
    let overdue = 2 * (u64::from(TEST_SECONDS) + 4) + 60;
    vec![
        silent("nothing came", Vec::new(), 10),
        silent("the first frame began", half(request()), 10),
        State { passphrase: true, ..silent("the passphrase is awaited", Vec::new(), 20) },
        State { passphrase: true, ..silent("half a passphrase", half(debug_on()), 20) },
        silent("idle between requests", debug_on(), 300),
        silent("a later frame began", [debug_on(), half(request())].concat(), 10),
        State { takes: 0, ..silent("an answer is not taken", debug_on(), 10) },
        State { takes: 0, ..silent("the offer is not taken", request(), 10) },
        State { script: Script::NeverReady, takes: 0, ..silent("a test is prepared", request(), 60 + 10) },
        silent("a timed test runs", request(), overdue + 25),
        closing(silent("a test runs whose client has closed", request(), 10 + 25)),
        State { then: Then::Resets, ..silent("a test runs whose client is gone", request(), 25) },
        State { script: Script::Fails, takes: 1, ..silent("results are not taken", request(), 10) },
    ]
}

fn run(state: &State, stopped: Option<Duration>) -> (Over, Duration) {
    let mut settings = settings(state.script);
    settings.passphrase = Passphrase::new(b"sesame").filter(|_| state.passphrase);
    let wire = Wire { takes: Cell::new(state.takes), ..Wire::new(&state.sends, state.then) };
    serve_until(wire, &settings, stopped)
}

#[test]
fn every_state_ends_at_its_deadline() {
    for state in states() {
        let (over, took) = run(&state, None);
        let least = Duration::from_secs(state.within);
        assert!(took >= least && took <= least + CLOSING, "{}: {took:?}, {over:?}", state.name);
    }
}

#[test]
fn every_state_ends_soon_when_netserver_does() {
    for state in states() {
        let stopped = Duration::from_secs(1);
        let (over, took) = run(&state, Some(stopped));
        // What is written, prepared or abandoned has its own deadline, and netserver does not wait for
        // sessions longer than `accept::CLOSING`.
        let busy = state.takes <= 1 || state.script == Script::NeverReady || state.then == Then::Resets;
        let within = if busy { state.within } else { STOPPED_AT_THE_END.as_secs() };
        assert!(
            took <= stopped + Duration::from_secs(within) + CLOSING,
            "{}: {took:?}, {over:?}",
            state.name
        );
    }
}

#[test]
fn a_peer_may_stop_at_any_byte() {
    let whole = [debug_on(), request(), debug_on(), request()].concat();
    let longest = Duration::from_secs(300);
    for cut in 0..=whole.len() {
        // Every place where something begins or ends, and some between.
        if cut % FRAME_BYTES > 9 && cut % FRAME_BYTES < FRAME_BYTES - 9 && cut % 13 != 0 {
            continue;
        }
        for then in ENDINGS {
            let (over, took) = serve_all(Wire::new(&whole[..cut], then), &settings(Script::Refused));
            let at_once = then != Then::SaysNothing;
            let within = if at_once { Duration::ZERO } else { longest };
            assert!(took <= within + CLOSING, "{cut} bytes, then {then:?}: {took:?}, {over:?}");
        }
    }
}

#[test]
fn a_read_that_never_returns_holds_no_seat() {
    let wire = Wire { reads_hang: true, ..Wire::new(&debug_on(), Then::SaysNothing) };
    let (_, took) = serve_all(wire, &settings(Script::Refused));
    assert!(took <= Duration::from_secs(300) + CLOSING, "{took:?}");
}
