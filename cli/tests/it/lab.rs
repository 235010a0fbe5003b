//! `ringperf lab`: environments and sweeps of a file, kept, compared and reported.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value as Json;

use crate::support::{RINGPERF, run, skip};
use crate::sweep::{TestStore, ringperf};

/// Longest lab of these tests, its image included.
const LIMIT: Duration = Duration::from_secs(300);

/// A lab of two environments and two short sweeps.
const LAB: &str = r#"
name = "small"
base = "host"

[[environment]]
name = "host"
kind = "host"

[[environment]]
name = "box"
kind = "container"
data-port = 12966

[[sweep]]
options = ["tcp-stream", "--vary", "message=16K,64K", "--time", "1", "--repeat", "2"]

[[sweep]]
options = ["udp-stream", "--vary", "message=256,1K", "--time", "1", "--rate", "50M"]
"#;

/// A store with the lab's file beside it.
fn lab(test: &str, text: &str) -> (TestStore, String) {
    let store = TestStore::new(test);
    let file = store.file("lab.toml");
    std::fs::write(&file, text).expect("can be written");
    (store, file)
}

fn docker(test: &str) -> bool {
    let asked = Command::new("docker").arg("info").output();
    let up = asked.is_ok_and(|asked| asked.status.success());
    if !up {
        skip(test, "docker", "docker info does not answer");
    }
    up
}

#[test]
fn a_lab_with_docker_ends_in_its_report_and_leaves_nothing_running() {
    if !docker("a_lab_with_docker_ends_in_its_report_and_leaves_nothing_running") {
        return;
    }
    let (store, file) = lab("lab", LAB);
    let (path, report, state) = (store.path(), store.file("small.html"), store.file("state"));
    let words = ["RINGPERF_STATE_DIR=".to_owned() + &state, RINGPERF.to_owned(), "lab".to_owned(), file];
    let options = ["--store", &path, "--report", &report, "--json"];
    let words: Vec<&str> = words.iter().map(String::as_str).chain(options).collect();
    let out = run(Path::new("env"), &words, LIMIT);
    let (text, err) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{text}{err}");
    let told: Json = serde_json::from_str(&text).expect("is JSON");
    let runs = told["runs"].as_array().expect("a list");
    assert_eq!(runs.len(), 4);
    for run in runs {
        assert_eq!((&run["state"], &run["done"]), (&"done".into(), &run["points"]), "{run}");
    }
    let facts = &runs[3]["target"]["environment"]["facts"];
    assert!(facts["image"]["size_bytes"].as_u64() > Some(0) && facts["ready_ms"].is_u64(), "{facts}");
    let families = told["comparison"]["families"].as_array().expect("a list");
    let names: Vec<&Json> = families.iter().map(|family| &family["figure"]).collect();
    assert_eq!(names, ["goodput", "goodput", "okay-rate"]);
    for family in families {
        assert_eq!(family["curves"][1]["points"].as_array().map(Vec::len), Some(2), "{family}");
    }
    let page = std::fs::read_to_string(&report).expect("the report is there");
    assert!(page.contains("<svg") && page.contains("box"));
    let left = Command::new("docker").args(["ps", "-aq", "--filter", "label=ringperf.owner"]).output();
    let left = String::from_utf8_lossy(&left.expect("docker runs").stdout).into_owned();
    // Other tests have containers of their own, whose owners run.
    let (code, listed, _) = ringperf(&["env", "list", "--json"]);
    assert!(code == 0 && !listed.contains("\"owner_alive\":false"), "{left}{listed}");
}

#[test]
fn an_environment_that_cannot_be_had_is_noted_and_the_others_go_on() {
    let (store, file) = lab("lab-alone", LAB);
    let (path, report) = (store.path(), store.file("small.html"));
    // A PATH without docker.
    let empty = store.file("empty");
    std::fs::create_dir_all(&empty).expect("can be made");
    let path_variable = format!("PATH={empty}");
    let words = [&path_variable, RINGPERF, "lab", &file, "--store", &path, "--report", &report];
    let out = run(Path::new("/usr/bin/env"), &words, LIMIT);
    let (text, err) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(3), "{text}{err}");
    assert!(err.contains("goes on without box") && err.contains("install Docker Engine"), "{err}");
    assert!(text.contains("host tcp_stream: 4 of 4 points"), "{text}");
    assert!(text.contains("box tcp_stream: 0 of 4 points"), "{text}");
    let page = std::fs::read_to_string(&report).expect("the report is there");
    assert!(page.contains("host"));
}

#[test]
fn an_interrupted_lab_goes_on_where_it_was() {
    let text = LAB.replace("\"container\"\ndata-port = 12966", "\"host\"");
    let (store, file) = lab("lab-resumed", &text);
    let (path, report) = (store.path(), store.file("small.html"));
    let words = ["-s", "INT", "4", RINGPERF, "lab", &file, "--store", &path, "--report", &report];
    let out = run(Path::new("timeout"), &[&["--preserve-status"], &words[..]].concat(), LIMIT);
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(130), "{text}");
    assert!(text.contains("--resume") && !Path::new(&report).exists(), "{text}");
    let (code, text, err) = ringperf(&["lab", &file, "--resume", "--store", &path, "--report", &report]);
    assert_eq!(code, 0, "{text}{err}");
    for line in ["host tcp_stream: 4 of 4", "box tcp_stream: 4 of 4", "box udp_stream: 2 of 2"] {
        assert!(text.contains(line), "{text}");
    }
    assert!(Path::new(&report).exists());
    // Another form of the same lab is not what was begun.
    let (code, _, err) = ringperf(&["lab", &file, "--quick", "--resume", "--store", &path]);
    assert!(code == 2 && err.contains("another form"), "{err}");
}

#[test]
fn files_that_make_no_sense_are_refused() {
    let (store, file) = lab("lab-nonsense", &LAB.replace("kind = \"host\"", "kind = \"cloud\""));
    let path = store.path();
    let (code, out, err) = ringperf(&["lab", &file, "--store", &path]);
    assert!(code == 2 && out.is_empty() && err.contains("cloud"), "{err}");
    let (code, _, err) = ringperf(&["lab", "/no/such/lab.toml", "--store", &path]);
    assert!(code == 2 && err.contains("ENOENT"), "{err}");
    assert!(!Path::new(&path).exists());
}
