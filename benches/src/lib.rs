//! Benchmarks of ringperf, one target for each question, under `benches/`.
//!
//! `cargo bench -p ringperf-benches --bench NAME` measures; `cargo test` runs each benchmark once on a tiny
//! input. The library holds the one benchmark that is too large for a file: [`versus`], the comparison with
//! other tools.

pub mod versus;
