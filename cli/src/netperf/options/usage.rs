//! netperf's option sets as people read them, made from the tables that drive the reading: usage texts here,
//! and what a manual page is made of.
//!
//! The words are our own; stream and exit code are netperf's and the callers' business.

use std::fmt::Write as _;

use super::getopt::{Argument, Entry};
use super::{OptionSet, Scan, global, omni, sockets};

/// Rules of arguments with a comma, for all sets.
pub(crate) const PAIRS: &str = "\
Of an argument x[,y], `x,` and `,y` set one half and leave the other as it is; a
lone x sets both halves, but only the first where the option is marked *.
Numbers may end in K, M, G (powers of 1024) or k, m, g (powers of 1000).
";

/// The tests by what they move.
pub(crate) const TESTS: &str = "\
Tests:
  TCP_STREAM, UDP_STREAM                 a stream to the netserver
  TCP_SENDFILE                           the same out of a file
  TCP_MAERTS                             a stream from the netserver
  TCP_RR, UDP_RR                         requests and responses
  TCP_CRR, TCP_CC                        a connection for each, or nothing else
  OMNI                                   any of these, by its own options
  TCP_MSS, LOC_CPU, REM_CPU, UUID        a single fact
";

/// An option to be described.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Described {
    /// `-` and this.
    pub(crate) letter: char,
    /// What follows it.
    pub(crate) argument: Argument,
    /// Whether a lone value of two means the first half only.
    pub(crate) first_half: bool,
    /// What it is good for, in a phrase.
    pub(crate) meaning: &'static str,
}

/// The global options, in the order of their table.
pub(crate) fn global_options() -> impl Iterator<Item = Described> {
    described(global::TABLE, b"bDFHLpw")
}

/// The options of a set, likewise.
pub(crate) fn test_options(set: OptionSet) -> impl Iterator<Item = Described> {
    match set {
        OptionSet::Empty => described(&[], b""),
        OptionSet::Omni => described(omni::TABLE, b"HLmM"),
        OptionSet::Sockets => described(sockets::TABLE, b"HL"),
    }
}

/// The tests that have the options of a set, as a phrase.
pub(crate) fn tests_with(set: OptionSet) -> &'static str {
    match set {
        OptionSet::Empty => "LOC_CPU, REM_CPU and UUID",
        OptionSet::Omni => "OMNI, TCP_STREAM, TCP_MAERTS, TCP_RR, TCP_CRR, UDP_STREAM and UDP_RR",
        OptionSet::Sockets => "TCP_SENDFILE, TCP_CC and TCP_MSS",
    }
}

fn described(table: &'static [Entry<Scan>], first_half: &'static [u8]) -> impl Iterator<Item = Described> {
    table.iter().map(|entry| Described {
        letter: char::from(entry.letter),
        argument: entry.argument,
        first_half: first_half.contains(&entry.letter),
        meaning: entry.meaning,
    })
}

/// Usage of the global options, after an empty line.
pub(super) fn global() -> String {
    format!(
        "\nUsage: netperf [options] [-- test options]\n\n\
         Measures a network with a netserver at its other end.\n\n\
         {}\n{PAIRS}\n{TESTS}\n`netperf -t TEST -- -h` lists the options of a test.\n",
        list(global_options())
    )
}

/// Usage of the options of OMNI and of the tests that run on it, after an empty line.
pub(super) fn omni() -> String {
    format!(
        "\nUsage: netperf [options] -- [test options]\n\n\
         Options of {}:\n\n\
         {}\n{PAIRS}",
        tests_with(OptionSet::Omni),
        list(test_options(OptionSet::Omni))
    )
}

/// Usage of the options of the tests with code of their own, after an empty line.
pub(super) fn sockets() -> String {
    format!(
        "\nUsage: netperf [options] -- [test options]\n\n\
         Options of {}:\n\n\
         {}\n{PAIRS}",
        tests_with(OptionSet::Sockets),
        list(test_options(OptionSet::Sockets))
    )
}

/// One line for each option: letter, argument, meaning.
fn list(options: impl Iterator<Item = Described>) -> String {
    let mut text = String::new();
    for Described { letter, argument, first_half, meaning } in options {
        let argument = match argument {
            Argument::None => String::new(),
            Argument::Required(name) => format!(" {name}"),
            Argument::Digits(name) | Argument::Word(name) => format!(" [{name}]"),
        };
        let mark = if first_half { " *" } else { "" };
        let left = format!("-{letter}{argument}{mark}");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {left:<22} {meaning}");
    }
    text
}
