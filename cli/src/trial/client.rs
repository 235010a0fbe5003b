//! One session with a netserver: greeting, request, results, report.
//!
//! Knows the order of messages and what to say when one does not come. Moves no data.
#![deny(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

use std::time::Duration;

use ringperf_engine::Stop;
use ringperf_proto::errno::{E2BIG, EACCES, EBUSY, EINVAL, EOPNOTSUPP};
use ringperf_proto::{
    ClientInput, ClientOutput, Fault, OmniTest, RemoteOffer, RemoteResults, Report, Wishes,
};

use super::connect::{ETIMEDOUT, Place};
use crate::client::control::{Control, NoFrame};
use crate::client::deadline::Deadlines;
use crate::client::exchange::{Exchange, Trouble};
use crate::client::interrupt::Interrupt;
use crate::error::{Class, Failure, errno_text};
use crate::passphrase::Passphrase;
use crate::record::Netserver;

/// What an errno can be on any system; an answer with another number was not written by a netserver.
const ERRNOS: std::ops::RangeInclusive<i32> = 1..=4095;

/// An open session.
pub(crate) struct Session {
    exchange: Exchange,
    place: Place,
    deadlines: Deadlines,
    interrupt: Interrupt,
    key: Key,
}

/// What is shown of a passphrase.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    /// There is none.
    None,
    /// That we know it.
    Proof(Passphrase),
    /// All of it.
    InClear(Passphrase),
}

/// Where in the session something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting,
    Report,
    Request,
    Results,
    Wishes,
}

impl Session {
    /// A session over this connection. The passphrase, if there is one, goes ahead of the first request.
    pub(crate) fn new(
        control: Control,
        place: Place,
        deadlines: Deadlines,
        interrupt: Interrupt,
        key: Key,
    ) -> Self {
        let exchange = match &key {
            Key::None => Exchange::new(control, None),
            Key::Proof(passphrase) => Exchange::proving(control, passphrase.bytes().to_vec()),
            Key::InClear(passphrase) => Exchange::new(control, Some(passphrase.bytes().to_vec())),
        };
        Self { exchange, place, deadlines, interrupt, key }
    }

    /// Finds out what answers. netperf's netserver refuses our greeting and stays usable.
    ///
    /// # Errors
    /// PEER when what answers is no netserver or nothing answers, POLICY when the passphrase is not taken,
    /// SIGNAL.
    pub(crate) fn greet(&mut self) -> Result<Netserver, Failure> {
        match self.ask(Stage::Greeting, ClientInput::Probe, self.deadlines.reply)? {
            ClientOutput::Native(Some(version)) => Ok(Netserver::Ringperf { version }),
            ClientOutput::Native(None) => Ok(Netserver::Netperf),
            other => Err(out_of_step(Stage::Greeting, &other)),
        }
    }

    /// Asks for the next test to be run as netperf's request cannot say; nothing is asked where nothing is
    /// wished for. Returns what is granted, which may have fewer workers. Of [`Netserver::takes_wishes`].
    ///
    /// # Errors
    /// PEER when the netserver refuses or falls silent, POLICY when a limit of it forbids it, SIGNAL.
    pub(crate) fn wish(&mut self, wishes: Wishes) -> Result<Wishes, Failure> {
        if wishes == Wishes::default() {
            return Ok(wishes);
        }
        match self.ask(Stage::Wishes, ClientInput::Wish(wishes), self.deadlines.reply)? {
            ClientOutput::Granted(granted) => Ok(granted),
            other => Err(out_of_step(Stage::Wishes, &other)),
        }
    }

    /// Asks for a test. When this returns the netserver's clock runs.
    ///
    /// # Errors
    /// PEER when the netserver refuses or falls silent, POLICY when a limit of it forbids the test, SIGNAL.
    pub(crate) fn request(&mut self, test: OmniTest) -> Result<RemoteOffer, Failure> {
        match self.ask(Stage::Request, ClientInput::Start(test.into()), self.deadlines.reply)? {
            ClientOutput::Run(offer) => Ok(offer),
            other => Err(out_of_step(Stage::Request, &other)),
        }
    }

    /// From now on a signal ends the test, and no longer the waits: results are still wanted. Ends the run
    /// too when the netserver is found to be gone.
    ///
    /// # Errors
    /// ENV when no thread can be had for the watch.
    pub(crate) fn test_begins(&mut self, stop: Stop) -> Result<(), Failure> {
        self.exchange.control_mut().ignore_signals();
        self.exchange
            .control()
            .watch(stop)
            .map_err(|error| Failure::io(Class::Environment, "watch the control connection", &error))
    }

    /// The netserver's results, once our end of the test is over.
    ///
    /// # Errors
    /// PEER when there are none.
    pub(crate) fn results(&mut self, within: Duration) -> Result<RemoteResults, Failure> {
        match self.ask(Stage::Results, ClientInput::Ran, within)? {
            ClientOutput::Finished(results) => Ok(results),
            other => Err(out_of_step(Stage::Results, &other)),
        }
    }

    /// What a ringperf netserver tells beyond the results.
    ///
    /// # Errors
    /// PEER when it does not answer.
    pub(crate) fn report(&mut self) -> Result<Option<Report>, Failure> {
        match self.ask(Stage::Report, ClientInput::AskReport, self.deadlines.report)? {
            ClientOutput::Report(report) => Ok(report),
            other => Err(out_of_step(Stage::Report, &other)),
        }
    }

    /// Ends the session in order.
    pub(crate) fn close(self) {
        self.exchange.close();
    }

    fn ask(&mut self, stage: Stage, input: ClientInput, within: Duration) -> Result<ClientOutput, Failure> {
        self.exchange.ask(input, within).map_err(|trouble| self.explain(stage, trouble, within))
    }

    fn explain(&self, stage: Stage, trouble: Trouble, waited: Duration) -> Failure {
        match trouble {
            Trouble::NoFrame(NoFrame::Interrupted) => match self.interrupt.check("wait for the netserver") {
                Err(failure) => failure,
                Ok(()) => self.closed(stage, None),
            },
            Trouble::Fault(fault) => self.explain_fault(stage, &fault),
            Trouble::NoFrame(none) => {
                let control = self.exchange.control();
                if let Some(fault @ Fault::Legacy { .. }) = control.cut_short() {
                    return self.explain_fault(stage, &fault);
                }
                if control.pending() > 0 {
                    let bytes = control.pending();
                    return self.not_a_netserver(format!("it answered {bytes} bytes that make no frame"));
                }
                match none {
                    NoFrame::Silence => self.silent(stage, waited),
                    NoFrame::Failed(error) => self.closed(stage, error.raw_os_error()),
                    NoFrame::Closed | NoFrame::Interrupted => self.closed(stage, None),
                }
            }
        }
    }

    fn explain_fault(&self, stage: Stage, fault: &Fault) -> Failure {
        match fault {
            Fault::Remote { errno } if ERRNOS.contains(errno) => self.refused(stage, *errno),
            Fault::Unproven => Failure::new(Class::Policy, self.tried(stage), fault.to_string())
                .errno(Some(EACCES))
                .setting("--passphrase-file here and there, or -Z there")
                .next("compare the first lines of the files; five wrong ones close it for a minute"),
            Fault::Unsupported { .. } => self.refused(stage, EOPNOTSUPP),
            Fault::Legacy { .. } => Failure::new(Class::Peer, self.tried(stage), fault.to_string())
                .setting("the release at the other end: netperf 2.6.0 changed the size of a frame")
                .next(format!("there: ringperf netserver -D -p {}, or netperf 2.7", self.place.port)),
            Fault::Misuse { .. } => Failure::new(Class::Bug, self.tried(stage), fault.to_string()),
            _ => self.not_a_netserver(fault.to_string()),
        }
    }

    /// The netserver answered with an errno.
    fn refused(&self, stage: Stage, errno: i32) -> Failure {
        let class = match errno {
            E2BIG | EACCES | EBUSY => Class::Policy,
            _ => Class::Peer,
        };
        let cause = match (stage, errno) {
            (Stage::Wishes, E2BIG) => "the netserver does not serve so many flows".to_owned(),
            (Stage::Wishes, EINVAL) => "the netserver does not know one of the wishes".to_owned(),
            (Stage::Wishes, EOPNOTSUPP) => "the netserver takes no wishes".to_owned(),
            (_, EOPNOTSUPP) => "the netserver does not serve this test".to_owned(),
            (Stage::Greeting, EACCES) => {
                "the netserver turns us away: EACCES; its --allow does not name our address, or too many \
                 wrong passphrases came from it"
                    .to_owned()
            }
            (Stage::Greeting, EBUSY) => {
                "the netserver turns us away: EBUSY; it has as many sessions as it takes (--max-sessions)"
                    .to_owned()
            }
            (_, errno) => format!("the netserver answered: {}", errno_text(errno)),
        };
        Failure::new(class, self.tried(stage), cause)
            .errno(Some(errno))
            .setting("what the netserver allows: its options, its limits, its host's socket settings")
            .next("see the netserver's log on its host; ringperf netserver writes one line for each refusal")
    }

    fn not_a_netserver(&self, cause: String) -> Failure {
        let cause = match self.exchange.control().text_head() {
            Some(text) => format!("what answers there is no netserver: it said \"{text}\""),
            None => format!("what answers there is no netserver of netperf 2.6 or later: {cause}"),
        };
        Failure::new(Class::Peer, self.tried(Stage::Greeting), cause)
            .setting("-H and --port")
            .next(format!("see what listens there, on that host: ss -ltnp 'sport = :{}'", self.place.port))
    }

    fn silent(&self, stage: Stage, waited: Duration) -> Failure {
        let cause = match stage {
            Stage::Greeting | Stage::Request | Stage::Wishes => format!(
                "it takes the connection but gave no answer within {:.1} s; a netserver in serial mode (-f) \
                 that serves somebody else does that, and so does a program that is no netserver",
                waited.as_secs_f64()
            ),
            Stage::Results | Stage::Report => {
                format!("it gave no answer within {:.1} s", waited.as_secs_f64())
            }
        };
        Failure::new(Class::Peer, self.tried(stage), cause)
            .errno(Some(ETIMEDOUT))
            .setting("whether the netserver is busy (-f), stopped, or behind a firewall that drops packets")
            .next(format!("on that host: ss -tnp 'sport = :{}'", self.place.port))
    }

    fn closed(&self, stage: Stage, errno: Option<i32>) -> Failure {
        let tried = self.tried(stage);
        match stage {
            Stage::Greeting if !matches!(self.key, Key::None) => self.locked_out(tried).errno(errno),
            Stage::Greeting | Stage::Request | Stage::Wishes => {
                Failure::new(Class::Peer, tried, "it closed the connection without an answer")
                    .errno(errno)
                    .setting("a passphrase (-Z), a limit or a list of allowed addresses at the netserver")
                    .next("if it was started with -Z: ringperf run --passphrase-file FILE")
            }
            Stage::Results | Stage::Report => {
                Failure::new(Class::Peer, tried, "the netserver ended before it had sent them")
                    .errno(errno)
                    .setting("whether the netserver and its host stay up during a test")
                    .next("see the netserver's log on its host")
            }
        }
    }

    /// The netserver closed without a word on the passphrase, or on the offer to prove it.
    fn locked_out(&self, tried: String) -> Failure {
        if let Key::Proof(_) = self.key {
            return Failure::new(
                Class::Policy,
                tried,
                "it closed the connection unanswered, as netperf's netserver and those of an older ringperf \
                 do, which want their passphrase (-Z) in clear",
            )
            .setting("the release at the other end, and --passphrase-in-clear here")
            .next("if nobody listens on the way: the same again with --passphrase-in-clear");
        }
        Failure::new(
            Class::Policy,
            tried,
            "it closed the connection unanswered, as a netserver does that wants another passphrase",
        )
        .setting("--passphrase-file here and -Z there")
        .next("compare the first line of the file with the netserver's -Z")
    }

    fn tried(&self, stage: Stage) -> String {
        let Place { host, port, .. } = &self.place;
        match stage {
            Stage::Greeting => format!("talk to the netserver on {host} port {port}"),
            Stage::Report => format!("get the report of the netserver on {host} port {port}"),
            Stage::Request => format!("agree on a test with the netserver on {host} port {port}"),
            Stage::Results => format!("get the results of the netserver on {host} port {port}"),
            Stage::Wishes => {
                format!("agree on the course of a test with the netserver on {host} port {port}")
            }
        }
    }
}

/// The client machine gave an answer to another question than ours.
fn out_of_step(stage: Stage, output: &ClientOutput) -> Failure {
    Failure::new(Class::Bug, "follow the protocol", format!("{output:?} came at the stage {stage:?}"))
}
