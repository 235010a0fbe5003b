//! The load: clients that do one deed after the other until their time is over, and what came of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::deed::{Client, Deed, Fate, Kind, Test};
use super::dice::Dice;
use crate::program::{interrupted, read_all};

/// Longest time that a client of a test of seconds may take.
const LIMIT: Duration = Duration::from_secs(90);

/// Time between two looks at a program.
const LOOK: Duration = Duration::from_millis(20);

/// Failures of which the words are kept.
const KEPT: usize = 20;

/// What came of a deed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// What should.
    Done,
    /// Something else.
    Failed(String),
    /// Nothing, in a long time.
    TimedOut,
}

/// How often something was done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Count {
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) timed_out: u64,
}

/// What came of everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// By what was done.
    pub(super) counts: BTreeMap<String, Count>,
    /// The first failures, in words.
    pub(super) failures: Vec<String>,
    /// Of tests that should have ended well.
    pub(super) tests: Count,
    /// Of the rest.
    pub(super) misdeeds: Count,
    /// Records that a client printed.
    pub(super) records: u64,
    /// Those of them that tell of dropped completions.
    pub(super) defective: u64,
}

impl Count {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Done => self.done += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::TimedOut => self.timed_out += 1,
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> u64 {
        self.done + self.failed + self.timed_out
    }
}

impl Tally {
    fn add(&mut self, deed: &Deed, at: Duration, outcome: &Outcome) {
        self.counts.entry(deed.label.clone()).or_default().add(outcome);
        let group = if deed.is_test() { &mut self.tests } else { &mut self.misdeeds };
        group.add(outcome);
        let why = match outcome {
            Outcome::Done => return,
            Outcome::Failed(why) => why.as_str(),
            Outcome::TimedOut => "no end in time",
        };
        if self.failures.len() < KEPT {
            self.failures.push(format!("{:.1} min, {}: {why}", at.as_secs_f64() / 60.0, deed.label));
        }
    }
}

/// Everybody's work.
pub(super) struct Load<'a> {
    /// What there is to do.
    pub(super) deeds: Vec<Deed>,
    /// Our program.
    pub(super) ringperf: &'a Path,
    /// The netserver.
    pub(super) address: SocketAddr,
    /// When everything began.
    pub(super) began: Instant,
    tally: Mutex<Tally>,
    busy: AtomicUsize,
}

/// How a program ended, and what it said.
struct Ended {
    status: Option<ExitStatus>,
    out: String,
    err: String,
}

impl<'a> Load<'a> {
    /// Nothing done yet.
    pub(super) fn new(deeds: Vec<Deed>, ringperf: &'a Path, address: SocketAddr, began: Instant) -> Self {
        Self { deeds, ringperf, address, began, tally: Mutex::default(), busy: AtomicUsize::new(0) }
    }

    /// What came of it so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Clients that are not through with their last deed.
    pub(super) fn busy(&self) -> usize {
        self.busy.load(Ordering::Acquire)
    }

    /// Starts a client for each of the dice, who do deeds until `until`.
    pub(super) fn start<'scope>(
        &'scope self,
        scope: &'scope std::thread::Scope<'scope, '_>,
        dice: Vec<Dice>,
        until: Instant,
    ) {
        self.busy.fetch_add(dice.len(), Ordering::AcqRel);
        for mut dice in dice {
            scope.spawn(move || {
                while Instant::now() < until && interrupted().is_ok() {
                    self.act(Deed::choose(&self.deeds, &mut dice), &mut dice);
                }
                self.busy.fetch_sub(1, Ordering::AcqRel);
            });
        }
    }

    /// One deed.
    pub(super) fn act(&self, deed: &Deed, dice: &mut Dice) {
        let outcome = match &deed.kind {
            Kind::Misdeed(misdeed) => match misdeed.commit(self.address, dice) {
                Ok(()) => Outcome::Done,
                Err(why) => Outcome::Failed(why),
            },
            Kind::Program(client, test, fate) => self.program(client, *test, *fate, dice),
        };
        // what ends with everything else is nobody's failure
        if interrupted().is_ok() {
            let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.add(deed, self.began.elapsed(), &outcome);
        }
    }

    fn program(&self, client: &Client, test: Test, fate: Fate, dice: &mut Dice) -> Outcome {
        let words = client.words(test, fate, self.address.port(), dice);
        let program = match client {
            Client::Run | Client::DropIn => self.ringperf,
            Client::Stock(file) => file,
        };
        let mut command = Command::new(program);
        command.args(&words).env("NO_COLOR", "1").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Outcome::Failed(format!("it cannot be started: {error}")),
        };
        let after = Duration::from_millis(50 + dice.below(900));
        let signal = match fate {
            Fate::Ends => None,
            Fate::Killed => Some((after, Signal::KILL)),
            Fate::Interrupted => Some((after, Signal::INT)),
        };
        let ended = attend(child, signal);
        if *client == Client::Run && fate == Fate::Ends {
            let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.records += u64::from(ended.out.starts_with('{'));
            tally.defective += u64::from(ended.out.contains("completions_defective"));
        }
        match ended.status {
            None => Outcome::TimedOut,
            Some(status) if status.success() || fate != Fate::Ends => Outcome::Done,
            Some(status) => {
                Outcome::Failed(format!("{} ({status}): {}", words.join(" "), ended.last_words()))
            }
        }
    }
}

impl Ended {
    /// The last thing it said.
    fn last_words(&self) -> String {
        let lines = self.err.lines().chain(self.out.lines().filter(|line| line.contains("\"text\"")));
        let last = lines.map(str::trim).rfind(|line| !line.is_empty());
        last.or_else(|| self.out.lines().last()).unwrap_or("it said nothing").chars().take(300).collect()
    }
}

/// Waits for the end of a program, which is signalled after a time where it is to be, and killed after a long
/// one in any case.
fn attend(mut child: Child, mut signal: Option<(Duration, Signal)>) -> Ended {
    let (out, err) = (read_all(child.stdout.take()), read_all(child.stderr.take()));
    let began = Instant::now();
    let status = loop {
        if let Ok(Some(status)) = child.try_wait() {
            break Some(status);
        }
        if began.elapsed() > LIMIT || interrupted().is_err() {
            break None;
        }
        if let Some((_, signal)) = signal.take_if(|(after, _)| began.elapsed() > *after) {
            let _ = kill_process(Pid::from_child(&child), signal);
        }
        std::thread::sleep(LOOK);
    };
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let said = |reader: Option<std::thread::JoinHandle<String>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    Ended { status, out: said(out), err: said(err) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn programs_are_seen_to_their_end() {
        let ended = attend(shell("echo out; echo err >&2; exit 3"), None);
        assert_eq!(ended.status.and_then(|status| status.code()), Some(3));
        assert_eq!(ended.last_words(), "err");
        let began = Instant::now();
        let ended = attend(shell("exec sleep 30"), Some((Duration::from_millis(50), Signal::KILL)));
        assert!(ended.status.is_some_and(|status| status.code().is_none()));
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn outcomes_are_counted_by_deed_and_by_group() {
        let deeds = Deed::all(None, true);
        let of = |label: &str| deeds.iter().find(|deed| deed.label == label).unwrap();
        let mut tally = Tally::default();
        tally.add(of("ringperf run TCP_RR"), Duration::ZERO, &Outcome::Done);
        tally.add(of("ringperf run TCP_RR"), Duration::ZERO, &Outcome::Failed("refused".to_owned()));
        tally.add(of("ringperf run TCP_RR, SIGKILL"), Duration::ZERO, &Outcome::TimedOut);
        assert_eq!(tally.tests, Count { done: 1, failed: 1, timed_out: 0 });
        assert_eq!(tally.misdeeds, Count { done: 0, failed: 0, timed_out: 1 });
        assert_eq!(tally.counts["ringperf run TCP_RR"].all(), 2);
        assert_eq!(tally.failures.len(), 2);
    }
}
