//! What a fuzz target does with the store and with what is made of it: an error or a result, whatever lies in
//! the file.
//!
//! Called by the target of cargo-fuzz (`cli/fuzz/`), and with each file of its corpus by the test below.
//! In no program: the module is there for tests and for builds of a fuzzer (`--cfg fuzzing`) alone.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{Connection, params};
use serde_json::{Value as Json, json};

use crate::compare::{self, Named, Request};
use crate::error::Failure;
use crate::figure::Figure;
use crate::store::{NewRun, Store};
use crate::sweep::grid::{Axis, points};
use crate::{render, report, sweep};

/// A store with two runs of two points each, as bytes: what is spoiled.
static SAMPLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let place = Place::new();
    sample(&place.store()).expect("a new store takes two runs");
    std::fs::read(place.store()).expect("it has just been written")
});

/// Where a text of an input goes.
const TEXTS: [&str; 9] = [
    "UPDATE run SET plan = ?1 WHERE id = 2",
    "UPDATE run SET words = ?1",
    "UPDATE run SET command = ?1 WHERE id = 2",
    "UPDATE run SET target = ?1",
    "UPDATE machine SET facts = ?1",
    "UPDATE point SET setting = ?1 WHERE id IN (1, 3)",
    "UPDATE point SET error = ?1 WHERE id = 4",
    "UPDATE record SET json = ?1 WHERE point IN (1, 3)",
    "UPDATE record SET json = ?1 WHERE point IN (2, 4)",
];

/// Opens a store, reads all of it, compares its runs and renders what comes of it.
///
/// The first byte of `data` says what the rest is: 0 a file, 1 changes to the file of a store that is whole
/// (places of three bytes, each with the byte that goes there), any other number texts to put into one, each
/// behind the number of its place in [`TEXTS`] and ended by a zero byte.
pub fn store_load(data: &[u8]) {
    let place = Place::new();
    match data.split_first() {
        None => {}
        Some((0, file)) => place.write(file),
        Some((1, changes)) => {
            let mut file = SAMPLE.clone();
            for change in changes.chunks_exact(4) {
                let [high, middle, low, byte] = change else { continue };
                let at = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
                let length = file.len();
                file[at % length] = *byte;
            }
            place.write(&file);
        }
        Some((_, texts)) => {
            place.write(&SAMPLE);
            // A text that the tables refuse leaves what was there.
            let _ = put(&place.store(), texts);
        }
    }
    // An error or a result; which of them is for the tests of the store.
    let _ = read(&place.store());
    let _ = Store::write(&place.store()).map(drop);
}

fn put(path: &Path, texts: &[u8]) -> rusqlite::Result<()> {
    let db = Connection::open(path)?;
    db.pragma_update(None, "synchronous", "OFF")?;
    for text in texts.split(|byte| *byte == 0) {
        if let Some((number, text)) = text.split_first() {
            let statement = TEXTS[usize::from(*number) % TEXTS.len()];
            db.execute(statement, params![String::from_utf8_lossy(text)])?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<(), Failure> {
    let store = Store::read(path)?;
    let runs = store.runs()?;
    render::text::comparison::list(&runs);
    render::json::line(&runs);
    for tag in [None, Some("here")] {
        if let Ok(Some(run)) = store.latest_unfinished(tag) {
            // The options of a run that is to be gone on with.
            let _ = sweep::Args::read(&run.words);
        }
    }
    for run in &runs {
        for point in store.points(run.id)? {
            let figures = point.record.iter().flat_map(|record| figures().map(|figure| figure.of(record)));
            assert!(figures.flatten().all(f64::is_finite), "a figure is a number");
        }
    }
    let names = |run: &crate::store::RunRow| Named { name: format!("#{}", run.id), runs: None };
    let all = runs.iter().map(names).chain([Named { name: "here".to_owned(), runs: None }]);
    let [base, others @ ..] = &all.take(4).collect::<Vec<_>>()[..] else { return Ok(()) };
    let request = Request {
        base: base.clone(),
        others: others.to_vec(),
        figures: figures().collect(),
        ranges: Vec::new(),
        mixed: runs.len() > 1,
    };
    let comparison = compare::build(&store, &request, &[])?;
    render::text::comparison::page(&comparison);
    render::json::line(&comparison);
    report::html(&comparison).map(drop)
}

fn figures() -> impl Iterator<Item = Figure> {
    clap::ValueEnum::value_variants().iter().copied()
}

fn sample(path: &Path) -> Result<(), Failure> {
    let mut store = Store::write(path)?;
    let axes = [Axis::parse("socket-buffer=4K,64K").expect("it is an axis")];
    let points = points(&axes, 1).expect("there are two");
    for tag in ["here", "there"] {
        store.begin_run(&NewRun {
            tag,
            test: "tcp_stream",
            plan: json!({ "test": "tcp_stream", "vary": tag }),
            words: &["--vary".to_owned(), "socket-buffer=4K,64K".to_owned()],
            command: &["ringperf".to_owned(), "sweep".to_owned()],
            target: json!({ "host": null }),
            points: &points,
        })?;
    }
    drop(store);
    put_records(path).expect("the tables are there");
    Ok(())
}

/// Results for all points but one, in place of measurements.
fn put_records(path: &Path) -> rusqlite::Result<()> {
    let db = Connection::open(path)?;
    for point in [1, 2, 3] {
        db.execute("INSERT INTO record (point, json) VALUES (?1, ?2)", params![point, record(point)])?;
        db.execute("UPDATE point SET state = 'done' WHERE id = ?1", [point])?;
    }
    // One file, without the log of what has been written ahead.
    db.pragma_update(None, "journal_mode", "DELETE")
}

fn record(point: u32) -> String {
    let worker = json!({ "cpu_ns": 1000 * point, "ns_per_kb": 2.5 });
    let end = json!({ "engine": "uring", "worker": worker });
    let result: Json = json!({
        "goodput_bits_per_second": 1e9 * f64::from(point), "bytes_received": 123_456, "loss": 0.25,
        "messages_sent": 900, "failed_sends": 100,
    });
    json!({ "record": 1, "result": result, "sender": end, "receiver": end, "warnings": [] }).to_string()
}

/// A folder that is gone at the end, in memory where the system has such a place.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let root = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        static PLACES: AtomicU64 = AtomicU64::new(0);
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("ringperf-fuzz-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the folder of temporary files can be written to");
        Self(path)
    }

    fn store(&self) -> PathBuf {
        self.0.join("results.db")
    }

    fn write(&self, file: &[u8]) {
        std::fs::write(self.store(), file).expect("a folder of our own can be written to");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left is the system's to clean.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_a_store_that_compares() {
        let place = Place::new();
        place.write(&SAMPLE);
        read(&place.store()).expect("it is whole");
    }

    #[test]
    fn every_file_of_the_corpus_is_survived() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/store_load");
        let files = std::fs::read_dir(&folder).expect("there is a corpus");
        let mut count = 0;
        for file in files {
            let path = file.expect("the folder can be read").path();
            let data = std::fs::read(&path).expect("the file can be read");
            let survived = std::panic::catch_unwind(|| store_load(&data));
            assert!(survived.is_ok(), "{}", path.display());
            count += 1;
        }
        assert!(count >= 10, "{count} files in {}", folder.display());
    }
}
