//! Signals that end a test: the first keeps what was measured, one that comes later may end the process.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringperf_engine::Stop;
use signal_hook::consts::{SIGALRM, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::{Class, Failure, signal_exit_code};

/// A second signal within this time is the first one again: timeout(1) signals its child and then the whole
/// process group.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// What a signal does that comes later than the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Later {
    /// Ends the process, result or not.
    Ends,
    /// Nothing: the result is waited for.
    IsIgnored,
}

/// Hears the signals; cheap to clone.
#[derive(Clone)]
pub(crate) struct Interrupt {
    heard: Arc<Mutex<Heard>>,
    later: Later,
}

#[derive(Default)]
struct Heard {
    /// The first signal that came, and when.
    signal: Option<(i32, Instant)>,
    /// What to stop when it comes.
    stop: Option<Stop>,
}

impl Interrupt {
    /// Starts to listen to these signals; others keep their default action.
    ///
    /// # Errors
    /// ENV when the handlers cannot be installed.
    pub(crate) fn install(signals: &[i32], later: Later) -> Result<Self, Failure> {
        let failed =
            |error: &io::Error| Failure::io(Class::Environment, "install the signal handlers", error);
        let mut signals = Signals::new(signals).map_err(|error| failed(&error))?;
        let interrupt = Self { heard: Arc::default(), later };
        let listener = interrupt.clone();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || signals.forever().for_each(|signal| listener.hear(signal)))
            .map_err(|error| failed(&error))?;
        Ok(interrupt)
    }

    /// Hears nothing: for waits that are short, or that a signal is to be kept from.
    pub(crate) fn none() -> Self {
        Self { heard: Arc::default(), later: Later::IsIgnored }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first signal that came.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.heard().signal.map(|(signal, _)| signal)
    }

    /// The failure of a command that a signal ended before it had a result, if one came.
    ///
    /// # Errors
    /// SIGNAL when one came.
    pub(crate) fn check(&self, tried: &str) -> Result<(), Failure> {
        match self.signal() {
            Some(signal) => Err(Failure::new(
                Class::Signal(signal),
                tried,
                format!("{} ended the command before there was a result", signal_name(signal)),
            )),
            None => Ok(()),
        }
    }

    /// Stops this run when a signal comes, or at once if one has come.
    pub(crate) fn stops(&self, stop: Stop) {
        let mut heard = self.heard();
        if heard.signal.is_some() {
            stop.stop();
        }
        heard.stop = Some(stop);
    }

    /// Begins anew: forgets the signal that ended an earlier run, and stops this one when the next comes.
    pub(crate) fn begin(&self, stop: Stop) {
        *self.heard() = Heard { signal: None, stop: Some(stop) };
    }

    fn hear(&self, signal: i32) {
        let mut heard = self.heard();
        match heard.signal {
            Some(_) if self.later == Later::IsIgnored => {}
            Some((_, first)) if first.elapsed() < SAME_SIGNAL => {}
            // Whoever signals twice does not want to wait for results. Our netserver's process ends with
            // ours.
            Some(_) => std::process::exit(i32::from(signal_exit_code(signal))),
            None => {
                heard.signal = Some((signal, Instant::now()));
                if let Some(stop) = &heard.stop {
                    stop.stop();
                }
            }
        }
    }
}

/// Name of a signal that ends a test.
pub(crate) fn signal_name(signal: i32) -> &'static str {
    match signal {
        SIGALRM => "SIGALRM",
        SIGTERM => "SIGTERM",
        _ => "SIGINT",
    }
}
