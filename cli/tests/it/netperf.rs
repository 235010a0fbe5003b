//! The drop-in netperf, called as scripts call netperf and judged by what they see of it: standard output,
//! standard error, exit status.
//!
//! [`golden`] holds whole outputs against recorded ones, [`study`] runs the loops that the project began
//! with, [`behaviour`], [`signals`] and [`transactions`] have what neither can show. Every expectation is
//! also held against stock netperf with stock netserver where those are installed, so that a failure of ours
//! is no mistake of the test.

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Netserver, RINGPERF, free_port, signal, stock};

/// Tests that our pair and stock netperf have to pass alike, stock netperf where it is here.
macro_rules! behaviours {
    ($($name:ident)*) => {
        mod ours {
            $(#[test] fn $name() { super::$name(super::Pair::OURS); })*
        }
        mod stock {
            $(#[test] fn $name() {
                let pair = super::Pair::STOCK;
                if pair.is_here(stringify!($name)) {
                    super::$name(pair);
                }
            })*
        }
    };
}

mod behaviour;
mod golden;
mod mask;
mod patched;
mod signals;
mod sockets;
mod stopped;
mod study;
mod transactions;

/// The longest that any of these runs may take; past it the test has found a hang.
const HANG: Duration = Duration::from_secs(90);

/// What stock netperf says where its timer fires after a netserver has ended TCP_MAERTS: on a busy machine.
const STRAY_TIMER: &str = "catcher: timer popped with times_up != 0\n";

/// Whose program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Maker {
    Ours,
    Stock,
}

/// Whose client measures against whose server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) client: Maker,
    pub(crate) server: Maker,
}

impl Pair {
    pub(crate) const OURS: Self = Self { client: Maker::Ours, server: Maker::Ours };
    pub(crate) const STOCK: Self = Self { client: Maker::Stock, server: Maker::Stock };

    /// False, after saying so, where a stock program is needed and missing.
    pub(crate) fn is_here(self, test: &str) -> bool {
        let here = |maker, program| maker == Maker::Ours || stock(program, test).is_some();
        here(self.client, "netperf") && here(self.server, "netserver")
    }
}

/// The words that start netperf, before its options.
pub(crate) fn netperf_words(maker: Maker) -> Vec<String> {
    match maker {
        Maker::Ours => vec![RINGPERF.to_owned(), "netperf".to_owned()],
        Maker::Stock => vec![path_text(&stock("netperf", "netperf").expect("looked for before"))],
    }
}

/// The words that start a netserver in the foreground, before its other options.
pub(crate) fn netserver_words(maker: Maker) -> Vec<String> {
    let mut words = match maker {
        Maker::Ours => vec![RINGPERF.to_owned(), "netserver".to_owned()],
        Maker::Stock => vec![path_text(&stock("netserver", "netserver").expect("looked for before"))],
    };
    words.push("-D".to_owned());
    words
}

pub(crate) fn path_text(path: &Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}

/// A netperf to be started.
pub(crate) struct Netperf {
    pub(crate) command: Command,
}

/// A netperf that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit status as a shell gives it: 128 and the signal's number after a death by signal.
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

impl Netperf {
    pub(crate) fn new<I: IntoIterator<Item: AsRef<str>>>(maker: Maker, options: I) -> Self {
        let words = netperf_words(maker);
        let mut command = Command::new(&words[0]);
        // Complaints begin with the name that the program was called by.
        if maker == Maker::Stock {
            command.arg0("netperf");
        }
        command.args(&words[1..]);
        for option in options {
            command.arg(option.as_ref());
        }
        command.env("LC_ALL", "C").env_remove("RINGPERF_RECORD");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command }
    }

    pub(crate) fn start(mut self) -> Measuring {
        let child = self.command.spawn().expect("netperf can be started");
        Measuring { child: Some(child), since: Instant::now(), command: self.command }
    }

    pub(crate) fn ended(self) -> Ended {
        self.start().ended()
    }
}

/// A netperf under way. Killed when dropped.
pub(crate) struct Measuring {
    child: Option<Child>,
    since: Instant,
    command: Command,
}

impl Measuring {
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.as_ref().expect("not waited for yet").id(), name);
    }

    /// Waits for its end, and fails the test if that does not come.
    pub(crate) fn ended(self) -> Ended {
        let command = format!("{:?}", self.command);
        self.ended_within(HANG).unwrap_or_else(|| panic!("{command} did not end within {HANG:?}"))
    }

    /// Waits for its end, and kills it if that does not come. netperf says less than a pipe holds.
    fn ended_within(mut self, limit: Duration) -> Option<Ended> {
        while self.child.as_mut()?.try_wait().expect("it is our child").is_none() {
            if self.since.elapsed() > limit {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let child = self.child.take()?;
        let took = self.since.elapsed();
        let output = child.wait_with_output().expect("its output can be read");
        let mut out = String::from_utf8(output.stdout).expect("netperf prints text");
        if self.command.get_program() != RINGPERF {
            out = out.replace(STRAY_TIMER, "");
        }
        let by_signal = output.status.signal().map(|number| 128 + number);
        Some(Ended {
            status: output.status.code().or(by_signal).expect("it ended in one of these ways"),
            out,
            err: without_folder(&String::from_utf8(output.stderr).expect("netperf prints text")),
            took,
        })
    }
}

/// Complaints begin with the name that the program was called by; a wrapper script calls netperf by its path.
fn without_folder(err: &str) -> String {
    let lines = err.split_inclusive('\n').map(|line| match line.split_once("/netperf: ") {
        Some((folder, rest)) if folder.starts_with('/') => format!("netperf: {rest}"),
        _ => line.to_owned(),
    });
    lines.collect()
}

impl Drop for Measuring {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A netserver of either maker, on one address and a port of its own. Killed when dropped.
pub(crate) enum Server {
    Ours(Netserver),
    Stock { child: Child, port: u16 },
}

impl Server {
    pub(crate) fn start(maker: Maker, host: IpAddr, words: &[&str]) -> Self {
        let host_text = host.to_string();
        let place = [if host.is_ipv6() { "-6" } else { "-4" }, "-L", &host_text];
        if maker == Maker::Ours {
            return Self::Ours(Netserver::start(&[&place, words].concat()));
        }
        // Stock netserver does not tell the port that it was given for 0, so another may be faster on a free
        // one.
        for _ in 0..5 {
            let port = free_port();
            let program = netserver_words(maker);
            let mut child = Command::new(&program[0])
                .args(&program[1..])
                .args([&place, words].concat())
                .args(["-p", &port.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("netserver can be started");
            let mut line = String::new();
            let stdout = child.stdout.take().expect("stdout is piped");
            BufReader::new(stdout).read_line(&mut line).expect("a line or the end");
            let server = Self::Stock { child, port };
            if line.starts_with("Starting netserver") {
                return server;
            }
        }
        panic!("stock netserver does not start on {host}");
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Ours(netserver) => netserver.port,
            Self::Stock { port, .. } => *port,
        }
    }

    fn id(&self) -> u32 {
        match self {
            Self::Ours(netserver) => netserver.id(),
            Self::Stock { child, .. } => child.id(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Stock { child, .. } = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The figures of the line that ends netperf's output, blank lines aside, `from_end` lines before it.
pub(crate) fn figures(out: &str, from_end: usize) -> Vec<f64> {
    let mut lines = out.lines().rev().filter(|line| !line.trim().is_empty());
    let line = lines.nth(from_end).unwrap_or_else(|| panic!("too few lines in {out}"));
    let figures = line.split_whitespace().map(str::parse).collect::<Result<_, _>>();
    figures.unwrap_or_else(|_| panic!("`{line}` is no row of figures in {out}"))
}
