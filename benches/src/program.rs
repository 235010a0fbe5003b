//! What the programs of this crate share that start other programs: where ringperf is, how they end on a
//! signal, and what they say.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Why there is no result.
#[derive(Debug)]
pub(crate) enum Halt {
    /// Something failed, in a sentence.
    Failed(String),
    /// A signal asks for the end of everything.
    Interrupted,
}

impl From<String> for Halt {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

/// Builds ringperf for release; its file.
pub(crate) fn build(cargo: &str) -> Result<PathBuf, String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("Cargo.toml");
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "-p", "ringperf", "--manifest-path"]).arg(manifest);
    let status = command.status().map_err(|error| format!("{cargo}: {error}"))?;
    let file = beside_this_program("ringperf")?;
    if status.success() && file.is_file() {
        Ok(file)
    } else {
        Err(format!("no ringperf at {} after cargo build: {status}", file.display()))
    }
}

/// A program of the workspace, built for the profile that this one was built for.
pub(crate) fn beside_this_program(name: &str) -> Result<PathBuf, String> {
    let itself = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    // target/PROFILE/deps/versus-HASH
    let folder = itself.parent().and_then(Path::parent);
    folder.map(|folder| folder.join(name)).ok_or_else(|| "this program lies in no folder".to_owned())
}

/// The first two cores that this program may use, or the only one twice.
pub(crate) fn two_cores() -> Result<[usize; 2], String> {
    let set = rustix::thread::sched_getaffinity(None).map_err(|error| format!("no cores: {error}"))?;
    let mut cores = (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
    let first = cores.next().ok_or("no core may be used")?;
    Ok([first, cores.next().unwrap_or(first)])
}

static SIGNALLED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Has SIGINT and SIGTERM noted instead of ending this program, so that what was made is taken down.
pub(crate) fn heed_signals() {
    let flag = SIGNALLED.get_or_init(Arc::default);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(flag)) {
            eprintln!("signal {signal} is not heeded: {error}");
        }
    }
}

/// # Errors
/// Once a signal has come.
pub(crate) fn interrupted() -> Result<(), Halt> {
    match SIGNALLED.get() {
        Some(flag) if flag.load(Ordering::Relaxed) => Err(Halt::Interrupted),
        _ => Ok(()),
    }
}

/// Sleeps.
///
/// # Errors
/// Once a signal has come.
pub(crate) fn pause(time: Duration) -> Result<(), Halt> {
    let start = Instant::now();
    loop {
        interrupted()?;
        let left = time.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}

/// The first line that a program prints, or nothing.
pub(crate) fn said_by(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Reads a stream to its end on a thread of its own.
pub(crate) fn read_all(stream: Option<impl Read + Send + 'static>) -> Option<JoinHandle<String>> {
    let mut stream = stream?;
    Some(std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // what was read before an error is still worth having
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }))
}

/// Writes to standard output.
pub(crate) fn say(text: &str) {
    // a reader that has left is no reason to leave anything behind
    let _ = std::io::stdout().write_all(text.as_bytes());
}
