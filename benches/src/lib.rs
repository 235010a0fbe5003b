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

/// The ways of a comparison, each with its list of results, in the order of this round: each of them is first
/// as often as any other, for to be first may cost something.
pub fn in_turn<'a, W: Copy, R>(
    round: usize,
    ways: &[W],
    results: &'a mut [Vec<R>],
) -> Vec<(W, &'a mut Vec<R>)> {
    let mut turns: Vec<_> = ways.iter().copied().zip(results).collect();
    let first = round % turns.len().max(1);
    turns.rotate_left(first);
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_is_first_in_its_turn_and_has_its_own_results() {
        let mut results = vec![Vec::new(); 3];
        for round in 0..4 {
            for (place, (way, results)) in
                in_turn(round, &['a', 'b', 'c'], &mut results).into_iter().enumerate()
            {
                results.push((way, place));
            }
        }
        assert_eq!(results[0], [('a', 0), ('a', 2), ('a', 1), ('a', 0)]);
        assert_eq!(results[2], [('c', 2), ('c', 1), ('c', 0), ('c', 2)]);
        assert!(in_turn::<char, ()>(1, &[], &mut []).is_empty());
    }
}
