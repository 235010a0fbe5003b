//! From listening sockets to sessions: who gets one, how many at once, and what happens to the others.
//!
//! Nothing that a client does, and no shortage that passes, ends the loop here.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringperf_proto::errno::{EACCES, EBUSY};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::guesses::{GUESSES_MAX, PERIOD};
use super::log::{RateLimit, reason};
use super::session::{self, Settings};
use super::transport::Transport;
use super::turned_away::{self, Door};
use crate::bridge::Ends;

/// Pause after a failed accept. Most failures are shortages (EMFILE, ENFILE, ENOBUFS, ENOMEM) that only time
/// cures.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long sessions may take to close when netserver ends.
const CLOSING: Duration = Duration::from_secs(4);

/// Sessions a second whose end has a line in the log.
const ENDS_TOLD: u32 = 10;

/// Why somebody gets no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// No allowed network has the address.
    Address,
    /// All sessions are taken.
    Full,
    /// Too many wrong passphrases came from the address.
    Guesses,
}

impl Refusal {
    fn errno(self) -> i32 {
        match self {
            Self::Address | Self::Guesses => EACCES,
            Self::Full => EBUSY,
        }
    }
}

/// What all sessions share.
pub(super) struct Hall {
    settings: Settings,
    /// `-f`: a session is served before the next one starts.
    serial: bool,
    seats: Arc<Semaphore>,
    seats_max: u32,
    served: Cell<u64>,
    accept_failures: RateLimit,
    /// Each kind of refusal has a brake of its own, so that none hides the others.
    turned_away: [RateLimit; 3],
    /// Of all sessions' ends.
    ends: RateLimit,
    door: Door,
    stop: watch::Receiver<bool>,
}

impl Hall {
    pub(super) fn new(settings: Settings, serial: bool, stop: watch::Receiver<bool>) -> Self {
        let seats_max = if serial { 1 } else { settings.policy.sessions_max };
        // A u32 fits the semaphore on every machine with Linux.
        let seats = Arc::new(Semaphore::new(usize::try_from(seats_max).unwrap_or(Semaphore::MAX_PERMITS)));
        Self {
            settings,
            serial,
            seats,
            seats_max,
            served: Cell::new(0),
            accept_failures: RateLimit::default(),
            turned_away: Default::default(),
            ends: RateLimit::of(ENDS_TOLD),
            door: Door::new(),
            stop,
        }
    }

    /// Serves every connection of `listeners` until told to stop, then waits for the sessions to close.
    pub(super) async fn serve<T: Transport>(self: Rc<Self>, listeners: Vec<TcpListener>) {
        let mut loops = JoinSet::new();
        for listener in listeners {
            let hall = Rc::clone(&self);
            loops.spawn_local(async move { hall.accept::<T>(&listener).await });
        }
        loops.spawn_local(T::keep_going());
        let mut stop = self.stop.clone();
        // An error means that nobody is left who could say stop, which is as good as stop.
        #[expect(clippy::disallowed_methods, reason = "netserver serves until it is told to end")]
        let _ = stop.wait_for(|&stop| stop).await;
        loops.shutdown().await;
        #[expect(clippy::disallowed_methods, reason = "it is under a timeout")]
        if timeout(CLOSING, self.seats.acquire_many(self.seats_max)).await.is_err() {
            tracing::warn!("some sessions did not close in time");
        }
    }

    async fn accept<T: Transport>(self: Rc<Self>, listener: &TcpListener) {
        loop {
            // Our address is asked for here because tokio-uring has no call for it.
            #[expect(clippy::disallowed_methods, reason = "this task is aborted when netserver ends")]
            let accepted = listener.accept().await.and_then(|(stream, peer)| {
                let ends = Ends::new(stream.local_addr()?, peer);
                Ok((T::adopt(stream)?, ends))
            });
            match accepted {
                Ok((stream, ends)) => match self.seat(ends.peer).await {
                    Ok(seat) => Rc::clone(&self).open(stream, ends, seat),
                    Err(refusal) => self.turn_away(stream, ends.peer, refusal),
                },
                Err(error) => {
                    self.log_failure(&error);
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// A seat for one session of whoever may have one. With `-f` the next client waits for it, as it does
    /// with netserver.
    async fn seat(&self, peer: SocketAddr) -> Result<OwnedSemaphorePermit, Refusal> {
        self.admit(peer)?;
        let seats = Arc::clone(&self.seats);
        #[expect(clippy::disallowed_methods, reason = "every session has deadlines, and gives its seat back")]
        let seat =
            if self.serial { seats.acquire_owned().await.ok() } else { seats.try_acquire_owned().ok() };
        seat.ok_or(Refusal::Full)
    }

    /// Whether sessions may come from this address now.
    fn admit(&self, peer: SocketAddr) -> Result<(), Refusal> {
        if !self.settings.policy.admits(peer.ip()) {
            return Err(Refusal::Address);
        }
        if self.settings.guesses.turn_away(peer.ip(), Instant::now()) {
            return Err(Refusal::Guesses);
        }
        Ok(())
    }

    /// Tells a client why it gets no session. Where too many are being told already it is closed at once.
    fn turn_away<T: Transport>(&self, stream: T, peer: SocketAddr, refusal: Refusal) {
        self.log_refusal(peer, refusal);
        if let Some(place) = self.door.place() {
            tokio::task::spawn_local(async move {
                let _place = place;
                turned_away::tell(stream, refusal.errno()).await;
            });
        }
    }

    fn log_refusal(&self, peer: SocketAddr, refusal: Refusal) {
        let [address, full, guesses] = &self.turned_away;
        let brake = match refusal {
            Refusal::Address => address,
            Refusal::Full => full,
            Refusal::Guesses => guesses,
        };
        let Some(held_back) = brake.pass() else { return };
        match refusal {
            Refusal::Address => {
                tracing::warn!(%peer, held_back, "POLICY: turned away: --allow does not name the address");
            }
            Refusal::Full => {
                let most = self.seats_max;
                tracing::warn!(%peer, held_back, "POLICY: turned away: {most} sessions are open");
            }
            Refusal::Guesses => {
                let seconds = PERIOD.as_secs();
                tracing::warn!(
                    %peer,
                    held_back,
                    "POLICY: turned away: {GUESSES_MAX} wrong passphrases within {seconds} s"
                );
            }
        }
    }

    fn open<T: Transport>(self: Rc<Self>, stream: T, ends: Ends, seat: OwnedSemaphorePermit) {
        // Not joined: the seat comes back when the task ends, also by a panic, and that is all anybody waits
        // for.
        tokio::task::spawn_local(async move {
            let _seat = seat;
            self.attend(stream, ends).await;
        });
    }

    /// Serves one connection to its end, or tells whoever may have none.
    pub(super) async fn attend_if_admitted<T: Transport>(&self, stream: T, ends: Ends) {
        match self.admit(ends.peer) {
            Ok(()) => self.attend(stream, ends).await,
            Err(refusal) => turned_away::tell(stream, refusal.errno()).await,
        }
    }

    async fn attend<T: Transport>(&self, stream: T, ends: Ends) {
        let peer = ends.peer;
        let number = self.served.get().wrapping_add(1);
        self.served.set(number);
        tracing::debug!(%peer, number, "session opened");
        let over = session::serve(Rc::new(stream), ends, number, &self.settings, self.stop.clone()).await;
        session::log_end(peer, &over, &self.ends);
    }

    fn log_failure(&self, error: &io::Error) {
        if let Some(held_back) = self.accept_failures.pass() {
            tracing::error!(
                held_back,
                "ENV: accept failed: {}; trying again; the descriptor limit (ulimit -n) is the usual cause",
                reason(error)
            );
        }
    }
}
