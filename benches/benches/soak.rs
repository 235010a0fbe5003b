//! A netserver under mixed load and abuse for an hour. All of it is in the library, where it is tested:
//! [`ringperf_benches::soak`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ringperf_benches::soak::main(env!("CARGO"))
}
