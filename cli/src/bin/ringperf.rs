//! The command `ringperf`, and by their names netperf and netserver: all of it is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ringperf::main()
}
