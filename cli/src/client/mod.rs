//! The client's end of a control connection, for every program that measures: `run` and the netperf drop-in.
//!
//! Carries frames, keeps deadlines and hears signals. What is asked of a netserver, and what a user is told
//! when it does not answer, is for the programs.
#![deny(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

pub(crate) mod control;
pub(crate) mod deadline;
pub(crate) mod exchange;
pub(crate) mod interrupt;
