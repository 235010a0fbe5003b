//! netserver's command line, in netserver's own grammar: getopt letters that may be bundled, plus a few long
//! options of ours.
//!
//! Turns words into values and judges their form only. Whether an address can be bound, or a core used, is
//! found out by those who try.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg;
use ringperf_engine::EngineChoice;
use ringperf_engine::plan::Without;

use crate::cores;
use crate::passphrase::{PASSPHRASE_BYTES_MAX, Passphrase};
use crate::without;

pub(crate) use policy::Policy;
pub(crate) use usage::{NETSERVER_OPTIONS, netserver_usage};

mod policy;
mod usage;

/// Address family to listen on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Family {
    /// Whatever there is: IPv6, then IPv4.
    #[default]
    Any,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// How long each wait for a client may last. Every one of them but the last ends the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadlines {
    /// From accept to the whole first frame.
    pub first: Duration,
    /// The same where a passphrase is required; netperf gives a passphrase 20 seconds.
    pub first_with_passphrase: Duration,
    /// From the first byte of a later frame to its last.
    pub rest: Duration,
    /// Between requests; the length of the last test is added.
    pub idle: Duration,
    /// For one frame to be taken by the peer.
    pub write: Duration,
    /// For a test to end whose client has ended its control stream.
    pub ended: Duration,
    /// For the client's end of a stream that we sent.
    pub drain: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(10),
            first_with_passphrase: Duration::from_secs(20),
            rest: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            write: Duration::from_secs(10),
            ended: Duration::from_secs(10),
            drain: Duration::from_secs(20),
        }
    }
}

impl Deadlines {
    /// All of them cut to `limit` where they are longer.
    fn at_most(limit: Duration) -> Self {
        let Self { first, first_with_passphrase, rest, idle, write, ended, drain } = Self::default();
        Self {
            first: first.min(limit),
            first_with_passphrase: first_with_passphrase.min(limit),
            rest: rest.min(limit),
            idle: idle.min(limit),
            write: write.min(limit),
            ended: ended.min(limit),
            drain: drain.min(limit),
        }
    }
}

/// Where the passphrase is that every session has to open with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PassphraseIn {
    /// `--passphrase-file`: in this file.
    File(PathBuf),
    /// `-Z`: here.
    Word(Passphrase),
}

/// What netserver was asked to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NetserverOptions {
    /// `-D`: stay in the foreground.
    pub foreground: bool,
    /// `-d`, counted: more to log.
    pub debug: u32,
    /// `-f`: one session at a time.
    pub serial: bool,
    /// `-L`: the host to listen on, as written.
    pub host: Option<String>,
    /// `-4`, `-6`, or the second half of `-L`.
    pub family: Family,
    /// `-N`: log errors only.
    pub quiet: bool,
    /// `-p`: the control port as written; `None` is 12865.
    pub port: Option<String>,
    /// `-Z` or `--passphrase-file`.
    pub passphrase: Option<PassphraseIn>,
    /// Who may do what, and how much of it.
    pub policy: Policy,
    /// `--cores`: where data workers run unless the peer asks for a core.
    pub cores: Vec<usize>,
    /// `--engine`: the backend of data workers; also whether the control plane may use io_uring.
    pub engine: EngineChoice,
    /// `--without`: what data workers do without.
    pub without: Without,
    /// `--pid-file`: where the number of the process that serves is written.
    pub pid_file: Option<PathBuf>,
    /// The child half of a start in the background.
    pub background_child: bool,
    /// End when standard input does, so that whoever started this netserver cannot leave it behind.
    pub exit_with_stdin: bool,
    /// Waits; shortened by tests.
    pub deadlines: Deadlines,
}

/// What the words amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Netserver {
    /// `--help`: usage on standard output, exit 0.
    Help,
    /// Serve.
    Serve(Box<NetserverOptions>),
    /// `-h` or words that make no sense: this complaint if there is one, and the usage, on standard error;
    /// exit 1.
    Usage(Option<String>),
    /// `-V`.
    Version,
}

impl Netserver {
    /// Reads the words after the program's name.
    pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Self {
        let mut parser = lexopt::Parser::from_args(words);
        let mut options = NetserverOptions::default();
        loop {
            let word = match parser.next() {
                Ok(Some(word)) => word.into_owned(),
                Ok(None) => match policy::check(&options) {
                    Ok(()) => return Self::Serve(Box::new(options)),
                    Err(complaint) => return Self::Usage(Some(complaint)),
                },
                Err(error) => return Self::Usage(Some(format!("netserver: {error}"))),
            };
            match options.take(&word, &mut parser) {
                Ok(None) => {}
                Ok(Some(other)) => return other,
                Err(complaint) => return Self::Usage(Some(complaint)),
            }
        }
    }
}

/// A [`lexopt::Arg`] that no longer borrows from its parser, so that the option's value can be asked for.
enum Word {
    Long(String),
    Short(char),
    Stray,
}

trait IntoWord {
    fn into_owned(self) -> Word;
}

impl IntoWord for Arg<'_> {
    fn into_owned(self) -> Word {
        match self {
            Arg::Long(name) => Word::Long(name.to_owned()),
            Arg::Short(letter) => Word::Short(letter),
            Arg::Value(_) => Word::Stray,
        }
    }
}

impl NetserverOptions {
    /// Takes one option, and its value where it has one. `Ok(Some(_))` ends the reading.
    fn take(&mut self, word: &Word, parser: &mut lexopt::Parser) -> Result<Option<Netserver>, String> {
        match word {
            Word::Short(letter) => match letter {
                '4' => self.family = Family::V4,
                '6' => self.family = Family::V6,
                'D' => self.foreground = true,
                'd' => self.debug += 1,
                'f' => self.serial = true,
                'h' => return Ok(Some(Netserver::Usage(None))),
                'L' => self.listen_on(&letter_value(parser, 'L')?)?,
                'N' => self.quiet = true,
                'n' | 'v' => drop(letter_value(parser, *letter)?),
                'p' => self.port = Some(letter_value(parser, 'p')?),
                'V' => return Ok(Some(Netserver::Version)),
                'Z' => {
                    self.passphrase = Some(PassphraseIn::Word(passphrase(&letter_value(parser, 'Z')?)?));
                }
                other => return Err(format!("netserver: invalid option -- '{other}'")),
            },
            Word::Long(name) => match name.as_str() {
                "background-child" => self.background_child = true,
                "cores" => {
                    let list = long_value(parser, "cores")?;
                    self.cores = cores::parse(&list)
                        .map_err(|complaint| format!("netserver: --cores: {complaint}"))?;
                }
                "deadline-ms" => {
                    let limit = number(&long_value(parser, "deadline-ms")?, "deadline-ms")?;
                    self.deadlines = Deadlines::at_most(Duration::from_millis(limit));
                }
                "engine" => self.engine = engine(&long_value(parser, "engine")?)?,
                "exit-with-stdin" => self.exit_with_stdin = true,
                "help" => return Ok(Some(Netserver::Help)),
                "passphrase-file" => {
                    self.passphrase = Some(PassphraseIn::File(long_value(parser, "passphrase-file")?.into()));
                }
                "pid-file" => self.pid_file = Some(pid_file(parser)?),
                "without" => without::add(&mut self.without, &long_value(parser, "without")?)
                    .map_err(|complaint| format!("netserver: --without: {complaint}"))?,
                other => match self.policy.take(other, &mut || long_value(parser, other)) {
                    Some(taken) => taken?,
                    None => return Err(format!("netserver: unrecognized option '--{other}'")),
                },
            },
            // netserver has no operands and passes over those it is given.
            Word::Stray => {}
        }
        Ok(None)
    }

    /// `-L host[,family]`: a comma with nothing before it sets the family only.
    fn listen_on(&mut self, text: &str) -> Result<(), String> {
        let (host, family) = text.split_once(',').map_or((text, None), |(host, family)| (host, Some(family)));
        if !host.is_empty() {
            self.host = Some(host.to_owned());
        }
        // netperf looks for parts of words, in this order, so that `inet6` is not `inet`.
        match family {
            None | Some("") => {}
            Some(word) if word.contains('6') => self.family = Family::V6,
            Some(word) if word.contains("inet") || word.contains('4') => self.family = Family::V4,
            Some(word) if word.contains("unspec") || word.contains('0') => self.family = Family::Any,
            Some(other) => {
                return Err(format!("netserver: '{other}' is no address family: it may be 4 or 6"));
            }
        }
        Ok(())
    }
}

fn letter_value(parser: &mut lexopt::Parser, letter: char) -> Result<String, String> {
    let value =
        parser.value().map_err(|_| format!("netserver: option requires an argument -- '{letter}'"))?;
    value.into_string().map_err(|_| format!("netserver: the argument of -{letter} is not text"))
}

fn passphrase(text: &str) -> Result<Passphrase, String> {
    Passphrase::new(text.as_bytes())
        .ok_or_else(|| format!("netserver: -Z takes 1 to {PASSPHRASE_BYTES_MAX} bytes, not {}", text.len()))
}

/// Made absolute here, for a netserver in the background has another folder.
fn pid_file(parser: &mut lexopt::Parser) -> Result<PathBuf, String> {
    let file =
        parser.value().map_err(|_| "netserver: option '--pid-file' requires an argument".to_owned())?;
    std::path::absolute(file).map_err(|error| format!("netserver: --pid-file: {error}"))
}

fn long_value(parser: &mut lexopt::Parser, name: &str) -> Result<String, String> {
    let value = parser.value().map_err(|_| format!("netserver: option '--{name}' requires an argument"))?;
    value.into_string().map_err(|_| format!("netserver: the argument of --{name} is not text"))
}

fn number<N: std::str::FromStr>(text: &str, name: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("netserver: --{name} takes a number, not '{text}'"))
}

fn engine(text: &str) -> Result<EngineChoice, String> {
    match text {
        "auto" => Ok(EngineChoice::Auto),
        "classic" => Ok(EngineChoice::Classic),
        "epoll" => Ok(EngineChoice::Epoll),
        "uring" => Ok(EngineChoice::Uring),
        other => Err(format!("netserver: --engine takes auto, uring, epoll or classic, not '{other}'")),
    }
}
