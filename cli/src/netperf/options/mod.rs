//! netperf's command line: from words to [`Options`], with what reading them prints and whether it ends
//! there.
//!
//! Pure: no file is opened, no name resolved, nothing printed. Two option sets are read one after the other,
//! `global` up to `--` and the test's, `omni` or `sockets`, behind it, each by a table that also gives the
//! usage text. Sizes are
//! checked only where a wrong one would end in a crash of netperf.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use ringperf_proto::Length;

pub(crate) use getopt::Argument;
use getopt::{Entry, Getopt};
pub(crate) use size::Family;
pub(crate) use usage::{Described, PAIRS, TESTS, global_options, test_options, tests_with};

use super::selectors::Style;
use super::traffic::{OptionSet, TestName, Traffic};

mod getopt;
mod global;
mod omni;
mod size;
mod sockets;
mod usage;

/// The settings of both ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pair<T> {
    /// netperf's.
    pub(crate) local: T,
    /// The netserver's.
    pub(crate) remote: T,
}

/// The settings of both directions at one end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directions<T> {
    /// Of sending.
    pub(crate) send: T,
    /// Of receiving.
    pub(crate) receive: T,
}

/// One end of a connection, before any name is resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Host {
    /// Name or address as written; `None` if not given.
    pub(crate) name: Option<String>,
    /// Its family.
    pub(crate) family: Family,
}

/// How often a test is repeated, and when its figures are good enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Confidence {
    /// Iterations at most; 1 to 30.
    pub(crate) max: u32,
    /// Iterations at least; 1 to `max`.
    pub(crate) min: u32,
    /// Confidence level in percent: 95 or 99, or 0 where nothing was asked for.
    pub(crate) level: u32,
    /// Full width of the confidence interval, in percent of the mean.
    pub(crate) width: f64,
    /// CPU utilisation need not be as good as the result.
    pub(crate) result_only: bool,
}

/// Results while the test goes on (`-D`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interim {
    /// How much time one covers, at least.
    pub(crate) interval: Duration,
    /// The clock is looked at after each operation, not after so much work as should take the interval.
    pub(crate) after_each: bool,
    /// The first guess of that work, in bytes or transactions; `None`: netperf's.
    pub(crate) units: Option<u32>,
}

impl Interim {
    /// For what is too long for a clock.
    const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);
}

/// Which figures are printed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selectors {
    /// How.
    pub(crate) style: Style,
    /// Which, or the file that says it; `None`: those that belong to the test.
    pub(crate) list: Option<String>,
}

/// Everything a command line asks for. What it leaves out has netperf's default.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    /// The command line itself, the program's name first.
    pub(crate) command: Vec<OsString>,

    /// The test; or the name of one there is none of, in upper case. netperf tells so only after it has
    /// connected, see [`unknown_test`].
    pub(crate) test: Result<TestName, String>,
    /// What that moves.
    pub(crate) traffic: Traffic,
    /// A protocol that it was to go over and that this program has none of, by its name.
    pub(crate) lacking_protocol: Option<&'static str>,
    /// How long it lasts. A count is of bytes, or of transactions where the test is made of them.
    pub(crate) length: Length,
    /// How often it is repeated.
    pub(crate) confidence: Confidence,
    /// Time between set-up and traffic.
    pub(crate) pause: Duration,

    /// Both ends of the control connection.
    pub(crate) control: Pair<Host>,
    /// Their ports, as written: numbers or names of services.
    pub(crate) control_port: Pair<String>,
    /// There is no control connection, and whatever was sent counts as received.
    pub(crate) no_control: bool,
    /// What the netserver is shown first.
    pub(crate) passphrase: Option<OsString>,

    /// Banner and column headers are printed.
    pub(crate) headers: bool,
    /// Text after results without headers.
    pub(crate) brand: Option<String>,
    /// How much is printed; 0 to 2 are of use, 3 and above lack the result, below 0 lacks everything.
    pub(crate) verbosity: i32,
    /// The unit's letter if it was given, NUL for an empty one.
    pub(crate) unit: Option<char>,
    /// Results while the test goes on.
    pub(crate) interim: Option<Interim>,
    /// Each operation is timed.
    pub(crate) latency: bool,
    /// The result is printed by selectors.
    pub(crate) selectors: Option<Selectors>,
    /// Identifier of the test; one is made up where none was given.
    pub(crate) uuid: Option<String>,
    /// How often `-d` was given.
    pub(crate) debug: u32,

    /// Whose CPU utilisation is measured.
    pub(crate) measure_cpu: Pair<bool>,
    /// Calibration rate that the netserver is told; 0: none.
    pub(crate) remote_cpu_rate: f32,
    /// CPUs to run on.
    pub(crate) cpu: Pair<Option<u32>>,
    /// `-T` was given, which the banner shows even if no CPU came of it.
    pub(crate) cpu_bind: bool,

    /// Alignment of the message buffers, in bytes; -1 for those of a peer without netserver.
    pub(crate) alignment: Pair<Directions<i32>>,
    /// Offset from that alignment, in bytes; -1 likewise.
    pub(crate) offset: Pair<Directions<i32>>,
    /// Number of message buffers; `None`: as many as the socket buffers suggest.
    pub(crate) ring_width: Directions<Option<u32>>,
    /// File to fill the message buffers from.
    pub(crate) local_fill_file: Option<PathBuf>,
    /// The same at the netserver's host; at most 31 bytes.
    pub(crate) remote_fill_file: Option<String>,
    /// Sends, or requests, of each pacing interval; 0: not paced.
    pub(crate) burst: Pair<u32>,
    /// Length of such an interval, in microseconds.
    pub(crate) interval_us: Pair<u32>,

    /// SO_KEEPALIVE on the data socket.
    pub(crate) keepalive: bool,
    /// SO_PRIORITY of the data socket.
    pub(crate) priority: Pair<Option<i32>>,
    /// Type of service or traffic class of the data socket. 0 is reported but not set.
    pub(crate) type_of_service: Pair<Option<u8>>,

    /// Both ends of the data connection, as far as they were given for it.
    pub(crate) data: Pair<Host>,
    /// Leading bits of those addresses that are kept; the others are chosen at random for each iteration.
    pub(crate) kept_bits: Pair<Option<u32>>,
    /// Their ports, as written; "0" for any.
    pub(crate) data_port: Pair<String>,
    /// Local ports of a test with many connections, in turn; `None`: the kernel chooses.
    pub(crate) port_range: Option<(u16, u16)>,
    /// SO_SNDBUF and SO_RCVBUF of the data socket, in bytes; `None`: the kernel's default.
    pub(crate) socket_buffer: Pair<Directions<Option<u32>>>,
    /// Bytes of a send at each end; `None`: as many as its socket buffer holds.
    pub(crate) send_bytes: Pair<Option<u32>>,
    /// Bytes of a receive at each end; `None` likewise.
    pub(crate) receive_bytes: Pair<Option<u32>>,
    /// Bytes of a request; `None` is 1 where there are requests. In a stream test these are what netperf
    /// sends and the netserver receives, whatever [`Self::send_bytes`] says and is shown.
    pub(crate) request_bytes: Option<u32>,
    /// Bytes of a response. In a stream test the same in the other direction.
    pub(crate) response_bytes: Option<u32>,
    /// Requests under way beside the one that every transaction has.
    pub(crate) first_burst: u32,
    /// How long a response may take over UDP before its request is sent again; `None`: for ever.
    pub(crate) response_timeout: Option<Duration>,
    /// A connection that fails is made once more, where each transaction has its own.
    pub(crate) retry_connect: bool,

    /// TCP_NODELAY at both ends.
    pub(crate) no_delay: bool,
    /// TCP_CORK at this end.
    pub(crate) cork: bool,
    /// TCP_MAXSEG at this end, in bytes.
    pub(crate) max_segment: Option<u32>,
    /// TCP_DEFER_ACCEPT at the netserver.
    pub(crate) defer_accept: bool,
    /// TCP fast open.
    pub(crate) fast_open: bool,
    /// IP_PKTINFO at the netserver.
    pub(crate) packet_info: bool,
    /// Copies shall be avoided.
    pub(crate) avoid_copies: bool,
    /// SO_DONTROUTE on both data sockets.
    pub(crate) dont_route: bool,
    /// The UDP socket is connected.
    pub(crate) connected_udp: bool,
    /// TCP congestion control; at most 15 bytes.
    pub(crate) congestion_control: Pair<Option<String>>,
}

impl Default for Options {
    fn default() -> Self {
        let alignment = Directions { send: 8, receive: 8 };
        Self {
            command: vec!["netperf".into()],
            test: Ok(TestName::TcpStream),
            traffic: TestName::TcpStream.traffic(),
            lacking_protocol: None,
            length: Length::Seconds(10),
            confidence: Confidence { max: 1, min: 1, level: 0, width: 0.0, result_only: false },
            pause: Duration::ZERO,
            control: Pair::default(),
            control_port: Pair { local: "0".into(), remote: "12865".into() },
            no_control: false,
            passphrase: None,
            headers: true,
            brand: None,
            verbosity: 1,
            unit: None,
            interim: None,
            latency: false,
            selectors: None,
            uuid: None,
            debug: 0,
            measure_cpu: Pair::default(),
            remote_cpu_rate: 0.0,
            cpu: Pair::default(),
            cpu_bind: false,
            alignment: Pair { local: alignment, remote: alignment },
            offset: Pair::default(),
            ring_width: Directions::default(),
            local_fill_file: None,
            remote_fill_file: None,
            burst: Pair::default(),
            interval_us: Pair::default(),
            keepalive: false,
            priority: Pair::default(),
            type_of_service: Pair::default(),
            data: Pair::default(),
            kept_bits: Pair::default(),
            data_port: Pair { local: "0".into(), remote: "0".into() },
            port_range: None,
            socket_buffer: Pair::default(),
            send_bytes: Pair::default(),
            receive_bytes: Pair::default(),
            request_bytes: None,
            response_bytes: None,
            first_burst: 0,
            response_timeout: None,
            retry_connect: false,
            no_delay: false,
            cork: false,
            max_segment: None,
            defer_accept: false,
            fast_open: false,
            packet_info: false,
            avoid_copies: false,
            dont_route: false,
            connected_udp: false,
            congestion_control: Pair::default(),
        }
    }
}

/// Where a text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// What a part of the start prints, in order, and whether the program ends with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Whole lines, with their ends.
    pub(crate) texts: Vec<(Stream, String)>,
    /// Exit code of a program that ends here.
    pub(crate) exit: Option<u8>,
}

impl Said {
    fn say(&mut self, stream: Stream, text: impl Into<String>) {
        self.texts.push((stream, text.into()));
    }

    fn end(&mut self, exit: u8, stream: Stream, text: impl Into<String>) {
        self.say(stream, text);
        self.exit = Some(exit);
    }

    /// A sentence for what netperf takes and this program does not.
    fn refuse(&mut self, sentence: &str) {
        self.end(1, Stream::Err, format!("netperf: {sentence}\n"));
    }
}

/// A command line that has been read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parsed {
    /// What it asks for.
    pub(crate) options: Options,
    /// What reading the global options says. If it ends the program, the rest has not been read.
    pub(crate) global: Said,
    /// What reading the test's options says: after the control connection's host has been resolved, before
    /// the connection is made.
    pub(crate) test: Said,
}

/// Reads the words after the program's name; `argv0` is that name as typed.
pub(crate) fn parse(argv0: &OsStr, words: Vec<OsString>) -> Parsed {
    let mut command = vec![argv0.to_owned()];
    let mut scan = Scan::new(Options::default());
    let rest = scan.read(global::TABLE, &words, |scan, complaint| {
        let program = argv0.to_string_lossy();
        scan.said.end(1, Stream::Err, format!("{program}: {complaint}\n{}", usage::global()));
    });
    global::finish(&mut scan);
    let (mut options, mut global) = (scan.options, scan.said);

    let mut said = Said::default();
    if let (None, Ok(test)) = (global.exit, &options.test) {
        let test = *test;
        options.traffic = test.traffic();
        let mut scan = Scan::new(options);
        let (table, finish): (&[_], fn(&mut Scan, TestName)) = match test.option_set() {
            OptionSet::Empty => (&[], |_, _| ()),
            OptionSet::Omni => (omni::TABLE, omni::finish),
            OptionSet::Sockets => (sockets::TABLE, sockets::finish),
        };
        let words = if test.option_set() == OptionSet::Empty { &[] } else { rest };
        scan.read(table, words, |scan, complaint| {
            let program = argv0.to_string_lossy();
            scan.said.say(Stream::Err, format!("{program}: {complaint}\n"));
            // netperf takes what it does not know for this letter.
            omni::force_v4(scan);
        });
        finish(&mut scan, test);
        (options, said) = (scan.options, scan.said);
        if let (Length::Bytes(count), true) = (options.length, options.traffic.is_of_transactions()) {
            options.length = Length::Transactions(count);
        }
    }
    // Whether there is a pace to set, OMNI's own options decide.
    global::settle_pacing(&mut options, &mut global);
    command.extend(words);
    options.command = command;
    Parsed { options, global, test: said }
}

/// What netperf says about a test it does not have, and how it ends; `name` in upper case.
pub(crate) fn unknown_test(name: &str) -> Said {
    let mut said = Said::default();
    said.end(
        1,
        Stream::Out,
        format!(
            "The test you requested ({name}) is unknown to this netperf.\n\
             Please verify that you have the correct test name, \n\
             and that test family has been compiled into this netperf.\n"
        ),
    );
    said
}

/// One pass over an option set.
#[derive(Debug)]
struct Scan {
    options: Options,
    said: Said,
    /// A sentence that ends the program once the whole set has been read, so that a wrong letter behind is
    /// complained about first.
    unsupported: Option<String>,
    pending: Pending,
}

/// What is judged once the test's options have been read.
#[derive(Debug, Default)]
struct Pending {
    /// `-m` as given: only the half that the test uses may not be negative.
    send: Pair<i32>,
    /// `-M`, likewise.
    receive: Pair<i32>,
    /// `-R`, which has another default over UDP.
    dont_route: Option<bool>,
    /// `-d` of OMNI: sends, receives.
    direction: Option<(bool, bool)>,
    /// The direction that sizes imply where there is no `-d`.
    implied: (bool, bool),
    /// `-c`.
    each: bool,
    /// `-T`.
    protocol: Option<String>,
    /// `-t`.
    socket_type: Option<String>,
}

impl Scan {
    fn new(options: Options) -> Self {
        Self { options, said: Said::default(), unsupported: None, pending: Pending::default() }
    }

    /// Applies `table` to `words` until something ends the program; returns the words after `--`.
    fn read<'a>(
        &mut self,
        table: &[Entry<Self>],
        words: &'a [OsString],
        complain: impl Fn(&mut Self, String),
    ) -> &'a [OsString] {
        let mut getopt = Getopt::new(words);
        while self.said.exit.is_none()
            && let Some(next) = getopt.next(table)
        {
            match next {
                Ok((entry, value)) => (entry.apply)(self, &value),
                Err(complaint) => complain(self, complaint),
            }
        }
        getopt.rest()
    }

    /// Says the sentence put off until now, unless the program has ended anyway.
    fn refuse_unsupported(&mut self) {
        if let (None, Some(sentence)) = (self.said.exit, self.unsupported.take()) {
            self.said.refuse(&sentence);
        }
    }

    /// Keeps the first sentence of several.
    fn unsupported(&mut self, sentence: impl Into<String>) {
        self.unsupported.get_or_insert_with(|| sentence.into());
    }

    /// The family that `word` means, with netperf's warning if it means none.
    fn family(&mut self, word: &str) -> Family {
        Family::from_word(word).unwrap_or_else(|| {
            // The misspelling is netperf's.
            let warning = format!(
                "WARNING! {word} not recognized as an address family, using AF_UNPSEC\n\
                 Are you sure netperf was configured for that address family?\n"
            );
            self.said.say(Stream::Out, warning);
            Family::Unspecified
        })
    }
}

/// Sets what was given.
fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// As much of `text` as fits into `bytes`, in whole characters.
fn cut(text: &str, bytes: usize) -> String {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default().to_owned()
}

/// A size that is in force only above 0.
fn positive(size: i32) -> Option<u32> {
    u32::try_from(size).ok().filter(|size| *size > 0)
}

#[cfg(test)]
mod tests;
