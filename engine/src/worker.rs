//! The loop: wait, reap, step, check.
//!
//! Everything a run does between connection and end happens in [`drive`]. It knows flows and backends by
//! their traits only, is compiled once for each pair, and allocates nothing.

use std::io;
use std::time::{Duration, Instant};

use crate::arena::Span;
use crate::backend::{Backend, Done, Op};
use crate::flow::{Batch, Flow, MARKS, Next};
use crate::layout::Layout;
use crate::low_water::LowWater;
use crate::outcome::End;
use crate::pattern::Checker;
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
    pub(crate) wakes: Option<Wakes<'a>>,
}

/// How seldom a receiver is woken, where that is for us to choose.
pub(crate) struct Wakes<'a> {
    pub(crate) policy: &'a mut LowWater,
    /// Sets the socket's low-water mark.
    pub(crate) set: &'a dyn Fn(u32),
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
        let patience = worker.patience();
        worker.backend.wait(patience)?;
        worker.backend.reap(done);
        worker.adjust(done);
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
            && !worker.lets_go()
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

    /// How long the next sleep may last.
    fn patience(&self) -> Option<Duration> {
        let now = Instant::now();
        let stop = self.timing.stop.map(|(at, _)| at.saturating_duration_since(now));
        let unread = self.wakes.as_ref().and_then(|wakes| wakes.policy.patience(now));
        stop.into_iter().chain(unread).min()
    }

    /// Chooses the low-water mark by what came.
    fn adjust(&mut self, done: &[Done]) {
        let Some(Wakes { policy, set }) = &mut self.wakes else { return };
        let received = done.iter().filter(|done| done.token.kind == Kind::Receive);
        let bytes = received.map(|done| u64::from(done.result.unwrap_or(0))).sum();
        if let Some(mark) = policy.woken(bytes, Instant::now()) {
            set(mark);
        }
    }

    /// Lets go of what lies below the mark when the time is over: it came in time, and one more turn fetches
    /// it.
    fn lets_go(&mut self) -> bool {
        // From here on there is no mark.
        self.wakes.take().inspect(|wakes| (wakes.set)(1)).is_some()
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
