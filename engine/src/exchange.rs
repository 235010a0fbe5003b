//! One worker's part of a run whose transactions have a connection each: from the first one to the end.
//!
//! Has a loop of its own beside [`crate::worker`], for here connections come and go, and what is under way at
//! the end is not waited for. What comes next on which connection is for [`crate::flow`]; this drives it,
//! looks at the clock, and takes down what the connections were.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::backend::{Backend, Done, Op};
use crate::clock;
use crate::error::Error;
use crate::flow::{AnswerEach, AskEach, Deed, Exchange, Ports};
use crate::layout::Layout;
use crate::origin::Origin;
use crate::outcome::{End, Latency};
use crate::plan::{Endpoint, Length, Plan, PlanOptions, Role};
use crate::progress::Teller;
use crate::run::Window;
use crate::sampler::Sampler;
use crate::serve::{Share, broken};
use crate::socket;
use crate::sys;
use crate::token::{Kind, Token};
use crate::worker::DONE_MAX;

/// What a worker needs for its transactions, beside a backend and their origin.
pub(crate) struct Exchanging<'a> {
    pub(crate) plan: &'a Plan,
    /// Where a requester connects to.
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) stop: BorrowedFd<'a>,
    pub(crate) window: Window,
}

impl Exchanging<'_> {
    /// Runs the plan's transactions and closes the window.
    ///
    /// # Errors
    /// What made going on impossible, and [`Error::Connect`] where not even the first connection came about.
    pub(crate) fn serve<B: Backend>(&self, backend: &mut B, origin: Origin) -> Result<Share, Error> {
        let options = self.plan.options();
        let layout = self.plan.layout();
        backend.draw(origin).map_err(broken)?;
        backend.watch(self.stop).map_err(broken)?;
        let sizes = (options.transaction.request_bytes, options.transaction.response_bytes);
        let count = if let Length::Transactions(count) = options.length { Some(count) } else { None };
        let room = layout.buffer_bytes;
        if options.role == Role::Respond {
            let mut flow = AnswerEach::new(sizes, room, layout.flows, count);
            return self.follow(&mut flow, backend);
        }
        let mut flow = AskEach::new(sizes, room, layout.flows, count).with_ports(self.ports());
        flow = flow.retrying(options.transaction.retry_connect);
        let share = self.follow(&mut flow, backend)?;
        let never = share.tally.transactions == 0;
        let errno = match share.ends.first() {
            Some(End::Failed(errno)) if flow.is_unconnected() && never => *errno,
            Some(End::DrainTimeout) if never && is_unanswered(backend) => sys::TIMED_OUT,
            _ => return Ok(share),
        };
        let remote = self.remote.expect("a requester has a target");
        Err(Error::Connect { remote, source: io::Error::from_raw_os_error(errno) })
    }

    /// The ports that were asked for: a range, or the one of the local address.
    fn ports(&self) -> Option<Ports> {
        let options = self.plan.options();
        let one = match options.endpoint {
            Endpoint::Connect { local } if local.port() != 0 => Some(local.port()..=local.port()),
            _ => None,
        };
        let range = options.transaction.local_ports.clone().or(one)?;
        Some(Ports::new(range, self.remote?.port(), RandomState::new().build_hasher().finish()))
    }

    fn follow<B: Backend, F: Exchange>(&self, flow: &mut F, backend: &mut B) -> Result<Share, Error> {
        let options = self.plan.options();
        let mut done = Vec::with_capacity(DONE_MAX);
        let mut share = Share::default();
        let before = sys::thread_cpu();
        let start = self.window.start;
        let mut watch = Watch {
            flow,
            backend,
            layout: self.plan.layout(),
            stop: stop_at(options).map(|after| (start + after, End::Timer)),
            start,
            silence: Silence::new(options, start),
            sampler: Sampler::of(options, start),
            teller: options.progress.as_ref().map(|progress| Teller::new(progress, start)),
            times: Times::of(options, self.plan.layout().flows, start),
            seen: 0,
            remote: self.remote,
            share: &mut share,
        };
        let result = watch.drive(&mut done);
        let Watch { sampler, teller, times, .. } = watch;
        share.samples = sampler.map_or_else(Vec::new, Sampler::into_samples);
        share.progress_units = teller.as_ref().and_then(Teller::units);
        share.latency = times.map(|times| times.latency);
        share.elapsed = start.elapsed();
        share.cpu = sys::thread_cpu().since(before);
        share.machine_cpu = self.window.machine_cpu();
        result.map_err(broken)?;
        share.ends.push(flow.over().unwrap_or(End::Stopped));
        share.tally = flow.tally();
        share.tally.operations = backend.operations();
        share.flow_bytes.push(share.tally.bytes_sent + share.tally.bytes_received);
        Ok(share)
    }
}

/// After which time a run ends by the clock.
fn stop_at(options: &PlanOptions) -> Option<Duration> {
    let Length::Time(length) = options.length else { return None };
    Some(if options.role == Role::Respond { length + options.receive_grace } else { length })
}

/// Whether the first connection is still being made.
fn is_unanswered<B: Backend>(backend: &B) -> bool {
    backend.connection(0).is_some_and(|socket| socket.peer_addr().is_err())
}

/// The times of transactions, each from before its socket is opened until it is closed.
struct Times {
    latency: Latency,
    /// By flow.
    begun: Vec<Instant>,
}

impl Times {
    fn of(options: &PlanOptions, flows: u32, now: Instant) -> Option<Self> {
        let asked = options.latency && options.role == Role::Request;
        asked.then(|| Self { latency: Latency::new(), begun: vec![now; flows as usize] })
    }

    /// A port that was passed over is part of the transaction that follows.
    fn begin(&mut self, flow: u32) {
        self.begun[flow as usize] = clock::now();
    }

    fn end(&mut self, flow: u32) {
        self.latency.record(self.begun[flow as usize].elapsed());
    }
}

/// How long it may take until something more comes, and what it means if nothing does.
#[derive(Clone, Copy, Debug)]
struct Silence {
    /// From when on silence counts, and the last time that it was broken.
    since: Instant,
    /// For how long: before the first connection or transaction, and after it.
    first: Option<Duration>,
    later: Option<Duration>,
    /// What it is then.
    ends: (End, End),
}

impl Silence {
    fn new(options: &PlanOptions, start: Instant) -> Self {
        if options.role == Role::Request {
            // The first may be a peer that is only being started.
            return Self {
                since: start,
                first: Some(options.connect_timeout),
                later: Some(options.drain_timeout),
                ends: (End::DrainTimeout, End::DrainTimeout),
            };
        }
        let (since, later) = match options.length {
            Length::Time(length) => (start + length, options.respond_linger),
            _ => (start, None),
        };
        Self {
            since,
            first: Some(options.connect_timeout),
            later,
            ends: (End::NoConnection, End::PeerClosed),
        }
    }

    /// When it has lasted for too long, after so many of what breaks it.
    fn due(&self, start: Instant, seen: u64) -> Option<(Instant, End)> {
        if seen == 0 {
            return self.first.map(|first| (start + first, self.ends.0));
        }
        self.later.map(|later| (self.since + later, self.ends.1))
    }
}

/// The loop's state.
struct Watch<'a, B, F> {
    flow: &'a mut F,
    backend: &'a mut B,
    layout: &'a Layout,
    start: Instant,
    stop: Option<(Instant, End)>,
    silence: Silence,
    sampler: Option<Sampler>,
    teller: Option<Teller>,
    times: Option<Times>,
    /// [`Exchange::arrivals`] when last looked at.
    seen: u64,
    /// Where a requester connects to.
    remote: Option<SocketAddr>,
    share: &'a mut Share,
}

impl<B: Backend, F: Exchange> Watch<'_, B, F> {
    /// Wait, reap, step, check, until it is over.
    fn drive(&mut self, done: &mut Vec<Done>) -> io::Result<()> {
        for flow in 0..self.layout.flows {
            let first = self.flow.start(flow);
            self.apply(flow, first);
        }
        while self.flow.over().is_none() {
            self.backend.wait(self.patience())?;
            self.backend.reap(done);
            for completion in done.drain(..) {
                if completion.token.kind == Kind::Stop {
                    self.flow.stop(End::Stopped);
                    continue;
                }
                let deed = self.step(&completion);
                self.apply(completion.token.flow, deed);
            }
            self.check_clock();
        }
        Ok(())
    }

    fn step(&mut self, completion: &Done) -> Deed {
        let before = self.flow.tally().transactions;
        let deed = self.flow.step(completion);
        if let Some(times) = &mut self.times
            && self.flow.tally().transactions > before
        {
            times.end(completion.token.flow);
        }
        deed
    }

    fn apply(&mut self, flow: u32, deed: Deed) {
        let send = |bytes| self.layout.send.first(bytes);
        match deed {
            Deed::Wait => {}
            Deed::Accept => self.backend.push(Op::Accept, Token::ACCEPT.of(flow)),
            Deed::Connect { port, bytes } => {
                if let Some(times) = &mut self.times {
                    times.begin(flow);
                }
                let request = self.layout.send;
                self.backend.push(Op::Connect { port, request, bytes }, Token::CONNECT.of(flow));
            }
            Deed::Take { bytes } => self.backend.push(Op::Take { bytes }, Token::RECEIVE.of(flow)),
            Deed::Close { last } => {
                if self.share.peer.is_none() {
                    self.describe(flow);
                }
                self.backend.push(Op::Close { last: send(last) }, Token::CLOSE.of(flow));
            }
        }
    }

    /// Takes down what the first connection is, while it is there: one that the peer has reset has no peer
    /// any more, and the next one speaks for it. A requester knows whom it asks. Its connection may be gone
    /// although all has come: a peer that closes first, and whose kernel cannot remember the connection
    /// (`tcp_max_tw_buckets`), answers with a reset whatever it hears twice.
    fn describe(&mut self, flow: u32) {
        let Some(socket) = self.backend.connection(flow) else { return };
        self.share.transport = socket::transport(socket);
        self.share.buffers_at_end = socket::buffers(socket);
        self.share.local = socket::local(socket);
        let peer = socket.peer_addr().ok().and_then(|address| address.as_socket());
        self.share.peer = peer.or(self.remote);
    }

    fn patience(&self) -> Option<Duration> {
        let stop = self.stop.map(|(at, _)| at);
        let silent = self.silence.due(self.start, self.seen).map(|(at, _)| at);
        let sample = self.sampler.as_ref().map(Sampler::due);
        let told = self.teller.as_ref().and_then(Teller::due);
        let next = [stop, silent, sample, told].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(clock::now()))
    }

    fn check_clock(&mut self) {
        let now = clock::now();
        if let Some(sampler) = &mut self.sampler
            && sampler.due() <= now
        {
            sampler.take(now, std::iter::once(self.flow.tally()));
        }
        let told = || std::iter::once(self.flow.told());
        if let Some(teller) = &mut self.teller
            && teller.beats(now, told())
        {
            teller.tell(now, told());
        }
        if let Some((at, end)) = self.stop
            && now >= at
        {
            self.flow.stop(end);
        }
        let arrivals = self.flow.arrivals();
        if arrivals != self.seen {
            self.seen = arrivals;
            self.silence.since = self.silence.since.max(now);
        } else if let Some((at, end)) = self.silence.due(self.start, self.seen)
            && now >= at
        {
            self.flow.stop(end);
        }
    }
}
