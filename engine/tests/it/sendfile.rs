//! Messages out of a file, by the engines that make calls.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ringperf_engine::facts::Engine;
use ringperf_engine::outcome::End;
use ringperf_engine::plan::{EngineChoice, Length, Role};
use ringperf_engine::{Outcome, Plan, PlanOptions, prepare};
use socket2::{Domain, Socket, Type};

use crate::support::{CLASSIC, EPOLL, Way, assert_some_run, at_most, connect, loopback, run_pair};

const AUTO: Way = Way { name: "auto", engine: EngineChoice::Auto, ..EPOLL };
const ENODATA: i32 = 61;
const PAUSE: Duration = Duration::from_millis(200);

/// A file of so many bytes that no name leads to, and what it holds.
fn file(bytes: usize) -> (Arc<File>, Vec<u8>) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("sendfile-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(format!("ringperf-{name}"));
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let content: Vec<u8> = (0..bytes).map(|at| (at % 251 + at / 251) as u8).collect();
    file.write_all(&content).unwrap();
    (file.into(), content)
}

fn sender(way: Way, file: &Arc<File>, message_bytes: u32, length: Length) -> PlanOptions {
    PlanOptions { file: Some(Arc::clone(file)), message_bytes, length, ..way.options(Role::Send, connect()) }
}

/// Runs a sender against a peer, which is let loose on the connection and gives back what it saw.
fn against<T: Send>(options: PlanOptions, peer: impl FnOnce(TcpStream) -> T + Send) -> (Outcome, T) {
    let listener = TcpListener::bind(loopback()).unwrap();
    let remote: SocketAddr = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        let seeing = scope.spawn(move || peer(listener.accept().unwrap().0));
        let prepared = prepare(&Plan::new(options).unwrap()).unwrap();
        (prepared.run(Some(remote)).unwrap(), seeing.join().unwrap())
    })
}

fn all(mut stream: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn a_stream_carries_the_file_over_and_over() {
    for way in [CLASSIC, EPOLL, AUTO] {
        // The last one takes part of the file away at its end, the first goes around it.
        for (bytes, message, messages) in
            [(251, 1, 600), (10_000, 1000, 25), (1_000_003, 65_537, 40), (3 << 20, (1 << 20) + 1, 5)]
        {
            let (file, content) = file(bytes);
            let length = Length::Bytes(u64::from(message) * messages);
            let (outcome, arrived) = against(sender(way, &file, message, length), all);
            let name = format!("{}: messages of {message}", way.name);
            assert_eq!((outcome.end, outcome.tally.messages_sent), (End::Count, messages), "{name}");
            let whole = &content[..bytes - bytes % message as usize];
            let expected = whole.iter().cycle().take(message as usize * messages as usize);
            // Not by assert_eq, which would print them.
            assert!(arrived.iter().eq(expected), "{name}: {} bytes, but others", arrived.len());
            let operations = outcome.tally.operations;
            assert!(
                operations.sends_file >= messages && operations.sends_syscall == 0,
                "{name}: {operations:?}"
            );
            let engine = if way == CLASSIC { Engine::Classic } else { Engine::Epoll };
            assert_eq!(outcome.facts.engine, engine, "{name}");
        }
    }
}

#[test]
fn what_does_not_go_at_once_goes_on() {
    for way in [CLASSIC, EPOLL] {
        // More than the buffers of both sockets hold.
        let (file, content) = file(16 << 20);
        let mut options = sender(way, &file, 16 << 20, Length::Bytes(32 << 20));
        options.socket.send_buffer = Some(1 << 16);
        let run = || {
            let (outcome, arrived) = against(options.clone(), |mut stream| {
                let mut first = vec![0; 1 << 16];
                stream.read_exact(&mut first).unwrap();
                // Longer than a call of the blocking engine lasts: the kernel begins its time anew where some
                // went.
                std::thread::sleep(3 * PAUSE);
                [first, all(stream)].concat()
            });
            assert_eq!((outcome.end, outcome.tally.messages_sent), (End::Count, 2), "{}", way.name);
            assert!(
                arrived == [content.as_slice(), &content].concat(),
                "{}: {} bytes",
                way.name,
                arrived.len()
            );
            outcome.tally.operations.sends_file > 2
        };
        assert_some_run(run, way.name);
    }
}

#[test]
fn a_file_that_becomes_shorter_ends_the_run() {
    for way in [CLASSIC, EPOLL] {
        // Away altogether, and within a message.
        for left in [0, 1500] {
            let (file, _) = file(100_000);
            let (outcome, _) = against(sender(way, &file, 1000, Length::Endless), |mut stream| {
                stream.read_exact(&mut [0; 200_000]).unwrap();
                file.set_len(left).unwrap();
                // The run is over when the connection is.
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
            });
            assert_eq!(outcome.end, End::Failed(ENODATA), "{}", way.name);
        }
    }
}

#[test]
fn a_peer_that_does_not_read_does_not_hold_the_end_up() {
    for way in [CLASSIC, EPOLL] {
        let (file, _) = file(1 << 20);
        let mut options = sender(way, &file, 1 << 20, Length::Time(PAUSE));
        options.drain_timeout = PAUSE;
        let listener = TcpListener::bind(loopback()).unwrap();
        let prepared = prepare(&Plan::new(options).unwrap()).unwrap();
        let outcome = prepared.run(Some(listener.local_addr().unwrap())).unwrap();
        // The kernel alone has taken the connection.
        drop(listener);
        assert_eq!(outcome.end, End::DrainTimeout, "{}", way.name);
        assert!(outcome.elapsed < at_most(100 * PAUSE), "{}: {:?}", way.name, outcome.elapsed);
    }
}

/// A listener with a full queue lets the first attempt to connect go unheard, and the kernel makes the next a
/// second later.
#[test]
fn the_time_begins_with_the_connection() {
    for way in [CLASSIC, EPOLL] {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let listener = TcpListener::from(listener);
        let remote = listener.local_addr().unwrap();
        let first = TcpStream::connect(remote).unwrap();
        let (file, _) = file(1 << 20);
        let prepared =
            prepare(&Plan::new(sender(way, &file, 1 << 16, Length::Time(PAUSE))).unwrap()).unwrap();
        let begun = Instant::now();
        let outcome = std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(PAUSE);
                drop((listener.accept().unwrap(), first));
                all(listener.accept().unwrap().0);
            });
            prepared.run(Some(remote)).unwrap()
        });
        let outside = begun.elapsed().saturating_sub(outcome.elapsed);
        assert!(outside > 4 * PAUSE, "{}: {outside:?} were not counted", way.name);
        assert!(outcome.elapsed >= PAUSE, "{}: {:?}", way.name, outcome.elapsed);
        assert_eq!(outcome.connected_for(), outcome.elapsed, "{}", way.name);
        assert!(outcome.tally.messages_sent > 0, "{}", way.name);
    }
}

#[test]
fn a_connection_that_breaks_off_ends_the_run_and_not_the_process() {
    for way in [CLASSIC, EPOLL] {
        let (file, _) = file(1 << 20);
        let (outcome, _) = against(sender(way, &file, 1 << 16, Length::Endless), |mut stream| {
            // Closed with bytes unread, it is reset.
            stream.read_exact(&mut [0; 1 << 16]).unwrap();
        });
        assert!(matches!(outcome.end, End::Failed(_)), "{}: {:?}", way.name, outcome.end);
    }
}

#[test]
fn each_sendfile_has_its_time_and_what_is_received_its_count() {
    let (file, _) = file(1 << 20);
    let mut options = sender(CLASSIC, &file, 1 << 14, Length::Bytes(100 << 14));
    options.latency = true;
    let (sent, received) = run_pair(options, EPOLL.options(Role::Receive, crate::support::listen()));
    assert_eq!(sent.latency.expect("it was asked for").histogram.len(), 100);
    assert_eq!(received.tally.bytes_received, 100 << 14);
}
