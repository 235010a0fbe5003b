//! The netserver under load: started, listened to, looked at, and ended.
//!
//! What it holds is read from /proc, how many sessions it has had from its log.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::program::Halt;

/// Longest wait for an orderly end; netserver promises 5 s.
const END: Duration = Duration::from_secs(10);

/// Lines of errors that are kept.
const KEPT: usize = 10;

/// What the netserver has said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Said {
    /// Sessions that began.
    pub(super) opened: u64,
    /// Sessions that are over.
    pub(super) over: u64,
    /// Tests that it has run, by the words that begin their line.
    pub(super) tests: u64,
    /// Lines that it blames on itself or on its surroundings.
    pub(super) errors: u64,
    /// The first of them.
    pub(super) kept: Vec<String>,
    /// Sessions turned away because all seats were taken.
    pub(super) turned_away: u64,
    /// Tests whose completions were dropped, stale or went past buffers.
    pub(super) defective: u64,
}

impl Said {
    fn take(&mut self, line: &str) {
        let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
        if has(&["session opened"]) {
            self.opened += 1;
        } else if has(&["session done", "session broken off", "session refused", "session closed"]) {
            self.over += 1;
        } else if has(&["UDP stream ", "TCP stream ", "requests answered: ", "connections taken: "]) {
            self.tests += 1;
        }
        if has(&["POLICY: turned away"]) {
            self.turned_away += 1;
        }
        if has(&["dropped completions"]) {
            self.defective += 1;
        }
        if has(&[" ERROR ", "BUG: "]) {
            self.errors += 1;
            if self.kept.len() < KEPT {
                self.kept.push(line.to_owned());
            }
        }
    }
}

/// What it holds at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Holding {
    /// VmRSS.
    pub(super) resident_kib: u64,
    /// The part of it that no file is behind (RssAnon).
    pub(super) anonymous_kib: u64,
    /// Open descriptors.
    pub(super) descriptors: usize,
    /// Threads, the kernel's own for its rings included.
    pub(super) threads: usize,
    /// Completions that lie in its rings' overflow lists.
    pub(super) overflowed: usize,
}

impl Holding {
    /// No more descriptors and no more threads than `other`.
    pub(super) fn within(&self, other: &Self) -> bool {
        self.descriptors <= other.descriptors && self.threads <= other.threads
    }

    fn of(pid: u32) -> Result<Self, String> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let failed = |error: std::io::Error| format!("/proc/{pid}: {error}");
        let status = fs::read_to_string(folder.join("status")).map_err(failed)?;
        let count = |name: &str| fs::read_dir(folder.join(name)).map(Iterator::count).map_err(failed);
        Ok(Self {
            resident_kib: field(&status, "VmRSS:").ok_or_else(|| format!("process {pid} has no memory"))?,
            anonymous_kib: field(&status, "RssAnon:").unwrap_or(0),
            descriptors: count("fd")?,
            threads: count("task")?,
            overflowed: overflowed(&folder.join("fdinfo")),
        })
    }
}

/// A figure of /proc/PID/status, in KiB.
fn field(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Completions that the kernel keeps aside for rings whose queues are full. A descriptor that is gone
/// meanwhile has none.
fn overflowed(descriptors: &Path) -> usize {
    let entries = fs::read_dir(descriptors).into_iter().flatten().flatten();
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.map(|text| kept_aside(&text)).sum()
}

/// Of one descriptor (io_uring_show_fdinfo): nothing, unless it is a ring.
fn kept_aside(text: &str) -> usize {
    let after = text.lines().skip_while(|line| !line.starts_with("CqOverflowList:")).skip(1);
    after.take_while(|line| line.trim_start().starts_with("user_data=")).count()
}

/// A running netserver. Killed when dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    /// Where it listens.
    pub(super) address: SocketAddr,
    said: Arc<Mutex<Said>>,
}

impl Server {
    /// Starts one on IPv4 loopback.
    ///
    /// # Errors
    /// Where it does not come up, with what it said.
    pub(super) fn start(ringperf: &Path, engine: &str) -> Result<Self, Halt> {
        let mut command = Command::new(ringperf);
        command.args(["netserver", "-D", "-d", "-L", "127.0.0.1", "-p", "0", "--exit-with-stdin"]);
        command.args(["--engine", engine]).env("NO_COLOR", "1");
        // a Ctrl-C is ours to heed
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", ringperf.display()))?;
        let said = Arc::new(Mutex::new(Said::default()));
        let (err, keeper) = (child.stderr.take(), Arc::clone(&said));
        std::thread::spawn(move || err.map(|err| listen(err, &keeper)));
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            let _ = BufReader::new(out).read_line(&mut line);
        }
        let mut server = Self { child, address: (Ipv4Addr::LOCALHOST, 0).into(), said };
        match port_of(&line) {
            Some(port) => {
                server.address.set_port(port);
                Ok(server)
            }
            None => {
                let status = server.child.wait().map_or_else(|error| error.to_string(), |s| s.to_string());
                let kept = server.said().kept.join("; ");
                Err(Halt::Failed(format!("the netserver did not start: {status}: {kept}")))
            }
        }
    }

    /// What it holds now.
    ///
    /// # Errors
    /// Where it is gone.
    pub(super) fn holding(&mut self) -> Result<Holding, Halt> {
        if let Ok(Some(status)) = self.child.try_wait() {
            let kept = self.said().kept.join("; ");
            return Err(Halt::Failed(format!("the netserver has ended: {status}; errors it told: {kept}")));
        }
        Ok(Holding::of(self.child.id())?)
    }

    /// What it has said so far.
    pub(super) fn said(&self) -> Said {
        lock(&self.said).clone()
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Errors
    /// Where it does not end, or not in order.
    pub(super) fn end(mut self) -> Result<Duration, String> {
        let began = Instant::now();
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        while began.elapsed() < END {
            match self.child.try_wait() {
                Ok(Some(status)) if ExitStatus::success(&status) => return Ok(began.elapsed()),
                Ok(Some(status)) => return Err(format!("it ended with {status}")),
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                Err(error) => return Err(error.to_string()),
            }
        }
        Err(format!("it did not end within {} s of SIGTERM", END.as_secs()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lock(said: &Mutex<Said>) -> MutexGuard<'_, Said> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the log to its end.
fn listen(log: impl Read, said: &Mutex<Said>) {
    for line in BufReader::new(log).lines().map_while(Result::ok) {
        lock(said).take(&line);
    }
}

/// The port that the start line names.
fn port_of(line: &str) -> Option<u16> {
    line.split_once("port '")?.1.split_once('\'')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_counted() {
        let mut said = Said::default();
        for line in [
            "T DEBUG session opened peer=127.0.0.1:1 number=1",
            "T  INFO TCP stream received: 12.00 Mbit/s, 10 bytes in 1.000 s peer=127.0.0.1:1",
            "T  INFO TCP requests answered: 1.00 a second, 3 in 1.000 s peer=127.0.0.1:1",
            "T DEBUG session done peer=127.0.0.1:1",
            "T  INFO session broken off: ECONNRESET peer=127.0.0.1:2",
            "T ERROR BUG: a read did not end with its socket",
            "T ERROR BUG: 0 stale and 2 dropped completions",
            "T  WARN POLICY: turned away: 256 sessions are open",
        ] {
            said.take(line);
        }
        assert_eq!((said.opened, said.over, said.tests), (1, 2, 2));
        assert_eq!((said.errors, said.defective, said.turned_away), (2, 1, 1));
        assert_eq!(said.kept.len(), 2);
    }

    #[test]
    fn memory_is_read_in_kib() {
        let status = "VmRSS:\t    2136 kB\nRssAnon:\t     900 kB\n";
        assert_eq!((field(status, "VmRSS:"), field(status, "RssAnon:")), (Some(2136), Some(900)));
        assert_eq!(field("State:\tZ\n", "VmRSS:"), None);
    }

    #[test]
    fn completions_kept_aside_are_counted() {
        let ring = "pos:\t0\nSqMask:\t0x7\nPollList:\n  op=6, task_works=0\nCqOverflowList:\n";
        assert_eq!(kept_aside(ring), 0);
        let full = format!("{ring}  user_data=1, res=0, flags=0\n  user_data=2, res=0, flags=0\nNAPI:\n");
        assert_eq!(kept_aside(&full), 2);
        assert_eq!(kept_aside("pos:\t0\nflags:\t02\n"), 0);
    }

    #[test]
    fn the_start_line_names_the_port() {
        assert_eq!(
            port_of("Starting netserver with host '127.0.0.1' port '239' and family AF_INET"),
            Some(239)
        );
        assert_eq!(port_of(""), None);
    }
}
