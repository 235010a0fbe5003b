//! The loop: wait, reap, step, check.
//!
//! Everything a run does between connection and end happens in [`drive`], for all flows of a worker. It knows
//! flows and backends by their traits only, is compiled once for each pair, and allocates nothing.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use crate::arena::Span;
use crate::backend::{Backend, Done, Op, Received};
use crate::clock;
use crate::file::{FilePart, Piece};
use crate::flow::{Batch, Flow, MARKS, Next};
use crate::latency::Timings;
use crate::layout::Layout;
use crate::outcome::End;
use crate::pace::Pace;
use crate::pattern::Checker;
use crate::progress::Teller;
use crate::resend::Resend;
use crate::sampler::Sampler;
use crate::sys::Errno;
use crate::token::{Kind, Token};
use crate::wakes::Wakes;

/// When the loop ends by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// When the flows are asked to end, and with which result. `None`: never.
    pub(crate) stop: Option<(Instant, End)>,
    /// How long a flow that was asked to end, or that waits for the peer's end, may take.
    pub(crate) drain: Duration,
}

/// Turns between two looks at the clock where nobody sleeps and each turn brings something: to look takes as
/// long as much of what else a turn does.
const CLOCK_TURNS: u32 = 16;

/// Completions fetched in one turn; more wait in the kernel for the next.
pub(crate) const DONE_MAX: usize = 256;

/// One worker's turn at its connections.
pub(crate) struct Worker<'a, B, F> {
    pub(crate) backend: &'a mut B,
    /// The flows, by their numbers.
    pub(crate) tracks: &'a mut [Track<F>],
    pub(crate) layout: &'a Layout,
    /// Bytes of a message that is sent.
    pub(crate) message_bytes: u32,
    /// Sends of a batch must not overtake each other.
    pub(crate) in_order: bool,
    pub(crate) timing: Timing,
    /// The backend never sleeps.
    pub(crate) busy_poll: bool,
    /// Turns since the last look at the clock.
    pub(crate) turns: u32,
    /// By when flows that were given time to end have to be over.
    pub(crate) drained_by: Option<Instant>,
    /// Shuts down the write side of a flow's connection.
    pub(crate) end_stream: &'a dyn Fn(u32),
    /// Has a flow's socket take no send apart any more, which it refused with this errno.
    pub(crate) unsegment: &'a dyn Fn(u32, Errno),
    /// Who compares what is received, by flow; none where nobody does.
    pub(crate) checkers: &'a mut [Checker],
    pub(crate) wakes: Option<&'a mut dyn Wakes>,
    pub(crate) pace: Option<Pace>,
    /// How long the responses to the requests of a flow may take; of one over UDP.
    pub(crate) resend: Option<Resend>,
    /// How long transactions take, where that is measured.
    pub(crate) timings: Option<&'a mut Timings>,
    /// Flows whose receive found no buffer, in the order in which they get another chance; with room for all.
    pub(crate) starved: VecDeque<u32>,
    /// Flows that are still to be asked what the completions of this turn amount to; with room for all.
    pub(crate) unsettled: Vec<u32>,
    pub(crate) sampler: Option<&'a mut Sampler>,
    pub(crate) teller: Option<&'a mut Teller>,
    /// There is a report to be made as soon as one more turn has fetched what lay unread.
    pub(crate) fetching: bool,
}

/// A flow on its way.
pub(crate) struct Track<F> {
    pub(crate) flow: F,
    leash: Leash,
    /// It is among the unsettled ones.
    unsettled: bool,
    /// How it ended; `None` while it is under way.
    pub(crate) end: Option<End>,
}

/// What the clock still has to say to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leash {
    /// The end of its time.
    Free,
    /// The same, or by when it has to be over, whichever is first.
    Limited,
    /// By when it has to be over.
    Granted,
}

impl<F> Track<F> {
    /// A flow before its start.
    pub(crate) fn new(flow: F) -> Self {
        Self { flow, leash: Leash::Free, unsettled: false, end: None }
    }

    /// One that takes no part.
    pub(crate) fn over(flow: F, end: End) -> Self {
        Self { end: Some(end), ..Self::new(flow) }
    }
}

/// Runs the flows on a backend, each to its end. `done` is the room for completions, made by the caller
/// beforehand.
///
/// # Errors
/// What made the backend's wait impossible; a connection that fails is an [`End`].
pub(crate) fn drive<B: Backend, F: Flow>(
    worker: &mut Worker<'_, B, F>,
    done: &mut Vec<Done>,
) -> io::Result<()> {
    worker.start();
    while worker.runs() {
        let patience = worker.patience();
        worker.backend.wait(patience)?;
        worker.backend.reap(done);
        worker.adjust(done);
        // There may be more than there was room for.
        let all = done.len() + 1 < done.capacity();
        let idle = done.is_empty();
        let mut stopped = false;
        for completion in done.drain(..) {
            worker.look(&completion);
            match completion.token.kind {
                Kind::Stop => stopped = true,
                _ => worker.step(&completion),
            }
            worker.backend.release(completion.received);
        }
        // Behind all that has happened by now: what an offer has left is still to be counted off.
        if stopped {
            worker.stop_all(End::Stopped);
        }
        worker.feed();
        if worker.minds_clock(idle) {
            worker.check_clock();
        }
        if all || !worker.runs() {
            worker.settle();
        }
    }
    Ok(())
}

impl<B: Backend, F: Flow> Worker<'_, B, F> {
    /// Some flow is not over.
    fn runs(&self) -> bool {
        self.tracks.iter().any(|track| track.end.is_none())
    }

    fn start(&mut self) {
        for flow in self.numbers() {
            if self.track(flow).end.is_none() {
                let first = self.track(flow).flow.start();
                if self.timings.is_some() {
                    self.time(flow, clock::now());
                }
                self.apply(flow, first);
            }
        }
    }

    fn numbers(&self) -> std::ops::Range<u32> {
        0..self.tracks.len() as u32
    }

    fn track(&mut self, flow: u32) -> &mut Track<F> {
        &mut self.tracks[flow as usize]
    }

    fn step(&mut self, completion: &Done) {
        let flow = completion.token.flow;
        // Of a flow that is over, or of none at all: late ones, which nobody waits for.
        let Some(track) = self.tracks.get_mut(flow as usize).filter(|track| track.end.is_none()) else {
            return;
        };
        if F::SETTLES && !std::mem::replace(&mut track.unsettled, true) {
            self.unsettled.push(flow);
        }
        match track.flow.step(&Done { token: completion.token.of(0), ..*completion }) {
            // Armed at once it would find none again: those of this turn have not been given back yet.
            Next::Receive if completion.result == Err(Errno::NO_BUFFERS) => self.starved.push_back(flow),
            next => self.apply(flow, next),
        }
    }

    /// Notes which transactions of a flow have begun and ended: now, as far as they are new.
    fn time(&mut self, flow: u32, now: Instant) {
        if let Some(timings) = &mut self.timings {
            timings.note(flow, self.tracks[flow as usize].flow.exchanged(), now);
        }
    }

    /// Asks the flows that something happened to what it amounts to. One look at the clock is for all of
    /// them: it is the end of the transactions that this turn has brought to theirs, and the beginning of the
    /// next.
    fn settle(&mut self) {
        let now = self.timings.as_ref().filter(|_| !self.unsettled.is_empty()).map(|_| clock::now());
        for index in 0..self.unsettled.len() {
            let flow = self.unsettled[index];
            let track = self.track(flow);
            track.unsettled = false;
            let next = if track.end.is_none() { track.flow.settle() } else { Next::Wait };
            if let Some(now) = now {
                self.time(flow, now);
            }
            self.apply(flow, next);
        }
        self.unsettled.clear();
    }

    /// Receives for flows that found no buffer: no more of them than there are buffers for, or most of them
    /// would find none again, and the kernel would do nothing else than say so.
    fn feed(&mut self) {
        for _ in 0..(u32::from(self.layout.buffers) / 2).max(1) {
            let Some(flow) = self.starved.pop_front() else { return };
            if self.track(flow).end.is_none() {
                self.backend.push(Op::Receive, Token::RECEIVE.of(flow));
            }
        }
    }

    fn look(&mut self, completion: &Done) {
        if let Some(checker) = self.checkers.get_mut(completion.token.flow as usize) {
            self.backend.show(completion.received, &mut |bytes| checker.feed(bytes));
        }
    }

    /// Turns a flow's wish into operations.
    fn apply(&mut self, flow: u32, next: Next) {
        match next {
            Next::Wait => {}
            Next::Offer(batch) => self.hand_over(flow, batch, true),
            Next::Receive => self.backend.push(Op::Receive, Token::RECEIVE.of(flow)),
            Next::Send(batch) => self.send_in_time(flow, batch),
            Next::SendLast(batch) => {
                self.send(flow, batch);
                self.limit(flow);
            }
            // What waits for its time is not begun any more.
            Next::Cancel(Token { kind: Kind::Send, .. }) if self.withdraw(flow) => {}
            Next::Cancel(target) => {
                self.backend.push(Op::Cancel(target), Token::CANCEL.of(flow));
                self.limit(flow);
            }
            Next::SendAndReceive(batch) => {
                self.backend.push(Op::Receive, Token::RECEIVE.of(flow));
                self.send_in_time(flow, batch);
            }
            Next::SendUnsegmented(batch, errno) => {
                (self.unsegment)(flow, errno);
                self.send_in_time(flow, batch);
            }
            Next::SendMarks => {
                for index in 0..MARKS {
                    let empty = Op::Send { span: Span::default(), linked: false };
                    self.backend.push(empty, Token::send(index).of(flow));
                }
                self.limit(flow);
            }
            Next::EndStream { receive } => {
                self.forget(flow);
                (self.end_stream)(flow);
                if receive {
                    self.backend.push(Op::Receive, Token::RECEIVE.of(flow));
                }
                self.grant(flow);
            }
            Next::Finish(end) => {
                self.forget(flow);
                self.track(flow).end = Some(end);
            }
        }
    }

    /// Sends now, or when the pace allows it.
    fn send_in_time(&mut self, flow: u32, batch: Batch) {
        let paced = self.track(flow).flow.is_paced();
        match &mut self.pace {
            Some(pace) if paced && !pace.allows(clock::now()) => pace.hold(flow, batch),
            _ => self.send(flow, batch),
        }
    }

    /// Has the sends of a flow's batch complete as if they had been cancelled, if it waits for its time.
    fn withdraw(&mut self, flow: u32) -> bool {
        let Some(batch) = self.pace.as_mut().and_then(|pace| pace.withdraw(flow)) else { return false };
        let (result, received) = (Err(Errno::CANCELED), Received::Nothing);
        for index in 0..batch.messages.div_ceil(self.track(flow).flow.per_send()) {
            self.step(&Done { token: Token::send(index).of(flow), result, more: false, received });
        }
        true
    }

    /// A flow that has ended sends nothing that waits for its time.
    fn forget(&mut self, flow: u32) {
        if let Some(pace) = &mut self.pace {
            pace.withdraw(flow);
        }
    }

    fn send(&mut self, flow: u32, batch: Batch) {
        self.hand_over(flow, batch, false);
    }

    fn hand_over(&mut self, flow: u32, batch: Batch, offer: bool) {
        let per_send = self.track(flow).flow.per_send();
        let sends = batch.messages.div_ceil(per_send);
        self.backend.make_room(sends);
        let mut bytes = 0;
        for index in 0..sends {
            let first = index * per_send;
            let slot = batch.place(first, self.layout.slots, per_send);
            let messages = per_send.min(batch.messages - first);
            let piece = if self.layout.from_file {
                Piece::File(FilePart::message(slot, self.message_bytes))
            } else {
                Piece::Arena(self.layout.slots_from(slot, messages, self.message_bytes))
            };
            let piece = if index == 0 { piece.skip(batch.skip) } else { piece };
            let linked = self.in_order && index + 1 < sends;
            bytes += u64::from(piece.length());
            let (op, token) = match piece {
                Piece::Arena(span) if offer => (Op::Offer { span }, Token::offer(index)),
                Piece::Arena(span) => (Op::Send { span, linked }, Token::send(index)),
                Piece::File(part) => (Op::SendFile { part, linked }, Token::send(index)),
            };
            self.backend.push(op, token.of(flow));
        }
        let paced = self.track(flow).flow.is_paced();
        if let Some(pace) = self.pace.as_mut().filter(|_| paced) {
            pace.spend(bytes, clock::now());
        }
    }

    /// Whether the clock is to be looked at in this turn.
    fn minds_clock(&mut self, idle: bool) -> bool {
        self.turns += 1;
        let minds = !self.busy_poll || idle || self.turns >= CLOCK_TURNS;
        if minds {
            self.turns = 0;
        }
        minds
    }

    /// How long the next sleep may last.
    fn patience(&self) -> Option<Duration> {
        if self.busy_poll {
            return Some(Duration::ZERO);
        }
        let stop = self.timing.stop.map(|(at, _)| at);
        let paced = self.pace.as_ref().and_then(Pace::due);
        let sample = self.sampler.as_ref().map(|sampler| sampler.due());
        let unread = self.wakes.as_ref().and_then(|wakes| wakes.due());
        let told = self.teller.as_ref().and_then(|teller| teller.due());
        if !self.starved.is_empty() || !self.unsettled.is_empty() || self.fetching {
            return Some(Duration::ZERO);
        }
        let resend = self.resend.as_ref().map(Resend::due);
        let next =
            [stop, self.drained_by, paced, resend, sample, unread, told].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(clock::now()))
    }

    /// Chooses how long to sleep by what came.
    fn adjust(&mut self, done: &[Done]) {
        if let Some(wakes) = &mut self.wakes
            && let Some(at_least) = wakes.woken(done, clock::now())
        {
            self.backend.batch_wakeups(at_least);
        }
    }

    /// Does what is due by the clock.
    fn check_clock(&mut self) {
        let now = clock::now();
        if let Some(pace) = &mut self.pace
            && let Some((flow, batch)) = pace.next(now)
        {
            self.begin_late(flow, now);
            self.send(flow, batch);
        }
        self.resend_late(now);
        self.report(now);
        if let Some((at, end)) = self.timing.stop
            && now >= at
            && !self.lets_go()
        {
            self.timing.stop = None;
            self.stop_all(end);
        }
        if self.drained_by.is_some_and(|by| now >= by) {
            self.drained_by = None;
            self.give_up();
        }
    }

    /// Requests that have waited for their time go out only now.
    fn begin_late(&mut self, flow: u32, now: Instant) {
        if let Some(resend) = &mut self.resend {
            resend.restart(now);
        }
        if let Some(timings) = &mut self.timings {
            let this = &self.tracks[flow as usize].flow;
            let (tally, (asked, _)) = (this.tally(), this.exchanged());
            timings.postpone(flow, asked.saturating_sub(tally.messages_sent + tally.failed_sends), now);
        }
    }

    /// Has requests sent again that nobody answers: over UDP, where there is one flow. Those that wait for
    /// their time have not been sent yet.
    fn resend_late(&mut self, now: Instant) {
        let waits = self.pace.as_ref().is_some_and(|pace| pace.due().is_some());
        if let (Some(resend), Some(track)) = (&mut self.resend, self.tracks.first_mut())
            && resend.is_due(track.flow.tally().transactions, now)
            && !waits
        {
            let next = track.flow.resend();
            if let Some(timings) = &mut self.timings {
                timings.forget(0);
            }
            self.time(0, now);
            self.apply(0, next);
        }
    }

    /// Takes a sample and tells the progress, if it is time to. What lies below a low-water mark by then is
    /// fetched before.
    fn report(&mut self, now: Instant) {
        let sample = self.sampler.as_ref().is_some_and(|sampler| sampler.due() <= now);
        let told = self.teller.as_ref().and_then(|teller| teller.due()).is_some_and(|due| due <= now);
        if (sample || told) && !self.fetching && self.wakes.as_mut().is_some_and(|wakes| wakes.let_go()) {
            self.fetching = true;
            return;
        }
        if std::mem::take(&mut self.fetching)
            && let Some(wakes) = &mut self.wakes
        {
            wakes.resume();
        }
        if let Some(sampler) = self.sampler.as_mut().filter(|_| sample) {
            sampler.take(now, self.tracks.iter().map(|track| track.flow.tally()));
        }
        self.tell(now);
    }

    fn tell(&mut self, now: Instant) {
        let Some(teller) = &mut self.teller else { return };
        if !teller.beats(now, self.tracks.iter().map(|track| track.flow.tally())) {
            return;
        }
        if self.tracks.iter().any(|track| track.end.is_none() && track.leash == Leash::Free) {
            teller.tell(now, self.tracks.iter().map(|track| track.flow.tally()));
        } else {
            // They are ending, and what is left is in the outcome.
            self.teller = None;
        }
    }

    /// Lets go of what lies below a low-water mark when the time is over: it came in time, and one more turn
    /// fetches it.
    fn lets_go(&mut self) -> bool {
        self.wakes.take().is_some_and(|wakes| wakes.let_go())
    }

    /// Asks every flow to end that has not been given time to do so already.
    fn stop_all(&mut self, end: End) {
        while let Some(flow) = self.starved.pop_front() {
            self.backend.push(Op::Receive, Token::RECEIVE.of(flow));
        }
        for flow in self.numbers() {
            let track = self.track(flow);
            if track.end.is_none() && (track.leash != Leash::Granted || end == End::Stopped) {
                self.grant(flow);
                let next = self.track(flow).flow.stop(end);
                self.apply(flow, next);
                self.withdraw(flow);
            }
        }
    }

    /// Ends every flow that has had its time to end.
    fn give_up(&mut self) {
        for flow in self.numbers() {
            let track = self.track(flow);
            if track.end.is_none() && track.leash != Leash::Free {
                let next = track.flow.stop(End::DrainTimeout);
                self.apply(flow, next);
            }
        }
    }

    /// From now on the flow has its time to end, and no other.
    fn grant(&mut self, flow: u32) {
        self.track(flow).leash = Leash::Granted;
        self.drained_by = Some(clock::now() + self.timing.drain);
    }

    /// The same, unless it has to end sooner anyway.
    fn limit(&mut self, flow: u32) {
        if self.track(flow).leash == Leash::Free {
            self.track(flow).leash = Leash::Limited;
            self.drained_by = Some(clock::now() + self.timing.drain);
        }
    }
}
