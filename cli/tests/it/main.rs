//! Integration tests of the command: over loopback, against stock netperf, and of the repository's own rules.
#![allow(clippy::disallowed_methods, reason = "a test ends with whoever runs it")]

mod environment;
mod faults;
mod harness;
mod hostile;
mod interop;
mod lab;
mod manual;
mod matrix;
mod meaning;
mod netperf;
mod netserver;
mod report;
mod run;
mod service;
mod shims;
mod support;
mod sweep;
mod tidy;
