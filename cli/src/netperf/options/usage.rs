//! Usage texts of netperf's two option sets, made from the tables that drive the reading.
//!
//! The words are our own; stream and exit code are netperf's and the callers' business.

use std::fmt::Write as _;

use super::getopt::{Argument, Entry};
use super::{Scan, global, omni, sockets};

/// Rules of arguments with a comma, for both sets.
const PAIRS: &str = "\
Of an argument x[,y], `x,` and `,y` set one half and leave the other as it is; a
lone x sets both halves, but only the first where the option is marked *.
Numbers may end in K, M, G (powers of 1024) or k, m, g (powers of 1000).
";

/// The tests by what they move.
const TESTS: &str = "\
Tests:
  TCP_STREAM, UDP_STREAM                 a stream to the netserver
  TCP_SENDFILE                           the same out of a file
  TCP_MAERTS                             a stream from the netserver
  TCP_RR, UDP_RR                         requests and responses
  TCP_CRR, TCP_CC                        a connection for each, or nothing else
  OMNI                                   any of these, by its own options
  TCP_MSS, LOC_CPU, REM_CPU, UUID        a single fact
";

/// Options for which a lone value means the first half only.
const GLOBAL_FIRST: &[u8] = b"bDFHLpw";
const TEST_FIRST: &[u8] = b"HLmM";
const SOCKETS_FIRST: &[u8] = b"HL";

/// Usage of the global options, after an empty line.
pub(super) fn global() -> String {
    format!(
        "\nUsage: netperf [options] [-- test options]\n\n\
         Measures a network with a netserver at its other end.\n\n\
         {}\n{PAIRS}\n{TESTS}\n`netperf -t TEST -- -h` lists the options of a test.\n",
        list(global::TABLE, GLOBAL_FIRST)
    )
}

/// Usage of the options of OMNI and of the tests that run on it, after an empty line.
pub(super) fn omni() -> String {
    format!(
        "\nUsage: netperf [options] -- [test options]\n\n\
         Options of OMNI, TCP_STREAM, TCP_MAERTS, TCP_RR, TCP_CRR, UDP_STREAM and UDP_RR:\n\n\
         {}\n{PAIRS}",
        list(omni::TABLE, TEST_FIRST)
    )
}

/// Usage of the options of the tests with code of their own, after an empty line.
pub(super) fn sockets() -> String {
    format!(
        "\nUsage: netperf [options] -- [test options]\n\n\
         Options of TCP_SENDFILE, TCP_CC and TCP_MSS:\n\n\
         {}\n{PAIRS}",
        list(sockets::TABLE, SOCKETS_FIRST)
    )
}

/// One line for each option: letter, argument, meaning.
fn list(table: &[Entry<Scan>], first: &[u8]) -> String {
    let mut text = String::new();
    for entry in table {
        let letter = char::from(entry.letter);
        let argument = match entry.argument {
            Argument::None => String::new(),
            Argument::Required(name) => format!(" {name}"),
            Argument::Digits(name) | Argument::Word(name) => format!(" [{name}]"),
        };
        let mark = if first.contains(&entry.letter) { " *" } else { "" };
        let left = format!("-{letter}{argument}{mark}");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {left:<22} {}", entry.meaning);
    }
    text
}
