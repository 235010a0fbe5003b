//! Usage texts of netperf's two option sets, made from the tables that drive the reading.
//!
//! The words are our own; stream and exit code are netperf's and the callers' business.

use std::fmt::Write as _;

use super::getopt::{Argument, Entry};
use super::{Scan, global, test};

/// Rules of arguments with a comma, for both sets.
const PAIRS: &str = "\
Of an argument x[,y], `x,` and `,y` set one half and leave the other as it is; a
lone x sets both halves, but only the first where the option is marked *.
Numbers may end in K, M, G (powers of 1024) or k, m, g (powers of 1000).
";

/// Options for which a lone value means the first half only.
const GLOBAL_FIRST: &[u8] = b"bDFHLpw";
const TEST_FIRST: &[u8] = b"HLmM";

/// Usage of the global options, after an empty line.
pub(super) fn global() -> String {
    format!(
        "\nUsage: netperf [options] [-- test options]\n\n\
         Measures a network with a netserver at its other end.\n\n\
         {}\n{PAIRS}\n`netperf -- -h` lists the options of a test.\n",
        list(global::TABLE, GLOBAL_FIRST)
    )
}

/// Usage of the options of stream tests, after an empty line.
pub(super) fn test() -> String {
    format!(
        "\nUsage: netperf [options] -- [test options]\n\n\
         Options of TCP_STREAM, TCP_MAERTS and UDP_STREAM:\n\n\
         {}\n{PAIRS}",
        list(test::TABLE, TEST_FIRST)
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
