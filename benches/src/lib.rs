//! Benchmarks of ringperf, one target for each question, under `benches/`.
//!
//! `cargo bench -p ringperf-benches --bench NAME` measures; `cargo test` runs each benchmark once on a tiny
//! input. The library holds what they share, and the two that are too large for a file: [`versus`], the
//! comparison with other tools, and [`soak`], which wears a netserver out.
#![allow(clippy::disallowed_methods, reason = "a benchmark ends with whoever runs it")]

mod program;
pub mod soak;
pub mod versus;

/// "median (lowest - highest)" of some figures, with so many digits behind the point.
///
/// # Panics
/// Where there is no figure.
pub fn spread(figures: impl Iterator<Item = f64>, digits: usize) -> String {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let (first, last) = (figures[0], figures[figures.len() - 1]);
    format!("{:.digits$} ({first:.digits$} - {last:.digits$})", figures[figures.len() / 2])
}
