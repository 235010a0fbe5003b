//! A netserver of our own, in a process of its own, for as long as a measurement or an environment lasts.
//!
//! It is the same program as `ringperf netserver`; nothing is shared with it but its standard streams. It
//! ends with us in every way we can end: it is killed when [`Embedded`] is dropped, and it ends by itself
//! when its standard input does, which the kernel sees to even where we are killed. It sits in a process
//! group of its own, so that Ctrl-C reaches us alone and the netserver still sends the results of what was
//! measured.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use ringperf_engine::plan::Without;

use super::args::{EngineArg, Family};
use crate::cores;
use crate::error::{Class, Failure};
use crate::without;

/// The running program, also where its file has been replaced since.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// What it is for, in failures.
const TRIED: &str = "start a netserver of our own";

/// Bytes of the netserver's log that are kept for a failure's text.
const LOG_BYTES: u64 = 64 << 10;

/// How it is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'a> {
    /// Loopback address to listen on: of IPv4 unless IPv6 is asked for.
    pub(crate) family: Option<Family>,
    /// What moves the bytes.
    pub(crate) engine: EngineArg,
    /// What to do without.
    pub(crate) without: Without,
    /// Where its workers run; empty leaves it to the netserver.
    pub(crate) cores: &'a [usize],
    /// Longest wait for its start line.
    pub(crate) patience: Duration,
}

/// A running netserver; dropping it ends it.
pub(crate) struct Embedded {
    child: Child,
    address: SocketAddr,
    /// Held open: its end tells the netserver that we are gone.
    _stdin: Option<ChildStdin>,
}

impl Embedded {
    /// Starts one on loopback, and waits for its start line.
    ///
    /// # Errors
    /// ENV when the process cannot be started, ends at once, or does not come up in time.
    pub(crate) fn start(options: &Start) -> Result<Self, Failure> {
        let Start { family, engine, without, cores, patience } = *options;
        let (ip, version) = match family {
            Some(Family::V6) => (IpAddr::V6(Ipv6Addr::LOCALHOST), "-6"),
            _ => (IpAddr::V4(Ipv4Addr::LOCALHOST), "-4"),
        };
        let list = cores::words(cores);
        let without = without::words(&without).join(",");
        let mut command = Command::new(THIS_PROGRAM);
        command
            .arg0("ringperf")
            .args(["netserver", "-D", version, "-L", &ip.to_string(), "-p", "0"])
            .args(["--engine", engine.word(), "--exit-with-stdin"])
            .args((!cores.is_empty()).then_some(["--cores", &list]).into_iter().flatten())
            .args((!without.is_empty()).then_some(["--without", &without]).into_iter().flatten())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().map_err(|error| {
            Failure::io(Class::Environment, TRIED, &error)
                .setting("RLIMIT_NPROC, and whether /proc is there")
                .next(
                    "start one by hand: ringperf netserver -D -L 127.0.0.1; then: ringperf run -H 127.0.0.1",
                )
        })?;
        let stdin = child.stdin.take();
        let (stderr, stdout) = (child.stderr.take(), child.stdout.take());
        // From here on every way out ends the process.
        let mut embedded = Self { child, address: SocketAddr::new(ip, 0), _stdin: stdin };
        let no_thread = |error: io::Error| {
            Failure::io(Class::Environment, "start a thread", &error)
                .setting("RLIMIT_NPROC (ulimit -u) and the container's limit on processes")
        };
        let log = stderr.map(|stderr| collect(stderr.take(LOG_BYTES))).transpose().map_err(no_thread)?;
        let ports = stdout.map(read_port).transpose().map_err(no_thread)?;
        match ports.and_then(|ports| ports.recv_timeout(patience).ok()) {
            Some(port) if port != 0 => {
                embedded.address.set_port(port);
                Ok(embedded)
            }
            _ => Err(embedded.failure(log)),
        }
    }

    /// Its control address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to say of one that did not come up. Ends it first, so that its log is complete.
    fn failure(&mut self, log: Option<Receiver<String>>) -> Failure {
        self.end();
        let log = log.and_then(|log| log.recv_timeout(Duration::from_secs(1)).ok()).unwrap_or_default();
        let last = log.lines().rev().find(|line| !line.trim().is_empty());
        let cause = match last {
            Some(line) => format!("it did not come up: {}", line.trim()),
            None => "it did not come up and left no message".to_owned(),
        };
        Failure::new(Class::Environment, TRIED, cause)
            .setting("whether this process may listen on the loopback address")
            .next("see what it says: ringperf netserver -D -L 127.0.0.1 -p 0")
    }

    fn end(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        #[expect(clippy::disallowed_methods, reason = "it has been killed")]
        let _ = self.child.wait();
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads the start line on a thread of its own, so that the wait for it can have a deadline; then reads on to
/// the end, so that the netserver never writes into a full or broken pipe. Sends 0 for a line without a port.
fn read_port(stdout: ChildStdout) -> io::Result<Receiver<u16>> {
    let (sender, receiver) = channel();
    std::thread::Builder::new().name("netserver out".to_owned()).spawn(move || {
        let mut lines = BufReader::new(stdout);
        let mut line = String::new();
        if lines.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            // Nobody listens once the deadline has passed.
            let _ = sender.send(port_of(&line).unwrap_or(0));
        }
        let _ = io::copy(&mut lines, &mut io::sink());
    })?;
    Ok(receiver)
}

/// Collects the log, and sends it when it has ended or is full.
fn collect(log: io::Take<std::process::ChildStderr>) -> io::Result<Receiver<String>> {
    let (sender, receiver) = channel();
    std::thread::Builder::new().name("netserver err".to_owned()).spawn(move || {
        let mut log = log;
        let mut bytes = Vec::new();
        // What was read before a failure still tells something.
        let _ = log.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        // Past the bound it is read and dropped: a full pipe would stop the netserver.
        let _ = io::copy(&mut log.into_inner(), &mut io::sink());
    })?;
    Ok(receiver)
}

/// The port that netserver's start line names.
fn port_of(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("port '")?;
    let (port, _) = rest.split_once('\'')?;
    port.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_line_names_the_port() {
        let line = "Starting netserver with host '127.0.0.1' port '23967' and family AF_INET\n";
        assert_eq!(port_of(line), Some(23967));
        assert_eq!(port_of("Unable to start netserver"), None);
        assert_eq!(port_of("port '99999'"), None);
    }
}
