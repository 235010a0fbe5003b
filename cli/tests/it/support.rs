//! A netserver to talk to, a raw client that talks to it, and the rules for leaving a test out.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringperf_proto::omni::{OmniRequest, OmniResponse, OmniResults};
use ringperf_proto::{FRAME_BYTES, Frame};

/// The program under test.
pub(crate) const RINGPERF: &str = env!("CARGO_BIN_EXE_ringperf");

/// Longer than any answer takes on a busy machine; what exceeds it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Says that `test` is left out because `what` is missing, or fails where `RINGPERF_REQUIRE` names it.
pub(crate) fn skip(test: &str, what: &str, reason: &str) {
    let required = std::env::var("RINGPERF_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|name| name.trim() == what), "{test} needs {what}: {reason}");
    // Past the test harness, which would keep the line to itself because the test passes.
    let _ = writeln!(io::stdout(), "SKIP {test}: {reason}");
}

/// A program of stock netperf: in the folder that `RINGPERF_PEERS` names, on the path, or where
/// `scripts/peers` puts it.
pub(crate) fn stock(program: &str, test: &str) -> Option<PathBuf> {
    let peers = std::env::var_os("RINGPERF_PEERS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = peers
        .into_iter()
        .flat_map(|folder| [folder.join("bin"), folder])
        .chain(std::env::split_paths(&path))
        .chain([PathBuf::from("/opt/peers/bin")])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file());
    if found.is_none() {
        skip(test, "netperf", &format!("no {program}; scripts/peers installs it"));
    }
    found
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resources {
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    pub(crate) resident_kib: u64,
}

impl Resources {
    /// No more descriptors and no more threads than `other`.
    pub(crate) fn within(self, other: Self) -> bool {
        self.descriptors <= other.descriptors && self.threads <= other.threads
    }
}

/// A running netserver in the foreground. Killed when dropped.
pub(crate) struct Netserver {
    child: Child,
    /// What it printed first.
    pub(crate) start_line: String,
    /// Its control port.
    pub(crate) port: u16,
    log: Arc<Mutex<String>>,
}

impl Netserver {
    /// On a port of the kernel's choice, on IPv4 loopback unless the words say otherwise.
    pub(crate) fn start(words: &[&str]) -> Self {
        let mut command = Command::new(RINGPERF);
        command.args(["netserver", "-D", "-p", "0"]);
        Self::spawn(command.args(words)).expect("netserver starts")
    }

    /// Started by `wrapper`, whose last words have to be a program that runs the words after it.
    pub(crate) fn start_under(wrapper: &[&str], words: &[&str]) -> io::Result<Self> {
        Self::start_program_under(Path::new(RINGPERF), wrapper, words)
    }

    /// The same with a copy of the program under test.
    pub(crate) fn start_program_under(ringperf: &Path, wrapper: &[&str], words: &[&str]) -> io::Result<Self> {
        let (program, first) = wrapper.split_first().expect("a wrapper has a name");
        let mut command = Command::new(program);
        command
            .args(first)
            .arg(ringperf)
            .args(["netserver", "-D", "-p", "0", "--exit-with-stdin"])
            .args(words);
        Self::spawn(&mut command)
    }

    fn spawn(command: &mut Command) -> io::Result<Self> {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn()?;
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().expect("stderr is piped");
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = kept.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut start_line = String::new();
        BufReader::new(child.stdout.take().expect("stdout is piped")).read_line(&mut start_line)?;
        let start_line = start_line.trim_end().to_owned();
        let mut netserver = Self { child, start_line, port: 0, log };
        let port = netserver.start_line.split("port '").nth(1).and_then(|rest| rest.split('\'').next());
        match port.and_then(|port| port.parse().ok()) {
            Some(port) => netserver.port = port,
            None => return Err(io::Error::other(format!("no start line; log: {}", netserver.log()))),
        }
        Ok(netserver)
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the log holds `text`.
    pub(crate) fn await_log(&self, text: &str) {
        await_that(&format!("\"{text}\" in the log"), || self.log().contains(text));
    }

    /// Whether its control plane waits by io_uring.
    pub(crate) fn on_uring(&self) -> bool {
        self.await_log("control plane on");
        self.log().contains("control plane on io_uring")
    }

    /// Where it listens, on IPv4 loopback.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port)
    }

    /// What it holds now.
    pub(crate) fn resources(&self) -> Resources {
        let folder = PathBuf::from(format!("/proc/{}", self.child.id()));
        let count = |name: &str| std::fs::read_dir(folder.join(name)).expect("it runs").count();
        let status = std::fs::read_to_string(folder.join("status")).expect("it runs");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok());
        Resources { descriptors: count("fd"), threads: count("task"), resident_kib: kib.expect("a size") }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends its standard input.
    pub(crate) fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let mut status = None;
        await_that("netserver's end", || {
            status = child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        status.expect("waited until there is one")
    }
}

impl Drop for Netserver {
    fn drop(&mut self) {
        // A netserver under a wrapper outlives the wrapper's death, but not its own standard input.
        self.close_stdin();
        let deadline = Instant::now() + Duration::from_millis(500);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            if self.child.kill().is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.wait();
    }
}

/// A port that nobody has right now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("it is bound").port()
}

/// CPUs that are online, as netperf counts them.
pub(crate) fn online_cpus() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").expect("the kernel has it");
    let is_cpu = |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| !rest.starts_with(' '));
    stat.lines().filter(is_cpu).count() as f64
}

/// Sends `signal` to a process.
pub(crate) fn signal(id: u32, signal: &str) {
    let status = Command::new("kill").args([format!("-{signal}"), id.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill -{signal} {id}");
}

/// Runs a program to its end, which must come within `limit`.
pub(crate) fn run(program: &Path, words: &[&str], limit: Duration) -> Output {
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // Read meanwhile: a program that writes more than a pipe holds waits for its reader.
    let stdout = drain(child.stdout.take().expect("stdout is piped"));
    let stderr = drain(child.stderr.take().expect("stderr is piped"));
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("{} {words:?} did not end within {limit:?}", program.display());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let all = |reader: JoinHandle<Vec<u8>>| reader.join().expect("its output can be read");
    Output { status, stdout: all(stdout), stderr: all(stderr) }
}

fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("its output can be read");
        bytes
    })
}

/// Waits until `ready` says yes.
pub(crate) fn await_that(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ready() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the client of a recorded conversation sent, piece by piece.
pub(crate) fn golden(name: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../proto/tests/goldens/{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let golden: serde_json::Value = serde_json::from_str(&text).expect("a golden is JSON");
    let messages = golden["messages"].as_array().expect("a golden has messages");
    messages
        .iter()
        .filter(|message| message["dir"] == "c2s" && message["bytes"] != 0)
        .map(|message| unhex(message["hex"].as_str().expect("bytes are given in hex")))
        .collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("hex digits") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) * 16 + digit(pair[1])).collect()
}

/// The only request of a golden, to be changed and sent.
pub(crate) fn golden_request(name: &str) -> (Frame, OmniRequest) {
    let bytes = golden(name).concat();
    let frame = Frame::from_bytes(bytes[..FRAME_BYTES].try_into().expect("a whole frame"));
    let request = OmniRequest::decode(&frame);
    (frame, request)
}

/// A control connection.
pub(crate) struct Control(pub(crate) TcpStream);

impl Control {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("netserver accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        Self(stream)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("netserver takes what is sent");
    }

    /// The next whole frame.
    pub(crate) fn frame(&mut self) -> Frame {
        let mut bytes = [0; FRAME_BYTES];
        self.0.read_exact(&mut bytes).expect("netserver answers with a whole frame");
        Frame::from_bytes(bytes)
    }

    /// Sends a test request and returns the response, which must not be an error.
    pub(crate) fn ask(&mut self, request: &[u8]) -> OmniResponse {
        self.send(request);
        self.response()
    }

    /// The response to a test request sent before.
    pub(crate) fn response(&mut self) -> OmniResponse {
        let frame = self.frame();
        assert_eq!(frame.errno(), 0);
        OmniResponse::decode(&frame)
    }

    /// The results of a test, which must not be an error.
    pub(crate) fn results(&mut self) -> OmniResults {
        let frame = self.frame();
        assert_eq!(frame.errno(), 0);
        OmniResults::decode(&frame)
    }

    /// Ends our side.
    pub(crate) fn finish(&self) {
        self.0.shutdown(Shutdown::Write).expect("the connection is there");
    }

    /// Waits for netserver's close, before which nothing else may come.
    pub(crate) fn await_close(&mut self) {
        match self.0.read(&mut [0; 1]) {
            Ok(0) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            other => panic!("expected a close, not {other:?}"),
        }
    }
}

/// A data connection to the port that a response names.
pub(crate) fn connect_data(response: &OmniResponse) -> TcpStream {
    let port = u16::try_from(response.data_port).expect("a port");
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the data port is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    stream
}

/// Sends `bytes` bytes as a whole stream test does: to the end of the stream, and on until the other side has
/// closed.
pub(crate) fn stream_data(response: &OmniResponse, bytes: usize) {
    let mut data = connect_data(response);
    data.write_all(&vec![b'x'; bytes]).expect("the data connection takes it");
    data.shutdown(Shutdown::Write).expect("the connection is there");
    assert_eq!(data.read(&mut [0; 1]).expect("an orderly close"), 0);
}

/// Closes a connection with a reset, as the kernel does for a process that dies with data unread.
pub(crate) fn reset(stream: TcpStream) {
    let socket = socket2::Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).expect("a socket takes a linger time");
}

/// Bytes that a netserver says it received.
pub(crate) fn received(results: &OmniResults) -> u64 {
    u64::from(results.bytes_received_hi) << 32 | u64::from(results.bytes_received_lo)
}

/// The address words of a request.
pub(crate) fn words(address: IpAddr) -> ringperf_proto::layout::AddressWords {
    ringperf_proto::address::encode(Some(address))
}

/// Runs one small test, so that a netserver shows that it still serves.
pub(crate) fn serves(netserver: &Netserver) {
    serves_at(netserver.address());
}

/// The same of one that listens there.
pub(crate) fn serves_at(address: SocketAddr) {
    let mut control = Control::open(address);
    let response = control.ask(&golden("two_tests_one_connection")[0]);
    stream_data(&response, 100_000);
    assert_eq!(received(&control.results()), 100_000);
    control.finish();
    control.await_close();
}

/// Descriptors and threads of a netserver that has served once, which settles what is opened on first use.
pub(crate) fn baseline(netserver: &Netserver) -> Resources {
    let before = netserver.resources();
    serves(netserver);
    await_that("the first session's descriptors", || netserver.resources().within(before));
    netserver.resources()
}

/// The request of a golden with changes, without the addresses and ports it was recorded with.
pub(crate) fn request(name: &str, change: impl FnOnce(&mut OmniRequest)) -> Frame {
    let (mut frame, mut request) = golden_request(name);
    (request.data_port, request.netperf_port) = (0, 0);
    request.netperf_ip = words(Ipv4Addr::UNSPECIFIED.into());
    change(&mut request);
    request.encode(&mut frame);
    frame
}
