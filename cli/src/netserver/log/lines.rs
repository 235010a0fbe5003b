//! Lines on their way to standard error, which a thread of their own writes: a reader that has stopped
//! reading stops that thread and nothing else.
//!
//! A line is written before whoever said it goes on, so that the log is never behind what a client sees,
//! unless the reader is slow: then nobody waits until it has caught up. No more lines wait than
//! [`WAITING_MAX`]; what comes on top is left out and counted, and the count is told where the lines would
//! have been.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait for their reader: some 200 KB of them.
const WAITING_MAX: usize = 1024;

/// How long a line is waited for, once, until the reader is taken for a slow one.
const PROMPT: Duration = Duration::from_millis(50);

/// How long the end may wait for a reader to take what was said.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Takes lines from whoever has one. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// A line has come, or all are written.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Vec<u8>>,
    /// Lines that came behind those that wait, when there was no room.
    left_out: u64,
    /// Lines have been taken and are not written yet.
    writing: bool,
    /// A line was not written in time, and those that waited then are not all written yet.
    slow: bool,
}

impl Queue {
    fn is_unwritten(&self) -> bool {
        self.writing || !self.waiting.is_empty()
    }
}

impl Lines {
    /// To be written to `out`, each by one call, in their order.
    ///
    /// # Errors
    /// The kernel's, where there is no thread to be had.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writing = Arc::clone(&shared);
        // Not joined: it ends with the process, whatever its reader does.
        std::thread::Builder::new().name("rp-log".to_owned()).spawn(move || writing.write_to(out))?;
        Ok(Self(shared))
    }

    /// Waits until all lines are written, for [`LAST_WORDS`] at most.
    pub(super) fn flush(&self) {
        let _ = self.0.changed.wait_timeout_while(self.0.lock(), LAST_WORDS, |queue| queue.is_unwritten());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut queue = self.lock();
        if queue.waiting.len() < WAITING_MAX {
            queue.waiting.push_back(line.to_vec());
            self.changed.notify_all();
        } else {
            queue.left_out = queue.left_out.saturating_add(1);
        }
        if queue.slow {
            return;
        }
        let waited = self.changed.wait_timeout_while(queue, PROMPT, |queue| queue.is_unwritten());
        let (mut queue, late) = waited.unwrap_or_else(PoisonError::into_inner);
        queue.slow = late.timed_out();
    }

    /// All that waits, and how many lines are left out behind it.
    fn take(&self) -> (VecDeque<Vec<u8>>, u64) {
        let mut queue = self.lock();
        (queue.writing, queue.slow) = (false, !queue.waiting.is_empty() && queue.slow);
        self.changed.notify_all();
        while queue.waiting.is_empty() {
            #[expect(
                clippy::disallowed_methods,
                reason = "only the thread that writes waits here, for a line"
            )]
            let woken = self.changed.wait(queue);
            queue = woken.unwrap_or_else(PoisonError::into_inner);
        }
        queue.writing = true;
        (std::mem::take(&mut queue.waiting), std::mem::take(&mut queue.left_out))
    }

    /// A line that cannot be written is gone: there is nowhere else to say so.
    fn write_to(&self, mut out: impl Write) {
        loop {
            let (lines, left_out) = self.take();
            for line in lines {
                let _ = out.write_all(&line);
            }
            if left_out > 0 {
                let told = format!(
                    "WARN {left_out} lines were left out here: {WAITING_MAX} waited that nobody read\n"
                );
                let _ = out.write_all(told.as_bytes());
            }
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

/// Where one line goes.
pub(super) struct Line<'a>(&'a Shared);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::time::Instant;

    use super::*;

    /// By one write, as the library that makes the lines does it.
    fn say(lines: &Lines, text: String) {
        lines.make_writer().write_all(text.as_bytes()).expect("it always has room, or leaves it out");
    }

    #[test]
    fn lines_come_out_in_their_order_and_the_end_waits_for_them() {
        let (reader, writer) = io::pipe().expect("descriptors are left");
        let lines = Lines::start(writer).expect("threads are left");
        (0..500).for_each(|number| say(&lines, format!("{number}\n")));
        lines.flush();
        let mut read = BufReader::new(reader).lines();
        for number in 0..500 {
            assert_eq!(read.next().expect("it is written").expect("it can be read"), number.to_string());
        }
    }

    #[test]
    fn a_reader_that_stops_reading_holds_up_nobody_and_is_told_what_it_missed() {
        const SAID: usize = 10 * WAITING_MAX;
        let (reader, writer) = io::pipe().expect("descriptors are left");
        let lines = Lines::start(writer).expect("threads are left");
        let begun = Instant::now();
        for number in 0..SAID {
            say(&lines, format!("{number:099}\n"));
        }
        lines.flush();
        // A pipe holds some hundred of them.
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        let mut heard = 0;
        let mut left_out = 0;
        for line in BufReader::new(reader).lines() {
            let line = line.expect("it can be read");
            match line.strip_prefix("WARN ").and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok()) {
                Some(count) => left_out += count,
                None => {
                    assert_eq!(line.parse(), Ok(heard + left_out), "in order, but for those left out");
                    heard += 1;
                }
            }
            if heard + left_out == SAID {
                break;
            }
        }
        assert!(left_out > SAID / 2, "{left_out}");
    }
}
