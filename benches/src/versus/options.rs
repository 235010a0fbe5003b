//! The command line of the comparison.

use std::ffi::OsString;
use std::path::PathBuf;

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Options {
    /// cargo bench says so; cargo test does not.
    pub(super) measure: bool,
    /// Names of rows; none is all.
    pub(super) rows: Vec<String>,
    /// Rounds.
    pub(super) pairs: Option<usize>,
    /// Length of a run.
    pub(super) seconds: Option<u64>,
    /// Folders of peers, before those on the path.
    pub(super) peers: Vec<PathBuf>,
    /// How it is used, and nothing else.
    pub(super) help: bool,
}

/// Most rounds.
const PAIRS_MAX: usize = 1000;

/// How it is used.
pub(super) const USAGE: &str = "\
Usage: cargo bench -p ringperf-benches --bench versus -- [ROW...] [options]

Compares ringperf with netperf, iperf3 and neper and prints Markdown.

  ROW...          F1 to F12, and F10b; all unless named
  --pairs N       rounds, in each of which every tool has its turn (10)
  --seconds S     length of a run (5 or 10, for F4 60)
  --peers DIR...  folders with peers, before those on PATH
  --help          print this text

Needs root, for cgroups and network namespaces.
";

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
                Long("bench") => options.measure = true,
                Long("pairs") => {
                    let pairs = parser.value().and_then(|value| value.parse()).map_err(said)?;
                    if !(1..=PAIRS_MAX).contains(&pairs) {
                        return Err(format!("--pairs takes 1 to {PAIRS_MAX}"));
                    }
                    options.pairs = Some(pairs);
                }
                Long("seconds") => {
                    let seconds = parser.value().and_then(|value| value.parse()).map_err(said)?;
                    if !(1..=3600).contains(&seconds) {
                        return Err("--seconds takes 1 to 3600".to_owned());
                    }
                    options.seconds = Some(seconds);
                }
                Long("peers") => options.peers.extend(parser.values().map_err(said)?.map(PathBuf::from)),
                Long("help") | Short('h') => options.help = true,
                Value(row) => options.rows.push(row.to_string_lossy().into_owned()),
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
        let options = parse("F1 f3 --pairs 3 --seconds 2 --peers a b --bench").unwrap();
        assert!(options.measure);
        assert_eq!(options.rows, ["F1", "f3"]);
        assert_eq!((options.pairs, options.seconds), (Some(3), Some(2)));
        assert_eq!(options.peers, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!(parse("").unwrap(), Options::default());
    }

    #[test]
    fn nonsense_is_refused() {
        for words in ["--pairs 0", "--pairs x", "--seconds 0", "--peers", "--pairs 1001", "--fast"] {
            assert!(parse(words).is_err(), "{words}");
        }
    }
}
