//! `--without`: both ends of a run go without what was left out, and the record tells.

use serde_json::{Value, json};

use super::assert_is_a_result;
use super::tools::{Run, engines};

/// A second of a stream between two ends without these.
fn without(engine: &str, list: &str) -> Value {
    let done = Run::new(["--time", "1", "--json", "--engine", engine, "--without", list]).done();
    assert_eq!(done.code, Some(0), "{done:?}");
    let record = done.json();
    assert_is_a_result(&record);
    assert_eq!(record["asked"]["without"], json!(list.split(',').collect::<Vec<_>>()), "{record}");
    record
}

#[test]
fn a_receiver_without_a_mark_sets_none() {
    for engine in engines().iter().filter(|engine| engine.option != "classic") {
        let record = without(engine.option, "low-water");
        assert!(record["receiver"]["low_water_bytes"].is_null(), "{record}");
    }
}

#[test]
fn both_rings_go_without_what_was_left_out_and_call_it_no_lack() {
    for engine in engines().iter().filter(|engine| engine.option == "uring") {
        let record = without(engine.option, "bundles,multishot,buffer-ring,registered-files");
        let ours = &record["local_facts"]["uring"];
        assert_eq!(ours["registered_files"], false, "{record}");
        let theirs = record["remote_facts"]["features"].as_array().expect("a list");
        for feature in ["bundles", "multishot", "buffer_ring", "registered_files"] {
            assert!(!theirs.iter().any(|name| name == feature), "{feature}: {record}");
        }
        let lacks = [&record["local_facts"]["degraded"], &record["remote_facts"]["degraded"]];
        assert!(lacks.iter().all(|lacks| lacks.as_array().is_some_and(Vec::is_empty)), "{record}");
    }
}

#[test]
fn a_record_tells_what_was_asked_of_a_sender() {
    let options = ["--time", "1", "--json", "--rate", "2.5G", "--send", "chain"];
    let done = Run::new(options).done();
    assert_eq!(done.code, Some(0), "{done:?}");
    let asked = &done.json()["asked"];
    assert_eq!(
        (&asked["rate_bits_per_second"], &asked["send"]),
        (&json!(2_500_000_000_u64), &json!("chain"))
    );
    assert_eq!((&asked["without"], &asked["gso"], &asked["gro"]), (&json!([]), &json!(false), &json!(false)));
}
