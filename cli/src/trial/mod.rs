//! One measurement, from its options to its record; and what all measurements of one command share.
//!
//! Prints nothing. It may be asked for as many measurements as a command likes, each with options of its own.
//! Each step is a module of its own: [`client`] speaks with the netserver, the engine measures, [`bridge`]
//! translates between the two and into a record.
//!
//! ```text
//! options -> netserver of our own, unless there is a host -> control connection -> greeting
//!         -> wishes -> plan, prepare -> request -> run -> results, report -> record
//! ```

mod args;
pub(crate) mod bridge;
mod client;
mod connect;
mod embedded;
mod progress;
pub(crate) mod values;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use ringperf_engine::{End, Outcome};
use ringperf_proto::{RemoteResults, Report};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::client::deadline::Deadlines;
use crate::client::interrupt::{Interrupt, Later, signal_name};
use crate::cores;
use crate::error::{Class, Failure, errno_text};
use crate::passphrase::{Passphrase, Unfit};
use crate::record::{self, Contact, Measured, Netserver, Record};
pub(crate) use args::{Args, BufferOf, CONTROL_PORT, Cores, EngineArg, Family, SendArg, Test, parse_cores};
pub(crate) use bridge::test_name;
use client::{Key, Session};
use connect::Place;
pub(crate) use embedded::{Embedded, Start};
use progress::Progress;

/// Time between two looks for a signal while nothing is measured.
const LOOK: Duration = Duration::from_millis(50);

/// What all measurements of one command share.
pub(crate) struct Bench {
    command: Vec<String>,
    family: Option<Family>,
    key: Key,
    deadlines: Deadlines,
    interrupt: Interrupt,
}

impl Bench {
    /// For a command with these options. From here on the first signal ends a measurement, not the process.
    ///
    /// # Errors
    /// USAGE for options that contradict each other, and for a passphrase that cannot be had; ENV where
    /// signals cannot be listened to.
    pub(crate) fn new(args: &Args, command: &[String]) -> Result<Self, Failure> {
        args.check()?;
        Ok(Self {
            command: command.to_vec(),
            family: args.family()?,
            key: key(args)?,
            deadlines: Deadlines::new(args.deadline_ms.map(Duration::from_millis)),
            interrupt: Interrupt::install(&[SIGINT, SIGTERM], Later::Ends)?,
        })
    }

    /// The command line, program name included.
    pub(crate) fn command(&self) -> &[String] {
        &self.command
    }

    /// The signal that came, if one did.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.interrupt.signal()
    }

    /// Its name.
    pub(crate) fn signal_name(&self) -> Option<&'static str> {
        self.signal().map(signal_name)
    }

    /// Waits so long, or until a signal comes. Tells whether none came.
    pub(crate) fn rest(&self, length: Duration) -> bool {
        let until = Instant::now() + length;
        while self.signal().is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(LOOK));
        }
        false
    }

    /// The failure of a command that a signal ended before it had any result, if one came.
    ///
    /// # Errors
    /// SIGNAL when one came.
    pub(crate) fn check(&self, tried: &str) -> Result<(), Failure> {
        self.interrupt.check(tried)
    }

    /// One measurement. Its record says whether a signal ended it early. The label is for the progress bar.
    ///
    /// # Errors
    /// Whatever keeps it from a result, SIGNAL where one came before there was any.
    pub(crate) fn measure(&self, args: &Args, label: &str) -> Result<Record, Failure> {
        let begun = Instant::now();
        args.check()?;
        let Self { family, deadlines, ref interrupt, .. } = *self;

        let (our_cores, their_cores) = match args.host {
            Some(_) => (args.asked_cores().to_vec(), Vec::new()),
            None => cores::shares(&cores::allowed(), args.asked_cores(), cores::siblings),
        };
        let embedded = match args.host {
            Some(_) => None,
            None => Some(Embedded::start(&Start {
                family,
                engine: args.engine,
                without: args.left_out(),
                cores: &their_cores,
                patience: deadlines.connect,
            })?),
        };
        let place = place(args, family, embedded.as_ref().map(Embedded::address));

        let control = connect::connect(&place, deadlines, interrupt)?;
        let peer = control.peer();
        let mut session = Session::new(control, place, deadlines, interrupt.clone(), self.key.clone());
        let netserver = session.greet()?;
        session.wish(bridge::wishes(args, netserver)?)?;

        let plan = bridge::plan(args, &our_cores, peer.ip(), deadlines)?;
        let prepared =
            ringperf_engine::prepare(&plan).map_err(|error| bridge::engine_failure(&error, args))?;
        interrupt.stops(prepared.stop());
        let offer = session.request(bridge::request(args, prepared.local(), &their_cores, netserver)?)?;

        // The netserver's clock runs: nothing slow may stand between its offer and our connection.
        session.test_begins(prepared.stop())?;
        let (started, started_at) = (Instant::now(), SystemTime::now());
        let data_peer = SocketAddr::new(peer.ip(), offer.port);
        let ran = {
            let _progress = Progress::start(label, args.length().duration());
            prepared.run(Some(data_peer))
        };
        let outcome = ran.map_err(|error| bridge::engine_failure(&error, args))?;
        if outcome.tally.bytes_sent == 0 && outcome.tally.bytes_received == 0 {
            interrupt.check("measure")?;
        }

        let results = if let End::Failed(errno) = outcome.end {
            return Err(data_connection_failed(errno, &outcome, &mut session, deadlines));
        } else {
            // The results of a test that was stopped may come before its time, or never.
            let length = args.length().duration().filter(|_| interrupt.signal().is_none());
            let by = deadlines.results_by(started, length);
            session.results(by.saturating_duration_since(Instant::now()))?
        };
        something_was_counted(args.test, &outcome, &results, data_peer)?;
        let (report, report_missing) = match netserver {
            Netserver::Netperf | Netserver::Unknown => (None, None),
            Netserver::Ringperf { .. } => report(&mut session),
        };
        session.close();
        Ok(record::build(Measured {
            test: args.test.wire(),
            command: &self.command,
            begun: (begun, started_at),
            contact: Contact { host: args.host.clone(), control: peer, netserver },
            asked: bridge::asked(args, peer.is_ipv4(), &their_cores),
            plan: plan.options(),
            offer: &offer,
            outcome,
            results: &results,
            report,
            report_missing,
            interrupted: self.signal_name(),
        }))
    }
}

/// Connects to a netserver, greets it as a measurement does, and takes leave. A port forward that accepts
/// before there is a netserver behind it does not pass for one.
///
/// # Errors
/// PEER where no netserver answers within `patience`.
pub(crate) fn greets(host: &str, port: u16, patience: Duration) -> Result<Netserver, Failure> {
    let place = Place { host: host.to_owned(), port, local: None, family: None, embedded: false };
    let (deadlines, interrupt) = (Deadlines::new(Some(patience)), Interrupt::none());
    let control = connect::connect(&place, deadlines, &interrupt)?;
    let mut session = Session::new(control, place, deadlines, interrupt, Key::None);
    let netserver = session.greet()?;
    session.close();
    Ok(netserver)
}

/// What a measurement with these options asks for, as its record would tell it before anything is known of
/// the netserver.
///
/// # Errors
/// USAGE where the options contradict each other.
pub(crate) fn asked(args: &Args) -> Result<record::Asked, Failure> {
    Ok(bridge::asked(args, args.family()? != Some(Family::V6), &[]))
}

/// What the netserver tells beyond its results, or why it does not: the results are in, and nothing that
/// happens from here on may lose them.
fn report(session: &mut Session) -> (Option<Report>, Option<String>) {
    match session.report() {
        Ok(Some(report)) => (Some(report), None),
        Ok(None) => (None, Some("it has none".to_owned())),
        Err(failure) => (None, Some(failure.to_json().text)),
    }
}

/// Where to look for the netserver: at the user's host, or at the one we started.
fn place(args: &Args, family: Option<Family>, embedded: Option<SocketAddr>) -> Place {
    let (host, port) = match (embedded, &args.host) {
        (Some(address), _) => (address.ip().to_string(), address.port()),
        (None, Some(host)) => (host.clone(), args.control_port()),
        (None, None) => ("127.0.0.1".to_owned(), args.control_port()),
    };
    Place { host, port, local: args.local, family, embedded: embedded.is_some() }
}

/// What the options say of a passphrase.
fn key(args: &Args) -> Result<Key, Failure> {
    let Some(path) = &args.passphrase_file else { return Ok(Key::None) };
    let passphrase = read_passphrase(path)?;
    Ok(if args.passphrase_in_clear { Key::InClear(passphrase) } else { Key::Proof(passphrase) })
}

fn read_passphrase(path: &Path) -> Result<Passphrase, Failure> {
    let tried = format!("read the passphrase from {}", path.display());
    Passphrase::first_line(path).map_err(|unfit| {
        match unfit {
            Unfit::Io(error) => Failure::io(Class::Usage, tried, &error),
            Unfit::Is(reason) => Failure::new(Class::Usage, tried, reason),
        }
        .setting("--passphrase-file")
    })
}

/// The data connection broke. What the netserver still says on the control connection is part of the story.
fn data_connection_failed(
    errno: i32,
    outcome: &Outcome,
    session: &mut Session,
    deadlines: Deadlines,
) -> Failure {
    let then = match session.results(deadlines.results_slack) {
        Ok(results) => {
            format!("the netserver counted {} bytes", results.bytes_received.max(results.bytes_sent))
        }
        Err(failure) => failure.to_json().text,
    };
    Failure::new(
        Class::Peer,
        "finish the test",
        format!(
            "the data connection broke after {:.1} s and {} bytes: {}; {then}",
            outcome.elapsed.as_secs_f64(),
            outcome.tally.bytes_sent.max(outcome.tally.bytes_received),
            errno_text(errno),
        ),
    )
    .errno(Some(errno))
    .setting("whether the netserver and its host stay up during a test, and the way to them")
    .next("see the netserver's log on its host, then run it again")
}

/// A receiver that counted nothing makes no result.
fn something_was_counted(
    test: Test,
    outcome: &Outcome,
    results: &RemoteResults,
    data_peer: SocketAddr,
) -> Result<(), Failure> {
    let (counted, cause) = match test {
        Test::TcpMaerts => (
            outcome.tally.bytes_received,
            format!("no byte came from {data_peer}, where the netserver counted {} sent", results.bytes_sent),
        ),
        Test::TcpCrr | Test::TcpRr | Test::UdpRr => {
            (outcome.tally.transactions, format!("no transaction with {data_peer} came to its end"))
        }
        Test::TcpStream | Test::UdpStream => (
            results.bytes_received,
            format!(
                "the netserver counted no byte of the {} sent to {data_peer}: something else took them",
                outcome.tally.bytes_sent
            ),
        ),
    };
    if counted > 0 {
        return Ok(());
    }
    Err(Failure::new(Class::Peer, "measure", cause)
        .setting("what forwards the data port, and to whom; over UDP also firewalls on the way")
        .next("ringperf run -H HOST --data-port PORT, with a port that is forwarded to the netserver"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_is_one_line_of_a_file() {
        let path = std::env::temp_dir().join(format!("ringperf-passphrase-{}", std::process::id()));
        let read = |content: &[u8]| {
            std::fs::write(&path, content).expect("the temporary folder is writable");
            read_passphrase(&path).map(|passphrase| passphrase.bytes().to_vec())
        };
        assert_eq!(read(b"secret\nrest"), Ok(b"secret".to_vec()));
        assert_eq!(read(b"secret\r\n"), Ok(b"secret".to_vec()));
        assert_eq!(read(b"\n").map_err(|failure| failure.class()), Err(Class::Usage));
        assert_eq!(read(&[b'x'; 648]).map_err(|failure| failure.class()), Err(Class::Usage));
        let longest = [b'x'; 647];
        assert_eq!(read(&[&longest, b"\r\nrest".as_slice()].concat()), Ok(longest.to_vec()));
        std::fs::remove_file(&path).expect("it was just written");
        assert_eq!(read_passphrase(&path).map_err(|failure| failure.class()), Err(Class::Usage));
        let endless = read_passphrase(Path::new("/dev/zero"));
        assert_eq!(endless.map_err(|failure| failure.class()), Err(Class::Usage));
    }
}
