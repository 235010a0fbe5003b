//! From listening sockets to sessions: how many at once, and what happens to those beyond.
//!
//! Nothing that a client does, and no shortage that passes, ends the loop here.

use std::cell::Cell;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::log::{RateLimit, reason};
use super::session::{self, Settings};
use super::transport::Transport;
use crate::bridge::Ends;

/// Sessions at once. There is no smaller limit for one address: test suites open a dozen from one host.
pub(super) const SESSIONS_MAX: u32 = 256;

/// Pause after a failed accept. Most failures are shortages (EMFILE, ENFILE, ENOBUFS, ENOMEM) that only time
/// cures.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long sessions may take to close when netserver ends.
const CLOSING: Duration = Duration::from_secs(4);

/// What all sessions share.
pub(super) struct Hall {
    settings: Settings,
    /// `-f`: a session is served before the next one starts.
    serial: bool,
    seats: Arc<Semaphore>,
    seats_max: u32,
    served: Cell<u64>,
    accept_failures: RateLimit,
    turned_away: RateLimit,
    stop: watch::Receiver<bool>,
}

impl Hall {
    pub(super) fn new(settings: Settings, serial: bool, stop: watch::Receiver<bool>) -> Self {
        let seats_max = if serial { 1 } else { SESSIONS_MAX };
        // A u32 fits the semaphore on every machine with Linux.
        let seats = Arc::new(Semaphore::new(usize::try_from(seats_max).unwrap_or(Semaphore::MAX_PERMITS)));
        Self {
            settings,
            serial,
            seats,
            seats_max,
            served: Cell::new(0),
            accept_failures: RateLimit::default(),
            turned_away: RateLimit::default(),
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
                Ok((stream, ends)) => {
                    if let Some(seat) = self.seat(&stream, ends.peer).await {
                        Rc::clone(&self).open(stream, ends, seat);
                    }
                }
                Err(error) => {
                    self.log_failure(&error);
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// A seat for one session. With `-f` the next client waits for it, as it does with netserver; otherwise a
    /// full house is told so by the close.
    async fn seat<T: Transport>(&self, stream: &T, peer: SocketAddr) -> Option<OwnedSemaphorePermit> {
        let seats = Arc::clone(&self.seats);
        #[expect(clippy::disallowed_methods, reason = "every session has deadlines, and gives its seat back")]
        let seat =
            if self.serial { seats.acquire_owned().await.ok() } else { seats.try_acquire_owned().ok() };
        if seat.is_none() {
            if let Some(held_back) = self.turned_away.pass() {
                tracing::warn!(%peer, held_back, "POLICY: turned away: {SESSIONS_MAX} sessions are open");
            }
            // The stream is dropped next, which closes it whether or not this worked.
            let _ = stream.shutdown(Shutdown::Both);
        }
        seat
    }

    fn open<T: Transport>(self: Rc<Self>, stream: T, ends: Ends, seat: OwnedSemaphorePermit) {
        // Not joined: the seat comes back when the task ends, also by a panic, and that is all anybody waits
        // for.
        tokio::task::spawn_local(async move {
            let _seat = seat;
            self.attend(stream, ends).await;
        });
    }

    /// Serves one connection to its end.
    pub(super) async fn attend<T: Transport>(&self, stream: T, ends: Ends) {
        let peer = ends.peer;
        let number = self.served.get().wrapping_add(1);
        self.served.set(number);
        tracing::debug!(%peer, number, "session opened");
        let over = session::serve(Rc::new(stream), ends, number, &self.settings, self.stop.clone()).await;
        session::log_end(peer, &over);
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
