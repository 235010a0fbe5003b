//! A few rows of a large grid that hold every pair of values at least once.
//!
//! Knows factors by their number of values only. Greedy, and without chance: the same sizes give the same
//! rows.

use std::collections::BTreeSet;

/// A value of one factor together with a value of a later one.
type Pair = [(usize, usize); 2];

/// Rows of one value for each factor, `sizes[factor]` values each: every pair of values of every two factors
/// stands in at least one of them.
pub(super) fn rows(sizes: &[usize]) -> Vec<Vec<usize>> {
    let mut missing = all_pairs(sizes);
    let mut used: Vec<Vec<usize>> = sizes.iter().map(|size| vec![0; *size]).collect();
    let mut rows = Vec::new();
    while let Some(pair) = missing.first().copied() {
        let mut row: Vec<Option<usize>> = vec![None; sizes.len()];
        for (factor, value) in pair {
            row[factor] = Some(value);
        }
        for factor in 0..sizes.len() {
            if row[factor].is_some() {
                continue;
            }
            // The value that most missing pairs wait for; among equals, the one that was used least.
            let gain = |value: usize| {
                let with = |(other, chosen): (usize, Option<usize>)| {
                    chosen.is_some_and(|chosen| missing.contains(&ordered((factor, value), (other, chosen))))
                };
                row.iter().copied().enumerate().filter(|chosen| with(*chosen)).count()
            };
            let best = (0..sizes[factor]).max_by_key(|value| {
                (gain(*value), std::cmp::Reverse(used[factor][*value]), std::cmp::Reverse(*value))
            });
            row[factor] = Some(best.expect("a factor has values"));
        }
        let row: Vec<usize> = row.into_iter().flatten().collect();
        for pair in pairs_of(&row) {
            missing.remove(&pair);
        }
        for (factor, value) in row.iter().enumerate() {
            used[factor][*value] += 1;
        }
        rows.push(row);
    }
    rows
}

fn ordered(one: (usize, usize), other: (usize, usize)) -> Pair {
    if one.0 < other.0 { [one, other] } else { [other, one] }
}

fn all_pairs(sizes: &[usize]) -> BTreeSet<Pair> {
    let mut pairs = BTreeSet::new();
    for first in 0..sizes.len() {
        for second in first + 1..sizes.len() {
            for value in 0..sizes[first] {
                pairs.extend((0..sizes[second]).map(|other| [(first, value), (second, other)]));
            }
        }
    }
    pairs
}

fn pairs_of(row: &[usize]) -> impl Iterator<Item = Pair> + '_ {
    let values = || row.iter().copied().enumerate();
    values().flat_map(move |one| values().skip(one.0 + 1).map(move |other| [one, other]))
}

#[test]
fn every_pair_stands_in_a_row() {
    for sizes in [&[2, 2, 15, 2, 4][..], &[3, 3, 3, 3], &[1, 5], &[2, 2]] {
        let rows = rows(sizes);
        let held: BTreeSet<Pair> = rows.iter().flat_map(|row| pairs_of(row)).collect();
        assert_eq!(held, all_pairs(sizes), "{sizes:?}");
        // No fewer will do than the two largest factors have pairs; a cover of every row would be none.
        let mut largest = sizes.to_vec();
        largest.sort_unstable_by(|one, other| other.cmp(one));
        let least = largest[0] * largest[1];
        assert!(rows.len() >= least && rows.len() <= least + least / 2 + 1, "{sizes:?}: {}", rows.len());
    }
}
