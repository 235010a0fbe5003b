//! `ringperf sweep` and `ringperf compare` over real measurements, and what survives every way of ending.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value as Json;

use crate::interop::{Link, SERVER};
use crate::support::{RINGPERF, await_that, run, signal};

const LIMIT: Duration = Duration::from_secs(120);

/// A store of a test's own, gone with its handle.
pub(crate) struct TestStore(PathBuf);

impl TestStore {
    pub(crate) fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the target folder can be written to");
        Self(folder)
    }

    pub(crate) fn path(&self) -> String {
        self.file("results.db")
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("its name is text").to_owned()
    }

    /// Numbers of the points with a result, and when they ended.
    fn finished(&self) -> Vec<(i64, String)> {
        let db = Connection::open_with_flags(self.path(), OpenFlags::SQLITE_OPEN_READ_WRITE)
            .expect("the store opens");
        let check: String = db.query_row("PRAGMA integrity_check", (), |row| row.get(0)).expect("is checked");
        assert_eq!(check, "ok");
        let mut statement = db
            .prepare("SELECT id, ended FROM point JOIN record ON point = id WHERE state = 'done' ORDER BY id")
            .expect("the tables are there");
        let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).expect("is read");
        rows.collect::<Result<_, _>>().expect("is read")
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Exit code, standard output and standard error.
pub(crate) fn ringperf(words: &[&str]) -> (i32, String, String) {
    let out = run(Path::new(RINGPERF), words, LIMIT);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("is text");
    (out.status.code().expect("it ends by itself"), text(out.stdout), text(out.stderr))
}

fn json(words: &[&str]) -> Json {
    let (code, out, err) = ringperf(words);
    assert_eq!(code, 0, "{words:?}: {out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

/// A sweep in the background, whose output nobody reads.
fn start(words: &[&str]) -> std::process::Child {
    let mut command = Command::new(RINGPERF);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.process_group(0).spawn().expect("it starts")
}

/// Eight points of a second, of which a few are measured when this returns.
fn begun(store: &TestStore) -> std::process::Child {
    let path = store.path();
    let words = ["sweep", "--vary", "message=1K,2K,4K,8K", "--repeat", "2", "--time", "1", "--store", &path];
    let child = start(&words);
    await_that("two points in the store", || Path::new(&path).exists() && points_or_none(&path) >= 2);
    child
}

/// Points with a result; none while the tables are not there yet.
fn points_or_none(path: &str) -> i64 {
    let count = || Connection::open(path)?.query_row("SELECT count(*) FROM record", (), |row| row.get(0));
    count().unwrap_or(0)
}

#[test]
fn every_combination_is_measured_and_told() {
    let store = TestStore::new("combinations");
    let path = store.path();
    let grid = ["--vary", "socket-buffer=64K,256K", "--vary", "flows=1,2", "--interval", "200ms"];
    let swept = json(&[&["sweep", "--time", "1", "--store", &path, "--json"][..], &grid].concat());
    let lines = swept["runs"][0]["lines"].as_array().expect("a list");
    assert_eq!(lines.len(), 4);
    for line in lines {
        assert!(line["goodput_bits_per_second"]["median"].as_f64() > Some(0.0), "{line}");
        assert_eq!((line["results"].as_u64(), line["error"].is_null()), (Some(1), true), "{line}");
    }
    assert_eq!(store.finished().len(), 4);
    let db = Connection::open(&path).expect("opens");
    let samples: i64 = db.query_row("SELECT count(*) FROM sample", (), |row| row.get(0)).expect("is read");
    assert!(samples >= 12, "{samples}");
    let list = json(&["compare", "--list", "--store", &path, "--json"]);
    assert_eq!(
        (&list[0]["state"], &list[0]["done"], &list[0]["points"]),
        (&"done".into(), &4.into(), &4.into())
    );
}

#[test]
fn an_interrupted_sweep_keeps_its_points_and_goes_on_later() {
    let store = TestStore::new("interrupted");
    let mut child = begun(&store);
    signal(child.id(), "INT");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let kept = store.finished();
    assert!(kept.len() >= 2 && kept.len() < 8, "{kept:?}");
    let path = store.path();
    let (code, out, err) = ringperf(&["sweep", "--resume", "--store", &path]);
    assert_eq!(code, 0, "{out}{err}");
    let all = store.finished();
    // What was there is as it was, to the millisecond; nothing was measured twice.
    assert_eq!((all.len(), &all[..kept.len()]), (8, &kept[..]));
    let (code, _, err) = ringperf(&["sweep", "--resume", "--store", &path]);
    assert!(code == 2 && err.contains("no unfinished one"), "{err}");
}

#[test]
fn a_killed_sweep_loses_the_point_it_was_at_and_no_other() {
    let store = TestStore::new("killed");
    let mut child = begun(&store);
    signal(child.id(), "KILL");
    child.wait().expect("it ends");
    let kept = store.finished();
    assert!(kept.len() >= 2, "{kept:?}");
    let path = store.path();
    assert_eq!(ringperf(&["sweep", "--resume", "--store", &path]).0, 0);
    let all = store.finished();
    assert_eq!((all.len(), &all[..kept.len()]), (8, &kept[..]));
}

#[test]
fn a_second_writer_is_refused_and_a_reader_is_not() {
    let store = TestStore::new("writers");
    let mut child = begun(&store);
    let path = store.path();
    let (code, out, err) = ringperf(&["sweep", "--vary", "flows=1,2", "--time", "1", "--store", &path]);
    assert!(code == 6 && out.is_empty() && err.contains("STORE: ") && err.contains("fuser"), "{out}{err}");
    assert_eq!(ringperf(&["compare", "--list", "--store", &path]).0, 0);
    signal(child.id(), "INT");
    child.wait().expect("it ends");
}

#[test]
fn points_that_fail_are_noted_and_three_in_a_row_end_the_sweep() {
    let store = TestStore::new("failing");
    let path = store.path();
    // Nothing listens on a port that was just free.
    let port = crate::support::free_port().to_string();
    let words = ["sweep", "--vary", "flows=1..9:1", "-H", "127.0.0.1", "--port", &port, "--store", &path];
    let (code, out, err) = ringperf(&words);
    assert_eq!(code, 4, "{out}{err}");
    assert!(
        out.contains("and 5 that are still to be measured") && err.contains("ECONNREFUSED"),
        "{out}{err}"
    );
}

#[test]
fn what_cannot_be_swept_is_refused_before_anything_is_measured() {
    let store = TestStore::new("refused");
    let path = store.path();
    for (words, named) in [
        (&["--vary", "message=1..9:1", "--vary", "message=20"][..], "varies twice"),
        (&[][..], "nothing varies"),
        (&["udp-stream", "--vary", "message=1K,128K"][..], "datagram"),
        (&["--vary", "message=100..50:1"][..], "empty"),
        (&["--vary", "speed=1"][..], "cannot be varied"),
        (&["--resume", "--vary", "flows=1"][..], "--vary"),
    ] {
        let (code, out, err) = ringperf(&[&["sweep", "--store", &path][..], words].concat());
        assert!(code == 2 && out.is_empty() && err.contains(named), "{words:?}: {code} {err}");
    }
    assert!(!Path::new(&path).exists());
}

/// Room for the tables and a few records of some kilobytes each, in the file and in its log.
const SMALL_DISK: &str = "400k";

#[test]
fn a_full_disk_loses_no_point_that_is_measured() {
    let test = "a_full_disk_loses_no_point_that_is_measured";
    let store = TestStore::new("full");
    let (disk, kept) = (store.file("disk"), store.path());
    std::fs::create_dir_all(&disk).expect("can be made");
    // The disk goes with the namespace, so what is on it is copied out at the end.
    let script = format!(
        "mount -t tmpfs -o size={SMALL_DISK} tmpfs {disk} || exit 99
         {RINGPERF} sweep --vary message=1K..200K:1K --bytes 1M --store {disk}/results.db
         code=$?; for end in '' -wal; do cp {disk}/results.db$end {kept}$end; done; exit $code"
    );
    let out = run(Path::new("unshare"), &["--mount", "sh", "-c", &script], LIMIT);
    let (text, err) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    if out.status.code() == Some(99) || err.contains("unshare failed") {
        return crate::support::skip(test, "root", "a small disk cannot be mounted here");
    }
    assert_eq!(out.status.code(), Some(6), "{text}{err}");
    assert!(err.contains("STORE: cannot store the result") && err.contains("df -h"), "{err}");
    let unsaved: Json = serde_json::from_str(text.lines().next().expect("a line")).expect("is a record");
    assert_eq!(unsaved["result"]["bytes_received"].as_u64(), unsaved["result"]["bytes_sent"].as_u64());
    assert!(store.finished().len() > 2);
}

#[test]
fn stock_netserver_is_swept_as_ours_is() {
    let test = "stock_netserver_is_swept_as_ours_is";
    let Some(netserver) = crate::support::stock("netserver", test) else { return };
    let Some(link) = Link::new("swept") else { return };
    let store = TestStore::new("stock");
    let path = store.path();
    let _netserver = link.serve(&netserver, &["-D", "-4"]);
    let grid = ["--vary", "socket-buffer=16K,64K", "--time", "1", "--remote-data-port", "12866"];
    for test in ["tcp-stream", "udp-stream"] {
        let words = ["sweep", test, "-H", SERVER, "--tag", "stock", "--store", &path];
        link.run_client(Path::new(RINGPERF), &[&words[..], &grid].concat());
    }
    assert_eq!(store.finished().len(), 4);
    let told = json(&["compare", "stock", "stock", "--store", &path, "--json"]);
    let families = told["families"].as_array().expect("a list");
    assert_eq!(families.len(), 3, "goodput of both, and the okay rate: {told}");
    for family in families {
        assert_eq!(family["stretches"][0]["ranking"][1]["verdict"], "tie", "{family}");
    }
}

/// Sweeps from one namespace to another, through a token bucket of this rate.
fn shaped(link: &Link, store: &str, tag: &str, rate: &str) {
    link.shape(rate);
    let grid = ["--vary", "message=16K,64K,256K", "--repeat", "3", "--time", "1"];
    let words = ["sweep", "tcp-stream", "-H", SERVER, "--tag", tag, "--store", store];
    link.run_client(Path::new(RINGPERF), &[&words[..], &grid].concat());
}

#[test]
fn a_planted_difference_is_found_and_equals_tie() {
    let Some(link) = Link::new("planted") else { return };
    let store = TestStore::new("planted");
    let path = store.path();
    let _netserver = link.serve(Path::new(RINGPERF), &["netserver", "-D", "-4"]);
    for (tag, rate) in [("one", "40mbit"), ("slower", "25mbit"), ("two", "40mbit")] {
        shaped(&link, &path, tag, rate);
    }
    let told = json(&["compare", "one", "slower", "two", "--store", &path, "--json"]);
    let ranking = told["families"][0]["stretches"][0]["ranking"].as_array().expect("a list");
    let of = |name: &str| ranking.iter().find(|rank| rank["name"] == name).expect("is ranked");
    assert_eq!(
        (&of("slower")["verdict"], &of("slower")["place"]),
        (&"worse".into(), &3.into()),
        "{ranking:?}"
    );
    let mean = of("slower")["difference"]["mean"].as_f64().expect("a number");
    assert!((-0.45..-0.3).contains(&mean), "25 of 40: {mean}");
    assert_eq!((&of("two")["verdict"], &of("two")["place"]), (&"tie".into(), &1.into()), "{ranking:?}");
    let (_, text, _) = ringperf(&["compare", "one", "slower", "two", "--store", &path]);
    assert!(text.contains("tie with one") && text.contains("worse than one"), "{text}");
}

#[test]
fn comparisons_of_what_is_not_there_are_refused() {
    let store = TestStore::new("nothing");
    let path = store.path();
    let (code, _, err) = ringperf(&["compare", "a", "b", "--store", &path]);
    assert!(code == 6 && err.contains("there is no such file"), "{err}");
    json(&["sweep", "--vary", "flows=1,2", "--time", "1", "--tag", "a", "--store", &path, "--json"]);
    let (code, _, err) = ringperf(&["compare", "a", "b", "--store", &path]);
    assert!(code == 2 && err.contains("results of a"), "{err}");
    let (code, _, err) = ringperf(&["compare", "a", "#1", "--range", "message=0..5", "--store", &path]);
    assert!(code == 2 && err.contains("nothing is compared over message"), "{err}");
    let told = json(&["compare", "a", "#1", "--range", "flows=0..2", "--store", &path, "--json"]);
    let stretches = told["families"][0]["stretches"].as_array().expect("a list");
    assert_eq!(stretches.len(), 2);
    let rank = &stretches[1]["ranking"][1];
    assert!(rank["text"].as_str().is_some_and(|text| text.contains("one point")), "{rank}");
}
