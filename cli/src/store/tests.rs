//! The store against real files: what is kept, and who is let in.

use serde_json::json;

use super::*;
use crate::sweep::grid::{Axis, Point, points};

/// A folder that is gone when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringperf-store-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the folder of temporary files can be written to");
        Self(path)
    }

    fn store(&self) -> PathBuf {
        self.0.join("deep/results.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is the system's to clean.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn grid() -> Vec<Point> {
    points(&[Axis::parse("flows=1,2").expect("is an axis")], 2).expect("few")
}

fn begin(store: &mut Store, tag: &str) -> RunId {
    store
        .begin_run(&NewRun {
            tag,
            test: "tcp_stream",
            plan: json!({ "test": "tcp_stream" }),
            words: &["--tag".to_owned(), tag.to_owned()],
            command: &["ringperf".to_owned(), "sweep".to_owned()],
            target: json!({ "host": null }),
            points: &grid(),
        })
        .expect("the store takes it")
}

#[test]
fn a_run_comes_out_as_it_went_in() {
    let folder = Folder::new("whole");
    let mut store = Store::write(&folder.store()).expect("opens");
    let run = begin(&mut store, "here");
    let found = store.points(run).expect("are there");
    let settings: Vec<Point> =
        found.iter().map(|row| Point { setting: row.setting.clone(), repetition: row.repetition }).collect();
    assert_eq!(settings, grid());
    assert!(found.iter().all(|row| row.record.is_none() && row.error.is_none()));
    let failure = Failure::new(Class::Peer, "measure", "gone").to_json();
    store.fail_point(found[1].id, &failure).expect("is noted");
    store.set_state(run, State::Interrupted).expect("is noted");
    drop(store);
    let store = Store::read(&folder.store()).expect("opens");
    let runs = store.runs().expect("are there");
    assert_eq!((runs.len(), runs[0].state, runs[0].done, runs[0].points), (1, State::Interrupted, 0, 4));
    assert_eq!((runs[0].tag.as_str(), runs[0].words.len()), ("here", 2));
    assert!(runs[0].machine["kernel"].is_string());
    let error = store.points(run).expect("are there").remove(1).error.expect("was noted");
    assert_eq!(error["text"], "cannot measure: gone");
}

#[test]
fn one_writes_and_others_read_meanwhile() {
    let folder = Folder::new("writers");
    let mut store = Store::write(&folder.store()).expect("opens");
    begin(&mut store, "first");
    let refused = Store::write(&folder.store()).err().expect("is refused");
    assert_eq!((refused.class().exit_code(), refused.class()), (6, Class::Store));
    let reader = Store::read(&folder.store()).expect("opens");
    assert_eq!(reader.runs().expect("are there").len(), 1);
    begin(&mut store, "second");
    assert_eq!(reader.runs().expect("are there").len(), 2);
    drop(store);
    Store::write(&folder.store()).expect("the next one may");
}

#[test]
fn the_latest_run_that_lacks_points_is_found() {
    let folder = Folder::new("latest");
    let mut store = Store::write(&folder.store()).expect("opens");
    let (one, two) = (begin(&mut store, "one"), begin(&mut store, "two"));
    let found = |store: &Store, tag| store.latest_unfinished(tag).expect("is asked").map(|row| row.id);
    assert_eq!(found(&store, None), Some(two));
    assert_eq!(found(&store, Some("one")), Some(one));
    assert_eq!(found(&store, Some("three")), None);
}

#[test]
fn other_files_are_refused_and_left_alone() {
    let folder = Folder::new("strangers");
    let path = folder.0.join("notes.txt");
    std::fs::write(
        &path,
        "not a database at all, but longer than a header of one hundred bytes would be, is it not?",
    )
    .expect("can be written");
    let before = std::fs::read(&path).expect("is there");
    assert!(Store::write(&path).is_err() && Store::read(&path).is_err());
    assert_eq!(std::fs::read(&path).expect("is there"), before);
    let foreign = folder.0.join("foreign.db");
    Connection::open(&foreign).and_then(|db| db.execute_batch("CREATE TABLE a (b)")).expect("is made");
    assert!(Store::write(&foreign).is_err() && Store::read(&foreign).is_err());
    let later = folder.0.join("later.db");
    drop(Store::write(&later).expect("opens"));
    Connection::open(&later).and_then(|db| db.pragma_update(None, "user_version", 99)).expect("is changed");
    let refused = Store::write(&later).err().expect("is refused").to_string();
    assert!(refused.contains("later release"), "{refused}");
    assert!(Store::read(&folder.0.join("nothing.db")).is_err());
}

#[test]
fn the_default_is_in_the_data_directory() {
    let path = default_path().expect("there is a home");
    assert!(path.ends_with("ringperf/results.db") && path.is_absolute());
}
