//! Ten thousand malformed control messages over real sockets: recorded ones that are mutated, and random
//! ones. Each has a number, which with the seed says what it is.
//!
//! A message that asks for a test after all gets one, and leaves it by a reset.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ringperf_proto::code::{RequestCode, ResponseCode};
use ringperf_proto::{FRAME_BYTES, Frame};

use super::{Random, tell};
use crate::support::{Netserver, Resources, await_that, baseline, golden, reset, run, serves, stock};

const SEED: u64 = 20_260_107;

/// Mutated messages; as many random ones follow them.
const MUTATED: usize = 5_000;

/// Messages before memory is first looked at: what the allocator keeps for so many threads at once has its
/// size by then.
const WARM_UP: usize = 5_000;

/// Connections at the same time.
const AT_ONCE: usize = 8;

/// What a netserver may have grown by.
const GROWTH_KIB: u64 = 1 << 10;

/// Has the allocator of the C library give back at once what is free, and keep it in one place: otherwise
/// memory goes up and down with the threads, by more than what is looked for.
const ALLOCATOR: [&str; 3] = ["env", "MALLOC_ARENA_MAX=1", "MALLOC_TRIM_THRESHOLD_=65536"];

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Every frame that a client of a recorded conversation sent.
fn recorded() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/tests/goldens");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the goldens are there")
        .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_owned))
        // Of releases with other frames, and no conversation at all.
        .filter(|name| !["README", "layouts"].contains(&name.as_str()) && !name.contains("245"))
        .collect();
    names.sort_unstable();
    let pieces = names.iter().flat_map(|name| golden(name));
    let frames: Vec<Vec<u8>> = pieces.filter(|piece| piece.len() == FRAME_BYTES).collect();
    assert!(frames.len() > 50, "{} frames", frames.len());
    frames
}

fn word_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn set_word(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

fn awkward(random: &mut Random) -> u32 {
    let chance = random.next() as u32;
    let edges = [0, 1, 2, u32::MAX, i32::MAX as u32, 1 << 31, f32::NAN.to_bits(), f32::INFINITY.to_bits()];
    random.pick(&[random_edge(chance, &edges), chance, chance % 8, u32::MAX - chance % 8, 1 << (chance % 32)])
}

fn random_edge(chance: u32, edges: &[u32]) -> u32 {
    edges[chance as usize % edges.len()]
}

fn known_type(random: &mut Random) -> u32 {
    RequestCode::ALL[random.below(RequestCode::ALL.len())].0.to_wire().cast_unsigned()
}

/// A recorded frame with something wrong.
fn mutated(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    match random.below(8) {
        // Words as they stand in requests, most of them in the first half of the frame.
        0..3 => {
            for _ in 0..2 + random.below(12) {
                set_word(&mut bytes, 4 * random.below(40), awkward(random));
            }
        }
        3 => {
            for _ in 0..1 + random.below(80) {
                let at = random.below(140);
                bytes[at] ^= 1 << random.below(8);
            }
        }
        4 => bytes.truncate(1 + random.below(FRAME_BYTES - 1)),
        5 => {
            let surplus = 1 + random.below(9);
            let at = random.below(FRAME_BYTES);
            bytes.splice(at..at, (0..surplus).map(|_| random.next() as u8)).for_each(drop);
        }
        6 => {
            set_word(&mut bytes, 0, known_type(random));
            (0..random.below(8)).for_each(|_| set_word(&mut bytes, 4 * random.below(40), awkward(random)));
        }
        _ => {
            let other = &corpus[random.below(corpus.len())];
            let from = 4 * random.below(FRAME_BYTES / 4);
            bytes[from..].copy_from_slice(&other[from..]);
            (0..random.below(12)).for_each(|_| set_word(&mut bytes, 4 * random.below(40), awkward(random)));
        }
    }
    bytes
}

/// Bytes of no meaning, half of them behind a type that is known.
fn noise(random: &mut Random) -> Vec<u8> {
    let length = if random.below(4) > 0 { FRAME_BYTES } else { 1 + random.below(4 * FRAME_BYTES) };
    let mut bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
    if length >= 4 && random.below(2) == 0 {
        set_word(&mut bytes, 0, known_type(random));
    }
    bytes
}

fn message(seed: u64, number: usize, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut random = Random(seed ^ (number as u64) << 32);
    if number < MUTATED { mutated(&mut random, corpus) } else { noise(&mut random) }
}

/// What became of the messages.
#[derive(Debug, Default)]
struct Counts {
    answered: AtomicUsize,
    refused: AtomicUsize,
    tests: AtomicUsize,
    closed: AtomicUsize,
    unanswered: AtomicUsize,
}

fn add(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::Relaxed);
}

fn is_test_response(code: ResponseCode) -> bool {
    use ResponseCode::{
        OmniResponse, TcpCcResponse, TcpCrrResponse, TcpMaertsResponse, TcpRrResponse, TcpStreamResponse,
        UdpRrResponse, UdpStreamResponse,
    };
    matches!(
        code,
        OmniResponse
            | TcpCcResponse
            | TcpCrrResponse
            | TcpMaertsResponse
            | TcpRrResponse
            | TcpStreamResponse
            | UdpRrResponse
            | UdpStreamResponse
    )
}

/// One client, which goes on with its connection for as long as it has one.
struct Client<'a> {
    address: SocketAddr,
    control: Option<TcpStream>,
    counts: &'a Counts,
}

impl Client<'_> {
    fn control(&mut self) -> &mut TcpStream {
        let address = self.address;
        self.control.get_or_insert_with(|| {
            let stream = TcpStream::connect(address).expect("netserver accepts");
            stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
            stream
        })
    }

    /// The next frame; `None` where the netserver has closed.
    fn frame(&mut self, number: usize) -> Option<Frame> {
        let mut bytes = [0; FRAME_BYTES];
        let mut filled = 0;
        while filled < FRAME_BYTES {
            match self.control().read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("message {number} is left without an answer: {error}"),
            }
        }
        assert!(filled == 0 || filled == FRAME_BYTES, "message {number}: {filled} bytes of an answer");
        (filled > 0).then(|| Frame::from_bytes(bytes))
    }

    /// Delivers a message and waits for what comes of it.
    fn deliver(&mut self, number: usize, bytes: &[u8]) {
        let ragged = bytes.len() != FRAME_BYTES;
        // Behind a whole frame something that is always answered, so that nobody waits for what a message
        // without an answer does not bring.
        let probe = Frame::request(RequestCode::DebugOn, -1);
        let control = self.control();
        // A netserver that has closed by now may reset.
        let _ = control.write_all(bytes);
        if ragged {
            let _ = control.shutdown(Shutdown::Write);
        } else {
            let _ = control.write_all(probe.as_bytes());
        }
        let mut left = match () {
            () if ragged => usize::MAX,
            () if word_at(bytes, 0) == RequestCode::Passphrase.to_wire().cast_unsigned() => 1,
            () => 2,
        };
        let mut answers = 0;
        while left > 0 {
            let Some(frame) = self.frame(number) else {
                self.control = None;
                return add(if answers > 0 { &self.counts.answered } else { &self.counts.closed });
            };
            if frame.errno() == 0 && is_test_response(frame.response_type()) {
                reset(self.control.take().expect("it has just answered"));
                return add(&self.counts.tests);
            }
            if answers == 0 && left == 2 {
                add(if frame.errno() == 0 { &self.counts.answered } else { &self.counts.refused });
            }
            answers += 1;
            left -= 1;
        }
        if answers == 1 {
            add(&self.counts.unanswered);
        }
    }
}

/// Delivers the messages with these numbers.
fn deliver(netserver: &Netserver, seed: u64, numbers: std::ops::Range<usize>, corpus: &[Vec<u8>]) -> Counts {
    let counts = Counts::default();
    let next = AtomicUsize::new(numbers.start);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let mut client = Client { address: netserver.address(), control: None, counts: &counts };
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return;
                    }
                    client.deliver(number, &message(seed, number, corpus));
                }
            });
        }
    });
    counts
}

/// What it holds when all sessions are over.
fn settled(netserver: &Netserver, before: Resources) -> Resources {
    await_that("the sessions' end", || netserver.resources().within(before));
    netserver.resources()
}

#[test]
fn ten_thousand_malformed_messages_leave_nothing_behind() {
    let begun = Instant::now();
    let corpus = recorded();
    let netserver = Netserver::start_under(&ALLOCATOR, &["-L", "127.0.0.1", "-N"]).expect("env starts it");
    let before = baseline(&netserver);
    // Of both kinds.
    deliver(&netserver, !SEED, MUTATED - WARM_UP / 2..MUTATED + WARM_UP / 2, &corpus);
    let mut warm = settled(&netserver, before);
    let mut counts = deliver(&netserver, SEED, 0..2 * MUTATED, &corpus);
    let mut after = settled(&netserver, before);
    if after.resident_kib >= warm.resident_kib + GROWTH_KIB {
        // The allocator keeps what the largest heap so far took, which these may have been the first to need.
        // What leaks, leaks again.
        tell(&format!("{} KiB resident, before {}: once more", after.resident_kib, warm.resident_kib));
        warm = after;
        counts = deliver(&netserver, SEED, 0..2 * MUTATED, &corpus);
        after = settled(&netserver, before);
    }
    tell(&format!(
        "{} malformed messages, seed {SEED}, after {WARM_UP} others: {counts:?}; {} KiB resident, before {}; \
         {} descriptors, before {}; {} threads, before {}; {:.0} s",
        2 * MUTATED,
        after.resident_kib,
        warm.resident_kib,
        after.descriptors,
        before.descriptors,
        after.threads,
        before.threads,
        begun.elapsed().as_secs_f32()
    ));
    let log = netserver.log();
    assert!(!log.contains("BUG:") && !log.contains("panic"), "{log}");
    // Else nothing was tried that goes deep.
    assert!(counts.tests.load(Ordering::Relaxed) > 500, "{counts:?}");
    assert!(after.resident_kib < warm.resident_kib + GROWTH_KIB, "{warm:?}, then {after:?}");
    serves(&netserver);
    let test = "ten_thousand_malformed_messages_leave_nothing_behind: netperf";
    if let Some(netperf) = stock("netperf", test) {
        let port = netserver.port.to_string();
        let words = ["-H", "127.0.0.1", "-p", &port, "-t", "TCP_RR", "-l", "-100"];
        assert!(run(&netperf, &words, PATIENCE).status.success());
    }
}
