//! netserver's log: lines on standard error, and a brake for those that strangers can cause in numbers.

mod lines;

use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;

use self::lines::Lines;

/// The log. Where it goes out of scope, what was said last is written.
pub(super) struct Log(Lines);

impl Log {
    /// Waits for what was said to be written, for half a second at most.
    pub(super) fn flush(&self) {
        self.0.flush();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Starts logging. `-N` leaves errors only; each `-d` adds a level.
///
/// Lines of the libraries below are left out until the last level: they tell of the runtime, not of tests.
///
/// # Errors
/// The kernel's, where there is no thread to write them.
pub(super) fn start(quiet: bool, debug: u32) -> io::Result<Log> {
    let written = Lines::start(io::stderr())?;
    let ours = match (quiet, debug) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::INFO,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let lines = tracing_subscriber::fmt()
        .with_max_level(ours)
        .with_writer(written.clone())
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_target(false)
        // A reader that has gone away must not take the daemon with it: the library would print that a line
        // could not be written to the very pipe, and the print would panic.
        .log_internal_errors(false);
    if is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref(), io::stderr()) {
        lines.without_time().init();
    } else {
        lines.init();
    }
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let text = panic.to_string().replace('\n', " ");
        tracing::error!("BUG: {text} (thread {name}); please report it with this line");
    }));
    Ok(Log(written))
}

/// Whether a stream is the one to systemd's journal, which has the time of each line by itself: systemd names
/// its device and inode.
fn is_journal(named: Option<&str>, stream: impl AsFd) -> bool {
    let Some((device, inode)) = named.and_then(|named| named.split_once(':')) else { return false };
    let is = |field: u64, text: &str| text.parse() == Ok(field);
    rustix::fs::fstat(stream).is_ok_and(|stat| is(stat.st_dev, device) && is(stat.st_ino, inode))
}

/// What the kernel, or the resolver, says: the errno's name where there is one.
pub(super) fn reason(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), ringperf_engine::errno_name)
}

/// Lets so many lines in [`RateLimit::PERIOD`] pass and counts the rest.
#[derive(Debug)]
pub(super) struct RateLimit {
    most: u32,
    /// When the first one of a period passed.
    since: Cell<Option<Instant>>,
    passed: Cell<u32>,
    suppressed: Cell<u64>,
}

/// One line.
impl Default for RateLimit {
    fn default() -> Self {
        Self::of(1)
    }
}

impl RateLimit {
    const PERIOD: Duration = Duration::from_secs(1);

    /// `most` is not 0.
    pub(super) fn of(most: u32) -> Self {
        Self { most, since: Cell::default(), passed: Cell::default(), suppressed: Cell::default() }
    }

    /// `Some` with the number of lines held back since the last one that passed.
    pub(super) fn pass(&self) -> Option<u64> {
        let now = Instant::now();
        if self.since.get().is_none_or(|since| now.duration_since(since) >= Self::PERIOD) {
            self.since.set(Some(now));
            self.passed.set(0);
        }
        let passed = self.passed.get();
        if passed >= self.most {
            self.suppressed.set(self.suppressed.get().saturating_add(1));
            return None;
        }
        self.passed.set(passed.saturating_add(1));
        Some(self.suppressed.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set in the child of the test below.
    const CHILD: &str = "RINGPERF_TEST_PANIC_HOOK";

    #[test]
    fn a_panic_is_survived_where_nobody_reads_the_log() {
        const NAME: &str = "netserver::log::tests::a_panic_is_survived_where_nobody_reads_the_log";
        if std::env::var_os(CHILD).is_some() {
            let _log = start(false, 0).expect("threads are left");
            let ended = std::thread::spawn(|| panic!("on purpose")).join();
            // Past the test harness, whose own words would meet the same pipe.
            std::process::exit(if ended.is_err() { 42 } else { 1 });
        }
        let (reader, writer) = io::pipe().expect("descriptors are left");
        drop(reader);
        let status = std::process::Command::new(std::env::current_exe().expect("/proc is there"))
            .args([NAME, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .stdout(std::process::Stdio::null())
            .stderr(writer)
            .status()
            .expect("the test program starts");
        assert_eq!(status.code(), Some(42), "{status}");
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        let (reader, _writer) = io::pipe().expect("descriptors are left");
        let stat = rustix::fs::fstat(&reader).expect("it is open");
        let named = format!("{}:{}", stat.st_dev, stat.st_ino);
        assert!(is_journal(Some(&named), &reader));
        let other = format!("{}:{}", stat.st_dev, stat.st_ino + 1);
        assert!([None, Some(""), Some("1"), Some(other.as_str())].iter().all(|n| !is_journal(*n, &reader)));
    }

    #[test]
    fn a_burst_passes_so_many_lines() {
        for most in [1, 10] {
            let limit = if most == 1 { RateLimit::default() } else { RateLimit::of(most) };
            for _ in 0..most {
                assert_eq!(limit.pass(), Some(0));
            }
            assert_eq!((limit.pass(), limit.pass()), (None, None));
            limit.since.set(None);
            assert_eq!(limit.pass(), Some(2));
            assert_eq!(limit.pass(), if most == 1 { None } else { Some(0) });
        }
    }
}
