//! Choosing the backend, and saying why.
//!
//! `auto` takes io_uring where the kernel grants it and the self-test passes, and falls back to epoll with
//! the reason on record; messages out of a file it sends by epoll, and one transaction at a time it makes by
//! blocking calls. A named engine is that engine or an error.

use std::time::Duration;

use crate::arena::Arena;
use crate::backend::Backend;
use crate::classic::Classic;
use crate::cores::Seat;
use crate::epoll::Epoll;
use crate::error::Error;
use crate::facts::{Degraded, Engine, Facts, PacketClass, SocketBuffers};
use crate::plan::{EngineChoice, Plan, PlanOptions, Role};
use crate::ring::{self, Ring};
use crate::sys;

/// One of the backends; unpacked before the loop, which is compiled for each.
pub(crate) enum AnyBackend {
    Classic(Box<Classic>),
    Epoll(Box<Epoll>),
    Uring(Box<Ring>),
}

/// Opens the plan's backend on the calling thread.
///
/// # Errors
/// [`Error::UringRefused`] when io_uring was asked for by name, or what opening epoll says.
pub(crate) fn open(plan: &Plan, degraded: &mut Vec<Degraded>) -> Result<AnyBackend, Error> {
    let epoll = |plan| Epoll::open(plan).map(|epoll| AnyBackend::Epoll(Box::new(epoll)));
    let classic = |plan| Classic::open(plan).map(|classic| AnyBackend::Classic(Box::new(classic)));
    match plan.options().engine {
        EngineChoice::Classic => classic(plan),
        EngineChoice::Epoll => epoll(plan),
        EngineChoice::Auto if plan.options().takes_turns() => classic(plan),
        EngineChoice::Auto if plan.options().file.is_some() => epoll(plan),
        EngineChoice::Uring => ring::open(plan, degraded).map(|ring| AnyBackend::Uring(Box::new(ring))),
        EngineChoice::Auto => {
            let mut notes = Vec::new();
            match ring::open(plan, &mut notes) {
                Ok(ring) => {
                    degraded.append(&mut notes);
                    Ok(AnyBackend::Uring(Box::new(ring)))
                }
                Err(refused) => {
                    degraded.push(Degraded {
                        feature: "io_uring",
                        reason: refused.to_string(),
                        instead: "epoll",
                    });
                    let options = plan.options();
                    if options.role == Role::Send && options.has_special_send_path() {
                        degraded.push(Degraded {
                            feature: options.send_path.feature(),
                            reason: "it takes io_uring".to_owned(),
                            instead: "a send call for each message",
                        });
                    }
                    epoll(plan)
                }
            }
        }
    }
}

impl AnyBackend {
    fn arena(&self) -> &Arena {
        match self {
            Self::Classic(classic) => classic.arena(),
            Self::Epoll(epoll) => epoll.arena(),
            Self::Uring(ring) => ring.arena(),
        }
    }

    /// Gives everything back without having run.
    pub(crate) fn close(self, patience: Duration) {
        // Nothing was ever started, so nothing can be left.
        let _ = match self {
            Self::Classic(classic) => classic.close(patience),
            Self::Epoll(epoll) => epoll.close(patience),
            Self::Uring(ring) => ring.close(patience),
        };
    }

    /// The facts known before the run, those of the sockets left out.
    pub(crate) fn facts(&self, options: &PlanOptions, seat: &Seat, degraded: Vec<Degraded>) -> Facts {
        let (engine, uring) = match self {
            Self::Classic(_) => (Engine::Classic, None),
            Self::Epoll(_) => (Engine::Epoll, None),
            Self::Uring(ring) => (Engine::Uring, Some(ring.facts().clone())),
        };
        Facts {
            engine_asked: options.engine,
            engine,
            kernel: sys::kernel_release(),
            cores: vec![seat.facts.clone()],
            arena_bytes: self.arena().length() as u64,
            arena_backing: self.arena().backing(),
            buffers_asked: (options.socket.send_buffer, options.socket.receive_buffer),
            buffers_granted: SocketBuffers::default(),
            packet_class: PacketClass::default(),
            busy_poll: options.busy_poll,
            segmentation: false,
            coalescing: false,
            uring,
            degraded,
        }
    }
}
