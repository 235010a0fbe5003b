//! An hour of a netserver's life with good clients and bad ones, and what it holds meanwhile.
//!
//! ```text
//! cargo bench -p ringperf-benches --bench soak -- --minutes 60
//! ```
//!
//! Clients, a few at once, do one deed after the other by chance: tests of every kind by `ringperf run`, our
//! netperf and a stock one; the same with the client killed in the middle; and what only a broken client or
//! a stranger does (`misdeed.rs`). Every now and then everybody stops, and when the netserver is at rest its
//! memory, descriptors and threads are noted. The netserver, its clients and this program share two cores.
//!
//! It does not measure how fast anything is, and a slow machine makes it do less and not fail.

mod deed;
mod dice;
mod load;
mod misdeed;
mod options;
mod report;
mod server;
mod slope;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};

use deed::{Deed, Kind};
use dice::Dice;
use load::{Load, Tally};
use options::Options;
use report::{Findings, Sample};
use server::{Holding, Server};

use crate::program::{
    Halt, beside_this_program, build, heed_signals, interrupted, pause, said_by, say, two_cores,
};

/// Time between idle points, but for what is then still under way.
const LOAD: Duration = Duration::from_secs(25);
/// Time between two samples under load.
const SAMPLE: Duration = Duration::from_secs(3);
/// How long the netserver has for being at rest: longer than any test that lost its client goes on, and than
/// the kernel keeps threads that have nothing to do.
const REST_LIMIT: Duration = Duration::from_secs(60);
/// It has to be at rest for so long before that counts.
const REST: Duration = Duration::from_secs(1);
/// Length under `cargo test`.
const TRY_OUT: Duration = Duration::from_secs(3);

/// The whole program. `cargo` is the one that builds it, which builds ringperf as well.
pub fn main(cargo: &str) -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let options = match Options::parse(words.clone()) {
        Ok(options) => options,
        Err(complaint) => return fail(2, &format!("{complaint}\n{}", options::USAGE)),
    };
    if options.help {
        say(options::USAGE);
        return ExitCode::SUCCESS;
    }
    match run(cargo, &options, &words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => fail(1, "not everything is as promised; see the verdicts"),
        Err(Halt::Failed(reason)) => fail(3, &reason),
        Err(Halt::Interrupted) => fail(130, "interrupted; nothing is left running"),
    }
}

/// Builds, moves into a namespace, soaks, tells. Whether every promise is kept.
fn run(cargo: &str, options: &Options, words: &[OsString]) -> Result<bool, Halt> {
    let ringperf =
        if options.measure && !options.alone { build(cargo)? } else { beside_this_program("ringperf")? };
    if !options.measure && !ringperf.is_file() {
        say("SKIP soak: no ringperf has been built; try: cargo build -p ringperf\n");
        return Ok(true);
    }
    let network = if options.alone {
        furnish()?;
        "a namespace of its own".to_owned()
    } else {
        // returns only where there is none
        format!("this host's, without connections by the ten thousand: {}", move_out(words))
    };
    heed_signals();
    confine(two_cores()?)?;
    let length = if options.measure { options.length } else { TRY_OUT };
    let stock = stock_netperf(&options.peers);
    let facts = facts(options, length, stock.as_deref(), &network);
    let mut server = Server::start(&ringperf, &options.engine)?;
    let deeds = Deed::all(stock, options.alone);
    let mut soak =
        Soak { load: Load::new(deeds, &ringperf, server.address, Instant::now()), samples: vec![] };
    let baseline = soak.baseline(&mut server)?;
    let done = soak.go_on(&mut server, &baseline, length, options);
    let (halted, interrupted) = match done {
        Ok(()) => (None, false),
        Err(Halt::Failed(reason)) => (Some(reason), false),
        Err(Halt::Interrupted) => (None, true),
    };
    let said = server.said();
    let end = (halted.is_none() && !interrupted).then(|| server.end());
    let Soak { load, samples } = soak;
    let findings = Findings { facts, baseline, samples, tally: load.tally(), said, end, halted };
    let (text, met) = findings.report();
    say(&text);
    if let Some(file) = &options.samples {
        std::fs::write(file, findings.csv()).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    if interrupted { Err(Halt::Interrupted) } else { Ok(met) }
}

/// A soak under way.
struct Soak<'a> {
    load: Load<'a>,
    samples: Vec<Sample>,
}

impl Soak<'_> {
    /// What the netserver holds at rest once it has served a test.
    fn baseline(&self, server: &mut Server) -> Result<Holding, Halt> {
        let first = self.load.deeds.iter().find(|deed| matches!(deed.kind, Kind::Program(..)));
        if let Some(first) = first {
            self.load.act(first, &mut Dice::new(0));
        }
        let before = server.holding()?;
        self.rest(server, &before)?;
        server.holding()
    }

    /// Load and rest in turns until `length` is over.
    fn go_on(
        &mut self,
        server: &mut Server,
        baseline: &Holding,
        length: Duration,
        options: &Options,
    ) -> Result<(), Halt> {
        let mut seeds = Dice::new(options.seed);
        let begun = Instant::now();
        while begun.elapsed() < length {
            let until = Instant::now() + LOAD.min(length.saturating_sub(begun.elapsed()));
            let dice = (0..options.workers).map(|_| Dice::new(seeds.below(u64::MAX))).collect();
            self.under_load(server, dice, until)?;
            self.rest(server, baseline)?;
            self.look(server, true)?;
            progress(&self.load.tally(), self.samples.last());
        }
        Ok(())
    }

    /// Clients until `until`, and until each is through with what it does.
    fn under_load(&mut self, server: &mut Server, dice: Vec<Dice>, until: Instant) -> Result<(), Halt> {
        let (load, samples) = (&self.load, &mut self.samples);
        std::thread::scope(|scope| {
            load.start(scope, dice, until);
            let mut last = Instant::now();
            while load.busy() > 0 {
                pause(Duration::from_millis(50))?;
                if last.elapsed() >= SAMPLE {
                    last = Instant::now();
                    samples.push(sample(load, server, false)?);
                }
            }
            Ok(())
        })
    }

    /// Waits until the netserver is at rest. Where it does not come to it, what follows tells.
    fn rest(&self, server: &mut Server, baseline: &Holding) -> Result<(), Halt> {
        let began = Instant::now();
        let mut since = None;
        while began.elapsed() < REST_LIMIT {
            let said = server.said();
            let at_rest = said.opened == said.over && server.holding()?.within(baseline);
            match (at_rest, since) {
                (true, Some(since)) if Instant::now().duration_since(since) >= REST => return Ok(()),
                (true, Some(_)) => {}
                (true, None) => since = Some(Instant::now()),
                (false, _) => since = None,
            }
            pause(Duration::from_millis(100))?;
        }
        Ok(())
    }

    fn look(&mut self, server: &mut Server, idle: bool) -> Result<(), Halt> {
        self.samples.push(sample(&self.load, server, idle)?);
        Ok(())
    }
}

fn sample(load: &Load<'_>, server: &mut Server, idle: bool) -> Result<Sample, Halt> {
    let said = server.said();
    let (at, holding) = (load.began.elapsed(), server.holding()?);
    Ok(Sample { at, idle, holding, sessions: said.over, tests: said.tests })
}

/// A line for whoever watches.
fn progress(tally: &Tally, sample: Option<&Sample>) {
    let Some(Sample { at, holding, sessions, .. }) = sample else { return };
    let (tests, misdeeds) = (tally.tests, tally.misdeeds);
    eprintln!(
        "{:.1} min: {sessions} sessions, {} KiB, {} descriptors, {} threads; tests {}, {} failed, {} late; \
         misdeeds {}, {} failed",
        at.as_secs_f64() / 60.0,
        holding.resident_kib,
        holding.descriptors,
        holding.threads,
        tests.all(),
        tests.failed,
        tests.timed_out,
        misdeeds.all(),
        misdeeds.failed,
    );
}

/// Becomes a copy of this program in a network namespace of its own. Returns only where that cannot be, and
/// why.
fn move_out(words: &[OsString]) -> String {
    let Ok(itself) = std::env::current_exe() else { return "this program cannot be found".to_owned() };
    match Command::new("unshare").args(["--net", "ip", "-V"]).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => return String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => return format!("unshare: {error}"),
    }
    let mut command = Command::new("unshare");
    command.arg("--net").arg(itself).arg(options::ALONE).args(words);
    format!("unshare: {}", command.exec())
}

/// Makes the namespace usable. Resolvers give no address of a family of which only loopback has one, so there
/// is another one. All of it goes with the last process here.
fn furnish() -> Result<(), String> {
    for words in [
        "link set lo up",
        "link add veth0 type veth peer name veth1",
        "addr add 10.77.2.1/24 dev veth0",
        "link set veth0 up",
        "link set veth1 up",
    ] {
        let output = Command::new("ip").args(words.split(' ')).output();
        let output = output.map_err(|error| format!("ip: {error}"))?;
        if !output.status.success() {
            return Err(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
    }
    Ok(())
}

/// Keeps this program and all that it starts to these cores.
fn confine(cores: [usize; 2]) -> Result<(), String> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    sched_setaffinity(None, &set).map_err(|error| format!("sched_setaffinity: {error}"))
}

/// A netperf that is not ours.
fn stock_netperf(peers: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = peers.iter().cloned().chain(std::env::split_paths(&path));
    let files = folders.chain([PathBuf::from("/opt/peers/bin")]).map(|folder| folder.join("netperf"));
    files.filter_map(|file| std::fs::canonicalize(file).ok()).find(|file| {
        let ours = file.file_name().is_some_and(|name| name == "ringperf");
        file.is_file() && !ours
    })
}

fn facts(options: &Options, length: Duration, stock: Option<&Path>, network: &str) -> Vec<String> {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let folder = env!("CARGO_MANIFEST_DIR");
    let load: Vec<String> = file("/proc/loadavg").split(' ').take(3).map(str::to_owned).collect();
    let stock = stock.and_then(Path::to_str).map_or_else(|| "none".to_owned(), |file| said_by(file, &["-V"]));
    vec![
        format!("date: {}", said_by("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        format!("ringperf: commit {}", said_by("git", &["-C", folder, "describe", "--always", "--dirty"])),
        format!("kernel: Linux {}", file("/proc/sys/kernel/osrelease").trim()),
        format!("load when it started, over 1, 5 and 15 minutes: {}", load.join(", ")),
        format!("stock netperf: {stock}"),
        format!("network: {network}"),
        format!(
            "{:.1} minutes, {} clients at once, seed {}, netserver with --engine {}",
            length.as_secs_f64() / 60.0,
            options.workers,
            options.seed,
            options.engine
        ),
    ]
}

fn fail(code: u8, reason: &str) -> ExitCode {
    // after a signal nothing else is said of what it ended
    let reason = if interrupted().is_err() && code == 3 { "interrupted" } else { reason };
    eprintln!("soak: {reason}");
    ExitCode::from(code)
}
