//! flent itself, which starts several netperfs at once, reads their interim results and keeps what it read:
//! its data files have to hold points.
//!
//! flent finds netperf by PATH. There it finds what `ringperf shims` has made.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::LOOPBACK;
use crate::netperf::{Maker, Pair, Server, netperf_words};
use crate::support::{RINGPERF, run, skip};

harnesses! {
    a_stream_up
    a_stream_down
    eight_streams_down
    both_ways_and_datagrams_back_and_forth
}

/// Seconds of a test, and between its points.
const LENGTH: f64 = 5.0;
const STEP: f64 = 0.2;

fn a_stream_up(pair: Pair) {
    measure(pair, "tcp_1up_noping", &[("TCP upload", 1)]);
}

fn a_stream_down(pair: Pair) {
    measure(pair, "tcp_1down", &[("TCP download", 1)]);
}

fn eight_streams_down(pair: Pair) {
    measure(pair, "tcp_8down", &[("TCP download", 8)]);
}

fn both_ways_and_datagrams_back_and_forth(pair: Pair) {
    let series = [("TCP upload BE", 4), ("TCP download BE", 4), ("Ping (ms) UDP BE", 3)];
    measure(pair, "rrul_be", &series);
}

/// Runs `test` and looks at its data file: `series` are beginnings of names, and how many have each.
fn measure(pair: Pair, test: &str, series: &[(&str, usize)]) {
    let label = format!("flent {test}, {pair:?}");
    // All of these but tcp_1up_noping send echo requests beside.
    for program in ["flent", "fping", "gzip"] {
        if find(program).is_none() {
            return skip(&label, "flent", &format!("no {program}; it is a package of Debian's"));
        }
    }
    let name = format!("flent-{test}-{:?}-{:?}-{}", pair.client, pair.server, std::process::id());
    let folder = Folder(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
    std::fs::create_dir_all(&folder.0).expect("the build's folder can be written to");
    let path = search_path(pair.client, &folder.0.join("bin"));
    let server = Server::start(pair.server, LOOPBACK, &[]);
    let (length, step, port) = (LENGTH.to_string(), STEP.to_string(), server.port().to_string());
    let data = folder.0.join("data");
    std::fs::create_dir(&data).expect("the folder can be written to");
    let out = run(
        Path::new("env"),
        &[
            &format!("PATH={path}"),
            "flent",
            test,
            "-H",
            "127.0.0.1",
            "-l",
            &length,
            "-s",
            &step,
            "-d",
            "1",
            "--netperf-control-port",
            &port,
            "-D",
            data.to_str().expect("a plain path"),
        ],
        Duration::from_secs(60),
    );
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{label}: {said}");
    // It goes on with a warning where a netperf gave nothing that it can read.
    assert!(!said.contains("WARNING: Program exited non-zero") && !said.contains("no valid data"), "{said}");

    let results = read(&data);
    for (beginning, count) in series {
        let named = results.iter().filter(|(name, _)| {
            let derived = ["avg", "fairness", "sum", "ICMP"].iter().any(|word| name.contains(word));
            name.starts_with(beginning) && !derived
        });
        let named: Vec<&(String, Vec<f64>)> = named.collect();
        assert_eq!(named.len(), *count, "{label}: {beginning} of {:?}", results.iter().map(|(name, _)| name));
        for (name, points) in named {
            // flent interpolates between what netperf printed, and leaves out what it has no value for.
            let expected = LENGTH / STEP;
            assert!(
                points.len() as f64 > expected * 0.7,
                "{label}: {} points of {name}: {said}",
                points.len()
            );
            let mean = points.iter().sum::<f64>() / points.len() as f64;
            assert!(mean > 0.0 && mean.is_finite(), "{label}: {name} is {points:?}");
        }
    }
}

/// The points of every series in the only data file of `folder`.
fn read(folder: &Path) -> Vec<(String, Vec<f64>)> {
    let mut files = std::fs::read_dir(folder).expect("the folder was made");
    let file = files.next().expect("flent writes a file").expect("it can be read").path();
    assert!(file.to_string_lossy().ends_with(".flent.gz") && files.next().is_none(), "{}", file.display());
    let output = Command::new("gzip").arg("-dc").arg(&file).output().expect("gzip starts");
    assert!(output.status.success(), "{output:?}");
    let data: Value = serde_json::from_slice(&output.stdout).expect("a data file is JSON");
    let results = data["results"].as_object().expect("it has results");
    let points = |values: &Value| -> Vec<f64> {
        values.as_array().expect("a series is a list").iter().filter_map(Value::as_f64).collect()
    };
    results.iter().map(|(name, values)| (name.clone(), points(values))).collect()
}

/// PATH with the netperf of `maker` in front, for which `folder` is made.
fn search_path(maker: Maker, folder: &Path) -> String {
    let first = match maker {
        Maker::Ours => {
            let shims = Command::new(RINGPERF).arg("shims").arg(folder).output().expect("it starts");
            assert!(shims.status.success(), "{shims:?}");
            folder.to_owned()
        }
        Maker::Stock => {
            let words = netperf_words(maker);
            Path::new(&words[0]).parent().expect("a program lies in a folder").to_owned()
        }
    };
    let mut folders = vec![first];
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let joined = std::env::join_paths(folders).expect("no folder has a colon");
    joined.into_string().expect("a plain path")
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Gone when dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
