//! The command line of the soak.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Options {
    /// cargo bench says so; cargo test does not.
    pub(super) measure: bool,
    /// This copy is in a network namespace of its own already.
    pub(super) alone: bool,
    /// How long.
    pub(super) length: Duration,
    /// Clients at once.
    pub(super) workers: usize,
    /// Where the choice of what comes next begins.
    pub(super) seed: u64,
    /// Engine of the netserver.
    pub(super) engine: String,
    /// Folders with netperf, before those on the path.
    pub(super) peers: Vec<PathBuf>,
    /// File for every sample.
    pub(super) samples: Option<PathBuf>,
    /// How it is used, and nothing else.
    pub(super) help: bool,
}

/// The word that marks a copy in a namespace of its own.
pub(super) const ALONE: &str = "--alone";

/// Longest soak in minutes: a week.
const MINUTES_MAX: f64 = 10_080.0;
/// Most clients at once: each is a process.
const WORKERS_MAX: usize = 64;

/// How it is used.
pub(super) const USAGE: &str = "\
Usage: cargo bench -p ringperf-benches --bench soak -- [options]

Starts a netserver, mixes tests, broken clients and aborts for a time, watches what the netserver holds, and
prints a Markdown table with verdicts. Ends with 1 where one of them is not met, with 3 where it could not be
done, with 130 on Ctrl-C.

  --minutes N       how long (60)
  --workers N       clients at once (4)
  --seed N          where the choice of what comes next begins (1)
  --engine NAME     engine of the netserver: auto, uring, epoll or classic (auto)
  --peers DIR...    folders with netperf, before those on PATH
  --samples FILE    every sample as CSV
  --help            print this text

As root it runs in a network namespace of its own. Elsewhere it leaves out tests with a connection for each
transaction, which fill the table of connections of a host with packet filters.
";

impl Default for Options {
    fn default() -> Self {
        Self {
            measure: false,
            alone: false,
            length: Duration::from_secs(3600),
            workers: 4,
            seed: 1,
            engine: "auto".to_owned(),
            peers: Vec::new(),
            samples: None,
            help: false,
        }
    }
}

impl Options {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    /// What makes no sense, in a sentence.
    pub(super) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        use lexopt::prelude::*;
        let mut options = Self::default();
        let mut parser = lexopt::Parser::from_args(words);
        let said = |error: lexopt::Error| error.to_string();
        while let Some(word) = parser.next().map_err(said)? {
            match word {
                Long("alone") => options.alone = true,
                Long("bench") => options.measure = true,
                Long("engine") => options.engine = parser.value().and_then(|v| v.parse()).map_err(said)?,
                Long("help") | Short('h') => options.help = true,
                Long("minutes") => {
                    let minutes: f64 = parser.value().and_then(|value| value.parse()).map_err(said)?;
                    if !(0.1..=MINUTES_MAX).contains(&minutes) {
                        return Err(format!("--minutes takes 0.1 to {MINUTES_MAX}"));
                    }
                    options.length = Duration::from_secs_f64(minutes * 60.0);
                }
                Long("peers") => options.peers.extend(parser.values().map_err(said)?.map(PathBuf::from)),
                Long("samples") => options.samples = Some(parser.value().map_err(said)?.into()),
                Long("seed") => options.seed = parser.value().and_then(|v| v.parse()).map_err(said)?,
                Long("workers") => {
                    options.workers = parser.value().and_then(|value| value.parse()).map_err(said)?;
                    if !(1..=WORKERS_MAX).contains(&options.workers) {
                        return Err(format!("--workers takes 1 to {WORKERS_MAX}"));
                    }
                }
                other => return Err(other.unexpected().to_string()),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        Options::parse(text.split_whitespace().map(OsString::from))
    }

    #[test]
    fn words_become_options() {
        let options = parse("--minutes 1.5 --workers 3 --seed 9 --engine epoll --samples a --bench").unwrap();
        assert!(options.measure && !options.alone);
        assert_eq!((options.length, options.workers, options.seed), (Duration::from_secs(90), 3, 9));
        assert_eq!((options.engine.as_str(), options.samples), ("epoll", Some(PathBuf::from("a"))));
        assert_eq!(parse("").unwrap(), Options::default());
        assert!(parse(ALONE).unwrap().alone);
    }

    #[test]
    fn nonsense_is_refused() {
        for words in ["--minutes 0", "--minutes x", "--minutes NaN", "--workers 0", "--workers 65", "x"] {
            assert!(parse(words).is_err(), "{words}");
        }
    }
}
