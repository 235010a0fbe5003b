//! Pinned loops that move bytes over sockets and measure what that cost.
//!
//! A run is a straight line, each arrow a change of type:
//!
//! ```text
//! Plan --prepare--> Prepared --run--> Outcome
//! ```
//!
//! [`Plan`] is what to do, checked; [`prepare`] binds the socket, starts the pinned worker, maps its memory
//! and registers it with the ring, so that nothing of that falls into the measured window; [`Prepared::run`]
//! lifts the barrier and returns the [`Outcome`]: counters, CPU time, and the facts that qualify them.
//!
//! One worker is one pinned core, one backend, one arena, one tally. The workload is a pure state machine
//! (`flow/`); io_uring, epoll and blocking calls are three backends under it, none of which knows what a
//! test is.
//!
//! This crate knows nothing of netperf, of control connections or of output formats.
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test ends with whoever runs it"))]

mod arena;
mod backend;
mod classic;
mod clock;
mod cores;
pub mod cpu;
mod drops;
mod engine;
mod epoll;
pub mod error;
mod exchange;
pub mod facts;
mod file;
mod filter;
mod flow;
mod latency;
mod layout;
mod low_water;
#[doc(hidden)]
pub mod micro;
mod origin;
pub mod outcome;
mod pace;
mod pattern;
pub mod plan;
mod progress;
pub mod refusal;
mod resend;
mod ring;
mod run;
mod sampler;
mod serve;
mod socket;
mod sys;
mod thread;
mod token;
mod wakes;
mod worker;

pub use error::Error;
pub use facts::Facts;
pub use outcome::{End, Outcome};
pub use plan::{EngineChoice, Plan, PlanOptions};
pub use run::{Prepared, Stop, prepare};
pub use socket::{granted_buffers, set_low_water};
pub use sys::{clock_ticks, errno_name};
pub use thread::{refusing_call, spawn};
