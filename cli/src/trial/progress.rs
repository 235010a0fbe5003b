//! The progress bar: on standard error, and only where that is a terminal.
//!
//! It shows time, not bytes: counters belong to the worker until it has ended.

use std::io::IsTerminal;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Time between two looks at the clock: seldom enough to cost the measured cores nothing that shows.
const TICK: Duration = Duration::from_millis(250);

/// A bar that runs until it is dropped.
pub(crate) struct Progress {
    ticker: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Shows a bar with a label for a test of this length, or a spinner where the length is not known. Shows
    /// nothing where standard error is no terminal, or where no thread can be had for it.
    pub(crate) fn start(label: &str, length: Option<Duration>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { ticker: None };
        }
        let (sender, receiver) = channel();
        let label = label.to_owned();
        let ticker = std::thread::Builder::new()
            .name("progress".to_owned())
            .spawn(move || tick(&bar(label, length), &receiver))
            .ok();
        Self { ticker: ticker.map(|thread| (sender, thread)) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.ticker.take() {
            drop(sender);
            // A bar that panicked has only itself to show for it.
            #[expect(clippy::disallowed_methods, reason = "the thread ends with the sender that was dropped")]
            let _ = thread.join();
        }
    }
}

fn bar(label: String, length: Option<Duration>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => {
            let milliseconds = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
            (ProgressBar::new(milliseconds), "{prefix} [{bar:40}] {elapsed} of {msg}")
        }
        None => (ProgressBar::new_spinner(), "{prefix} {spinner} {elapsed}"),
    };
    // A template that cannot be parsed leaves the plain bar in place.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(label);
    if let Some(length) = length {
        bar.set_message(format!("{}s", length.as_secs()));
    }
    bar
}

fn tick(bar: &ProgressBar, ended: &Receiver<()>) {
    let start = Instant::now();
    while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        let elapsed = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        match bar.length() {
            Some(length) => bar.set_position(elapsed.min(length)),
            None => bar.tick(),
        }
    }
    bar.finish_and_clear();
}
