//! What the tests of `ringperf run` share: starting it, reading what it says, and finding what else they
//! need.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(super) use crate::support::free_port;
use crate::support::{RINGPERF, skip, stock};

/// The longest that any of these runs may take; past it the test has found a hang.
const HANG: Duration = Duration::from_secs(120);

/// A `ringperf run` to be started.
pub(super) struct Run {
    command: Command,
}

/// A `ringperf run` that has ended.
#[derive(Debug)]
pub(super) struct Done {
    /// Exit code; `None` when a signal killed it.
    pub(super) code: Option<i32>,
    /// Standard output.
    pub(super) out: String,
    /// Standard error.
    pub(super) err: String,
    /// How long it took.
    pub(super) took: Duration,
}

impl Run {
    pub(super) fn new<I: IntoIterator<Item: AsRef<OsStr>>>(options: I) -> Self {
        Self::by([RINGPERF], options)
    }

    /// Started through other programs, the last of these words being the program itself.
    pub(super) fn by<W: AsRef<OsStr>, I: IntoIterator<Item: AsRef<OsStr>>>(
        words: impl IntoIterator<Item = W>,
        options: I,
    ) -> Self {
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().expect("there is a program to start"));
        command.args(words).arg("run").args(options);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command }
    }

    pub(super) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(super) fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, args: I) -> Self {
        self.command.args(args);
        self
    }

    /// Has standard output lead elsewhere.
    pub(super) fn writing_to(mut self, out: Stdio) -> Self {
        self.command.stdout(out);
        self
    }

    /// Has standard error lead elsewhere.
    pub(super) fn complaining_to(mut self, err: Stdio) -> Self {
        self.command.stderr(err);
        self
    }

    pub(super) fn start(mut self) -> Running {
        // A process group of its own, as a shell gives it: what the terminal signals is that group.
        let child = self.command.process_group(0).spawn().expect("the program can be started");
        Running { child, since: Instant::now() }
    }

    pub(super) fn done(self) -> Done {
        self.start().done()
    }
}

/// A `ringperf run` under way. Killed when dropped.
pub(super) struct Running {
    pub(super) child: Child,
    since: Instant,
}

impl Running {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end, and fails the test if that does not come.
    pub(super) fn done(mut self) -> Done {
        let out = read_all(self.child.stdout.take());
        let err = read_all(self.child.stderr.take());
        let status = self.wait();
        Done {
            code: status.code(),
            took: self.since.elapsed(),
            out: out.join().expect("the reader does not panic"),
            err: err.join().expect("the reader does not panic"),
        }
    }

    /// Waits for its end without reading what it says.
    pub(super) fn wait(&mut self) -> ExitStatus {
        while self.since.elapsed() < HANG {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("ringperf run did not end in {HANG:?}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Done {
    /// Standard output as the one JSON object that it has to be.
    pub(super) fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The error of a failed run, once its class and exit code are as expected.
    pub(super) fn error(&self, class: &str, exit: i32) -> Value {
        assert_eq!(self.code, Some(exit), "{self:?}");
        assert_eq!(self.err, "", "with --json standard error has nothing to add");
        let error = self.json()["error"].take();
        assert_eq!(error["class"], class, "{error}");
        assert_eq!(error["exit"], exit, "{error}");
        for field in ["text", "tried"] {
            assert!(error[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {error}");
        }
        error
    }
}

/// A field of an error that has to be there and to contain this.
pub(super) fn assert_says(error: &Value, field: &str, part: &str) {
    assert!(error[field].as_str().is_some_and(|text| text.contains(part)), "{field} lacks {part:?}: {error}");
}

fn read_all(stream: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut stream) = stream {
            stream.read_to_string(&mut text).expect("what it writes is text");
        }
        text
    })
}

/// A backend by the word that chooses it and the name that results give it.
pub(super) struct Engine {
    pub(super) option: &'static str,
    pub(super) name: &'static str,
}

/// The backends that this machine has.
pub(super) fn engines() -> Vec<Engine> {
    let mut engines =
        vec![Engine { option: "epoll", name: "epoll" }, Engine { option: "classic", name: "classic" }];
    let probe = Run::new(["--engine", "uring", "--bytes", "1", "--json"]).done();
    if probe.code == Some(0) {
        engines.push(Engine { option: "uring", name: "io_uring" });
    } else {
        skip("ringperf run on io_uring", "uring", &format!("io_uring is refused: {}", probe.out));
    }
    engines
}

/// Where a program of this name is, by PATH; tells of the skip where there is none.
pub(super) fn find_program(name: &str, test: &str, lacking: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        skip(test, lacking, &format!("there is no {name}"));
    }
    found
}

/// unshare(1), where its -rn makes a network namespace of its own; tells of the skip where it does not.
pub(super) fn in_new_network(test: &str) -> Option<PathBuf> {
    let unshare = find_program("unshare", test, "netns")?;
    let works = Command::new(&unshare).args(["-rn", "true"]).status().is_ok_and(|status| status.success());
    if !works {
        skip(test, "netns", "a network namespace cannot be made here");
    }
    works.then_some(unshare)
}

/// Number of cores that this process may use.
pub(super) fn allowed_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// netperf's own netserver on loopback. Killed when dropped.
pub(super) struct StockNetserver {
    child: Child,
    pub(super) port: u16,
}

impl StockNetserver {
    /// Starts it, if there is one; tells of the skip if not.
    pub(super) fn start(test: &str) -> Option<Self> {
        let file = stock("netserver", test)?;
        let port = free_port();
        let mut child = Command::new(file)
            .args(["-D", "-4", "-L", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("netserver can be started");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("netserver writes its start line");
        assert!(line.starts_with("Starting netserver"), "{line}");
        // The pipe stays open, so that netserver may go on writing.
        child.stdout = Some(lines.into_inner());
        Some(Self { child, port })
    }
}

impl Drop for StockNetserver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
