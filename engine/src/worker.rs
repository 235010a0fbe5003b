//! The loop: wait, reap, step, check.
//!
//! Everything a run does between connection and end happens in [`drive`]. It knows flows and backends by
//! their traits only, is compiled once for each pair, and allocates nothing.

use std::io;
use std::time::{Duration, Instant};

use crate::arena::Span;
use crate::backend::{Backend, Done, Op};
use crate::flow::{Batch, Flow, MARKS, Next};
use crate::outcome::End;
use crate::pattern::Checker;
use crate::plan::Layout;
use crate::token::{Kind, Token};

/// When the loop ends by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// When the flow is asked to end, and with which result. `None`: never.
    pub(crate) stop: Option<(Instant, End)>,
    /// How long a flow that was asked to end, or that waits for the peer's end, may take.
    pub(crate) drain: Duration,
}

/// Completions fetched in one turn; more wait in the kernel for the next.
pub(crate) const DONE_MAX: usize = 256;

/// One worker's turn at one connection.
pub(crate) struct Worker<'a, B, F> {
    pub(crate) backend: &'a mut B,
    pub(crate) flow: &'a mut F,
    pub(crate) layout: &'a Layout,
    pub(crate) message_bytes: u32,
    /// Sends of a batch must not overtake each other.
    pub(crate) in_order: bool,
    pub(crate) timing: Timing,
    /// Shuts down the write side of the connection.
    pub(crate) end_stream: &'a dyn Fn(),
    pub(crate) checker: Option<&'a mut Checker>,
}

/// Runs a flow on a backend to its end. `done` is the room for completions, made by the caller beforehand.
///
/// # Errors
/// What made the backend's wait impossible; a connection that fails is an [`End`].
pub(crate) fn drive<B: Backend, F: Flow>(
    worker: &mut Worker<'_, B, F>,
    done: &mut Vec<Done>,
) -> io::Result<End> {
    let first = worker.flow.start();
    worker.apply(first);
    loop {
        let left = worker.timing.stop.map(|(at, _)| at.saturating_duration_since(Instant::now()));
        worker.backend.wait(left)?;
        worker.backend.reap(done);
        for completion in done.drain(..) {
            if let Some(checker) = &mut worker.checker {
                worker.backend.show(completion.received, &mut |bytes| checker.feed(bytes));
            }
            let next = match completion.token.kind {
                Kind::Stop => worker.flow.stop(End::Stopped),
                _ => worker.flow.step(&completion),
            };
            worker.backend.release(completion.received);
            if let Some(end) = worker.apply(next) {
                return Ok(end);
            }
        }
        if let Some((at, end)) = worker.timing.stop
            && Instant::now() >= at
        {
            worker.grant(worker.timing.drain);
            let next = worker.flow.stop(end);
            if let Some(end) = worker.apply(next) {
                return Ok(end);
            }
        }
    }
}

impl<B: Backend, F: Flow> Worker<'_, B, F> {
    /// Turns a flow's wish into operations; the end of the flow comes back.
    fn apply(&mut self, next: Next) -> Option<End> {
        match next {
            Next::Wait => {}
            Next::Receive => self.backend.push(Op::Receive, Token::RECEIVE),
            Next::Send(batch) => self.send(batch),
            Next::Cancel(target) => {
                self.backend.push(Op::Cancel(target), Token::CANCEL);
                self.limit(self.timing.drain);
            }
            Next::SendAndReceive(batch) => {
                self.backend.push(Op::Receive, Token::RECEIVE);
                self.send(batch);
            }
            Next::SendMarks => {
                for index in 0..MARKS {
                    let empty = Op::Send { span: Span::default(), linked: false };
                    self.backend.push(empty, Token::send(index));
                }
                self.limit(self.timing.drain);
            }
            Next::EndStream { receive } => {
                (self.end_stream)();
                if receive {
                    self.backend.push(Op::Receive, Token::RECEIVE);
                }
                self.grant(self.timing.drain);
            }
            Next::Finish(end) => return Some(end),
        }
        None
    }

    fn send(&mut self, batch: Batch) {
        for index in 0..batch.messages {
            let slot = (batch.slot + index) % self.layout.slots;
            let message = self.layout.slot(slot, self.message_bytes);
            let span = if index == 0 { message.skip(batch.skip) } else { message };
            let linked = self.in_order && index + 1 < batch.messages;
            self.backend.push(Op::Send { span, linked }, Token::send(index));
        }
    }

    /// From now on the flow has this long to end.
    fn grant(&mut self, time: Duration) {
        self.timing.stop = Some((Instant::now() + time, End::DrainTimeout));
    }

    /// The same, unless it has to end sooner anyway.
    fn limit(&mut self, time: Duration) {
        let at = Instant::now() + time;
        if self.timing.stop.is_none_or(|(stop, _)| at < stop) {
            self.timing.stop = Some((at, End::DrainTimeout));
        }
    }
}
