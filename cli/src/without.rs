//! `--without LIST`: the words for what a run may be told to do without, for every program that takes them.
//!
//! One table for reading and for writing; what a word switches off is the engine's business.

use ringperf_engine::plan::Without;

/// A word of the list, and what it stands for.
struct Feature {
    word: &'static str,
    is_out: fn(&Without) -> bool,
    leave_out: fn(&mut Without),
}

/// A feature by its field in [`Without`].
macro_rules! feature {
    ($word:literal, $field:ident) => {
        Feature { word: $word, is_out: |without| without.$field, leave_out: |without| without.$field = true }
    };
}

/// All of them, in the order in which they are listed.
const FEATURES: &[Feature] = &[
    feature!("low-water", low_water),
    feature!("bundles", bundles),
    feature!("multishot", multishot),
    feature!("buffer-ring", buffer_ring),
    feature!("deferred-task-run", deferred_task_run),
    feature!("registered-files", registered_files),
    feature!("registered-buffers", registered_buffers),
    feature!("minimum-wait", minimum_wait),
    feature!("shared-segments", shared_segments),
];

/// Reads a list: words with commas between.
///
/// # Errors
/// A sentence about the first word that is none of them.
pub(crate) fn parse(list: &str) -> Result<Without, String> {
    let mut without = Without::default();
    add(&mut without, list)?;
    Ok(without)
}

/// Reads a list, and leaves that out, too.
///
/// # Errors
/// As [`parse`]; then nothing more is left out.
pub(crate) fn add(without: &mut Without, list: &str) -> Result<(), String> {
    let features: Vec<&Feature> = list
        .split(',')
        .map(|word| {
            FEATURES.iter().find(|feature| feature.word == word).ok_or_else(|| {
                let all: Vec<&str> = FEATURES.iter().map(|feature| feature.word).collect();
                format!("'{word}' is none of {}", all.join(", "))
            })
        })
        .collect::<Result<_, _>>()?;
    features.iter().for_each(|feature| (feature.leave_out)(without));
    Ok(())
}

/// What is left out, by its words; empty where nothing is.
pub(crate) fn words(without: &Without) -> Vec<&'static str> {
    FEATURES.iter().filter(|feature| (feature.is_out)(without)).map(|feature| feature.word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_is_written() {
        let all: Vec<&str> = FEATURES.iter().map(|feature| feature.word).collect();
        for word in &all {
            assert_eq!(words(&parse(word).expect("a word of the list")), [*word]);
        }
        assert_eq!(words(&parse(&all.join(",")).expect("all words")), all);
        assert_eq!(words(&parse("multishot,low-water").expect("words")), ["low-water", "multishot"]);
        assert!(words(&Without::default()).is_empty());
    }

    #[test]
    fn every_field_has_its_word() {
        // Without `..`, so that a new field asks for its word here.
        let Without {
            bundles,
            multishot,
            buffer_ring,
            deferred_task_run,
            registered_files,
            registered_buffers,
            minimum_wait,
            shared_segments,
            low_water,
        } = FEATURES.iter().fold(Without::default(), |mut without, feature| {
            (feature.leave_out)(&mut without);
            without
        });
        assert!(bundles && multishot && buffer_ring && deferred_task_run && low_water);
        assert!(registered_files && registered_buffers && minimum_wait && shared_segments);
    }

    #[test]
    fn a_wrong_word_is_named_and_changes_nothing() {
        let mut without = Without::default();
        for bad in ["", "bundle", "bundles,", "bundles, multishot", "LOW-WATER"] {
            let complaint = add(&mut without, bad).expect_err(bad);
            assert!(complaint.contains("' is none of low-water, bundles"), "{complaint}");
        }
        assert_eq!(without, Without::default());
    }
}
