//! Integration tests of the command: over loopback, against stock netperf, and of the repository's own rules.

mod faults;
mod netserver;
mod support;
