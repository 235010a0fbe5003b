//! Every file of the fuzzer's corpora, by the functions that the fuzz targets call.
//!
//! An input that made a target crash is a test as soon as it lies in its folder below `proto/fuzz/corpus`.

use std::panic::catch_unwind;
use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "it is a crate of its own where the fuzzer builds it")]
pub(crate) mod drive;

/// Fewer files than this are no corpus.
const FILES_MIN: usize = 10;

fn replay((name, target): drive::Target) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut count = 0;
    for file in files {
        let path = file.expect("the folder can be read").path();
        let data = std::fs::read(&path).expect("the file can be read");
        assert!(catch_unwind(|| target(&data)).is_ok(), "{name} does not survive {}", path.display());
        count += 1;
    }
    assert!(count >= FILES_MIN, "{count} files in {}", folder.display());
}

#[test]
fn every_file_of_the_corpora_is_survived() {
    drive::TARGETS.into_iter().for_each(replay);
}

#[test]
fn every_target_has_inputs_at_hand_that_it_survives() {
    for (_, target) in drive::TARGETS {
        for byte in [0, 1, 6, 7, 97, 255] {
            for length in [0, 1, 2, 655, 656, 657, 3000] {
                target(&vec![byte; length]);
            }
        }
    }
}

#[test]
fn a_script_names_the_words_of_a_frame() {
    let mut frame = ringperf_proto::Frame::request(ringperf_proto::RequestCode::Omni, -1);
    for _ in 0..2 {
        let words = drive::script::words_of(frame.as_bytes());
        let read = drive::script::Script::new(&words).frame().expect("there is one");
        assert!(read == frame);
        frame = ringperf_proto::Frame::zeroed();
    }
}
