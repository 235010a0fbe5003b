//! A client that dies at any step of the protocol, in any way: its session is over soon, and the next client
//! is served.
//!
//! The client is a process of its own, this test program started once more. That a stopped process is dead
//! can be found out by waiting only, so those are served with short deadlines: of what this shortens, the
//! documentation says how long it is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringperf_proto::Frame;
use ringperf_proto::omni::OmniRequest;

use super::{connect_from, loopback, tell};
use crate::support::{
    Control, Netserver, Resources, await_that, baseline, golden, request, reset, serves, signal, words,
};

/// Within this time everything is as before.
const CLEAN: Duration = Duration::from_secs(15);

/// Deadlines of a netserver whose clients are stopped, instead of 10, 20 and 300 s.
const SHORT_MS: &str = "2000";

/// Length of a test whose client dies, in seconds; and of one whose client is stopped, which a netserver
/// serves to its end.
const LONG: i32 = 600;
const SHORT: i32 = 1;

/// In the environment of the client: its part.
const PART: &str = "RINGPERF_TEST_PEER";

/// How far the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Connect,
    PassphraseHalfSent,
    RequestHalfSent,
    RequestSent,
    ResponseAwaited,
    DataConnect,
    DataAccepted,
    FirstByte,
    MidTransfer,
    MidTransferBack,
    MidDatagrams,
    MidDatagramsBack,
    TimerExpiry,
    HalfClose,
    ResultsAwaited,
    ResultsHalfSent,
    IdleBeforeNext,
}

impl Step {
    /// Fourteen, one of them in four directions.
    const ALL: [Self; 17] = [
        Self::Connect,
        Self::PassphraseHalfSent,
        Self::RequestHalfSent,
        Self::RequestSent,
        Self::ResponseAwaited,
        Self::DataConnect,
        Self::DataAccepted,
        Self::FirstByte,
        Self::MidTransfer,
        Self::MidTransferBack,
        Self::MidDatagrams,
        Self::MidDatagramsBack,
        Self::TimerExpiry,
        Self::HalfClose,
        Self::ResultsAwaited,
        Self::ResultsHalfSent,
        Self::IdleBeforeNext,
    ];
}

/// How the client dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Close,
    Reset,
    Stop,
    Kill,
}

impl Way {
    const ALL: [Self; 4] = [Self::Close, Self::Reset, Self::Stop, Self::Kill];
}

/// What a client has open.
#[derive(Default)]
struct Held {
    streams: Vec<TcpStream>,
    datagrams: Option<UdpSocket>,
    pump: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Held {
    /// Has `work` done again and again from now on.
    fn pump(&mut self, mut work: impl FnMut() + Send + 'static) {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                work();
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        self.pump = Some((stop, thread));
        std::thread::sleep(Duration::from_millis(200));
    }

    fn give_up(mut self, with_reset: bool) {
        if let Some((stop, thread)) = self.pump.take() {
            stop.store(true, Ordering::Relaxed);
            thread.join().expect("it works on");
        }
        if with_reset {
            self.streams.into_iter().for_each(reset);
        }
    }
}

/// The client's process: goes as far as its part says, tells that, and dies as it is told, or is killed.
fn act(part: &str) -> ! {
    let words: Vec<&str> = part.split(' ').collect();
    let [step, local, server, seconds] = words[..] else { panic!("{part}: not a part") };
    let step = Step::ALL.into_iter().find(|one| format!("{one:?}") == step).expect("a step");
    let mut client = Client {
        local: local.parse().expect("an address"),
        server: server.parse().expect("an address"),
        seconds: seconds.parse().expect("a number"),
    };
    let held = client.go_to(step);
    println!("ready");
    let mut how = String::new();
    std::io::stdin().read_line(&mut how).expect("somebody says how");
    held.give_up(how.trim() == "Reset");
    std::process::exit(0)
}

struct Client {
    local: Ipv4Addr,
    server: SocketAddr,
    seconds: i32,
}

impl Client {
    fn frame(&self, name: &str, change: impl FnOnce(&mut OmniRequest)) -> Frame {
        request(name, |request| {
            request.netserver_ip = words(Ipv4Addr::UNSPECIFIED.into());
            request.test_length = self.seconds;
            change(request);
        })
    }

    /// Goes on with the test that `frame` asks for as far as `step`.
    fn go_to(&mut self, step: Step) -> Held {
        let mut held = Held::default();
        let control = connect_from(self.local, self.server).expect("netserver accepts");
        held.streams.push(control.try_clone().expect("a descriptor"));
        let mut control = Control(control);
        match step {
            Step::Connect => {}
            Step::PassphraseHalfSent => control.send(&golden("passphrase_good")[0][..300]),
            Step::RequestHalfSent => control.send(&golden("two_tests_one_connection")[0][..300]),
            Step::MidDatagrams | Step::MidDatagramsBack => self.datagrams(step, &mut control, &mut held),
            Step::MidTransferBack | Step::TimerExpiry => self.take_stream(step, &mut control, &mut held),
            _ => self.send_stream(step, &mut control, &mut held),
        }
        held
    }

    fn data(&self, port: u32, held: &mut Held) -> TcpStream {
        let port = u16::try_from(port).expect("a port");
        let data = connect_from(self.local, (self.server.ip(), port).into()).expect("the data port is open");
        held.streams.push(data.try_clone().expect("a descriptor"));
        data
    }

    fn send_stream(&self, step: Step, control: &mut Control, held: &mut Held) {
        control.send(self.frame("two_tests_one_connection", |_| ()).as_bytes());
        match step {
            Step::RequestSent => return,
            // It is there by then, and nobody has read it.
            Step::ResponseAwaited => return std::thread::sleep(Duration::from_millis(500)),
            _ => {}
        }
        let response = control.response();
        if step == Step::DataConnect {
            return;
        }
        let mut data = self.data(response.data_port, held);
        if step == Step::DataAccepted {
            return std::thread::sleep(Duration::from_millis(100));
        }
        data.write_all(&[1]).expect("it is taken");
        match step {
            Step::FirstByte => return,
            Step::MidTransfer => {
                return held.pump(move || drop(data.write(&[2; 65_536])));
            }
            _ => {}
        }
        data.shutdown(Shutdown::Write).expect("the connection is there");
        if step == Step::HalfClose {
            return;
        }
        assert_eq!(data.read(&mut [0; 1]).expect("an orderly close"), 0);
        match step {
            Step::ResultsHalfSent => control.0.read_exact(&mut [0; 300]).expect("results come"),
            Step::IdleBeforeNext => drop(control.results()),
            _ => std::thread::sleep(Duration::from_millis(200)),
        }
    }

    fn take_stream(&self, step: Step, control: &mut Control, held: &mut Held) {
        let seconds = if step == Step::TimerExpiry { SHORT } else { self.seconds };
        let response = control.ask(self.frame("tcp_maerts", |asked| asked.test_length = seconds).as_bytes());
        let mut data = self.data(response.data_port, held);
        if step == Step::TimerExpiry {
            std::io::copy(&mut data, &mut std::io::sink()).expect("the stream ends in order");
        } else {
            data.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket takes a timeout");
            let mut buffer = vec![0; 65_536];
            held.pump(move || drop(data.read(&mut buffer)));
        }
    }

    fn datagrams(&self, step: Step, control: &mut Control, held: &mut Held) {
        let socket = UdpSocket::bind((self.local, 0)).expect("all of 127/8 is ours");
        let ours = socket.local_addr().expect("it is bound").port();
        if step == Step::MidDatagrams {
            let response = control.ask(self.frame("udp_stream_m3100", |_| ()).as_bytes());
            let port = u16::try_from(response.data_port).expect("a port");
            socket.connect((self.server.ip(), port)).expect("loopback is reachable");
            let sender = socket.try_clone().expect("a descriptor");
            held.pump(move || drop(sender.send(&[3; 1000])));
        } else {
            let paced = self.frame("omni_udp_recv", |request| {
                request.netperf_port = ours.into();
                (request.interval_burst, request.interval_usecs) = (1, 2000);
            });
            control.ask(paced.as_bytes());
            socket.recv(&mut [0; 2000]).expect("datagrams come");
        }
        held.datagrams = Some(socket);
    }
}

/// One client that dies.
struct Cell {
    step: Step,
    way: Way,
    local: Ipv4Addr,
}

/// A client's process. Killed when dropped.
struct Process {
    child: Child,
    stdin: ChildStdin,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Cell {
    fn begin(&self, netserver: &Netserver) -> Process {
        const NAME: &str = "hostile::killed::a_peer_that_dies_at_any_step_leaves_nothing_behind";
        let length = if self.way == Way::Stop { SHORT } else { LONG };
        let part = format!("{:?} {} {} {length}", self.step, self.local, netserver.address());
        let mut child = Command::new(std::env::current_exe().expect("/proc is there"))
            .args([NAME, "--exact", "--nocapture"])
            .env(PART, part)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test program starts");
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let process = Process { child, stdin };
        let ready = stdout.lines().map_while(Result::ok).any(|line| line.ends_with("ready"));
        assert!(ready, "{:?}, {:?}: the client did not get there", self.step, self.way);
        process
    }

    /// From the client's death to the end of its session.
    fn die(&self, netserver: &Netserver) -> Duration {
        let mut process = self.begin(netserver);
        let begun = Instant::now();
        match self.way {
            Way::Close | Way::Reset => writeln!(process.stdin, "{:?}", self.way).expect("it reads"),
            Way::Stop => signal(process.child.id(), "STOP"),
            Way::Kill => process.child.kill().expect("it runs"),
        }
        let peer = format!("peer={}:", self.local);
        let is_over = |line: &str| line.contains(" session ") && !line.contains(" session opened");
        while begun.elapsed() < 4 * CLEAN {
            if netserver.log().lines().any(|line| line.contains(&peer) && is_over(line)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        begun.elapsed()
    }
}

/// The netservers of one engine: clients that die, and clients that stop, each with and without a passphrase.
struct Servers([(Netserver, Resources); 4]);

impl Servers {
    fn start(engine: &str) -> Self {
        let start = |more: &[&str]| {
            let words = [&["-d", "-L", "127.0.0.1", "--engine", engine][..], more].concat();
            let netserver = Netserver::start(&words);
            let before = if more.contains(&"-Z") {
                greet(&netserver);
                netserver.resources()
            } else {
                baseline(&netserver)
            };
            (netserver, before)
        };
        let (short, closed) = (["--deadline-ms", SHORT_MS], ["-Z", "sesame"]);
        Self([start(&[]), start(&closed), start(&short), start(&[short, closed].concat())])
    }

    fn of(&self, cell: &Cell) -> &Netserver {
        let closed = usize::from(cell.step == Step::PassphraseHalfSent);
        let short = usize::from(cell.way == Way::Stop);
        &self.0[closed + 2 * short].0
    }

    /// Everything is as before, and clients are served.
    fn check(&self) {
        for (netserver, before) in &self.0 {
            await_that("the sessions' descriptors", || netserver.resources().within(*before));
            let log = netserver.log();
            assert!(!log.contains("BUG:"), "{log}");
        }
        serves(&self.0[0].0);
        serves(&self.0[2].0);
        greet(&self.0[1].0);
        greet(&self.0[3].0);
    }
}

/// A session with a passphrase, up to its close.
fn greet(netserver: &Netserver) {
    let before = netserver.resources();
    let mut control = Control::open(netserver.address());
    control.send(&golden("passphrase_good")[0]);
    control.send(&golden("debug_on_off")[0]);
    assert_eq!(control.frame().errno(), 0);
    control.finish();
    control.await_close();
    await_that("the session's descriptors", || netserver.resources().within(before));
}

fn table(title: &str, cells: &[Cell], took: &[Duration]) {
    let mut text = format!("{title}\n{:20}", "killed at");
    Way::ALL.iter().for_each(|way| text += &format!("{:>8}", format!("{way:?}")));
    for (cells, took) in cells.chunks(Way::ALL.len()).zip(took.chunks(Way::ALL.len())) {
        text += &format!("\n{:20}", format!("{:?}", cells[0].step));
        took.iter().for_each(|took| text += &format!("{:>6.1} s", took.as_secs_f32()));
    }
    tell(&text);
}

#[test]
fn a_peer_that_dies_at_any_step_leaves_nothing_behind() {
    if let Ok(part) = std::env::var(PART) {
        act(&part);
    }
    std::thread::scope(|scope| {
        for (net, engine) in (1..).zip(["auto", "epoll"]) {
            scope.spawn(move || all_die(net, engine));
        }
    });
}

/// All of them, each from an address of its own.
fn all_die(net: u8, engine: &str) {
    let servers = Servers::start(engine);
    let steps = Step::ALL.iter().flat_map(|step| Way::ALL.map(|way| (*step, way)));
    let cells: Vec<Cell> = (1..)
        .zip(steps)
        .map(|(number, (step, way))| Cell { step, way, local: loopback(net, number) })
        .collect();
    let took: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = cells.iter().map(|cell| scope.spawn(|| cell.die(servers.of(cell)))).collect();
        threads.into_iter().map(|thread| thread.join().expect("the client gets there")).collect()
    });
    table(&format!("sessions of clients that died, by engine {engine}: over after"), &cells, &took);
    for (cell, took) in cells.iter().zip(&took) {
        let (step, way) = (cell.step, cell.way);
        assert!(*took < CLEAN, "{step:?}, {way:?}, {engine}: {took:?}; {}", servers.of(cell).log());
    }
    servers.check();
}
