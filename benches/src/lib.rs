//! Micro-benchmarks of ringperf, one target for each question, under `benches/`.
//!
//! The library is empty. `cargo bench -p ringperf-benches` measures; `cargo test` runs each benchmark once.
