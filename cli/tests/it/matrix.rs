//! Every test, over both address families, with the options that change its course, between every pair of our
//! programs and stock ones.
//!
//! `cargo test` runs a cover: rows of the grid that hold every pair of two factors' values. With
//! `RINGPERF_MATRIX=full` in the environment, all of it is run instead, and a table of it is written:
//!
//! ```text
//! RINGPERF_MATRIX=full cargo test -p ringperf --test it matrix -- --nocapture
//! ```
//!
//! Stock netperf against stock netserver is a part of the grid, which shows that the rest is judged rightly.
//! Runs are of one second; their rates show that something was moved, and are no benchmark.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr, TcpListener};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use self::cell::{Cell, DEFECTS, Defect, Test, Variant};
use crate::interop::Alone;
use crate::netperf::{Ended, Maker, Netperf, Pair, Server};
use crate::support::{free_port, skip};

mod cell;
mod cover;
mod judge;

/// How a cell ended.
#[derive(Debug)]
enum Verdict {
    /// Well, with this figure.
    Well(String),
    /// As stock netperf does here.
    Defect(&'static Defect),
    /// Badly.
    Badly(String),
}

#[test]
fn our_programs_and_stock_ones_understand_each_other() {
    let test = "our_programs_and_stock_ones_understand_each_other";
    if !Pair::STOCK.is_here(test) {
        return;
    }
    let full = std::env::var("RINGPERF_MATRIX").is_ok_and(|value| value == "full");
    let mut cells =
        if full { Cell::all() } else { cover::rows(&Cell::SIZES).iter().map(|row| Cell::at(row)).collect() };
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        skip(test, "ipv6", "there is no ::1 here: half of the matrix");
        cells.retain(|cell| !cell.v6);
    }
    let since = Instant::now();
    // Alone on the machine, a pair of ends leaves half of most runs to waiting for the next one's set-up; in
    // the midst of the other tests, they are not alone.
    let verdicts = run(&cells, if full { 2 } else { 1 });
    let bad = failures(&cells, &verdicts);
    let told = format!("{} cells of the matrix in {} s", cells.len(), since.elapsed().as_secs());
    // Past the test harness, which keeps what a passing test prints.
    let _ = writeln!(std::io::stdout(), "{told}");
    if full {
        let table = table(&cells, &verdicts);
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("matrix.md");
        std::fs::write(&file, &table).expect("the build's folder can be written to");
        let _ = writeln!(std::io::stdout(), "{table}\nwritten to {}", file.display());
    }
    assert!(bad.is_empty(), "{told}, of which these ended badly:\n{bad}");
}

/// Runs the cells, `at_once` at a time.
fn run(cells: &[Cell], at_once: usize) -> Vec<Verdict> {
    let alone = Alone::enter();
    let mut servers: HashMap<(bool, bool), Server> = HashMap::new();
    for cell in cells {
        let place: IpAddr = cell.host();
        let key = (cell.server == Maker::Ours, cell.v6);
        servers.entry(key).or_insert_with(|| Server::start(cell.server, place, &[]));
    }
    let ports: HashMap<_, _> = servers.iter().map(|(key, server)| (*key, server.port())).collect();
    let next = AtomicUsize::new(0);
    let verdicts: Mutex<Vec<Option<Verdict>>> = Mutex::new(cells.iter().map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                if let Some(alone) = &alone {
                    alone.join();
                }
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
                    let index = cells.iter().position(|other| *other == cell).expect("it is one of them");
                    let verdict = measure(cell, ports[&(cell.server == Maker::Ours, cell.v6)]);
                    verdicts.lock().expect("no thread panics with it")[index] = Some(verdict);
                }
            });
        }
    });
    let verdicts = verdicts.into_inner().expect("no thread panics with it");
    verdicts.into_iter().map(|verdict| verdict.expect("every cell was run")).collect()
}

fn measure(cell: Cell, control_port: u16) -> Verdict {
    let data_port = free_port();
    let words = cell.words(control_port, data_port);
    let ended = Netperf::new(cell.client, &words).ended();
    let told = |sentence: String| Verdict::Badly(format!("{sentence}\n  netperf {}", words.join(" ")));
    if let Some(defect) = Defect::of(cell) {
        return if meets(defect, &ended) {
            Verdict::Defect(defect)
        } else {
            told(format!("no `{}` any more: {ended:?}", defect.name))
        };
    }
    match judge::judge(cell, data_port, &ended) {
        Ok(figure) => Verdict::Well(figure),
        Err(sentence) => told(format!("{sentence}\n  {ended:?}")),
    }
}

fn meets(defect: &Defect, ended: &Ended) -> bool {
    ended.status == defect.status && (ended.out.contains(defect.says) || ended.err.contains(defect.says))
}

fn failures(cells: &[Cell], verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    for (cell, verdict) in cells.iter().zip(verdicts) {
        if let Verdict::Badly(sentence) = verdict {
            writeln!(text, "{cell:?}: {sentence}").expect("writing to a string works");
        }
    }
    text
}

/// The whole grid as Markdown: a line for each test and variant, a column for each pair and family.
fn table(cells: &[Cell], verdicts: &[Verdict]) -> String {
    let mut text = String::from("| test | options |");
    let columns: Vec<(Maker, Maker, bool)> = cells
        .iter()
        .filter(|cell| cell.test == Test::TcpStream && cell.variant == Variant::Plain)
        .map(|cell| (cell.client, cell.server, cell.v6))
        .collect();
    for (client, server, v6) in &columns {
        let family = if *v6 { "IPv6" } else { "IPv4" };
        write!(text, " {client:?} to {server:?}, {family} |").expect("writing to a string works");
    }
    text.push_str("\n|---|---|");
    text.push_str(&"---|".repeat(columns.len()));
    for test in Test::ALL {
        for variant in Variant::ALL {
            write!(text, "\n| {} | {} |", test.label(), variant.label()).expect("writing to a string works");
            for column in &columns {
                let found = cells.iter().zip(verdicts).find(|(cell, _)| {
                    (cell.client, cell.server, cell.v6) == *column
                        && (cell.test, cell.variant) == (test, variant)
                });
                let words = match found.map(|(_, verdict)| verdict) {
                    Some(Verdict::Well(figure)) => figure,
                    Some(Verdict::Defect(defect)) => defect.name,
                    Some(Verdict::Badly(_)) => "**failed**",
                    None => "not run",
                };
                write!(text, " {words} |").expect("writing to a string works");
            }
        }
    }
    text.push_str("\n\n");
    for defect in DEFECTS {
        writeln!(text, "- {}: {}.", defect.name, defect.reason).expect("writing to a string works");
    }
    text
}
