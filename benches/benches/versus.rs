//! ringperf beside netperf, iperf3 and neper. All of it is in the library, where it is tested:
//! [`ringperf_benches::versus`].
#![allow(clippy::disallowed_methods, reason = "a benchmark ends with whoever runs it")]

use std::process::ExitCode;

fn main() -> ExitCode {
    ringperf_benches::versus::main(env!("CARGO"))
}
