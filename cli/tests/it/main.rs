//! Integration tests of the command: over loopback, against stock netperf, and of the repository's own rules.

mod environment;
mod faults;
mod interop;
mod netperf;
mod netserver;
mod run;
mod shims;
mod support;
mod tidy;
