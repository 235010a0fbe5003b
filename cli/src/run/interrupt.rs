//! SIGINT and SIGTERM: the first ends the test and keeps what was measured, the second ends the process.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ringperf_engine::Stop;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::{Class, Failure, signal_exit_code};

/// Hears the signals; cheap to clone.
#[derive(Clone)]
pub(crate) struct Interrupt {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The first signal that came; 0 while there is none.
    signal: AtomicI32,
    /// What to stop when it comes.
    stop: Mutex<Option<Stop>>,
}

impl Interrupt {
    /// Starts to listen.
    ///
    /// # Errors
    /// ENV when the handlers cannot be installed.
    pub(crate) fn install() -> Result<Self, Failure> {
        let failed =
            |error: &io::Error| Failure::io(Class::Environment, "install the signal handlers", error);
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|error| failed(&error))?;
        let interrupt = Self { shared: Arc::default() };
        let listener = interrupt.clone();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || signals.forever().for_each(|signal| listener.hear(signal)))
            .map_err(|error| failed(&error))?;
        Ok(interrupt)
    }

    /// The first signal that came.
    pub(crate) fn signal(&self) -> Option<i32> {
        match self.shared.signal.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(signal),
        }
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
        let mut slot = self.shared.stop.lock().unwrap_or_else(PoisonError::into_inner);
        if self.signal().is_some() {
            stop.stop();
        }
        *slot = Some(stop);
    }

    fn hear(&self, signal: i32) {
        if self.shared.signal.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            // Whoever signals twice does not want to wait for results. Our netserver's process ends with
            // ours.
            std::process::exit(i32::from(signal_exit_code(signal)));
        }
        if let Some(stop) = self.shared.stop.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            stop.stop();
        }
    }
}

/// Name of one of the two signals.
pub(crate) fn signal_name(signal: i32) -> &'static str {
    if signal == SIGTERM { "SIGTERM" } else { "SIGINT" }
}
